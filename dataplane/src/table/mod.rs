//! The compiled configuration: immutable, shared by all workers, nothing left to parse or decide.
//!
//! Owns: [`Table`] and what it holds. `compile` makes it from a snapshot, [`matching`] finds the route of a
//! request, [`models`] lists what a caller may ask for.
//! Must not: change after it is compiled. What moves (load, drains, turns) is in [`crate::cells`], which
//! outlives tables.
//! Read next: [`matching`].

pub mod catalogue;
mod check;
mod compile;
pub mod glob;
mod index;
pub mod matching;
pub mod models;
pub mod path;
#[cfg(test)]
pub(crate) mod testing;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use ringway_contract::Generation;
use ringway_contract::snapshot::{
    Balance, Connections, Dialect, Engine, Hosting, Limits, Listener, Logging, Orca,
};
use ringway_contract::stats::{CredentialStats, QueueStats};
use rustls::pki_types::ServerName;

use self::catalogue::Catalogue;
use self::glob::Glob;
use self::index::Index;
use self::matching::Conditions;
pub use self::matching::{Ask, ModelSeen, Verdict};
use self::models::Offers;
use crate::admission::line::Admission;
use crate::admission::queue::Class;
use crate::admission::tenants::Tenants;
use crate::balance::gpu::Gpu;
use crate::balance::hash::Ring;
use crate::balance::prefix::blocks::Key;
use crate::balance::score::Pool;
use crate::bounds::MODEL_BYTES_MAX;
use crate::cells::{LoadCell, Slot, SlotHold, Turn};
use crate::clock::Moment;
use crate::health::HealthCell;
use crate::heartbeat::Pulse;
use crate::hedge::Hedge;
use crate::names::Name;
use crate::seen::Seen;
use crate::session::Sessions;
use crate::tls::{ClientSide, ServerSide};

/// One compiled snapshot.
#[derive(Debug)]
pub struct Table {
    generation: Generation,
    listeners: Box<[Listener]>,
    tls: Box<[(SocketAddr, Arc<ServerSide>)]>,
    admin: Option<SocketAddr>,
    limits: Limits,
    logging: Logging,
    drain_timeout_ms: u64,
    backends: Box<[Arc<Backend>]>,
    routes: Box<[Route]>,
    index: Index,
    offers: Offers,
}

impl Table {
    /// The number of its snapshot.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Addresses to accept on.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// What the listener at this address shows to callers that speak TLS.
    pub fn server_side(&self, address: SocketAddr) -> Option<&Arc<ServerSide>> {
        self.tls.iter().find(|(of, _)| *of == address).map(|(_, side)| side)
    }

    /// Address of the admin surface.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Bounds that the operator sets for the whole process.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The access log.
    pub fn logging(&self) -> &Logging {
        &self.logging
    }

    /// How long a drain may take.
    pub fn drain_timeout_ms(&self) -> u64 {
        self.drain_timeout_ms
    }

    /// All backends, in snapshot order.
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// All routes, in snapshot order.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// All endpoints with their backends, in snapshot order.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Backend, &Endpoint)> {
        self.backends.iter().flat_map(|backend| backend.endpoints.iter().map(move |it| (&**backend, it)))
    }

    /// When the credentials of its backends end.
    pub fn credentials(&self) -> Vec<CredentialStats> {
        let ends = |backend: &Arc<Backend>| {
            let until_s = backend.credential_until_s?;
            Some(CredentialStats { backend: backend.name.as_str().to_owned(), until_s })
        };
        self.backends.iter().filter_map(ends).collect()
    }

    /// How the queues of its backends stand.
    pub fn queues(&self, now: Moment) -> Vec<QueueStats> {
        let queues = self
            .backends
            .iter()
            .filter_map(|it| Some(it.admission.as_ref()?.stats(it.name.as_str(), &it.endpoints, now)));
        queues.collect()
    }

    /// The endpoint with this name (`backend/authority`).
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints().map(|(_, endpoint)| endpoint).find(|endpoint| endpoint.name.as_str() == name)
    }
}

/// A rule from request to backends, compiled.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent settings of the operator, read one by one")]
pub struct Route {
    /// Its name.
    pub name: Name,
    /// Its place in the order.
    pub order: u32,
    /// What it matches.
    pub conditions: Conditions,
    /// Where it sends, by weight.
    pub targets: Targets,
    /// How long the exchange may take for what.
    pub timeouts: Timeouts,
    /// Attempts in all, 1 to 3.
    pub attempts_max: u32,
    /// Retries allowed as a share of requests.
    pub retry_percent: u32,
    /// Answers carry `x-ringway-*` and `server-timing`.
    pub expose: bool,
    /// How requests are routed may be kept: their callers may ask for it, or they may be drawn.
    pub may_trace: bool,
    /// The share that is drawn.
    pub sample_percent: u32,
    /// How silent streams are kept open.
    pub pulse: Option<Pulse>,
    /// When another endpoint is asked beside a slow one.
    pub hedge: Option<Hedge>,
    /// A request that a translation would lose something of is refused.
    pub strict: bool,
    /// Usage is asked for in streams of Chat Completions, and kept from a caller that did not ask.
    pub force_usage: bool,
    /// The caller's `Host` is sent on.
    pub preserve_host: bool,
    /// POST may be repeated like GET.
    pub idempotent: bool,
    /// Where it sends when no target takes the request, one after another.
    pub fallback: Box<[Target]>,
    /// How urgent its requests are while they wait.
    pub class: Class,
    /// A destination has a queue in front.
    pub queues: bool,
    /// A destination has sessions.
    pub sessions: bool,
    /// The model must be known: to match, or to be replaced by an alias.
    pub reads_body: bool,
    /// A target chooses by what is asked for, not by load alone.
    pub wishes: bool,
    /// The key that the prompt is hashed with, if a target chooses by it: then the whole body is read before.
    pub prompt_key: Option<Arc<Key>>,
    /// What is known of models; none where nothing is, or nothing asks for it.
    pub catalogue: Option<Arc<Catalogue>>,
    /// All targets are `engine: http`: nothing is read as JSON unless the route matches on the model.
    pub raw: bool,
    /// A destination is a host of models that others make: it is asked in its own way.
    pub hosted: bool,
}

impl Route {
    /// Everywhere it may send.
    pub fn destinations(&self) -> impl Iterator<Item = &Target> {
        self.targets.list.iter().chain(&self.fallback)
    }
}

/// How long an exchange may take for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's last byte sent to the answer's head.
    pub first_byte_ms: u64,
    /// Between two reads of the answer's body.
    pub idle_ms: u64,
    /// The whole exchange, all attempts.
    pub total_ms: u64,
}

/// The targets of a route; at least one has a weight.
#[derive(Debug)]
pub struct Targets {
    /// In snapshot order.
    pub list: Box<[Target]>,
    /// All weights together, above 0.
    pub weight: u32,
}

/// One destination of a route.
#[derive(Debug)]
pub struct Target {
    /// Where.
    pub backend: Arc<Backend>,
    /// Its share; 0: none.
    pub weight: u32,
    /// The model's name there, put in place of what the caller wrote.
    pub model: Option<Alias>,
}

/// What a model is called at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alias {
    /// So.
    Name(Box<str>),
    /// As asked for, less what stands around the star of the route's glob, with this around it instead: `openai/*` to `*`.
    Around {
        /// In front.
        front: Box<str>,
        /// Behind.
        back: Box<str>,
    },
}

impl Alias {
    fn new(model: &str) -> Self {
        match model.split_once('*') {
            None => Self::Name(model.into()),
            Some((front, back)) => Self::Around { front: front.into(), back: back.into() },
        }
    }

    /// As it is written.
    pub fn written(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name),
            Self::Around { front, back } => Cow::Owned(format!("{front}*{back}")),
        }
    }

    /// The name there of a model that is asked for by this one, on a route with these globs.
    pub fn of(&self, asked: &[u8], globs: &[Glob]) -> Option<Cow<'_, str>> {
        let (front, back) = match self {
            Self::Name(name) => return Some(Cow::Borrowed(name)),
            Self::Around { front, back } => (front, back),
        };
        let star = star_of(asked, globs)?;
        Some(Cow::Owned(format!("{front}{}{back}", std::str::from_utf8(star).ok()?)))
    }
}

/// What the star of the first of these globs stands for that matches the model.
fn star_of<'m>(asked: &'m [u8], globs: &[Glob]) -> Option<&'m [u8]> {
    globs.iter().filter(|glob| glob.matches(asked)).find_map(|glob| glob.star(asked))
}

impl Target {
    /// What the model is called there, written into `room` where it is not written anywhere else. None: it has no name
    /// there, or it is too long for a model.
    pub fn model_written<'m>(
        &'m self,
        asked: &'m [u8],
        globs: &[Glob],
        room: &'m mut [u8; MODEL_BYTES_MAX],
    ) -> Option<&'m [u8]> {
        let (front, back) = match &self.model {
            None => return Some(asked),
            Some(Alias::Name(name)) => return Some(name.as_bytes()),
            Some(Alias::Around { front, back }) => (front.as_bytes(), back.as_bytes()),
        };
        let mut len = 0;
        for part in [front, star_of(asked, globs)?, back] {
            room.get_mut(len..len + part.len())?.copy_from_slice(part);
            len += part.len();
        }
        Some(&room[..len])
    }

    /// What the model is called there that a caller asks for by this name; none: the same.
    pub fn model_there(&self, asked: &[u8], route: &Route) -> Option<Cow<'_, str>> {
        self.model.as_ref()?.of(asked, &route.conditions.models)
    }
}

/// Endpoints that serve the same models.
#[derive(Debug)]
pub struct Backend {
    /// Its name.
    pub name: Name,
    /// What kind of server its endpoints are.
    pub engine: Engine,
    /// The grammar they speak.
    pub dialect: Dialect,
    /// Where they are; at least one.
    pub endpoints: Box<[Endpoint]>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// Models it names, for the listing.
    pub models: Box<[Box<str>]>,
    /// How long a connection may take to be made.
    pub connect_timeout_ms: u64,
    /// How its secure endpoints are spoken to.
    pub tls: Option<Arc<ClientSide>>,
    /// What is kept between requests.
    pub connections: Connections,
    /// Field name and value sent with each request.
    pub credential: Option<Credential>,
    /// When that ends, in seconds since 1970. It is sent all the same: who refuses it says so, and clocks differ.
    pub credential_until_s: Option<u64>,
    /// What `balance: gpu` chooses by.
    pub gpu: Option<Gpu>,
    /// What `balance: hash` chooses by.
    pub ring: Option<Ring>,
    /// In which form each answer is asked for the server's load.
    pub orca: Option<Orca>,
    /// The queue in front of it; none: requests go to endpoints at once.
    pub admission: Option<Admission>,
    /// Who shares that queue; none: all callers are one.
    pub tenants: Option<Tenants>,
    /// Who hosts its models, if not who makes them.
    pub hosting: Option<Hosting>,
    /// The tokens of its answers, where callers are preferably sent where they were before.
    pub sessions: Option<Sessions>,
    /// Weights of the endpoints added up, one entry each.
    pub(crate) cumulative: Box<[u32]>,
    /// Steps through the weights so that one period gives each its share, well mixed.
    pub(crate) stride: u32,
    /// Whose turn it is.
    pub(crate) turn: Arc<Turn>,
}

impl Backend {
    /// Whether it is spoken to in our own name: then nothing of what a caller proves itself with goes there, even where
    /// our own proof is no field, or is not there yet.
    pub fn is_ours(&self) -> bool {
        self.credential.is_some() || self.hosting.is_some()
    }

    /// Whether its first token is still to come: until then it has no addresses, whatever its names resolve to.
    pub fn awaits_token(&self) -> bool {
        self.credential.is_none() && matches!(self.hosting, Some(Hosting::Vertex { .. }))
    }

    /// What its endpoints can do, where tokens are counted on them.
    pub fn pool(&self) -> Option<&Pool> {
        let admission = self.admission.as_ref().map(Admission::pool);
        self.gpu.as_ref().map(Gpu::pool).or(admission)
    }
}

/// A secret field. Its value never shows in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Lower-case field name.
    pub header: Box<[u8]>,
    /// The whole field value.
    pub value: Box<[u8]>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({}: redacted)", String::from_utf8_lossy(&self.header))
    }
}

/// One address that serves a backend's models.
#[derive(Debug)]
pub struct Endpoint {
    /// `backend/authority`.
    pub name: Name,
    /// Where each worker keeps its connections to it.
    pub slot: Slot,
    /// `host:port` as configured: the `Host` sent.
    pub authority: Box<str>,
    /// Where it resolves to now; may be empty.
    pub addresses: Box<[SocketAddr]>,
    /// The name it must prove to be; none: it speaks plain text.
    pub secure: Option<ServerName<'static>>,
    /// Put before every path; empty or `/v1`.
    pub base_path: Box<str>,
    /// Its share relative to its siblings.
    pub weight: u32,
    /// Its load, shared with other tables and all workers.
    pub cell: Arc<LoadCell>,
    /// How it is, shared like its load.
    pub health: Arc<HealthCell>,
    /// What is seen of it, for whoever looks.
    pub seen: Arc<Seen>,
    /// Taken out by the configuration.
    pub drained: bool,
    /// Keeps the slot from being given to another endpoint.
    pub(crate) _hold: SlotHold,
}

impl Endpoint {
    /// Whether it takes no new requests, by configuration or by order.
    pub fn is_drained(&self) -> bool {
        self.drained || self.cell.is_drained()
    }

    /// Whether it is there at all: a half-open circuit that has its few requests is, an open one is not.
    pub fn is_there(&self) -> bool {
        !self.addresses.is_empty() && !self.is_drained() && self.health.state().takes_requests()
    }

    /// Whether it may be chosen, leaving aside what was tried before.
    pub fn is_eligible(&self) -> bool {
        !self.addresses.is_empty() && !self.is_drained() && self.health.admits()
    }
}
