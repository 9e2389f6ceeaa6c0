//! A fleet of simulated servers: many listeners, one thread, one poll loop.
//!
//! Owns: the sockets, and the meeting of requests with engines. The loop sleeps until a socket stirs or a
//! step ends; a fleet that nobody asks anything uses no CPU.
//! Must not: decide how long a step takes or who is in it (`engine.rs`), or what an answer looks like (`api.rs`).
//! Read next: `connection.rs`.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use mio::{Events, Interest, Poll, Token, Waker, net::TcpListener};

use crate::{
    api::{self, Answer, ApiError, Form, Operation},
    bounds::{CONNECTIONS_MAX, EVENTS_MAX, MODEL_BYTES_MAX, READ_BYTES, REPLICAS_MAX, TIME_SCALE_RANGE},
    clock::{self, Alarm},
    connection::{Connection, Exchange, Fate, Received, Reply},
    engine::{Engine, Event, Key, Refused},
    http::{BadRequest, Framing, Request, Status},
    metrics::{self, Finished},
    step::Preset,
};

/// What a fleet consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetSpec {
    /// Hardware and model size of every engine.
    pub preset: Preset,
    /// The model name they serve; any other is answered 404.
    pub model: String,
    /// How many servers.
    pub replicas: usize,
    /// Where server 0 listens; server k listens on port + k. Port 0: a free port for each.
    pub listen: SocketAddr,
    /// All times are divided by this.
    pub time_scale: f64,
    /// Decides the ids of answers. Their text depends on the prompt only.
    pub seed: u64,
}

impl Default for FleetSpec {
    /// One H100 on a free loopback port, serving `demo` in real time.
    fn default() -> Self {
        Self {
            preset: Preset::H100,
            model: "demo".to_owned(),
            replicas: 1,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            time_scale: 1.0,
            seed: 1,
        }
    }
}

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
    /// Fails with `InvalidInput` if the spec makes no sense, else as binding fails; then nothing listens.
    pub fn start(spec: FleetSpec) -> io::Result<Self> {
        check(&spec)?;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let stop = Arc::new(AtomicBool::new(false));
        let server = Server::bind(spec, poll, Arc::clone(&stop))?;
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

fn check(spec: &FleetSpec) -> io::Result<()> {
    let wrong = |what: String| Err(io::Error::new(ErrorKind::InvalidInput, what));
    if spec.replicas == 0 || spec.replicas > REPLICAS_MAX {
        return wrong(format!("between 1 and {REPLICAS_MAX} replicas are possible, not {}", spec.replicas));
    }
    if spec.listen.port() != 0 && usize::from(spec.listen.port()) + spec.replicas - 1 > usize::from(u16::MAX)
    {
        return wrong(format!("{} ports from {} on do not exist", spec.replicas, spec.listen.port()));
    }
    if !TIME_SCALE_RANGE.contains(&spec.time_scale) {
        return wrong(format!("a time scale of {} is out of range", spec.time_scale));
    }
    if spec.model.is_empty() || spec.model.len() > MODEL_BYTES_MAX {
        return wrong(format!("a model name has 1 to {MODEL_BYTES_MAX} bytes"));
    }
    Ok(())
}

const WAKER: Token = Token(usize::MAX - 1);
const ALARM: Token = Token(usize::MAX - 2);

struct Server {
    spec: FleetSpec,
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    poll: Poll,
    alarm: Alarm,
    replicas: Vec<Replica>,
    connections: Slab,
    /// A listener stopped accepting because descriptors ran out; tried again when one is free.
    accept_again: bool,
    epoch: Instant,
    started: Duration,
    answers: u64,
    date: Date,
    events: Vec<Event>,
    read_scratch: Box<[u8]>,
    write_scratch: Vec<u8>,
}

struct Replica {
    listener: TcpListener,
    engine: Engine,
    finished: Finished,
}

impl Server {
    fn bind(spec: FleetSpec, poll: Poll, stop: Arc<AtomicBool>) -> io::Result<Self> {
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let mut replicas = Vec::with_capacity(spec.replicas);
        let mut addresses = Vec::with_capacity(spec.replicas);
        for index in 0..spec.replicas {
            let mut address = spec.listen;
            if address.port() != 0 {
                address.set_port(address.port() + u16::try_from(index).expect("checked"));
            }
            let mut listener = TcpListener::bind(address).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
            })?;
            poll.registry().register(&mut listener, Token(index), Interest::READABLE)?;
            addresses.push(listener.local_addr()?);
            let engine = Engine::new(spec.preset.model(), spec.time_scale);
            replicas.push(Replica { listener, engine, finished: Finished::default() });
        }
        Ok(Self {
            spec,
            addresses,
            stop,
            poll,
            alarm,
            replicas,
            connections: Slab::default(),
            accept_again: false,
            epoch: clock::now(),
            started: clock::unix_time(),
            answers: 0,
            date: Date::default(),
            events: Vec::new(),
            read_scratch: vec![0; READ_BYTES].into_boxed_slice(),
            write_scratch: Vec::new(),
        })
    }

    fn run(mut self) {
        let mut ready = Events::with_capacity(EVENTS_MAX);
        while !self.stop.load(Ordering::Acquire) {
            let next = self.replicas.iter().filter_map(|replica| replica.engine.next_wake()).min();
            let armed = self.alarm.set(next.map(|next| self.epoch + next), clock::now());
            match armed.and_then(|()| self.poll.poll(&mut ready, None)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The poll or its timer is broken: nothing can be served any more.
                Err(_) => return,
            }
            // Tokens that are due go first: they have a time to keep, requests have not.
            self.advance();
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
            let (key, last) = match event {
                Event::Admitted(key) => (key, None),
                Event::Token { key, last, .. } => (key, Some(last)),
            };
            let Some((slot, connection)) = self.connections.by_key(key) else { continue };
            let streams = connection.exchange.as_ref().is_some_and(|exchange| exchange.answer.stream());
            let date = self.date.now();
            match last {
                None if streams => connection.open_stream(date),
                None => continue,
                Some(last) => {
                    if last && let Some(exchange) = connection.exchange.as_ref() {
                        self.replicas[replica].finished.count(exchange.answer.stopped_by_itself());
                    }
                    connection.token(last, date, &mut self.write_scratch);
                    if !streams && !last {
                        continue;
                    }
                }
            }
            let fate = connection.send();
            self.settle(slot, fate);
            if last == Some(true) {
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
        loop {
            match self.replicas[index].listener.accept() {
                Ok((stream, _)) => {
                    if self.connections.count() < CONNECTIONS_MAX {
                        let _ = stream.set_nodelay(true);
                        self.adopt(Connection::new(stream, index));
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
        let date = self.date.now();
        if let Some(connection) = self.connections.get(slot) {
            connection.reply(reply, date);
        }
    }

    fn serve(&mut self, slot: usize, request: &Request) {
        let outcome = api::operation(&request.method, &request.path)
            .and_then(|operation| self.perform(slot, operation, request));
        let (status, page) = match outcome {
            Ok(None) => return, // an engine works on it
            Ok(Some(page)) => (Status::Ok, page),
            Err(error) => (error.status, Page::Json(error.body(&request.path))),
        };
        let (content_type, body) = match &page {
            Page::Json(body) => ("application/json", body),
            Page::Metrics(body) => (metrics::CONTENT_TYPE, body),
            Page::Empty => ("text/plain", &String::new()),
        };
        let reply = Reply {
            status,
            content_type,
            body: body.as_bytes(),
            keep_alive: request.keep_alive,
            bodyless: request.method == "HEAD",
        };
        self.reply(slot, &reply);
    }

    fn perform(
        &mut self,
        slot: usize,
        operation: Operation,
        request: &Request,
    ) -> Result<Option<Page>, ApiError> {
        let model = &self.spec.model;
        Ok(Some(match operation {
            Operation::Generate(form) => {
                self.generate(slot, form, request)?;
                return Ok(None);
            }
            Operation::CountTokens => Page::Json(api::count_tokens(&request.body, model)?),
            Operation::Health => Page::Empty,
            Operation::Models => Page::Json(api::models(model, self.started.as_secs())),
            Operation::Metrics => {
                let Some(connection) = self.connections.get(slot) else { return Ok(None) };
                let replica = &self.replicas[connection.replica];
                let started = self.started.as_secs_f64();
                Page::Metrics(metrics::page(&replica.engine, replica.finished, model, started))
            }
        }))
    }

    /// Hands a generation to the engine of the server that was asked.
    fn generate(&mut self, slot: usize, form: Form, request: &Request) -> Result<(), ApiError> {
        let ask = api::read(form, &request.body, &self.spec.model)?;
        let now = self.now();
        let (key, connection) = self.connections.next_key(slot);
        let replica = connection.replica;
        let mut events = Vec::new();
        let engine = &mut self.replicas[replica].engine;
        engine.submit(now, key, ask.work, &mut events).map_err(|refused| {
            let (status, param) = match refused {
                Refused::TooLong { .. } => (Status::BadRequest, Some("messages")),
                Refused::QueueFull => (Status::Unavailable, None),
            };
            ApiError::new(status, param, refused.to_string())
        })?;
        self.answers += 1;
        let number = self.spec.seed.wrapping_mul(0x1_0000_0000).wrapping_add(self.answers);
        let framing = if request.chunked_ok { Framing::Chunked } else { Framing::Close };
        connection.exchange = Some(Exchange {
            key,
            keep_alive: request.keep_alive && (framing != Framing::Close || !ask.stream),
            answer: Answer::new(ask, &self.spec.model, number, clock::unix_time().as_secs()),
            framing,
            head_sent: false,
        });
        self.deliver(replica, &mut events);
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

impl Finished {
    fn count(&mut self, by_itself: bool) {
        *(if by_itself { &mut self.stop } else { &mut self.length }) += 1;
    }
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

/// The connections, by slot. A key names a slot and the number of its use, so that a late event of an engine
/// never reaches the slot's next owner.
#[derive(Default)]
struct Slab {
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    uses: u64,
}

/// Bits of a key that hold the slot.
const SLOT_BITS: u32 = 24;
const _: () = assert!(CONNECTIONS_MAX < 1 << SLOT_BITS, "every slot fits a key");

impl Slab {
    fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn insert(&mut self, connection: Connection) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(connection);
        slot
    }

    fn get(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.as_mut()
    }

    fn remove(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(connection)
    }

    fn next_key(&mut self, slot: usize) -> (Key, &mut Connection) {
        self.uses += 1;
        let connection = self.slots[slot].as_mut().expect("its request is being served");
        (Key(self.uses << SLOT_BITS | slot as u64), connection)
    }

    /// The connection that waits for `key`, if it still does.
    fn by_key(&mut self, key: Key) -> Option<(usize, &mut Connection)> {
        let slot = (key.0 & ((1 << SLOT_BITS) - 1)) as usize;
        let connection = self.get(slot)?;
        connection.exchange.as_ref().is_some_and(|exchange| exchange.key == key).then_some((slot, connection))
    }
}

/// The `date` field, formatted once per second (RFC 9110 section 6.6.1 asks for it).
#[derive(Default)]
struct Date {
    second: u64,
    text: String,
}

impl Date {
    fn now(&mut self) -> &str {
        let now = clock::unix_time();
        if now.as_secs() != self.second {
            self.second = now.as_secs();
            self.text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + now);
        }
        &self.text
    }
}
