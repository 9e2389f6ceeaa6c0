//! Embeddings, between OpenAI's form and Gemini's (dialects section 3.10).
//!
//! Owns: both forms of requests and answers, and vectors as numbers or as bytes: clients of OpenAI's ask for base64 unless
//! told otherwise, and one of them reads numbers as an empty vector then.
//! Must not: round a number more than its form does, or send one request as several.
//! Read next: [`crate::model`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::bounds::REQUEST_ITEMS_MAX;
use crate::errors::Kind;
use crate::failure_in;
use crate::json::{Kind as Json, List, Members, Place, Raw, Text, Value, number, string};
use crate::model::{Failure, Losses, Placed, Reading, Refused, Source};

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask<'a> {
    /// What it was read from.
    pub source: Source<'a>,
    /// The model.
    pub model: Text<'a>,
    /// What to embed, in order.
    pub inputs: Vec<Input<'a>>,
    /// The caller gave one input and not a list.
    pub single: bool,
    /// The length of a vector.
    pub dimensions: Option<Placed<u64>>,
    /// Vectors are to come as base64.
    pub base64: bool,
    /// What the vectors are for (Gemini).
    pub task: Option<Placed<Text<'a>>>,
    /// What the texts are called (Gemini).
    pub title: Option<Placed<Text<'a>>>,
    /// Who the caller's user is (OpenAI).
    pub user: Option<Placed<Text<'a>>>,
}

/// One thing to embed.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<'a> {
    /// Text.
    Text(Text<'a>),
    /// Numbers of tokens, which only their own model reads.
    Tokens(Raw<'a>, Place),
}

/// Reads OpenAI's form.
pub fn read_openai<'a>(body: Value<'a>, losses: &mut Losses) -> Result<Ask<'a>, Refused> {
    let source = Source(Some(body));
    let mut reading = Reading::of(source, losses);
    let mut ask = Ask { source, ..Ask::default() };
    let mut input = None;
    for entry in reading.fields(body)?.filter(|entry| !entry.value.is_null()) {
        let value = entry.value;
        match &*entry.plain() {
            "model" => ask.model = reading.text(value)?,
            "input" => input = Some(value),
            "dimensions" => ask.dimensions = Some(Reading::placed(reading.integer(value)?, value)),
            "encoding_format" => ask.base64 = reading.text(value)?.is("base64"),
            "user" => ask.user = Some(Reading::placed(reading.text(value)?, value)),
            _ => reading.unknown(&entry),
        }
    }
    let input = input.ok_or_else(|| reading.refused(body.place(), "wants `input`"))?;
    openai_inputs(&mut ask, input, &reading)?;
    Ok(ask)
}

fn openai_inputs<'a>(ask: &mut Ask<'a>, value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<(), Refused> {
    if let Some(text) = value.text() {
        ask.single = true;
        ask.inputs.push(Input::Text(text));
        return Ok(());
    }
    let mut elements = reading.elements(value, REQUEST_ITEMS_MAX)?;
    if elements.clone().next().is_some_and(|first| first.kind() == Json::Number) {
        ask.single = true;
        ask.inputs.push(Input::Tokens(value.raw(), value.place()));
        return Ok(());
    }
    elements.try_for_each(|element| {
        ask.inputs.push(match element.text() {
            Some(text) => Input::Text(text),
            None if element.kind() == Json::Array => Input::Tokens(element.raw(), element.place()),
            None => return Err(reading.refused(element.place(), "must be a string or an array of tokens")),
        });
        Ok(())
    })
}

/// Reads Gemini's form: `embedContent`, or `batchEmbedContents`.
pub fn read_gemini<'a>(body: Value<'a>, model: &str, losses: &mut Losses) -> Result<Ask<'a>, Refused> {
    let source = Source(Some(body));
    let mut reading = Reading::of(source, losses);
    let mut ask = Ask { source, model: Text::of(model).into_owned(), ..Ask::default() };
    let Some(requests) = body.get("requests") else {
        ask.single = true;
        gemini_one(&mut ask, body, &mut reading)?;
        return Ok(ask);
    };
    for request in reading.elements(requests, REQUEST_ITEMS_MAX)? {
        gemini_one(&mut ask, request, &mut reading)?;
    }
    Ok(ask)
}

fn gemini_one<'a>(ask: &mut Ask<'a>, value: Value<'a>, reading: &mut Reading<'_, 'a>) -> Result<(), Refused> {
    let mut text = None;
    for entry in reading.fields(value)?.filter(|entry| !entry.value.is_null()) {
        let value = entry.value;
        match &*entry.plain() {
            "model" => {} // it is in the path
            "content" => text = Some(content(value, reading)?),
            "outputDimensionality" | "output_dimensionality" => {
                ask.dimensions = Some(Reading::placed(reading.integer(value)?, value));
            }
            "taskType" | "task_type" => ask.task = Some(Reading::placed(reading.text(value)?, value)),
            "title" => ask.title = Some(Reading::placed(reading.text(value)?, value)),
            _ => reading.unknown(&entry),
        }
    }
    let text = text.ok_or_else(|| reading.refused(value.place(), "wants `content`"))?;
    ask.inputs.push(Input::Text(text));
    Ok(())
}

/// The texts of a content, as one.
fn content<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Result<Text<'a>, Refused> {
    if let Some(text) = value.text() {
        return Ok(text);
    }
    let parts = value.get("parts").ok_or_else(|| reading.refused(value.place(), "wants `parts`"))?;
    let texts: Vec<Text<'a>> = reading
        .elements(parts, REQUEST_ITEMS_MAX)?
        .map(|part| reading.wanted_text(part, "text"))
        .collect::<Result<_, _>>()?;
    match texts.len() {
        1 => Ok(texts.into_iter().next().unwrap_or_default()),
        _ => Ok(Text::owned(texts.iter().map(Text::as_written).collect())),
    }
}

/// Appends OpenAI's form. Vectors are asked for as numbers: the caller's form is made from them.
pub fn write_openai(ask: &Ask<'_>, losses: &mut Losses, out: &mut Vec<u8>) {
    let mut reading = Reading::of(ask.source, losses);
    for lost in [&ask.task, &ask.title].into_iter().flatten() {
        reading.dropped(lost.at);
    }
    let mut body = Members::open(out);
    body.text(out, "model", &ask.model);
    body.key(out, "input");
    let mut list = List::open(out);
    for input in &ask.inputs {
        list.next(out);
        match input {
            Input::Text(text) => text.write(out),
            Input::Tokens(tokens, _) => tokens.write(out),
        }
    }
    list.close(out);
    if let Some(dimensions) = ask.dimensions {
        body.number(out, "dimensions", dimensions.value);
    }
    body.json(out, "encoding_format", "\"float\"");
    if let Some(user) = &ask.user {
        body.text(out, "user", &user.value);
    }
    body.close(out);
}

/// Appends Gemini's form, for `batchEmbedContents`.
pub fn write_gemini(ask: &Ask<'_>, losses: &mut Losses, out: &mut Vec<u8>) -> Result<(), Refused> {
    let mut reading = Reading::of(ask.source, losses);
    if let Some(user) = &ask.user {
        reading.dropped(user.at);
    }
    out.extend_from_slice(br#"{"requests":"#);
    let mut list = List::open(out);
    for input in &ask.inputs {
        let text = match input {
            Input::Text(text) => text,
            Input::Tokens(_, at) => {
                return Err(reading.unsupported(*at, "the target embeds text; send it instead of tokens"));
            }
        };
        list.next(out);
        let mut request = Members::open(out);
        request.key(out, "model");
        string(out, &format!("models/{}", ask.model.plain()));
        request.key(out, "content");
        out.extend_from_slice(br#"{"parts":[{"text":"#);
        text.write(out);
        out.extend_from_slice(b"}]}");
        for (key, value) in [("taskType", &ask.task), ("title", &ask.title)] {
            if let Some(value) = value {
                request.text(out, key, &value.value);
            }
        }
        if let Some(dimensions) = ask.dimensions {
            request.number(out, "outputDimensionality", dimensions.value);
        }
        request.close(out);
    }
    list.close(out);
    out.push(b'}');
    Ok(())
}

/// What was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer<'a> {
    /// One for each input, in their order.
    pub vectors: Vec<Vector<'a>>,
    /// What the prompt cost, where the upstream says.
    pub tokens: Option<u64>,
}

/// A vector, as it came.
#[derive(Clone, Debug, PartialEq)]
pub enum Vector<'a> {
    /// A JSON array of numbers.
    Numbers(Raw<'a>),
    /// Little-endian numbers of 32 bits, in base64.
    Base64(Text<'a>),
}

/// Reads OpenAI's answer.
pub fn read_openai_answer(body: Value<'_>) -> Result<Answer<'_>, Failure<'_>> {
    if let Some(failure) = failure_in::of_body(body, None) {
        return Err(failure);
    }
    let mut numbered = Vec::new();
    for (n, item) in body.get("data").and_then(|list| list.elements()).into_iter().flatten().enumerate() {
        let vector = item.get("embedding").and_then(vector).ok_or(BROKEN)?;
        numbered.push((item.get_integer("index").unwrap_or(n as u64), vector));
    }
    numbered.sort_by_key(|(index, _)| *index);
    let tokens = body.get("usage").and_then(|usage| usage.get_integer("prompt_tokens"));
    Ok(Answer { vectors: numbered.into_iter().map(|(_, vector)| vector).collect(), tokens })
}

const BROKEN: Failure<'static> =
    Failure::of(Kind::BadGateway, "the upstream's answer has an embedding without its vector");

/// Reads Gemini's answer, of one input or of several.
pub fn read_gemini_answer<'a>(body: Value<'a>) -> Result<Answer<'a>, Failure<'a>> {
    if let Some(failure) = failure_in::of_body(body, None) {
        return Err(failure);
    }
    let values = |item: Value<'a>| item.get("values").and_then(vector).ok_or(BROKEN);
    let vectors = match (body.get("embedding"), body.get("embeddings").and_then(|list| list.elements())) {
        (Some(one), _) => vec![values(one)?],
        (None, Some(several)) => several.map(values).collect::<Result<_, _>>()?,
        (None, None) => return Err(BROKEN),
    };
    let tokens = body.get("usageMetadata").and_then(|usage| usage.get_integer("promptTokenCount"));
    Ok(Answer { vectors, tokens })
}

fn vector(value: Value<'_>) -> Option<Vector<'_>> {
    match value.text() {
        Some(text) => Some(Vector::Base64(text)),
        None => (value.kind() == Json::Array).then(|| Vector::Numbers(value.raw())),
    }
}

/// Appends OpenAI's answer, with vectors as the caller asked for them.
pub fn write_openai_answer(
    answer: &Answer<'_>,
    model: &str,
    base64: bool,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) {
    let mut body = Members::open(out);
    body.json(out, "object", "\"list\"");
    body.key(out, "data");
    let mut list = List::open(out);
    for (index, vector) in answer.vectors.iter().enumerate() {
        list.next(out);
        let mut item = Members::open(out);
        item.json(out, "object", "\"embedding\"");
        item.number(out, "index", index as u64);
        item.key(out, "embedding");
        if base64 {
            write_base64(vector, out);
        } else {
            write_numbers(vector, out);
        }
        item.close(out);
    }
    list.close(out);
    body.key(out, "model");
    string(out, model);
    if answer.tokens.is_none() {
        losses.noted("/usage", "unknown");
    }
    let tokens = answer.tokens.unwrap_or(0);
    body.key(out, "usage");
    out.extend_from_slice(br#"{"prompt_tokens":"#);
    number(out, tokens);
    out.extend_from_slice(br#","total_tokens":"#);
    number(out, tokens);
    out.push(b'}');
    body.close(out);
}

/// Appends Gemini's answer; `single`: of `embedContent`.
pub fn write_gemini_answer(answer: &Answer<'_>, single: bool, out: &mut Vec<u8>) {
    let mut body = Members::open(out);
    let write = |vector: &Vector<'_>, out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"values":"#);
        write_numbers(vector, out);
        out.push(b'}');
    };
    if let Some(only) = answer.vectors.first().filter(|_| single) {
        body.key(out, "embedding");
        write(only, out);
    } else {
        body.key(out, "embeddings");
        let mut list = List::open(out);
        for vector in &answer.vectors {
            list.next(out);
            write(vector, out);
        }
        list.close(out);
    }
    if let Some(tokens) = answer.tokens {
        body.key(out, "usageMetadata");
        out.extend_from_slice(br#"{"promptTokenCount":"#);
        number(out, tokens);
        out.push(b'}');
    }
    body.close(out);
}

fn write_numbers(vector: &Vector<'_>, out: &mut Vec<u8>) {
    match vector {
        Vector::Numbers(raw) => raw.write(out),
        Vector::Base64(text) => {
            let bytes = STANDARD.decode(text.plain().as_bytes()).unwrap_or_default();
            let mut list = List::open(out);
            for four in bytes.as_chunks::<4>().0 {
                list.next(out);
                let number = f32::from_le_bytes(*four);
                // JSON has no word for what is no number.
                let number = if number.is_finite() { number } else { 0.0 };
                out.extend_from_slice(number.to_string().as_bytes());
            }
            list.close(out);
        }
    }
}

fn write_base64(vector: &Vector<'_>, out: &mut Vec<u8>) {
    match vector {
        Vector::Base64(text) => text.write(out),
        Vector::Numbers(raw) => {
            let inside = raw.as_str().trim().trim_start_matches('[').trim_end_matches(']');
            let numbers = inside.split(',').map(str::trim).filter(|number| !number.is_empty());
            let bytes: Vec<u8> =
                numbers.flat_map(|number| number.parse::<f32>().unwrap_or(0.0).to_le_bytes()).collect();
            string(out, &STANDARD.encode(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Surrogates, Tape};

    fn read(text: &str, check: impl FnOnce(Value<'_>)) {
        check(Tape::new().read(text, Surrogates::Refuse).expect("JSON"));
    }

    #[test]
    fn a_request_goes_there_and_back() {
        read(
            r#"{"model":"m","input":["a\n","b"],"dimensions":3,"encoding_format":"base64","user":"u"}"#,
            |body| {
                let (mut losses, mut out) = (Losses::new(), Vec::new());
                let ask = read_openai(body, &mut losses).expect("sound");
                assert!(ask.base64 && !ask.single);
                write_gemini(&ask, &mut losses, &mut out).expect("texts");
                let expected = concat!(
                    r#"{"requests":[{"model":"models/m","content":{"parts":[{"text":"a\n"}]},"outputDimensionality":3},"#,
                    r#"{"model":"models/m","content":{"parts":[{"text":"b"}]},"outputDimensionality":3}]}"#
                );
                assert_eq!(String::from_utf8_lossy(&out), expected);
                assert_eq!(losses.header(), r#"drop;f="/user""#);
                read(expected, |back| {
                    let (mut losses, mut out) = (Losses::new(), Vec::new());
                    write_openai(&read_gemini(back, "m", &mut losses).expect("sound"), &mut losses, &mut out);
                    let expected =
                        r#"{"model":"m","input":["a\n","b"],"dimensions":3,"encoding_format":"float"}"#;
                    assert_eq!(String::from_utf8_lossy(&out), expected);
                    assert!(losses.is_empty());
                });
            },
        );
    }

    #[test]
    fn tokens_are_refused_where_only_text_is_read() {
        for body in [r#"{"model":"m","input":[1,2]}"#, r#"{"model":"m","input":[[1],[2]]}"#] {
            read(body, |body| {
                let (mut losses, mut out) = (Losses::new(), Vec::new());
                let ask = read_openai(body, &mut losses).expect("sound");
                let refused = write_gemini(&ask, &mut losses, &mut out).expect_err("tokens");
                assert!(refused.pointer.starts_with("/input"), "{refused}");
            });
        }
    }

    #[test]
    fn vectors_are_the_same_numbers_in_both_forms() {
        read(r#"{"embeddings":[{"values":[0.5,-1.25,3e-2]},{"values":[]}]}"#, |body| {
            let answer = read_gemini_answer(body).expect("an answer");
            let (mut losses, mut out) = (Losses::new(), Vec::new());
            write_openai_answer(&answer, "m", true, &mut losses, &mut out);
            assert_eq!(losses.header(), r#"note;f="/usage";v="unknown""#);
            read(std::str::from_utf8(&out).expect("UTF-8"), |body| {
                let answer = read_openai_answer(body).expect("an answer");
                let mut out = Vec::new();
                write_gemini_answer(&answer, false, &mut out);
                let expected = r#"{"embeddings":[{"values":[0.5,-1.25,0.03]},{"values":[]}],"usageMetadata":{"promptTokenCount":0}}"#;
                assert_eq!(String::from_utf8_lossy(&out), expected);
            });
        });
    }

    #[test]
    fn vectors_are_put_in_the_order_of_their_inputs() {
        let data = r#"{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}],"usage":{"prompt_tokens":7}}"#;
        read(data, |body| {
            let mut out = Vec::new();
            write_gemini_answer(&read_openai_answer(body).expect("an answer"), false, &mut out);
            let expected =
                r#"{"embeddings":[{"values":[1]},{"values":[2]}],"usageMetadata":{"promptTokenCount":7}}"#;
            assert_eq!(String::from_utf8_lossy(&out), expected);
        });
    }
}
