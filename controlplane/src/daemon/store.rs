//! Revisions on disk: `DATA/revisions/00000007.json`, each written whole or not at all.
//!
//! Owns: the folder, its numbering, its bound, and the lock that keeps a second daemon out.
//! Must not: keep resolved secrets; a revision is the text as written, where secrets have only names.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::bounds::running as bounds;
use crate::daemon::api::{Origin, Revision, RevisionMeta};
use crate::log;

/// Why state cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file in it.
    #[error("cannot use {} for state: {why}; make it writable, or pass --data DIR", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// Another daemon has it.
    #[error(
        "another daemon{} already keeps its state in {}; stop it first, or pass --data DIR",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        path.display()
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who, if its note can be read.
        pid: Option<u32>,
    },
}

/// What is new about a revision; number, time and digest are the store's to give.
#[derive(Clone, Debug)]
pub struct NewRevision {
    /// Who caused it.
    pub by: String,
    /// How.
    pub origin: Origin,
    /// For a rollback: the revision whose text this is.
    pub from: Option<u64>,
    /// What was said about it.
    pub message: Option<String>,
    /// What to call the text.
    pub name: String,
    /// Digest of what the watched file held then.
    pub file_hash: Option<String>,
    /// The config.
    pub text: String,
}

/// The revisions of one data folder.
#[derive(Debug)]
pub struct Store {
    data: PathBuf,
    /// Held while we write; the system lets go of it when the process ends, however it ends.
    lock: Option<File>,
}

impl Store {
    /// Opens the folder for writing, alone.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        let store = Self { data: data.to_owned(), lock: None };
        let folder = store.revisions();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|why| StoreError::Folder { path: folder, why })?;
        let lock = store.lock()?;
        Ok(Self { lock: Some(lock), ..store })
    }

    /// Opens the folder for looking only; it need not exist.
    pub fn look(data: &Path) -> Self {
        Self { data: data.to_owned(), lock: None }
    }

    fn lock(&self) -> Result<File, StoreError> {
        let path = self.data.join("lock");
        let folder = |why| StoreError::Folder { path: path.clone(), why };
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut lock = options.map_err(folder)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                let pid = std::fs::read_to_string(&path).ok().and_then(|note| note.trim().parse().ok());
                return Err(StoreError::Locked { path: self.data.clone(), pid });
            }
            Err(std::fs::TryLockError::Error(why)) => return Err(folder(why)),
        }
        let note = format!("{}\n", std::process::id());
        lock.set_len(0).and_then(|()| lock.write_all(note.as_bytes())).map_err(folder)?;
        Ok(lock)
    }

    /// All revisions, newest first. What cannot be read is left out, with a line in the log.
    pub fn list(&self) -> Vec<Revision> {
        self.numbers().into_iter().rev().filter_map(|number| self.get(number)).collect()
    }

    /// One revision.
    pub fn get(&self, number: u64) -> Option<Revision> {
        let path = self.path(number);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return None,
            Err(why) => {
                log::warn("a revision cannot be read", &[("path", &path.display()), ("why", &why)]);
                return None;
            }
        };
        match serde_json::from_str::<Revision>(&text) {
            Ok(revision) if crate::digest::sha256(revision.text.as_bytes()) == revision.meta.hash => {
                Some(revision)
            }
            Ok(_) => {
                log::warn(
                    "a revision does not match its digest and is ignored",
                    &[("path", &path.display())],
                );
                None
            }
            Err(why) => {
                log::warn(
                    "a revision is damaged and is ignored",
                    &[("path", &path.display()), ("why", &why)],
                );
                None
            }
        }
    }

    /// The newest revision.
    pub fn latest(&self) -> Option<Revision> {
        self.numbers().into_iter().rev().find_map(|number| self.get(number))
    }

    /// The newest revision whose text is another than `hash`.
    pub fn latest_other_than(&self, hash: &str) -> Option<Revision> {
        let mut newest_first = self.numbers().into_iter().rev().filter_map(|number| self.get(number));
        newest_first.find(|revision| revision.meta.hash != hash)
    }

    /// Keeps a new revision under the next number and forgets the oldest beyond the bound.
    pub fn record(&self, new: NewRevision) -> Result<Revision, StoreError> {
        debug_assert!(self.lock.is_some(), "only the holder of the lock writes");
        let numbers = self.numbers();
        let revision = Revision {
            meta: RevisionMeta {
                revision: numbers.last().map_or(1, |newest| newest + 1),
                at: log::rfc3339(SystemTime::now()),
                by: new.by,
                origin: new.origin,
                from: new.from,
                hash: crate::digest::sha256(new.text.as_bytes()),
                message: new.message,
            },
            name: new.name,
            file_hash: new.file_hash,
            text: new.text,
        };
        let path = self.path(revision.meta.revision);
        let bytes = serde_json::to_vec_pretty(&revision).expect("strings and numbers");
        write_whole(&path, &bytes).map_err(|why| StoreError::Folder { path, why })?;
        let surplus = (numbers.len() + 1).saturating_sub(bounds::REVISIONS_MAX);
        for old in numbers.into_iter().take(surplus) {
            let _ = std::fs::remove_file(self.path(old)); // tried again with the next revision
        }
        Ok(revision)
    }

    /// Numbers on disk, ascending.
    fn numbers(&self) -> Vec<u64> {
        let Ok(entries) = std::fs::read_dir(self.revisions()) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut numbers: Vec<u64> =
            names.filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    fn revisions(&self) -> PathBuf {
        self.data.join("revisions")
    }

    fn path(&self, number: u64) -> PathBuf {
        self.revisions().join(format!("{number:08}.json"))
    }
}

/// Temporary file, fsync, rename, fsync of the folder (CP-08): after a crash at any point there is the old
/// state or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("revisions are in a folder");
    let temporary = path.with_extension("tmp");
    let written = write_synced(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary); // gives a full disk its bytes back
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> NewRevision {
        NewRevision {
            by: "test".to_owned(),
            origin: Origin::Apply,
            from: None,
            message: None,
            name: "x.yaml".to_owned(),
            file_hash: None,
            text: text.to_owned(),
        }
    }

    #[test]
    fn revisions_are_numbered_on_and_the_oldest_are_forgotten() {
        let data = tempfile::tempdir().expect("a folder");
        let store = Store::open(data.path()).expect("opens");
        for number in 0..=bounds::REVISIONS_MAX {
            store.record(text(&number.to_string())).expect("writes");
        }
        let kept = store.list();
        assert_eq!(kept.len(), bounds::REVISIONS_MAX);
        assert_eq!(kept[0].meta.revision, bounds::REVISIONS_MAX as u64 + 1);
        assert_eq!(store.get(1), None);
    }

    #[test]
    fn a_damaged_revision_is_ignored_and_its_number_is_not_given_again() {
        let data = tempfile::tempdir().expect("a folder");
        let store = Store::open(data.path()).expect("opens");
        store.record(text("one")).expect("writes");
        let two = store.record(text("two")).expect("writes");
        let path = store.path(2);
        let torn = std::fs::read_to_string(&path).expect("reads").replace("two", "tw0");
        std::fs::write(&path, torn).expect("writes");
        assert_eq!(store.latest().expect("the first").meta.revision, 1);
        assert_eq!(store.record(text("three")).expect("writes").meta.revision, two.meta.revision + 1);
    }

    #[test]
    fn a_second_daemon_is_refused_until_the_first_is_gone() {
        let data = tempfile::tempdir().expect("a folder");
        let first = Store::open(data.path()).expect("opens");
        let error = Store::open(data.path()).expect_err("locked").to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        Store::open(data.path()).expect("free again");
    }

    #[test]
    fn only_the_owner_can_read_a_revision() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().expect("a folder");
        let store = Store::open(&data.path().join("state")).expect("opens");
        store.record(text("one")).expect("writes");
        let mode = |path: PathBuf| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(store.path(1)), 0o600);
        assert_eq!(mode(store.revisions()), 0o700);
    }

    #[test]
    fn going_back_skips_revisions_of_the_same_text() {
        let data = tempfile::tempdir().expect("a folder");
        let store = Store::open(data.path()).expect("opens");
        for content in ["one", "two", "two"] {
            store.record(text(content)).expect("writes");
        }
        let other = store.latest_other_than(&crate::digest::sha256(b"two")).expect("the first");
        assert_eq!(other.meta.revision, 1);
    }
}
