//! JSON texts, read as they pass: checked byte by byte, at any split, without building a value.
//! Owns: the grammar, the few top-level facts of a request body, and the splice of `model`.
//! Must not: allocate by what the peer sends, recurse, or change a byte it did not set out to change.
//! Read next: `scanner.rs` (what a request says), then `grammar.rs` (the machine under it).

mod error;
pub(crate) mod grammar;
mod passing;
mod prompt;
mod scanner;
mod splice;

pub use error::{JsonError, Key};
pub use prompt::{Part, Piece, PromptScanner};
pub use scanner::{Bounds, Model, Scanner};
pub use splice::{splice_model, spliced_len, write_string};
