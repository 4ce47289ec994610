//! Who may do what at which addresses: rights, patterns of addresses, and the two together as a grant,
//! written `right:pattern`, such as `send:telemetry/#` or `recv:command/${user}/+`.
//!
//! What is asked for may be an address or a topic filter. A filter is covered by a pattern that matches every
//! name the filter can match, so that who may subscribe never hears more than what was granted. Several
//! patterns that cover a filter together only do not count as one that does.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::{MAX_ADDRESS_NAME, RESERVED_PREFIX, SUBSCRIPTION_SEPARATOR, shown};

/// The longest pattern, in bytes of UTF-8.
pub const MAX_PATTERN: usize = MAX_ADDRESS_NAME;

/// Stands for the name of the user who asks.
const USER: &str = "${user}";

/// Stands for the client identifier (MQTT) or container-id (AMQP) of the connection that asks.
const CLIENT: &str = "${client}";

/// What stands for all further levels of a name, none included.
const REST: &str = "#";

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Send and publish messages.
    Send,
    /// Receive messages and subscribe; looking at messages (`browse`) is part of it.
    Recv,
    /// Look at messages and leave them where they are.
    Browse,
    /// See addresses and their counters in the admin API.
    View,
    /// Create, change, delete, purge, move and drain addresses.
    Manage,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 5] = [Self::Send, Self::Recv, Self::Browse, Self::View, Self::Manage];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Recv => "recv",
            Self::Browse => "browse",
            Self::View => "view",
            Self::Manage => "manage",
        }
    }

    /// Whether who has this right has the other one, too.
    pub fn includes(self, other: Self) -> bool {
        self == other || (self == Self::Recv && other == Self::Browse)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Right {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let found = Self::ALL.into_iter().find(|right| right.name() == text);
        found.ok_or_else(|| {
            GrantError(format!("`{}` is not a right; use send, recv, browse, view or manage", shown(text)))
        })
    }
}

/// Who asks, as far as patterns speak of it.
///
/// What is empty, or holds one of `/`, `*`, `+`, `#` and `$`, fits into no pattern: neither a name nor a client
/// identifier widens what was granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who<'a> {
    /// The name of the user; empty: nobody has said who he is.
    pub user: &'a str,
    /// The client identifier of an MQTT client, the container-id of an AMQP one; empty: none.
    pub client: &'a str,
}

/// Why a text is not a grant: one sentence that says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantError(String);

impl fmt::Display for GrantError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for GrantError {}

/// Which addresses: levels with `/` between them, as in names of topics.
///
/// - `*` or `+` is any one level;
/// - `#` at the end is any number of further levels, none included, and the subscriptions (`topic::name`) of
///   what stands before it;
/// - `${user}` and `${client}`, as a level or a part of one, are those of [`Who`];
/// - nothing reaches names that begin with `$`, which belong to mq itself (for wildcards as in MQTT 5.0, 4.7.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Reads a pattern of 1 to [`MAX_PATTERN`] bytes.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, GrantError> {
        let refuse = |what: String| Err(GrantError(format!("the pattern `{}` {what}", shown(text))));
        if text.is_empty() {
            return refuse("is empty; `#` is every address".into());
        }
        if text.len() > MAX_PATTERN {
            return refuse(format!("has {} bytes; use at most {MAX_PATTERN}", text.len()));
        }
        if let Some(character) = text.chars().find(|character| character.is_control()) {
            return refuse(format!("holds the control character U+{:04X}; remove it", u32::from(character)));
        }
        if text.starts_with(RESERVED_PREFIX) && !text.starts_with("${") {
            return refuse(format!("begins with `{RESERVED_PREFIX}`, which is reserved; use another name"));
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level == REST && levels.peek().is_some() {
                return refuse("goes on behind `#`; end it there".into());
            }
            if !is_wildcard(level) && level != REST && level.contains(['*', '+', '#']) {
                return refuse("has a wildcard within a level; a wildcard is a level of its own".into());
            }
            if let Some(unknown) = unknown_variable(level) {
                let unknown = shown(unknown);
                return refuse(format!(
                    "holds `{unknown}`, which stands for nothing; use {USER} or {CLIENT}"
                ));
            }
        }
        Ok(Self(text.into()))
    }

    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is every address there is.
    pub fn is_everything(&self) -> bool {
        &*self.0 == REST
    }

    /// The pattern for one who asks, without variables; `None`: it fits nothing that he may ask for.
    pub fn resolve(&self, who: Who<'_>) -> Option<Self> {
        let mut text = self.0.to_string();
        for (variable, value) in [(USER, who.user), (CLIENT, who.client)] {
            if self.0.contains(variable) {
                text = text.replace(variable, usable(value)?);
            }
        }
        Some(Self(text.into()))
    }

    /// Whether the pattern matches an address, or every name that a topic filter can match.
    pub fn covers(&self, asked: &str, who: Who<'_>) -> bool {
        // No pattern begins with it, and no wildcard or variable may stand for it.
        if asked.starts_with(RESERVED_PREFIX) {
            return false;
        }
        let mut asked = asked.split('/');
        let mut pattern = self.0.split('/').peekable();
        while let Some(level) = pattern.next() {
            if level == REST {
                return true;
            }
            let Some(wanted) = asked.next() else { return false };
            let is_covered = match wanted {
                REST => false,
                _ if is_wildcard(level) => true,
                "+" => false,
                _ => fits(level, wanted, who) || is_subscription_below(level, wanted, &mut pattern, who),
            };
            if !is_covered {
                return false;
            }
        }
        asked.next().is_none()
    }
}

/// Whether a level of a pattern is any one level.
fn is_wildcard(level: &str) -> bool {
    matches!(level, "*" | "+")
}

/// The first variable of a level that stands for nothing.
fn unknown_variable(level: &str) -> Option<&str> {
    let mut rest = level;
    while let Some(start) = rest.find("${") {
        let variable = rest.get(start..).unwrap_or_default();
        let Some(known) = [USER, CLIENT].into_iter().find(|known| variable.starts_with(known)) else {
            return Some(variable);
        };
        rest = variable.get(known.len()..).unwrap_or_default();
    }
    None
}

/// Whether a level of a name is what a level of a pattern says, which is no wildcard.
fn fits(level: &str, name: &str, who: Who<'_>) -> bool {
    left_over(level, name, who) == Some("")
}

/// What a level of a name has behind that which a level of a pattern says.
fn left_over<'n>(level: &str, name: &'n str, who: Who<'_>) -> Option<&'n str> {
    let (mut level, mut name) = (level, name);
    while let Some((text, variable)) = level.find("${").and_then(|start| level.split_at_checked(start)) {
        name = name.strip_prefix(text)?;
        let (value, rest) = match variable.strip_prefix(USER) {
            Some(rest) => (who.user, rest),
            None => (who.client, variable.strip_prefix(CLIENT)?),
        };
        (name, level) = (name.strip_prefix(usable(value)?)?, rest);
    }
    name.strip_prefix(level)
}

/// What a variable stands for, unless it is to stand for nothing; see [`Who`].
fn usable(value: &str) -> Option<&str> {
    let widens = value.is_empty() || value.contains(['/', '*', '+', '#', '$']);
    (!widens).then_some(value)
}

/// Whether `#` follows in the pattern, and the level is the end of a topic and the begin of the name of one of
/// its subscriptions.
fn is_subscription_below<'p>(
    level: &str,
    name: &str,
    rest: &mut std::iter::Peekable<impl Iterator<Item = &'p str>>,
    who: Who<'_>,
) -> bool {
    rest.peek() == Some(&REST)
        && left_over(level, name, who).is_some_and(|behind| behind.starts_with(SUBSCRIPTION_SEPARATOR))
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A right at the addresses of a pattern, written `right:pattern`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grant {
    pub right: Right,
    pub pattern: Pattern,
}

impl Grant {
    /// The right at every address.
    pub fn everywhere(right: Right) -> Self {
        Self { right, pattern: Pattern(REST.into()) }
    }

    /// Whether it gives the right at an address, or at every name that a topic filter can match.
    pub fn permits(&self, right: Right, asked: &str, who: Who<'_>) -> bool {
        self.right.includes(right) && self.pattern.covers(asked, who)
    }

    /// Whether it gives the right everywhere, which is what concerns a node and not an address of it.
    pub fn permits_everywhere(&self, right: Right) -> bool {
        self.right.includes(right) && self.pattern.is_everything()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.right, self.pattern)
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let Some((right, pattern)) = text.split_once(':') else {
            return Err(GrantError(format!(
                "`{}` is not a grant; write `right:pattern`, such as `send:telemetry/#`",
                shown(text)
            )));
        };
        Ok(Self { right: right.parse()?, pattern: Pattern::parse(pattern)? })
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Grant {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Grant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A right at the addresses of a pattern: `right:pattern`, such as `send:telemetry/#`. \
                Rights are `send`, `recv`, `browse` (part of `recv`), `view` and `manage`. In a pattern `*` or \
                `+` is one level, `#` at the end all further ones; `${user}` and `${client}` are the name of \
                the user and the client identifier.",
            "pattern": "^(send|recv|browse|view|manage):.+$",
            "maxLength": 262,
        })
    }
}

/// The first of the grants that gives a right at an address, or at every name that a topic filter can match.
pub fn permitting<'a>(
    grants: impl IntoIterator<Item = &'a Grant>,
    right: Right,
    asked: &str,
    who: Who<'_>,
) -> Option<&'a Grant> {
    grants.into_iter().find(|grant| grant.permits(right, asked, who))
}

/// What one connection may do: the grants of its user with the variables put in. Cheap to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    /// The rights that hold everywhere, a bit for each.
    everywhere: u8,
    /// The others.
    grants: Vec<Grant>,
}

impl Permits {
    /// What the grants give to one who asks.
    pub fn of<'a>(grants: impl IntoIterator<Item = &'a Grant>, who: Who<'_>) -> Self {
        let mut permits = Self::default();
        for grant in grants {
            if grant.pattern.is_everything() {
                permits.everywhere |= bit(grant.right);
            } else if let Some(pattern) = grant.pattern.resolve(who) {
                permits.grants.push(Grant { right: grant.right, pattern });
            }
        }
        permits
    }

    /// Every right everywhere.
    pub fn everything() -> Self {
        Self { everywhere: Right::ALL.into_iter().map(bit).fold(0, |all, one| all | one), grants: Vec::new() }
    }

    /// No right anywhere.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Whether the right is given everywhere.
    pub fn is_everything(&self, right: Right) -> bool {
        Right::ALL.into_iter().any(|held| held.includes(right) && self.everywhere & bit(held) != 0)
    }

    /// Whether the right is given at an address, or at every name that a topic filter can match.
    pub fn permits(&self, right: Right, asked: &str) -> bool {
        if asked.starts_with(RESERVED_PREFIX) {
            return false;
        }
        self.is_everything(right) || permitting(&self.grants, right, asked, Who::default()).is_some()
    }
}

fn bit(right: Right) -> u8 {
    1 << (right as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHO: Who<'static> = Who { user: "ann", client: "c-1" };

    fn covers(pattern: &str, asked: &str) -> bool {
        Pattern::parse(pattern).expect(pattern).covers(asked, WHO)
    }

    #[test]
    fn a_pattern_covers_the_names_that_it_says() {
        for (pattern, asked, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "a/b", false),
            ("a/b", "a", false),
            ("*", "a", true),
            ("+", "a", true),
            ("+", "a/b", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/d", false),
            ("a/#", "a", true),
            ("a/#", "a/b", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("a/+/#", "a", false),
            ("a/+/#", "a/b", true),
            ("#", "anything/at/all", true),
            ("/a", "/a", true),
            ("/a", "a", false),
            ("+/a", "/a", true),
            ("a//b", "a//b", true),
        ] {
            assert_eq!(covers(pattern, asked), expected, "{pattern} and {asked}");
        }
    }

    #[test]
    fn a_filter_is_covered_by_what_covers_all_of_its_names() {
        for (pattern, asked, expected) in [
            ("#", "#", true),
            ("a/#", "#", false),
            ("a/#", "a/#", true),
            ("a/#", "a/+/c", true),
            ("a/#", "+/b", false),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+/#", "a/#", false),
            ("a/+/#", "a/+/#", true),
            ("a/b", "a/+", false),
            ("+/b", "a/b", true),
            ("+/b", "+/b", true),
        ] {
            assert_eq!(covers(pattern, asked), expected, "{pattern} and {asked}");
        }
    }

    #[test]
    fn a_subscription_belongs_to_what_goes_on_below_its_topic() {
        for (pattern, expected) in [
            ("events::billing", true),
            ("events/#", true),
            ("#", true),
            ("events", false),
            ("event/#", false),
            ("events::other", false),
        ] {
            assert_eq!(covers(pattern, "events::billing"), expected, "{pattern}");
        }
        assert!(covers("events/#", "events::a/b"), "the name of a subscription may have levels");
        assert!(covers("${user}/#", "ann::b"));
        assert!(!covers("events/b", "events::a/b"));
    }

    #[test]
    fn what_belongs_to_mq_is_reached_by_no_wildcard_at_the_begin() {
        for pattern in ["#", "+", "*", "+/#"] {
            assert!(!covers(pattern, "$temp.1"), "{pattern}");
        }
        let client = Who { user: "ann", client: "$temp.1" };
        assert!(!Pattern::parse("${client}").unwrap().covers("$temp.1", client));
    }

    #[test]
    fn variables_are_those_of_who_asks() {
        for (pattern, asked, expected) in [
            ("${user}", "ann", true),
            ("${user}/#", "ann/x", true),
            ("${user}", "bob", false),
            ("devices/${client}/state", "devices/c-1/state", true),
            ("x-${user}-y", "x-ann-y", true),
            ("x-${user}-y", "x-ann", false),
            ("${user}${client}", "annc-1", true),
            ("${user}.${user}", "ann.ann", true),
        ] {
            assert_eq!(covers(pattern, asked), expected, "{pattern} and {asked}");
        }
    }

    #[test]
    fn what_a_connection_may_do_is_what_its_grants_say() {
        let grants: Vec<Grant> = ["send:a/#", "recv:${user}/+", "browse:c/${client}", "view:#"]
            .map(|text| text.parse().unwrap())
            .into();
        let permits = Permits::of(&grants, Who { user: "ann", client: "" });
        for (right, asked, expected) in [
            (Right::Send, "a/b", true),
            (Right::Send, "b", false),
            (Right::Recv, "ann/x", true),
            (Right::Browse, "ann/x", true),
            (Right::Recv, "bob/x", false),
            (Right::Browse, "c/", false),
            (Right::View, "x", true),
            (Right::Manage, "x", false),
        ] {
            assert_eq!(permits.permits(right, asked), expected, "{right} {asked}");
        }
        assert!(permits.is_everything(Right::View) && !permits.is_everything(Right::Send));
        assert!(!permits.permits(Right::View, "$temp.1"));
        assert!(Permits::everything().is_everything(Right::Browse));
        assert!(!Permits::nothing().permits(Right::Send, "a"));
    }

    #[test]
    fn a_name_with_wildcards_or_levels_widens_nothing() {
        let pattern = Pattern::parse("${user}/x").unwrap();
        let client = Pattern::parse("a/${client}").unwrap();
        for name in ["", "+", "#", "*", "a/b", "a+", "a#", "a*", "$a", "${user}", "${client}"] {
            let who = Who { user: name, client: name };
            for asked in ["x", "/x", "+/x", "#", "a/x", "a/b/x", "*/x", &format!("{name}/x")] {
                assert!(!pattern.covers(asked, who), "{name:?} and {asked}");
            }
            for asked in ["a/", "a/#", "a/+", "a/a/b", &format!("a/{name}")] {
                assert!(!client.covers(asked, who), "{name:?} and {asked}");
            }
        }
    }

    #[test]
    fn patterns_that_mislead_are_refused_with_the_reason() {
        let long = "n".repeat(MAX_PATTERN + 1);
        for (pattern, reason) in [
            ("", "empty"),
            ("a/#/b", "goes on behind"),
            ("a#", "level of its own"),
            ("a/b*", "level of its own"),
            ("a/+b/c", "level of its own"),
            ("$temp.1", "reserved"),
            ("${group}", "stands for nothing"),
            ("a/${user", "stands for nothing"),
            ("a\u{1b}b", "U+001B"),
            (&long, "256 bytes"),
        ] {
            let error = Pattern::parse(pattern).expect_err(pattern).to_string();
            assert!(error.contains(reason), "{pattern:?}: {error}");
        }
        assert!(Pattern::parse(&long[1..]).is_ok());
    }

    #[test]
    fn a_grant_reads_as_it_is_written() {
        for text in ["send:telemetry/#", "recv:a::b", "browse:*", "view:#", "manage:x/${client}"] {
            let grant: Grant = text.parse().expect(text);
            assert_eq!(grant.to_string(), text);
            let json = serde_json::to_string(&grant).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Grant>(&json).unwrap(), grant);
        }
        for (text, reason) in [
            ("telemetry", "not a grant"),
            ("write:a", "not a right"),
            ("Send:a", "not a right"),
            ("send:", "is empty"),
            ("send :a", "not a right"),
        ] {
            assert!(text.parse::<Grant>().expect_err(text).to_string().contains(reason), "{text}");
        }
    }

    #[test]
    fn a_right_gives_itself_and_receiving_gives_looking() {
        for held in Right::ALL {
            for asked in Right::ALL {
                let grant = Grant { right: held, pattern: Pattern::parse("#").unwrap() };
                let expected = held == asked || (held == Right::Recv && asked == Right::Browse);
                assert_eq!(grant.permits(asked, "a", WHO), expected, "{held} and {asked}");
                assert_eq!(grant.permits_everywhere(asked), expected, "{held} and {asked}");
            }
        }
        let grant: Grant = "manage:a/#".parse().unwrap();
        assert!(!grant.permits_everywhere(Right::Manage));
    }

    /// Whether a topic filter matches a name, said as MQTT does.
    fn matches(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, name @ ..]) => matches(filter, name),
            ([level, filter @ ..], [first, name @ ..]) => level == first && matches(filter, name),
            _ => false,
        }
    }

    fn levels(text: &str) -> Vec<&str> {
        text.split('/').collect()
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "+"]);
        (prop::collection::vec(level, 0..4), any::<bool>()).prop_map(|(mut levels, has_rest)| {
            if has_rest || levels.is_empty() {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", ""]), 1..5)
            .prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_pattern_without_variables_covers_the_names_that_the_same_filter_matches(
            pattern in filter(), name in name()
        ) {
            prop_assume!(!pattern.is_empty());
            let expected = matches(&levels(&pattern), &levels(&name));
            prop_assert_eq!(covers(&pattern, &name), expected, "{} and {}", pattern, name);
        }

        #[test]
        fn what_a_covered_filter_matches_is_covered(pattern in filter(), filter in filter(), name in name()) {
            prop_assume!(!pattern.is_empty());
            if covers(&pattern, &filter) && matches(&levels(&filter), &levels(&name)) {
                prop_assert!(covers(&pattern, &name), "{} and {} and {}", pattern, filter, name);
            }
        }

        #[test]
        fn a_pattern_with_its_variables_put_in_covers_the_same(
            pattern in "[ab/]{0,3}(\\$\\{user\\}|\\$\\{client\\})?[ab/]{0,3}(\\$\\{user\\}|\\$\\{client\\})?(/#)?",
            user in "[ab/+#$*]{0,2}", client in "[ab/+#$*]{0,2}", asked in "[ab/+#]{0,8}"
        ) {
            let who = Who { user: &user, client: &client };
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let resolved = pattern.resolve(who);
                let covers = resolved.is_some_and(|resolved| resolved.covers(&asked, Who::default()));
                prop_assert_eq!(covers, pattern.covers(&asked, who));
            }
        }

        #[test]
        fn any_text_is_read_or_refused_and_compared_without_a_panic(
            pattern in "[a${}userclient/*+#:]{0,20}", asked in any::<String>(), name in any::<String>()
        ) {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                pattern.covers(&asked, Who { user: &name, client: &name });
            }
        }
    }
}
