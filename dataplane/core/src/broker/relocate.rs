//! A queue that changes its home: nothing is lost, and each producer's messages stay in their order.
//!
//! The home of before becomes a *pipe* into the new one. Consumers take their places at the new home at once,
//! and settle at the old one what they have from there. Producers go on at the old one, which takes, keeps and
//! answers their messages as ever, and passes on what it has, the first one first, as fast as the new home
//! keeps it: an entry stays, out of reach, until the new home has it. When nothing waits any more the old home
//! says [`Effect::Emptied`]; once the settings say so, producers send to the new home, behind what is still
//! under way. What comes late takes the pipe. No link ends by it: see [`follow`](super::follow).
//!
//! ```text
//!            home: A                  home: B, moving_from: A               home: B
//! producers ──▶ A ──▶ consumers       producers ──▶ A ══▶ B ──▶ consumers   producers ──▶ B ──▶ consumers
//! ```
//!
//! A queue whose address has another home and that is nobody's old home is a pipe, too: two nodes may have
//! created the address at once, and one of them is not its home in the end.
//!
//! A shard that its queue has no more, since that has fewer than before, is a pipe as well: into the others, each
//! message into the one that its key decides, all others into one.
//!
//! After a crash of the old home, what it had passed on and not yet removed on disk is passed on again, and
//! accepted without being stored again; see [`handover`](super::handover).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::forward::{Forward, To};
use super::home::{Home, QueueHome};
use super::protocol::{Destination, Handover, Moved, Publication, Source, Wire};
use crate::address::Address;
use crate::core::Core;
use crate::delivery::Retain;
use crate::effect::Effect;
use crate::key::{AddressKey, ForwardKey, HomeKey};
use crate::outcome::Outcome;
use crate::settings::ShardId;
use crate::store::UnixMillis;

/// Messages that are on their way to the new home at a time.
const UNDER_WAY: usize = 256;

/// How long the pipe waits when the new home cannot be reached, or does not take a message.
const PAUSE: Duration = Duration::from_millis(250);

/// How long consumers of other shards have to hear of the move and to give back what they had not got, so that
/// it leaves before what came behind it.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// Where a pipe leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// To the new home of its queue.
    Home(ShardId),
    /// To other shards of its queue, which has this one no more.
    Shards,
}

/// What an old home knows of its new one.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// Where that is, as far as this shard knows.
    course: Option<Course>,
    /// What has been taken out, in order; a body may have to be loaded first.
    lined_up: VecDeque<ForwardKey>,
    /// Those and what the new home has not answered.
    under_way: usize,
    /// The new home has taken something. Before, one message at a time is on its way: a new home that has not
    /// heard of it yet must not refuse some and take those behind them.
    has_begun: bool,
    /// Nothing is taken out before.
    paused_until: Option<UnixMillis>,
    /// Nor before consumers have given back what they had not got, but no longer than until then.
    begins: Option<UnixMillis>,
    /// Producers are still sent here.
    is_entrance: bool,
    is_emptied: bool,
    /// Shards that want to know when all they have sent is passed on.
    asked: Vec<(ShardId, u64)>,
}

impl Pipe {
    /// Whether another message may leave. One may have been refused within this very turn.
    fn has_room(&self) -> bool {
        self.paused_until.is_none() && self.under_way < if self.has_begun { UNDER_WAY } else { 1 }
    }

    pub(crate) fn take_asked(&mut self) -> Vec<(ShardId, u64)> {
        std::mem::take(&mut self.asked)
    }

    pub(crate) fn poll_timeout(&self) -> Option<UnixMillis> {
        self.paused_until.into_iter().chain(self.begins).min()
    }
}

impl QueueHome {
    /// Whether nothing is left that can be passed on: what consumers have stays theirs.
    fn has_passed_all(&self) -> bool {
        let left = self.queue.statistics();
        let under_way = self.pipe.as_ref().map_or(0, |pipe| pipe.under_way);
        (left.available, left.delayed, left.storing, under_way) == (0, 0, 0, 0)
    }
}

impl Core {
    /// What this shard holds of queues whose home is elsewhere: names, messages and bytes.
    pub fn left_behind(&self) -> impl Iterator<Item = (&Arc<str>, u64, u64)> {
        self.broker.homes.iter().filter_map(|(_, home)| {
            let queue = home.queue().filter(|queue| self.is_left_behind(home, queue))?;
            let statistics = queue.queue.statistics();
            (statistics.messages > 0).then_some((&home.name, statistics.messages, statistics.bytes))
        })
    }

    /// Whether what a pipe has is not the queue, but what is left of it here.
    pub(crate) fn is_left_behind(&self, home: &Home, queue: &QueueHome) -> bool {
        let shard = home.address.and_then(|key| self.addresses.get(key)?.home_shard);
        queue.pipe.is_some() && shard != Some(self.shard)
    }

    /// Where producers of an address send, when that can be reached now.
    pub(crate) fn reachable_entrance(&self, address: &Address) -> Option<ShardId> {
        address.entrance.filter(|shard| *shard == self.shard || self.peers.contains(*shard))
    }

    /// The home of a queue here is elsewhere from now on, or here again; or this is a shard that its queue has no
    /// more, or has again.
    pub(crate) fn lay_pipe(&mut self, now: Instant, key: AddressKey) {
        let Some(address) = self.addresses.get(key) else { return };
        let (is_home, is_surplus) = (address.home_shard == Some(self.shard), address.is_surplus());
        // A home of before does not pass on to one that takes nothing either.
        let course = match is_surplus {
            true => Some(Course::Shards),
            false => address.home_shard.map(Course::Home),
        };
        let (Some(home), is_here) = (address.home, is_home && !is_surplus) else { return };
        if address.settings.is_copied() {
            // It goes where its topic goes.
            return;
        }
        let is_entrance = address.entrance == Some(self.shard) && !is_home;
        let unix = self.broker.clock.unix(now);
        let Some(queue) = self.queue_home(home) else { return };
        match &mut queue.pipe {
            // What is under way comes back, or is there already; what has not left need not wait for that.
            Some(pipe) if is_here => {
                let lined_up = std::mem::take(&mut pipe.lined_up);
                let asked = std::mem::take(&mut pipe.asked);
                queue.pipe = None;
                for forward in lined_up {
                    self.passed(now, forward, &Outcome::Released);
                }
                for (shard, number) in asked {
                    self.say_passed(now, shard, number);
                }
            }
            None if is_here => return,
            Some(pipe) => {
                pipe.has_begun &= pipe.course == course;
                (pipe.course, pipe.is_entrance, pipe.is_emptied) = (course, is_entrance, false);
                pipe.paused_until = None;
            }
            None => {
                let begins = UnixMillis(unix.0.saturating_add(GIVE_BACK.as_millis() as u64));
                let pipe = Pipe { course, is_entrance, begins: Some(begins), ..Pipe::default() };
                queue.pipe = Some(Box::new(pipe));
            }
        }
        self.mark_home(now, home);
    }

    /// Whether the home of before may still have something for an address of this shard.
    pub(crate) fn is_filled_by_another(&self, key: HomeKey) -> bool {
        let address = self.broker.homes.get(key).and_then(|home| home.address);
        let address = address.and_then(|key| self.addresses.get(key));
        address.is_some_and(|address| {
            address.home_shard == Some(self.shard)
                && self.reachable_entrance(address).is_some_and(|entrance| entrance != self.shard)
        })
    }

    /// Lets a shard wait until nothing is left here to be passed on; false when that is so already, or when
    /// nothing is passed on from here.
    pub(crate) fn wait_until_passed(
        &mut self,
        now: Instant,
        key: HomeKey,
        shard: ShardId,
        number: u64,
    ) -> bool {
        let Some(home) = self.queue_home(key) else { return false };
        let is_empty = home.has_passed_all();
        let Some(pipe) = home.pipe.as_mut().filter(|_| !is_empty) else { return false };
        pipe.asked.push((shard, number));
        self.mark_home(now, key);
        true
    }

    /// Answers those who wait until nothing is left.
    pub(crate) fn answer_asked(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.queue_home(key) else { return };
        let is_empty = home.has_passed_all();
        let Some(pipe) = home.pipe.as_mut().filter(|_| is_empty) else { return };
        for (shard, number) in std::mem::take(&mut pipe.asked) {
            self.say_passed(now, shard, number);
        }
    }

    /// A shard is gone, and does not want to know any more.
    pub(crate) fn pipes_lost(&mut self, peer: ShardId) {
        for key in self.broker.homes.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            if let Some(pipe) = self.queue_home(key).and_then(|home| home.pipe.as_mut()) {
                pipe.asked.retain(|(shard, _)| *shard != peer);
            }
        }
    }

    /// Passes on what a queue has whose home is elsewhere.
    pub(crate) fn pass_on_more(&mut self, now: Instant, key: HomeKey) {
        let unix = self.broker.clock.unix(now);
        let Some(pipe) = self.queue_home(key).and_then(|home| home.pipe.as_mut()) else { return };
        if pipe.paused_until.is_some_and(|until| until > unix) {
            return;
        }
        pipe.paused_until = None;
        let Some(course) = pipe.course else { return };
        if !self.may_begin(unix, key) {
            return;
        }
        if matches!(course, Course::Home(to) if !self.peers.contains(to)) {
            return self.pause(now, key);
        }
        loop {
            let Some(home) = self.queue_home(key) else { return };
            let Some(pipe) = home.pipe.as_mut().filter(|pipe| pipe.has_room()) else { return };
            let Some((entry, due)) = home.queue.take_first() else { break };
            pipe.under_way += 1;
            let forward = Forward::new(key, entry, To::Passed { due, body: None });
            let forward = self.broker.forwards.insert(forward);
            if let Some(pipe) = self.queue_home(key).and_then(|home| home.pipe.as_mut()) {
                pipe.lined_up.push_back(forward);
            }
            self.send_forward(now, forward);
        }
        self.say_emptied(key);
    }

    /// Whether all consumers have given back what they had not got, or have had their time.
    fn may_begin(&mut self, unix: UnixMillis, key: HomeKey) -> bool {
        let Some(queue) = self.broker.homes.get_mut(key).and_then(|home| home.queue_mut()) else {
            return false;
        };
        let Some(pipe) = queue.pipe.as_mut() else { return false };
        let Some(begins) = pipe.begins else { return true };
        let receivers = queue.receivers.iter().filter_map(|receiver| self.broker.receivers.get(*receiver));
        let mut elsewhere = receivers.filter(|receiver| receiver.shard != self.shard);
        if begins > unix && !elsewhere.all(super::home::Receiver::is_parked) {
            return false;
        }
        pipe.begins = None;
        true
    }

    /// Nothing waits here: producers can change, for what is under way takes no time worth speaking of.
    fn say_emptied(&mut self, key: HomeKey) {
        let Some(home) = self.broker.homes.get_mut(key) else { return };
        let name = home.name.clone();
        let pipe = home.queue_mut().and_then(|queue| queue.pipe.as_mut());
        if let Some(pipe) = pipe.filter(|pipe| pipe.is_entrance && !pipe.is_emptied) {
            pipe.is_emptied = true;
            self.effects.push_back(Effect::Emptied { address: name });
        }
    }

    fn pause(&mut self, now: Instant, key: HomeKey) {
        let until = UnixMillis(self.broker.clock.unix(now).0.saturating_add(PAUSE.as_millis() as u64));
        if let Some(pipe) = self.queue_home(key).and_then(|home| home.pipe.as_mut()) {
            pipe.paused_until = Some(until);
        }
    }

    /// The body of a message that is to be passed on is here: it leaves when those before it have.
    pub(crate) fn pass_on(&mut self, now: Instant, key: ForwardKey, bytes: Bytes) {
        let Some(forward) = self.broker.forwards.get_mut(key) else { return };
        let home = forward.home;
        if let To::Passed { body, .. } = &mut forward.to {
            *body = Some(bytes);
        }
        loop {
            let pipe = self.queue_home(home).and_then(|home| home.pipe.as_mut());
            let Some((course, first)) = pipe.and_then(|pipe| Some((pipe.course?, *pipe.lined_up.front()?)))
            else {
                return;
            };
            let body = match self.broker.forwards.get_mut(first).map(|forward| &mut forward.to) {
                Some(To::Passed { body, .. }) => match body.take() {
                    Some(body) => Some(body),
                    None => return,
                },
                _ => None,
            };
            if let Some(pipe) = self.queue_home(home).and_then(|home| home.pipe.as_mut()) {
                pipe.lined_up.pop_front();
            }
            if let Some(body) = body {
                self.send_on(now, first, course, body);
            }
        }
    }

    fn send_on(&mut self, now: Instant, key: ForwardKey, course: Course, body: Bytes) {
        let Some(publication) = self.publication_of(key, body) else {
            return self.passed(now, key, &Outcome::Released);
        };
        match course {
            Course::Home(to) => self.send_home(now, key, to, publication),
            Course::Shards => self.send_to_other_shard(now, key, publication),
        }
    }

    /// A message that is passed on, as it is here.
    fn publication_of(&self, key: ForwardKey, body: Bytes) -> Option<Publication> {
        let forward = self.broker.forwards.get(key)?;
        let To::Passed { due, .. } = forward.to else { return None };
        let entry = self.broker.homes.get(forward.home)?.queue()?.queue.entry(forward.entry)?;
        let moved = Moved {
            delivery_count: entry.delivery_count(),
            annotations: entry.annotations().cloned(),
            identity: entry.identity(),
        };
        Some(Publication {
            source: Source::Forward { shard: self.shard, key },
            origin: None,
            owner: entry.owner(),
            name: None,
            message_format: entry.message_format(),
            body,
            is_slice: false,
            priority: entry.priority(),
            durable: entry.is_durable(),
            arrived: entry.arrived(),
            expires: entry.expires(),
            not_before: due,
            transaction: None,
            routed: true,
            retain: Retain::No,
            given: entry.is_retained(),
            moved: Some(Box::new(moved)),
            handover: None,
        })
    }

    /// Notes which shard is about to have a message, and gives its home's name and what it is called there.
    fn note_there(&mut self, key: ForwardKey, to: ShardId) -> Option<(Arc<str>, Option<Box<Handover>>)> {
        let forward = self.broker.forwards.get_mut(key)?;
        forward.there = Some(to);
        let (home, entry) = (forward.home, forward.entry);
        let name = self.broker.homes.get(home)?.name.clone();
        Some((name, self.handover_of(home, entry, to)))
    }

    fn send_home(&mut self, now: Instant, key: ForwardKey, to: ShardId, mut publication: Publication) {
        // It may have gone while the body was loaded: nobody would answer.
        let noted = self.peers.contains(to).then(|| self.note_there(key, to)).flatten();
        let Some((name, handover)) = noted else { return self.passed(now, key, &Outcome::Released) };
        publication.handover = handover;
        let address = Destination::Address(name);
        self.send_wire(to, Wire::Publish { to: address, publication: Box::new(publication) });
    }

    /// Gives a message of a shard that its queue has no more to another one.
    fn send_to_other_shard(&mut self, now: Instant, key: ForwardKey, mut publication: Publication) {
        let home = self.broker.forwards.get(key).and_then(|forward| self.broker.homes.get(forward.home));
        let other = home.and_then(|home| self.shard_instead_of(&home.name, &publication));
        let there = other.and_then(|other| self.reachable_entrance(self.addresses.get(other)?));
        let noted = there.and_then(|there| self.note_there(key, there));
        let (Some(other), Some((_, handover))) = (other, noted) else {
            return self.passed(now, key, &Outcome::Released);
        };
        publication.handover = handover;
        self.publish(now, other, None, publication);
    }

    /// The new home has a message, or does not take it: then it waits in its place.
    pub(crate) fn passed(&mut self, now: Instant, key: ForwardKey, outcome: &Outcome) {
        let unix = self.broker.clock.unix(now);
        let Some(forward) = self.broker.forwards.remove(key) else { return };
        let (home_key, entry) = (forward.home, forward.entry);
        let To::Passed { due, .. } = forward.to else { return };
        let Some(home) = self.queue_home(home_key) else { return };
        if let Some(pipe) = &mut home.pipe {
            pipe.under_way = pipe.under_way.saturating_sub(1);
            pipe.has_begun |= *outcome == Outcome::Accepted;
            pipe.lined_up.retain(|lined_up| *lined_up != key);
        }
        if *outcome == Outcome::Accepted {
            self.finish_forward(&forward);
        } else {
            if !home.queue.put_back_until(unix, entry, due) {
                self.leave(now, home_key, entry, crate::DeadLetterReason::Expired, None);
            }
            self.pause(now, home_key);
        }
        self.mark_home(now, home_key);
    }
}
