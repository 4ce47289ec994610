//! Characters become tokens (JMS 2.0 section 3.8.1.1).

use std::borrow::Cow;

use super::error::{Problem, SelectorError, quoted};

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) offset: usize,
    /// The token as it is written; empty at the end.
    pub(super) text: &'a str,
    pub(super) kind: Kind<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    End,
    Word(Word),
    /// A name, out of its quotes.
    Name(Cow<'a, str>),
    /// The characters of a string, out of their quotes.
    Text(Cow<'a, str>),
    /// An exact number without a sign: at most 2^63, which only a minus before it makes a valid one.
    Integer(u64),
    Real(f64),
    Mark(Mark),
}

/// A reserved word; upper and lower case are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    And,
    Between,
    Escape,
    False,
    In,
    Is,
    Like,
    Not,
    Null,
    Or,
    True,
}

const WORDS: [(&str, Word); 11] = [
    ("and", Word::And),
    ("between", Word::Between),
    ("escape", Word::Escape),
    ("false", Word::False),
    ("in", Word::In),
    ("is", Word::Is),
    ("like", Word::Like),
    ("not", Word::Not),
    ("null", Word::Null),
    ("or", Word::Or),
    ("true", Word::True),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Open,
    Close,
    Comma,
    Plus,
    Minus,
    Times,
    Divide,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Longer ones before those that they begin with.
const MARKS: [(&str, Mark); 13] = [
    ("<>", Mark::NotEqual),
    ("<=", Mark::LessOrEqual),
    (">=", Mark::GreaterOrEqual),
    ("<", Mark::Less),
    (">", Mark::Greater),
    ("=", Mark::Equal),
    ("(", Mark::Open),
    (")", Mark::Close),
    (",", Mark::Comma),
    ("+", Mark::Plus),
    ("-", Mark::Minus),
    ("*", Mark::Times),
    ("/", Mark::Divide),
];

/// Takes tokens off the front of a selector.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, offset: 0 }
    }

    /// The next token; the end again and again once it is reached.
    pub(super) fn next(&mut self) -> Result<Token<'a>, SelectorError> {
        let trimmed = self.rest().trim_start_matches(is_space);
        self.offset = self.text.len() - trimmed.len();
        let offset = self.offset;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token { offset, text: "", kind: Kind::End });
        };
        let followed_by_digit = rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if first == '\'' {
            return self.quoted(first).map(|(text, content)| Token {
                offset,
                text,
                kind: Kind::Text(content),
            });
        }
        if first == '"' {
            return self.quoted(first).map(|(text, content)| Token {
                offset,
                text,
                kind: Kind::Name(content),
            });
        }
        if first.is_ascii_digit() || (first == '.' && followed_by_digit) {
            return self.number();
        }
        if starts_name(first) {
            let text = self.take(rest.find(|c| !continues_name(c)).unwrap_or(rest.len()));
            return Ok(Token { offset, text, kind: word_or_name(text) });
        }
        match MARKS.iter().find(|(mark, _)| rest.starts_with(mark)) {
            Some(&(mark, kind)) => Ok(Token { offset, text: self.take(mark.len()), kind: Kind::Mark(kind) }),
            None => {
                let character = rest.get(..first.len_utf8()).unwrap_or_default();
                Err(SelectorError::new(offset, Problem::Character(quoted(character))))
            }
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    /// Takes the next `length` bytes.
    fn take(&mut self, length: usize) -> &'a str {
        let taken = self.rest().get(..length).unwrap_or_default();
        self.offset += taken.len();
        taken
    }

    /// A text between quotes, in which two quotes stand for one: as written, and what it says.
    fn quoted(&mut self, quote: char) -> Result<(&'a str, Cow<'a, str>), SelectorError> {
        let rest = self.rest();
        let mut content = Cow::Borrowed("");
        let mut position = 1;
        while let Some(length) = rest.get(position..).and_then(|rest| rest.find(quote)) {
            let part = rest.get(position..position + length).unwrap_or_default();
            position += length + 1;
            content += part;
            if !rest.get(position..).is_some_and(|rest| rest.starts_with(quote)) {
                return Ok((self.take(position), content));
            }
            content.to_mut().push(quote);
            position += 1;
        }
        Err(SelectorError::new(self.offset, Problem::Unterminated(quote)))
    }

    /// A number in the syntax of Java's literals, without a sign.
    fn number(&mut self) -> Result<Token<'a>, SelectorError> {
        let offset = self.offset;
        let text = self.take(number_length(self.rest()));
        let fail = |problem: fn(String) -> Problem| SelectorError::new(offset, problem(quoted(text)));
        let digits = without_underscores(text).ok_or_else(|| fail(Problem::Number))?;
        let kind = match read_integer(&digits) {
            Some(Ok(number)) => Kind::Integer(number),
            Some(Err(OutOfRange)) => return Err(fail(Problem::NumberRange)),
            None => match read_real(&digits) {
                Some(number) if number.is_finite() => Kind::Real(number),
                Some(_) => return Err(fail(Problem::NumberRange)),
                None => return Err(fail(Problem::Number)),
            },
        };
        Ok(Token { offset, text, kind })
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

fn starts_name(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '_' | '$')
}

/// Full stops too: names of the form `amqp.to`, and application properties of such names.
fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '.')
}

fn word_or_name(text: &str) -> Kind<'_> {
    match WORDS.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)) {
        Some(&(_, word)) => Kind::Word(word),
        None => Kind::Name(Cow::Borrowed(text)),
    }
}

/// How many bytes belong to the number at the front: everything that could, so that what is no number is
/// reported in one piece.
fn number_length(text: &str) -> usize {
    let is_hexadecimal = has_prefix(text, "0x");
    let mut before = '0';
    text.find(|c: char| {
        let follows_exponent = !is_hexadecimal && matches!(before, 'e' | 'E') && matches!(c, '+' | '-');
        before = c;
        !(continues_name(c) || follows_exponent)
    })
    .unwrap_or(text.len())
}

fn has_prefix(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Takes out underscores, each of which must stand between digits (the syntax of Java's literals).
fn without_underscores(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('_') {
        return Some(Cow::Borrowed(text));
    }
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_hexdigit());
    let mut runs = text.split('_').filter(|run| !run.is_empty()).peekable();
    let mut digits = String::with_capacity(text.len());
    if text.starts_with('_') || text.ends_with('_') {
        return None;
    }
    while let Some(run) = runs.next() {
        digits.push_str(run);
        if let Some(following) = runs.peek()
            && !(is_digit(run.chars().last()) && is_digit(following.chars().next()))
        {
            return None;
        }
    }
    Some(Cow::Owned(digits))
}

struct OutOfRange;

/// An exact number; `None` when the text is not one.
fn read_integer(text: &str) -> Option<Result<u64, OutOfRange>> {
    let text = text.strip_suffix(['l', 'L']).unwrap_or(text);
    let (digits, radix) = match text.get(..2) {
        Some("0x" | "0X") => (text.get(2..)?, 16),
        Some("0b" | "0B") => (text.get(2..)?, 2),
        Some(_) if text.starts_with('0') => (text.get(1..)?, 8),
        _ => (text, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let number = u64::from_str_radix(digits, radix).ok().filter(|number| *number <= i64::MIN.unsigned_abs());
    Some(number.ok_or(OutOfRange))
}

/// An approximate number, which has a full stop, an exponent or a suffix; infinite when beyond the range,
/// `None` when the text is not one.
fn read_real(text: &str) -> Option<f64> {
    let number = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    let is_decimal = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
    if !number.bytes().all(is_decimal) || !text.contains(|c: char| !c.is_ascii_digit()) {
        return None;
    }
    if text.ends_with(['f', 'F']) { number.parse::<f32>().ok().map(f64::from) } else { number.parse().ok() }
}
