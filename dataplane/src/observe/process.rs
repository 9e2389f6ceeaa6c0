//! What the kernel knows of this process.
//!
//! Owns: reading memory, CPU, descriptors and limits from /proc and the clocks.
//! Must not: fail a scrape; what cannot be read is left out.
//! Read next: [`super::metrics`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::exposition::Page;

/// Appends the families of this process; `started` is the wall clock at its start.
pub fn render(page: &mut Page<'_>, started: SystemTime) {
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.gauge("ringway_process_start_time_seconds", "Start of the process, in seconds since 1970.")
        .sample(&[], started.as_secs_f64());
    page.counter("ringway_process_cpu_seconds_total", "CPU time of the process, user and system.")
        .sample(&[], cpu().as_secs_f64());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut number = |name, help, key, scale| {
        if let Some(value) = field(&status, key) {
            page.gauge(name, help).sample(&[], value * scale);
        }
    };
    number("ringway_process_resident_memory_bytes", "Resident memory.", "VmRSS:", 1_024);
    number("ringway_process_virtual_memory_bytes", "Virtual memory.", "VmSize:", 1_024);
    number("ringway_process_threads", "Threads.", "Threads:", 1);
    if let Some(open) = open_fds() {
        page.gauge("ringway_process_open_fds", "Open file descriptors.").sample(&[], open);
    }
    if let Some(max) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        page.gauge("ringway_process_max_fds", "Largest number of file descriptors allowed.").sample(&[], max);
    }
}

fn cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

/// The first number behind `key` in /proc/self/status.
fn field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Since Linux 6.2 the folder's size is the count; listing 100,000 entries would take tens of milliseconds.
fn open_fds() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    let size = std::fs::metadata(FOLDER).ok()?.len();
    if size > 0 {
        return Some(size);
    }
    std::fs::read_dir(FOLDER).ok().map(|entries| entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::exposition::check;
    use super::*;

    #[test]
    fn the_process_is_described() {
        let mut out = String::new();
        render(&mut Page::new(&mut out), SystemTime::now());
        let series = check::series(&out);
        assert!(series["ringway_process_resident_memory_bytes"] > 1e6);
        assert!(series["ringway_process_open_fds"] >= 3.0);
        assert!(series["ringway_process_max_fds"] >= series["ringway_process_open_fds"]);
        assert!(series["ringway_process_threads"] >= 1.0);
    }
}
