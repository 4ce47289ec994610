//! Bodies in protobuf, which the typed commands of `kubectl` send (`create namespace`, `auth can-i`, `drain`): as
//! many messages as those are. Answers are JSON, which every client takes.

use serde_json::{Map, Value, json};

/// What precedes the envelope.
const MAGIC: &[u8] = b"k8s\0";

/// How a field is read.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Number,
    Bool,
    /// Bytes, as JSON has them: base64 is left to those who ask.
    Map,
    BytesMap,
    One(Fields),
    Many(Fields),
}

/// The number, the name and the kind of each field that is looked at; all others are passed over.
type Fields = &'static [(u64, &'static str, Kind)];

use self::Kind::{Bool, BytesMap, Many, Number, One, Text, Texts};

const METADATA: Fields = &[
    (1, "name", Text),
    (2, "generateName", Text),
    (3, "namespace", Text),
    (5, "uid", Text),
    (6, "resourceVersion", Text),
    (11, "labels", Kind::Map),
    (12, "annotations", Kind::Map),
    (14, "finalizers", Texts),
];
const ABOUT: (u64, &str, Kind) = (1, "metadata", One(METADATA));
const PRECONDITIONS: Fields = &[(1, "uid", Text), (2, "resourceVersion", Text)];
const DELETION: Fields = &[
    (1, "gracePeriodSeconds", Number),
    (2, "preconditions", One(PRECONDITIONS)),
    (3, "orphanDependents", Bool),
    (4, "propagationPolicy", Text),
    (5, "dryRun", Texts),
];
const ATTRIBUTES: Fields = &[
    (1, "namespace", Text),
    (2, "verb", Text),
    (3, "group", Text),
    (4, "version", Text),
    (5, "resource", Text),
    (6, "subresource", Text),
    (7, "name", Text),
];
const RULE: Fields = &[
    (1, "verbs", Texts),
    (2, "apiGroups", Texts),
    (3, "resources", Texts),
    (4, "resourceNames", Texts),
    (5, "nonResourceURLs", Texts),
];
const SUBJECT: Fields =
    &[(1, "kind", Text), (2, "apiGroup", Text), (3, "name", Text), (4, "namespace", Text)];
const ROLE: Fields = &[(1, "apiGroup", Text), (2, "kind", Text), (3, "name", Text)];
const ACCESS: Fields = &[(1, "resourceAttributes", One(ATTRIBUTES))];
const TOKEN: Fields = &[(1, "audiences", Texts), (4, "expirationSeconds", Number)];

/// The fields of a type, or `None` when it is not among those that are read.
fn fields_of(kind: &str) -> Option<Fields> {
    Some(match kind {
        "Namespace" | "ServiceAccount" | "SelfSubjectReview" => &[ABOUT],
        "ConfigMap" => &[ABOUT, (2, "data", Kind::Map)],
        "Secret" => &[ABOUT, (2, "data", BytesMap), (3, "type", Text), (4, "stringData", Kind::Map)],
        "Eviction" => &[ABOUT, (2, "deleteOptions", One(DELETION))],
        "DeleteOptions" => DELETION,
        "SelfSubjectAccessReview" => &[ABOUT, (2, "spec", One(ACCESS))],
        "TokenRequest" => &[ABOUT, (2, "spec", One(TOKEN))],
        "Role" | "ClusterRole" => &[ABOUT, (2, "rules", Many(RULE))],
        "RoleBinding" | "ClusterRoleBinding" => {
            &[ABOUT, (2, "subjects", Many(SUBJECT)), (3, "roleRef", One(ROLE))]
        }
        _ => return None,
    })
}

/// The object in a body, or `None` when it is of another type or no protobuf.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    let mut envelope = Reader(body.strip_prefix(MAGIC)?);
    let (mut about, mut raw) = (Value::Null, &[][..]);
    while let Some((number, field)) = envelope.field()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => {
                about = message(bytes, &[(1, "apiVersion", Text), (2, "kind", Text)])?
            }
            (2, Field::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let mut object = message(raw, fields_of(about["kind"].as_str()?)?)?;
    for name in ["apiVersion", "kind"] {
        object[name] = about[name].clone();
    }
    Some(object)
}

fn message(bytes: &[u8], fields: Fields) -> Option<Value> {
    let mut reader = Reader(bytes);
    let mut object = Map::new();
    while let Some((number, field)) = reader.field()? {
        let Some((_, name, kind)) = fields.iter().find(|(known, ..)| *known == number) else { continue };
        let is_list = matches!(kind, Texts | Many(_));
        let value = match (kind, field) {
            (Text | Texts, Field::Bytes(bytes)) => json!(std::str::from_utf8(bytes).ok()?),
            (Number, Field::Number(number)) => json!(number),
            (Bool, Field::Number(number)) => json!(number != 0),
            (One(fields) | Many(fields), Field::Bytes(bytes)) => message(bytes, fields)?,
            (Kind::Map | BytesMap, Field::Bytes(bytes)) => {
                let map = object.entry(*name).or_insert_with(|| json!({}));
                entry(bytes, matches!(kind, BytesMap), map)?;
                continue;
            }
            _ => return None,
        };
        // What is empty is not there.
        if value == "" {
            continue;
        }
        if is_list {
            object.entry(*name).or_insert_with(|| json!([])).as_array_mut()?.push(value);
        } else {
            object.insert((*name).into(), value);
        }
    }
    Some(Value::Object(object))
}

/// One entry of a map: a key and a value.
fn entry(bytes: &[u8], is_encoded: bool, map: &mut Value) -> Option<()> {
    use base64::Engine;
    let mut reader = Reader(bytes);
    let (mut key, mut value) = (String::new(), &[][..]);
    while let Some((number, field)) = reader.field()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => key = String::from_utf8(bytes.to_vec()).ok()?,
            (2, Field::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    map[key] = if is_encoded {
        json!(base64::engine::general_purpose::STANDARD.encode(value))
    } else {
        json!(std::str::from_utf8(value).ok()?)
    };
    Some(())
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a width that none of the messages has.
    Other,
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next field, `Some(None)` at the end, `None` when it is broken.
    #[expect(clippy::option_option, reason = "an end is no error")]
    fn field(&mut self) -> Option<Option<(u64, Field<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = self.number()?;
        let field = match tag & 7 {
            0 => Field::Number(self.number()?),
            1 => self.take(8).map(|_| Field::Other)?,
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Field::Other)?,
            _ => return None,
        };
        Some(Some((tag >> 3, field)))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for at in 0..10 {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        [&[number << 3 | 2, length], content].concat()
    }

    #[test]
    fn a_typed_body_is_read_as_far_as_it_is_known() {
        let about = [bytes(1, b"v1"), bytes(2, b"Namespace")].concat();
        let label = [bytes(1, b"a"), bytes(2, b"b")].concat();
        let metadata = [bytes(1, b"x"), bytes(11, &label), bytes(8, b"")].concat();
        let body = [MAGIC, &bytes(1, &about), &bytes(2, &bytes(1, &metadata))].concat();
        let expected = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "x", "labels": { "a": "b" } },
        });
        assert_eq!(parse(&body), Some(expected));
        assert_eq!(parse(&body[..body.len() - 1]), None);
        assert_eq!(parse(b"{}"), None);
    }
}
