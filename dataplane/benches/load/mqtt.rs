//! The work of MQTT clients: one function a line of the report.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use mq_mqtt::Qos;
use tokio::task::JoinSet;

use super::daemon::Daemon;
use super::mqtt_client::{MqttClient, Pace, Terms};
use super::scenario::{Options, percentiles, relay_round_trips};

/// Connections that are made at once.
const AT_ONCE: usize = 64;

/// The first port of an address of this machine that connections come from.
const FIRST_PORT: usize = 20_000;

/// How many of its ports they use.
const PORTS: usize = 40_000;

/// Files that either side needs besides its connections.
const OTHER_FILES: u64 = 300;

/// Publishers publish, each to a topic of its own or all to one, and subscribers take.
#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) qos: Qos,
    /// How many publish, and how many subscribe.
    pub(crate) ends: [usize; 2],
    /// Every subscriber gets what every publisher publishes; otherwise each has one of its own.
    pub(crate) is_fan_out: bool,
    pub(crate) workers: u16,
}

impl Traffic {
    pub(crate) const ONE: Self = Self { qos: Qos::AtMostOnce, ends: [1, 1], is_fan_out: false, workers: 1 };
    pub(crate) const FOUR: Self = Self { ends: [4, 4], workers: 2, ..Self::ONE };
    pub(crate) const FIFTY: Self = Self { ends: [1, 50], is_fan_out: true, ..Self::ONE };
}

pub(crate) fn traffic(options: &Options, traffic: Traffic) -> Result<()> {
    let Traffic { qos, ends: [publishers, subscribers], is_fan_out, workers } = traffic;
    let daemon = Daemon::start(&options.mqd, workers)?;
    let to = daemon.mqtt;
    let each = options.messages / publishers as u64 / if is_fan_out { 10 } else { 1 };
    let topic = move |number: usize| format!("load/{}", if is_fan_out { 0 } else { number });
    let copies = if is_fan_out { subscribers as u64 } else { 1 };
    let paces: Vec<_> = (0..publishers).map(|_| Pace { received: Arc::default(), copies }).collect();
    let start = Arc::new(Barrier::new(3));
    let subscribing = {
        let (start, paces) = (start.clone(), paces.clone());
        let expected = if is_fan_out { each * publishers as u64 } else { each };
        on_thread(move |runtime| {
            let clients = runtime.block_on(async {
                let mut clients = Vec::new();
                for number in 0..subscribers {
                    let id = format!("subscriber-{number}");
                    let mut client = MqttClient::connect(to, &id, Terms::default()).await?;
                    client.subscribe(&topic(number), qos).await?;
                    clients.push(client);
                }
                Ok::<_, anyhow::Error>(clients)
            })?;
            start.wait();
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for (number, mut client) in clients.into_iter().enumerate() {
                    let pace = paces.get(number % publishers).cloned().context("a publisher")?;
                    tasks.spawn_local(async move {
                        client.receive_most(expected, &pace).await?;
                        Ok((client.received, client.last))
                    });
                }
                all(tasks).await
            })
        })
    };
    let publishing = {
        let (start, payload) = (start.clone(), Bytes::from(vec![b'x'; options.body]));
        on_thread(move |runtime| {
            let clients = runtime.block_on(async {
                let mut clients = Vec::new();
                for number in 0..publishers {
                    let id = format!("publisher-{number}");
                    clients.push(MqttClient::connect(to, &id, Terms::default()).await?);
                }
                Ok::<_, anyhow::Error>(clients)
            })?;
            start.wait();
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for ((number, mut client), pace) in clients.into_iter().enumerate().zip(paces) {
                    let payload = payload.clone();
                    tasks.spawn_local(async move {
                        client.publish_all(&topic(number), each, qos, &payload, Some(&pace)).await
                    });
                }
                all(tasks).await
            })
        })
    };
    start.wait();
    let (cpu, begun) = (daemon.cpu()?, Instant::now());
    publishing.join().map_err(|_| anyhow!("a publisher panicked"))??;
    let received = subscribing.join().map_err(|_| anyhow!("a subscriber panicked"))??;
    let cpu = daemon.cpu()? - cpu;
    let deliveries: u64 = received.iter().map(|(count, _)| count).sum();
    let end = received.iter().map(|(_, at)| *at).max().unwrap_or(begun);
    let wanted = each * if is_fan_out { publishers * subscribers } else { publishers } as u64;
    let lost = match wanted - deliveries {
        0 => String::new(),
        lost => format!(" {lost} not delivered"),
    };
    let rate = deliveries as f64 / (end - begun).as_secs_f64();
    println!("{rate:>12.0} {:>14.2}{lost}", cpu.as_secs_f64() * 1e6 / deliveries as f64);
    Ok(())
}

/// Request and reply through the daemon, and through a bare relay.
pub(crate) fn round_trips(options: &Options) -> Result<()> {
    let trips = usize::try_from(options.messages / 50)?;
    let daemon = Daemon::start(&options.mqd, 1)?;
    let (to, payload) = (daemon.mqtt, Bytes::from(vec![b'x'; options.body]));
    let ready = Arc::new(Barrier::new(2));
    let responder = {
        let (ready, payload) = (ready.clone(), payload.clone());
        on_thread(move |runtime| {
            let mut client = runtime.block_on(async {
                let mut client = MqttClient::connect(to, "responder", Terms::default()).await?;
                client.subscribe("requests", Qos::AtMostOnce).await?;
                Ok::<_, anyhow::Error>(client)
            })?;
            ready.wait();
            runtime.block_on(async {
                for trip in 1..=trips as u64 {
                    client.receive(trip).await?;
                    client.publish("answers", &payload).await?;
                }
                Ok(())
            })
        })
    };
    let runtime = runtime()?;
    let mut client = runtime.block_on(async {
        let mut client = MqttClient::connect(to, "requester", Terms::default()).await?;
        client.subscribe("answers", Qos::AtMostOnce).await?;
        Ok::<_, anyhow::Error>(client)
    })?;
    ready.wait();
    let cpu = daemon.cpu()?;
    let mut times = Vec::with_capacity(trips);
    runtime.block_on(async {
        for trip in 1..=trips as u64 {
            let begun = Instant::now();
            client.publish("requests", &payload).await?;
            client.receive(trip).await?;
            times.push(begun.elapsed());
        }
        Ok::<_, anyhow::Error>(())
    })?;
    let cpu = daemon.cpu()? - cpu;
    responder.join().map_err(|_| anyhow!("the responder panicked"))??;
    let (p50, p99) = percentiles(&mut times);
    let (relay50, relay99) = relay_round_trips(trips, payload.len())?;
    println!(
        "{:>12} {:>14.2} p50 {p50:.0} us p99 {p99:.0} us; bare relay p50 {relay50:.0} us p99 {relay99:.0} us; ratio {:.2}",
        "",
        cpu.as_secs_f64() * 1e6 / trips as f64,
        p50 / relay50
    );
    Ok(())
}

/// Publications of QoS 1 to a session whose client is away: each is on disk before its PUBACK.
pub(crate) fn away(options: &Options) -> Result<()> {
    const PUBLISHERS: usize = 4;
    let daemon = Daemon::start(&options.mqd, 2)?;
    let each = options.messages / 10 / PUBLISHERS as u64;
    let (to, payload) = (daemon.mqtt, Bytes::from(vec![b'x'; options.body]));
    let runtime = runtime()?;
    let clients = runtime.block_on(async {
        let terms = Terms { session_expiry: 3_600, ..Terms::default() };
        let mut away = MqttClient::connect(to, "away", terms).await?;
        away.subscribe("load/#", Qos::AtLeastOnce).await?;
        drop(away);
        let mut clients = Vec::new();
        for number in 0..PUBLISHERS {
            clients.push(MqttClient::connect(to, &format!("publisher-{number}"), Terms::default()).await?);
        }
        Ok::<_, anyhow::Error>(clients)
    })?;
    let (cpu, begun) = (daemon.cpu()?, Instant::now());
    on_local(&runtime, async {
        let mut tasks = JoinSet::new();
        for (number, mut client) in clients.into_iter().enumerate() {
            let payload = payload.clone();
            tasks.spawn_local(async move {
                client.publish_all(&format!("load/{number}"), each, Qos::AtLeastOnce, &payload, None).await
            });
        }
        all(tasks).await
    })?;
    let (took, cpu) = (begun.elapsed(), daemon.cpu()? - cpu);
    let count = (each * PUBLISHERS as u64) as f64;
    println!("{:>12.0} {:>14.2}", count / took.as_secs_f64(), cpu.as_secs_f64() * 1e6 / count);
    Ok(())
}

/// Resident memory of subscribers that do nothing.
pub(crate) fn idle(options: &Options) -> Result<()> {
    let daemon = Daemon::start(&options.mqd, 2)?;
    let count = options.subscribers.min(at_most());
    let runtime = runtime()?;
    // What the first connections set up is not the price of the next one.
    let mut clients = subscribers(&runtime, daemon.mqtt, 0..100)?;
    let before = daemon.memory_kib("VmRSS")?;
    let begun = Instant::now();
    clients.extend(subscribers(&runtime, daemon.mqtt, 100..100 + count)?);
    let took = begun.elapsed();
    // What a connection gives back, it gives back when it has been quiet for a while: twice five seconds.
    thread::sleep(Duration::from_secs(12));
    let after = daemon.memory_kib("VmRSS")?;
    println!(
        "{:>12.0} {:>14} {:.2} KiB each ({count} subscribers, {before} KiB before, {after} KiB after)",
        count as f64 / took.as_secs_f64(),
        "",
        after.saturating_sub(before) as f64 / count as f64,
    );
    Ok(())
}

/// How long it takes to let so many clients in; as many at a time as there may be open files.
pub(crate) fn connects(options: &Options) -> Result<()> {
    let daemon = Daemon::start(&options.mqd, 2)?;
    let (wanted, most) = (options.connects, at_most());
    let runtime = runtime()?;
    let (cpu, mut took, mut done) = (daemon.cpu()?, Duration::ZERO, 0);
    while done < wanted {
        let next = (done + most).min(wanted);
        let begun = Instant::now();
        let clients = subscribers(&runtime, daemon.mqtt, done..next)?;
        took += begun.elapsed();
        done = next;
        drop(clients);
    }
    let cpu = daemon.cpu()? - cpu;
    println!(
        "{:>12.0} {:>14.2} {wanted} in {:.1} s, {} at a time",
        wanted as f64 / took.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / wanted as f64,
        took.as_secs_f64(),
        most.min(wanted)
    );
    Ok(())
}

/// Connects clients that subscribe to a topic of their own.
fn subscribers(
    runtime: &tokio::runtime::Runtime,
    to: SocketAddr,
    numbers: std::ops::Range<usize>,
) -> Result<Vec<tokio::net::TcpStream>> {
    on_local(runtime, async {
        let (mut tasks, mut streams) = (JoinSet::new(), Vec::with_capacity(numbers.len()));
        for number in numbers {
            let from = Some(place_of(number)?);
            tasks.spawn_local(async move {
                let terms = Terms { from, ..Terms::default() };
                let mut client = MqttClient::connect(to, &format!("idle-{number}"), terms).await?;
                client.subscribe(&format!("idle/{number}"), Qos::AtMostOnce).await?;
                Ok(client.into_stream())
            });
            if tasks.len() >= AT_ONCE
                && let Some(stream) = tasks.join_next().await
            {
                streams.push(stream??);
            }
        }
        streams.extend(all(tasks).await?);
        Ok(streams)
    })
}

/// Where a connection comes from.
fn place_of(number: usize) -> Result<SocketAddr> {
    let host = Ipv4Addr::new(127, 1, 1, u8::try_from(1 + number / PORTS)?);
    Ok((host, u16::try_from(FIRST_PORT + number % PORTS)?).into())
}

/// Connections that the limit on open files leaves room for, here and in the daemon.
fn at_most() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit.saturating_sub(OTHER_FILES)).ok()).unwrap_or(usize::MAX)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")
}

fn on_local<T>(runtime: &tokio::runtime::Runtime, work: impl Future<Output = T>) -> T {
    tokio::task::LocalSet::new().block_on(runtime, work)
}

/// Clients of one side on a thread of their own.
fn on_thread<T: Send + 'static>(
    work: impl FnOnce(&Local) -> Result<T> + Send + 'static,
) -> thread::JoinHandle<Result<T>> {
    thread::spawn(move || work(&Local { runtime: runtime()?, tasks: tokio::task::LocalSet::new() }))
}

/// A runtime for tasks that stay on their thread.
struct Local {
    runtime: tokio::runtime::Runtime,
    tasks: tokio::task::LocalSet,
}

impl Local {
    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.tasks.block_on(&self.runtime, work)
    }
}

async fn all<T: 'static>(mut tasks: JoinSet<Result<T>>) -> Result<Vec<T>> {
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(result) = tasks.join_next().await {
        results.push(result??);
    }
    Ok(results)
}
