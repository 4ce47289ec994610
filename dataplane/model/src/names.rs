//! What things may be called. The rules are checked wherever a name enters: in files, in the admin
//! API, on the command line, and when a link attaches.

use crate::user::MAX_USER_NAME;

/// The longest address name, in bytes of UTF-8.
pub const MAX_ADDRESS_NAME: usize = 255;

/// The longest name of a fleet or a node: one label of a host name (RFC 1035, 2.3.4).
pub const MAX_NAME: usize = 63;

/// Names that begin with this belong to mq itself.
pub const RESERVED_PREFIX: char = '$';

/// The names of dynamic (reply) addresses begin with this; a unique part follows.
pub const TEMPORARY_PREFIX: &str = "$temp.";

/// The topic that serves every name that nothing else serves.
pub const CATCH_ALL_TOPIC: &str = "#";

/// Stands between the name of a topic and that of its subscription.
pub const SUBSCRIPTION_SEPARATOR: &str = "::";

/// The longest piece of a name that an error message repeats, in characters.
const SHOWN: usize = 64;

/// Topic and own name of a subscription, such as `events` and `billing` of `events::billing`.
pub fn split_subscription(name: &str) -> Option<(&str, &str)> {
    name.split_once(SUBSCRIPTION_SEPARATOR)
}

/// Checks the name of an address that a user defines, of whatever type: a plain name, `#`
/// ([`CATCH_ALL_TOPIC`]), or topic, `::` and name of a subscription ([`split_subscription`]).
///
/// A plain name has 1 to [`MAX_ADDRESS_NAME`] bytes. Levels are separated by `/`, as in MQTT; `.`, `:`,
/// `-`, `_`, inner spaces and letters of any script are allowed. Not allowed are control
/// characters, spaces at either end, the wildcards `+`, `#` and `*` (they would make the name a
/// pattern), `?` (it begins a URL query), empty levels, and a leading `$` (reserved for mq).
///
/// # Errors
///
/// A sentence that says what is wrong and what to do.
pub fn validate_address_name(name: &str) -> Result<(), String> {
    if name == CATCH_ALL_TOPIC {
        return Ok(());
    }
    let Some((topic, subscription)) = split_subscription(name) else { return validate_plain_name(name) };
    if name.len() > MAX_ADDRESS_NAME {
        return Err(too_long(name));
    }
    if topic.is_empty() || subscription.is_empty() {
        return Err(format!(
            "the name `{}` lacks the name on one side of `::`; a subscription is called `topic::name`",
            shown(name)
        ));
    }
    if subscription.starts_with(':') || subscription.contains(SUBSCRIPTION_SEPARATOR) {
        return Err(format!("the name `{}` holds more than one `::`; use one", shown(name)));
    }
    if topic != CATCH_ALL_TOPIC {
        validate_plain_name(topic)?;
    }
    validate_plain_name(subscription)
}

/// Checks a topic filter: a name in which a level may be `+` (one level) and the last one `#` (all
/// further ones, none included), as in MQTT 5.0, 4.7.1.
///
/// # Errors
///
/// A sentence that says what is wrong and what to do.
pub fn validate_topic_filter(filter: &str) -> Result<(), String> {
    if filter.len() > MAX_ADDRESS_NAME {
        return Err(too_long(filter));
    }
    let mut levels = filter.split('/').peekable();
    let mut plain = Vec::new();
    while let Some(level) = levels.next() {
        match level {
            "#" if levels.peek().is_some() => {
                return Err(format!("the filter `{}` goes on behind `#`; end it there", shown(filter)));
            }
            // What the wildcards stand for is as good a level as any.
            "+" | "#" => plain.push("x"),
            level if level.contains(['+', '#']) => {
                return Err(format!(
                    "the level `{}` of the filter `{}` is more than a wildcard; a wildcard is a level of its own",
                    shown(level),
                    shown(filter)
                ));
            }
            level => plain.push(level),
        }
    }
    validate_plain_name(&plain.join("/"))
}

/// Checks a name without wildcards and `::`.
pub(crate) fn validate_plain_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name is empty; an address needs a name of 1 to 255 bytes".into());
    }
    if name.len() > MAX_ADDRESS_NAME {
        return Err(too_long(name));
    }
    if name.contains(SUBSCRIPTION_SEPARATOR) {
        return Err(format!("the name `{}` holds `::`, which only subscriptions have", shown(name)));
    }
    if name.starts_with(RESERVED_PREFIX) {
        return Err(format!(
            "the name `{}` begins with `{RESERVED_PREFIX}`, which is reserved; use another name",
            shown(name)
        ));
    }
    if name.trim() != name {
        return Err(format!("the name `{}` begins or ends with a space; remove it", shown(name)));
    }
    if let Some(character) = name.chars().find(|character| character.is_control()) {
        return Err(format!(
            "the name `{}` holds the control character U+{:04X}; remove it",
            shown(name),
            u32::from(character)
        ));
    }
    if let Some(character) = name.chars().find(|character| matches!(character, '+' | '#' | '*')) {
        return Err(format!(
            "the name `{}` holds the wildcard `{character}`; an address is one name, not a pattern",
            shown(name)
        ));
    }
    if name.contains('?') {
        return Err(format!(
            "the name `{}` holds `?`, which begins a query in a URL; remove it",
            shown(name)
        ));
    }
    if name.split('/').any(str::is_empty) {
        return Err(format!(
            "the name `{}` has an empty level; remove the leading, trailing or doubled `/`",
            shown(name)
        ));
    }
    Ok(())
}

fn too_long(name: &str) -> String {
    format!("the name `{}` has {} bytes; use at most {MAX_ADDRESS_NAME}", shown(name), name.len())
}

/// Checks the name of a fleet or a node: 1 to [`MAX_NAME`] characters `a` to `z`, `0` to `9` and
/// `-`, with a letter or digit at either end. It becomes a folder, a container-id and a label.
///
/// # Errors
///
/// A sentence that says what is wrong and what to do.
pub fn validate_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name is empty; use 1 to 63 letters, digits and `-`".into());
    }
    if name.len() > MAX_NAME {
        return Err(format!("the name `{}` has {} bytes; use at most {MAX_NAME}", shown(name), name.len()));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if let Some(character) = name.chars().find(|&c| !u8::try_from(c).is_ok_and(allowed)) {
        return Err(format!(
            "the name `{}` holds `{}`; use `a` to `z`, `0` to `9` and `-`",
            shown(name),
            character.escape_debug()
        ));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err(format!("the name `{name}` begins or ends with `-`; use a letter or digit there"));
    }
    Ok(())
}

/// Checks the name of a user or a role: 1 to [`MAX_USER_NAME`] of `a` to `z`, `A` to `Z`, `0` to `9`, `.`, `_`
/// and `-`, with a letter or digit at the begin. So no name looks like another one, none has two spellings, and
/// `/`, `@` and `:` are free to stand between a name and something else.
///
/// # Errors
///
/// A sentence that says what is wrong and what to do.
pub fn validate_user_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("the name is empty; use 1 to {MAX_USER_NAME} letters, digits, `.`, `_` and `-`"));
    }
    if name.len() > MAX_USER_NAME {
        let bytes = name.len();
        return Err(format!("the name `{}` has {bytes} bytes; use at most {MAX_USER_NAME}", shown(name)));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if let Some(character) = name.chars().find(|&c| !u8::try_from(c).is_ok_and(allowed)) {
        return Err(format!(
            "the name `{}` holds `{}`; use `a` to `z`, `A` to `Z`, `0` to `9`, `.`, `_` and `-`",
            shown(name),
            character.escape_debug()
        ));
    }
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err(format!("the name `{name}` does not begin with a letter or a digit; let it"));
    }
    Ok(())
}

/// A name as a message may repeat it: no control characters, no endless line.
pub(crate) fn shown(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .take(SHOWN)
        .map(|character| if character.is_control() { '\u{FFFD}' } else { character })
        .collect();
    if name.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_names_of_other_systems_are_accepted() {
        let longest = "n".repeat(MAX_ADDRESS_NAME);
        for name in ["telemetry", "a/b/c", "a.b:c-d_e", "größe/küche", "with space", "a@b", &longest] {
            assert_eq!(validate_address_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn address_names_that_mislead_are_refused_with_the_reason() {
        for (name, reason) in [
            ("", "empty"),
            ("$temp.1", "reserved"),
            ("a\u{1b}[31m", "U+001B"),
            ("a\n", "space"),
            (" a", "space"),
            ("a/+/b", "wildcard `+`"),
            ("a/#", "wildcard `#`"),
            ("a*", "wildcard `*`"),
            ("a?b", "query"),
            ("/a", "empty level"),
            ("a//b", "empty level"),
            ("a/", "empty level"),
        ] {
            let error = validate_address_name(name).expect_err(name);
            assert!(error.contains(reason), "{name:?}: {error}");
            assert!(!error.contains('\u{1b}'), "{error:?}");
        }
        let long = "ü".repeat(MAX_ADDRESS_NAME / 2 + 1);
        assert!(validate_address_name(&long).expect_err("256 bytes").contains("256 bytes"));
    }

    #[test]
    fn a_subscription_is_called_by_its_topic_and_a_name() {
        for name in ["events::billing", "a/b::c/d", "#::audit", "a:b::c:d", "#"] {
            assert_eq!(validate_address_name(name), Ok(()), "{name}");
        }
        assert_eq!(split_subscription("a:b::c"), Some(("a:b", "c")));
        for (name, reason) in [
            ("::a", "lacks the name"),
            ("a::", "lacks the name"),
            ("a::b::c", "more than one"),
            ("a:::b", "more than one"),
            ("a/#::b", "wildcard"),
            ("a::#", "wildcard"),
            ("##", "wildcard"),
            ("$a::b", "reserved"),
            ("a::$b", "reserved"),
        ] {
            let error = validate_address_name(name).expect_err(name);
            assert!(error.contains(reason), "{name}: {error}");
        }
        let long = format!("{}::b", "a".repeat(MAX_ADDRESS_NAME - 2));
        assert!(validate_address_name(&long).expect_err("256 bytes").contains("256 bytes"));
    }

    #[test]
    fn a_wildcard_of_a_filter_is_a_level() {
        for filter in ["events", "events/#", "events/+/x", "+", "#", "+/+/#"] {
            assert_eq!(validate_topic_filter(filter), Ok(()), "{filter}");
        }
        for (filter, reason) in [
            ("", "empty"),
            ("a/#/b", "goes on behind"),
            ("a#", "level of its own"),
            ("a/b+", "level of its own"),
            ("a//b", "empty level"),
            ("a::b", "only subscriptions"),
            ("$a/#", "reserved"),
            ("a*", "wildcard `*`"),
        ] {
            let error = validate_topic_filter(filter).expect_err(filter);
            assert!(error.contains(reason), "{filter}: {error}");
        }
    }

    #[test]
    fn fleet_and_node_names_are_host_name_labels() {
        for name in ["a", "1", "node-1", &"n".repeat(MAX_NAME)] {
            assert_eq!(validate_name(name), Ok(()));
        }
        for name in ["", "-a", "a-", "A", "a.b", "a/b", "..", "ü", &"n".repeat(MAX_NAME + 1)] {
            assert!(validate_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn names_of_users_have_one_spelling() {
        let longest = "n".repeat(MAX_USER_NAME);
        for name in ["a", "Ann", "sensor-gw", "a.b_c-1", "1", &longest] {
            assert_eq!(validate_user_name(name), Ok(()), "{name}");
        }
        for name in ["", "-a", ".", "a b", "a/b", "a@b", "a:b", "a+", "#", "*", "ü", "$a", "${user}", "a\n"]
        {
            assert!(validate_user_name(name).is_err(), "{name:?}");
        }
        assert!(validate_user_name(&"n".repeat(MAX_USER_NAME + 1)).is_err());
    }

    #[test]
    fn temporary_names_cannot_be_taken_by_a_user() {
        assert!(validate_address_name(&format!("{TEMPORARY_PREFIX}x")).is_err());
    }
}
