//! A small table by shard: most rows of most tables would be empty in a large fleet.

use crate::settings::ShardId;

/// What is known of some shards, in the order of their ids. Empty, it holds no memory.
#[derive(Clone, Debug)]
pub(crate) struct ByShard<T> {
    rows: Vec<(ShardId, T)>,
}

impl<T> Default for ByShard<T> {
    fn default() -> Self {
        Self { rows: Vec::new() }
    }
}

impl<T> ByShard<T> {
    fn place(&self, shard: ShardId) -> Result<usize, usize> {
        self.rows.binary_search_by_key(&shard, |(shard, _)| *shard)
    }

    #[inline]
    pub(crate) fn get(&self, shard: ShardId) -> Option<&T> {
        let place = self.place(shard).ok()?;
        self.rows.get(place).map(|(_, row)| row)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, shard: ShardId) -> Option<&mut T> {
        let place = self.place(shard).ok()?;
        self.rows.get_mut(place).map(|(_, row)| row)
    }

    pub(crate) fn contains(&self, shard: ShardId) -> bool {
        self.place(shard).is_ok()
    }

    pub(crate) fn remove(&mut self, shard: ShardId) -> Option<T> {
        let place = self.place(shard).ok()?;
        let (_, row) = self.rows.remove(place);
        // Rows come and go with other nodes: an address should not keep room for a fleet that is gone.
        if self.rows.len() * 4 <= self.rows.capacity() {
            self.rows.shrink_to(self.rows.len() * 2);
        }
        Some(row)
    }

    pub(crate) fn insert(&mut self, shard: ShardId, row: T) {
        match self.place(shard) {
            Ok(place) => {
                if let Some((_, old)) = self.rows.get_mut(place) {
                    *old = row;
                }
            }
            Err(place) => self.insert_at(place, shard, row),
        }
    }

    fn insert_at(&mut self, place: usize, shard: ShardId, row: T) {
        if self.rows.len() == self.rows.capacity() {
            // One row is the usual number; from then on by halves.
            self.rows.reserve_exact((self.rows.len() / 2).max(1));
        }
        self.rows.insert(place, (shard, row));
    }

    /// The shard at a place in the order of ids, for walks during which the table may change.
    pub(crate) fn shard_at(&self, place: usize) -> Option<ShardId> {
        self.rows.get(place).map(|(shard, _)| *shard)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.rows.iter().map(|(shard, _)| *shard)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ShardId, &T)> {
        self.rows.iter().map(|(shard, row)| (*shard, row))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().map(|(_, row)| row)
    }

    /// Drops the rows that are not to be kept.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(ShardId, &mut T) -> bool) {
        self.rows.retain_mut(|(shard, row)| keep(*shard, row));
    }
}

impl<T: Default> ByShard<T> {
    /// The row of a shard, which appears with its first use.
    pub(crate) fn row(&mut self, shard: ShardId) -> &mut T {
        let place = match self.place(shard) {
            Ok(place) => place,
            Err(place) => {
                self.insert_at(place, shard, T::default());
                place
            }
        };
        // `place` is where it was found or put.
        &mut self.rows[place].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_shard_and_walked_in_order() {
        let mut table = ByShard::default();
        for (shard, value) in [(300, 'c'), (1, 'a'), (256, 'b')] {
            *table.row(ShardId(shard)) = value;
        }
        assert_eq!(table.values().collect::<String>(), "abc");
        assert_eq!(table.get(ShardId(256)), Some(&'b'));
        assert_eq!(table.remove(ShardId(256)), Some('b'));
        assert_eq!((table.get(ShardId(256)), table.shard_at(1)), (None, Some(ShardId(300))));
    }
}
