//! Ten thousand idle connections: what each costs in memory, and that all together cost no processor time.
//!
//! Owns: the claim of 2 KiB a connection, in release builds.
//! Must not: run beside another test of this file: it uses most of the process's descriptors.
//! Read next: `soak.rs`.

use std::time::{Duration, Instant};

use ringway_tests::client::get;
use ringway_tests::programs::optimised;
use ringway_tests::{Client, Gateway, Io, Origin, Setup, each_driver};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const WANTED: u64 = 10_000;
/// Descriptors for everything else of a process.
const SPARE: u64 = 500;
const RELEASE_BYTES_MAX: u64 = 2 * 1_024;
/// Unoptimised futures are several times larger; this only catches a buffer left behind.
const DEBUG_BYTES_MAX: u64 = 12 * 1_024;
const BETWEEN_CONNECTIONS: Duration = Duration::from_millis(1);
const WATCHED: Duration = Duration::from_secs(2);

/// How many connections the limits of this system allow, at both ends of each.
fn allowed() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, raised); // what cannot be raised is measured with fewer
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    WANTED.min(now.saturating_sub(SPARE))
}

fn origin() -> Origin {
    Origin::start(|peer| {
        while peer.request().is_some() {
            peer.forget();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    })
}

#[test]
fn ten_thousand_idle_connections_cost_2_kib_each_and_no_processor_time() {
    let count = allowed();
    if count < WANTED {
        println!("the limit of open files allows {count} connections, not {WANTED}");
    }
    each_driver(|io| measure(io, count));
}

fn measure(io: Io, count: u64) {
    let origin = origin();
    let gateway = Gateway::start(io, Setup::raw(origin.address()));
    for _ in 0..50 {
        assert_eq!(gateway.ask(get("/warm")).status(), 200); // pools and caches are not a connection's
    }
    gateway.assert_idle();
    let bare = gateway.resident_bytes();
    let mut held = open(&gateway, count / 5);
    let pooled = gateway.resident_bytes();
    held.extend(open(&gateway, count - count / 5));
    let each = gateway.resident_bytes().saturating_sub(pooled) / (count - count / 5);
    let with_pools = gateway.resident_bytes().saturating_sub(bare) / count;
    let began = gateway.cpu();
    std::thread::sleep(WATCHED);
    let used = gateway.cpu().saturating_sub(began);
    println!(
        "{io}: {count} idle connections, {each} bytes each ({with_pools} with the pools that opening them filled), \
         {used:?} of processor time in {WATCHED:?}"
    );
    let bound = if optimised() { RELEASE_BYTES_MAX } else { DEBUG_BYTES_MAX };
    assert!(each < bound, "{each} bytes a connection");
    assert!(!optimised() || with_pools < bound, "{with_pools} bytes a connection with all pools");
    assert!(used < WATCHED / 20, "idle connections used {used:?} in {WATCHED:?}");
    assert_eq!(held[0].ask(get("/still")).text(), "ok");
    drop(held);
    gateway.assert_idle_within(Duration::from_secs(10));
    gateway.finish();
}

/// Opens connections at a calm pace, each with one request. What was busy a moment ago still holds its buffers; at
/// a steady pace their number is steady, so what each further connection adds is what an idle one costs.
fn open(gateway: &Gateway, count: u64) -> Vec<Client> {
    let began = Instant::now();
    let one = |number: u64| {
        let due = began + BETWEEN_CONNECTIONS * u32::try_from(number).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut caller = gateway.connect();
        assert_eq!(caller.ask(get("/held")).status(), 200);
        caller
    };
    (0..count).map(one).collect()
}
