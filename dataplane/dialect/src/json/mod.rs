//! JSON as the translators need it: a flat tree over the text as it stands, and writing.
//!
//! Owns: the tree ([`Tape`], [`Value`]), strings and values kept as they were written ([`Text`], [`Raw`]), and
//! the escapes of what we write ([`string`]).
//! Must not: undo an escape that nobody reads, reorder a key, or put a number through a float.
//! Read next: `tape.rs`.

mod edits;
mod members;
mod number;
mod raw;
mod run;
mod tape;
mod text;
mod value;
mod write;

pub use edits::Edits;
pub use members::{List, Members};
pub use number::{decimal, integral};
pub use raw::Raw;
pub use tape::{Fault, Surrogates, Tape};
pub use text::Text;
pub use value::{Elements, Entry, Fields, Kind, Place, Value};
pub use write::{number, string, string_or_null};
