//! The store of the node: between the shards, whose cores ask for messages to be kept, and the one
//! log that keeps them.
//!
//! Two threads. The *writer* owns the log: it takes what all shards have asked for since it last
//! looked, writes it at once, syncs once when something durable waits for that, and answers. While it
//! syncs, the next requests gather: under load that makes one sync for hundreds of messages, and
//! with nothing to do it sleeps. The *reader* brings bodies back from the disk, so that no read waits
//! for a sync.
//!
//! Nothing here is bounded by itself: every request is part of a message that a core holds within
//! its limits, or of one that a producer has used credit for.

mod reader;
mod recovery;
mod writer;

pub use self::recovery::Recovered;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use mq_core::{QueueId, ShardId, StoreRequest};
use mq_model::admin;
use mq_model::config::{DaemonConfig, Durability};
use mq_store::{Disk, Options};
use tokio::sync::watch;

use crate::hub::Hub;
use crate::mailbox::Mailbox;

/// Requests for which an empty inbox keeps room.
const ROOM: usize = 4_096;

/// Where a shard takes what its core asks of the store. Answers come back through its mailbox.
pub(crate) trait Store: Debug + Send {
    /// Takes the requests, which are carried out in order; `requests` is empty afterwards. What one
    /// shard has submitted before it tells another something is carried out before what that one
    /// submits thereupon.
    fn submit(&self, requests: &mut Vec<(ShardId, Box<StoreRequest>)>);
}

/// What the writer finds when it looks.
#[derive(Debug, Default)]
struct Inbox {
    requests: Vec<(ShardId, Box<StoreRequest>)>,
    /// Shards that may still ask for something.
    clients: usize,
}

/// What the shards, the control side and the two threads share.
#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    filled: Condvar,
    status: Mutex<admin::Store>,
    /// Messages that recovery has read so far.
    read: AtomicU64,
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are requests, nobody can make any more, or the deadline has come; takes the
    /// requests into `taken`, which is empty. False when nobody can make any more.
    fn wait(&self, deadline: Option<Instant>, taken: &mut Vec<(ShardId, Box<StoreRequest>)>) -> bool {
        give_back(taken);
        let mut inbox = self.inbox();
        while inbox.requests.is_empty() && inbox.clients > 0 {
            let Some(deadline) = deadline else {
                inbox = self.filled.wait(inbox).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            inbox = self.filled.wait_timeout(inbox, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut inbox.requests, taken);
        inbox.clients > 0 || !taken.is_empty()
    }

    fn set_status(&self, change: impl FnOnce(&mut admin::Store)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Gives back what an empty list has needed in a rush.
fn give_back<T>(list: &mut Vec<T>) {
    if list.capacity() > ROOM {
        list.shrink_to(ROOM);
    }
}

/// A shard's way to the log. When the last one is gone the log is closed.
#[derive(Debug)]
struct Client(Arc<Shared>);

impl Client {
    fn new(shared: Arc<Shared>) -> Self {
        shared.inbox().clients += 1;
        Self(shared)
    }
}

impl Store for Client {
    fn submit(&self, requests: &mut Vec<(ShardId, Box<StoreRequest>)>) {
        let mut inbox = self.0.inbox();
        let was_empty = inbox.requests.is_empty();
        inbox.requests.append(requests);
        drop(inbox);
        give_back(requests);
        if was_empty {
            self.0.filled.notify_one();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.inbox().clients -= 1;
        self.0.filled.notify_one();
    }
}

/// How far the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It reads what it holds; no client is served before it has.
    Recovering,
    /// The shards have everything that it holds.
    Serving,
    /// What it holds cannot be read: the reason, for the operator.
    Unreadable(Arc<str>),
}

/// The store as the control side sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StoreView {
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
}

impl StoreView {
    /// How the store is.
    pub fn status(&self) -> admin::Store {
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if status.state == admin::StoreState::Recovering {
            status.messages = self.messages_read();
            status.reason = Some(format!("{} messages were read so far", status.messages));
        }
        status
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Whether the thread that owns the log still turns.
    pub fn is_alive(&self) -> bool {
        self.phase.has_changed().is_ok()
    }

    /// Messages that recovery has read so far.
    pub fn messages_read(&self) -> u64 {
        self.shared.read.load(Ordering::Relaxed)
    }

    /// Waits until the shards have everything that was stored. Cancel safe.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub async fn recovered(&self) -> Result<(), Arc<str>> {
        let mut phase = self.phase.clone();
        match phase.wait_for(|phase| *phase != Phase::Recovering).await.as_deref() {
            Ok(Phase::Unreadable(reason)) => Err(reason.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err("the thread of the message log has ended".into()),
        }
    }
}

/// Which queue of the store belongs to which shard, as far as addresses say it.
pub(crate) type Homes = Vec<(QueueId, ShardId)>;

/// A store whose threads are not running yet.
pub(crate) struct Prepared {
    shared: Arc<Shared>,
    phase: (watch::Sender<Phase>, watch::Receiver<Phase>),
    settings: Settings,
    disk: Arc<dyn Disk>,
}

/// What of the configuration concerns the log.
#[derive(Clone, Copy, Debug)]
struct Settings {
    options: Options,
    /// Longest time that what was answered may stay unsynced; `None`: it is synced first.
    relaxed: Option<Duration>,
}

impl Prepared {
    /// A store on this disk.
    pub(crate) fn new(config: &DaemonConfig, disk: Arc<dyn Disk>) -> Self {
        let store = &config.store;
        let interval = Duration::from_millis(store.sync_interval_ms.into());
        let settings = Settings {
            options: Options { segment_bytes: store.segment_size, ..Options::default() },
            relaxed: (store.durability == Durability::Relaxed).then_some(interval),
        };
        let status = admin::Store {
            state: admin::StoreState::Recovering,
            reason: None,
            directory: directory(config).display().to_string(),
            durability: store.durability,
            live_bytes: 0,
            disk_bytes: 0,
            segments: 0,
            messages: 0,
        };
        let shared = Shared {
            inbox: Mutex::default(),
            filled: Condvar::new(),
            status: Mutex::new(status),
            read: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), phase: watch::channel(Phase::Recovering), settings, disk }
    }

    /// A shard's way to the store.
    pub(crate) fn client(&self) -> Box<dyn Store> {
        Box::new(Client::new(self.shared.clone()))
    }

    pub(crate) fn view(&self) -> StoreView {
        StoreView { shared: self.shared.clone(), phase: self.phase.1.clone() }
    }

    /// Starts the threads. They end when every client is gone.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(
        self,
        hub: Hub,
        homes: Homes,
        mailboxes: Arc<[Mailbox]>,
    ) -> io::Result<[JoinHandle<()>; 2]> {
        let (loads, to_load) = std::sync::mpsc::channel();
        let boxes = mailboxes.clone();
        let reader = thread::Builder::new()
            .name("store-reader".into())
            .spawn(move || reader::run(&to_load, &boxes))?;
        let Self { shared, phase: (phase, _), settings, disk } = self;
        let run = move || writer::run(shared, &phase, settings, disk, hub, homes, mailboxes, loads);
        let writer = thread::Builder::new().name("store-writer".into()).spawn(run)?;
        Ok([writer, reader])
    }
}

/// Where the log of a node is.
pub(crate) fn directory(config: &DaemonConfig) -> PathBuf {
    config.store_dir()
}
