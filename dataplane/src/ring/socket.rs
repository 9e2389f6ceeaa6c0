//! A TCP connection whose two directions are used at once, and its receiving side.
//!
//! Owns: the two ways to move bytes, both tried without the ring first, and the wait for the socket between them. An
//! [`Inbox`] keeps that wait across whoever waits, so that a connection can be watched while its answer is written.
//! The ring brings readiness and no bytes: a wait that is dropped loses nothing, and holds no buffer meanwhile.
//! Must not: time anything. Deadlines act from outside, by `shutdown(2)`, which ends a receive with 0 bytes.
//! Read next: `downstream.rs` and `upstream.rs`, the two users.

use std::cell::{OnceCell, RefCell, UnsafeCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use monoio::io::AsyncWriteRent;
use monoio::net::TcpStream;

use super::secure::{self, Secure};
use super::{Buffer, Buffers, Out, Parcel, Size};
use crate::bounds::{BUFFER_TINY_BYTES, RECEIVES_AT_ONCE_MAX};
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
    /// Takes an accepted stream. Nagle's algorithm is off, as it is at the listener that it comes from.
    pub fn accepted(stream: TcpStream) -> Self {
        Self(Rc::new(Shared { stream: UnsafeCell::new(stream), secure: OnceCell::new() }))
    }

    /// Dials `address`, and switches off Nagle's algorithm: every send here is a whole one. Dropping the future gives up
    /// the attempt and closes its socket.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_addr(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::accepted(stream))
    }

    /// Takes over a descriptor that another worker accepted.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::accepted(TcpStream::from_std(std::net::TcpStream::from(fd))?))
    }

    /// Gives up a freshly accepted stream, before any operation on it, as a descriptor for another worker.
    pub fn release(stream: TcpStream) -> OwnedFd {
        // SAFETY: `into_raw_fd` gives the descriptor up, so nobody else will close it.
        unsafe { OwnedFd::from_raw_fd(stream.into_raw_fd()) }
    }

    /// Sends what the socket takes at once, which mostly is all; true if it is. What is left stays in the parcel.
    pub fn send_now(&self, parcel: &mut impl Parcel) -> io::Result<bool> {
        let Some(secure) = self.0.secure.get() else {
            let n = self.0.send_now(parcel.unsent())?;
            parcel.consume(n);
            return Ok(parcel.unsent().is_empty());
        };
        let (n, pushed) = secure::push(secure, parcel.unsent(), |bytes| self.0.send_now(bytes));
        parcel.consume(n);
        pushed
    }

    /// Sends all of `buffer`'s window. On success the window is empty, on failure it holds what did not leave.
    pub async fn send(&self, mut buffer: Buffer) -> (io::Result<()>, Buffer) {
        match self.send_now(&mut buffer) {
            Ok(true) => (Ok(()), buffer),
            // Boxed: a socket that is full is the exception, and the plain way should not carry the room for it.
            Ok(false) => Box::pin(self.send_rest(buffer)).await,
            Err(error) => (Err(error), buffer),
        }
    }

    /// Sends all of `out`. On failure [`Out::len`] says how much did not leave.
    pub async fn send_out(&self, out: &mut Out) -> io::Result<()> {
        if self.send_now(out)? {
            return Ok(());
        }
        let (sent, back) = Box::pin(self.send_rest(std::mem::take(out))).await;
        *out = back;
        sent
    }

    /// Sends through the ring, which waits, what the socket did not take at once.
    pub async fn send_rest<P: Parcel>(&self, mut parcel: P) -> (io::Result<()>, P) {
        if let Some(secure) = self.0.secure.get() {
            loop {
                if let Err(error) = self.send_sealed(secure).await {
                    return (Err(error), parcel);
                }
                match self.send_now(&mut parcel) {
                    Ok(true) => return (Ok(()), parcel),
                    Ok(false) => {}
                    Err(error) => return (Err(error), parcel),
                }
            }
        }
        self.write_all(parcel).await
    }

    async fn write_all<P: Parcel>(&self, mut parcel: P) -> (io::Result<()>, P) {
        while !parcel.unsent().is_empty() {
            // SAFETY: as in `stream`; monoio's `write` only clones the descriptor's handle before it returns.
            let (sent, back) = unsafe { &mut *self.0.stream.get() }.write(parcel).await;
            parcel = back;
            match sent {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), parcel),
                Ok(n) => parcel.consume(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), parcel),
            }
        }
        (Ok(()), parcel)
    }

    /// Sends, through the ring, the ciphertext that it did not take at once.
    async fn send_sealed(&self, secure: &RefCell<Secure>) -> io::Result<()> {
        let Some(sealed) = secure.borrow_mut().begin_send() else { return Ok(()) };
        self.write_all(sealed).await.0?;
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
            let ended = self.0.stream().readable(false).await; // holding nothing: many never say a word
            let mut cipher = secure.borrow_mut().begin_handshake();
            let received = ended.and_then(|()| self.0.receive_now(&mut cipher));
            if !received.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                secure.borrow_mut().end_handshake((received, cipher));
            }
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

    /// Whether TLS has something for a receive that the socket would not show.
    fn has_more_inside(&self) -> bool {
        self.0.secure.get().is_some_and(|secure| secure.borrow().has_more())
    }

    /// Takes what is there without waiting: 0 bytes at the end of input, `WouldBlock` if there is nothing yet.
    fn receive_now(&self, mut buffer: Buffer) -> Received {
        if let Some(secure) = self.0.secure.get() {
            let received = secure::pull(secure, buffer, |cipher| self.0.receive_now(cipher));
            secure::say_last(secure, |bytes| self.0.send_now(bytes));
            return received;
        }
        (self.0.receive_now(&mut buffer), buffer)
    }

    /// TLS has words of its own: a server may send a session ticket at any time, and has then said nothing.
    fn is_quiet_inside(&self) -> bool {
        let Some(secure) = self.0.secure.get() else { return false };
        let mut bytes = [0u8; BUFFER_TINY_BYTES];
        while !secure.borrow().has_more() {
            match rustix::net::recv(self.0.fd(), &mut bytes, rustix::net::RecvFlags::DONTWAIT) {
                Ok((n, _)) if n > 0 => {
                    if !secure.borrow_mut().take_aside(&bytes[..n]) {
                        return false;
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return !secure.borrow().is_in_record(),
                Ok(_) | Err(_) => return false,
            }
        }
        false
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

    /// From here on mostly receives small pieces. Unasked, the kernel acknowledges each one when it is taken, which costs
    /// as much as sending one on; told that answers follow (tcp(7), `TCP_QUICKACK` off), it acknowledges every second
    /// one, or after 40 ms. Where pieces come slower than that it goes back to its old ways by itself.
    pub fn acknowledge_lazily(&self) {
        let _ = rustix::net::sockopt::set_tcp_quickack(self.0.fd(), false); // only costs, if it fails
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
        // SAFETY: shared access only. The `&mut` that `send` makes lives no longer than the call that builds the
        // operation, and this thread makes no other call meanwhile (the cell is not `Sync`).
        unsafe { &*self.stream.get() }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the stream, which `self` keeps alive for the borrow.
        unsafe { BorrowedFd::borrow_raw(self.stream().as_raw_fd()) }
    }

    /// Receives what is there behind `buffer`'s window.
    fn receive_now(&self, buffer: &mut Buffer) -> io::Result<usize> {
        let flags = rustix::net::RecvFlags::DONTWAIT;
        loop {
            match buffer.fill(|room| rustix::net::recv(self.fd(), room, flags).map(|(parts, _)| parts)) {
                Err(rustix::io::Errno::INTR) => {}
                received => return Ok(received?),
            }
        }
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

/// What a receive goes into. A buffer is taken from the pool only once there is something to put into it: a wait holds
/// none, and what is taken is the one that was used last and is still in the cache.
pub enum Room {
    /// An empty buffer of this size.
    Fresh(Size),
    /// Behind what is in this one, which must have room.
    Behind(Buffer),
}

/// The receiving side of a socket: one wait for readiness may be in flight. It brings no bytes, so whoever waits may
/// stop doing so at any time, and somebody else go on with the same wait.
pub struct Inbox {
    socket: Socket,
    buffers: Buffers,
    into: Option<Room>,
    /// Room for a wait: made for the first one, kept for those that follow.
    wait: Option<Pin<Box<dyn Wait>>>,
    /// As far as is known there is something to receive.
    ready: bool,
    /// Receives in a row that waited for nothing.
    at_once: u8,
}

trait Wait {
    fn begin(self: Pin<&mut Self>, socket: Socket);
    fn has_begun(&self) -> bool;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Inbox {
    /// The inbox of `socket`, which takes buffers from `buffers`. Make one per socket: two would race for its bytes.
    pub fn new(socket: &Socket, buffers: &Buffers) -> Self {
        let (socket, buffers) = (socket.clone(), buffers.clone());
        Self { socket, buffers, into: None, wait: None, ready: false, at_once: 0 }
    }

    /// From now on a receive is wanted, into this; it takes the place of one that was wanted before.
    pub fn arm(&mut self, into: Room) {
        if let Room::Behind(buffer) = &into {
            assert!(buffer.room() > 0, "a receive without room looks like the end of input");
        }
        self.into = Some(into);
    }

    /// True while a receive is wanted.
    pub fn is_armed(&self) -> bool {
        self.into.is_some()
    }

    /// Ready once a receive would not wait. Nothing has to be wanted yet, and nothing is held.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ready {
            return Poll::Ready(Ok(()));
        }
        let begun = self.wait.as_ref().is_some_and(|wait| wait.has_begun());
        if !begun && self.socket.has_more_inside() {
            self.ready = true;
            return Poll::Ready(Ok(()));
        }
        let wait = self.wait.get_or_insert_with(|| Box::pin(Waiting { build: readable, op: None }));
        if !begun {
            wait.as_mut().begin(self.socket.clone());
        }
        let ended = std::task::ready!(wait.as_mut().poll(cx));
        self.ready = ended.is_ok();
        let had_its_turn = std::mem::take(&mut self.at_once) >= RECEIVES_AT_ONCE_MAX;
        if had_its_turn && !begun {
            // On a ring the others were served meanwhile; epoll sees at once that there is more.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(ended)
    }

    /// Polls the receive that is wanted.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        loop {
            let ended = std::task::ready!(self.poll_readable(cx));
            let buffer = match self.into.take().expect("polled only while a receive is wanted") {
                Room::Fresh(size) => self.buffers.take(size),
                Room::Behind(buffer) => buffer,
            };
            let (received, buffer) = match ended {
                Ok(()) => self.socket.receive_now(buffer),
                Err(error) => (Err(error), buffer),
            };
            // A buffer that is full is a sign of more; but not for ever, or a fast sender would have the worker to itself.
            self.ready = buffer.room() == 0 && self.at_once < RECEIVES_AT_ONCE_MAX;
            self.at_once += u8::from(self.ready);
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    self.into = Some(again(buffer));
                }
                received => return Poll::Ready((received, buffer)),
            }
        }
    }

    /// Waits for the receive that is wanted.
    pub async fn wait(&mut self) -> Received {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Receives into this.
    pub async fn receive(&mut self, into: Room) -> Received {
        self.arm(into);
        self.wait().await
    }

    /// Looks whether the peer sent or closed anything: for an idle connection both mean "unusable". It asks the wait in
    /// flight, which costs no system call, and leaves it in flight for the next answer.
    pub fn is_quiet(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        match self.poll_readable(&mut nobody) {
            Poll::Pending => !self.socket.is_in_record(),
            Poll::Ready(Err(_)) => false,
            Poll::Ready(Ok(())) => {
                if !self.socket.is_quiet_inside() {
                    return false;
                }
                self.ready = false;
                self.poll_readable(&mut nobody).is_pending()
            }
        }
    }
}

/// Where a receive that brought nothing is tried again.
fn again(buffer: Buffer) -> Room {
    if buffer.is_empty() { Room::Fresh(buffer.size()) } else { Room::Behind(buffer) }
}

pin_project_lite::pin_project! {
    struct Waiting<F> {
        build: fn(Socket) -> F,
        #[pin]
        op: Option<F>,
    }
}

impl<F: Future<Output = io::Result<()>>> Wait for Waiting<F> {
    fn begin(self: Pin<&mut Self>, socket: Socket) {
        let mut this = self.project();
        let op = (this.build)(socket);
        this.op.set(Some(op));
    }

    fn has_begun(&self) -> bool {
        self.op.is_some()
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        let op = this.op.as_mut().as_pin_mut().expect("polled only while a wait is in flight");
        let ended = std::task::ready!(op.poll(cx));
        this.op.set(None);
        Poll::Ready(ended)
    }
}

/// Not relaxed: on epoll a receive that left something behind must find it again.
async fn readable(socket: Socket) -> io::Result<()> {
    socket.0.stream().readable(false).await
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::bounds::BUFFER_SMALL_BYTES;
    use crate::ring::{IoChoice, run};

    /// Runs `test` with a socket and its peer, on each driver.
    fn with_pair<F: Future<Output = ()> + 'static>(
        test: impl Fn(Socket, std::net::TcpStream) -> F + Copy + 'static,
    ) {
        for io in [IoChoice::Auto, IoChoice::Epoll] {
            run(io, |_, _| async move {
                let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
                let peer =
                    std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
                let (accepted, _) = listener.accept().expect("accepts");
                accepted.set_nonblocking(true).expect("settable");
                test(Socket::adopt(accepted.into()).expect("adopts"), peer).await;
            })
            .expect("a driver");
        }
    }

    #[test]
    fn a_sender_that_never_pauses_leaves_others_their_turn() {
        with_pair(|socket, mut peer| async move {
            let mut inbox = Inbox::new(&socket, &Buffers::new());
            let turns = 2 * usize::from(RECEIVES_AT_ONCE_MAX);
            peer.write_all(&vec![b'x'; turns * BUFFER_SMALL_BYTES]).expect("it fits the socket");
            inbox.receive(Room::Fresh(Size::Small)).await.0.expect("bytes");
            let at_once = poll_fn(|cx| {
                let mut count = 0;
                loop {
                    inbox.arm(Room::Fresh(Size::Small));
                    if inbox.poll(cx).is_pending() {
                        return Poll::Ready(count);
                    }
                    count += 1;
                }
            });
            assert_eq!(at_once.await, usize::from(RECEIVES_AT_ONCE_MAX));
        });
    }

    #[test]
    fn a_wait_that_is_dropped_loses_no_byte() {
        with_pair(|socket, mut peer| async move {
            let buffers = Buffers::new();
            for _ in 0..2 {
                let mut given_up = Inbox::new(&socket, &buffers);
                let mut nobody = Context::from_waker(Waker::noop());
                assert!(given_up.poll_readable(&mut nobody).is_pending());
            }
            peer.write_all(b"late").expect("it reads");
            let (received, buffer) = Inbox::new(&socket, &buffers).receive(Room::Fresh(Size::Small)).await;
            assert_eq!((received.expect("bytes"), buffer.bytes()), (4, &b"late"[..]));
        });
    }

    #[test]
    fn a_kept_connection_is_quiet_until_its_peer_speaks_or_goes() {
        with_pair(|socket, mut peer| async move {
            let mut inbox = Inbox::new(&socket, &Buffers::new());
            assert!(inbox.is_quiet());
            peer.write_all(b"!").expect("it reads");
            while inbox.is_quiet() {
                monoio::time::sleep(std::time::Duration::from_millis(1)).await; // the ring has to see it
            }
            drop(peer);
            assert!(!inbox.is_quiet());
        });
    }
}
