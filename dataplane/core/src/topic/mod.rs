//! Topic names and filters, and the tree that finds the filters which a name matches.
//!
//! Names have levels divided by `/`. In a filter, `+` stands for one level and `#`, at its end, for any
//! number of levels, none among them: `a/#` matches `a`, `a/b` and `a/b/c`. A filter that begins with a
//! wildcard does not match names that begin with `$` (MQTT 5.0, 4.7). In a space all of this begins behind the
//! prefix of its names (`crate::space`).

mod few;
mod names;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use self::few::Few;
pub(crate) use self::names::{Names, Walk};
pub use self::tree::TopicTree;
use crate::space::{self, Spaced};

/// Levels of a name or a filter, without the prefix of its space.
pub const MAX_LEVELS: usize = 128;
/// Bytes of a name or a filter, likewise.
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
    #[error("`{wildcard}` at byte {at} is allowed in a filter, not in a name")]
    WildcardInName { wildcard: char, at: usize },
    #[error("`+` at byte {at} has to stand for a whole level, between two `/`")]
    PartOfLevel { at: usize },
    #[error("`#` at byte {at} has to be the whole last level")]
    NotLast { at: usize },
}

/// Checks a name that a message is sent to.
///
/// # Errors
/// What is wrong with it, and where.
pub fn validate_name(name: &str) -> Result<(), TopicError> {
    validate_both(name)?;
    let name = space::split(name).local.unwrap_or(name);
    match name.find(['+', '#']) {
        Some(at) => {
            let wildcard = if name.as_bytes().get(at) == Some(&b'+') { '+' } else { '#' };
            Err(TopicError::WildcardInName { wildcard, at })
        }
        None => Ok(()),
    }
}

/// Checks a filter.
///
/// # Errors
/// What is wrong with it, and where.
pub fn validate_filter(filter: &str) -> Result<(), TopicError> {
    validate_both(filter)?;
    // Where it is said to be wrong is where its client has written it.
    let filter = space::split(filter).local.unwrap_or(filter);
    let mut start = 0;
    for level in filter.split('/') {
        let end = start + level.len();
        if let Some(place) = level.find(['+', '#']) {
            let at = start + place;
            let is_hash = level.as_bytes().get(place) == Some(&b'#');
            match (is_hash, level.len() == 1) {
                (true, true) if end == filter.len() => {}
                (true, _) => return Err(TopicError::NotLast { at }),
                (false, true) => {}
                (false, false) => return Err(TopicError::PartOfLevel { at }),
            }
        }
        start = end + 1;
    }
    Ok(())
}

fn validate_both(topic: &str) -> Result<(), TopicError> {
    // A prefix that ends early has nothing behind it.
    let topic = space::split(topic).local.unwrap_or_default();
    if topic.is_empty() {
        return Err(TopicError::Empty);
    }
    if topic.len() > MAX_BYTES {
        return Err(TopicError::TooLong);
    }
    if let Some(at) = topic.find('\0') {
        return Err(TopicError::Nul { at });
    }
    if topic.bytes().filter(|byte| *byte == b'/').count() >= MAX_LEVELS {
        return Err(TopicError::TooManyLevels);
    }
    Ok(())
}

/// Whether a filter matches a name; both are valid.
pub fn matches(filter: &str, name: &str) -> bool {
    let (Spaced { prefix, local: filter }, name) = (space::split(filter), space::split(name));
    let both = filter.zip(name.local).filter(|_| prefix == name.prefix);
    both.is_some_and(|(filter, name)| matches_local(filter, name))
}

/// The same for what stands behind the prefix of a space.
fn matches_local(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        let Some(name) = names.next() else { return false };
        if level != "+" && level != name {
            return false;
        }
    }
    names.next().is_none()
}
