//! The atomics that the cells are made of.
//!
//! Owns: one list of names. The test `tests/interleavings.rs` compiles [`super::life`] beside another list of the same
//! names, loom's, and so tries every order in which threads may meet there.
//! Must not: hold anything but names.
//! Read next: [`super::life`].

pub use std::sync::atomic::{
    AtomicI32, AtomicI64, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
