//! See ARCHITECTURE.md.

pub mod control;
pub mod observe;
