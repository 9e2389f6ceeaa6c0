//! One connection from a caller: request after request, then an orderly end.
//!
//! Owns: the socket, what of the caller's bytes is not yet used, and the wait for the next head.
//! Must not: look past the request head, or know routes and upstreams.
//! Read next: `desk.rs`, where requests are served; `exchange.rs`, which answers one.

use std::future::poll_fn;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_contract::snapshot::{HalfClose, Listener};
use ringway_dialect::surface::Grammar;
use ringway_wire::http1::{HeadBounds, Parse, RequestHead};

use crate::bounds::{BUFFER_LARGE_BYTES, LINGER_BYTES_MAX, LINGER_MS_MAX, READ_AHEAD_BYTES_MAX};
use crate::deadline::{Deadline, Elapsed, Wait};
use crate::desk;
use crate::exchange::{self, After};
use crate::handshake;
use crate::observe::Record;
use crate::outcome::Reason;
use crate::refusal::Refusal;
use crate::reply;
use crate::ring::{Buffer, Inbox, Out, Received, Room, Size, Socket};
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
pub enum Session {
    /// The next request is not there yet.
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

/// Serves a connection to its end. The future is small: what serving a request needs is at a desk.
pub async fn serve(worker: Rc<Worker>, socket: Socket, peer: SocketAddr, listener: Rc<Listener>) {
    if listener.tls.is_some() && !handshake::prepare(&worker, &socket, &listener) {
        return;
    }
    let mut down = Box::new(Downstream::new(&worker, socket, peer, listener));
    if down.socket.is_secure() && !Box::pin(handshake::shake(&worker, &mut down)).await {
        return;
    }
    let mut asked = false;
    while down.next_request(&worker, asked).await {
        let (back, end) = desk::session(&worker, down).await;
        down = back;
        match end {
            Session::Idle => asked = true,
            Session::Close => return,
            Session::Linger => return Box::pin(linger(&worker, &mut down)).await,
        }
    }
}

/// Serves requests until the next one is not there yet, or there is none.
pub async fn requests(
    worker: &Rc<Worker>,
    down: &mut Downstream,
    scratch: &mut Scratch,
    record: &mut Record,
) -> Session {
    loop {
        let after = match down.next_head(worker, &mut scratch.head).await {
            Next::Head(buffer) => exchange::run(worker, down, scratch, record, &mut Some(buffer)).await,
            Next::Refused(refusal, buffer) => {
                Box::pin(exchange::refuse_head(worker, down, scratch, record, (refusal, &buffer))).await
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
    fn new(worker: &Worker, socket: Socket, peer: SocketAddr, listener: Rc<Listener>) -> Self {
        let deadline = worker.wheel.enter(&socket);
        let read = ReadSide {
            inbox: Inbox::new(&socket, &worker.buffers),
            ahead: None,
            deadline: deadline.clone(),
            listener: Rc::clone(&listener),
        };
        let idle_since_ms = worker.clock.coarse_ms();
        Self {
            socket,
            read: Some(read),
            peer,
            listener,
            deadline,
            head_began_us: 0,
            idle_since_ms,
            half_closed: false,
        }
    }

    /// The receiving side, when no pump has it.
    pub fn read_side(&mut self) -> &mut ReadSide {
        self.read.as_mut().expect("a pump gives the receiving side back before anyone else asks for it")
    }

    /// Waits for the next request, holding nothing; false if the connection is over instead. `asked`: the inbox was asked
    /// just now, by this task, and had nothing: what wakes it is set up.
    async fn next_request(&mut self, worker: &Worker, mut asked: bool) -> bool {
        if self.socket.is_in_record() {
            return true; // it has begun
        }
        self.idle_since_ms = worker.clock.coarse_ms();
        self.deadline.wait(Wait::NextRequest, self.idle_since_ms, self.listener.timeouts.keep_alive_ms.get());
        let read = self.read_side();
        let ask = |cx: &mut Context<'_>| {
            if std::mem::take(&mut asked) { Poll::Pending } else { read.inbox.poll_readable(cx) }
        };
        let readable = poll_fn(ask).await;
        readable.is_ok() && self.deadline.elapsed().is_none()
    }

    /// Waits for a whole request head at the front of a buffer, if there is anything of it.
    async fn next_head(&mut self, worker: &Worker, head: &mut RequestHead) -> Next {
        head.reset();
        let buffer = match self.begun_head(worker).await {
            Ok(buffer) => buffer,
            Err(next) => return next,
        };
        let next = self.whole_head(worker, head, buffer).await;
        self.deadline.rest();
        next
    }

    async fn whole_head(&mut self, worker: &Worker, head: &mut RequestHead, mut buffer: Buffer) -> Next {
        let bounds = worker.head_bounds();
        loop {
            match head.parse(buffer.bytes(), &bounds) {
                Ok(Parse::Complete) => return Next::Head(buffer),
                Ok(Parse::Partial) => {}
                Err(fault) => return Next::Refused(Refusal::of_fault(fault, 0), buffer),
            }
            match self.more_head(worker, buffer, &bounds).await {
                Ok(more) => buffer = more,
                Err(next) => return next,
            }
        }
    }

    /// The first bytes of a head. Its time begins with them: dripping does not extend it.
    async fn begun_head(&mut self, worker: &Worker) -> Result<Buffer, Next> {
        let mut ahead = self.read_side().ahead.take();
        if ahead.is_none() {
            let read = self.read_side();
            read.inbox.arm(Room::Fresh(Size::Small));
            match poll_fn(|cx| Poll::Ready(read.inbox.poll(cx))).await {
                Poll::Ready((Ok(n), buffer)) if n > 0 => ahead = Some(buffer),
                Poll::Ready(_) => return Err(Next::Gone(None)),
                Poll::Pending if !self.socket.is_in_record() => return Err(Next::Idle),
                Poll::Pending => {}
            }
        }
        self.head_began_us = worker.clock.now_us();
        self.deadline.wait(Wait::Head, worker.clock.coarse_ms(), self.listener.timeouts.head_ms.get());
        match ahead {
            Some(ahead) => Ok(ahead),
            None => self.received_head().await,
        }
    }

    /// Receives once behind what is there of a head.
    async fn more_head(
        &mut self,
        worker: &Worker,
        have: Buffer,
        bounds: &HeadBounds,
    ) -> Result<Buffer, Next> {
        let have = with_room(worker, have, bounds)?;
        self.read_side().inbox.arm(Room::Behind(have));
        self.received_head().await
    }

    async fn received_head(&mut self) -> Result<Buffer, Next> {
        let (received, buffer) = self.read_side().inbox.wait().await;
        match (received, self.deadline.elapsed()) {
            (Ok(n), _) if n > 0 => Ok(buffer),
            (Ok(_), Some(Elapsed::Wait(Wait::Head))) => Err(Next::Refused(Refusal::HeadTimeout, buffer)),
            (Ok(_) | Err(_), _) => Err(Next::Gone(Some(Reason::ClientGoneHead))),
        }
    }

    /// Watches the caller while it has nothing to say: ready when it is gone. What it sends ahead is kept.
    pub fn poll_gone(&mut self, worker: &Worker, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(read) = self.read.as_mut() else { return Poll::Pending };
            if self.half_closed || read.is_far_ahead() {
                return Poll::Pending;
            }
            if !read.inbox.is_armed() {
                // A buffer of its own: bytes ahead may be a whole request, which must not wait for this read.
                read.inbox.arm(Room::Fresh(Size::Small));
            }
            let (received, buffer) = std::task::ready!(read.inbox.poll(cx));
            match received {
                Ok(0) if self.listener.half_close == HalfClose::Allow => self.half_closed = true,
                Ok(n) if n > 0 => read.ahead = Some(joined(worker, read.ahead.take(), buffer)),
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl ReadSide {
    fn is_far_ahead(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| ahead.len() >= READ_AHEAD_BYTES_MAX)
    }

    /// Receives behind `tail`: what the watch took ahead, else whatever comes.
    pub async fn receive(&mut self, worker: &Worker, tail: Option<Buffer>) -> Received {
        if let Some(ahead) = self.ahead.take() {
            return (Ok(ahead.len()), joined(worker, tail, ahead));
        }
        let room = match tail {
            Some(tail) => Room::Behind(worker.buffers.moved(&tail, Size::Large)),
            None => Room::Fresh(Size::Large),
        };
        self.inbox.receive(room).await
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

/// A buffer to go on reading a head in: what is there, moved to a larger one if it is full.
fn with_room(worker: &Worker, have: Buffer, bounds: &HeadBounds) -> Result<Buffer, Next> {
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
    let fresh = || Inbox::new(&down.socket, &worker.buffers);
    let mut inbox = down.read.take().map_or_else(fresh, |read| read.inbox);
    let mut taken = 0;
    while taken < LINGER_BYTES_MAX {
        match inbox.receive(Room::Fresh(Size::Small)).await.0 {
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
    let id = exchange::new_id(&mut worker.rng.borrow_mut());
    let id = std::str::from_utf8(&id).unwrap_or_default();
    let to = reply::To {
        grammar: Grammar::Plain,
        request_id: id,
        ringway_id: id,
        date: worker.clock.date(),
        head: false,
        http10: false,
        close: true,
        retries_spent: false,
    };
    reply::refusal(out, refusal, &to);
}
