//! The codes of diagnostics: one stable number, title and explanation for each kind of problem.

use std::fmt;

use serde::{Serialize, Serializer};

/// What kind of problem a diagnostic reports. A number keeps its meaning for ever; a code that goes
/// out of use is not given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// The text is not YAML.
    Syntax,
    /// The file is not UTF-8.
    Encoding,
    /// The file is larger than 1 MiB.
    FileSize,
    /// Nested too deep, or too large with its aliases written out.
    Complexity,
    /// A document, or the whole file, holds nothing.
    EmptyDocument,
    /// Merge keys, tags, keys that are not text, aliases to nothing.
    Unsupported,
    /// A key appears twice in one object.
    DuplicateKey,
    /// The object has no such field.
    UnknownField,
    /// A required field is not there.
    MissingField,
    /// The value is of another type than the field.
    WrongType,
    /// The number is too small or too large.
    OutOfRange,
    /// The field takes one of a few words, and this is none.
    UnknownValue,
    /// The text does not have the form that the field needs.
    InvalidValue,
    /// No document is of this kind.
    UnknownKind,
    /// The version of the document is not known.
    ApiVersion,
    /// Two documents of one kind have one name.
    DuplicateObject,
    /// Two fleets in one command.
    SeveralFleets,
    /// Values that are allowed, but not together.
    Conflict,
    /// The configuration of a daemon is one document.
    SeveralDocuments,
    /// The field means nothing for an address of this type.
    WrongAddressType,
    /// The name is one of another type of address.
    NameOfOtherType,
    /// The address that is named cannot play the part.
    Reference,
    /// The value changes nothing without another one.
    NoEffect,
    /// The data plane of the fleet cannot do it.
    Unserved,
}

/// Number, title and explanation of a code.
struct Entry {
    code: Code,
    number: u16,
    title: &'static str,
    explanation: &'static str,
}

impl Code {
    /// Every code, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(|entry| entry.code)
    }

    /// Finds a code by what a diagnostic prints, such as `MQ0107`; case does not matter.
    pub fn parse(text: &str) -> Option<Self> {
        Self::all().find(|code| code.to_string().eq_ignore_ascii_case(text))
    }

    /// A few words that name the problem.
    pub fn title(self) -> &'static str {
        self.entry().map_or("", |entry| entry.title)
    }

    /// What the problem is, why it is one, and how to get rid of it.
    pub fn explanation(self) -> &'static str {
        self.entry().map_or("", |entry| entry.explanation)
    }

    fn entry(self) -> Option<&'static Entry> {
        ENTRIES.iter().find(|entry| entry.code == self)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MQ{:04}", self.entry().map_or(0, |entry| entry.number))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const ENTRIES: &[Entry] = &[
    Entry {
        code: Code::Syntax,
        number: 100,
        title: "not YAML",
        explanation: "The text is not YAML (and so not JSON either). Nothing behind this place was \
            read; there may be more problems. Usual causes: a tab in the indentation, a line that is \
            indented more or less than its neighbours, a quote that is not closed, a value with `: ` \
            in it that needs quotes.",
    },
    Entry {
        code: Code::Encoding,
        number: 101,
        title: "not UTF-8",
        explanation: "Files are read as UTF-8. Save the file with this encoding; UTF-16 and Latin-1 \
            are not read.",
    },
    Entry {
        code: Code::FileSize,
        number: 102,
        title: "file too large",
        explanation: "A file may have 1 MiB. Split it: every command that takes `-f` takes it several \
            times.",
    },
    Entry {
        code: Code::Complexity,
        number: 103,
        title: "file too complex",
        explanation: "The values of a file, with every alias replaced by what it stands for, may need \
            32 MiB of memory and may be nested 32 levels deep. No manifest comes near; a file that \
            crosses these limits is damaged or means harm. Write the values out in place of the \
            aliases, or split the file.",
    },
    Entry {
        code: Code::EmptyDocument,
        number: 104,
        title: "empty document",
        explanation: "A document between two `---` lines, or the whole file, holds nothing. Most often \
            a `---` is left over or everything is commented out. Remove the extra `---`, or write the \
            document.",
    },
    Entry {
        code: Code::Unsupported,
        number: 105,
        title: "unsupported YAML feature",
        explanation: "Merge keys (`<<`), tags of one's own (`!name`) and keys that are not text are \
            not supported: what they mean differs between readers. Write the values out.",
    },
    Entry {
        code: Code::DuplicateKey,
        number: 106,
        title: "duplicate key",
        explanation: "The same key appears twice in one object. Readers disagree on which of the two \
            counts, so neither is taken. Remove one.",
    },
    Entry {
        code: Code::UnknownField,
        number: 107,
        title: "unknown field",
        explanation: "The object has no field of this name. A mistyped field that is silently ignored \
            would leave the default in force, so it is an error. `mq explain KIND.path` lists the \
            fields of an object.",
    },
    Entry {
        code: Code::MissingField,
        number: 108,
        title: "missing field",
        explanation: "A field that has no default is not there. `mq explain KIND.path` says which \
            fields are required.",
    },
    Entry {
        code: Code::WrongType,
        number: 109,
        title: "wrong type",
        explanation: "The value is of another type than the field. In YAML a value without quotes is \
            a number when it looks like one and a boolean when it is `true` or `false`; put it in \
            quotes to make it text. Sizes are whole bytes and times whole units as the field's name \
            says, without suffix.",
    },
    Entry {
        code: Code::OutOfRange,
        number: 110,
        title: "number out of range",
        explanation: "The number is below the least or above the greatest that the field allows. \
            `mq explain KIND.path` says the range, the unit and the default.",
    },
    Entry {
        code: Code::UnknownValue,
        number: 111,
        title: "unknown value",
        explanation: "The field takes one of a few words, and this is none of them. \
            `mq explain KIND.path` lists the words and what they mean. Case matters.",
    },
    Entry {
        code: Code::InvalidValue,
        number: 112,
        title: "invalid value",
        explanation: "The text does not have the form that the field needs, for example a name with a \
            character that names may not have, or a host that is not an IP address. The message says \
            which rule is broken.",
    },
    Entry {
        code: Code::UnknownKind,
        number: 113,
        title: "unknown kind",
        explanation: "`kind` says what a document describes. The kinds are `Fleet` (where the daemons \
            run and how), `Address` (a name that messages are sent to) and `Bench` (a load test). Case matters.",
    },
    Entry {
        code: Code::ApiVersion,
        number: 114,
        title: "unsupported apiVersion",
        explanation: "`apiVersion` names the group and version of the document's fields. It is \
            `mq.dev/v1`, or `mq/v1` for short.",
    },
    Entry {
        code: Code::DuplicateObject,
        number: 115,
        title: "duplicate object",
        explanation: "Two documents of one kind have the same `metadata.name`, in one file or in two \
            files of one command. Which of them counts cannot be said. Rename or remove one.",
    },
    Entry {
        code: Code::SeveralFleets,
        number: 116,
        title: "more than one Fleet",
        explanation: "One command works on one fleet. Put the second Fleet into a file of its own and \
            run the command once for each.",
    },
    Entry {
        code: Code::Conflict,
        number: 117,
        title: "values that exclude each other",
        explanation: "Each of the values is allowed, but not together: a minimum above its maximum, or \
            two listeners on one port. Change one of them.",
    },
    Entry {
        code: Code::SeveralDocuments,
        number: 118,
        title: "more than one document",
        explanation: "The configuration of a daemon is one document. Remove the `---` and what follows \
            it.",
    },
    Entry {
        code: Code::WrongAddressType,
        number: 119,
        title: "field of another address type",
        explanation: "The field means nothing for an address of this type: an anycast or multicast \
            address stores nothing and so has no dead letters, a queue has no slow consumers because \
            its messages wait in the queue, a subscription gets time to live and priority from its \
            topic. `mq explain Address.spec` says for each field which types have it. Remove the \
            field, or change `type`.",
    },
    Entry {
        code: Code::NameOfOtherType,
        number: 120,
        title: "name does not fit the address type",
        explanation: "A subscription is called by its topic, `::` and a name of its own, such as \
            `events::billing`; no other address has `::` in its name. The name `#` is that of the topic \
            which serves every name that nothing else serves.",
    },
    Entry {
        code: Code::Reference,
        number: 121,
        title: "address cannot be used here",
        explanation: "An address is named that cannot play this part: the topic of a subscription must \
            be a topic; the dead letter and expiry addresses must be addresses that can be sent to, \
            other than the address itself.",
    },
    Entry {
        code: Code::NoEffect,
        number: 122,
        title: "value without effect",
        explanation: "The value changes nothing without another one: `onFull` needs `limits.maxMessages` \
            or `limits.maxBytes`, and the growth of a redelivery delay needs a delay. Set the other \
            one, or remove this one.",
    },
    Entry {
        code: Code::Unserved,
        number: 123,
        title: "more than the data plane can do",
        explanation: "The fleet runs another data plane than `mqd` (its field `dataplane`), which cannot do what \
            the document asks for; the message says why. What a data plane cannot do is refused before anything \
            is changed: nothing is served halfway. Leave the field out, ask for what there is, or use `mqd`.",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_has_its_own_number_and_an_explanation() {
        let mut numbers = HashSet::new();
        for entry in ENTRIES {
            assert!(numbers.insert(entry.number), "{}", entry.number);
            assert!(!entry.title.is_empty() && entry.explanation.ends_with('.'), "{}", entry.number);
            assert_eq!(Code::parse(&entry.code.to_string()), Some(entry.code));
        }
        assert_eq!(Code::parse("mq0107"), Some(Code::UnknownField));
        assert_eq!(Code::parse("MQ0000"), None);
    }
}
