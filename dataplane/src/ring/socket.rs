//! A TCP connection whose two directions are used at once, and its receiving side.
//!
//! Owns: the one receive that may be in flight per socket. An [`Inbox`] keeps it across whoever waits for it, so
//! that a connection can be watched while its answer is written, and nothing that arrived is ever lost: a receive
//! is not dropped to stop it, it is cancelled and then awaited.
//! Must not: time anything. Deadlines act from outside, by `shutdown(2)`, which ends a receive with 0 bytes.
//! Read next: `downstream.rs` and `upstream.rs`, the two users.

use std::cell::{OnceCell, RefCell, UnsafeCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use monoio::io::{AsyncReadRent, AsyncWriteRent, CancelHandle, CancelableAsyncReadRent, Canceller};
use monoio::net::TcpStream;

use super::secure::{self, Secure};
use super::{Buffer, Buffers, Out};
use crate::bounds::BUFFER_TINY_BYTES;
use crate::tls::{Fault, Session};

/// A connected socket. Clones share it; it closes when the last one is gone.
#[derive(Clone)]
pub struct Socket(Rc<Shared>);

struct Shared {
    stream: UnsafeCell<TcpStream>,
    /// Boxed and apart: a connection in plain text pays one branch per operation for it.
    secure: OnceCell<Box<RefCell<Secure>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Ends are many (idle, drained, aborted, kept no longer), and the peer is owed this on all of them
        // (RFC 8446 section 6.1): so it is here, although `Drop` else sends nothing.
        if let Some(secure) = self.secure.get() {
            secure::say_goodbye(secure, |bytes| self.send_now(bytes));
        }
    }
}

impl Socket {
    /// Takes a connected stream and switches off Nagle's algorithm: every send here is a whole one.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(Rc::new(Shared { stream: UnsafeCell::new(stream), secure: OnceCell::new() })))
    }

    /// Dials `address`. Dropping the future gives up the attempt and closes its socket.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect_addr(address).await?)
    }

    /// Takes over a descriptor that another worker accepted.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        Self::new(TcpStream::from_std(std::net::TcpStream::from(fd))?)
    }

    /// Gives up a freshly accepted stream, before any operation on it, as a descriptor for another worker.
    pub fn release(stream: TcpStream) -> OwnedFd {
        // SAFETY: `into_raw_fd` gives the descriptor up, so nobody else will close it.
        unsafe { OwnedFd::from_raw_fd(stream.into_raw_fd()) }
    }

    /// Sends all of `buffer`'s window. On success the window is empty, on failure it holds what did not leave.
    pub async fn send(&self, mut buffer: Buffer) -> (io::Result<()>, Buffer) {
        if let Some(secure) = self.0.secure.get() {
            loop {
                let (n, pushed) = secure::push(secure, buffer.bytes(), |bytes| self.0.send_now(bytes));
                buffer.consume(n);
                match pushed {
                    Err(error) => return (Err(error), buffer),
                    Ok(true) => return (Ok(()), buffer),
                    Ok(false) => {}
                }
                // Boxed: a socket that is full is the exception, and the plain way should not carry the room for it.
                if let Err(error) = Box::pin(self.send_sealed(secure)).await {
                    return (Err(error), buffer);
                }
            }
        }
        match self.0.send_now(buffer.bytes()) {
            Ok(n) => buffer.consume(n),
            Err(error) => return (Err(error), buffer),
        }
        while !buffer.is_empty() {
            // SAFETY: as in `stream`; monoio's `write` only clones the descriptor's handle before it returns.
            let (sent, back) = unsafe { &mut *self.0.stream.get() }.write(buffer).await;
            buffer = back;
            match sent {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
                Ok(n) => buffer.consume(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    /// Sends all of `out`. On failure [`Out::len`] says how much did not leave.
    pub async fn send_out(&self, out: &mut Out) -> io::Result<()> {
        if let Some(secure) = self.0.secure.get() {
            loop {
                let (n, pushed) = secure::push(secure, out.unsent(), |bytes| self.0.send_now(bytes));
                out.consume(n);
                if pushed? {
                    return Ok(());
                }
                Box::pin(self.send_sealed(secure)).await?;
            }
        }
        let n = self.0.send_now(out.unsent())?;
        out.consume(n);
        while !out.is_empty() {
            let lent = std::mem::take(out);
            // SAFETY: as in `send`.
            let (sent, back) = unsafe { &mut *self.0.stream.get() }.write(lent).await;
            *out = back;
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => out.consume(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends, through the ring, the ciphertext that it did not take at once.
    async fn send_sealed(&self, secure: &RefCell<Secure>) -> io::Result<()> {
        let Some(mut sealed) = secure.borrow_mut().begin_send() else { return Ok(()) };
        while !sealed.is_empty() {
            // SAFETY: as in `send`.
            let (sent, back) = unsafe { &mut *self.0.stream.get() }.write(sealed).await;
            sealed = back;
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => sealed.consume(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        secure.borrow_mut().end_send();
        Ok(())
    }

    /// From now on speaks TLS. Comes before the socket's [`Inbox`], and before anything is sent or received.
    pub fn secure(&self, session: Session, buffers: &Buffers) {
        let secure = Box::new(RefCell::new(Secure::new(session, buffers.clone())));
        assert!(self.0.secure.set(secure).is_ok(), "a socket is made secure once");
    }

    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.0.secure.get().is_some()
    }

    /// Does the TLS handshake. True if it took up an earlier session.
    ///
    /// # Errors
    /// Why there is none. The peer was told, if it can be.
    pub async fn handshake(&self) -> Result<bool, Fault> {
        let secure = self.0.secure.get().expect("made secure before");
        loop {
            self.send_own(secure).await?;
            if let Some(resumed) = secure.borrow().established()? {
                return Ok(resumed);
            }
            let cipher = secure.borrow_mut().begin_handshake();
            let received = receive(self.clone(), cipher, None).await;
            secure.borrow_mut().end_handshake(received);
        }
    }

    /// Sends what the handshake has to say, an alert included; but none to a peer that would not know what it is.
    async fn send_own(&self, secure: &RefCell<Secure>) -> Result<(), Fault> {
        if secure.borrow().fault() == Some(Fault::NotTls) {
            return Err(Fault::NotTls);
        }
        let why = |_| secure.borrow().fault().unwrap_or(Fault::Reset);
        while !secure::push(secure, &[], |bytes| self.0.send_now(bytes)).1.map_err(why)? {
            self.send_sealed(secure).await.map_err(why)?;
        }
        Ok(())
    }

    /// Whether the beginning of a TLS record came, and not yet its end.
    pub fn is_in_record(&self) -> bool {
        self.0.secure.get().is_some_and(|secure| secure.borrow().is_in_record())
    }

    /// Why it speaks TLS no longer, if something went wrong.
    pub fn fault(&self) -> Option<Fault> {
        self.0.secure.get().and_then(|secure| secure.borrow().fault())
    }

    /// Sends these few bytes as they are, where TLS did not come about.
    pub fn send_plain(&self, bytes: &[u8]) {
        let _ = self.0.send_now(bytes); // they fit a fresh socket, or the peer is gone
    }

    /// Waits until there is something to receive, holding no buffer.
    pub async fn readable(&self) -> io::Result<()> {
        if self.0.secure.get().is_some_and(|secure| secure.borrow().has_more()) {
            return Ok(());
        }
        self.0.stream().readable(true).await
    }

    /// Looks whether the peer sent or closed anything, without waiting: for an idle connection both mean "unusable".
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0u8; 1];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        let nothing =
            matches!(rustix::net::recv(self.0.fd(), &mut byte, flags), Err(rustix::io::Errno::AGAIN));
        match self.0.secure.get() {
            None => nothing,
            Some(secure) if secure.borrow().has_more() => false,
            Some(secure) => (nothing || self.is_quiet_inside(secure)) && !secure.borrow().is_in_record(),
        }
    }

    /// TLS has words of its own: a server may send a session ticket at any time, and has then said nothing.
    fn is_quiet_inside(&self, secure: &RefCell<Secure>) -> bool {
        let mut bytes = [0u8; BUFFER_TINY_BYTES];
        loop {
            match rustix::net::recv(self.0.fd(), &mut bytes, rustix::net::RecvFlags::DONTWAIT) {
                Ok((n, _)) if n > 0 => {
                    if !secure.borrow_mut().take_aside(&bytes[..n]) {
                        return false;
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return true,
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// Shuts one or both directions: a pending receive then ends with 0 bytes, a pending send with EPIPE.
    pub fn shutdown(&self, how: Shutdown) {
        if let Some(secure) = self.0.secure.get() {
            secure::before_shutdown(secure, how, |bytes| self.0.send_now(bytes));
        }
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        // A peer that is gone already has shut more than we ask for.
        let _ = rustix::net::shutdown(self.0.fd(), how);
    }

    /// Makes the coming close a reset, so that the peer cannot take what it has for all there is.
    pub fn reset_on_close(&self) {
        if let Some(secure) = self.0.secure.get() {
            secure.borrow_mut().break_off();
        }
        let _ = rustix::net::sockopt::set_socket_linger(self.0.fd(), Some(std::time::Duration::ZERO));
    }

    /// True if both are the same connection.
    pub fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Shared {
    fn stream(&self) -> &TcpStream {
        // SAFETY: shared access only. The `&mut` that `send` and `receive` make lives no longer than the call that
        // builds the operation, and this thread makes no other call meanwhile (the cell is not `Sync`).
        unsafe { &*self.stream.get() }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the stream, which `self` keeps alive for the borrow.
        unsafe { BorrowedFd::borrow_raw(self.stream().as_raw_fd()) }
    }

    /// Sends what the socket takes at once; mostly that is all of it. A send through the ring would complete in the next
    /// enter, wake the task again and need a further enter to go on receiving: for a streamed event that is half of
    /// what it costs. What does not fit goes through the ring, which waits.
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
        match rustix::net::send(self.fd(), bytes, flags) {
            Ok(n) => Ok(n),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a receive brought: bytes appended to the buffer, 0 at the end of input, or an error.
pub type Received = (io::Result<usize>, Buffer);

/// The receiving side of a socket: at most one receive is in flight.
pub struct Inbox {
    socket: Socket,
    /// Room for a receive: made for the first one, kept for those that follow.
    receiver: Option<Pin<Box<dyn Receive>>>,
}

trait Receive {
    fn arm(self: Pin<&mut Self>, socket: Socket, buffer: Buffer, stop: Option<CancelHandle>);
    fn is_armed(&self) -> bool;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Received>;
}

impl Inbox {
    /// The inbox of `socket`. Make one per socket: two would race for the same bytes.
    pub fn new(socket: &Socket) -> Self {
        Self { socket: socket.clone(), receiver: None }
    }

    /// Starts a receive that appends to `buffer`, which must have room. `stop` can cancel it.
    pub fn arm(&mut self, buffer: Buffer, stop: Option<&Canceller>) {
        assert!(!self.is_armed(), "one receive in flight per socket");
        assert!(buffer.room() > 0, "a receive without room looks like the end of input");
        let receiver = self.receiver.get_or_insert_with(|| receiver_of(&self.socket));
        receiver.as_mut().arm(self.socket.clone(), buffer, stop.map(Canceller::handle));
    }

    /// True while a receive is in flight.
    pub fn is_armed(&self) -> bool {
        self.receiver.as_ref().is_some_and(|receiver| receiver.is_armed())
    }

    /// Polls the receive in flight.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let receiver = self.receiver.as_mut().expect("polled only while a receive is in flight");
        receiver.as_mut().poll(cx)
    }

    /// Gives back the room for a receive, if none is in flight: a third of what an idle connection would hold.
    pub fn rest(&mut self) {
        if !self.is_armed() {
            self.receiver = None;
        }
    }

    /// Waits for the receive in flight.
    pub async fn wait(&mut self) -> Received {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Starts a receive and waits for it.
    pub async fn receive(&mut self, buffer: Buffer) -> Received {
        self.arm(buffer, None);
        self.wait().await
    }
}

fn receiver_of(socket: &Socket) -> Pin<Box<dyn Receive>> {
    if socket.is_secure() {
        return Box::pin(Receiver { build: receive_secure, op: None });
    }
    Box::pin(Receiver { build: receive, op: None })
}

pin_project_lite::pin_project! {
    struct Receiver<F> {
        build: fn(Socket, Buffer, Option<CancelHandle>) -> F,
        #[pin]
        op: Option<F>,
    }
}

impl<F: Future<Output = Received>> Receive for Receiver<F> {
    fn arm(self: Pin<&mut Self>, socket: Socket, buffer: Buffer, stop: Option<CancelHandle>) {
        let mut this = self.project();
        let op = (this.build)(socket, buffer, stop);
        this.op.set(Some(op));
    }

    fn is_armed(&self) -> bool {
        self.op.is_some()
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Received> {
        let mut this = self.project();
        let op = this.op.as_mut().as_pin_mut().expect("polled only while a receive is in flight");
        let received = std::task::ready!(op.poll(cx));
        this.op.set(None);
        Poll::Ready(received)
    }
}

async fn receive(socket: Socket, buffer: Buffer, stop: Option<CancelHandle>) -> Received {
    // SAFETY: as in `Socket::send`; a receive and a send of one stream do not touch each other in monoio
    // (`TcpStream` is `Split`), and `Inbox` sees to it that there is only one receive.
    let stream = unsafe { &mut *socket.0.stream.get() };
    match stop {
        Some(stop) => stream.cancelable_read(buffer, stop).await,
        None => stream.read(buffer).await,
    }
}

/// Receives until there is plaintext, an end or an error.
async fn receive_secure(socket: Socket, mut buffer: Buffer, stop: Option<CancelHandle>) -> Received {
    let secure = socket.0.secure.get().expect("chosen for a secure socket");
    loop {
        let begun = secure.borrow_mut().begin(buffer);
        let (cipher, plain) = match begun {
            secure::Begun::Ready(received) => return received,
            secure::Begun::Wait { cipher, plain } => (cipher, plain),
        };
        let received = receive(socket.clone(), cipher, stop.clone()).await;
        let ended = secure.borrow_mut().end(received, plain);
        match ended {
            secure::Ended::Ready(received) => {
                secure::say_last(secure, |bytes| socket.0.send_now(bytes));
                return received;
            }
            secure::Ended::More(back) => buffer = back,
        }
    }
}
