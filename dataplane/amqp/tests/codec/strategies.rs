//! Arbitrary values and performatives. The large strategies are boxed: the state of one within the other
//! would not fit the stack of a test's thread.

use bytes::Bytes;
use mq_amqp::{
    codec::encode_value,
    performative::*,
    transaction::{TransactionId, TransactionalState},
    value::{Array, Kind, Symbol, Text, Value},
};
use proptest::{collection::vec, option, prelude::*};

use crate::written;

pub(crate) fn text() -> impl Strategy<Value = Text> {
    prop_oneof![8 => ".{0,12}", 1 => ".{250,300}"].prop_map(|text: String| text.as_str().into())
}

pub(crate) fn symbol() -> impl Strategy<Value = Symbol> {
    prop_oneof![
        6 => "[ -~]{0,12}".prop_map(|name| Symbol::from(name.as_str())),
        1 => "[a-z:]{250,300}".prop_map(|name| Symbol::from(name.as_str())),
        1 => Just(Symbol::from_static("amqp:accepted:list")),
    ]
}

pub(crate) fn binary() -> impl Strategy<Value = Bytes> {
    prop_oneof![8 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 250..300)].prop_map(Bytes::from)
}

/// Numbers of every encoded width.
pub(crate) fn uint() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 1..=256_u32, any::<u32>()]
}

pub(crate) fn ulong() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..=256_u64, any::<u64>()]
}

/// Every primitive type that contains no other.
fn leaves() -> Vec<(Kind, BoxedStrategy<Value>)> {
    vec![
        (Kind::Null, Just(Value::Null).boxed()),
        (Kind::Boolean, any::<bool>().prop_map(Value::Boolean).boxed()),
        (Kind::UByte, any::<u8>().prop_map(Value::UByte).boxed()),
        (Kind::UShort, any::<u16>().prop_map(Value::UShort).boxed()),
        (Kind::UInt, uint().prop_map(Value::UInt).boxed()),
        (Kind::ULong, ulong().prop_map(Value::ULong).boxed()),
        (Kind::Byte, any::<i8>().prop_map(Value::Byte).boxed()),
        (Kind::Short, any::<i16>().prop_map(Value::Short).boxed()),
        (Kind::Int, prop_oneof![-130..130_i32, any::<i32>()].prop_map(Value::Int).boxed()),
        (Kind::Long, prop_oneof![-130..130_i64, any::<i64>()].prop_map(Value::Long).boxed()),
        (Kind::Float, any::<f32>().prop_map(Value::Float).boxed()),
        (Kind::Double, any::<f64>().prop_map(Value::Double).boxed()),
        (Kind::Decimal32, any::<[u8; 4]>().prop_map(Value::Decimal32).boxed()),
        (Kind::Decimal64, any::<[u8; 8]>().prop_map(Value::Decimal64).boxed()),
        (Kind::Decimal128, any::<[u8; 16]>().prop_map(Value::Decimal128).boxed()),
        (Kind::Char, any::<char>().prop_map(Value::Char).boxed()),
        (Kind::Timestamp, any::<i64>().prop_map(Value::Timestamp).boxed()),
        (Kind::Uuid, any::<[u8; 16]>().prop_map(Value::Uuid).boxed()),
        (Kind::Binary, binary().prop_map(Value::Binary).boxed()),
        (Kind::String, text().prop_map(Value::String).boxed()),
        (Kind::Symbol, symbol().prop_map(Value::Symbol).boxed()),
    ]
}

fn leaf() -> impl Strategy<Value = Value> {
    proptest::strategy::Union::new(leaves().into_iter().map(|(_, leaf)| leaf))
}

fn descriptor() -> impl Strategy<Value = Value> {
    prop_oneof![ulong().prop_map(Value::ULong), symbol().prop_map(Value::Symbol)]
}

fn array_of(kind: Kind, element: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    (vec(element, 0..5), option::weighted(0.2, descriptor()))
        .prop_map(move |(elements, descriptor)| {
            let array = Array::new(kind, elements).expect("elements of one type");
            Value::Array(match descriptor {
                Some(descriptor) => array.described(descriptor),
                None => array,
            })
        })
        .boxed()
}

/// Arrays of types that contain no other.
pub(crate) fn plain_array() -> impl Strategy<Value = Value> {
    proptest::strategy::Union::new(leaves().into_iter().map(|(kind, leaf)| array_of(kind, leaf)))
}

/// Pairs with distinct keys, as AMQP 1.6.23 wants them.
fn pairs(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<(Value, Value)>> {
    let names = prop_oneof![text().prop_map(Value::String), symbol().prop_map(Value::Symbol)];
    let all_strings = vec(text().prop_map(Value::String), 0..6);
    let any_keys = vec(prop_oneof![2 => names, 1 => leaf()], 0..6);
    let keys = prop_oneof![all_strings, any_keys];
    (keys, vec(value, 6)).prop_map(|(keys, values)| {
        let mut pairs: Vec<_> = keys.into_iter().zip(values).collect();
        let mut keys = Vec::new();
        pairs.retain(|(key, _)| {
            let new = !keys.contains(key);
            keys.push(key.clone());
            new
        });
        pairs
    })
}

/// Values of every type.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    prop_oneof![3 => leaf(), 1 => plain_array()].prop_recursive(4, 48, 6, |inner| {
        let list = vec(inner.clone(), 0..6).prop_map(Value::List);
        let map = pairs(inner.clone()).prop_map(Value::Map).boxed();
        prop_oneof![
            2 => list.clone(),
            2 => map.clone(),
            2 => (descriptor(), inner).prop_map(|(descriptor, value)| Value::described(descriptor, value)),
            1 => array_of(Kind::List, list.boxed()),
            1 => array_of(Kind::Map, map),
            1 => array_of(Kind::Array, plain_array().boxed()),
        ]
    })
}

pub(crate) fn properties() -> BoxedStrategy<Vec<(Value, Value)>> {
    pairs(value()).boxed()
}

fn symbols() -> BoxedStrategy<Vec<Symbol>> {
    vec(symbol(), 0..4).boxed()
}

fn raw_map() -> impl Strategy<Value = Bytes> {
    properties().prop_map(|pairs| written(|out| encode_value(out, &Value::Map(pairs))))
}

fn tag() -> impl Strategy<Value = Tag> {
    vec(any::<u8>(), 0..=32).prop_map(|bytes| Tag::new(&bytes).expect("at most 32 bytes"))
}

prop_compose! {
    fn error()(condition in symbol(), description in option::of(text()), info in option::of(raw_map())) -> Error {
        Error { condition, description, info }
    }
}

fn boxed_error() -> impl Strategy<Value = Option<Box<Error>>> {
    option::of(error().prop_map(Box::new))
}

pub(crate) fn state() -> BoxedStrategy<DeliveryState> {
    prop_oneof![
        3 => Just(DeliveryState::Accepted),
        1 => Just(DeliveryState::Released),
        1 => boxed_error().prop_map(DeliveryState::Rejected),
        1 => (uint(), ulong()).prop_map(|(section_number, section_offset)| {
            DeliveryState::Received { section_number, section_offset }
        }),
        1 => (option::of(any::<bool>()), option::of(any::<bool>()), option::of(raw_map())).prop_map(
            |(delivery_failed, undeliverable_here, annotations)| {
                DeliveryState::Modified { delivery_failed, undeliverable_here, annotations }
            }
        ),
        1 => transaction().prop_map(|id| DeliveryState::Declared(Box::new(id))),
        1 => (transaction(), option::of(outcome())).prop_map(|(transaction, outcome)| {
            DeliveryState::Transactional(Box::new(TransactionalState { transaction, outcome }))
        }),
        // A vendor's own.
        1 => binary().prop_map(|content| {
            let descriptor = Value::Symbol(Symbol::from_static("acme:state"));
            let state = Value::described(descriptor, Value::Binary(content));
            DeliveryState::Other(written(|out| encode_value(out, &state)))
        }),
    ]
    .boxed()
}

pub(crate) fn transaction() -> impl Strategy<Value = TransactionId> {
    vec(any::<u8>(), 0..=32).prop_map(|id| TransactionId::new(&id).expect("at most 32 bytes"))
}

/// What becomes of a delivery in a transaction.
fn outcome() -> impl Strategy<Value = DeliveryState> {
    prop_oneof![
        Just(DeliveryState::Accepted),
        Just(DeliveryState::Released),
        boxed_error().prop_map(DeliveryState::Rejected),
    ]
}

prop_compose! {
    fn open()(
        container_id in text(), hostname in option::of(text()), max_frame_size in option::of(uint()),
        channel_max in option::of(any::<u16>()), idle_time_out in option::of(uint()),
        outgoing_locales in symbols(), incoming_locales in symbols(), offered_capabilities in symbols(),
        desired_capabilities in symbols(), properties in properties(),
    ) -> Open {
        Open {
            container_id, hostname, max_frame_size, channel_max, idle_time_out, outgoing_locales,
            incoming_locales, offered_capabilities, desired_capabilities, properties,
        }
    }
}

prop_compose! {
    fn begin()(
        remote_channel in option::of(any::<u16>()), next_outgoing_id in uint(), incoming_window in uint(),
        outgoing_window in uint(), handle_max in option::of(uint()), offered_capabilities in symbols(),
        desired_capabilities in symbols(), properties in properties(),
    ) -> Begin {
        Begin {
            remote_channel, next_outgoing_id, incoming_window, outgoing_window, handle_max,
            offered_capabilities, desired_capabilities, properties,
        }
    }
}

fn durability() -> impl Strategy<Value = TerminusDurability> {
    prop_oneof![
        Just(TerminusDurability::None),
        Just(TerminusDurability::Configuration),
        Just(TerminusDurability::UnsettledState)
    ]
}

fn expiry_policy() -> impl Strategy<Value = TerminusExpiryPolicy> {
    prop_oneof![
        Just(TerminusExpiryPolicy::LinkDetach),
        Just(TerminusExpiryPolicy::SessionEnd),
        Just(TerminusExpiryPolicy::ConnectionClose),
        Just(TerminusExpiryPolicy::Never)
    ]
}

prop_compose! {
    fn source()(
        address in option::of(text()), durable in durability(), expiry_policy in expiry_policy(),
        timeout in uint(), dynamic in any::<bool>(), dynamic_node_properties in properties(),
        distribution_mode in option::of(symbol()), filter in vec((symbol(), value()), 0..4),
        default_outcome in option::of(state()), outcomes in symbols(), capabilities in symbols(),
    ) -> Source {
        Source {
            address, durable, expiry_policy, timeout, dynamic, dynamic_node_properties, distribution_mode,
            filter, default_outcome, outcomes, capabilities,
        }
    }
}

prop_compose! {
    fn node_target()(
        address in option::of(text()), durable in durability(), expiry_policy in expiry_policy(),
        timeout in uint(), dynamic in any::<bool>(), dynamic_node_properties in properties(),
        capabilities in symbols(),
    ) -> NodeTarget {
        NodeTarget { address, durable, expiry_policy, timeout, dynamic, dynamic_node_properties, capabilities }
    }
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        3 => node_target().prop_map(Target::Node),
        1 => symbols().prop_map(|capabilities| Target::Coordinator { capabilities }),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Sender), Just(Role::Receiver)]
}

fn sender_settle_mode() -> impl Strategy<Value = SenderSettleMode> {
    prop_oneof![
        Just(SenderSettleMode::Unsettled),
        Just(SenderSettleMode::Settled),
        Just(SenderSettleMode::Mixed)
    ]
}

fn receiver_settle_mode() -> impl Strategy<Value = ReceiverSettleMode> {
    prop_oneof![Just(ReceiverSettleMode::First), Just(ReceiverSettleMode::Second)]
}

fn attach() -> impl Strategy<Value = Attach> {
    let ends = (
        text(),
        uint(),
        role(),
        sender_settle_mode(),
        receiver_settle_mode(),
        option::of(source().prop_map(Box::new)).boxed(),
        option::of(target().prop_map(Box::new)).boxed(),
    );
    let rest = (
        vec((tag(), option::of(state())), 0..4),
        any::<bool>(),
        option::of(uint()),
        option::of(ulong()),
        symbols(),
        symbols(),
        properties(),
    );
    (ends, rest).prop_map(|(ends, rest)| Attach {
        name: ends.0,
        handle: ends.1,
        role: ends.2,
        snd_settle_mode: ends.3,
        rcv_settle_mode: ends.4,
        source: ends.5,
        target: ends.6,
        unsettled: rest.0,
        incomplete_unsettled: rest.1,
        initial_delivery_count: rest.2,
        max_message_size: rest.3,
        offered_capabilities: rest.4,
        desired_capabilities: rest.5,
        properties: rest.6,
    })
}

prop_compose! {
    fn flow()(
        next_incoming_id in option::of(uint()), incoming_window in uint(), next_outgoing_id in uint(),
        outgoing_window in uint(), handle in option::of(uint()), delivery_count in option::of(uint()),
        link_credit in option::of(uint()), available in option::of(uint()), drain in any::<bool>(),
        echo in any::<bool>(), properties in prop_oneof![Just(Vec::new()), properties()],
    ) -> Flow {
        Flow {
            next_incoming_id, incoming_window, next_outgoing_id, outgoing_window, handle, delivery_count,
            link_credit, available, drain, echo, properties,
        }
    }
}

prop_compose! {
    fn transfer()(
        handle in uint(), delivery_id in option::of(uint()), delivery_tag in option::of(tag()),
        message_format in option::of(uint()), settled in option::of(any::<bool>()), more in any::<bool>(),
        rcv_settle_mode in option::of(receiver_settle_mode()), state in option::of(state()),
        resume in any::<bool>(), aborted in any::<bool>(), batchable in any::<bool>(),
    ) -> Transfer {
        Transfer {
            handle, delivery_id, delivery_tag, message_format, settled, more, rcv_settle_mode, state, resume,
            aborted, batchable,
        }
    }
}

prop_compose! {
    fn disposition()(
        role in role(), first in uint(), last in option::of(uint()), settled in any::<bool>(),
        state in option::of(state()), batchable in any::<bool>(),
    ) -> Disposition {
        Disposition { role, first, last, settled, state, batchable }
    }
}

pub(crate) fn performative() -> impl Strategy<Value = Performative> {
    prop_oneof![
        open().prop_map(|open| Performative::Open(Box::new(open))).boxed(),
        begin().prop_map(|begin| Performative::Begin(Box::new(begin))).boxed(),
        attach().prop_map(|attach| Performative::Attach(Box::new(attach))).boxed(),
        flow().prop_map(Performative::Flow).boxed(),
        transfer().prop_map(Performative::Transfer).boxed(),
        disposition().prop_map(Performative::Disposition).boxed(),
        (uint(), any::<bool>(), boxed_error())
            .prop_map(|(handle, closed, error)| Performative::Detach(Detach { handle, closed, error })),
        boxed_error().prop_map(|error| Performative::End(End { error })),
        boxed_error().prop_map(|error| Performative::Close(Close { error })),
    ]
}

pub(crate) fn sasl() -> impl Strategy<Value = SaslFrame> {
    prop_oneof![
        symbols().prop_map(SaslFrame::Mechanisms),
        (symbol(), option::of(binary()), option::of(text())).prop_map(
            |(mechanism, initial_response, hostname)| SaslFrame::Init {
                mechanism,
                initial_response,
                hostname
            }
        ),
        binary().prop_map(SaslFrame::Challenge),
        binary().prop_map(SaslFrame::Response),
        (
            prop_oneof![
                Just(SaslCode::Ok),
                Just(SaslCode::Auth),
                Just(SaslCode::Sys),
                Just(SaslCode::SysPerm),
                Just(SaslCode::SysTemp)
            ],
            option::of(binary())
        )
            .prop_map(|(code, additional_data)| SaslFrame::Outcome { code, additional_data }),
    ]
}
