//! Topic names and topic filters (4.7, 4.8.2).

/// Why a string is not a topic name or a topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    #[error("it is empty")]
    Empty,
    #[error("it has {0} bytes, more than the limit of {1}")]
    TooLong(usize, u16),
    #[error("it has more levels than the limit of {0}")]
    TooManyLevels(u16),
    #[error("it contains U+0000")]
    Null,
    #[error("a name has no wildcards")]
    Wildcard,
    #[error("'#' is not the last level of its own")]
    MultiLevelPlace,
    #[error("'+' does not fill its level")]
    SingleLevelPlace,
    #[error(
        "a shared subscription is $share/NAME/FILTER, with neither of the two empty and no wildcard in NAME"
    )]
    Share,
}

/// A topic filter, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// The name of the share, of a shared subscription (4.8.2).
    pub share: Option<&'a str>,
    /// What topics are matched against.
    pub filter: &'a str,
}

impl Filter<'_> {
    /// Whether it contains a wildcard (4.7.1).
    pub fn has_wildcard(self) -> bool {
        self.filter.contains(['+', '#'])
    }
}

/// The bounds of a topic name or a topic filter.
#[derive(Clone, Copy, Debug)]
pub struct TopicLimits {
    /// Bytes.
    pub max_length: u16,
    pub max_levels: u16,
}

impl TopicLimits {
    /// What the protocol itself allows.
    pub const NONE: Self = Self { max_length: u16::MAX, max_levels: u16::MAX };

    fn check(self, text: &str) -> Result<(), TopicError> {
        if text.is_empty() {
            // 4.7.3-1: "All Topic Names and Topic Filters MUST be at least one character long".
            return Err(TopicError::Empty);
        }
        if text.len() > usize::from(self.max_length) {
            return Err(TopicError::TooLong(text.len(), self.max_length));
        }
        let separators = text.bytes().filter(|byte| *byte == b'/').count();
        if separators >= usize::from(self.max_levels) {
            return Err(TopicError::TooManyLevels(self.max_levels));
        }
        Ok(())
    }
}

/// Checks a topic name: what may be published to (4.7.3).
///
/// # Errors
/// When it is empty, crosses a limit, or contains a wildcard or U+0000.
pub fn check_name(name: &str, limits: TopicLimits) -> Result<(), TopicError> {
    limits.check(name)?;
    // 4.7.1-1: wildcards "MUST NOT be used within a Topic Name". Without branches: it is on the path of
    // every message.
    let (mut is_wild, mut has_null) = (false, false);
    for byte in name.bytes() {
        is_wild |= (byte == b'+') | (byte == b'#');
        has_null |= byte == 0;
    }
    if is_wild {
        return Err(TopicError::Wildcard);
    }
    if has_null { Err(TopicError::Null) } else { Ok(()) }
}

/// Takes a topic filter apart: what may be subscribed to (4.7.1, 4.8.2).
///
/// # Errors
/// When it is empty, crosses a limit, has a wildcard in the wrong place, or is a share without a name
/// or a filter.
pub fn parse_filter(text: &str, limits: TopicLimits) -> Result<Filter<'_>, TopicError> {
    limits.check(text)?;
    if text.contains('\0') {
        return Err(TopicError::Null);
    }
    let (share, filter) = match text.strip_prefix("$share/") {
        None => (None, text),
        Some(rest) => {
            // 4.8.2-1, 4.8.2-2: the name has at least one character and none of '/', '+', '#'; a '/'
            // and a filter follow it.
            let (name, filter) = rest.split_once('/').ok_or(TopicError::Share)?;
            if name.is_empty() || filter.is_empty() || name.contains(['+', '#']) {
                return Err(TopicError::Share);
            }
            (Some(name), filter)
        }
    };
    check_wildcards(filter)?;
    Ok(Filter { share, filter })
}

fn check_wildcards(filter: &str) -> Result<(), TopicError> {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        // 4.7.1-2: '#' is the last character, on a level of its own.
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(TopicError::MultiLevelPlace);
        }
        // 4.7.1-3: '+' occupies an entire level.
        if level.contains('+') && level != "+" {
            return Err(TopicError::SingleLevelPlace);
        }
    }
    Ok(())
}

/// Whether a topic name matches a filter (4.7). Both have been checked; the filter is without its
/// share.
pub fn matches(filter: &str, topic: &str) -> bool {
    // 4.7.2-1: a filter that starts with a wildcard does not match a topic that starts with '$'.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic_levels = topic.split('/');
    for level in filter.split('/') {
        match (level, topic_levels.next()) {
            // 4.7.1.2: it stands for its parent as well.
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(other)) if level == other => {}
            _ => return false,
        }
    }
    topic_levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_whole_levels() {
        for (filter, topic) in [
            ("a", "a"),
            ("a/b", "a/b"),
            ("+", "a"),
            ("+", " "),
            ("a/+", "a/b"),
            ("a/+", "a/"),
            ("+/b", "/b"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("#", "a"),
            ("#", "/"),
            ("#", "a/b/c"),
            ("a/#", "a"),
            ("a/#", "a/"),
            ("a/#", "a/b/c"),
            ("a/+/#", "a/b"),
            ("+/+/#", "/a"),
            ("/#", "/"),
            ("$SYS/#", "$SYS/monitor"),
            ("$SYS/+/b", "$SYS/a/b"),
        ] {
            assert!(matches(filter, topic), "{filter} does not match {topic}");
        }
        for (filter, topic) in [
            ("a", "b"),
            ("a", "A"),
            ("a", "a/"),
            ("a/", "a"),
            ("/a", "a"),
            ("+", "/a"),
            ("+", "a/b"),
            ("a/+", "a"),
            ("a/+", "a/b/c"),
            ("+/b", "b"),
            ("a/#", "ab"),
            ("a/+/#", "a"),
            ("/#", "a"),
            ("#", "$SYS"),
            ("#", "$SYS/a"),
            ("+", "$SYS"),
            ("+/a", "$SYS/a"),
        ] {
            assert!(!matches(filter, topic), "{filter} matches {topic}");
        }
    }

    #[test]
    fn a_filter_has_its_wildcards_in_the_right_places() {
        for filter in ["a", "/", "//", "+", "#", "+/+", "a/#", "a/+/b", "+/#", "$share", "$sharex/a", "a b"] {
            assert_eq!(parse_filter(filter, TopicLimits::NONE), Ok(Filter { share: None, filter }));
        }
        for (filter, error) in [
            ("", TopicError::Empty),
            ("a#", TopicError::MultiLevelPlace),
            ("a/#/b", TopicError::MultiLevelPlace),
            ("#/", TopicError::MultiLevelPlace),
            ("##", TopicError::MultiLevelPlace),
            ("a+", TopicError::SingleLevelPlace),
            ("+a/b", TopicError::SingleLevelPlace),
            ("a/++", TopicError::SingleLevelPlace),
            ("a\0b", TopicError::Null),
        ] {
            assert_eq!(parse_filter(filter, TopicLimits::NONE), Err(error), "{filter}");
        }
    }

    #[test]
    fn a_share_has_a_name_and_a_filter() {
        let parsed = parse_filter("$share/g/a/+", TopicLimits::NONE);
        assert_eq!(parsed, Ok(Filter { share: Some("g"), filter: "a/+" }));
        let parsed = parse_filter("$share/g//", TopicLimits::NONE);
        assert_eq!(parsed, Ok(Filter { share: Some("g"), filter: "/" }));
        for filter in ["$share/", "$share/g", "$share/g/", "$share//a", "$share/g+/a", "$share/#/a"] {
            assert_eq!(parse_filter(filter, TopicLimits::NONE), Err(TopicError::Share), "{filter}");
        }
        assert_eq!(parse_filter("$share/g/a#", TopicLimits::NONE), Err(TopicError::MultiLevelPlace));
    }

    #[test]
    fn a_name_has_no_wildcards_and_keeps_to_the_limits() {
        let limits = TopicLimits { max_length: 8, max_levels: 3 };
        for name in ["a", "/", "//", "a/b/c", "$SYS", "12345678"] {
            assert_eq!(check_name(name, limits), Ok(()), "{name}");
        }
        for (name, error) in [
            ("", TopicError::Empty),
            ("a/+", TopicError::Wildcard),
            ("#", TopicError::Wildcard),
            ("a\0", TopicError::Null),
            ("123456789", TopicError::TooLong(9, 8)),
            ("///", TopicError::TooManyLevels(3)),
        ] {
            assert_eq!(check_name(name, limits), Err(error), "{name}");
            assert!(name == "a/+" || name == "#" || parse_filter(name, limits) == Err(error), "{name}");
        }
    }
}
