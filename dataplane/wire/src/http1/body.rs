//! Message bodies, in the buffer they arrived in.
//! Owns: finding the end of a body, and chunked coding in full (H1-CH-01 to H1-CH-08). Must not: allocate, buffer, or
//! let a byte of framing pass whose line was not checked whole (H1-CH-07).
//! Read next: `lines.rs` for the trailer fields.

use super::grammar::{Reader, hex, is_blank};
use super::lines::{Breach, Line, Lines};
use super::{Fault, Framing, Rule, Span};
use crate::bounds::{
    ANNOUNCED_BYTES_MAX, CHUNK_EXTENSION_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, FRAMING_RATIO_MAX,
    FRAMING_WINDOW_BYTES, MESSAGE_EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX,
};

/// The end of a chunked body of ours.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What `Body::advance` leaves in the buffer of a chunked body. Other framings have nothing to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Chunked framing is kept, extensions and trailers are cut out, data stays byte for byte.
    Verbatim,
    /// Framing is removed; what is left is payload.
    Decode,
}

/// What one call of `Body::advance` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Bytes of the input that are dealt with.
    pub consumed: usize,
    /// Bytes at the start of the buffer that may be forwarded.
    pub keep: usize,
    /// The message is complete.
    pub done: bool,
    /// Behind the kept bytes stands a breach: forward them, then abort (UF-19). The next call returns it as the error.
    pub fault: Option<Fault>,
}

/// One message's body, fed as it arrives. Faults have the status for a client's body; `Fault::by_upstream` turns them.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    mode: Mode,
    data_max: u64,
    data_bytes: u64,
    extension_bytes: usize,
    overhead: Overhead,
    trailers: Trailers,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes are left of a Content-Length.
    Counted(u64),
    UntilClose,
    /// At the start of a size line.
    Size,
    /// So many bytes are left of a chunk.
    Data(u64),
    /// At the CRLF behind a chunk's data.
    DataEnd,
    Trailers,
    Done,
    Broken(Fault),
}

impl Body {
    /// A body of that framing, at most `data_max` payload bytes.
    pub fn new(framing: Framing, mode: Mode, data_max: u64) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(bytes) if bytes > data_max => State::Broken(Rule::H1Fr04.fault()),
            Framing::Length(bytes) => State::Counted(bytes),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            mode,
            data_max,
            data_bytes: 0,
            extension_bytes: 0,
            overhead: Overhead::default(),
            trailers: Trailers::default(),
        }
    }

    /// Looks at `buf`, which starts where the last call stopped consuming. Compacts in place: afterwards
    /// `buf[..keep]` may be forwarded, and `buf[consumed..]` was not consumed (an incomplete line of framing, at most
    /// `BODY_PENDING_BYTES_MAX` bytes, or bytes behind the message). Pushes the payload ranges of `buf[..keep]`.
    pub fn advance(&mut self, buf: &mut [u8], data: &mut Vec<Span>) -> Result<Advance, Fault> {
        let mut cut = Cut { buf, read: 0, write: 0 };
        let mut fault = None;
        loop {
            match self.step(&mut cut, data) {
                Ok(true) => {}
                Ok(false) => break,
                Err(found) => {
                    self.state = State::Broken(found);
                    fault = Some(found);
                    break;
                }
            }
        }
        match fault {
            Some(fault) if cut.write == 0 => Err(fault),
            _ => Ok(Advance { consumed: cut.read, keep: cut.write, done: self.done(), fault }),
        }
    }

    /// The message is complete.
    pub fn done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Payload bytes so far.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Whether end of input here completes the message. Otherwise it was cut short (H1-CH-08, H1-UP-12).
    pub fn end_of_input(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// What has to be sent before a coded chunk of ours may follow what of this chunked body was forwarded verbatim.
    /// None: it was cut inside a chunk, or is not chunked.
    pub fn before_chunk(&self) -> Option<&'static [u8]> {
        match self.state {
            State::Size | State::Trailers | State::Done => Some(b""),
            State::DataEnd => Some(b"\r\n"),
            State::Counted(_) | State::UntilClose | State::Data(_) | State::Broken(_) => None,
        }
    }

    /// Whether a coded chunk of ours may stand here, and what is still to come of this chunked body behind it.
    pub fn is_between_chunks(&self) -> bool {
        matches!(self.state, State::Size)
    }

    /// One step; true if another may follow in the same bytes.
    fn step(&mut self, cut: &mut Cut<'_>, data: &mut Vec<Span>) -> Result<bool, Fault> {
        match self.state {
            State::Counted(left) => {
                let left = self.payload(cut, data, left);
                self.state = if left == 0 { State::Done } else { State::Counted(left) };
                Ok(false)
            }
            State::UntilClose => {
                if cut.rest().len() as u64 > self.data_max - self.data_bytes {
                    return Err(Rule::H1Ch06.fault());
                }
                self.payload(cut, data, u64::MAX);
                Ok(false)
            }
            State::Size => self.size(cut),
            State::Data(left) => {
                let left = self.payload(cut, data, left);
                self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                Ok(left == 0)
            }
            State::DataEnd => self.data_end(cut),
            State::Trailers => self.trailers(cut),
            State::Done => Ok(false),
            State::Broken(fault) => Err(fault),
        }
    }

    /// Keeps up to `left` bytes of payload, and says how many are then left.
    fn payload(&mut self, cut: &mut Cut<'_>, data: &mut Vec<Span>, left: u64) -> u64 {
        let here = (cut.rest().len() as u64).min(left);
        let start = cut.write;
        cut.keep(here as usize);
        self.data_bytes += here;
        match data.last_mut() {
            _ if here == 0 => {}
            Some(last) if last.end as usize == start => last.end = cut.write as u32,
            Some(_) | None => data.push(Span::new(start, cut.write)),
        }
        left - here
    }

    fn size(&mut self, cut: &mut Cut<'_>) -> Result<bool, Fault> {
        let Some(line) = SizeLine::read(cut.rest())? else { return Ok(false) };
        if line.size > self.data_max - self.data_bytes {
            return Err(Rule::H1Ch06.fault());
        }
        self.extension_bytes += line.extension;
        if self.extension_bytes > MESSAGE_EXTENSION_BYTES_MAX {
            return Err(Rule::H1Ch04.fault());
        }
        match self.mode {
            Mode::Verbatim => {
                cut.keep(line.digits);
                cut.drop(line.extension);
                cut.keep(2);
            }
            Mode::Decode => cut.drop(line.len()),
        }
        self.state = if line.size == 0 { State::Trailers } else { State::Data(line.size) };
        self.overhead.count(line.len() as u64 + 2, line.size)?;
        Ok(true)
    }

    fn data_end(&mut self, cut: &mut Cut<'_>) -> Result<bool, Fault> {
        match cut.rest() {
            [] | [b'\r'] => return Ok(false),
            [b'\r', b'\n', ..] => self.framing(cut, 2),
            _ => return Err(Rule::H1Ch02.fault()),
        }
        self.state = State::Size;
        Ok(true)
    }

    /// Checked, and dropped but for the empty line that ends them.
    fn trailers(&mut self, cut: &mut Cut<'_>) -> Result<bool, Fault> {
        match self.trailers.next(cut.rest())? {
            Trailer::Line(bytes) => {
                cut.drop(bytes);
                Ok(true)
            }
            Trailer::End => {
                self.framing(cut, 2);
                self.state = State::Done;
                Ok(false)
            }
            Trailer::More => Ok(false),
        }
    }

    fn framing(&self, cut: &mut Cut<'_>, bytes: usize) {
        match self.mode {
            Mode::Verbatim => cut.keep(bytes),
            Mode::Decode => cut.drop(bytes),
        }
    }
}

/// The buffer, with a hole in it once something was dropped. In the plain case nothing is, and no byte moves.
struct Cut<'b> {
    buf: &'b mut [u8],
    read: usize,
    write: usize,
}

impl Cut<'_> {
    fn rest(&self) -> &[u8] {
        &self.buf[self.read..]
    }

    fn keep(&mut self, bytes: usize) {
        if self.read != self.write {
            self.buf.copy_within(self.read..self.read + bytes, self.write);
        }
        self.read += bytes;
        self.write += bytes;
    }

    fn drop(&mut self, bytes: usize) {
        self.read += bytes;
    }
}

/// `chunk-size [ chunk-ext ] CRLF`
struct SizeLine {
    size: u64,
    digits: usize,
    extension: usize,
}

impl SizeLine {
    const fn len(&self) -> usize {
        self.digits + self.extension + 2
    }

    /// The line at the start of `bytes`, once all of it is there.
    #[inline]
    fn read(bytes: &[u8]) -> Result<Option<SizeLine>, Fault> {
        let (mut size, mut digits) = (0u64, 0);
        while let Some(value) = bytes.get(digits).copied().and_then(hex) {
            if digits == CHUNK_SIZE_DIGITS_MAX {
                return Err(Rule::H1Ch01.fault());
            }
            size = size << 4 | u64::from(value);
            digits += 1;
        }
        if size > ANNOUNCED_BYTES_MAX {
            return Err(Rule::H1Ch01.fault());
        }
        match &bytes[digits..] {
            [b'\r', b'\n', ..] if digits > 0 => Ok(Some(SizeLine { size, digits, extension: 0 })),
            [] | [b'\r'] => Ok(None),
            rest => {
                let extension = Self::extension(rest, digits)?;
                Ok(extension.map(|extension| SizeLine { size, digits, extension }))
            }
        }
    }

    /// What stands between the size and its CRLF: how long it is, once all of it is there.
    #[cold]
    fn extension(rest: &[u8], digits: usize) -> Result<Option<usize>, Fault> {
        match rest {
            [b' ' | b'\t', ..] if digits == 0 => return Err(Rule::H1Ch03.fault()),
            [b'\r', b'\n', ..] => return Err(Rule::H1Ch01.fault()), // no size at all
            [b'\r' | b'\n', ..] => return Err(Rule::H1Ch02.fault()),
            [b' ' | b'\t' | b';', ..] if digits > 0 => {}
            _ => return Err(Rule::H1Ch01.fault()),
        }
        if let Some(first) = rest.iter().find(|&&b| !is_blank(b))
            && *first != b';'
        {
            return Err(Rule::H1Ch03.fault());
        }
        let seen = &rest[..rest.len().min(CHUNK_EXTENSION_BYTES_MAX + 1)];
        let Some(end) = memchr::memchr2(b'\r', b'\n', seen) else {
            return if rest.len() > CHUNK_EXTENSION_BYTES_MAX { Err(Rule::H1Ch04.fault()) } else { Ok(None) };
        };
        match (rest[end], rest.get(end + 1)) {
            (b'\r', None) => Ok(None),
            (b'\r', Some(b'\n')) if extension_is_valid(&rest[..end]) => Ok(Some(end)),
            (b'\r', Some(b'\n')) => Err(Rule::H1Ch04.fault()),
            (_, _) => Err(Rule::H1Ch02.fault()),
        }
    }
}

/// `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )`
fn extension_is_valid(extension: &[u8]) -> bool {
    let mut reader = Reader::new(extension);
    while !reader.is_at_end() {
        reader.blanks();
        if !reader.eat(b';') {
            return false;
        }
        reader.blanks();
        if reader.token().is_empty() {
            return false;
        }
        reader.blanks();
        if reader.eat(b'=') {
            reader.blanks();
            if !reader.token_or_quoted() {
                return false;
            }
        }
    }
    true
}

/// The trailer section so far.
#[derive(Clone, Copy, Debug)]
struct Trailers {
    /// The place in the current line; a line is dropped once it was read, so each starts at 0.
    lines: Lines,
    fields: usize,
    bytes: usize,
}

enum Trailer {
    /// A sound field line of that many bytes.
    Line(usize),
    End,
    More,
}

impl Default for Trailers {
    fn default() -> Self {
        Self { lines: Lines::starting(0), fields: 0, bytes: 0 }
    }
}

impl Trailers {
    fn next(&mut self, bytes: &[u8]) -> Result<Trailer, Fault> {
        let left = TRAILER_BYTES_MAX - self.bytes;
        let seen = &bytes[..bytes.len().min(left)];
        match self.lines.next(seen, TRAILER_BYTES_MAX).map_err(fault_of_trailer)? {
            Line::Field { .. } if self.fields == TRAILER_FIELDS_MAX => Err(Rule::H1Ch05.with(431)),
            Line::Field { .. } => {
                let line = self.lines.line_start();
                self.fields += 1;
                self.bytes += line;
                self.lines = Lines::following();
                Ok(Trailer::Line(line))
            }
            Line::End(_) => Ok(Trailer::End),
            Line::More if seen.len() == left => Err(Rule::H1Ch05.with(431)),
            Line::More => Ok(Trailer::More),
        }
    }
}

const fn fault_of_trailer(breach: Breach) -> Fault {
    match breach {
        Breach::BareLf | Breach::BareCr => Rule::H1Ch02.fault(),
        Breach::TooLong => Rule::H1Ch05.with(431),
        Breach::Control
        | Breach::Fold
        | Breach::LeadingSpace
        | Breach::SpaceBeforeColon
        | Breach::BadName => Rule::H1Ch05.fault(),
    }
}

/// Framing against payload over the last `FRAMING_WINDOW_BYTES`, looked at every half window.
#[derive(Clone, Copy, Debug, Default)]
struct Overhead {
    now: Share,
    before: Share,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    framing: u64,
    payload: u64,
}

impl Overhead {
    fn count(&mut self, framing: u64, payload: u64) -> Result<(), Fault> {
        self.now.framing += framing;
        self.now.payload = self.now.payload.saturating_add(payload);
        if self.now.total() < FRAMING_WINDOW_BYTES / 2 {
            return Ok(());
        }
        let framing = self.now.framing + self.before.framing;
        let payload = self.now.payload.saturating_add(self.before.payload);
        let is_full = framing.saturating_add(payload) >= FRAMING_WINDOW_BYTES;
        if is_full && framing >= payload.saturating_mul(FRAMING_RATIO_MAX) {
            return Err(Rule::H1Ch04.fault());
        }
        self.before = std::mem::take(&mut self.now);
        Ok(())
    }
}

impl Share {
    const fn total(self) -> u64 {
        self.framing.saturating_add(self.payload)
    }
}

/// Appends the size line of a chunk of ours; `len` must not be 0, which would end the body.
pub fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk is the last one");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[len >> (4 * place) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}
