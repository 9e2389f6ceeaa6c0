//! Whatever somebody does to a configuration, it loads or says where it is wrong.

use std::io;
use std::path::Path;

use proptest::prelude::*;
use ringway_controlplane::config::{self, Environment, SecretFile, Source};

struct Keys;

impl Environment for Keys {
    fn variable(&self, _: &str) -> Option<String> {
        Some("sk-canary".to_owned())
    }

    fn file(&self, _: &Path) -> io::Result<SecretFile> {
        Ok(SecretFile { text: "sk-canary".to_owned(), open_to_all: false })
    }
}

const FULL: &str = include_str!("../../docs/examples/full.yaml");
/// Pieces that mean something to YAML or to us.
const PIECES: [&str; 40] = [
    ":",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    ">\n",
    "\n",
    "\t",
    "  ",
    "---\n",
    "? ",
    "<<: ",
    "null",
    "~",
    "true",
    "0x10",
    "10",
    "10s",
    "16KiB",
    "10%",
    "é",
    "\u{feff}",
    "\u{2028}",
    "\0",
    "https://",
    "a@",
    "model: ",
    "targets: ",
    "credential: sk-live\n",
    "🦀",
];

#[derive(Clone, Debug)]
enum Edit {
    Cut(usize, usize),
    Copy(usize, usize, usize),
    Insert(usize, usize),
    Put(usize, char),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0..FULL.len();
    prop_oneof![
        (at.clone(), 1..40_usize).prop_map(|(at, len)| Edit::Cut(at, len)),
        (at.clone(), 1..80_usize, at.clone()).prop_map(|(from, len, to)| Edit::Copy(from, len, to)),
        (at.clone(), 0..PIECES.len()).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (at, any::<char>()).prop_map(|(at, c)| Edit::Put(at, c)),
    ]
}

fn apply(text: &str, edit: &Edit) -> String {
    let chars: Vec<char> = text.chars().collect();
    let place = |at: usize| at.min(chars.len());
    let part = |from: usize, to: usize| chars[place(from)..place(to)].iter();
    let all = chars.len();
    match *edit {
        Edit::Cut(at, len) => part(0, at).chain(part(at + len, all)).collect(),
        Edit::Copy(from, len, to) => part(0, to).chain(part(from, from + len)).chain(part(to, all)).collect(),
        Edit::Insert(at, piece) => {
            let piece: Vec<char> = PIECES[piece].chars().collect();
            part(0, at).chain(&piece).chain(part(at, all)).collect()
        }
        Edit::Put(at, c) => part(0, at).chain(&[c]).chain(part(at + 1, all)).collect(),
    }
}

fn judge(text: String) -> Result<(), TestCaseError> {
    let source = Source::new("ringway.yaml", text);
    match config::check(&source, &Keys) {
        Ok(config) => {
            let snapshot = config::snapshot(&config, &|_, _| Vec::new());
            prop_assert!(!snapshot.routes.is_empty() && !snapshot.backends.is_empty());
            config.warnings_report().render(true);
        }
        Err(report) => {
            prop_assert!(!report.is_empty());
            for finding in report.findings() {
                let span = finding.span.clone().expect("the file could be read");
                prop_assert!(span.start <= span.end && span.end <= source.text.len(), "{finding:?}");
                prop_assert!(source.text.get(span).is_some(), "{finding:?}");
            }
            let shown = report.render(false);
            prop_assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
            prop_assert!(shown.lines().all(|line| line.chars().count() < 400), "{shown}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_file_loads_or_has_problems_with_places(edits in prop::collection::vec(edit(), 1..6)) {
        judge(edits.iter().fold(FULL.to_owned(), |text, edit| apply(&text, edit)))?;
    }

    #[test]
    fn text_of_pieces_loads_or_has_problems_with_places(pieces in prop::collection::vec(0..PIECES.len(), 0..40)) {
        judge(pieces.into_iter().map(|piece| PIECES[piece]).collect())?;
    }

    #[test]
    fn any_text_loads_or_has_problems_with_places(text in any::<String>()) {
        judge(text)?;
    }
}

#[test]
fn a_file_cut_anywhere_loads_or_has_problems_with_places() {
    for end in (0..=FULL.len()).filter(|&end| FULL.is_char_boundary(end)) {
        judge(FULL[..end].to_owned()).unwrap_or_else(|error| panic!("cut at {end}: {error}"));
    }
}
