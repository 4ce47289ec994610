//! Topic names and filters, and the tree that finds the filters which a name matches.
//!
//! Names have levels divided by `/`. In a filter, `+` stands for one level and `#`, at its end, for any
//! number of levels, none among them: `a/#` matches `a`, `a/b` and `a/b/c`. A filter that begins with a
//! wildcard does not match names that begin with `$`.

/// Levels of a name or a filter.
pub const MAX_LEVELS: usize = 128;
/// Bytes of a name or a filter.
pub const MAX_BYTES: usize = 65_535;

/// Why a name or a filter is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    #[error("it is empty")]
    Empty,
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLong,
    #[error("it has more than {MAX_LEVELS} levels")]
    TooManyLevels,
    #[error("it contains the character U+0000 at byte {at}")]
    Nul { at: usize },
    #[error("`{wildcard}` at byte {at} is not allowed in a name, only in a filter")]
    WildcardInName { wildcard: char, at: usize },
    #[error("`+` at byte {at} has to stand for a whole level")]
    PartOfLevel { at: usize },
    #[error("`#` at byte {at} has to be the whole last level")]
    NotLast { at: usize },
}

/// Checks a name that a message is sent to.
///
/// # Errors
/// What is wrong with it, and where.
pub fn validate_name(name: &str) -> Result<(), TopicError> {
    let _ = name;
    todo!()
}

/// Checks a filter.
///
/// # Errors
/// What is wrong with it, and where.
pub fn validate_filter(filter: &str) -> Result<(), TopicError> {
    let _ = filter;
    todo!()
}

/// Whether a filter matches a name; both are valid.
pub fn matches(filter: &str, name: &str) -> bool {
    let _ = (filter, name);
    todo!()
}

/// Values by topic filter.
#[derive(Debug)]
pub struct TopicTree<T> {
    values: Vec<T>,
}

impl<T> Default for TopicTree<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

impl<T: Eq> TopicTree<T> {
    /// Adds a value for a filter. False when the filter has this value already.
    ///
    /// # Errors
    /// What is wrong with the filter.
    pub fn insert(&mut self, filter: &str, value: T) -> Result<bool, TopicError> {
        let _ = (filter, value);
        todo!()
    }

    /// Removes a value of a filter; gives it back when it was there.
    pub fn remove(&mut self, filter: &str, value: &T) -> Option<T> {
        let _ = (filter, value);
        todo!()
    }

    /// Shows each value of every filter that matches `name`: once for each filter that it was added for.
    /// A name that is not valid matches nothing.
    pub fn matches<'a>(&'a self, name: &str, mut visit: impl FnMut(&'a T)) {
        let _ = name;
        self.values.iter().for_each(&mut visit);
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}
