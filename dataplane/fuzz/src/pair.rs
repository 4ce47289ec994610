//! Two engines and a list of what their callers and the network do.
//!
//! Whatever the order, both ends keep the rules: nobody reports an error, every delivery arrives once, whole
//! and in order, and when all is quiet both ends agree on windows, credit and unsettled deliveries.

use std::{
    collections::{BTreeMap, VecDeque},
    io::IoSlice,
    sync::Arc,
    time::Instant,
};

use arbitrary::{Arbitrary, Unstructured};
use bytes::{Bytes, BytesMut};
use mq_amqp::{
    Config, Connection, DeliveryKey, Event, Events, IncomingTransfer, Limits, LinkKey, Misuse, Outgoing,
    SessionKey, Side, Terms, condition,
    performative::{DeliveryState, Error, NodeTarget, ReceiverSettleMode, Role, Tag, Target},
    value::Text,
};

/// Sessions and links that one plan may make: more would only meet the limits of the other end.
const MOST_SESSIONS: usize = 4;
const MOST_LINKS: usize = 16;

/// Steps that two ends need at most to come to rest.
const MOST_ROUNDS: usize = 100_000;

/// What one end does. Numbers pick from what is there, modulo its count.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Operation {
    Begin,
    End {
        session: u8,
    },
    Attach {
        session: u8,
        is_sender: bool,
        settles_second: bool,
    },
    Detach {
        link: u8,
        closed: bool,
    },
    Grant {
        link: u8,
        credit: u8,
    },
    Drain {
        link: u8,
    },
    GiveBack {
        link: u8,
    },
    Send {
        link: u8,
        size: u16,
        settled: bool,
        more: bool,
    },
    SendMore {
        link: u8,
        size: u16,
        more: bool,
    },
    Abort {
        link: u8,
    },
    SettleIncoming {
        delivery: u8,
        outcome: u8,
        settled: bool,
    },
    SettleOutgoing {
        delivery: u8,
    },
    Consume {
        frames: u8,
    },
    /// Bytes that the network carries to this end.
    Read {
        bytes: u16,
    },
    ReadAll,
    Shrink,
}

/// Two ends and what they do.
#[derive(Clone, Debug)]
pub struct Plan {
    frame_sizes: [u8; 2],
    windows: [u8; 2],
    /// True for the client.
    operations: Vec<(bool, Operation)>,
}

impl<'a> Arbitrary<'a> for Plan {
    /// As many operations as the input has bytes for: a derived list would end at its first even byte. Most ends
    /// and detaches are left out, so that sessions and links live long enough to meet something.
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (frame_sizes, windows) = (input.arbitrary()?, input.arbitrary()?);
        let mut operations = Vec::new();
        while !input.is_empty() {
            let operation = input.arbitrary()?;
            let is_kept = match operation {
                (_, Operation::End { .. }) => input.ratio(1, 16)?,
                (_, Operation::Detach { .. }) => input.ratio(1, 8)?,
                _ => true,
            };
            if is_kept {
                operations.push(operation);
            }
        }
        Ok(Self { frame_sizes, windows, operations })
    }
}

/// Carries a plan out and checks that both ends agree.
pub fn operations(plan: &Plan) {
    let mut pair = Pair::new(plan);
    for (is_client, operation) in &plan.operations {
        let end = usize::from(!is_client);
        pair.carry_out(end, *operation);
    }
    pair.come_to_rest();
    pair.check();
    pair.close();
}

/// A delivery as its sender knows it.
#[derive(Debug)]
struct Sent {
    link: LinkKey,
    name: Text,
    key: DeliveryKey,
    size: usize,
    finished: bool,
    aborted: bool,
    /// Its link was detached: it may arrive, or not, or in part.
    is_given_up: bool,
}

#[derive(Debug)]
struct Link {
    key: LinkKey,
    name: Text,
    is_sender: bool,
    is_draining: bool,
    settles_second: bool,
    /// The delivery that is coming in: its number and bytes so far.
    partial: Option<(u64, usize)>,
    last: Option<u64>,
    /// The delivery that is going out.
    unfinished: Option<u64>,
}

struct End {
    engine: Connection,
    input: BytesMut,
    events: Events,
    sessions: Vec<SessionKey>,
    links: Vec<Link>,
    /// Incoming deliveries that are not settled.
    unsettled: Vec<(LinkKey, DeliveryKey)>,
    /// Frames taken in and not consumed, by session.
    held: VecDeque<SessionKey>,
    sent: BTreeMap<u64, Sent>,
    /// Numbers of the deliveries that arrived whole.
    arrived: Vec<u64>,
    next: u64,
}

struct Pair {
    ends: [End; 2],
    /// Bytes on their way to each end.
    wires: [VecDeque<u8>; 2],
    now: Instant,
    begun: usize,
    attached: usize,
}

impl End {
    fn new(config: Config, side: Side, now: Instant) -> Self {
        Self {
            engine: Connection::new(Arc::new(config), side, now),
            input: BytesMut::new(),
            events: Events::new(),
            sessions: Vec::new(),
            links: Vec::new(),
            unsettled: Vec::new(),
            held: VecDeque::new(),
            sent: BTreeMap::new(),
            arrived: Vec::new(),
            next: u64::from(side == Side::Server),
        }
    }

    fn link(&mut self, index: u8) -> Option<&mut Link> {
        let count = self.links.len();
        self.links.get_mut(usize::from(index).checked_rem(count)?)
    }

    fn link_as(&mut self, index: u8, is_sender: bool) -> Option<&mut Link> {
        let count = self.links.iter().filter(|link| link.is_sender == is_sender).count();
        let index = usize::from(index).checked_rem(count)?;
        self.links.iter_mut().filter(|link| link.is_sender == is_sender).nth(index)
    }

    /// Serves what the engine told; `theirs` is what the other end has sent.
    fn handle_event(&mut self, event: Event, theirs: &BTreeMap<u64, Sent>) {
        match event {
            Event::Opened(_) => {
                // The client has opened already.
                let _ = self.engine.open();
            }
            Event::SessionBegun { session } => {
                if !self.sessions.contains(&session) {
                    self.sessions.push(session);
                }
            }
            Event::SessionEnded { session, error, .. } => {
                assert_eq!(error, None, "a session ended");
                self.forget_session(session);
            }
            Event::LinkAttached { link, attach } => {
                if self.links.iter().all(|known| known.key != link) {
                    self.answer_attach(link, attach.name.clone(), attach.role, attach.rcv_settle_mode);
                }
            }
            Event::LinkDetached { link, error, .. } => {
                let condition = error.as_ref().map(|error| error.condition.as_str());
                assert!(
                    matches!(condition, None | Some(condition::NOT_FOUND)),
                    "a link was detached: {error:?}"
                );
                self.forget_link(link);
            }
            Event::LinkFlow { link, credit, drain, .. } => {
                assert_eq!(self.engine.credit(link), Ok(credit));
                if let Some(link) = self.links.iter_mut().find(|known| known.key == link) {
                    link.is_draining = drain;
                }
            }
            Event::LinkDrained { link, .. } => assert_eq!(self.engine.credit(link), Ok(0)),
            Event::Transfer(transfer) => self.take_transfer(transfer, theirs),
            Event::Disposition { role, delivery, delivery_token, state, settled } => {
                if role == Role::Sender {
                    assert!(
                        self.sent.contains_key(&delivery_token),
                        "delivery {delivery_token} was not sent"
                    );
                }
                if !settled && role == Role::Sender {
                    let known = self.engine.settle(role, delivery, state, true);
                    assert_eq!(known, Ok(true), "it was unsettled when its state came");
                }
                if settled {
                    self.unsettled.retain(|(_, known)| role == Role::Sender || *known != delivery);
                }
            }
            other => panic!("nobody asked for {other:?}"),
        }
    }

    /// Every fifth link is refused.
    fn answer_attach(&mut self, link: LinkKey, name: Text, theirs: Role, mode: ReceiverSettleMode) {
        let settles_second = mode == ReceiverSettleMode::Second;
        if name.as_str().len().is_multiple_of(5) {
            let answer = self.engine.refuse(link, Error::new(condition::NOT_FOUND, "every fifth"));
            assert_eq!(answer, Ok(()));
            return;
        }
        let is_sender = theirs == Role::Receiver;
        assert_eq!(self.engine.accept(link, terms(settles_second), 0), Ok(()));
        self.links.push(Link::new(link, name, is_sender, settles_second));
    }

    fn take_transfer(&mut self, transfer: IncomingTransfer, theirs: &BTreeMap<u64, Sent>) {
        self.held.push_back(transfer.delivery.session());
        let link = self.links.iter_mut().find(|link| link.key == transfer.link).expect("a link that we know");
        let number = if transfer.first {
            let number = u64::from_be_bytes(transfer.tag.as_bytes().try_into().expect("our tags"));
            assert!(link.partial.is_none() && link.last.is_none_or(|last| last < number), "order");
            assert_eq!(self.engine.name_delivery(link.key, transfer.delivery, number), Ok(()));
            if !transfer.settled {
                self.unsettled.push((transfer.link, transfer.delivery));
            }
            link.partial = Some((number, 0));
            number
        } else {
            transfer.delivery_token
        };
        let sent = theirs.get(&number).expect("somebody sent it");
        assert_eq!(sent.name, link.name);
        let (begun, offset) = link.partial.take().expect("a delivery under way");
        assert_eq!(begun, number, "the name of a delivery is known to its later frames");
        if transfer.aborted {
            assert!(sent.aborted || sent.is_given_up, "delivery {number} was not aborted");
            self.unsettled.retain(|(_, known)| *known != transfer.delivery);
            return;
        }
        let expected = (offset..).map(|index| content(number, index));
        assert!(
            transfer.payload.iter().copied().eq(expected.take(transfer.payload.len())),
            "content of {number}"
        );
        let offset = offset + transfer.payload.len();
        if transfer.settled && !transfer.first {
            self.unsettled.retain(|(_, known)| *known != transfer.delivery);
        }
        if transfer.more {
            link.partial = Some((number, offset));
        } else {
            assert!(sent.finished && !sent.aborted);
            assert_eq!(offset, sent.size, "length of {number}");
            link.last = Some(number);
            self.arrived.push(number);
        }
    }

    fn send(&mut self, index: u8, size: u16, settled: bool, more: bool) {
        let number = self.next;
        let Some(link) = self.link_as(index, true) else { return };
        let payload: Bytes = (0..usize::from(size)).map(|index| content(number, index)).collect();
        let outgoing =
            Outgoing { tag: Tag::from(number), token: number, settled, message_format: 0, payload, more };
        let (key, name) = (link.key, link.name.clone());
        match self.engine.send(key, outgoing) {
            Ok(delivery) => {
                let sent = Sent {
                    link: key,
                    name,
                    key: delivery,
                    size: usize::from(size),
                    finished: !more,
                    aborted: false,
                    is_given_up: false,
                };
                self.sent.insert(number, sent);
                self.next += 2;
                if more && let Some(link) = self.link_as(index, true) {
                    link.unfinished = Some(number);
                }
            }
            Err(Misuse::NoCredit | Misuse::Unfinished | Misuse::WrongRole | Misuse::State) => {}
            Err(misuse) => panic!("{misuse}"),
        }
    }

    fn send_more(&mut self, index: u8, size: u16, more: bool) {
        let Some(link) = self.link_as(index, true) else { return };
        let Some(number) = link.unfinished else { return };
        let key = link.key;
        if !more {
            link.unfinished = None;
        }
        let sent = self.sent.get_mut(&number).expect("it was begun");
        let start = sent.size;
        sent.size += usize::from(size);
        sent.finished = !more;
        let payload: Bytes = (start..sent.size).map(|index| content(number, index)).collect();
        assert_eq!(self.engine.send_more(key, payload, more), Ok(()));
    }

    fn abort(&mut self, index: u8) {
        let Some(link) = self.link_as(index, true) else { return };
        let Some(number) = link.unfinished.take() else { return };
        let key = link.key;
        self.sent.get_mut(&number).expect("it was begun").aborted = true;
        assert_eq!(self.engine.abort(key), Ok(()));
    }

    fn settle_incoming(&mut self, index: u8, outcome: u8, settled: bool) {
        let Some(index) = usize::from(index).checked_rem(self.unsettled.len()) else { return };
        let (_, delivery) = self.unsettled[index];
        if settled {
            self.unsettled.remove(index);
        }
        let states = [DeliveryState::Accepted, DeliveryState::Released, DeliveryState::Rejected(None)];
        let state = states[usize::from(outcome) % states.len()].clone();
        assert_eq!(self.engine.settle(Role::Receiver, delivery, Some(state), settled), Ok(true));
    }

    fn settle_outgoing(&mut self, index: u8) {
        let Some(index) = usize::from(index).checked_rem(self.sent.len()) else { return };
        let sent = self.sent.values().nth(index).expect("within the count");
        // Settled already, or its session is gone.
        let _ = self.engine.settle(Role::Sender, sent.key, Some(DeliveryState::Accepted), true);
    }

    fn consume(&mut self, frames: usize) -> bool {
        let frames = frames.min(self.held.len());
        for session in self.held.drain(..frames) {
            // Gone with its window.
            let _ = self.engine.consume(session, 1);
        }
        frames > 0
    }

    fn give_back(&mut self, index: u8) -> bool {
        let Some(link) = self.link_as(index, true) else { return false };
        if !std::mem::take(&mut link.is_draining) {
            return false;
        }
        let key = link.key;
        assert_eq!(self.engine.drained(key), Ok(()));
        true
    }

    fn forget_session(&mut self, session: SessionKey) {
        self.sessions.retain(|known| *known != session);
        let engine = &self.engine;
        self.links.retain(|link| engine.session_of_link(link.key).is_ok());
        self.unsettled.retain(|(_, delivery)| delivery.session() != session);
    }

    fn forget_link(&mut self, key: LinkKey) {
        self.links.retain(|link| link.key != key);
        self.unsettled.retain(|(link, _)| *link != key);
        let sent = self.sent.values_mut();
        sent.filter(|sent| sent.link == key).for_each(|sent| sent.is_given_up = true);
    }

    fn written(&mut self, now: Instant) -> Vec<u8> {
        self.engine.flush();
        let mut all = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let used = self.engine.slices(&mut slices);
            let start = all.len();
            slices[..used].iter().for_each(|slice| all.extend_from_slice(slice));
            if all.len() == start {
                return all;
            }
            self.engine.written(now, all.len() - start);
        }
    }
}

impl Link {
    fn new(key: LinkKey, name: Text, is_sender: bool, settles_second: bool) -> Self {
        Self {
            key,
            name,
            is_sender,
            is_draining: false,
            settles_second,
            partial: None,
            last: None,
            unfinished: None,
        }
    }
}

impl Pair {
    fn new(plan: &Plan) -> Self {
        let now = Instant::now();
        let config = |index: usize| Config {
            container_id: Text::from("end"),
            allow_plain_header: true,
            limits: Limits {
                max_frame_size: [512, 700, 4_096, 16_384][usize::from(plan.frame_sizes[index]) % 4],
                incoming_window: u32::from(plan.windows[index]) % 32 + 1,
                ..Limits::default()
            },
            ..Config::default()
        };
        let mut client = End::new(config(0), Side::Client, now);
        client.engine.open().expect("a client may open at once");
        let server = End::new(config(1), Side::Server, now);
        let wires = [VecDeque::new(), VecDeque::new()];
        let mut pair = Self { ends: [client, server], wires, now, begun: 0, attached: 0 };
        pair.come_to_rest();
        assert!(pair.ends.iter().all(|end| end.engine.is_open()));
        pair
    }

    fn carry_out(&mut self, index: usize, operation: Operation) {
        let end = &mut self.ends[index];
        match operation {
            Operation::Begin => {
                if self.begun < MOST_SESSIONS {
                    self.begun += 1;
                    end.sessions.push(end.engine.begin(0).expect("a free channel"));
                }
            }
            Operation::End { session } => {
                if let Some(index) = usize::from(session).checked_rem(end.sessions.len()) {
                    let session = end.sessions[index];
                    assert_eq!(end.engine.end(session, None), Ok(()));
                    end.forget_session(session);
                }
            }
            Operation::Attach { session, is_sender, settles_second } => {
                self.attach(index, session, is_sender, settles_second);
            }
            Operation::Detach { link, closed } => {
                if let Some(key) = end.link(link).map(|link| link.key) {
                    assert_eq!(end.engine.detach(key, closed, None), Ok(()));
                    end.forget_link(key);
                }
            }
            Operation::Grant { link, credit } => {
                if let Some(key) = end.link_as(link, false).map(|link| link.key) {
                    let _ = end.engine.grant(key, credit.into());
                }
            }
            Operation::Drain { link } => {
                if let Some(key) = end.link_as(link, false).map(|link| link.key) {
                    let _ = end.engine.drain(key);
                }
            }
            Operation::GiveBack { link } => drop(end.give_back(link)),
            Operation::Send { link, size, settled, more } => end.send(link, size % 5_000, settled, more),
            Operation::SendMore { link, size, more } => end.send_more(link, size % 5_000, more),
            Operation::Abort { link } => end.abort(link),
            Operation::SettleIncoming { delivery, outcome, settled } => {
                end.settle_incoming(delivery, outcome, settled);
            }
            Operation::SettleOutgoing { delivery } => end.settle_outgoing(delivery),
            Operation::Consume { frames } => drop(end.consume(frames.into())),
            Operation::Read { bytes } => drop(self.read(index, bytes.into())),
            Operation::ReadAll => drop(self.read(index, usize::MAX)),
            Operation::Shrink => end.engine.shrink(),
        }
    }

    fn attach(&mut self, index: usize, session: u8, is_sender: bool, settles_second: bool) {
        let end = &mut self.ends[index];
        let Some(session) = usize::from(session).checked_rem(end.sessions.len()) else { return };
        if self.attached == MOST_LINKS {
            return;
        }
        self.attached += 1;
        let name = Text::from("x".repeat(self.attached));
        let role = if is_sender { Role::Sender } else { Role::Receiver };
        let key = end
            .engine
            .attach(end.sessions[session], name.clone(), role, terms(settles_second), 0)
            .expect("a free handle");
        end.links.push(Link::new(key, name, is_sender, settles_second));
    }

    /// Lets an end read what is on its way to it; true when there was anything.
    fn read(&mut self, index: usize, bytes: usize) -> bool {
        let written = self.ends[1 - index].written(self.now);
        let wire = &mut self.wires[index];
        wire.extend(written);
        let count = bytes.min(wire.len());
        let [client, server] = &mut self.ends;
        let (end, other) = if index == 0 { (client, server) } else { (server, client) };
        end.input.extend(wire.drain(..count));
        loop {
            let result = end.engine.handle_input(self.now, &mut end.input, &mut end.events);
            assert_eq!(result, Ok(()));
            let Some(event) = end.events.pop_front() else { break };
            end.handle_event(event, &other.sent);
            while let Some(event) = end.events.pop_front() {
                end.handle_event(event, &other.sent);
            }
        }
        count > 0
    }

    /// Carries and consumes everything until nothing moves.
    fn come_to_rest(&mut self) {
        for _ in 0..MOST_ROUNDS {
            let mut moved = false;
            for index in [0, 1] {
                moved |= self.read(index, usize::MAX);
                let end = &mut self.ends[index];
                moved |= end.consume(usize::MAX);
                for link in 0..u8::try_from(end.links.len()).expect("few") {
                    moved |= end.give_back(link);
                }
            }
            if !moved {
                return;
            }
        }
        panic!("the ends do not come to rest");
    }

    /// Both ends are at rest: do they agree?
    fn check(&self) {
        for (near, far) in [(0, 1), (1, 0)] {
            let (near, far) = (&self.ends[near], &self.ends[far]);
            assert_eq!(near.engine.sessions().count(), near.sessions.len());
            for here in near.engine.sessions() {
                let there = far
                    .engine
                    .sessions()
                    .find(|there| there.key.channel() == here.remote_channel)
                    .expect("a session has two ends");
                assert_eq!(near.engine.pending_bytes(here.key), 0, "the window is open");
                assert_eq!(here.remote_incoming_window, there.incoming_window);
                assert_eq!(here.unsettled_outgoing, there.unsettled_incoming);
                assert_eq!(here.links, there.links);
            }
            assert_eq!(near.engine.links().count(), near.links.len());
            for link in near.engine.links() {
                let mut peers = far.engine.links().filter(|there| there.name == link.name);
                let there = peers.next().expect("a link has two ends");
                assert_eq!((link.credit, link.deliveries), (there.credit, there.deliveries));
                assert!(peers.next().is_none() && link.role != there.role);
            }
            Self::check_deliveries(near, far);
        }
    }

    /// Nothing is lost on a link that lives, and nothing arrives twice.
    fn check_deliveries(near: &End, far: &End) {
        let mut arrived = far.arrived.clone();
        arrived.sort_unstable();
        assert!(arrived.windows(2).all(|pair| pair[0] < pair[1]), "a delivery arrived twice");
        for (number, sent) in &near.sent {
            let lives = near.links.iter().any(|link| link.key == sent.link && link.is_sender);
            if lives && sent.finished && !sent.aborted {
                assert!(arrived.binary_search(number).is_ok(), "delivery {number} is lost");
            }
        }
        assert!(near.links.iter().all(|link| {
            far.links
                .iter()
                .any(|there| there.name == link.name && there.settles_second == link.settles_second)
        }));
    }

    fn close(mut self) {
        self.ends[0].engine.close(self.now, None);
        for (to, from) in [(1, 0), (0, 1)] {
            let bytes = self.ends[from].written(self.now);
            let end = &mut self.ends[to];
            end.input.extend_from_slice(&bytes);
            assert_eq!(end.engine.handle_input(self.now, &mut end.input, &mut end.events), Ok(()));
            assert!(matches!(end.events.pop_front(), Some(Event::Closed { error: None })));
        }
        assert!(self.ends.iter().all(|end| end.engine.is_done()));
    }
}

fn terms(settles_second: bool) -> Terms {
    Terms {
        source: Some(Box::default()),
        target: Some(Box::new(Target::Node(NodeTarget::default()))),
        rcv_settle_mode: if settles_second { ReceiverSettleMode::Second } else { ReceiverSettleMode::First },
        ..Terms::default()
    }
}

/// The byte at an offset of a delivery's payload.
#[allow(clippy::cast_possible_truncation, reason = "any byte will do")]
fn content(number: u64, offset: usize) -> u8 {
    (number as usize).wrapping_mul(31).wrapping_add(offset.wrapping_mul(7)) as u8
}
