//! A shard: one OS thread, one single-threaded runtime, its connections and its slice of the core.
//!
//! Everything a shard owns lives in one [`Shard`] behind a `RefCell` that no await ever crosses:
//! the task of a connection borrows it for one *turn* (read, forward, write what was touched) and
//! gives it back. Shards share nothing but their mailboxes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mq_core::{AddressKind, AddressSettings, Core, CoreLimits, Overload, ShardId};
use mq_model::admin::{Outcomes, Session};
use mq_model::config::DaemonConfig;
use mq_model::manifest::{AddressSpec, AddressType, SlowConsumer};
use tokio::sync::{Notify, mpsc};

use crate::driver::Shard;
use crate::hub::{AddressStatistics, Hub, Reply, ShardCommand, ShardStatistics};
use crate::mailbox::Mailbox;

/// How often a stopping shard looks whether its connections are gone.
const CLOSE_POLL: Duration = Duration::from_millis(10);

/// How long connections have to answer the close of a drain.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Starts the shards of a node, each serving the addresses given.
///
/// # Errors
/// When a thread or its runtime cannot be started.
pub fn spawn(
    config: &DaemonConfig,
    addresses: Vec<(Arc<str>, AddressSpec)>,
) -> std::io::Result<(Hub, Vec<JoinHandle<()>>)> {
    let workers = match config.workers {
        0 => std::thread::available_parallelism()?.get(),
        workers => usize::from(workers),
    };
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
    let hub = Hub::new(senders);
    let mailboxes: Arc<[Mailbox]> = (0..workers).map(|_| Mailbox::default()).collect();
    let mut threads = Vec::with_capacity(workers);
    for (index, commands) in receivers.into_iter().enumerate() {
        let id = ShardId(u16::try_from(index).unwrap_or(u16::MAX));
        let (config, addresses) = (config.clone(), addresses.clone());
        let (mailboxes, counts) = (mailboxes.clone(), hub.connection_counts().clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
            let shard = start(id, &config, &addresses, mailboxes, counts);
            tokio::task::LocalSet::new().block_on(&runtime, run(shard, commands));
        })?;
        threads.push(thread);
    }
    Ok((hub, threads))
}

/// What the tasks of a shard share.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) shard: Rc<RefCell<Shard>>,
    /// Rings when a deadline has become earlier than the one the timer sleeps for.
    pub(crate) timer: Rc<Notify>,
}

fn start(
    id: ShardId,
    config: &DaemonConfig,
    addresses: &[(Arc<str>, AddressSpec)],
    mailboxes: Arc<[Mailbox]>,
    counts: Arc<[AtomicUsize]>,
) -> Handle {
    let shards = u16::try_from(mailboxes.len()).unwrap_or(u16::MAX);
    let limits = CoreLimits { link_credit: config.limits.link_credit, ..CoreLimits::default() };
    let mut core = Core::new(id, shards, limits);
    let now = Instant::now();
    for (name, spec) in addresses {
        core.set_address(now, name, settings(spec, config));
    }
    let timer = Rc::new(Notify::new());
    let shard = Shard::new(id, config, core, mailboxes, counts, timer.clone());
    Handle { shard: Rc::new(RefCell::new(shard)), timer }
}

/// Runs until the last [`Hub`] is gone.
async fn run(handle: Handle, mut commands: mpsc::UnboundedReceiver<ShardCommand>) {
    tokio::task::spawn_local(keep_time(handle.clone()));
    tokio::task::spawn_local(take_mail(handle.clone()));
    while let Some(command) = commands.recv().await {
        obey(&handle, command);
    }
}

/// Fires the deadlines of connections and core.
async fn keep_time(handle: Handle) {
    loop {
        let deadline = handle.shard.borrow_mut().arm_timer();
        let sleep = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => handle.shard.borrow_mut().handle_timeouts(Instant::now()),
            () = handle.timer.notified() => {}
        }
    }
}

/// Takes what other shards have posted.
async fn take_mail(handle: Handle) {
    let (mailboxes, id) = {
        let shard = handle.shard.borrow();
        (shard.mailboxes.clone(), shard.id)
    };
    let Some(mailbox) = mailboxes.get(usize::from(id.0)) else { return };
    let mut mail = Vec::new();
    loop {
        mailbox.filled().await;
        mailbox.take(&mut mail);
        handle.shard.borrow_mut().handle_mail(Instant::now(), &mut mail);
    }
}

/// Carries one command out. A caller that no longer waits for its answer is no error.
fn obey(handle: &Handle, command: ShardCommand) {
    let now = Instant::now();
    let mut shard = handle.shard.borrow_mut();
    match command {
        ShardCommand::Accept { stream, peer, listener } => {
            drop(shard);
            crate::driver::accept(handle, stream, peer, listener);
        }
        ShardCommand::SetAddress { name, spec, reply } => {
            let settings = settings(&spec, &shard.config);
            shard.core.set_address(now, &name, settings);
            shard.finish_turn(now);
            let _ = reply.send(());
        }
        ShardCommand::RemoveAddress { name, reply } => {
            shard.core.remove_address(now, &name);
            shard.finish_turn(now);
            let _ = reply.send(());
        }
        ShardCommand::Statistics { reply } => answer(reply, statistics(&shard)),
        ShardCommand::Addresses { name, reply } => answer(reply, address_statistics(&shard, name.as_deref())),
        ShardCommand::Connections { reply } => answer(reply, shard.connections().collect()),
        ShardCommand::Sessions { connection, reply } => {
            let sessions: Option<Vec<Session>> = shard.sessions(&connection);
            answer(reply, sessions);
        }
        ShardCommand::Links { address, connection, reply } => {
            answer(reply, shard.links(address.as_deref(), connection.as_deref()));
        }
        ShardCommand::Close { connection, reason, reply } => {
            let closed = shard.close_connection(now, &connection, &reason);
            answer(reply, closed);
        }
        ShardCommand::Drain { reply } => {
            shard.start_drain(now);
            answer(reply, ());
        }
        ShardCommand::CloseAll { reason, reply } => {
            shard.close_all(now, &reason);
            drop(shard);
            tokio::task::spawn_local(wait_for_closes(handle.clone(), reply));
        }
    }
}

fn answer<T>(reply: Reply<T>, answer: T) {
    let _ = reply.send(answer);
}

/// Answers when every connection is gone or has had its time.
async fn wait_for_closes(handle: Handle, reply: Reply<()>) {
    let given_up = Instant::now() + CLOSE_GRACE;
    while handle.shard.borrow().connection_count() > 0 && Instant::now() < given_up {
        tokio::time::sleep(CLOSE_POLL).await;
    }
    answer(reply, ());
}

fn statistics(shard: &Shard) -> ShardStatistics {
    let core = shard.core.statistics();
    ShardStatistics {
        connections: shard.connection_count() as u64,
        connections_opened: shard.connections_opened,
        sessions: shard.session_count(),
        producers: core.producers,
        consumers: core.consumers,
        deliveries_in: core.deliveries_in,
        deliveries_out: core.deliveries_out,
        bytes_in: shard.bytes_in,
        bytes_out: shard.bytes_out,
        outcomes: Outcomes {
            accepted: core.outcomes.accepted,
            rejected: core.outcomes.rejected,
            released: core.outcomes.released,
            modified: core.outcomes.modified,
            presettled: core.outcomes.presettled,
        },
        dropped: core.dropped,
        expired: core.expired,
        undelivered: core.undelivered,
        unsettled: core.unsettled,
    }
}

fn address_statistics(shard: &Shard, name: Option<&str>) -> Vec<AddressStatistics> {
    let one = |address: mq_core::AddressStatistics| AddressStatistics {
        name: address.name,
        producers: address.producers,
        consumers: address.consumers,
        deliveries_in: address.deliveries_in,
        deliveries_out: address.deliveries_out,
        undelivered: address.undelivered,
        unsettled: address.unsettled,
        dropped: address.dropped,
        expired: address.expired,
    };
    match name {
        Some(name) => shard.core.address(name).map(one).into_iter().collect(),
        None => shard.core.addresses().map(one).collect(),
    }
}

/// An address document as the core wants it.
fn settings(spec: &AddressSpec, config: &DaemonConfig) -> AddressSettings {
    let defaults = AddressSettings::default();
    let millis = |millis: Option<u32>| millis.map(|millis| Duration::from_millis(millis.into()));
    AddressSettings {
        kind: match spec.kind {
            AddressType::Anycast => AddressKind::Anycast,
            AddressType::Multicast => AddressKind::Multicast,
        },
        max_producers: spec.limits.max_producers.unwrap_or(0),
        max_consumers: spec.limits.max_consumers.unwrap_or(0),
        max_message_bytes: spec.limits.max_message_size.unwrap_or(config.limits.max_message_size),
        link_credit: spec.limits.link_credit.unwrap_or(config.limits.link_credit),
        max_undelivered: spec.limits.max_undelivered.unwrap_or(defaults.max_undelivered),
        overload: match spec.slow_consumer.unwrap_or_default() {
            SlowConsumer::Block => Overload::Block,
            SlowConsumer::Drop => Overload::Drop,
            SlowConsumer::Disconnect => Overload::Disconnect,
        },
        priority: spec.priority,
        ttl_default: millis(spec.ttl.default_ms),
        ttl_min: millis(spec.ttl.min_ms),
        ttl_max: millis(spec.ttl.max_ms),
    }
}
