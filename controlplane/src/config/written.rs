//! The configuration as it was written, each value with its place.
//!
//! Owns: [`FileConfig`], the first of the three forms.
//! Read next: `resolve.rs`, which makes the second form of it.

use super::report::Report;
use super::source::Source;

/// What was written: known fields only, each value well formed by itself, nothing looked up yet.
#[derive(Clone, Debug, PartialEq)]
pub struct FileConfig {}

/// Decodes the text; every problem of it at once.
pub fn parse(source: &Source) -> Result<FileConfig, Report> {
    Err(Report::new(source, Vec::new()))
}
