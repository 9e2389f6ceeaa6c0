//! What became of each request, and of a whole run.
//!
//! Owns: the closed set of fates.
//! Must not: judge; see [`super::judge`].
//! Read next: [`super::drive`], which writes them.

use std::time::Duration;

use ringway_dataplane::admission::queue::Why;

use super::gateway::Left;
use super::material::Ask;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// Nothing yet.
    Open,
    /// It got all of its tokens.
    Served,
    /// The queue refused it (429), and it was told when to come back.
    Refused(Refused),
    /// No endpoint was there (503).
    Nowhere,
    /// Its server went away: after the caller had the head of its answer, or before.
    Broken {
        /// The caller had seen a byte.
        seen: bool,
    },
    /// Its caller left.
    Left,
}

/// How the queue refused a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refused {
    /// Why; none: callers are only told when to come back.
    pub why: Option<Why>,
    /// When.
    pub at: Duration,
    /// What it was told.
    pub retry_after: Duration,
}

/// One request, when all is over.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// What it was.
    pub ask: Ask,
    /// What became of it.
    pub fate: Fate,
    /// When it was bound to an endpoint.
    pub bound: Option<Duration>,
    /// Which one.
    pub engine: usize,
    /// When its first token came.
    pub first: Option<Duration>,
    /// When its last token came.
    pub last: Duration,
    /// How many came.
    pub tokens: u32,
    /// Tokens of its prompt that were found in the engine's cache, once its head is out.
    pub cached: Option<u32>,
    /// Its first refusal, if its caller came back when it was told to.
    pub came_back: Option<Refused>,
}

impl Outcome {
    /// Of one that has just arrived.
    pub const fn open(ask: Ask) -> Self {
        Self {
            ask,
            fate: Fate::Open,
            bound: None,
            engine: 0,
            first: None,
            last: ask.at,
            tokens: 0,
            cached: None,
            came_back: None,
        }
    }
}

/// A whole run.
#[derive(Debug)]
pub struct Record {
    /// Each request.
    pub outcomes: Vec<Outcome>,
    /// What the gateways still count.
    pub left: Vec<Left>,
    /// Requests in each engine, once a second.
    pub load: Vec<(Duration, Vec<u16>)>,
    /// Adapters that the engines loaded.
    pub adapter_loads: u64,
    /// Requests still in an engine a second after the last caller left, where callers leave.
    pub stranded: usize,
    /// Tokens that were generated for callers that had left.
    pub unseen_tokens: u64,
}
