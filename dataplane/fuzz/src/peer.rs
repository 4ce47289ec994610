//! Messages from the core of another node: whatever the bytes are, they are an error or a message that
//! survives its bytes, and the core that gets it answers without a panic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mq_core::{
    AddressKind, AddressSettings, ConsumerOptions, Core, CoreLimits, Effect, Filter, FilterCodec, Incoming,
    PeerMessage, ProducerOptions, ProducerTarget, ShardId, ShardNames, UnixMillis, WireContext,
};

const HERE: ShardId = ShardId::new(0, 0);
const THERE: ShardId = ShardId::new(0, 1);

/// Every node has a slot of the same number.
struct Slots;

impl ShardNames for Slots {
    fn name(&self, shard: ShardId) -> (u64, u16) {
        (shard.slot().into(), shard.shard())
    }

    fn shard(&self, node: u64, shard: u16) -> Option<ShardId> {
        let slot = u32::try_from(node).ok().filter(|slot| *slot <= ShardId::MAX_SLOT)?;
        Some(ShardId::new(slot, shard))
    }
}

/// Any text makes a filter.
#[derive(Debug)]
struct Contains(Box<str>);

impl Filter for Contains {
    fn matches(&self, _message_format: u32, message: &[u8]) -> bool {
        message.windows(self.0.len().max(1)).any(|part| part == self.0.as_bytes())
    }

    fn text(&self) -> &str {
        &self.0
    }
}

struct Texts;

impl FilterCodec for Texts {
    fn filter(&self, text: &str) -> Result<Arc<dyn Filter>, Box<str>> {
        if text.starts_with('!') { Err("refused".into()) } else { Ok(Arc::new(Contains(text.into()))) }
    }
}

/// The input is messages behind a byte for their length each. Says how many of them were messages.
pub fn messages(mut input: &[u8]) -> usize {
    let now = Instant::now() + Duration::from_secs(86_400);
    let mut core = core(now);
    let mut taken = 0;
    while let Some((len, rest)) = input.split_first() {
        let (bytes, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        input = rest;
        let context =
            WireContext { here: HERE, there: THERE, now, unix: UnixMillis(1_763_852_400_000), names: &Slots };
        let Ok(message) = PeerMessage::decode(&Bytes::copy_from_slice(bytes), &context, &Texts) else {
            continue;
        };
        survives(&message, &context);
        core.handle_peer(now, THERE, message);
        taken += 1;
        drain(&mut core, now);
    }
    core.handle_peer_gone(now, THERE);
    drain(&mut core, now);
    taken
}

/// There and back, and there again: the shards at the two ends change places.
fn survives(message: &PeerMessage, context: &WireContext<'_>) {
    let turned = WireContext { here: THERE, there: HERE, ..*context };
    let back = carried(message, context, &turned);
    let again = carried(&back, &turned, context);
    assert_eq!(format!("{again:?}"), format!("{message:?}"));
}

fn carried(message: &PeerMessage, from: &WireContext<'_>, to: &WireContext<'_>) -> PeerMessage {
    let mut bytes = BytesMut::new();
    let tail = message.encode(from, &mut bytes).expect("it was not too large");
    bytes.extend_from_slice(&tail);
    PeerMessage::decode(&bytes.freeze(), to, &Texts).expect("what we wrote")
}

/// A core with addresses of every kind, and links at each.
fn core(now: Instant) -> Core {
    let mut core = Core::new(HERE, 2, CoreLimits::default());
    core.set_clock(now, UnixMillis(1_763_852_400_000));
    let lane = core.add_lane();
    core.set_lane_budget(now, lane, 1 << 10);
    let kinds = [AddressKind::Anycast, AddressKind::Multicast, AddressKind::Queue, AddressKind::Topic];
    for (kind, name) in kinds.into_iter().flat_map(|kind| ["a", "b"].map(|name| (kind, name))) {
        let name = format!("{kind:?}-{name}");
        core.set_address(now, &name.as_str().into(), AddressSettings { kind, ..AddressSettings::default() });
        let target = ProducerTarget::Address(&name);
        if let Ok(producer) = core.add_producer(now, target, ProducerOptions::default()) {
            let chunk = Bytes::from_static(b"message");
            core.begin(now, producer, Incoming { handle: 1, chunk, more: true, ..Incoming::default() });
        }
        if let Ok(consumer) = core.add_consumer(now, lane, &name, ConsumerOptions::default()) {
            core.set_credit(now, consumer, 2, false);
        }
    }
    drain(&mut core, now);
    core
}

fn drain(core: &mut Core, now: Instant) {
    while let Some(effect) = core.poll_effect() {
        match effect {
            Effect::CloseProducer { producer, .. } => core.remove_producer(now, producer),
            Effect::CloseConsumer { consumer, .. } => core.remove_consumer(now, consumer),
            _ => {}
        }
    }
}
