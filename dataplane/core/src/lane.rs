//! Lanes: what the consumers of one session share. A lane has a budget of bytes that the core may
//! emit to it; a consumer that is next while the budget is used up is held by the lane.
//!
//! The lane is looked at when a consumer is about to be given something, not when the budget runs
//! out: a lane with a thousand consumers costs nothing until each of them is next.

use std::time::Instant;

use crate::consumer::{ByPlace, Place};
use crate::core::Core;
use crate::key::{ConsumerKey, LaneKey};
use crate::list::List;

/// What every `Deliver` and `Continue` costs beyond the bytes of its chunk.
const CHUNK_COST: i64 = 64;

#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Bytes that may still be emitted. The last chunk may take it below zero.
    budget: i64,
    /// Consumers that would have been given something but for the budget, longest first.
    pub(crate) held: List<ConsumerKey, ByPlace>,
}

impl Core {
    /// Adds a lane with an empty budget.
    pub fn add_lane(&mut self) -> LaneKey {
        self.lanes.insert(Lane::default())
    }

    /// Removes a lane. Remove its consumers first; those that are left get nothing any more.
    pub fn remove_lane(&mut self, _now: Instant, lane: LaneKey) {
        while let Some(consumer) = self.lanes.get(lane).and_then(|lane| lane.held.first()) {
            self.set_aside(consumer);
        }
        self.lanes.remove(lane);
    }

    /// Says how many bytes the core may emit to the lane from now on. Every `Deliver` and `Continue`
    /// costs the length of its chunk and 64 more; they stop once the budget is used up, so that the
    /// last one may exceed it by its own cost.
    pub fn set_lane_budget(&mut self, now: Instant, lane: LaneKey, bytes: usize) {
        let Some(value) = self.lanes.get_mut(lane) else { return };
        value.budget = i64::try_from(bytes).unwrap_or(i64::MAX);
        loop {
            let Some(value) = self.lanes.get_mut(lane) else { return };
            if value.budget <= 0 {
                return;
            }
            let Some(key) = value.held.pop_front(&mut self.consumers) else { return };
            if let Some(consumer) = self.consumers.get_mut(key) {
                consumer.place = Place::Aside;
            }
            self.advance(now, key);
        }
    }

    /// Whether the lane lets something out now.
    pub(crate) fn has_budget(&self, lane: LaneKey) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.budget > 0)
    }

    /// Pays for a chunk.
    pub(crate) fn spend(&mut self, lane: LaneKey, bytes: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.budget = lane.budget.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX)) - CHUNK_COST;
        }
    }

    /// Lets the lane hold a consumer that would have been given something but for the budget.
    pub(crate) fn hold(&mut self, key: ConsumerKey) {
        if self.consumers.get(key).is_none_or(|consumer| consumer.place == Place::Held) {
            return;
        }
        self.set_aside(key);
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let Some(lane) = self.lanes.get_mut(consumer.lane) else { return };
        consumer.place = Place::Held;
        lane.held.push_back(&mut self.consumers, key);
    }
}
