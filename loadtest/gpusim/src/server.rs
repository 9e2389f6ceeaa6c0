//! A fleet of simulated servers: many listeners, one thread, one poll loop.
//!
//! Owns: the sockets, and the meeting of requests with engines. The loop sleeps until a socket stirs or a
//! step ends; a fleet that nobody asks anything uses no CPU.
//! Must not: decide how long a step takes or who is in it (`engine.rs`), or what an answer looks like (`api.rs`).
//! Read next: `connection.rs`; `server/trouble.rs` for what goes wrong on command.

mod date;
mod slab;
mod trouble;

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, Waker, net::TcpListener};
use socket2::{Domain, Socket, Type};

use crate::{
    api::{self, Answer, ApiError, Form, Operation, Served},
    bounds::{BACKLOG_MAX, CONNECTIONS_MAX, EVENTS_MAX, READ_BYTES},
    clock::{self, Alarm},
    connection::{Connection, Exchange, Fate, Received, Reply},
    engine::{Engine, Event, Refused},
    fault::MetricsMode,
    http::{BadRequest, Framing, LoadFormat, Request, Stamp, Status},
    metrics,
    plan::{HeadAt, MetricsDialect, Plan, Unit},
};
use date::Date;
use slab::Slab;
use trouble::Trouble;

/// A running fleet. Dropping it stops its thread and closes every socket.
#[derive(Debug)]
pub struct Fleet {
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Fleet {
    /// Binds every listener, then serves them from one new thread.
    ///
    /// Fails with `InvalidInput` if the plan makes no sense, else as binding fails; then nothing listens.
    pub fn start(plan: impl Into<Plan>) -> io::Result<Self> {
        let plan = plan.into();
        plan.check()?;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let stop = Arc::new(AtomicBool::new(false));
        let server = Server::bind(plan, poll, Arc::clone(&stop))?;
        let addresses = server.addresses.clone();
        let thread = std::thread::Builder::new().name("gpusim".to_owned()).spawn(move || server.run())?;
        Ok(Self { addresses, stop, waker, thread: Some(thread) })
    }

    /// Where each server listens, in order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops and waits until every socket is closed. The same as dropping it, but said aloud.
    pub fn stop(self) {}
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.waker.wake(); // fails only when the loop is gone already
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic in there has been printed; there is nobody to hand it to
        }
    }
}

const WAKER: Token = Token(usize::MAX - 1);
const ALARM: Token = Token(usize::MAX - 2);

struct Server {
    plan: Plan,
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    poll: Poll,
    alarm: Alarm,
    replicas: Vec<Replica>,
    connections: Slab,
    /// A listener stopped accepting because descriptors ran out; tried again when one is free.
    accept_again: bool,
    epoch: Instant,
    answers: u64,
    adopted: u64,
    trouble: Trouble,
    date: Date,
    events: Vec<Event>,
    read_scratch: Box<[u8]>,
    write_scratch: Vec<u8>,
}

struct Replica {
    /// None while the server is down.
    listener: Option<TcpListener>,
    engine: Engine,
    unit: Unit,
    /// Unix time of the start.
    started: Duration,
    /// Generations taken.
    taken: u64,
}

impl Server {
    fn bind(plan: Plan, poll: Poll, stop: Arc<AtomicBool>) -> io::Result<Self> {
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let mut replicas = Vec::with_capacity(plan.units.len());
        let mut addresses = Vec::with_capacity(plan.units.len());
        for (index, unit) in plan.units.iter().enumerate() {
            let mut address = plan.listen;
            if address.port() != 0 {
                address.set_port(address.port() + u16::try_from(index).expect("checked"));
            }
            let mut listener = listen(address).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
            })?;
            poll.registry().register(&mut listener, Token(index), Interest::READABLE)?;
            addresses.push(listener.local_addr()?);
            let engine = Engine::new(plan.engine(index));
            let started = clock::unix_time();
            replicas.push(Replica { listener: Some(listener), engine, unit: *unit, started, taken: 0 });
        }
        Ok(Self {
            trouble: Trouble::new(&plan),
            plan,
            addresses,
            stop,
            poll,
            alarm,
            replicas,
            connections: Slab::default(),
            accept_again: false,
            epoch: clock::now(),
            answers: 0,
            adopted: 0,
            date: Date::default(),
            events: Vec::new(),
            read_scratch: vec![0; READ_BYTES].into_boxed_slice(),
            write_scratch: Vec::new(),
        })
    }

    fn run(mut self) {
        let mut ready = Events::with_capacity(EVENTS_MAX);
        while !self.stop.load(Ordering::Acquire) {
            let steps = self.replicas.iter().filter_map(|replica| replica.engine.next_wake());
            let next = steps.chain(self.trouble.next_wake()).min();
            let armed = self.alarm.set(next.map(|next| self.epoch + next), clock::now());
            match armed.and_then(|()| self.poll.poll(&mut ready, None)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The poll or its timer is broken: nothing can be served any more.
                Err(_) => return,
            }
            // Tokens that are due go first: they have a time to keep, requests have not.
            self.advance();
            self.make_trouble();
            for event in &ready {
                match event.token() {
                    WAKER => {}
                    ALARM => self.alarm.rang(),
                    Token(index) if index < self.replicas.len() => self.accept(index),
                    Token(index) => self.stir(index - self.replicas.len()),
                }
            }
        }
    }

    fn now(&self) -> Duration {
        clock::now().saturating_duration_since(self.epoch)
    }

    fn advance(&mut self) {
        let now = self.now();
        for replica in 0..self.replicas.len() {
            let mut events = std::mem::take(&mut self.events);
            self.replicas[replica].engine.advance(now, &mut events);
            self.deliver(replica, &mut events);
            self.events = events;
        }
    }

    /// Sends what the engine's events mean: one write per event.
    fn deliver(&mut self, replica: usize, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            let (Event::Admitted { key, .. } | Event::Token { key, .. }) = event;
            let Some((slot, connection)) = self.connections.by_key(key) else { continue };
            let Some(exchange) = connection.exchange.as_mut() else { continue };
            let Replica { ref engine, unit, .. } = self.replicas[replica];
            let load = match exchange.load_format {
                Some(format) if !exchange.head_sent => load_report(engine, format),
                Some(_) | None => String::new(),
            };
            let stamp = Stamp { date: self.date.now(), load: &load };
            let streams = exchange.answer.stream();
            match event {
                Event::Admitted { cached, .. } => {
                    exchange.answer.cached = cached;
                    if !streams || unit.head == HeadAt::Token {
                        continue;
                    }
                    connection.open_stream(stamp);
                }
                Event::Token { last, .. } => {
                    connection.token(last, stamp, &mut self.write_scratch);
                    if !streams && !last {
                        continue;
                    }
                }
            }
            let fate = connection.send();
            self.settle(slot, fate);
            if matches!(event, Event::Token { last: true, .. }) {
                self.resume(slot);
            }
        }
    }

    /// A connection is idle again: answers what it has sent ahead.
    fn resume(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else { return };
        if connection.take_more_to_read() {
            self.stir(slot);
        } else if connection.inbox.len() > 0 {
            let fate = self.answer(slot);
            self.settle(slot, fate);
        }
    }

    fn accept(&mut self, index: usize) {
        while let Some(listener) = &self.replicas[index].listener {
            match listener.accept() {
                Ok((stream, _)) => {
                    if self.connections.count() < CONNECTIONS_MAX {
                        let _ = stream.set_nodelay(true);
                        self.adopted += 1;
                        self.adopt(Connection::new(stream, index, self.adopted));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if is_about_the_peer(&error) => {}
                Err(_) => {
                    self.accept_again = true;
                    return;
                }
            }
        }
    }

    fn adopt(&mut self, connection: Connection) {
        let first_token = self.replicas.len();
        let slot = self.connections.insert(connection);
        let connection = self.connections.get(slot).expect("just inserted");
        let both = Interest::READABLE | Interest::WRITABLE;
        let token = Token(first_token + slot);
        if self.poll.registry().register(&mut connection.stream, token, both).is_err() {
            self.connections.remove(slot);
        }
    }

    /// The socket of a connection stirred: reads, answers and sends as far as it goes.
    fn stir(&mut self, slot: usize) {
        loop {
            let Some(connection) = self.connections.get(slot) else { return };
            let fate = match connection.receive(&mut self.read_scratch) {
                Received::Bytes => self.answer(slot),
                Received::Gone => Fate::Gone,
                Received::Nothing => {
                    let fate = connection.send();
                    self.settle(slot, fate);
                    return;
                }
            };
            if fate == Fate::Gone {
                self.settle(slot, fate);
                return;
            }
        }
    }

    /// Answers the requests in the inbox until one of them needs an engine.
    fn answer(&mut self, slot: usize) -> Fate {
        while let Some(connection) = self.connections.get(slot).filter(|connection| connection.idle()) {
            match connection.inbox.next() {
                Ok(Some(request)) => self.serve(slot, &request),
                Ok(None) => {
                    if connection.inbox.take_continue() {
                        connection.go_on();
                    }
                    break;
                }
                Err(bad) => self.refuse(slot, bad),
            }
        }
        self.connections.get(slot).map_or(Fate::Gone, Connection::send)
    }

    fn refuse(&mut self, slot: usize, bad: BadRequest) {
        let error = ApiError::new(bad.status(), None, "the request cannot be read");
        let body = error.body("");
        let reply = Reply { keep_alive: false, ..Reply::json(error.status, body.as_bytes()) };
        self.reply(slot, &reply);
    }

    fn reply(&mut self, slot: usize, reply: &Reply<'_>) {
        let stamp = Stamp { date: self.date.now(), load: "" };
        if let Some(connection) = self.connections.get(slot) {
            connection.reply(reply, stamp);
        }
    }

    fn serve(&mut self, slot: usize, request: &Request) {
        let outcome = api::operation(&request.method, &request.path, &request.query)
            .and_then(|operation| self.perform(slot, operation, request));
        let (status, page) = match outcome {
            Ok(None) => return, // an engine works on it, or it is held back
            Ok(Some(page)) => (Status::Ok, page),
            Err(error) => (error.status, Page::Json(error.body(&request.path))),
        };
        let answer =
            Whole { status, page, keep_alive: request.keep_alive, bodyless: request.method == "HEAD" };
        self.reply(slot, &answer.reply());
    }

    fn served(&self) -> Served<'_> {
        Served { model: &self.plan.model, adapters: &self.plan.adapters }
    }

    fn perform(
        &mut self,
        slot: usize,
        operation: Operation,
        request: &Request,
    ) -> Result<Option<Page>, ApiError> {
        let Some(replica) = self.connections.get(slot).map(|connection| connection.replica) else {
            return Ok(None);
        };
        let elsewhere = self.replicas[replica].unit.dialect == MetricsDialect::Trtllm;
        Ok(Some(match operation {
            Operation::Generate(form) => {
                self.generate(slot, form, request)?;
                return Ok(None);
            }
            Operation::CountTokens(form) => Page::Json(api::count_tokens(form, request, &self.served())?),
            Operation::Health => Page::Empty,
            Operation::Models(form) => {
                let created = self.replicas[replica].started.as_secs();
                Page::Json(api::models(form, &self.served(), created))
            }
            // An array of iterations, of which none is recorded.
            Operation::Metrics if elsewhere => Page::Json("[]".to_owned()),
            Operation::PrometheusMetrics if !elsewhere => return Err(ApiError::not_found(&request.path)),
            Operation::Metrics | Operation::PrometheusMetrics => {
                return self.metrics(slot, replica, request);
            }
        }))
    }

    fn metrics(&mut self, slot: usize, replica: usize, request: &Request) -> Result<Option<Page>, ApiError> {
        let now = self.now();
        let Replica { ref engine, unit, started, .. } = self.replicas[replica];
        let mode = self.trouble.metrics_mode(replica, now).unwrap_or(unit.metrics);
        let source = metrics::Source {
            engine,
            model: &self.plan.model,
            adapters: &self.plan.adapters,
            started: started.as_secs_f64(),
            now: clock::unix_time().as_secs_f64(),
            traps: unit.metrics_traps,
        };
        let page = metrics::page(&source, unit.dialect, mode);
        match mode {
            MetricsMode::NotFound => Err(ApiError::not_found(&request.path)),
            MetricsMode::Stale => Ok(Some(Page::Metrics(self.trouble.first_page(replica, page)))),
            MetricsMode::Slow => {
                let answer = Whole {
                    status: Status::Ok,
                    page: Page::Metrics(page),
                    keep_alive: request.keep_alive,
                    bodyless: request.method == "HEAD",
                };
                self.hold_back(slot, answer, now);
                Ok(None)
            }
            MetricsMode::On
            | MetricsMode::Off
            | MetricsMode::Empty
            | MetricsMode::Nan
            | MetricsMode::Zero
            | MetricsMode::High => Ok(Some(Page::Metrics(page))),
        }
    }

    /// Hands a generation to the engine of the server that was asked.
    fn generate(&mut self, slot: usize, form: Form, request: &Request) -> Result<(), ApiError> {
        let mut ask = api::read(form, request, &self.served())?;
        let now = self.now();
        let (key, connection) = self.connections.next_key(slot);
        let index = connection.replica;
        if self.trouble.refuses(index, now) {
            return Err(ApiError::new(Status::Internal, None, "an error was asked for"));
        }
        let mut events = Vec::new();
        let replica = &mut self.replicas[index];
        replica.engine.submit(now, key, ask.take_work(), &mut events).map_err(|refused| {
            let (status, param) = match refused {
                Refused::TooLong { .. } => (Status::BadRequest, Some("messages")),
                Refused::QueueFull => (Status::Unavailable, None),
            };
            ApiError::new(status, param, refused.to_string())
        })?;
        replica.taken += 1;
        if replica.unit.crash_after.is_some_and(|count| replica.taken > count) {
            self.trouble.crash_now(index, now);
        }
        self.answers += 1;
        let number = self.plan.seed.wrapping_mul(0x1_0000_0000).wrapping_add(self.answers);
        let framing = if request.chunked_ok { Framing::Chunked } else { Framing::Close };
        let served = Served { model: &self.plan.model, adapters: &self.plan.adapters };
        connection.exchange = Some(Exchange {
            key,
            keep_alive: request.keep_alive && (framing != Framing::Close || !ask.stream),
            answer: Answer::new(ask, &served, number, clock::unix_time().as_secs()),
            framing,
            head_sent: false,
            load_format: request.load_format,
        });
        self.deliver(index, &mut events);
        Ok(())
    }

    /// Takes a connection out if it is gone, and what it asked for out of its engine.
    fn settle(&mut self, slot: usize, fate: Fate) {
        if fate == Fate::Open {
            return;
        }
        let Some(mut connection) = self.connections.remove(slot) else { return };
        let _ = self.poll.registry().deregister(&mut connection.stream);
        if let Some(exchange) = connection.exchange {
            self.replicas[connection.replica].engine.cancel(exchange.key);
        }
        drop(connection.stream);
        if std::mem::take(&mut self.accept_again) {
            (0..self.replicas.len()).for_each(|index| self.accept(index));
        }
    }
}

enum Page {
    Json(String),
    Metrics(String),
    Empty,
}

/// An answer that is whole at once, and may be sent later.
struct Whole {
    status: Status,
    page: Page,
    keep_alive: bool,
    bodyless: bool,
}

impl Whole {
    fn reply(&self) -> Reply<'_> {
        let (content_type, body) = match &self.page {
            Page::Json(body) => ("application/json", body.as_str()),
            Page::Metrics(body) => (metrics::CONTENT_TYPE, body.as_str()),
            Page::Empty => ("text/plain", ""),
        };
        Reply {
            status: self.status,
            content_type,
            body: body.as_bytes(),
            keep_alive: self.keep_alive,
            bodyless: self.bodyless,
        }
    }
}

/// The load of an engine, as the response field has it.
fn load_report(engine: &Engine, format: LoadFormat) -> String {
    let (kv, waiting) = (engine.kv_use(), engine.waiting());
    match format {
        LoadFormat::Text => format!(
            "TEXT named_metrics.kv_cache_usage_perc={kv}, named_metrics.num_requests_waiting={waiting}"
        ),
        LoadFormat::Json => format!(
            r#"JSON {{"named_metrics":{{"kv_cache_usage_perc":{kv},"num_requests_waiting":{waiting}}}}}"#
        ),
    }
}

/// Binds with a backlog that takes a load generator's first thousand dials at once: one that does not fit is
/// dialled again a second later, and that second would show up in the latencies.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_MAX)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Errors of `accept` that concern one connection only (accept(2): treat like EAGAIN).
fn is_about_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}
