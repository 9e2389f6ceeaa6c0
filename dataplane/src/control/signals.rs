//! Signals.
//!
//! Owns: the handlers, and turning what they saw into words for housekeeping.
//! Must not: do anything in a handler but set a flag, wake housekeeping, or end the process the second time.
//! Read next: [`super::housekeeping`].

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM or SIGINT, the first: finish and end. The second ends the process in the handler, whatever else hangs.
    Drain,
    /// SIGHUP: open the logs again.
    Reopen,
    /// SIGUSR2: hand over to a new binary.
    Upgrade,
}

/// The handlers, installed for as long as the process lives.
pub struct Signals {
    pipe: UnixStream,
    drain: Arc<AtomicBool>,
    drain_told: bool,
    reopen: Arc<AtomicBool>,
    upgrade: Arc<AtomicBool>,
}

/// What the process exits with when it is told a second time: streams were cut.
const EXIT_FORCED: i32 = 1;

impl Signals {
    /// Installs them.
    pub fn install() -> io::Result<Self> {
        let (pipe, wake) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let flag = || Arc::new(AtomicBool::new(false));
        let signals = Self { pipe, drain: flag(), drain_told: false, reopen: flag(), upgrade: flag() };
        for signal in [SIGTERM, SIGINT] {
            // Before the flag is set for the first time, so that the first signal does not end the process.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                EXIT_FORCED,
                Arc::clone(&signals.drain),
            )?;
        }
        let flags = [
            (SIGTERM, &signals.drain),
            (SIGINT, &signals.drain),
            (SIGHUP, &signals.reopen),
            (SIGUSR2, &signals.upgrade),
        ];
        for (signal, flag) in flags {
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, wake.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Readable when a signal came.
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// What was asked for since the last call; a drain only once.
    pub fn take(&mut self) -> Vec<Asked> {
        let mut room = [0; 64];
        while matches!(self.pipe.read(&mut room), Ok(1..)) {} // reset before the flags, so that no signal is lost
        let mut asked = Vec::new();
        if self.drain.load(Ordering::SeqCst) && !self.drain_told {
            self.drain_told = true;
            asked.push(Asked::Drain);
        }
        if self.reopen.swap(false, Ordering::SeqCst) {
            asked.push(Asked::Reopen);
        }
        if self.upgrade.swap(false, Ordering::SeqCst) {
            asked.push(Asked::Upgrade);
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use signal_hook::low_level::raise;

    use super::*;

    /// Handlers belong to the process, so each case runs in a process of its own: this test binary, told to run one
    /// of the `as_a_child` tests alone.
    fn run_child(test: &str) -> Option<i32> {
        let this = std::env::current_exe().expect("the test binary");
        let path = format!("control::signals::tests::as_a_child::{test}");
        let child = Command::new(this).args(["--exact", &path, "--ignored", "--test-threads=1"]).output();
        child.expect("started").status.code()
    }

    #[test]
    fn each_signal_is_told_once() {
        assert_eq!(run_child("signals_are_told"), Some(0));
    }

    #[test]
    fn a_second_termination_ends_the_process_at_once() {
        assert_eq!(run_child("terminates_twice"), Some(EXIT_FORCED));
    }

    mod as_a_child {
        use super::*;

        #[test]
        #[ignore = "run by the tests above, in a process of its own"]
        fn signals_are_told() {
            let mut signals = Signals::install().expect("installed");
            assert_eq!(signals.take(), []);
            raise(SIGHUP).expect("raised");
            raise(SIGUSR2).expect("raised");
            assert_eq!(signals.take(), [Asked::Reopen, Asked::Upgrade]);
            raise(SIGINT).expect("raised");
            assert_eq!(signals.take(), [Asked::Drain]);
            assert_eq!(signals.take(), []);
        }

        #[test]
        #[ignore = "run by the tests above, in a process of its own"]
        fn terminates_twice() {
            let _signals = Signals::install().expect("installed");
            raise(SIGTERM).expect("raised");
            raise(SIGINT).expect("raised");
            std::process::exit(99); // never reached
        }
    }
}
