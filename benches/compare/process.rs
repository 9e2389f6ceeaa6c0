//! What the system says about a proxy and its core.
//!
//! Owns: readings of `/proc`, and their differences.
//! Must not: run while anything is measured; a reading is taken before and after.
//! Read next: `rounds.rs`, which takes them.

use std::fs;
use std::time::{Duration, Instant};

use crate::bounds::proxy_core;

/// One reading.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    at: Instant,
    /// All threads of its processes, in nanoseconds: the scheduler's own count, not the 10 ms ticks of `stat`.
    cpu_ns: u64,
    /// How long its threads were ready and had no core.
    waited_ns: u64,
    switches: u64,
    rss_bytes: u64,
    /// Everything that ran on its cores, in ticks.
    core_ticks: u64,
    cores: usize,
}

/// What happened between two readings.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// CPU of the process.
    pub cpu: Duration,
    /// What others used of its cores, as a share of them.
    pub others: f64,
    /// How long a worker was ready without having a core, as a share of the time.
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
    /// Reads the processes of one proxy, and as many cores as it has workers; none if one of them is gone.
    pub fn take(pids: &[u32], workers: usize) -> Option<Self> {
        let mut reading = Self {
            at: Instant::now(),
            cpu_ns: 0,
            waited_ns: 0,
            switches: 0,
            rss_bytes: 0,
            core_ticks: 0,
            cores: workers,
        };
        for pid in pids {
            reading.add(*pid)?;
        }
        let cores = (0..workers).map(|worker| core_ticks(proxy_core(worker)));
        reading.core_ticks = cores.sum::<Option<u64>>()?;
        reading.at = Instant::now();
        Some(reading)
    }

    fn add(&mut self, pid: u32) -> Option<()> {
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            let path = task.path();
            let Ok(times) = fs::read_to_string(path.join("schedstat")) else { continue };
            let mut times = times.split_ascii_whitespace().map(|it| it.parse::<u64>().unwrap_or(0));
            self.cpu_ns += times.next().unwrap_or(0);
            self.waited_ns += times.next().unwrap_or(0);
            let status = fs::read_to_string(path.join("status")).unwrap_or_default();
            self.switches +=
                field(&status, "voluntary_ctxt_switches:") + field(&status, "nonvoluntary_ctxt_switches:");
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        self.rss_bytes += field(&status, "VmRSS:") * 1_024;
        Some(())
    }

    /// The difference to an earlier reading.
    pub fn since(&self, earlier: &Self) -> Used {
        // Of one core; of all of them where they are counted together.
        let wall = self.at.duration_since(earlier.at).as_secs_f64() * self.cores as f64;
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

/// A process and those that it started.
pub fn family(pid: u32) -> Vec<u32> {
    let parent = |it: &u32| {
        // The name before it is in brackets, and may have any character but a closing one at its end.
        let stat = fs::read_to_string(format!("/proc/{it}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = all.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    [pid].into_iter().chain(all.filter(|it| parent(it) == Some(pid))).collect()
}

/// The number behind a name at the start of a line.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// How many cores the machine has; some may not be ours to use.
pub fn cores() -> usize {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let of_one = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    stat.lines().filter(of_one).count()
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
        let before = Reading::take(&[pid], 1).expect("we are there");
        let end = Instant::now() + Duration::from_millis(80);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        let used = Reading::take(&[pid], 1).expect("we are there").since(&before);
        assert!(used.cpu > Duration::from_millis(5), "{used:?}");
        assert!(used.rss_bytes > 0, "{used:?}");
    }

    #[test]
    fn a_process_is_counted_with_those_it_started() {
        let mut child =
            std::process::Command::new("sleep").arg("9").spawn().expect("a program of every system");
        let family = family(std::process::id());
        assert!(family.contains(&child.id()) && family[0] == std::process::id(), "{family:?}");
        child.kill().and_then(|()| child.wait()).expect("it can be ended");
    }
}
