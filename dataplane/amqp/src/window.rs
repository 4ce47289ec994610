//! The unsettled deliveries of a session in one direction, ordered by delivery-id.

use std::collections::VecDeque;

/// A delivery-id: a serial number in the scope of a session and a direction (RFC 1982, AMQP 2.8.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DeliveryId(pub(crate) u32);

impl DeliveryId {
    /// The id that follows; wraps at 2^32.
    #[must_use]
    pub(crate) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How far `self` lies behind `base`, as a serial number: negative when it lies before.
    pub(crate) fn distance_from(self, base: Self) -> i32 {
        self.0.wrapping_sub(base.0).cast_signed()
    }
}

/// Unsettled deliveries by id. A disposition names a range of ids chosen by the peer; applying it
/// costs what lies in the window, never what lies in the range.
#[derive(Debug)]
pub(crate) struct Window<T> {
    entries: VecDeque<(DeliveryId, Option<T>)>,
    live: usize,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), live: 0 }
    }
}

impl<T> Window<T> {
    /// Unsettled deliveries.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Adds a delivery. Ids rise: the caller has checked that `id` follows the last one.
    pub(crate) fn push(&mut self, id: DeliveryId, entry: T) {
        self.entries.push_back((id, Some(entry)));
        self.live += 1;
    }

    pub(crate) fn get_mut(&mut self, id: DeliveryId) -> Option<&mut T> {
        let index = self.position(id)?;
        let (found, entry) = self.entries.get_mut(index)?;
        if *found == id { entry.as_mut() } else { None }
    }

    /// Takes a delivery out.
    pub(crate) fn remove(&mut self, id: DeliveryId) -> Option<T> {
        let index = self.position(id)?;
        let (found, entry) = self.entries.get_mut(index)?;
        if *found != id {
            return None;
        }
        let taken = entry.take();
        if taken.is_some() {
            self.live -= 1;
        }
        self.trim();
        taken
    }

    /// Calls `visit` for every unsettled delivery from `first` to `last`, oldest first, and takes
    /// out those for which it answers true.
    pub(crate) fn visit_range(
        &mut self,
        first: DeliveryId,
        last: DeliveryId,
        mut visit: impl FnMut(DeliveryId, &mut T) -> bool,
    ) {
        let Some(start) = self.position(first) else { return };
        for index in start..self.entries.len() {
            let Some((id, slot)) = self.entries.get_mut(index) else { break };
            if id.distance_from(last) > 0 {
                break;
            }
            if let Some(entry) = slot
                && visit(*id, entry)
            {
                *slot = None;
                self.live -= 1;
            }
        }
        self.trim();
    }

    /// Takes out every delivery for which `gone` answers true.
    pub(crate) fn remove_if(&mut self, mut gone: impl FnMut(&T) -> bool) {
        self.entries.retain(|(_, slot)| slot.as_ref().is_some_and(|entry| !gone(entry)));
        self.live = self.entries.len();
    }

    /// Gives back memory that the entries do not need.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to(self.entries.len());
    }

    /// Entries that there is memory for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// The index of the first entry whose id is `id` or later.
    fn position(&self, id: DeliveryId) -> Option<usize> {
        let front = self.entries.front()?.0;
        let distance = id.distance_from(front);
        let Ok(guess) = usize::try_from(distance) else { return Some(0) };
        // Without gaps the distance is the index.
        if self.entries.get(guess).is_some_and(|(found, _)| *found == id) {
            return Some(guess);
        }
        Some(self.entries.partition_point(|(found, _)| found.distance_from(front) < distance))
    }

    /// Drops settled entries at the front, and all of them when they are the most.
    fn trim(&mut self) {
        while self.entries.front().is_some_and(|(_, slot)| slot.is_none()) {
            self.entries.pop_front();
        }
        if self.entries.len() > 64 && self.live < self.entries.len() / 2 {
            self.entries.retain(|(_, slot)| slot.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(ids: impl IntoIterator<Item = u32>) -> Window<u32> {
        let mut window = Window::default();
        for id in ids {
            window.push(DeliveryId(id), id);
        }
        window
    }

    fn settled(window: &mut Window<u32>, first: u32, last: u32) -> Vec<u32> {
        let mut seen = Vec::new();
        window.visit_range(DeliveryId(first), DeliveryId(last), |_, entry| {
            seen.push(*entry);
            true
        });
        seen
    }

    #[test]
    fn a_range_over_ids_never_sent_costs_and_settles_nothing() {
        let mut window = window(100..110);
        assert!(settled(&mut window, 2_000_000, 2_000_000_000).is_empty());
        assert!(settled(&mut window, 0, 99).is_empty());
        assert_eq!(window.len(), 10);
    }

    #[test]
    fn a_range_wraps_at_u32_max() {
        let ids = [u32::MAX - 1, u32::MAX, 0, 1, 2];
        let mut window = window(ids);
        assert_eq!(settled(&mut window, u32::MAX, 1), vec![u32::MAX, 0, 1]);
        assert_eq!(window.remove(DeliveryId(u32::MAX - 1)), Some(u32::MAX - 1));
        assert_eq!(window.remove(DeliveryId(2)), Some(2));
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn one_delivery_left_open_does_not_keep_the_settled_ones() {
        let mut window = window([0]);
        for id in 1..100_000 {
            window.push(DeliveryId(id), id);
            assert_eq!(window.remove(DeliveryId(id)), Some(id));
        }
        assert!(window.entries.len() <= 65, "{} entries for one delivery", window.entries.len());
        assert_eq!(window.get_mut(DeliveryId(0)), Some(&mut 0));
    }

    #[test]
    fn ids_with_gaps_are_found() {
        let mut window = window((0..1_000).step_by(7));
        assert_eq!(settled(&mut window, 8, 21), vec![14, 21]);
        assert_eq!(window.remove(DeliveryId(15)), None);
        assert_eq!(window.remove(DeliveryId(28)), Some(28));
        assert_eq!(window.remove(DeliveryId(28)), None);
    }
}
