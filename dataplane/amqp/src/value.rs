//! The type system of AMQP 1.0 (part 1) as plain data.
//!
//! [`Value`] is for what the engine has no shape for: properties, filters, annotations. What it has
//! a shape for is decoded into that shape and never passes through here.

use std::{borrow::Borrow, fmt, sync::Arc};

use bytes::Bytes;

/// A symbolic name from a constrained domain (AMQP 1.6.21): ASCII, cheap to clone.
#[derive(Clone)]
pub struct Symbol(SymbolText);

#[derive(Clone)]
enum SymbolText {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Symbol {
    /// A symbol known when the program is compiled; it never allocates.
    pub const fn from_static(name: &'static str) -> Self {
        Self(SymbolText::Static(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            SymbolText::Static(name) => name,
            SymbolText::Shared(name) => name,
        }
    }
}

/// Characters outside ASCII have no encoding in a symbol (AMQP 1.6.21); the encoder writes `?` for them.
impl From<&str> for Symbol {
    fn from(name: &str) -> Self {
        Self(SymbolText::Shared(name.into()))
    }
}

impl PartialEq for Symbol {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Symbol {}

impl PartialEq<str> for Symbol {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Symbol {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Symbol {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Symbol {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl std::hash::Hash for Symbol {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ":{}", self.as_str())
    }
}

/// A string (AMQP 1.6.20): UTF-8, cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Arc<str>);

impl Text {
    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Self(text)
    }
}

impl From<Text> for Arc<str> {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Any value (AMQP 1.6). Two values are equal when their types and bits are: `NaN` equals itself,
/// `0.0` and `-0.0` differ, and maps compare in order.
#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Boolean(bool),
    UByte(u8),
    UShort(u16),
    UInt(u32),
    ULong(u64),
    Byte(i8),
    Short(i16),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    /// IEEE 754-2008 decimal32, as on the wire.
    Decimal32([u8; 4]),
    /// IEEE 754-2008 decimal64, as on the wire.
    Decimal64([u8; 8]),
    /// IEEE 754-2008 decimal128, as on the wire.
    Decimal128([u8; 16]),
    Char(char),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    Uuid([u8; 16]),
    Binary(Bytes),
    String(Text),
    Symbol(Symbol),
    List(Vec<Self>),
    /// The pairs in the order of the wire, which carries meaning for the sender only.
    Map(Vec<(Self, Self)>),
    Array(Array),
    /// A descriptor and the value it describes (AMQP 1.2).
    Described(Box<(Self, Self)>),
}

impl Value {
    /// A described value.
    pub fn described(descriptor: Self, value: Self) -> Self {
        Self::Described(Box::new((descriptor, value)))
    }

    /// The primitive type of the value; `None` when it is described.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Null => Kind::Null,
            Self::Boolean(_) => Kind::Boolean,
            Self::UByte(_) => Kind::UByte,
            Self::UShort(_) => Kind::UShort,
            Self::UInt(_) => Kind::UInt,
            Self::ULong(_) => Kind::ULong,
            Self::Byte(_) => Kind::Byte,
            Self::Short(_) => Kind::Short,
            Self::Int(_) => Kind::Int,
            Self::Long(_) => Kind::Long,
            Self::Float(_) => Kind::Float,
            Self::Double(_) => Kind::Double,
            Self::Decimal32(_) => Kind::Decimal32,
            Self::Decimal64(_) => Kind::Decimal64,
            Self::Decimal128(_) => Kind::Decimal128,
            Self::Char(_) => Kind::Char,
            Self::Timestamp(_) => Kind::Timestamp,
            Self::Uuid(_) => Kind::Uuid,
            Self::Binary(_) => Kind::Binary,
            Self::String(_) => Kind::String,
            Self::Symbol(_) => Kind::Symbol,
            Self::List(_) => Kind::List,
            Self::Map(_) => Kind::Map,
            Self::Array(_) => Kind::Array,
            Self::Described(_) => return None,
        })
    }

    /// The characters of a string or a symbol, which peers use one for the other.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text.as_str()),
            Self::Symbol(symbol) => Some(symbol.as_str()),
            _ => None,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::UByte(a), Self::UByte(b)) => a == b,
            (Self::UShort(a), Self::UShort(b)) => a == b,
            (Self::UInt(a), Self::UInt(b)) => a == b,
            (Self::ULong(a), Self::ULong(b)) => a == b,
            (Self::Byte(a), Self::Byte(b)) => a == b,
            (Self::Short(a), Self::Short(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Long(a), Self::Long(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Double(a), Self::Double(b)) => a.to_bits() == b.to_bits(),
            (Self::Decimal32(a), Self::Decimal32(b)) => a == b,
            (Self::Decimal64(a), Self::Decimal64(b)) => a == b,
            (Self::Decimal128(a), Self::Decimal128(b)) | (Self::Uuid(a), Self::Uuid(b)) => a == b,
            (Self::Char(a), Self::Char(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Binary(a), Self::Binary(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Symbol(a), Self::Symbol(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Described(a), Self::Described(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::UInt(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::ULong(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Long(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<Text> for Value {
    fn from(value: Text) -> Self {
        Self::String(value)
    }
}

impl From<Symbol> for Value {
    fn from(value: Symbol) -> Self {
        Self::Symbol(value)
    }
}

impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::Binary(value)
    }
}

/// The primitive types (AMQP 1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Null,
    Boolean,
    UByte,
    UShort,
    UInt,
    ULong,
    Byte,
    Short,
    Int,
    Long,
    Float,
    Double,
    Decimal32,
    Decimal64,
    Decimal128,
    Char,
    Timestamp,
    Uuid,
    Binary,
    String,
    Symbol,
    List,
    Map,
    Array,
}

/// A sequence of values of one type (AMQP 1.6.24). The type is kept when there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// What describes every element, outermost first; empty when they are plain.
    descriptors: Vec<Value>,
    kind: Kind,
    elements: Vec<Value>,
}

impl Array {
    /// An array of `elements`; `None` when one of them is not of type `kind`. Described elements are
    /// built from plain ones by [`Array::described`].
    pub fn new(kind: Kind, elements: Vec<Value>) -> Option<Self> {
        let uniform = elements.iter().all(|element| element.kind() == Some(kind));
        uniform.then_some(Self { descriptors: Vec::new(), kind, elements })
    }

    /// An array decoded from parts that the decoder has found to belong together.
    pub(crate) fn from_parts(descriptors: Vec<Value>, kind: Kind, elements: Vec<Value>) -> Self {
        Self { descriptors, kind, elements }
    }

    /// The same array with `descriptor` around every element, outside those it has.
    #[must_use]
    pub fn described(mut self, descriptor: Value) -> Self {
        self.descriptors.insert(0, descriptor);
        self
    }

    /// What describes every element, outermost first; empty when they are plain.
    pub fn descriptors(&self) -> &[Value] {
        &self.descriptors
    }

    /// The type of every element inside its descriptors.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The elements inside their descriptors.
    pub fn elements(&self) -> &[Value] {
        &self.elements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_compare_by_type_and_bits() {
        assert_eq!(Value::Double(f64::NAN), Value::Double(f64::NAN));
        assert_ne!(Value::Double(0.0), Value::Double(-0.0));
        assert_ne!(Value::UInt(1), Value::ULong(1));
        assert_ne!(Value::String("a".into()), Value::Symbol("a".into()));
    }

    #[test]
    fn array_refuses_an_element_of_another_type() {
        assert!(Array::new(Kind::UInt, vec![Value::UInt(1), Value::ULong(1)]).is_none());
        assert!(Array::new(Kind::UInt, vec![Value::described(Value::Null, Value::UInt(1))]).is_none());
        assert!(Array::new(Kind::UInt, vec![]).is_some());
    }

    #[test]
    fn static_and_shared_symbols_are_equal_and_hash_alike() {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let hash = |symbol: &Symbol| {
            let mut hasher = DefaultHasher::new();
            symbol.hash(&mut hasher);
            hasher.finish()
        };
        let (fixed, shared) = (Symbol::from_static("queue"), Symbol::from("queue"));
        assert_eq!(fixed, shared);
        assert_eq!(hash(&fixed), hash(&shared));
    }
}
