//! Walking the nodes of a text.
//! Owns: what stands where. Must not: decide what a key means.
//! Read next: `text.rs`, what strings are handed out as.

use super::raw::Raw;
use super::text::Text;
use std::borrow::Cow;
use std::fmt::Write as _;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true`
    True,
    /// `false`
    False,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
    /// A key of an object; never handed out as a value.
    Key,
}

/// One value or key. A container's children follow it; `next` is the node behind all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) next: u32,
    pub(super) kind: Kind,
    /// A string that has a backslash in it.
    pub(super) escaped: bool,
}

/// Where a value stands in its text. Compares equal to any other: where something stood is no part of what it says.
#[derive(Clone, Copy, Debug)]
pub struct Place(u32);

impl Place {
    /// Nowhere: it was not read from a text.
    pub const NONE: Self = Self(u32::MAX);
}

impl Default for Place {
    fn default() -> Self {
        Self::NONE
    }
}

impl PartialEq for Place {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

/// One value of a text that was read.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    nodes: &'a [Node],
    text: &'a str,
    at: u32,
}

/// One entry of an object.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The key as written.
    pub key: &'a str,
    /// The key has escapes; compare [`Self::plain`].
    escaped: bool,
    /// What it stands for.
    pub value: Value<'a>,
}

impl<'a> Entry<'a> {
    /// The key.
    pub fn name(&self) -> Text<'a> {
        Text::written(self.key)
    }

    /// The key, unescaped.
    pub fn plain(&self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(self.name().plain().into_owned()) } else { Cow::Borrowed(self.key) }
    }

    /// Whether the key is this one, however it is escaped.
    pub fn is(&self, key: &str) -> bool {
        if self.escaped { self.name().is(key) } else { self.key == key }
    }
}

impl<'a> Value<'a> {
    pub(super) const fn root(nodes: &'a [Node], text: &'a str) -> Self {
        Self { nodes, text, at: 0 }
    }

    fn node(&self) -> &'a Node {
        &self.nodes[self.at as usize]
    }

    fn span(&self) -> &'a str {
        let node = self.node();
        &self.text[node.start as usize..node.end as usize]
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.node().kind
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        Place(self.at)
    }

    /// `null`, or something?
    pub fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    /// A string, as written.
    pub fn text(&self) -> Option<Text<'a>> {
        (self.kind() == Kind::String).then(|| Text::written(self.span()))
    }

    /// A truth value.
    pub fn truth(&self) -> Option<bool> {
        match self.kind() {
            Kind::True => Some(true),
            Kind::False => Some(false),
            Kind::Null | Kind::Number | Kind::String | Kind::Array | Kind::Object | Kind::Key => None,
        }
    }

    /// A number, as written.
    pub fn number(&self) -> Option<&'a str> {
        (self.kind() == Kind::Number).then(|| self.span())
    }

    /// A whole number that is not negative: `3`, `3.0`.
    pub fn integer(&self) -> Option<u64> {
        self.number().and_then(super::integral)
    }

    /// The value as it is written, quotes included.
    pub fn raw(&self) -> Raw<'a> {
        let node = self.node();
        let quotes = u32::from(matches!(node.kind, Kind::String | Kind::Key));
        Raw::written(&self.text[(node.start - quotes) as usize..(node.end + quotes) as usize])
    }

    /// The entries of an object, in their order.
    pub fn fields(&self) -> Option<Fields<'a>> {
        (self.kind() == Kind::Object).then(|| Fields { of: *self, at: self.at + 1 })
    }

    /// The elements of an array, in their order.
    pub fn elements(&self) -> Option<Elements<'a>> {
        (self.kind() == Kind::Array).then(|| Elements { of: *self, at: self.at + 1 })
    }

    /// What an object has under this key: the last, if there are several; `None` also for `null`.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let last = self.fields()?.filter(|entry| entry.is(key)).last()?;
        (!last.value.is_null()).then_some(last.value)
    }

    /// The string an object has under this key.
    pub fn get_text(&self, key: &str) -> Option<Text<'a>> {
        self.get(key)?.text()
    }

    /// The whole number an object has under this key.
    pub fn get_integer(&self, key: &str) -> Option<u64> {
        self.get(key)?.integer()
    }

    /// A key that an object has twice. Keys compare unescaped.
    pub fn duplicate(&self) -> Option<Entry<'a>> {
        let fields = self.fields()?;
        let escaped = fields.clone().any(|entry| entry.escaped);
        if fields.clone().nth(FEW_FIELDS).is_none() && !escaped {
            return fields.clone().enumerate().find_map(|(n, entry)| {
                fields.clone().take(n).any(|earlier| earlier.key == entry.key).then_some(entry)
            });
        }
        let mut keys: Vec<_> = fields.map(|entry| (entry.plain(), entry)).collect();
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        keys.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1)
    }

    /// The JSON pointer (RFC 6901) of a place below this value.
    pub fn pointer(&self, place: Place) -> String {
        let mut pointer = String::new();
        let mut value = *self;
        while value.at < place.0 && place.0 < value.node().next {
            let Some(below) = value.step_towards(place.0, &mut pointer) else { break };
            value = below;
        }
        pointer
    }

    fn step_towards(self, at: u32, pointer: &mut String) -> Option<Value<'a>> {
        let holds = |value: &Value<'_>| (value.at..value.node().next).contains(&at);
        if let Some(mut fields) = self.fields() {
            let entry = fields.find(|entry| holds(&entry.value))?;
            pointer.push('/');
            pointer.push_str(&entry.name().plain().replace('~', "~0").replace('/', "~1"));
            return Some(entry.value);
        }
        let (n, value) = self.elements()?.enumerate().find(|(_, value)| holds(value))?;
        let _ = write!(pointer, "/{n}");
        Some(value)
    }
}

/// Up to here, comparing each key with each is cheaper than sorting.
const FEW_FIELDS: usize = 12;

/// See [`Value::fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    of: Value<'a>,
    at: u32,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        if self.at >= self.of.node().next {
            return None;
        }
        let key = Value { at: self.at, ..self.of };
        let value = Value { at: self.at + 1, ..self.of };
        self.at = value.node().next;
        Some(Entry { key: key.span(), escaped: key.node().escaped, value })
    }
}

/// See [`Value::elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    of: Value<'a>,
    at: u32,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.at >= self.of.node().next {
            return None;
        }
        let value = Value { at: self.at, ..self.of };
        self.at = value.node().next;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Surrogates, Tape};
    use super::*;

    #[test]
    fn a_place_is_found_again_as_a_pointer() {
        let text = r#"{"messages":[{"role":"u"},{"content":[{"a/b~c":[1,{"x":2}]}]}],"seed":7}"#;
        let mut tape = Tape::new();
        let root = tape.read(text, Surrogates::Refuse).expect("JSON");
        let message = root.get("messages").expect("there").elements().expect("array").nth(1).expect("two");
        let odd = message.get("content").expect("there").elements().expect("array").next().expect("one");
        let deep = odd.get("a/b~c").expect("there").elements().expect("array").nth(1).expect("two");
        let two = deep.get("x").expect("there");
        assert_eq!(root.pointer(two.place()), "/messages/1/content/0/a~1b~0c/1/x");
        assert_eq!(root.pointer(root.get("seed").expect("there").place()), "/seed");
        assert_eq!(root.pointer(root.place()), "");
        assert_eq!(root.pointer(Place::NONE), "");
    }

    #[test]
    fn a_key_that_stands_twice_is_found_however_it_is_written() {
        let many = (0..40).fold(String::new(), |all, n| all + &format!("\"k{n}\":{n},"));
        for (text, twice) in [
            (r#"{"a":1,"b":2}"#.to_owned(), false),
            (r#"{"a":1,"b":2,"a":3}"#.to_owned(), true),
            (r#"{"model":1,"\u006dodel":2}"#.to_owned(), true),
            (format!("{{{many}\"z\":0}}"), false),
            (format!("{{{many}\"k7\":0}}"), true),
        ] {
            let mut tape = Tape::new();
            let root = tape.read(&text, Surrogates::Refuse).expect("JSON");
            assert_eq!(root.duplicate().is_some(), twice, "{text}");
        }
    }

    #[test]
    fn values_come_out_as_they_were_written() {
        let text = r#"{"s":"a\nb","n":1.0,"o":{ "x" : [1e2] },"t":true,"z":null,"i":3.0}"#;
        let mut tape = Tape::new();
        let root = tape.read(text, Surrogates::Refuse).expect("JSON");
        assert_eq!(root.get_text("s").expect("there").plain(), "a\nb");
        assert_eq!(root.get("s").expect("there").raw().as_str(), r#""a\nb""#);
        assert_eq!(root.get("n").expect("there").number(), Some("1.0"));
        assert_eq!(root.get("o").expect("there").raw().as_str(), r#"{ "x" : [1e2] }"#);
        assert_eq!(root.get("t").expect("there").truth(), Some(true));
        assert!(root.get("z").is_none());
        assert_eq!(root.get_integer("i"), Some(3));
    }
}
