//! What a wrong configuration is told. Each file of `fixtures/config` is a claim by its name; beside it
//! stands the report it must get, byte for byte. `RINGWAY_BLESS=1` writes the reports anew.

use std::io;
use std::path::{Path, PathBuf};

use ringway_controlplane::config::{self, Environment, SecretFile, Source};

/// The same secrets on every machine.
struct Fixed;

impl Environment for Fixed {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "HAVE_KEY" => Some("sk-live-canary".to_owned()),
            "EMPTY_KEY" => Some(String::new()),
            "TWO_LINES" => Some("sk-live\ncanary".to_owned()),
            _ => None,
        }
    }

    fn file(&self, path: &Path) -> io::Result<SecretFile> {
        match path.to_str() {
            Some("have.key") => Ok(SecretFile { text: "sk-live-canary\n".to_owned(), open_to_all: false }),
            Some("open.key") => Ok(SecretFile { text: "sk-live-canary\n".to_owned(), open_to_all: true }),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config")
}

fn claims() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).expect("the fixtures are part of the tree");
    let names =
        entries.map(|entry| entry.expect("it can be listed").file_name().into_string().expect("ASCII"));
    let mut claims: Vec<_> = names.filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned)).collect();
    claims.sort();
    claims
}

fn source(claim: &str) -> Source {
    let text = std::fs::read_to_string(folder().join(format!("{claim}.yaml"))).expect("it was listed");
    Source::new("ringway.yaml", text)
}

#[test]
fn every_claim_gets_its_report() {
    let bless = std::env::var_os("RINGWAY_BLESS").is_some();
    let mut wrong = Vec::new();
    for claim in claims() {
        let source = source(&claim);
        let (accepted, report) = match config::check(&source, &Fixed) {
            Ok(config) => (true, config.warnings_report().clone()),
            Err(report) => (false, report),
        };
        assert_eq!(accepted, claim.starts_with("warn_"), "{claim}:\n{report}");
        assert!(!report.is_empty(), "{claim} has nothing to say");
        let expected = folder().join(format!("{claim}.txt"));
        if bless {
            std::fs::write(&expected, report.render(false)).expect("the tree can be written");
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        if report.render(false) != expected {
            wrong.push(format!("{claim}\n--- got\n{report}--- expected\n{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} reports differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_finding_has_a_place_inside_the_file_and_a_path() {
    for claim in claims() {
        let source = source(&claim);
        let Err(report) = config::check(&source, &Fixed) else { continue };
        for finding in report.findings() {
            let span = finding.span.clone().expect("only unreadable files have findings without a place");
            assert!(span.start <= span.end && span.end <= source.text.len(), "{claim}: {finding:?}");
            assert!(source.text.get(span).is_some(), "{claim}: between characters: {finding:?}");
        }
        assert_eq!(report.findings().len(), report.problems().len());
    }
}

#[test]
fn no_report_shows_a_secret() {
    for claim in claims() {
        if let Err(report) = config::check(&source(&claim), &Fixed) {
            let shown = format!("{}{:?}{report:?}", report.render(true), report.problems());
            for secret in ["51H8abcdef", "hunter2", "canary"] {
                assert!(!shown.contains(secret), "{claim} shows {secret}: {shown}");
            }
        }
    }
}

#[test]
fn color_changes_nothing_but_color() {
    for claim in claims() {
        if let Err(report) = config::check(&source(&claim), &Fixed) {
            let mut plain = report.render(true);
            while let Some(start) = plain.find('\x1b') {
                let end = start + plain[start..].find('m').expect("an escape sequence has an end");
                plain.replace_range(start..=end, "");
            }
            assert_eq!(plain, report.render(false), "{claim}");
        }
    }
}

#[test]
fn a_problem_crosses_the_socket_with_its_path() {
    let report =
        config::check(&source("every_problem_is_reported_at_once"), &Fixed).expect_err("it is wrong");
    let paths: Vec<_> = report.problems().into_iter().map(|problem| problem.at).collect();
    let expected = [
        "listeners[0].adress",
        "listeners[0].timeouts.head",
        "listeners[0].timeouts.body_idle",
        "backends.llama.engine",
        "backends.llama.endpoints[0]",
        "backends.claude.credential.env",
        "routes[0].targets[0].backend",
        "routes[0].retry.attempts",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn a_file_that_cannot_be_read_says_which_and_why() {
    let missing = config::load(Path::new("/nowhere/ringway.yaml")).expect_err("there is none");
    assert!(missing.render(false).starts_with("error: cannot read /nowhere/ringway.yaml: "), "{missing}");

    let folder = tempfile::tempdir().expect("a place for files");
    let path = folder.path().join("ringway.yaml");
    std::fs::write(&path, b"version: \xff").expect("it can be written");
    assert!(config::load(&path).expect_err("no text").render(false).contains("is not UTF-8"));
    std::fs::write(&path, vec![b'#'; 5 << 20]).expect("it can be written");
    assert!(config::load(&path).expect_err("too large").render(false).contains("larger than 4 MiB"));
}
