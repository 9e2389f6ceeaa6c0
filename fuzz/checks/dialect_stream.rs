//! What must hold for any bytes taken for a stream that goes to a caller of another dialect.
//! Owns: cuts that may change nothing, and the end: exactly one, and none of success where there was none.
//! Must not: know what an event means.

use ringway_dialect::dialect::Dialect;
use ringway_dialect::model::{Echo, Realm, Show};
use ringway_dialect::translate::Translator;

/// The dialects with a reader and a writer of streams here.
const DIALECTS: [Dialect; 2] = [Dialect::OpenAiChat, Dialect::Anthropic];

/// The first two bytes also choose where the input is cut.
pub fn check(bytes: &[u8]) {
    let cut = bytes.iter().take(2).fold(0, |sum, &byte| sum * 251 + usize::from(byte)) % (bytes.len() + 1);
    for from in DIALECTS {
        for to in DIALECTS {
            let whole = translate(from, to, [bytes]);
            assert_eq!(translate(from, to, [&bytes[..cut], &bytes[cut..]]), whole, "a cut at {cut}");
            assert_eq!(translate(from, to, bytes.chunks(1)), whole, "byte by byte");
        }
    }
}

fn translate<'a>(from: Dialect, to: Dialect, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let echo = Echo { model: "m".to_owned(), stream_usage: true, show: Show::Full, ..Echo::default() };
    let mut translator = Translator::new(from, Realm::NONE, to, echo).expect("both are known");
    let mut out = Vec::new();
    pieces.into_iter().for_each(|piece| translator.feed(piece, &mut out));
    translator.finish(true, &mut out);
    let out = String::from_utf8(out).expect("what is written is UTF-8");
    let success = out.ends_with("data: [DONE]\n\n") || out.ends_with("data: {\"type\":\"message_stop\"}\n\n");
    assert_eq!(success, translator.account().end == Some(Ok(())), "{out}");
    out
}
