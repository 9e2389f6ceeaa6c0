//! Who hosts models that others make: which proofs go with which host.
//!
//! Owns: the checks between a host, the dialect of its backend and its credential.
//! Must not: get a token; [`crate::mint`] does, while the daemon runs.
//! Read next: `secret.rs`.

use std::path::Path;

use ringway_contract::snapshot::{AwsKey, Credential, Dialect, Hosting};

use super::decode::{Place, Sink, Written};
use super::environment::Environment;
use super::secret;
use super::speaks::spelled;
use super::values::{Fault, quoted};
use super::written::{self, Azure, Bedrock, Vertex};
use crate::mint::ServiceAccount;

/// A host, and what goes to it as proof.
#[derive(Default)]
pub(super) struct Hosted {
    pub(super) hosting: Option<Hosting>,
    pub(super) credential: Option<Credential>,
    pub(super) account: Option<ServiceAccount>,
}

/// The host of a backend with this credential. None: something is wrong, and was reported.
pub(super) fn resolve(
    from: &written::Hosting,
    credential: Option<Credential>,
    dialect: Dialect,
    env: &dyn Environment,
    sink: &Sink,
) -> Option<Hosted> {
    match (&from.azure, &from.vertex, &from.bedrock) {
        (Some(host), None, None) => azure(host, &from.at, credential, dialect, sink),
        (None, Some(host), None) => vertex(host, &from.at, credential, dialect, env, sink),
        (None, None, Some(host)) => bedrock(host, &from.at, credential, dialect, env, sink),
        _ => {
            let fault = Fault::new("`hosting` names one host");
            sink.error(&from.at, fault.mend("write one of `azure`, `vertex` and `bedrock`"));
            None
        }
    }
}

fn azure(
    from: &Azure,
    at: &Place,
    credential: Option<Credential>,
    dialect: Dialect,
    sink: &Sink,
) -> Option<Hosted> {
    speaks("azure", dialect, &[Dialect::OpenaiChat, Dialect::OpenaiResponses], at, sink)?;
    if credential.is_none() {
        let fault = Fault::new("Azure OpenAI asks for a key");
        sink.error(at, fault.mend("add `credential: {env: AZURE_OPENAI_API_KEY}`"));
        return None;
    }
    let of_a_day =
        |version: &Written<String>| version.value.starts_with(|first: char| first.is_ascii_digit());
    if let Some(deployment) =
        from.deployment.as_ref().filter(|_| !from.api_version.as_ref().is_some_and(of_a_day))
    {
        let fault = Fault::new("without the `api_version` of a day the model's name is the deployment's");
        sink.error(
            &deployment.at,
            fault.mend("give targets `model: NAME`, or set `api_version: \"2024-10-21\"`"),
        );
    }
    let text = |written: &Option<Written<String>>| written.as_ref().map(|it| it.value.clone());
    Some(Hosted {
        hosting: Some(Hosting::Azure {
            api_version: text(&from.api_version),
            deployment: text(&from.deployment),
        }),
        credential: credential.map(|it| Credential { header: "api-key".to_owned(), value: bare(it.value) }),
        account: None,
    })
}

fn vertex(
    from: &Vertex,
    at: &Place,
    credential: Option<Credential>,
    dialect: Dialect,
    env: &dyn Environment,
    sink: &Sink,
) -> Option<Hosted> {
    speaks("vertex", dialect, &[Dialect::Gemini, Dialect::AnthropicMessages], at, sink)?;
    let account = match (&from.service_account, &credential) {
        (Some(file), Some(_)) => {
            let fault = Fault::new("a `credential` beside `service_account`");
            sink.error(&file.at, fault.mend("keep one of them"));
            return None;
        }
        (Some(file), None) => Some(account(file, env, sink)?),
        (None, None) => {
            let fault = Fault::new("Vertex AI asks for a token");
            sink.error(at, fault.mend("add `service_account: key.json`, or a `credential` that is renewed"));
            return None;
        }
        (None, Some(_)) => None,
    };
    let bearer = |it: Credential| format!("Bearer {}", bare(it.value));
    Some(Hosted {
        hosting: Some(Hosting::Vertex {
            project: from.project.as_ref()?.value.clone(),
            location: from.location.as_ref()?.value.clone(),
        }),
        credential: credential.map(|it| Credential { header: "authorization".to_owned(), value: bearer(it) }),
        account,
    })
}

fn account(file: &Written<String>, env: &dyn Environment, sink: &Sink) -> Option<ServiceAccount> {
    let path = quoted(&file.value);
    let read = match env.file(Path::new(&file.value)) {
        Ok(read) => read,
        Err(error) => {
            let fault = Fault::new(format!("cannot read {path}: {error}"));
            sink.error(&file.at, fault.mend("relative paths start at the folder of this file"));
            return None;
        }
    };
    if read.open_to_all {
        let fault = Fault::new(format!("every user of this machine may read {path}"));
        sink.warn(&file.at, fault.mend(format!("`chmod 600 {}`", file.value)));
    }
    ServiceAccount::read(&read.text)
        .map_err(|what| {
            let fault = Fault::new(format!("{path} is no key of a service account: {what}"));
            sink.error(&file.at, fault.mend("take the JSON file as Google's console gives it"));
        })
        .ok()
}

fn bedrock(
    from: &Bedrock,
    at: &Place,
    credential: Option<Credential>,
    dialect: Dialect,
    env: &dyn Environment,
    sink: &Sink,
) -> Option<Hosted> {
    speaks("bedrock", dialect, &[Dialect::AnthropicMessages], at, sink)?;
    let Some(secret) = credential else {
        let fault =
            Fault::new("requests to Bedrock are signed with a secret access key, or carry an API key");
        sink.error(at, fault.mend("add `credential: {env: AWS_SECRET_ACCESS_KEY}`"));
        return None;
    };
    let region = from.region.as_ref()?.value.clone();
    let Some(id) = &from.access_key_id else {
        if let Some(source) = &from.session_token {
            let fault = Fault::new("a `session_token` belongs to an `access_key_id`");
            sink.error(&source.at, fault.mend("add `access_key_id`, or leave it out: an API key goes alone"));
        }
        let value = format!("Bearer {}", bare(secret.value));
        return Some(Hosted {
            hosting: Some(Hosting::Bedrock { region, key: None }),
            credential: Some(Credential { header: "authorization".to_owned(), value }),
            account: None,
        });
    };
    let session_token = match &from.session_token {
        None => None,
        Some(source) => Some(secret::read(source, env, sink)?),
    };
    let key = Some(AwsKey { id: id.value.clone(), secret: bare(secret.value), session_token });
    Some(Hosted { hosting: Some(Hosting::Bedrock { region, key }), credential: None, account: None })
}

/// A secret as it was read, whatever its engine's header wants in front.
fn bare(value: String) -> String {
    value.strip_prefix("Bearer ").map(str::to_owned).unwrap_or(value)
}

fn speaks(host: &str, dialect: Dialect, known: &[Dialect], at: &Place, sink: &Sink) -> Option<()> {
    if known.contains(&dialect) {
        return Some(());
    }
    let known: Vec<_> = known.iter().map(|dialect| spelled(*dialect)).collect();
    let fault = Fault::new(format!("`{host}` hosts no models that speak {}", spelled(dialect)));
    sink.error(at, fault.mend(format!("set `dialect` to {}", known.join(" or "))));
    None
}
