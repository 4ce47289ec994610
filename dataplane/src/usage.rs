//! How much each tenant, and each of his users, takes of what is limited.
//!
//! Whoever takes something gets a [`Held`], and gives it back by dropping it: whichever way a connection, a link
//! or a session ends, nothing is left behind. An [`Account`] counts what is held by name and lives as long as it
//! is used, so that another table of users finds the same counts. What is stored is counted by the cores
//! ([`mq_core::Stock`]), how fast something is sent by [`rate`]. Cores and nodes know a user by a number
//! ([`owner_of`]): messages that a restart finds are of users who may not be connected, nor in the table.
//!
//! A limit holds for the fleet as a whole. Nodes tell each other four times a second what they hold
//! ([`fleet`]); each of them subtracts what the others have said. So a limit is exact on one node, and can be
//! overshot by what the other nodes take within such a quarter of a second. A limit that is lowered below what is
//! held refuses what is new and ends nothing.

mod fleet;
mod rate;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use mq_core::{Owner, Stock, StockItem, Stocks, Whose};
use mq_model::space::{SpaceLimits, SpaceUsage, split_qualified};

use self::fleet::Others;
pub(crate) use self::fleet::run;
use self::rate::Rate;
pub(crate) use self::rate::{LONGEST_DEBT, Pass};
use crate::spaces::Space;
use crate::users::{User, UserTable, owner_of};

/// What is limited. How many addresses there are is for who makes them to look at, since every node knows them all:
/// here it is counted that one was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    Connections,
    Sessions,
    Links,
    MqttSessions,
    Subscriptions,
    StoredMessages,
    StoredBytes,
    RetainedMessages,
    MessageSize,
    MessagesPerSecond,
    BytesPerSecond,
    Addresses,
}

/// Kinds of limits.
const KINDS: usize = 12;

/// The first of them are of what can be held; a [`Held`] or the core counts it.
const HELD_KINDS: usize = 8;

/// No limit.
const UNLIMITED: u64 = u64::MAX;

impl Limit {
    pub(crate) const ALL: [Self; KINDS] = [
        Self::Connections,
        Self::Sessions,
        Self::Links,
        Self::MqttSessions,
        Self::Subscriptions,
        Self::StoredMessages,
        Self::StoredBytes,
        Self::RetainedMessages,
        Self::MessageSize,
        Self::MessagesPerSecond,
        Self::BytesPerSecond,
        Self::Addresses,
    ];

    /// As documents name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "maxConnections",
            Self::Sessions => "maxSessions",
            Self::Links => "maxLinks",
            Self::MqttSessions => "maxMqttSessions",
            Self::Subscriptions => "maxSubscriptions",
            Self::StoredMessages => "maxStoredMessages",
            Self::StoredBytes => "maxStoredBytes",
            Self::RetainedMessages => "maxRetainedMessages",
            Self::MessageSize => "maxMessageSize",
            Self::MessagesPerSecond => "maxMessagesPerSecond",
            Self::BytesPerSecond => "maxBytesPerSecond",
            Self::Addresses => "maxAddresses",
        }
    }

    /// What it is a number of.
    fn unit(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Sessions => "sessions",
            Self::Links => "links",
            Self::MqttSessions => "MQTT sessions",
            Self::Subscriptions => "subscriptions",
            Self::StoredMessages => "stored messages",
            Self::StoredBytes => "stored bytes",
            Self::RetainedMessages => "retained messages",
            Self::MessageSize => "bytes of one message",
            Self::MessagesPerSecond => "messages in a second",
            Self::BytesPerSecond => "bytes in a second",
            Self::Addresses => "addresses",
        }
    }

    fn of(self, limits: &SpaceLimits) -> Option<u64> {
        match self {
            Self::Connections => limits.max_connections.map(u64::from),
            Self::Sessions => limits.max_sessions.map(u64::from),
            Self::Links => limits.max_links.map(u64::from),
            Self::MqttSessions => limits.max_mqtt_sessions.map(u64::from),
            Self::Subscriptions => limits.max_subscriptions.map(u64::from),
            Self::StoredMessages => limits.max_stored_messages,
            Self::StoredBytes => limits.max_stored_bytes,
            Self::RetainedMessages => limits.max_retained_messages.map(u64::from),
            Self::MessageSize => limits.max_message_size,
            Self::MessagesPerSecond => limits.max_messages_per_second,
            Self::BytesPerSecond => limits.max_bytes_per_second,
            Self::Addresses => limits.max_addresses.map(u64::from),
        }
    }

    /// What the core counts.
    fn stock_item(self) -> Option<StockItem> {
        match self {
            Self::StoredMessages => Some(StockItem::Messages),
            Self::StoredBytes => Some(StockItem::Bytes),
            Self::RetainedMessages => Some(StockItem::Retained),
            _ => None,
        }
    }
}

/// Somebody has as much as he may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// The account that has no more: `acme`, or `acme/ann` for a user.
    pub(crate) account: Arc<str>,
    pub(crate) limit: Limit,
    pub(crate) value: u64,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, limit, value } = self;
        match account.split_once('/') {
            Some((_, user)) => write!(formatter, "user {user}")?,
            None => write!(formatter, "the address space {account}")?,
        }
        let (unit, name) = (limit.unit(), limit.name());
        write!(formatter, " may have {value} {unit} ({name}: {value}); use fewer or raise the limit")
    }
}

/// What one space, or one user of a space, takes.
#[derive(Debug)]
pub(crate) struct Account {
    /// `acme`, or `acme/#` and the number of a user.
    key: Arc<str>,
    /// `acme`, or `acme/ann` for a user, once it is known who he is.
    name: OnceLock<Arc<str>>,
    /// The account of a user's space, to whose charge is what he takes, too.
    space: Option<Arc<Self>>,
    /// Of a user.
    owner: Option<Owner>,
    held: [AtomicU64; HELD_KINDS],
    /// By the last word of the other nodes.
    elsewhere: [AtomicU64; HELD_KINDS],
    limits: [AtomicU64; KINDS],
    refused: [AtomicU64; KINDS],
    /// How often somebody had to wait.
    delayed: AtomicU64,
    messages: Rate,
    bytes: Rate,
    stock: Arc<Stock>,
}

impl Account {
    /// The account of a space.
    fn of_space(name: &str, shards: u16, epoch: Instant) -> Self {
        let key: Arc<str> = name.into();
        let stock = Arc::new(Stock::new(Whose::Space, shards));
        Self { name: OnceLock::from(key.clone()), ..Self::new(key, None, None, stock, epoch) }
    }

    /// The account of a user.
    fn of_user(space: Arc<Self>, owner: Owner, shards: u16, epoch: Instant) -> Self {
        let key = key_of_user(&space.key, owner).into();
        let stock = Arc::new(Stock::new(Whose::User, shards));
        Self::new(key, Some(space), Some(owner), stock, epoch)
    }

    fn new(
        key: Arc<str>,
        space: Option<Arc<Self>>,
        owner: Option<Owner>,
        stock: Arc<Stock>,
        epoch: Instant,
    ) -> Self {
        Self {
            key,
            name: OnceLock::new(),
            space,
            owner,
            held: Default::default(),
            elsewhere: Default::default(),
            limits: [(); KINDS].map(|()| AtomicU64::new(UNLIMITED)),
            refused: Default::default(),
            delayed: AtomicU64::new(0),
            messages: Rate::new(epoch),
            bytes: Rate::new(epoch),
            stock,
        }
    }

    /// `acme`, or `acme/ann` for a user; as long as nobody has said who he is, his number.
    fn name(&self) -> &Arc<str> {
        self.name.get().unwrap_or(&self.key)
    }

    /// What cores call the user whose it is; `None`: it is a space's.
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// It is known now whose it is.
    fn name_user(&self, user: &str) {
        if let Some(space) = &self.space {
            self.name.get_or_init(|| format!("{}/{user}", space.key).into());
        }
    }

    /// Itself, and the account of its space.
    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.space.as_deref())
    }

    /// A limit; `None`: there is none.
    fn limit(&self, limit: Limit) -> Option<u64> {
        let value = self.limits[limit as usize].load(Ordering::Relaxed);
        (value != UNLIMITED).then_some(value)
    }

    fn set_limits(&self, limits: &SpaceLimits) {
        for limit in Limit::ALL {
            let value = limit.of(limits);
            self.limits[limit as usize].store(value.unwrap_or(UNLIMITED), Ordering::Relaxed);
            if let Some(item) = limit.stock_item() {
                self.stock.set_limit(item, value);
            }
        }
        self.messages.set_limit(limits.max_messages_per_second);
        self.bytes.set_limit(limits.max_bytes_per_second);
    }

    /// What this node holds.
    fn held(&self, limit: Limit) -> u64 {
        match limit.stock_item() {
            Some(item) => self.stock.held(item),
            None => self.held.get(limit as usize).map_or(0, |held| held.load(Ordering::Relaxed)),
        }
    }

    fn elsewhere(&self, limit: Limit) -> u64 {
        match limit.stock_item() {
            Some(item) => self.stock.held_elsewhere(item),
            None => self.elsewhere.get(limit as usize).map_or(0, |held| held.load(Ordering::Relaxed)),
        }
    }

    fn set_elsewhere(&self, limit: Limit, held: u64) {
        match limit.stock_item() {
            Some(item) => self.stock.set_elsewhere(item, held),
            None => {
                if let Some(place) = self.elsewhere.get(limit as usize) {
                    place.store(held, Ordering::Relaxed);
                }
            }
        }
    }

    fn refused(&self, limit: Limit) -> u64 {
        let by_core = limit.stock_item().map_or(0, |item| self.stock.refused(item));
        self.refused[limit as usize].load(Ordering::Relaxed) + by_core
    }

    /// Something of the account is refused, which counts for its space, too.
    fn refuse(&self, limit: Limit, value: u64) -> Exceeded {
        for account in self.all() {
            account.refused[limit as usize].fetch_add(1, Ordering::Relaxed);
        }
        Exceeded { account: self.name().clone(), limit, value }
    }

    /// Takes one more of something that is counted here.
    ///
    /// # Errors
    /// The limit that this would break, of the user or of his space; then nothing is taken.
    pub(crate) fn take(self: &Arc<Self>, limit: Limit) -> Result<Held, Exceeded> {
        // Given back whole if it turns out to be one too many.
        let held = self.hold(limit);
        for account in self.all() {
            let Some(value) = account.limit(limit) else { continue };
            if account.held(limit).saturating_add(account.elsewhere(limit)) > value {
                return Err(account.refuse(limit, value));
            }
        }
        Ok(held)
    }

    /// Takes one more whatever the limit: it is there already.
    pub(crate) fn hold(self: &Arc<Self>, limit: Limit) -> Held {
        for account in self.all() {
            if let Some(held) = account.held.get(limit as usize) {
                held.fetch_add(1, Ordering::Relaxed);
            }
        }
        Held { account: self.clone(), limit }
    }

    /// So many are held now of what was so many before, whatever the limit.
    pub(crate) fn change(&self, limit: Limit, before: u64, now: u64) {
        for account in self.all() {
            if let Some(held) = account.held.get(limit as usize) {
                held.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
            }
        }
    }

    /// Whether one more may be held.
    ///
    /// # Errors
    /// The limit that this would break, of the user or of his space.
    pub(crate) fn check(self: &Arc<Self>, limit: Limit) -> Result<(), Exceeded> {
        self.take(limit).map(drop)
    }

    /// Whether a message may be so large.
    ///
    /// # Errors
    /// The limit that it breaks.
    pub(crate) fn check_size(&self, bytes: u64) -> Result<(), Exceeded> {
        let broken = self.all().find_map(|account| {
            let value = account.limit(Limit::MessageSize).filter(|limit| bytes > *limit)?;
            Some(account.refuse(Limit::MessageSize, value))
        });
        broken.map_or(Ok(()), Err)
    }

    /// Bytes that a message may have; `None`: as many as otherwise.
    pub(crate) fn max_message_size(&self) -> Option<u64> {
        self.all().filter_map(|account| account.limit(Limit::MessageSize)).min()
    }

    /// Whether messages are looked at: their sizes, or how fast they come.
    pub(crate) fn is_metered(&self) -> bool {
        let limits = [Limit::MessageSize, Limit::MessagesPerSecond, Limit::BytesPerSecond];
        self.all().any(|account| limits.iter().any(|limit| account.limit(*limit).is_some()))
    }

    /// Messages in a second that this node lets through; `None`: as many as come.
    pub(crate) fn message_rate(&self) -> Option<u64> {
        self.all().filter_map(|account| account.messages.share()).min()
    }

    /// Counts messages and their bytes towards what may be sent in a second.
    ///
    /// # Errors
    /// The limit, where so much is sent already that waiting does not help.
    pub(crate) fn pass(&self, now: Instant, messages: u64, bytes: u64) -> Result<Pass, Exceeded> {
        let mut wait = Pass::default();
        if messages > 0 {
            for account in self.all() {
                let exceeded =
                    [(&account.messages, Limit::MessagesPerSecond), (&account.bytes, Limit::BytesPerSecond)]
                        .into_iter()
                        .find(|(rate, _)| rate.is_swamped(now));
                if let Some((_, limit)) = exceeded {
                    return Err(account.refuse(limit, account.limit(limit).unwrap_or_default()));
                }
            }
        }
        for account in self.all() {
            wait = wait.max(account.messages.take(now, messages)).max(account.bytes.take(now, bytes));
        }
        if wait > Pass::default() {
            for account in self.all() {
                account.delayed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(wait)
    }

    fn figures(&self) -> SpaceFigures {
        let (mut held, mut refused) = ([0; HELD_KINDS], [0; KINDS]);
        for limit in Limit::ALL {
            if let Some(place) = held.get_mut(limit as usize) {
                *place = self.held(limit);
            }
            refused[limit as usize] = self.refused(limit);
        }
        let delayed = self.delayed.load(Ordering::Relaxed);
        SpaceFigures { name: self.name().clone(), held, refused, delayed }
    }

    /// Whether nothing is held, and nothing said by others.
    fn is_idle(&self) -> bool {
        let is_zero = |counts: &[AtomicU64]| counts.iter().all(|count| count.load(Ordering::Relaxed) == 0);
        is_zero(&self.held) && is_zero(&self.elsewhere)
    }

    /// Whether a core has something of it.
    fn is_stocked(&self) -> bool {
        Arc::strong_count(&self.stock) > 1
    }

    fn usage(&self) -> SpaceUsage {
        let total = |limit| self.held(limit).saturating_add(self.elsewhere(limit));
        let refused = Limit::ALL.into_iter().map(|limit| (limit.name().to_owned(), self.refused(limit)));
        SpaceUsage {
            connections: total(Limit::Connections),
            sessions: total(Limit::Sessions),
            links: total(Limit::Links),
            mqtt_sessions: total(Limit::MqttSessions),
            subscriptions: total(Limit::Subscriptions),
            stored_messages: total(Limit::StoredMessages),
            stored_bytes: total(Limit::StoredBytes),
            retained_messages: total(Limit::RetainedMessages),
            refused: refused.filter(|(_, count)| *count > 0).collect(),
            delayed: self.delayed.load(Ordering::Relaxed),
        }
    }
}

/// Something that somebody takes; dropped, he takes it no more.
#[derive(Debug)]
pub(crate) struct Held {
    account: Arc<Account>,
    limit: Limit,
}

impl Held {
    /// Who has it.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for account in self.account.all() {
            if let Some(held) = account.held.get(self.limit as usize) {
                held.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// What everybody takes on this node, and what the other nodes say of it.
#[derive(Debug)]
pub(crate) struct Usage {
    epoch: Instant,
    shards: u16,
    /// By their keys.
    accounts: RwLock<HashMap<Arc<str>, Arc<Account>>>,
    table: RwLock<Arc<UserTable>>,
    others: Mutex<Others>,
}

impl Usage {
    /// Of a node with so many shards.
    pub(crate) fn new(shards: u16, now: Instant) -> Self {
        Self {
            epoch: now,
            shards,
            accounts: RwLock::default(),
            table: RwLock::default(),
            others: Mutex::default(),
        }
    }

    /// The account of a space.
    pub(crate) fn space(&self, name: &str) -> Arc<Account> {
        if let Some(found) = self.find(name) {
            return found;
        }
        let table = self.table();
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = accounts.get(name) {
            return found.clone();
        }
        let account = Arc::new(Account::of_space(name, self.shards, self.epoch));
        if let Some(space) = table.space(name) {
            account.set_limits(space.limits());
        }
        self.others().tell(&account);
        accounts.insert(account.key.clone(), account.clone());
        account
    }

    /// The account of a user; of his space, when there is none.
    pub(crate) fn user(&self, space: &Space, user: Option<&User>) -> Arc<Account> {
        let of_space = self.space(space.name());
        match user {
            Some(user) => self.user_named(of_space, user.name(), || user.limits().clone()),
            None => of_space,
        }
    }

    /// The account of a user who may not be connected, and may not be there any more.
    pub(crate) fn absent(&self, space: &str, user: Option<&str>) -> Arc<Account> {
        let of_space = self.space(space);
        let Some(user) = user else { return of_space };
        let owner = owner_of(space, user);
        self.user_named(of_space, user, || limits_of(&self.table(), space, owner))
    }

    fn user_named(
        &self,
        space: Arc<Account>,
        user: &str,
        limits: impl FnOnce() -> SpaceLimits,
    ) -> Arc<Account> {
        let owner = owner_of(&space.key, user);
        let account = self.owned(space, owner, limits);
        account.name_user(user);
        account
    }

    /// The account of a user by his number.
    fn owned(&self, space: Arc<Account>, owner: Owner, limits: impl FnOnce() -> SpaceLimits) -> Arc<Account> {
        let key = key_of_user(&space.key, owner);
        if let Some(found) = self.find(&key) {
            return found;
        }
        let limits = limits();
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = accounts.get(&*key) {
            return found.clone();
        }
        let account = Arc::new(Account::of_user(space, owner, self.shards, self.epoch));
        account.set_limits(&limits);
        self.others().tell(&account);
        accounts.insert(account.key.clone(), account.clone());
        account
    }

    fn find(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn all(&self) -> Vec<Arc<Account>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn table(&self) -> Arc<UserTable> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by the limits of another table, for everybody who is known.
    pub(crate) fn set_table(&self, table: &Arc<UserTable>) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table.clone();
        let unlimited = SpaceLimits::default();
        for account in self.all() {
            match (&account.space, account.owner) {
                (Some(space), Some(owner)) => account.set_limits(&limits_of(table, &space.key, owner)),
                _ => {
                    let space = table.space(&account.key);
                    account.set_limits(space.map_or(&unlimited, |space| space.limits()));
                }
            }
        }
    }

    /// Forgets whoever takes nothing: a user can be anybody whom somebody vouches for, and spaces come and go.
    fn prune(&self) {
        let table = self.table();
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        // Nobody gets at one whose only owner is the map while that is locked.
        accounts.retain(|key, account| {
            let is_used = Arc::strong_count(account) > 1 || !account.is_idle() || account.is_stocked();
            // What was refused is to be seen for as long as there is somebody whom it was refused.
            let is_known = || match (&account.space, account.owner) {
                (Some(space), Some(owner)) => {
                    let was_refused = Limit::ALL.into_iter().any(|limit| account.refused(limit) > 0);
                    was_refused && table.find_owner(&space.key, owner).is_some()
                }
                _ => table.space(key).is_some(),
            };
            is_used || is_known()
        });
    }

    /// What a space takes in the fleet.
    pub(crate) fn usage_of(&self, space: &str) -> SpaceUsage {
        self.space(space).usage()
    }

    /// What a user takes in the fleet. What users without limits take on other nodes is not known here.
    pub(crate) fn usage_of_user(&self, space: &str, user: &str) -> SpaceUsage {
        let account = self.find(&key_of_user(space, owner_of(space, user)));
        account.map_or_else(SpaceUsage::default, |account| account.usage())
    }

    /// Counts that an address was refused: to a user beyond his own limit, or to anybody beyond that of the space.
    pub(crate) fn count_refused_address(&self, space: &str, user: Option<&str>) {
        for account in self.absent(space, user).all() {
            account.refused[Limit::Addresses as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What each space takes on this node, in the order of their names.
    pub(crate) fn spaces(&self) -> Vec<SpaceFigures> {
        let mut accounts = self.all();
        accounts.retain(|account| account.space.is_none());
        accounts.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        accounts.iter().map(|account| account.figures()).collect()
    }
}

/// What a space takes on this node, and what it was refused since the start.
#[derive(Clone, Debug)]
pub(crate) struct SpaceFigures {
    pub(crate) name: Arc<str>,
    held: [u64; HELD_KINDS],
    refused: [u64; KINDS],
    /// How often a client had to wait.
    pub(crate) delayed: u64,
}

impl SpaceFigures {
    pub(crate) fn held(&self, limit: Limit) -> u64 {
        self.held.get(limit as usize).copied().unwrap_or(0)
    }

    pub(crate) fn refused(&self, limit: Limit) -> u64 {
        self.refused[limit as usize]
    }

    pub(crate) fn unnamed(self) -> Self {
        Self { name: Arc::default(), ..self }
    }

    /// Two as one, under the name of the first.
    pub(crate) fn with(mut self, other: &Self) -> Self {
        for (sum, more) in self.held.iter_mut().zip(other.held) {
            *sum = sum.saturating_add(more);
        }
        for (sum, more) in self.refused.iter_mut().zip(other.refused) {
            *sum = sum.saturating_add(more);
        }
        self.delayed = self.delayed.saturating_add(other.delayed);
        self
    }
}

impl Stocks for Usage {
    fn stock_of(&self, name: &str) -> Arc<Stock> {
        let (space, _) = split_qualified(name);
        self.space(space).stock.clone()
    }

    fn stock_of_owner(&self, name: &str, owner: Owner) -> Arc<Stock> {
        let (space, _) = split_qualified(name);
        let account = self.owned(self.space(space), owner, || limits_of(&self.table(), space, owner));
        account.stock.clone()
    }
}

/// What the account of a user is found by: no name of a user has the sign.
fn key_of_user(space: &str, owner: Owner) -> String {
    format!("{space}/#{:016x}", owner.to_bits())
}

/// What a user may take who may not be there: then what anybody of his space may.
fn limits_of(table: &UserTable, space: &str, owner: Owner) -> SpaceLimits {
    match table.find_owner(space, owner) {
        Some(user) => user.limits().clone(),
        None => table.space(space).map_or_else(SpaceLimits::default, |space| space.user_limits().clone()),
    }
}

#[cfg(test)]
mod tests;
