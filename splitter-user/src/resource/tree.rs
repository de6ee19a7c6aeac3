//! YAML text as trees of located nodes.
//!
//! The events come from serde-saphyr's parser. Going by way of serde would end at the first thing
//! that is wrong; a tree lets the reader look at every field and report all of them. Scalars stay
//! as they were written: `version: 1.10` is a text, not a number.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use crate::diagnostic::{Position, Report};

/// Most nodes that the documents of a text may have, aliases written out: more than the largest text that the API
/// takes has as backends one to a line, and less than 50 MB of memory.
const MAX_NODES: usize = 250_000;
/// Most bytes that their values may have, aliases written out.
const MAX_BYTES: usize = 16 << 20;
/// Deepest nesting, aliases written out.
const MAX_DEPTH: usize = 32;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing: an empty value, `~` or `null`.
    Null,
    /// A scalar as it was written, escapes undone.
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// The key of an entry.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) at: Position,
    pub(super) text: String,
}

impl Node {
    /// The value of a key, if this is a map that has it.
    pub(super) fn entry(&self, name: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let found = entries.iter().find(|(key, _)| key.text == name);
        found.map(|(_, node)| node)
    }

    /// A scalar as it was written.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Reads all documents. One with a syntax error is reported and left out; empty ones are skipped.
pub(super) fn documents(text: &str, report: &mut Report<'_>) -> Vec<Node> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        report,
        anchors: HashMap::new(),
        size: Size::default(),
    };
    let mut documents = Vec::new();
    loop {
        match builder.document() {
            Ok(Some(Node {
                value: Value::Null, ..
            })) => {}
            Ok(Some(node)) => documents.push(node),
            Ok(None) => return documents,
            Err(Stop::Document) => match builder.parser.proceed_next_document() {
                Ok(true) => {}
                Ok(false) | Err(_) => return documents,
            },
            Err(Stop::Text) => return documents,
        }
    }
}

/// Why no node came: it was reported.
enum Stop {
    /// The rest of the document cannot be read.
    Document,
    /// Nor can the rest of the text.
    Text,
}

/// What counts against the limits.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

/// An anchored node and what it adds to the limits.
struct Anchor {
    node: Node,
    size: Size,
    depth: usize,
}

struct Builder<'t, 'r, 's> {
    parser: Parser<'t, StrInput<'t>>,
    report: &'r mut Report<'s>,
    anchors: HashMap<usize, Anchor>,
    size: Size,
}

impl<'t> Builder<'t, '_, '_> {
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        self.anchors.clear();
        loop {
            let Some((event, span)) = self.next()? else {
                return Ok(None);
            };
            match event {
                Event::StreamEnd => return Ok(None),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => return self.node(event, span, 1).map(|(node, _)| Some(node)),
            }
        }
    }

    /// The next event that is not a comment.
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Stop> {
        loop {
            match self.parser.next_event() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(event)) => return Ok(Some(event)),
                Some(Err(error)) => {
                    let mark = error.marker();
                    let at = Position {
                        line: mark.line(),
                        column: mark.col() + 1,
                        width: 1,
                    };
                    self.report.error(
                        at,
                        "",
                        format!("this is not YAML: {}", error.info()),
                        "look at the indentation, colons, quotes and brackets here and just above",
                    );
                    return Err(Stop::Document);
                }
            }
        }
    }

    /// The node that begins with this event, and how deep it is.
    fn node(&mut self, event: Event<'t>, span: Span, level: usize) -> Result<(Node, usize), Stop> {
        let at = position(&span);
        let before = self.size;
        let bytes = match &event {
            Event::Scalar(text, ..) => text.len(),
            _ => 0,
        };
        self.count(Size { nodes: 1, bytes }, level, at)?;
        self.refuse_tag(&event, at);
        let (anchor, value, depth) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let null = style == ScalarStyle::Plain
                    && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                let value = if null {
                    Value::Null
                } else {
                    Value::Scalar(text.into_owned())
                };
                (anchor, value, 1)
            }
            Event::SequenceStart(_, anchor, _) => {
                let (list, depth) = self.list(level)?;
                (anchor, Value::List(list), depth)
            }
            Event::MappingStart(_, anchor, _) => {
                let (map, depth) = self.map(level)?;
                (anchor, Value::Map(map), depth)
            }
            Event::Alias(id) => return self.alias(id, at, level),
            _ => return Err(self.unreadable(at)),
        };
        let node = Node { at, value };
        if anchor != 0 {
            let size = Size {
                nodes: self.size.nodes - before.nodes,
                bytes: self.size.bytes - before.bytes,
            };
            // It is kept once more: anchors around anchors around much would otherwise cost many times that.
            self.count(size, level, at)?;
            let node = node.clone();
            self.anchors.insert(anchor, Anchor { node, size, depth });
        }
        Ok((node, depth))
    }

    fn list(&mut self, level: usize) -> Result<(Vec<Node>, usize), Stop> {
        let (mut list, mut deepest) = (Vec::new(), 0);
        loop {
            let (event, span) = self.next()?.ok_or(Stop::Text)?;
            if event == Event::SequenceEnd {
                return Ok((list, deepest + 1));
            }
            let (node, depth) = self.node(event, span, level + 1)?;
            deepest = deepest.max(depth);
            list.push(node);
        }
    }

    fn map(&mut self, level: usize) -> Result<(Vec<(Key, Node)>, usize), Stop> {
        let (mut map, mut deepest): (Vec<(Key, Node)>, usize) = (Vec::new(), 0);
        let mut lines = HashMap::new();
        loop {
            let (event, span) = self.next()?.ok_or(Stop::Text)?;
            if event == Event::MappingEnd {
                return Ok((map, deepest + 1));
            }
            let merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let (key, _) = self.node(event, span, level + 1)?;
            let (event, span) = self.next()?.ok_or(Stop::Text)?;
            let (node, depth) = self.node(event, span, level + 1)?;
            deepest = deepest.max(depth);
            let Value::Scalar(text) = key.value else {
                let message = format!("the key of an entry is {}", key.kind());
                self.report
                    .error(key.at, "", message, "write the name of a field");
                continue;
            };
            let key = Key { at: key.at, text };
            if merge {
                self.report.error(
                    key.at,
                    "",
                    "merge keys (`<<`) are not read here",
                    "write the fields out; whole values may be shared with an anchor and an alias",
                );
            } else if self.is_new(&key, &mut lines) {
                map.push((key, node));
            }
        }
    }

    /// Whether the map has no such key yet, going by the lines of those that it has.
    fn is_new(&mut self, key: &Key, lines: &mut HashMap<String, usize>) -> bool {
        let Some(first) = lines.get(&key.text) else {
            lines.insert(key.text.clone(), key.at.line);
            return true;
        };
        let message = format!("`{}` is given twice: first on line {first}", key.text);
        self.report.error(key.at, "", message, "take one out");
        false
    }

    fn alias(&mut self, id: usize, at: Position, level: usize) -> Result<(Node, usize), Stop> {
        let Some(anchor) = self.anchors.get(&id) else {
            self.report.error(
                at,
                "",
                "an alias inside of what it stands for",
                "write the value out",
            );
            return Err(Stop::Document);
        };
        let (node, size, depth) = (anchor.node.clone(), anchor.size, anchor.depth);
        self.count(size, level + depth - 1, at)?;
        Ok((node, depth))
    }

    fn count(&mut self, size: Size, depth: usize, at: Position) -> Result<(), Stop> {
        self.size.nodes += size.nodes;
        self.size.bytes += size.bytes;
        let too_much = if self.size.nodes > MAX_NODES {
            Some(format!("more than {MAX_NODES} values"))
        } else if self.size.bytes > MAX_BYTES {
            Some(format!("values of more than {MAX_BYTES} bytes"))
        } else {
            None
        };
        if let Some(too_much) = too_much {
            let message = format!("{too_much} in all, aliases written out");
            self.report.error(at, "", message, "split the file");
            return Err(Stop::Text);
        }
        if depth > MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} deep");
            self.report.error(
                at,
                "",
                message,
                "no resource is that deep: look for a stray bracket",
            );
            return Err(Stop::Document);
        }
        Ok(())
    }

    /// Tags would make a value something else than it looks; only `!!str` and its like say nothing
    /// new.
    fn refuse_tag(&mut self, event: &Event<'_>, at: Position) {
        let Some(tag) = event.tag() else {
            return;
        };
        if !tag.is_yaml_core_schema() {
            self.report.error(
                at,
                "",
                format!("the tag `{}` is not known", tag.original()),
                "take the tag away",
            );
        }
    }

    fn unreadable(&mut self, at: Position) -> Stop {
        self.report.error(
            at,
            "",
            "this cannot be read here",
            "write a value, a list or a map",
        );
        Stop::Document
    }
}

/// The part of a span that is on its first line: the renderer cuts at the line's end.
fn position(span: &Span) -> Position {
    let width = if span.end.line() == span.start.line() {
        span.end.col().saturating_sub(span.start.col())
    } else {
        1
    };
    Position {
        line: span.start.line(),
        column: span.start.col() + 1,
        width: width.max(1),
    }
}
