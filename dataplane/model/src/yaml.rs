//! Reads YAML (and JSON, which is YAML) into trees that remember where everything stood.
//!
//! Values are those of the YAML 1.2 core schema: `yes` is text, `0o17` and `0x1F` are integers.
//! What readers understand differently (merge keys, tags, keys that are not text) is refused. The
//! work is bounded: bytes of the text, depth, and the weight of the tree with aliases expanded.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use crate::code::Code;
use crate::diagnostic::{Finding, Findings};

/// The most bytes that a file may have.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Levels that values may be nested.
const MAX_DEPTH: usize = 32;

/// The memory that the tree may need, in bytes, counted as [`NODE_WEIGHT`] and the length of the
/// text for every value.
const MAX_WEIGHT: usize = 32 << 20;

/// What a value weighs besides its text.
const NODE_WEIGHT: usize = 64;

/// A value and the bytes of the text that it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Integer(i128),
    /// A number with a fraction or an exponent, or an integer too large for 128 bits.
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value; keys of one map may repeat, the reader of the tree reports it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

impl Node {
    /// The first value of a key, when this is a map that has it.
    pub(crate) fn field(&self, name: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == name),
            _ => None,
        }
    }

    /// Where a problem of the value as a whole is shown: the first key of an object, or else all of it.
    pub(crate) fn start(&self) -> Range<usize> {
        match &self.value {
            Value::Map(entries) => {
                entries.first().map_or_else(|| self.span.clone(), |entry| entry.key_span.clone())
            }
            _ => self.span.clone(),
        }
    }

    /// The text of this value, when it is text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&serde_json::Value> for Node {
    /// A tree without places, for values that were not read from a file.
    fn from(value: &serde_json::Value) -> Self {
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Boolean(*value),
            serde_json::Value::Number(number) => number
                .as_i128()
                .map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Integer),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => Value::List(items.iter().map(Self::from).collect()),
            serde_json::Value::Object(fields) => Value::Map(
                fields
                    .iter()
                    .map(|(key, value)| Entry { key: key.clone(), key_span: 0..0, value: Self::from(value) })
                    .collect(),
            ),
        };
        Self { span: 0..0, value }
    }
}

/// Reads every document of a text of at most [`MAX_BYTES`]. The documents before a syntax error are
/// returned with it.
pub(crate) fn parse(text: &str, findings: &mut Findings) -> Vec<Node> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.emit_unresolved_aliases = true;
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let events = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { text, events, anchors: HashMap::new(), weight: 0, findings };
    let mut documents = Vec::new();
    if let Err(stop) = reader.documents(&mut documents) {
        reader.findings.push(*stop);
    }
    documents
}

struct Reader<'a, 'f> {
    text: &'a str,
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, (Node, usize)>,
    weight: usize,
    findings: &'f mut Findings,
}

/// Why nothing more can be read; boxed, as it is rare and large.
type Stop = Box<Finding>;

impl<'a> Reader<'a, '_> {
    fn documents(&mut self, documents: &mut Vec<Node>) -> Result<(), Stop> {
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                // Anchors belong to one document (YAML 1.2.2, 9.1).
                Event::DocumentEnd => self.anchors.clear(),
                Event::StreamEnd => break,
                event => {
                    let node = self.node(event, &span, 0)?;
                    documents.push(node);
                }
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Stop> {
        let Some(next) = self.events.next_event() else {
            return Ok(None);
        };
        next.map(Some).map_err(|error| Box::new(syntax_error(self.text, &error)))
    }

    /// The next event inside a collection, whose end the parser guarantees.
    fn inner(&mut self) -> Result<(Event<'a>, Span), Stop> {
        self.next()?.ok_or_else(|| {
            let end = self.text.len();
            Box::new(Finding::new(Code::Syntax, end..end, "the text ends inside a value"))
        })
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, Stop> {
        let bytes = self.bytes(span);
        if depth >= MAX_DEPTH {
            let message = format!("values are nested more than {MAX_DEPTH} levels deep");
            return Err(Box::new(Finding::new(Code::Complexity, bytes, message)));
        }
        let weight_before = self.weight;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.weigh(&bytes, NODE_WEIGHT + text.len())?;
                let textual = self.is_text(tag.as_deref(), style, span);
                (if textual { Value::Text(text.into_owned()) } else { resolve(&text) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.weigh(&bytes, NODE_WEIGHT)?;
                self.refuse_tag(tag.as_deref(), span);
                (Value::List(self.list(depth)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.weigh(&bytes, NODE_WEIGHT)?;
                self.refuse_tag(tag.as_deref(), span);
                (Value::Map(self.map(depth)?), anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, bytes),
            Event::UnresolvedAlias(name) => {
                let message = format!("no anchor `&{}` before this alias", crate::names::shown(&name));
                let help = "define the anchor first, or put the value in quotes if it is text";
                self.findings.push(Finding::new(Code::Unsupported, bytes.clone(), message).help(help));
                (Value::Null, 0)
            }
            _ => (Value::Null, 0),
        };
        let node = Node { span: bytes, value };
        if anchor > 0 {
            // The copy counts, and so does its depth when it is used: nothing grows unseen.
            let weight = self.weight - weight_before;
            self.weigh(&node.span, weight)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.inner()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            items.push(self.node(event, &span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.inner()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key_span = self.bytes(&span);
            let plain = matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let literal = match &event {
                Event::Scalar(text, ..) => Some(text.to_string()),
                _ => None,
            };
            let key = self.node(event, &span, depth + 1)?;
            let (event, span) = self.inner()?;
            let value = self.node(event, &span, depth + 1)?;
            // A key such as `5672:` or `true:` is taken as the text it is written as.
            let Some(name) = literal.or_else(|| key.text().map(str::to_owned)) else {
                let message = "a key must be text, not a list or an object";
                self.findings.push(Finding::new(Code::Unsupported, key_span, message));
                continue;
            };
            if plain && name == "<<" {
                let message = "merge keys (`<<`) are not supported";
                let finding = Finding::new(Code::Unsupported, key_span, message);
                self.findings.push(finding.help("write the fields out"));
                continue;
            }
            entries.push(Entry { key: name, key_span, value });
        }
    }

    fn alias(&mut self, anchor: usize, bytes: Range<usize>) -> Result<Node, Stop> {
        let Some((_, weight)) = self.anchors.get(&anchor) else {
            return Err(Box::new(Finding::new(
                Code::Unsupported,
                bytes,
                "the alias stands inside its own anchor",
            )));
        };
        self.weigh(&bytes, *weight)?;
        let node = self.anchors.get(&anchor).map(|(node, _)| node.clone());
        Ok(node.unwrap_or(Node { span: bytes, value: Value::Null }))
    }

    /// Counts memory before it is used.
    fn weigh(&mut self, bytes: &Range<usize>, weight: usize) -> Result<(), Stop> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight <= MAX_WEIGHT {
            return Ok(());
        }
        let message =
            format!("the values of the file, with aliases written out, need more than {MAX_WEIGHT} bytes");
        let help = "split the file, or use fewer aliases";
        Err(Box::new(Finding::new(Code::Complexity, bytes.clone(), message).help(help)))
    }

    /// Whether a scalar is text whatever it looks like.
    fn is_text(&mut self, tag: Option<&Tag>, style: ScalarStyle, span: &Span) -> bool {
        match tag {
            None => style != ScalarStyle::Plain,
            Some(tag) if tag.core_suffix() == Some("str") => true,
            tag => {
                self.refuse_tag(tag, span);
                true
            }
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, span: &Span) {
        let Some(tag) = tag else { return };
        let at = span.tag_span().map_or_else(|| self.bytes(span), |span| self.bytes(&span));
        let message = format!("the tag `{}` is not supported", crate::names::shown(&tag.original()));
        self.findings.push(Finding::new(Code::Unsupported, at, message).help("remove it"));
    }

    fn bytes(&self, span: &Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or(0..0);
        // Some spans reach over the line break behind a value.
        let text = self.text.get(range.clone()).unwrap_or("");
        range.start..range.start + text.trim_end().len()
    }
}

/// A plain scalar by the core schema of YAML 1.2.2 (10.3.2).
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Boolean(true),
        "false" | "False" | "FALSE" => return Value::Boolean(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    if let Some(number) = integer(text) {
        return number;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Value::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    // Rust also reads `inf` and `nan`, which are text in YAML.
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let number = text.chars().all(numeric).then(|| text.parse::<f64>().ok()).flatten();
    number.map_or_else(|| Value::Text(text.to_owned()), Value::Float)
}

fn integer(text: &str) -> Option<Value> {
    let (digits, radix) = if let Some(octal) = text.strip_prefix("0o") {
        (octal, 8)
    } else if let Some(hexadecimal) = text.strip_prefix("0x") {
        (hexadecimal, 16)
    } else {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // Too long for 128 bits: still a number, and out of every range.
        return Some(
            text.parse().map_or_else(|_| Value::Float(text.parse().unwrap_or(f64::INFINITY)), Value::Integer),
        );
    };
    // `from_str_radix` takes a sign, the core schema does not.
    if digits.is_empty() || !digits.bytes().all(|byte| char::from(byte).is_digit(radix)) {
        return None;
    }
    Some(i128::from_str_radix(digits, radix).map_or(Value::Float(f64::INFINITY), Value::Integer))
}

fn syntax_error(text: &str, error: &ScanError) -> Finding {
    let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    let code = match error.kind() {
        ErrorKind::RecursionLimitExceeded => Code::Complexity,
        _ => Code::Syntax,
    };
    let finding = Finding::new(code, at..at + 1, error.info());
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let indentation = line.chars().take_while(|character| character.is_whitespace());
    if indentation.into_iter().any(|character| character == '\t') {
        return finding.help("indent with spaces, not with tabs");
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Vec<Node>, Vec<Code>) {
        let mut findings = Findings::default();
        let documents = parse(text, &mut findings);
        (documents, findings.iter().map(|finding| finding.code).collect())
    }

    fn value(text: &str) -> Value {
        let (documents, codes) = parsed(text);
        assert_eq!(codes, [], "{text}");
        documents.into_iter().next().expect("one document").value
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        assert!(matches!(value("yes"), Value::Text(_)));
        assert!(matches!(value("'1'"), Value::Text(_)));
        assert!(matches!(value("!!str 1"), Value::Text(_)));
        assert!(matches!(value("0x1F"), Value::Integer(31)));
        assert!(matches!(value("0o17"), Value::Integer(15)));
        assert!(matches!(value("-5"), Value::Integer(-5)));
        assert!(matches!(value("1e3"), Value::Float(_)));
        assert!(matches!(value("nan"), Value::Text(_)));
        assert!(matches!(value("0x-1"), Value::Text(_)));
        assert!(matches!(value("1_000"), Value::Text(_)));
        assert!(matches!(value(&"9".repeat(60)), Value::Float(_)));
        assert!(matches!(value("127.0.0.1"), Value::Text(_)));
        assert!(matches!(value("~"), Value::Null));
    }

    #[test]
    fn an_alias_bomb_is_stopped_before_it_grows() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(",")));
        }
        assert_eq!(parsed(&text).1, [Code::Complexity]);
    }

    #[test]
    fn deep_nesting_is_stopped() {
        for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(10_000)] {
            assert_eq!(parsed(&text).1, [Code::Complexity]);
        }
    }

    #[test]
    fn what_readers_understand_differently_is_refused() {
        for text in
            ["a: &a {b: 1}\nc:\n  <<: *a\n", "a: !mine 1\n", "? [a]\n: 1\n", "a: *nothing\n", "a: &a [*a]\n"]
        {
            assert_eq!(parsed(text).1, [Code::Unsupported], "{text}");
        }
    }

    #[test]
    fn documents_before_a_syntax_error_are_kept() {
        let (documents, codes) = parsed("a: 1\n---\nb: [1\n---\nc: 2\n");
        assert_eq!((documents.len(), codes.as_slice()), (1, [Code::Syntax].as_slice()));
    }
}
