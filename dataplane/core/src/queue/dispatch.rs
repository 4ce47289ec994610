//! Which consumer gets which message.
//!
//! The least busy consumer is next. A plain one gets the first message that there is. A selective one
//! (with a filter, on a queue with groups, after it has said of a message that it cannot be delivered to
//! it, or because it only browses) gets the first that it may have: it looks at each message once and
//! remembers how far it has come; entries that come back behind that place are noted for it. The search
//! is bounded for each call, and goes on with the next.

use std::num::NonZeroU32;

use super::entry::{EntryKey, Flag, ROWS, Stage, State};
use super::keys::Keys;
use super::member::{Member, MemberKey, MemberOptions, Members, Place, View};
use super::{Delivery, Next, NotAlone, Queue};
use crate::format::{DeadLetterReason, Filter};
use crate::store::UnixMillis;

/// Entries that are looked at for selective consumers in one call.
pub(super) const SCAN_STEPS: u32 = 1_024;
/// Those of them for a consumer whose search was cut short before.
const SCANNING_STEPS: u32 = 256;
/// A consumer with more entries to look at again starts anew.
const MAX_CANDIDATES: usize = 8_192;

/// The first entry for plain consumers.
enum Head {
    None,
    /// Its body has to be loaded.
    Cold,
    Entry(EntryKey),
}

/// The next entry for a selective consumer.
enum Found {
    Entry(EntryKey),
    Nothing,
    /// This one may be it; its body has to be loaded.
    Cold(EntryKey),
    /// The search was cut short.
    NotYet,
}

/// Whether a consumer may have an entry.
enum Verdict {
    Yes,
    No,
    Cold,
}

impl Queue {
    /// Lets a consumer in. It gets nothing before it has credit.
    ///
    /// # Errors
    /// When it or another one wants to be alone. Browsers do not count.
    pub fn add_consumer(&mut self, options: MemberOptions) -> Result<MemberKey, NotAlone> {
        let is_selective = options.browse || options.filter.is_some() || self.settings.groups;
        let members = self.members.get_or_insert_default();
        if !options.browse {
            let has_others = members.iter().any(|(_, member)| !member.browse);
            if members.exclusive.is_some() || options.exclusive && has_others {
                return Err(NotAlone);
            }
        }
        let generation = &mut self.counts.generation;
        *generation = generation.checked_add(1).unwrap_or(1);
        let generation = NonZeroU32::new(*generation).unwrap_or(NonZeroU32::MIN);
        let is_exclusive = options.exclusive && !options.browse;
        let mut member = Member::new(options, is_selective);
        if let Some(view) = &mut member.view {
            view.returned = members.returned_end();
        }
        let key = members.insert(member, generation);
        if is_exclusive {
            members.exclusive = members.index(key);
        }
        self.choose_roles();
        Ok(key)
    }

    /// Says who is on standby, and who is selective, by the settings.
    pub(super) fn choose_roles(&mut self) {
        let Some(members) = &mut self.members else { return };
        if self.settings.groups {
            for index in members.indices() {
                members.make_selective(index);
            }
        }
        if !self.settings.exclusive && !members.has_standby {
            return;
        }
        members.has_standby = self.settings.exclusive;
        let consumers = members.iter().filter(|(_, member)| !member.browse);
        let active = consumers.min_by_key(|(_, member)| member.number).map(|(index, _)| index);
        for index in members.indices() {
            if let Some(member) = members.get_mut(index) {
                member.standby = self.settings.exclusive && !member.browse && active != Some(index);
                members.settle_place(index);
            }
        }
    }

    /// How many deliveries the consumer will take from now on. With `drain`, what cannot be used now is
    /// taken back: see `poll_drained`.
    pub fn set_credit(&mut self, consumer: MemberKey, credit: u32, drain: bool) {
        let Some(members) = &mut self.members else { return };
        let Some(index) = members.index(consumer) else { return };
        let Some(member) = members.get_mut(index) else { return };
        member.credit = credit;
        if std::mem::replace(&mut member.draining, drain) != drain {
            if drain {
                members.draining.push(index);
            } else {
                members.draining.retain(|other| *other != index);
            }
        }
        members.settle_place(index);
    }

    /// A consumer that is held gets nothing, whatever its credit: its connection is slow.
    pub fn set_held(&mut self, consumer: MemberKey, held: bool) {
        let Some(members) = &mut self.members else { return };
        let Some(index) = members.index(consumer) else { return };
        if let Some(member) = members.get_mut(index)
            && member.held != held
        {
            member.held = held;
            members.settle_place(index);
        }
    }

    /// What the consumer may still be handed.
    pub fn credit(&self, consumer: MemberKey) -> u32 {
        self.member(consumer).map_or(0, |member| member.credit)
    }

    /// Entries that the consumer has.
    pub fn outstanding(&self, consumer: MemberKey) -> u32 {
        self.member(consumer).map_or(0, |member| member.outstanding)
    }

    pub(super) fn member(&self, consumer: MemberKey) -> Option<&Member> {
        let members = self.members.as_ref()?;
        members.get(members.index(consumer)?)
    }

    /// Hands out the next message: to the consumer with the fewest that it has not settled, and among
    /// equals to the one that has waited longest, the first message that it may have.
    pub fn next(&mut self, now: UnixMillis) -> Next {
        // Taken out for the time being: nothing on the way looks for consumers.
        let Some(mut members) = self.members.take() else { return Next::Idle };
        let mut next = self.choose(now, &mut members);
        while next == Next::Idle && self.end_vain_waits(&mut members) {
            next = self.choose(now, &mut members);
        }
        self.members = Some(members);
        next
    }

    #[inline]
    fn choose(&mut self, now: UnixMillis, members: &mut Members) -> Next {
        self.continue_scan(now, members);
        let mut budget = SCAN_STEPS;
        let mut plain = true;
        while let Some(index) = members.first_ready(plain, budget > 0) {
            let is_plain = members.get(index).is_some_and(|member| member.view.is_none());
            if is_plain {
                match self.head(now) {
                    Head::Entry(key) => return self.hand_out(members, index, key),
                    // Plain consumers have to wait; selective ones look for themselves.
                    Head::None | Head::Cold => plain = false,
                }
                continue;
            }
            match self.find(now, members, index, &mut budget) {
                Found::Entry(key) => return self.hand_out(members, index, key),
                Found::Nothing => members.move_to(index, Place::Starved),
                Found::Cold(key) => self.await_body(members, index, key),
                Found::NotYet => members.move_to(index, Place::Scanning),
            }
        }
        if members.first_scanning().is_some() || budget == 0 { Next::More } else { Next::Idle }
    }

    /// Goes on with a search that was cut short.
    #[inline]
    fn continue_scan(&mut self, now: UnixMillis, members: &mut Members) {
        let Some(index) = members.first_scanning() else { return };
        let mut budget = SCANNING_STEPS;
        match self.find(now, members, index, &mut budget) {
            Found::Entry(_) => members.end_turn(index),
            Found::Nothing => members.move_to(index, Place::Starved),
            Found::Cold(key) => self.await_body(members, index, key),
            Found::NotYet => members.move_to(index, Place::Scanning),
        }
    }

    /// The first entry that any consumer may get.
    #[inline]
    fn head(&mut self, now: UnixMillis) -> Head {
        if self.counts.of(Stage::Available) == 0 {
            return Head::None;
        }
        for index in 0..ROWS {
            while let Some(row) = self.rows.get_mut(index).and_then(Option::as_deref_mut)
                && let Some(sequence) = row.first_open()
                && let Some(entry) = row.get(sequence)
            {
                let key = EntryKey::new(index, sequence);
                if entry.expires <= now {
                    self.expire(key);
                    continue;
                }
                return if entry.body.is_some() { Head::Entry(key) } else { Head::Cold };
            }
        }
        Head::None
    }

    /// Gives an entry to a consumer.
    #[inline]
    fn hand_out(&mut self, members: &mut Members, index: u32, key: EntryKey) -> Next {
        let Some(consumer) = members.key(index) else { return Next::Idle };
        let Some(member) = members.get_mut(index) else { return Next::Idle };
        let (owner, browse) = (member.owner, member.browse);
        member.credit -= 1;
        if let Some(view) = &mut member.view {
            view.candidates.remove(&key);
        }
        let mut first = false;
        if !browse {
            member.outstanding += 1;
            member.has.push_back(key);
            first = self.acquire(key, consumer);
        }
        members.end_turn(index);
        Next::Deliver(Delivery { consumer, owner, entry: key, browse, first })
    }

    /// Says whether it is the first time that a consumer has the entry.
    #[inline]
    fn acquire(&mut self, key: EntryKey, consumer: MemberKey) -> bool {
        let Some(row) = self.rows.get_mut(key.row()).and_then(Option::as_deref_mut) else { return false };
        let Some(entry) = row.close(key.sequence()) else { return false };
        self.counts.subtract(Stage::Available);
        self.counts.add(Stage::Acquired);
        entry.state = State::Acquired { consumer };
        self.counts.end_ahead(entry);
        let first = !entry.is(Flag::Acquired);
        self.counters.redelivered += u64::from(!first);
        entry.set(Flag::Acquired, true);
        let group = entry.group;
        if group != 0
            && let Some(keys) = &mut self.keys
        {
            keys.groups.set_consumer(group, Some(consumer));
        }
        first
    }

    /// The next entry for a selective consumer.
    fn find(&mut self, now: UnixMillis, members: &mut Members, index: u32, budget: &mut u32) -> Found {
        let Some(me) = members.key(index) else { return Found::Nothing };
        let Some(member) = members.get_mut(index) else { return Found::Nothing };
        let Some(mut view) = member.view.take() else { return Found::Nothing };
        let filter = member.filter.take();
        let looker = Looker { me, browse: member.browse, filter: filter.as_deref() };
        let found = self.look(now, members, &looker, &mut view, budget);
        if let Some(member) = members.get_mut(index) {
            member.view = Some(view);
            member.filter = filter;
        }
        found
    }

    fn look(
        &mut self,
        now: UnixMillis,
        members: &Members,
        looker: &Looker<'_>,
        view: &mut View,
        budget: &mut u32,
    ) -> Found {
        if !looker.browse {
            self.note_candidates(members, view);
        }
        loop {
            let best = self.best_candidate(now, looker, view);
            let before = best.map(|(key, _)| key);
            if let Some(found) = self.scan(now, looker, view, before, budget) {
                return found;
            }
            let Some((key, is_judged)) = best else { return Found::Nothing };
            if is_judged && self.entry(key).is_some_and(|entry| entry.body.is_some()) {
                return Found::Entry(key);
            }
            if *budget == 0 {
                return Found::NotYet;
            }
            *budget -= 1;
            match self.judge(looker, key) {
                Verdict::Yes => {
                    view.candidates.insert(key, true);
                    return Found::Entry(key);
                }
                Verdict::Cold => return Found::Cold(key),
                Verdict::No => view.candidates.remove(&key),
            };
        }
    }

    /// Takes note of the entries that came back behind the cursors.
    fn note_candidates(&self, members: &Members, view: &mut View) {
        if view.returned < members.returned_start || view.candidates.len() > MAX_CANDIDATES {
            *view = View { returned: members.returned_end(), ..View::default() };
        }
        while let Some(key) = members.returned.get((view.returned - members.returned_start) as usize) {
            if view.is_behind(*key) && self.is_open(*key) {
                view.candidates.entry(*key).or_insert(false);
            }
            view.returned += 1;
        }
    }

    /// The first entry behind the cursors that the consumer may have, and whether its filter has seen it.
    fn best_candidate(
        &mut self,
        now: UnixMillis,
        looker: &Looker<'_>,
        view: &mut View,
    ) -> Option<(EntryKey, bool)> {
        while let Some((key, is_judged)) =
            view.candidates.first_key_value().map(|(key, judged)| (*key, *judged))
        {
            let entry = self.entry(key).filter(|_| self.is_open(key));
            let entry = entry.filter(|entry| looker.may_have(entry, self.keys.as_deref()));
            match entry.map(|entry| entry.expires <= now) {
                Some(false) => return Some((key, is_judged)),
                Some(true) => self.expire(key),
                None => {}
            }
            view.candidates.remove(&key);
        }
        None
    }

    /// Looks at entries that it has not looked at, as long as they come before `before`. `None`: done.
    fn scan(
        &mut self,
        now: UnixMillis,
        looker: &Looker<'_>,
        view: &mut View,
        before: Option<EntryKey>,
        budget: &mut u32,
    ) -> Option<Found> {
        let rows = before.map_or(ROWS, |key| key.row() + 1);
        for index in 0..rows {
            let cursor = view.cursors.get_mut(index)?;
            while let Some(row) = self.rows.get(index).and_then(Option::as_deref) {
                let Some(sequence) = row.next_open(*cursor) else {
                    // What is not available now is noted when it comes back.
                    *cursor = row.frontier();
                    break;
                };
                let key = EntryKey::new(index, sequence);
                if before.is_some_and(|before| before < key) {
                    break;
                }
                if *budget == 0 {
                    return Some(Found::NotYet);
                }
                *budget -= 1;
                if row.get(sequence).is_some_and(|entry| entry.expires <= now) {
                    self.expire(key);
                    continue;
                }
                let verdict = self.judge(looker, key);
                if matches!(verdict, Verdict::Cold) {
                    return Some(Found::Cold(key));
                }
                *cursor = sequence + 1;
                if matches!(verdict, Verdict::Yes) {
                    view.candidates.insert(key, true);
                    return Some(Found::Entry(key));
                }
            }
        }
        None
    }

    fn is_open(&self, key: EntryKey) -> bool {
        self.row(key).is_some_and(|row| row.is_open(key.sequence()))
    }

    fn judge(&mut self, looker: &Looker<'_>, key: EntryKey) -> Verdict {
        let Some(entry) = self.entry(key) else { return Verdict::No };
        if !looker.may_have(entry, self.keys.as_deref()) {
            return Verdict::No;
        }
        let Some(body) = &entry.body else { return Verdict::Cold };
        if looker.filter.is_none_or(|filter| filter.matches(entry.message_format(), body)) {
            return Verdict::Yes;
        }
        if entry.is(Flag::Ahead) {
            // It was loaded to be looked at.
            self.drop_body(key);
        }
        Verdict::No
    }

    /// A message's time to live has run out.
    pub(super) fn expire(&mut self, key: EntryKey) {
        let settled = self.leave(key, DeadLetterReason::Expired);
        self.note(key, settled);
    }

    /// A consumer whose credit was to be drained and for which there is nothing more: its credit is 0
    /// now. To be asked after `next` was `Idle`. Also gives the consumer's `owner`.
    pub fn poll_drained(&mut self) -> Option<(MemberKey, u64)> {
        self.members.as_ref().filter(|members| !members.draining.is_empty())?;
        let is_empty = !self.has_open();
        self.end_drain(|member| {
            member.credit == 0 || member.standby || is_empty || member.place() == Place::Starved
        })
    }

    /// The same for those alone that have no credit: more may come for the others.
    pub fn poll_spent(&mut self) -> Option<(MemberKey, u64)> {
        self.end_drain(|member| member.credit == 0)
    }

    fn end_drain(&mut self, is_over: impl Fn(&Member) -> bool) -> Option<(MemberKey, u64)> {
        let members = self.members.as_mut()?;
        let mut draining = members.draining.iter().copied();
        let index = draining.find(|index| members.get(*index).is_some_and(&is_over))?;
        members.draining.retain(|other| *other != index);
        let key = members.key(index)?;
        let member = members.get_mut(index)?;
        member.credit = 0;
        member.draining = false;
        let owner = member.owner;
        members.settle_place(index);
        Some((key, owner))
    }
}

/// Who looks for an entry.
struct Looker<'a> {
    me: MemberKey,
    browse: bool,
    filter: Option<&'a dyn Filter>,
}

impl Looker<'_> {
    /// Whether nothing but its filter keeps an entry from it.
    fn may_have(&self, entry: &super::Entry, keys: Option<&Keys>) -> bool {
        if self.browse {
            return true;
        }
        if entry.rare.as_ref().is_some_and(|rare| rare.refused.contains(&self.me)) {
            return false;
        }
        entry.group == 0
            || keys.and_then(|keys| keys.groups.consumer(entry.group)).is_none_or(|other| other == self.me)
    }
}
