//! An expression on an encoded message, in three-valued logic (JMS 2.0 section 3.8.1.2).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write;
use std::ops::Range;

use mq_amqp::codec::DecodeError;
use mq_amqp::message::{Entries, Header, MessageIndex, PropertiesField, Scalar};

use super::STEPS_MAX;
use super::expression::{Comparison, Expression, Literal, Operator};
use super::identifier::Identifier;
use super::like::TooCostly;

/// Whether the expression is true of the message.
pub(super) fn is_true(condition: &Expression, message: &[u8]) -> bool {
    let Ok(index) = MessageIndex::parse(message) else { return false };
    if !index.complete {
        return false;
    }
    let mut evaluation = Evaluation { message, index, steps: STEPS_MAX };
    evaluation.truth(condition) == Ok(Truth::True)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl Truth {
    pub(super) fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            _ => Self::Unknown,
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }
}

/// The message cannot be judged: it is malformed where it was looked at, or costs too much.
#[derive(Debug, PartialEq, Eq)]
struct Unfit;

impl From<DecodeError> for Unfit {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

impl From<TooCostly> for Unfit {
    fn from(_: TooCostly) -> Self {
        Self
    }
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(&'a str),
    Character(char),
    /// A message id or a correlation id.
    Id(Scalar<'a>),
    /// Something that is like nothing a selector can say.
    Opaque,
}

impl<'a> From<&'a Literal> for Value<'a> {
    fn from(literal: &'a Literal) -> Self {
        match literal {
            Literal::Boolean(value) => Self::Boolean(*value),
            Literal::Integer(number) => Self::Integer(*number),
            Literal::Real(number) => Self::Real(*number),
            Literal::Text(text) => Self::Text(text),
        }
    }
}

impl<'a> From<Scalar<'a>> for Value<'a> {
    fn from(scalar: Scalar<'a>) -> Self {
        match scalar {
            Scalar::Null => Self::Null,
            Scalar::Boolean(value) => Self::Boolean(value),
            Scalar::Signed(number) | Scalar::Timestamp(number) => Self::Integer(number),
            // JMS has no numbers beyond the range of i64; the nearest double is the nearest there is.
            Scalar::Unsigned(number) => {
                i64::try_from(number).map_or(Self::Real(number as f64), Self::Integer)
            }
            Scalar::Float(number) => Self::Real(number.into()),
            Scalar::Double(number) => Self::Real(number),
            Scalar::Char(character) => Self::Character(character),
            Scalar::String(text) | Scalar::Symbol(text) => Self::Text(text),
            Scalar::Uuid(_) => Self::Id(scalar),
            Scalar::Binary(_) | Scalar::Other => Self::Opaque,
        }
    }
}

impl From<Truth> for Value<'_> {
    fn from(truth: Truth) -> Self {
        match truth {
            Truth::True => Self::Boolean(true),
            Truth::False => Self::Boolean(false),
            Truth::Unknown => Self::Null,
        }
    }
}

/// Bytes of a section that are looked through for the price of a step.
const BYTES_PER_STEP: usize = 64;

struct Evaluation<'a> {
    message: &'a [u8],
    index: MessageIndex,
    /// What is left of [`STEPS_MAX`].
    steps: u32,
}

impl<'a> Evaluation<'a> {
    fn truth(&mut self, condition: &'a Expression) -> Result<Truth, Unfit> {
        self.spend(1)?;
        Ok(match condition {
            Expression::Not(inner) => self.truth(inner)?.not(),
            Expression::All(conditions) => self.chain(conditions, Truth::False, Truth::and)?,
            Expression::Any(conditions) => self.chain(conditions, Truth::True, Truth::or)?,
            Expression::Compare(comparison, operands) => {
                let [left, right] = &**operands;
                compare(*comparison, self.value(left)?, self.value(right)?)
            }
            // JMS 3.8.1.1: the same as two comparisons joined by AND, and by OR when negated.
            Expression::Between(operands) => {
                let [value, lowest, highest] = self.values(operands)?;
                compare(Comparison::GreaterOrEqual, value, lowest).and(compare(
                    Comparison::LessOrEqual,
                    value,
                    highest,
                ))
            }
            Expression::NotBetween(operands) => {
                let [value, lowest, highest] = self.values(operands)?;
                compare(Comparison::Less, value, lowest).or(compare(Comparison::Greater, value, highest))
            }
            Expression::In(value, literals) => {
                let value = self.value(value)?;
                self.spend(u32::try_from(literals.len()).unwrap_or(u32::MAX))?;
                let equals = |literal| compare(Comparison::Equal, value, Value::from(literal));
                literals.iter().map(equals).fold(Truth::False, Truth::or)
            }
            Expression::Like(value, pattern) => {
                let value = self.value(value)?;
                let mut matches = |text: &str| pattern.matches(text, &mut self.steps).map(Truth::from);
                match value {
                    Value::Null => Truth::Unknown,
                    Value::Text(text) => matches(text)?,
                    Value::Character(character) => matches(character.encode_utf8(&mut [0; 4]))?,
                    Value::Id(id) => matches(&text_of_id(id))?,
                    _ => Truth::False,
                }
            }
            Expression::IsNull(value) => matches!(self.value(value)?, Value::Null).into(),
            Expression::Literal(_)
            | Expression::Identifier(_)
            | Expression::Negative(_)
            | Expression::Arithmetic(..) => match self.value(condition)? {
                Value::Boolean(value) => value.into(),
                // A property that is no boolean is no condition: neither it nor its opposite holds.
                _ => Truth::Unknown,
            },
        })
    }

    /// Conditions joined from left to right until one of them is `decisive`.
    fn chain(
        &mut self,
        conditions: &'a [Expression],
        decisive: Truth,
        join: fn(Truth, Truth) -> Truth,
    ) -> Result<Truth, Unfit> {
        let mut joined = decisive.not();
        for condition in conditions {
            joined = join(joined, self.truth(condition)?);
            if joined == decisive {
                break;
            }
        }
        Ok(joined)
    }

    fn values(&mut self, operands: &'a [Expression; 3]) -> Result<[Value<'a>; 3], Unfit> {
        let [first, second, third] = operands;
        Ok([self.value(first)?, self.value(second)?, self.value(third)?])
    }

    fn value(&mut self, expression: &'a Expression) -> Result<Value<'a>, Unfit> {
        Ok(match expression {
            Expression::Literal(literal) => literal.into(),
            Expression::Identifier(identifier) => self.identifier(identifier)?,
            Expression::Negative(inner) => {
                self.spend(1)?;
                match self.value(inner)? {
                    Value::Integer(number) => number.checked_neg().map_or(Value::Null, Value::Integer),
                    Value::Real(number) => Value::Real(-number),
                    _ => Value::Null,
                }
            }
            Expression::Arithmetic(first, rest) => {
                let mut value = self.value(first)?;
                for (operator, operand) in rest {
                    self.spend(1)?;
                    value = calculate(*operator, value, self.value(operand)?);
                }
                value
            }
            condition => self.truth(condition)?.into(),
        })
    }

    fn identifier(&mut self, identifier: &Identifier) -> Result<Value<'a>, Unfit> {
        self.spend(1)?;
        Ok(match identifier {
            Identifier::Durable => Value::Boolean(self.header()?.durable),
            Identifier::DeliveryMode if self.header()?.durable => Value::Text("PERSISTENT"),
            Identifier::DeliveryMode => Value::Text("NON_PERSISTENT"),
            Identifier::Priority => Value::Integer(self.header()?.priority.into()),
            Identifier::Field(field) => self.field(*field)?,
            Identifier::Property(name) => self.property(name)?,
        })
    }

    fn header(&mut self) -> Result<Header, Unfit> {
        match self.section(self.index.header.clone())? {
            Some(section) => Ok(Header::decode(section)?),
            None => Ok(Header::default()),
        }
    }

    fn field(&mut self, field: PropertiesField) -> Result<Value<'a>, Unfit> {
        let Some(section) = self.section(self.index.properties.clone())? else { return Ok(Value::Null) };
        let scalar = field.find(section)?;
        Ok(match (field, scalar) {
            (_, Scalar::Null) => Value::Null,
            (PropertiesField::MessageId | PropertiesField::CorrelationId, id) => Value::Id(id),
            (PropertiesField::UserId, Scalar::Binary(user)) => {
                std::str::from_utf8(user).map_or(Value::Opaque, Value::Text)
            }
            (_, scalar) => scalar.into(),
        })
    }

    fn property(&mut self, name: &str) -> Result<Value<'a>, Unfit> {
        let Some(section) = self.section(self.index.application_properties.clone())? else {
            return Ok(Value::Null);
        };
        let mut entries = Entries::of(section)?;
        self.spend(entries.left())?;
        Ok(entries.find(name)?.map_or(Value::Null, Value::from))
    }

    /// A section, whose length is paid for before it is read.
    fn section(&mut self, range: Option<Range<usize>>) -> Result<Option<&'a [u8]>, Unfit> {
        let section = range.and_then(|range| self.message.get(range));
        let bytes = section.map_or(0, <[u8]>::len);
        self.spend(u32::try_from(bytes / BYTES_PER_STEP).unwrap_or(u32::MAX))?;
        Ok(section)
    }

    fn spend(&mut self, steps: u32) -> Result<(), Unfit> {
        self.steps = self.steps.checked_sub(steps).ok_or(Unfit)?;
        Ok(())
    }
}

/// JMS 3.8.1.1: a comparison with NULL is unknown, one of values that are not alike is false.
fn compare(comparison: Comparison, left: Value<'_>, right: Value<'_>) -> Truth {
    if matches!(left, Value::Null) || matches!(right, Value::Null) {
        return Truth::Unknown;
    }
    let (left, right) = (number_of_id(left, right), number_of_id(right, left));
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return holds(comparison, left.compare(right)).into();
    }
    let is_equal = match (left, right) {
        (Value::Boolean(left), Value::Boolean(right)) => left == right,
        (Value::Text(left), Value::Text(right)) => left == right,
        (Value::Character(left), Value::Character(right)) => left == right,
        (Value::Character(character), Value::Text(text))
        | (Value::Text(text), Value::Character(character)) => text == &*character.encode_utf8(&mut [0; 4]),
        (Value::Id(id), Value::Text(text)) | (Value::Text(text), Value::Id(id)) => id_equals(id, text),
        (Value::Id(left), Value::Id(right)) => left == right,
        _ => return Truth::False,
    };
    match comparison {
        Comparison::Equal => is_equal.into(),
        Comparison::NotEqual => (!is_equal).into(),
        _ => Truth::False,
    }
}

/// Whether `comparison` holds of two numbers; they have no order when one of them is NaN.
fn holds(comparison: Comparison, ordering: Option<Ordering>) -> bool {
    match comparison {
        Comparison::Equal => ordering == Some(Ordering::Equal),
        Comparison::NotEqual => ordering != Some(Ordering::Equal),
        Comparison::Less => ordering == Some(Ordering::Less),
        Comparison::LessOrEqual => ordering.is_some_and(Ordering::is_le),
        Comparison::Greater => ordering == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => ordering.is_some_and(Ordering::is_ge),
    }
}

#[derive(Clone, Copy)]
enum Number {
    Integer(i64),
    Real(f64),
}

impl Number {
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(Self::Integer(number)),
            Value::Real(number) => Some(Self::Real(number)),
            _ => None,
        }
    }

    /// The binary numeric promotion of Java, which JMS 3.8.1.1 refers to.
    fn real(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Real(number) => number,
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => Some(left.cmp(&right)),
            (left, right) => left.real().partial_cmp(&right.real()),
        }
    }
}

/// Arithmetic on what is no number, and what has no result, is unknown.
fn calculate<'a>(operator: Operator, left: Value<'_>, right: Value<'_>) -> Value<'a> {
    let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) else { return Value::Null };
    if let (Number::Integer(left), Number::Integer(right)) = (left, right) {
        let result = match operator {
            Operator::Add => left.checked_add(right),
            Operator::Subtract => left.checked_sub(right),
            Operator::Multiply => left.checked_mul(right),
            Operator::Divide => left.checked_div(right),
        };
        return result.map_or(Value::Null, Value::Integer);
    }
    let (left, right) = (left.real(), right.real());
    Value::Real(match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
    })
}

/// An id that is a number, where it is compared with a number, is that number.
fn number_of_id<'a>(value: Value<'a>, other: Value<'_>) -> Value<'a> {
    match (value, Number::of(other)) {
        (Value::Id(id @ Scalar::Unsigned(_)), Some(_)) => Value::from(id),
        _ => value,
    }
}

/// Whether `text` names the id: by itself, or as JMS clients know it (AMQP JMS mapping 3.2.1.1).
fn id_equals(id: Scalar<'_>, text: &str) -> bool {
    match id {
        Scalar::String(id) | Scalar::Symbol(id) => {
            let prefixes = ["ID:AMQP_NO_PREFIX:", "ID:AMQP_STRING:"];
            id == text || prefixes.iter().any(|prefix| text.strip_prefix(prefix) == Some(id))
        }
        Scalar::Unsigned(id) => {
            let digits = text.strip_prefix("ID:AMQP_ULONG:").unwrap_or(text);
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse() == Ok(id)
        }
        Scalar::Uuid(id) => {
            let text = text.strip_prefix("ID:AMQP_UUID:").unwrap_or(text);
            let has_dashes = text.char_indices().all(|(at, c)| (c == '-') == UUID_DASHES.contains(&at));
            has_dashes && hexadecimal_equals(id, text.bytes().filter(|byte| *byte != b'-'))
        }
        Scalar::Binary(id) => {
            let text = text.strip_prefix("ID:AMQP_BINARY:").unwrap_or(text);
            hexadecimal_equals(id, text.bytes())
        }
        _ => false,
    }
}

/// Where the dashes of a UUID stand.
const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];

/// Whether `digits`, in upper or lower case, stand for exactly these bytes.
fn hexadecimal_equals(bytes: &[u8], digits: impl Iterator<Item = u8>) -> bool {
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).map(u32::from).map(Some);
    digits.map(|digit| char::from(digit).to_digit(16)).eq(halves)
}

/// The text by which JMS clients know an id (AMQP JMS mapping 3.2.1.1); that of a string is its own.
fn text_of_id(id: Scalar<'_>) -> Cow<'_, str> {
    let mut text = String::new();
    match id {
        Scalar::String(id) | Scalar::Symbol(id) => return Cow::Borrowed(id),
        Scalar::Unsigned(id) => return Cow::Owned(format!("ID:AMQP_ULONG:{id}")),
        Scalar::Uuid(id) => {
            text.push_str("ID:AMQP_UUID:");
            push_hexadecimal(&mut text, id);
            for dash in UUID_DASHES {
                text.insert("ID:AMQP_UUID:".len() + dash, '-');
            }
        }
        Scalar::Binary(id) => {
            text.push_str("ID:AMQP_BINARY:");
            push_hexadecimal(&mut text, id);
        }
        _ => {}
    }
    Cow::Owned(text)
}

fn push_hexadecimal(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // A string takes whatever is written to it.
        let _ = write!(text, "{byte:02X}");
    }
}
