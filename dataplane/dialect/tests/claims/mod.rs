//! What is claimed of the sixteen directions.
//! Owns: the list. Must not: hold a claim itself.
//! Read next: `answers.rs`.

mod answers;
mod cuts;
mod disorder;
mod emit;
mod golden;
mod requests;
mod table;
