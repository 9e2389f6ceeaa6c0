//! One connection from a caller: request after request, then an orderly end.
//!
//! Owns: the socket, what of the caller's bytes is not yet used, and the wait for the next head.
//! Must not: look past the request head, or know routes and upstreams.
//! Read next: `exchange.rs`, which answers one request.

use std::future::poll_fn;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_contract::snapshot::{HalfClose, Listener};
use ringway_dialect::surface::Grammar;
use ringway_wire::http1::{HeadBounds, Parse, RequestHead};

use crate::bounds::{BUFFER_LARGE_BYTES, LINGER_BYTES_MAX, LINGER_MS_MAX, READ_AHEAD_BYTES_MAX};
use crate::deadline::{Deadline, Elapsed, Wait};
use crate::exchange::{self, After};
use crate::handshake;
use crate::outcome::Reason;
use crate::refusal::Refusal;
use crate::reply;
use crate::ring::{Buffer, Inbox, Out, Received, Size, Socket};
use crate::worker::{Scratch, Worker};

/// One connection from a caller.
pub struct Downstream {
    /// Its socket, for sending.
    pub socket: Socket,
    /// Its receiving side; none while a pump has it.
    pub read: Option<ReadSide>,
    /// Who it is.
    pub peer: SocketAddr,
    /// Where it was accepted.
    pub listener: Rc<Listener>,
    /// Its place in the wheel.
    pub deadline: Deadline,
    /// When the first byte of the current head was seen, in microseconds of the worker's clock.
    pub head_began_us: u64,
    /// When it last had nothing to do, in milliseconds of the worker's clock.
    pub idle_since_ms: u64,
    /// Its answer is a stream: the watch beside it makes do with a tiny buffer.
    pub streaming: bool,
    /// The caller shut its sending side and may (`half_close: allow`) still read.
    pub half_closed: bool,
}

/// What it takes to receive from a caller, apart from sending to it.
pub struct ReadSide {
    /// The socket's inbox.
    pub inbox: Inbox,
    /// Bytes behind the current request: the next one, or its beginning.
    pub ahead: Option<Buffer>,
    /// The same place in the wheel as the connection's.
    pub deadline: Deadline,
    /// How long the caller may take.
    pub listener: Rc<Listener>,
}

/// How a session ended.
enum Session {
    /// Nothing happened for a while: wait on without a buffer.
    Idle,
    /// Close at once.
    Close,
    /// We have said our last: let the caller take it, then close.
    Linger,
}

/// What waiting for a head brought.
enum Next {
    Head(Buffer),
    Idle,
    Gone(Option<Reason>),
    Refused(Refusal, Buffer),
}

/// Serves a connection to its end. The future is small while it waits: an idle connection holds no buffer.
pub async fn serve(worker: Rc<Worker>, socket: Socket, peer: SocketAddr, listener: Rc<Listener>) {
    if listener.tls.is_some() && !handshake::prepare(&worker, &socket, &listener) {
        return;
    }
    let deadline = worker.wheel.enter(&socket);
    let read = Some(ReadSide {
        inbox: Inbox::new(&socket),
        ahead: None,
        deadline: deadline.clone(),
        listener: Rc::clone(&listener),
    });
    let mut down = Downstream {
        socket,
        read,
        peer,
        listener,
        deadline,
        head_began_us: 0,
        idle_since_ms: worker.clock.coarse_ms(),
        streaming: false,
        half_closed: false,
    };
    // Where there are many already, a new one waits for its first byte without a buffer or a boxed session.
    if worker.is_crowded() && !next_request(&worker, &mut down).await {
        return;
    }
    if down.socket.is_secure() && !Box::pin(handshake::shake(&worker, &mut down)).await {
        return;
    }
    loop {
        // Boxed: what serving needs is large, what waiting needs is not.
        match Box::pin(session(&worker, &mut down)).await {
            Session::Idle => {
                down.read_side().inbox.rest();
                if !next_request(&worker, &mut down).await {
                    return;
                }
            }
            Session::Close => return,
            Session::Linger => return Box::pin(linger(&worker, &mut down)).await,
        }
    }
}

/// Waits for the next request holding nothing; false if the connection is over instead.
async fn next_request(worker: &Worker, down: &mut Downstream) -> bool {
    let keep_alive_ms = down.listener.timeouts.keep_alive_ms.get();
    down.deadline.wait(Wait::NextRequest, down.idle_since_ms, keep_alive_ms);
    let readable = down.socket.readable().await;
    let elapsed = down.deadline.elapsed();
    down.idle_since_ms = worker.clock.coarse_ms();
    readable.is_ok() && elapsed.is_none()
}

async fn session(worker: &Rc<Worker>, down: &mut Downstream) -> Session {
    let mut scratch = worker.take_scratch();
    let end = requests(worker, down, &mut scratch).await;
    worker.put_scratch(scratch);
    end
}

async fn requests(worker: &Rc<Worker>, down: &mut Downstream, scratch: &mut Scratch) -> Session {
    loop {
        let after = match down.next_head(worker, &mut scratch.head).await {
            Next::Head(buffer) => exchange::run(worker, down, scratch, buffer).await,
            Next::Refused(refusal, buffer) => {
                exchange::refuse_head(worker, down, scratch, refusal, &buffer).await
            }
            Next::Idle => return Session::Idle,
            Next::Gone(reason) => {
                if let Some(reason) = reason {
                    worker.count_reason(reason);
                }
                return Session::Close;
            }
        };
        match after {
            After::KeepAlive if !down.half_closed || down.read_side().ahead.is_some() => {}
            After::KeepAlive | After::Linger => return Session::Linger,
            After::Close => return Session::Close,
            After::Reset => {
                down.socket.reset_on_close();
                return Session::Close;
            }
        }
    }
}

impl Downstream {
    /// The receiving side, when no pump has it.
    pub fn read_side(&mut self) -> &mut ReadSide {
        self.read.as_mut().expect("a pump gives the receiving side back before anyone else asks for it")
    }

    /// Waits for a whole request head at the front of a buffer.
    async fn next_head(&mut self, worker: &Worker, head: &mut RequestHead) -> Next {
        let bounds = worker.head_bounds();
        let mut begun_ms = None;
        let mut begun = false;
        head.reset();
        let mut buffer = self.read_side().ahead.take();
        loop {
            if let Some(have) = buffer.take_if(|have| !have.is_empty()) {
                if !begun {
                    begun = true;
                    self.head_began_us = worker.clock.now_us();
                }
                match head.parse(have.bytes(), &bounds) {
                    Ok(Parse::Complete) => return Next::Head(have),
                    Ok(Parse::Partial) => buffer = Some(have),
                    Err(fault) => return Next::Refused(Refusal::of_fault(fault, 0), have),
                }
            }
            match self.more_head(worker, buffer.take(), &bounds, &mut begun_ms).await {
                Ok(more) => buffer = Some(more),
                Err(Next::Gone(None)) if begun => return Next::Gone(Some(Reason::ClientGoneHead)),
                Err(next) => return next,
            }
        }
    }

    /// Receives once behind what is there. Bounded by the head's deadline once a byte of it came.
    async fn more_head(
        &mut self,
        worker: &Worker,
        have: Option<Buffer>,
        bounds: &HeadBounds,
        begun_ms: &mut Option<u64>,
    ) -> Result<Buffer, Next> {
        let now = worker.clock.coarse_ms();
        let timeouts = self.listener.timeouts;
        let mut warm = None;
        if have.is_some() {
            // From its first byte: dripping does not extend it.
            let since = *begun_ms.get_or_insert(now);
            self.deadline.wait(Wait::Head, since, timeouts.head_ms.get());
        } else {
            self.idle_since_ms = now;
            let counted = warm.insert(worker.wait_warm());
            self.deadline.wait(Wait::Warm, now, counted.ms.min(timeouts.keep_alive_ms.get()));
        }
        let read = self.read.as_mut().expect("no pump runs between requests");
        let (received, buffer) = if read.inbox.is_armed() {
            // The watch of the last exchange is still waiting: it becomes this read.
            let (received, more) = read.inbox.wait().await;
            (received, joined(worker, have, more))
        } else {
            let buffer = with_room(worker, have, bounds)?;
            self.deadline.with_idle_read(|stop| read.inbox.arm(buffer, Some(stop)));
            read.inbox.wait().await
        };
        drop(warm);
        let elapsed = self.deadline.elapsed();
        self.deadline.rest();
        match received {
            Ok(0) if elapsed == Some(Elapsed::Wait(Wait::Head)) => {
                Err(Next::Refused(Refusal::HeadTimeout, buffer))
            }
            Ok(0) => Err(Next::Gone(None)),
            Ok(_) => Ok(buffer),
            // Cancelled: it was quiet for a while, or a drain begins. What arrived first is a head that began.
            Err(error) if is_cancelled(&error) && (!buffer.is_empty() || self.socket.is_in_record()) => {
                Ok(buffer)
            }
            Err(error) if is_cancelled(&error) && self.may_idle(worker) => Err(Next::Idle),
            Err(_) => Err(Next::Gone(None)),
        }
    }

    /// The answer is a stream and may last: the watch gives its buffer back for a tiny one.
    pub fn begin_stream(&mut self) {
        self.streaming = true;
        if self.read.as_ref().is_some_and(|read| read.inbox.is_armed()) {
            self.deadline.cancel_idle_read();
        }
    }

    /// Whether it may wait on for a next request.
    fn may_idle(&self, worker: &Worker) -> bool {
        let idle_ms = worker.clock.coarse_ms() - self.idle_since_ms;
        idle_ms < self.listener.timeouts.keep_alive_ms.get() && !worker.closes_idle()
    }

    /// Watches the caller while it has nothing to say: ready when it is gone. What it sends ahead is kept.
    pub fn poll_gone(&mut self, worker: &Worker, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(read) = self.read.as_mut() else { return Poll::Pending };
            if !read.inbox.is_armed() {
                if self.half_closed || read.is_far_ahead() {
                    return Poll::Pending;
                }
                // A buffer of its own: bytes ahead may be a whole request, which must not wait for this read.
                let size = if self.streaming { Size::Tiny } else { Size::Small };
                self.deadline.with_idle_read(|stop| read.inbox.arm(worker.buffers.take(size), Some(stop)));
            }
            let (received, buffer) = std::task::ready!(read.inbox.poll(cx));
            match received {
                Ok(0) if self.listener.half_close == HalfClose::Allow => self.half_closed = true,
                Ok(0) => return Poll::Ready(()),
                Ok(_) => read.ahead = Some(joined(worker, read.ahead.take(), buffer)),
                Err(error) if is_cancelled(&error) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl ReadSide {
    fn is_far_ahead(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| ahead.len() >= READ_AHEAD_BYTES_MAX)
    }

    /// Receives behind `tail`: what the watch took ahead, else through the watch if it is still waiting.
    pub async fn receive(&mut self, worker: &Worker, tail: Option<Buffer>) -> Received {
        if let Some(ahead) = self.ahead.take() {
            return (Ok(ahead.len()), joined(worker, tail, ahead));
        }
        if self.inbox.is_armed() {
            let (received, more) = self.inbox.wait().await;
            return (received, joined(worker, tail, more));
        }
        let mut buffer = worker.buffers.large();
        if let Some(tail) = tail {
            buffer.append(tail.bytes());
        }
        self.inbox.receive(buffer).await
    }
}

/// What came first and what came then, in one buffer.
fn joined(worker: &Worker, first: Option<Buffer>, then: Buffer) -> Buffer {
    let Some(mut first) = first else { return then };
    if first.room() < then.len() {
        first = worker.buffers.moved(&first, Size::holding(first.len() + then.len()));
    }
    let taken = first.append(then.bytes());
    assert_eq!(
        taken,
        then.len(),
        "what is ahead and one small buffer fit a large one: see READ_AHEAD_BYTES_MAX"
    );
    first
}

fn is_cancelled(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

/// A buffer to go on reading a head in: what is there, moved to a larger one if it is full.
fn with_room(worker: &Worker, have: Option<Buffer>, bounds: &HeadBounds) -> Result<Buffer, Next> {
    let Some(have) = have else { return Ok(worker.buffers.small()) };
    if have.room() > 0 {
        return Ok(have);
    }
    if have.len() >= bounds.head_bytes.min(BUFFER_LARGE_BYTES) {
        return Err(Next::Refused(Refusal::HeadTooLarge, have));
    }
    Ok(worker.buffers.moved(&have, have.size().larger()))
}

/// The orderly close: our last bytes are taken before the socket goes, or the kernel would send a reset that
/// overtakes them (RFC 9112 section 9.6).
pub(crate) async fn linger(worker: &Worker, down: &mut Downstream) {
    down.socket.shutdown(Shutdown::Write);
    down.deadline.wait(Wait::Linger, worker.clock.coarse_ms(), LINGER_MS_MAX);
    // A pump that was dropped took the inbox along; the bytes it lost were of a body nobody wants.
    let mut inbox = down.read.take().map_or_else(|| Inbox::new(&down.socket), |read| read.inbox);
    let mut taken = 0;
    while taken < LINGER_BYTES_MAX {
        if !inbox.is_armed() {
            inbox.arm(worker.buffers.small(), None);
        }
        match poll_fn(|cx| inbox.poll(cx)).await.0 {
            Ok(n) if n > 0 => taken += n,
            _ => return,
        }
    }
}

/// One connection too many: a short answer, in plain JSON because nothing was asked yet, and the end.
pub async fn turn_away(worker: &Worker, socket: &Socket) {
    let mut out = Out::default();
    unasked(worker, &mut out.bytes, &Refusal::TooManyConnections);
    // It fits the send buffer of a fresh socket, so this does not wait.
    let _ = socket.send_out(&mut out).await;
    socket.shutdown(Shutdown::Write);
}

/// Writes a refusal to somebody who has not asked anything that could be read.
pub(crate) fn unasked(worker: &Worker, out: &mut Vec<u8>, refusal: &Refusal) {
    let mut date = Vec::new();
    worker.clock.date_into(&mut date);
    let id = exchange::new_id(&mut worker.rng.borrow_mut());
    let id = std::str::from_utf8(&id).unwrap_or_default();
    let to = reply::To {
        grammar: Grammar::Plain,
        request_id: id,
        ringway_id: id,
        date: std::str::from_utf8(&date).unwrap_or_default(),
        head: false,
        http10: false,
        close: true,
        retries_spent: false,
    };
    reply::refusal(out, refusal, &to);
}
