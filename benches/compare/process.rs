//! What the system says about a proxy and its core.
//!
//! Owns: readings of `/proc`, and their differences.
//! Must not: run while anything is measured; a reading is taken before and after.
//! Read next: `rounds.rs`, which takes them.

use std::fs;
use std::time::{Duration, Instant};

/// One reading.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    at: Instant,
    /// All threads of the process, in nanoseconds: the scheduler's own count, not the 10 ms ticks of `stat`.
    cpu_ns: u64,
    /// How long its threads were ready and had no core.
    waited_ns: u64,
    switches: u64,
    rss_bytes: u64,
    /// Everything that ran on the core, in ticks.
    core_ticks: u64,
}

/// What happened between two readings.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// CPU of the process.
    pub cpu: Duration,
    /// What others used of its core, as a share of the core.
    pub others: f64,
    /// How long it was ready without having a core, as a share of the time.
    pub waited: f64,
    /// Context switches of all its threads.
    pub switches: u64,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// By how much it grew.
    pub rss_grown_bytes: u64,
}

/// Ticks of `/proc/stat` in a second: fixed by the kernel's interface to user space.
const TICKS_PER_S: f64 = 100.0;

impl Reading {
    /// Reads the process and the core; none if the process is gone.
    pub fn take(pid: u32, core: usize) -> Option<Self> {
        let (mut cpu_ns, mut waited_ns, mut switches) = (0, 0, 0);
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            let path = task.path();
            let Ok(times) = fs::read_to_string(path.join("schedstat")) else { continue };
            let mut times = times.split_ascii_whitespace().map(|it| it.parse::<u64>().unwrap_or(0));
            cpu_ns += times.next().unwrap_or(0);
            waited_ns += times.next().unwrap_or(0);
            let status = fs::read_to_string(path.join("status")).unwrap_or_default();
            switches +=
                field(&status, "voluntary_ctxt_switches:") + field(&status, "nonvoluntary_ctxt_switches:");
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Self {
            at: Instant::now(),
            cpu_ns,
            waited_ns,
            switches,
            rss_bytes: field(&status, "VmRSS:") * 1_024,
            core_ticks: core_ticks(core)?,
        })
    }

    /// The difference to an earlier reading.
    pub fn since(&self, earlier: &Self) -> Used {
        let wall = self.at.duration_since(earlier.at).as_secs_f64();
        let cpu = Duration::from_nanos(self.cpu_ns.saturating_sub(earlier.cpu_ns));
        let core = self.core_ticks.saturating_sub(earlier.core_ticks) as f64 / TICKS_PER_S;
        Used {
            cpu,
            others: ((core - cpu.as_secs_f64()) / wall).max(0.0),
            waited: self.waited_ns.saturating_sub(earlier.waited_ns) as f64 / 1e9 / wall,
            switches: self.switches.saturating_sub(earlier.switches),
            rss_bytes: self.rss_bytes,
            rss_grown_bytes: self.rss_bytes.saturating_sub(earlier.rss_bytes),
        }
    }
}

/// The number behind a name at the start of a line.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Ticks that the core was busy with anything, time stolen by the host included.
fn core_ticks(core: usize) -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().map(|it| it.parse().unwrap_or(0)).collect();
    // user nice system (idle iowait) irq softirq steal; guest times are part of user and nice.
    Some([0, 1, 2, 5, 6, 7].iter().filter_map(|&at| ticks.get(at)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spinning_process_is_seen_to_use_its_time() {
        let pid = std::process::id();
        let before = Reading::take(pid, 0).expect("we are there");
        let end = Instant::now() + Duration::from_millis(80);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        let used = Reading::take(pid, 0).expect("we are there").since(&before);
        assert!(used.cpu > Duration::from_millis(5), "{used:?}");
        assert!(used.rss_bytes > 0, "{used:?}");
    }
}
