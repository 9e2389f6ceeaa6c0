//! Instructions and turns as Anthropic's system text and messages.
//! Owns: merging turns of one speaker, with results of tools in front. Must not: join texts, or write an empty one.
//! Read next: `words.rs`.

use super::tools_out::write_name;
use super::words::write_cache_mark;
use crate::custom;
use crate::data_url;
use crate::json::{List, Members, Raw, Surrogates, Tape, Text};
use crate::model::{
    AnthropicVersion, Args, Content, Document, DocumentSource, Image, ImageSource, NO_RESULT, Opaque, Origin,
    Part, Reading, ReasoningPart, Refused, Request, Role, SealKind, Target, ToolCall, ToolResult, Turn,
    Unanswered, call_id, prose,
};

/// Appends the `system` member, if there is anything to say.
pub(super) fn write_system(request: &Request<'_>, target: &Target, body: &mut Members, out: &mut Vec<u8>) {
    let texts = || {
        request.system.iter().filter_map(|part| match &part.content {
            Content::Text { text, .. } if !text.is_empty() => {
                Some((text, part.cache.filter(|_| target.capabilities.cache_marks)))
            }
            _ => None,
        })
    };
    let mut both = texts();
    match (both.next(), both.next()) {
        (None, _) => {}
        (Some((text, None)), None) => body.text(out, "system", text),
        (Some(_), _) => {
            body.key(out, "system");
            let mut list = List::open(out);
            for (text, cache) in texts() {
                list.next(out);
                let mut block = open("text", out);
                block.text(out, "text", text);
                if let Some(mark) = cache {
                    write_cache_mark(mark, &mut block, out);
                }
                block.close(out);
            }
            list.close(out);
        }
    }
}

pub(super) fn write(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let unanswered = Unanswered::of(request, reading)?;
    let mut messages = Messages { list: List::open(out), target, reading };
    let mut from = 0;
    while from < request.turns.len() {
        let speaker = messages.speaker(&request.turns[from]);
        let same = |turn: &Turn<'_>| messages.speaker(turn) == speaker;
        let to = from
            + request.turns[from..].iter().position(|turn| !same(turn)).unwrap_or(request.turns.len() - from);
        let missing: Vec<_> = (from..to).flat_map(|turn| unanswered.before(turn)).collect();
        let written = messages.message(speaker, &request.turns[from..to], &missing, out)?;
        if !written && to == request.turns.len() {
            return Err(messages
                .reading
                .refused(request.turns[from].at, "nothing of the last message can be carried over"));
        }
        from = to;
    }
    messages.list.close(out);
    Ok(())
}

struct Messages<'w, 'r, 'a> {
    list: List,
    target: &'w Target,
    reading: &'w mut Reading<'r, 'a>,
}

impl Messages<'_, '_, '_> {
    /// Who speaks, as Anthropic sees it.
    fn speaker(&self, turn: &Turn<'_>) -> Role {
        match turn.role {
            Role::System if !self.target.capabilities.system_turns => Role::User,
            role => role,
        }
    }

    /// One message of all these turns; `false`: nothing was left to say, and nothing was written.
    fn message(
        &mut self,
        speaker: Role,
        turns: &[Turn<'_>],
        missing: &[&Text<'_>],
        out: &mut Vec<u8>,
    ) -> Result<bool, Refused> {
        let mark = out.len();
        let before = self.list;
        self.list.next(out);
        let mut message = Members::open(out);
        message.key(out, "role");
        Text::written(match speaker {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
        })
        .write(out);
        message.key(out, "content");
        for turn in turns {
            if let Some(name) = &turn.name {
                self.reading.dropped(name.at);
            }
        }
        let mut written = missing.len();
        if let Some(text) = self.only_text(turns, missing) {
            text.write(out);
            written = 1;
        } else {
            let mut list = List::open(out);
            for id in missing {
                list.next(out);
                self.no_result(id, out);
            }
            for results in [true, false] {
                for turn in turns {
                    for part in &turn.parts {
                        if matches!(part.content, Content::ToolResult(_)) == results {
                            written += usize::from(self.block(turn, part, &mut list, out)?);
                        }
                    }
                }
            }
            list.close(out);
        }
        message.close(out);
        if written == 0 {
            out.truncate(mark);
            self.list = before;
        }
        Ok(written > 0)
    }

    /// The text of a message that says nothing else: then a string will do.
    fn only_text<'t>(&mut self, turns: &'t [Turn<'t>], missing: &[&Text<'_>]) -> Option<&'t Text<'t>> {
        let [turn] = turns else { return None };
        let [Part { content: Content::Text { text, citations }, cache, at }] = &turn.parts[..] else {
            return None;
        };
        let wrapped = turn.role == Role::System && !self.target.capabilities.system_turns;
        let marked = cache.is_some() && self.target.capabilities.cache_marks;
        if wrapped || marked || text.is_empty() || !missing.is_empty() {
            return None;
        }
        if !citations.is_empty() {
            self.reading.dropped(*at);
        }
        Some(text)
    }

    fn no_result(&mut self, id: &Text<'_>, out: &mut Vec<u8>) {
        let mut block = open("tool_result", out);
        block.text(out, "tool_use_id", &call_id(self.target, id));
        block.text(out, "content", &Text::written(NO_RESULT));
        block.truth(out, "is_error", true);
        block.close(out);
    }

    /// One block; `false`: it is empty or lost, and nothing was written.
    fn block(
        &mut self,
        turn: &Turn<'_>,
        part: &Part<'_>,
        list: &mut List,
        out: &mut Vec<u8>,
    ) -> Result<bool, Refused> {
        let wrap = turn.role == Role::System && !self.target.capabilities.system_turns;
        let mut block = match &part.content {
            Content::Text { text, citations } => {
                if text.is_empty() {
                    return Ok(false);
                }
                if !citations.is_empty() {
                    self.reading.dropped(part.at);
                }
                list.next(out);
                let mut block = open("text", out);
                if wrap {
                    self.reading.approximated(part.at, "user-text");
                    block.text(out, "text", &prose::system(text));
                } else {
                    block.text(out, "text", text);
                }
                block
            }
            Content::Refusal(text) => {
                self.reading.approximated(part.at, "text");
                list.next(out);
                let mut block = open("text", out);
                block.text(out, "text", text);
                block
            }
            Content::Image(image) => {
                list.next(out);
                self.image(image, part, out)?
            }
            Content::Document(document) => {
                list.next(out);
                self.document(turn, document, part, out)?
            }
            Content::ToolCall(call) => {
                if call.opaque.is_some() {
                    self.reading.noted(part.at, "foreign-reasoning");
                }
                list.next(out);
                self.call(call, part, out)
            }
            Content::ToolResult(result) => {
                list.next(out);
                self.result(turn, result, out)?
            }
            Content::Reasoning(thought) => return Ok(self.thought(thought, part, list, out)),
            Content::Signature(_) => {
                self.reading.noted(part.at, "foreign-reasoning");
                return Ok(false);
            }
            Content::Server(_) => {
                self.reading.dropped(part.at);
                return Ok(false);
            }
            Content::Audio(_) => return Err(self.reading.unsupported(part.at, "the target does not hear")),
            Content::Video(_) => {
                return Err(self.reading.unsupported(part.at, "the target sees no moving pictures"));
            }
        };
        if let Some(mark) = part.cache.filter(|_| self.target.capabilities.cache_marks) {
            write_cache_mark(mark, &mut block, out);
        }
        block.close(out);
        Ok(true)
    }

    fn image(&mut self, image: &Image<'_>, part: &Part<'_>, out: &mut Vec<u8>) -> Result<Members, Refused> {
        if !self.target.capabilities.images {
            return Err(self.reading.unsupported(part.at, "the target sees no pictures"));
        }
        if image.detail.as_ref().is_some_and(|detail| !detail.is("auto")) {
            self.reading.dropped(part.at);
        }
        let mut block = open("image", out);
        block.key(out, "source");
        match &image.source {
            ImageSource::Base64 { mime, data } => {
                const KNOWN: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
                let sniffed = data_url::sniffed(data.as_written());
                let mime = if mime.is_empty() { Text::written(sniffed) } else { mime.lend() };
                if !KNOWN.iter().any(|known| mime.is(known)) {
                    return Err(self.reading.unsupported(part.at, "the target sees jpeg, png, gif and webp"));
                }
                write_base64(&mime, data, out);
            }
            ImageSource::Url { url, .. } if self.target.capabilities.image_urls => write_url(url, out),
            ImageSource::Url { .. } => {
                return Err(self
                    .reading
                    .unsupported(part.at, "the target fetches no pictures; send the data"));
            }
            ImageSource::File { provider: Origin::Anthropic, id } => write_file(id, out),
            ImageSource::File { .. } => {
                return Err(self
                    .reading
                    .unsupported(part.at, "this file is with another provider; send the data"));
            }
        }
        Ok(block)
    }

    fn document(
        &mut self,
        turn: &Turn<'_>,
        document: &Document<'_>,
        part: &Part<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Members, Refused> {
        let old = self.target.anthropic_version == AnthropicVersion::V2023;
        if !old && turn.role == Role::Assistant {
            let Some(text) = prose::document(document) else {
                return Err(self
                    .reading
                    .unsupported(part.at, "the target takes no document in its own turns"));
            };
            self.reading.approximated(part.at, "text");
            let mut block = open("text", out);
            block.text(out, "text", &text);
            return Ok(block);
        }
        let mut block = open("document", out);
        block.key(out, "source");
        match &document.source {
            DocumentSource::Base64 { mime, data } => {
                let sniffed = data_url::sniffed(data.as_written());
                let mime = if mime.is_empty() { Text::written(sniffed) } else { mime.lend() };
                if !mime.is("application/pdf") {
                    return Err(self.reading.unsupported(part.at, "the target reads PDF and plain text"));
                }
                write_base64(&mime, data, out);
            }
            DocumentSource::Text(text) => {
                out.extend_from_slice(br#"{"type":"text","media_type":"text/plain","data":"#);
                text.write(out);
                out.push(b'}');
            }
            DocumentSource::Url(url) => write_url(url, out),
            DocumentSource::File { provider: Origin::Anthropic, id } => write_file(id, out),
            DocumentSource::File { .. } => {
                return Err(self
                    .reading
                    .unsupported(part.at, "this file is with another provider; send the data"));
            }
            DocumentSource::Parts(parts) => {
                out.extend_from_slice(br#"{"type":"content","content":"#);
                self.inner(turn, parts, out)?;
                out.push(b'}');
            }
        }
        if let Some(title) = &document.title {
            block.text(out, "title", title);
        }
        if let Some(context) = &document.context {
            block.text(out, "context", context);
        }
        if let Some(enabled) = document.citations {
            block.key(out, "citations");
            out.extend_from_slice(if enabled { br#"{"enabled":true}"# } else { br#"{"enabled":false}"# });
        }
        Ok(block)
    }

    fn inner(&mut self, turn: &Turn<'_>, parts: &[Part<'_>], out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut list = List::open(out);
        for part in parts {
            self.block(turn, part, &mut list, out)?;
        }
        list.close(out);
        Ok(())
    }

    fn call(&mut self, call: &ToolCall<'_>, part: &Part<'_>, out: &mut Vec<u8>) -> Members {
        let mut block = open("tool_use", out);
        block.text(out, "id", &call_id(self.target, &call.id));
        block.key(out, "name");
        write_name(call.namespace.as_ref(), &call.name, out);
        block.key(out, "input");
        self.input(&call.args, part, out);
        block
    }

    /// The arguments as an object. Text that is none is kept under a key of its own.
    fn input(&mut self, args: &Args<'_>, part: &Part<'_>, out: &mut Vec<u8>) {
        match args {
            Args::Object(object) => object.write(out),
            Args::Free(text) => {
                self.reading.approximated(part.at, "function");
                custom::wrapped(text).write(out);
            }
            Args::Text(text) => {
                let plain = text.plain();
                let mut tape = Tape::new();
                let object = tape.read(&plain, Surrogates::Refuse);
                if plain.trim().is_empty() {
                    out.extend_from_slice(b"{}");
                } else if object.is_ok_and(|object| object.fields().is_some()) {
                    Raw::written(&plain).write(out);
                } else {
                    self.reading.approximated(part.at, "raw-arguments");
                    out.extend_from_slice(br#"{"_raw_arguments":"#);
                    text.write(out);
                    out.push(b'}');
                }
            }
        }
    }

    fn result(
        &mut self,
        turn: &Turn<'_>,
        result: &ToolResult<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Members, Refused> {
        let mut block = open("tool_result", out);
        block.text(out, "tool_use_id", &call_id(self.target, &result.call_id));
        match (&result.content[..], &result.object) {
            ([], None) => {}
            ([], Some(object)) => block.text(out, "content", &object.to_text()),
            ([Part { content: Content::Text { text, .. }, .. }], _) => block.text(out, "content", text),
            (parts, _) => {
                block.key(out, "content");
                self.inner(turn, parts, out)?;
            }
        }
        if let Some(is_error) = result.is_error {
            block.truth(out, "is_error", is_error);
        }
        Ok(block)
    }

    /// A thought goes back to who had it; elsewhere it would be refused.
    fn thought(
        &mut self,
        thought: &ReasoningPart<'_>,
        part: &Part<'_>,
        list: &mut List,
        out: &mut Vec<u8>,
    ) -> bool {
        let ours =
            |opaque: &&Opaque<'_>| opaque.origin == Origin::Anthropic && opaque.realm == self.target.realm;
        let Some(opaque) = thought.opaque.as_ref().filter(ours) else {
            self.reading.noted(part.at, "foreign-reasoning");
            return false;
        };
        list.next(out);
        if opaque.kind == SealKind::Redacted {
            let mut block = open("redacted_thinking", out);
            block.text(out, "data", &opaque.payload);
            block.close(out);
        } else {
            let mut block = open("thinking", out);
            block.key(out, "thinking");
            out.push(b'"');
            thought.text.iter().for_each(|text| out.extend_from_slice(text.as_written().as_bytes()));
            out.push(b'"');
            block.text(out, "signature", &opaque.payload);
            block.close(out);
        }
        true
    }
}

fn open(kind: &str, out: &mut Vec<u8>) -> Members {
    let mut block = Members::open(out);
    block.key(out, "type");
    Text::written(kind).write(out);
    block
}

fn write_base64(mime: &Text<'_>, data: &Text<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"base64","media_type":"#);
    mime.write(out);
    out.extend_from_slice(br#","data":"#);
    data.write(out);
    out.push(b'}');
}

fn write_url(url: &Text<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"url","url":"#);
    url.write(out);
    out.push(b'}');
}

fn write_file(id: &Text<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"file","file_id":"#);
    id.write(out);
    out.push(b'}');
}
