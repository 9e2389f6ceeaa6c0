//! The last good snapshot, on disk.
//!
//! Owns: two files in the state folder, the current one and the one before; their layout, rights and replacement.
//! Must not: disturb serving. A failure to write is the caller's alarm, and the file before stays whole.
//! Read next: [`super::pipeline`], which saves after every change.
//!
//! Layout: one line `ringway snapshot 1 <bytes> <sha256 of the document>`, then the document. Every byte of the file
//! is thereby checked before any is believed (CP-09).
//!
//! Replacement: write a new file, sync it, give the current one a second name, rename the new one over the current,
//! sync the folder. At each moment there is a whole file under the current name (CP-08, CP-10).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ringway_contract::Snapshot;
use sha2::{Digest, Sha256};

use super::bounds::SNAPSHOT_BYTES_MAX;

const CURRENT: &str = "snapshot.json";
const PREVIOUS: &str = "snapshot.json.prev";
const FRESH: &str = "snapshot.json.new";
const LINKED: &str = "snapshot.json.prev.new";
const MAGIC: &str = "ringway snapshot";
const VERSION: &str = "1";
/// Magic, version, 20 digits, 64 hex digits.
const LINE_BYTES_MAX: usize = 128;

/// The state folder.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// The current file is known to be good, so it is worth keeping when it is replaced.
    sound: bool,
}

/// Why the last good snapshot cannot be had, or not be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else may write it, so nothing in it can be believed.
    #[error("{} may be written by others (mode {mode:o}): check what it holds, then chmod 600 it", .path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// It is not what was written.
    #[error("{} is damaged: {what}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
    /// It was written by a version of ringway that lays it out otherwise.
    #[error("{} has layout {found}; this version reads layout {VERSION}", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: String,
    },
    /// Its document is sound, and no snapshot to this version.
    #[error("{} holds no snapshot that this version understands: {error}", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        error: String,
    },
    /// The system refused.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Store {
    /// Uses `folder`, made with 0700 where it does not exist.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| StoreError::Io { path: folder.to_owned(), error })?;
        Ok(Self { folder: folder.to_owned(), sound: false })
    }

    /// What is there, the best first: the current one, then the one before. Empty if there is neither.
    pub fn load(&mut self) -> Vec<Result<Snapshot, StoreError>> {
        let found: Vec<_> =
            [CURRENT, PREVIOUS].iter().map(|name| read(&self.folder.join(name)).transpose()).collect();
        self.sound = matches!(found.first(), Some(Some(Ok(_))));
        found.into_iter().flatten().collect()
    }

    /// Keeps `snapshot` as the current one, and the current one as the one before.
    pub fn save(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let (fresh, current) = (self.folder.join(FRESH), self.folder.join(CURRENT));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::Io { path, error }
        };
        write(&fresh, snapshot).map_err(failed(&fresh))?;
        if self.sound {
            self.keep_current().map_err(failed(&current))?;
        }
        fs::rename(&fresh, &current).map_err(failed(&current))?;
        self.sound = true;
        sync_folder(&self.folder).map_err(failed(&self.folder))
    }

    /// Gives the current file the name of the one before, without taking its own away.
    fn keep_current(&self) -> io::Result<()> {
        let (current, linked, previous) =
            (self.folder.join(CURRENT), self.folder.join(LINKED), self.folder.join(PREVIOUS));
        match fs::remove_file(&linked) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::hard_link(&current, &linked) {
            Ok(()) => fs::rename(&linked, &previous),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()), // removed by hand: nothing to keep
            Err(_) => fs::rename(&current, &previous), // no links here: the gap is covered by the previous name
        }
    }
}

fn write(path: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let document = serde_json::to_vec(snapshot)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    fill(&file, &document)
}

fn fill(mut file: &File, document: &[u8]) -> io::Result<()> {
    file.write_all(line(document).as_bytes())?;
    file.write_all(document)?;
    file.sync_all()
}

fn line(document: &[u8]) -> String {
    use std::fmt::Write;
    let mut line = format!("{MAGIC} {VERSION} {} ", document.len());
    for byte in Sha256::digest(document) {
        let _ = write!(line, "{byte:02x}"); // writing to a String cannot fail
    }
    line.push('\n');
    line
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// None if there is no such file.
fn read(path: &Path) -> Result<Option<Snapshot>, StoreError> {
    let failed = |error| StoreError::Io { path: path.to_owned(), error };
    let file =
        match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(StoreError::Writable { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    let limit = (LINE_BYTES_MAX + SNAPSHOT_BYTES_MAX) as u64;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    let document = check(&bytes, path)?;
    match serde_json::from_slice(document) {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(error) => Err(StoreError::Foreign { path: path.to_owned(), error: error.to_string() }),
    }
}

/// The document behind the line, if the whole file is what was written.
fn check<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a [u8], StoreError> {
    let damaged = |what| StoreError::Damaged { path: path.to_owned(), what };
    let end = memchr::memchr(b'\n', &bytes[..bytes.len().min(LINE_BYTES_MAX)]);
    let (first, document) =
        bytes.split_at(end.ok_or_else(|| damaged("it does not begin with its line"))? + 1);
    let first = str::from_utf8(first).map_err(|_| damaged("its first line is no text"))?;
    let version = first.strip_prefix(MAGIC).and_then(|rest| rest.split(' ').nth(1));
    let version = version.ok_or_else(|| damaged("it does not begin with its line"))?;
    if version != VERSION
        && version.len() < VERSION.len() + 4
        && version.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(StoreError::Version { path: path.to_owned(), found: version.to_owned() });
    }
    if first == line(document) { Ok(document) } else { Err(damaged("its length or checksum does not fit")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::snapshot;
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("state")).expect("a store");
        (folder, store)
    }

    fn generations(store: &mut Store) -> Vec<Result<u64, String>> {
        let one = |found: Result<Snapshot, StoreError>| match found {
            Ok(snapshot) => Ok(snapshot.generation.get()),
            Err(error) => Err(error.to_string()),
        };
        store.load().into_iter().map(one).collect()
    }

    #[test]
    fn what_is_saved_is_loaded_and_the_one_before_is_kept() {
        let (_folder, mut store) = store();
        assert!(store.load().is_empty());
        for generation in 1..=3 {
            store.save(&snapshot(generation)).expect("saved");
        }
        assert_eq!(generations(&mut store), [Ok(3), Ok(2)]);
        let mode = fs::metadata(store.folder.join(CURRENT)).expect("a file").mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::metadata(&store.folder).expect("a folder").mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&store.folder).expect("a folder").count(), 2, "no leftovers");
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let (_folder, mut store) = store();
        store.save(&snapshot(1)).expect("saved");
        store.save(&snapshot(2)).expect("saved");
        let path = store.folder.join(CURRENT);
        let whole = fs::read(&path).expect("a file");
        for at in 0..whole.len() {
            for flip in [0x01, 0x20, 0x80, 0xFF] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                assert!(check(&bytes, &path).is_err(), "byte {at} flipped by {flip:#x}");
            }
            assert!(check(&whole[..at], &path).is_err(), "cut at {at}");
        }
        assert!(check(&[&whole[..], b"x"].concat(), &path).is_err(), "one byte more");
    }

    #[test]
    fn a_damaged_file_leaves_the_one_before_and_never_replaces_it() {
        let (_folder, mut store) = store();
        store.save(&snapshot(1)).expect("saved");
        store.save(&snapshot(2)).expect("saved");
        fs::write(store.folder.join(CURRENT), "rubbish").expect("written");
        let found = generations(&mut store);
        assert!(found[0].as_ref().is_err_and(|error| error.contains("damaged")), "{found:?}");
        assert_eq!(found[1], Ok(1));
        store.save(&snapshot(3)).expect("saved");
        assert_eq!(generations(&mut store), [Ok(3), Ok(1)], "the rubbish was not kept as the one before");
    }

    #[test]
    fn another_layout_is_named_as_such() {
        let (_folder, mut store) = store();
        store.save(&snapshot(1)).expect("saved");
        let path = store.folder.join(CURRENT);
        let text = fs::read_to_string(&path).expect("a file").replacen("snapshot 1 ", "snapshot 2 ", 1);
        fs::write(&path, text).expect("written");
        assert!(matches!(store.load()[..], [Err(StoreError::Version { .. })]));
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_by_name() {
        let (_folder, mut store) = store();
        store.save(&snapshot(1)).expect("saved");
        let path = store.folder.join(CURRENT);
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
            let [Err(error)] = &store.load()[..] else { panic!("mode {mode:o} was accepted") };
            assert!(error.to_string().contains("snapshot.json") && error.to_string().contains("chmod"));
        }
    }

    #[test]
    fn a_failed_save_leaves_what_was_there() {
        let (_folder, mut store) = store();
        store.save(&snapshot(1)).expect("saved");
        fs::create_dir(store.folder.join(FRESH)).expect("an obstacle");
        assert!(store.save(&snapshot(2)).is_err());
        assert_eq!(generations(&mut store), [Ok(1)]);
        fs::remove_dir(store.folder.join(FRESH)).expect("removed");
        store.save(&snapshot(3)).expect("saved");
        assert_eq!(generations(&mut store), [Ok(3), Ok(1)]);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        assert_eq!(fill(&full, b"{}").expect_err("full").kind(), io::ErrorKind::StorageFull);
    }
}
