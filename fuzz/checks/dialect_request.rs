//! What must hold for any bytes taken for a request that goes to a backend of another dialect.
//! Owns: that a text is read as `serde_json` reads it, and that what is written is JSON and is read again.
//! Must not: know what a field means.

use ringway_dialect::dialect::Dialect;
use ringway_dialect::json::{Surrogates, Tape};
use ringway_dialect::model::{Losses, Target};
use ringway_dialect::translate;

/// The dialects with a reader and a writer of requests here.
const DIALECTS: [Dialect; 2] = [Dialect::OpenAiChat, Dialect::Anthropic];

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut tape = Tape::new();
    let body = match tape.read(text, Surrogates::Refuse) {
        Ok(body) => body,
        Err(fault) => {
            assert!(fault.at <= text.len());
            return;
        }
    };
    for from in DIALECTS {
        let mut losses = Losses::new();
        let Ok(request) = translate::read_request(from, body, &mut losses) else { continue };
        for to in DIALECTS {
            let (mut out, mut losses) = (Vec::new(), losses.clone());
            if translate::write_request(&request, &Target::of(to), &mut losses, &mut out).is_err() {
                continue;
            }
            let written = String::from_utf8(out).expect("what is written is UTF-8");
            let mut tape = Tape::new();
            let body = tape.read(&written, Surrogates::Refuse).expect("what is written is JSON");
            translate::read_request(to, body, &mut Losses::new()).expect("what is written is read again");
        }
    }
}
