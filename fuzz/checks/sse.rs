//! What must hold for any bytes taken for a stream of events. Shared by the fuzz target and the tests.
//! Owns: cuts that may change nothing, and a second reading of the event-stream algorithm.
//! Must not: know how the scanner works.

use ringway_wire::sse::{Field, Observer, Reader, Scanner, Seen, Shape, Sieve, Sink, UnaryObserver, Usage};

/// So small that a fuzzer finds it.
const SMALL_EVENT_BYTES_MAX: usize = 24;

pub const SHAPES: [Shape; 5] =
    [Shape::OpenAi, Shape::Responses, Shape::Anthropic, Shape::Gemini, Shape::Unknown];

/// The first two bytes also choose where the input is cut.
pub fn check(bytes: &[u8]) {
    let cut = bytes.iter().take(2).fold(0, |sum, &byte| sum * 251 + usize::from(byte)) % (bytes.len() + 1);
    let halves = [&bytes[..cut], &bytes[cut..]];
    same_fields(bytes, halves);
    same_events(bytes, halves);
    same_body(bytes, halves);
    same_passing(bytes, halves);
    for shape in SHAPES {
        let whole = observe(shape, [bytes]);
        assert_eq!(observe(shape, halves), whole, "{shape:?}: a cut at {cut} changed the account");
        assert_eq!(observe(shape, bytes.chunks(1)), whole, "{shape:?}: byte by byte, the account changed");
        assert_eq!(whole.first_tokens, u32::from(whole.content_events > 0), "{shape:?}: announced once");
        assert!(whole.content_events <= u64::from(whole.events), "{shape:?}: content without an event");
    }
}

// The sieve.

fn same_passing(bytes: &[u8], halves: [&[u8]; 2]) {
    let whole = passing([bytes]);
    assert_eq!(passing(halves), whole, "a cut changed what passes");
    assert_eq!(passing(bytes.chunks(1)), whole, "byte by byte, something else passes");
    assert!(whole.len() <= bytes.len(), "a sieve adds nothing");
    assert_eq!(passing([&whole[..]]), whole, "what passed once passes again");
}

fn passing<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut sieve, mut out) = (Sieve::new(), Vec::new());
    pieces.into_iter().for_each(|piece| sieve.feed(piece, &mut out));
    sieve.finish(&mut out);
    out
}

// The scanner.

/// What was told, with the pieces of a value put together.
#[derive(Debug, Default, PartialEq)]
struct Told {
    lines: Vec<Option<(Field, Vec<u8>)>>,
    open: Option<(Field, Vec<u8>)>,
}

impl<'a> Sink<'a> for Told {
    fn value(&mut self, field: Field, piece: &'a [u8], first: bool, last: bool) {
        assert_eq!(self.open.is_none(), first, "a value begins once");
        assert!(last || !piece.is_empty(), "only the last piece may be empty");
        let (begun, value) = self.open.get_or_insert_with(|| (field, Vec::new()));
        assert_eq!(*begun, field, "a value belongs to one field");
        value.extend_from_slice(piece);
        if last {
            self.lines.push(self.open.take());
        }
    }

    fn dispatch(&mut self) {
        assert_eq!(self.open, None, "a blank line ends no value");
        self.lines.push(None);
    }
}

fn same_fields(bytes: &[u8], halves: [&[u8]; 2]) {
    let whole = told([bytes]);
    assert_eq!(told(halves), whole, "a cut changed the fields");
    assert_eq!(told(bytes.chunks(1)), whole, "byte by byte, the fields changed");
}

fn told<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Told {
    let (mut scanner, mut told) = (Scanner::new(), Told::default());
    for piece in pieces {
        scanner.feed(piece, &mut told);
    }
    told
}

// The reader.

#[derive(Debug, Default, PartialEq)]
struct Read {
    /// Name, data and last id of each event.
    events: Vec<[Vec<u8>; 3]>,
    last_id: Vec<u8>,
    retry: Option<u64>,
}

fn same_events(bytes: &[u8], halves: [&[u8]; 2]) {
    let whole = read(Reader::new(), [bytes]);
    assert_eq!(whole.0, as_the_standard_says(bytes), "not what the standard says");
    assert_eq!(read(Reader::new(), halves), whole, "a cut changed the events");
    assert_eq!(read(Reader::new(), bytes.chunks(1)), whole, "byte by byte, the events changed");
    let small = || Reader::with_event_bytes_max(SMALL_EVENT_BYTES_MAX);
    let bounded = read(small(), [bytes]);
    assert_eq!(read(small(), halves), bounded, "a cut changed what is within the bound");
    assert_eq!(read(small(), bytes.chunks(1)), bounded, "byte by byte, what is within the bound changed");
    assert!(bounded.0.events.iter().all(|[_, data, _]| data.len() <= SMALL_EVENT_BYTES_MAX));
}

/// What was read, the unfinished event's data, and how many events were skipped.
fn read<'a>(mut reader: Reader, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Read, Option<Vec<u8>>, u64) {
    let mut events = Vec::new();
    for piece in pieces {
        reader.feed(piece, |event| events.push([event.event, event.data, event.id].map(<[u8]>::to_vec)));
    }
    let tail = reader.unfinished().map(|event| event.data.to_vec());
    let read = Read { events, last_id: reader.last_id().to_vec(), retry: reader.retry() };
    (read, tail, reader.skipped())
}

/// WHATWG HTML, section 9.2.6, word by word: slow, whole, and with no state between lines but what is named there.
fn as_the_standard_says(bytes: &[u8]) -> Read {
    let mut read = Read::default();
    let (mut data, mut event, mut id) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)) {
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = colon.map_or((line, &[][..]), |colon| (&line[..colon], &line[colon + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            _ if line.is_empty() => {
                read.last_id.clone_from(&id);
                if data.pop().is_some() {
                    let name = if event.is_empty() { b"message".to_vec() } else { event.clone() };
                    read.events.push([name, data.clone(), id.clone()]);
                }
                data.clear();
                event.clear();
            }
            b"event" => event = value.to_vec(),
            b"data" => data.extend(value.iter().chain(b"\n")),
            b"id" if !value.contains(&0) => id = value.to_vec(),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(value).expect("digits").parse();
                read.retry = millis.ok().or(read.retry); // a number over all bounds is passed over
            }
            _ => {}
        }
    }
    read
}

/// The lines that have an end.
fn lines(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        lines.push(&rest[..end]);
        let both = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(both)..];
    }
    lines
}

// The observers.

/// All that an observer says in the end, and how often it announced the first token.
#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    pub usage: Usage,
    pub first_tokens: u32,
    pub events: u32,
    pub content_events: u64,
    pub terminal: bool,
    pub error: bool,
    pub shape: Shape,
}

pub fn observe<'a>(shape: Shape, pieces: impl IntoIterator<Item = &'a [u8]>) -> Account {
    let mut observer = Observer::new(shape);
    let (mut first_tokens, mut events) = (0, 0);
    let mut book = |seen: Seen| {
        first_tokens += u32::from(seen.first_token);
        events += seen.events;
    };
    for piece in pieces {
        book(observer.feed(piece));
    }
    book(observer.finish());
    Account {
        usage: observer.usage(),
        first_tokens,
        events,
        content_events: observer.content_events(),
        terminal: observer.terminal(),
        error: observer.error(),
        shape: observer.shape(),
    }
}

fn same_body(bytes: &[u8], halves: [&[u8]; 2]) {
    let whole = read_body([bytes]);
    assert_eq!(read_body(halves), whole, "a cut changed what the body says");
    assert_eq!(read_body(bytes.chunks(1)), whole, "byte by byte, what the body says changed");
}

/// Usage, completeness and error of a body that is no stream.
pub fn read_body<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Usage, bool, bool) {
    let mut observer = UnaryObserver::new();
    for piece in pieces {
        observer.feed(piece);
    }
    (observer.finish(), observer.complete(), observer.error())
}
