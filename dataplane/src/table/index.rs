//! Narrows the routes down to those that a path could match.

/// The index.
#[derive(Debug)]
pub(super) struct Index {}
