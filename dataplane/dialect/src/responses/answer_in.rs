//! An answer of Responses into the common model.
//! Owns: one body, whole. Must not: copy text.
//! Read next: `answer_out.rs`.

use super::words;
use crate::failure_in;
use crate::json::{Raw, Text, Value};
use crate::model::{
    Answer, Args, Choice, Content, Failure, Image, ImageSource, Opaque, Origin, Part, Realm, ReasoningPart,
    SealKind, ServerItem, Source, ToolCall, derived_call_id,
};

/// Reads an answer from an upstream of this realm; its error, if it says that instead.
pub fn read_answer(body: Value<'_>, realm: Realm) -> Result<Answer<'_>, Failure<'_>> {
    if body.get("output").is_none()
        && let Some(failure) = failure_in::of_body(body, None)
    {
        return Err(failure);
    }
    let stop = words::stop(body)?;
    let text = |key: &str| body.get_text(key).unwrap_or_default();
    let id = text("id");
    let mut reader =
        Reader { realm, id: id.plain().into_owned(), calls: 0, parts: Vec::new(), logprobs: None };
    for item in body.get("output").and_then(|list| list.elements()).into_iter().flatten() {
        reader.item(item);
    }
    let calls = reader.calls > 0;
    let refused = reader.parts.iter().any(|part| matches!(part.content, Content::Refusal(_)));
    let stop = words::refused(stop, refused);
    let choice =
        Choice { index: 0, parts: reader.parts, stop: stop.with_calls(calls), logprobs: reader.logprobs };
    Ok(Answer {
        source: Source(Some(body)),
        id,
        created: body.get("created_at").and_then(created),
        model: text("model"),
        fingerprint: None,
        choices: vec![choice],
        usage: body.get("usage").and_then(words::usage),
        tier: body.get_text("service_tier"),
    })
}

/// Seconds; some providers have fractions.
pub(super) fn created(value: Value<'_>) -> Option<u64> {
    let number = value.number()?;
    number.split('.').next().unwrap_or(number).parse().ok()
}

struct Reader<'a> {
    realm: Realm,
    id: String,
    calls: u32,
    parts: Vec<Part<'a>>,
    logprobs: Option<Raw<'a>>,
}

impl<'a> Reader<'a> {
    fn item(&mut self, item: Value<'a>) {
        let kind = item.get_text("type").unwrap_or_default();
        match &*kind.plain() {
            "message" => self.message(item),
            "reasoning" => {
                let (text, is_raw) = thought_texts(item);
                let opaque = state(item, self.realm);
                let thought = ReasoningPart { text, is_raw, id: item.get_text("id"), opaque };
                self.push(Content::Reasoning(thought), item);
            }
            "function_call" => self.call(item, Args::Text(item.get_text("arguments").unwrap_or_default())),
            "custom_tool_call" => self.call(item, Args::Free(item.get_text("input").unwrap_or_default())),
            "image_generation_call" if item.get_text("result").is_some() => {
                let source = image(item);
                self.push(Content::Image(Image { source, detail: None }), item);
            }
            _ => {
                let server = ServerItem { provider: Origin::Responses, raw: item.raw() };
                self.push(Content::Server(server), item);
            }
        }
    }

    fn push(&mut self, content: Content<'a>, of: Value<'a>) {
        self.parts.push(Part::new(content, of.place()));
    }

    fn message(&mut self, item: Value<'a>) {
        for part in item.get("content").and_then(|list| list.elements()).into_iter().flatten() {
            if let Some(text) = part.get_text("text") {
                if let Some(logprobs) = part.get("logprobs").filter(|list| list.raw().as_str().contains('{'))
                {
                    self.logprobs = Some(logprobs.raw());
                }
                let annotations = part.get("annotations").and_then(|list| list.elements());
                let citations = annotations.into_iter().flatten().filter_map(citation).collect();
                self.push(Content::Text { text, citations }, part);
            } else if let Some(refusal) = part.get_text("refusal") {
                self.push(Content::Refusal(refusal), part);
            }
        }
    }

    fn call(&mut self, item: Value<'a>, args: Args<'a>) {
        let given = item.get_text("call_id").filter(|id| !id.is_empty());
        let id = given.unwrap_or_else(|| Text::owned(derived_call_id(&self.id, 0, self.calls)));
        self.calls += 1;
        let name = item.get_text("name").unwrap_or_default();
        let call = ToolCall { id, name, namespace: item.get_text("namespace"), args, opaque: None };
        self.push(Content::ToolCall(call), item);
    }
}

/// A page that a text is from; other kinds name files that only the provider has, and stay as they are.
pub(super) fn citation(annotation: Value<'_>) -> Option<Raw<'_>> {
    annotation.fields()?;
    if !annotation.get_text("type").is_some_and(|kind| kind.is("url_citation")) {
        return Some(annotation.raw());
    }
    let mut out = br#"{"url":"#.to_vec();
    annotation.get_text("url")?.write(&mut out);
    out.extend_from_slice(br#","title":"#);
    annotation.get_text("title").unwrap_or_default().write(&mut out);
    for key in ["start_index", "end_index"] {
        super::item::integer(&mut out, key, annotation.get_integer(key).unwrap_or(0));
    }
    out.push(b'}');
    String::from_utf8(out).ok().map(Raw::owned)
}

/// What of a thought may be shown: the chain where there is one, else its summary.
pub(super) fn thought_texts<'a>(item: Value<'a>) -> (Vec<Text<'a>>, bool) {
    let texts = |key: &str| -> Vec<Text<'a>> {
        let parts = item.get(key).and_then(|list| list.elements());
        parts.into_iter().flatten().filter_map(|part| part.get_text("text")).collect()
    };
    let summary = texts("summary");
    if summary.is_empty() { (texts("content"), true) } else { (summary, false) }
}

/// The state of a thought: all that its provider wants back of it, as one object.
pub(super) fn state(item: Value<'_>, realm: Realm) -> Option<Opaque<'_>> {
    let encrypted = item.get_text("encrypted_content").filter(|text| !text.is_empty())?;
    let mut out = br#"{"id":"#.to_vec();
    item.get_text("id").unwrap_or_default().write(&mut out);
    out.extend_from_slice(br#","summary":"#);
    match item.get("summary") {
        Some(summary) => summary.raw().write(&mut out),
        None => out.extend_from_slice(b"[]"),
    }
    out.extend_from_slice(br#","encrypted_content":"#);
    encrypted.write(&mut out);
    out.push(b'}');
    let payload = Raw::owned(String::from_utf8(out).ok()?).to_text();
    Some(Opaque { origin: Origin::Responses, kind: SealKind::Redacted, realm, payload })
}

pub(super) fn image(item: Value<'_>) -> ImageSource<'_> {
    let format = item.get_text("output_format").unwrap_or(Text::written("png"));
    let mime = Text::owned(format!("image/{}", format.as_written()));
    ImageSource::Base64 { mime, data: item.get_text("result").unwrap_or_default() }
}
