//! Where secrets come from: environment variables and files.
//!
//! Owns: the one door through which resolving touches the system, so that tests need none.
//! Must not: keep a secret, or show one.
//! Read next: `secret.rs`, which decides what a secret may look like.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::bounds::SECRET_BYTES_MAX;

/// What resolving may ask of the system.
pub trait Environment {
    /// The value of an environment variable, if it is set and UTF-8.
    fn variable(&self, name: &str) -> Option<String>;
    /// A small file.
    fn file(&self, path: &Path) -> io::Result<SecretFile>;
    /// Where a file is that somebody else will read, and how it looks from here.
    fn place(&self, path: &Path) -> Placed {
        Placed { path: path.to_owned(), looks: Looks::Fine }
    }
}

/// A file of somebody else's, by its absolute path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its path.
    pub path: PathBuf,
    /// How it looks from here.
    pub looks: Looks,
}

/// How a file looks to whoever does not open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// It is there.
    Fine,
    /// It is there, and every user of this machine may read it.
    OpenToAll,
    /// It is not there; it may be on the machine where it is read.
    Missing,
}

/// A file that holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile {
    /// All of it.
    pub text: String,
    /// Whether others than its owner and group may read it.
    pub open_to_all: bool,
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretFile")
            .field("text", &"redacted")
            .field("open_to_all", &self.open_to_all)
            .finish()
    }
}

/// The real system.
#[derive(Clone, Debug, Default)]
pub struct System {
    folder: PathBuf,
}

impl System {
    /// The system as a configuration file in `folder` sees it: relative paths start there.
    pub fn beside(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

impl Environment for System {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path) -> io::Result<SecretFile> {
        use std::os::unix::fs::PermissionsExt;

        let file = std::fs::File::open(self.folder.join(path))?;
        let open_to_all = file.metadata()?.permissions().mode() & 0o004 != 0;
        let mut text = String::new();
        file.take(SECRET_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
        Ok(SecretFile { text, open_to_all })
    }

    fn place(&self, path: &Path) -> Placed {
        use std::os::unix::fs::PermissionsExt;

        let path = self.folder.join(path);
        let path = std::path::absolute(&path).unwrap_or(path);
        let looks = match std::fs::metadata(&path) {
            Err(_) => Looks::Missing,
            Ok(data) if data.permissions().mode() & 0o004 != 0 => Looks::OpenToAll,
            Ok(_) => Looks::Fine,
        };
        Placed { path, looks }
    }
}
