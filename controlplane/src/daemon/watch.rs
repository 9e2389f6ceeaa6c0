//! Tells when the config file may have changed: by the system's word, and by looking every few seconds.
//!
//! Owns: the watch on the file's folder (editors and orchestrators replace files, so the file itself is no
//! good to watch), the debounce, and the fallback. Must not: read the file; a sign is not a change.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::bounds::running as bounds;
use crate::log;

/// A watch on one file.
pub struct FileWatch {
    path: PathBuf,
    signs: Arc<Notify>,
    seen: Option<Looks>,
    /// Held for its `Drop`; none: the system does not report changes here.
    _watcher: Option<RecommendedWatcher>,
}

/// What `stat` says of a file, links followed: a config map is swapped by moving a link.
type Looks = (u64, u64, u64, i64, i64);

impl FileWatch {
    /// Starts watching. What happened before is not reported.
    pub fn new(path: &Path) -> Self {
        let signs = Arc::new(Notify::new());
        let watcher = match watcher(path, Arc::clone(&signs)) {
            Ok(watcher) => Some(watcher),
            Err(why) => {
                let every = format!("{} s", bounds::POLL_MS.as_secs());
                log::warn(
                    "the file is only looked at from time to time",
                    &[("every", &every), ("why", &why)],
                );
                None
            }
        };
        Self { path: path.to_owned(), signs, seen: looks(path), _watcher: watcher }
    }

    /// Waits until the file may have changed and has been quiet for a moment. Safe to drop.
    pub async fn changed(&mut self) {
        let mut poll = interval(bounds::POLL_MS);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.signs.notified() => self.quiet().await,
                _ = poll.tick() => {}
            }
            let now = looks(&self.path);
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }

    async fn quiet(&self) {
        let start = Instant::now();
        while start.elapsed() < bounds::DEBOUNCE_MS_MAX {
            if timeout(bounds::DEBOUNCE_MS, self.signs.notified()).await.is_err() {
                return;
            }
        }
    }
}

fn watcher(path: &Path, signs: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading it ourselves must not look like a sign, or each look would cause the next.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            signs.notify_one();
        }
    })?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

fn looks(path: &Path) -> Option<Looks> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}
