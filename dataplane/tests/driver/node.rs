//! Shards in this process, on loopback, with a say in which shard serves a client.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mq_model::config::DaemonConfig;
use mq_model::manifest::{AddressSpec, AddressType};
use mq_store::Disk;
use mq_store::testing::FaultyDisk;
use mqd::hub::{Accepted, Hub, Served, ShardStatistics, Speaks};
use mqd::identity::{Pace, Providers};
use mqd::tls::Stage;
use mqd::users::{User, UserTable};
use tokio::runtime::Runtime;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How long a test waits for what must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Errors that any shard has logged: each is a defect.
static ERRORS: AtomicUsize = AtomicUsize::new(0);

/// Shows what is logged as an error, and counts it.
fn watch_for_errors() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let writer = || {
            ERRORS.fetch_add(1, Ordering::Relaxed);
            std::io::stderr()
        };
        // That the disk fails is an error, and what some tests are about.
        let targets =
            Targets::new().with_default(LevelFilter::ERROR).with_target("mqd::store", LevelFilter::OFF);
        let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_filter(targets);
        tracing_subscriber::registry().with(layer).init();
    });
}

/// The shards of a node, without its listeners and its admin API.
pub(crate) struct Node {
    pub(crate) hub: Option<Hub>,
    threads: Vec<JoinHandle<()>>,
    listener: TcpListener,
    runtime: Runtime,
}

/// What outlives a node: its disk, and the addresses with their names in the store.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) addresses: Vec<Served>,
}

impl Place {
    /// An empty disk, and the anycast addresses `a` and `b`, the multicast address `m`, the queue `q`
    /// and the topic `t`.
    pub(crate) fn new() -> Self {
        Self::on(&FaultyDisk::new(0))
    }

    /// The same on another disk.
    pub(crate) fn on(disk: &FaultyDisk) -> Self {
        let kinds = [
            ("a", AddressType::Anycast),
            ("b", AddressType::Anycast),
            ("m", AddressType::Multicast),
            ("q", AddressType::Queue),
            ("t", AddressType::Topic),
        ];
        let mut place = Self { disk: Arc::new(disk.clone()), addresses: Vec::new() };
        for (name, kind) in kinds {
            place.add(name, kind, |_| {});
        }
        place
    }

    /// Adds an address.
    pub(crate) fn add(&mut self, name: &str, kind: AddressType, change: impl FnOnce(&mut AddressSpec)) {
        let mut spec = AddressSpec::new(kind);
        change(&mut spec);
        let id = self.addresses.len() as u64 + 1;
        self.addresses.push(Served { name: name.into(), spec, id, home: None, moving_from: None });
    }
}

impl Node {
    /// Two shards with what a new place has.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// The same with another configuration.
    pub(crate) fn with(change: impl FnOnce(&mut DaemonConfig)) -> Self {
        Self::at(&Place::new(), change)
    }

    /// Two shards that serve what is there.
    pub(crate) fn at(place: &Place, change: impl FnOnce(&mut DaemonConfig)) -> Self {
        let node = Self::begin(place, change);
        let store = node.hub().store().expect("a store").clone();
        node.wait_for(store.recovered()).expect("the log can be read");
        node
    }

    /// The same, without waiting for what was stored.
    pub(crate) fn begin(place: &Place, change: impl FnOnce(&mut DaemonConfig)) -> Self {
        watch_for_errors();
        let mut config = DaemonConfig::embedded("unused");
        config.workers = 2;
        // Small files, since each test has some.
        config.store.segment_size = 1 << 20;
        config.store.max_message_size = 512 << 10;
        change(&mut config);
        let (addresses, disk) = (place.addresses.clone(), place.disk.clone());
        let providers = Providers::new(&config.authentication, Pace::default()).unwrap();
        if !providers.is_empty() || providers.delegate().is_some() {
            // What the control thread does; it ends with the process.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let providers = providers.clone();
            std::thread::spawn(move || runtime.block_on(providers.run()));
        }
        let (hub, threads) =
            mqd::shard::spawn(&config, addresses, disk, providers, mqd::owner::Owner::new()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { hub: Some(hub), threads, listener, runtime }
    }

    pub(crate) fn hub(&self) -> &Hub {
        self.hub.as_ref().expect("the node runs")
    }

    /// A client's socket, served by this shard.
    pub(crate) fn connect(&self, shard: usize) -> TcpStream {
        self.connect_with(shard, &[])
    }

    /// A client's socket that has sent these bytes before the shard hears of it.
    pub(crate) fn connect_with(&self, shard: usize, hello: &[u8]) -> TcpStream {
        self.connect_as(shard, Speaks::Amqp, false, hello)
    }

    /// A client's socket that has sent these bytes before the shard hears of it, on a listener for clients
    /// that speak so.
    pub(crate) fn connect_as(&self, shard: usize, speaks: Speaks, proxy: bool, hello: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (served, peer) = self.listener.accept().unwrap();
        for socket in [&stream, &served] {
            socket.set_nodelay(true).unwrap();
        }
        stream.write_all(hello).unwrap();
        self.serve(shard, served, peer, speaks, proxy);
        stream
    }

    fn serve(&self, shard: usize, stream: TcpStream, peer: SocketAddr, speaks: Speaks, expects_proxy: bool) {
        let (listener, is_local, tls) = ("test".into(), true, Stage::Plain);
        let accepted = Accepted { stream, peer, listener, speaks, expects_proxy, is_local, tls };
        self.hub().accept(shard, accepted);
    }

    /// A client's socket from another machine, as far as the listener says.
    pub(crate) fn connect_from_afar(&self, shard: usize, speaks: Speaks) -> TcpStream {
        let stream = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (served, peer) = self.listener.accept().unwrap();
        let listener = "test".into();
        let (expects_proxy, is_local, tls) = (false, false, Stage::Plain);
        let accepted = Accepted { stream: served, peer, listener, speaks, expects_proxy, is_local, tls };
        self.hub().accept(shard, accepted);
        stream
    }

    /// Goes by these users.
    pub(crate) fn set_users(&self, users: impl IntoIterator<Item = User>) {
        self.wait_for(self.hub().set_users(&Arc::new(UserTable::of(users))));
    }

    /// Goes by another table of users and spaces.
    pub(crate) fn set_table(&self, table: UserTable) {
        self.wait_for(self.hub().set_users(&Arc::new(table)));
    }

    /// A client's socket that a listener of this name has accepted, from this machine or from another one.
    pub(crate) fn connect_at(&self, listener: &str, is_local: bool, speaks: Speaks) -> TcpStream {
        let stream = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (served, peer) = self.listener.accept().unwrap();
        let (expects_proxy, tls) = (false, Stage::Plain);
        let listener = listener.into();
        let accepted = Accepted { stream: served, peer, listener, speaks, expects_proxy, is_local, tls };
        self.hub().accept(0, accepted);
        stream
    }

    /// A client's socket whose kernel buffers hold little, so that what is not read stays in the node.
    pub(crate) fn connect_narrow(&self, shard: usize) -> TcpStream {
        let listener = socket2::SockRef::from(&self.listener);
        // The accepted socket inherits it.
        listener.set_send_buffer_size(32 << 10).unwrap();
        let stream = self.connect(shard);
        listener.set_send_buffer_size(4 << 20).unwrap();
        socket2::SockRef::from(&stream).set_recv_buffer_size(32 << 10).unwrap();
        stream
    }

    /// Creates an address or changes it.
    pub(crate) fn set(&self, name: &str, kind: AddressType, change: impl FnOnce(&mut AddressSpec)) {
        let mut spec = AddressSpec::new(kind);
        change(&mut spec);
        // An id for each name: the place of a new node has used the first ones.
        let id = 1_000 + name.bytes().fold(0, |id, byte| id * 31 + u64::from(byte)) % 1_000_000;
        let served = Served { name: name.into(), spec, id, home: None, moving_from: None };
        self.wait_for(self.hub().set_address(&served));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.wait_for(self.hub().remove_address(&name.into()));
    }

    pub(crate) fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The counters of both shards together.
    pub(crate) fn statistics(&self) -> ShardStatistics {
        let mut sum = ShardStatistics::default();
        for shard in self.wait_for(self.hub().statistics()) {
            sum.connections += shard.connections;
            sum.connections_opened += shard.connections_opened;
            sum.sessions += shard.sessions;
            sum.producers += shard.producers;
            sum.consumers += shard.consumers;
            sum.deliveries_in += shard.deliveries_in;
            sum.deliveries_out += shard.deliveries_out;
            sum.bytes_in += shard.bytes_in;
            sum.bytes_out += shard.bytes_out;
            sum.dropped += shard.dropped;
            sum.expired += shard.expired;
            sum.undelivered += shard.undelivered;
            sum.unsettled += shard.unsettled;
            sum.mqtt.wills_refused += shard.mqtt.wills_refused;
            for (login, count) in shard.logins {
                *sum.logins.entry(login).or_default() += count;
            }
            for (right, count) in shard.denials {
                *sum.denials.entry(right).or_default() += count;
            }
        }
        sum
    }

    /// Waits until the counters say so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut(&ShardStatistics) -> bool) {
        let end = Instant::now() + DEADLINE;
        loop {
            let statistics = self.statistics();
            if is_so(&statistics) {
                return;
            }
            assert!(Instant::now() < end, "waited too long for {what}: {statistics:?}");
            std::thread::yield_now();
        }
    }

    /// Waits until nothing of any client is left.
    #[track_caller]
    pub(crate) fn until_empty(&self) {
        self.until("every trace of the clients to go", |now| {
            let counts = self.hub().connection_counts();
            let counted: usize = counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
            counted == 0
                && [
                    now.connections,
                    now.sessions,
                    now.producers,
                    now.consumers,
                    now.undelivered,
                    now.unsettled,
                ] == [0; 6]
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.hub = None;
        for thread in self.threads.drain(..) {
            let done = thread.join();
            assert!(done.is_ok() || std::thread::panicking(), "a shard panicked");
        }
        let errors = ERRORS.load(Ordering::Relaxed);
        assert!(errors == 0 || std::thread::panicking(), "{errors} errors were logged");
    }
}
