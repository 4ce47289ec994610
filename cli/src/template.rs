//! Bodies with placeholders: `{{seq}}`, `{{rand 1 9}}` and the like (`mq help templates`).
//!
//! A template is parsed once and checked as a whole, so that message 1,000 cannot fail where message 1
//! did not. The random parts come from one seeded generator.

use jiff::Timestamp;

/// The longest random string.
const MAX_RANDOM_TEXT: usize = 1 << 20;

/// A parsed body.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

/// What differs from one message to the next.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The number of the message, from 1.
    pub sequence: u64,
    pub now: Timestamp,
    /// The line of the input.
    pub line: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Sequence,
    SequenceModulo(u64),
    Now,
    UnixMilliseconds,
    Uuid,
    Random { from: i64, to: i64 },
    RandomText(usize),
    Line,
}

impl Template {
    /// Parses a template. `environment` answers `{{env.NAME}}`.
    ///
    /// # Errors
    ///
    /// A placeholder that is unknown, is not closed, or has arguments that make no sense.
    pub fn parse(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").ok_or("a `{{` is not closed by `}}`")?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(placeholder(inside.trim(), &environment)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// Whether the template uses the line of the input.
    pub fn uses_line(&self) -> bool {
        self.parts.contains(&Part::Line)
    }

    /// The body of one message.
    pub fn expand(&self, values: Values<'_>, random: &mut fastrand::Rng) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Sequence => text.push_str(&values.sequence.to_string()),
                Part::SequenceModulo(modulo) => {
                    text.push_str(&(values.sequence.saturating_sub(1) % modulo).to_string());
                }
                Part::Now => text.push_str(&values.now.to_string()),
                Part::UnixMilliseconds => text.push_str(&values.now.as_millisecond().to_string()),
                Part::Uuid => text.push_str(&uuid(random).to_string()),
                Part::Random { from, to } => text.push_str(&random.i64(*from..=*to).to_string()),
                Part::RandomText(length) => text.extend((0..*length).map(|_| random.alphanumeric())),
                Part::Line => text.push_str(values.line.unwrap_or_default()),
            }
        }
        text
    }
}

/// A version 4 UUID from the seeded generator.
fn uuid(random: &mut fastrand::Rng) -> uuid::Uuid {
    uuid::Builder::from_random_bytes(random.u128(..).to_be_bytes()).into_uuid()
}

fn placeholder(inside: &str, environment: &impl Fn(&str) -> Option<String>) -> Result<Part, String> {
    if let Some(name) = inside.strip_prefix("env.") {
        let value =
            environment(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))?;
        return Ok(Part::Text(value));
    }
    let words: Vec<&str> = inside.split_whitespace().collect();
    match words.as_slice() {
        ["seq"] => Ok(Part::Sequence),
        ["seqmod", modulo] => match modulo.parse() {
            Ok(modulo @ 1..) => Ok(Part::SequenceModulo(modulo)),
            _ => Err(format!("`{{{{{inside}}}}}`: a whole number of at least 1 belongs after seqmod")),
        },
        ["now"] => Ok(Part::Now),
        ["unix_ms"] => Ok(Part::UnixMilliseconds),
        ["uuid"] => Ok(Part::Uuid),
        ["line"] => Ok(Part::Line),
        ["rand", from, to] => match (from.parse(), to.parse()) {
            (Ok(from), Ok(to)) if from <= to => Ok(Part::Random { from, to }),
            _ => {
                Err(format!("`{{{{{inside}}}}}`: two whole numbers belong after rand, the smaller one first"))
            }
        },
        ["randstr", length] => match length.parse() {
            Ok(length) if length <= MAX_RANDOM_TEXT => Ok(Part::RandomText(length)),
            _ => Err(format!(
                "`{{{{{inside}}}}}`: a length of at most {MAX_RANDOM_TEXT} belongs after randstr"
            )),
        },
        _ => Err(format!("`{{{{{inside}}}}}` is not a placeholder; see `mq help templates`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, sequence: u64, seed: u64) -> String {
        let template = Template::parse(text, |name| (name == "SITE").then(|| "north".to_owned())).unwrap();
        let values = Values { sequence, now: Timestamp::UNIX_EPOCH, line: Some("input") };
        template.expand(values, &mut fastrand::Rng::with_seed(seed))
    }

    #[test]
    fn every_placeholder_stands_for_something() {
        assert_eq!(expand("{{seq}} {{ seq }}", 7, 0), "7 7");
        assert_eq!(expand("{{seqmod 4}}", 5, 0), "0");
        assert_eq!(expand("{{now}}", 1, 0), "1970-01-01T00:00:00Z");
        assert_eq!(expand("{{unix_ms}}", 1, 0), "0");
        assert_eq!(expand("{{env.SITE}}/{{line}}", 1, 0), "north/input");
        assert_eq!(expand("{{rand 5 5}}", 1, 0), "5");
        assert_eq!(expand("{{randstr 12}}", 1, 0).len(), 12);
    }

    #[test]
    fn the_same_seed_gives_the_same_bodies() {
        let text = "{{uuid}} {{rand 1 1000000}} {{randstr 8}}";
        assert_eq!(expand(text, 1, 42), expand(text, 1, 42));
        assert_ne!(expand(text, 1, 42), expand(text, 1, 43));
    }

    #[test]
    fn a_mistake_is_found_before_the_first_message() {
        for (text, why) in [
            ("{{seq", "not closed"),
            ("{{sequence}}", "not a placeholder"),
            ("{{rand 9 1}}", "the smaller one first"),
            ("{{seqmod 0}}", "at least 1"),
            ("{{randstr 99999999}}", "at most"),
            ("{{env.NOTHING}}", "is not set"),
        ] {
            let error = Template::parse(text, |_| None).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn single_braces_are_text() {
        assert_eq!(expand(r#"{"a": {"b": 1}}"#, 1, 0), r#"{"a": {"b": 1}}"#);
    }
}
