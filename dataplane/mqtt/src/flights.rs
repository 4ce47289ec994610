//! Packet identifiers that are in use in one direction.

use std::collections::VecDeque;

use crate::packet::PacketId;

/// What is known of each identifier in use, sorted by identifier. Identifiers mostly rise and end in
/// order, so that both happen at the ends; whatever a peer does, the memory is that of what is in use.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    entries: VecDeque<(PacketId, T)>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new() }
    }
}

impl<T> Flights<T> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PacketId, &T)> {
        self.entries.iter().map(|(packet_id, entry)| (*packet_id, entry))
    }

    pub(crate) fn contains(&self, packet_id: PacketId) -> bool {
        self.position(packet_id).is_ok()
    }

    pub(crate) fn get(&self, packet_id: PacketId) -> Option<&T> {
        let index = self.position(packet_id).ok()?;
        self.entries.get(index).map(|(_, entry)| entry)
    }

    pub(crate) fn get_mut(&mut self, packet_id: PacketId) -> Option<&mut T> {
        let index = self.position(packet_id).ok()?;
        self.entries.get_mut(index).map(|(_, entry)| entry)
    }

    /// Adds an identifier; one that is in use gets the new entry.
    pub(crate) fn insert(&mut self, packet_id: PacketId, entry: T) {
        match self.position(packet_id) {
            Ok(index) => {
                if let Some(slot) = self.entries.get_mut(index) {
                    slot.1 = entry;
                }
            }
            Err(index) => self.entries.insert(index, (packet_id, entry)),
        }
    }

    pub(crate) fn remove(&mut self, packet_id: PacketId) -> Option<T> {
        let index = self.position(packet_id).ok()?;
        self.entries.remove(index).map(|(_, entry)| entry)
    }

    /// Gives back memory that the entries do not need.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// Entries that there is memory for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Where the identifier is, or would be.
    fn position(&self, packet_id: PacketId) -> Result<usize, usize> {
        let (Some((first, _)), Some((last, _))) = (self.entries.front(), self.entries.back()) else {
            return Err(0);
        };
        if packet_id > *last {
            return Err(self.entries.len());
        }
        // Without gaps the distance is the index.
        if let Some(distance) = packet_id.to_number().checked_sub(first.to_number())
            && self.entries.get(usize::from(distance)).is_some_and(|(found, _)| *found == packet_id)
        {
            return Ok(distance.into());
        }
        self.entries.binary_search_by_key(&packet_id, |(found, _)| *found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).expect("not 0")
    }

    #[test]
    fn identifiers_are_found_with_gaps_and_across_the_wrap() {
        let mut flights = Flights::default();
        let mut next = id(65_500);
        let mut used = Vec::new();
        for round in 0..200_u16 {
            flights.insert(next, round);
            used.push(next);
            next = next.next();
            if round % 3 == 0 {
                let gone = used.remove(used.len() / 2);
                assert!(flights.remove(gone).is_some());
                assert!(!flights.contains(gone));
            }
        }
        assert_eq!(flights.len(), used.len());
        for packet_id in used {
            assert!(flights.get_mut(packet_id).is_some(), "{packet_id}");
            assert!(flights.remove(packet_id).is_some(), "{packet_id}");
            assert!(flights.remove(packet_id).is_none(), "{packet_id}");
        }
        flights.shrink();
        assert_eq!(flights.capacity(), 0);
    }
}
