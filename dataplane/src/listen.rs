//! Listeners: binding them, and handing what they accept to the shards.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mq_model::config::{ListenerConfig, ListenerTls};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::hub::{Accepted, Hub, Speaks};
use crate::tls::{self, Certificates, Stage, Terms};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4_096;

/// How long accepting pauses when the process or the system is out of files or memory.
const EXHAUSTION_PAUSE: Duration = Duration::from_millis(100);

/// Why a listener cannot be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    #[error("`{host}` is not an IP address; set listeners.{listener}.host to one, such as 127.0.0.1")]
    Host { listener: &'static str, host: String },
    #[error("cannot bind {address}: {}; {}", reason(source), advice(source, listener))]
    Bind { listener: &'static str, address: SocketAddr, source: io::Error },
}

/// A bound listener.
#[derive(Debug)]
pub struct Bound {
    /// Its name in the configuration.
    pub name: &'static str,
    pub listener: TcpListener,
    /// The address that it really has.
    pub address: SocketAddr,
    /// Every connection begins with a header of the PROXY protocol.
    pub expects_proxy: bool,
    /// Whether its clients speak TLS.
    pub tls: ListenerTls,
    /// Its clients are on this machine.
    pub is_local: bool,
}

/// Binds a listener; from here on clients may connect, though nobody answers yet.
///
/// # Errors
///
/// See [`BindError`].
pub fn bind(name: &'static str, config: &ListenerConfig) -> Result<Bound, BindError> {
    let ip: IpAddr =
        config.host.parse().map_err(|_| BindError::Host { listener: name, host: config.host.clone() })?;
    let address = SocketAddr::new(ip, config.port);
    let failed = |source| BindError::Bind { listener: name, address, source };
    let listener = open(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (expects_proxy, is_local) = (config.proxy_protocol, config.is_local());
    Ok(Bound { name, listener, address, expects_proxy, is_local, tls: config.tls(name) })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of the previous process in TIME_WAIT do not keep the port busy.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn reason(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => "address in use".into(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => source.to_string(),
    }
}

fn advice(source: &io::Error, listener: &str) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!("stop the other listener or set listeners.{listener}.port"),
        io::ErrorKind::PermissionDenied => {
            format!(
                "set listeners.{listener}.port to 1024 or more, or give mqd the right to bind lower ports"
            )
        }
        _ => format!("set listeners.{listener}.host"),
    }
}

/// Connections that were not served, by reason.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The node had as many as `limits.max-connections` allows.
    pub limit: AtomicU64,
    /// No worker was there to serve it.
    pub no_worker: AtomicU64,
    /// The process or the system was out of files or memory. Counts pauses: the connections wait in
    /// the kernel meanwhile.
    pub exhausted: AtomicU64,
}

/// Lets connections in and chooses the shard of each. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    hub: Hub,
    max_connections: usize,
    refusals: Arc<Refusals>,
    warnings: Arc<Mutex<Throttle>>,
}

impl Gate {
    /// A gate that keeps the node at `max_connections`.
    pub fn new(hub: Hub, max_connections: u32, refusals: Arc<Refusals>) -> Self {
        Self { hub, max_connections: max_connections as usize, refusals, warnings: Arc::default() }
    }

    /// The shard for one more connection; `None` when it is refused, which is counted and logged.
    pub fn admit(&self, peer: SocketAddr, listener: &str) -> Option<usize> {
        let counts = self.hub.connection_counts();
        let loads: Vec<usize> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        if loads.iter().sum::<usize>() >= self.max_connections {
            self.refusals.limit.fetch_add(1, Ordering::Relaxed);
            if self.is_due() {
                let limit = self.max_connections;
                tracing::warn!(%peer, listener, limit, "refused a connection: limits.max-connections is reached");
            }
            return None;
        }
        let shard = least_loaded(&loads, |shard| self.hub.is_alive(shard));
        if shard.is_none() {
            self.refusals.no_worker.fetch_add(1, Ordering::Relaxed);
            if self.is_due() {
                tracing::error!(%peer, listener, "refused a connection: every worker has ended");
            }
        }
        shard
    }

    /// Hands an admitted connection over.
    pub fn hand_over(&self, shard: usize, accepted: Accepted) {
        self.hub.accept(shard, accepted);
    }

    fn is_due(&self) -> bool {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).is_due(Instant::now())
    }
}

/// Accepts client connections and gives each to the shard with the fewest.
#[derive(Debug)]
pub struct Acceptor {
    listener: tokio::net::TcpListener,
    name: Arc<str>,
    gate: Gate,
    speaks: Speaks,
    expects_proxy: bool,
    is_local: bool,
    tls: Option<Secure>,
}

/// How the clients of a listener come to speak TLS.
#[derive(Clone, Debug)]
pub(crate) struct Secure {
    pub(crate) certificates: Arc<Certificates>,
    /// What they speak above it.
    pub(crate) speaks: tls::Speaks,
    /// They may do without.
    pub(crate) is_optional: bool,
}

impl Secure {
    /// What a connection begins with that is accepted now.
    pub(crate) fn terms(&self) -> Terms {
        self.certificates.terms(self.speaks, self.is_optional)
    }

    /// `None`: the clients of the listener do not speak TLS.
    pub(crate) fn of(
        bound: &Bound,
        certificates: Option<&Arc<Certificates>>,
        speaks: tls::Speaks,
    ) -> Option<Self> {
        let certificates = certificates.filter(|_| !bound.tls.is_never())?.clone();
        Some(Self { certificates, speaks, is_optional: bound.tls == ListenerTls::Optional })
    }
}

impl Acceptor {
    /// An acceptor for a bound listener whose clients speak AMQP or MQTT. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch the socket.
    pub(crate) fn new(
        bound: Bound,
        gate: Gate,
        speaks: Speaks,
        certificates: Option<&Arc<Certificates>>,
    ) -> io::Result<Self> {
        let above = if speaks == Speaks::Amqp { tls::Speaks::Amqp } else { tls::Speaks::Mqtt };
        let tls = Secure::of(&bound, certificates, above);
        Ok(Self {
            listener: tokio::net::TcpListener::from_std(bound.listener)?,
            name: bound.name.into(),
            gate,
            speaks,
            expects_proxy: bound.expects_proxy,
            tls,
            is_local: bound.is_local,
        })
    }

    /// Accepts for ever; dropping the future closes the listener. Cancel-safe: a connection is
    /// either still in the kernel or with its shard.
    pub async fn run(self) {
        loop {
            // The runtime makes a busy accept yield now and then.
            match self.listener.accept().await {
                Ok((stream, peer)) => self.hand_over(stream, peer),
                Err(error) if is_exhaustion(&error) => self.pause(&error).await,
                // The client has gone between connecting and being accepted.
                Err(error) => tracing::debug!(%error, "cannot accept a connection"),
            }
        }
    }

    /// Accepting again at once would fail again at once: the connection still waits.
    async fn pause(&self, error: &io::Error) {
        self.gate.refusals.exhausted.fetch_add(1, Ordering::Relaxed);
        if self.gate.is_due() {
            tracing::warn!(
                listener = %self.name,
                %error,
                "cannot accept connections; raise the limit of open files (ulimit -n) or close some"
            );
        }
        tokio::time::sleep(EXHAUSTION_PAUSE).await;
    }

    fn hand_over(&self, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let Some(shard) = self.gate.admit(peer, &self.name) else { return };
        // Small frames must not wait for the acknowledgement of earlier ones. The socket stays
        // non-blocking on its way to the shard's runtime.
        match stream.set_nodelay(true).and_then(|()| stream.into_std()) {
            Ok(stream) => {
                let (listener, speaks) = (self.name.clone(), self.speaks.clone());
                let (expects_proxy, is_local) = (self.expects_proxy, self.is_local);
                let tls = self.tls.as_ref().map_or(Stage::Plain, |secure| Stage::Ahead(secure.terms()));
                let accepted = Accepted { stream, peer, listener, speaks, expects_proxy, is_local, tls };
                self.gate.hand_over(shard, accepted);
            }
            Err(error) => tracing::debug!(%peer, %error, "the client left before it was served"),
        }
    }
}

/// The living shard with the fewest connections; the first among equals.
fn least_loaded(loads: &[usize], is_alive: impl Fn(usize) -> bool) -> Option<usize> {
    let living = loads.iter().enumerate().filter(|(shard, _)| is_alive(*shard));
    living.min_by_key(|(_, load)| **load).map(|(shard, _)| shard)
}

/// Whether accepting fails for want of files, memory or buffers, and goes on failing for a while.
fn is_exhaustion(error: &io::Error) -> bool {
    let exhaustion = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhaustion.contains(&errno))
}

/// Lets one warning through each second.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    last: Option<Instant>,
}

impl Throttle {
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let is_due =
            self.last.is_none_or(|last| now.saturating_duration_since(last) >= Duration::from_secs(1));
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::hub::ShardCommand;

    fn loopback(port: u16) -> ListenerConfig {
        ListenerConfig::loopback(port)
    }

    #[test]
    fn a_port_in_use_names_the_address_and_the_setting() {
        let first = bind("amqp", &loopback(0)).unwrap();
        let port = first.address.port();
        let error = bind("amqp", &loopback(port)).unwrap_err();
        let expected = format!(
            "cannot bind 127.0.0.1:{port}: address in use; stop the other listener or set listeners.amqp.port"
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_host_that_is_no_ip_address_names_the_setting() {
        let error = bind("http", &ListenerConfig { host: "localhost".into(), ..ListenerConfig::loopback(0) })
            .unwrap_err();
        assert!(error.to_string().contains("listeners.http.host"), "{error}");
    }

    #[test]
    fn the_living_shard_with_the_fewest_connections_is_chosen() {
        assert_eq!(least_loaded(&[3, 1, 1], |_| true), Some(1));
        assert_eq!(least_loaded(&[3, 1, 2], |shard| shard != 1), Some(2));
        assert_eq!(least_loaded(&[3, 1, 2], |_| false), None);
    }

    #[test]
    fn one_warning_passes_each_second() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        assert!(throttle.is_due(start));
        assert!(!throttle.is_due(start + Duration::from_millis(999)));
        assert!(throttle.is_due(start + Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn connections_are_spread_and_those_beyond_the_limit_are_closed() {
        let (first, mut first_commands) = mpsc::unbounded_channel();
        let (second, mut second_commands) = mpsc::unbounded_channel();
        let hub = Hub::new(vec![first, second]);
        let bound = bind("amqp", &loopback(0)).unwrap();
        let address = bound.address;
        let refusals = Arc::new(Refusals::default());
        let gate = Gate::new(hub.clone(), 2, refusals.clone());
        let acceptor = Acceptor::new(bound, gate, Speaks::Amqp, None).unwrap();
        let accepting = tokio::spawn(acceptor.run());

        let mut clients = Vec::new();
        for _ in 0..2 {
            clients.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        for commands in [&mut first_commands, &mut second_commands] {
            let command = commands.recv().await.unwrap();
            assert!(matches!(&command, ShardCommand::Accept(accepted) if &*accepted.listener == "amqp"));
        }
        let refused = tokio::net::TcpStream::connect(address).await.unwrap();
        refused.readable().await.unwrap();
        assert_eq!(refused.try_read(&mut [0; 1]).unwrap(), 0, "closed without a byte");
        assert_eq!(refusals.limit.load(Ordering::Relaxed), 1);

        // A connection that has ended makes room.
        hub.connection_counts()[1].fetch_sub(1, Ordering::Relaxed);
        let _third = tokio::net::TcpStream::connect(address).await.unwrap();
        assert!(second_commands.recv().await.is_some());
        accepting.abort();
    }
}
