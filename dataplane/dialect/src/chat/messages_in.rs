//! The messages of Chat Completions into instructions and turns.
//! Owns: which messages make one turn, and the parts of a message. Must not: move a later instruction to the front.
//! Read next: `tools_in.rs`.

use crate::bounds::{ITEM_PARTS_MAX, REQUEST_ITEMS_MAX};
use crate::data_url;
use crate::json::{Kind, Place, Text, Value};
use crate::model::{
    Args, Audio, CacheMark, Content, Document, DocumentSource, Image, ImageSource, Opaque, Origin, Part,
    Reading, ReasoningPart, Refused, Request, Role, ToolCall, ToolResult, Turn,
};

pub(super) fn read<'a>(
    request: &mut Request<'a>,
    messages: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let mut history = History { leading: true, after_results: false, legacy_calls: 0 };
    for message in reading.elements(messages, REQUEST_ITEMS_MAX)? {
        let fields = Message::read(message, reading)?;
        match &*fields.role.plain() {
            "system" | "developer" => history.instructions(request, &fields, reading)?,
            "user" => history.user(request, &fields, reading)?,
            "assistant" => history.assistant(request, &fields, reading)?,
            "tool" => history.result(request, fields, reading)?,
            "function" => history.legacy_result(request, fields, reading)?,
            _ => {
                return Err(reading
                    .refused(message.place(), "role must be system, developer, user, assistant or tool"));
            }
        }
    }
    Ok(())
}

/// A message, its fields by name.
struct Message<'a> {
    at: Place,
    role: Text<'a>,
    content: Option<Value<'a>>,
    name: Option<Value<'a>>,
    refusal: Option<Text<'a>>,
    reasoning: Option<Text<'a>>,
    details: Option<Value<'a>>,
    tool_calls: Option<Value<'a>>,
    function_call: Option<Value<'a>>,
    tool_call_id: Option<Text<'a>>,
}

impl<'a> Message<'a> {
    fn read(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Self, Refused> {
        let mut message = Self {
            at: value.place(),
            role: reading.wanted_text(value, "role")?,
            content: None,
            name: None,
            refusal: None,
            reasoning: None,
            details: None,
            tool_calls: None,
            function_call: None,
            tool_call_id: None,
        };
        for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
            let value = entry.value;
            match &*entry.plain() {
                "role" => {}
                "content" => message.content = Some(value),
                "name" => message.name = Some(value),
                "refusal" => message.refusal = Some(reading.text(value)?),
                // Some releases send both, with the same text.
                "reasoning" | "reasoning_content" => message.reasoning = value.text().or(message.reasoning),
                "reasoning_details" => message.details = Some(value),
                "tool_calls" => message.tool_calls = Some(value),
                "function_call" => message.function_call = Some(value),
                "tool_call_id" => message.tool_call_id = Some(reading.text(value)?),
                "audio" => {
                    return Err(reading
                        .unsupported(value.place(), "the sound of an earlier answer is with its provider"));
                }
                // What SDKs echo of an answer and no model reads.
                "annotations" | "function_calls" | "parsed" => {}
                _ => reading.unknown(&entry),
            }
        }
        Ok(message)
    }
}

/// What the messages so far mean for the next.
struct History {
    /// Only instructions so far.
    leading: bool,
    /// The last turn holds results of tools and nothing else.
    after_results: bool,
    /// Calls in the old spelling, which have no ids.
    legacy_calls: u32,
}

impl History {
    fn turn<'a>(
        &mut self,
        request: &mut Request<'a>,
        role: Role,
        message: &Message<'a>,
        parts: Vec<Part<'a>>,
        reading: &Reading<'_, 'a>,
    ) -> Result<(), Refused> {
        self.leading = false;
        self.after_results = false;
        let name = message.name.map(|name| reading.text(name).map(|text| Reading::placed(text, name)));
        request.turns.push(Turn { role, name: name.transpose()?, parts, at: message.at });
        Ok(())
    }

    fn instructions<'a>(
        &mut self,
        request: &mut Request<'a>,
        message: &Message<'a>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<(), Refused> {
        let parts = parts(message.content, reading)?;
        if let Some(part) = parts.iter().find(|part| !matches!(part.content, Content::Text { .. })) {
            return Err(reading.refused(part.at, "instructions are text"));
        }
        if self.leading {
            if let Some(name) = message.name {
                reading.dropped(name.place());
            }
            request.system.extend(parts);
            return Ok(());
        }
        self.turn(request, Role::System, message, parts, reading)
    }

    /// Text right behind results of tools belongs to their turn.
    fn user<'a>(
        &mut self,
        request: &mut Request<'a>,
        message: &Message<'a>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<(), Refused> {
        let parts = parts(message.content, reading)?;
        match request.turns.last_mut() {
            Some(turn) if self.after_results && message.name.is_none() => {
                turn.parts.extend(parts);
                self.after_results = false;
                Ok(())
            }
            Some(_) | None => self.turn(request, Role::User, message, parts, reading),
        }
    }

    fn assistant<'a>(
        &mut self,
        request: &mut Request<'a>,
        message: &Message<'a>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<(), Refused> {
        let mut all = Vec::new();
        thoughts(&mut all, message, reading)?;
        all.extend(parts(message.content, reading)?);
        if let Some(refusal) = message.refusal.as_ref().filter(|refusal| !refusal.is_empty()) {
            all.push(Part::new(Content::Refusal(refusal.clone()), message.at));
        }
        if let Some(calls) = message.tool_calls {
            for call in reading.elements(calls, ITEM_PARTS_MAX)? {
                let place = call.place();
                all.push(Part::new(Content::ToolCall(tool_call(call, reading)?), place));
            }
        }
        if let Some(call) = message.function_call {
            all.push(self.legacy_call(call, reading)?);
        }
        self.turn(request, Role::Assistant, message, all, reading)
    }

    fn legacy_call<'a>(&mut self, call: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Part<'a>, Refused> {
        let id = Text::owned(format!("fn_{}", self.legacy_calls));
        self.legacy_calls += 1;
        let name = reading.wanted_text(call, "name")?;
        let args = Args::Text(call.get_text("arguments").unwrap_or_default());
        let call_part = ToolCall { id, name, namespace: None, args, opaque: None };
        Ok(Part::new(Content::ToolCall(call_part), call.place()))
    }

    fn result<'a>(
        &mut self,
        request: &mut Request<'a>,
        message: Message<'a>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<(), Refused> {
        let Some(call_id) = message.tool_call_id.clone() else {
            return Err(reading.refused(message.at, "wants `tool_call_id`"));
        };
        self.add_result(request, call_id, message, reading)
    }

    /// The result of the last call in the old spelling.
    fn legacy_result<'a>(
        &mut self,
        request: &mut Request<'a>,
        message: Message<'a>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<(), Refused> {
        let call_id = Text::owned(format!("fn_{}", self.legacy_calls.saturating_sub(1)));
        self.add_result(request, call_id, message, reading)
    }

    fn add_result<'a>(
        &mut self,
        request: &mut Request<'a>,
        call_id: Text<'a>,
        mut message: Message<'a>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<(), Refused> {
        let name = message.name.take().and_then(|name| name.text());
        let content = parts(message.content, reading)?;
        let result = ToolResult { call_id, name, is_error: None, content, object: None };
        let part = Part::new(Content::ToolResult(result), message.at);
        match request.turns.last_mut() {
            Some(turn) if self.after_results => turn.parts.push(part),
            Some(_) | None => self.turn(request, Role::User, &message, vec![part], reading)?,
        }
        self.after_results = true;
        Ok(())
    }
}

/// The thoughts an assistant's message brings back: text that was shown, and seals that we gave out with it.
fn thoughts<'a>(
    all: &mut Vec<Part<'a>>,
    message: &Message<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let shown = message.reasoning.clone().unwrap_or_default().plain().into_owned();
    let mut rest = shown.as_str();
    if let Some(details) = message.details {
        for detail in reading.elements(details, ITEM_PARTS_MAX)? {
            let Some(opaque) = detail.get_text("data").and_then(|data| Opaque::unseal(&data.plain())) else {
                reading.noted(detail.place(), "foreign-reasoning");
                continue;
            };
            let length = detail.get_integer("length").map_or(rest.len(), |length| length as usize);
            let Some(text) = rest.get(..length) else { continue };
            rest = &rest[length..];
            all.push(thought(text, Some(opaque), detail.place()));
        }
    }
    if !rest.is_empty() {
        all.push(thought(rest, None, message.at));
    }
    Ok(())
}

fn thought<'a>(text: &str, opaque: Option<Opaque<'a>>, at: Place) -> Part<'a> {
    let text = if text.is_empty() { Vec::new() } else { vec![Text::of(text).into_owned()] };
    Part::new(Content::Reasoning(ReasoningPart { text, is_raw: true, id: None, opaque }), at)
}

fn tool_call<'a>(call: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<ToolCall<'a>, Refused> {
    reading.unique(call)?;
    let id = reading.wanted_text(call, "id")?;
    let custom = call.get_text("type").is_some_and(|kind| kind.is("custom"));
    let key = if custom { "custom" } else { "function" };
    let inner = call.get(key).ok_or_else(|| reading.refused(call.place(), format!("wants `{key}`")))?;
    reading.unique(inner)?;
    let name = reading.wanted_text(inner, "name")?;
    let args = if custom {
        Args::Free(inner.get_text("input").unwrap_or_default())
    } else {
        match inner.get("arguments") {
            Some(value) if value.kind() == Kind::Object => Args::Object(value.raw()),
            Some(value) => Args::Text(reading.text(value)?),
            None => Args::Text(Text::EMPTY),
        }
    };
    Ok(ToolCall { id, name, namespace: None, args, opaque: signature(call) })
}

/// The slot that Google's own OpenAI surface has for thought signatures.
fn signature(call: Value<'_>) -> Option<Opaque<'_>> {
    let text = call.get("extra_content")?.get("google")?.get_text("thought_signature")?;
    Opaque::unseal(&text.plain())
}

/// A message's content: nothing, a text, or parts.
fn parts<'a>(content: Option<Value<'a>>, reading: &mut Reading<'_, 'a>) -> Result<Vec<Part<'a>>, Refused> {
    let Some(content) = content else { return Ok(Vec::new()) };
    if let Some(text) = content.text() {
        let part = Part::new(Content::text(text.clone()), content.place());
        return Ok(if text.is_empty() { Vec::new() } else { vec![part] });
    }
    if content.kind() != Kind::Array {
        return Err(reading.refused(content.place(), "must be a string or an array of parts"));
    }
    let mut all = Vec::new();
    for value in reading.elements(content, ITEM_PARTS_MAX)? {
        all.push(part(value, reading)?);
    }
    Ok(all)
}

fn part<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Part<'a>, Refused> {
    let kind = reading.wanted_text(value, "type")?;
    let mut inner = None;
    let mut cache = None;
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        if entry.is(&kind.plain()) {
            inner = Some(entry.value);
        } else if entry.is("prompt_cache_breakpoint") {
            cache = Some(cache_mark(entry.value));
        } else if !entry.is("type") {
            reading.unknown(&entry);
        }
    }
    let Some(inner) = inner else {
        return Err(reading.refused(value.place(), format!("wants `{}`", kind.plain())));
    };
    let content = match &*kind.plain() {
        "text" => Content::text(reading.text(inner)?),
        "refusal" => Content::Refusal(reading.text(inner)?),
        "image_url" => Content::Image(image(inner, reading)?),
        "input_audio" => Content::Audio(audio(inner, reading)?),
        "file" => Content::Document(file(inner, reading)?),
        "video_url" => Content::Video(image(inner, reading)?.source),
        _ => return Err(reading.refused(value.place(), "no such type of content part is known here")),
    };
    Ok(Part { content, cache, at: value.place() })
}

fn cache_mark(value: Value<'_>) -> CacheMark {
    match value.get_text("ttl") {
        Some(ttl) if ttl.is("12h") => CacheMark::Long,
        Some(_) => CacheMark::Short,
        None => CacheMark::Default,
    }
}

fn image<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Image<'a>, Refused> {
    let url = if value.kind() == Kind::String {
        reading.text(value)?
    } else {
        reading.wanted_text(value, "url")?
    };
    let source = match data_url::parse(&url) {
        Some((mime, data)) => ImageSource::Base64 { mime, data: data_url::standard(data) },
        None => ImageSource::Url { url, mime: None },
    };
    Ok(Image { source, detail: value.get_text("detail") })
}

fn audio<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Audio<'a>, Refused> {
    let data = data_url::standard(reading.wanted_text(value, "data")?);
    let format = reading.wanted_text(value, "format")?;
    let mime = match &*format.plain() {
        "wav" => Text::written("audio/wav"),
        "mp3" => Text::written("audio/mpeg"),
        other => Text::of(&format!("audio/{other}")).into_owned(),
    };
    Ok(Audio { mime, data })
}

fn file<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Document<'a>, Refused> {
    let title = value.get_text("filename");
    let source = if let Some(data) = value.get_text("file_data") {
        let (mime, data) = data_url::parse(&data)
            .unwrap_or_else(|| (Text::written(data_url::sniffed(data.lent().unwrap_or_default())), data));
        DocumentSource::Base64 { mime, data: data_url::standard(data) }
    } else if let Some(id) = value.get_text("file_id") {
        DocumentSource::File { provider: Origin::Responses, id }
    } else {
        return Err(reading.refused(value.place(), "wants `file_data` or `file_id`"));
    };
    Ok(Document { source, title, context: None, citations: None })
}
