//! `mq check`: proof that the fleet does what it is for.
//!
//! Each check uses addresses of its own with names that nobody else has, and removes them again, whatever
//! happens.

use std::{
    fmt,
    time::{Duration, Instant},
};

use fe2o3_amqp::types::{
    definitions::SenderSettleMode,
    messaging::{Body, Header, Message, Outcome as Disposition, Properties},
    primitives::Value,
};
use mq_model::{
    admin::{Node, Protocol},
    manifest::{Address, AddressSpec, AddressType},
};
use rumqttc::v5::mqttbytes::v5::{Filter, PublishProperties};
use serde_json::json;

use super::{
    admin,
    request::{answers, prepare},
};
use crate::{
    args::message::{Ack, Check},
    client::{
        admin::Admin,
        amqp::{Arrival, Client, Inlet, delivery_failure, disposition_text, interrupted},
        mqtt::{self, Happening, Login, Settled, quality},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row},
    record,
    settings::{Endpoint, Scheme, Settings},
    shape,
};

/// Body sizes that are sent in turn: nothing, one byte, a reading, several frames.
const SIZES: [usize; 4] = [0, 1, 100, 70_000];
/// Consumers of a multicast or topic check: each must get every message.
const EVERYBODY: usize = 3;

pub(super) async fn run(args: &Check, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let admin = admin(settings)?;
    let endpoint = settings.endpoint(&format!("mq-check-{}", uuid::Uuid::new_v4().simple()))?;
    // A node that cannot say what it serves is asked for all of it.
    let serves = |node: &Node, protocol| node.listeners.iter().any(|found| found.protocol == protocol);
    let node = admin.node().await.ok();
    let is_served = node.as_ref().is_none_or(|node| serves(node, Protocol::Amqp));
    let stores = node.as_ref().is_none_or(|node| node.store.is_some());
    let mqtt = mqtt_endpoint(node.as_ref(), &endpoint);
    let fleet = Fleet { args, admin: &admin, endpoint: &endpoint, mqtt: mqtt.filter(|_| stores) };
    let mut checks = vec![fleet.timed("admin api", "http", fleet.api()).await];
    if is_served {
        let result = tokio::select! {
            more = fleet.messages(stores) => Ok(more),
            exit = interrupted() => Err(exit),
        };
        match result {
            Ok(more) => checks.extend(more),
            Err(exit) => {
                fleet.clean().await;
                return Ok(exit);
            }
        }
    }
    if let Some(why) = fleet.clean().await {
        output.warn(&why);
    }
    report(&checks, args, output)
}

fn report(checks: &[Checked], args: &Check, output: &mut Output) -> Outcome<Exit> {
    let columns = vec![
        Column::left("CHECK"),
        Column::left("PROTOCOL"),
        Column::left("RESULT"),
        Column::right("MESSAGES"),
        Column::right("P50"),
        Column::right("MAX"),
        Column::left("DETAIL"),
    ];
    let mut listing = Listing::new("CheckList", columns);
    listing.rows = checks.iter().map(Checked::row).collect();
    output.listing(&listing, args.view)?;
    let failed = checks.iter().filter(|check| check.problem.is_some()).count() as u64;
    if failed > 0 {
        let total = shape::plural(checks.len() as u64, "check");
        return Err(Failure::failed(format!("{} of {total} failed", shape::number(failed)))
            .help("see `mq status` and `mq logs`"));
    }
    Ok(Exit::Ok)
}

/// One check and how it went.
#[derive(Debug)]
struct Checked {
    name: &'static str,
    protocol: &'static str,
    /// One per message that came through, sorted.
    latencies: Vec<Duration>,
    problem: Option<String>,
}

impl Checked {
    fn row(&self) -> Row {
        let median = self.latencies.get(self.latencies.len() / 2).copied();
        let max = self.latencies.last().copied();
        let shown = |latency: Option<Duration>| latency.map_or_else(|| "-".into(), shape::elapsed);
        let micros = |latency: Option<Duration>| latency.map(|latency| latency.as_micros() as u64);
        let result = if self.problem.is_some() { "failed" } else { "ok" };
        let cells = vec![
            self.name.to_owned(),
            self.protocol.to_owned(),
            result.to_owned(),
            shape::number(self.latencies.len() as u64),
            shown(median),
            shown(max),
            self.problem.clone().unwrap_or_default(),
        ];
        let value = json!({
            "check": self.name,
            "protocol": self.protocol,
            "result": result,
            "messages": self.latencies.len(),
            "latencyP50Us": micros(median),
            "latencyMaxUs": micros(max),
            "problem": self.problem,
        });
        Row { name: format!("{}/{}", self.protocol, self.name), cells, value }
    }
}

/// The fleet under test.
struct Fleet<'a> {
    args: &'a Check,
    admin: &'a Admin,
    /// Where AMQP is, and the prefix of the temporary addresses.
    endpoint: &'a Endpoint,
    /// Where MQTT is; `None`: it is not served.
    mqtt: Option<Endpoint>,
}

impl Fleet<'_> {
    async fn timed(
        &self,
        name: &'static str,
        protocol: &'static str,
        check: impl Future<Output = Outcome<Vec<Duration>>>,
    ) -> Checked {
        let (mut latencies, problem) = match tokio::time::timeout(self.args.timeout, check).await {
            Ok(Ok(latencies)) => (latencies, None),
            Ok(Err(failure)) => (Vec::new(), Some(failure.message)),
            Err(_) => (Vec::new(), Some(format!("not done within {}", shape::elapsed(self.args.timeout)))),
        };
        latencies.sort_unstable();
        Checked { name, protocol, latencies, problem }
    }

    async fn messages(&self, stores: bool) -> Vec<Checked> {
        let mut checks = self.amqp(stores).await;
        if let Some(endpoint) = &self.mqtt {
            for (name, qos) in [("qos 0", 0), ("qos 1", 1), ("qos 2", 2)] {
                checks.push(self.timed(name, "mqtt", Box::pin(self.mqtt(endpoint, qos))).await);
            }
        }
        checks
    }

    async fn amqp(&self, stores: bool) -> Vec<Checked> {
        let mut checks = vec![
            self.timed("anycast", "amqp", Box::pin(self.flow(Kind::Anycast))).await,
            self.timed("multicast", "amqp", Box::pin(self.flow(Kind::Multicast))).await,
        ];
        if stores {
            checks.push(self.timed("queue", "amqp", Box::pin(self.flow(Kind::Queue))).await);
            checks.push(self.timed("topic", "amqp", Box::pin(self.flow(Kind::Topic))).await);
        }
        checks.push(self.timed("request/reply", "amqp", Box::pin(self.request_reply())).await);
        checks
    }

    async fn api(&self) -> Outcome<Vec<Duration>> {
        let begin = Instant::now();
        if !self.admin.is_ready().await {
            return Err(Failure::failed(format!("{} is not ready", self.admin.place())));
        }
        let mut latencies = vec![begin.elapsed()];
        for _ in 1..self.args.count.min(20) {
            let begin = Instant::now();
            self.admin.node().await?;
            latencies.push(begin.elapsed());
        }
        Ok(latencies)
    }

    fn name(&self, kind: Kind) -> String {
        format!("{}-{kind}", self.endpoint.address)
    }

    async fn create(&self, kind: Kind) -> Outcome<String> {
        let name = self.name(kind);
        self.admin.create_address(&Address::new(&name, AddressSpec::new(kind.address_type()))).await?;
        Ok(name)
    }

    /// Removes every address that a check may have made; says so when it cannot.
    async fn clean(&self) -> Option<String> {
        let mut problem = None;
        for kind in [Kind::Anycast, Kind::Multicast, Kind::Queue, Kind::Topic, Kind::Request, Kind::Mqtt] {
            let name = self.name(kind);
            match self.admin.delete_address(&name).await {
                Err(failure) if failure.exit != Exit::NotFound => {
                    problem =
                        Some(format!("cannot remove the temporary address {name}: {}", failure.message));
                }
                _ => {}
            }
        }
        problem
    }

    /// Sends messages of every size, and compares what each consumer gets.
    async fn flow(&self, kind: Kind) -> Outcome<Vec<Duration>> {
        let consumers = if matches!(kind, Kind::Multicast | Kind::Topic) { EVERYBODY } else { 1 };
        let durable = kind.address_type().is_stored();
        let address = self.create(kind).await?;
        let mut client = Client::connect(self.endpoint).await?;
        let mut inlets = Vec::with_capacity(consumers);
        for _ in 0..consumers {
            inlets.push(client.receiver(&address, 10, None).await?);
        }
        let mut sender = client.sender(Some(&address), SenderSettleMode::Unsettled).await?;
        let mut latencies = Vec::new();
        for number in 0..self.args.count {
            let body = pattern(number);
            let begin = Instant::now();
            let mut message = message(&body);
            message.header = durable.then(|| Header { durable, ..Header::default() });
            let sent = sender.send_batchable(message).await;
            let outcome = sent.map_err(|error| delivery_failure(&error, &address))?;
            for inlet in &mut inlets {
                expect(inlet, &body, number).await?;
                latencies.push(begin.elapsed());
            }
            let outcome = outcome.await.map_err(|error| delivery_failure(&error, &address))?;
            accepted(&outcome)?;
        }
        client.close().await;
        Ok(latencies)
    }

    /// One client publishes to another, below a topic that both would find without it when the fleet has one
    /// for every name.
    async fn mqtt(&self, endpoint: &Endpoint, qos: u8) -> Outcome<Vec<Duration>> {
        let address = self.name(Kind::Mqtt);
        self.admin.put_address(&Address::new(&address, AddressSpec::new(AddressType::Topic))).await?;
        let login = Login { window: 10, ..Login::default() };
        let mut subscriber = mqtt::Client::connect(endpoint, &login).await?;
        let mut publisher = mqtt::Client::connect(endpoint, &login).await?;
        subscriber.subscribe(Filter::new(format!("{address}/#"), quality(qos))).await?;
        let mut latencies = Vec::new();
        for number in 0..self.args.count {
            let body = pattern(number);
            let begin = Instant::now();
            let topic = format!("{address}/{number}");
            publisher.publish(&topic, qos, false, body.clone(), PublishProperties::default()).await;
            let came = loop {
                if let Happening::Message(came) = subscriber.next().await? {
                    break came;
                }
            };
            latencies.push(begin.elapsed());
            subscriber.acknowledge(&came).await;
            if came.payload != body {
                return Err(other_bytes(number, came.payload.len(), body.len()));
            }
            match publisher.next().await? {
                Happening::Settled(Settled::Refused(why)) => {
                    return Err(Failure::failed(format!("message {number} came, and was refused: {why}")));
                }
                Happening::Settled(_) | Happening::Sent | Happening::Message(_) => {}
            }
        }
        subscriber.close().await;
        publisher.close().await;
        Ok(latencies)
    }

    /// A requester and a responder on connections of their own, over a temporary reply address.
    async fn request_reply(&self) -> Outcome<Vec<Duration>> {
        let address = self.create(Kind::Request).await?;
        let mut requester = Client::connect(self.endpoint).await?;
        let mut responder = Client::connect(self.endpoint).await?;
        let mut requests = responder.receiver(&address, 10, None).await?;
        let mut relay = responder.sender(None, SenderSettleMode::Unsettled).await?;
        let (mut replies, reply_to) = requester.dynamic_receiver(10).await?;
        let mut sender = requester.sender(Some(&address), SenderSettleMode::Unsettled).await?;
        let mut latencies = Vec::new();
        for number in 0..self.args.count {
            let body = pattern(number);
            let mut request = message(&body);
            let id = prepare(&mut request, reply_to.clone());
            let begin = Instant::now();
            let sent = sender.send_batchable(request).await;
            let request_outcome = sent.map_err(|error| delivery_failure(&error, &address))?;
            let request = expect(&mut requests, &body, number).await?;
            let properties = request.properties.unwrap_or_default();
            let mut reply = message(&body);
            let correlation_id = properties.correlation_id.or(properties.message_id);
            reply.properties =
                Some(Properties { to: properties.reply_to, correlation_id, ..Properties::new() });
            let sent = relay.send_batchable(reply).await;
            let reply_outcome = sent.map_err(|error| delivery_failure(&error, &reply_to))?;
            let reply = expect(&mut replies, &body, number).await?;
            latencies.push(begin.elapsed());
            if !answers(&reply, &id) {
                return Err(Failure::failed(format!("reply {number} carries another correlation-id")));
            }
            accepted(&request_outcome.await.map_err(|error| delivery_failure(&error, &address))?)?;
            accepted(&reply_outcome.await.map_err(|error| delivery_failure(&error, &reply_to))?)?;
        }
        requester.close().await;
        responder.close().await;
        Ok(latencies)
    }
}

/// What a check is about: the end of its address's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Anycast,
    Multicast,
    Queue,
    Topic,
    Request,
    Mqtt,
}

impl Kind {
    fn address_type(self) -> AddressType {
        match self {
            Self::Anycast | Self::Request => AddressType::Anycast,
            Self::Multicast => AddressType::Multicast,
            Self::Queue => AddressType::Queue,
            Self::Topic | Self::Mqtt => AddressType::Topic,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anycast => "anycast",
            Self::Multicast => "multicast",
            Self::Queue => "queue",
            Self::Topic => "topic",
            Self::Request => "request",
            Self::Mqtt => "mqtt",
        })
    }
}

/// Bytes that differ from message to message and from place to place.
fn pattern(number: u32) -> Vec<u8> {
    let size = SIZES[number as usize % SIZES.len()];
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(number.into()).fill(&mut bytes);
    bytes
}

fn message(body: &[u8]) -> Message<Body<Value>> {
    Message::from(record::data(body))
}

/// Takes the next message, compares it, accepts it.
async fn expect(inlet: &mut Inlet, body: &[u8], number: u32) -> Outcome<Message<Body<Value>>> {
    let delivery = match inlet.recv().await? {
        Arrival::Message(delivery) => delivery,
        Arrival::Garbled(why) => return Err(Failure::failed(why)),
    };
    inlet.settle(&delivery, Ack::Accept).await?;
    let message = delivery.into_message();
    let came = record::body_bytes(&message.body);
    if came != body {
        return Err(other_bytes(number, came.len(), body.len()));
    }
    Ok(message)
}

fn other_bytes(number: u32, came: usize, sent: usize) -> Failure {
    Failure::failed(format!("message {number} came as {came} other bytes than the {sent} sent"))
}

/// Where a node serves MQTT: on the host that AMQP is reached at.
fn mqtt_endpoint(node: Option<&Node>, amqp: &Endpoint) -> Option<Endpoint> {
    let listener = node?.listeners.iter().find(|listener| listener.protocol == Protocol::Mqtt)?;
    Some(Endpoint { scheme: Scheme::Mqtt, port: listener.port, ..amqp.clone() })
}

fn accepted(outcome: &Disposition) -> Outcome {
    match outcome {
        Disposition::Accepted(_) => Ok(()),
        other => Err(Failure::failed(format!(
            "a message that was accepted came back as {}",
            disposition_text(other)
        ))),
    }
}
