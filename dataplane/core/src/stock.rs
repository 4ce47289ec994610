//! What each tenant has stored on a node, and how much that may be.
//!
//! Every shard counts on a shelf of its own, which nobody else writes, so that counting costs no more than an
//! addition; who wants to know the whole adds the shelves up. That is done for a message only where there is
//! a limit. Two shards that store at the same moment may each see room for one message where there is room
//! for one in all: a limit is overshot by one message for each further shard at most. What other nodes hold is
//! as old as the last word of them.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a limit may say of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockItem {
    /// Messages in queues and subscriptions.
    Messages,
    /// Bytes of those.
    Bytes,
    /// Names for which something is retained, or about to be.
    Retained,
}

/// How many kinds there are.
const KINDS: usize = 3;

/// No limit.
const UNLIMITED: u64 = u64::MAX;

/// Where a core finds the stock of a tenant.
pub trait Stocks: Send + Sync + Debug {
    /// The stock of the space that a name inside the fleet belongs to.
    fn stock_of(&self, name: &str) -> Arc<Stock>;
}

/// What one tenant has stored on the shards of a node.
#[derive(Debug)]
pub struct Stock {
    shelves: Box<[Shelf]>,
    elsewhere: [AtomicU64; KINDS],
    limits: [AtomicU64; KINDS],
    refused: [AtomicU64; KINDS],
}

/// What one shard holds of it; a cache line, because its shard alone writes it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shelf([AtomicU64; KINDS]);

/// A tenant holds as much as he may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockFull {
    pub what: StockItem,
    pub limit: u64,
}

impl std::error::Error for StockFull {}

impl std::fmt::Display for StockFull {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let limit = self.limit;
        match self.what {
            StockItem::Messages => write!(
                formatter,
                "the address space may hold {limit} messages (maxStoredMessages); consume some or raise the limit"
            ),
            StockItem::Bytes => write!(
                formatter,
                "the address space may hold {limit} bytes of messages (maxStoredBytes), which leaves no room for \
                 this one; consume some or raise the limit"
            ),
            StockItem::Retained => write!(
                formatter,
                "the address space may retain {limit} messages (maxRetainedMessages); clear some or raise the limit"
            ),
        }
    }
}

impl StockItem {
    pub const ALL: [Self; KINDS] = [Self::Messages, Self::Bytes, Self::Retained];
}

impl Stock {
    /// Nothing, without a limit, on a node with so many shards.
    pub fn new(shards: u16) -> Self {
        Self {
            shelves: (0..shards.max(1)).map(|_| Shelf::default()).collect(),
            elsewhere: Default::default(),
            limits: [(); KINDS].map(|()| AtomicU64::new(UNLIMITED)),
            refused: Default::default(),
        }
    }

    /// What this node holds.
    pub fn held(&self, what: StockItem) -> u64 {
        let shelves = self.shelves.iter().map(|shelf| shelf.0[what as usize].load(Ordering::Relaxed));
        shelves.fold(0, u64::saturating_add)
    }

    /// What other nodes hold, by their last word.
    pub fn held_elsewhere(&self, what: StockItem) -> u64 {
        self.elsewhere[what as usize].load(Ordering::Relaxed)
    }

    /// Other nodes hold so much.
    pub fn set_elsewhere(&self, what: StockItem, held: u64) {
        self.elsewhere[what as usize].store(held, Ordering::Relaxed);
    }

    /// How much it may be, on all nodes; `None`: as much as there is room for.
    pub fn set_limit(&self, what: StockItem, limit: Option<u64>) {
        self.limits[what as usize].store(limit.unwrap_or(UNLIMITED), Ordering::Relaxed);
    }

    /// How often something was refused because of a limit.
    pub fn refused(&self, what: StockItem) -> u64 {
        self.refused[what as usize].load(Ordering::Relaxed)
    }

    /// Whether so much more may be held.
    ///
    /// # Errors
    /// The limit that this would break.
    pub fn check(&self, what: StockItem, more: u64) -> Result<(), StockFull> {
        let limit = self.limits[what as usize].load(Ordering::Relaxed);
        if limit == UNLIMITED || more == 0 {
            return Ok(());
        }
        let held = self.held(what).saturating_add(self.held_elsewhere(what));
        if held.saturating_add(more) <= limit { Ok(()) } else { Err(StockFull { what, limit }) }
    }

    /// Counts that something was refused.
    pub fn count_refused(&self, what: StockItem) {
        self.refused[what as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// What one queue holds of its tenant's stock, or one topic by what it retains. Dropped, it holds nothing.
#[derive(Debug)]
pub(crate) struct Holding {
    stock: Arc<Stock>,
    shard: u16,
    held: [u64; KINDS],
}

impl Holding {
    pub(crate) fn new(stock: Arc<Stock>, shard: u16) -> Self {
        Self { stock, shard, held: [0; KINDS] }
    }

    /// # Errors
    /// The limit that messages and bytes like these would break.
    pub(crate) fn has_room(&self, messages: u64, bytes: u64) -> Result<(), StockFull> {
        self.stock
            .check(StockItem::Messages, messages)
            .and_then(|()| self.stock.check(StockItem::Bytes, bytes))
    }

    /// # Errors
    /// The same; it is counted that something is refused.
    pub(crate) fn check(&self, messages: u64, bytes: u64) -> Result<(), StockFull> {
        self.has_room(messages, bytes).inspect_err(|full| self.count_refused(*full))
    }

    /// # Errors
    /// The limit that so much more would break; it is counted that something is refused.
    pub(crate) fn check_one(&self, what: StockItem, more: u64) -> Result<(), StockFull> {
        self.stock.check(what, more).inspect_err(|full| self.count_refused(*full))
    }

    pub(crate) fn count_refused(&self, full: StockFull) {
        self.stock.count_refused(full.what);
    }

    pub(crate) fn add(&mut self, what: StockItem, count: u64) {
        self.held[what as usize] += count;
        self.change(what, |shelf| shelf.wrapping_add(count));
    }

    pub(crate) fn subtract(&mut self, what: StockItem, count: u64) {
        self.held[what as usize] -= count;
        self.change(what, |shelf| shelf.wrapping_sub(count));
    }

    fn change(&self, what: StockItem, change: impl FnOnce(u64) -> u64) {
        let Some(shelf) = self.stock.shelves.get(usize::from(self.shard)) else { return };
        // The shard's own: nobody writes in between.
        let shelf = &shelf.0[what as usize];
        shelf.store(change(shelf.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        for what in StockItem::ALL {
            self.subtract(what, self.held[what as usize]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_shards_and_nodes_hold_counts_towards_a_limit() {
        let stock = Arc::new(Stock::new(2));
        let mut holdings = [0, 1].map(|shard| Holding::new(stock.clone(), shard));
        stock.set_limit(StockItem::Messages, Some(4));
        stock.set_limit(StockItem::Bytes, Some(100));
        for holding in &mut holdings {
            holding.add(StockItem::Messages, 1);
            holding.add(StockItem::Bytes, 40);
        }
        assert_eq!(holdings[0].check(1, 20), Ok(()));
        assert_eq!(holdings[0].check(1, 21), Err(StockFull { what: StockItem::Bytes, limit: 100 }));
        stock.set_elsewhere(StockItem::Messages, 1);
        assert_eq!(holdings[1].check(1, 1), Ok(()));
        stock.set_elsewhere(StockItem::Messages, 2);
        assert_eq!(holdings[1].check(1, 1), Err(StockFull { what: StockItem::Messages, limit: 4 }));
        assert_eq!((stock.refused(StockItem::Messages), stock.refused(StockItem::Bytes)), (1, 1));
        stock.set_limit(StockItem::Messages, None);
        assert_eq!(holdings[1].check(1, 1), Ok(()));
    }

    #[test]
    fn a_limit_below_what_is_held_refuses_more_and_nothing_that_is_there() {
        let stock = Arc::new(Stock::new(1));
        let mut holding = Holding::new(stock.clone(), 0);
        holding.add(StockItem::Messages, 5);
        stock.set_limit(StockItem::Messages, Some(3));
        assert!(holding.check(1, 0).is_err());
        assert_eq!(stock.held(StockItem::Messages), 5);
        holding.subtract(StockItem::Messages, 3);
        assert_eq!(holding.check(1, 0), Ok(()));
    }

    #[test]
    fn a_holding_that_is_dropped_holds_nothing() {
        let stock = Arc::new(Stock::new(1));
        let mut holding = Holding::new(stock.clone(), 0);
        holding.add(StockItem::Bytes, 7);
        holding.add(StockItem::Retained, 1);
        drop(holding);
        assert!(StockItem::ALL.iter().all(|what| stock.held(*what) == 0));
    }
}
