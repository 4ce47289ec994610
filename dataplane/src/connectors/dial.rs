//! One try to connect: TCP, TLS and SASL, until AMQP itself begins.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mq_amqp::performative::SaslCode;
use mq_amqp::value::Symbol;
use mq_amqp::{Event, Events, Side};
use mq_auth::{ScramClient, ScramError, ScramHash};
use mq_model::Secret;
use mq_model::connector::{ConnectorTls, ConnectorUrl};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::driver::random;
use crate::tls::Session;
use crate::users::Connector;

/// Bytes of one read while the log-in lasts.
const READ_SIZE: usize = 4 << 10;

/// Bytes of a log-in that a server may have under way.
const MAX_INPUT: usize = 64 << 10;

/// Pieces of one write.
const SLICES: usize = 8;

/// Why a try has come to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the server has not taken the connection in time")]
    Late,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("spec.tls.{0} cannot be used: {1}")]
    Certificates(&'static str, String),
    #[error("no private key is set for spec.tls.certificate; set it with `mq connector credentials`")]
    NoKey,
    #[error("the private key cannot be used: {0}; set the one of spec.tls.certificate")]
    Key(String),
    #[error("no TLS: {0}")]
    Tls(String),
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("the server has ended the connection before the log-in was over")]
    Ended,
    #[error("the server does not speak AMQP 1.0 with SASL as it should: {0}")]
    Protocol(String),
    #[error("user {user} has no password; set it with `mq connector credentials`")]
    NoPassword { user: String },
    #[error(
        "the server takes {offered} alone, and a password is not sent over a connection that is not encrypted; use \
         amqps://"
    )]
    Insecure { offered: String },
    #[error(
        "the server takes {offered}, none of which is to be had with spec.user, spec.tls.certificate or neither"
    )]
    Mechanisms { offered: String },
    #[error("the server does not let the connector in: {0}")]
    Refused(&'static str),
    #[error(transparent)]
    Scram(#[from] ScramError),
}

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) tls: Option<Box<Session>>,
    /// It has said all but its open.
    pub(crate) engine: mq_amqp::Connection,
    /// What was read behind the end of the log-in.
    pub(crate) read: Bytes,
}

/// Connects to a server and logs in. `config` is that of an engine which asks for a host. The caller bounds the time.
///
/// # Errors
/// See [`DialError`]; nothing is left open.
pub(crate) async fn dial(
    url: &ConnectorUrl,
    connector: &Connector,
    config: impl FnOnce(&str) -> mq_amqp::Config,
) -> Result<Dialled, DialError> {
    let spec = &connector.spec;
    let tls = match url.is_encrypted {
        true => Some(tls_of(url, &spec.tls, &connector.key)?),
        false => None,
    };
    let mut stream = TcpStream::connect((&*url.host, url.port)).await.map_err(DialError::Connect)?;
    let peer = stream.peer_addr().map_err(DialError::Connect)?;
    stream.set_nodelay(true).map_err(DialError::Connect)?;
    let host = spec.virtual_host.as_deref().unwrap_or(&url.host);
    let engine = mq_amqp::Connection::new(Arc::new(config(host)), Side::Client, Instant::now());
    let is_safe = tls.is_some() || is_loopback(peer.ip());
    let mut login = Login { connector, is_safe, engine, input: BytesMut::new(), scram: None };
    let Some((tls, name)) = tls else {
        login.run(&mut stream).await?;
        let stream = stream.into_std().map_err(DialError::Broken)?;
        return Ok(Dialled { stream, peer, tls: None, engine: login.engine, read: login.input.freeze() });
    };
    let mut stream = tls.connect(name, stream).await.map_err(|error| DialError::Tls(error.to_string()))?;
    login.run(&mut stream).await?;
    let (stream, secured) = stream.into_inner();
    let session = Session::agreed(secured.into(), &mut login.input).map_err(DialError::Broken)?;
    let stream = stream.into_std().map_err(DialError::Broken)?;
    let (tls, read) = (Some(Box::new(session)), login.input.freeze());
    Ok(Dialled { stream, peer, tls, engine: login.engine, read })
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// How TLS begins, and whom the server has to be.
fn tls_of(
    url: &ConnectorUrl,
    tls: &ConnectorTls,
    key: &Secret,
) -> Result<(TlsConnector, ServerName<'static>), DialError> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(ca) => {
            for certificate in certificates("ca", ca)? {
                roots.add(certificate).map_err(|error| DialError::Certificates("ca", error.to_string()))?;
            }
        }
        // A system without them is not an error before somebody is to be trusted: then TLS says so.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| DialError::Tls(error.to_string()))?
        .with_root_certificates(roots);
    let config = match &tls.certificate {
        None => builder.with_no_client_auth(),
        Some(_) if key.is_empty() => return Err(DialError::NoKey),
        Some(certificate) => {
            let chain = certificates("certificate", certificate)?;
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes());
            let key = key.map_err(|error| DialError::Key(error.to_string()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| DialError::Key(error.to_string()))?
        }
    };
    let name = tls.server_name.as_deref().unwrap_or(&url.host).to_owned();
    let name = ServerName::try_from(name)
        .map_err(|error| DialError::Certificates("serverName", error.to_string()))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn certificates(field: &'static str, text: &str) -> Result<Vec<CertificateDer<'static>>, DialError> {
    let read = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        Ok(_) => Err(DialError::Certificates(field, "it holds no certificate".to_owned())),
        Err(error) => Err(DialError::Certificates(field, error.to_string())),
    }
}

/// A log-in under way (AMQP 5.3.2).
struct Login<'c> {
    connector: &'c Connector,
    /// A password may be sent as it is.
    is_safe: bool,
    engine: mq_amqp::Connection,
    /// What the server has said and the engine has not taken.
    input: BytesMut,
    /// The engine has no state of a mechanism.
    scram: Option<ScramClient>,
}

impl Login<'_> {
    /// Speaks with the server until it has let the connector in.
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S) -> Result<(), DialError> {
        let mut events = Events::new();
        loop {
            self.write(stream).await?;
            self.input.reserve(READ_SIZE);
            if stream.read_buf(&mut self.input).await.map_err(DialError::Broken)? == 0 {
                return Err(DialError::Ended);
            }
            if self.input.len() > MAX_INPUT {
                return Err(DialError::Protocol("it says too much".to_owned()));
            }
            loop {
                let taken = self.engine.handle_input(Instant::now(), &mut self.input, &mut events);
                let had_events = !events.is_empty();
                while let Some(event) = events.pop_front() {
                    if self.handle(event).await? {
                        return Ok(());
                    }
                }
                taken.map_err(|error| DialError::Protocol(error.to_string()))?;
                if !had_events {
                    break;
                }
            }
        }
    }

    async fn write<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> Result<(), DialError> {
        self.engine.flush();
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = self.engine.slices(&mut slices);
            if used == 0 {
                break;
            }
            let written = stream.write_vectored(&slices[..used]).await.map_err(DialError::Broken)?;
            if written == 0 {
                return Err(DialError::Ended);
            }
            self.engine.written(Instant::now(), written);
        }
        stream.flush().await.map_err(DialError::Broken)
    }

    /// Answers the server; true when it has let the connector in.
    async fn handle(&mut self, event: Event) -> Result<bool, DialError> {
        let misuse = |misuse: mq_amqp::Misuse| DialError::Protocol(misuse.to_string());
        match event {
            Event::SaslMechanisms(offered) => {
                let (mechanism, response) = self.choose(&offered)?;
                self.engine.sasl_init(Symbol::from_static(mechanism), response).map_err(misuse)?;
            }
            Event::SaslChallenge(challenge) => {
                let response = self.answer(challenge).await?;
                self.engine.sasl_response(response).map_err(misuse)?;
            }
            Event::SaslOutcome { code: SaslCode::Ok, additional_data } => {
                if let Some(mut scram) = self.scram.take() {
                    // Its last message comes along with the outcome, or has come before.
                    scram.finish(&additional_data.unwrap_or_default())?;
                }
                return Ok(true);
            }
            Event::SaslOutcome { code: SaslCode::Auth, .. } => {
                return Err(DialError::Refused(
                    "name and password, or the certificate, are not what it knows",
                ));
            }
            Event::SaslOutcome { .. } => return Err(DialError::Refused("it cannot check that now")),
            _ => {
                return Err(DialError::Protocol(
                    "it says something else before the log-in is over".to_owned(),
                ));
            }
        }
        Ok(false)
    }

    /// The best mechanism that the server offers and there is something to say with.
    fn choose(&mut self, offered: &[Symbol]) -> Result<(&'static str, Option<Bytes>), DialError> {
        let has = |name: &str| offered.iter().any(|offered| offered.as_str() == name);
        let shown = || {
            let names: Vec<&str> = offered.iter().take(16).map(Symbol::as_str).collect();
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        };
        let Connector { spec, password, .. } = self.connector;
        let Some(user) = &spec.user else {
            return match spec.tls.certificate {
                // RFC 4422, A.1: to be the one whom the certificate names.
                Some(_) if has("EXTERNAL") => Ok(("EXTERNAL", Some(Bytes::new()))),
                _ if has("ANONYMOUS") => Ok(("ANONYMOUS", Some(Bytes::new()))),
                _ => Err(DialError::Mechanisms { offered: shown() }),
            };
        };
        if password.is_empty() {
            return Err(DialError::NoPassword { user: user.clone() });
        }
        let hashes = [("SCRAM-SHA-512", ScramHash::Sha512), ("SCRAM-SHA-256", ScramHash::Sha256)];
        if let Some((name, hash)) = hashes.into_iter().find(|(name, _)| has(name)) {
            let scram = ScramClient::new(hash, user, password.clone(), random());
            let first = scram.first();
            self.scram = Some(scram);
            return Ok((name, Some(first.into())));
        }
        if !has("PLAIN") {
            return Err(DialError::Mechanisms { offered: shown() });
        }
        if !self.is_safe {
            return Err(DialError::Insecure { offered: shown() });
        }
        // RFC 4616: no other name, the name, the password.
        let response = Secret::new(format!("\0{user}\0{}", password.expose()));
        Ok(("PLAIN", Some(Bytes::copy_from_slice(response.expose().as_bytes()))))
    }

    /// Answers a challenge: SCRAM alone has some. What it takes to compute is not done on the control thread.
    async fn answer(&mut self, challenge: Bytes) -> Result<Bytes, DialError> {
        let Some(mut scram) = self.scram.take() else {
            return Err(DialError::Refused("it asks for more than the mechanism has"));
        };
        if challenge.starts_with(b"v=") {
            // The last message as one that wants an answer, which is empty.
            scram.finish(&challenge)?;
            return Ok(Bytes::new());
        }
        let computed = tokio::task::spawn_blocking(move || {
            let answer = scram.answer(&challenge);
            (scram, answer)
        });
        let (scram, answer) = computed.await.map_err(|_| DialError::Late)?;
        self.scram = Some(scram);
        Ok(answer?.into())
    }
}
