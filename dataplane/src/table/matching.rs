//! Finds the route of a request: the first whose conditions all hold.
//!
//! Owns: the conditions and the one function that tries them. `route` and `explain` both call it.
//! Must not: read a body, or decode what it compares (a name is compared byte for byte).
//! Read next: `index`, which keeps this fast with ten thousand routes.

use std::net::IpAddr;

use super::{Route, Table};
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

/// The conditions of a route, compiled.
#[derive(Debug)]
pub struct Conditions {}

impl Table {
    /// Where this request goes.
    pub fn route(&self, ask: &Ask<'_>) -> Verdict<'_> {
        let _ = ask;
        todo!()
    }
}
