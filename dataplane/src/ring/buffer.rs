//! Pooled buffers of a worker, and the send buffer that heads are written into.
//!
//! Owns: the memory of both kinds and the free lists they return to.
//! Must not: grow without a bound, or show bytes nobody wrote for this exchange.
//! Read next: `socket.rs`, which fills and sends them.

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::rc::Rc;

use monoio::buf::IoBuf;

use crate::bounds::{
    BUFFER_LARGE_BYTES, BUFFER_SMALL_BYTES, BUFFER_TINY_BYTES, BUFFERS_KEPT_BYTES_MAX, TLS_SEALED_BYTES,
};

/// How large a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// [`BUFFER_TINY_BYTES`]: events of a stream, and the watch beside it.
    Tiny,
    /// [`BUFFER_SMALL_BYTES`]: most heads, small bodies.
    Small,
    /// [`BUFFER_LARGE_BYTES`]: any head, large bodies.
    Large,
}

impl Size {
    /// How many bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Tiny => BUFFER_TINY_BYTES,
            Self::Small => BUFFER_SMALL_BYTES,
            Self::Large => BUFFER_LARGE_BYTES,
        }
    }

    /// The next larger one.
    #[must_use]
    pub const fn larger(self) -> Self {
        match self {
            Self::Tiny => Self::Small,
            Self::Small | Self::Large => Self::Large,
        }
    }

    /// The smallest that holds `bytes` and leaves room.
    pub const fn holding(bytes: usize) -> Self {
        match bytes {
            0..BUFFER_TINY_BYTES => Self::Tiny,
            BUFFER_TINY_BYTES..BUFFER_SMALL_BYTES => Self::Small,
            _ => Self::Large,
        }
    }
}

/// Memory nobody has written yet costs no page: it is not cleared when it is made.
type Memory = Box<[MaybeUninit<u8>]>;

/// A worker's buffers: three sizes, each with a free list.
#[derive(Clone)]
pub struct Buffers(Rc<Shelves>);

struct Shelves {
    free: [RefCell<Vec<Memory>>; 3],
    /// How many of each size were never wanted since the last look.
    spare: [Cell<usize>; 3],
    kept_bytes: Cell<usize>,
    lent_bytes: Cell<usize>,
    /// Where records are encrypted before they are sent; made when first wanted.
    desk: RefCell<Vec<u8>>,
}

impl Buffers {
    /// Empty shelves: buffers are made when first asked for.
    pub fn new() -> Self {
        Self(Rc::new(Shelves {
            free: [const { RefCell::new(Vec::new()) }; 3],
            spare: [const { Cell::new(0) }; 3],
            kept_bytes: Cell::new(0),
            lent_bytes: Cell::new(0),
            desk: RefCell::new(Vec::new()),
        }))
    }

    /// An empty buffer of this size.
    pub fn take(&self, size: Size) -> Buffer {
        let bytes = size.bytes();
        let mut free = self.0.free[size as usize].borrow_mut();
        let mem = if let Some(mem) = free.pop() {
            self.0.kept_bytes.set(self.0.kept_bytes.get() - bytes);
            let spare = &self.0.spare[size as usize];
            spare.set(spare.get().min(free.len()));
            mem
        } else {
            Box::new_uninit_slice(bytes)
        };
        drop(free);
        self.0.lent_bytes.set(self.0.lent_bytes.get() + bytes);
        Buffer { mem, home: Rc::clone(&self.0), start: 0, end: 0, written: 0, size }
    }

    /// An empty buffer of [`Size::Small`].
    pub fn small(&self) -> Buffer {
        self.take(Size::Small)
    }

    /// An empty buffer of [`Size::Large`].
    pub fn large(&self) -> Buffer {
        self.take(Size::Large)
    }

    /// The same bytes in a buffer of this size, which must hold them.
    pub fn moved(&self, from: &Buffer, size: Size) -> Buffer {
        let mut to = self.take(size);
        let moved = to.append(from.bytes());
        assert_eq!(moved, from.len(), "a move loses nothing");
        to
    }

    /// Runs `seal` with room for [`TLS_SEALED_BYTES`]: one place per worker, in its cache, instead of one per connection.
    pub fn at_desk<T>(&self, seal: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut desk = self.0.desk.borrow_mut();
        if desk.is_empty() {
            desk.resize(TLS_SEALED_BYTES, 0);
        }
        seal(&mut desk)
    }

    /// Lets half of the buffers go that nobody wanted since this was last called: a burst should not be paid for ever
    /// after.
    pub fn trim(&self) {
        for size in [Size::Tiny, Size::Small, Size::Large] {
            let mut free = self.0.free[size as usize].borrow_mut();
            let let_go = self.0.spare[size as usize].replace(free.len()).min(free.len()) / 2;
            free.drain(..let_go); // the front is what was used longest ago
            self.0.spare[size as usize].set(free.len());
            self.0.kept_bytes.set(self.0.kept_bytes.get() - let_go * size.bytes());
        }
    }

    /// Bytes of all buffers in use now.
    pub fn lent_bytes(&self) -> usize {
        self.0.lent_bytes.get()
    }

    /// Bytes of all buffers kept for later.
    pub fn kept_bytes(&self) -> usize {
        self.0.kept_bytes.get()
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

impl Shelves {
    fn give_back(&self, size: Size, mem: Memory) {
        let bytes = size.bytes();
        self.lent_bytes.set(self.lent_bytes.get() - bytes);
        if self.kept_bytes.get() + bytes <= BUFFERS_KEPT_BYTES_MAX {
            self.kept_bytes.set(self.kept_bytes.get() + bytes);
            self.free[size as usize].borrow_mut().push(mem);
        }
    }
}

/// A pooled buffer with a window of bytes that were written for this exchange: `[start, end)`.
///
/// Receiving appends behind the window, sending shortens it from the front, dropping returns the memory.
pub struct Buffer {
    mem: Memory,
    home: Rc<Shelves>,
    // 32 bits: futures hold many of these.
    start: u32,
    end: u32,
    /// Everything before it was written since the buffer was taken: the window never reaches beyond.
    written: u32,
    size: Size,
}

impl Buffer {
    /// The bytes in the window.
    pub fn bytes(&self) -> &[u8] {
        let window = &self.mem[self.window()];
        // SAFETY: `end <= written` holds after every method, and every byte before `written` was written, by `append`
        // or by the kernel (`set_init`). `u8` and `MaybeUninit<u8>` have the same layout.
        unsafe { &*(std::ptr::from_ref(window) as *const [u8]) }
    }

    /// The bytes in the window, to be compacted in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let place = self.window();
        let window = &mut self.mem[place];
        // SAFETY: as in `bytes`; and writing initialised bytes leaves them initialised.
        unsafe { &mut *(std::ptr::from_mut(window) as *mut [u8]) }
    }

    fn window(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// So many bytes behind the window were written.
    fn grow(&mut self, n: usize) {
        self.end += n as u32;
        self.written = self.written.max(self.end);
    }

    /// Which size it is.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Bytes in the window.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// True if the window is empty.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes that fit behind the window.
    pub fn room(&self) -> usize {
        self.mem.len() - self.end as usize
    }

    /// Forgets the first `n` bytes of the window.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.len(), "only what is in the window can be consumed");
        self.start += n as u32;
        if self.start == self.end {
            self.clear();
        }
    }

    /// Forgets all but the first `n` bytes of the window.
    pub fn truncate(&mut self, n: usize) {
        self.end = self.start + n.min(self.len()) as u32;
    }

    /// Empties the window and moves it to the front.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Copies as many of `bytes` as fit behind the window; says how many.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room());
        let end = self.end as usize;
        self.mem[end..end + n].write_copy_of_slice(&bytes[..n]);
        self.grow(n);
        n
    }

    /// Lets `write` fill the room behind the window; what it says that it wrote joins the window.
    pub fn fill<E>(
        &mut self,
        write: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<(&mut [u8], &mut [MaybeUninit<u8>]), E>,
    ) -> Result<usize, E> {
        let room = &mut self.mem[self.end as usize..];
        let begin = room.as_ptr().cast();
        let (written, _) = write(room)?;
        assert!(std::ptr::eq(written.as_ptr(), begin), "what was written is the beginning of the room");
        let n = written.len();
        self.grow(n);
        Ok(n)
    }

    /// The window's place, so that a send of the same bytes can be repeated by [`Buffer::rewind`].
    pub fn mark(&self) -> (u32, u32) {
        (self.start, self.end)
    }

    /// Puts the window back where `mark` found it.
    pub fn rewind(&mut self, mark: (u32, u32)) {
        assert!(mark.0 <= mark.1 && mark.1 <= self.written, "a mark is of this buffer");
        (self.start, self.end) = mark;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give_back(self.size, std::mem::take(&mut self.mem));
    }
}

// SAFETY: `IoBuf` wants `bytes_init` readable bytes at an address that holds until completion.
// Address: the bytes are boxed, so moving a `Buffer` moves the box's pointer and not the bytes.
// Length:  the window holds only bytes that were written (see `bytes`).
// Sharing: monoio owns the `Buffer` while the kernel reads it, even if the future is dropped.
unsafe impl IoBuf for Buffer {
    fn read_ptr(&self) -> *const u8 {
        self.bytes().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

/// Bytes that are sent: from the front, and what the socket did not take stays.
pub trait Parcel: IoBuf {
    /// The bytes still to be sent.
    fn unsent(&self) -> &[u8];
    /// Notes that `n` of them left.
    fn consume(&mut self, n: usize);
}

impl Parcel for Buffer {
    fn unsent(&self) -> &[u8] {
        self.bytes()
    }

    fn consume(&mut self, n: usize) {
        Self::consume(self, n);
    }
}

impl Parcel for Out {
    fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn consume(&mut self, n: usize) {
        self.sent = (self.sent + n).min(self.bytes.len());
    }
}

/// Bytes of our own making on their way out: a head, with what of the body fits one send.
#[derive(Default)]
pub struct Out {
    /// What is to be sent.
    pub bytes: Vec<u8>,
    sent: usize,
}

impl Out {
    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }

    /// True once all is sent.
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// How much is still to be sent.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }
}

// SAFETY: `IoBuf` wants `bytes_init` readable bytes at an address that holds until completion.
// Address: the vector's memory is on the heap and is not touched while monoio owns the `Out`.
// Length:  `sent <= bytes.len()`: `consume` caps it and `clear` resets both.
unsafe impl IoBuf for Out {
    fn read_ptr(&self) -> *const u8 {
        Parcel::unsent(self).as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_lent_again_with_an_empty_window() {
        let buffers = Buffers::new();
        let mut one = buffers.small();
        assert_eq!(one.append(b"secret"), 6);
        let address = one.read_ptr();
        drop(one);
        assert_eq!(buffers.lent_bytes(), 0);
        let again = buffers.small();
        assert_eq!(again.read_ptr(), address);
        assert!(again.is_empty());
    }

    #[test]
    fn buffers_that_nobody_wants_are_let_go_by_halves() {
        let buffers = Buffers::new();
        drop((0..64).map(|_| buffers.small()).collect::<Vec<_>>());
        let kept = || buffers.kept_bytes() / BUFFER_SMALL_BYTES;
        buffers.trim();
        assert_eq!(kept(), 64, "they were wanted since");
        drop((buffers.small(), buffers.small()));
        buffers.trim();
        assert_eq!(kept(), 33, "two were wanted, half of the others goes");
        for _ in 0..8 {
            drop(buffers.small());
            buffers.trim();
        }
        assert_eq!(kept(), 2);
    }

    #[test]
    fn the_window_grows_behind_and_shrinks_in_front() {
        let buffers = Buffers::new();
        let mut buffer = buffers.small();
        buffer.append(b"abcdef");
        buffer.consume(2);
        assert_eq!(buffer.bytes(), b"cdef");
        buffer.truncate(3);
        assert_eq!(buffer.bytes(), b"cde");
        let mark = buffer.mark();
        buffer.consume(3);
        assert!(buffer.is_empty());
        buffer.rewind(mark);
        assert_eq!(buffer.bytes(), b"cde");
        assert_eq!(buffer.append(&vec![0; BUFFER_LARGE_BYTES]), BUFFER_SMALL_BYTES - 5);
        assert_eq!(buffer.room(), 0);
    }
}
