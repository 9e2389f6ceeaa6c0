//! The table of docs/dialects.md.
//! Owns: making it from the verdicts, and holding the committed one to that. Must not: hold a figure of its own.
//! Read next: `answers.rs`, `requests.rs`.

use std::fmt::Write as _;
use std::path::Path;

use super::answers::{Direction, Tally, one_way, tallied, there_and_back};
use super::requests;
use crate::judge::Dialect;
use crate::judge::fixtures::is_large;

const BEGIN: &str = "<!-- matrix: made by the tests of ringway-dialect -->\n";
const END: &str = "<!-- end of matrix -->\n";

fn head(out: &mut String, what: &str) {
    write!(out, "| {what} |").expect("a string takes it");
    let names = Dialect::ALL.map(Dialect::name).join(" | ");
    writeln!(out, " {names} |\n| --- | --- | --- | --- | --- |").expect("a string takes it");
}

fn rows(out: &mut String, mut cell: impl FnMut(Dialect, Dialect) -> String) {
    for from in Dialect::ALL {
        write!(out, "| {} |", from.name()).expect("a string takes it");
        for into in Dialect::ALL {
            write!(out, " {} |", cell(from, into)).expect("a string takes it");
        }
        out.push('\n');
    }
    out.push('\n');
}

fn rendered() -> String {
    let mut out = String::from(BEGIN);
    let ways = [tallied(one_way).0, tallied(there_and_back).0];
    for (stream, what) in [(true, "stream"), (false, "whole answer")] {
        for (table, way) in ways.iter().zip(["into", "into, and back"]) {
            head(&mut out, &format!("{what} from \\ {way}"));
            rows(&mut out, |from, into| {
                let key: Direction = (stream, from, into);
                let Tally { equal, lossy } = table.get(&key).copied().unwrap_or_default();
                if lossy == 0 { format!("{equal}") } else { format!("{equal} + {lossy} with losses") }
            });
        }
    }
    let (table, _) = requests::tallied();
    head(&mut out, "request from \\ into");
    rows(&mut out, |from, into| {
        let tally = table.get(&(from, into)).copied().unwrap_or_default();
        format!("{} + {} with losses, {} refused", tally.equal, tally.lossy, tally.refused)
    });
    out.push_str(END);
    out
}

/// Made anew by running this with RINGWAY_WRITE_DOCS set.
#[test]
fn the_committed_table_is_the_one_that_the_tests_make() {
    if !is_large() {
        println!("skipped: the table is made from the large set of fixtures");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dialects.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (begin, end) = (text.find(BEGIN).expect("a begin"), text.find(END).expect("an end") + END.len());
    let made = rendered();
    if std::env::var_os("RINGWAY_WRITE_DOCS").is_some() {
        let whole = [&text[..begin], &made, &text[end..]].concat();
        std::fs::write(&path, whole).expect("the docs can be written");
        return;
    }
    assert!(text[begin..end] == made, "docs/dialects.md is stale; it should have:\n{made}");
}
