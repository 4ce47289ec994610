//! Questions for what topics retain, and subscriptions that begin with it.
//!
//! A question goes to the topic's home and is answered with a page. The first page of a subscriber has to
//! have everything that was published before the publisher's shard knew of the subscriber. So the asker's
//! shard sends a *fence* through every other one: what that had sent to the home is there before it.
//!
//! ```text
//! asker's shard             every other shard                 home
//!   live subscription ────▶ knows of it
//!   AskRetained ────────────────────────────────────────────▶ waits for the fences
//!   Fence ────────────────▶ Fenced ─────────────────────────▶ waits for the store
//!             ◀──────────────────────────────────── Page ──── loads bodies
//! ```
//!
//! A fence ends with either of the two channels that it takes. So a question that waits for fences is asked
//! again when the asker loses a shard, and when another shard says that it has lost the home (`FencesLost`).
//! `AskRetained` of one asker come in order, so a fence for an earlier question than the last is nobody's
//! when that question is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::home::QueueHome;
use super::protocol::{Publication, Source, Wire};
use super::retained::Kept;
use super::{Pending, Stored};
use crate::core::Core;
use crate::delivery::Retain;
use crate::effect::Effect;
use crate::key::{AddressKey, HomeKey};
use crate::settings::ShardId;
use crate::store::{Reference, StoreRequest, Targets, Ticket, UnixMillis};
use crate::topic::{Walk, matches};

/// Messages and bytes of a page at most.
pub(crate) const MAX_PAGE_MESSAGES: u32 = 1_000;
const MAX_PAGE_BYTES: u64 = 1 << 20;

/// Questions that a shard may ask in a millisecond, as a power of two, before their numbers are ahead of time.
const NUMBERS_PER_MILLI: u32 = 8;

/// Names that are looked at for one page.
const STEPS_PER_PAGE: u32 = 10_000;

/// What a subscription is given ahead of its consumers.
const FEED_MESSAGES: u64 = 64;
const FEED_BYTES: u64 = 256 << 10;

/// A question for what a topic retains.
#[derive(Clone, Debug)]
pub struct RetainedQuery {
    /// The caller's name for it, which comes back with the answer.
    pub token: u64,
    /// The topic's address.
    pub topic: Arc<str>,
    /// The names that are wanted.
    pub filter: Arc<str>,
    /// Go on behind this name: [`RetainedPage::next`] of the page before.
    pub after: Option<Arc<str>>,
    /// Messages of the page at most. 0 counts as 1, and more than 1,000 as 1,000.
    pub max_messages: u32,
    /// Bytes of the page's messages at most, but for a single one that has more. More than a MiB counts
    /// as a MiB.
    pub max_bytes: u64,
}

/// Some of what a topic retains, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetainedPage {
    /// May be empty although there is a `next`: then many names were passed that the filter does not match.
    pub messages: Vec<RetainedMessage>,
    /// There may be more behind this name.
    pub next: Option<Arc<str>>,
    /// The home of the topic cannot be reached, or could not be before it had answered: there may be more,
    /// of which nothing is known. Ask again later.
    pub is_unavailable: bool,
}

/// A message that a topic retains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedMessage {
    pub name: Arc<str>,
    pub message_format: u32,
    pub body: Bytes,
    /// It was sent as a durable one. Whatever it was, it is kept over restarts.
    pub durable: bool,
    /// What is left of its time to live, when it has one.
    pub ttl_left: Option<Duration>,
}

/// Who wants to know what a topic retains.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    Shard {
        shard: ShardId,
        /// What the asking shard calls the question.
        number: u64,
    },
    /// A subscription of this shard's topic.
    Subscription(HomeKey),
}

/// A question, at the home.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) asker: Asker,
    pub(crate) filter: Arc<str>,
    pub(crate) after: Option<Arc<str>>,
    pub(crate) max_messages: u32,
    pub(crate) max_bytes: u64,
}

/// What a shard keeps of questions.
#[derive(Debug, Default)]
pub(crate) struct Retrieval {
    /// The last number of a question of this shard, or of a page that is put together here.
    last: u64,
    /// Questions of this shard that are not answered: the home, and the caller's token.
    asked: BTreeMap<u64, Asked>,
    /// Questions that wait for fences, and fences that wait for questions, by asker.
    fenced: BTreeMap<(ShardId, u64), Fenced>,
    /// The last question of each shard that has come.
    last_asked: BTreeMap<ShardId, u64>,
    /// Homes, and who has sent a fence to them through this shard.
    fencing: BTreeSet<(ShardId, ShardId)>,
    /// Pages that wait for bodies.
    gathering: BTreeMap<u64, Gathering>,
}

/// A question of this shard that is not answered.
#[derive(Debug)]
struct Asked {
    home: ShardId,
    query: RetainedQuery,
}

impl Asked {
    fn has_fences(&self) -> bool {
        self.query.after.is_none()
    }
}

#[derive(Debug, Default)]
struct Fenced {
    /// Fences that have not come; negative before the question has.
    missing: i32,
    question: Option<(Arc<str>, Question)>,
}

/// A page that is being put together.
#[derive(Debug)]
struct Gathering {
    topic: HomeKey,
    asker: Asker,
    found: Vec<Found>,
    next: Option<Arc<str>>,
    /// Bodies that are being loaded.
    missing: usize,
}

#[derive(Debug)]
struct Found {
    name: Arc<str>,
    number: u64,
    kept: Kept,
}

/// A subscription that begins with what its topic retains.
#[derive(Debug)]
pub(crate) struct Feeding {
    /// Which of its filters is looked for.
    filter: usize,
    after: Option<Arc<str>>,
    /// Changes with higher numbers came when the subscription was there: it has them by itself.
    last: u64,
    is_asking: bool,
}

impl Feeding {
    pub(super) fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// Which filter is looked for, and behind which name.
    pub(super) fn place(&self) -> (u32, Option<Arc<str>>) {
        (u32::try_from(self.filter).unwrap_or(u32::MAX), self.after.clone())
    }
}

#[cfg(test)]
impl Retrieval {
    pub(crate) fn check_forgotten(&self, gone: ShardId) {
        assert!(self.asked.values().all(|asked| asked.home != gone));
        assert!(self.fenced.keys().all(|(asker, _)| *asker != gone));
        assert!(self.fencing.iter().all(|(home, asker)| *home != gone && *asker != gone));
    }

    pub(crate) fn check_idle(&self) {
        // A fence may be there whose question was lost.
        let is_waiting = self.fenced.values().any(|fenced| fenced.question.is_some());
        assert!(self.asked.is_empty() && !is_waiting && self.gathering.is_empty(), "{self:?}");
    }
}

impl Core {
    // ---- on the asker's shard -------------------------------------------------------------------------

    /// Asks for what a topic retains, from any shard. [`Effect::Retained`] answers, with an empty page when
    /// there is no such topic, or when its home cannot be reached, which the page says.
    ///
    /// Without `after` it is answered only when everything is there, and on disk, that any shard's publishers
    /// had sent before that shard could hear of the live subscriptions that were added here before the call.
    /// So whoever adds a live subscription first and asks then misses nothing. What is published meanwhile
    /// may come both ways.
    pub fn query_retained(&mut self, now: Instant, query: RetainedQuery) {
        self.ask_home(now, query, None);
    }

    /// Asks, with a fence through every shard but one that is gone.
    fn ask_home(&mut self, now: Instant, query: RetainedQuery, gone: Option<ShardId>) {
        self.broker.now = Some(now);
        let address = self.known_address(&query.topic).ok().and_then(|key| self.addresses.get(key));
        let Some(home) = address.and_then(|address| self.reachable_home(address)) else {
            let page = RetainedPage { is_unavailable: address.is_some(), ..RetainedPage::default() };
            return self.effects.push_back(Effect::Retained { token: query.token, page: Box::new(page) });
        };
        // By the clock, so that an answer to a former life of this node is none to a question of this one.
        let clock = self.broker.clock.unix(now).0 << NUMBERS_PER_MILLI;
        let number = clock.max(self.broker.retrieval.last + 1);
        self.broker.retrieval.last = number;
        let question = Question {
            asker: Asker::Shard { shard: self.shard, number },
            filter: query.filter.clone(),
            after: query.after.clone(),
            max_messages: query.max_messages.clamp(1, MAX_PAGE_MESSAGES),
            max_bytes: query.max_bytes.min(MAX_PAGE_BYTES),
        };
        let topic = query.topic.clone();
        let asked = Asked { home, query };
        let mut fences = 0;
        if asked.has_fences() {
            let shards = self.peers.shards().filter(|shard| *shard != home && Some(*shard) != gone);
            for shard in shards.collect::<Vec<_>>() {
                fences += 1;
                self.send_wire(shard, Wire::Fence { home, number });
            }
        }
        self.broker.retrieval.asked.insert(number, asked);
        if home == self.shard {
            self.handle_ask_retained(now, home, number, topic, question, fences);
        } else {
            let ask = Wire::AskRetained { number, topic, question: Box::new(question), fences };
            self.send_wire(home, ask);
        }
    }

    /// Asks again what waits for fences that are lost: of one home, or through a shard that is gone.
    fn ask_again(&mut self, now: Instant, home: Option<ShardId>, gone: Option<ShardId>) {
        let is_due = |asked: &Asked| asked.has_fences() && home.is_none_or(|home| home == asked.home);
        let asked = self.broker.retrieval.asked.iter();
        let due: Vec<u64> = asked.filter(|(_, asked)| is_due(asked)).map(|(number, _)| *number).collect();
        for number in due {
            let Some(Asked { home, query }) = self.broker.retrieval.asked.remove(&number) else { continue };
            if home == self.shard {
                self.handle_unask(home, number);
            } else {
                self.send_wire(home, Wire::Unask { number });
            }
            self.ask_home(now, query, gone);
        }
    }

    /// A topic has another home now: questions that the one of before has not answered go there.
    pub(crate) fn questions_follow(&mut self, now: Instant, key: AddressKey) {
        let Some(address) = self.addresses.get(key) else { return };
        let home = address.home_shard;
        let asked = self.broker.retrieval.asked.iter();
        let due = asked.filter(|(_, asked)| asked.query.topic == address.name && home != Some(asked.home));
        for number in due.map(|(number, _)| *number).collect::<Vec<_>>() {
            let Some(Asked { home, query }) = self.broker.retrieval.asked.remove(&number) else { continue };
            if home == self.shard {
                self.handle_unask(home, number);
            } else {
                self.send_wire(home, Wire::Unask { number });
            }
            self.ask_home(now, query, None);
        }
    }

    /// The channel between another shard and a home has ended, and fences with it.
    pub(crate) fn handle_fences_lost(&mut self, now: Instant, home: ShardId) {
        self.ask_again(now, Some(home), None);
    }

    /// Another shard wants to be sure that the home has all that this one had sent to it before. A home that
    /// cannot be reached from here has nothing from here: the asker tells it so.
    pub(crate) fn handle_fence(&mut self, asker: ShardId, home: ShardId, number: u64) {
        let has_home = self.peers.contains(home);
        if has_home && !(home.is_here() && asker.is_here()) {
            self.broker.retrieval.fencing.insert((home, asker));
        }
        self.send_wire(if has_home { home } else { asker }, Wire::Fenced { asker, number });
    }

    /// A page has come from the home.
    pub(crate) fn handle_page(&mut self, number: u64, page: Box<RetainedPage>) {
        if let Some(asked) = self.broker.retrieval.asked.remove(&number) {
            self.effects.push_back(Effect::Retained { token: asked.query.token, page });
        }
    }

    /// A shard is gone: it answers nothing any more, and no fence comes through it.
    pub(crate) fn retrieval_peer_gone(&mut self, now: Instant, peer: ShardId) {
        let retrieval = &mut self.broker.retrieval;
        let asked = retrieval.asked.iter().filter(|(_, asked)| asked.home == peer);
        let lost: Vec<u64> = asked.map(|(number, _)| *number).collect();
        retrieval.fenced.retain(|(asker, _), _| *asker != peer);
        retrieval.last_asked.remove(&peer);
        let told: Vec<ShardId> =
            retrieval.fencing.iter().filter(|(home, _)| *home == peer).map(|(_, asker)| *asker).collect();
        retrieval.fencing.retain(|(home, asker)| *home != peer && *asker != peer);
        for asker in told.into_iter().filter(|asker| *asker != peer) {
            self.send_wire(asker, Wire::FencesLost { home: peer });
        }
        for number in lost {
            let page = RetainedPage { is_unavailable: true, ..RetainedPage::default() };
            self.handle_page(number, Box::new(page));
        }
        self.ask_again(now, None, Some(peer));
    }

    // ---- at the home ----------------------------------------------------------------------------------

    /// A question has come.
    pub(crate) fn handle_ask_retained(
        &mut self,
        now: Instant,
        from: ShardId,
        number: u64,
        topic: Arc<str>,
        question: Question,
        fences: u16,
    ) {
        let retrieval = &mut self.broker.retrieval;
        retrieval.last_asked.insert(from, number);
        // Questions come in order: those of these fences were lost.
        let stale = retrieval.fenced.range((from, 0)..(from, number));
        let stale: Vec<_> = stale.filter(|(_, one)| one.question.is_none()).map(|(key, _)| *key).collect();
        for key in stale {
            retrieval.fenced.remove(&key);
        }
        let fenced = retrieval.fenced.entry((from, number)).or_default();
        fenced.missing += i32::from(fences);
        fenced.question = Some((topic, question));
        self.pass_fence(now, from, number);
    }

    /// Nobody waits for the answer to a question any more.
    pub(crate) fn handle_unask(&mut self, from: ShardId, number: u64) {
        self.broker.retrieval.fenced.remove(&(from, number));
    }

    /// Everything that a shard had sent before it heard of a question is there.
    pub(crate) fn handle_fenced(&mut self, now: Instant, asker: ShardId, number: u64) {
        if asker == self.shard {
            match self.broker.retrieval.asked.get(&number).map(|asked| asked.home) {
                Some(home) if home != self.shard => {
                    return self.send_wire(home, Wire::Fenced { asker, number });
                }
                Some(_) => {}
                None => return,
            }
        }
        let retrieval = &mut self.broker.retrieval;
        let has_come = retrieval.last_asked.get(&asker).is_some_and(|last| number <= *last);
        if has_come && !retrieval.fenced.contains_key(&(asker, number)) {
            return;
        }
        retrieval.fenced.entry((asker, number)).or_default().missing -= 1;
        self.pass_fence(now, asker, number);
    }

    fn pass_fence(&mut self, now: Instant, asker: ShardId, number: u64) {
        let fenced = &mut self.broker.retrieval.fenced;
        let is_through = fenced
            .get(&(asker, number))
            .is_some_and(|fenced| fenced.missing == 0 && fenced.question.is_some());
        if is_through
            && let Some(Fenced { question: Some((topic, question)), .. }) = fenced.remove(&(asker, number))
        {
            self.ask_at_home(now, &topic, question);
        }
    }

    fn ask_at_home(&mut self, now: Instant, topic: &str, question: Question) {
        match self.home_named(topic) {
            Ok(topic) => self.ask_topic(now, topic, self.broker.last_change, question),
            // It has another home: whoever asks asks again there when it hears of that.
            Err(_) if self.known_address(topic).is_ok() => {}
            Err(_) => self.answer_nothing(&question),
        }
    }

    /// Answers a question once changes up to this number are on disk or never will be.
    fn ask_topic(&mut self, now: Instant, topic: HomeKey, last: u64, question: Question) {
        match self.retained_mut(topic) {
            None => self.answer_nothing(&question),
            Some(retained) if question.after.is_none() && retained.is_under_way(last) => {
                retained.waiting.push_back((last, question));
            }
            Some(_) => self.gather(now, topic, question),
        }
    }

    /// Changes have been answered: so are questions that waited for them.
    pub(super) fn answer_waiting(&mut self, now: Instant, topic: HomeKey) {
        while let Some(retained) = self.retained_mut(topic)
            && let Some((last, _)) = retained.waiting.front()
            && !retained.is_under_way(*last)
            && let Some((_, question)) = retained.waiting.pop_front()
        {
            self.gather(now, topic, question);
        }
    }

    pub(super) fn answer_nothing(&mut self, question: &Question) {
        match question.asker {
            Asker::Shard { .. } => self.send_page(question.asker, Box::default()),
            Asker::Subscription(key) => {
                if let Some(home) = self.queue_home(key) {
                    home.feeding = None;
                }
            }
        }
    }

    /// Puts a page together.
    fn gather(&mut self, now: Instant, topic: HomeKey, question: Question) {
        let unix = self.broker.clock.unix(now);
        let Some(retained) = self.retained(topic) else { return self.answer_nothing(&question) };
        let mut steps = STEPS_PER_PAGE;
        let (mut found, mut bytes) = (Vec::<Found>::new(), 0);
        let mut last = question.after.clone();
        let mut is_over = false;
        while steps > 0 && found.len() < question.max_messages as usize {
            steps -= 1;
            match retained.names.next(&question.filter, last.as_deref(), &mut steps) {
                Walk::Found(name, slot) => {
                    let kept = slot.kept().filter(|kept| kept.expires.is_none_or(|expires| expires > unix));
                    if let Some(kept) = kept {
                        bytes += u64::from(kept.size);
                        if bytes > question.max_bytes && !found.is_empty() {
                            break;
                        }
                        found.push(Found { name: name.clone(), number: slot.last, kept: kept.clone() });
                    }
                    last = Some(name.clone());
                }
                Walk::Stopped(name) => last = Some(name.clone()),
                Walk::End => {
                    is_over = true;
                    break;
                }
            }
        }
        let next = last.filter(|_| !is_over);
        let to_load: Vec<(usize, Reference)> = found
            .iter()
            .enumerate()
            .filter(|(_, found)| found.kept.body.is_none())
            .map(|(index, found)| (index, found.kept.reference))
            .collect();
        let gathering = Gathering { topic, asker: question.asker, found, next, missing: to_load.len() };
        if to_load.is_empty() {
            return self.page_gathered(now, gathering);
        }
        self.broker.retrieval.last += 1;
        let page = self.broker.retrieval.last;
        self.broker.retrieval.gathering.insert(page, gathering);
        for (index, reference) in to_load {
            let pending = self.broker.pending.insert(Pending::LoadRetained { page, index });
            self.ask_store(StoreRequest::Load { ticket: Ticket(pending.to_bits()), reference });
        }
    }

    /// The body of a message of a page is here, or cannot be read: then the page is without it.
    pub(super) fn retained_loaded(&mut self, now: Instant, page: u64, index: usize, body: Option<Bytes>) {
        let Some(gathering) = self.broker.retrieval.gathering.get_mut(&page) else { return };
        gathering.missing -= 1;
        if let Some(found) = gathering.found.get_mut(index) {
            found.kept.body = body;
        }
        if gathering.missing == 0
            && let Some(gathering) = self.broker.retrieval.gathering.remove(&page)
        {
            self.page_gathered(now, gathering);
        }
    }

    fn page_gathered(&mut self, now: Instant, gathering: Gathering) {
        let unix = self.broker.clock.unix(now);
        let Gathering { topic, asker, found, next, .. } = gathering;
        if let Asker::Subscription(key) = asker {
            return self.feed(now, topic, key, found, next);
        }
        let message = |found: Found| {
            Some(RetainedMessage {
                name: found.name,
                message_format: found.kept.message_format,
                body: found.kept.body?,
                durable: found.kept.durable,
                ttl_left: found.kept.expires.map(|expires| left(unix, expires)),
            })
        };
        let messages = found.into_iter().filter_map(message).collect();
        self.send_page(asker, Box::new(RetainedPage { messages, next, is_unavailable: false }));
    }

    fn send_page(&mut self, asker: Asker, page: Box<RetainedPage>) {
        match asker {
            Asker::Shard { shard, number } if shard == self.shard => self.handle_page(number, page),
            Asker::Shard { shard, number } => self.send_wire(shard, Wire::RetainedPage { number, page }),
            Asker::Subscription(_) => {}
        }
    }

    // ---- subscriptions that begin with what is retained -----------------------------------------------

    /// A new subscription is to begin with what its topic retains.
    pub(super) fn begin_feeding(&mut self, now: Instant, topic: HomeKey, key: HomeKey) {
        if self.retained(topic).is_none() {
            return;
        }
        let last = self.broker.last_change;
        if let Some(home) = self.queue_home(key) {
            home.feeding = Some(Box::new(Feeding { filter: 0, after: None, last, is_asking: false }));
        }
        self.feed_more(now, key);
    }

    /// A subscription that has come with its topic goes on being given what that retains.
    pub(super) fn go_on_feeding(
        &mut self,
        now: Instant,
        key: HomeKey,
        filter: usize,
        after: Option<Arc<str>>,
    ) {
        let last = self.broker.last_change;
        if let Some(home) = self.queue_home(key) {
            home.feeding = Some(Box::new(Feeding { filter, after, last, is_asking: false }));
            self.mark_home(now, key);
        }
    }

    /// Asks for more of what is retained when a subscription has room for it.
    pub(super) fn feed_more(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.queue_home(key) else { return };
        let room = feed_room(home);
        let Some(feeding) = home.feeding.as_mut().filter(|feeding| !feeding.is_asking) else { return };
        let Some(subscription) = &home.subscription else { return };
        let Some(filter) = subscription.filters.get(feeding.filter).cloned() else {
            home.feeding = None;
            return;
        };
        if room == 0 {
            return;
        }
        feeding.is_asking = true;
        let (topic, last) = (subscription.topic, feeding.last);
        let question = Question {
            asker: Asker::Subscription(key),
            filter,
            after: feeding.after.clone(),
            max_messages: room,
            max_bytes: FEED_BYTES,
        };
        self.ask_topic(now, topic, last, question);
    }

    /// Puts what is retained into a subscription.
    fn feed(
        &mut self,
        now: Instant,
        topic: HomeKey,
        key: HomeKey,
        found: Vec<Found>,
        next: Option<Arc<str>>,
    ) {
        let Some(home) = self.queue_home(key) else { return };
        let (Some(feeding), Some(subscription)) = (&mut home.feeding, &home.subscription) else { return };
        let filters = subscription.filters.clone();
        let (filter, last) = (feeding.filter, feeding.last);
        feeding.is_asking = false;
        feeding.filter += usize::from(next.is_none());
        feeding.after = next;
        for found in found {
            let is_earlier = filters.iter().take(filter).any(|filter| matches(filter, &found.name));
            // What has come since the subscription has by itself.
            let slot = self.retained(topic).and_then(|retained| retained.names.get(&found.name));
            let is_current = found.number <= last && slot.is_some_and(|slot| slot.last == found.number);
            if !is_earlier && is_current {
                self.give_retained(now, key, found);
            }
        }
        self.mark_home(now, key);
    }

    fn give_retained(&mut self, now: Instant, key: HomeKey, found: Found) {
        let Kept { message_format, priority, durable, arrived, expires, owner, body, .. } = found.kept;
        let Some(body) = body else { return };
        let publication = Publication {
            source: Source::Nobody,
            origin: None,
            owner,
            name: Some(found.name),
            message_format,
            body,
            is_slice: false,
            priority,
            durable,
            arrived,
            expires,
            not_before: None,
            transaction: None,
            routed: true,
            retain: Retain::No,
            given: true,
            moved: None,
            handover: None,
        };
        if !self.wants(key, &publication) {
            return;
        }
        let keys = self.keys_for(key, &publication);
        if let Ok((entry, Some(queue))) = self.place_in_queue(now, key, &publication, &keys) {
            let entries = Stored::One(key, entry);
            self.append_to_store(publication, &keys, Targets::One(queue), entries, None);
        }
    }
}

/// Messages that a subscription may be given now.
fn feed_room(home: &QueueHome) -> u32 {
    let held = home.queue.messages();
    let limit = match home.queue.settings().max_messages {
        0 => FEED_MESSAGES,
        limit => limit.min(FEED_MESSAGES),
    };
    u32::try_from(limit.saturating_sub(held)).unwrap_or(u32::MAX)
}

/// What is left of a time to live.
fn left(now: UnixMillis, expires: UnixMillis) -> Duration {
    Duration::from_millis(expires.0.saturating_sub(now.0))
}
