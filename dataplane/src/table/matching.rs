//! Finds the route of a request: the first whose conditions all hold.
//!
//! Owns: the conditions and the one function that tries them. `route` and `explain` both call it.
//! Must not: read a body, or decode what it compares. A name is compared byte for byte; only hosts are
//! compared without regard to case, and only a model in a path is decoded.
//! Read next: `index`, which keeps this fast with ten thousand routes.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::ControlFlow;

use ipnet::IpNet;
use ringway_dialect::surface;

use super::glob::Glob;
use super::{Route, Table, path};
use crate::bounds::{HOST_BYTES_MAX, MODEL_BYTES_MAX};
use crate::refusal::Refusal;

/// What a route may ask about a request.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// As sent.
    pub method: &'a [u8],
    /// As sent, port and all; compared without port and without regard to case. Empty: none.
    pub host: &'a [u8],
    /// The request target as sent, in origin form, with or without query.
    pub path: &'a [u8],
    /// Looks up a header by its lower-case name; the first if there are several.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// The caller's address.
    pub client: IpAddr,
    /// The model, as far as it is known.
    pub model: ModelSeen<'a>,
}

/// What is known of the model a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelSeen<'a> {
    /// The body was not read yet. A model in the path is seen all the same.
    Unread,
    /// The body was read, or there is none, and it names no model.
    Absent,
    /// The model, unescaped.
    Is(&'a [u8]),
}

/// Where a request goes.
#[derive(Debug)]
pub enum Verdict<'t> {
    /// To this route.
    Route(&'t Route),
    /// It depends on the model, which was not read yet: read the body and ask again.
    ReadModel,
    /// Nowhere: answer it with [`Table::models_answer`].
    Models,
    /// Nowhere: somebody only asks whether this is alive.
    Probe,
    /// Nowhere: answer it with this.
    Refused(Refusal),
}

impl Table {
    /// Where this request goes. Ask again with the model after [`Verdict::ReadModel`]; it is not said twice.
    pub fn route(&self, ask: &Ask<'_>) -> Verdict<'_> {
        let seen = Seen::new(ask, self.index.asks_hosts, self.index.asks_models);
        if self.lists_models(&seen) {
            return Verdict::Models;
        }
        match self.index.first(&self.routes, &seen) {
            Some((_, Found::NeedsModel)) => Verdict::ReadModel,
            Some((order, Found::Match)) => {
                let route = &self.routes[order as usize];
                if route.conditions.path.is_exact() || path::is_plain(seen.path) {
                    Verdict::Route(route)
                } else {
                    Verdict::Refused(Refusal::CrookedPath)
                }
            }
            None if self.is_probe(&seen) => Verdict::Probe,
            None => Verdict::Refused(self.no_route(&seen)),
        }
    }

    /// Whether a client of models asks if this is alive, in front of model routes that leave its path to nobody. It is
    /// answered without asking an endpoint: the admin address tells more.
    fn is_probe(&self, seen: &Seen<'_>) -> bool {
        const PATHS: [&[u8]; 6] = [b"/", b"/health", b"/healthz", b"/ready", b"/ping", b"/api/hello"];
        matches!(seen.ask.method, b"GET" | b"HEAD")
            && PATHS.contains(&seen.path)
            && self.routes.iter().any(|route| !route.raw)
    }

    /// Why there is no route: the method, the model, or nothing here at all. A route that takes the method but
    /// not the model says more than one that does not even take the method.
    fn no_route(&self, seen: &Seen<'_>) -> Refusal {
        let mut allow: Vec<&str> = Vec::new();
        let mut model_alone = false;
        self.index.each(seen, |order| {
            let conditions = &self.routes[order as usize].conditions;
            match conditions.first_failing(seen) {
                Some(Failing::Model) => {
                    model_alone = true;
                    return ControlFlow::Break(());
                }
                Some(Failing::Method) => allow.extend(conditions.methods.iter().map(|method| &**method)),
                _ => {}
            }
            ControlFlow::Continue(())
        });
        if model_alone {
            return match seen.model() {
                ModelSeen::Is(model) => Refusal::unknown_model(model),
                ModelSeen::Absent | ModelSeen::Unread => Refusal::ModelMissing,
            };
        }
        if allow.is_empty() {
            return Refusal::NoRoute;
        }
        allow.sort_unstable();
        allow.dedup();
        Refusal::MethodNotAllowed { allow: allow.join(", ") }
    }
}

/// What trying a route came to, if it was not a plain no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All conditions hold.
    Match,
    /// All hold but those on the model, which is not known yet.
    NeedsModel,
}

/// The first condition that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    Path,
    Host,
    Client,
    /// Which of them.
    Header(usize),
    Method,
    Model,
    /// Not tried: the model is not known yet.
    ModelUnread,
}

/// The conditions of a route, compiled. Absent ones hold.
#[derive(Debug)]
pub struct Conditions {
    pub(crate) path: PathCondition,
    pub(crate) methods: Box<[Box<str>]>,
    pub(crate) hosts: Box<[HostCondition]>,
    pub(crate) headers: Box<[HeaderCondition]>,
    pub(crate) models: Box<[Glob]>,
    pub(crate) clients: Box<[IpNet]>,
}

/// A condition on the path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PathCondition {
    Any,
    Exact(Box<str>),
    /// Ends at a `/` or the path's end.
    Prefix(Box<str>),
}

/// A condition on the host, lower case.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HostCondition {
    Exact(Box<str>),
    /// `.example.com`: anything in front, at least one label.
    Below(Box<str>),
}

/// A condition on a header.
#[derive(Debug)]
pub(crate) struct HeaderCondition {
    pub(crate) name: Box<str>,
    pub(crate) value: Glob,
}

impl Conditions {
    /// Tries all conditions, cheapest first. The method comes late so that it fails alone where it alone is
    /// wrong (405), the model last because it may not be known.
    pub(crate) fn first_failing(&self, seen: &Seen<'_>) -> Option<Failing> {
        if !self.path.holds(seen.path) {
            return Some(Failing::Path);
        }
        self.failing_for_caller(seen).or_else(|| {
            if !self.methods.is_empty() && !self.methods.iter().any(|it| it.as_bytes() == seen.ask.method) {
                return Some(Failing::Method);
            }
            self.failing_model(seen)
        })
    }

    /// Tries what concerns the caller and not what it asks for: host, network, headers.
    pub(super) fn failing_for_caller(&self, seen: &Seen<'_>) -> Option<Failing> {
        if !self.hosts.is_empty() && !self.hosts.iter().any(|it| it.holds(seen.host())) {
            return Some(Failing::Host);
        }
        if !self.clients.is_empty() && !self.clients.iter().any(|it| it.contains(&seen.client)) {
            return Some(Failing::Client);
        }
        let failing = self.headers.iter().position(|it| !it.holds(&seen.ask));
        failing.map(Failing::Header)
    }

    fn failing_model(&self, seen: &Seen<'_>) -> Option<Failing> {
        if self.models.is_empty() {
            return None;
        }
        match seen.model() {
            ModelSeen::Unread => Some(Failing::ModelUnread),
            ModelSeen::Absent => Some(Failing::Model),
            ModelSeen::Is(model) => {
                let named = model.len() <= MODEL_BYTES_MAX && self.models.iter().any(|it| it.matches(model));
                (!named).then_some(Failing::Model)
            }
        }
    }

    /// The same, as finding a route wants to know it.
    pub(super) fn found(&self, seen: &Seen<'_>) -> Option<Found> {
        match self.first_failing(seen) {
            None => Some(Found::Match),
            Some(Failing::ModelUnread) => Some(Found::NeedsModel),
            Some(
                Failing::Path
                | Failing::Host
                | Failing::Client
                | Failing::Header(_)
                | Failing::Method
                | Failing::Model,
            ) => None,
        }
    }
}

impl PathCondition {
    fn holds(&self, path: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(whole) => path == whole.as_bytes(),
            Self::Prefix(prefix) => path.starts_with(prefix.as_bytes()) && ends_a_segment(path, prefix.len()),
        }
    }

    pub(super) fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }
}

/// Whether a path may be cut behind its first `len` bytes: at its end, before a `/` or behind one.
pub(super) fn ends_a_segment(path: &[u8], len: usize) -> bool {
    path.get(len).is_none_or(|&byte| byte == b'/') || (len > 0 && path[len - 1] == b'/')
}

impl HostCondition {
    fn holds(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(name) => host == name.as_bytes(),
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_bytes()),
        }
    }
}

impl HeaderCondition {
    fn holds(&self, ask: &Ask<'_>) -> bool {
        (ask.header)(&self.name).is_some_and(|value| self.value.matches(value))
    }
}

/// An [`Ask`] made ready to be compared many times.
pub(crate) struct Seen<'a> {
    pub(crate) ask: Ask<'a>,
    /// Without query.
    path: &'a [u8],
    client: IpAddr,
    /// None: no condition asks for it, or it is too long to be one.
    host: Option<HostName>,
    path_model: Option<Cow<'a, [u8]>>,
}

impl<'a> Seen<'a> {
    /// Makes ready what the table's conditions ask for, and no more.
    pub(crate) fn new(ask: &Ask<'a>, asks_hosts: bool, asks_models: bool) -> Self {
        let path = surface::without_query(ask.path);
        let in_path = asks_models && path.contains(&b':');
        Self {
            ask: *ask,
            path,
            client: ask.client.to_canonical(), // an IPv4 caller on an IPv6 socket is in IPv4 networks
            host: if asks_hosts { HostName::of(host_name(ask.host)) } else { None },
            path_model: if in_path { surface::path_model(path) } else { None },
        }
    }

    /// The path without query.
    pub(crate) fn path(&self) -> &'a [u8] {
        self.path
    }

    /// The caller's address, IPv4 where it is one.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    /// The host in lower case, without port; empty if there is none or it is too long to be one.
    pub(crate) fn host(&self) -> &[u8] {
        self.host.as_ref().map_or(&[], |host| &host.bytes[..usize::from(host.len)])
    }

    /// The model; one in the path is the one that counts.
    pub(crate) fn model(&self) -> ModelSeen<'_> {
        match &self.path_model {
            Some(model) => ModelSeen::Is(model),
            None => self.ask.model,
        }
    }
}

/// A host in lower case.
struct HostName {
    bytes: [u8; HOST_BYTES_MAX],
    len: u8,
}

impl HostName {
    /// None: too long to be one.
    fn of(name: &[u8]) -> Option<Self> {
        const _: () = assert!(HOST_BYTES_MAX <= u8::MAX as usize, "its length is kept in a byte");
        let mut bytes = [0; HOST_BYTES_MAX];
        let room = bytes.get_mut(..name.len())?;
        room.copy_from_slice(name);
        room.make_ascii_lowercase();
        Some(Self { bytes, len: name.len() as u8 })
    }
}

/// A host without its port and without the dot of the root.
fn host_name(host: &[u8]) -> &[u8] {
    let colon = host.iter().rposition(|&byte| byte == b':');
    let in_brackets = host.last() == Some(&b']');
    let name = match colon {
        Some(at) if !in_brackets => &host[..at],
        _ => host,
    };
    name.strip_suffix(b".").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{ask, ask_model, route, table, verdict};
    use super::*;

    #[test]
    fn the_first_route_that_matches_wins() {
        let table = table(vec![
            route("a", json!({"path": "/x", "models": ["m"]}), "ai"),
            route("b", json!({"path_prefix": "/x"}), "ai"),
            route("c", json!({"path": "/x"}), "ai"),
        ]);
        assert_eq!(verdict(&table, &ask_model("/x", "m")), "a");
        assert_eq!(verdict(&table, &ask_model("/x", "n")), "b");
        assert_eq!(verdict(&table, &ask("/x/y")), "b");
        assert_eq!(verdict(&table, &ask("/y")), "no_route");
    }

    #[test]
    fn a_prefix_ends_where_a_segment_does() {
        let table = table(vec![
            route("slashed", json!({"path_prefix": "/a/"}), "ai"),
            route("bare", json!({"path_prefix": "/a"}), "ai"),
            route("exact", json!({"path": "/b"}), "ai"),
        ]);
        assert_eq!(verdict(&table, &ask("/a/")), "slashed");
        assert_eq!(verdict(&table, &ask("/a/b")), "slashed");
        assert_eq!(verdict(&table, &ask("/a?q=/a/b")), "bare");
        assert_eq!(verdict(&table, &ask("/ab")), "no_route");
        assert_eq!(verdict(&table, &ask("/b")), "exact");
        assert_eq!(verdict(&table, &ask("/b/")), "no_route");
        assert_eq!(verdict(&table, &ask("/B")), "no_route", "paths are bytes");
    }

    #[test]
    fn a_crooked_path_is_refused_by_prefix_routes_only() {
        let exact = route("exact", json!({"path": "/a/../b"}), "ai");
        let table = table(vec![exact, route("all", json!({"path_prefix": "/"}), "raw")]);
        assert_eq!(verdict(&table, &ask("/a/../b")), "exact");
        assert_eq!(verdict(&table, &ask("/a/%2e%2e/c")), "crooked_path");
        assert_eq!(verdict(&table, &ask("//c")), "crooked_path");
        assert_eq!(verdict(&table, &ask("/c?x=//..")), "all");
    }

    #[test]
    fn a_route_without_a_condition_takes_everything_that_is_plain() {
        let table = table(vec![route("all", json!({}), "raw")]);
        assert_eq!(verdict(&table, &ask("/anything")), "all");
        assert_eq!(verdict(&table, &ask("*")), "all");
        assert_eq!(verdict(&table, &ask("/a%2fb")), "crooked_path");
    }

    #[test]
    fn a_method_that_no_matching_route_takes_gets_the_ones_they_take() {
        let table = table(vec![
            route("put", json!({"path": "/x", "methods": ["PUT", "POST"]}), "ai"),
            route("get", json!({"path_prefix": "/x", "methods": ["GET"]}), "ai"),
            route("elsewhere", json!({"path": "/y", "methods": ["DELETE"]}), "ai"),
        ]);
        let delete = Ask { method: b"DELETE", ..ask("/x") };
        let Verdict::Refused(Refusal::MethodNotAllowed { allow }) = table.route(&delete) else {
            panic!("the method is what is wrong");
        };
        assert_eq!(allow, "GET, POST, PUT");
        assert_eq!(verdict(&table, &Ask { method: b"get", ..ask("/x") }), "method_not_allowed");
        assert_eq!(verdict(&table, &Ask { method: b"GET", ..ask("/x") }), "get");
    }

    #[test]
    fn hosts_match_in_any_case_with_any_port() {
        let table = table(vec![
            route("one", json!({"hosts": ["api.example.com", "[::1]"]}), "ai"),
            route("below", json!({"hosts": ["*.example.com"]}), "ai"),
        ]);
        for (host, expected) in [
            ("API.Example.com", "one"),
            ("api.example.com:8443", "one"),
            ("api.example.com.", "one"),
            ("[::1]:8080", "one"),
            ("[::1]", "one"),
            ("a.b.EXAMPLE.com:1", "below"),
            ("example.com", "no_route"),
            (".example.com", "no_route"),
            ("badexample.com", "no_route"),
            ("", "no_route"),
        ] {
            assert_eq!(verdict(&table, &Ask { host: host.as_bytes(), ..ask("/") }), expected, "{host}");
        }
        let long = "a".repeat(300) + ".example.com";
        assert_eq!(verdict(&table, &Ask { host: long.as_bytes(), ..ask("/") }), "no_route");
    }

    #[test]
    fn all_headers_of_a_condition_must_match() {
        let headers = json!([{"name": "x-tier", "value": "gold*"}, {"name": "x-any", "value": "*"}]);
        let table = table(vec![route("gold", json!({"headers": headers}), "ai")]);
        let with = |tier: Option<&'static str>, any: Option<&'static str>| {
            let header = move |name: &str| match name {
                "x-tier" => tier.map(str::as_bytes),
                "x-any" => any.map(str::as_bytes),
                _ => None,
            };
            verdict(&table, &Ask { header: &header, ..ask("/") })
        };
        assert_eq!(with(Some("golden"), Some("")), "gold");
        assert_eq!(with(Some("golden"), None), "no_route");
        assert_eq!(with(Some("silver"), Some("x")), "no_route");
    }

    #[test]
    fn an_ipv4_caller_is_in_its_network_on_an_ipv6_socket_too() {
        let table = table(vec![route("lan", json!({"client_cidrs": ["10.0.0.0/8", "fd00::/8"]}), "ai")]);
        for (client, expected) in [
            ("10.1.2.3", "lan"),
            ("::ffff:10.1.2.3", "lan"),
            ("fd12::1", "lan"),
            ("11.0.0.1", "no_route"),
            ("::1", "no_route"),
        ] {
            let client = client.parse().expect("an address");
            assert_eq!(verdict(&table, &Ask { client, ..ask("/") }), expected, "{client}");
        }
    }

    #[test]
    fn the_body_is_read_only_where_the_answer_depends_on_the_model() {
        let table = table(vec![
            route(
                "tagged",
                json!({"path": "/x", "headers": [{"name": "x", "value": "*"}], "models": ["a"]}),
                "ai",
            ),
            route("plain", json!({"path": "/y"}), "ai"),
            route("a", json!({"path_prefix": "/", "models": ["a", "b-*"]}), "ai"),
        ]);
        assert_eq!(verdict(&table, &ask("/y")), "plain", "a route before those that ask");
        assert_eq!(verdict(&table, &ask("/x")), "read model");
        assert_eq!(verdict(&table, &ask_model("/x", "b-1")), "a");
        assert_eq!(verdict(&table, &ask_model("/x", "c")), "model_not_found");
        assert_eq!(verdict(&table, &Ask { model: ModelSeen::Absent, ..ask("/x") }), "model_missing");
        let long = "b-".to_owned() + &"x".repeat(MODEL_BYTES_MAX);
        assert_eq!(verdict(&table, &ask_model("/x", &long)), "model_not_found");
    }

    #[test]
    fn a_model_in_the_path_needs_no_body_and_outweighs_one() {
        let table = table(vec![route("g", json!({"path_prefix": "/v1beta", "models": ["gemini-*"]}), "ai")]);
        let path = "/v1beta/models/gemini-pro:generateContent?alt=sse";
        assert_eq!(verdict(&table, &ask(path)), "g");
        assert_eq!(verdict(&table, &ask_model(path, "other")), "g");
        assert_eq!(verdict(&table, &ask("/v1beta/models/palm:generateContent")), "model_not_found");
    }

    #[test]
    fn a_route_that_takes_the_method_but_not_the_model_says_so() {
        let table = table(vec![
            route("get", json!({"path": "/x", "methods": ["GET"]}), "ai"),
            route("post", json!({"path": "/x", "methods": ["POST"], "models": ["m"]}), "ai"),
        ]);
        assert_eq!(verdict(&table, &ask_model("/x", "n")), "model_not_found");
    }
}
