//! `validate` and `schema`: what needs nothing running. Also how the other verbs read a config file.
//!
//! Owns: reading a file where its secrets may not be at hand.
//! Must not: let a stand-in for a secret get near a push.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use ringway_contract::Problem;
use serde::Serialize;

use super::args::Output;
use super::{Context, Failure, output, say};
use crate::config::{self, Config, Environment, Placed, Report, SecretFile, Source, System};

/// Stands in for a secret that is not at hand. It is recognised where secrets are compared.
pub(super) const STAND_IN: &str = "ringway-secret-not-at-hand";

/// The system, with a stand-in for each secret that is not at hand: the daemon may have it.
struct Lenient {
    system: System,
    missing: RefCell<Vec<String>>,
}

impl Environment for Lenient {
    fn variable(&self, name: &str) -> Option<String> {
        Some(self.system.variable(name).unwrap_or_else(|| {
            self.missing.borrow_mut().push(format!("the environment variable {name}"));
            STAND_IN.to_owned()
        }))
    }

    fn file(&self, path: &Path) -> io::Result<SecretFile> {
        Ok(self.system.file(path).unwrap_or_else(|why| {
            self.missing.borrow_mut().push(format!("the file {} ({why})", path.display()));
            SecretFile { text: STAND_IN.to_owned(), open_to_all: false }
        }))
    }

    fn place(&self, path: &Path) -> Placed {
        self.system.place(path)
    }
}

/// A file that was checked here, to be run elsewhere or not at all.
pub(super) struct Checked {
    pub(super) source: Source,
    pub(super) config: Config,
    /// Secrets that are not at hand here, in words.
    pub(super) missing: Vec<String>,
}

/// Reads and checks a file without insisting on its secrets.
pub(super) fn check(path: &Path) -> Result<Checked, Report> {
    let source = config::read(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let lenient = Lenient { system: System::beside(folder), missing: RefCell::default() };
    let config = config::check(&source, &lenient)?;
    Ok(Checked { source, config, missing: lenient.missing.into_inner() })
}

impl Checked {
    /// Says what may not do what was meant.
    pub(super) fn warn(&self, context: &Context) {
        say(&self.config.warnings_report().render(output::colored_err(context.color)));
    }
}

/// What `validate -o json` prints.
#[derive(Serialize)]
struct Verdict {
    valid: bool,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    secrets_not_at_hand: Vec<String>,
}

pub(super) fn validate(context: &Context, path: &Path, output: Output) -> Result<(), Failure> {
    let checked = match check(path) {
        Ok(checked) => checked,
        Err(report) => {
            if output != Output::Table {
                let problems = report.problems();
                let verdict =
                    Verdict { valid: false, problems, warnings: vec![], secrets_not_at_hand: vec![] };
                output::show(output, &verdict, String::new)?;
            }
            return Err(report.into());
        }
    };
    checked.warn(context);
    for secret in &checked.missing {
        say(&format!("warning: a secret is not at hand here: {secret}; where the config runs it must be\n"));
    }
    let warnings = checked.config.warnings_report().problems();
    let verdict = Verdict { valid: true, problems: vec![], warnings, secrets_not_at_hand: checked.missing };
    output::show(output, &verdict, || format!("{} is valid\n", path.display()))
}

pub(super) fn schema(output: Output) -> Result<(), Failure> {
    let schema = config::schema();
    output::show(output, &schema, || output::json(&schema))
}
