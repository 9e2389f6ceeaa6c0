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
            None => Verdict::Refused(self.no_route(&seen)),
        }
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
    host: [u8; HOST_BYTES_MAX],
    host_len: u8,
    path_model: Option<Cow<'a, [u8]>>,
}

impl<'a> Seen<'a> {
    /// Makes ready what the table's conditions ask for, and no more.
    pub(crate) fn new(ask: &Ask<'a>, asks_hosts: bool, asks_models: bool) -> Self {
        let path = surface::without_query(ask.path);
        let in_path = asks_models && path.contains(&b':');
        let mut seen = Self {
            ask: *ask,
            path,
            client: ask.client.to_canonical(), // an IPv4 caller on an IPv6 socket is in IPv4 networks
            host: [0; HOST_BYTES_MAX],
            host_len: 0,
            path_model: if in_path { surface::path_model(path) } else { None },
        };
        if asks_hosts {
            seen.set_host(host_name(ask.host));
        }
        seen
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
        &self.host[..usize::from(self.host_len)]
    }

    /// The model; one in the path is the one that counts.
    pub(crate) fn model(&self) -> ModelSeen<'_> {
        match &self.path_model {
            Some(model) => ModelSeen::Is(model),
            None => self.ask.model,
        }
    }

    fn set_host(&mut self, name: &[u8]) {
        const _: () = assert!(HOST_BYTES_MAX <= u8::MAX as usize, "its length is kept in a byte");
        if name.len() <= HOST_BYTES_MAX {
            self.host[..name.len()].copy_from_slice(name);
            self.host[..name.len()].make_ascii_lowercase();
            self.host_len = name.len() as u8;
        }
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
