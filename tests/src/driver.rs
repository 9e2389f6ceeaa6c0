//! Which I/O driver a test runs on: both where it is cheap.
//!
//! Owns: the choice (`RINGWAY_TEST_IO=uring|epoll` narrows it) and whether this system has io_uring at all.
//! Must not: start anything.
//! Read next: `gateway.rs`.

use std::fmt;
use std::sync::OnceLock;

/// A driver of `ringway --io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        })
    }
}

/// The drivers that tests of this run use.
pub fn drivers() -> Vec<Io> {
    let wanted = std::env::var("RINGWAY_TEST_IO").ok();
    let both = [Io::Uring, Io::Epoll].into_iter();
    let chosen: Vec<_> = both.filter(|io| wanted.as_ref().is_none_or(|w| *w == io.to_string())).collect();
    assert!(!chosen.is_empty(), "RINGWAY_TEST_IO is {wanted:?}; it must be uring or epoll");
    if chosen.contains(&Io::Uring) && !uring_works() {
        println!("skipped on io_uring: this system forbids it");
        return vec![Io::Epoll];
    }
    chosen
}

/// The one driver that a long or costly test uses: the first of [`drivers`].
pub fn preferred() -> Io {
    drivers()[0]
}

/// Runs a test once per driver, saying which one it was when it fails.
pub fn each_driver(test: impl Fn(Io)) {
    for io in drivers() {
        println!("driver: {io}");
        test(io);
    }
}

fn uring_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(crate::gateway::uring_works)
}
