//! Probes: whether a container has started, lives, and is ready.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use serde_json::Value;

use super::process::Process;
use crate::network::within;

/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 10 << 10;

/// One of the three probes of a container.
#[derive(Debug)]
pub(super) struct Probe {
    handler: Value,
    next: Instant,
    period: Duration,
    successes: u64,
    failures: u64,
    success_threshold: u64,
    failure_threshold: u64,
    under_way: Option<Receiver<Result<(), String>>>,
}

/// Where a probe is sent.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The namespace of the network from which the pod is asked.
    pub(super) hub: String,
    pub(super) ip: Ipv4Addr,
    pub(super) process: Process,
    pub(super) pid: u32,
    /// The ports of the container that have names.
    pub(super) container: Value,
}

/// What has come of a probe since the last look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    /// As often as it takes, with the reason of the last time.
    Bad(String),
}

impl Probe {
    /// The probe of a container, begun now.
    pub(super) fn new(handler: &Value, now: Instant) -> Self {
        let number = |name: &str, default: u64| handler[name].as_u64().unwrap_or(default).max(1);
        let delay = handler["initialDelaySeconds"].as_u64().unwrap_or(0);
        Self {
            handler: handler.clone(),
            next: now + Duration::from_secs(delay),
            period: Duration::from_secs(number("periodSeconds", 10)),
            successes: 0,
            failures: 0,
            success_threshold: number("successThreshold", 1),
            failure_threshold: number("failureThreshold", 3),
            under_way: None,
        }
    }

    /// Starts the next try when it is due, and says what the last one has decided.
    pub(super) fn poll(&mut self, target: &Target, now: Instant) -> Option<Verdict> {
        let Some(under_way) = &self.under_way else {
            if now >= self.next {
                self.next = now + self.period;
                self.under_way = Some(begin(&self.handler, target));
            }
            return None;
        };
        let result = match under_way.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("the probe has ended".into()),
        };
        self.under_way = None;
        match result {
            Ok(()) => {
                (self.successes, self.failures) = (self.successes + 1, 0);
                (self.successes >= self.success_threshold).then_some(Verdict::Good)
            }
            Err(reason) => {
                (self.successes, self.failures) = (0, self.failures + 1);
                (self.failures >= self.failure_threshold).then_some(Verdict::Bad(reason))
            }
        }
    }
}

fn begin(handler: &Value, target: &Target) -> Receiver<Result<(), String>> {
    let (sender, receiver) = channel();
    let (handler, target) = (handler.clone(), target.clone());
    thread::spawn(move || {
        // Nobody waits for the probe of a container that has ended.
        let _ = sender.send(run(&handler, &target));
    });
    receiver
}

/// Tries a handler once; that of a hook is tried in the same way.
pub(super) fn run(handler: &Value, target: &Target) -> Result<(), String> {
    let timeout = Duration::from_secs(handler["timeoutSeconds"].as_u64().unwrap_or(1).max(1));
    if let Some(command) = handler["exec"]["command"].as_array() {
        let command: Vec<String> = command.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        return exec(target, &command, timeout);
    }
    if let Some(action) = handler.get("tcpSocket") {
        let address = address(target, action)?;
        let stream = within(&target.hub, || TcpStream::connect_timeout(&address, timeout));
        return stream.map(drop).map_err(|error| format!("dial tcp {address}: {error}"));
    }
    let action = handler.get("httpGet").ok_or("the probe has no handler")?;
    let address = address(target, action)?;
    let get = || -> io::Result<u16> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        if action["scheme"] == "HTTPS" {
            get(secured(stream)?, action, address)
        } else {
            get(stream, action, address)
        }
    };
    match within(&target.hub, get) {
        Ok(200..=399) => Ok(()),
        Ok(code) => Err(format!("HTTP probe failed with statuscode: {code}")),
        Err(error) => Err(format!("Get \"http://{address}\": {error}")),
    }
}

fn exec(target: &Target, command: &[String], timeout: Duration) -> Result<(), String> {
    let mut child = target.process.enter(target.pid, command).map_err(|error| error.to_string())?;
    let deadline = Instant::now() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("command ended with {status}")),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            _ => {
                // Too late, or nobody's child.
                let _ = child.kill();
                let _ = child.wait();
                return Err("command timed out".into());
            }
        }
    }
}

fn address(target: &Target, action: &Value) -> Result<SocketAddr, String> {
    let number = match &action["port"] {
        Value::String(name) => {
            let ports = target.container["ports"].as_array().into_iter().flatten();
            let port = ports.into_iter().find(|port| port["name"] == name.as_str());
            port.and_then(|port| port["containerPort"].as_u64())
        }
        port => port.as_u64(),
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    let port = number.ok_or_else(|| format!("there is no port {}", action["port"]))?;
    Ok(SocketAddr::from((target.ip, port)))
}

/// Asks and returns the status of the answer.
fn get(mut stream: impl Read + Write, action: &Value, address: SocketAddr) -> io::Result<u16> {
    let path = action["path"].as_str().unwrap_or("/");
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-probe/1.36\r\nConnection: close\r\n"
    );
    for header in action["httpHeaders"].as_array().into_iter().flatten() {
        let text = |name: &str| header[name].as_str().unwrap_or_default();
        request.push_str(&format!("{}: {}\r\n", text("name"), text("value")));
    }
    stream.write_all(format!("{request}\r\n").as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    // An answer that ends early has its status all the same.
    let read = stream.take(MAX_ANSWER).read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    let status = text.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    status.ok_or_else(|| read.err().unwrap_or_else(|| io::Error::other("no answer")))
}

/// The kubelet does not look at the certificates of those that it probes.
fn secured(stream: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let name = ServerName::from(stream.peer_addr()?.ip());
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
