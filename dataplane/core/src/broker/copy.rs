//! A topic that changes its home, at the home that it leaves.
//!
//! That home goes on doing everything: it takes publications, lets links in, answers questions. Meanwhile it
//! makes a *copy* of what it holds at the next home: subscriptions with their claims, their messages, and what
//! is retained. The copy shows nowhere. What changes in the meantime is copied behind what it changes.
//! When nothing is left to copy the home *stops*: it hands out nothing, and what comes in waits. That lasts until
//! the next home has the copy on disk, and the address says that it is the home. Then the links go there, and what
//! has waited is sent there.
//!
//! ```text
//! home                                                     next home
//!   CopyBegin ───────────────────────────────────────────▶ forgets an earlier copy
//!             ◀──────────────────────────────── CopyReady
//!   CopySubscription, CopyVolatile,
//!   Publish (Copy), CopyGone ────────────────────────────▶ keeps them
//!             ◀─────────────────────────────────── Answer
//!   stops
//!   CopyHeld, CopyComplete ──────────────────────────────▶ writes down that it has everything
//!             ◀──────────────────────────── CopyCompleted
//!   `Emptied`: the address names the next home
//!   forgets, sends on what waited                          serves
//!   CopyGone, CopyBack ──────────────────────────────────▶ what consumers still had
//! ```
//!
//! Until the address names the next home, the copy counts for nothing: after a crash of either node, or when
//! they lose each other, it is made anew, and nothing is lost or delivered again. A message that a consumer
//! has when the topic goes stays settled at the home of before; its copy is out of reach until that says
//! that it is gone, or has been given back.
//!
//! Subscriptions that are not durable come along with what waits in them. The next home knows the links that
//! consume from them, and has them go on when these come; those whose links do not come end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Pending;
use super::forward::{Forward, To};
use super::home::{Home, QueueHome, What};
use super::protocol::{
    CopiedSubscription, CopiedVolatile, Destination, Feed, GivenBack, Link, Moved, Part, Posts, Publication,
    ReceiverOptions, Source, Wire,
};
use super::record::{Travel, TravelRecord};
use super::topic::{Kind, Subscription, TopicHome};
use super::transaction::PartKey;
use crate::consumer::SubscriptionOptions;
use crate::core::Core;
use crate::delivery::Retain;
use crate::effect::Effect;
use crate::key::{AddressKey, ForwardKey, HomeKey, ReceiverKey};
use crate::outcome::Outcome;
use crate::queue::{EntryKey, Places};
use crate::settings::ShardId;
use crate::store::{Reference, StoreRequest, Ticket, UnixMillis};
use crate::wire::MAX_COPIED;

/// Messages that are on their way to the next home at a time.
const UNDER_WAY: u32 = 512;

/// Steps of a copy before others get their turn.
const STEPS: u32 = 1_024;

/// How long a copy waits before it begins anew.
const PAUSE: Duration = Duration::from_millis(250);

/// How long a topic that has stopped waits for consumers to settle what they have.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long a topic stands still before it goes on where it is, and how long it does so before it tries again.
const LONGEST_STOP: Duration = Duration::from_secs(5);

/// How often the node is told that a topic has a whole copy, until the address says so.
const SAY_AGAIN: Duration = Duration::from_secs(1);

/// The copy of a topic that has another home soon.
#[derive(Debug)]
pub(crate) struct Copying {
    /// The next home, as far as this shard knows.
    to: Option<ShardId>,
    /// Names this attempt.
    round: u64,
    stage: Stage,
    paused_until: Option<UnixMillis>,
    /// Since when it has stopped.
    stopped: Option<UnixMillis>,
    /// When the node was told last that the copy is complete.
    said: Option<UnixMillis>,
    /// Messages that the next home has not answered, or whose bodies are being loaded.
    under_way: u32,
    /// Subscriptions of which something is to be copied.
    due: VecDeque<HomeKey>,
    /// Names of which what is retained is to be copied: first all, then those that change.
    names: VecDeque<Arc<str>>,
    changed: BTreeSet<Arc<str>>,
    /// What has come since it stopped.
    waiting: VecDeque<Late>,
    /// Shards that wait until what they have sent has been sent on, each with its number for that.
    asked: Vec<(ShardId, u64)>,
}

/// Where a copy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The next home is to be asked.
    Waiting,
    /// It has been asked.
    Asking,
    Copying,
    /// Nothing changes any more but what consumers settle.
    Stopped,
    /// The next home has been told that this is all.
    Completing,
    /// It has everything on disk; this one has not written that down yet.
    Leaving,
    Complete,
}

/// What comes to a topic that has stopped.
#[derive(Debug)]
pub(crate) enum Late {
    /// For the topic, or for one of its subscriptions.
    Publication {
        home: HomeKey,
        publication: Box<Publication>,
    },
    Filters {
        receiver: ReceiverKey,
        filters: super::topic::Filters,
    },
    End {
        name: Arc<str>,
        claim: Option<Arc<str>>,
    },
    /// What a transaction posts here, to this topic and perhaps others.
    Prepare {
        part: PartKey,
        across: bool,
        posts: Posts,
    },
}

/// A shard that waits until what it has sent has come to where it was sent on to.
#[derive(Debug)]
pub(crate) struct Passing {
    to: ShardId,
    shard: ShardId,
    number: u64,
}

/// What has been copied of one subscription.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// The next home knows what it is now.
    is_told: bool,
    is_due: bool,
    /// Nothing is handed out from it.
    is_still: bool,
    places: Places,
    /// On their way, in order; a body may have to be loaded first.
    lined_up: VecDeque<(EntryKey, Option<Bytes>)>,
    /// Those that are at the next home.
    entries: BTreeMap<EntryKey, Sent>,
    /// Those of them that were out of reach when the copy was complete.
    held: BTreeSet<EntryKey>,
    /// The next home is the home now.
    left: Option<Left>,
}

/// Where a subscription has gone.
#[derive(Clone, Debug)]
struct Left {
    to: ShardId,
    /// The topic's address, and what is here of it.
    name: Arc<str>,
    topic: HomeKey,
    /// Its own name, if it is one that a client can end.
    own: Option<Arc<str>>,
}

/// An entry as the next home knows it.
#[derive(Debug)]
struct Sent {
    number: u64,
    delivery_count: u32,
    annotations: Option<Bytes>,
}

/// What a body is loaded for.
#[derive(Debug)]
pub(crate) enum CopyOf {
    Entry(HomeKey, EntryKey),
    Retained { name: Arc<str>, number: u64 },
}

impl Copying {
    fn new(to: Option<ShardId>) -> Self {
        Self {
            to,
            round: 0,
            stage: Stage::Waiting,
            paused_until: None,
            stopped: None,
            said: None,
            under_way: 0,
            due: VecDeque::new(),
            names: VecDeque::new(),
            changed: BTreeSet::new(),
            waiting: VecDeque::new(),
            asked: Vec::new(),
        }
    }

    /// Whether what comes in waits.
    pub(crate) fn has_stopped(&self) -> bool {
        !matches!(self.stage, Stage::Waiting | Stage::Asking | Stage::Copying)
    }

    fn has_stopped_for_long(&self, unix: UnixMillis) -> bool {
        self.stopped.is_some_and(|since| later(since, LONGEST_STOP) <= unix)
    }

    fn is_at(&self, stage: Stage, round: u64) -> bool {
        self.stage == stage && self.round == round
    }

    /// Whether the next home is being sent things.
    fn is_going_on(&self) -> bool {
        !matches!(self.stage, Stage::Waiting | Stage::Asking)
    }
}

impl Copied {
    /// Whether nothing is handed out from the queue.
    pub(crate) fn is_still(&self) -> bool {
        self.is_still
    }
}

impl Core {
    fn copying(&mut self, topic: HomeKey) -> Option<&mut Copying> {
        self.broker.homes.get_mut(topic)?.topic_mut()?.copying.as_deref_mut()
    }

    fn copied_mut(&mut self, key: HomeKey) -> Option<&mut Copied> {
        self.queue_home(key)?.copied.as_deref_mut()
    }

    /// Whether what a topic here holds may not change now.
    pub(crate) fn has_stopped(&self, topic: HomeKey) -> bool {
        match self.broker.homes.get(topic).map(|home| &home.what) {
            Some(What::Topic(topic)) => topic.copying.as_ref().is_some_and(|copying| copying.has_stopped()),
            _ => false,
        }
    }

    // ---- when the address changes -----------------------------------------------------------------------

    /// The address of a topic has been set: its home is here, or is to be here, or neither any more.
    pub(crate) fn follow_topic(&mut self, now: Instant, key: AddressKey) {
        let Some(address) = self.addresses.get(key) else { return };
        let (home_shard, next, is_moving) =
            (address.home_shard, address.next, address.settings.moving_from.is_some());
        let Some(home) = address.home else { return };
        let is_here = home_shard == Some(self.shard);
        if let Some(address) = self.addresses.get_mut(key) {
            address.has_left &= !is_here;
        }
        let Some(topic) = self.broker.homes.get_mut(home).and_then(Home::topic_mut) else { return };
        topic.serves = is_here;
        if is_here {
            self.serve_arrived(now, home);
            match is_moving {
                true => self.copy_to(now, home, next),
                false => self.end_copy(now, home),
            }
        } else if next == Some(self.shard) {
            self.expect_topic(now, home);
        } else {
            self.forget_arriving(now, home);
            let Some(copying) = self.copying(home) else { return self.end_if_left(now, home) };
            match copying.stage {
                Stage::Complete => self.leave_topic(now, home, home_shard),
                // Somebody has decided without this node: what is here goes there all the same.
                _ => self.copy_to(now, home, home_shard),
            }
        }
        self.mark_home(now, home);
    }

    /// A topic here is to be copied there.
    fn copy_to(&mut self, now: Instant, topic: HomeKey, to: Option<ShardId>) {
        let Some(home) = self.broker.homes.get_mut(topic).and_then(Home::topic_mut) else { return };
        let copying = home.copying.get_or_insert_with(|| Box::new(Copying::new(to)));
        if copying.to != to {
            copying.to = to;
            self.begin_anew(now, topic);
        }
        self.mark_home(now, topic);
    }

    /// A topic stays here after all.
    fn end_copy(&mut self, now: Instant, topic: HomeKey) {
        if self.copying(topic).is_none() {
            return;
        }
        self.begin_anew(now, topic);
        let home = self.broker.homes.get_mut(topic).and_then(Home::topic_mut);
        let copying = home.and_then(|home| home.copying.take());
        for (shard, number) in copying.map(|copying| copying.asked).unwrap_or_default() {
            self.say_passed(now, shard, number);
        }
    }

    /// Gives up what has been copied. The topic goes on as if there had been nothing.
    fn begin_anew(&mut self, now: Instant, topic: HomeKey) {
        let forwards = self.broker.forwards.iter();
        let forwards =
            forwards.filter(|(_, one)| matches!(one.to, To::Copied { topic: of, .. } if of == topic));
        for key in forwards.map(|(key, _)| key).collect::<Vec<_>>() {
            self.broker.forwards.remove(key);
        }
        let pause = later(self.broker.clock.unix(now), PAUSE);
        let Some(name) = self.broker.homes.get(topic).map(|home| home.name.clone()) else { return };
        let Some(copying) = self.copying(topic) else { return };
        let (waiting, asked) = (std::mem::take(&mut copying.waiting), std::mem::take(&mut copying.asked));
        let is_written = matches!(copying.stage, Stage::Leaving | Stage::Complete);
        *copying = Copying { paused_until: Some(pause), asked, ..Copying::new(copying.to) };
        self.wake_topic_at(topic, pause);
        if is_written {
            self.delete_object(TravelRecord::key(&name));
        }
        for key in self.subscriptions_of(topic) {
            if let Some(home) = self.queue_home(key) {
                home.copied = None;
            }
            self.mark_home(now, key);
            // Its link may have left meanwhile.
            self.end_if_unused(now, key);
        }
        self.tell_blocked(topic);
        self.mark_home(now, topic);
        for late in waiting {
            self.take_late(now, topic, late);
        }
    }

    fn subscriptions_of(&self, topic: HomeKey) -> Vec<HomeKey> {
        match self.broker.homes.get(topic).map(|home| &home.what) {
            Some(What::Topic(topic)) => topic.subscriptions.iter().copied().collect(),
            _ => Vec::new(),
        }
    }

    /// Has a topic looked at, at a time.
    pub(super) fn wake_topic_at(&mut self, topic: HomeKey, at: UnixMillis) {
        self.broker.timers.insert((at, topic));
    }

    // ---- what comes while the topic has stopped -----------------------------------------------------------

    /// Keeps for later what comes to a topic that has stopped; gives it back when the topic has not.
    pub(crate) fn wait_if_stopped(&mut self, topic: HomeKey, late: Late) -> Option<Late> {
        match self.copying(topic).filter(|copying| copying.has_stopped()) {
            Some(copying) => {
                copying.waiting.push_back(late);
                None
            }
            None => Some(late),
        }
    }

    /// Takes a publication for a topic that is not served here, or not now; gives it back when it is.
    pub(crate) fn divert(
        &mut self,
        now: Instant,
        key: HomeKey,
        publication: Publication,
    ) -> Option<Publication> {
        let home = self.broker.homes.get_mut(key)?;
        let (address, serves) = (home.address, home.topic_mut().is_some_and(|topic| topic.serves));
        if serves {
            let late = Late::Publication { home: key, publication: Box::new(publication) };
            return match self.wait_if_stopped(key, late)? {
                Late::Publication { publication, .. } => Some(*publication),
                Late::Filters { .. } | Late::End { .. } | Late::Prepare { .. } => None,
            };
        }
        match address {
            Some(address) => self.publish_elsewhere(now, address, publication),
            None => self.answer(publication.source, Outcome::Released),
        }
        None
    }

    /// Takes a publication for a subscription that stands still with its topic, or has left with it.
    pub(crate) fn divert_from_still(&mut self, now: Instant, key: HomeKey, publication: Publication) {
        let Some(home) = self.broker.homes.get_mut(key) else { return };
        let (address, queue) = (home.address, home.queue());
        let topic = queue.and_then(|queue| queue.subscription.as_ref()).map(|one| one.topic);
        let source = publication.source;
        match (topic, address) {
            (Some(topic), _) => {
                let late = Late::Publication { home: key, publication: Box::new(publication) };
                if self.wait_if_stopped(topic, late).is_some() {
                    self.answer(source, Outcome::Released);
                }
            }
            (None, Some(address)) => self.publish_elsewhere(now, address, publication),
            (None, None) => self.answer(source, Outcome::Released),
        }
    }

    /// Sends a publication on that has come to a home of before.
    pub(crate) fn publish_elsewhere(&mut self, now: Instant, key: AddressKey, publication: Publication) {
        let entrance = self.addresses.get(key).and_then(|address| address.entrance);
        if entrance == Some(self.shard) {
            return self.answer(publication.source, Outcome::Released);
        }
        // What waits here for its turn came to this shard itself, and later.
        self.publish_at_once(now, key, None, publication);
    }

    /// A topic is no more that had stopped: nothing waits for it.
    pub(super) fn end_copying(&mut self, now: Instant, copying: Copying) {
        for late in copying.waiting {
            match late {
                Late::Publication { publication, .. } => self.answer(publication.source, Outcome::Released),
                Late::Prepare { part, across, posts } => self.prepare(now, part, across, posts),
                Late::Filters { .. } | Late::End { .. } => {}
            }
        }
        for (shard, number) in copying.asked {
            self.say_passed(now, shard, number);
        }
    }

    /// The topic that has stopped, if it is this one, or that of this subscription.
    pub(super) fn stopped_topic(&self, home: HomeKey) -> Option<HomeKey> {
        let queue = self.broker.homes.get(home)?.queue();
        let topic = match queue {
            Some(queue) => queue.subscription.as_ref()?.topic,
            None => home,
        };
        self.has_stopped(topic).then_some(topic)
    }

    /// Does what has waited, where the home of the topic is now.
    fn take_late(&mut self, now: Instant, topic: HomeKey, late: Late) {
        let Some(home) = self.broker.homes.get_mut(topic) else { return };
        let (name, serves) = (home.name.clone(), home.topic_mut().is_some_and(|topic| topic.serves));
        match late {
            Late::Publication { home, publication } => self.publish_at_home(now, home, *publication),
            Late::Filters { receiver, filters } if serves => self.refilter(receiver, &filters),
            // The link goes to the next home, with the filters that it has now.
            Late::Filters { .. } => {}
            Late::End { name: of, claim } => self.end_durable(now, &name, &of, claim.as_deref()),
            Late::Prepare { part, across, posts } => self.prepare(now, part, across, posts),
        }
    }

    /// Lets a shard wait until the home of a topic has all that it has sent to this one; false when nothing is
    /// sent on from here.
    pub(crate) fn wait_until_sent_on(
        &mut self,
        now: Instant,
        key: AddressKey,
        shard: ShardId,
        number: u64,
    ) -> bool {
        let Some(address) = self.addresses.get(key).filter(|address| address.settings.is_copied()) else {
            return false;
        };
        let (home, entrance, has_left) = (address.home, address.entrance, address.has_left);
        if let Some(copying) = home.and_then(|topic| self.copying(topic)) {
            copying.asked.push((shard, number));
            return true;
        }
        let Some(to) = entrance.filter(|to| has_left && *to != self.shard && self.peers.contains(*to)) else {
            return false;
        };
        // It comes behind what has been sent on.
        self.broker.last_end += 1;
        let heard = self.broker.last_end;
        self.broker.passing.insert(heard, Passing { to, shard, number });
        self.broker.now = Some(now);
        self.send_wire(to, Wire::AskHeard { number: heard });
        true
    }

    /// A home has everything that was sent to it before it was asked.
    pub(super) fn has_been_sent_on(&mut self, now: Instant, from: ShardId, number: u64) {
        if self.broker.passing.get(&number).is_some_and(|passing| passing.to == from)
            && let Some(Passing { shard, number, .. }) = self.broker.passing.remove(&number)
        {
            self.say_passed(now, shard, number);
        }
    }

    // ---- copying ------------------------------------------------------------------------------------------

    /// Goes on with what is to be done for a topic.
    pub(crate) fn run_topic(&mut self, now: Instant, topic: HomeKey) {
        let unix = self.broker.clock.unix(now);
        self.go_on_without(now, topic);
        let Some(copying) = self.copying(topic) else { return self.end_if_left(now, topic) };
        match copying.stage {
            Stage::Stopped | Stage::Completing | Stage::Leaving if copying.has_stopped_for_long(unix) => {
                self.begin_anew(now, topic);
                let until = later(unix, LONGEST_STOP);
                if let Some(copying) = self.copying(topic) {
                    copying.paused_until = Some(until);
                }
                self.wake_topic_at(topic, until);
            }
            Stage::Waiting if copying.paused_until.is_none_or(|until| until <= unix) => {
                self.ask_to_copy(now, topic);
            }
            Stage::Copying | Stage::Stopped => self.copy_some(now, topic),
            Stage::Completing | Stage::Leaving => self.follow_held(topic),
            Stage::Complete => {
                self.follow_held(topic);
                self.say_complete(now, topic);
            }
            Stage::Waiting | Stage::Asking => {}
        }
    }

    /// Asks the next home whether a copy may begin.
    fn ask_to_copy(&mut self, now: Instant, topic: HomeKey) {
        let Some(to) = self.copying(topic).and_then(|copying| copying.to) else { return };
        if !self.peers.contains(to) {
            return self.begin_anew(now, topic);
        }
        let round = self.next_number(now);
        let Some(copying) = self.copying(topic) else { return };
        (copying.round, copying.stage) = (round, Stage::Asking);
        if let Some(name) = self.broker.homes.get(topic).map(|home| home.name.clone()) {
            self.send_wire(to, Wire::CopyBegin { topic: name, round });
        }
    }

    /// The next home takes a copy, or not now.
    pub(crate) fn copy_may_begin(&mut self, now: Instant, name: &str, round: u64, is_ready: bool) {
        let Some(topic) = self.topic_named(name) else { return };
        let Some(copying) = self.copying(topic).filter(|copying| copying.is_at(Stage::Asking, round)) else {
            return;
        };
        if !is_ready {
            return self.begin_anew(now, topic);
        }
        copying.stage = Stage::Copying;
        let names = self.retained(topic).map(|retained| retained.names.names().cloned().collect());
        if let Some(copying) = self.copying(topic) {
            copying.names = names.unwrap_or_default();
        }
        for key in self.subscriptions_of(topic) {
            self.copy_subscription_anew(key);
        }
        self.mark_home(now, topic);
    }

    /// A subscription is one of a topic that is being copied, from its start.
    pub(crate) fn copy_subscription_anew(&mut self, key: HomeKey) {
        let Some(home) = self.queue_home(key) else { return };
        let Some(topic) = home.subscription.as_ref().map(|one| one.topic) else { return };
        let (is_going_on, is_still) = match self.copying(topic) {
            Some(copying) => (copying.is_going_on(), copying.has_stopped()),
            None => return,
        };
        if let Some(home) = self.queue_home(key).filter(|_| is_going_on)
            && home.copied.is_none()
        {
            home.copied = Some(Box::new(Copied { is_still, ..Copied::default() }));
            self.note_to_copy(key);
        }
    }

    /// There is something to copy of a subscription.
    fn note_to_copy(&mut self, key: HomeKey) {
        let Some(home) = self.queue_home(key) else { return };
        let (Some(copied), Some(subscription)) = (&mut home.copied, &home.subscription) else { return };
        let topic = subscription.topic;
        if std::mem::replace(&mut copied.is_due, true) {
            return;
        }
        if let Some(copying) = self.copying(topic) {
            copying.due.push_back(key);
        }
        if let Some(now) = self.broker.now {
            self.mark_home(now, topic);
        }
    }

    /// A subscription has run: something may have come or gone.
    pub(crate) fn subscription_has_run(&mut self, now: Instant, key: HomeKey) {
        match self.queue_home(key).and_then(|home| home.copied.as_ref()) {
            Some(copied) if copied.left.is_some() => self.end_tail_if_over(now, key),
            Some(_) => self.note_to_copy(key),
            None => {}
        }
    }

    /// A subscription is no longer what the next home knows it to be.
    pub(super) fn note_definition(&mut self, key: HomeKey) {
        match self.copied_mut(key) {
            Some(copied) => {
                copied.is_told = false;
                self.note_to_copy(key);
            }
            None => self.copy_subscription_anew(key),
        }
    }

    /// A subscription ends.
    pub(super) fn note_end(&mut self, key: HomeKey) {
        let Some(part) = self.part_of(key) else { return };
        let Some(subscription) = self.queue_home(key).and_then(|home| home.subscription.as_ref()) else {
            return;
        };
        let topic = subscription.topic;
        let Some(copying) = self.copying(topic).filter(|copying| copying.is_going_on()) else { return };
        let to = copying.to;
        if let (Some(to), Some(home)) = (to, self.broker.homes.get(topic)) {
            let topic = home.name.clone();
            self.send_wire(to, Wire::CopyEnd { topic, part });
        }
    }

    /// A subscription is no more, nor what of it was to be copied.
    pub(super) fn end_copied(&mut self, now: Instant, topic: HomeKey, copied: &Copied) {
        if let Some(copying) = self.copying(topic) {
            let lined_up = u32::try_from(copied.lined_up.len()).unwrap_or(u32::MAX);
            copying.under_way = copying.under_way.saturating_sub(lined_up);
        }
        self.mark_home(now, topic);
    }

    /// What a topic retains for a name has changed.
    pub(super) fn note_retained(&mut self, now: Instant, topic: HomeKey, name: &str) {
        if let Some(copying) = self.copying(topic).filter(|copying| copying.is_going_on()) {
            copying.changed.insert(name.into());
            self.mark_home(now, topic);
        }
    }

    fn copy_some(&mut self, now: Instant, topic: HomeKey) {
        let mut steps = STEPS;
        while let Some(copying) = self.copying(topic)
            && copying.under_way < UNDER_WAY
        {
            if steps == 0 {
                let unix = self.broker.clock.unix(now);
                return self.wake_topic_at(topic, unix);
            }
            steps -= 1;
            if let Some(key) = copying.due.pop_front() {
                self.copy_subscription(now, topic, key, &mut steps);
            } else if let Some(name) = copying.names.pop_front().or_else(|| copying.changed.pop_first()) {
                self.copy_retained(now, topic, name);
            } else {
                return self.stop_or_complete(now, topic);
            }
        }
    }

    /// Copies what has changed of a subscription, as far as there is room.
    fn copy_subscription(&mut self, now: Instant, topic: HomeKey, key: HomeKey, steps: &mut u32) {
        let Some(copied) = self.copied_mut(key) else { return };
        copied.is_due = false;
        if !std::mem::replace(&mut copied.is_told, true) {
            self.tell_definition(topic, key, None);
        }
        self.tell_gone(topic, key);
        while let Some(copying) = self.copying(topic) {
            if copying.under_way >= UNDER_WAY || *steps == 0 {
                return self.note_to_copy(key);
            }
            let round = copying.round;
            *steps -= 1;
            let Some(home) = self.queue_home(key) else { return };
            let Some(copied) = home.copied.as_deref_mut() else { return };
            let Some(entry) = home.queue.next_to_copy(&mut copied.places) else { return };
            let Some(value) = home.queue.entry(entry) else { continue };
            let (body, reference) = (value.body().cloned(), value.reference());
            let is_here = body.is_some();
            copied.lined_up.push_back((entry, body));
            if let Some(copying) = self.copying(topic) {
                copying.under_way += 1;
            }
            match reference {
                _ if is_here => self.send_lined_up(now, topic, key),
                Some(reference) => {
                    let what = CopyOf::Entry(key, entry);
                    let pending = self.broker.pending.insert(Pending::LoadCopy { topic, round, what });
                    self.ask_store(StoreRequest::Load { ticket: Ticket(pending.to_bits()), reference });
                }
                // Without a body and without a place in the store there is nothing to copy.
                None => self.drop_from_line(now, topic, key, entry),
            }
        }
    }

    /// A body is here that was to be copied; without one it cannot be read.
    pub(super) fn copy_loaded(
        &mut self,
        now: Instant,
        topic: HomeKey,
        round: u64,
        what: CopyOf,
        body: Option<Bytes>,
    ) {
        if self.copying(topic).is_none_or(|copying| copying.round != round) {
            return;
        }
        match what {
            CopyOf::Entry(key, entry) => {
                let Some(copied) = self.copied_mut(key) else { return };
                let waiting = copied.lined_up.iter_mut().find(|(of, _)| *of == entry);
                match (waiting, body) {
                    (Some((_, waiting)), Some(body)) => *waiting = Some(body),
                    (Some(_), None) => return self.drop_from_line(now, topic, key, entry),
                    (None, _) => return,
                }
                self.send_lined_up(now, topic, key);
            }
            CopyOf::Retained { name, number } => match body {
                Some(body) => self.send_retained(now, topic, &name, number, body),
                None => self.copy_of_one_ended(now, topic),
            },
        }
    }

    /// An entry has gone before it could be copied, or cannot be read: then it stays, and is copied the next
    /// time.
    fn drop_from_line(&mut self, now: Instant, topic: HomeKey, key: HomeKey, entry: EntryKey) {
        let Some(home) = self.queue_home(key) else { return };
        let is_there = home.queue.entry(entry).is_some_and(|entry| entry.reference().is_some());
        let Some(copied) = home.copied.as_deref_mut() else { return };
        copied.lined_up.retain(|(of, _)| *of != entry);
        if is_there {
            return self.begin_anew(now, topic);
        }
        self.copy_of_one_ended(now, topic);
        self.send_lined_up(now, topic, key);
    }

    /// Something is not under way any more.
    fn copy_of_one_ended(&mut self, now: Instant, topic: HomeKey) {
        if let Some(copying) = self.copying(topic) {
            copying.under_way = copying.under_way.saturating_sub(1);
            self.mark_home(now, topic);
        }
    }

    /// Sends the entries whose bodies are here, in order.
    fn send_lined_up(&mut self, now: Instant, topic: HomeKey, key: HomeKey) {
        while let Some(copied) = self.copied_mut(key)
            && copied.lined_up.front().is_some_and(|(_, body)| body.is_some())
            && let Some((entry, Some(body))) = copied.lined_up.pop_front()
        {
            if !self.send_entry(topic, key, entry, body) {
                self.copy_of_one_ended(now, topic);
            }
        }
    }

    /// False when the entry is gone.
    fn send_entry(&mut self, topic: HomeKey, key: HomeKey, entry: EntryKey, body: Bytes) -> bool {
        let Some((to, round, number)) = self.next_copy(topic) else { return false };
        let Some(part) = self.part_of(key) else { return false };
        let Some(home) = self.queue_home(key) else { return false };
        let Some(value) = home.queue.entry(entry) else { return false };
        let (delivery_count, annotations) = (value.delivery_count(), value.annotations().cloned());
        let sent = Sent { number, delivery_count, annotations: annotations.clone() };
        let (identity, reference) = (value.identity(), value.reference());
        let publication = Publication {
            source: Source::Nobody,
            origin: None,
            owner: value.owner(),
            name: None,
            message_format: value.message_format(),
            body,
            is_slice: false,
            priority: value.priority(),
            durable: value.is_durable(),
            arrived: value.arrived(),
            expires: value.expires(),
            not_before: home.queue.waits_until(entry),
            transaction: None,
            routed: true,
            retain: Retain::No,
            given: value.is_retained(),
            moved: None,
            handover: None,
        };
        if let Some(copied) = &mut home.copied {
            copied.entries.insert(entry, sent);
        }
        let named = |reference: Reference| Reference(reference.0.wrapping_add(self.name_hash));
        let identity = identity.or_else(|| reference.map(named));
        let moved = Some(Box::new(Moved { delivery_count, annotations, identity }));
        let publication = Publication { moved, ..publication };
        self.send_copy(key, topic, round, part, number, to, publication);
        true
    }

    fn next_copy(&mut self, topic: HomeKey) -> Option<(ShardId, u64, u64)> {
        // What has left with an earlier copy may still be spoken of.
        self.broker.last_copy += 1;
        let number = self.broker.last_copy;
        let copying = self.copying(topic)?;
        Some((copying.to?, copying.round, number))
    }

    fn part_of(&self, key: HomeKey) -> Option<Part> {
        let home = self.broker.homes.get(key)?;
        let subscription = home.queue()?.subscription.as_ref()?;
        match subscription.kind {
            Kind::Durable => subscription.name.clone().map(Part::Durable),
            Kind::Administered => Some(Part::Administered(home.name.clone())),
            Kind::Volatile => Some(Part::Volatile(key)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of it says which copy this is")]
    fn send_copy(
        &mut self,
        of: HomeKey,
        topic: HomeKey,
        round: u64,
        part: Part,
        number: u64,
        to: ShardId,
        mut publication: Publication,
    ) {
        let Some(name) = self.broker.homes.get(topic).map(|home| home.name.clone()) else { return };
        // The entry is known by its number: what is answered is only counted.
        let mut forward = Forward::new(of, EntryKey::from_bits(0), To::Copied { topic, round });
        forward.there = Some(to);
        let key = self.broker.forwards.insert(forward);
        publication.source = Source::Forward { shard: self.shard, key };
        let to_part = Destination::Copy { topic: name, part, number };
        self.send_wire(to, Wire::Publish { to: to_part, publication: Box::new(publication) });
    }

    /// The next home has a message, or does not take it: then all begins anew.
    pub(crate) fn copy_answered(&mut self, now: Instant, key: ForwardKey, outcome: &Outcome) {
        let Some(forward) = self.broker.forwards.remove(key) else { return };
        let To::Copied { topic, round } = forward.to else { return };
        if self.copying(topic).is_none_or(|copying| copying.round != round) {
            return;
        }
        // A subscription may have ended there with what was on its way.
        let is_over = !self.broker.homes.contains(forward.home);
        match outcome {
            Outcome::Accepted => self.copy_of_one_ended(now, topic),
            _ if is_over => self.copy_of_one_ended(now, topic),
            _ => self.begin_anew(now, topic),
        }
    }

    // ---- what is retained -------------------------------------------------------------------------------

    fn copy_retained(&mut self, now: Instant, topic: HomeKey, name: Arc<str>) {
        let Some(copying) = self.copying(topic) else { return };
        let round = copying.round;
        copying.under_way += 1;
        let slot = self.retained(topic).and_then(|retained| retained.names.get(&name));
        let Some((kept, number)) = slot.and_then(|slot| Some((slot.kept()?, slot.last))) else {
            return self.send_cleared(now, topic, name);
        };
        match kept.body.clone() {
            Some(body) => self.send_retained(now, topic, &name, number, body),
            None => {
                let reference = kept.reference;
                let what = CopyOf::Retained { name, number };
                let pending = self.broker.pending.insert(Pending::LoadCopy { topic, round, what });
                self.ask_store(StoreRequest::Load { ticket: Ticket(pending.to_bits()), reference });
            }
        }
    }

    fn send_retained(&mut self, now: Instant, topic: HomeKey, name: &Arc<str>, number: u64, body: Bytes) {
        let slot = self.retained(topic).and_then(|retained| retained.names.get(name));
        let Some(kept) = slot.filter(|slot| slot.last == number).and_then(|slot| slot.kept()).cloned() else {
            // It has changed while its body was loaded, and is copied again for that.
            return self.copy_of_one_ended(now, topic);
        };
        let publication = Publication {
            message_format: kept.message_format,
            body,
            priority: kept.priority,
            durable: kept.durable,
            arrived: kept.arrived,
            expires: kept.expires,
            retain: Retain::Keep,
            owner: kept.owner,
            ..retained_copy(name)
        };
        self.send_part_retained(now, topic, publication);
    }

    fn send_cleared(&mut self, now: Instant, topic: HomeKey, name: Arc<str>) {
        let arrived = self.broker.clock.unix(now);
        let publication = Publication { retain: Retain::Clear, arrived, ..retained_copy(&name) };
        self.send_part_retained(now, topic, publication);
    }

    fn send_part_retained(&mut self, now: Instant, topic: HomeKey, publication: Publication) {
        match self.next_copy(topic) {
            Some((to, round, number)) => {
                self.send_copy(topic, topic, round, Part::Retained, number, to, publication);
            }
            None => self.copy_of_one_ended(now, topic),
        }
    }

    // ---- definitions ----------------------------------------------------------------------------------------

    /// Tells the next home what a subscription is, and for whom it goes on.
    fn tell_definition(&mut self, topic: HomeKey, key: HomeKey, feeding: Feed) {
        let Some(to) = self.copying(topic).and_then(|copying| copying.to) else { return };
        let Some(name) = self.broker.homes.get(topic).map(|home| home.name.clone()) else { return };
        let Some(subscription) = self.queue_home(key).and_then(|home| home.subscription.as_ref()) else {
            return;
        };
        let own = match (subscription.kind, &subscription.name) {
            (Kind::Durable, Some(own)) => own,
            (Kind::Volatile, _) => return self.tell_volatile(key, to, &name, &feeding),
            _ => return,
        };
        let ends_unused = subscription.ends_unused();
        let claims: Vec<Arc<str>> = subscription.claims.iter().cloned().collect();
        let definition = CopiedSubscription {
            name: own.clone(),
            filters: subscription.filters.to_vec(),
            shared: subscription.shared,
            ends_unclaimed: subscription.ends_unclaimed,
            max_consumers: subscription.max_consumers,
            definition: subscription.definition.clone(),
            claims: Vec::new(),
            more_claims: false,
            links: Vec::new(),
            feeding,
        };
        if ends_unused {
            let links = self.links_of(topic, key);
            for links in links.chunks(MAX_COPIED) {
                let subscription =
                    Box::new(CopiedSubscription { links: links.to_vec(), ..definition.clone() });
                self.send_wire(to, Wire::CopySubscription { topic: name.clone(), subscription });
            }
            if !links.is_empty() {
                return;
            }
        }
        let mut chunks = claims.chunks(MAX_COPIED).peekable();
        let mut claims = chunks.next().unwrap_or_default();
        loop {
            let next = chunks.next();
            let (claims_now, more_claims) = (claims.to_vec(), next.is_some());
            let subscription =
                Box::new(CopiedSubscription { claims: claims_now, more_claims, ..definition.clone() });
            self.send_wire(to, Wire::CopySubscription { topic: name.clone(), subscription });
            match next {
                Some(next) => claims = next,
                None => return,
            }
        }
    }

    /// Tells the next home what a subscription is that is not durable, and which links consume from it.
    fn tell_volatile(&mut self, key: HomeKey, to: ShardId, topic: &Arc<str>, feeding: &Feed) {
        let Some(subscription) = self.queue_home(key).and_then(|home| home.subscription.as_deref()) else {
            return;
        };
        let (of, options) = (subscription.topic, volatile_options(subscription));
        for links in self.links_of(of, key).chunks(MAX_COPIED) {
            let (options, feeding) = (options.clone(), feeding.clone());
            let subscription = Box::new(CopiedVolatile { key, options, links: links.to_vec(), feeding });
            self.send_wire(to, Wire::CopyVolatile { topic: topic.clone(), subscription });
        }
    }

    /// The links that consume from a subscription, and those that are to.
    fn links_of(&self, topic: HomeKey, key: HomeKey) -> Vec<Link> {
        let mut links = self.awaited_at(topic, key);
        let receivers = self.broker.homes.get(key).and_then(Home::queue).map(|home| &home.receivers);
        let receivers = receivers.into_iter().flatten();
        let receivers = receivers.filter_map(|receiver| self.broker.receivers.get(*receiver));
        links.extend(receivers.map(|receiver| (receiver.shard, receiver.consumer)));
        links
    }

    /// Tells the next home which of the first entries are gone. Those behind one that is still there are
    /// told of when the topic stops.
    fn tell_gone(&mut self, topic: HomeKey, key: HomeKey) {
        let Some(home) = self.queue_home(key) else { return };
        let Some(copied) = home.copied.as_deref_mut() else { return };
        let mut numbers = Vec::new();
        while let Some(first) = copied.entries.first_entry()
            && home.queue.entry(*first.key()).is_none()
        {
            numbers.push(first.remove().number);
        }
        let to = self.copying(topic).and_then(|copying| copying.to);
        let name = self.broker.homes.get(topic).map(|home| home.name.clone());
        if let (Some(to), Some(name)) = (to, name) {
            self.send_changes(to, &name, numbers, Vec::new());
        }
    }

    fn send_changes(&mut self, to: ShardId, topic: &Arc<str>, gone: Vec<u64>, back: Vec<GivenBack>) {
        for numbers in gone.chunks(MAX_COPIED) {
            self.send_wire(to, Wire::CopyGone { topic: topic.clone(), numbers: numbers.to_vec() });
        }
        for entries in back.chunks(MAX_COPIED) {
            self.send_wire(to, Wire::CopyBack { topic: topic.clone(), entries: entries.to_vec() });
        }
    }

    // ---- the end --------------------------------------------------------------------------------------------

    /// Everything has been sent.
    fn stop_or_complete(&mut self, now: Instant, topic: HomeKey) {
        let unix = self.broker.clock.unix(now);
        let Some(copying) = self.copying(topic) else { return };
        if copying.stage == Stage::Copying {
            (copying.stage, copying.stopped) = (Stage::Stopped, Some(unix));
            self.wake_topic_at(topic, later(unix, LONGEST_STOP));
            for key in self.subscriptions_of(topic) {
                if let Some(copied) = self.copied_mut(key) {
                    copied.is_still = true;
                }
            }
            self.tell_blocked(topic);
        }
        if self.is_quiet(topic) {
            self.complete_unless_held(now, unix, topic);
        }
    }

    /// Whether nothing is on its way: neither to the next home nor to the disk.
    fn is_quiet(&mut self, topic: HomeKey) -> bool {
        let retained = self.retained(topic);
        if retained.is_some_and(|retained| retained.is_under_way(u64::MAX)) {
            return false;
        }
        if self.copying(topic).is_none_or(|copying| copying.under_way > 0) {
            return false;
        }
        let keys = self.subscriptions_of(topic);
        keys.into_iter().all(|key| self.queue_home(key).is_none_or(|home| is_quiet(home)))
    }

    /// Completes the copy, unless consumers may still settle what they have.
    fn complete_unless_held(&mut self, now: Instant, unix: UnixMillis, topic: HomeKey) {
        let Some(copying) = self.copying(topic) else { return };
        let (Some(to), Some(since), round) = (copying.to, copying.stopped, copying.round) else { return };
        let until = later(since, PATIENCE);
        let keys = self.subscriptions_of(topic);
        let is_held = |home: &mut QueueHome| home.queue.statistics().acquired > 0;
        if unix < until && keys.iter().any(|key| self.queue_home(*key).is_some_and(is_held)) {
            return self.wake_topic_at(topic, until);
        }
        let Some(name) = self.broker.homes.get(topic).map(|home| home.name.clone()) else { return };
        for key in keys {
            self.tell_last_changes(topic, key, to, &name);
        }
        self.send_wire(to, Wire::CopyComplete { topic: name, round });
        if let Some(copying) = self.copying(topic) {
            copying.stage = Stage::Completing;
        }
        self.mark_home(now, topic);
    }

    /// Tells the next home what else is not as it was copied, and which entries somebody has.
    fn tell_last_changes(&mut self, topic: HomeKey, key: HomeKey, to: ShardId, name: &Arc<str>) {
        let Some(home) = self.queue_home(key) else { return };
        let Some(copied) = home.copied.as_deref_mut() else { return };
        let (mut gone, mut back, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let queue = &home.queue;
        copied.entries.retain(|entry, sent| {
            let Some(value) = queue.entry(*entry) else {
                gone.push(sent.number);
                return false;
            };
            if queue.is_held(*entry) {
                copied.held.insert(*entry);
                held.push(sent.number);
            } else if sent.delivery_count != value.delivery_count()
                || sent.annotations.as_ref() != value.annotations()
            {
                back.push(given_back(sent.number, value));
            }
            true
        });
        let feeding = home.feeding.as_ref().map(|feeding| feeding.place());
        self.send_changes(to, name, gone, back);
        for numbers in held.chunks(MAX_COPIED) {
            self.send_wire(to, Wire::CopyHeld { topic: name.clone(), numbers: numbers.to_vec() });
        }
        if feeding.is_some() {
            self.tell_definition(topic, key, feeding);
        }
    }

    /// The next home has everything on disk, or has not.
    pub(crate) fn copy_completed(&mut self, now: Instant, name: &str, round: u64, is_complete: bool) {
        let Some(topic) = self.topic_named(name) else { return };
        let copying = self.copying(topic).filter(|copying| copying.is_at(Stage::Completing, round));
        let Some(copying) = copying else { return };
        if !is_complete {
            return self.begin_anew(now, topic);
        }
        copying.stage = Stage::Leaving;
        self.write_travel(name, Travel::Leaving, Pending::PutLeaving { topic, round });
    }

    /// The store has written down that what is here counts no more once the address says so, or has not.
    pub(super) fn leaving_written(&mut self, now: Instant, topic: HomeKey, round: u64, is_written: bool) {
        let copying = self.copying(topic).filter(|copying| copying.is_at(Stage::Leaving, round));
        let Some(copying) = copying else { return };
        if !is_written {
            return self.begin_anew(now, topic);
        }
        copying.stage = Stage::Complete;
        copying.said = None;
        let Some(home) = self.broker.homes.get_mut(topic) else { return };
        let (address, serves) = (home.address, home.topic_mut().is_some_and(|topic| topic.serves));
        if serves {
            self.say_complete(now, topic);
        } else {
            let to = address.and_then(|key| self.addresses.get(key)).and_then(|address| address.home_shard);
            self.leave_topic(now, topic, to);
        }
    }

    /// Tells the node that a topic has a whole copy, now and then until the address says so.
    fn say_complete(&mut self, now: Instant, topic: HomeKey) {
        let unix = self.broker.clock.unix(now);
        let Some(name) = self.broker.homes.get(topic).map(|home| home.name.clone()) else { return };
        let Some(copying) = self.copying(topic) else { return };
        if copying.said.is_none_or(|said| later(said, SAY_AGAIN) <= unix) {
            copying.said = Some(unix);
            self.effects.push_back(Effect::Emptied { address: name });
            self.wake_topic_at(topic, later(unix, SAY_AGAIN));
        }
    }

    /// Tells the next home what has become of entries that consumers had when the copy was complete.
    fn follow_held(&mut self, topic: HomeKey) {
        let Some(copying) = self.copying(topic) else { return };
        let (Some(to), due) = (copying.to, std::mem::take(&mut copying.due)) else { return };
        let Some(name) = self.broker.homes.get(topic).map(|home| home.name.clone()) else { return };
        for key in due {
            if let Some(copied) = self.copied_mut(key) {
                copied.is_due = false;
            }
            self.tell_of_held(key, to, &name);
        }
    }

    fn tell_of_held(&mut self, key: HomeKey, to: ShardId, name: &Arc<str>) {
        let Some(home) = self.queue_home(key) else { return };
        let Some(copied) = home.copied.as_deref_mut() else { return };
        let (mut gone, mut back) = (Vec::new(), Vec::new());
        let queue = &home.queue;
        let entries = &mut copied.entries;
        copied.held.retain(|entry| {
            if queue.is_held(*entry) {
                return true;
            }
            let Some(sent) = entries.get(entry) else { return false };
            match queue.entry(*entry) {
                Some(value) => back.push(given_back(sent.number, value)),
                None => gone.push(sent.number),
            }
            false
        });
        self.send_changes(to, name, gone, back);
    }

    /// The next home is the home: nothing of the topic is this one's any more but what consumers have.
    fn leave_topic(&mut self, now: Instant, topic: HomeKey, to: Option<ShardId>) {
        self.follow_held(topic);
        let Some(home) = self.broker.homes.get_mut(topic) else { return };
        let (name, address) = (home.name.clone(), home.address);
        let Some(value) = home.topic_mut() else { return };
        let Some(copying) = value.copying.take() else { return };
        if let Some(address) = address.and_then(|key| self.addresses.get_mut(key)) {
            address.has_left = true;
        }
        value.awaited = None;
        if let Some(retained) = value.retained.take() {
            self.end_retained(topic, &name, *retained);
        }
        if let Some(to) = copying.to.or(to) {
            for key in self.subscriptions_of(topic) {
                self.leave_subscription(now, key, to, &name);
            }
        }
        for late in copying.waiting {
            self.take_late(now, topic, late);
        }
        for (shard, number) in copying.asked {
            let key = address.filter(|key| self.wait_until_sent_on(now, *key, shard, number));
            if key.is_none() {
                self.say_passed(now, shard, number);
            }
        }
        self.tell_blocked(topic);
        self.mark_home(now, topic);
    }

    fn leave_subscription(&mut self, now: Instant, key: HomeKey, to: ShardId, name: &Arc<str>) {
        let Some(home) = self.queue_home(key) else { return };
        let Some(subscription) = home.subscription.take() else { return };
        home.feeding = None;
        home.is_shadow = false;
        let topic = subscription.topic;
        if let Some(copied) = &mut home.copied {
            let own = subscription.name.clone().filter(|_| subscription.kind == Kind::Durable);
            copied.left = Some(Left { to, name: name.clone(), topic, own });
        }
        if let Some(topic) = self.broker.homes.get_mut(topic).and_then(Home::topic_mut) {
            topic.tails += 1;
        }
        if subscription.ending
            && let (Kind::Durable, Some(own)) = (subscription.kind, subscription.name.clone())
        {
            self.send_wire(to, Wire::CopyEnd { topic: name.clone(), part: Part::Durable(own) });
        }
        if self.broker.homes.get(key).is_some_and(|home| home.blocked) {
            self.subscription_blocked(subscription.topic, false);
        }
        self.unlist_subscription(key, &subscription);
        if subscription.kind == Kind::Durable {
            self.delete_records(&subscription);
        }
        self.discard_unheld(now, key);
        if subscription.kind == Kind::Administered {
            self.part_from_address(key);
        } else {
            self.broker.subscriptions = self.broker.subscriptions.saturating_sub(1);
        }
        self.mark_home(now, key);
    }

    /// What consumers have of a subscription that is an address is one thing, and the address another: it may come
    /// back while they still have it.
    fn part_from_address(&mut self, key: HomeKey) {
        let Some(home) = self.broker.homes.get_mut(key) else { return };
        let (name, address, senders) =
            (home.name.clone(), home.address.take(), std::mem::take(&mut home.senders));
        let Some(queue) = home.queue() else { return };
        let (settings, id) = (queue.queue.settings().clone(), queue.id);
        let queue = What::Queue(Box::new(QueueHome::new(settings, id)));
        let mut new = Home::new(name, address, queue);
        new.senders.clone_from(&senders);
        let new = self.insert_home(new);
        if let Some(id) = id {
            self.broker.by_id.insert(id, new);
        }
        if let Some(address) = address.and_then(|address| self.addresses.get_mut(address)) {
            address.home = Some(new);
        }
        for sender in senders {
            if let Some(sender) = self.broker.senders.get_mut(sender) {
                sender.home = new;
            }
        }
    }

    /// Forgets the entries that nobody has.
    pub(super) fn discard_unheld(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.queue_home(key) else { return };
        let queue = &home.queue;
        let entries = queue.entries(None).map(|(entry, _)| entry).filter(|entry| !queue.is_held(*entry));
        for entry in entries.collect::<Vec<_>>() {
            if let Some(removed) = self.queue_home(key).and_then(|home| home.queue.discard(entry)) {
                self.settle_in_store(key, removed);
                self.mark_home(now, key);
            }
        }
    }

    /// A consumer ends the subscription that it has when nobody else uses it, and that has left.
    pub(super) fn unsubscribe_left(&mut self, key: HomeKey) {
        let left = self.copied_mut(key).and_then(|copied| copied.left.clone());
        if let Some(Left { to, name: topic, own: Some(name), .. }) = left {
            self.send_wire(to, Wire::CopyEnd { topic, part: Part::Durable(name) });
        }
    }

    /// What consumers had of a subscription that has left is settled, or given back: then it is over.
    fn end_tail_if_over(&mut self, now: Instant, key: HomeKey) {
        let Some(copied) = self.copied_mut(key) else { return };
        let Some(Left { to, name, topic, .. }) = copied.left.clone() else { return };
        self.tell_of_held(key, to, &name);
        self.discard_unheld(now, key);
        let Some(queue) = self.queue_home(key) else { return };
        if queue.queue.messages() > 0 || !queue.receivers.is_empty() {
            return;
        }
        queue.copied = None;
        self.remove_home(now, key);
        if let Some(value) = self.broker.homes.get_mut(topic).and_then(Home::topic_mut) {
            value.tails = value.tails.saturating_sub(1);
            self.mark_home(now, topic);
        }
    }

    /// Forgets a topic that has left when nothing of it is here any more.
    fn end_if_left(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.broker.homes.get_mut(key) else { return };
        let (address, name) = (home.address, home.name.clone());
        let is_over = home.senders.is_empty() && home.topic_mut().is_some_and(|topic| topic.is_over());
        if !is_over {
            return;
        }
        if let Some(address) = address.and_then(|address| self.addresses.get_mut(address)) {
            address.home = None;
        }
        self.delete_object(TravelRecord::key(&name));
        self.remove_home(now, key);
    }

    /// The other node is gone: what was being copied there is copied anew; what it had of a copy of this node's
    /// topics that is complete it keeps.
    pub(crate) fn copies_lost(&mut self, now: Instant, peer: ShardId) {
        let topics = self.broker.homes.iter().filter(|(_, home)| match &home.what {
            What::Topic(topic) => topic
                .copying
                .as_ref()
                .is_some_and(|copying| copying.to == Some(peer) && copying.stage != Stage::Complete),
            What::Queue(_) => false,
        });
        for topic in topics.map(|(key, _)| key).collect::<Vec<_>>() {
            self.begin_anew(now, topic);
        }
        for key in self.live.topics.iter().copied().collect::<Vec<_>>() {
            if let Some(copying) = self.copying(key) {
                copying.asked.retain(|(shard, _)| *shard != peer);
            }
        }
        self.broker.passing.retain(|_, passing| passing.shard != peer);
        let lost = self.broker.passing.iter().filter(|(_, passing)| passing.to == peer);
        for number in lost.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.has_been_sent_on(now, peer, number);
        }
    }
}

impl TopicHome {
    /// Whether nothing is left of a topic whose home is elsewhere.
    fn is_over(&self) -> bool {
        !self.serves
            && self.subscriptions.is_empty()
            && self.tails == 0
            && self.retained.is_none()
            && self.copying.is_none()
            && self.arriving.is_none()
            && self.held_elsewhere.is_none()
    }
}

/// What a consumer says that wants such a subscription.
fn volatile_options(subscription: &Subscription) -> ReceiverOptions {
    let named = subscription.name.as_ref().map(|name| {
        Box::new(SubscriptionOptions {
            name: name.clone(),
            durable: false,
            shared: subscription.shared,
            max_consumers: subscription.max_consumers,
            definition: subscription.definition.clone(),
            not_from: subscription.not_from,
            filters: Some(subscription.filters.clone()),
            durable_only: subscription.durable_only,
            settings: subscription.settings.clone(),
            claim: None,
            ends_unused: false,
        })
    });
    ReceiverOptions {
        browse: false,
        exclusive: false,
        filter: subscription.filter.clone(),
        not_from: subscription.not_from,
        levels: subscription.filters.first().cloned(),
        subscription: named,
        retained: false,
        unreadable: false,
    }
}

fn later(at: UnixMillis, time: Duration) -> UnixMillis {
    UnixMillis(at.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

fn is_quiet(home: &QueueHome) -> bool {
    let Some(copied) = &home.copied else { return true };
    let is_asking = home.feeding.as_ref().is_some_and(|feeding| feeding.is_asking());
    !copied.is_due && copied.lined_up.is_empty() && !is_asking && home.queue.statistics().storing == 0
}

fn given_back(number: u64, entry: &crate::queue::Entry) -> GivenBack {
    GivenBack { number, delivery_count: entry.delivery_count(), annotations: entry.annotations().cloned() }
}

fn retained_copy(name: &Arc<str>) -> Publication {
    Publication {
        source: Source::Nobody,
        origin: None,
        owner: None,
        name: Some(name.clone()),
        message_format: 0,
        body: Bytes::new(),
        is_slice: false,
        priority: 0,
        durable: true,
        arrived: UnixMillis(0),
        expires: None,
        not_before: None,
        transaction: None,
        routed: true,
        retain: Retain::No,
        given: false,
        moved: None,
        handover: None,
    }
}
