//! The load generator: one thread, one poll loop, any number of connections.
//!
//! Owns: keeping the schedule, the connections, and what happens to each exchange in time.
//! Must not: bend the schedule to the target's pace. In an open loop a request is due when it is due, and its
//! latency counts from then, whether a connection was free or not.
//! Read next: `client/connection.rs` (one connection), `oracle.rs` (what is made of its bytes).

mod connection;
pub(crate) mod http;
pub(crate) mod sse;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use ringway_gpusim::clock::{self, Alarm};

use crate::{
    arrival::Schedule,
    bounds::{BACKLOG_MAX, CONNECTIONS_MAX, EVENTS_MAX, READ_BYTES, TICK},
    ended::{Ended, Outcome, Refusal},
    oracle::{Fault, Glimpse, Judge, Measured, Violation},
    prompts::Conversation,
    report::Summary,
    scenario::{Ask, Load, Request, Scenario, Writer},
    stats::{Sample, Stats},
};
use connection::{Connection, Exchange, Progress as Stirred};

/// Why a run could not be made. What the target does wrong is not among it: that is counted.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The poll or its timer failed.
    #[error("the event loop failed: {0}")]
    Loop(#[from] io::Error),
    /// A run without end or without load.
    #[error("{0}")]
    Senseless(&'static str),
}

/// How far a run is, for whoever watches it.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Requests whose time has come.
    pub issued: u64,
    /// Exchanges under way, those that wait for a connection included.
    pub in_flight: usize,
    /// Ended well.
    pub valid: u64,
    /// Ended otherwise.
    pub faulty: u64,
}

/// Watches a run, and may end it.
pub trait Watch {
    /// Called about ten times a second. `false` ends the run; what was measured is kept.
    fn tick(&mut self, progress: &Progress) -> bool;

    /// Whether it wants to be told of each request.
    fn wants_each(&self) -> bool {
        false
    }

    /// Called for each request that is over, where that is wanted.
    fn ended(&mut self, _: &Ended) {}
}

/// Runs to the end watch nothing.
impl Watch for () {
    fn tick(&mut self, _: &Progress) -> bool {
        true
    }
}

/// A list keeps what became of each request, in the order of their ends.
impl Watch for Vec<Ended> {
    fn tick(&mut self, _: &Progress) -> bool {
        true
    }

    fn wants_each(&self) -> bool {
        true
    }

    fn ended(&mut self, ended: &Ended) {
        self.push(ended.clone());
    }
}

/// Makes a run.
pub fn run(scenario: &Scenario, watch: &mut dyn Watch) -> Result<Summary, RunError> {
    check(scenario)?;
    let mut client = Client::new(scenario)?;
    let cpu_before = clock::cpu_time();
    let interrupted = client.run(watch)?;
    client.stats.cpu = clock::cpu_time().saturating_sub(cpu_before);
    let elapsed = client.last_end.saturating_duration_since(client.began);
    Ok(Summary::new(scenario, client.stats, elapsed, interrupted))
}

fn check(scenario: &Scenario) -> Result<(), RunError> {
    if scenario.duration.is_none() && scenario.requests.is_none() {
        return Err(RunError::Senseless("a run needs a duration or a number of requests"));
    }
    match scenario.load {
        Load::Given(ref times) if times.is_empty() => {
            Err(RunError::Senseless("a trace needs at least one arrival"))
        }
        Load::Open { rate, .. } if !(rate.is_finite() && rate > 0.0) => {
            Err(RunError::Senseless("an open loop needs a rate above zero"))
        }
        Load::Closed { concurrency: 0 } => {
            Err(RunError::Senseless("a closed loop needs at least one at a time"))
        }
        Load::Open { .. } | Load::Closed { .. } | Load::Given(_) => Ok(()),
    }
}

const ALARM: Token = Token(usize::MAX - 1);

struct Client<'a> {
    scenario: &'a Scenario,
    writer: Writer,
    bodyless: bool,
    poll: Poll,
    alarm: Alarm,
    pace: Pace,
    connections: Vec<Option<Connection>>,
    free_slots: Vec<usize>,
    /// Connections that carry nothing; the one used last goes first, so that few are kept warm.
    idle: Vec<usize>,
    /// Requests that are due and have no connection.
    backlog: VecDeque<Due>,
    /// When conversations go on, the next one first, and what is said then.
    follow_ups: BinaryHeap<Reverse<(Instant, u64)>>,
    to_say: HashMap<u64, Request>,
    /// What happens to requests by the clock, the next one first.
    alarms: BinaryHeap<Reverse<(Instant, u64, Alarmed)>>,
    /// Requests that were refused once, and are to come back or have.
    refused: HashMap<u64, Refused>,
    /// Of these, how many are still to come.
    to_return: usize,
    /// Requests that are over and of which the watcher was not told yet.
    ended: Vec<Ended>,
    wants_each: bool,
    busy: usize,
    /// A closed loop does not dial before: where nobody listens it would do nothing else, a million times.
    pause_until: Instant,
    began: Instant,
    last_end: Instant,
    stats: Stats,
    scratch: Box<[u8]>,
}

/// What is due to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarmed {
    /// Its caller leaves.
    Leaves,
    /// It comes back.
    Returns,
}

/// A request that was told to come back.
#[derive(Debug, Clone, Copy)]
struct Refused {
    intended: Instant,
    refusal: Refusal,
}

#[derive(Debug)]
struct Due {
    number: u64,
    at: Instant,
    /// What goes out, if that is known already: the next part of a conversation.
    request: Option<Request>,
}

/// What decides when the next request is due.
enum Pace {
    Open { schedule: Schedule, next: Option<Instant> },
    Closed { concurrency: usize },
}

impl<'a> Client<'a> {
    fn new(scenario: &'a Scenario) -> Result<Self, RunError> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let began = clock::now();
        let open = |mut schedule: Schedule| {
            let next = schedule.next().map(|at| began + at);
            Pace::Open { schedule, next }
        };
        let pace = match &scenario.load {
            Load::Closed { concurrency } => Pace::Closed { concurrency: *concurrency },
            Load::Open { rate, arrival } => open(Schedule::new(*arrival, *rate, scenario.seed)),
            Load::Given(times) => open(Schedule::given(times.clone())),
        };
        Ok(Self {
            scenario,
            writer: Writer::new(scenario),
            bodyless: matches!(&scenario.ask, Ask::Raw(raw) if raw.method == "HEAD"),
            poll,
            alarm,
            pace,
            connections: Vec::new(),
            free_slots: Vec::new(),
            idle: Vec::new(),
            backlog: VecDeque::new(),
            follow_ups: BinaryHeap::new(),
            to_say: HashMap::new(),
            alarms: BinaryHeap::new(),
            refused: HashMap::new(),
            to_return: 0,
            ended: Vec::new(),
            wants_each: false,
            busy: 0,
            pause_until: began,
            began,
            last_end: began,
            stats: Stats::default(),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// Runs to the end; says whether the watcher cut it short.
    fn run(&mut self, watch: &mut dyn Watch) -> Result<bool, RunError> {
        let mut ready = Events::with_capacity(EVENTS_MAX);
        let mut tick = self.began + TICK;
        self.wants_each = watch.wants_each();
        loop {
            let now = clock::now();
            self.issue(now);
            self.tell(watch);
            if now >= tick {
                tick = now + TICK;
                self.time_out(now);
                self.issue(now);
                if !watch.tick(&self.progress(now)) {
                    self.tell(watch);
                    self.stats.abandoned = (self.busy + self.backlog.len() + self.to_return) as u64;
                    self.last_end = now;
                    return Ok(true);
                }
            }
            if self.is_idle() && !self.has_more(now) {
                self.tell(watch);
                watch.tick(&self.progress(now));
                return Ok(false);
            }
            let alarm = self.alarms.peek().map(|Reverse((at, ..))| *at);
            let next = self.next_due().into_iter().chain(alarm).fold(tick, Instant::min);
            self.alarm.set(Some(next), now)?;
            match self.poll.poll(&mut ready, None) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &ready {
                match event.token() {
                    ALARM => self.alarm.rang(),
                    Token(slot) => self.stir(slot),
                }
                // Between two events, too: a turn with a thousand of them lasts milliseconds.
                self.issue(clock::now());
            }
        }
    }

    /// Tells the watcher of the requests that are over.
    fn tell(&mut self, watch: &mut dyn Watch) {
        self.ended.drain(..).for_each(|ended| watch.ended(&ended));
    }

    /// Nothing is under way, and nobody is to come back.
    fn is_idle(&self) -> bool {
        self.busy == 0 && self.backlog.is_empty() && self.to_return == 0
    }

    fn progress(&self, now: Instant) -> Progress {
        Progress {
            elapsed: now.saturating_duration_since(self.began),
            issued: self.stats.issued,
            in_flight: self.busy + self.backlog.len() + self.to_return,
            valid: self.stats.valid,
            faulty: self.stats.failed() + self.stats.invalid(),
        }
    }

    /// Whether requests are still to come.
    fn may_issue(&self, now: Instant) -> bool {
        let early = self.scenario.duration.is_none_or(|duration| now < self.began + duration);
        early && self.scenario.requests.is_none_or(|requests| self.stats.issued < requests)
    }

    /// Whether anything will ever be sent again.
    fn has_more(&self, now: Instant) -> bool {
        match &self.pace {
            Pace::Closed { .. } => self.may_issue(now),
            Pace::Open { .. } => self.next_due().is_some(),
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let next = match &self.pace {
            Pace::Open { next, .. } => *next,
            Pace::Closed { .. } => None,
        };
        let follow_up = self.follow_ups.peek().map(|Reverse((at, _))| *at);
        // At its intended time, not now, must it fall into the run.
        next.into_iter().chain(follow_up).min().filter(|next| self.may_issue(*next))
    }

    /// Sends everything that is due.
    fn issue(&mut self, now: Instant) {
        while let Some(due) = self.next_due().filter(|due| *due <= now) {
            self.stats.lateness.record(clock::now().saturating_duration_since(due));
            if let Some(Reverse((at, name))) = self.follow_ups.peek().copied()
                && at == due
            {
                self.follow_ups.pop();
                let request = self.to_say.remove(&name);
                self.send_due(due, request);
                continue;
            }
            if let Pace::Open { schedule, next } = &mut self.pace {
                *next = schedule.next().map(|at| self.began + at);
            }
            self.send_due(due, None);
        }
        if let Pace::Closed { concurrency } = self.pace {
            while self.busy + self.backlog.len() + self.follow_ups.len() + self.to_return < concurrency
                && self.may_issue(now)
                && now >= self.pause_until
            {
                self.send_due(now, None);
            }
        }
        self.keep_time(now);
    }

    /// Does what is due to requests that were issued.
    fn keep_time(&mut self, now: Instant) {
        while let Some(Reverse((at, number, alarmed))) = self.alarms.peek().copied()
            && at <= now
        {
            self.alarms.pop();
            match alarmed {
                Alarmed::Leaves => self.leave(number),
                Alarmed::Returns => {
                    self.to_return -= 1;
                    self.come_back(number, now);
                }
            }
        }
    }

    /// A caller that was refused asks again, unless it would have left by now.
    fn come_back(&mut self, number: u64, now: Instant) {
        let intended = self.refused[&number].intended;
        if self.writer.leaves(number).is_some_and(|after| intended + after <= now) {
            self.refused.remove(&number);
            return self.book_left(number, intended, Glimpse::default(), None);
        }
        self.send(Due { number, at: intended, request: None });
    }

    /// The caller of this request leaves, if it is still there.
    fn leave(&mut self, number: u64) {
        let of = |connection: &Option<Connection>| {
            connection.as_ref().and_then(|it| it.exchange.as_ref()).is_some_and(|it| it.number == number)
        };
        if let Some(slot) = self.connections.iter().position(of) {
            let exchange = self.connections[slot].as_mut().and_then(|it| it.exchange.as_mut());
            exchange.expect("it was just found").left = true;
            self.end(slot, false);
        } else if let Some(at) = self.backlog.iter().position(|due| due.number == number)
            && let Some(due) = self.backlog.remove(at)
        {
            self.book_left(due.number, due.at, Glimpse::default(), None);
        }
    }

    fn send_due(&mut self, at: Instant, request: Option<Request>) {
        let number = self.stats.issued;
        self.stats.issue(at.saturating_duration_since(self.began));
        if let Some(after) = self.writer.leaves(number) {
            self.alarms.push(Reverse((at + after, number, Alarmed::Leaves)));
        }
        self.send(Due { number, at, request });
    }

    fn send(&mut self, due: Due) {
        if let Some(slot) = self.idle.pop() {
            self.begin(slot, due);
        } else if self.open_connections() < self.scenario.connections.min(CONNECTIONS_MAX) {
            self.dial(due);
        } else if self.backlog.len() < BACKLOG_MAX {
            self.backlog.push_back(due);
        } else {
            self.fail_unsent(&due, &Violation::new(Fault::NotSent, "every connection is busy"));
        }
    }

    fn open_connections(&self) -> usize {
        self.connections.len() - self.free_slots.len()
    }

    fn dial(&mut self, due: Due) {
        match self.connect() {
            Ok(slot) => self.begin(slot, due),
            Err(error) => {
                let refused = error.kind() == ErrorKind::ConnectionRefused;
                let fault = if refused { Fault::ConnectRefused } else { Fault::ConnectFailed };
                self.fail_unsent(&due, &Violation::new(fault, error.to_string()));
            }
        }
    }

    fn connect(&mut self) -> io::Result<usize> {
        let mut stream = TcpStream::connect(self.scenario.target.address)?;
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(slot), both) {
            self.free_slots.push(slot);
            return Err(error);
        }
        let _ = stream.set_nodelay(true);
        self.stats.connects += 1;
        self.connections[slot] = Some(Connection::new(stream));
        Ok(slot)
    }

    fn begin(&mut self, slot: usize, due: Due) {
        let request = due.request.unwrap_or_else(|| self.writer.write(due.number));
        let judge = Judge::new(&self.scenario.ask, request.wanted, due.at);
        let mut exchange = Exchange::new(due.number, due.at, request.bytes, self.bodyless, judge);
        exchange.conversation = request.conversation;
        let connection = self.connections[slot].as_mut().expect("idle or just dialled");
        connection.begin(exchange);
        self.busy += 1;
    }

    fn stir(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
        let (stirred, received) = connection.stir(&mut self.scratch, clock::now);
        self.stats.bytes_in += received;
        match stirred {
            Stirred::Waiting => {}
            Stirred::Gone => self.close_idle(slot),
            Stirred::Unasked => {
                let last = self.stats.issued.saturating_sub(1);
                self.stats.fault(Fault::SurplusBytes, last, "seen on an idle connection after some answer");
                self.close_idle(slot);
            }
            Stirred::Over { reusable } => self.end(slot, reusable),
        }
    }

    /// The exchange of a connection is over: books it, and gives the connection to whoever waits.
    fn end(&mut self, slot: usize, reusable: bool) {
        let connection = self.connections[slot].as_mut().expect("it has just stirred");
        let exchange = connection.exchange.take().expect("it is over");
        self.busy -= 1;
        self.book(exchange);
        if !reusable {
            self.close(slot);
        }
        match (self.backlog.pop_front(), reusable) {
            (Some(due), true) => self.begin(slot, due),
            (Some(due), false) => self.dial(due),
            (None, true) => self.idle.push(slot),
            (None, false) => {}
        }
    }

    fn book(&mut self, exchange: Exchange) {
        let now = clock::now();
        self.last_end = now;
        let Exchange { number, intended, judge, conversation, left, .. } = exchange;
        let (glimpse, endpoint) = (judge.glimpse(), judge.endpoint().map(str::to_owned));
        if left {
            return self.book_left(number, intended, glimpse, endpoint);
        }
        if self.is_to_return(number, intended, now, glimpse) {
            return;
        }
        match judge.finish(&mut self.stats.inter_token) {
            Ok(mut measured) => {
                let text = std::mem::take(&mut measured.text);
                let sample = sample(&measured, intended, now, self.began, endpoint.as_deref());
                self.stats.valid(sample, &self.scenario.slo);
                self.note(number, intended, Outcome::Valid, glimpse, endpoint, Some(&measured));
                if let Some(conversation) = conversation {
                    self.go_on(number, now, conversation, text);
                }
            }
            Err(violation) => {
                self.book_fault(number, intended, &violation);
                self.note(number, intended, Outcome::Fault(violation.fault), glimpse, endpoint, None);
            }
        }
    }

    /// Whether a request was refused for the first time, and comes back.
    fn is_to_return(&mut self, number: u64, intended: Instant, now: Instant, glimpse: Glimpse) -> bool {
        let refused = matches!(glimpse.status, Some(429 | 503));
        let told = glimpse.retry_after_s.filter(|_| refused && self.scenario.obedient);
        let Some(retry_after) = told.map(|s| Duration::from_secs(s.into())) else { return false };
        if self.refused.contains_key(&number) {
            return false;
        }
        let refusal = Refusal { at: now.saturating_duration_since(intended), retry_after };
        self.refused.insert(number, Refused { intended, refusal });
        self.alarms.push(Reverse((now + retry_after, number, Alarmed::Returns)));
        self.to_return += 1;
        true
    }

    fn book_left(&mut self, number: u64, intended: Instant, glimpse: Glimpse, endpoint: Option<String>) {
        self.last_end = clock::now();
        self.stats.left += 1;
        self.note(number, intended, Outcome::Left, glimpse, endpoint, None);
    }

    /// Notes that a request is over, for whoever watches.
    fn note(
        &mut self,
        number: u64,
        intended: Instant,
        outcome: Outcome,
        glimpse: Glimpse,
        endpoint: Option<String>,
        measured: Option<&Measured>,
    ) {
        let came_back = self.refused.remove(&number).map(|it| it.refusal);
        if came_back.is_some() {
            self.stats.came_back[0] += 1;
            self.stats.came_back[1] += u64::from(outcome == Outcome::Valid);
        }
        if !self.wants_each {
            return;
        }
        let since = |at: Instant| at.saturating_duration_since(intended);
        self.ended.push(Ended {
            request: number,
            due: intended.saturating_duration_since(self.began),
            outcome,
            status: glimpse.status,
            first_token: glimpse.first.or(measured.and_then(|it| it.first)).map(since),
            last_token: glimpse.last.or(measured.and_then(|it| it.last)).map(since),
            end: since(self.last_end),
            tokens: measured.map_or(glimpse.tokens, |it| it.output_tokens),
            prompt_tokens: measured.map_or(0, |it| it.prompt_tokens),
            cached_tokens: measured.map_or(0, |it| it.cached_tokens),
            endpoint,
            retry_after: glimpse.retry_after_s.map(|s| Duration::from_secs(s.into())),
            came_back,
        });
    }

    /// Plans the next part of a conversation.
    fn go_on(&mut self, number: u64, now: Instant, conversation: Conversation, answer: String) {
        if let Some((think, request)) = self.writer.go_on(number, conversation, answer) {
            self.follow_ups.push(Reverse((now + think, number)));
            self.to_say.insert(number, request);
        }
    }

    fn fail_unsent(&mut self, due: &Due, violation: &Violation) {
        self.book_fault(due.number, due.at, violation);
        self.note(due.number, due.at, Outcome::Fault(violation.fault), Glimpse::default(), None, None);
    }

    fn book_fault(&mut self, number: u64, at: Instant, Violation { fault, detail }: &Violation) {
        self.last_end = clock::now();
        let since = |moment: Instant| moment.saturating_duration_since(self.began);
        let (at, end) = (since(at), since(self.last_end));
        self.stats.fault(*fault, number, detail);
        self.stats.missed(at, end);
        if matches!(fault, Fault::ConnectRefused | Fault::ConnectFailed) {
            self.pause_until = self.last_end + TICK;
        }
    }

    fn close(&mut self, slot: usize) {
        let Some(mut connection) = self.connections[slot].take() else { return };
        let _ = self.poll.registry().deregister(&mut connection.stream);
        self.free_slots.push(slot);
    }

    fn close_idle(&mut self, slot: usize) {
        self.idle.retain(|idle| *idle != slot);
        self.close(slot);
    }

    /// Ends every exchange that is out of time.
    fn time_out(&mut self, now: Instant) {
        let timeout = self.scenario.timeout;
        for slot in 0..self.connections.len() {
            let connection = self.connections[slot].as_mut();
            let Some(exchange) = connection.and_then(|connection| connection.exchange.as_mut()) else {
                continue;
            };
            if now.saturating_duration_since(exchange.intended) > timeout {
                exchange.judge.fail(Fault::TimedOut, format!("after {} s", timeout.as_secs_f64()));
                self.end(slot, false);
            }
        }
        while let Some(due) = self.backlog.pop_front_if(|due| now.saturating_duration_since(due.at) > timeout)
        {
            let violation = Violation::new(Fault::TimedOut, "no connection became free");
            self.fail_unsent(&due, &violation);
        }
    }
}

/// One exchange that ended well, in times since the start of the run.
fn sample<'a>(
    measured: &Measured,
    intended: Instant,
    end: Instant,
    began: Instant,
    endpoint: Option<&'a str>,
) -> Sample<'a> {
    let since = |at: Instant| at.saturating_duration_since(intended);
    let per_token = match (measured.first, measured.last, measured.output_tokens) {
        (Some(first), Some(last), tokens @ 2..) => {
            let between = u32::try_from(tokens - 1).unwrap_or(u32::MAX);
            Some(last.saturating_duration_since(first) / between)
        }
        _ => None,
    };
    Sample {
        at: intended.saturating_duration_since(began),
        end: end.saturating_duration_since(began),
        ttft: measured.first.map(since),
        per_token,
        end_to_end: since(end),
        until_last: since(measured.last.unwrap_or(end)),
        prompt_tokens: measured.prompt_tokens,
        output_tokens: measured.output_tokens,
        cached_tokens: measured.cached_tokens,
        endpoint,
    }
}
