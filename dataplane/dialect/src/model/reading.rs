//! A body that is being read, or written from, with the list of what gets lost on the way.
//! Owns: naming places in the body, and the questions that every reader asks of a value.
//! Must not: know a field of any dialect.
//! Read next: `loss.rs`.

use super::failure::Refused;
use super::loss::Losses;
use super::request::{Placed, Source};
use crate::json::{Elements, Entry, Fields, Kind, Place, Raw, Text, Value};

/// A body that is being read or written from, and the list of what gets lost on the way.
#[derive(Debug)]
pub struct Reading<'r, 'a> {
    /// The body.
    pub source: Source<'a>,
    /// The list.
    pub losses: &'r mut Losses,
}

impl<'r, 'a> Reading<'r, 'a> {
    /// Of this body.
    pub const fn of(source: Source<'a>, losses: &'r mut Losses) -> Self {
        Self { source, losses }
    }

    /// See [`Losses::dropped`].
    pub fn dropped(&mut self, at: Place) {
        self.losses.dropped(&self.source.pointer(at));
    }

    /// See [`Losses::approximated`].
    pub fn approximated(&mut self, at: Place, value: &str) {
        self.losses.approximated(&self.source.pointer(at), value);
    }

    /// See [`Losses::noted`].
    pub fn noted(&mut self, at: Place, value: &str) {
        self.losses.noted(&self.source.pointer(at), value);
    }

    /// A field of an object that nobody here knows; null says nothing.
    pub fn unknown(&mut self, entry: &Entry<'_>) {
        if !entry.value.is_null() {
            self.dropped(entry.value.place());
        }
    }

    /// A refusal of what stands there.
    pub fn refused(&self, at: Place, message: impl Into<String>) -> Refused {
        Refused::field(self.source.pointer(at), message)
    }

    /// A refusal of what stands there because the target cannot do it.
    pub fn unsupported(&self, at: Place, message: impl Into<String>) -> Refused {
        Refused::unsupported(self.source.pointer(at), message)
    }

    /// Refuses an object in which a key stands twice: readers differ on which one counts.
    pub fn unique(&self, object: Value<'a>) -> Result<(), Refused> {
        object.duplicate().map_or(Ok(()), |entry| {
            Err(self.refused(entry.value.place(), "this key stands twice in its object"))
        })
    }

    /// The entries of what must be an object without a key that stands twice.
    pub fn fields(&self, value: Value<'a>) -> Result<Fields<'a>, Refused> {
        let fields = value.fields().ok_or_else(|| self.refused(value.place(), "must be an object"))?;
        self.unique(value)?;
        Ok(fields)
    }

    /// The elements of what must be an array of at most so many.
    pub fn elements(&self, value: Value<'a>, most: usize) -> Result<Elements<'a>, Refused> {
        let elements = value.elements().ok_or_else(|| self.refused(value.place(), "must be an array"))?;
        match elements.clone().nth(most) {
            Some(one) => Err(self.refused(one.place(), format!("more than {most} elements"))),
            None => Ok(elements),
        }
    }

    /// What must be a string.
    pub fn text(&self, value: Value<'a>) -> Result<Text<'a>, Refused> {
        value.text().ok_or_else(|| self.refused(value.place(), "must be a string"))
    }

    /// What must be a whole number that is not negative.
    pub fn integer(&self, value: Value<'a>) -> Result<u64, Refused> {
        value.integer().ok_or_else(|| self.refused(value.place(), "must be a whole number, zero or more"))
    }

    /// What must be true or false.
    pub fn truth(&self, value: Value<'a>) -> Result<bool, Refused> {
        value.truth().ok_or_else(|| self.refused(value.place(), "must be true or false"))
    }

    /// What must be a number; its text is kept.
    pub fn number(&self, value: Value<'a>) -> Result<Raw<'a>, Refused> {
        self.kind(value, Kind::Number, "must be a number")
    }

    /// What must be an object; its text is kept.
    pub fn object(&self, value: Value<'a>) -> Result<Raw<'a>, Refused> {
        self.kind(value, Kind::Object, "must be an object")
    }

    /// A text that an object must have.
    pub fn wanted_text(&self, object: Value<'a>, key: &str) -> Result<Text<'a>, Refused> {
        let value = object.get(key).ok_or_else(|| self.refused(object.place(), format!("wants `{key}`")))?;
        self.text(value)
    }

    /// The value with its place.
    pub fn placed<T>(value: T, of: Value<'a>) -> Placed<T> {
        Placed { value, at: of.place() }
    }

    fn kind(&self, value: Value<'a>, kind: Kind, message: &str) -> Result<Raw<'a>, Refused> {
        if value.kind() == kind { Ok(value.raw()) } else { Err(self.refused(value.place(), message)) }
    }
}
