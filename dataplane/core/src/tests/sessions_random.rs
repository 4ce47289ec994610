//! Random operations on what topics retain, on subscriptions of sessions and on claims, over several
//! shards, and several nodes that lose each other and meet again, with a store that is slow or fails, mail
//! that takes its time, crashes and restarts.
//!
//! Each name has one publisher of retained messages, so that what has to be retained is known: the last
//! change that was accepted, or a later one that was not refused. A session always wants `t/a`: what was
//! accepted there it gets, once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::bed::{Bed, C, P, Path};
use super::seeds::for_each_seed;
use super::sessions::{filters, session, share, topic, with};
use super::stored::fleet_with;
use crate::*;

const NAMES: [&str; 3] = ["t/a", "t/b", "t/c/d"];
const FILTERS: [&str; 6] = ["t/#", "t/+", "t/b", "t/c/#", "#", "t/+/d"];
const SESSIONS: [&str; 2] = ["s0", "s1"];
const SHARE: &str = "$share/g/t/+";
const CLAIMS: [&str; 3] = ["c0", "c1", "c2"];

/// A change of what is retained for a name.
#[derive(Clone, Debug)]
struct Change {
    /// `None`: nothing is.
    body: Option<String>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Sent(P, u64),
    Posted(TransactionId),
    Accepted,
    Refused,
    /// The home was lost before it answered.
    Unknown,
}

impl Change {
    fn accepted(body: Option<String>) -> Self {
        Self { body, fate: Fate::Accepted }
    }
}

#[derive(Debug)]
struct Sent {
    to: &'static str,
    handle: Option<(P, u64)>,
    is_wanted: bool,
}

#[derive(Debug, Default)]
struct Session {
    consumer: Option<C>,
    done: BTreeSet<String>,
    /// Given to a consumer; whether its home heard what became of it is open.
    open: BTreeSet<String>,
    /// Accepted on another node than the home's, which may not have heard of it yet.
    unheard: BTreeSet<String>,
}

struct Run {
    bed: Bed,
    random: fastrand::Rng,
    seed: u64,
    /// One on each shard.
    producers: Vec<P>,
    changes: BTreeMap<&'static str, Vec<Change>>,
    /// Questions that are not answered: for each name the last change that was accepted when it was asked.
    questions: BTreeMap<u64, BTreeMap<&'static str, usize>>,
    sent: BTreeMap<String, Sent>,
    accepted: BTreeSet<String>,
    sessions: Vec<Session>,
    claims: BTreeSet<&'static str>,
    sharers: Vec<C>,
    /// Consumers that begin with what is retained.
    watchers: Vec<C>,
    /// The store refused something of the shared subscription, so that it is not known what is claimed.
    unsure: bool,
    load_failed: bool,
    number: u64,
}

impl Run {
    fn new(seed: u64, nodes: &[u16]) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let memory = if random.bool() { 30 } else { 1 << 20 };
        let limits = CoreLimits { link_credit: 10, stored_memory_bytes: memory, ..CoreLimits::default() };
        let mut bed = fleet_with(nodes, &limits);
        bed.set("t", topic());
        let mut run = Self {
            bed,
            random,
            seed,
            producers: Vec::new(),
            changes: NAMES.iter().map(|name| (*name, vec![Change::accepted(None)])).collect(),
            questions: BTreeMap::new(),
            sent: BTreeMap::new(),
            accepted: BTreeSet::new(),
            sessions: SESSIONS.iter().map(|_| Session::default()).collect(),
            claims: BTreeSet::new(),
            sharers: Vec::new(),
            watchers: Vec::new(),
            unsure: false,
            load_failed: false,
            number: 0,
        };
        run.start();
        for index in 0..SESSIONS.len() {
            run.join(index);
        }
        run
    }

    fn start(&mut self) {
        self.producers = (0..self.bed.cores.len()).map(|shard| self.bed.anonymous(shard)).collect();
    }

    fn shard(&mut self) -> usize {
        self.random.usize(..self.bed.cores.len())
    }

    fn step(&mut self) {
        match self.random.u32(..100) {
            ..18 => self.publish(),
            18..34 => self.change(),
            34..38 if self.is_fleet() => self.change_paths(),
            34..38 => self.change_in_transaction(),
            38..46 => self.ask(),
            46..50 => self.come_or_go(),
            50..56 => self.set_filters(),
            56..62 => self.give_credit(),
            62..76 => self.settle(),
            76..80 => self.share(),
            80..83 => self.watch(),
            83..85 => self.bed.advance(Duration::from_millis(self.random.u64(1..500))),
            85..88 => self.bed.store.held = self.random.bool(),
            88..89 => self.bed.store.fails = self.random.u8(..3) == 0,
            89..90 => {
                self.bed.store.cannot_load = self.random.u8(..4) == 0;
                self.load_failed |= self.bed.store.cannot_load;
            }
            90..93 => {
                self.bed.deliver_mail = self.random.bool();
                self.bed.run();
            }
            _ => self.post_some(),
        }
        self.look();
    }

    fn is_fleet(&self) -> bool {
        self.bed.nodes.len() > 1
    }

    /// Two nodes lose each other, hear of it, or meet again.
    fn change_paths(&mut self) {
        let nodes = self.bed.nodes.len();
        let one = self.random.usize(..nodes);
        let other = (one + self.random.usize(1..nodes)) % nodes;
        match self.random.u8(..4) {
            0 => {
                self.look();
                for session in &mut self.sessions {
                    for body in std::mem::take(&mut session.unheard) {
                        session.done.remove(&body);
                        session.open.insert(body);
                    }
                }
                self.bed.disconnect(one, other);
            }
            1 => self.bed.notice(one, other),
            _ => self.bed.connect(one, other),
        }
    }

    fn body(&mut self) -> String {
        self.number += 1;
        format!("{:06}", self.number)
    }

    fn note_sent(&mut self, body: String, to: &'static str, durable: bool, handle: Option<(P, u64)>) {
        self.sent.insert(body, Sent { to, handle, is_wanted: durable && to == NAMES[0] });
    }

    fn publish(&mut self) {
        let shard = self.shard();
        let producer = self.producers[shard];
        if self.bed.producers[&producer].credit == 0 {
            return;
        }
        let to = NAMES[self.random.usize(..NAMES.len())];
        let (body, durable) = (self.body(), self.random.u8(..4) > 0);
        let incoming = Incoming { to: Some(to), durable, ..self.bed.incoming(&body, false, false) };
        let (handle, _) = self.bed.begin(producer, incoming);
        self.note_sent(body, to, durable, Some((producer, handle)));
    }

    /// The publisher of what is retained for a name, and a change of it.
    fn plan(&mut self) -> (P, &'static str, Retain, String) {
        let index = self.random.usize(..NAMES.len());
        let producer = self.producers[index % self.producers.len()];
        let retain = if self.random.u8(..3) == 0 { Retain::Clear } else { Retain::Keep };
        (producer, NAMES[index], retain, self.body())
    }

    fn change(&mut self) {
        let (producer, to, retain, body) = self.plan();
        if self.bed.producers[&producer].credit == 0 {
            return;
        }
        let durable = self.random.bool();
        let incoming = Incoming { to: Some(to), durable, retain, ..self.bed.incoming(&body, false, false) };
        let (handle, _) = self.bed.begin(producer, incoming);
        self.note_change(to, retain, &body, Fate::Sent(producer, handle));
        self.note_sent(body, to, durable, Some((producer, handle)));
    }

    fn note_change(&mut self, to: &'static str, retain: Retain, body: &str, fate: Fate) {
        let body = (retain == Retain::Keep).then(|| body.to_owned());
        self.changes.get_mut(to).expect("one of them").push(Change { body, fate });
    }

    fn change_in_transaction(&mut self) {
        let shard = self.shard();
        let id = self.bed.cores[shard].declare(self.bed.now).expect("there is room");
        for _ in 0..self.random.u8(1..4) {
            let (producer, to, retain, body) = self.plan();
            if producer.0 != shard || self.bed.producers[&producer].credit == 0 {
                continue;
            }
            let transaction = Some(id);
            let incoming =
                Incoming { to: Some(to), retain, transaction, ..self.bed.incoming(&body, false, false) };
            self.bed.begin(producer, incoming);
            self.note_change(to, retain, &body, Fate::Posted(id));
            self.note_sent(body, to, false, None);
        }
        let fail = self.random.u8(..4) == 0;
        self.bed.cores[shard].discharge(self.bed.now, id, fail).expect("it is open");
        if fail {
            let changes = self.changes.values_mut().flatten();
            changes.filter(|change| change.fate == Fate::Posted(id)).for_each(|one| one.fate = Fate::Refused);
        }
        self.bed.run();
    }

    fn last_accepted(&self) -> BTreeMap<&'static str, usize> {
        let last = |changes: &Vec<Change>| {
            changes.iter().rposition(|change| change.fate == Fate::Accepted).expect("the first one is")
        };
        self.changes.iter().map(|(name, changes)| (*name, last(changes))).collect()
    }

    fn ask(&mut self) {
        let shard = self.shard();
        self.number += 1;
        self.questions.insert(self.number, self.last_accepted());
        let number = self.number;
        self.bed.ask(shard, number, "#", None, 100);
    }

    /// Whether this may be retained for a name, when the change with this index had been accepted.
    fn may_be(&self, name: &str, since: usize, body: Option<&str>) -> bool {
        let is_fit = |change: &Change| change.fate != Fate::Refused && change.body.as_deref() == body;
        self.changes[name][since..].iter().any(is_fit) || (body.is_none() && self.load_failed)
    }

    fn check_page(&self, page: &RetainedPage, since: &BTreeMap<&'static str, usize>) {
        if page.is_unavailable {
            assert!(self.is_fleet() && page.messages.is_empty(), "seed {}: {page:?}", self.seed);
            return;
        }
        assert_eq!(page.next, None, "there is room for all");
        let bodies: BTreeMap<&str, String> =
            page.messages.iter().map(|message| (&*message.name, own(&message.body))).collect();
        for (name, since) in since {
            let body = bodies.get(name).map(String::as_str);
            let seed = self.seed;
            assert!(
                self.may_be(name, *since, body),
                "seed {seed}: {body:?} is retained for {name} since {since}: {:?}",
                self.changes[name]
            );
        }
    }

    fn session_filters(&mut self) -> Vec<&'static str> {
        let mut all = vec![NAMES[0]];
        all.extend(FILTERS.iter().filter(|_| self.random.bool()));
        all
    }

    fn come_or_go(&mut self) {
        let index = self.random.usize(..SESSIONS.len());
        match self.sessions[index].consumer.take() {
            Some(consumer) => {
                self.bed.remove_consumer(consumer);
            }
            None => self.join(index),
        }
    }

    fn join(&mut self, index: usize) {
        let shard = self.shard();
        let all = self.session_filters();
        let wanted = SubscriptionOptions { durable_only: true, ..session(SESSIONS[index], &all) };
        // Another shard may not have heard yet that the last one has left.
        self.sessions[index].consumer = self.bed.consumer_with(shard, "t", with(wanted), 0).ok();
    }

    fn set_filters(&mut self) {
        let all = self.session_filters();
        let index = self.random.usize(..SESSIONS.len());
        if let Some((shard, key)) = self.sessions[index].consumer {
            self.bed.cores[shard].set_filters(self.bed.now, key, filters(&all)).expect("they are filters");
            self.bed.run();
        }
    }

    fn give_credit(&mut self) {
        let index = self.random.usize(..SESSIONS.len());
        if let Some(consumer) = self.sessions[index].consumer {
            self.bed.credit(consumer, self.random.u32(..12), self.random.u8(..4) == 0);
        }
    }

    fn settle(&mut self) {
        let index = self.random.usize(..SESSIONS.len());
        let Some(consumer) = self.sessions[index].consumer else { return };
        let state = &self.bed.consumers[&consumer];
        let open = |one: &super::bed::Received| !one.settled && one.updates.is_empty();
        let open: Vec<usize> = (0..state.received.len()).filter(|one| open(&state.received[*one])).collect();
        if open.is_empty() || state.closed.is_some() {
            return;
        }
        let which = open[self.random.usize(..open.len())];
        let body = own(&state.received[which].body);
        let outcome = match self.random.u8(..8) {
            0 => Outcome::Released,
            1 => Outcome::FAILED,
            _ => Outcome::Accepted,
        };
        if outcome == Outcome::Accepted {
            let seed = self.seed;
            let (here, home) = (self.bed.node_of(consumer.0), self.bed.home_node("t"));
            let path = self.bed.path(here, home);
            let session = &mut self.sessions[index];
            let is_first = session.done.insert(body.clone());
            assert!(is_first, "seed {seed}: {body} came twice to session {index}");
            if path != Path::Open {
                session.done.remove(&body);
                session.open.insert(body);
            } else if here != home {
                session.unheard.insert(body);
            }
        }
        self.bed.consumers.get_mut(&consumer).expect("there").received[which].settled = true;
        self.bed.settle(consumer, which, Some(outcome), true);
    }

    /// Comes to the shared subscription, leaves it, or gives a claim up.
    fn share(&mut self) {
        let index = self.random.usize(..CLAIMS.len());
        // All that is said about one claim comes from one shard.
        let shard = index % self.bed.cores.len();
        match self.random.u8(..4) {
            0 => {
                self.bed.cores[shard].end_durable(self.bed.now, "t", SHARE, Some(CLAIMS[index]));
                self.claims.remove(CLAIMS[index]);
                self.bed.run();
            }
            1 if !self.sharers.is_empty() => {
                let consumer = self.sharers.swap_remove(self.random.usize(..self.sharers.len()));
                self.bed.remove_consumer(consumer);
            }
            other => {
                let claim = (other == 2).then_some(CLAIMS[index]);
                if let Ok(consumer) = self.bed.consumer_with(shard, "t", with(share(SHARE, claim)), 0) {
                    self.sharers.push(consumer);
                    self.claims.extend(claim);
                } else {
                    self.unsure = true;
                }
            }
        }
    }

    /// Comes to see what is retained and what follows, or leaves.
    fn watch(&mut self) {
        if self.watchers.len() > 2 {
            let watcher = self.watchers.remove(0);
            self.bed.remove_consumer(watcher);
        }
        let (shard, credit) = (self.shard(), self.random.u32(..8));
        let options = ConsumerOptions { retained: true, settled: true, ..ConsumerOptions::default() };
        self.watchers.extend(self.bed.consumer_with(shard, "t/#", options, credit));
    }

    /// What is retained comes to a watcher at most once for each name.
    fn check_watchers(&self) {
        for watcher in &self.watchers {
            let mut seen = BTreeSet::new();
            for one in &self.bed.consumers[watcher].received {
                let body = own(&one.body);
                let to = self.sent[&body].to;
                let is_first = seen.insert((to, one.redelivery.retained));
                let seed = self.seed;
                assert!(is_first || !one.redelivery.retained, "seed {seed}: {to} twice");
            }
        }
    }

    fn post_some(&mut self) {
        for _ in 0..self.random.u8(1..6) {
            let pairs: Vec<(usize, usize)> =
                self.bed.mail.iter().filter(|(_, mail)| !mail.is_empty()).map(|(pair, _)| *pair).collect();
            match pairs.as_slice() {
                [] => {
                    self.bed.store_answers();
                }
                pairs => self.bed.post_mail(pairs[self.random.usize(..pairs.len())]),
            }
        }
    }

    /// Takes note of what there is to be told.
    fn look(&mut self) {
        if self.bed.mail.values().all(VecDeque::is_empty) {
            self.sessions.iter_mut().for_each(|session| session.unheard.clear());
        }
        for (body, sent) in &mut self.sent {
            let Some((producer, handle)) = sent.handle else { continue };
            if let Some(outcome) = self.bed.outcome(producer, handle) {
                sent.handle = None;
                if outcome == Outcome::Accepted {
                    self.accepted.insert(body.clone());
                }
            }
        }
        for change in self.changes.values_mut().flatten() {
            let fate = match change.fate {
                Fate::Sent(producer, handle) => {
                    self.bed.outcome(producer, handle).map(|outcome| match outcome {
                        Outcome::Accepted => Fate::Accepted,
                        Outcome::Modified { .. } => Fate::Unknown,
                        _ => Fate::Refused,
                    })
                }
                Fate::Posted(id) => {
                    let result = self.bed.discharged.get(&id);
                    result.map(|result| if result.is_ok() { Fate::Accepted } else { Fate::Refused })
                }
                Fate::Accepted | Fate::Refused | Fate::Unknown => None,
            };
            change.fate = fate.unwrap_or(change.fate);
        }
        for (number, page) in std::mem::take(&mut self.bed.retained) {
            let since = self.questions.remove(&number).expect("asked and not answered");
            self.check_page(&page, &since);
        }
        self.check_watchers();
        for session in &mut self.sessions {
            if let Some(consumer) = session.consumer.filter(|one| self.bed.consumers[one].closed.is_some()) {
                self.bed.remove_consumer(consumer);
                session.consumer = None;
            }
        }
        let bed = &mut self.bed;
        self.sharers.retain(|consumer| {
            let is_open = bed.consumers[consumer].closed.is_none();
            if !is_open {
                bed.remove_consumer(*consumer);
                self.unsure = true;
            }
            is_open
        });
    }

    fn rest(&mut self) {
        for (one, other) in self.bed.paths.keys().copied().collect::<Vec<_>>() {
            self.bed.connect(one, other);
        }
        self.bed.deliver_mail = true;
        self.bed.store.held = false;
        self.bed.store.fails = false;
        self.bed.store.cannot_load = false;
        self.bed.run();
        // What could not be read is tried again later.
        for _ in 0..4 {
            self.bed.advance(Duration::from_secs(64));
        }
        self.look();
        self.load_failed = false;
        assert!(self.questions.is_empty(), "seed {}: {:?}", self.seed, self.questions);
        for change in self.changes.values().flatten() {
            let is_over = matches!(change.fate, Fate::Accepted | Fate::Refused | Fate::Unknown);
            assert!(is_over && (self.is_fleet() || change.fate != Fate::Unknown), "{change:?}");
        }
        self.ask();
        assert!(self.bed.retained.values().all(|page| !page.is_unavailable), "all nodes are there");
        self.look();
        assert!(self.questions.is_empty(), "seed {}: {:?}", self.seed, self.questions);
        if !self.unsure {
            let is_there = !self.claims.is_empty() || !self.sharers.is_empty();
            assert_eq!(self.bed.session_named(SHARE).is_some(), is_there, "seed {}", self.seed);
        }
    }

    fn crash(mut self) -> Self {
        self.look();
        self.questions.clear();
        for session in &mut self.sessions {
            session.consumer = None;
            session.open.append(&mut session.done);
        }
        for sent in self.sent.values_mut() {
            sent.handle = None;
        }
        self.sharers.clear();
        self.watchers.clear();
        // What was said of claims may not have come to their home.
        self.unsure = true;
        let since = self.last_accepted();
        self.bed = self.bed.restart(&[("t", topic())]);
        self.load_failed = false;
        self.bed.store.fails = false;
        self.bed.store.cannot_load = false;
        self.bed.store.held = false;
        self.bed.ask(0, 0, "#", None, 100);
        let page = self.bed.retained.remove(&0).expect("an answer");
        self.check_page(&page, &since);
        for (name, changes) in &mut self.changes {
            let message = page.messages.iter().find(|message| &*message.name == *name);
            *changes = vec![Change::accepted(message.map(|message| own(&message.body)))];
        }
        self.start();
        self
    }

    fn finish(mut self) {
        self.rest();
        let seed = self.seed;
        let sharers = std::mem::take(&mut self.sharers);
        for consumer in std::mem::take(&mut self.watchers).into_iter().chain(sharers) {
            self.bed.remove_consumer(consumer);
        }
        for (index, subscription) in SESSIONS.into_iter().enumerate() {
            if let Some(consumer) = self.sessions[index].consumer.take() {
                self.bed.remove_consumer(consumer);
            }
            self.join(index);
            let consumer = self.sessions[index].consumer.expect("let in");
            self.bed.credit(consumer, 100_000, true);
            let state = &self.bed.consumers[&consumer];
            let found: Vec<String> = state.received.iter().map(|one| own(&one.body)).collect();
            let session = &self.sessions[index];
            let mut all = BTreeSet::new();
            for body in &found {
                assert!(all.insert(body), "seed {seed}: {body} is twice in session {index}");
                assert!(!session.done.contains(body), "seed {seed}: {body} was settled in session {index}");
            }
            for body in self.accepted.iter().filter(|body| self.sent[*body].is_wanted) {
                let is_there =
                    all.contains(body) || session.done.contains(body) || session.open.contains(body);
                assert!(is_there, "seed {seed}: session {index} lost {body}");
            }
            for which in 0..found.len() {
                self.bed.accept(consumer, which);
            }
            self.bed.remove_consumer(consumer);
            self.bed.cores[0].end_durable(self.bed.now, "t", subscription, None);
        }
        for claim in CLAIMS {
            self.bed.cores[0].end_durable(self.bed.now, "t", SHARE, Some(claim));
        }
        self.bed.run();
        let home = self.bed.home_of("t");
        let left = self.bed.cores[home].durable_subscriptions();
        assert!(left.is_empty(), "seed {seed}: {left:?}");
        self.bed.cores[home].clear_retained(self.bed.now, "t", "#").expect("it is there");
        self.bed.run();
        for store in std::iter::once(&self.bed.store).chain(&self.bed.stores) {
            assert!(store.messages.is_empty(), "seed {seed}: {:?}", store.messages);
            let keys: Vec<u8> = store.objects.keys().filter_map(|key| key.first().copied()).collect();
            let is_clean = store.undeleted > 0 || keys.iter().all(|key| *key == b'r');
            assert!(is_clean, "seed {seed}: {:?}", store.objects);
        }
        if self.is_fleet() {
            self.bed.check_peers();
        }
        for core in &self.bed.cores {
            core.check_stored_idle();
            assert_eq!(core.stored_memory(), 0, "seed {seed}");
        }
        self.bed.clear();
    }
}

/// The body as it was sent, without notes.
fn own(body: &[u8]) -> String {
    String::from_utf8_lossy(body).split(' ').next().unwrap_or_default().to_owned()
}

fn rounds(shards: u16, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut run = Run::new(seed, &[shards]);
        for _ in 0..200 {
            run.step();
        }
        for _ in 0..seed % 3 {
            run = run.crash();
            for index in 0..SESSIONS.len() {
                if run.random.bool() {
                    run.join(index);
                }
            }
            for _ in 0..150 {
                run.step();
            }
        }
        run.finish();
    }
}

#[test]
fn on_one_shard_sessions_and_retained_messages_are_what_was_accepted() {
    rounds(1, 0..300);
}

#[test]
fn on_two_shards_sessions_and_retained_messages_are_what_was_accepted() {
    rounds(2, 1_000..1_400);
}

#[test]
fn on_three_shards_sessions_and_retained_messages_are_what_was_accepted() {
    rounds(3, 2_000..2_400);
}

#[test]
fn in_a_fleet_that_falls_apart_and_meets_again_sessions_lose_nothing_that_was_accepted() {
    for_each_seed(3_000..3_300, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let nodes: Vec<u16> = (0..random.usize(2..5)).map(|_| random.u16(1..=3)).collect();
        let mut run = Run::new(seed, &nodes);
        for _ in 0..400 {
            run.step();
        }
        run.finish();
    });
}
