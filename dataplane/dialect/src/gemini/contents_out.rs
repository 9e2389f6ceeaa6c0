//! Instructions and turns as Gemini's contents.
//!
//! Turns of one role that follow each other become one content. Within the step at hand, Gemini 3 wants its signature on
//! the first call; where it was lost, Google's own placeholder stands in.
//! Owns: which turns make one content, and what a result is called. Must not: move a part.
//! Read next: `parts_out.rs`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::parts_out;
use super::tools_out::write_name;
use crate::json::{List, Members, Place, Surrogates, Tape, Text};
use crate::model::{
    Args, Content, Document, DocumentSource, ImageSource, NO_RESULT, Opaque, Origin, Part, Reading,
    ReasoningForm, ReasoningPart, Refused, Request, Role, SealKind, Target, ToolCall, ToolResult, Turn,
    Unanswered, call_names, prose,
};
use crate::{custom, data_url};

/// Google documents it for histories from elsewhere.
const PLACEHOLDER: &str = "skip_thought_signature_validator";

/// `systemInstruction`
pub(super) fn write_instructions(
    parts: &[Part<'_>],
    reading: &Reading<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    out.extend_from_slice(br#"{"parts":"#);
    let mut list = List::open(out);
    for part in parts {
        let Content::Text { text, .. } = &part.content else {
            return Err(reading.refused(part.at, "instructions are text"));
        };
        list.next(out);
        write_text(text, out);
    }
    list.close(out);
    out.push(b'}');
    Ok(())
}

/// `contents`
pub(super) fn write(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let unanswered = Unanswered::of(request, reading)?;
    let names = call_names(request);
    let with_ids = all_have_ids(request);
    let mut contents = Contents {
        list: List::open(out),
        open: None,
        target,
        reading,
        names,
        with_ids,
        unsigned_from: current_turn(request),
        signed: false,
        next: None,
    };
    for (n, turn) in request.turns.iter().enumerate() {
        for id in unanswered.before(n) {
            contents.missing(id, out);
        }
        contents.turn(n, turn, out)?;
    }
    contents.close(out);
    contents.list.close(out);
    Ok(())
}

/// Ids go on both sides of every pair, or on none.
fn all_have_ids(request: &Request<'_>) -> bool {
    request.turns.iter().flat_map(|turn| &turn.parts).all(|part| match &part.content {
        Content::ToolCall(call) => !call.id.is_empty(),
        Content::ToolResult(result) => !result.call_id.is_empty(),
        Content::Text { .. }
        | Content::Image(_)
        | Content::Audio(_)
        | Content::Video(_)
        | Content::Document(_)
        | Content::Reasoning(_)
        | Content::Refusal(_)
        | Content::Server(_)
        | Content::Signature(_) => true,
    })
}

/// The turn behind the last one in which the user says something: from there on signatures are asked for.
fn current_turn(request: &Request<'_>) -> usize {
    let says = |turn: &Turn<'_>| {
        turn.role == Role::User
            && turn.parts.iter().any(|part| !matches!(part.content, Content::ToolResult(_)))
    };
    request.turns.iter().rposition(says).map_or(0, |at| at + 1)
}

struct Contents<'w, 'r, 'a> {
    list: List,
    /// The role of the content that is open, and whether it has a part.
    open: Option<(Role, bool)>,
    target: &'w Target,
    reading: &'w mut Reading<'r, 'a>,
    names: HashMap<Cow<'w, str>, &'w Text<'w>>,
    with_ids: bool,
    /// The first turn whose calls want a signature.
    unsigned_from: usize,
    /// The step at hand has a signature on a call.
    signed: bool,
    /// State for the call behind it.
    next: Option<Opaque<'w>>,
}

impl<'w> Contents<'w, '_, '_> {
    /// Begins a part, in a new content if the role is another.
    fn part(&mut self, role: Role, out: &mut Vec<u8>) {
        let role = if role == Role::Assistant { Role::Assistant } else { Role::User };
        if self.open.is_none_or(|(open, _)| open != role) {
            self.close(out);
            self.list.next(out);
            let word = if role == Role::Assistant { "model" } else { "user" };
            out.extend_from_slice(br#"{"role":""#);
            out.extend_from_slice(word.as_bytes());
            out.extend_from_slice(br#"","parts":["#);
            self.open = Some((role, false));
            self.signed = false;
        }
        if let Some((_, any)) = &mut self.open {
            if *any {
                out.push(b',');
            }
            *any = true;
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            out.extend_from_slice(b"]}");
        }
    }

    fn turn(&mut self, number: usize, turn: &'w Turn<'w>, out: &mut Vec<u8>) -> Result<(), Refused> {
        if let Some(name) = &turn.name {
            self.reading.dropped(name.at);
        }
        for (n, part) in turn.parts.iter().enumerate() {
            let signature = turn.parts.get(n + 1).and_then(previous);
            self.take(number, turn, part, signature, out)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        turn_number: usize,
        turn: &Turn<'_>,
        part: &'w Part<'w>,
        signature: Option<&Opaque<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let (role, at) = (turn.role, part.at);
        match &part.content {
            Content::Text { text, .. } if text.is_empty() => {}
            Content::Text { text, .. } if role == Role::System => {
                self.reading.approximated(at, "user-text");
                self.part(role, out);
                write_text(&prose::system(text), out);
            }
            Content::Text { text, .. } => {
                self.part(role, out);
                write_text(text, out);
                self.sign(signature, out);
            }
            Content::Refusal(text) => {
                self.reading.approximated(at, "text");
                self.part(role, out);
                write_text(text, out);
            }
            Content::Image(image) => {
                if image.detail.as_ref().is_some_and(|detail| !detail.is("auto")) {
                    self.reading.dropped(at);
                }
                self.media(role, &image.source, at, out)?;
            }
            Content::Video(source) => self.media(role, source, at, out)?,
            Content::Audio(audio) => {
                if !self.target.capabilities.audio {
                    return Err(self.reading.unsupported(at, "the target hears no sound"));
                }
                self.part(role, out);
                write_inline(&audio.mime, &audio.data, out);
            }
            Content::Document(document) => self.document(role, document, at, out)?,
            Content::ToolCall(call) => self.call(turn_number, call, at, out),
            Content::ToolResult(result) => self.result(result, part, out)?,
            Content::Reasoning(thought) => self.thought(thought, at, out),
            Content::Server(item) if item.provider == Origin::Gemini => {
                self.part(role, out);
                item.raw.write(out);
            }
            Content::Server(_) => self.reading.dropped(at),
            Content::Signature(opaque) => self.signature(opaque, at),
        }
        Ok(())
    }

    /// The state that can be read at the target, as it was.
    fn own<'o>(&self, opaque: &'o Opaque<'_>) -> Option<&'o Text<'o>> {
        let ours = opaque.origin == Origin::Gemini && opaque.realm == self.target.realm;
        ours.then_some(&opaque.payload)
    }

    /// Adds a signature to the part that was just written.
    fn sign(&mut self, opaque: Option<&Opaque<'_>>, out: &mut Vec<u8>) {
        if let Some(payload) = opaque.and_then(|opaque| self.own(opaque)) {
            out.pop();
            out.extend_from_slice(br#","thoughtSignature":"#);
            payload.write(out);
            out.push(b'}');
        }
    }

    /// One that belongs to the part before it was written with that.
    fn signature(&mut self, opaque: &'w Opaque<'w>, at: Place) {
        match (self.own(opaque).is_some(), opaque.kind) {
            (false, _) => self.reading.noted(at, "foreign-reasoning"),
            (true, SealKind::NextTool) => self.next = Some(opaque.clone()),
            (true, SealKind::Previous | SealKind::Signature | SealKind::Redacted) => {}
        }
    }

    /// A thought goes back only to where it is from.
    fn thought(&mut self, thought: &ReasoningPart<'_>, at: Place, out: &mut Vec<u8>) {
        let Some(opaque) = thought.opaque.as_ref().filter(|opaque| self.own(opaque).is_some()) else {
            self.reading.noted(at, "foreign-reasoning");
            return;
        };
        self.part(Role::Assistant, out);
        let text: String = thought.text.iter().map(Text::as_written).collect();
        out.extend_from_slice(br#"{"text":"#);
        Text::owned(text).write(out);
        out.extend_from_slice(br#","thought":true}"#);
        self.sign(Some(opaque), out);
    }

    fn call(&mut self, turn: usize, call: &ToolCall<'_>, at: Place, out: &mut Vec<u8>) {
        self.part(Role::Assistant, out);
        out.extend_from_slice(br#"{"functionCall":"#);
        let mut members = Members::open(out);
        if self.with_ids {
            members.text(out, "id", &call.id);
        }
        members.key(out, "name");
        write_name(call.namespace.as_ref(), &call.name, out);
        members.key(out, "args");
        self.args(&call.args, at, out);
        members.close(out);
        out.push(b'}');
        let next = self.next.take();
        let opaque = call.opaque.as_ref().or(next.as_ref());
        let payload = opaque.and_then(|opaque| self.own(opaque)).cloned();
        let wanted = turn >= self.unsigned_from && !self.signed;
        if payload.is_none() && opaque.is_some() {
            self.reading.noted(at, "foreign-reasoning");
        }
        let placeholder = wanted && self.target.capabilities.reasoning == ReasoningForm::Effort;
        let payload = payload.or_else(|| {
            placeholder.then(|| {
                self.reading.noted(at, "placeholder-signature");
                Text::written(PLACEHOLDER)
            })
        });
        if let Some(payload) = payload {
            self.signed = true;
            out.pop();
            out.extend_from_slice(br#","thoughtSignature":"#);
            payload.write(out);
            out.push(b'}');
        }
    }

    /// Arguments are an object here; what is none goes as text under a name that says so.
    fn args(&mut self, args: &Args<'_>, at: Place, out: &mut Vec<u8>) {
        match args {
            Args::Object(object) => object.write(out),
            Args::Free(input) => custom::wrapped(input).write(out),
            Args::Text(text) => {
                if let Some(object) = parts_out::object(&text.plain()) {
                    object.write(out);
                } else {
                    self.reading.approximated(at, "raw-arguments");
                    out.extend_from_slice(br#"{"_raw_arguments":"#);
                    text.write(out);
                    out.push(b'}');
                }
            }
        }
    }

    fn open_result(&mut self, id: &Text<'_>, name: &Text<'_>, out: &mut Vec<u8>) {
        self.part(Role::User, out);
        out.extend_from_slice(br#"{"functionResponse":{"#);
        if self.with_ids {
            out.extend_from_slice(br#""id":"#);
            id.write(out);
            out.push(b',');
        }
        out.extend_from_slice(br#""name":"#);
        write_name(None, name, out);
        out.extend_from_slice(br#","response":"#);
    }

    /// For a call that was never answered.
    fn missing(&mut self, id: &Text<'_>, out: &mut Vec<u8>) {
        let name = self.names.get(&id.plain()).copied().cloned().unwrap_or_default();
        self.open_result(id, &name, out);
        out.extend_from_slice(br#"{"error":"#);
        Text::written(NO_RESULT).write(out);
        out.extend_from_slice(b"}}}");
    }

    fn result(&mut self, result: &ToolResult<'_>, part: &Part<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        let named = self.names.get(&result.call_id.plain()).copied().cloned();
        let Some(name) = named.or_else(|| result.name.clone()) else {
            return Err(self.reading.refused(part.at, "no call before it has the id of this tool result"));
        };
        self.open_result(&result.call_id, &name, out);
        let texts: Vec<&Text<'_>> = result.content.iter().filter_map(text_of).collect();
        match (&result.object, result.is_error == Some(true)) {
            (Some(object), _) => object.write(out),
            (None, failed) => write_response(&texts, failed, out),
        }
        out.extend_from_slice(b"}}");
        for part in &result.content {
            match &part.content {
                Content::Text { .. } => {}
                Content::Image(image) => {
                    self.reading.approximated(part.at, "image-behind");
                    self.media(Role::User, &image.source, part.at, out)?;
                }
                Content::Document(document) => {
                    self.reading.approximated(part.at, "document-behind");
                    self.document(Role::User, document, part.at, out)?;
                }
                Content::Audio(_)
                | Content::Video(_)
                | Content::ToolCall(_)
                | Content::ToolResult(_)
                | Content::Reasoning(_)
                | Content::Refusal(_)
                | Content::Server(_)
                | Content::Signature(_) => self.reading.dropped(part.at),
            }
        }
        Ok(())
    }

    fn media(
        &mut self,
        role: Role,
        source: &ImageSource<'_>,
        at: Place,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        if !self.target.capabilities.images {
            return Err(self.reading.unsupported(at, "the target sees no pictures"));
        }
        match source {
            ImageSource::Base64 { mime, data } => {
                self.part(role, out);
                let sniffed = Text::written(data_url::sniffed(data.as_written()));
                write_inline(if mime.is_empty() { &sniffed } else { mime }, data, out);
            }
            ImageSource::Url { url, mime } if self.target.capabilities.image_urls => {
                self.part(role, out);
                let guess = guessed(&url.plain());
                write_file(url, mime.as_ref().unwrap_or(&Text::written(guess)), out);
            }
            ImageSource::Url { .. } => {
                return Err(self.reading.unsupported(at, "the target fetches no pictures; send the data"));
            }
            ImageSource::File { provider: Origin::Gemini, id } => {
                self.part(role, out);
                write_file(id, &Text::EMPTY, out);
            }
            ImageSource::File { .. } => {
                return Err(self
                    .reading
                    .unsupported(at, "this file is with another provider; send the data"));
            }
        }
        Ok(())
    }

    fn document(
        &mut self,
        role: Role,
        document: &Document<'_>,
        at: Place,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        if let Some(text) = prose::document(document) {
            self.reading.approximated(at, "text");
            self.part(role, out);
            write_text(&text, out);
            return Ok(());
        }
        if !self.target.capabilities.documents {
            return Err(self.reading.unsupported(at, "the target reads no documents"));
        }
        if document.citations == Some(true) || document.context.is_some() || document.title.is_some() {
            self.reading.dropped(at);
        }
        match &document.source {
            DocumentSource::Base64 { mime, data } => {
                self.part(role, out);
                let sniffed = Text::written(data_url::sniffed(data.as_written()));
                write_inline(if mime.is_empty() { &sniffed } else { mime }, data, out);
            }
            DocumentSource::Url(url) => {
                self.part(role, out);
                write_file(url, &Text::written("application/pdf"), out);
            }
            DocumentSource::File { provider: Origin::Gemini, id } => {
                self.part(role, out);
                write_file(id, &Text::EMPTY, out);
            }
            DocumentSource::File { .. } | DocumentSource::Text(_) | DocumentSource::Parts(_) => {
                return Err(self
                    .reading
                    .unsupported(at, "the target cannot take this document; send it as data"));
            }
        }
        Ok(())
    }
}

/// Gemini wants a media type; the end of an address is all there is to tell it by.
fn guessed(url: &str) -> &'static str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    match path.rsplit('.').next() {
        Some("png") => "image/png",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("mp4") => "video/mp4",
        Some(_) | None => "image/jpeg",
    }
}

/// State that belongs to the part before it.
fn previous<'p>(part: &'p Part<'p>) -> Option<&'p Opaque<'p>> {
    match &part.content {
        Content::Signature(opaque) if opaque.kind == SealKind::Previous => Some(opaque),
        _ => None,
    }
}

fn text_of<'p>(part: &'p Part<'p>) -> Option<&'p Text<'p>> {
    match &part.content {
        Content::Text { text, .. } => Some(text),
        _ => None,
    }
}

/// A result as the object that Gemini wants: itself where it is one, else its text under a name.
fn write_response(texts: &[&Text<'_>], failed: bool, out: &mut Vec<u8>) {
    let written = texts.iter().map(|text| text.as_written()).collect::<Vec<_>>().join("\\n");
    let text = Text::owned(written);
    if !failed && is_object(&text.plain()) {
        out.extend_from_slice(compact(&text.plain()).as_slice());
        return;
    }
    out.extend_from_slice(if failed { br#"{"error":"# } else { br#"{"output":"# });
    text.write(out);
    out.push(b'}');
}

fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
        && Tape::new().read(text, Surrogates::Refuse).is_ok_and(|value| value.fields().is_some())
}

fn compact(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    crate::json::Raw::written(json).write(&mut out);
    out
}

fn write_text(text: &Text<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"text":"#);
    text.write(out);
    out.push(b'}');
}

fn write_inline(mime: &Text<'_>, data: &Text<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"inlineData":{"mimeType":"#);
    mime.write(out);
    out.extend_from_slice(br#","data":"#);
    data.write(out);
    out.extend_from_slice(b"}}");
}

fn write_file(uri: &Text<'_>, mime: &Text<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"fileData":{"#);
    if !mime.is_empty() {
        out.extend_from_slice(br#""mimeType":"#);
        mime.write(out);
        out.push(b',');
    }
    out.extend_from_slice(br#""fileUri":"#);
    uri.write(out);
    out.extend_from_slice(b"}}");
}
