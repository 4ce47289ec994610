//! Whose turn it is: the clients of a space take no more of a busy shard than those of another one, however many
//! connections they have.
//!
//! Deficit round robin over the time that turns take. In each round a space has a share; a connection whose space has
//! used it up passes until everybody who is ready has been asked. That is so when a connection would pass once more and
//! nobody has taken a turn since it passed: then the next round begins. So no time is left unused, and a shard whose
//! connections are all of one space pays nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use slab::Slab;

use super::{READ_SIZE, READS_PER_TURN, Shard};

/// What a space may use of a round.
const SHARE: Duration = Duration::from_micros(100);

/// Bytes of the one read in a turn of whoever shares the shard with other spaces: small enough that what they bring
/// takes about a [`SHARE`], since nobody waits for less than the turn of somebody else.
const SHARED_READ_SIZE: usize = 16 << 10;

/// Connections that a turn of whoever shares the shard writes to: credit that comes back can concern a thousand at
/// once, and each costs a call of the system.
const SHARED_WRITES: usize = 4;

/// How much a space can owe, in shares: a turn that took long by accident is not paid for ever.
const MOST_OWED: u32 = 4;

/// The spaces of a shard's connections, and what they have used.
#[derive(Debug, Default)]
pub(super) struct Turns {
    spaces: Slab<Share>,
    by_name: HashMap<Arc<str>, usize>,
    round: u64,
    /// Goes up by two with each turn that is taken.
    taken: u64,
    /// Whose turn is being taken, where spaces share.
    current: Option<usize>,
}

#[derive(Debug)]
struct Share {
    name: Arc<str>,
    connections: usize,
    round: u64,
    /// What is left of the round; below zero: what is owed.
    left: i64,
}

/// Where a connection stands in the turns of its shard. Small: each connection has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its space; [`NOBODY`] until that is known.
    space: u32,
    /// [`Turns::taken`] when it passed last, without its upper half; 0: it has not passed.
    passed: u32,
}

/// No space of [`Turns`].
const NOBODY: u32 = u32::MAX;

impl Default for Place {
    fn default() -> Self {
        Self::NEW
    }
}

impl Place {
    const NEW: Self = Self { space: NOBODY, passed: 0 };

    fn space(self) -> Option<usize> {
        (self.space != NOBODY).then_some(self.space as usize)
    }
}

impl Turns {
    /// Gives a connection its place among those of its space.
    pub(super) fn enter(&mut self, place: &mut Place, name: &Arc<str>) {
        self.leave(place);
        let key = match self.by_name.get(name) {
            Some(key) => *key,
            None => {
                let share =
                    Share { name: name.clone(), connections: 0, round: self.round, left: nanos(SHARE) };
                let key = self.spaces.insert(share);
                self.by_name.insert(name.clone(), key);
                key
            }
        };
        if let Some(share) = self.spaces.get_mut(key) {
            share.connections += 1;
            place.space = u32::try_from(key).unwrap_or(NOBODY);
        }
    }

    /// A connection has ended, or goes elsewhere.
    pub(super) fn leave(&mut self, place: &mut Place) {
        let Some(key) = std::mem::take(place).space() else { return };
        let Some(share) = self.spaces.get_mut(key) else { return };
        share.connections -= 1;
        if share.connections == 0 {
            let share = self.spaces.remove(key);
            self.by_name.remove(&share.name);
        }
    }

    /// Whether spaces have to share.
    fn is_shared(&self) -> bool {
        self.spaces.len() > 1
    }

    /// How often a turn may read, and how much each time: less of both where others wait for its end. `waiting`
    /// bytes have been read before of what is not whole yet. They are moved with each turn, so that it gets as much
    /// again: what is large does not cost more the more often it is read from.
    pub(super) fn reads(&self, waiting: usize) -> (usize, usize) {
        if self.is_shared() {
            (1, waiting.clamp(SHARED_READ_SIZE, READS_PER_TURN * READ_SIZE))
        } else {
            (READS_PER_TURN, READ_SIZE)
        }
    }

    /// Connections that may be written to before the turn is over.
    pub(super) fn writes(&self) -> usize {
        if self.current.is_some() { SHARED_WRITES } else { usize::MAX }
    }

    /// Whether what there is for a connection is written in the turn that is being taken: what is left from a turn of
    /// another space is for that space's own turns.
    pub(super) fn is_of_turn(&self, place: Place) -> bool {
        match (self.current, place.space()) {
            (Some(current), Some(space)) => current == space,
            _ => true,
        }
    }

    /// Whether a connection that is ready takes a turn now; if not, it is asked again when others have been.
    fn begin(&mut self, place: &mut Place) -> bool {
        if !self.is_shared() {
            return true;
        }
        let Some(share) = place.space().and_then(|key| self.spaces.get_mut(key)) else { return true };
        share.catch_up(self.round);
        if share.left <= 0 {
            // Never 0, which means that it has not passed.
            let taken = self.taken as u32 | 1;
            if place.passed != taken {
                place.passed = taken;
                return false;
            }
            self.round += 1;
            share.catch_up(self.round);
            if share.left <= 0 {
                return false;
            }
        }
        place.passed = 0;
        self.current = place.space();
        true
    }

    /// A turn has taken this long.
    fn end(&mut self, place: Place, took: Duration) {
        self.current = None;
        self.taken += 2;
        if let Some(share) = place.space().and_then(|key| self.spaces.get_mut(key)) {
            share.left = (share.left - nanos(took)).max(-nanos(SHARE * MOST_OWED));
        }
    }
}

impl Share {
    /// Gets what it has not got yet of the rounds until this one. Nothing is saved up.
    fn catch_up(&mut self, round: u64) {
        let rounds = i64::try_from(round - self.round).unwrap_or(i64::MAX);
        self.round = round;
        self.left = self.left.saturating_add(rounds.saturating_mul(nanos(SHARE))).min(nanos(SHARE));
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl Shard {
    /// Whether a connection that is ready takes a turn now; if not, its task runs again when the sockets have been
    /// looked at, behind those that are ready by then. Returns when the turn began, if it counts.
    pub(super) fn begin_turn(&mut self, now: Instant, key: usize, context: &mut Context<'_>) -> Option<Turn> {
        let Some(connection) = self.connections.get_mut(key) else { return Some(Turn::FREE) };
        if connection.place.space().is_none()
            && let Some(access) = &connection.caller.access
        {
            self.turns.enter(&mut connection.place, access.space().name());
        }
        if !self.turns.is_shared() {
            return Some(Turn::FREE);
        }
        if self.turns.begin(&mut connection.place) {
            return Some(Turn { place: connection.place, began: Some(now) });
        }
        let mut pass = std::pin::pin!(tokio::task::yield_now());
        // It is woken later, and does nothing but that.
        let _ = pass.as_mut().poll(context);
        None
    }

    /// A turn is over.
    pub(super) fn end_turn(&mut self, turn: Turn) {
        if let Some(began) = turn.began {
            self.turns.end(turn.place, began.elapsed());
        }
    }
}

/// A turn that is being taken.
#[derive(Debug)]
pub(super) struct Turn {
    place: Place,
    /// `None`: nobody else could wait for it.
    began: Option<Instant>,
}

impl Turn {
    const FREE: Self = Self { place: Place::NEW, began: None };
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A shard whose ready connections are asked in the order in which they became ready.
    struct Bed {
        turns: Turns,
        places: Vec<Place>,
        ready: VecDeque<usize>,
        now: Duration,
        /// How long the connections of each space have been served.
        served: HashMap<usize, Duration>,
        asked: usize,
    }

    impl Bed {
        fn new(connections: &[(&str, usize)]) -> Self {
            let (mut turns, mut places) = (Turns::default(), Vec::new());
            for (name, count) in connections {
                let name: Arc<str> = (*name).into();
                for _ in 0..*count {
                    let mut place = Place::default();
                    turns.enter(&mut place, &name);
                    places.push(place);
                }
            }
            Self {
                turns,
                places,
                ready: VecDeque::new(),
                now: Duration::ZERO,
                served: HashMap::new(),
                asked: 0,
            }
        }

        /// Asks the next one, who works for so long; returns who has taken a turn.
        fn step(&mut self, work: Duration) -> Option<usize> {
            let next = self.ready.pop_front()?;
            self.asked += 1;
            if !self.turns.begin(&mut self.places[next]) {
                self.ready.push_back(next);
                return None;
            }
            self.now += work;
            self.turns.end(self.places[next], work);
            *self.served.entry(self.places[next].space().unwrap()).or_default() += work;
            Some(next)
        }
    }

    #[test]
    fn a_space_with_many_busy_connections_gets_no_more_than_one_with_a_single_one() {
        let mut bed = Bed::new(&[("noisy", 100), ("quiet", 1)]);
        bed.ready.extend(0..101);
        while bed.now < SHARE * 2_000 {
            if let Some(served) = bed.step(SHARE / 3) {
                bed.ready.push_back(served);
            }
        }
        let [noisy, quiet] = [0, 1].map(|space| bed.served[&space]);
        assert!(noisy.abs_diff(quiet) < SHARE * 10, "{noisy:?} {quiet:?}");
    }

    #[test]
    fn a_space_with_little_to_do_waits_for_a_few_turns_of_a_busy_one_at_most() {
        let mut bed = Bed::new(&[("noisy", 100), ("quiet", 1)]);
        bed.ready.extend(0..100);
        let (mut next, mut since, mut longest) = (Duration::from_millis(5), None, Duration::ZERO);
        while bed.now < Duration::from_secs(1) {
            if bed.now >= next && since.is_none() {
                since = Some(bed.now);
                bed.ready.push_back(100);
            }
            match bed.step(SHARE / 3) {
                Some(100) => {
                    longest = longest.max(bed.now.saturating_sub(since.take().unwrap()));
                    next = bed.now + Duration::from_millis(5);
                }
                Some(served) => bed.ready.push_back(served),
                None => {}
            }
        }
        assert!(longest <= SHARE * 3, "{longest:?}");
    }

    #[test]
    fn a_busy_space_gets_all_of_the_time_that_nobody_else_needs() {
        let mut bed = Bed::new(&[("noisy", 10), ("idle", 10)]);
        bed.ready.extend(0..10);
        let mut turns = 0;
        while bed.now < SHARE * 1_000 {
            if let Some(served) = bed.step(SHARE / 10) {
                turns += 1;
                bed.ready.push_back(served);
            }
        }
        assert_eq!(turns, 10_000);
        assert!(bed.asked < turns * 3, "{} were asked for {turns} turns", bed.asked);
    }

    #[test]
    fn a_turn_that_took_long_is_paid_for_in_a_few_rounds() {
        let mut bed = Bed::new(&[("slow", 1), ("busy", 1)]);
        bed.ready.extend([0, 1]);
        assert_eq!(bed.step(Duration::from_secs(10)), Some(0));
        bed.ready.push_back(0);
        let mut others = 0;
        loop {
            match bed.step(SHARE) {
                Some(0) => break,
                Some(other) => {
                    others += 1;
                    bed.ready.push_back(other);
                }
                None => {}
            }
        }
        assert!(others <= MOST_OWED + 1, "{others}");
    }

    #[test]
    fn a_shard_with_one_space_asks_nobody_to_wait() {
        let mut bed = Bed::new(&[("only", 3)]);
        bed.ready.extend(0..3);
        for _ in 0..100 {
            let served = bed.step(SHARE * 2).expect("it takes its turn");
            bed.ready.push_back(served);
        }
    }

    #[test]
    fn a_turn_of_a_space_writes_to_a_few_connections_of_its_own() {
        let mut bed = Bed::new(&[("a", 2), ("b", 1)]);
        assert_eq!(bed.turns.writes(), usize::MAX, "nobody's turn");
        assert!(bed.turns.begin(&mut bed.places[0]));
        assert_eq!(bed.turns.writes(), SHARED_WRITES);
        let is_of_turn = [0, 1, 2].map(|index| bed.turns.is_of_turn(bed.places[index]));
        assert_eq!(is_of_turn, [true, true, false]);
        assert!(bed.turns.is_of_turn(Place::NEW), "whose space is not known is nobody's rival");
        bed.turns.end(bed.places[0], SHARE);
        assert_eq!(bed.turns.writes(), usize::MAX);
        assert!(bed.turns.is_of_turn(bed.places[2]));
    }

    #[test]
    fn who_shares_a_shard_reads_less_in_a_turn_but_for_what_is_large() {
        let reads = |bed: &Bed, waiting| {
            let (count, size) = bed.turns.reads(waiting);
            count * size
        };
        let (alone, shared) = (Bed::new(&[("only", 2)]), Bed::new(&[("a", 1), ("b", 1)]));
        let most = reads(&alone, 0);
        assert_eq!([reads(&alone, 1 << 30), reads(&shared, 1 << 30)], [most, most]);
        assert_eq!(reads(&shared, 0), SHARED_READ_SIZE);
        assert_eq!(reads(&shared, 3 * SHARED_READ_SIZE), 3 * SHARED_READ_SIZE);
    }

    #[test]
    fn nothing_is_left_of_a_space_whose_connections_have_gone() {
        let mut bed = Bed::new(&[("a", 2), ("b", 1)]);
        let mut places = std::mem::take(&mut bed.places);
        for place in &mut places {
            bed.turns.leave(place);
        }
        assert!(bed.turns.spaces.is_empty() && bed.turns.by_name.is_empty());
    }
}
