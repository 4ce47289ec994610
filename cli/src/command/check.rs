//! `mq check`: proof that the fleet does what it is for.
//!
//! Each check uses addresses of its own with names that nobody else has, and removes them again, whatever
//! happens.

mod nodes;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use fe2o3_amqp::types::{
    definitions::SenderSettleMode,
    messaging::{Body, Header, Message, Outcome as Disposition, Properties},
    primitives::Value,
};
use mq_model::{
    Dataplane,
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
    plane::names::{self, Way},
    record,
    settings::{Endpoint, Settings, listener_like},
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
    // The client that checks speaks MQTT 5.0, and RabbitMQ does not.
    let mqtt = mqtt.filter(|_| stores && endpoint.dataplane.is_default());
    let fleet = Fleet { args, settings, admin: &admin, endpoint: &endpoint, mqtt, made: Mutex::default() };
    let result = tokio::select! {
        checks = fleet.checks(is_served, stores, settings) => checks,
        exit = interrupted() => {
            fleet.clean().await;
            return Ok(exit);
        }
    };
    if let Some(why) = fleet.clean().await {
        output.warn(&why);
    }
    report(&result?, args, output)
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
    name: String,
    protocol: &'static str,
    /// One per message that came through, sorted.
    latencies: Vec<Duration>,
    /// What was found, when it is well.
    note: Option<String>,
    problem: Option<String>,
}

impl Checked {
    /// One that has found nothing yet.
    fn new(name: String, protocol: &'static str) -> Self {
        Self { name, protocol, latencies: Vec::new(), note: None, problem: None }
    }

    fn row(&self) -> Row {
        let median = self.latencies.get(self.latencies.len() / 2).copied();
        let max = self.latencies.last().copied();
        let shown = |latency: Option<Duration>| latency.map_or_else(|| "-".into(), shape::elapsed);
        let micros = |latency: Option<Duration>| latency.map(|latency| latency.as_micros() as u64);
        let result = if self.problem.is_some() { "failed" } else { "ok" };
        let cells = vec![
            self.name.clone(),
            self.protocol.to_owned(),
            result.to_owned(),
            shape::number(self.latencies.len() as u64),
            shown(median),
            shown(max),
            self.problem.clone().or_else(|| self.note.clone()).unwrap_or_default(),
        ];
        let value = json!({
            "check": self.name,
            "protocol": self.protocol,
            "result": result,
            "messages": self.latencies.len(),
            "latencyP50Us": micros(median),
            "latencyMaxUs": micros(max),
            "note": self.note,
            "problem": self.problem,
        });
        Row { name: format!("{}/{}", self.protocol, self.name), cells, value }
    }
}

/// The fleet under test.
struct Fleet<'a> {
    args: &'a Check,
    settings: &'a Settings,
    admin: &'a Admin,
    /// Where AMQP is, and the prefix of the temporary addresses.
    endpoint: &'a Endpoint,
    /// Where MQTT is; `None`: it is not served.
    mqtt: Option<Endpoint>,
    /// The addresses that have been made, or may have been.
    made: Mutex<BTreeSet<String>>,
}

/// Where a check sends from, and where it receives.
#[derive(Clone, Copy)]
struct Path<'a> {
    from: &'a Endpoint,
    to: &'a Endpoint,
}

impl Fleet<'_> {
    async fn checks(&self, is_served: bool, stores: bool, settings: &Settings) -> Outcome<Vec<Checked>> {
        let mut checks = vec![self.timed("admin api", "http", self.api()).await];
        let (lines, members) = self.nodes(settings).await?;
        checks.extend(lines);
        if is_served {
            checks.extend(self.messages(stores).await);
        }
        if members.len() > 1 {
            checks.extend(self.over_nodes(&members).await);
        }
        Ok(checks)
    }

    async fn timed(
        &self,
        name: &str,
        protocol: &'static str,
        check: impl Future<Output = Outcome<Vec<Duration>>>,
    ) -> Checked {
        let (mut latencies, problem) = match tokio::time::timeout(self.args.timeout, check).await {
            Ok(Ok(latencies)) => (latencies, None),
            Ok(Err(failure)) => (Vec::new(), Some(failure.message)),
            Err(_) => (Vec::new(), Some(format!("not done within {}", shape::elapsed(self.args.timeout)))),
        };
        latencies.sort_unstable();
        Checked { latencies, problem, ..Checked::new(name.to_owned(), protocol) }
    }

    async fn messages(&self, stores: bool) -> Vec<Checked> {
        let mut checks = self.amqp(stores).await;
        if let Some(endpoint) = &self.mqtt {
            for (name, qos) in [("qos 0", 0), ("qos 1", 1), ("qos 2", 2)] {
                let address = self.name(Kind::Mqtt);
                let path = Path { from: endpoint, to: endpoint };
                let check = async {
                    self.make(&address, AddressType::Topic).await?;
                    self.mqtt(&address, path, qos, self.args.count).await
                };
                checks.push(self.timed(name, "mqtt", Box::pin(check)).await);
            }
        }
        checks
    }

    async fn amqp(&self, stores: bool) -> Vec<Checked> {
        let mut checks = Vec::new();
        if self.endpoint.dataplane.is_default() {
            checks.push(self.timed("anycast", "amqp", Box::pin(self.here(Kind::Anycast))).await);
            checks.push(self.timed("multicast", "amqp", Box::pin(self.here(Kind::Multicast))).await);
        }
        if stores {
            checks.push(self.timed("queue", "amqp", Box::pin(self.here(Kind::Queue))).await);
            checks.push(self.timed("topic", "amqp", Box::pin(self.here(Kind::Topic))).await);
        }
        checks.push(self.timed("request/reply", "amqp", Box::pin(self.here(Kind::Request))).await);
        checks
    }

    /// Messages from the node that is asked to itself.
    async fn here(&self, kind: Kind) -> Outcome<Vec<Duration>> {
        let (address, path) = (self.name(kind), Path { from: self.endpoint, to: self.endpoint });
        self.note(&address);
        let kind_of_address = self.type_of(kind);
        self.admin.create_address(&Address::new(&address, AddressSpec::new(kind_of_address))).await?;
        match kind {
            Kind::Request => self.request_reply(&address, path, self.args.count).await,
            _ => self.flow(&address, kind, path, self.args.count).await,
        }
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

    /// Remembers an address that is to be removed at the end.
    fn note(&self, name: &str) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    /// Removes every address that a check may have made; says so when it cannot.
    async fn clean(&self) -> Option<String> {
        let mut problem = None;
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        for name in made {
            match self.admin.delete_address(&name, true).await {
                Err(failure) if failure.exit != Exit::NotFound => {
                    problem =
                        Some(format!("cannot remove the temporary address {name}: {}", failure.message));
                }
                _ => {}
            }
        }
        problem
    }

    /// The type of the address of a check: one that stores where the data plane knows no other.
    fn type_of(&self, kind: Kind) -> AddressType {
        match kind.address_type() {
            AddressType::Anycast if !self.endpoint.dataplane.is_default() => AddressType::Queue,
            other => other,
        }
    }

    /// What the data plane calls an address of a check.
    fn terminus(&self, name: &str, kind: Kind, way: Way) -> Outcome<String> {
        match self.endpoint.dataplane {
            Dataplane::Mqd => Ok(name.to_owned()),
            Dataplane::Rabbitmq => {
                names::terminus(name, way, &[Address::new(name, AddressSpec::new(self.type_of(kind)))])
            }
        }
    }

    /// Sends messages of every size, and compares what each consumer gets.
    async fn flow(&self, address: &str, kind: Kind, path: Path<'_>, count: u32) -> Outcome<Vec<Duration>> {
        let consumers = if matches!(kind, Kind::Multicast | Kind::Topic) { EVERYBODY } else { 1 };
        let durable = kind.address_type().is_stored();
        let (to, from) = (self.terminus(address, kind, Way::To)?, self.terminus(address, kind, Way::From)?);
        let mut receiving = Client::connect(path.to).await?;
        let mut inlets = Vec::with_capacity(consumers);
        for _ in 0..consumers {
            inlets.push(receiving.receiver(&from, 10, None).await?);
        }
        let mut sending = Client::connect(path.from).await?;
        let mut sender = sending.sender(Some(&to), SenderSettleMode::Unsettled).await?;
        let mut latencies = Vec::new();
        for number in 0..count {
            let body = pattern(number);
            let begin = Instant::now();
            let mut message = message(&body);
            message.header = durable.then(|| Header { durable, ..Header::default() });
            let sent = sender.send_batchable(message).await;
            let outcome = sent.map_err(|error| delivery_failure(&error, address))?;
            for inlet in &mut inlets {
                expect(inlet, &body, number).await?;
                latencies.push(begin.elapsed());
            }
            let outcome = outcome.await.map_err(|error| delivery_failure(&error, address))?;
            accepted(&outcome)?;
        }
        sending.close().await;
        receiving.close().await;
        Ok(latencies)
    }

    /// One client publishes to another, below a topic that both would find without it when the fleet has one
    /// for every name.
    async fn mqtt(&self, address: &str, path: Path<'_>, qos: u8, count: u32) -> Outcome<Vec<Duration>> {
        let login = Login { window: 10, ..Login::default() };
        // On another node a subscription counts from the moment at which it is stored; the session of one that
        // was not removed ends by itself.
        let lasting = (path.from != path.to).then(|| Login {
            client_id: Some(format!("{address}-{}", path.to.port)),
            session_expiry: 60,
            ..login.clone()
        });
        let mut subscriber = mqtt::Client::connect(path.to, lasting.as_ref().unwrap_or(&login)).await?;
        let mut publisher = mqtt::Client::connect(path.from, &login).await?;
        subscriber.subscribe(Filter::new(format!("{address}/#"), quality(qos))).await?;
        let mut latencies = Vec::new();
        for number in 0..count {
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
        if let Some(client) = lasting.and_then(|login| login.client_id) {
            self.admin.delete_client_session(&client).await?;
        }
        Ok(latencies)
    }

    /// A requester and a responder on connections of their own, over a temporary reply address.
    async fn request_reply(&self, address: &str, path: Path<'_>, count: u32) -> Outcome<Vec<Duration>> {
        let mut requester = Client::connect(path.from).await?;
        let mut responder = Client::connect(path.to).await?;
        let from = self.terminus(address, Kind::Request, Way::From)?;
        let mut requests = responder.receiver(&from, 10, None).await?;
        let (mut replies, reply_to) = requester.dynamic_receiver(10).await?;
        let mut relay = responder.replier(&reply_to).await?;
        let to = self.terminus(address, Kind::Request, Way::To)?;
        let mut sender = requester.sender(Some(&to), SenderSettleMode::Unsettled).await?;
        let mut latencies = Vec::new();
        for number in 0..count {
            let body = pattern(number);
            let mut request = message(&body);
            let id = prepare(&mut request, reply_to.clone());
            let begin = Instant::now();
            let sent = sender.send_batchable(request).await;
            let request_outcome = sent.map_err(|error| delivery_failure(&error, address))?;
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
            accepted(&request_outcome.await.map_err(|error| delivery_failure(&error, address))?)?;
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
    AnycastOver,
    RequestOver,
    MqttOver,
}

impl Kind {
    fn address_type(self) -> AddressType {
        match self {
            Self::Anycast | Self::Request | Self::AnycastOver | Self::RequestOver => AddressType::Anycast,
            Self::Multicast => AddressType::Multicast,
            Self::Queue => AddressType::Queue,
            Self::Topic | Self::Mqtt | Self::MqttOver => AddressType::Topic,
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
            Self::AnycastOver => "anycast-over",
            Self::RequestOver => "request-over",
            Self::MqttOver => "mqtt-over",
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
    let (listener, scheme) = listener_like(&node?.listeners, Protocol::Mqtt, amqp.scheme)?;
    Some(Endpoint { scheme, port: listener.port, ..amqp.clone() })
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
