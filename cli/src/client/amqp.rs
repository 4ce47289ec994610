//! AMQP 1.0 through a client library that shares no code with the daemon: every use of it is a test of how the
//! daemon gets on with others.
//!
//! This module adds what a command line needs: deadlines, credit that never exceeds what will be
//! read, and errors that say who refused what.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use fe2o3_amqp::{
    Connection, Receiver, Sender, Session,
    connection::{ConnectionHandle, ConnectionStopReason, OpenError},
    link::{
        DetachError, LinkStateError, ReceiverAttachError, RecvError, SendError, SenderAttachError,
        SessionStopReason, delivery::Delivery, receiver::CreditMode,
    },
    sasl_profile::{SaslProfile, SaslScramSha256},
    session::SessionHandle,
    types::{
        definitions::{self, AmqpError, ErrorCondition, Fields, SenderSettleMode},
        messaging::{
            Body, DistributionMode, Modified, Outcome as Disposition, Source, Target, TerminusDurability,
            TerminusExpiryPolicy,
        },
        primitives::{Array, Symbol, Value},
    },
};
use mq_model::Dataplane;
use serde_amqp::{described::Described, descriptor::Descriptor};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{
    drain::{Watch, Watched},
    sasl,
    tls::Tls,
};

use crate::{
    args::message::Ack,
    exit::Exit,
    failure::{Failure, Outcome, reason},
    plane::names,
    settings::{Credentials, Endpoint},
    shape,
};

/// How long the opening of a connection, a session or a link may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take to close before it is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a peer may be silent (AMQP 2.4.5), in milliseconds.
const IDLE_TIMEOUT_MS: u32 = 60_000;
/// The largest message that is received, in bytes: it is held in memory as a whole.
const MAX_MESSAGE: u64 = 1 << 30;

/// How long nothing comes before the peer is asked whether there is anything: long enough for what is on
/// its way, short enough not to be noticed. It decides when to ask, not what the answer is.
const QUIET: Duration = Duration::from_millis(50);
/// The capability of a source that begins with what its topic retains.
const RETAINED: &str = "retained";
/// The filter for selectors: its name, and its number as a descriptor (AMQP filter registry).
const SELECTOR_FILTER: &str = "apache.org:selector-filter:string";
const SELECTOR_FILTER_CODE: u64 = 0x0000_468c_0000_0004;

/// A message as it arrives.
pub type AnyDelivery = Delivery<Body<Value>>;

/// An open connection with one session.
#[derive(Debug)]
pub struct Client {
    connection: ConnectionHandle<()>,
    session: SessionHandle<()>,
    place: String,
    dataplane: Dataplane,
    /// Sees when a link has been drained, on a connection that was opened for it.
    watch: Option<Arc<Watch>>,
}

/// A receiving link as it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intake<'a> {
    pub address: &'a str,
    /// Messages ahead of what has been read, at most.
    pub window: u32,
    /// Messages in all, at most.
    pub limit: Option<u64>,
    /// Copies, and leaves the messages where they are.
    pub is_browsing: bool,
    /// Only messages that meet this condition.
    pub selector: Option<&'a str>,
    /// What the topic retains comes first.
    pub with_retained: bool,
    pub subscription: Option<Subscription<'a>>,
}

/// A subscription of a topic that has a name.
#[derive(Clone, Copy, Debug)]
pub struct Subscription<'a> {
    pub name: &'a str,
    /// It stays when the link goes.
    pub is_durable: bool,
    /// It is everybody's, not this container's.
    pub is_shared: bool,
}

impl Client {
    /// Connects, authenticates and begins a session.
    pub async fn connect(endpoint: &Endpoint) -> Outcome<Self> {
        Self::connect_as(endpoint, None, false).await
    }

    /// As [`connect`](Self::connect), with a container-id that means something to the peer, and for a single
    /// receiving link that can be read [until it is empty](Inlet::recv_available).
    pub async fn connect_as(endpoint: &Endpoint, container: Option<&str>, drains: bool) -> Outcome<Self> {
        let place = endpoint.place();
        let watch = drains.then(|| Arc::new(Watch::default()));
        let opening = async {
            let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
            let stream = stream.await.map_err(|error| unreachable(endpoint, &reason(&error)))?;
            // Messages are small and are waited for: none is held back for the next.
            stream.set_nodelay(true).map_err(|error| unreachable(endpoint, &reason(&error)))?;
            if !endpoint.scheme.is_tls() {
                return open_watched(endpoint, container, stream, watch.as_ref()).await;
            }
            let (connector, name) = Tls::new(&endpoint.host, &endpoint.trust)?.connector();
            let stream = Box::pin(connector.connect(name, stream)).await;
            let stream = stream.map_err(|error| no_tls(endpoint, &reason(&error)))?;
            open_watched(endpoint, container, stream, watch.as_ref()).await
        };
        let mut connection =
            in_time(Box::pin(opening), || unreachable(endpoint, "no answer within 10s")).await?;
        let beginning = async {
            let begun = Session::begin(&mut connection).await;
            begun.map_err(|error| Failure::failed(format!("{place} does not begin a session: {error}")))
        };
        let session = in_time(Box::pin(beginning), || unreachable(endpoint, "no session within 10s")).await?;
        Ok(Self { connection, session, place, dataplane: endpoint.dataplane, watch })
    }

    /// Attaches a sender to an address; `None` is the anonymous relay: each message says its `to`.
    pub async fn sender(&mut self, address: Option<&str>, mode: SenderSettleMode) -> Outcome<Sender> {
        let target = Target { address: address.map(str::to_owned), ..Target::default() };
        let builder = Sender::builder().name(link_name("sender")).target(target).sender_settle_mode(mode);
        // Boxed, here and below: the futures of the library are large, and are waited for once.
        let attaching = Box::pin(builder.attach(&mut self.session));
        let shown = address.unwrap_or("the anonymous relay");
        let attached = in_time(async { Ok(attaching.await) }, || no_link(&self.place, shown)).await?;
        attached.map_err(|error| sender_refused(&error, shown, &self.place))
    }

    /// Attaches a receiver to an address. At most `limit` messages are asked for in all, and at most
    /// `window` ahead of what has been read.
    pub async fn receiver(&mut self, address: &str, window: u32, limit: Option<u64>) -> Outcome<Inlet> {
        self.intake(&Intake { address, window, limit, ..Intake::default() }).await
    }

    /// Attaches a receiver that wants more than the messages of an address.
    pub async fn intake(&mut self, intake: &Intake<'_>) -> Outcome<Inlet> {
        let name = intake.subscription.map_or_else(|| link_name("receiver"), Subscription::link_name);
        let mut inlet = self.inlet(name, intake.source(), intake).await?;
        inlet.check(intake, &self.place)?;
        inlet.grant().await?;
        Ok(inlet)
    }

    /// Attaches a receiver to a temporary address, and returns it with the address.
    pub async fn dynamic_receiver(&mut self, window: u32) -> Outcome<(Inlet, String)> {
        if self.dataplane == Dataplane::Rabbitmq {
            // It makes up none; what is attached to below its exchange of topics ends with the link as well.
            let address = names::reply_address();
            return Ok((self.receiver(&address, window, None).await?, address));
        }
        let source = Source::builder().dynamic(true).build();
        let intake = Intake { address: "a temporary address", window, ..Intake::default() };
        let mut inlet = self.inlet(link_name("receiver"), source, &intake).await?;
        inlet.grant().await?;
        let address = inlet.receiver.source().as_ref().and_then(|source| source.address.clone());
        match address {
            Some(address) => Ok((inlet, address)),
            None => Err(Failure::failed(format!("{} gave no temporary address", self.place))),
        }
    }

    /// Attaches a receiver that has asked for nothing yet.
    async fn inlet(&mut self, name: String, source: Source, intake: &Intake<'_>) -> Outcome<Inlet> {
        let shown = intake.address;
        let builder = Receiver::builder()
            .name(name)
            .source(source)
            .credit_mode(CreditMode::Manual)
            .max_message_size(MAX_MESSAGE);
        let attaching = Box::pin(builder.attach(&mut self.session));
        let attached = in_time(async { Ok(attaching.await) }, || no_link(&self.place, shown)).await?;
        let receiver = attached.map_err(|error| receiver_refused(&error, shown, &self.place))?;
        let &Intake { window, limit, .. } = intake;
        let address = shown.to_owned();
        let watch = self.watch.clone();
        Ok(Inlet { receiver, address, window, limit, granted: 0, received: 0, watch, asked: false })
    }

    /// A sender to an address that a message has named as its reply-to. With an anonymous relay it is one and the
    /// same for all; each message says where it goes.
    pub async fn replier(&mut self, reply_to: &str) -> Outcome<Sender> {
        let target = if self.has_relay() { None } else { Some(reply_to) };
        self.sender(target, SenderSettleMode::Unsettled).await
    }

    /// Whether there is an anonymous relay, as far as that is known: RabbitMQ ends the session of who asks for it.
    pub fn has_relay(&self) -> bool {
        self.dataplane != Dataplane::Rabbitmq
    }

    /// Closes the connection, and with it everything on it.
    pub async fn close(mut self) {
        // A peer that does not answer the close is left: the process is about to end.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.connection.close()).await;
    }
}

/// A receiving link that asks for as much as will be read and no more.
#[derive(Debug)]
pub struct Inlet {
    receiver: Receiver,
    address: String,
    window: u32,
    limit: Option<u64>,
    /// Credit that was given in all.
    granted: u64,
    /// Messages that came.
    received: u64,
    watch: Option<Arc<Watch>>,
    /// The peer has been asked to send what it has and to say so.
    asked: bool,
}

impl Intake<'_> {
    fn source(&self) -> Source {
        let mut source = Source::builder().address(self.address);
        if self.is_browsing {
            source = source.distribution_mode(DistributionMode::Copy);
        }
        if let Some(selector) = self.selector {
            let descriptor = Descriptor::Code(SELECTOR_FILTER_CODE);
            let filter = Described { descriptor, value: Value::String(selector.to_owned()) };
            source = source.add_to_filter(Symbol::from(SELECTOR_FILTER), filter);
        }
        let mut capabilities = Vec::new();
        if self.with_retained {
            capabilities.push(Symbol::from(RETAINED));
        }
        if let Some(subscription) = self.subscription {
            capabilities.push(Symbol::from("topic"));
            if subscription.is_shared {
                capabilities.extend([Symbol::from("shared"), Symbol::from("global")]);
            }
        }
        if !capabilities.is_empty() {
            source = source.capabilities(Array(capabilities));
        }
        if self.subscription.is_some_and(|subscription| subscription.is_durable) {
            source =
                source.durable(TerminusDurability::UnsettledState).expiry_policy(TerminusExpiryPolicy::Never);
        }
        source.build()
    }
}

impl Subscription<'_> {
    /// The name of the link tells which subscription it is of; what follows `|` tells links of one apart, in
    /// the way of clients of JMS.
    fn link_name(self) -> String {
        match (self.is_shared, self.is_durable) {
            (false, _) => self.name.to_owned(),
            (true, true) => format!("{}|global", self.name),
            (true, false) => format!("{}|global-volatile1", self.name),
        }
    }
}

impl Inlet {
    /// To browse and not to be granted it is an error: messages that nobody meant to take would be taken. The
    /// library sees to filters in the same way.
    fn check(&self, intake: &Intake<'_>, place: &str) -> Outcome {
        let mode = self.receiver.source().as_ref().and_then(|source| source.distribution_mode.as_ref());
        if intake.is_browsing && mode != Some(&DistributionMode::Copy) {
            return Err(Failure::failed(format!("{place} does not let a client browse `{}`", self.address)));
        }
        let capabilities = self.receiver.source().as_ref().and_then(|source| source.capabilities.as_ref());
        let is_granted =
            capabilities.is_some_and(|granted| granted.0.iter().any(|capability| capability.0 == RETAINED));
        if intake.with_retained && !is_granted {
            let message = format!("{place} has no retained messages for a receiver of `{}`", self.address);
            return Err(Failure::failed(message).help("topics retain messages; leave out --retained"));
        }
        Ok(())
    }

    /// Waits for the next message; `None` once the peer has said that there is none. Cancel-safe.
    pub async fn recv_available(&mut self) -> Outcome<Option<Arrival>> {
        loop {
            if !self.asked {
                if let Ok(arrival) = tokio::time::timeout(QUIET, self.recv()).await {
                    return arrival.map(Some);
                }
                self.ask().await?;
            }
            if self.received < self.granted {
                let Some(watch) = self.watch.clone() else { return Ok(None) };
                let received = self.received;
                tokio::select! {
                    biased;
                    arrival = self.recv() => return arrival.map(Some),
                    () = watch.drained(received) => {}
                }
            }
            // Once all the credit is used the answer says nothing more: it may come or not.
            self.asked = false;
            if let Some(watch) = &self.watch {
                watch.release();
            }
            // Credit that is left was given back: there was no message for it.
            if self.received < self.granted {
                return Ok(None);
            }
            self.grant().await?;
        }
    }

    /// Asks the peer to use the credit up with what it has, and to give the rest back.
    async fn ask(&mut self) -> Outcome {
        if let Some(watch) = &self.watch {
            watch.arm();
        }
        self.receiver.drain().await.map_err(|error| link_lost(&error, &self.address))?;
        self.asked = true;
        Ok(())
    }

    /// Leaves the link without closing it, so that a durable subscription stays.
    pub async fn detach(self) {
        // As for closing: an answer would change nothing.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.receiver.detach()).await;
    }

    /// Waits for the next message. Cancel-safe: a message is not lost when the future is dropped.
    pub async fn recv(&mut self) -> Outcome<Arrival> {
        let arrival = match self.receiver.recv::<Body<Value>>().await {
            Ok(delivery) => Arrival::Message(Box::new(delivery)),
            Err(RecvError::MessageDecode(error)) => {
                let why = format!("cannot decode a message from `{}`: {}", self.address, error.source);
                let refusal = definitions::Error::new(AmqpError::DecodeError, error.source.to_string(), None);
                let told = self.receiver.reject(error.info, refusal).await;
                told.map_err(|error| link_lost(&error, &self.address))?;
                Arrival::Garbled(why)
            }
            Err(error) => return Err(receive_failure(&error, &self.address)),
        };
        self.received += 1;
        Ok(arrival)
    }

    /// Closes the link. Returns when the peer has, and so has seen everything that was settled before: a
    /// connection that is closed without it may overtake the last outcomes.
    pub async fn close(self) {
        // A peer that does not answer is left: its answer would change nothing.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.receiver.close()).await;
    }

    /// Tells the sender what became of a message, and asks for more.
    pub async fn settle(&mut self, delivery: &AnyDelivery, ack: Ack) -> Outcome {
        let receiver = &self.receiver;
        let told = match ack {
            Ack::Accept => receiver.accept(delivery).await,
            Ack::Release => receiver.release(delivery).await,
            Ack::Reject => receiver.reject(delivery, None).await,
            Ack::Modify => {
                let failed = Modified {
                    delivery_failed: Some(true),
                    undeliverable_here: None,
                    message_annotations: None,
                };
                receiver.modify(delivery, failed).await
            }
            Ack::None => Ok(()),
        };
        told.map_err(|error| link_lost(&error, &self.address))?;
        self.grant().await
    }

    /// Rejects a message and says why.
    pub async fn reject(&mut self, delivery: &AnyDelivery, condition: AmqpError, why: &str) -> Outcome {
        let error = definitions::Error::new(condition, why.to_owned(), None);
        let told = self.receiver.reject(delivery, error).await;
        told.map_err(|error| link_lost(&error, &self.address))?;
        self.grant().await
    }

    /// Asks for more once half of what was asked for has come.
    pub async fn grant(&mut self) -> Outcome {
        // Credit given in the middle of a drain would end it.
        if self.asked {
            return Ok(());
        }
        let outstanding = self.granted.saturating_sub(self.received);
        if outstanding * 2 > u64::from(self.window) {
            return Ok(());
        }
        let room = u64::from(self.window).saturating_sub(outstanding);
        let left = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.granted));
        // Bounded by the window, which is a u32.
        let more = room.min(left) as u32;
        if more == 0 {
            return Ok(());
        }
        let credit = self.receiver.credit().saturating_add(more);
        let granted = self.receiver.set_credit(credit).await;
        granted.map_err(|error| link_lost(&error, &self.address))?;
        self.granted += u64::from(more);
        Ok(())
    }
}

/// What came from a link.
#[derive(Debug)]
pub enum Arrival {
    Message(Box<AnyDelivery>),
    /// A message that is no message, with the reason; it has been rejected.
    Garbled(String),
}

impl Endpoint {
    /// `host:port`.
    pub fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Closes a sending link once everything that was sent on it has left, pre-settled messages included.
pub async fn close_sender(sender: Sender) {
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, sender.close()).await;
}

/// Waits for Ctrl-C or SIGTERM, and says which.
pub async fn interrupted() -> Exit {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => Exit::Interrupted,
        _ = terminate.recv() => Exit::Terminated,
    }
}

/// What became of a message, for people: `accepted`, `rejected: amqp:not-allowed: no`.
pub fn disposition_text(disposition: &Disposition) -> String {
    match disposition {
        Disposition::Accepted(_) => "accepted".into(),
        Disposition::Released(_) => "released".into(),
        Disposition::Modified(_) => "modified".into(),
        Disposition::Rejected(rejected) => match &rejected.error {
            Some(error) => format!("rejected: {}", error_text(error)),
            None => "rejected".into(),
        },
    }
}

/// Why a message could not be sent.
pub fn send_failure(error: &SendError, address: &str) -> Failure {
    match error {
        SendError::MessageSizeExceeded(exceeded) => {
            let (size, max) = (shape::bytes(exceeded.size), shape::bytes(exceeded.max_size));
            let message = format!("a message of {size} is too large for `{address}`: at most {max}");
            Failure::new(Exit::NotDelivered, message)
        }
        SendError::Detached(error) => link_lost(error, address),
        error => link_lost(error, address),
    }
}

async fn open_watched<S>(
    endpoint: &Endpoint,
    container: Option<&str>,
    stream: S,
    watch: Option<&Arc<Watch>>,
) -> Outcome<ConnectionHandle<()>>
where
    S: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static,
{
    match watch {
        Some(watch) => open(endpoint, container, Watched::new(stream, Arc::clone(watch))).await,
        None => open(endpoint, container, stream).await,
    }
}

async fn open<S>(endpoint: &Endpoint, container: Option<&str>, mut stream: S) -> Outcome<ConnectionHandle<()>>
where
    S: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static,
{
    let profile = match &endpoint.credentials {
        Credentials::Anonymous => Some(SaslProfile::Anonymous),
        Credentials::Plain { user, password } => {
            Some(SaslProfile::Plain { username: user.clone(), password: password.clone() })
        }
        Credentials::Scram { user, password } => {
            Some(SaslProfile::ScramSha256(SaslScramSha256::new(user, password)))
        }
        Credentials::Certificate => {
            let logged_in = sasl::external(&mut stream, &endpoint.host).await;
            logged_in.map_err(|refused| certificate_refused(&refused, endpoint))?;
            None
        }
        Credentials::Bearer { token } => {
            let logged_in = sasl::bearer(&mut stream, &endpoint.host, token).await;
            logged_in.map_err(|refused| token_refused(&refused, endpoint))?;
            None
        }
    };
    let mut properties = Fields::new();
    properties.insert(Symbol::from("product"), Value::from("mq"));
    properties.insert(Symbol::from("version"), Value::from(env!("CARGO_PKG_VERSION")));
    let id = uuid::Uuid::new_v4().simple().to_string();
    let own = || format!("mq-{}", id.get(..12).unwrap_or(&id));
    let builder = Connection::builder()
        .container_id(container.map_or_else(own, str::to_owned))
        .scheme("amqp")
        // AMQP 2.4.1: the space is a virtual host.
        .hostname(endpoint.space.as_deref().unwrap_or(&endpoint.host))
        .idle_time_out(IDLE_TIMEOUT_MS)
        .properties(properties);
    let builder = match profile {
        Some(profile) => builder.sasl_profile(profile),
        None => builder,
    };
    builder.open_with_stream(stream).await.map_err(|error| open_failure(&error, endpoint))
}

fn token_refused(refused: &sasl::Refused, endpoint: &Endpoint) -> Failure {
    let place = endpoint.place();
    match refused {
        sasl::Refused::NotOffered => {
            Failure::new(Exit::Denied, format!("{place} does not take tokens (SASL OAUTHBEARER) there"))
                .help("it takes them over TLS, or on loopback, when the fleet knows the identity provider")
        }
        sasl::Refused::Proof => Failure::new(Exit::Denied, format!("{place} does not take the token"))
            .help("log in again: mq login --oidc"),
        sasl::Refused::Broken(why) => unreachable(endpoint, why),
    }
}

fn certificate_refused(refused: &sasl::Refused, endpoint: &Endpoint) -> Failure {
    let place = endpoint.place();
    match refused {
        sasl::Refused::NotOffered | sasl::Refused::Proof => Failure::new(
            Exit::Denied,
            format!("{place} does not know who the certificate names (SASL EXTERNAL)"),
        )
        .help("the node has to believe the authority that has signed it"),
        sasl::Refused::Broken(why) => unreachable(endpoint, why),
    }
}

fn open_failure(error: &OpenError, endpoint: &Endpoint) -> Failure {
    let place = endpoint.place();
    match error {
        OpenError::SaslError { .. } => {
            let who = match endpoint.credentials.named() {
                None => "anonymous clients".to_owned(),
                Some((user, _)) => format!("the user `{user}`"),
            };
            Failure::new(Exit::Denied, format!("{place} does not let {who} in"))
                .help("check --user and the password")
        }
        OpenError::NotImplemented(_) => {
            Failure::new(Exit::Denied, format!("{place} offers no way to authenticate that mq knows"))
                .help("mq knows SASL ANONYMOUS, PLAIN and SCRAM-SHA-256")
        }
        OpenError::RemoteClosedWithError(error) => {
            let message = format!("{place} closed the connection: {}", error_text(error));
            Failure::new(exit_of(error, Exit::Unreachable), message)
        }
        OpenError::ProtocolHeaderMismatch(_) | OpenError::DecodeError(_) => {
            Failure::new(Exit::Unreachable, format!("{place} does not speak AMQP 1.0"))
                .help("check the port: 8080 is the admin API, 5672 is AMQP")
        }
        OpenError::Io(error) => unreachable(endpoint, &reason(error)),
        error => unreachable(endpoint, &error.to_string()),
    }
}

/// TLS has not come about.
pub(super) fn no_tls(endpoint: &Endpoint, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("cannot agree on TLS with {}: {why}", endpoint.place()))
        .help("name the certificates to trust with --ca, and what to show with --cert and --key")
}

fn unreachable(endpoint: &Endpoint, why: &str) -> Failure {
    let failure = Failure::new(Exit::Unreachable, format!("cannot connect to {}: {why}", endpoint.place()));
    match endpoint.is_deployed {
        true => failure.help("start the fleet with `mq deploy`; see what runs with `mq status`"),
        false => failure.help("check the host and the port"),
    }
}

fn no_link(place: &str, address: &str) -> Failure {
    Failure::new(Exit::TimedOut, format!("{place} did not attach to {address} within 10s"))
}

async fn in_time<T>(work: impl Future<Output = Outcome<T>>, late: impl FnOnce() -> Failure) -> Outcome<T> {
    match tokio::time::timeout(OPEN_TIMEOUT, work).await {
        Ok(result) => result,
        Err(_) => Err(late()),
    }
}

fn sender_refused(error: &SenderAttachError, address: &str, place: &str) -> Failure {
    match error {
        SenderAttachError::RemoteClosedWithError(error) => refused(error, "send to", address, place),
        SenderAttachError::SessionStopped(reason) => stopped(reason, address),
        error => Failure::failed(format!("{place} does not attach a sender to `{address}`: {error}")),
    }
}

fn receiver_refused(error: &ReceiverAttachError, address: &str, place: &str) -> Failure {
    match error {
        ReceiverAttachError::RemoteClosedWithError(error) => refused(error, "receive from", address, place),
        ReceiverAttachError::SessionStopped(reason) => stopped(reason, address),
        ReceiverAttachError::DesiredFilterNotSupported(_) => {
            Failure::failed(format!("{place} does not apply a selector to `{address}`"))
        }
        error => Failure::failed(format!("{place} does not attach a receiver to `{address}`: {error}")),
    }
}

fn refused(error: &definitions::Error, verb: &str, address: &str, place: &str) -> Failure {
    let exit = exit_of(error, Exit::Failed);
    let failure = Failure::new(exit, format!("cannot {verb} `{address}` at {place}: {}", error_text(error)));
    match exit {
        Exit::NotFound => {
            let create = match address {
                _ if address.contains("::") => format!("mq address create {address} --type subscription"),
                _ if address.contains(['+', '#']) => "mq address create TOPIC --type topic".to_owned(),
                _ => format!("mq address create {address} --type anycast"),
            };
            failure.help(format!("create it with `{create}`; see what is there with `mq address list`"))
        }
        _ => failure,
    }
}

fn receive_failure(error: &RecvError, address: &str) -> Failure {
    match error {
        RecvError::LinkStateError(error) => link_state_failure(error, address),
        RecvError::MessageSizeExceeded(_) => {
            let max = shape::bytes(MAX_MESSAGE);
            Failure::failed(format!(
                "a message from `{address}` is larger than {max}, which is all that mq takes"
            ))
        }
        error => link_lost(error, address),
    }
}

/// Why a link that worked does not work any more.
pub fn link_state_failure(error: &LinkStateError, address: &str) -> Failure {
    match error {
        LinkStateError::RemoteDetachedWithError(error) | LinkStateError::RemoteClosedWithError(error) => {
            let message = format!("the link to `{address}` was closed: {}", error_text(error));
            Failure::new(exit_of(error, Exit::Failed), message)
        }
        LinkStateError::SessionStopped(reason) => stopped(reason, address),
        error => link_lost(error, address),
    }
}

/// As [`link_state_failure`], for an error of sending.
pub fn delivery_failure(error: &SendError, address: &str) -> Failure {
    match error {
        SendError::Detached(
            DetachError::RemoteDetachedWithError(error) | DetachError::RemoteClosedWithError(error),
        ) => {
            let message = format!("the link to `{address}` was closed: {}", error_text(error));
            Failure::new(exit_of(error, Exit::Failed), message)
        }
        SendError::Detached(DetachError::SessionStopped(reason)) => stopped(reason, address),
        error => send_failure(error, address),
    }
}

fn stopped(reason: &SessionStopReason, address: &str) -> Failure {
    match reason {
        SessionStopReason::RemoteEndedWithError(error) => {
            let message = format!("the session that serves `{address}` was ended: {}", error_text(error));
            Failure::new(exit_of(error, Exit::Failed), message)
        }
        SessionStopReason::ConnectionStopped(ConnectionStopReason::RemoteClosedWithError(error)) => {
            let message = format!("the connection was closed: {}", error_text(error));
            Failure::new(exit_of(error, Exit::Unreachable), message)
        }
        SessionStopReason::ConnectionStopped(_) => {
            Failure::new(Exit::Unreachable, "the connection was lost").help("see `mq status`")
        }
        _ => Failure::failed(format!("the session that serves `{address}` has ended")),
    }
}

fn link_lost(error: &dyn fmt::Display, address: &str) -> Failure {
    Failure::failed(format!("the link to `{address}` does not work any more: {error}"))
}

/// `amqp:not-found: there is no such address`.
pub fn error_text(error: &definitions::Error) -> String {
    let condition = condition(&error.condition);
    match &error.description {
        Some(description) if !description.is_empty() => format!("{description} ({condition})"),
        _ => condition,
    }
}

fn condition(condition: &ErrorCondition) -> String {
    let symbol = match condition {
        ErrorCondition::AmqpError(error) => Symbol::from(error),
        ErrorCondition::ConnectionError(error) => Symbol::from(error),
        ErrorCondition::SessionError(error) => Symbol::from(error),
        ErrorCondition::LinkError(error) => Symbol::from(error),
        ErrorCondition::Custom(symbol) => symbol.clone(),
    };
    symbol.0
}

fn exit_of(error: &definitions::Error, otherwise: Exit) -> Exit {
    match condition(&error.condition).as_str() {
        "amqp:not-found" | "amqp:resource-deleted" => Exit::NotFound,
        "amqp:unauthorized-access" => Exit::Denied,
        "amqp:link:message-size-exceeded" => Exit::NotDelivered,
        _ => otherwise,
    }
}

/// Unique in the connection's container, as AMQP 2.6.1 wants it.
fn link_name(role: &str) -> String {
    format!("{role}-{}", uuid::Uuid::new_v4().simple())
}
