//! Pooled buffers of a worker, and the send buffer that heads are written into.
//!
//! Owns: the memory of both kinds and the free lists they return to.
//! Must not: grow without a bound, or show bytes nobody wrote for this exchange.
//! Read next: `socket.rs`, which fills and sends them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut};

use crate::bounds::{BUFFER_LARGE_BYTES, BUFFER_SMALL_BYTES, BUFFERS_KEPT_BYTES_MAX};

/// A worker's buffers: two sizes, each with a free list.
#[derive(Clone)]
pub struct Buffers(Rc<Shelves>);

struct Shelves {
    small: RefCell<Vec<Box<[u8]>>>,
    large: RefCell<Vec<Box<[u8]>>>,
    kept_bytes: Cell<usize>,
    lent_bytes: Cell<usize>,
}

impl Buffers {
    /// Empty shelves: buffers are made when first asked for.
    pub fn new() -> Self {
        Self(Rc::new(Shelves {
            small: RefCell::new(Vec::new()),
            large: RefCell::new(Vec::new()),
            kept_bytes: Cell::new(0),
            lent_bytes: Cell::new(0),
        }))
    }

    /// An empty buffer of [`BUFFER_SMALL_BYTES`]: heads, events.
    pub fn small(&self) -> Buffer {
        self.take(BUFFER_SMALL_BYTES)
    }

    /// An empty buffer of [`BUFFER_LARGE_BYTES`]: bodies, and heads that outgrew a small one.
    pub fn large(&self) -> Buffer {
        self.take(BUFFER_LARGE_BYTES)
    }

    /// Bytes of all buffers in use now.
    pub fn lent_bytes(&self) -> usize {
        self.0.lent_bytes.get()
    }

    /// Bytes of all buffers kept for later.
    pub fn kept_bytes(&self) -> usize {
        self.0.kept_bytes.get()
    }

    fn take(&self, size: usize) -> Buffer {
        let kept = self.0.shelf(size).borrow_mut().pop();
        let mem = if let Some(mem) = kept {
            self.0.kept_bytes.set(self.0.kept_bytes.get() - size);
            mem
        } else {
            vec![0; size].into_boxed_slice()
        };
        self.0.lent_bytes.set(self.0.lent_bytes.get() + size);
        Buffer { mem, start: 0, end: 0, home: Rc::clone(&self.0) }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

impl Shelves {
    fn shelf(&self, size: usize) -> &RefCell<Vec<Box<[u8]>>> {
        if size == BUFFER_SMALL_BYTES { &self.small } else { &self.large }
    }

    fn give_back(&self, mem: Box<[u8]>) {
        let size = mem.len();
        self.lent_bytes.set(self.lent_bytes.get() - size);
        if self.kept_bytes.get() + size <= BUFFERS_KEPT_BYTES_MAX {
            self.kept_bytes.set(self.kept_bytes.get() + size);
            self.shelf(size).borrow_mut().push(mem);
        }
    }
}

/// A pooled buffer with a window of bytes that were written for this exchange: `[start, end)`.
///
/// Receiving appends behind the window, sending shortens it from the front, dropping returns the memory.
pub struct Buffer {
    mem: Box<[u8]>,
    start: usize,
    end: usize,
    home: Rc<Shelves>,
}

impl Buffer {
    /// The bytes in the window.
    pub fn bytes(&self) -> &[u8] {
        &self.mem[self.start..self.end]
    }

    /// The bytes in the window, to be compacted in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.mem[self.start..self.end]
    }

    /// Bytes in the window.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// True if the window is empty.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes that fit behind the window.
    pub fn room(&self) -> usize {
        self.mem.len() - self.end
    }

    /// True for one of [`BUFFER_LARGE_BYTES`].
    pub fn is_large(&self) -> bool {
        self.mem.len() == BUFFER_LARGE_BYTES
    }

    /// Forgets the first `n` bytes of the window.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.len(), "only what is in the window can be consumed");
        self.start += n;
        if self.start == self.end {
            self.clear();
        }
    }

    /// Forgets all but the first `n` bytes of the window.
    pub fn truncate(&mut self, n: usize) {
        self.end = self.start + n.min(self.len());
    }

    /// Empties the window and moves it to the front.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Copies as many of `bytes` as fit behind the window; says how many.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room());
        self.mem[self.end..self.end + n].copy_from_slice(&bytes[..n]);
        self.end += n;
        n
    }

    /// The window's place, so that a send of the same bytes can be repeated by [`Buffer::rewind`].
    pub fn mark(&self) -> (usize, usize) {
        (self.start, self.end)
    }

    /// Puts the window back where `mark` found it.
    pub fn rewind(&mut self, mark: (usize, usize)) {
        assert!(mark.0 <= mark.1 && mark.1 <= self.mem.len(), "a mark is of this buffer");
        (self.start, self.end) = mark;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.mem));
    }
}

// SAFETY: `IoBuf` wants `bytes_init` readable bytes at an address that holds until completion.
// Address: the bytes are boxed, so moving a `Buffer` moves the box's pointer and not the bytes.
// Length:  `start <= end <= mem.len()` holds after every method, and the box is initialised from birth.
// Sharing: monoio owns the `Buffer` while the kernel reads it, even if the future is dropped.
unsafe impl IoBuf for Buffer {
    fn read_ptr(&self) -> *const u8 {
        self.bytes().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: `IoBufMut` wants `bytes_total` writable bytes at `write_ptr`, and `set_init` to take what was written.
// Writable: the room behind the window, inside the box; nothing else refers to it while monoio owns the `Buffer`.
// Length:   `set_init(n)` is called with n <= bytes_total after a receive; the assertion holds it to that.
unsafe impl IoBufMut for Buffer {
    fn write_ptr(&mut self) -> *mut u8 {
        self.mem[self.end..].as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.room()
    }

    unsafe fn set_init(&mut self, n: usize) {
        assert!(n <= self.room(), "the kernel writes no more than the room it was given");
        self.end += n;
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

    /// Notes that `n` bytes left.
    pub(super) fn consume(&mut self, n: usize) {
        self.sent = (self.sent + n).min(self.bytes.len());
    }
}

// SAFETY: `IoBuf` wants `bytes_init` readable bytes at an address that holds until completion.
// Address: the vector's memory is on the heap and is not touched while monoio owns the `Out`.
// Length:  `sent <= bytes.len()`: `consume` caps it and `clear` resets both.
unsafe impl IoBuf for Out {
    fn read_ptr(&self) -> *const u8 {
        self.bytes[self.sent..].as_ptr()
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
