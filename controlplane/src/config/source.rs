//! The configuration file as a text with a name.
//!
//! Owns: reading it, within its size bound.
//! Must not: look inside.
//! Read next: `yaml.rs`, which turns the text into nodes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::bounds::CONFIG_BYTES_MAX;

/// A configuration file: the name to show and the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Shown in reports, as the caller wrote it.
    pub name: String,
    /// All of the file.
    pub text: String,
}

impl Source {
    /// A source that is at hand as a text: standard input, a test.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says no.
    #[error("cannot read {}: {why}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// Larger than [`CONFIG_BYTES_MAX`].
    #[error("{} is larger than {} MiB, so it is no configuration", path.display(), CONFIG_BYTES_MAX >> 20)]
    TooLarge {
        /// What was to be read.
        path: PathBuf,
    },
    /// Not a text in UTF-8.
    #[error("{} is not UTF-8: byte {at} fits no character", path.display())]
    NotUtf8 {
        /// What was to be read.
        path: PathBuf,
        /// Offset of the first bad byte.
        at: usize,
    },
}

/// Reads the file at `path`.
pub fn read(path: &Path) -> Result<Source, Error> {
    let failed = |why| Error::Read { path: path.to_owned(), why };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than allowed, so that "too large" needs no trust in the size the system states.
    file.take(CONFIG_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > CONFIG_BYTES_MAX {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::NotUtf8 { path: path.to_owned(), at: e.utf8_error().valid_up_to() })?;
    Ok(Source { name: path.display().to_string(), text })
}
