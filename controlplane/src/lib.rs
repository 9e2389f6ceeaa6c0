//! See ARCHITECTURE.md.

pub mod bounds;
pub mod config;
