//! Which way a request would go under a config that does not run.
//!
//! Owns: a plain reading of the routes, for `explain --config`. It is the documentation of matching in code:
//! the data plane has its own, made for speed, and what it says counts.
//! Must not: know of load; nothing runs.

use std::net::{IpAddr, Ipv4Addr};

use ringway_contract::explain::{Candidate, Explanation, Question, RouteVerdict, TargetChance};
use ringway_contract::snapshot::{Match, Route};
use ringway_contract::{Generation, Snapshot};

/// What the data plane would answer if this ran and nothing had any load.
pub(super) fn explain(snapshot: &Snapshot, question: &Question) -> Explanation {
    let ask = Ask::new(question);
    let mut routes = Vec::new();
    let mut found = None;
    for route in &snapshot.routes {
        let why = first_failing(&route.matches, &ask);
        routes.push(RouteVerdict { route: route.name.clone(), matched: why.is_none(), why });
        if routes.last().is_some_and(|verdict| verdict.matched) {
            found = Some(route);
            break;
        }
    }
    let endpoints = found.map(|route| candidates(snapshot, route)).unwrap_or_default();
    let refusal = match found {
        None => Some("404 no route".to_owned()),
        Some(_) if endpoints.is_empty() => Some("503 no endpoint".to_owned()),
        Some(_) => None,
    };
    Explanation {
        generation: Generation::NONE,
        routes,
        route: found.map(|route| route.name.clone()),
        targets: found.map(chances).unwrap_or_default(),
        endpoints,
        refusal,
    }
}

/// The parts of a request that routes ask about.
struct Ask<'a> {
    method: &'a str,
    path: &'a str,
    host: String,
    headers: Vec<(String, &'a str)>,
    client: IpAddr,
    model: Option<String>,
}

impl<'a> Ask<'a> {
    fn new(question: &'a Question) -> Self {
        let path = question.path.split('?').next().unwrap_or_default();
        let in_body = || question.body.as_ref()?.get("model")?.as_str().map(str::to_owned);
        Self {
            method: &question.method,
            path,
            host: bare_host(question.host.as_deref().unwrap_or("localhost")),
            headers: question
                .headers
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), &**value))
                .collect(),
            client: question.client.unwrap_or(Ipv4Addr::LOCALHOST.into()).to_canonical(),
            model: path_model(path).or_else(in_body),
        }
    }
}

/// Without port, without the root's dot, in lower case.
fn bare_host(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, _)) if !host.ends_with(']') => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The model of a Gemini path: `/v1beta/models/{model}:generateContent`.
fn path_model(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"))?;
    let (model, _) = rest.rsplit_once(':')?;
    (!model.is_empty()).then(|| model.to_owned())
}

/// The first condition that does not hold, in words.
fn first_failing(matches: &Match, ask: &Ask<'_>) -> Option<String> {
    let path = ask.path;
    if let Some(whole) = &matches.path
        && whole != path
    {
        return Some(format!("path {path:?} is not {whole:?}"));
    }
    if let Some(prefix) = &matches.path_prefix
        && !has_prefix(path, prefix)
    {
        return Some(format!("path {path:?} is not under {prefix:?}"));
    }
    if !matches.hosts.is_empty() && !matches.hosts.iter().any(|host| host_fits(host, &ask.host)) {
        return Some(format!("host {:?} is none of {:?}", ask.host, matches.hosts));
    }
    if !matches.client_cidrs.is_empty() && !matches.client_cidrs.iter().any(|net| net.contains(&ask.client)) {
        return Some(format!("client {} is in none of the networks", ask.client));
    }
    for wanted in &matches.headers {
        let found = ask.headers.iter().find(|(name, _)| *name == wanted.name);
        if !found.is_some_and(|(_, value)| glob(&wanted.value, value)) {
            return Some(format!("header {:?} does not match {:?}", wanted.name, wanted.value));
        }
    }
    if !matches.methods.is_empty() && !matches.methods.iter().any(|method| method == ask.method) {
        return Some(format!("method {} is none of {}", ask.method, matches.methods.join(", ")));
    }
    if matches.models.is_empty() {
        return None;
    }
    match &ask.model {
        None => Some("the request names no model".to_owned()),
        Some(model) if matches.models.iter().any(|pattern| glob(pattern, model)) => None,
        Some(model) => Some(format!("model {model:?} does not match {}", quoted(&matches.models))),
    }
}

fn quoted(list: &[String]) -> String {
    list.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(" or ")
}

/// A prefix ends at a `/` or at the path's end.
fn has_prefix(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

fn host_fits(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern == host,
    }
}

/// `*` is any run of bytes, `?` is one byte. Goes back to the last star only, so it is quick whatever the
/// pattern.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[from] => (at, from) = (at + 1, from + 1),
            _ => match star {
                Some((back, taken)) => {
                    star = Some((back, taken + 1));
                    (at, from) = (back + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

fn chances(route: &Route) -> Vec<TargetChance> {
    let sum: u32 = route.targets.iter().map(|target| target.weight).sum();
    let chance = |weight: u32| f64::from(weight) / f64::from(sum.max(1));
    let targets = route.targets.iter();
    targets
        .map(|target| TargetChance {
            backend: target.backend.clone(),
            chance: chance(target.weight),
            model: target.model.clone(),
        })
        .collect()
}

fn candidates(snapshot: &Snapshot, route: &Route) -> Vec<Candidate> {
    let targets = route.targets.iter().filter(|target| target.weight > 0);
    let backends = targets.filter_map(|target| snapshot.backends.iter().find(|it| it.name == target.backend));
    let endpoints =
        backends.flat_map(|backend| backend.endpoints.iter().map(move |endpoint| (backend, endpoint)));
    endpoints
        .map(|(backend, endpoint)| Candidate {
            backend: backend.name.clone(),
            endpoint: endpoint.authority.clone(),
            eligible: true,
            why: format!("weight {}; nothing runs, so nothing has load", endpoint.weight),
            in_flight: 0,
            cost: None,
            score: 0.0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_runs_and_single_bytes() {
        let fits = ["llama-*:llama-3-8b", "*:", "*:x", "a*c*e:abcde", "?b:ab", "*b:ab", "a:a", "a**:a"];
        let fails = ["llama-*:llama", "a:b", "?:", "a*c:ab", "*b:ba", ":x", "a?:a"];
        let matched = |pair: &str| pair.split_once(':').is_some_and(|(pattern, text)| glob(pattern, text));
        assert!(fits.iter().all(|pair| matched(pair)));
        assert!(!fails.iter().any(|pair| matched(pair)));
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        assert!(has_prefix("/v1/models", "/v1") && has_prefix("/v1", "/v1") && has_prefix("/x", "/"));
        assert!(!has_prefix("/v10", "/v1"));
    }

    #[test]
    fn hosts_lose_port_and_case() {
        assert_eq!(bare_host("API.Example.com.:8080"), "api.example.com");
        assert_eq!(bare_host("[::1]"), "[::1]");
        assert!(host_fits("*.example.com", "a.b.example.com") && !host_fits("*.example.com", "example.com"));
    }

    #[test]
    fn a_gemini_path_names_its_model() {
        assert_eq!(
            path_model("/v1beta/models/gemini-2.0-flash:generateContent").as_deref(),
            Some("gemini-2.0-flash")
        );
        assert_eq!(path_model("/v1/models"), None);
    }
}
