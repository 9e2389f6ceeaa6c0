//! `ringctl up`: a `ringway` beside the daemon, started again when it dies.
//!
//! Owns: finding the binary, the child process, and passing signals on.
//! Must not: stop a data plane that it did not start.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::bounds::running as bounds;
use crate::client::DataPlane;
use crate::daemon::publish::Backoff;
use crate::log;

const NAME: &str = "ringway";

/// What `ringway` exits with when its arguments or its last snapshot will not do.
const REFUSED: i32 = 2;

/// Between two looks at a data plane that somebody else started.
const LOOK_MS: Duration = Duration::from_millis(500);

/// Why there is no data plane.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// No binary.
    #[error(
        "cannot find `{NAME}`, neither beside {} nor in PATH; build it with `cargo build --release -p ringway`, \
         or start it yourself and use `ringctl serve`",
        beside.display()
    )]
    NotFound {
        /// Where this program is.
        beside: PathBuf,
    },
    /// It is there but does not start.
    #[error("cannot start {}: {why}", binary.display())]
    Start {
        /// The binary.
        binary: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// It ends at once, on purpose.
    #[error("{} refuses to start, see above; its last snapshot is in {}", binary.display(), state.display())]
    Refused {
        /// The binary.
        binary: PathBuf,
        /// Its state.
        state: PathBuf,
    },
}

/// The data plane to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its binary.
    pub binary: PathBuf,
    /// Where it keeps its last good snapshot.
    pub state: PathBuf,
    /// Its control socket.
    pub control: PathBuf,
    /// How much of the machine it takes.
    pub size: Size,
}

/// How much of the machine the data plane takes.
#[derive(Clone, Debug, Default)]
pub struct Size {
    /// How many workers, in its own words.
    pub workers: Option<String>,
    /// Its workers' cores are left to the scheduler.
    pub no_pin: bool,
}

/// Finds `ringway`: beside this program, else in `PATH`.
pub fn find() -> Result<PathBuf, SuperviseError> {
    let beside = std::env::current_exe().unwrap_or_default().with_file_name(NAME);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(NAME));
    let found = std::iter::once(beside.clone()).chain(in_path).find(|candidate| is_program(candidate));
    found.ok_or(SuperviseError::NotFound { beside })
}

fn is_program(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Keeps the data plane running until it ends of itself or `stops` counts up: the first stop drains, the
/// second ends at once, the third kills.
pub async fn supervise(plan: &Plan, mut stops: watch::Receiver<u32>) -> Result<(), SuperviseError> {
    let mut backoff = Backoff::default();
    let mut lived = false;
    loop {
        if !leave_alone(&plan.control, &mut stops).await {
            return Ok(());
        }
        let start = Instant::now();
        let mut child = spawn(plan)?;
        let status = attend(&mut child, &mut stops).await;
        if *stops.borrow() > 0 {
            log::info("the data plane has stopped", &[("status", &words(&status))]);
            return Ok(());
        }
        match status.as_ref().ok().and_then(ExitStatus::code) {
            Some(0) => {
                log::info("the data plane was drained and has ended", &[]);
                return Ok(());
            }
            // One that ran before will run again once its port, say, is free; one that never did needs a
            // person.
            Some(REFUSED) if !lived => {
                return Err(SuperviseError::Refused {
                    binary: plan.binary.clone(),
                    state: plan.state.clone(),
                });
            }
            _ => {}
        }
        if start.elapsed() >= bounds::CHILD_STEADY_MS_MIN {
            (lived, backoff) = (true, Backoff::default());
        }
        let wait = backoff.next();
        let again_in = format!("{} ms", wait.as_millis());
        log::warn(
            "the data plane died; starting it again",
            &[("status", &words(&status)), ("in", &again_in)],
        );
        tokio::select! {
            () = sleep(wait) => {}
            _ = stops.changed() => return Ok(()),
        }
    }
}

/// A data plane that outlived an earlier `ringctl up`, or that somebody started by hand, is used as it is.
/// False: we were stopped meanwhile.
async fn leave_alone(control: &std::path::Path, stops: &mut watch::Receiver<u32>) -> bool {
    let dataplane = DataPlane::at(control);
    let mut said = false;
    while dataplane.stats().await.is_ok() {
        if !std::mem::replace(&mut said, true) {
            log::info("a data plane runs already and is used as it is", &[("control", &control.display())]);
        }
        tokio::select! {
            () = sleep(LOOK_MS) => {}
            _ = stops.changed() => return false,
        }
    }
    true
}

fn spawn(plan: &Plan) -> Result<Child, SuperviseError> {
    let mut command = Command::new(&plan.binary);
    command.arg("--control").arg(&plan.control).arg("--state-dir").arg(&plan.state);
    if plan.size.no_pin {
        command.arg("--no-pin");
    }
    if let Some(workers) = &plan.size.workers {
        command.arg("--workers").arg(workers);
    }
    // A group of its own: Ctrl-C in a terminal reaches only us, and we pass it on as one drain, not two.
    let child = command.stdin(Stdio::null()).process_group(0).spawn();
    let child = child.map_err(|why| SuperviseError::Start { binary: plan.binary.clone(), why })?;
    let (binary, pid) = (plan.binary.display(), child.id().unwrap_or_default());
    log::info("started the data plane", &[("binary", &binary), ("pid", &pid)]);
    Ok(child)
}

async fn attend(child: &mut Child, stops: &mut watch::Receiver<u32>) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            Ok(()) = stops.changed() => {
                let stops = *stops.borrow_and_update();
                pass_on(child, if stops < 3 { Signal::TERM } else { Signal::KILL });
            }
        }
    }
}

fn pass_on(child: &Child, signal: Signal) {
    // The child is not reaped yet, so its number cannot belong to anybody else.
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        let _ = kill_process(pid, signal); // it may have ended just now
    }
}

fn words(status: &io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(why) => why.to_string(),
    }
}
