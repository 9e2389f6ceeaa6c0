//! A companion process: `ringctl serve`, `ringload sim`, or `ringway` with arguments of a test's own.
//!
//! Owns: the process and its output, both gone with the test.
//! Must not: know what any of them does.
//! Read next: `gateway.rs`, for `ringway` itself.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::bounds::{POLL_EVERY, START_MAX};
use crate::programs::program;

/// A running companion.
#[derive(Debug)]
pub struct Companion {
    child: Child,
    name: String,
    log: tempfile::NamedTempFile,
}

impl Companion {
    /// Starts a program of the workspace.
    pub fn start(name: &str, args: &[&str], folder: &Path) -> Self {
        Self::start_with(name, args, folder, &[])
    }

    /// The same, in an environment with these variables too.
    pub fn start_with(name: &str, args: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Self {
        let log = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        let output = || Stdio::from(log.reopen().expect("the file is ours"));
        let mut command = Command::new(program(name));
        command.envs(variables.iter().copied());
        command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(output()).stderr(output());
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name: name.to_owned(), log }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn output(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// Waits until `ready` holds, or fails the test.
    pub fn wait_until(&mut self, what: &str, ready: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + START_MAX;
        while !ready(self) {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                panic!("{} ended with {status} before {what}:\n{}", self.name, self.output());
            }
            assert!(Instant::now() < deadline, "{}: no {what} in time:\n{}", self.name, self.output());
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Waits for its end.
    pub fn wait_for_exit(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} still runs after {within:?}:\n{}",
                self.name,
                self.output()
            );
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Kills it without a chance to clean up.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- output of {} ---\n{}", self.name, self.output());
        }
    }
}
