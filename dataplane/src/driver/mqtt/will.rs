//! What a client wants published when it is gone (3.1.2.5).
//!
//! A will is an object of its own on disk, under a number, from the CONNECT on until it has been
//! published or is not wanted any more. So it fires after a restart of the daemon too, and a client that
//! connects again while the will of its last connection is still on its way harms neither.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mq_core::{
    AddressKind, Incoming, Outcome, ProducerKey, ProducerOptions, ProducerTarget, Refused, Retain, UnixMillis,
};
use mq_model::grant::Right;
use mq_model::space::{qualified, split_qualified};
use mq_mqtt::property::{PropertyIn, PropertyWriter};
use mq_mqtt::{Qos, Version, packet};
use tracing::{debug, warn};

use super::envelope::{Envelope, EnvelopeError, MQTT_FORMAT};
use super::record::WillRecord;
use super::session::origin_of;
use crate::driver::Shard;
use crate::driver::access::Denied;
use crate::users::owner_of;

/// A will and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Will {
    /// Unlike that of every other will of the client.
    pub(crate) number: u64,
    pub(crate) record: WillRecord,
}

impl Will {
    /// The will of a CONNECT, in memory of its own: it outlives the buffer it came in.
    pub(crate) fn of(will: &packet::Will, version: Version, number: u64, user: Option<Arc<str>>) -> Self {
        let record = WillRecord {
            topic: will.topic.detach(),
            payload: Bytes::copy_from_slice(&will.payload),
            qos: will.qos,
            retain: will.retain,
            version,
            properties: will.properties.detach(),
            due: None,
            user,
        };
        Self { number, record }
    }

    /// Seconds that the client gets to come back before it is published (3.1.3.2.2).
    pub(crate) fn delay(&self) -> u32 {
        self.record.properties.view().will_delay_interval().unwrap_or(0)
    }

    /// When it is to be published, of a client that has been gone since then: "when either its Will
    /// Delay Interval has elapsed or its Session ends, whichever happens first" (3.1.3.2.2). Once it is
    /// decided it stays so.
    pub(crate) fn due(&self, since: UnixMillis, expiry: u32) -> UnixMillis {
        // A delay of 4,294,967,295 seconds is 136 years: no special case.
        self.record.due.unwrap_or_else(|| after(since, self.delay().min(expiry)))
    }
}

/// What becomes of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is published now.
    Publish,
    /// Nobody wants it any more.
    Drop,
    /// It is published at that time, unless the client comes back.
    Wait(UnixMillis),
}

/// How a connection ended, or what came after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// DISCONNECT with 0x00: the client wants its will forgotten (3.1.2-10).
    Normal,
    /// Anything else: an error, silence, DISCONNECT with another reason.
    Unclean,
    /// Another connection took the session over; `is_clean`: it wanted a new session.
    TakenOver { is_clean: bool },
    /// The node stops: its next run goes on where this one ended.
    Stopping,
}

impl Will {
    /// What becomes now of the will of a connection that ended then (3.1.2.5, 3.1.3.2.2, 3.1.4).
    pub(crate) fn fate(&self, end: End, since: UnixMillis, now: UnixMillis, expiry: u32) -> Fate {
        let due = self.due(since, expiry);
        match end {
            End::Normal => Fate::Drop,
            // 3.1.3.2.2: the session of the old connection has ended.
            End::TakenOver { is_clean: true } => Fate::Publish,
            // "If a new Network Connection to this Session is made before the Will Delay Interval has
            // passed, the Server MUST NOT send the Will Message" (3.1.3-9).
            End::TakenOver { is_clean: false } if due > now => Fate::Drop,
            End::TakenOver { is_clean: false } => Fate::Publish,
            End::Unclean if due <= now => Fate::Publish,
            End::Unclean | End::Stopping => Fate::Wait(due),
        }
    }
}

/// The wills of a shard on their way to their addresses.
#[derive(Debug, Default)]
pub(crate) struct Wills {
    /// The shard's own, while there are any.
    producer: Option<ProducerKey>,
    credit: u32,
    /// Those that wait for credit, with the client they were of.
    waiting: VecDeque<(Arc<str>, Will)>,
    /// Those that the core has, by its handle, with the client.
    under_way: HashMap<u64, (Arc<str>, Will)>,
    next_handle: u64,
    /// Those that could not be delivered because the home of their address is out of reach, or has no room.
    postponed: Vec<(Arc<str>, Will)>,
    /// When they are tried again.
    again_at: Option<Instant>,
}

/// How long a will waits that could not be delivered, before it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

impl Wills {
    /// Whether the core's producer is the one for wills.
    pub(crate) fn is_producer(&self, producer: ProducerKey) -> bool {
        self.producer == Some(producer)
    }

    /// When [`Shard::publish_postponed`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.again_at
    }
}

impl Shard {
    /// Publishes a will, and forgets it when it is known what came of it.
    pub(super) fn publish_will(&mut self, now: Instant, client_id: &Arc<str>, mut will: Will) {
        // One that was to wait, and is published before: a restart on the way must not wait for it.
        let due = will.record.due.replace(self.core.unix(now));
        if due.is_some() || will.delay() > 0 {
            self.keep_will(client_id, &will);
        }
        self.mqtt.wills.waiting.push_back((client_id.clone(), will));
        self.send_wills(now);
    }

    /// The core gives the shard's producer credit.
    pub(crate) fn grant_wills(&mut self, now: Instant, credit: u32) {
        self.mqtt.wills.credit = self.mqtt.wills.credit.saturating_add(credit);
        self.send_wills(now);
    }

    fn send_wills(&mut self, now: Instant) {
        if self.mqtt.wills.producer.is_none() {
            let options = ProducerOptions::default();
            match self.core.add_producer(now, ProducerTarget::AnyAddress, options) {
                // Its credit comes as an effect.
                Ok(producer) => self.mqtt.wills.producer = Some(producer),
                Err(Refused::Stopping) => {}
                Err(error) => warn!(%error, "wills cannot be published"),
            }
            return;
        }
        while self.mqtt.wills.credit > 0
            && let Some((client_id, will)) = self.mqtt.wills.waiting.pop_front()
        {
            self.send_will(now, client_id, will);
        }
    }

    /// Tries wills again that could not be delivered.
    pub(super) fn publish_postponed(&mut self, now: Instant) {
        if self.mqtt.wills.again_at.take_if(|at| *at <= now).is_some() {
            let postponed = std::mem::take(&mut self.mqtt.wills.postponed);
            self.mqtt.wills.waiting.extend(postponed);
            self.send_wills(now);
        }
    }

    fn postpone(&mut self, now: Instant, wills: impl IntoIterator<Item = (Arc<str>, Will)>) {
        self.mqtt.wills.postponed.extend(wills);
        if !self.mqtt.wills.postponed.is_empty() {
            self.mqtt.wills.again_at.get_or_insert(now + AGAIN);
        }
    }

    fn send_will(&mut self, now: Instant, client_id: Arc<str>, will: Will) {
        let Some(producer) = self.mqtt.wills.producer else { return };
        let record = &will.record;
        let (space, shown) = split_qualified(&client_id);
        if let Err(denied) = self.may_leave(&client_id, record) {
            warn!(client_id = shown, space, %denied, "a will is not published: its user has no right to it any more");
            self.count_denial(&denied);
            self.mqtt.counters.wills_refused += 1;
            return self.forget_will(&client_id, will.number);
        }
        let (chunk, ttl) = match message(record, &client_id) {
            Ok(message) => message,
            Err(error) => {
                warn!(client_id = shown, space, %error, "a will cannot be published");
                self.mqtt.counters.wills_refused += 1;
                return self.forget_will(&client_id, will.number);
            }
        };
        let retain = match (record.retain, record.payload.is_empty()) {
            (false, _) => Retain::No,
            (true, false) => Retain::Keep,
            (true, true) => Retain::Clear,
        };
        let wills = &mut self.mqtt.wills;
        wills.credit -= 1;
        wills.next_handle = wills.next_handle.wrapping_add(1);
        let handle = wills.next_handle;
        let origin = origin_of(&client_id);
        let name = qualified(space, record.topic.as_str());
        let incoming = Incoming {
            to: Some(&name),
            handle,
            priority: DEFAULT_PRIORITY,
            // 3.1.3.2.4: it begins when the will is published.
            ttl,
            message_format: MQTT_FORMAT,
            chunk,
            durable: record.qos > Qos::AtMostOnce,
            retain,
            origin: Some(origin),
            owner: record.user.as_deref().map(|user| owner_of(space, user)),
            ..Incoming::default()
        };
        self.core.begin(now, producer, incoming);
        // What came of it is said by an effect, later.
        self.mqtt.wills.under_way.insert(handle, (client_id, will));
    }

    /// Whether the user whose will it is may send it, now that it is published.
    fn may_leave(&self, client_id: &str, will: &WillRecord) -> Result<(), Denied> {
        let Some(user) = &will.user else { return Ok(()) };
        let (space, client_id) = split_qualified(client_id);
        self.may_absent(space, user, client_id, Right::Send, will.topic.as_str())
    }

    /// Whether a message for this name that comes back was not to be taken yet: what keeps it is out of reach, or
    /// full. Who is not there to get it from a direct address is not waited for.
    fn may_be_taken_later(&mut self, name: &str) -> bool {
        self.core.route(name).kind.is_some_and(AddressKind::is_stored)
    }

    /// The core says what came of a will.
    pub(crate) fn will_settled(&mut self, now: Instant, handle: u64, outcome: Option<&Outcome>) {
        let Some((client_id, will)) = self.mqtt.wills.under_way.remove(&handle) else { return };
        let number = will.number;
        let (space, shown) = split_qualified(&client_id);
        let name = qualified(space, will.record.topic.as_str());
        if self.mqtt.wills.under_way.is_empty() && self.mqtt.wills.waiting.is_empty() {
            self.close_wills(now);
        }
        match outcome {
            None | Some(Outcome::Accepted) => {
                debug!(client_id = shown, space, "the will has been published");
                self.mqtt.counters.wills += 1;
            }
            // The next run tries again.
            Some(_) if self.is_draining() => return,
            Some(Outcome::Released | Outcome::Modified { .. }) if self.may_be_taken_later(&name) => {
                debug!(client_id = shown, space, topic = %will.record.topic, "a will cannot be delivered yet");
                return self.postpone(now, [(client_id, will)]);
            }
            Some(outcome) => {
                warn!(client_id = shown, space, ?outcome, "nobody took a will");
                self.mqtt.counters.wills_refused += 1;
            }
        }
        self.forget_will(&client_id, number);
    }

    /// The shard's producer is not needed any more, or the core closes it: the next will gets another.
    pub(crate) fn close_wills(&mut self, now: Instant) {
        let wills = &mut self.mqtt.wills;
        wills.credit = 0;
        let lost: Vec<_> = wills.under_way.drain().map(|(_, will)| will).collect();
        if let Some(producer) = wills.producer.take() {
            self.core.remove_producer(now, producer);
        }
        self.postpone(now, lost);
    }
}

/// What a message has unless it says so: MQTT has no priorities.
const DEFAULT_PRIORITY: u8 = 4;

/// A will as the message that it becomes, and how long that lives.
fn message(record: &WillRecord, client_id: &str) -> Result<(Bytes, Option<Duration>), EnvelopeError> {
    // All of its properties but the delay, which no PUBLISH has.
    let mut properties = PropertyWriter::new(PropertyIn::Publish);
    let _ = properties.extend(record.properties.view());
    let properties = properties.finish();
    let envelope = Envelope {
        qos: record.qos,
        retain: record.retain,
        is_v5: record.version == Version::V5_0,
        origin: origin_of(client_id),
        topic: record.topic.as_str(),
        properties: properties.view(),
        annotations: &[],
        payload: &record.payload,
    };
    Ok((envelope.encode()?, envelope.time_to_live()))
}

/// That many seconds later; `u32::MAX` of them are no end.
pub(crate) fn after(time: UnixMillis, seconds: u32) -> UnixMillis {
    UnixMillis(time.0.saturating_add(u64::from(seconds) * 1_000))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mq_mqtt::Qos;
    use mq_mqtt::packet::Text;
    use mq_mqtt::property::{PropertyIn, PropertyWriter};

    use super::*;

    const THEN: UnixMillis = UnixMillis(1_000_000);

    fn will(delay: u32) -> Will {
        let mut properties = PropertyWriter::new(PropertyIn::Will);
        properties.will_delay_interval(delay).unwrap();
        let will = packet::Will {
            topic: Text::new("gone").unwrap(),
            payload: Bytes::from_static(b"x"),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: properties.finish(),
        };
        Will::of(&will, Version::V5_0, 1, None)
    }

    #[test]
    fn a_will_is_due_after_its_delay_or_with_the_end_of_the_session() {
        assert_eq!(will(30).due(THEN, 60), UnixMillis(1_030_000));
        assert_eq!(will(60).due(THEN, 30), UnixMillis(1_030_000));
        assert_eq!(will(60).due(THEN, 0), THEN);
        assert_eq!(will(u32::MAX).due(UnixMillis(u64::MAX), u32::MAX), UnixMillis(u64::MAX));
        let mut decided = will(30);
        decided.record.due = Some(UnixMillis(5));
        assert_eq!(decided.due(THEN, 60), UnixMillis(5));
    }

    #[test]
    fn a_will_whose_time_has_come_is_published_although_the_client_comes_back() {
        let now = UnixMillis(1_030_000);
        let end = End::TakenOver { is_clean: false };
        assert_eq!(will(30).fate(end, THEN, now, 60), Fate::Publish);
        assert_eq!(will(30).fate(End::Unclean, THEN, now, 60), Fate::Publish);
    }

    #[test]
    fn the_message_has_the_properties_of_the_will_in_their_order_but_for_the_delay() {
        let mut properties = PropertyWriter::new(PropertyIn::Will);
        properties.user_property("b", "1").unwrap().will_delay_interval(5).unwrap();
        properties.content_type("text/plain").unwrap().user_property("a", "2").unwrap();
        properties.message_expiry_interval(9).unwrap();
        let mut will = will(0);
        will.record.properties = properties.finish();
        let (message, ttl) = message(&will.record, "kitchen").unwrap();
        assert_eq!(ttl, Some(Duration::from_secs(9)));
        let envelope = Envelope::parse(&message).unwrap();
        let users: Vec<_> = envelope.properties.user_properties().collect();
        assert_eq!(users, [("b", "1"), ("a", "2")]);
        assert_eq!(envelope.properties.content_type(), Some("text/plain"));
        assert_eq!(envelope.properties.will_delay_interval(), None);
        let facts = (envelope.topic, envelope.payload, envelope.qos, envelope.origin);
        assert_eq!(facts, ("gone", &b"x"[..], Qos::AtLeastOnce, origin_of("kitchen")));
    }

    #[test]
    fn every_end_but_a_normal_one_publishes_the_will() {
        let now = will(0);
        assert_eq!(now.fate(End::Normal, THEN, THEN, 60), Fate::Drop);
        assert_eq!(now.fate(End::Unclean, THEN, THEN, 60), Fate::Publish);
        assert_eq!(now.fate(End::TakenOver { is_clean: false }, THEN, THEN, 60), Fate::Publish);
        assert_eq!(now.fate(End::TakenOver { is_clean: true }, THEN, THEN, 60), Fate::Publish);
        assert_eq!(now.fate(End::Stopping, THEN, THEN, 60), Fate::Wait(THEN));
    }

    #[test]
    fn a_will_with_a_delay_waits_and_a_connection_that_goes_on_with_the_session_cancels_it() {
        let later = will(30);
        let due = UnixMillis(1_030_000);
        assert_eq!(later.fate(End::Normal, THEN, THEN, 60), Fate::Drop);
        assert_eq!(later.fate(End::Unclean, THEN, THEN, 60), Fate::Wait(due));
        assert_eq!(later.fate(End::Stopping, THEN, THEN, 60), Fate::Wait(due));
        assert_eq!(later.fate(End::TakenOver { is_clean: false }, THEN, THEN, 60), Fate::Drop);
        assert_eq!(later.fate(End::TakenOver { is_clean: true }, THEN, THEN, 60), Fate::Publish);
    }

    #[test]
    fn a_delay_counts_for_nothing_when_the_session_ends_with_its_connection() {
        assert_eq!(will(30).fate(End::Unclean, THEN, THEN, 0), Fate::Publish);
        assert_eq!(will(30).fate(End::TakenOver { is_clean: false }, THEN, THEN, 0), Fate::Publish);
    }
}
