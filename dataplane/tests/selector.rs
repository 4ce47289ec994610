//! The body of the fuzz target of selectors, on damaged selectors and damaged messages.

use mq_amqp::message::{Header, Message, MessageId, Properties};
use mq_amqp::value::Value;

#[path = "../fuzz/src/selector.rs"]
#[expect(unreachable_pub, reason = "public in the crate of the fuzz targets, which this file belongs to")]
mod fuzz;

const SELECTORS: [&str; 6] = [
    "JMSType = 'car' AND color = 'blue' AND weight > 2500",
    "NOT (age NOT BETWEEN -15 AND 0x1F + 2 * weight) OR (\"x-y\" IS NOT NULL)",
    "color LIKE '%b!_u_%' ESCAPE '!' OR color IN ('red', 'blue', -5)",
    "JMSMessageID <> 'ID:AMQP_UUID:x' AND JMSCorrelationID LIKE 'ID:%'",
    "JMSPriority >= 4 AND JMSDeliveryMode = 'PERSISTENT' AND amqp.durable",
    "-weight / 0 = 1.5E2 AND JMSXUserID IS NULL OR TRUE",
];

fn message() -> Vec<u8> {
    let properties = Properties {
        message_id: Some(MessageId::Uuid([7; 16])),
        correlation_id: Some(MessageId::Binary(vec![1, 2].into())),
        subject: Some("car".into()),
        ..Properties::default()
    };
    let application_properties = vec![
        (Value::from("color"), Value::from("blue")),
        (Value::from("weight"), Value::from(2_501)),
        (Value::from("list"), Value::List(vec![Value::Null])),
    ];
    let header = Some(Header { durable: true, ..Header::default() });
    Message { header, properties: Some(properties), application_properties, ..Message::data("body") }
        .to_bytes()
        .to_vec()
}

fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng, replacement: fn(&mut fastrand::Rng) -> u8) {
    for _ in 0..random.usize(0..3) {
        let position = random.usize(0..bytes.len());
        match random.u8(0..3) {
            0 => bytes[position] = replacement(random),
            1 => drop(bytes.remove(position)),
            _ => bytes.insert(position, replacement(random)),
        }
    }
}

#[test]
fn damaged_selectors_and_messages_never_panic() {
    let seed = std::env::var("MQ_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("MQ_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..20_000 {
        let mut input = random.choice(SELECTORS).expect("selectors").as_bytes().to_vec();
        damage(&mut input, &mut random, |random| b"()'\"%_!=<>-+*/.,e0x \0"[random.usize(0..21)]);
        let mut message = message();
        damage(&mut message, &mut random, |random| random.u8(..));
        input.push(0);
        input.extend(message);
        fuzz::selector(&input);
    }
}
