//! The admin address.
//!
//! Owns: which listener serves it now, and who may ask (SEC-LOC-03): on loopback a name other than localhost means
//! that a web page has made a browser come here, so it is refused.
//! Must not: serve anything that changes or reveals more than health and metrics.
//! Read next: [`super::api`].

use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::http::{Answer, Head};

/// Where a change puts the listener for housekeeping to take.
pub struct Door {
    next: Mutex<Option<Option<TcpListener>>>,
    wake: OwnedFd,
}

impl Door {
    /// Nothing waits behind it yet.
    pub fn new() -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { next: Mutex::new(None), wake })
    }

    /// From now on this one, or none.
    pub fn replace(&self, listener: Option<TcpListener>) {
        *self.next() = Some(listener);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes()); // a full counter wakes as well
    }

    /// What was put last, once; none if nothing was.
    pub fn take(&self) -> Option<Option<TcpListener>> {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]); // reset before looking, so that no wake is lost
        self.next().take()
    }

    /// Readable when there is something to take.
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn next(&self) -> MutexGuard<'_, Option<Option<TcpListener>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses requests that a web page made a browser send: `local` is the address they came to.
pub fn check(head: &Head, local: IpAddr) -> Result<(), Answer> {
    if !local.to_canonical().is_loopback() {
        return Ok(()); // reached by whatever name the network gives it
    }
    if head.has("host") && !head.field("host").is_some_and(is_local) {
        return Err(Answer::error(421, "this address is asked for as localhost or by its number only"));
    }
    let from_here = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| is_local(host));
    if head.has("origin") && !head.field("origin").is_some_and(from_here) {
        return Err(Answer::error(403, "web pages of other origins may not ask"));
    }
    Ok(())
}

/// `localhost` or a number, with or without a port.
fn is_local(authority: &str) -> bool {
    if let Some(rest) = authority.strip_prefix('[') {
        let Some((number, port)) = rest.split_once(']') else { return false };
        return number.parse::<std::net::Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    let known = host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::Ipv4Addr>().is_ok();
    known && (port.is_empty() || is_port(port))
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_and_localhost_are_local() {
        for local in [
            "localhost",
            "LOCALHOST:9190",
            "127.0.0.1",
            "127.0.0.1:9190",
            "10.1.2.3:1",
            "[::1]",
            "[::1]:9190",
        ] {
            assert!(is_local(local), "{local}");
        }
        for foreign in [
            "",
            "evil.example",
            "localhost.evil.example",
            "localhost:9190.evil.example",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "[evil]",
            "user@localhost",
            "127.0.0.1:80@evil.example",
            "::1",
        ] {
            assert!(!is_local(foreign), "{foreign}");
        }
    }
}
