//! Gemini's contents into instructions and turns.
//!
//! Owns: the parts, and ids for calls that came without: the n-th call of a conversation has the same one every time,
//! and a result goes to the first open call of its name.
//! Must not: keep a signature in an id.
//! Read next: `request_in.rs`.

use super::request_in::{fields, get};
use crate::bounds::{ITEM_PARTS_MAX, REQUEST_ITEMS_MAX};
use crate::data_url;
use crate::json::{Kind, Place, Raw, Text, Value};
use crate::model::{
    Args, Audio, Content, Document, DocumentSource, Image, ImageSource, Opaque, Origin, Part, Reading, Realm,
    ReasoningPart, Refused, Request, Role, SealKind, ServerItem, ToolCall, ToolResult, Turn, derived_call_id,
};

/// `systemInstruction`: a content, or a text.
pub(super) fn instructions<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    if let Some(text) = value.text() {
        request.system.push(Part::new(Content::text(text), value.place()));
        return Ok(());
    }
    let mut history = History::default();
    let (_, parts) = content(value, &mut history, reading)?;
    if let Some(part) = parts.iter().find(|part| !matches!(part.content, Content::Text { .. })) {
        return Err(reading.refused(part.at, "instructions are text"));
    }
    request.system.extend(parts);
    Ok(())
}

/// `contents`: an array of contents, one content, or a text.
pub(super) fn read<'a>(
    request: &mut Request<'a>,
    contents: Value<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    let mut history = History::default();
    match contents.kind() {
        Kind::Array => {
            for value in reading.elements(contents, REQUEST_ITEMS_MAX)? {
                turn(request, value, &mut history, reading)?;
            }
            Ok(())
        }
        Kind::Object | Kind::String => turn(request, contents, &mut history, reading),
        Kind::Null | Kind::True | Kind::False | Kind::Number | Kind::Key => {
            Err(reading.refused(contents.place(), "must be an array of contents"))
        }
    }
}

/// Calls so far.
#[derive(Default)]
struct History<'a> {
    calls: u32,
    /// Names and ids of calls without a result.
    open: Vec<(Text<'a>, Text<'a>)>,
}

fn turn<'a>(
    request: &mut Request<'a>,
    value: Value<'a>,
    history: &mut History<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    if let Some(text) = value.text() {
        let parts = vec![Part::new(Content::text(text), value.place())];
        request.turns.push(Turn { role: Role::User, name: None, parts, at: value.place() });
        return Ok(());
    }
    let (role, parts) = content(value, history, reading)?;
    request.turns.push(Turn { role, name: None, parts, at: value.place() });
    Ok(())
}

fn content<'a>(
    value: Value<'a>,
    history: &mut History<'a>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(Role, Vec<Part<'a>>), Refused> {
    let (mut role, mut list) = (Role::User, None);
    for (key, entry) in fields(value, reading)? {
        match &*key {
            "role" => role = self::role(entry.value, reading)?,
            "parts" => list = Some(entry.value),
            _ => reading.unknown(&entry),
        }
    }
    let mut parts = Vec::new();
    match list.map(|list| (list, list.kind())) {
        Some((list, Kind::Object)) => part(list, history, &mut parts, reading)?,
        Some((list, _)) => {
            for value in reading.elements(list, ITEM_PARTS_MAX)? {
                part(value, history, &mut parts, reading)?;
            }
        }
        None => {}
    }
    Ok((role, parts))
}

fn role<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Role, Refused> {
    match &*reading.text(value)?.plain() {
        "" | "user" | "function" | "tool" => Ok(Role::User),
        "model" => Ok(Role::Assistant),
        "system" => Ok(Role::System),
        _ => Err(reading.refused(value.place(), "role must be user or model")),
    }
}

/// One part, with what goes with it.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<(Data, Value<'a>)>,
    thought: bool,
    signature: Option<Text<'a>>,
}

#[derive(Clone, Copy)]
enum Data {
    Text,
    Inline,
    File,
    Call,
    Result,
    Code,
}

fn part<'a>(
    value: Value<'a>,
    history: &mut History<'a>,
    into: &mut Vec<Part<'a>>,
    reading: &mut Reading<'_, 'a>,
) -> Result<(), Refused> {
    if let Some(text) = value.text() {
        into.push(Part::new(Content::text(text), value.place()));
        return Ok(());
    }
    let mut part = Fields::default();
    for (key, entry) in fields(value, reading)? {
        let data = match &*key {
            "text" => Data::Text,
            "inlineData" => Data::Inline,
            "fileData" => Data::File,
            "functionCall" => Data::Call,
            "functionResponse" => Data::Result,
            "executableCode" | "codeExecutionResult" => Data::Code,
            "thought" => {
                part.thought = reading.truth(entry.value)?;
                continue;
            }
            "thoughtSignature" => {
                part.signature = Some(reading.text(entry.value)?).filter(|text| !text.is_empty());
                continue;
            }
            "videoMetadata" | "mediaResolution" | "partMetadata" => {
                reading.dropped(entry.value.place());
                continue;
            }
            _ => return Err(reading.refused(entry.value.place(), "no such kind of part is known here")),
        };
        if part.kind.is_some() {
            return Err(reading.refused(value.place(), "a part holds one kind of data"));
        }
        part.kind = Some((data, entry.value));
    }
    part.take(value, history, into, reading)
}

impl<'a> Fields<'a> {
    fn take(
        self,
        whole: Value<'a>,
        history: &mut History<'a>,
        into: &mut Vec<Part<'a>>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<(), Refused> {
        let at = whole.place();
        let opaque = |kind| self.signature.as_ref().map(|signature| opened(signature, kind));
        let content = match self.kind {
            None | Some((Data::Text, _)) => {
                let text = self.kind.map(|(_, value)| reading.text(value)).transpose()?.unwrap_or_default();
                if self.thought {
                    let text = if text.is_empty() { Vec::new() } else { vec![text] };
                    let opaque = opaque(SealKind::Signature);
                    into.push(Part::new(
                        Content::Reasoning(ReasoningPart { text, opaque, ..Default::default() }),
                        at,
                    ));
                    return Ok(());
                }
                if text.is_empty() {
                    into.extend(
                        opaque(SealKind::Previous).map(|opaque| Part::new(Content::Signature(opaque), at)),
                    );
                    return Ok(());
                }
                Content::text(text)
            }
            Some((Data::Call, value)) => {
                let call = history.call(value, opaque(SealKind::NextTool), reading)?;
                into.push(Part::new(Content::ToolCall(call), at));
                return Ok(());
            }
            Some((Data::Result, value)) => Content::ToolResult(history.result(value, reading)?),
            Some((Data::Inline, value)) => inline(value, reading)?,
            Some((Data::File, value)) => file(value, reading)?,
            Some((Data::Code, _)) => {
                Content::Server(ServerItem { provider: Origin::Gemini, raw: whole.raw() })
            }
        };
        into.push(Part::new(content, at));
        into.extend(opaque(SealKind::Previous).map(|opaque| Part::new(Content::Signature(opaque), at)));
        Ok(())
    }
}

/// A seal of ours, or a state that came straight from Google.
fn opened<'a>(signature: &Text<'a>, kind: SealKind) -> Opaque<'a> {
    let direct = || Opaque { origin: Origin::Gemini, kind, realm: Realm::NONE, payload: signature.clone() };
    Opaque::unseal(&signature.plain()).unwrap_or_else(direct)
}

impl<'a> History<'a> {
    fn call(
        &mut self,
        value: Value<'a>,
        opaque: Option<Opaque<'a>>,
        reading: &mut Reading<'_, 'a>,
    ) -> Result<ToolCall<'a>, Refused> {
        let (mut id, mut name, mut args) = (Text::EMPTY, None, Raw::written("{}"));
        for (key, entry) in fields(value, reading)? {
            match &*key {
                "id" => id = reading.text(entry.value)?,
                "name" => name = Some(reading.text(entry.value)?),
                "args" => args = reading.object(entry.value)?,
                _ => reading.unknown(&entry),
            }
        }
        let name = name.ok_or_else(|| reading.refused(value.place(), "wants `name`"))?;
        if id.is_empty() {
            id = Text::owned(derived_call_id("", 0, self.calls));
        }
        self.calls += 1;
        self.open.push((name.clone(), id.clone()));
        Ok(ToolCall { id, name, namespace: None, args: Args::Object(args), opaque })
    }

    fn result(&mut self, value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<ToolResult<'a>, Refused> {
        let (mut id, mut name, mut response, mut parts) = (Text::EMPTY, None, None, Vec::new());
        for (key, entry) in fields(value, reading)? {
            match &*key {
                "id" => id = reading.text(entry.value)?,
                "name" => name = Some(reading.text(entry.value)?),
                "response" => response = Some(entry.value),
                "parts" => {
                    for part in reading.elements(entry.value, ITEM_PARTS_MAX)? {
                        parts.push(Part::new(result_part(part, reading)?, part.place()));
                    }
                }
                _ => reading.unknown(&entry),
            }
        }
        let name = name.ok_or_else(|| reading.refused(value.place(), "wants `name`"))?;
        let by_id = self.open.iter().position(|(_, open)| !id.is_empty() && *open == id);
        let by_name = || self.open.iter().position(|(open, _)| *open == name);
        let Some(at) = by_id.or_else(by_name) else {
            return Err(reading.refused(value.place(), "no call before it is open under this id or name"));
        };
        let (_, call_id) = self.open.remove(at);
        let (is_error, mut content) =
            response.map_or(Ok((None, Vec::new())), |value| said(value, reading))?;
        content.extend(parts);
        let object = response.map(|value| value.raw());
        Ok(ToolResult { call_id, name: Some(name), is_error, content, object })
    }
}

/// What a response says: one text under a usual name is that text, an error alone is one, all else is its JSON.
fn said<'a>(
    response: Value<'a>,
    reading: &Reading<'_, 'a>,
) -> Result<(Option<bool>, Vec<Part<'a>>), Refused> {
    let part = |text: Text<'a>, at: Place| vec![Part::new(Content::text(text), at)];
    let mut entries = reading.fields(response)?;
    if let (Some(only), None) = (entries.next(), entries.next()) {
        let text = only.value.text();
        match (&*only.plain(), text) {
            ("output" | "result", Some(text)) => return Ok((None, part(text, only.value.place()))),
            ("error", Some(text)) => return Ok((Some(true), part(text, only.value.place()))),
            ("error", None) => return Ok((Some(true), part(only.value.raw().to_text(), only.value.place()))),
            (_, _) => {}
        }
    }
    Ok((None, part(response.raw().to_text(), response.place())))
}

fn result_part<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Content<'a>, Refused> {
    match (get(value, "inlineData"), get(value, "fileData")) {
        (Some(value), _) => inline(value, reading),
        (None, Some(value)) => file(value, reading),
        (None, None) => Err(reading.refused(value.place(), "wants `inlineData` or `fileData`")),
    }
}

fn inline<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Content<'a>, Refused> {
    let (mut mime, mut data, mut title) = (Text::EMPTY, None, None);
    for (key, entry) in fields(value, reading)? {
        match &*key {
            "mimeType" => mime = reading.text(entry.value)?,
            "data" => data = Some(data_url::standard(reading.text(entry.value)?)),
            "displayName" => title = Some(reading.text(entry.value)?),
            _ => reading.unknown(&entry),
        }
    }
    let data = data.ok_or_else(|| reading.refused(value.place(), "wants `data`"))?;
    if mime.is_empty() {
        mime = Text::written(data_url::sniffed(data.as_written()));
    }
    let family = mime.plain().split('/').next().unwrap_or_default().to_owned();
    Ok(match family.as_str() {
        "image" => Content::Image(Image { source: ImageSource::Base64 { mime, data }, detail: None }),
        "audio" => Content::Audio(Audio { mime, data }),
        "video" => Content::Video(ImageSource::Base64 { mime, data }),
        _ => {
            let source = DocumentSource::Base64 { mime, data };
            Content::Document(Document { source, title, context: None, citations: None })
        }
    })
}

/// Files of Google's own are ids; anything else is an address, and its media type says of what.
fn file<'a>(value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<Content<'a>, Refused> {
    let (mut mime, mut uri, mut title) = (None, None, None);
    for (key, entry) in fields(value, reading)? {
        match &*key {
            "mimeType" => mime = Some(reading.text(entry.value)?),
            "fileUri" => uri = Some(reading.text(entry.value)?),
            "displayName" => title = Some(reading.text(entry.value)?),
            _ => reading.unknown(&entry),
        }
    }
    let uri = uri.ok_or_else(|| reading.refused(value.place(), "wants `fileUri`"))?;
    let plain = uri.plain();
    let own = plain.starts_with("files/") || plain.starts_with("gs://") || plain.contains("googleapis.com/");
    let family = mime.as_ref().map(|mime| mime.plain().split('/').next().unwrap_or_default().to_owned());
    let family = family.unwrap_or_else(|| guessed(&plain).to_owned());
    drop(plain);
    let provider = Origin::Gemini;
    let picture = |uri: Text<'a>, mime| {
        if own { ImageSource::File { provider, id: uri } } else { ImageSource::Url { url: uri, mime } }
    };
    match family.as_str() {
        "image" => Ok(Content::Image(Image { source: picture(uri, mime), detail: None })),
        "video" => Ok(Content::Video(picture(uri, mime))),
        "audio" => Err(reading.unsupported(value.place(), "sound must be sent as data")),
        _ => {
            let source =
                if own { DocumentSource::File { provider, id: uri } } else { DocumentSource::Url(uri) };
            Ok(Content::Document(Document { source, title, context: None, citations: None }))
        }
    }
}

/// What an address without a media type leads to: films are what Gemini takes from elsewhere.
fn guessed(uri: &str) -> &'static str {
    let has = |ends: &[&str]| ends.iter().any(|end| uri.ends_with(end));
    if has(&[".png", ".jpg", ".jpeg", ".gif", ".webp", ".heic"]) {
        "image"
    } else if uri.contains("youtube.com/") || uri.contains("youtu.be/") || has(&[".mp4", ".mov", ".webm"]) {
        "video"
    } else {
        "application"
    }
}
