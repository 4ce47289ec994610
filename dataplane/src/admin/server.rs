//! Serves the admin API over HTTP/1.1, over TLS too, with limits on what a slow or silent client may hold: the
//! number of connections, the time for TLS and for a request's head, the time for a write to get anywhere.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::authorize::Source;
use super::wire::{SharedPace, Wire};
use crate::listen::{Bound, Secure, Throttle};
use crate::tls::Encryption;

/// Connections that are served at once; more wait in the kernel until one has ended.
const MAX_CONNECTIONS: usize = 256;

/// Time for the head of a request, also of the next one on a connection that is kept open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Time to agree on TLS, where that comes first.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that a client may leave an answer unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time that answers under way have when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// How long accepting pauses after an error, most often for want of files.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a request's head.
const MAX_HEAD: usize = 64 << 10;

/// A running server; dropping it ends it at once.
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// A listener of the admin API.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) bound: Bound,
    /// `None`: its clients speak no TLS.
    pub(crate) secure: Option<Secure>,
}

/// What the listeners have in common. Cheap to clone.
#[derive(Clone)]
struct Common {
    router: Router,
    permits: Arc<Semaphore>,
    pace: SharedPace,
    stopped: watch::Receiver<bool>,
}

impl Server {
    /// Begins to serve. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch a socket.
    pub(crate) fn start(entrances: Vec<Entrance>, router: Router) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let common = Common { router, permits, pace: SharedPace::default(), stopped };
        let mut tasks = JoinSet::new();
        for Entrance { bound, secure } in entrances {
            let listener = TcpListener::from_std(bound.listener)?;
            tasks.spawn(accept(listener, bound.name, secure, common.clone()));
        }
        Ok(Self { stop, tasks })
    }

    /// Takes no more requests, and waits a moment for the answers under way.
    pub(crate) async fn stop(mut self) {
        // An error means that the server has ended already.
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn accept(listener: TcpListener, name: &'static str, secure: Option<Secure>, mut common: Common) {
    let mut connections = JoinSet::new();
    let mut warnings = Throttle::default();
    loop {
        let next = async {
            // The semaphore is never closed.
            let permit = common.permits.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let accepted = tokio::select! {
            () = requested(&mut common.stopped) => break,
            // An accept that is cancelled leaves the connection in the kernel.
            accepted = next => accepted,
        };
        match accepted {
            Some((Ok((stream, peer)), permit)) => {
                let is_own = stream.local_addr().is_ok_and(|local| local.ip() == peer.ip());
                let is_here = is_own || peer.ip().to_canonical().is_loopback();
                let source = Source { address: peer.ip(), is_here, listener: name };
                let served = begin(stream, source, name, secure.clone(), common.clone());
                connections.spawn(async move {
                    served.await;
                    drop(permit);
                });
            }
            Some((Err(error), _)) => {
                if warnings.is_due(Instant::now()) {
                    tracing::warn!(%error, "cannot accept connections of the admin API; trying again");
                }
                tokio::time::sleep(ERROR_PAUSE).await;
            }
            None => break,
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_TIMEOUT, ended).await;
}

/// Agrees on TLS with a client, where that comes first, and serves it.
async fn begin(
    stream: TcpStream,
    source: Source,
    name: &'static str,
    secure: Option<Secure>,
    mut common: Common,
) {
    if let Err(error) = set_options(&stream) {
        tracing::debug!(%error, "a client of the admin API left before it was served");
        return;
    }
    let begun = tokio::select! {
        begun = tokio::time::timeout(TLS_TIMEOUT, Wire::begin(stream, name, secure.as_ref(), &common.pace)) => begun,
        () = requested(&mut common.stopped) => return,
    };
    match begun {
        Ok(Ok(wire)) => serve(wire, source, common).await,
        Ok(Err(error)) => tracing::debug!(%error, listener = name, "no TLS came about"),
        Err(_) => tracing::debug!(listener = name, "no TLS came about in time"),
    }
}

async fn serve(wire: Wire, source: Source, common: Common) {
    let Common { router, mut stopped, .. } = common;
    let encryption = wire.encryption().cloned();
    let service = FromClient { source, encryption, service: TowerToHyperService::new(router) };
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    let connection = builder.serve_connection(TokioIo::new(wire), service);
    let connection = connection.with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = requested(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the admin API failed");
    }
}

/// Tells each request of a connection where it comes from, and what TLS has agreed on with the client.
struct FromClient {
    source: Source,
    encryption: Option<Arc<Encryption>>,
    service: TowerToHyperService<Router>,
}

impl Service<Request<Incoming>> for FromClient {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.source);
        if let Some(encryption) = &self.encryption {
            request.extensions_mut().insert(encryption.clone());
        }
        self.service.call(request)
    }
}

/// Waits until the server is asked to stop. Cancel-safe.
async fn requested(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is a reason to stop as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Takes back what holds for requests alone: a WebSocket has timeouts of its own.
pub(super) fn reset_options(stream: &TcpStream) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(None)?;
    Ok(())
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Where the kernel has no such timeout, the limit of connections bounds what is held.
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(WRITE_TIMEOUT))?;
    Ok(())
}
