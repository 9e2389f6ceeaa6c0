//! The access log: one line per exchange.
//!
//! Owns: a bounded queue per worker, the one thread that empties them, formats and writes, and the count of what
//! was dropped. That thread is not the housekeeping thread: a full disk or a pipe that nobody reads stops it, and
//! must not stop the control socket with it.
//! Must not: block a worker, or cost it more than one wake-up of the writer per [`TURN`].
//! Read next: `line.rs`, how a line looks.
//!
//! The wake-up: the writer sleeps only behind the flag `asleep`, which it sets before it looks at the queues a last
//! time. A worker pushes first and looks at the flag second, with a fence between the two on both sides, so either
//! the writer sees the record or the worker sees the flag. After a turn with work the writer pauses for `TURN` with
//! the flag down: under load no worker ever wakes it, and when idle it takes no CPU at all.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;
use ringway_contract::snapshot::{AccessLog as Destination, LogFormat, Logging};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};

use super::bounds::{BATCH_BYTES_MAX, LINE_BYTES_MAX, RECORDS_MAX, STALL, TURN};
use super::record::Record;
use super::{event_log, line};

/// The access log, shared by all workers and housekeeping.
pub struct AccessLog {
    lanes: Box<[CachePadded<Lane>]>,
    format: LogFormat,
    enabled: AtomicBool,
    asleep: CachePadded<AtomicBool>,
    writer: OnceLock<Thread>,
    thread: Mutex<Option<JoinHandle<()>>>,
    orders: Mutex<Orders>,
    stop: AtomicBool,
    written: AtomicU64,
    lost: AtomicU64,
}

/// What one worker pushes into. Only that worker writes `dropped`.
struct Lane {
    records: ArrayQueue<Record>,
    dropped: AtomicU64,
}

/// What the writer is asked to do before its next turn.
#[derive(Default)]
struct Orders {
    target: Option<Target>,
    reopen: bool,
}

impl AccessLog {
    /// Starts the writer, with the log off until [`AccessLog::switch`]. `format` is for snapshots that name none.
    pub fn start(workers: usize, format: LogFormat) -> io::Result<Arc<Self>> {
        let target = Target { format, sink: Sink::Off };
        let lane =
            |_| CachePadded::new(Lane { records: ArrayQueue::new(RECORDS_MAX), dropped: AtomicU64::new(0) });
        let log = Arc::new(Self {
            lanes: (0..workers).map(lane).collect(),
            format,
            enabled: AtomicBool::new(false),
            asleep: CachePadded::new(AtomicBool::new(false)),
            writer: OnceLock::new(),
            thread: Mutex::new(None),
            orders: Mutex::default(),
            stop: AtomicBool::new(false),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let shared = Arc::clone(&log);
        let name = thread::Builder::new().name("access-log".to_owned());
        let handle =
            name.spawn(move || Writer { log: shared, target, batch: String::new(), lane: 0 }.run())?;
        let _ = log.writer.set(handle.thread().clone()); // set once: nobody else has seen `log` yet
        *locked(&log.thread) = Some(handle);
        Ok(log)
    }

    /// Queues `record` on the lane of its worker. Never blocks; a full queue counts a drop.
    pub fn push(&self, record: &Record) {
        if !self.enabled.load(Ordering::Relaxed) {
            return;
        }
        let Some(lane) = self.lanes.get(usize::from(record.worker)) else {
            debug_assert!(false, "a record of a worker that does not exist");
            return;
        };
        if lane.records.push(*record).is_err() {
            // Load and store, not an addition in place: this worker is the only one to write it.
            lane.dropped.store(lane.dropped.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst); // the record before the flag: see the module's text
        if self.asleep.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Records that found their queue full.
    pub fn dropped(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.dropped.load(Ordering::Relaxed)).sum()
    }

    /// Lines written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Lines that were formatted and could not be written: disk full, reader gone.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Opens the file again under its name, at the writer's next turn: for log rotation.
    pub fn reopen(&self) {
        locked(&self.orders).reopen = true;
        self.wake();
    }

    /// Opens what `logging` names, without writing to it yet. A file that others may write is refused (SEC-LOC-04).
    pub fn open(&self, logging: &Logging) -> io::Result<Target> {
        let sink = match &logging.access {
            Destination::Off => Sink::Off,
            Destination::Stdout => Sink::Stdout(io::stdout()),
            Destination::Path(path) => {
                let path = PathBuf::from(path);
                Sink::File { file: open_file(&path)?, path }
            }
        };
        Ok(Target { format: logging.format.unwrap_or(self.format), sink })
    }

    /// Writes to `target` from the writer's next turn on.
    pub fn switch(&self, target: Target) {
        self.enabled.store(!target.is_off(), Ordering::Relaxed);
        locked(&self.orders).target = Some(target);
        self.wake();
    }

    /// Writes out what is queued and ends the writer. False if that took longer than `within`: then lines are lost
    /// with the process, which is better than a process that a stuck pipe keeps from ending.
    pub fn close(&self, within: Duration) -> bool {
        self.stop.store(true, Ordering::SeqCst);
        self.wake();
        let Some(handle) = locked(&self.thread).take() else { return true };
        let deadline = Instant::now() + within;
        while !handle.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        handle.join().is_ok()
    }

    fn wake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

/// Where lines go, opened: what can fail has been tried before anything is switched.
pub struct Target {
    format: LogFormat,
    sink: Sink,
}

enum Sink {
    Off,
    Stdout(io::Stdout),
    File { file: File, path: PathBuf },
}

impl Target {
    const fn is_off(&self) -> bool {
        matches!(self.sink, Sink::Off)
    }

    fn reopen(&mut self) {
        if let Sink::File { file, path } = &mut self.sink {
            match open_file(path) {
                Ok(fresh) => *file = fresh,
                Err(error) => event_log::error(
                    "the access log cannot be opened again; the old file stays in use",
                    &[("path", &path.display()), ("error", &error)],
                ),
            }
        }
    }

    /// Writes as many whole lines as go out without waiting longer than [`STALL`]; says how many bytes.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Off => Ok(lines.len()),
            Sink::Stdout(stdout) => write_ready(stdout.as_fd(), lines),
            Sink::File { file, .. } if is_regular(file) => file.write_all(lines).map(|()| lines.len()),
            Sink::File { file, .. } => write_ready(file.as_fd(), lines),
        }
    }
}

/// Opens for appending, 0600. `NONBLOCK` matters only for a FIFO: without a reader it fails instead of waiting.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd: OwnedFd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    let stat = rustix::fs::fstat(&fd)?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if regular && stat.st_mode & 0o022 != 0 {
        let text = format!("{} may be written by others: chmod go-w {0}", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(File::from(fd))
}

fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file())
}

/// One write to something that may be full: a pipe, a terminal, a socket. Takes whole lines up to what a ready pipe
/// is sure to take, so that it neither blocks nor leaves half a line.
fn write_ready(fd: rustix::fd::BorrowedFd<'_>, lines: &[u8]) -> io::Result<usize> {
    let stall = Timespec { tv_sec: 0, tv_nsec: i64::from(STALL.subsec_nanos()) };
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    match poll(&mut fds, Some(&stall)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(0),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    match rustix::io::write(fd, whole_lines(lines, LINE_BYTES_MAX)) {
        Ok(count) => Ok(count),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// The longest run of whole lines within `max` bytes.
fn whole_lines(lines: &[u8], max: usize) -> &[u8] {
    let reach = &lines[..lines.len().min(max)];
    match memchr::memrchr(b'\n', reach) {
        Some(end) => &reach[..=end],
        None => reach,
    }
}

/// The thread that writes.
struct Writer {
    log: Arc<AccessLog>,
    target: Target,
    batch: String,
    /// The lane to begin with, so that a busy one cannot keep the others waiting.
    lane: usize,
}

impl Writer {
    fn run(mut self) {
        loop {
            self.obey();
            let count = self.format();
            if count > 0 {
                self.write(count);
                if !self.stopping() && self.batch.len() < BATCH_BYTES_MAX / 2 {
                    thread::park_timeout(TURN); // an order ends the pause early, a record does not
                }
            } else if self.stopping() {
                return;
            } else {
                self.sleep();
            }
        }
    }

    fn stopping(&self) -> bool {
        self.log.stop.load(Ordering::SeqCst)
    }

    fn obey(&mut self) {
        let orders = std::mem::take(&mut *locked(&self.log.orders));
        if let Some(target) = orders.target {
            self.target = target;
        }
        if orders.reopen {
            self.target.reopen();
        }
    }

    /// Fills the batch from all lanes in turn; says how many lines it holds.
    fn format(&mut self) -> u64 {
        self.batch.clear();
        self.lane = (self.lane + 1) % self.log.lanes.len().max(1);
        let mut count = 0;
        let (before, after) = self.log.lanes.split_at(self.lane.min(self.log.lanes.len()));
        for lane in after.iter().chain(before) {
            for _ in 0..RECORDS_MAX {
                if self.batch.len() + LINE_BYTES_MAX > BATCH_BYTES_MAX {
                    return count;
                }
                let Some(record) = lane.records.pop() else { break };
                if !self.target.is_off() {
                    line::push(&mut self.batch, self.target.format, &record);
                    count += 1;
                }
            }
        }
        count
    }

    /// Writes the batch, however long it takes, unless it is told to stop or the target fails.
    fn write(&mut self, count: u64) {
        let batch = std::mem::take(&mut self.batch);
        let mut rest = batch.as_bytes();
        while !rest.is_empty() {
            match self.target.write(rest) {
                Ok(0) if self.stopping() => break,
                Ok(taken) => rest = &rest[taken..],
                Err(error) => {
                    self.report(&error);
                    break;
                }
            }
            self.obey();
        }
        let lost = memchr::memchr_iter(b'\n', rest).count() as u64;
        self.log.lost.fetch_add(lost, Ordering::Relaxed);
        self.log.written.fetch_add(count - lost, Ordering::Relaxed);
        self.batch = batch;
    }

    /// Only the first failure since a line was last written is worth a line of its own.
    fn report(&self, error: &io::Error) {
        if self.log.lost() == 0 || self.log.written() > 0 {
            event_log::error("the access log cannot be written", &[("error", error)]);
        }
    }

    /// Waits for a record or an order.
    fn sleep(&self) {
        self.log.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst); // the flag before the queues: see the module's text
        let empty = self.log.lanes.iter().all(|lane| lane.records.is_empty());
        if empty && !self.stopping() {
            thread::park();
        }
        self.log.asleep.store(false, Ordering::Relaxed);
    }
}

/// The lock of something that is valid whatever its holder died of.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use super::super::line::tests::record;
    use super::*;

    fn to_file(path: &Path) -> Logging {
        Logging { access: Destination::Path(path.display().to_string()), format: None }
    }

    fn started(workers: usize, path: &Path) -> Arc<AccessLog> {
        let log = AccessLog::start(workers, LogFormat::Text).expect("started");
        log.switch(log.open(&to_file(path)).expect("opened"));
        log
    }

    fn eventually(what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn records_of_all_workers_are_written_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let log = started(3, &path);
        thread::scope(|scope| {
            for worker in 0..3 {
                let log = &log;
                scope.spawn(move || (0..1_000).for_each(|_| log.push(&record(worker))));
            }
        });
        assert!(log.close(Duration::from_secs(5)));
        let text = std::fs::read_to_string(&path).expect("a file");
        assert_eq!((text.lines().count(), log.written(), log.dropped()), (3_000, 3_000, 0));
        for worker in 0..3 {
            assert_eq!(text.matches(&format!(" worker={worker} ")).count(), 1_000);
        }
    }

    #[test]
    fn a_single_record_is_written_without_another_to_push_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let log = started(1, &path);
        for count in 1..=50 {
            log.push(&record(0));
            eventually("written", || log.written() == count);
            if count % 10 == 0 {
                thread::sleep(TURN * 2); // let it fall asleep
            }
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_drops_and_counts_and_does_not_keep_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()));
        let log = AccessLog::start(1, LogFormat::Json).expect("started");
        assert!(log.open(&to_file(&path)).is_err(), "a pipe without a reader is an error, not a wait");
        let mut reader = OpenFifo::open(&path);
        log.switch(log.open(&to_file(&path)).expect("opened"));
        let began = Instant::now();
        let pushed = 3 * RECORDS_MAX as u64;
        (0..pushed).for_each(|_| log.push(&record(0)));
        assert!(began.elapsed() < Duration::from_secs(2), "no push waited");
        eventually("dropped", || log.dropped() > 0);
        let closing = Instant::now();
        assert!(log.close(Duration::from_secs(3)), "the writer gives up when told to stop");
        assert!(closing.elapsed() < Duration::from_secs(3));
        let text = reader.take();
        assert!(
            text.ends_with('\n') && text.lines().all(|line| line.starts_with('{') && line.ends_with('}'))
        );
        let lines = text.lines().count() as u64;
        assert_eq!(log.written(), lines);
        assert_eq!(log.written() + log.lost() + log.dropped(), pushed, "every record is accounted for");
    }

    /// The reading end of a FIFO, opened without a writer.
    struct OpenFifo(File);

    impl OpenFifo {
        fn open(path: &Path) -> Self {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            Self(File::from(rustix::fs::open(path, flags, Mode::empty()).expect("a FIFO")))
        }

        fn take(&mut self) -> String {
            let mut text = String::new();
            self.0.read_to_string(&mut text).expect("all of it, and then the end");
            text
        }
    }

    #[test]
    fn a_stuck_target_can_be_switched_away_from() {
        let folder = tempfile::tempdir().expect("a folder");
        let (fifo, path) = (folder.path().join("fifo"), folder.path().join("access.log"));
        assert!(
            std::process::Command::new("mkfifo").arg(&fifo).status().is_ok_and(|status| status.success())
        );
        let _reader = OpenFifo::open(&fifo);
        let log = started(1, &fifo);
        (0..RECORDS_MAX).for_each(|_| log.push(&record(0)));
        thread::sleep(STALL);
        log.switch(log.open(&to_file(&path)).expect("opened"));
        eventually("the rest goes to the new target", || {
            std::fs::read_to_string(&path).is_ok_and(|text| !text.is_empty())
        });
        assert!(log.close(Duration::from_secs(5)));
    }

    #[test]
    fn a_rotated_file_is_opened_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let log = started(1, &path);
        log.push(&record(0));
        eventually("written", || log.written() == 1);
        std::fs::rename(&path, &old).expect("rotated");
        log.reopen();
        eventually("opened again", || path.exists());
        log.push(&record(0));
        eventually("written", || log.written() == 2);
        for path in [&path, &old] {
            assert_eq!(std::fs::read_to_string(path).expect("a file").lines().count(), 1);
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        std::fs::write(&path, "").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("chmod");
        let log = AccessLog::start(1, LogFormat::Text).expect("started");
        let error = log.open(&to_file(&path)).err().expect("refused").to_string();
        assert!(error.contains("access.log") && error.contains("chmod"), "{error}");
    }

    #[test]
    fn a_log_that_is_off_takes_nothing() {
        let log = AccessLog::start(1, LogFormat::Text).expect("started");
        (0..2 * RECORDS_MAX).for_each(|_| log.push(&record(0)));
        assert_eq!((log.written(), log.dropped(), log.lost()), (0, 0, 0));
        assert!(log.close(Duration::from_secs(1)));
    }

    #[test]
    fn whole_lines_are_taken_and_a_longer_one_is_cut() {
        assert_eq!(whole_lines(b"ab\ncd\nef", 7), b"ab\ncd\n");
        assert_eq!(whole_lines(b"ab\n", 7), b"ab\n");
        assert_eq!(whole_lines(b"abcdef", 3), b"abc");
    }
}
