//! Amazon Bedrock: models at paths of their own, and streams in frames.
//!
//! Owns: the path, and turning framed messages into the events their dialect has.
//! Must not: change an event, or pass on a message whose checksum is wrong.
//! Read next: `ringway_wire::frames`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringway_dialect::json::{Surrogates, Tape, string};
use ringway_wire::frames::{Frames, Message, MessageKind};

use super::{Asked, Verb, write_segment};

pub(super) fn path(asked: &Asked<'_>) -> Vec<u8> {
    let mut path = b"/model/".to_vec();
    write_segment(asked.model, &mut path);
    let verb: &[u8] = match asked.verb {
        Verb::Call { stream: true } => b"/invoke-with-response-stream",
        Verb::Call { stream: false } | Verb::Complete | Verb::Embed | Verb::Count => b"/invoke",
    };
    path.extend_from_slice(verb);
    path
}

/// A stream of frames as server-sent events.
#[derive(Debug, Default)]
pub struct Unframed {
    frames: Frames,
    room: Room,
}

/// Room to read one message in, kept for the next.
#[derive(Debug, Default)]
struct Room {
    payload: Tape,
    event: Tape,
    /// An event that is about to be named.
    data: Vec<u8>,
}

impl Unframed {
    /// Takes the next bytes, cut anywhere, and appends the events that end in them; false: they cannot be read.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let Self { frames, room } = self;
        let mut sound = true;
        let read = frames.feed(bytes, |message| sound &= write(&message, room, out));
        read.is_ok() && sound
    }
}

fn write(message: &Message<'_>, room: &mut Room, out: &mut Vec<u8>) -> bool {
    let Ok(text) = std::str::from_utf8(message.payload) else { return false };
    let Room { payload, event, data } = room;
    let payload = payload.read(text, Surrogates::Replace).ok();
    match message.kind {
        MessageKind::Exception => {
            let said = payload.and_then(|payload| payload.get_text("message"));
            let said = match said.as_ref() {
                Some(said) => said.plain(),
                None if message.reason.is_empty() => "the service ended its answer".into(),
                None => String::from_utf8_lossy(message.reason),
            };
            write_exception(message.name, &said, out);
            true
        }
        MessageKind::Event => {
            // Events of other kinds are the service's own.
            let Some(bytes) = payload.and_then(|payload| payload.get_text("bytes")) else { return true };
            data.clear();
            STANDARD.decode_vec(bytes.plain().as_bytes(), data).is_ok() && write_event(data, event, out)
        }
    }
}

/// An event of Anthropic's, named by its type.
fn write_event(data: &[u8], tape: &mut Tape, out: &mut Vec<u8>) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(root) = tape.read(text, Surrogates::Replace) else { return false };
    if let Some(name) = root.get_text("type") {
        out.extend_from_slice(b"event: ");
        out.extend(name.plain().bytes().filter(u8::is_ascii_graphic));
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    // Between its tokens JSON may have line ends, inside them it has none.
    out.extend(data.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    out.extend_from_slice(b"\n\n");
    true
}

fn write_exception(name: &[u8], message: &str, out: &mut Vec<u8>) {
    let kind = match name {
        b"throttlingException" => "rate_limit_error",
        b"modelTimeoutException" => "timeout_error",
        b"validationException" => "invalid_request_error",
        b"serviceUnavailableException" => "overloaded_error",
        _ => "api_error",
    };
    out.extend_from_slice(b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"message\":");
    string(out, message);
    out.extend_from_slice(b"}}\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<'a>(kind: MessageKind, name: &'a str, payload: &'a str) -> Message<'a> {
        Message { kind, name: name.as_bytes(), reason: b"", payload: payload.as_bytes() }
    }

    fn written(message: &Message<'_>) -> Option<String> {
        let mut out = Vec::new();
        write(message, &mut Room::default(), &mut out).then(|| String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_chunk_becomes_the_event_that_it_carries() {
        let event = "{\"type\":\"ping\",\n\"x\":1.0}";
        let payload = format!("{{\"bytes\":\"{}\",\"p\":\"abc\"}}", STANDARD.encode(event));
        assert_eq!(
            written(&message(MessageKind::Event, "chunk", &payload)).as_deref(),
            Some("event: ping\ndata: {\"type\":\"ping\", \"x\":1.0}\n\n")
        );
        assert_eq!(written(&message(MessageKind::Event, "other", "{}")).as_deref(), Some(""));
        assert_eq!(written(&message(MessageKind::Event, "chunk", "{\"bytes\":\"?\"}")), None);
    }

    #[test]
    fn an_exception_becomes_the_error_event_of_the_dialect() {
        let told = written(&message(
            MessageKind::Exception,
            "throttlingException",
            "{\"message\":\"slow \\\"down\\\"\"}",
        ));
        let told = told.expect("an event");
        let data = told.strip_prefix("event: error\ndata: ").expect("an error event").trim_end();
        let body: serde_json::Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(
            body["error"],
            serde_json::json!({"type": "rate_limit_error", "message": "slow \"down\""})
        );
        let bare = Message { reason: b"no \"more\"", ..message(MessageKind::Exception, "500", "") };
        let told = written(&bare).expect("an event");
        assert!(told.contains(r#""message":"no \"more\"""#), "what it says beside its payload: {told}");
    }
}
