//! What a tenant notices of another one that takes all it can.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use mq_amqp::performative::Role;

use super::client::{Client, body};
use super::daemon::Daemon;
use super::scenario::{Options, percentiles};

/// Connections of the busy tenant that send.
const BUSY: usize = 32;

/// Connections that send of two busy tenants.
const UNEQUAL: [usize; 2] = [2, 32];

/// How long two busy tenants are watched.
const WATCHED: Duration = Duration::from_secs(5);

/// How long the quiet tenant waits between two messages.
const PAUSE: Duration = Duration::from_micros(500);

/// Round trips of a quiet tenant: alone, beside a busy tenant of another space, and beside the same as one of his
/// own, which is what they would be to each other without spaces.
pub(crate) fn beside(options: &Options) -> Result<()> {
    let trips = usize::try_from(options.messages / 500)?;
    let message = body(options.body);
    let mut words = Vec::new();
    for neighbour in [None, Some("busy"), Some("quiet")] {
        let daemon = Daemon::start(&options.mqd, 1)?;
        daemon.create_space("quiet", &["trips", "flood"], "anycast")?;
        daemon.create_space("busy", &["flood"], "anycast")?;
        if let Some(space) = neighbour {
            flood(daemon.amqp, space, "flood", BUSY, &message)?;
        }
        let (mut times, rate, share) = trips_of(&daemon, trips, &message)?;
        let (p50, p99) = percentiles(&mut times);
        let who = match neighbour {
            None => "alone",
            Some("busy") => "beside a busy space",
            Some(_) => "beside the same in its own",
        };
        words.push(format!("{who} p50 {p50:.0} us p99 {p99:.0} us ({rate:.0}/s, {share:.0} % of a core)"));
    }
    println!("{:>12} {:>14} {}", "", "", words.join("; "));
    Ok(())
}

/// What two tenants get of a node when both take all they can, one of them over many more connections: in spaces of
/// their own, and in one space, which is what the connections alone would get.
pub(crate) fn shares(options: &Options) -> Result<()> {
    let message = body(options.body);
    let mut words = Vec::new();
    for (spaces, who) in [(["few", "many"], "two spaces"), (["few", "few"], "the same in one space")] {
        let daemon = Daemon::start(&options.mqd, 1)?;
        for space in spaces {
            daemon.create_space(space, &["few", "many"], "anycast")?;
        }
        let mut taken = Vec::new();
        for ((space, address), producers) in spaces.into_iter().zip(["few", "many"]).zip(UNEQUAL) {
            taken.push(flood(daemon.amqp, space, address, producers, &message)?);
        }
        let count = || taken.iter().map(|taken| taken.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let (before, begun) = (count(), Instant::now());
        thread::sleep(WATCHED);
        let took = begun.elapsed().as_secs_f64();
        let rates = count().into_iter().zip(before).map(|(now, before)| (now - before) as f64 / took);
        let [few, many] = rates.collect::<Vec<_>>()[..] else { bail!("two tenants are two") };
        let [two, more] = UNEQUAL;
        words.push(format!("{who}: {two} producers {few:.0}/s, {more} {many:.0}/s, 1:{:.2}", many / few));
    }
    println!("{:>12} {:>14} {}", "", "", words.join("; "));
    Ok(())
}

/// Producers that send as fast as they are let, and a consumer that takes all of it, until the daemon ends. Counts
/// what the consumer gets.
fn flood(
    to: SocketAddr,
    space: &str,
    address: &'static str,
    producers: usize,
    message: &Bytes,
) -> Result<Arc<AtomicU64>> {
    let mut consumer = Client::connect_to_space(to, Some(space))?;
    let link = consumer.attach(address, Role::Receiver, true)?;
    let taken = Arc::new(AtomicU64::new(0));
    let total = taken.clone();
    thread::spawn(move || consumer.receive_shared(link, u64::MAX, 10_000, &total));
    for _ in 0..producers {
        let mut producer = Client::connect_to_space(to, Some(space))?;
        let link = producer.attach(address, Role::Sender, true)?;
        let message = message.clone();
        thread::spawn(move || producer.send_for_ever(link, &message));
    }
    // So that it is under way before anything is measured.
    thread::sleep(Duration::from_millis(200));
    Ok(taken)
}

/// Sends to a consumer of the quiet tenant, one message after the other; returns how long each took until it was
/// accepted, how many there were in a second, and what the daemon used meanwhile.
fn trips_of(daemon: &Daemon, trips: usize, message: &Bytes) -> Result<(Vec<Duration>, f64, f64)> {
    let to = daemon.amqp;
    let mut taker = Client::connect_to_space(to, Some("quiet"))?;
    let into = taker.attach("trips", Role::Receiver, false)?;
    thread::spawn(move || taker.receive_all(into, u64::MAX / 2, 100));
    let mut client = Client::connect_to_space(to, Some("quiet"))?;
    let out = client.attach("trips", Role::Sender, false)?;
    let mut times = Vec::with_capacity(trips);
    let (cpu, begun) = (daemon.cpu()?, Instant::now());
    for trip in 1..=trips as u64 {
        while !client.has_credit() {
            client.pump()?;
        }
        let sent = Instant::now();
        client.send_one(out, message.clone(), false)?;
        client.write()?;
        client.wait_settled(trip)?;
        times.push(sent.elapsed());
        thread::sleep(PAUSE);
    }
    let took = begun.elapsed().as_secs_f64();
    Ok((times, trips as f64 / took, (daemon.cpu()? - cpu).as_secs_f64() * 100.0 / took))
}
