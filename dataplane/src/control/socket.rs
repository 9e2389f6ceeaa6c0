//! The control socket.
//!
//! Owns: taking its path from nobody who still answers, the rights on it, and who may connect (SEC-LOC-01).
//! Must not: use an abstract name, or set SO_REUSEPORT (newer kernels refuse it here).
//! Read next: [`super::housekeeping`], which accepts.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

/// The socket, held.
pub struct ControlSocket {
    /// Accepts.
    pub listener: UnixListener,
    file: SocketFile,
}

/// The file of a socket, to be removed when the process ends.
#[derive(Clone, Debug)]
pub struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl SocketFile {
    /// Removes it, unless a successor has put its own there.
    pub fn remove(&self) {
        let found = std::fs::symlink_metadata(&self.path).map(|meta| (meta.dev(), meta.ino()));
        if found.is_ok_and(|found| found == self.device_and_inode) {
            let _ = std::fs::remove_file(&self.path); // it may be gone already
        }
    }
}

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process serves it.
    #[error("another ringway answers on {}: stop it, or name another socket with --control", .0.display())]
    Alive(PathBuf),
    /// Something else has the path.
    #[error("{} exists and is no socket: remove it, or name another path with --control", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("control socket {}: {error}", .path.display())]
    Io {
        /// The socket or its folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl ControlSocket {
    /// Takes `path`: folder 0700 where it must be made, socket 0600. From here on the process creates no file that
    /// others may read.
    pub fn take(path: &Path) -> Result<Self, SocketError> {
        let failed = |error| SocketError::Io { path: path.to_owned(), error };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| SocketError::Io { path: folder.to_owned(), error })?;
        }
        clear(path)?;
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let meta = std::fs::symlink_metadata(path).map_err(failed)?;
        let file = SocketFile { path: path.to_owned(), device_and_inode: (meta.dev(), meta.ino()) };
        Ok(Self { listener, file })
    }

    /// Its file.
    pub fn file(&self) -> SocketFile {
        self.file.clone()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.file.remove();
    }
}

/// Removes a socket that nobody answers on, and nothing else.
fn clear(path: &Path) -> Result<(), SocketError> {
    let failed = |error| SocketError::Io { path: path.to_owned(), error };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Alive(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)), // not sure that it is dead, so it stays
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    uid: u32,
    pid: i32,
}

impl Peer {
    /// As the kernel knows it. Not by rustix, which holds a process id to be never 0: that of a peer in another
    /// container is.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let peer = nix::sys::socket::getsockopt(socket, nix::sys::socket::sockopt::PeerCredentials)?;
        Ok(Self { uid: peer.uid(), pid: peer.pid() })
    }

    /// Whether it may use the socket: our own user, or root.
    pub fn may_enter(self) -> bool {
        self.may_enter_as(rustix::process::geteuid().as_raw())
    }

    const fn may_enter_as(self, us: u32) -> bool {
        self.uid == us || self.uid == 0
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "uid {} pid {}", self.uid, self.pid)
    }
}

/// Where the socket is unless the command line says otherwise.
pub fn default_path() -> PathBuf {
    let folder = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    path_in(folder("RUNTIME_DIRECTORY"), folder("XDG_RUNTIME_DIR"))
}

/// systemd names several runtime directories with colons between; the first is ours.
fn path_in(runtime_directory: Option<String>, xdg_runtime_dir: Option<String>) -> PathBuf {
    const NAME: &str = "dataplane.sock";
    let given = |folder: Option<String>| folder.filter(|folder| !folder.is_empty());
    if let Some(folders) = given(runtime_directory) {
        let first = folders.split(':').next().unwrap_or_default();
        return Path::new(first).join(NAME);
    }
    let folder = given(xdg_runtime_dir).unwrap_or_else(|| "/run".to_owned());
    Path::new(&folder).join("ringway").join(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_path_follows_the_environment() {
        let some = |text: &str| Some(text.to_owned());
        for (systemd, xdg, want) in [
            (some("/run/a:/run/b"), some("/run/user/1"), "/run/a/dataplane.sock"),
            (None, some("/run/user/1"), "/run/user/1/ringway/dataplane.sock"),
            (some(""), some(""), "/run/ringway/dataplane.sock"),
        ] {
            assert_eq!(path_in(systemd, xdg), Path::new(want));
        }
    }

    #[test]
    fn the_socket_and_its_folder_are_ours_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run/control.sock");
        let socket = ControlSocket::take(&path).expect("a socket");
        let mode = |path: &Path| std::fs::metadata(path).expect("a file").mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a folder")), 0o700);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.sock");
        drop(UnixListener::bind(&path).expect("a socket that nobody serves any more"));
        let first = ControlSocket::take(&path).expect("taken from the dead");
        assert!(matches!(ControlSocket::take(&path), Err(SocketError::Alive(_))));
        std::fs::remove_file(&path).expect("removed behind its back");
        let second = ControlSocket::take(&path).expect("free");
        drop(first);
        assert!(path.exists(), "the first one's end does not remove the second's file");
        drop(second);
    }

    #[test]
    fn what_is_no_socket_is_never_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "precious").expect("written");
        assert!(matches!(ControlSocket::take(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "precious");
    }

    #[test]
    fn only_our_own_user_and_root_may_enter() {
        let peer = |uid| Peer { uid, pid: 1 };
        assert!(peer(1_000).may_enter_as(1_000) && peer(0).may_enter_as(1_000));
        assert!(!peer(1_001).may_enter_as(1_000));
    }
}
