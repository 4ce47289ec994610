//! Random operations, random crashes. `MQ_STORE_SEED` runs one seed, `MQ_STORE_ROUNDS` another number of
//! rounds.

use std::io::ErrorKind;

use super::bed::Bed;
use crate::testing::Operation;
use crate::{Compaction, Options, Reference, State, StoreError};

const ROUNDS: u64 = 2_000;

/// A client that does anything a store may be asked, from a seed.
struct Round {
    bed: Bed,
    random: fastrand::Rng,
    /// Queues come and go; an id is not used twice.
    queues: Vec<u64>,
    next_queue: u64,
    open: Vec<u64>,
    next_transaction: u64,
    /// What may be settled: messages of no open transaction, each with a queue that holds it.
    held: Vec<(u64, Reference)>,
    keys: u8,
}

/// The log refused: for a while or for good.
enum Refused {
    Full,
    Failed,
}

impl Round {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let segment_bytes = *random.choice([4096, 8192, 32768].iter()).unwrap_or(&4096);
        let recovery_bytes = if random.bool() { 1 << 20 } else { random.u64(0..2000) };
        let bed = Bed::with(random.u64(..), Options { segment_bytes, recovery_bytes });
        Self {
            bed,
            random,
            queues: (1..6).collect(),
            next_queue: 6,
            open: Vec::new(),
            next_transaction: 1,
            held: Vec::new(),
            keys: 6,
        }
    }

    fn transaction(&mut self) -> Option<u64> {
        match self.random.u8(0..10) {
            0 => {
                self.next_transaction = self.next_transaction % 7 + 1;
                if !self.open.contains(&self.next_transaction) {
                    self.open.push(self.next_transaction);
                }
                Some(self.next_transaction)
            }
            1..=3 if !self.open.is_empty() => self.random.choice(self.open.iter()).copied(),
            _ => None,
        }
    }

    fn targets(&mut self) -> Vec<u64> {
        match self.random.u8(0..10) {
            0..6 => vec![self.queues[self.random.usize(..self.queues.len())]],
            6..9 => {
                let count = self.random.usize(2..=self.queues.len());
                self.random.choose_multiple(self.queues.iter().copied(), count)
            }
            // More than fit into one word of bits.
            _ => (1000..1000 + self.random.u64(60..140)).chain([self.queues[0]]).collect(),
        }
    }

    fn body(&mut self) -> Vec<u8> {
        let length = match self.random.u16(0..200) {
            0 => self.random.usize(0..20_000),
            1..20 => self.random.usize(0..3_000),
            _ => self.random.usize(0..150),
        };
        let seed = self.random.u8(..);
        (0..length).map(|place| (place as u8).wrapping_mul(seed)).collect()
    }

    fn append(&mut self) -> Result<(), StoreError> {
        let targets = self.targets();
        let transaction = self.transaction();
        let durable = self.random.u8(0..5) > 0;
        let body = self.body();
        let reference = self.bed.append(&targets, durable, transaction, &body)?;
        if transaction.is_none() {
            self.held.extend(targets.into_iter().map(|queue| (queue, reference)));
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        if self.held.is_empty() {
            return Ok(());
        }
        // Mostly in order, as queues are emptied.
        let last = if self.random.u8(0..4) > 0 { self.held.len().min(5) } else { self.held.len() };
        let number = self.random.usize(..last);
        let (queue, reference) = self.held[number];
        let transaction = self.transaction();
        self.bed.settle(queue, reference, transaction)?;
        if self.random.u8(0..20) > 0 {
            self.held.remove(number);
        }
        Ok(())
    }

    fn operate(&mut self) -> Result<(), StoreError> {
        match self.random.u8(0..100) {
            0..40 => self.append(),
            40..70 => self.settle(),
            70..76 if !self.held.is_empty() => {
                let (queue, reference) = self.held[self.random.usize(..self.held.len())];
                let state = vec![self.random.u8(..); self.random.usize(0..10)];
                self.bed.update(queue, reference, &state)
            }
            76..80 => {
                let key = [b'k', self.random.u8(..self.keys)];
                let value = vec![self.random.u8(..); self.random.usize(0..100)];
                let transaction = self.transaction();
                self.bed.put_in(&key, &value, transaction)
            }
            80..83 => {
                let key = [b'k', self.random.u8(..self.keys)];
                let transaction = self.transaction();
                self.bed.delete_in(&key, transaction)
            }
            83..85 => {
                let number = self.random.usize(..self.queues.len());
                self.bed.forget(self.queues[number])?;
                self.queues[number] = self.next_queue;
                self.next_queue += 1;
                Ok(())
            }
            85..92 if !self.open.is_empty() => {
                let number = self.random.usize(..self.open.len());
                if self.random.u8(0..3) == 0 {
                    self.bed.rollback(self.open[number]);
                } else {
                    self.bed.commit(self.open[number])?;
                }
                self.open.remove(number);
                Ok(())
            }
            92..97 => {
                let sync = self.random.bool();
                self.bed.flush(sync)
            }
            97..99 => {
                for _ in 0..self.random.u8(1..20) {
                    if self.bed.log.compact_step(self.random.u64(0..5000))? == Compaction::Idle {
                        self.bed.check_disk_bound();
                        break;
                    }
                }
                Ok(())
            }
            _ => {
                self.bed.check_bodies();
                Ok(())
            }
        }
    }

    fn operate_for(&mut self, operations: usize) -> Result<(), Refused> {
        for _ in 0..operations {
            match self.operate() {
                Ok(()) => {}
                Err(StoreError::Full { .. }) => return Err(Refused::Full),
                Err(StoreError::Failed { .. }) => return Err(Refused::Failed),
                Err(StoreError::Io { source, .. }) if self.bed.disk.is_off() => {
                    assert_eq!(source.kind(), ErrorKind::Other);
                    return Err(Refused::Failed);
                }
                Err(error) => panic!("{error}"),
            }
        }
        Ok(())
    }

    /// From here to a crash of one kind or another, and past it.
    fn live(mut self) -> Self {
        let operations = self.random.usize(0..150);
        match self.random.u8(0..8) {
            0 => self.bed.disk.cut_power_after(self.random.u64(0..40)),
            1 => self.fail(Operation::Sync),
            2 => self.fail(Operation::Write),
            3 => {
                let room = self.random.u64(0..20_000);
                self.bed.disk.set_capacity(Some(self.bed.disk.used() + room));
            }
            _ => {}
        }
        match self.operate_for(operations) {
            Ok(()) => {}
            Err(Refused::Full) => self.make_room(),
            Err(Refused::Failed) => {
                if !self.bed.disk.is_off() {
                    assert_eq!(self.bed.log.status().state, State::Failed);
                    self.bed.log.flush(false).expect_err("a log that failed takes nothing");
                }
            }
        }
        let end = self.random.u8(0..4);
        self.open.clear();
        self.bed = match end {
            _ if self.bed.disk.is_off() => self.bed.crash(),
            0 => self.bed.kill(),
            // What a flush says, goes: when it fails, the crash may take what it was for.
            1 => {
                let _ = self.bed.flush(true);
                self.bed.crash()
            }
            _ => self.bed.crash(),
        };
        self.bed.disk.set_capacity(None);
        self.held = self.bed.model.messages.keys().map(|(reference, queue)| (queue.0, *reference)).collect();
        self
    }

    fn fail(&mut self, operation: Operation) {
        self.bed.disk.fail(operation, self.random.u64(0..10), ErrorKind::Other);
    }

    /// A full disk: what was taken is there, and with room the log goes on.
    fn make_room(&mut self) {
        self.bed.flush(true).expect("a full disk keeps what was taken");
        self.bed.check_bodies();
        self.bed.disk.set_capacity(None);
        self.bed.compact();
        self.bed.append(&self.queues[..1], true, None, b"again").expect("there is room again");
        assert_eq!(self.bed.log.status().state, State::Ready);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_durable_is_lost_and_nothing_settled_returns() {
    let only = number("MQ_STORE_SEED");
    let rounds = number("MQ_STORE_ROUNDS").unwrap_or(ROUNDS);
    let seeds = only.map_or(0..rounds, |seed| seed..seed + 1);
    for seed in seeds {
        let ran = std::panic::catch_unwind(|| {
            let mut round = Round::new(seed);
            for _ in 0..round.random.u8(1..6) {
                round = round.live();
            }
            round.bed.sync();
            round.bed.compact();
            round.bed.check_bodies();
            round.bed.kill().log.close().expect("the disk works");
        });
        assert!(ran.is_ok(), "run again with MQ_STORE_SEED={seed}");
    }
}
