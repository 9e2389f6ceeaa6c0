//! What must hold for any bytes taken for a stream that goes to a caller of another dialect.
//! Owns: cuts that may change nothing, and the end: exactly one, and none of success where there was none.
//! Must not: know what an event means.

use ringway_dialect::dialect::Dialect;
use ringway_dialect::model::{Echo, Realm, Show};
use ringway_dialect::translate::Translator;

/// The first two bytes also choose where the input is cut.
pub fn check(bytes: &[u8]) {
    let cut = bytes.iter().take(2).fold(0, |sum, &byte| sum * 251 + usize::from(byte)) % (bytes.len() + 1);
    for from in Dialect::ALL {
        for to in Dialect::ALL {
            let whole = translate(from, to, [bytes]);
            assert_eq!(translate(from, to, [&bytes[..cut], &bytes[cut..]]), whole, "a cut at {cut}");
            assert_eq!(translate(from, to, bytes.chunks(1)), whole, "byte by byte");
        }
    }
}

fn translate<'a>(from: Dialect, to: Dialect, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let echo = Echo { model: "m".to_owned(), stream_usage: true, show: Show::Full, ..Echo::default() };
    let mut translator = Translator::new(from, Realm::NONE, to, echo);
    let mut out = Vec::new();
    pieces.into_iter().for_each(|piece| translator.feed(piece, &mut out));
    translator.finish(true, &mut out);
    let out = String::from_utf8(out).expect("what is written is UTF-8");
    let last = out.trim_end().rsplit("data: ").next().unwrap_or_default();
    let success = match to {
        Dialect::OpenAiChat => last == "[DONE]",
        Dialect::OpenAiResponses => ["completed", "incomplete"]
            .iter()
            .any(|end| last.starts_with(&format!("{{\"type\":\"response.{end}\""))),
        Dialect::Anthropic => last == "{\"type\":\"message_stop\"}",
        Dialect::Gemini => last.starts_with("{\"candidates\"") && last.contains("\"finishReason\":"),
    };
    assert_eq!(success, translator.account().end == Some(Ok(())), "{out}");
    out
}
