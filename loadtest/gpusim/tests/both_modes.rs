//! One engine, two ways to drive it: over sockets in real time, and by a queue of moments in virtual time.
//!
//! The same arrivals have to give the same first and last tokens. Tolerance: in virtual time exact by definition;
//! over sockets each time is late by what the machine adds, which at most shifts a request into the next step.
//! Half of all times agree to 4 ms and nine in ten to 40 ms, three steps of the busiest engine; no token is
//! ever earlier than its arrival allows.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use ringway_gpusim::{
    Fleet, FleetSpec, Plan,
    engine::{Event, Key, Work},
    fault::Window,
    prefix::Root,
    random::Random,
    text::Prompt,
    virtual_time::{self, Front, VirtualFleet},
};

const MODEL: &str = "demo";
const REPLICAS: usize = 2;
const TIME_SCALE: f64 = 2.0;
const TRIES: usize = 3;

#[derive(Debug, Clone)]
struct Ask {
    at: Duration,
    replica: usize,
    prompt: String,
    out: u32,
}

/// First and last token since the start.
type Times = (Duration, Duration);

/// Prompts of very different lengths, some of which begin with one of three common texts.
fn asks() -> Vec<Ask> {
    let mut random = Random::new(11);
    let commons: Vec<String> = (0..3).map(|n| format!("common {n} ").repeat(700)).collect();
    let mut at = Duration::from_millis(100);
    let mut next = |number: usize| {
        at += Duration::from_secs_f64(random.unit() * 0.08);
        let common = commons.get((random.bits() % 5) as usize).map_or("", String::as_str);
        let own = format!("request {number} ").repeat((random.bits() % 400) as usize + 1);
        let out = (random.bits() % 60) as u32 + 1;
        Ask { at, replica: number % REPLICAS, prompt: format!("{common}{own}"), out }
    };
    (0..60).map(&mut next).collect()
}

fn plan() -> Plan {
    FleetSpec { replicas: REPLICAS, time_scale: TIME_SCALE, ..FleetSpec::default() }.into()
}

struct Recorder {
    times: HashMap<u64, Times>,
    cached: HashMap<u64, u32>,
}

impl Front for Recorder {
    type Request = (u64, Ask);

    fn arrival(&mut self, fleet: &mut VirtualFleet, (number, ask): (u64, Ask)) {
        let mut prompt = Prompt::new(Root::of(MODEL, None, None));
        prompt.push(&ask.prompt);
        let work = Work {
            prompt: prompt.tokens(),
            limit: ask.out,
            out: ask.out,
            prefix: prompt.prefix(),
            ..Work::default()
        };
        fleet.submit(ask.replica, Key(number), work).expect("it fits");
    }

    fn event(&mut self, _: &mut VirtualFleet, _: usize, event: Event) {
        match event {
            Event::Admitted { key, cached } => {
                self.cached.insert(key.0, cached);
            }
            Event::Token { key, at, .. } => self.times.entry(key.0).or_insert((at, at)).1 = at,
        }
    }
}

fn in_virtual_time(asks: &[Ask]) -> Recorder {
    let mut fleet = VirtualFleet::new(&plan()).expect("a plan");
    let mut recorder = Recorder { times: HashMap::new(), cached: HashMap::new() };
    let arrivals = asks.iter().cloned().enumerate().map(|(number, ask)| (ask.at, (number as u64, ask)));
    virtual_time::run(&mut fleet, &mut recorder, arrivals, Window::FOREVER);
    recorder
}

/// Sends one request when it is due; its times, and how many tokens it was told were cached.
fn over_a_socket(address: SocketAddr, ask: &Ask, began: Instant) -> (Times, u32) {
    let body = format!(
        r#"{{"model":"{MODEL}","prompt":"{}","max_tokens":{},"ignore_eos":true,"stream":true,"stream_options":{{"include_usage":true}}}}"#,
        ask.prompt, ask.out
    );
    let request =
        format!("POST /v1/completions HTTP/1.1\r\nhost: sim\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("a fresh socket");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a valid timeout");
    std::thread::sleep((began + ask.at).saturating_duration_since(Instant::now()));
    stream.write_all(request.as_bytes()).expect("sent");
    let (mut times, mut cached) = (None::<Times>, 0);
    for line in BufReader::new(stream).lines() {
        let line = line.expect("more of the answer");
        let now = began.elapsed();
        if line == "data: [DONE]" {
            break;
        } else if line.contains(r#""text":"#) {
            times.get_or_insert((now, now)).1 = now;
        } else if let Some((_, rest)) = line.split_once(r#""cached_tokens":"#) {
            cached = rest.trim_end_matches('}').parse().expect("a count");
        }
    }
    (times.expect("tokens"), cached)
}

fn over_sockets(asks: &[Ask]) -> Vec<(Times, u32)> {
    let fleet = Fleet::start(plan()).expect("loopback can be bound");
    let began = Instant::now();
    std::thread::scope(|scope| {
        let send = |ask: &Ask| {
            let (address, ask) = (fleet.addresses()[ask.replica], ask.clone());
            scope.spawn(move || over_a_socket(address, &ask, began))
        };
        let threads: Vec<_> = asks.iter().map(send).collect();
        threads.into_iter().map(|thread| thread.join().expect("answered")).collect()
    })
}

/// How far apart both modes are, and in how many requests the cache found the same.
fn compare(asks: &[Ask], want: &Recorder) -> (Vec<Duration>, usize) {
    let (mut off, mut same) = (Vec::new(), 0);
    for (number, (times, cached)) in over_sockets(asks).iter().enumerate() {
        let want_times = want.times[&(number as u64)];
        same += usize::from(*cached == want.cached[&(number as u64)]);
        assert!(times.0 > asks[number].at, "nothing is earlier than it can be");
        off.push(times.0.abs_diff(want_times.0));
        off.push(times.1.abs_diff(want_times.1));
    }
    off.sort_unstable();
    (off, same)
}

#[test]
fn sockets_and_virtual_time_give_the_same_tokens_at_the_same_times() {
    let asks = asks();
    let want = in_virtual_time(&asks);
    // A machine that was busy with something else gets another try; a model that differs gets none right.
    for attempt in 1..=TRIES {
        let (off, same) = compare(&asks, &want);
        let (median, most) = (off[off.len() / 2], off[off.len() * 9 / 10]);
        println!("off by {median:?} at the median, {most:?} for nine in ten; {same} found as much cached");
        // Two arrivals a millisecond apart may change places, and with them who finds what.
        let agree = same * 10 >= asks.len() * 9;
        if agree && median < Duration::from_millis(4) && most < Duration::from_millis(40) {
            return;
        }
        assert!(attempt < TRIES, "{median:?} {most:?} {same}");
    }
}
