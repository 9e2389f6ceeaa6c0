//! Globs: `*` any run of bytes, `?` one byte.
//!
//! Read next: [`super::matching`].
