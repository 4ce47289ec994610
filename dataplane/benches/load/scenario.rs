//! The work: one function a line of the report.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use mq_amqp::performative::Role;
use mq_mqtt::Qos;
use rustls::ClientConfig;

use super::client::{Client, body, durable_body, secure};
use super::daemon::Daemon;
use super::fleet;
use super::mqtt::{self, Traffic, traffic};
use super::neighbour;

/// What the command line asks for.
pub(crate) struct Options {
    only: Option<String>,
    pub(crate) messages: u64,
    pub(crate) body: usize,
    connections: usize,
    /// Clients of MQTT that are there at once.
    pub(crate) subscribers: usize,
    /// Clients of MQTT that come one after the other.
    pub(crate) connects: usize,
    credit: u32,
    /// Of a fleet at rest.
    pub(crate) nodes: usize,
    pub(crate) mqd: PathBuf,
}

impl Options {
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            only: None,
            messages: 1_000_000,
            body: 100,
            connections: 5_000,
            subscribers: 20_000,
            connects: 100_000,
            credit: 500,
            nodes: 50,
            mqd: env!("CARGO_BIN_EXE_mqd").into(),
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                // Passed by cargo.
                "--bench" => {}
                "--messages" => options.messages = value()?.parse()?,
                "--body" => options.body = value()?.parse()?,
                "--connections" => options.connections = value()?.parse()?,
                "--subscribers" => options.subscribers = value()?.parse()?,
                "--connects" => options.connects = value()?.parse()?,
                "--nodes" => options.nodes = value()?.parse()?,
                "--credit" => options.credit = value()?.parse()?,
                "--mqd" => options.mqd = value()?.into(),
                name if !name.starts_with('-') => options.only = Some(name.into()),
                other => bail!("unknown flag {other}"),
            }
        }
        Ok(options)
    }
}

/// As many open files as the system lets us have.
pub(crate) fn raise_file_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
}

type Work = fn(&Options) -> Result<()>;

pub(crate) fn run_all(options: &Options) -> Result<()> {
    const ANYCAST: Flow = Flow {
        kind: "anycast",
        ends: [1, 1],
        settled: false,
        durable: false,
        workers: 1,
        hops: 0,
        tls: false,
        parts: 1,
    };
    const MULTICAST: Flow = Flow { kind: "multicast", ends: [1, 10], ..ANYCAST };
    const QUEUE: Flow = Flow { kind: "queue", ..ANYCAST };
    let work: [(&str, Work); 42] = [
        ("anycast 1 to 1, unsettled", |options| flow(options, ANYCAST)),
        ("anycast 1 to 1, pre-settled", |options| flow(options, Flow { settled: true, ..ANYCAST })),
        ("anycast 1 to 1, unsettled, 2 shards", |options| flow(options, Flow { workers: 2, ..ANYCAST })),
        ("anycast 4 to 4, unsettled, 2 shards", |options| {
            flow(options, Flow { ends: [4, 4], workers: 2, ..ANYCAST })
        }),
        ("anycast 4 to 4, pre-settled, 2 shards", |options| {
            flow(options, Flow { ends: [4, 4], settled: true, workers: 2, ..ANYCAST })
        }),
        ("anycast 1 to 1, unsettled, over TLS", |options| flow(options, Flow { tls: true, ..ANYCAST })),
        ("anycast 1 to 1, pre-settled, over TLS", |options| {
            flow(options, Flow { settled: true, tls: true, ..ANYCAST })
        }),
        ("TLS handshakes", handshakes),
        ("anycast 1 to 1, unsettled, to another node", |options| flow(options, Flow { hops: 1, ..ANYCAST })),
        ("anycast 1 to 1, pre-settled, to another node", |options| {
            flow(options, Flow { settled: true, hops: 1, ..ANYCAST })
        }),
        ("anycast 4 to 4, unsettled, 2 shards, to another node", |options| {
            flow(options, Flow { ends: [4, 4], workers: 2, hops: 1, ..ANYCAST })
        }),
        ("anycast 4 to 4, pre-settled, 2 shards, to another node", |options| {
            flow(options, Flow { ends: [4, 4], settled: true, workers: 2, hops: 1, ..ANYCAST })
        }),
        ("multicast 1 to 10, pre-settled", |options| flow(options, Flow { settled: true, ..MULTICAST })),
        ("multicast 1 to 10, unsettled", |options| flow(options, MULTICAST)),
        ("queue 1 to 1, in memory", |options| flow(options, QUEUE)),
        ("queue 4 to 4, in memory, 2 shards", |options| {
            flow(options, Flow { ends: [4, 4], workers: 2, ..QUEUE })
        }),
        ("queue 1 to 1, in memory, to another node", |options| flow(options, Flow { hops: 1, ..QUEUE })),
        ("queue 4 to 4, in memory, 2 shards, to another node", |options| {
            flow(options, Flow { ends: [4, 4], workers: 2, hops: 1, ..QUEUE })
        }),
        ("queue 1 to 1, durable", |options| flow(options, Flow { durable: true, ..QUEUE })),
        ("queue 4 to 4, durable, 2 shards", |options| {
            flow(options, Flow { ends: [4, 4], durable: true, workers: 2, ..QUEUE })
        }),
        ("queue 4 to 4, durable, 2 shards, sharded", |options| {
            flow(options, Flow { ends: [4, 4], durable: true, workers: 2, parts: 2, ..QUEUE })
        }),
        ("queue 32 to 4, durable, 2 shards", |options| {
            flow(options, Flow { ends: [32, 4], durable: true, workers: 2, ..QUEUE })
        }),
        ("queue, one durable message at a time", durable_round_trips),
        ("queue, recovery after kill -9", recovery),
        ("request/reply", round_trips),
        ("idle connections", idle),
        ("one message of 1 GiB, slow reader", one_large),
        ("100 messages of 10 MiB, slow readers", many_large),
        ("MQTT QoS 0, 1 to 1", |options| traffic(options, Traffic::ONE)),
        ("MQTT QoS 0, 4 to 4, 2 shards", |options| traffic(options, Traffic::FOUR)),
        ("MQTT QoS 0, 1 to 50", |options| traffic(options, Traffic::FIFTY)),
        ("MQTT QoS 1, 1 to 1", |options| traffic(options, Traffic { qos: Qos::AtLeastOnce, ..Traffic::ONE })),
        ("MQTT QoS 1, 4 to 4, 2 shards", |options| {
            traffic(options, Traffic { qos: Qos::AtLeastOnce, ..Traffic::FOUR })
        }),
        ("MQTT QoS 2, 1 to 1", |options| traffic(options, Traffic { qos: Qos::ExactlyOnce, ..Traffic::ONE })),
        ("MQTT QoS 2, 4 to 4, 2 shards", |options| {
            traffic(options, Traffic { qos: Qos::ExactlyOnce, ..Traffic::FOUR })
        }),
        ("MQTT QoS 1, 4 to a session that is away", mqtt::away),
        ("MQTT QoS 0, request/reply", mqtt::round_trips),
        ("MQTT idle subscribers", mqtt::idle),
        ("MQTT clients let in", mqtt::connects),
        ("a tenant beside a busy neighbour", neighbour::beside),
        ("two busy neighbours with unequal numbers of connections", neighbour::shares),
        ("a fleet that starts and rests", fleet::rest),
    ];
    let mut found = false;
    for (name, work) in work {
        if options.only.as_ref().is_none_or(|only| name.contains(only)) {
            found = true;
            print!("{name:<52} ");
            std::io::stdout().flush()?;
            work(options).with_context(|| name.to_owned())?;
        }
    }
    if found { Ok(()) } else { bail!("no work has that word in its name") }
}

/// Producers send, consumers take, through one address.
#[derive(Clone, Copy)]
struct Flow {
    kind: &'static str,
    /// How many send, and how many take.
    ends: [u64; 2],
    settled: bool,
    durable: bool,
    workers: u16,
    /// 1: who takes is at another node than who sends. What both nodes cost counts, and stands beside what
    /// one node costs that does the same.
    hops: u8,
    /// Both ends speak TLS: what that costs stands beside the same without.
    tls: bool,
    /// In so many shards it is stored, when it is a queue.
    parts: u16,
}

impl Flow {
    fn create(&self, daemon: &Daemon) -> Result<()> {
        let Self { kind, parts, .. } = self;
        match parts {
            1 => daemon.create("load", kind),
            parts => daemon.create_with("load", &format!(r#"{{"type":"{kind}","shards":{parts}}}"#)),
        }
    }
}

/// Turns that work takes between two nodes and one.
const ROUNDS: u64 = 5;

fn flow(options: &Options, flow: Flow) -> Result<()> {
    if flow.tls {
        return beside_plain(options, flow);
    }
    let one = [Daemon::start(&options.mqd, flow.workers)?];
    flow.create(&one[0])?;
    if flow.hops == 0 {
        println!("{}", work_through(&one, options, flow, options.messages)?);
        return Ok(());
    }
    let two = Daemon::start_fleet(&options.mqd, flow.workers, 2)?;
    flow.create(&two[0])?;
    // In turns, so that both see the same machine.
    let (mut here, mut there) = (Cost::default(), Cost::default());
    for _ in 0..ROUNDS {
        here.add(work_through(&one, options, flow, options.messages / ROUNDS)?);
        there.add(work_through(&two, options, flow, options.messages / ROUNDS)?);
    }
    println!("{there} {:.2} on one node, ratio {:.2}", here.each(), there.each() / here.each());
    Ok(())
}

/// The same work with TLS and without, in turns, so that both see the same machine.
fn beside_plain(options: &Options, flow: Flow) -> Result<()> {
    let daemons = [Daemon::start_secure(&options.mqd, flow.workers)?];
    daemons[0].create("load", flow.kind)?;
    let (mut plain, mut secure) = (Cost::default(), Cost::default());
    for _ in 0..ROUNDS {
        let messages = options.messages / ROUNDS;
        plain.add(work_through(&daemons, options, Flow { tls: false, ..flow }, messages)?);
        secure.add(work_through(&daemons, options, flow, messages)?);
    }
    println!("{secure} {:.2} without, ratio {:.2}", plain.each(), secure.each() / plain.each());
    Ok(())
}

/// What it costs the daemon to agree on TLS: with keys of its own for each client, and with those of before.
fn handshakes(options: &Options) -> Result<()> {
    let daemon = Daemon::start_secure(&options.mqd, 1)?;
    let (to, trusted) = daemon.secure.clone().context("the daemon speaks TLS")?;
    let count = options.connects as u64 / 20;
    let mut anew = (*trusted).clone();
    anew.resumption = rustls::client::Resumption::disabled();
    let mut costs = Vec::new();
    for config in [Arc::new(anew), trusted] {
        let (cpu, begun) = (daemon.cpu()?, Instant::now());
        for _ in 0..count {
            let mut stream = secure(to, &config)?;
            // The answer has the ticket before it.
            stream.write_all(b"AMQP\x00\x01\x00\x00")?;
            stream.read_exact(&mut [0; 8])?;
        }
        costs.push(Cost { deliveries: count, took: begun.elapsed(), cpu: daemon.cpu()? - cpu });
    }
    println!("{} resumed {}", costs[0], costs[1]);
    Ok(())
}

/// What work took.
#[derive(Default)]
struct Cost {
    deliveries: u64,
    took: Duration,
    /// Of all daemons.
    cpu: Duration,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.deliveries += other.deliveries;
        self.took += other.took;
        self.cpu += other.cpu;
    }

    /// Microseconds of CPU time for a delivery.
    fn each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.deliveries as f64
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>12.0} {:>14.2}", self.deliveries as f64 / self.took.as_secs_f64(), self.each())
    }
}

/// Sends through the first of the daemons, and takes from the last.
fn work_through(daemons: &[Daemon], options: &Options, flow: Flow, messages: u64) -> Result<Cost> {
    let Flow { kind, ends: [producers, consumers], settled, durable, .. } = flow;
    let [Some(near), Some(far)] = [daemons.first(), daemons.last()] else { bail!("there is no daemon") };
    let (to, from, credit) = (near.amqp, far.amqp, options.credit);
    let secure = near.secure.clone().filter(|_| flow.tls);
    let each = messages / producers / if kind == "multicast" { 4 } else { 1 };
    let sent = each * producers;
    let deliveries = if kind == "multicast" { sent * consumers } else { sent };
    let per_consumer = deliveries / consumers;
    let start = Arc::new(Barrier::new(usize::try_from(producers + consumers)? + 1));
    let mut threads = Vec::new();
    // The last consumers take what the balancing gives them, so each stops on its own share only
    // when there is one of them, or when everybody gets everything.
    let total = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let exact = consumers == 1 || kind == "multicast";
    for _ in 0..consumers {
        let (start, total, secure) = (start.clone(), total.clone(), secure.clone());
        threads.push(thread::spawn(move || -> Result<()> {
            let mut client = connect(from, secure.as_ref())?;
            let link = client.attach("load", Role::Receiver, settled)?;
            start.wait();
            if exact {
                return client.receive_all(link, per_consumer, credit);
            }
            client.receive_shared(link, deliveries, credit, &total)
        }));
    }
    let message = if durable { durable_body(options.body) } else { body(options.body) };
    for _ in 0..producers {
        let (start, message, secure) = (start.clone(), message.clone(), secure.clone());
        threads.push(thread::spawn(move || -> Result<()> {
            let mut client = connect(to, secure.as_ref())?;
            let link = client.attach("load", Role::Sender, settled)?;
            start.wait();
            client.send_all(link, each, &message, settled)
        }));
    }
    start.wait();
    let cpu_of_all = || daemons.iter().map(Daemon::cpu).sum::<Result<Duration>>();
    let (cpu, begun) = (cpu_of_all()?, Instant::now());
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    Ok(Cost { deliveries, took: begun.elapsed(), cpu: cpu_of_all()? - cpu })
}

fn connect(plain: SocketAddr, tls: Option<&(SocketAddr, Arc<ClientConfig>)>) -> Result<Client> {
    match tls {
        Some((to, config)) => Client::connect_secure(*to, config),
        None => Client::connect(plain),
    }
}

/// Round trips through the daemon, and through a bare relay.
fn round_trips(options: &Options) -> Result<()> {
    let trips = usize::try_from(options.messages / 50)?;
    let daemon = Daemon::start(&options.mqd, 1)?;
    daemon.create("there", "anycast")?;
    daemon.create("back", "anycast")?;
    let to = daemon.amqp;
    let message = body(options.body);
    let answers = message.clone();
    let responder = thread::spawn(move || -> Result<()> {
        let mut client = Client::connect(to)?;
        let into = client.attach("there", Role::Receiver, true)?;
        client.grant(into, 1_000_000_000)?;
        let out = client.attach("back", Role::Sender, true)?;
        for trip in 1..=trips as u64 {
            while client.received < trip || !client.has_credit() {
                client.pump()?;
            }
            client.send_one(out, answers.clone(), true)?;
            client.write()?;
        }
        Ok(())
    });
    let mut client = Client::connect(to)?;
    let into = client.attach("back", Role::Receiver, true)?;
    client.grant(into, 1_000_000_000)?;
    let out = client.attach("there", Role::Sender, true)?;
    let cpu = daemon.cpu()?;
    let mut times = Vec::with_capacity(trips);
    for trip in 1..=trips as u64 {
        while !client.has_credit() {
            client.pump()?;
        }
        let begun = Instant::now();
        client.send_one(out, message.clone(), true)?;
        client.write()?;
        while client.received < trip {
            client.pump()?;
        }
        times.push(begun.elapsed());
    }
    let cpu = daemon.cpu()? - cpu;
    responder.join().map_err(|_| anyhow!("the responder panicked"))??;
    let (p50, p99) = percentiles(&mut times);
    let (relay50, relay99) = relay_round_trips(trips, message.len())?;
    println!(
        "{:>12} {:>14.2} p50 {p50:.0} us p99 {p99:.0} us; bare relay p50 {relay50:.0} us p99 {relay99:.0} us; ratio {:.2}",
        "",
        cpu.as_secs_f64() * 1e6 / trips as f64,
        p50 / relay50
    );
    Ok(())
}

/// A sender that waits until each durable message is accepted, next to what that costs at least: a
/// sync of the disk and a round trip through a process that only copies bytes.
fn durable_round_trips(options: &Options) -> Result<()> {
    let trips = usize::try_from(options.messages / 500)?;
    let daemon = Daemon::start(&options.mqd, 1)?;
    daemon.create("load", "queue")?;
    let message = durable_body(options.body);
    let mut client = Client::connect(daemon.amqp)?;
    let out = client.attach("load", Role::Sender, false)?;
    let mut bare = Syncs::new(daemon.directory(), trips, message.len())?;
    let cpu = daemon.cpu()?;
    let mut times = Vec::with_capacity(trips);
    for trip in 1..=trips as u64 {
        while !client.has_credit() {
            client.pump()?;
        }
        let begun = Instant::now();
        client.send_one(out, message.clone(), false)?;
        client.write()?;
        client.wait_settled(trip)?;
        times.push(begun.elapsed());
        // One after the other, so that both see the same disk.
        bare.sync_one()?;
    }
    let cpu = daemon.cpu()? - cpu;
    let rate = trips as f64 / times.iter().sum::<Duration>().as_secs_f64();
    let (p50, p99) = percentiles(&mut times);
    let (sync50, sync99) = percentiles(&mut bare.times);
    let (relay50, relay99) = relay_round_trips(trips, message.len())?;
    println!(
        "{:>12.0} {:>14.2} p50 {p50:.0} us p99 {p99:.0} us; bare fdatasync p50 {sync50:.0} us p99 {sync99:.0} us, \
         bare relay p50 {relay50:.0} us p99 {relay99:.0} us; ratio {:.2}",
        rate,
        cpu.as_secs_f64() * 1e6 / trips as f64,
        p50 / (sync50 + relay50)
    );
    Ok(())
}

/// How long a daemon that was killed takes to serve what it had stored, and what a message in a queue
/// takes in memory then.
fn recovery(options: &Options) -> Result<()> {
    let mut daemon = Daemon::start(&options.mqd, 2)?;
    daemon.create("load", "queue")?;
    let empty = daemon.restart(&options.mqd)?;
    let before = daemon.memory_kib("VmRSS")?;
    let mut client = Client::connect(daemon.amqp)?;
    let out = client.attach("load", Role::Sender, false)?;
    client.send_all(out, options.messages, &durable_body(options.body), false)?;
    drop(client);
    let took = daemon.restart(&options.mqd)?;
    let grown = daemon.memory_kib("VmRSS")?.saturating_sub(before) << 10;
    let seconds = took.saturating_sub(empty).as_secs_f64();
    println!(
        "{:>12.0} {:>14} {seconds:.2} s for {} messages, {:.0} bytes each in memory",
        options.messages as f64 / seconds,
        "",
        options.messages,
        grown as f64 / options.messages as f64
    );
    Ok(())
}

/// What it takes to write a few bytes of a file that is there already, and to sync them.
struct Syncs {
    file: std::fs::File,
    bytes: Vec<u8>,
    offset: u64,
    times: Vec<Duration>,
}

impl Syncs {
    fn new(directory: &Path, count: usize, size: usize) -> Result<Self> {
        let file = std::fs::File::create(directory.join("syncs"))?;
        file.write_all_at(&vec![0; count * size], 0)?;
        file.sync_all()?;
        Ok(Self { file, bytes: vec![1; size], offset: 0, times: Vec::with_capacity(count) })
    }

    fn sync_one(&mut self) -> Result<()> {
        let begun = Instant::now();
        self.file.write_all_at(&self.bytes, self.offset)?;
        self.file.sync_data()?;
        self.offset += self.bytes.len() as u64;
        self.times.push(begun.elapsed());
        Ok(())
    }
}

pub(crate) fn percentiles(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let at = |part: f64| times[(times.len() as f64 * part) as usize].as_secs_f64() * 1e6;
    (at(0.5), at(0.99))
}

/// The same round trip through a process that only copies bytes.
pub(crate) fn relay_round_trips(trips: usize, size: usize) -> Result<(f64, f64)> {
    let front = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let far = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (near_address, far_address): (SocketAddr, SocketAddr) = (front.local_addr()?, far.local_addr()?);
    let relay = thread::spawn(move || -> Result<()> {
        let (near, _) = front.accept()?;
        let far = TcpStream::connect(far_address)?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let (near_in, far_out) = (near.try_clone()?, far.try_clone()?);
        let up = thread::spawn(move || copy(near_in, far_out));
        copy(far, near);
        up.join().map_err(|_| anyhow!("the relay panicked"))
    });
    let echo = thread::spawn(move || -> Result<()> {
        let (stream, _) = far.accept()?;
        stream.set_nodelay(true)?;
        copy(stream.try_clone()?, stream);
        Ok(())
    });
    let mut stream = TcpStream::connect(near_address)?;
    stream.set_nodelay(true)?;
    let (message, mut answer) = (vec![0; size + 40], vec![0; size + 40]);
    let mut times = Vec::with_capacity(trips);
    for _ in 0..trips {
        let begun = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut answer)?;
        times.push(begun.elapsed());
    }
    drop(stream);
    relay.join().map_err(|_| anyhow!("the relay panicked"))??;
    echo.join().map_err(|_| anyhow!("the echo panicked"))??;
    Ok(percentiles(&mut times))
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// Resident memory of connections with one receiver link each that do nothing.
fn idle(options: &Options) -> Result<()> {
    let daemon = Daemon::start(&options.mqd, 2)?;
    daemon.create("idle", "multicast")?;
    // What the first connections set up is not the price of the next one.
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(idle_client(&daemon)?);
    }
    let before = daemon.memory_kib("VmRSS")?;
    for _ in 0..options.connections {
        clients.push(idle_client(&daemon)?);
    }
    let after = daemon.memory_kib("VmRSS")?;
    println!(
        "{:>12} {:>14} {:.2} KiB each ({} connections, {} KiB before, {} KiB after)",
        "",
        "",
        (after - before) as f64 / options.connections as f64,
        options.connections,
        before,
        after
    );
    Ok(())
}

fn idle_client(daemon: &Daemon) -> Result<TcpStream> {
    let mut client = Client::connect(daemon.amqp)?;
    let link = client.attach("idle", Role::Receiver, false)?;
    client.grant(link, 100)?;
    Ok(client.into_stream())
}

fn one_large(options: &Options) -> Result<()> {
    large(options, 1, 1 << 30)
}

fn many_large(options: &Options) -> Result<()> {
    large(options, 100, 10 << 20)
}

/// `count` producers send one message of `size` bytes each, at a time; the readers stop now and then.
fn large(options: &Options, count: usize, size: usize) -> Result<()> {
    const PIECE: usize = 256 << 10;
    let daemon = Daemon::start(&options.mqd, 2)?;
    let before = daemon.memory_kib("VmRSS")?;
    daemon.reset_peak()?;
    let begun = Instant::now();
    let mut threads = Vec::new();
    for index in 0..count {
        let address = format!("large-{index}");
        daemon.create(&address, "anycast")?;
        let to = daemon.amqp;
        let name = address.clone();
        threads.push(thread::spawn(move || -> Result<()> {
            let mut client = Client::connect(to)?;
            let link = client.attach(&name, Role::Receiver, false)?;
            client.grant(link, 1)?;
            while client.received == 0 {
                client.pump()?;
                client.write()?;
                if client.received_bytes % 64 == 0 {
                    thread::sleep(Duration::from_micros(500));
                }
            }
            if client.received_bytes < size as u64 {
                bail!("{} of {size} bytes came", client.received_bytes);
            }
            Ok(())
        }));
        threads.push(thread::spawn(move || -> Result<()> {
            let mut client = Client::connect(to)?;
            let link = client.attach(&address, Role::Sender, false)?;
            while !client.has_credit() {
                client.pump()?;
            }
            let first = size.min(PIECE);
            let mut left = size - first;
            client.send_piece(link, start_of_data(size, first), true, left > 0)?;
            let piece = Bytes::from(vec![b'x'; PIECE]);
            while left > 0 {
                let part = piece.slice(..left.min(PIECE));
                left -= part.len();
                client.send_piece(link, part, false, left > 0)?;
            }
            client.wait_settled(1)
        }));
    }
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    let peak = daemon.memory_kib("VmHWM")?;
    println!(
        "{:>12} {:>14} memory grew by {:.1} MiB in {:.1} s ({} MiB passed)",
        "",
        "",
        (peak.saturating_sub(before)) as f64 / 1024.0,
        begun.elapsed().as_secs_f64(),
        (count * size) >> 20
    );
    Ok(())
}

/// The first piece of a message whose one data section holds `size` bytes in all.
fn start_of_data(size: usize, first: usize) -> Bytes {
    let mut bytes = vec![0x00, 0x53, 0x75, 0xb0];
    bytes.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
    bytes.resize(8 + first, b'x');
    bytes.into()
}
