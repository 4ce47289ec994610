//! A shard: one OS thread, one single-threaded runtime, its connections and its slice of the core.
//!
//! Everything a shard owns lives in one [`Shard`] behind a `RefCell` that no await ever crosses:
//! the task of a connection borrows it for one *turn* (read, forward, write what was touched) and
//! gives it back. Shards share nothing but their mailboxes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mq_core::{
    AddressKind, AddressSettings, Core, CoreLimits, Deduplicate, Filter, OnFull, Overload, QueueId,
    QueueSettings, ShardId, SubscriptionSettings, UnixMillis,
};
use mq_mesh::NodeId;
use mq_model::admin::{Outcomes, Session};
use mq_model::config::DaemonConfig;
use mq_model::manifest::{self, AddressSpec, AddressType, SlowConsumer};
use mq_model::space::{qualified, split_qualified};
use mq_store::Disk;
use tokio::sync::{Notify, mpsc};
use tracing::warn;

use crate::checks::Checks;
use crate::driver::{Formats, KeptClients, LoginShared, Shard, Shared, Subscriptions, random};
use crate::hub::{AddressStatistics, Hub, LeftBehind, Reply, Served, ShardCommand, ShardStatistics};
use crate::identity::Providers;
use crate::mailbox::{Mail, Mailbox};
use crate::mesh::{self, Fabric, serve_links};
use crate::owner::Owner;
use crate::selector::Selector;
use crate::store::{Prepared, Store};
use crate::usage::Usage;

/// How often a stopping shard looks whether its connections are gone.
const CLOSE_POLL: Duration = Duration::from_millis(10);

/// How long connections have to answer the close of a drain.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// How long a shard that ends waits for the others to end too.
const MAIL_GRACE: Duration = Duration::from_secs(1);

/// How often it looks whether they have.
const MAIL_POLL: Duration = Duration::from_millis(2);

/// Workers for each thread that checks passwords: clients that are in come first.
const CHECKS_PER_WORKERS: usize = 4;

/// How often the wall clock is looked at.
const CLOCK_LOOK: Duration = Duration::from_secs(10);

/// Milliseconds that the wall clock may be from where it was expected before the core is told.
const CLOCK_STEP: u64 = 500;

/// Starts the shards of a node, each serving the addresses given, and the store on this disk. What it
/// holds is on its way to the shards then; see [`Hub::store`] for when it is there.
///
/// # Errors
/// When a thread or its runtime cannot be started.
pub fn spawn(
    config: &DaemonConfig,
    addresses: Vec<Served>,
    disk: Arc<dyn Disk>,
    providers: Providers,
    owner: Owner,
) -> std::io::Result<(Hub, Vec<JoinHandle<()>>)> {
    let workers = match config.workers {
        0 => std::thread::available_parallelism()?.get(),
        workers => usize::from(workers),
    };
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
    let store = Prepared::new(config, disk);
    let mailboxes: Arc<[Mailbox]> = (0..workers).map(|_| Mailbox::default()).collect();
    let mesh = match &config.mesh {
        Some(mesh) => {
            let incarnation = mesh::next_incarnation(&config.state_dir, unix_millis())?;
            Some(Arc::new(Fabric::new(config, mesh, incarnation, mailboxes.clone())))
        }
        None => None,
    };
    let shards = u16::try_from(workers).unwrap_or(u16::MAX);
    let usage = Arc::new(Usage::new(shards, Instant::now()));
    let hub = Hub::new(senders)
        .with_store(store.view())
        .with_mesh(mesh.clone())
        .with_providers(providers.clone())
        .with_usage(usage.clone());
    let homes = addresses.iter().map(|address| (QueueId(address.id), mq_core::home(&address.name, shards)));
    let homes = homes.collect();
    let checks = Checks::new(mailboxes.clone(), workers.div_ceil(CHECKS_PER_WORKERS), &random());
    let shared = Shared {
        mailboxes,
        counts: hub.connection_counts().clone(),
        subscriptions: Subscriptions::default(),
        kept_clients: KeptClients::default(),
        running: Arc::new(AtomicUsize::new(workers)),
        mesh,
        checks,
        usage,
        login: LoginShared::new(&config.state_dir, providers, owner, Instant::now()),
    };
    let mut threads = Vec::with_capacity(workers + 2);
    for (index, commands) in receivers.into_iter().enumerate() {
        let id = ShardId::new(0, u16::try_from(index).unwrap_or(u16::MAX));
        let (config, addresses) = (config.clone(), addresses.clone());
        let (shared, client) = (shared.clone(), store.client());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
            let shard = start(id, &config, &addresses, shared, client);
            tokio::task::LocalSet::new().block_on(&runtime, run(shard, commands));
        })?;
        threads.push(thread);
    }
    threads.extend(store.start(hub.clone(), homes, shared.mailboxes)?);
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
    addresses: &[Served],
    shared: Shared,
    store: Box<dyn Store>,
) -> Handle {
    let shards = u16::try_from(shared.mailboxes.len()).unwrap_or(u16::MAX);
    let limits = CoreLimits {
        link_credit: config.limits.link_credit,
        stored_memory_bytes: config.store.memory / u64::from(shards.max(1)),
        stored_message_bytes: config.store.max_message_size,
        max_retained: config.mqtt.max_retained,
        // Each publication of QoS 2 and each PUBREC is one until the disk has it, and refused beyond. 250,000
        // are 250 clients with all that MQTT lets them have under way at once by default; empty they take
        // about 100 MiB, and what is in them counts towards the memory of the store.
        max_transactions: 250_000,
        ..CoreLimits::default()
    };
    let mut core = Core::new(id, shards, limits);
    core.set_name(&config.node);
    core.set_stocks(shared.usage.clone());
    core.set_format(Arc::new(Formats::new(shared.subscriptions.clone(), &config.mqtt)));
    let now = Instant::now();
    core.set_clock(now, UnixMillis(unix_millis()));
    for address in addresses {
        core.set_address(now, &address.name, settings(address, config, shared.mesh.as_ref()));
    }
    let timer = Rc::new(Notify::new());
    let shard = Shard::new(id, config, core, shared, store, timer.clone());
    Handle { shard: Rc::new(RefCell::new(shard)), timer }
}

/// Milliseconds since the epoch.
pub(crate) fn unix_millis() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// Runs until the last [`Hub`] is gone.
async fn run(handle: Handle, mut commands: mpsc::UnboundedReceiver<ShardCommand>) {
    tokio::task::spawn_local(keep_time(handle.clone()));
    tokio::task::spawn_local(take_mail(handle.clone()));
    tokio::task::spawn_local(watch_clock(handle.clone()));
    while let Some(command) = commands.recv().await {
        obey(&handle, command);
    }
    settle_mail(&handle).await;
}

/// Takes what other shards that end too have posted: the settlement of a stored message is on its
/// way to its home, and what is lost there comes again after a restart.
async fn settle_mail(handle: &Handle) {
    let (shared, id) = {
        let shard = handle.shard.borrow();
        (shard.shared.clone(), shard.id)
    };
    shared.running.fetch_sub(1, Ordering::AcqRel);
    let Some(mailbox) = shared.mailboxes.get(usize::from(id.shard())) else { return };
    let given_up = Instant::now() + MAIL_GRACE;
    let mut mail = Mail::default();
    loop {
        let is_last = shared.running.load(Ordering::Acquire) == 0 || Instant::now() >= given_up;
        mailbox.take(&mut mail);
        handle.shard.borrow_mut().handle_mail(Instant::now(), &mut mail);
        if is_last {
            return;
        }
        tokio::time::sleep(MAIL_POLL).await;
    }
}

/// Fires the deadlines of connections and core.
async fn keep_time(handle: Handle) {
    loop {
        let deadline = handle.shard.borrow_mut().arm_timer(Instant::now());
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

/// Ends what ends at a time of day, and tells the core when the wall clock was set: what expires or is due
/// depends on it.
async fn watch_clock(handle: Handle) {
    let (mut told, mut unix) = (Instant::now(), unix_millis());
    let mut ticks = tokio::time::interval(CLOCK_LOOK);
    loop {
        ticks.tick().await;
        let (now, found) = (Instant::now(), unix_millis());
        handle.shard.borrow_mut().end_tokens(now, found / 1_000);
        let passed = u64::try_from(now.duration_since(told).as_millis()).unwrap_or(u64::MAX);
        if found.abs_diff(unix.saturating_add(passed)) >= CLOCK_STEP {
            let mut shard = handle.shard.borrow_mut();
            shard.core.set_clock(now, UnixMillis(found));
            shard.finish_turn(now);
            (told, unix) = (now, found);
        }
    }
}

/// Takes what other shards have posted.
async fn take_mail(handle: Handle) {
    let (mailboxes, id) = {
        let shard = handle.shard.borrow();
        (shard.shared.mailboxes.clone(), shard.id)
    };
    let Some(mailbox) = mailboxes.get(usize::from(id.shard())) else { return };
    let mut mail = Mail::default();
    loop {
        mailbox.filled().await;
        mailbox.take(&mut mail);
        handle.shard.borrow_mut().handle_mail(Instant::now(), &mut mail);
        for adopted in mailbox.take_adopted() {
            crate::driver::adopt(&handle, adopted);
        }
        serve_links(&handle);
        crate::driver::serve_tunnels(&handle);
    }
}

/// Carries one command out. A caller that no longer waits for its answer is no error.
fn obey(handle: &Handle, command: ShardCommand) {
    let now = Instant::now();
    let mut shard = handle.shard.borrow_mut();
    match command {
        ShardCommand::Accept(accepted) => {
            drop(shard);
            crate::driver::accept(handle, accepted);
        }
        ShardCommand::Connect(outgoing) => {
            drop(shard);
            crate::driver::connect(handle, *outgoing);
        }
        ShardCommand::TendOutward { connection } => shard.tend_outward(now, &connection),
        ShardCommand::EndOutward { connection } => shard.end_outward(now, &connection),
        ShardCommand::SetAddress { address, reply } => {
            let settings = settings(&address, &shard.config, shard.shared.mesh.as_ref());
            shard.core.set_address(now, &address.name, settings);
            shard.finish_turn(now);
            let _ = reply.send(());
        }
        ShardCommand::AddressServed { name, reply } => {
            shard.address_changed(now, &name);
            shard.finish_turn(now);
            answer(reply, ());
        }
        ShardCommand::RemoveAddress { name, reply } => {
            shard.core.remove_address(now, &name);
            shard.address_changed(now, &name);
            shard.shared.subscriptions.remove_topic(&name);
            shard.finish_turn(now);
            let _ = reply.send(());
        }
        ShardCommand::Purge { name, reply } => {
            let purged = shard.core.purge(now, &name);
            shard.finish_turn(now);
            answer(reply, purged);
        }
        ShardCommand::Move { from, to, limit, reply } => {
            let moved = shard.core.move_messages(now, &from, &to, limit);
            shard.finish_turn(now);
            answer(reply, moved);
        }
        ShardCommand::Subscriptions { topic, reply } => answer(reply, shard.subscriptions_of(&topic)),
        ShardCommand::RemoveSubscription { topic, name, reply } => {
            let removed = shard.remove_subscription(now, &topic, &name);
            shard.finish_turn(now);
            answer(reply, removed);
        }
        ShardCommand::Recover { batch, reply } => {
            batch.give(now, &mut shard);
            shard.finish_turn(now);
            answer(reply, ());
        }
        ShardCommand::Recovered { reply } => {
            shard.core.recovered(now);
            shard.sessions_recovered(now);
            shard.finish_turn(now);
            answer(reply, ());
        }
        ShardCommand::SetUsers { table, reply } => {
            shard.set_users(now, table);
            shard.finish_turn(now);
            answer(reply, ());
        }
        ShardCommand::SetRevocations { revocations, reply } => {
            shard.set_revocations(now, revocations);
            shard.finish_turn(now);
            answer(reply, ());
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
        ShardCommand::ClientSessions { query, reply } => answer(reply, shard.client_sessions(&query)),
        ShardCommand::ClientSession { client, reply } => answer(reply, shard.client_session(&client)),
        ShardCommand::EndClientSession { client, reply } => {
            let ended = shard.end_client_session(now, &client);
            shard.finish_turn(now);
            answer(reply, ended);
        }
        ShardCommand::Held { subscriptions, reply } => {
            let held = |(topic, name): &(Arc<str>, Arc<str>)| shard.core.subscription(topic, name);
            answer(reply, subscriptions.iter().filter_map(held).collect());
        }
        ShardCommand::TopicsOf { filter, reply } => answer(reply, shard.core.topics_of(&filter)),
        ShardCommand::Retained { query, reply } => {
            shard.list_retained(now, query, reply);
            shard.finish_turn(now);
        }
        ShardCommand::ClearRetained { topic, filter, reply } => {
            let cleared = shard.core.clear_retained(now, &topic, &filter);
            shard.finish_turn(now);
            answer(reply, cleared);
        }
        ShardCommand::LeftBehind { reply } => {
            let left = shard.core.left_behind();
            let left = left.map(|(name, messages, bytes)| LeftBehind { name: name.clone(), messages, bytes });
            answer(reply, left.collect());
        }
        ShardCommand::MoveSession { client, step, reply } => {
            shard.move_session(now, &client, step, reply);
            shard.finish_turn(now);
        }
        ShardCommand::CountLasting { reply } => answer(reply, shard.count_lasting()),
        ShardCommand::PendingMoves { limit, reply } => answer(reply, shard.pending_moves(limit)),
        ShardCommand::Drain { reply } => {
            shard.start_drain(now);
            answer(reply, ());
        }
        ShardCommand::CloseSettled { reason, reply } => answer(reply, shard.close_settled(now, &reason)),
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
        sessions: shard.sessions,
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
        mqtt: shard.mqtt_statistics(),
        tls: shard.handshakes.statistics,
        logins: shard.logins.clone(),
        denials: shard.denials.clone(),
    }
}

fn address_statistics(shard: &Shard, name: Option<&str>) -> Vec<AddressStatistics> {
    let one = |address: mq_core::AddressStatistics| AddressStatistics {
        queue: shard.core.queue(&address.name),
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
fn settings(address: &Served, config: &DaemonConfig, mesh: Option<&Arc<Fabric>>) -> AddressSettings {
    let Served { name, spec, id, home, moving_from } = address;
    let defaults = AddressSettings::default();
    let millis = |millis: Option<u32>| millis.map(|millis| Duration::from_millis(millis.into()));
    let is_stored = spec.kind.is_stored();
    let max_message_size =
        if is_stored { config.store.max_message_size } else { config.limits.max_message_size };
    AddressSettings {
        kind: match spec.kind {
            AddressType::Anycast => AddressKind::Anycast,
            AddressType::Multicast => AddressKind::Multicast,
            AddressType::Queue | AddressType::Subscription => AddressKind::Queue,
            AddressType::Topic => AddressKind::Topic,
        },
        max_producers: spec.limits.max_producers.unwrap_or(0),
        max_consumers: spec.limits.max_consumers.unwrap_or(0),
        max_message_bytes: spec.limits.max_message_size.unwrap_or(max_message_size),
        link_credit: spec.limits.link_credit.unwrap_or(config.limits.link_credit),
        max_undelivered: spec.limits.max_undelivered.unwrap_or(defaults.max_undelivered),
        overload: match spec.slow_consumer.unwrap_or_default() {
            SlowConsumer::Block => Overload::Block,
            SlowConsumer::Drop => Overload::Drop,
            SlowConsumer::Disconnect => Overload::Disconnect,
        },
        priority: spec.priority,
        // What is stored without a time to live would live for ever, past every maximum.
        ttl_default: millis(spec.ttl.default_ms.or_else(|| spec.ttl.max_ms.filter(|_| is_stored))),
        ttl_min: millis(spec.ttl.min_ms),
        ttl_max: millis(spec.ttl.max_ms),
        queue: is_stored.then(|| Arc::new(queue_settings(name, spec))),
        // A node that never was its home has no name for it in its store.
        id: (matches!(spec.kind, AddressType::Queue | AddressType::Subscription) && *id > 0)
            .then_some(QueueId(*id)),
        subscription: (spec.kind == AddressType::Subscription).then(|| subscription_settings(name, spec)),
        home: home.as_deref().map_or(0, |home| slot_of(home, config, mesh)),
        moving_from: moving_from.as_deref().map(|from| slot_of(from, config, mesh)),
        shards: spec.shards(),
        ..defaults
    }
}

/// The slot of a node, which gets one if it was never heard of.
fn slot_of(node: &str, config: &DaemonConfig, mesh: Option<&Arc<Fabric>>) -> u32 {
    let slot = mesh.and_then(|mesh| mesh.slot(NodeId::new(&config.fleet, node)));
    slot.unwrap_or(mq_core::UNKNOWN_SLOT)
}

/// How a queue, one of its shards, or each subscription of a topic, keeps messages.
fn queue_settings(name: &str, spec: &AddressSpec) -> QueueSettings {
    let (space, _) = split_qualified(name);
    // What a document names lies in its own space.
    let inside = |name: &str| Arc::from(&*qualified(space, name));
    let shards = u64::from(spec.shards());
    QueueSettings {
        // Each shard has its part, rounded up, so that none is without room.
        max_messages: spec.limits.max_messages.unwrap_or(0).div_ceil(shards),
        max_bytes: spec.limits.max_bytes.unwrap_or(0).div_ceil(shards),
        on_full: match spec.on_full.unwrap_or_default() {
            manifest::OnFull::Block => OnFull::Block,
            manifest::OnFull::Reject => OnFull::Reject,
            manifest::OnFull::DropOldest => OnFull::DropOldest,
        },
        max_deliveries: spec.max_deliveries.unwrap_or(0),
        redelivery_delay: spec.redelivery.delay(),
        redelivery_multiplier_percent: spec.redelivery.multiplier_percent(),
        redelivery_delay_max: spec.redelivery.max_delay(),
        dead_letter: spec.dead_letter.as_deref().map(inside),
        expiry: spec.expiry_address.as_deref().map(inside),
        exclusive: spec.exclusive,
        groups: spec.message_groups,
        last_value: spec.last_value,
        deduplicate: spec.deduplication.as_ref().map(|deduplication| Deduplicate {
            window: deduplication.window(),
            max_ids: deduplication.capacity().div_ceil(u32::from(spec.shards())),
        }),
    }
}

/// What an administrator's subscription gets of its topic.
fn subscription_settings(name: &str, spec: &AddressSpec) -> Arc<SubscriptionSettings> {
    let topic = name.split_once("::").map_or(name, |(topic, _)| topic);
    let selector = spec.subscription.selector.as_deref().and_then(|text| match Selector::parse(text) {
        Ok(selector) => Some(Arc::new(selector) as Arc<dyn Filter>),
        Err(error) => {
            // It was checked when it came; only another version can have written it.
            warn!(address = name, %error, "the selector of a subscription cannot be used; it gets everything");
            None
        }
    });
    let (space, _) = split_qualified(name);
    let levels = spec.subscription.filter.as_deref();
    Arc::new(SubscriptionSettings {
        topic: topic.into(),
        levels: levels.map(|levels| Arc::from(&*qualified(space, levels))),
        filter: selector,
    })
}
