//! Messages from another thread to a worker: a bounded queue and one eventfd that wakes the ring.
//!
//! Owns: the queue, the coalescing flag, the eventfd. For control traffic only (a wake costs as much as a request
//! or two), never on the way of a request.
//! Must not: block the sender, or lose a message without telling it.
//! Read next: `worker.rs`, the receiver; `plane.rs`, the sender.

use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;

struct Shared<M> {
    queue: ArrayQueue<M>,
    bell: OwnedFd,
    rung: AtomicBool,
}

/// The sending side; any thread.
pub struct Mailbox<M>(Arc<Shared<M>>);

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The receiving side; moves to the worker before its runtime starts.
pub struct Letterbox<M>(Arc<Shared<M>>);

/// A mailbox for at most `messages` unread messages.
///
/// # Errors
/// No descriptor left for the eventfd.
pub fn mailbox<M>(messages: usize) -> io::Result<(Mailbox<M>, Letterbox<M>)> {
    let bell = rustix::event::eventfd(
        0,
        rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
    )?;
    let shared = Arc::new(Shared { queue: ArrayQueue::new(messages), bell, rung: AtomicBool::new(false) });
    Ok((Mailbox(Arc::clone(&shared)), Letterbox(shared)))
}

impl<M> Mailbox<M> {
    /// Queues `message` and wakes the worker.
    ///
    /// # Errors
    /// The queue is full: the message comes back.
    pub fn send(&self, message: M) -> Result<(), M> {
        self.0.queue.push(message)?;
        if !self.0.rung.swap(true, Ordering::SeqCst) {
            // The counter cannot overflow: at most one write per read, by the flag.
            let _ = rustix::io::write(&self.0.bell, &1u64.to_ne_bytes());
        }
        Ok(())
    }
}

impl<M> Letterbox<M> {
    /// Waits for messages for ever and hands each to `each`.
    ///
    /// # Errors
    /// The eventfd failed; the worker can no longer be reached and should end.
    pub async fn open(&self, mut each: impl FnMut(M)) -> io::Result<()> {
        let bell = self.0.bell.as_fd().try_clone_to_owned()?;
        // SAFETY: the duplicate is owned by this stream alone. It is no socket, but only `readable` is ever called.
        let bell = unsafe { std::os::unix::net::UnixStream::from_raw_fd(bell.into_raw_fd()) };
        let bell = monoio::net::UnixStream::from_std(bell)?;
        let mut count = [0u8; 8];
        loop {
            // Wait and read apart: on the epoll driver a file read would block the whole worker.
            bell.readable(false).await?;
            match rustix::io::read(&self.0.bell, &mut count) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
                Err(error) => return Err(error.into()),
            }
            self.0.rung.store(false, Ordering::SeqCst); // before draining: a later message rings again
            while let Some(message) = self.0.queue.pop() {
                each(message);
            }
        }
    }
}
