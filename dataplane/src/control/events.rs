//! `GET /v1/events`: what happens, as it happens.
//!
//! Owns: the subscribers, a bounded queue for each, and the loop that writes one subscriber's stream.
//! Must not: wait for a subscriber; one that falls behind is cut off.
//! Read next: [`super::pipeline`], which publishes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ringway_contract::Generation;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::bounds::{EVENTS_WAITING_MAX, HEARTBEAT, SUBSCRIBERS_MAX};
use super::stream::{Stream, until};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All workers run another snapshot.
    Generation(Generation),
    /// An endpoint was taken out or put back.
    Endpoint {
        /// `backend/authority`.
        name: String,
        /// Whether it takes no new requests now.
        drained: bool,
    },
}

impl Event {
    fn text(&self) -> String {
        let (name, data) = match self {
            Self::Generation(generation) => ("generation", serde_json::json!({ "generation": generation })),
            Self::Endpoint { name, drained } => {
                ("endpoint", serde_json::json!({ "endpoint": name, "drained": drained }))
            }
        };
        format!("event: {name}\ndata: {data}\n\n")
    }
}

/// All subscribers.
#[derive(Default)]
pub struct Events {
    subscribers: Mutex<Vec<Arc<Queue>>>,
}

/// What waits for one subscriber.
struct Queue {
    waiting: Mutex<Waiting>,
    wake: OwnedFd,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Arc<str>>,
    behind: bool,
}

impl Events {
    /// Tells all subscribers.
    pub fn publish(&self, event: &Event) {
        let text: Arc<str> = event.text().into();
        for queue in self.subscribers().iter() {
            queue.push(&text);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.subscribers().len()
    }

    /// One more; none if there are too many.
    pub fn subscribe(self: &Arc<Self>) -> io::Result<Option<Subscription>> {
        let mut all = self.subscribers();
        if all.len() >= SUBSCRIBERS_MAX {
            return Ok(None);
        }
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let queue = Arc::new(Queue { waiting: Mutex::default(), wake });
        all.push(Arc::clone(&queue));
        Ok(Some(Subscription { events: Arc::clone(self), queue }))
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&self, text: &Arc<str>) {
        let mut waiting = self.waiting();
        if waiting.events.len() < EVENTS_WAITING_MAX {
            waiting.events.push_back(Arc::clone(text));
        } else {
            waiting.behind = true;
        }
        drop(waiting);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes()); // a full counter wakes as well
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One subscriber, until it is dropped.
#[must_use]
pub struct Subscription {
    events: Arc<Events>,
    queue: Arc<Queue>,
}

impl Subscription {
    /// Writes `first` and then every event to `stream` until the peer leaves or falls behind.
    pub fn serve(self, stream: &Stream, first: Option<&Event>) -> io::Result<()> {
        stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
              connection: close\r\n\r\n: ringway events\n\n",
        )?;
        if let Some(event) = first {
            stream.write_all(event.text().as_bytes())?;
        }
        loop {
            if self.wait(stream)? == Woken::PeerSpoke {
                return Ok(()); // it left; or it sent something, which has no meaning here
            }
            let Waiting { events, behind } = std::mem::take(&mut *self.queue.waiting());
            let mut text: String = events.iter().map(|event| &**event).collect();
            if behind {
                text.push_str("event: behind\ndata: {\"error\":\"events were lost; subscribe again\"}\n\n");
            } else if text.is_empty() {
                text.push_str(":\n\n");
            }
            stream.write_all(text.as_bytes())?;
            if behind {
                return Ok(());
            }
        }
    }

    /// Waits for an event, the peer, or the time of a heartbeat.
    fn wait(&self, stream: &Stream) -> io::Result<Woken> {
        let (peer, wake) = (stream.as_fd(), self.queue.wake.as_fd());
        let deadline = Instant::now() + HEARTBEAT;
        loop {
            let mut fds =
                [PollFd::new(&peer, PollFlags::IN | PollFlags::RDHUP), PollFd::new(&wake, PollFlags::IN)];
            let Some(left) = until(deadline) else { return Ok(Woken::Time) };
            match poll(&mut fds, Some(&left)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            if !fds[0].revents().is_empty() {
                return Ok(Woken::PeerSpoke);
            }
            let _ = rustix::io::read(wake, &mut [0; 8]); // reset; the queue is looked at next
            return Ok(Woken::Event);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Woken {
    Event,
    PeerSpoke,
    Time,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.events.subscribers().retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_subscriber_that_falls_behind_gets_what_waited_and_is_cut_off() {
        let events = Arc::new(Events::default());
        let subscription = events.subscribe().expect("an eventfd").expect("room");
        for number in 0..=EVENTS_WAITING_MAX as u64 {
            events.publish(&Event::Generation(Generation::new(number)));
        }
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        subscription.serve(&Stream::new(ours).expect("a stream"), None).expect("served to its end");
        let mut text = String::new();
        theirs.read_to_string(&mut text).expect("text");
        assert_eq!(text.matches("event: generation").count(), EVENTS_WAITING_MAX);
        assert!(text.contains("event: behind"));
        assert_eq!(events.count(), 0);
    }
}
