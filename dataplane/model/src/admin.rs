//! What the admin API of a node says: the JSON of every answer, shared by `mqd` (which writes it)
//! and `mq` (which reads it). Requests that create or change an address carry an
//! [`Address`](crate::manifest::Address) document.
//!
//! Routes, all under `/api/v1` unless said otherwise:
//!
//! | method and path | request | answer |
//! |---|---|---|
//! | `GET /node` | | [`Node`] |
//! | `GET /statistics` | | [`Statistics`] |
//! | `GET /config` | | the configuration in force, secrets as `***` |
//! | `GET /log-level`, `PUT /log-level` | [`LogLevel`] | [`LogLevel`] |
//! | `GET /addresses` | | [`List`] of [`Address`](crate::manifest::Address) |
//! | `GET /addresses/{name}` | | `Address`, 404 |
//! | `PUT /addresses/{name}` | `Address` | `Address`; 201 created, 200 unchanged or updated, 422 invalid |
//! | `POST /addresses` | `Address` | `Address`; 201 created, 409 exists |
//! | `DELETE /addresses/{name}` | | 204, 404 |
//! | `POST /addresses/{name}/purge` | | [`Purged`]; 404, 409 not a queue or subscription |
//! | `POST /addresses/{name}/move` | [`MoveMessages`] | [`Moved`]; 404, 409 not a queue or subscription, 422 no such target |
//! | `POST /addresses/{name}/move-home` | [`MoveHome`] | `Address` with its new `status.home`; 404, 409 not stored or not to be moved now, 422 no such node |
//! | `GET /subscriptions` (`?topic=`) | | [`List`] of [`Subscription`] |
//! | `DELETE /addresses/{topic}/subscriptions/{name}` | | 204, 404, 409 made by an `Address` document: delete that |
//! | `GET /connections` | | [`List`] of [`Connection`] |
//! | `GET /connections/{id}` | | [`Connection`], 404 |
//! | `GET /connections/{id}/sessions` | | [`List`] of [`Session`], 404 |
//! | `DELETE /connections/{id}?reason=` | | 204, 404: closes the connection with `amqp:connection:forced` |
//! | `GET /links` (`?address=`, `?connection=`) | | [`List`] of [`Link`] |
//! | `GET /sessions` (`?prefix=`, `?connected=`, `?limit=`, `?continue=`) | | [`Page`] of [`ClientSession`] |
//! | `GET /sessions/{client}` | | [`ClientSession`] with its subscriptions, 404 |
//! | `DELETE /sessions/{client}` | | 204, 404: ends the session, with its connection |
//! | `GET /retained` (`?filter=`, `?limit=`, `?continue=`) | | [`Page`] of [`Retained`] |
//! | `DELETE /retained?filter=` | | [`Purged`]: forgets what is retained for matching names |
//! | `GET /mesh` | | [`Mesh`] |
//! | `POST /node/cordon`, `POST /node/uncordon` | | [`NodeDrain`]: no new homes and no new work for the node, or again |
//! | `POST /node/drain`, `POST /node/undrain` | | [`NodeDrain`]: begins to empty the node, or stops that |
//! | `GET /node/drain` | | [`NodeDrain`] |
//! | `GET /openapi.json` | | the OpenAPI 3.1 document |
//! | `GET /livez`, `GET /readyz`, `GET /metrics` (at the root) | | text |
//!
//! Path parameters are percent-encoded (an address may hold `/`). Every error is a [`Problem`]
//! with content type `application/problem+json`.
//!
//! Every route takes the query parameter `node=NAME`: the node of that name answers, whichever was asked;
//! 404 when the fleet knows no such node, 503 when it cannot be reached now.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Durability, ListenerTls};
use crate::grant::Grant;
use crate::manifest::QueueStatus;
use crate::secret::Secret;
use crate::user::User;

/// A list answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    pub items: Vec<T>,
    /// Nodes of the fleet that cannot be reached, or do not answer: what they have is not in the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<String>,
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        Self { items, unanswered: Vec::new() }
    }
}

/// A part of a list that may be long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    pub items: Vec<T>,
    /// What `continue` is for the part behind this one; `None`: this is the last.
    #[serde(default, rename = "continue", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Nodes of the fleet that cannot be reached, or do not answer: what they have is not in the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<String>,
}

/// The kind of problem of a request that is refused because nobody can know what it would drop.
pub const NOT_KNOWN: &str = "not-known";

/// An error answer (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A short name of the kind of problem, such as `not-found`, `conflict`, `invalid` or [`NOT_KNOWN`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status.
    pub status: u16,
    /// One sentence: what happened, to what, what to do.
    pub detail: String,
}

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Serving.
    Running,
    /// Stopping: no new connections, unsettled deliveries are settling.
    Draining,
}

/// A protocol that a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Amqp,
    Mqtt,
    /// MQTT over WebSocket.
    MqttWs,
    Http,
    /// Between nodes.
    Mesh,
}

/// One listener of a node, with the port that it really has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    pub name: String,
    pub protocol: Protocol,
    /// IP address, such as `127.0.0.1` or `::1`.
    pub host: String,
    pub port: u16,
    /// Whether its clients speak TLS. Default: `never`.
    #[serde(default, skip_serializing_if = "ListenerTls::is_never")]
    pub tls: ListenerTls,
}

/// A node: who it is and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub name: String,
    /// The fleet that the node belongs to.
    pub fleet: String,
    pub version: String,
    pub pid: u32,
    pub state: NodeState,
    /// The node's clock when it said all this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    pub started_at: Timestamp,
    pub uptime_seconds: u64,
    /// Shards: threads that own connections.
    pub workers: u32,
    pub listeners: Vec<Listener>,
    /// The hash of the configuration file that the node was started with (see
    /// [`DaemonConfig::hash`](crate::config::DaemonConfig::hash)).
    pub config_hash: String,
    /// The log of queues and topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// CPU time used, user and system, in seconds.
    pub cpu_seconds: f64,
    /// What is shown to clients that speak TLS; absent when none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<NodeCertificate>,
    /// What is shown to other nodes; absent when the node is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_certificate: Option<NodeCertificate>,
}

/// What a node shows over TLS, and whom it believes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCertificate {
    /// Until when the certificate is good. Others refuse the node from then on.
    pub expires: Timestamp,
    /// Replacements of its files that were of no use since the node was started: the files before them stay in
    /// use, and the log says why.
    pub reload_failures: u64,
    /// SHA-256 of the certificate, as 64 hexadecimal digits.
    #[serde(default)]
    pub fingerprint: String,
    /// The same of each certificate of the fleet's authority that the node believes: two while one takes the place
    /// of the other.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// Until when all lists of revoked certificates are up to date; absent without lists, and when none says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations_expire: Option<Timestamp>,
}

/// How the log of queues and topics is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    pub state: StoreState,
    /// Why the store does not take messages, or how far it has read its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The folder of the log.
    pub directory: String,
    pub durability: Durability,
    /// Bytes of messages that are still wanted, with what belongs to them.
    pub live_bytes: u64,
    /// Bytes that the log takes on the disk.
    pub disk_bytes: u64,
    /// Files of the log.
    pub segments: u64,
    /// Messages in the log; one that several subscriptions wait for counts once.
    pub messages: u64,
}

/// Whether the log takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StoreState {
    /// It takes messages.
    Ready,
    /// It reads what is there; queues and topics serve nobody yet.
    Recovering,
    /// The disk is full: durable messages are refused until there is room again.
    Full,
    /// A write has failed: durable messages are refused until the node is restarted. What was
    /// accepted can be read.
    Failed,
}

/// What a purge removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Purged {
    /// Messages removed. Those that a consumer holds stay.
    pub messages: u64,
}

/// A request to move messages from one stored address to another address of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveMessages {
    /// The queue or topic that gets them.
    pub to: String,
    /// At most this many, the oldest first. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// What a move did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// Messages moved. Those that a consumer holds stay.
    pub messages: u64,
}

/// A subscription of a topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Unique in the topic: what an administrator or a client has called it.
    pub name: String,
    pub topic: String,
    /// Whether an `Address` document made it: it is received from as `topic::name`.
    pub administered: bool,
    /// Whether it keeps messages while nobody receives.
    pub durable: bool,
    /// Whether several consumers share its messages.
    pub shared: bool,
    /// The container-id of the client that it belongs to; `None`: it belongs to no single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The names of the topic that it gets messages of; several are separated by `, `.
    pub filter: String,
    /// The condition that its messages meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    pub consumers: u64,
    pub queue: QueueStatus,
}

/// Deliveries by outcome, seen from the consumers' side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcomes {
    pub accepted: u64,
    pub rejected: u64,
    pub released: u64,
    pub modified: u64,
    /// Sent settled: the outcome is not known.
    pub presettled: u64,
}

/// Counters of a node since its start, and rates over the last ten seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    pub connections: u64,
    /// Connections accepted since the start.
    pub connections_opened: u64,
    pub sessions: u64,
    pub producers: u64,
    pub consumers: u64,
    pub addresses: u64,
    /// Deliveries received from producers.
    pub deliveries_in: u64,
    /// Deliveries sent to consumers.
    pub deliveries_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub outcomes: Outcomes,
    /// Pre-settled deliveries dropped by the overload policy.
    pub dropped: u64,
    /// Deliveries whose time to live ran out before a consumer took them.
    pub expired: u64,
    /// Deliveries received and not yet handed to a consumer.
    pub undelivered: u64,
    /// Deliveries handed to a consumer and not yet settled.
    pub unsettled: u64,
    /// Deliveries per second received from producers.
    pub rate_in: f64,
    /// Deliveries per second sent to consumers.
    pub rate_out: f64,
}

/// A client connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Unique on the node, such as `c42`.
    pub id: String,
    pub listener: String,
    pub protocol: Protocol,
    /// The version of the protocol, such as `3.1.1`, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The client's `host:port`: of its socket, or as a proxy said.
    pub peer: String,
    /// AMQP container-id or MQTT client identifier; empty before the open or the CONNECT.
    pub container: String,
    /// The authenticated user; `anonymous` without authentication.
    pub user: String,
    /// The address space that the client is in; empty before that is known.
    #[serde(default)]
    pub space: String,
    /// The peer's product and version from its connection properties, when it says so.
    pub product: Option<String>,
    pub opened_at: Timestamp,
    /// The shard that owns the connection.
    pub worker: u32,
    pub sessions: u32,
    pub producers: u32,
    pub consumers: u32,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// What TLS has agreed on; absent without it. Bytes are counted without it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ConnectionTls>,
}

/// What TLS has agreed on with a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionTls {
    /// The version, such as `TLSv1.3`.
    pub version: String,
    /// The cipher suite by its name in the registry of the IANA.
    pub cipher: String,
    /// Whom the client has asked for (server name indication).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The subject of the client's certificate, when it has shown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// SHA-256 of that certificate, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// A session of a connection (AMQP 2.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The channel the peer uses.
    pub channel: u16,
    /// Transfer frames the peer may still send.
    pub incoming_window: u32,
    /// Transfer frames the node may still send.
    pub remote_incoming_window: u32,
    pub links: u32,
    /// Unsettled deliveries received from the peer.
    pub unsettled_in: u64,
    /// Unsettled deliveries sent to the peer.
    pub unsettled_out: u64,
}

/// What a node keeps of an MQTT client, connected or not (MQTT 5.0, 4.1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientSession {
    /// The client identifier.
    pub client: String,
    /// The node where the session is: the one where it began.
    #[serde(default)]
    pub node: String,
    /// The shard of that node that owns the session.
    pub worker: u32,
    /// The client's connection, such as `c42`; `None`: it is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Seconds that the session outlives its connection; 4,294,967,295 is for ever.
    pub expiry_seconds: u32,
    /// Since when the client is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnected_at: Option<Timestamp>,
    /// When the session ends if the client stays away; `None`: never, or the client is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Subscriptions.
    pub subscriptions: u64,
    /// The subscriptions one by one; of a single session alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<SessionFilter>>,
    /// Messages that wait for the client: stored, and in memory.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that the client has and has not acknowledged.
    pub in_flight: u64,
    /// Publications of QoS 2 taken from the client and not released by it.
    pub unreleased: u64,
    /// Messages dropped because the session was full.
    pub dropped: u64,
    /// What is published when the client goes without a farewell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub will: Option<Will>,
}

/// A subscription of an MQTT session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionFilter {
    /// As the client wrote it, with `$share/` and the name of the share.
    pub filter: String,
    /// The quality of service that was granted.
    pub qos: u8,
    /// The subscription identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<u32>,
    /// Leaves out what the client publishes itself.
    pub no_local: bool,
    /// Keeps the retain flag of what is published.
    pub retain_as_published: bool,
}

/// The will of an MQTT client, without its payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Will {
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    /// Seconds from the end of the connection to the publication, when the session lasts as long.
    pub delay_seconds: u32,
    /// Bytes of the payload.
    pub bytes: u64,
}

/// A message that a topic keeps for whoever subscribes next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retained {
    /// The name that it was published to.
    pub name: String,
    /// The topic address that serves the name.
    pub topic: String,
    /// The quality of service that it was published with.
    pub qos: u8,
    /// Bytes of the payload.
    pub bytes: u64,
    /// Milliseconds until it expires; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The beginning of the payload, at most 256 bytes, when it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Which way messages go, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LinkDirection {
    /// The client sends.
    Producer,
    /// The client receives.
    Consumer,
}

/// A link of a connection (AMQP 2.6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    pub connection: String,
    /// The address space of the connection.
    #[serde(default)]
    pub space: String,
    pub name: String,
    pub direction: LinkDirection,
    /// `None`: an anonymous relay.
    pub address: Option<String>,
    /// Credit the receiving end has left to use.
    pub credit: u32,
    pub unsettled: u64,
    pub deliveries: u64,
}

/// The fleet, as one of its nodes sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mesh {
    /// The fleet's name.
    pub fleet: String,
    /// The node that says all this.
    pub node: String,
    /// Every node that this one has heard of, itself included, by name.
    pub nodes: Vec<MeshNode>,
    /// Every link between two of the nodes, once.
    pub links: Vec<MeshLink>,
}

/// A node of a fleet, seen from another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshNode {
    pub name: String,
    pub state: MeshNodeState,
    /// Empty when the node has never been reached.
    pub version: String,
    /// Unix time in milliseconds at which the node's process started; 0 when it has never been reached.
    pub incarnation: u64,
    /// Shards: threads that own connections.
    pub workers: u32,
    /// Where clients, administrators and other nodes reach it.
    pub listeners: Vec<Listener>,
    /// Sum of the costs of the path to it; `None`: no path, or the node itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u32>,
    /// Links of the path to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<u32>,
    /// The neighbours that the shortest paths to it begin with; none of the node itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_hops: Vec<String>,
    /// Whether it takes neither new homes nor, as far as clients follow, new connections.
    pub cordoned: bool,
    /// Whether it is being emptied.
    pub draining: bool,
    /// Stored addresses that it is the home of.
    pub homes: u64,
    /// Another process goes on trying to take part under the name of this node. The one that started last does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_namesake: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Whether a node can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MeshNodeState {
    /// A path leads to it.
    Up,
    /// It said that it leaves.
    Left,
    /// No path leads to it: it is down, or cut off.
    #[default]
    Unreachable,
}

/// Two nodes that are neighbours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshLink {
    /// The node whose name comes first.
    pub from: String,
    pub to: String,
    pub cost: u32,
    /// Connections between the two, as far as the answering node knows.
    pub connections: u32,
}

/// A request to create a user.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewUser {
    /// The document of the user.
    pub user: User,
    /// 1 to 1,024 bytes. Left out: nobody logs in with a password until one is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<NewPassword>,
}

/// A request to set the password of a user.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPassword {
    /// 1 to 1,024 bytes. Nothing gives it back.
    #[serde(serialize_with = "Secret::serialize_exposed")]
    pub password: Secret,
}

/// A request to change what a user or a role may do, all of it at once or nothing. What is there already is not
/// added again; to take away what is not there changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ChangeRights {
    /// Grants to add.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grant: Vec<Grant>,
    /// Grants to take away, as they are written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revoke: Vec<Grant>,
    /// Roles to add; of a user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_roles: Vec<String>,
    /// Roles to take away; of a user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_roles: Vec<String>,
    /// Whether the user is kept from logging in; of a user. Left out: as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Whether a user may do something, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    pub allowed: bool,
    /// One sentence: the grant that allows it and where the user has it from, or what is missing.
    pub reason: String,
}

/// How far a node is on its way to being empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeDrain {
    pub node: String,
    pub state: DrainState,
    /// Connections of clients.
    pub connections: u64,
    /// Deliveries between the node and its clients that are not settled.
    pub unsettled: u64,
    /// Stored addresses whose home it is: queues, topics, subscriptions.
    pub queues: u64,
    /// Messages in them, and those that its MQTT sessions hold.
    pub messages: u64,
    /// Bytes of those messages.
    pub bytes: u64,
    /// MQTT sessions on it that outlive their connections, those on their way to other nodes among them.
    #[serde(default)]
    pub sessions: u64,
    /// Why the drain does not get on: one sentence that names the culprit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck_because: Option<String>,
}

/// What a node has been told of its future.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DrainState {
    /// Nothing: it takes part in everything.
    #[default]
    Active,
    /// It gets no new homes, and clients that ask are led elsewhere; what it has, it serves.
    Cordoned,
    /// Cordoned, and what it holds is on its way to other nodes.
    Draining,
    /// Cordoned, and it holds nothing: it can be stopped without loss.
    Drained,
}

/// A request to move the home of a stored address to another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveHome {
    /// The name of the node that is to hold the messages.
    pub to: String,
}

/// The level of the log, as `tracing` directives (`info`, `mqd=debug,warn`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogLevel {
    pub filter: String,
}

/// The file in a node's state directory with the token of whoever owns the node: a line of text that its owner
/// alone can read, made anew each time the node starts. The admin API takes it as a bearer token, AMQP and MQTT as
/// the password of the user [`FLEET_ADMIN`](crate::user::FLEET_ADMIN).
pub const OWNER_TOKEN_FILE: &str = "owner.token";

/// What a running `mqd` writes to `node.json` in its state directory once it serves: how `mq`
/// finds it again. Removed on a clean stop; `mqd.lock` beside it is locked while the daemon lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    pub node: String,
    pub fleet: String,
    pub pid: u32,
    pub version: String,
    pub config_hash: String,
    pub listeners: Vec<Listener>,
}
