//! The ladder of drivers: the best ring this kernel allows, else epoll.
//!
//! Owns: building a worker's runtime on its own thread, and saying which one it became.
//! Must not: hide a fallback: the caller logs what [`run`] reports.
//! Read next: `worker.rs`, which runs inside.

use std::future::Future;

use crate::bounds::{RING_COMPLETIONS, RING_ENTRIES};

/// What `--io` asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoChoice {
    /// io_uring or nothing.
    Uring,
    /// epoll, without trying io_uring.
    Epoll,
    /// io_uring if the system allows it, else epoll.
    #[default]
    Auto,
}

impl IoChoice {
    /// As `--io` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::Auto => "auto",
        }
    }
}

/// What a worker's runtime became, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring with SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1): 15 to 30 % less CPU at low and middle load.
    UringDefer,
    /// io_uring with COOP_TASKRUN (Linux 5.19).
    UringCoop,
    /// io_uring with default flags.
    Uring,
    /// epoll.
    Epoll,
}

impl Driver {
    /// Its name in logs, metrics and statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UringDefer => "uring-defer",
            Self::UringCoop => "uring-coop",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }

    fn flags(self) -> io_uring::Builder {
        let mut builder = io_uring::IoUring::builder();
        match self {
            Self::UringDefer => {
                builder.setup_single_issuer().setup_defer_taskrun().setup_cqsize(RING_COMPLETIONS);
            }
            Self::UringCoop => {
                builder.setup_coop_taskrun().setup_cqsize(RING_COMPLETIONS);
            }
            Self::Uring | Self::Epoll => {}
        }
        builder
    }
}

/// Builds the best runtime that `choice` and the system allow and runs `main` on it until it ends.
///
/// Call it on the worker's own thread: a ring belongs to the thread that made it. `main` is told which driver won
/// and, if io_uring was wanted and refused, why.
///
/// # Errors
/// `choice` is `Uring` and the system refuses it, or epoll cannot be set up either.
pub fn run<F, T>(
    choice: IoChoice,
    main: impl FnOnce(Driver, Option<std::io::Error>) -> F,
) -> std::io::Result<T>
where
    F: Future<Output = T> + 'static,
    T: 'static,
{
    let mut refused = None;
    if choice != IoChoice::Epoll {
        for driver in [Driver::UringDefer, Driver::UringCoop, Driver::Uring] {
            let built = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
                .with_entries(RING_ENTRIES)
                .uring_builder(driver.flags())
                .enable_timer()
                .build();
            match built {
                Ok(mut runtime) => return Ok(runtime.block_on(main(driver, refused))),
                Err(error) => refused = Some(error),
            }
        }
        if choice == IoChoice::Uring {
            return Err(refused.expect("the loop ended on an error"));
        }
    }
    let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build()?;
    Ok(runtime.block_on(main(Driver::Epoll, refused)))
}

/// The cores this process may run on, as the cpuset of its container or `taskset` says.
pub fn allowed_cores() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None);
    set.map_or_else(
        |_| Vec::new(),
        |set| (0..rustix::thread::CpuSet::MAX_CPU).filter(|&it| set.is_set(it)).collect(),
    )
}

/// Binds the calling thread to one core. Best effort: a container may forbid it.
pub fn pin_to_core(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}
