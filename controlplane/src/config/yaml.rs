//! From text to nodes that know their place.
//!
//! Owns: the bounds on size, depth and number of nodes, and the refusal of what makes YAML surprising:
//! duplicate keys, tags, several documents, aliases that grow without end.
//! Must not: know any field.
//! Read next: `decode.rs`, which walks the nodes.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::decode::{Place, Sink, join};
use super::redact;
use super::values::{Fault, quoted};
use crate::bounds::{CONFIG_BYTES_MAX, CONFIG_DEPTH_MAX, CONFIG_NODES_MAX};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Bytes of the text; of a mapping or a list, those of its beginning.
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// What a node holds. Scalars stay text: what they mean depends on the field.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar { text: String, plain: bool },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

impl Node {
    /// How many nodes it is, itself and keys included.
    fn count(&self) -> usize {
        match &self.value {
            Value::Scalar { .. } => 1,
            Value::List(items) => 1 + items.iter().map(Node::count).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|(_, node)| 1 + node.count()).sum::<usize>(),
        }
    }
}

/// Reads the one document of `text`. What is wrong goes to `sink`; none: there is nothing to go on with.
pub(super) fn read(text: &str, sink: &Sink) -> Option<Node> {
    let whole = Place { path: String::new(), span: 0..text.chars().next().map_or(0, char::len_utf8) };
    if text.len() > CONFIG_BYTES_MAX {
        sink.error(&whole, Fault::new(format!("larger than {} MiB", CONFIG_BYTES_MAX >> 20)));
        return None;
    }
    let mut tree = Tree {
        sink,
        offsets: Offsets::of(text),
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
    };
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => {
                let span = tree.offsets.range(span);
                tree.take(event, span)
            }
            Err(error) => {
                let fatal = tree.syntax(&error);
                sink.hide(redact::secrets_of_line(text, fatal.0.span.start));
                Err(fatal)
            }
        };
        if let Err((place, fault)) = step {
            sink.error(&place, fault);
            return None;
        }
    }
    if tree.root.is_none() {
        let fault = Fault::new("the file is empty").mend("start from one of docs/examples");
        sink.error(&whole, fault);
    }
    tree.root
}

/// What ends the reading, and where.
type Fatal = (Place, Fault);

/// The part of the document that is built so far.
struct Tree<'s> {
    sink: &'s Sink,
    offsets: Offsets,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

/// A list or mapping whose end has not come.
struct Open {
    span: Range<usize>,
    anchor: usize,
    shape: Shape,
}

enum Shape {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, seen: HashSet<String>, next: Next },
}

/// What the next node of a mapping is.
enum Next {
    Key,
    ValueOf(Key),
    /// The value of a key that was refused. It leaves the walk here, so its secrets are hidden here.
    Dropped {
        secret: bool,
    },
}

impl Tree<'_> {
    fn take(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), Fatal> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                let fault =
                    Fault::new("a second document in one file").mend("one file holds one configuration");
                Err((self.place(span), fault))
            }
            Event::Nothing
            | Event::StreamStart
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamEnd => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                let plain = matches!(style, ScalarStyle::Plain);
                let node = Node { span, value: Value::Scalar { text: text.into_owned(), plain } };
                self.complete(node, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                self.open(span, anchor, Shape::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                let shape = Shape::Map { entries: Vec::new(), seen: HashSet::new(), next: Next::Key };
                self.open(span, anchor, shape)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, span),
        }
    }

    fn open(&mut self, span: Range<usize>, anchor: usize, shape: Shape) -> Result<(), Fatal> {
        if self.stack.len() >= CONFIG_DEPTH_MAX {
            let fault = Fault::new(format!("nested deeper than {CONFIG_DEPTH_MAX} levels"));
            return Err((self.place(span), fault));
        }
        self.stack.push(Open { span, anchor, shape });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fatal> {
        let open = self.stack.pop().expect("the parser balances starts and ends");
        let (span, value) = match open.shape {
            Shape::List(items) => (open.span, Value::List(items)),
            // A block mapping begins where its first key does; the parser gives it no width.
            Shape::Map { entries, .. } => (widen(open.span, entries.first()), Value::Map(entries)),
        };
        self.complete(Node { span, value }, open.anchor)
    }

    /// Copies what the alias stands for, counted like written out, so that growth has an end.
    fn alias(&mut self, anchor: usize, span: Range<usize>) -> Result<(), Fatal> {
        let Some(node) = self.anchors.get(&anchor) else {
            let fault = Fault::new("an alias inside its own anchor").mend("write the value out");
            return Err((self.place(span), fault));
        };
        if self.nodes + node.count() > CONFIG_NODES_MAX {
            return Err((self.place(span), too_many()));
        }
        self.nodes += node.count();
        let node = Node { span, ..node.clone() };
        self.complete(node, 0)
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Fatal> {
        self.nodes += 1;
        if self.nodes > CONFIG_NODES_MAX {
            return Err((self.place(node.span), too_many()));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(mut open) = self.stack.pop() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.shape {
            Shape::List(items) => items.push(node),
            Shape::Map { entries, seen, next } => match std::mem::replace(next, Next::Key) {
                Next::Key => *next = self.key(node, seen),
                Next::ValueOf(key) => entries.push((key, node)),
                Next::Dropped { secret } => self.sink.hide(redact::secrets(&node, secret)),
            },
        }
        self.stack.push(open);
        Ok(())
    }

    /// What a node in the place of a key makes of the next one. The mapping is off the stack meanwhile.
    fn key(&self, node: Node, seen: &mut HashSet<String>) -> Next {
        let refuse = |key: &str, fault| {
            let path = join(&self.place(0..0).path, key);
            self.sink.error(&Place { path, span: node.span.clone() }, fault);
            Next::Dropped { secret: redact::is_secret(key) }
        };
        let Value::Scalar { text, .. } = &node.value else {
            return refuse(
                "",
                Fault::new("a key is a text, not a list or a mapping").mend("quote braces and brackets"),
            );
        };
        if text == "<<" {
            return refuse(
                text,
                Fault::new("merge keys are not part of YAML 1.2").mend("write the fields out"),
            );
        }
        if !seen.insert(text.clone()) {
            let fault = Fault::new(format!("{} is here twice", quoted(text))).mend("remove one of them");
            return refuse(text, fault);
        }
        Next::ValueOf(Key { text: text.clone(), span: node.span })
    }

    fn refuse_tag(&self, tagged: bool, span: &Range<usize>) {
        if tagged {
            let fault = Fault::new("tags have no meaning here")
                .mend("remove the `!…`; quote a text that looks like a number");
            self.sink.error(&self.place(span.clone()), fault);
        }
    }

    /// The place of what comes next.
    fn place(&self, span: Range<usize>) -> Place {
        let mut path = String::new();
        for open in &self.stack {
            match &open.shape {
                Shape::List(items) => path = format!("{path}[{}]", items.len()),
                Shape::Map { next: Next::ValueOf(key), .. } => path = join(&path, &key.text),
                Shape::Map { .. } => {}
            }
        }
        Place { path, span }
    }

    fn syntax(&self, error: &ScanError) -> Fatal {
        let index = error.marker().index();
        (self.place(self.offsets.byte(index)..self.offsets.byte(index + 1)), reword(error.info()))
    }
}

fn widen(span: Range<usize>, first: Option<&(Key, Node)>) -> Range<usize> {
    match first {
        Some((key, _)) if span.is_empty() => key.span.clone(),
        Some(_) | None => span,
    }
}

fn too_many() -> Fault {
    Fault::new(format!("more than {CONFIG_NODES_MAX} values")).mend("split the work over several instances")
}

/// The parser's words, with a mend for the usual slips.
fn reword(info: &str) -> Fault {
    let fault = Fault::new(format!("not valid YAML: {info}"));
    let mend = if info.contains("tab") {
        "indent with spaces"
    } else if info.contains("mapping values are not allowed") || info.contains("placement of ':'") {
        "check the indentation, close brackets, and quote a text that holds `: `"
    } else if info.contains("unexpected character") {
        "quote the text"
    } else if info.contains("quoted scalar, found unexpected end") {
        "close the quotation mark"
    } else if info.contains("Unicode character escape") {
        "write the character itself instead of its escape"
    } else {
        return fault;
    };
    fault.mend(mend)
}

/// From the parser's count of characters to bytes.
struct Offsets {
    /// Byte offset of each character; none: the text is ASCII and both counts agree.
    table: Option<Vec<u32>>,
    len: usize,
}

impl Offsets {
    fn of(text: &str) -> Self {
        let table = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at as u32).collect());
        Self { table, len: text.len() }
    }

    fn byte(&self, index: usize) -> usize {
        let byte = match &self.table {
            None => index,
            Some(table) => table.get(index).map_or(self.len, |&at| at as usize),
        };
        byte.min(self.len)
    }

    fn range(&self, span: Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }
}
