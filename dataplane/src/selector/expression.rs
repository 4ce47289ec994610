//! A selector as a tree. Chains of one operator are one node, so that the tree is no deeper than the
//! parentheses of its text.

use super::{identifier::Identifier, like::Pattern};

#[derive(Clone, Debug)]
pub(super) enum Expression {
    Literal(Literal),
    Identifier(Identifier),
    Negative(Box<Self>),
    /// A value, and what is done to it from left to right.
    Arithmetic(Box<Self>, Box<[(Operator, Self)]>),
    Not(Box<Self>),
    All(Box<[Self]>),
    Any(Box<[Self]>),
    Compare(Comparison, Box<[Self; 2]>),
    /// A value, the lowest and the highest that are between.
    Between(Box<[Self; 3]>),
    NotBetween(Box<[Self; 3]>),
    In(Box<Self>, Box<[Literal]>),
    Like(Box<Self>, Pattern),
    IsNull(Box<Self>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// Whether it asks for more than being the same, which only numbers can answer (JMS 3.8.1.1).
    pub(super) fn is_ordering(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}

impl Expression {
    /// Whether the value, as far as the text tells it, can be a truth value.
    pub(super) fn can_be_condition(&self) -> bool {
        match self {
            Self::Literal(literal) => matches!(literal, Literal::Boolean(_)),
            Self::Negative(_) | Self::Arithmetic(..) => false,
            _ => true,
        }
    }

    /// Whether the value, as far as the text tells it, can be a number.
    pub(super) fn can_be_number(&self) -> bool {
        match self {
            Self::Literal(literal) => matches!(literal, Literal::Integer(_) | Literal::Real(_)),
            Self::Identifier(_) | Self::Negative(_) | Self::Arithmetic(..) => true,
            _ => false,
        }
    }

    /// Whether the value, as far as the text tells it, can be a text.
    pub(super) fn can_be_text(&self) -> bool {
        matches!(self, Self::Literal(Literal::Text(_)) | Self::Identifier(_))
    }
}
