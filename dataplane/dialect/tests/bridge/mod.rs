//! The code under test, behind a few functions: a body or a stream or a request of one dialect, in another.
//!
//! Owns: choosing readers and writers by dialect, and holding readers of streams to the laws of events.
//! Must not: judge.
//! Read next: `../matrix.rs`.

use ringway_dialect::dialect::Dialect as Ours;
use ringway_dialect::json::{Surrogates, Tape, Text};
use ringway_dialect::model::{Echo, Losses, Realm, Refused, Show, Target, ToolNames};
use ringway_dialect::translate::{self, Translator};

use crate::judge::Dialect;

mod laws;

pub use laws::keeps_the_laws;

/// The name that the code under test has for a dialect.
pub fn ours(dialect: Dialect) -> Ours {
    match dialect {
        Dialect::Chat => Ours::OpenAiChat,
        Dialect::Responses => Ours::OpenAiResponses,
        Dialect::Anthropic => Ours::Anthropic,
        Dialect::Gemini => Ours::Gemini,
    }
}

/// A caller that wants all there is to see.
pub fn echo() -> Echo {
    Echo {
        model: "asked-for".to_owned(),
        stream_usage: true,
        show: Show::Full,
        return_opaque: true,
        names: ToolNames::default(),
        now: 1_700_000_000,
        id: "0123456789abcdef01234567".to_owned(),
    }
}

/// An upstream's body as the caller gets it.
pub fn answer(
    upstream: Dialect,
    caller: Dialect,
    body: &[u8],
    echo: &Echo,
) -> Result<(Vec<u8>, Losses), String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let mut tape = Tape::new();
    let value = tape.read(text, Surrogates::Replace).map_err(|fault| fault.what.to_owned())?;
    let answer = translate::read_answer(ours(upstream), value, Realm::NONE);
    let answer = answer.map_err(|failure| format!("{failure:?}"))?;
    let (mut losses, mut out) = (Losses::new(), Vec::new());
    let written = translate::write_answer(ours(caller), &answer, echo, &mut losses, &mut out);
    written.map_err(|failure| format!("{failure:?}"))?;
    Ok((out, losses))
}

/// What a caller gets of a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Streamed {
    pub bytes: Vec<u8>,
    /// The body is broken off behind it.
    pub aborted: bool,
    /// The upstream's stream was whole.
    pub ended: bool,
    /// What had no place in it.
    pub losses: Losses,
}

/// An upstream's stream, cut into these pieces, as the caller gets it.
pub fn stream<'p>(
    upstream: Dialect,
    caller: Dialect,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    echo: &Echo,
) -> Streamed {
    drive(Translator::new(ours(upstream), Realm::NONE, ours(caller), echo.clone()), pieces)
}

/// The same for a caller of Gemini's that wants an array.
pub fn array<'p>(upstream: Dialect, pieces: impl IntoIterator<Item = &'p [u8]>, echo: &Echo) -> Streamed {
    let translator = Translator::new(ours(upstream), Realm::NONE, Ours::Gemini, echo.clone());
    drive(translator.as_array(), pieces)
}

fn drive<'p>(mut translator: Translator, pieces: impl IntoIterator<Item = &'p [u8]>) -> Streamed {
    let mut bytes = Vec::new();
    pieces.into_iter().for_each(|piece| translator.feed(piece, &mut bytes));
    translator.finish(true, &mut bytes);
    let ended = matches!(translator.account().end, Some(Ok(())));
    Streamed { aborted: translator.wants_abort(), ended, losses: translator.losses().clone(), bytes }
}

/// A target of this dialect, about which nothing else is known.
pub fn target(dialect: Dialect) -> Target {
    Target::of(ours(dialect))
}

/// A caller's request as the upstream gets it.
pub fn request(
    caller: Dialect,
    upstream: Dialect,
    body: &str,
    stream: bool,
) -> Result<(Vec<u8>, Losses), Refused> {
    let mut tape = Tape::new();
    let value =
        tape.read(body, Surrogates::Refuse).map_err(|fault| Refused::field(String::new(), fault.what))?;
    let (mut losses, mut out) = (Losses::new(), Vec::new());
    let mut request = translate::read_request(ours(caller), value, &mut losses)?;
    if caller == Dialect::Gemini {
        request.model = Text::written("model-of-the-path");
        request.stream = stream;
    }
    translate::write_request(&request, &target(upstream), &mut losses, &mut out)?;
    Ok((out, losses))
}
