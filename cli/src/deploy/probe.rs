//! `--verify`: numbered messages that go on through a whole roll, over clients that connect again wherever
//! somebody answers, and the account of what became of them.
//!
//! Two addresses that nobody else knows: a queue, whose messages are stored, and an anycast address, whose
//! messages go from one client to the other. A number is sent once. What counts as lost is a message that
//! was accepted and has not come; one whose sender was cut off before it had an answer may come or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fe2o3_amqp::types::{
    definitions::SenderSettleMode,
    messaging::{Body, Header, Message, Outcome as Disposition},
    primitives::Value,
};
use mq_model::{
    admin::Runtime,
    manifest::{Address, AddressSpec, AddressType},
};
use serde::Serialize;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    args::message::Ack,
    client::{
        admin::Admin,
        amqp::{Arrival, Client},
    },
    deploy::entry::Entry,
    failure::Outcome,
    record,
    settings::Endpoint,
    shape,
};

/// What the names of a probe's addresses begin with.
pub const PREFIX: &str = "mq-verify-";
/// The time from one message of a lane to the next.
const BEAT: Duration = Duration::from_millis(20);
/// How long a client waits for an answer before it connects again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long nothing may come at the end before what is missing is lost.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// How long a client waits before it knocks at the next node.
const PAUSE: Duration = Duration::from_millis(20);

/// A probe under way. It ends with [`finish`](Self::finish), or when it is dropped.
#[derive(Debug)]
pub struct Probe {
    lanes: Vec<Arc<Lane>>,
    places: Arc<Places>,
    /// Tells senders to end, and later receivers.
    phase: watch::Sender<Phase>,
    senders: JoinSet<()>,
    receivers: JoinSet<()>,
}

/// What became of the messages of one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// `queue` or `anycast`.
    pub lane: &'static str,
    pub sent: u64,
    pub accepted: u64,
    pub received: u64,
    /// Accepted and never received.
    pub lost: u64,
    /// Received more often than once, beyond the first time.
    pub duplicated: u64,
    /// Sent, with no answer before the connection ended.
    pub unanswered: u64,
    /// The longest time between two messages, in milliseconds.
    pub longest_gap_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Sending,
    Draining,
    Over,
}

/// Where nodes are reached, by name.
#[derive(Debug, Default)]
struct Places(Mutex<BTreeMap<String, Endpoint>>);

/// One address and what is known of its messages.
#[derive(Debug)]
struct Lane {
    name: &'static str,
    address: String,
    is_stored: bool,
    ledger: Mutex<Ledger>,
}

/// The numbers that were sent, answered and received.
#[derive(Debug, Default)]
struct Ledger {
    sent: u64,
    accepted: BTreeSet<u64>,
    refused: u64,
    received: BTreeSet<u64>,
    duplicated: u64,
    /// When a message came last; before the first one, when the lane began.
    last: Option<Instant>,
    longest: Duration,
}

impl Probe {
    /// Creates the addresses and starts to send, once the first message of each has come.
    pub async fn start(admin: &Admin, nodes: &[(Runtime, Entry)]) -> Outcome<Self> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let kinds = [("queue", AddressType::Queue), ("anycast", AddressType::Anycast)];
        let mut lanes = Vec::new();
        for (name, kind) in kinds {
            let address = format!("{PREFIX}{id}/{name}");
            admin.create_address(&Address::new(&address, AddressSpec::new(kind))).await?;
            let ledger = Mutex::new(Ledger::default());
            lanes.push(Arc::new(Lane { name, address, is_stored: kind.is_stored(), ledger }));
        }
        let places = Arc::new(Places::default());
        nodes.iter().for_each(|(node, entry)| places.learn(node, entry));
        let (phase, told) = watch::channel(Phase::Sending);
        let (mut senders, mut receivers) = (JoinSet::new(), JoinSet::new());
        for lane in &lanes {
            receivers.spawn(receive(Arc::clone(lane), Arc::clone(&places), told.clone()));
            senders.spawn(send(Arc::clone(lane), Arc::clone(&places), told.clone()));
        }
        let probe = Self { lanes, places, phase, senders, receivers };
        let begin = Instant::now();
        while probe.lanes.iter().any(|lane| lane.ledger().received.is_empty()) && begin.elapsed() < LAST_WAIT
        {
            tokio::time::sleep(PAUSE).await;
        }
        // The gaps that count are those of the roll.
        let now = Instant::now();
        probe.lanes.iter().for_each(|lane| {
            lane.ledger().last.get_or_insert(now);
        });
        Ok(probe)
    }

    /// A node has become ready, perhaps on other ports.
    pub fn learn(&self, node: &Runtime, entry: &Entry) {
        self.places.learn(node, entry);
    }

    /// Stops sending, waits for what is under way, removes the addresses and draws up the account.
    pub async fn finish(mut self, admin: &Admin) -> Vec<Account> {
        self.phase.send_replace(Phase::Draining);
        let end = Instant::now();
        self.lanes.iter().for_each(|lane| lane.ledger().end(end));
        while self.senders.join_next().await.is_some() {}
        let mut missing = self.missing();
        let mut since = Instant::now();
        while missing > 0 && since.elapsed() < LAST_WAIT {
            tokio::time::sleep(PAUSE).await;
            let now = self.missing();
            if now != missing {
                (missing, since) = (now, Instant::now());
            }
        }
        self.phase.send_replace(Phase::Over);
        while self.receivers.join_next().await.is_some() {}
        for lane in &self.lanes {
            // What is left of the probe does no harm, and the account is worth more than its tidiness.
            let _ = admin.delete_address(&lane.address, false).await;
        }
        self.lanes.iter().map(|lane| lane.ledger().account(lane.name)).collect()
    }

    fn missing(&self) -> usize {
        self.lanes.iter().map(|lane| lane.ledger().missing()).sum()
    }
}

impl Account {
    /// Whether every accepted message has come, once.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.received > 0
    }

    /// The account in one line.
    pub fn line(&self) -> String {
        let Self { lane, accepted, lost, duplicated, unanswered, longest_gap_ms, .. } = self;
        format!(
            "probe {lane}: {} accepted, {lost} lost, {duplicated} duplicated, {unanswered} unanswered, longest gap {}",
            shape::plural(*accepted, "message"),
            shape::elapsed(Duration::from_millis(*longest_gap_ms))
        )
    }
}

impl Places {
    fn learn(&self, node: &Runtime, entry: &Entry) {
        if let Some(endpoint) = entry.amqp(node) {
            self.lock().insert(node.node.clone(), endpoint);
        }
    }

    /// The node whose turn it is.
    fn choose(&self, turn: usize) -> Option<Endpoint> {
        let places = self.lock();
        places.values().nth(turn.checked_rem(places.len())?).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Endpoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    fn receive(&mut self, number: u64, now: Instant) {
        if let Some(last) = self.last {
            self.longest = self.longest.max(now.saturating_duration_since(last));
        }
        self.last = Some(now);
        if !self.received.insert(number) {
            self.duplicated += 1;
        }
    }

    /// Nothing more is sent: a lane that has been silent since the last message has had that gap, too.
    fn end(&mut self, now: Instant) {
        if let Some(last) = self.last {
            self.longest = self.longest.max(now.saturating_duration_since(last));
        }
    }

    fn missing(&self) -> usize {
        self.accepted.difference(&self.received).count()
    }

    fn account(&self, lane: &'static str) -> Account {
        let accepted = self.accepted.len() as u64;
        Account {
            lane,
            sent: self.sent,
            accepted,
            received: self.received.len() as u64,
            lost: self.missing() as u64,
            duplicated: self.duplicated,
            unanswered: self.sent.saturating_sub(accepted + self.refused),
            longest_gap_ms: u64::try_from(self.longest.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

async fn connect(places: &Places, turn: &mut usize) -> Option<Client> {
    let endpoint = places.choose(*turn)?;
    *turn = turn.wrapping_add(1);
    tokio::time::timeout(PATIENCE, Client::connect(&endpoint)).await.ok()?.ok()
}

async fn send(lane: Arc<Lane>, places: Arc<Places>, phase: watch::Receiver<Phase>) {
    let mut turn = 0;
    while *phase.borrow() == Phase::Sending {
        if let Some(mut client) = connect(&places, &mut turn).await {
            send_over(&lane, &mut client, &phase).await;
            let _ = tokio::time::timeout(PATIENCE, client.close()).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends until the connection ends, or the node does not answer.
async fn send_over(lane: &Lane, client: &mut Client, phase: &watch::Receiver<Phase>) {
    let attaching = client.sender(Some(&lane.address), SenderSettleMode::Unsettled);
    let Ok(Ok(mut sender)) = tokio::time::timeout(PATIENCE, attaching).await else { return };
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while *phase.borrow() == Phase::Sending {
        beat.tick().await;
        let number = lane.ledger().send();
        let mut message: Message<Body<Value>> = Message::from(record::data(number.to_string().as_bytes()));
        message.header = lane.is_stored.then(|| Header { durable: true, ..Header::default() });
        match tokio::time::timeout(PATIENCE, sender.send(message)).await {
            Ok(Ok(Disposition::Accepted(_))) => {
                lane.ledger().accepted.insert(number);
            }
            // It said no: the message is the sender's still.
            Ok(Ok(_)) => lane.ledger().refused += 1,
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

async fn receive(lane: Arc<Lane>, places: Arc<Places>, mut phase: watch::Receiver<Phase>) {
    // Beside the sender, so that messages cross the fleet.
    let mut turn = 1;
    loop {
        tokio::select! {
            _ = phase.wait_for(|phase| *phase == Phase::Over) => return,
            () = receive_once(&lane, &places, &mut turn) => {}
        }
    }
}

/// Receives until the connection ends.
async fn receive_once(lane: &Lane, places: &Places, turn: &mut usize) {
    if let Some(mut client) = connect(places, turn).await {
        let attaching = client.receiver(&lane.address, 100, None);
        if let Ok(Ok(mut inlet)) = tokio::time::timeout(PATIENCE, attaching).await {
            // A node that hangs says nothing: after a while another one is asked.
            while let Ok(Ok(arrival)) = tokio::time::timeout(PATIENCE, inlet.recv()).await {
                let Arrival::Message(delivery) = arrival else { continue };
                // Counted before it is settled: what comes again is a duplicate, and what is settled is not lost.
                let body = record::body_bytes(&delivery.message().body);
                let number = std::str::from_utf8(&body).ok().and_then(|text| text.parse().ok());
                if let Some(number) = number {
                    lane.ledger().receive(number, Instant::now());
                }
                if inlet.settle(&delivery, Ack::Accept).await.is_err() {
                    break;
                }
            }
        }
        let _ = tokio::time::timeout(PATIENCE, client.close()).await;
    }
    tokio::time::sleep(PAUSE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_tells_lost_from_unanswered() {
        let mut ledger = Ledger::default();
        let begin = Instant::now();
        for number in 1..=6 {
            assert_eq!(ledger.send(), number);
        }
        ledger.accepted.extend([1, 2, 3]);
        ledger.refused = 1;
        ledger.receive(1, begin);
        ledger.receive(2, begin + Duration::from_millis(30));
        ledger.receive(2, begin + Duration::from_millis(430));
        ledger.receive(5, begin + Duration::from_millis(450));
        let account = ledger.account("queue");
        assert_eq!((account.lost, account.duplicated, account.unanswered), (1, 1, 2));
        assert_eq!(account.longest_gap_ms, 400);
        assert!(!account.is_clean());
        assert_eq!(
            account.line(),
            "probe queue: 3 messages accepted, 1 lost, 1 duplicated, 2 unanswered, longest gap 400.0ms"
        );
    }

    #[test]
    fn a_lane_that_falls_silent_has_a_gap_up_to_the_end() {
        let begin = Instant::now();
        let gap = |ledger: &Ledger| ledger.account("anycast").longest_gap_ms;
        let mut silent = Ledger { last: Some(begin), ..Ledger::default() };
        silent.end(begin + Duration::from_secs(9));
        assert_eq!(gap(&silent), 9_000, "nothing ever came");
        let mut cut_off = Ledger::default();
        cut_off.receive(1, begin);
        cut_off.receive(2, begin + Duration::from_millis(20));
        cut_off.end(begin + Duration::from_millis(3_020));
        assert_eq!(gap(&cut_off), 3_000);
    }

    #[test]
    fn a_probe_of_which_nothing_came_proves_nothing() {
        assert!(!Ledger::default().account("queue").is_clean());
    }

    #[test]
    fn places_are_taken_in_turn() {
        let places = Places::default();
        assert!(places.choose(0).is_none());
        for (node, port) in [("node-1", 1), ("node-2", 2)] {
            let listener = mq_model::admin::Listener {
                name: "amqp".into(),
                protocol: mq_model::admin::Protocol::Amqp,
                host: "127.0.0.1".into(),
                port,
                tls: Default::default(),
            };
            let runtime = Runtime {
                node: node.into(),
                fleet: "f".into(),
                pid: 1,
                version: String::new(),
                config_hash: String::new(),
                listeners: vec![listener],
            };
            places.learn(&runtime, &Entry::default());
        }
        let ports: Vec<u16> = (0..3).filter_map(|turn| places.choose(turn)).map(|place| place.port).collect();
        assert_eq!(ports, [1, 2, 1]);
    }
}
