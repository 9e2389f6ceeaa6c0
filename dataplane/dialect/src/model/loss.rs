//! What could not be carried over, said in one header.
//!
//! The header is an RFC 9651 list: `drop;f="/seed"`, `approx;f="/temperature";v="1"`,
//! `note;f="/messages/4";v="foreign-reasoning"`. `f` points into the body it was read from; no content is in it.
//! Owns: the list and its bound. Must not: decide what counts as a loss.
//! Read next: `failure.rs`, what cannot be carried at all.

use super::failure::Refused;
use crate::bounds::{LOSS_HEADER_BYTES_MAX, LOSS_MORE_BYTES_MAX, LOSS_POINTER_BYTES_MAX};
use std::fmt::Write as _;

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Drop,
    Approx,
    Note,
}

/// The list of what was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    header: String,
    /// Entries that did not fit.
    more: u32,
    /// The first entry that a strict route does not put up with.
    first: Option<String>,
}

impl Losses {
    /// Nothing lost.
    pub const fn new() -> Self {
        Self { header: String::new(), more: 0, first: None }
    }

    /// Something has no effect at the target.
    pub fn dropped(&mut self, pointer: &str) {
        self.add(What::Drop, pointer, "");
    }

    /// Something means something a little different at the target; `value` says what it became, if that is short.
    pub fn approximated(&mut self, pointer: &str, value: &str) {
        self.add(What::Approx, pointer, value);
    }

    /// Something worth knowing that changes no meaning. Strict routes put up with it.
    pub fn noted(&mut self, pointer: &str, value: &str) {
        self.add(What::Note, pointer, value);
    }

    /// The value of `x-ringway-loss`; empty if nothing was lost.
    pub fn header(&self) -> String {
        let mut header = self.header.clone();
        if self.more > 0 {
            let _ = write!(header, ", more;n={}", self.more);
        }
        header
    }

    /// Is there anything to say?
    pub fn is_empty(&self) -> bool {
        self.header.is_empty() && self.more == 0
    }

    /// The refusal that a strict route answers with, if anything was dropped or changed.
    pub fn strictly(&self) -> Result<(), Refused> {
        let Some(pointer) = &self.first else { return Ok(()) };
        let message =
            "the target of this strict route cannot express this field; leave it out, or ask without strict";
        Err(Refused::unsupported(pointer.clone(), message))
    }

    fn add(&mut self, what: What, pointer: &str, value: &str) {
        if self.first.is_none() && what != What::Note {
            self.first = Some(pointer.to_owned());
        }
        let mark = self.header.len();
        let word = match what {
            What::Drop => "drop",
            What::Approx => "approx",
            What::Note => "note",
        };
        let comma = if mark == 0 { "" } else { ", " };
        let _ = write!(self.header, "{comma}{word};f=\"");
        self.quoted(pointer);
        if !value.is_empty() {
            self.header.push_str("\";v=\"");
            self.quoted(value);
        }
        self.header.push('"');
        let known = self.header[..mark].contains(&self.header[mark + comma.len()..]);
        if known || self.header.len() + LOSS_MORE_BYTES_MAX > LOSS_HEADER_BYTES_MAX {
            self.header.truncate(mark);
            self.more += u32::from(!known);
        }
    }

    /// The inside of a string of RFC 9651: printable ASCII.
    fn quoted(&mut self, text: &str) {
        for character in text.chars().take(LOSS_POINTER_BYTES_MAX) {
            match character {
                '"' | '\\' => self.header.extend(['\\', character]),
                ' '..='~' => self.header.push(character),
                _ => self.header.push('?'),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_a_list_of_rfc_9651() {
        let mut losses = Losses::new();
        losses.dropped("/seed");
        losses.approximated("/temperature", "1");
        losses.noted("/messages/4", "foreign-reasoning");
        losses.dropped("/a\"b\u{e9}");
        losses.dropped("/seed");
        let expected = r#"drop;f="/seed", approx;f="/temperature";v="1", note;f="/messages/4";v="foreign-reasoning", drop;f="/a\"b?""#;
        assert_eq!(losses.header(), expected);
        assert_eq!(losses.strictly().expect_err("strict").pointer, "/seed");
    }

    #[test]
    fn a_long_list_ends_with_how_many_more_there_are() {
        let mut losses = Losses::new();
        (0..10_000).for_each(|n| losses.noted(&format!("/messages/{n}"), "x"));
        let header = losses.header();
        assert!(header.len() <= LOSS_HEADER_BYTES_MAX, "{}", header.len());
        let (_, last) = header.rsplit_once(", ").expect("many");
        let kept = header.matches("note").count();
        assert_eq!(last, format!("more;n={}", 10_000 - kept));
        assert_eq!(losses.strictly(), Ok(()), "a note is no loss");
    }
}
