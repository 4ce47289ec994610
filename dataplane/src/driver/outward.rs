//! Connections of connectors: opened by the node itself, and from then on like any other (AMQP 2.4, 2.6).
//!
//! The control thread has connected and logged in. What differs from a client's connection is who begins: the node
//! opens, begins a session and attaches a link for each route. What comes of a link in the core (a consumer of an
//! address here that sends there, or a producer that brings what is there) is what a client's own link would be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use mq_amqp::performative::{Attach, Error, NodeTarget, Open, Role, SenderSettleMode, Source, Target};
use mq_amqp::value::{Symbol, Text};
use mq_amqp::{LinkKey, NO_TOKEN, SessionKey, Terms, condition};
use mq_core::{AddressKind, ConsumerOptions, ProducerOptions, ProducerTarget};
use mq_model::connector::RouteDirection;
use tracing::{debug, info};

use super::access::Access;
use super::amqp::{Client, engine_limits};
use super::attach::{Place, refusal, refused};
use super::connection::serve;
use super::message::Wants;
use super::preface::Arrival;
use super::protocol::{Farewell, Protocol};
use super::socket::Unserved;
use super::terminus::{Filters, origin_of, selector_filter};
use super::{LinkRef, Shard};
use crate::connectors::{Progress, Way};
use crate::shard::Handle;
use crate::spaces::Space;
use crate::tls::Session;

/// What a connection of a connector has instead of a listener's name.
const LISTENER: &str = "connector";

/// How long after a route has failed it is tried again; each further time it is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Outcomes that the core understands of the other side's messages (AMQP 3.4).
const OUTCOMES: [Symbol; 4] = [
    Symbol::from_static("amqp:accepted:list"),
    Symbol::from_static("amqp:rejected:list"),
    Symbol::from_static("amqp:released:list"),
    Symbol::from_static("amqp:modified:list"),
];

/// A connection that is logged in and not open yet.
#[derive(Debug)]
pub struct Outgoing {
    pub(crate) stream: std::net::TcpStream,
    /// TLS that has been agreed on.
    pub(crate) tls: Option<Box<Session>>,
    pub(crate) peer: SocketAddr,
    pub(crate) engine: mq_amqp::Connection,
    /// What was read behind the end of the log-in.
    pub(crate) read: Bytes,
    pub(crate) space: Arc<Space>,
    pub(crate) ways: Vec<Way>,
    pub(crate) progress: Arc<Progress>,
}

/// What a connection of a connector has beside what clients' have.
#[derive(Debug)]
pub(super) struct Outward {
    session: Option<SessionKey>,
    routes: Vec<Route>,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Route {
    way: Way,
    link: Option<LinkKey>,
    /// With a link: what serves the address here.
    serving: Option<Arc<str>>,
    /// Without a link: when it is tried again.
    retry_at: Option<Instant>,
    failures: u32,
    /// Why the link that is there has no use, in the words of this side.
    error: Option<String>,
}

impl Outward {
    /// The connection is gone.
    pub(super) fn gone(&self) {
        self.progress.gone();
    }

    fn index_of(&self, link: LinkKey) -> Option<usize> {
        self.routes.iter().position(|route| route.link == Some(link))
    }
}

/// What the engines of connectors' connections go by.
pub(crate) fn engine_config(
    config: &mq_model::config::DaemonConfig,
    container: &str,
    hostname: &str,
) -> mq_amqp::Config {
    mq_amqp::Config {
        container_id: Text::from(container),
        hostname: Some(Text::from(hostname)),
        mechanisms: Vec::new(),
        allow_plain_header: false,
        ..engine_limits(config)
    }
}

/// Starts to serve a connection that the node has opened.
pub(crate) fn connect(handle: &Handle, outgoing: Outgoing) {
    let mut shard = handle.shard.borrow_mut();
    let Outgoing { stream, tls, peer, mut engine, read, space, ways, progress } = outgoing;
    let opened = engine.open();
    debug_assert!(opened.is_ok(), "the log-in is through");
    let socket = match tls {
        Some(session) => Unserved::Tls(stream, session),
        None => Unserved::Tcp(stream),
    };
    let name = progress.connector().clone();
    let routes = ways.into_iter().map(|way| Route {
        way,
        link: None,
        serving: None,
        retry_at: None,
        failures: 0,
        error: None,
    });
    let outward = Outward { session: None, routes: routes.collect(), progress: progress.clone() };
    let client = Client { outward: Some(Box::new(outward)), ..Client::with_engine(engine) };
    let arrival = Arrival {
        encryption: socket.encryption(),
        space: None,
        socket,
        peer,
        listener: LISTENER.into(),
        is_local: false,
        input: BytesMut::from(read),
        opened_at: Timestamp::now(),
        bytes_in: 0,
        bytes_out: 0,
    };
    shard.shared.count_connection_in(shard.id);
    shard.connections_opened += 1;
    let key = shard.admit_connection(arrival, Protocol::Amqp(Box::new(client)));
    let Some(key) = key else {
        return progress.end("the socket cannot be served; raise the limit of open files");
    };
    if let Some(connection) = shard.connections.get_mut(key) {
        connection.caller.access = Some(Box::new(Access::connector(space, &name)));
    }
    if !progress.begin(shard.name_of(key)) {
        // Nobody wants it any more.
        shard.kill(key);
    }
    drop(shard);
    serve(handle, Some(key));
}

impl Shard {
    fn outward(&self, key: usize) -> Option<&Outward> {
        self.connections.amqp(key)?.outward.as_deref()
    }

    fn outward_mut(&mut self, key: usize) -> Option<&mut Outward> {
        self.connections.amqp_mut(key)?.outward.as_deref_mut()
    }

    /// Whether the node itself has opened a connection.
    pub(super) fn is_outward(&self, key: usize) -> bool {
        self.outward(key).is_some()
    }

    /// The server has answered the open.
    pub(super) fn outward_opened(&mut self, now: Instant, key: usize, open: &Open) {
        if self.is_draining() {
            return self.force_close(now, key, Farewell::Stopping, "the node is stopping");
        }
        let Some(client) = self.connections.amqp_mut(key) else { return };
        client.introduce(open);
        let container = client.container.clone();
        let Some(outward) = &client.outward else { return };
        outward.progress.open();
        let connector = outward.progress.connector().clone();
        let peer = self.connections.get(key).map(|connection| connection.peer);
        info!(connection = %self.name_of(key), %connector, %container, ?peer, "connected");
        self.begin_outward(key);
    }

    fn begin_outward(&mut self, key: usize) {
        let Some(client) = self.connections.amqp_mut(key) else { return };
        let Some(outward) = &mut client.outward else { return };
        if outward.session.is_none()
            && let Ok(session) = client.engine.begin(NO_TOKEN)
        {
            outward.session = Some(session);
        }
        self.mark_dirty(key);
    }

    /// The session of a connection's links is there.
    pub(super) fn outward_begun(&mut self, now: Instant, key: usize) {
        self.attach_routes(now, key);
    }

    /// The session of a connection's links is gone, and they with it.
    pub(super) fn outward_ended(
        &mut self,
        now: Instant,
        key: usize,
        session: SessionKey,
        error: Option<&Error>,
    ) {
        let Some(outward) = self.outward_mut(key).filter(|outward| outward.session == Some(session)) else {
            return;
        };
        outward.session = None;
        let text = error.map_or_else(|| "the server has ended the session".to_owned(), told);
        for index in 0..outward.routes.len() {
            self.fail_route(now, key, index, text.clone());
        }
    }

    /// Attaches the routes that have no link and may be tried (again).
    fn attach_routes(&mut self, now: Instant, key: usize) {
        let Some(outward) = self.outward(key) else { return };
        let Some(session) = outward.session else { return };
        let is_due = |route: &Route| route.link.is_none() && route.retry_at.is_none_or(|at| at <= now);
        let due: Vec<usize> = outward
            .routes
            .iter()
            .enumerate()
            .filter(|(_, route)| is_due(route))
            .map(|(index, _)| index)
            .collect();
        let most = self.config.limits.max_message_size;
        for index in due {
            let Some(client) = self.connections.amqp_mut(key) else { return };
            let Some(route) = client.outward.as_mut().and_then(|outward| outward.routes.get_mut(index))
            else {
                return;
            };
            let (name, role, terms) = route.way.attach(most);
            match client.engine.attach(session, name, role, terms, NO_TOKEN) {
                Ok(link) => {
                    (route.link, route.retry_at, route.error) = (Some(link), None, None);
                }
                Err(misuse) => self.fail_route(now, key, index, format!("no link can be attached: {misuse}")),
            }
        }
        self.mark_dirty(key);
    }

    /// The server has answered an attach of ours, or wants a link of its own, which it cannot have.
    pub(super) fn outward_attached(&mut self, now: Instant, key: usize, link: LinkKey, attach: &Attach) {
        let Some(index) = self.outward(key).and_then(|outward| outward.index_of(link)) else {
            let error =
                refusal(condition::NOT_ALLOWED, "this connection is for the links of its client alone");
            if let Some(client) = self.connections.amqp_mut(key) {
                let _ = client.engine.refuse(link, error);
            }
            return;
        };
        let is_refused = match attach.role {
            Role::Receiver => attach.target.is_none(),
            Role::Sender => attach.source.is_none(),
        };
        if is_refused {
            // AMQP 2.6.3: its detach comes next, and says why.
            return;
        }
        if let Err(error) = self.take_route(now, key, index, link) {
            let error = self.told_error(key, error);
            if let Some(client) = self.connections.amqp_mut(key) {
                let _ = client.engine.detach(link, true, Some(error.clone()));
            }
            return self.fail_route(now, key, index, told(&error));
        }
        if let Some(route) = self.outward_mut(key).and_then(|outward| outward.routes.get_mut(index)) {
            route.failures = 0;
        }
        self.tell_routes(key);
    }

    /// Makes of a route's link what it is in the core.
    fn take_route(&mut self, now: Instant, key: usize, index: usize, link: LinkKey) -> Result<(), Error> {
        let Some((client, outward)) =
            self.connections.amqp(key).and_then(|client| Some((client, client.outward.as_deref()?)))
        else {
            return Ok(());
        };
        let (Some(route), Ok(session)) = (outward.routes.get(index), client.engine.session_of_link(link))
        else {
            return Ok(());
        };
        let place = Place { connection: key, session, link };
        let way = route.way.clone();
        let address: Arc<str> = self.inside(key, &way.local).into();
        let kind = self.core.kind(&address);
        let serving = self.core.serving(&address).cloned();
        let bits = match way.direction {
            RouteDirection::Receive => {
                let options =
                    ProducerOptions { origin: origin_of(&way.container), ..ProducerOptions::default() };
                let target = ProducerTarget::Address(&address);
                let producer =
                    self.core.add_producer(now, target, options).map_err(|error| refused(&error))?;
                let wants = Wants { to: false, annotations: kind.is_none_or(AddressKind::is_stored) };
                let bits = producer.to_bits();
                self.producers.insert(LinkRef { wants, ..place.link_ref(bits, Some(address)) });
                bits
            }
            RouteDirection::Send => {
                let filter = way.selector.as_deref().map(selector_filter).into_iter().collect::<Vec<_>>();
                let options = ConsumerOptions {
                    filter: Filters::read(&filter)?.selector,
                    not_from: Some(origin_of(&way.container)),
                    ..ConsumerOptions::default()
                };
                let lane = self.lane(place)?;
                let consumer =
                    self.core.add_consumer(now, lane, &address, options).map_err(|error| refused(&error))?;
                let bits = consumer.to_bits();
                let is_stored = kind.is_some_and(AddressKind::is_stored);
                self.consumers.insert(LinkRef { is_stored, ..place.link_ref(bits, Some(address)) });
                bits
            }
        };
        if let Some(route) = self.outward_mut(key).and_then(|outward| outward.routes.get_mut(index)) {
            route.serving = serving;
        }
        let named = self.connections.amqp_mut(key).map(|client| client.engine.name_link(link, bits));
        debug_assert!(matches!(named, Some(Ok(()))), "the link has just been answered");
        Ok(())
    }

    /// Notes why the link of a route is about to go.
    pub(super) fn note_route_end(&mut self, key: usize, link: LinkKey, error: &Error) {
        let text = told(&self.told_error(key, error.clone()));
        if let Some(outward) = self.outward_mut(key)
            && let Some(index) = outward.index_of(link)
            && let Some(route) = outward.routes.get_mut(index)
        {
            route.error = Some(text);
        }
    }

    /// The link of a route is gone.
    pub(super) fn route_gone(&mut self, now: Instant, key: usize, link: LinkKey) {
        let Some(outward) = self.outward(key) else { return };
        let Some(index) = outward.index_of(link) else { return };
        let error = outward.routes.get(index).and_then(|route| route.error.clone());
        self.fail_route(
            now,
            key,
            index,
            error.unwrap_or_else(|| "the server has detached the link".to_owned()),
        );
    }

    fn fail_route(&mut self, now: Instant, key: usize, index: usize, error: String) {
        let name = self.name_of(key);
        let Some(route) = self.outward_mut(key).and_then(|outward| outward.routes.get_mut(index)) else {
            return;
        };
        debug!(connection = %name, route = %route.way, error, "a route has no link");
        let wait = FIRST.saturating_mul(1 << route.failures.min(5)).min(LONGEST);
        route.failures = route.failures.saturating_add(1);
        (route.link, route.retry_at, route.error) = (None, Some(now + wait), Some(error));
        route.serving = None;
        self.tell_routes(key);
    }

    /// Notes why a connection that the node has opened is about to end.
    pub(super) fn note_failure(&self, key: usize, error: impl FnOnce() -> String) {
        if let Some(outward) = self.outward(key) {
            outward.progress.fail(error());
        }
    }

    /// Says how the routes of a connection are, and tries those again that have no link.
    pub(crate) fn tend_outward(&mut self, now: Instant, name: &str) {
        let Some(key) = self.find(name).filter(|key| self.is_outward(*key)) else { return };
        if self
            .connections
            .amqp(key)
            .is_some_and(|client| client.engine.is_open() && !client.engine.is_done())
        {
            self.begin_outward(key);
            self.leave_replaced(now, key);
            self.attach_routes(now, key);
        }
        self.tell_routes(key);
        self.finish_turn(now);
    }

    /// Detaches the routes whose address here is served by another one by now, such as a queue that was created for
    /// a name which the topic for all names had served. They are attached to that soon.
    fn leave_replaced(&mut self, now: Instant, key: usize) {
        let Some(client) = self.connections.amqp(key) else { return };
        let Some(outward) = &client.outward else { return };
        let is_replaced = |route: &Route| {
            let name = self.inside(key, &route.way.local);
            route.serving.is_some() && self.core.serving(&name) != route.serving.as_ref()
        };
        let links: Vec<LinkKey> =
            outward.routes.iter().filter(|route| is_replaced(route)).filter_map(|route| route.link).collect();
        let ends: Vec<(LinkKey, Role, u64)> = client
            .engine
            .links()
            .filter(|link| link.token != NO_TOKEN && links.contains(&link.key))
            .map(|link| (link.key, link.role, link.token))
            .collect();
        for (link, role, token) in ends {
            let error = refusal(condition::DETACH_FORCED, "another address serves this name from now on");
            self.note_route_end(key, link, &error);
            if let Some(client) = self.connections.amqp_mut(key) {
                let _ = client.engine.detach(link, true, Some(error));
            }
            self.remove_link(now, role, token);
        }
        self.mark_dirty(key);
    }

    /// Ends a connection that nobody wants any more.
    pub(crate) fn end_outward(&mut self, now: Instant, name: &str) {
        let Some(key) = self.find(name).filter(|key| self.is_outward(*key)) else { return };
        if let Some(client) = self.connections.amqp_mut(key) {
            client.engine.close(now, None);
        }
        self.release(now, key);
        self.mark_dirty(key);
        self.go_on(now, key);
        self.finish_turn(now);
    }

    fn tell_routes(&self, key: usize) {
        let Some(client) = self.connections.amqp(key) else { return };
        let Some(outward) = &client.outward else { return };
        let routes = outward.routes.iter().map(|route| {
            let link = route.link.and_then(|key| client.engine.links().find(|link| link.key == key));
            let link = link.filter(|link| link.token != NO_TOKEN);
            (link.map(|link| link.deliveries), route.error.clone())
        });
        outward.progress.tell(routes);
    }
}

impl Way {
    /// Name and role of the route's link, and what it asks for.
    fn attach(&self, max_message_size: u64) -> (Text, Role, Terms) {
        let target = |address: &str| {
            Target::Node(NodeTarget { address: Some(Text::from(address)), ..NodeTarget::default() })
        };
        let source = |address: &str| Source {
            address: Some(Text::from(address)),
            outcomes: OUTCOMES.to_vec(),
            ..Source::default()
        };
        let (role, source, target, most) = match self.direction {
            RouteDirection::Receive => {
                let filter = self.selector.as_deref().map(selector_filter).into_iter().collect();
                let source = Source { filter, ..source(&self.remote) };
                (Role::Receiver, source, target(&self.local), Some(max_message_size))
            }
            RouteDirection::Send => (Role::Sender, source(&self.local), target(&self.remote), None),
        };
        let terms = Terms {
            source: Some(Box::new(source)),
            target: Some(Box::new(target)),
            snd_settle_mode: SenderSettleMode::Unsettled,
            max_message_size: most.filter(|most| *most > 0),
            ..Terms::default()
        };
        (Text::from(self.to_string()), role, terms)
    }
}

/// An error of AMQP for people to read.
pub(super) fn told(error: &Error) -> String {
    match error.description.as_ref().map(Text::as_str).filter(|text| !text.is_empty()) {
        Some(text) => {
            let text: String = text.chars().filter(|letter| !letter.is_control()).take(512).collect();
            format!("{}: {text}", error.condition)
        }
        None => error.condition.to_string(),
    }
}
