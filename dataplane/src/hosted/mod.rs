//! Models that one company makes and another hosts: the same dialect, at other paths and with other proofs.
//!
//! Owns: where a hosted model is asked for, and what its host wants changed in the body.
//! Must not: know a dialect's words beyond the few fields a host moves, or send anything.
//! Read next: `vertex.rs`; `sigv4.rs`, how requests to Amazon are signed; `bedrock.rs`, how its streams are unframed.

pub mod bedrock;
pub mod sigv4;
mod vertex;

use ringway_contract::snapshot::Hosting;
use ringway_dialect::dialect::Dialect;
use ringway_dialect::json::{Edits, Surrogates, Tape, string};

/// What a hosted model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// An answer.
    Call {
        /// Piece by piece.
        stream: bool,
    },
    /// The rest of a text.
    Complete,
    /// Vectors.
    Embed,
    /// The length of a prompt.
    Count,
}

/// One request, as its dialect's own provider would get it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What for.
    pub verb: Verb,
    /// In which dialect.
    pub dialect: Dialect,
    /// Of which model.
    pub model: &'a str,
    /// At which path, with its query.
    pub path: &'a [u8],
}

/// Whether this host has a place for it at all; without a verb it is none of a model's: a file, a list, a batch.
pub fn has_place(hosting: &Hosting, verb: Option<Verb>) -> bool {
    match (hosting, verb) {
        (Hosting::Azure { .. }, Some(_))
        | (Hosting::Vertex { .. }, Some(Verb::Call { .. } | Verb::Embed | Verb::Count))
        | (Hosting::Bedrock { .. }, Some(Verb::Call { .. })) => true,
        (Hosting::Azure { api_version, .. }, None) => api_version.is_none(),
        // Bedrock counts and embeds in a dialect of its own.
        (Hosting::Bedrock { .. }, Some(Verb::Embed | Verb::Count | Verb::Complete) | None)
        | (Hosting::Vertex { .. }, Some(Verb::Complete) | None) => false,
    }
}

/// What a host puts in front of paths that keep their names: where it has a place for them, it is Azure's new one.
pub const fn front(hosting: &Hosting) -> &'static str {
    match hosting {
        Hosting::Azure { .. } => "/openai",
        Hosting::Vertex { .. } | Hosting::Bedrock { .. } => "",
    }
}

/// Where the host wants to be asked: path and query, behind an endpoint's base path.
pub fn path(hosting: &Hosting, asked: &Asked<'_>) -> Vec<u8> {
    match hosting {
        Hosting::Azure { api_version, deployment } => {
            azure(asked, api_version.as_deref(), deployment.as_deref())
        }
        Hosting::Vertex { project, location } => vertex::path(asked, project, location),
        Hosting::Bedrock { .. } => bedrock::path(asked),
    }
}

/// With the version of a day each model has a path, a deployment. With none, or one in a word (`preview`), the paths are
/// `OpenAI`'s, below one of Azure's.
fn azure(asked: &Asked<'_>, api_version: Option<&str>, deployment: Option<&str>) -> Vec<u8> {
    let below = asked.path.strip_prefix(b"/v1").unwrap_or(asked.path);
    let mut path = b"/openai".to_vec();
    let of_a_day =
        api_version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()));
    if !of_a_day {
        path.extend_from_slice(b"/v1");
    } else if asked.dialect != Dialect::OpenAiResponses {
        path.extend_from_slice(b"/deployments/");
        write_segment(deployment.unwrap_or(asked.model), &mut path);
    }
    path.extend_from_slice(below);
    if let Some(version) = api_version {
        path.extend_from_slice(b"?api-version=");
        write_segment(version, &mut path);
    }
    path
}

/// What callers of Anthropic's dialect say in fields, and their hosts want in the body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    /// `anthropic-version`
    pub version: Option<&'a [u8]>,
    /// `anthropic-beta`
    pub betas: Option<&'a [u8]>,
}

/// The version of Anthropic's dialect as a host names it. The first has a name of each host's; later ones are days
/// everywhere, as in the field, and so does Anthropic's own client send them (2.14).
fn version<'a>(first: &'static str, asked_for: Option<&'a [u8]>) -> &'a str {
    let later = asked_for.and_then(|version| std::str::from_utf8(version).ok()).filter(|version| {
        let is_day = |byte: u8| byte.is_ascii_digit() || byte == b'-';
        version.len() == "2026-10-21".len() && version.bytes().all(is_day) && !version.starts_with("2023-")
    });
    later.unwrap_or(first)
}

/// The body as the host wants it, if otherwise than the dialect's provider. Not another byte changes.
pub fn body(hosting: &Hosting, asked: &Asked<'_>, fields: &Fields<'_>, body: &str) -> Option<String> {
    let first = match (hosting, asked.dialect) {
        (Hosting::Vertex { .. }, Dialect::Anthropic) => "vertex-2023-10-16",
        (Hosting::Vertex { .. }, Dialect::Gemini) => return vertex::gemini_body(asked.verb, body),
        (Hosting::Bedrock { .. }, _) => "bedrock-2023-05-31",
        (Hosting::Azure { .. } | Hosting::Vertex { .. }, _) => return None,
    };
    let version = version(first, fields.version);
    let is_bedrock = matches!(hosting, Hosting::Bedrock { .. });
    let mut tape = Tape::new();
    let root = tape.read(body, Surrogates::Replace).ok()?;
    let moved = |key: &str| match key {
        "anthropic_version" => true,
        "model" => asked.verb != Verb::Count, // the one counter is told of which
        "stream" => is_bedrock,               // its path says so
        _ => false,
    };
    let mut edits = Edits::default();
    let entries: Vec<_> = root.fields()?.map(|entry| (entry.range(), moved(&entry.plain()))).collect();
    let mut first = format!(r#""anthropic_version":"{version}""#);
    let betas = fields.betas.filter(|_| is_bedrock && root.get("anthropic_beta").is_none());
    if let Some(list) = betas.and_then(listed) {
        first.push_str(",\"anthropic_beta\":");
        first.push_str(&list);
    }
    if entries.iter().any(|(_, gone)| !gone) {
        first.push(',');
    }
    let at = root.range().start + 1;
    edits.put(at..at, first);
    edits.cut(&entries);
    edits.apply(body)
}

/// The names in a field as a JSON array; none: there are none.
fn listed(field: &[u8]) -> Option<String> {
    let names = field.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    let mut list = Vec::new();
    for name in names {
        list.push(if list.is_empty() { b'[' } else { b',' });
        string(&mut list, &String::from_utf8_lossy(name));
    }
    (!list.is_empty()).then(|| {
        list.push(b']');
        String::from_utf8(list).expect("JSON strings are text")
    })
}

/// A segment of a path, percent-encoded (RFC 3986 section 2.3).
pub fn write_segment(segment: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in segment.bytes() {
        // `@` needs none there, and models of Anthropic's at Vertex have one.
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use ringway_contract::snapshot::AwsKey;

    use super::*;

    const CALL: Verb = Verb::Call { stream: false };
    const STREAM: Verb = Verb::Call { stream: true };

    fn at(hosting: &Hosting, verb: Verb, dialect: Dialect, model: &str, path: &str) -> String {
        let asked = Asked { verb, dialect, model, path: path.as_bytes() };
        String::from_utf8(super::path(hosting, &asked)).expect("ASCII")
    }

    fn bedrock() -> Hosting {
        let key = AwsKey { id: "AKID".to_owned(), secret: "s".to_owned(), session_token: None };
        Hosting::Bedrock { region: "us-east-1".to_owned(), key: Some(key) }
    }

    #[test]
    fn azure_has_a_path_for_each_deployment_or_those_of_openai() {
        let chat = "/v1/chat/completions";
        let mut azure = Hosting::Azure { api_version: Some("2024-10-21".to_owned()), deployment: None };
        assert_eq!(
            at(&azure, CALL, Dialect::OpenAiChat, "gpt-5 mini", chat),
            "/openai/deployments/gpt-5%20mini/chat/completions?api-version=2024-10-21"
        );
        assert_eq!(
            at(&azure, CALL, Dialect::OpenAiResponses, "gpt-5", "/v1/responses"),
            "/openai/responses?api-version=2024-10-21"
        );
        if let Hosting::Azure { deployment, .. } = &mut azure {
            *deployment = Some("ours".to_owned());
        }
        assert_eq!(
            at(&azure, Verb::Embed, Dialect::OpenAiChat, "e", "/v1/embeddings"),
            "/openai/deployments/ours/embeddings?api-version=2024-10-21"
        );
        let new = Hosting::Azure { api_version: None, deployment: None };
        assert_eq!(at(&new, CALL, Dialect::OpenAiChat, "gpt-5", chat), "/openai/v1/chat/completions");
        let newest = Hosting::Azure { api_version: Some("preview".to_owned()), deployment: None };
        assert_eq!(
            at(&newest, CALL, Dialect::OpenAiResponses, "gpt-5", "/v1/responses"),
            "/openai/v1/responses?api-version=preview"
        );
    }

    #[test]
    fn what_a_host_has_no_place_for_does_not_go_there() {
        let azure = |version: Option<&str>| Hosting::Azure {
            api_version: version.map(str::to_owned),
            deployment: None,
        };
        let vertex = Hosting::Vertex { project: "p".to_owned(), location: "l".to_owned() };
        let verbs = [Some(CALL), Some(Verb::Embed), Some(Verb::Count), Some(Verb::Complete), None];
        for (hosting, places) in [
            (azure(None), [true, true, true, true, true]),
            (azure(Some("2024-10-21")), [true, true, true, true, false]),
            (vertex, [true, true, true, false, false]),
            (bedrock(), [true, false, false, false, false]),
        ] {
            assert_eq!(verbs.map(|verb| has_place(&hosting, verb)), places, "{hosting:?}");
        }
    }

    #[test]
    fn bedrock_has_a_path_for_each_model_and_says_there_whether_it_streams() {
        let of = |verb| at(&bedrock(), verb, Dialect::Anthropic, "anthropic.claude-v2:0", "/v1/messages");
        assert_eq!(of(CALL), "/model/anthropic.claude-v2%3A0/invoke");
        assert_eq!(of(STREAM), "/model/anthropic.claude-v2%3A0/invoke-with-response-stream");
    }

    #[test]
    fn a_host_gets_what_its_path_says_taken_out_of_the_body_and_nothing_else_changes() {
        let asked = |verb| Asked { verb, dialect: Dialect::Anthropic, model: "m", path: b"/v1/messages" };
        let betas = Fields { betas: Some(b"a-1, b-2"), version: Some(b"2023-06-01") };
        let text = r#"{ "model":"m", "max_tokens" : 1.0,"stream":true,"messages":[]}"#;
        assert_eq!(
            body(&bedrock(), &asked(STREAM), &betas, text).as_deref(),
            Some(
                r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a-1","b-2"], "max_tokens" : 1.0,"messages":[]}"#
            )
        );
        for (field, body_has) in [(&b""[..], ""), (b" , ", ""), (b"a-1", r#","anthropic_beta":["own"]"#)] {
            let said = Fields { betas: Some(field), version: None };
            let text = format!(r#"{{"max_tokens":1{body_has}}}"#);
            assert_eq!(
                body(&bedrock(), &asked(CALL), &said, &text),
                Some(format!(r#"{{"anthropic_version":"bedrock-2023-05-31","max_tokens":1{body_has}}}"#))
            );
        }
        let vertex = Hosting::Vertex { project: "p".to_owned(), location: "l".to_owned() };
        assert_eq!(
            body(&vertex, &asked(STREAM), &betas, text).as_deref(),
            Some(
                r#"{"anthropic_version":"vertex-2023-10-16", "max_tokens" : 1.0,"stream":true,"messages":[]}"#
            )
        );
        assert_eq!(
            body(&vertex, &asked(Verb::Count), &Fields::default(), r#"{"model":"m"}"#).as_deref(),
            Some(r#"{"anthropic_version":"vertex-2023-10-16","model":"m"}"#)
        );
        let azure = Hosting::Azure { api_version: None, deployment: None };
        assert_eq!(body(&azure, &asked(CALL), &betas, text), None);
    }

    #[test]
    fn a_later_version_is_the_callers_and_the_first_has_the_hosts_name() {
        for (asked_for, there) in [
            (None, "first"),
            (Some("2023-06-01"), "first"),
            (Some("2023-01-01"), "first"),
            (Some("2026-10-21"), "2026-10-21"),
            (Some("2026-10-2\""), "first"),
            (Some("newest"), "first"),
        ] {
            assert_eq!(version("first", asked_for.map(str::as_bytes)), there, "{asked_for:?}");
        }
    }
}
