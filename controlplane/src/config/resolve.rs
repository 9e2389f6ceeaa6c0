//! From what was written to what holds together.

use super::environment::Environment;
use super::report::Report;
use super::resolved::Config;
use super::source::Source;
use super::written::FileConfig;

/// Looks up every name, fills every default, reads every secret.
pub fn resolve(_file: FileConfig, source: &Source, _env: &dyn Environment) -> Result<Config, Report> {
    Err(Report::new(source, Vec::new()))
}
