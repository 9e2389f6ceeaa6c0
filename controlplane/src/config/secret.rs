//! From the place of a secret to the header that carries it.
//!
//! Owns: reading a secret once, what it may look like, and which header an engine expects it in.
//! Must not: show it, in a message or otherwise.
//! Read next: `environment.rs`, through which it is read.

use std::io::ErrorKind;
use std::path::Path;

use ringway_contract::snapshot::{Credential, Dialect, Engine};

use super::decode::{Sink, Written};
use super::environment::Environment;
use super::values::{Fault, quoted};
use super::written::SecretSource;
use crate::bounds::SECRET_BYTES_MAX;

/// A secret that was read, and what to say about how it is kept.
struct Secret {
    text: String,
    warning: Option<Fault>,
}

/// Reads a secret from its place. What is wrong with it, or with how it is kept, is told where it is named.
pub(super) fn read(source: &Written<SecretSource>, env: &dyn Environment, sink: &Sink) -> Option<String> {
    match from(&source.value, env) {
        Ok(Secret { text, warning }) => {
            if let Some(fault) = warning {
                sink.warn(&source.at, fault);
            }
            Some(text)
        }
        Err(fault) => {
            sink.error(&source.at, fault);
            None
        }
    }
}

fn from(source: &SecretSource, env: &dyn Environment) -> Result<Secret, Fault> {
    match source {
        SecretSource::Variable(name) => {
            let text = env.variable(name).ok_or_else(|| {
                let fault = Fault::new(format!("the environment variable {} is not set", quoted(name)));
                fault.mend(format!("set it where this runs: `export {name}=…`"))
            })?;
            Ok(Secret { text: sane(&text, name)?, warning: None })
        }
        SecretSource::File(path) => {
            let file = env.file(Path::new(path)).map_err(|error| unreadable(path, &error))?;
            let warning = file.open_to_all.then(|| {
                let fault = Fault::new(format!("every user of this machine may read {}", quoted(path)));
                fault.mend(format!("`chmod 600 {path}`"))
            });
            Ok(Secret { text: sane(&file.text, path)?, warning })
        }
    }
}

fn unreadable(path: &str, error: &std::io::Error) -> Fault {
    let fault = Fault::new(format!("cannot read {}: {error}", quoted(path)));
    match error.kind() {
        ErrorKind::NotFound => fault.mend("relative paths start at the folder of this file"),
        ErrorKind::PermissionDenied => {
            fault.mend("make it readable for the user this runs as, and nobody else")
        }
        _ => fault,
    }
}

/// A secret fits a header: one line of visible ASCII (RFC 9110 section 5.5).
fn sane(text: &str, from: &str) -> Result<String, Fault> {
    let secret = text.trim_end_matches(['\r', '\n']);
    let from = quoted(from);
    if secret.trim().is_empty() {
        return Err(Fault::new(format!("{from} is empty")));
    }
    if secret.len() > SECRET_BYTES_MAX {
        return Err(Fault::new(format!("{from} is longer than {SECRET_BYTES_MAX} bytes")));
    }
    if !secret.bytes().all(|b| b.is_ascii_graphic() || b == b' ') || secret.trim() != secret {
        let fault = Fault::new(format!("what {from} holds cannot be sent in a header"));
        return Err(fault.mend("one line of visible ASCII, without spaces around it"));
    }
    Ok(secret.to_owned())
}

/// The header that carries it. The OpenAI dialects carry a bearer token whoever the provider is:
/// Anthropic and Google serve them beside their own.
pub(super) fn credential(secret: String, engine: Engine, dialect: Dialect) -> Credential {
    let header = match (engine, dialect) {
        (Engine::Anthropic, Dialect::AnthropicMessages | Dialect::Gemini | Dialect::Http) => "x-api-key",
        (Engine::Gemini, Dialect::AnthropicMessages | Dialect::Gemini | Dialect::Http) => "x-goog-api-key",
        (
            Engine::Vllm
            | Engine::Sglang
            | Engine::Trtllm
            | Engine::Triton
            | Engine::Lmdeploy
            | Engine::Tgi
            | Engine::Llamacpp
            | Engine::Openai
            | Engine::Http,
            _,
        )
        | (Engine::Anthropic | Engine::Gemini, Dialect::OpenaiChat | Dialect::OpenaiResponses) => {
            "authorization"
        }
    };
    let bare = header != "authorization" || secret.starts_with("Bearer ");
    let value = if bare { secret } else { format!("Bearer {secret}") };
    Credential { header: header.to_owned(), value }
}
