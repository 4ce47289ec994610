//! What each tenant, and each of his users, has stored on a node, and how much that may be.
//!
//! Every shard counts on a shelf of its own, which nobody else writes, so that counting costs no more than an
//! addition; who wants to know the whole adds the shelves up. That is done for a message only where there is
//! a limit. Two shards that store at the same moment may each see room for one message where there is room
//! for one in all: a limit is overshot by one message for each further shard at most. What other nodes hold is
//! as old as the last word of them.

use std::collections::HashMap;
use std::fmt::Debug;
use std::num::NonZeroU64;
use std::rc::{Rc, Weak};
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

/// Who has sent a message that is stored: a number that stands for one user of one space, the same on every node
/// and after every restart. The core does not know whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(NonZeroU64);

impl Owner {
    /// `None` for 0, which stands for nobody.
    pub fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    /// The number.
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }
}

/// Where a core finds the stock of a tenant.
pub trait Stocks: Send + Sync + Debug {
    /// The stock of the space that a name inside the fleet belongs to.
    fn stock_of(&self, name: &str) -> Arc<Stock>;

    /// The stock of a user of that space.
    fn stock_of_owner(&self, name: &str, owner: Owner) -> Arc<Stock>;
}

/// What one tenant, or one of his users, has stored on the shards of a node.
#[derive(Debug)]
pub struct Stock {
    whose: Whose,
    shelves: Box<[Shelf]>,
    elsewhere: [AtomicU64; KINDS],
    limits: [AtomicU64; KINDS],
    refused: [AtomicU64; KINDS],
}

/// What one shard holds of it; a cache line, because its shard alone writes it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shelf([AtomicU64; KINDS]);

/// Whose a stock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The tenant's.
    Space,
    /// One of his users'.
    User,
}

/// Somebody holds as much as he may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockFull {
    pub whose: Whose,
    pub what: StockItem,
    pub limit: u64,
}

impl std::error::Error for StockFull {}

impl std::fmt::Display for StockFull {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let limit = self.limit;
        let who = match self.whose {
            Whose::Space => "the address space",
            Whose::User => "the user",
        };
        match self.what {
            StockItem::Messages => write!(
                formatter,
                "{who} may hold {limit} messages (maxStoredMessages); consume some or raise the limit"
            ),
            StockItem::Bytes => write!(
                formatter,
                "{who} may hold {limit} bytes of messages (maxStoredBytes), which leaves no room for this one; \
                 consume some or raise the limit"
            ),
            StockItem::Retained => write!(
                formatter,
                "{who} may retain {limit} messages (maxRetainedMessages); clear some or raise the limit"
            ),
        }
    }
}

impl StockItem {
    pub const ALL: [Self; KINDS] = [Self::Messages, Self::Bytes, Self::Retained];
}

impl Stock {
    /// Nothing, without a limit, on a node with so many shards.
    pub fn new(whose: Whose, shards: u16) -> Self {
        Self {
            whose,
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
        if held.saturating_add(more) <= limit {
            Ok(())
        } else {
            Err(StockFull { whose: self.whose, what, limit })
        }
    }

    /// # Errors
    /// The limit that messages and bytes like these would break.
    fn has_room(&self, messages: u64, bytes: u64) -> Result<(), StockFull> {
        self.check(StockItem::Messages, messages).and_then(|()| self.check(StockItem::Bytes, bytes))
    }

    /// Changes what a shard holds. To be called by that shard alone.
    #[inline]
    fn change(&self, shard: u16, what: StockItem, change: impl FnOnce(u64) -> u64) {
        let Some(shelf) = self.shelves.get(usize::from(shard)) else { return };
        // The shard's own: nobody writes in between.
        let shelf = &shelf.0[what as usize];
        shelf.store(change(shelf.load(Ordering::Relaxed)), Ordering::Relaxed);
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
        self.stock.has_room(messages, bytes)
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
        self.stock.change(self.shard, what, |shelf| shelf.wrapping_add(count));
    }

    pub(crate) fn subtract(&mut self, what: StockItem, count: u64) {
        self.held[what as usize] -= count;
        self.stock.change(self.shard, what, |shelf| shelf.wrapping_sub(count));
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        for what in StockItem::ALL {
            self.subtract(what, self.held[what as usize]);
        }
    }
}

/// What one user has stored on this shard: each of his messages has a part in it, and each name for which he has
/// retained something.
#[derive(Debug)]
pub struct Owned {
    owner: Owner,
    stock: Arc<Stock>,
    /// That of his space, where refusals of users count, too.
    space: Arc<Stock>,
    shard: u16,
}

/// Of the same user.
impl PartialEq for Owned {
    fn eq(&self, other: &Self) -> bool {
        self.owner == other.owner
    }
}

impl Eq for Owned {}

impl Owned {
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    #[inline]
    pub(crate) fn add_message(&self, bytes: u64) {
        self.stock.change(self.shard, StockItem::Messages, |shelf| shelf.wrapping_add(1));
        self.stock.change(self.shard, StockItem::Bytes, |shelf| shelf.wrapping_add(bytes));
    }

    #[inline]
    pub(crate) fn subtract_message(&self, bytes: u64) {
        self.stock.change(self.shard, StockItem::Messages, |shelf| shelf.wrapping_sub(1));
        self.stock.change(self.shard, StockItem::Bytes, |shelf| shelf.wrapping_sub(bytes));
    }

    /// # Errors
    /// The limit that messages and bytes like these would break.
    pub(crate) fn has_room(&self, messages: u64, bytes: u64) -> Result<(), StockFull> {
        self.stock.has_room(messages, bytes)
    }

    /// # Errors
    /// The same; it is counted that something is refused.
    pub(crate) fn check(&self, messages: u64, bytes: u64) -> Result<(), StockFull> {
        self.has_room(messages, bytes).inspect_err(|full| self.count_refused(*full))
    }

    /// # Errors
    /// The limit that one more retained message would break; it is counted that it is refused.
    pub(crate) fn check_retained(&self) -> Result<(), StockFull> {
        self.stock.check(StockItem::Retained, 1).inspect_err(|full| self.count_refused(*full))
    }

    pub(crate) fn count_refused(&self, full: StockFull) {
        self.stock.count_refused(full.what);
        self.space.count_refused(full.what);
    }
}

/// A name for which a user has retained something. Dropped, he has not.
#[derive(Debug)]
pub(crate) struct OwnedName(Rc<Owned>);

impl OwnedName {
    pub(crate) fn new(owned: Rc<Owned>) -> Self {
        owned.stock.change(owned.shard, StockItem::Retained, |shelf| shelf.wrapping_add(1));
        Self(owned)
    }

    pub(crate) fn owner(&self) -> Owner {
        self.0.owner
    }
}

impl Drop for OwnedName {
    fn drop(&mut self) {
        self.0.stock.change(self.0.shard, StockItem::Retained, |shelf| shelf.wrapping_sub(1));
    }
}

/// The users who have something stored on this shard.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    known: HashMap<Owner, Weak<Owned>>,
    /// The one who was asked for last: most messages of a turn are of the same user.
    last: Option<Rc<Owned>>,
    /// With more than so many it is looked who has nothing any more.
    sweep_beyond: usize,
}

/// Fewer than so many are not looked through.
const FEW_OWNERS: usize = 64;

impl Owners {
    /// What a user has here, in the space that a name inside the fleet belongs to.
    pub(crate) fn of(&mut self, stocks: &dyn Stocks, shard: u16, name: &str, owner: Owner) -> Rc<Owned> {
        if let Some(last) = self.last.as_ref().filter(|last| last.owner == owner) {
            return last.clone();
        }
        let known = self.known.get(&owner).and_then(Weak::upgrade);
        let owned = known.unwrap_or_else(|| {
            let (stock, space) = (stocks.stock_of_owner(name, owner), stocks.stock_of(name));
            let owned = Rc::new(Owned { owner, stock, space, shard });
            self.known.insert(owner, Rc::downgrade(&owned));
            owned
        });
        self.last = Some(owned.clone());
        if self.known.len() > self.sweep_beyond.max(FEW_OWNERS) {
            self.known.retain(|_, owned| owned.strong_count() > 0);
            self.sweep_beyond = 2 * self.known.len();
        }
        owned
    }
}

#[cfg(test)]
impl Stock {
    /// What one shard holds.
    fn held_on(&self, shard: u16) -> [u64; KINDS] {
        let shelf = &self.shelves[usize::from(shard)];
        [0, 1, 2].map(|what| shelf.0[what].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
impl Owners {
    pub(crate) fn known(&self) -> usize {
        self.known.len()
    }

    /// Checks what each user has on a shard against what was found there: messages, bytes, retained names.
    pub(crate) fn check(&self, shard: u16, found: &std::collections::BTreeMap<Owner, [u64; KINDS]>) {
        for (owner, owned) in &self.known {
            let held = owned.upgrade().map_or([0; KINDS], |owned| owned.stock.held_on(shard));
            assert_eq!(found.get(owner).copied().unwrap_or_default(), held, "what {owner:?} has");
        }
        assert!(found.keys().all(|owner| self.known.contains_key(owner)), "{found:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_shards_and_nodes_hold_counts_towards_a_limit() {
        let stock = Arc::new(Stock::new(Whose::Space, 2));
        let mut holdings = [0, 1].map(|shard| Holding::new(stock.clone(), shard));
        stock.set_limit(StockItem::Messages, Some(4));
        stock.set_limit(StockItem::Bytes, Some(100));
        for holding in &mut holdings {
            holding.add(StockItem::Messages, 1);
            holding.add(StockItem::Bytes, 40);
        }
        assert_eq!(holdings[0].check(1, 20), Ok(()));
        assert_eq!(
            holdings[0].check(1, 21),
            Err(StockFull { whose: Whose::Space, what: StockItem::Bytes, limit: 100 })
        );
        stock.set_elsewhere(StockItem::Messages, 1);
        assert_eq!(holdings[1].check(1, 1), Ok(()));
        stock.set_elsewhere(StockItem::Messages, 2);
        assert_eq!(
            holdings[1].check(1, 1),
            Err(StockFull { whose: Whose::Space, what: StockItem::Messages, limit: 4 })
        );
        assert_eq!((stock.refused(StockItem::Messages), stock.refused(StockItem::Bytes)), (1, 1));
        stock.set_limit(StockItem::Messages, None);
        assert_eq!(holdings[1].check(1, 1), Ok(()));
    }

    #[test]
    fn a_limit_below_what_is_held_refuses_more_and_nothing_that_is_there() {
        let stock = Arc::new(Stock::new(Whose::Space, 1));
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
        let stock = Arc::new(Stock::new(Whose::Space, 1));
        let mut holding = Holding::new(stock.clone(), 0);
        holding.add(StockItem::Bytes, 7);
        holding.add(StockItem::Retained, 1);
        drop(holding);
        assert!(StockItem::ALL.iter().all(|what| stock.held(*what) == 0));
    }
}
