//! Instructions and turns as messages of Chat Completions.
//! Owns: taking turns apart into messages. Must not: move anything, so that equal beginnings stay equal.
//! Read next: `words.rs`.

use super::tools_out::write_name;
use crate::data_url;
use crate::json::{List, Members, Text};
use crate::model::{
    Args, CacheMark, Content, Document, DocumentSource, Image, ImageSource, NO_RESULT, Origin, Part, Reading,
    ReasoningPart, Refused, Request, Role, Target, ToolCall, ToolResult, Turn, Unanswered, call_id, prose,
};

pub(super) fn write(
    request: &Request<'_>,
    target: &Target,
    reading: &mut Reading<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let unanswered = Unanswered::of(request, reading)?;
    let mut messages = Messages { list: List::open(out), target, reading };
    messages.instructions(&request.system, out)?;
    for (n, turn) in request.turns.iter().enumerate() {
        for id in unanswered.before(n) {
            messages.open_result(id, out);
            Text::written(NO_RESULT).write(out);
            out.push(b'}');
        }
        match turn.role {
            Role::User => messages.user(turn, out)?,
            Role::Assistant => messages.assistant(turn, out)?,
            Role::System => messages.instructions(&turn.parts, out)?,
        }
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
    fn open(&mut self, role: &str, out: &mut Vec<u8>) -> Members {
        self.list.next(out);
        let mut message = Members::open(out);
        message.key(out, "role");
        Text::written(role).write(out);
        message
    }

    fn instructions(&mut self, parts: &[Part<'_>], out: &mut Vec<u8>) -> Result<(), Refused> {
        if parts.is_empty() {
            return Ok(());
        }
        let mut message = self.open(if self.target.developer_role { "developer" } else { "system" }, out);
        message.key(out, "content");
        self.content(parts.iter(), out)?;
        message.close(out);
        Ok(())
    }

    /// Results of tools are messages of their own, before all else the turn says.
    fn user(&mut self, turn: &Turn<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut pictures = Vec::new();
        for part in &turn.parts {
            if let Content::ToolResult(result) = &part.content {
                self.result(result, part, &mut pictures, out)?;
            }
        }
        let others = turn.parts.iter().filter(|part| !matches!(part.content, Content::ToolResult(_)));
        if pictures.is_empty() && others.clone().next().is_none() {
            return Ok(());
        }
        let mut message = self.open("user", out);
        if let Some(name) = &turn.name {
            message.text(out, "name", &name.value);
        }
        message.key(out, "content");
        self.content(pictures.into_iter().chain(others), out)?;
        message.close(out);
        Ok(())
    }

    fn open_result(&mut self, id: &Text<'_>, out: &mut Vec<u8>) {
        let mut message = self.open("tool", out);
        message.text(out, "tool_call_id", &call_id(self.target, id));
        message.key(out, "content");
    }

    fn result<'p>(
        &mut self,
        result: &'p ToolResult<'p>,
        part: &Part<'_>,
        pictures: &mut Vec<&'p Part<'p>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        self.open_result(&result.call_id, out);
        let failed = result.is_error == Some(true);
        if failed {
            self.reading.approximated(part.at, "is_error");
        }
        let is_picture = |part: &&Part<'_>| matches!(part.content, Content::Image(_));
        let apart = !self.target.images_in_results && result.content.iter().any(|part| is_picture(&part));
        if let Some(object) = &result.object
            && result.content.is_empty()
        {
            object.to_text().write(out);
        } else if let [Part { content: Content::Text { text, .. }, cache: None, .. }] = &result.content[..] {
            if failed { prose::failed(text).write(out) } else { text.write(out) }
        } else if result.content.is_empty() {
            if failed { prose::failed(&Text::EMPTY).write(out) } else { Text::EMPTY.write(out) }
        } else {
            self.result_parts(result, failed, apart, out)?;
        }
        out.push(b'}');
        if apart {
            self.reading.approximated(part.at, "image-below");
            pictures.extend(result.content.iter().filter(is_picture));
        }
        Ok(())
    }

    fn result_parts(
        &mut self,
        result: &ToolResult<'_>,
        failed: bool,
        apart: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let mut list = List::open(out);
        if failed {
            list.next(out);
            write_text(&Text::written("Error: "), out);
        }
        for part in &result.content {
            list.next(out);
            if apart && matches!(part.content, Content::Image(_)) {
                write_text(&Text::written("[image attached below]"), out);
            } else {
                self.part(part, out)?;
            }
        }
        list.close(out);
        Ok(())
    }

    fn assistant(&mut self, turn: &Turn<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        let said: Vec<&Part<'_>> = turn.parts.iter().filter(|part| self.is_said(part)).collect();
        let thoughts = turn.parts.iter().filter_map(|part| match &part.content {
            Content::Reasoning(thought) => self.replayed(thought, part).then_some(thought),
            _ => None,
        });
        let thoughts: Vec<&ReasoningPart<'_>> = thoughts.collect();
        let calls = || {
            turn.parts.iter().filter_map(|part| match &part.content {
                Content::ToolCall(call) => Some(call),
                _ => None,
            })
        };
        let refusal = turn.parts.iter().find_map(|part| match &part.content {
            Content::Refusal(refusal) => Some(refusal),
            _ => None,
        });
        if said.is_empty() && calls().next().is_none() && refusal.is_none() {
            return Ok(()); // nothing is left of it
        }
        let mut message = self.open("assistant", out);
        if let Some(name) = &turn.name {
            message.text(out, "name", &name.value);
        }
        if !thoughts.is_empty() {
            message.key(out, "reasoning_content");
            out.push(b'"');
            thoughts.iter().flat_map(|thought| &thought.text).for_each(|text| {
                out.extend_from_slice(text.as_written().as_bytes());
            });
            out.push(b'"');
        }
        message.key(out, "content");
        if said.is_empty() {
            out.extend_from_slice(b"null");
        } else {
            self.content(said.into_iter(), out)?;
        }
        if let Some(refusal) = refusal {
            message.text(out, "refusal", refusal);
        }
        if calls().next().is_some() {
            message.key(out, "tool_calls");
            let mut list = List::open(out);
            for call in calls() {
                list.next(out);
                write_call(call, self.target, out);
            }
            list.close(out);
        }
        message.close(out);
        Ok(())
    }

    /// Does this part of the model's turn go into its content?
    fn is_said(&mut self, part: &Part<'_>) -> bool {
        match &part.content {
            Content::Text { .. } | Content::Image(_) | Content::Document(_) => true,
            Content::Audio(_) | Content::Video(_) | Content::Server(_) | Content::ToolResult(_) => {
                self.reading.dropped(part.at);
                false
            }
            Content::Signature(_) => {
                self.reading.noted(part.at, "foreign-reasoning");
                false
            }
            Content::ToolCall(_) | Content::Reasoning(_) | Content::Refusal(_) => false,
        }
    }

    /// Does this thought go back to where it is from?
    fn replayed(&mut self, thought: &ReasoningPart<'_>, part: &Part<'_>) -> bool {
        let ours = thought
            .opaque
            .as_ref()
            .is_some_and(|opaque| opaque.origin == Origin::Chat && opaque.realm == self.target.realm);
        if ours && self.target.replay_reasoning && !thought.text.is_empty() {
            return true;
        }
        self.reading.noted(part.at, "foreign-reasoning");
        false
    }

    /// One plain text as a string, all else as an array.
    fn content<'p>(
        &mut self,
        mut parts: impl Iterator<Item = &'p Part<'p>> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let mut both = parts.clone();
        if let (Some(Part { content: Content::Text { text, citations }, cache, at }), None) =
            (both.next(), both.next())
            && (cache.is_none() || !self.target.capabilities.cache_marks)
        {
            if !citations.is_empty() {
                self.reading.dropped(*at);
            }
            text.write(out);
            return Ok(());
        }
        let mut list = List::open(out);
        parts.try_for_each(|part| {
            list.next(out);
            self.part(part, out)
        })?;
        list.close(out);
        Ok(())
    }

    fn part(&mut self, part: &Part<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        match &part.content {
            Content::Text { text, citations } => {
                if !citations.is_empty() {
                    self.reading.dropped(part.at);
                }
                write_text(text, out);
            }
            Content::Image(image) => self.image(image, part, out)?,
            Content::Audio(audio) => {
                let format = match &*audio.mime.plain() {
                    "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
                    "audio/mpeg" | "audio/mp3" => "mp3",
                    _ => return Err(self.reading.unsupported(part.at, "the target hears wav and mp3")),
                };
                out.extend_from_slice(br#"{"type":"input_audio","input_audio":{"data":"#);
                audio.data.write(out);
                out.extend_from_slice(br#","format":""#);
                out.extend_from_slice(format.as_bytes());
                out.extend_from_slice(b"\"}}");
            }
            Content::Video(source) => self.video(source, part, out)?,
            Content::Document(document) => self.document(document, part, out)?,
            Content::Refusal(refusal) => write_text(refusal, out),
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
            let mark: &[u8] = match mark {
                CacheMark::Default => br#","prompt_cache_breakpoint":{"mode":"explicit"}}"#,
                CacheMark::Short => br#","prompt_cache_breakpoint":{"mode":"explicit","ttl":"30m"}}"#,
                CacheMark::Long => br#","prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}}"#,
            };
            out.extend_from_slice(mark);
        }
        Ok(())
    }

    fn image(&mut self, image: &Image<'_>, part: &Part<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        if !self.target.capabilities.images {
            return Err(self.reading.unsupported(part.at, "the target sees no pictures"));
        }
        out.extend_from_slice(br#"{"type":"image_url","image_url":{"url":"#);
        self.source(&image.source, part, out)?;
        if let Some(detail) = &image.detail {
            out.extend_from_slice(br#","detail":"#);
            detail.write(out);
        }
        out.extend_from_slice(b"}}");
        Ok(())
    }

    fn video(&mut self, source: &ImageSource<'_>, part: &Part<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        if !self.target.engine.takes_extras() {
            return Err(self.reading.unsupported(part.at, "the target sees no moving pictures"));
        }
        out.extend_from_slice(br#"{"type":"video_url","video_url":{"url":"#);
        self.source(source, part, out)?;
        out.extend_from_slice(b"}}");
        Ok(())
    }

    fn source(
        &mut self,
        source: &ImageSource<'_>,
        part: &Part<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        match source {
            ImageSource::Base64 { mime, data } => data_url::write(out, mime, data),
            ImageSource::Url { url, .. } if self.target.capabilities.image_urls => url.write(out),
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
            write_text(&text, out);
            return Ok(());
        }
        if document.citations == Some(true) || document.context.is_some() {
            self.reading.dropped(part.at);
        }
        let DocumentSource::Base64 { mime, data } = &document.source else {
            return match &document.source {
                DocumentSource::File { provider: Origin::Responses | Origin::Chat, id } => {
                    out.extend_from_slice(br#"{"type":"file","file":{"file_id":"#);
                    id.write(out);
                    out.extend_from_slice(b"}}");
                    Ok(())
                }
                _ => Err(self.reading.unsupported(part.at, "the target takes a document only as data")),
            };
        };
        out.extend_from_slice(br#"{"type":"file","file":{"file_data":"#);
        data_url::write(out, mime, data);
        out.extend_from_slice(br#","filename":"#);
        document.title.as_ref().unwrap_or(&Text::written("document")).write(out);
        out.extend_from_slice(b"}}");
        Ok(())
    }
}

fn write_text(text: &Text<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"text","text":"#);
    text.write(out);
    out.push(b'}');
}

fn write_call(call: &ToolCall<'_>, target: &Target, out: &mut Vec<u8>) {
    let mut members = Members::open(out);
    members.text(out, "id", &call_id(target, &call.id));
    let (kind, key) = match call.args {
        Args::Free(_) => ("custom", "input"),
        Args::Text(_) | Args::Object(_) => ("function", "arguments"),
    };
    members.text(out, "type", &Text::written(kind));
    members.key(out, kind);
    let mut inner = Members::open(out);
    inner.key(out, "name");
    write_name(call.namespace.as_ref(), &call.name, out);
    inner.key(out, key);
    write_args(&call.args, out);
    inner.close(out);
    members.close(out);
}

/// Arguments as a string of JSON text; none are an empty object.
pub(super) fn write_args(args: &Args<'_>, out: &mut Vec<u8>) {
    match args {
        Args::Text(text) if text.as_written().trim_ascii().is_empty() => out.extend_from_slice(b"\"{}\""),
        Args::Text(text) | Args::Free(text) => text.write(out),
        Args::Object(object) => {
            out.push(b'"');
            object.write_as_inside(out);
            out.push(b'"');
        }
    }
}
