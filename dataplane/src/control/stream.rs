//! A connection with deadlines.
//!
//! Owns: one connected socket, Unix or TCP, non-blocking beneath and blocking with a deadline above.
//! Must not: know HTTP.
//! Read next: [`super::http`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::bounds::{BYTES_PER_SECOND_MIN, LINGER, LINGER_BYTES_MAX, PATIENCE};

/// One connected socket.
pub struct Stream(OwnedFd);

impl Stream {
    /// Takes a connected socket over.
    pub fn new(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let socket = socket.into();
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self(socket))
    }

    /// Reads some bytes; 0 is the peer's end. `TimedOut` at `deadline`.
    pub fn read(&self, into: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.0, &mut *into) {
                Ok(count) => return Ok(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait(self.as_fd(), PollFlags::IN, deadline)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes all of `bytes`, to a peer that takes them at a decent rate.
    pub fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + allowance(bytes.len());
        while !bytes.is_empty() {
            match rustix::io::write(&self.0, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait(self.as_fd(), PollFlags::OUT, deadline)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes what goes out at once, and closes. For peers that nobody has time for.
    pub fn offer(self, bytes: &[u8]) {
        let _ = rustix::io::write(&self.0, bytes); // whether it arrives is the peer's concern
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write);
    }

    /// Ends the connection so that the peer gets what was sent to it: a close with unread bytes would be a reset.
    pub fn linger(self) {
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write); // the peer may be gone already
        let deadline = Instant::now() + LINGER;
        let mut room = [0; 4_096];
        let mut left = LINGER_BYTES_MAX;
        while let Ok(count @ 1..) = self.read(&mut room, deadline) {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// How long moving `bytes` may take.
pub fn allowance(bytes: usize) -> Duration {
    PATIENCE + Duration::from_secs((bytes / BYTES_PER_SECOND_MIN) as u64)
}

/// Until `deadline`, as the kernel wants it; none when it has passed.
pub fn until(deadline: Instant) -> Option<Timespec> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { None } else { Timespec::try_from(left).ok() }
}

fn wait(fd: BorrowedFd<'_>, what: PollFlags, deadline: Instant) -> io::Result<()> {
    let Some(left) = until(deadline) else { return Err(io::ErrorKind::TimedOut.into()) };
    match poll(&mut [PollFd::new(&fd, what)], Some(&left)) {
        Ok(_) | Err(Errno::INTR) => Ok(()), // the caller tries again, and comes back here if it was too early
        Err(error) => Err(error.into()),
    }
}
