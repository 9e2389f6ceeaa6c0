//! Instructions and turns as items of Responses.
//! Owns: taking turns apart into items. Must not: move anything, so that equal beginnings stay equal.
//! Read next: `item.rs`.

use super::tools_out::write_name;
use crate::data_url;
use crate::json::{List, Members, Raw, Surrogates, Tape, Text};
use crate::model::{
    Args, CacheMark, Content, Document, DocumentSource, Image, ImageSource, NO_RESULT, Origin, Part, Reading,
    ReasoningPart, Refused, Request, Role, Target, ToolCall, ToolResult, Turn, Unanswered, call_id, prose,
};

/// `instructions`: the texts, a paragraph each.
pub(super) fn write_instructions(
    parts: &[Part<'_>],
    reading: &Reading<'_, '_>,
    body: &mut Members,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    if parts.is_empty() {
        return Ok(());
    }
    body.key(out, "instructions");
    out.push(b'"');
    for (n, part) in parts.iter().enumerate() {
        let Content::Text { text, .. } = &part.content else {
            return Err(reading.refused(part.at, "instructions are text"));
        };
        out.extend_from_slice(if n > 0 { b"\\n\\n".as_slice() } else { b"" });
        out.extend_from_slice(text.as_written().as_bytes());
    }
    out.push(b'"');
    Ok(())
}

/// `input`
pub(super) fn write(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let unanswered = Unanswered::of(request, reading)?;
    let mut items = Items { list: List::open(out), target, reading };
    for (n, turn) in request.turns.iter().enumerate() {
        for id in unanswered.before(n) {
            items.list.next(out);
            items.open_result(id, out);
            Text::written(NO_RESULT).write(out);
            out.push(b'}');
        }
        if let Some(name) = &turn.name {
            items.reading.dropped(name.at);
        }
        match turn.role {
            Role::User => items.user(turn, out)?,
            Role::Assistant => items.assistant(turn, out)?,
            Role::System => items.message("system", &turn.parts.iter().collect::<Vec<_>>(), out)?,
        }
    }
    items.list.close(out);
    Ok(())
}

struct Items<'w, 'r, 'a> {
    list: List,
    target: &'w Target,
    reading: &'w mut Reading<'r, 'a>,
}

impl Items<'_, '_, '_> {
    /// Results of tools are items of their own, before all else the turn says.
    fn user(&mut self, turn: &Turn<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        for part in &turn.parts {
            if let Content::ToolResult(result) = &part.content {
                self.result(result, part, out)?;
            }
        }
        let is_said =
            |part: &&Part<'_>| !matches!(part.content, Content::ToolResult(_) | Content::Signature(_));
        let others: Vec<&Part<'_>> = turn.parts.iter().filter(is_said).collect();
        if others.is_empty() { Ok(()) } else { self.message("user", &others, out) }
    }

    /// One text of the caller's as a string, all else as an array of parts.
    fn message(&mut self, role: &'static str, parts: &[&Part<'_>], out: &mut Vec<u8>) -> Result<(), Refused> {
        self.list.next(out);
        out.extend_from_slice(br#"{"type":"message","role":""#);
        out.extend_from_slice(role.as_bytes());
        out.extend_from_slice(br#"","content":"#);
        match parts {
            [Part { content: Content::Text { text, .. }, cache, .. }]
                if role != "assistant" && (cache.is_none() || !self.target.capabilities.cache_marks) =>
            {
                text.write(out);
            }
            _ => {
                let mut list = List::open(out);
                for part in parts {
                    list.next(out);
                    self.part(part, role == "assistant", out)?;
                }
                list.close(out);
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// Texts that follow each other are one message; thoughts and calls are items between them.
    fn assistant(&mut self, turn: &Turn<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut said: Vec<&Part<'_>> = Vec::new();
        for part in &turn.parts {
            match &part.content {
                Content::Text { text, .. } if text.is_empty() => {}
                Content::Text { .. } | Content::Refusal(_) => said.push(part),
                Content::ToolCall(call) => {
                    self.flush(&mut said, out)?;
                    self.call(call, out);
                }
                Content::Reasoning(thought) => {
                    self.flush(&mut said, out)?;
                    self.thought(thought, part, out);
                }
                Content::Server(item) if item.provider == Origin::Responses => {
                    self.flush(&mut said, out)?;
                    self.list.next(out);
                    item.raw.write(out);
                }
                Content::Signature(_) => self.reading.noted(part.at, "foreign-reasoning"),
                Content::Image(_)
                | Content::Audio(_)
                | Content::Video(_)
                | Content::Document(_)
                | Content::ToolResult(_)
                | Content::Server(_) => self.reading.dropped(part.at),
            }
        }
        self.flush(&mut said, out)
    }

    fn flush(&mut self, said: &mut Vec<&Part<'_>>, out: &mut Vec<u8>) -> Result<(), Refused> {
        if said.is_empty() {
            return Ok(());
        }
        self.message("assistant", &std::mem::take(said), out)
    }

    fn call(&mut self, call: &ToolCall<'_>, out: &mut Vec<u8>) {
        self.list.next(out);
        let free = matches!(call.args, Args::Free(_));
        let mut members = Members::open(out);
        members.json(out, "type", if free { "\"custom_tool_call\"" } else { "\"function_call\"" });
        members.text(out, "call_id", &call_id(self.target, &call.id));
        members.key(out, "name");
        write_name(call.namespace.as_ref(), &call.name, out);
        members.key(out, if free { "input" } else { "arguments" });
        match &call.args {
            Args::Text(text) if text.plain().trim().is_empty() => out.extend_from_slice(b"\"{}\""),
            Args::Text(text) | Args::Free(text) => text.write(out),
            Args::Object(object) => {
                out.push(b'"');
                object.write_as_inside(out);
                out.push(b'"');
            }
        }
        members.close(out);
    }

    /// A thought goes back only to where it is from.
    fn thought(&mut self, thought: &ReasoningPart<'_>, part: &Part<'_>, out: &mut Vec<u8>) {
        let ours = thought
            .opaque
            .as_ref()
            .filter(|opaque| opaque.origin == Origin::Responses && opaque.realm == self.target.realm);
        let Some(opaque) = ours else {
            self.reading.noted(part.at, "foreign-reasoning");
            return;
        };
        self.list.next(out);
        let payload = opaque.payload.plain();
        let mut tape = Tape::new();
        let state = tape.read(&payload, Surrogates::Replace).ok().filter(|state| state.fields().is_some());
        let mut members = Members::open(out);
        members.json(out, "type", "\"reasoning\"");
        if let Some(state) = state {
            for entry in state.fields().into_iter().flatten() {
                members.raw(out, entry.key, &entry.value.raw());
            }
        } else {
            if let Some(id) = &thought.id {
                members.text(out, "id", id);
            }
            members.json(out, "summary", "[]");
            members.text(out, "encrypted_content", &opaque.payload);
        }
        members.close(out);
    }

    fn open_result(&self, id: &Text<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"type":"function_call_output","call_id":"#);
        call_id(self.target, id).write(out);
        out.extend_from_slice(br#","output":"#);
    }

    fn result(&mut self, result: &ToolResult<'_>, part: &Part<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        self.list.next(out);
        self.open_result(&result.call_id, out);
        let failed = result.is_error == Some(true);
        if failed {
            self.reading.approximated(part.at, "is_error");
        }
        match &result.content[..] {
            [] => match &result.object {
                Some(object) => Raw::to_text(object).write(out),
                None if failed => prose::failed(&Text::EMPTY).write(out),
                None => Text::EMPTY.write(out),
            },
            [Part { content: Content::Text { text, .. }, .. }] => {
                if failed {
                    prose::failed(text).write(out);
                } else {
                    text.write(out);
                }
            }
            parts => {
                let mut list = List::open(out);
                if failed {
                    list.next(out);
                    write_text("input_text", &Text::written("Error: "), out);
                }
                for part in parts {
                    list.next(out);
                    self.part(part, false, out)?;
                }
                list.close(out);
            }
        }
        out.push(b'}');
        Ok(())
    }

    fn part(&mut self, part: &Part<'_>, by_model: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
        match &part.content {
            Content::Text { text, citations } => {
                if !citations.is_empty() {
                    self.reading.dropped(part.at);
                }
                write_text(if by_model { "output_text" } else { "input_text" }, text, out);
                if by_model {
                    out.pop();
                    out.extend_from_slice(br#","annotations":[]}"#);
                }
            }
            Content::Refusal(text) => {
                out.extend_from_slice(br#"{"type":"refusal","refusal":"#);
                text.write(out);
                out.push(b'}');
            }
            Content::Image(image) => self.image(image, part, out)?,
            Content::Document(document) => self.document(document, part, out)?,
            Content::Audio(audio) => {
                let format: &[u8] = match &*audio.mime.plain() {
                    "audio/wav" | "audio/x-wav" | "audio/wave" => b"wav",
                    "audio/mpeg" | "audio/mp3" => b"mp3",
                    _ => return Err(self.reading.unsupported(part.at, "the target hears wav and mp3")),
                };
                out.extend_from_slice(br#"{"type":"input_audio","input_audio":{"data":"#);
                audio.data.write(out);
                out.extend_from_slice(br#","format":""#);
                out.extend_from_slice(format);
                out.extend_from_slice(b"\"}}");
            }
            Content::Video(_) => {
                return Err(self.reading.unsupported(part.at, "the target sees no moving pictures"));
            }
            Content::ToolCall(_)
            | Content::ToolResult(_)
            | Content::Reasoning(_)
            | Content::Server(_)
            | Content::Signature(_) => {
                return Err(self.reading.unsupported(part.at, "this part cannot stand here"));
            }
        }
        if let Some(mark) = part.cache.filter(|_| self.target.capabilities.cache_marks) {
            out.pop();
            out.extend_from_slice(match mark {
                CacheMark::Default => br#","prompt_cache_breakpoint":{"mode":"explicit"}}"#.as_slice(),
                CacheMark::Short => br#","prompt_cache_breakpoint":{"mode":"explicit","ttl":"30m"}}"#,
                CacheMark::Long => br#","prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}}"#,
            });
        }
        Ok(())
    }

    fn image(&mut self, image: &Image<'_>, part: &Part<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        if !self.target.capabilities.images {
            return Err(self.reading.unsupported(part.at, "the target sees no pictures"));
        }
        out.extend_from_slice(br#"{"type":"input_image","#);
        match &image.source {
            ImageSource::Base64 { mime, data } => {
                out.extend_from_slice(br#""image_url":"#);
                data_url::write(out, mime, data);
            }
            ImageSource::Url { url, .. } if self.target.capabilities.image_urls => {
                out.extend_from_slice(br#""image_url":"#);
                url.write(out);
            }
            ImageSource::File { provider: Origin::Responses | Origin::Chat, id } => {
                out.extend_from_slice(br#""file_id":"#);
                id.write(out);
            }
            ImageSource::Url { .. } => {
                return Err(self
                    .reading
                    .unsupported(part.at, "the target fetches no pictures; send the data"));
            }
            ImageSource::File { .. } => {
                return Err(self
                    .reading
                    .unsupported(part.at, "this file is with another provider; send the data"));
            }
        }
        out.extend_from_slice(br#","detail":"#);
        image.detail.as_ref().unwrap_or(&Text::written("auto")).write(out);
        out.push(b'}');
        Ok(())
    }

    fn document(
        &mut self,
        document: &Document<'_>,
        part: &Part<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        if let Some(text) = prose::document(document) {
            self.reading.approximated(part.at, "text");
            write_text("input_text", &text, out);
            return Ok(());
        }
        if document.citations == Some(true) || document.context.is_some() {
            self.reading.dropped(part.at);
        }
        let mut members = Members::open(out);
        members.json(out, "type", "\"input_file\"");
        match &document.source {
            DocumentSource::Base64 { mime, data } => {
                members.text(out, "filename", document.title.as_ref().unwrap_or(&Text::written("document")));
                members.key(out, "file_data");
                data_url::write(out, mime, data);
            }
            DocumentSource::Url(url) => members.text(out, "file_url", url),
            DocumentSource::File { provider: Origin::Responses | Origin::Chat, id } => {
                members.text(out, "file_id", id);
            }
            DocumentSource::File { .. } | DocumentSource::Text(_) | DocumentSource::Parts(_) => {
                return Err(self
                    .reading
                    .unsupported(part.at, "the target cannot take this document; send it as data"));
            }
        }
        members.close(out);
        Ok(())
    }
}

fn write_text(kind: &'static str, text: &Text<'_>, out: &mut Vec<u8>) {
    let mut members = Members::open(out);
    members.text(out, "type", &Text::written(kind));
    members.text(out, "text", text);
    members.close(out);
}
