//! What is wrong with a selector, and where.

use super::{DEPTH_MAX, LENGTH_MAX, NODES_MAX};

/// A text that is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (at byte {offset})")]
pub struct SelectorError {
    /// Bytes from the start of the text to what is wrong.
    pub offset: usize,
    pub problem: Problem,
}

impl SelectorError {
    pub(super) fn new(offset: usize, problem: Problem) -> Self {
        Self { offset, problem }
    }

    pub(super) fn expected(offset: usize, expected: &'static str, found: &str) -> Self {
        Self::new(offset, Problem::Expected { expected, found: quoted(found) })
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    #[error("expected {expected}, found {found}")]
    Expected { expected: &'static str, found: String },
    #[error("{0} is no character of a selector")]
    Character(String),
    #[error("the text in {0} has no end; close it with another {0}, and write one inside it twice")]
    Unterminated(char),
    #[error("{0} is not a number; an exact one is written 57 or 0x39, an approximate one 5.7E1")]
    Number(String),
    #[error("{0} is beyond the range of numbers")]
    NumberRange(String),
    #[error("{0} cannot be selected on: it is known when a message is received only")]
    OnReceipt(String),
    #[error("{0} is no field of a message; names of application properties do not begin with {1}")]
    UnknownField(String, &'static str),
    #[error("the escape character of LIKE stands before neither %, _ nor itself in {0}")]
    Escape(String),
    #[error("{0} bytes are more than the limit of {LENGTH_MAX}")]
    TooLong(usize),
    #[error("parentheses are nested deeper than the limit of {DEPTH_MAX}")]
    TooDeep,
    #[error("values, names and operators are more than the limit of {NODES_MAX}")]
    TooMany,
}

/// Text of a selector for a message: in quotes, and not much of it.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 40;
    if text.is_empty() {
        return "the end".to_owned();
    }
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("`{}...`", text.get(..end).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}
