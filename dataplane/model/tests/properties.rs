//! Properties of the readers under random input: no text makes them panic, every problem has a place
//! that exists, what is accepted obeys the JSON Schema, and what is written is read back the same.

use std::fmt::Write as _;
use std::sync::LazyLock;

use mq_model::config::DaemonConfig;
use mq_model::manifest::{
    Address, AddressLimits, AddressSpec, AddressType, Deduplication, OnFull, Redelivery, SlowConsumer,
    SubscriptionFilter, Ttl,
};
use mq_model::{Diagnostics, Documents, Source};
use proptest::prelude::*;

const LOCAL: &str = include_str!("../../../manifests/examples/local.yaml");
const DAEMON: &str = include_str!("../../../manifests/examples/mqd.yaml");

/// Pieces that turn one construct of YAML into another.
const PIECES: [&str; 24] = [
    ":",
    ": ",
    "-",
    "- ",
    "\n",
    "\n---\n",
    "\n...\n",
    "  ",
    "\t",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "!t ",
    "#",
    "|\n",
    "\u{feff}",
    "é",
    "\u{0}",
    "9999999999999999999999",
];

/// One change of a text: at a place (a fraction of its length), remove some characters, put a piece.
fn mutation() -> impl Strategy<Value = (f64, usize, usize)> {
    (0.0..1.0, 0_usize..12, 0..=PIECES.len())
}

fn mutate(text: &str, mutations: &[(f64, usize, usize)]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for &(place, removed, piece) in mutations {
        let start = (place * characters.len() as f64) as usize;
        let end = (start + removed).min(characters.len());
        let piece = PIECES.get(piece).copied().unwrap_or("");
        characters.splice(start..end, piece.chars());
    }
    characters.into_iter().collect()
}

/// Every diagnostic points into the text and prints.
fn assert_located(diagnostics: &Diagnostics, text: &str) {
    assert!(diagnostics.iter().len() > 0);
    let lines: Vec<&str> = text.split('\n').collect();
    for diagnostic in diagnostics.iter() {
        let line =
            lines.get(diagnostic.line - 1).copied().unwrap_or_else(|| panic!("{diagnostic:?}\n{text}"));
        assert_eq!(diagnostic.source, line.strip_suffix('\r').unwrap_or(line));
        assert!(diagnostic.column <= line.chars().count() + 1, "{diagnostic:?}");
        assert!(diagnostic.end_column > diagnostic.column, "{diagnostic:?}");
        assert!(!diagnostic.message.is_empty());
    }
    let printed = diagnostics.to_string();
    assert!(printed.chars().all(|character| character == '\n' || !character.is_control()), "{printed:?}");
    serde_json::to_string(diagnostics).expect("diagnostics have a JSON");
}

/// What the reader accepts, the published schema accepts.
fn assert_obeys_schema(document: &impl serde::Serialize) {
    static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
        jsonschema::validator_for(&mq_model::schema::manifest_schema()).expect("the schema is a schema")
    });
    let value = serde_json::to_value(document).expect("a document has a JSON");
    assert!(VALIDATOR.is_valid(&value), "{value}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_manifest_is_read_or_its_problems_have_a_place(mutations in prop::collection::vec(mutation(), 1..6)) {
        let text = mutate(LOCAL, &mutations);
        match Documents::parse("f.yaml", &text) {
            Ok(documents) => {
                for address in &documents.addresses {
                    prop_assert_eq!(address.validate(), Ok(()));
                    assert_obeys_schema(address);
                }
                if let Some(fleet) = &documents.fleet {
                    prop_assert_eq!(fleet.validate(), Ok(()));
                    assert_obeys_schema(fleet);
                }
            }
            Err(diagnostics) => assert_located(&diagnostics, &text),
        }
    }

    #[test]
    fn a_damaged_configuration_is_read_or_its_problems_have_a_place(mutations in prop::collection::vec(mutation(), 1..6)) {
        let text = mutate(DAEMON, &mutations);
        match DaemonConfig::parse("f.yaml", &text) {
            Ok(config) => prop_assert_eq!(config.validate(), Ok(())),
            Err(diagnostics) => assert_located(&diagnostics, &text),
        }
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let documents = Documents::parse_files(&[Source { path: "f", bytes: &bytes }]);
        assert_located(&documents.expect_err("random bytes are no manifest"), &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn an_address_is_read_back_as_it_was_written(address in address()) {
        prop_assert_eq!(address.validate(), Ok(()));
        let yaml = serde_saphyr::to_string(&address).expect("an address has a YAML");
        let json = serde_json::to_string_pretty(&address).expect("an address has a JSON");
        for text in [yaml, json] {
            let documents = Documents::parse("f", &text).unwrap_or_else(|problems| panic!("{problems}"));
            prop_assert_eq!(documents.addresses.as_slice(), std::slice::from_ref(&address));
        }
    }

    #[test]
    fn a_configuration_is_read_back_as_it_was_written(ports in (1_u16..30_000, 30_000_u16..), workers in 0_u16..=256) {
        let mut config = DaemonConfig::embedded("/state: #1/ü \"x\"");
        (config.listeners.amqp.port, config.listeners.http.port) = ports;
        config.listeners.mqtt.port = 0;
        config.workers = workers;
        let text = serde_saphyr::to_string(&config).expect("a configuration has a YAML");
        let read = DaemonConfig::parse("f", &text).unwrap_or_else(|problems| panic!("{problems}"));
        prop_assert_eq!(read.hash(), config.hash());
        prop_assert_eq!(read, config);
    }
}

/// Any valid address, with names and labels that YAML reads as something else without quotes.
fn address() -> impl Strategy<Value = Address> {
    let name = prop_oneof![
        "[a-z]{1,9}(/[a-z0-9]{1,5}){0,3}",
        "[0-9]{1,9}",
        "(true|null|~|yes|1e3|0x1F|-|=|a: b|a, b)"
    ];
    let labels = prop::collection::btree_map("[a-z0-9: \"'-]{1,6}", "[ -~]{0,8}", 0..3);
    (name, labels, prop_oneof![direct(), stored()]).prop_map(|(name, labels, spec)| {
        let name = if spec.kind == AddressType::Subscription { format!("events::{name}") } else { name };
        let mut address = Address::new(name, spec);
        address.metadata.labels = labels;
        address
    })
}

fn direct() -> impl Strategy<Value = AddressSpec> {
    let kind = prop_oneof![Just(AddressType::Anycast), Just(AddressType::Multicast)];
    let slow = prop::option::of(prop_oneof![
        Just(SlowConsumer::Block),
        Just(SlowConsumer::Drop),
        Just(SlowConsumer::Disconnect)
    ]);
    let limits = (
        prop::option::of(1_u32..=1_000_000),
        prop::option::of(1_u64..=1 << 40),
        prop::option::of(1_u32..=10_000),
    );
    let ttl = prop::option::of((1_u32..1_000, 1_000_u32..2_000, 2_000_u32..));
    (kind, slow, limits, ttl, prop::option::of(0_u8..=9)).prop_map(
        |(kind, slow_consumer, limits, ttl, priority)| {
            let (max_producers, max_message_size, link_credit) = limits;
            let limits =
                AddressLimits { max_producers, max_message_size, link_credit, ..AddressLimits::default() };
            let ttl = ttl.map_or_else(Ttl::default, |(min, default, max)| Ttl {
                min_ms: Some(min),
                default_ms: Some(default),
                max_ms: Some(max),
            });
            AddressSpec { slow_consumer, limits, ttl, priority, ..AddressSpec::new(kind) }
        },
    )
}

fn stored() -> impl Strategy<Value = AddressSpec> {
    let kind =
        prop_oneof![Just(AddressType::Queue), Just(AddressType::Topic), Just(AddressType::Subscription)];
    let room = (
        prop::option::of(1_u64..=1_000_000_000),
        1_u64..=1 << 50,
        prop_oneof![Just(OnFull::Block), Just(OnFull::Reject), Just(OnFull::DropOldest)],
    );
    let redelivery = prop::option::of((1_u32..=86_400_000, 100_u32..=10_000, 86_400_000_u32..=2_592_000_000));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let deduplication =
        prop::option::of((prop::option::of(1_000_u32..=2_592_000_000), prop::option::of(1_u32..=10_000_000)));
    let names = (prop::option::of("dlq(/[a-z]{1,3})?"), prop::option::of("[0-9]{1,3}"));
    let filter = (
        prop::option::of("events(/[a-z]{1,3}|/\\+){0,3}(/#)?"),
        prop::option::of("[a-z]{1,3} (=|<>) '[ -&(-~]{0,9}'"),
    );
    (kind, room, redelivery, flags, deduplication, names, filter).prop_map(
        |(kind, room, redelivery, flags, deduplication, names, filter)| {
            let (max_messages, max_bytes, on_full) = room;
            let limits =
                AddressLimits { max_messages, max_bytes: Some(max_bytes), ..AddressLimits::default() };
            let redelivery =
                redelivery.map_or_else(Redelivery::default, |(delay, percent, most)| Redelivery {
                    delay_ms: Some(delay),
                    multiplier: Some(f64::from(percent) / 100.0),
                    max_delay_ms: Some(most),
                });
            let mut spec = AddressSpec {
                limits,
                on_full: Some(on_full),
                redelivery,
                dead_letter: names.0,
                expiry_address: names.1.map(|name| format!("expired/{name}")),
                ..AddressSpec::new(kind)
            };
            if kind != AddressType::Topic {
                (spec.exclusive, spec.message_groups, spec.last_value) = flags;
            }
            if kind == AddressType::Queue {
                spec.deduplication =
                    deduplication.map(|(window_ms, max_ids)| Deduplication { window_ms, max_ids });
            }
            if kind == AddressType::Subscription {
                spec.subscription = SubscriptionFilter { filter: filter.0, selector: filter.1 };
            }
            spec
        },
    )
}

#[test]
fn ten_thousand_addresses_fit_into_a_file() {
    let mut text = String::new();
    for index in 0..10_000 {
        let _ = writeln!(
            text,
            "---\napiVersion: mq/v1\nkind: Address\nmetadata: {{name: a{index}}}\nspec: {{type: anycast}}"
        );
    }
    assert_eq!(Documents::parse("f", &text).map(|documents| documents.addresses.len()).ok(), Some(10_000));
}

#[test]
fn a_file_beyond_a_mebibyte_is_refused_with_the_limit() {
    let text = "#".repeat((1 << 20) + 1);
    let diagnostics = Documents::parse("f", &text).expect_err("too large");
    assert!(diagnostics.to_string().contains("1 MiB"), "{diagnostics}");
}

#[test]
fn a_name_in_two_files_of_one_command_is_a_duplicate() {
    let text = b"apiVersion: mq/v1\nkind: Address\nmetadata: {name: a}\nspec: {type: anycast}\n";
    let sources = ["one.yaml", "two.yaml"].map(|path| Source { path, bytes: text });
    let diagnostics = Documents::parse_files(&sources).expect_err("twice").to_string();
    assert!(diagnostics.contains("two.yaml:3:18") && diagnostics.contains("one.yaml:3"), "{diagnostics}");
}

#[test]
fn files_of_other_editors_are_read() {
    let text =
        "\u{feff}apiVersion: mq/v1\r\nkind: Address\r\nmetadata: {name: a}\r\nspec:\r\n  type: anycast\r\n";
    assert_eq!(Documents::parse("f", text).map(|documents| documents.addresses.len()).ok(), Some(1));
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let diagnostics = Documents::parse_files(&[Source { path: "f", bytes: &utf16 }]).expect_err("UTF-16");
    assert!(diagnostics.to_string().contains("MQ0101"), "{diagnostics}");
}

#[test]
fn a_file_of_nothing_but_mistakes_costs_little() {
    let text = "{".to_owned() + &"a,".repeat(500_000) + "}";
    let diagnostics = DaemonConfig::parse("f", &text).expect_err("nonsense");
    assert!(diagnostics.iter().len() <= 100);
}
