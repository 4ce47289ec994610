//! TLS in front of a target: the relay that ends it, and what the load makes of it.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use mq_cli::{bench::result::Wire, exit::Exit};
use rustix::event::{PollFd, PollFlags, poll};
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{
    faults::{order, pipe, try_load_trusting, try_load_with},
    server::{Behaviour, Server},
};

/// Ends TLS for a target. Its threads end with the connections they serve.
struct Relay {
    address: SocketAddr,
    /// The certificate, as PEM: it vouches for itself.
    certificate: String,
}

impl Relay {
    fn start(to: SocketAddr) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self { address: listener.local_addr().unwrap(), certificate: made.cert.pem() };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (config, server) = (config.clone(), TcpStream::connect(to));
                thread::spawn(move || server.map(|server| relay_one(client, server, config)));
            }
        });
        relay
    }
}

/// Relays until one side has gone.
fn relay_one(mut client: TcpStream, mut server: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    let mut tls = ServerConnection::new(config).ok()?;
    for stream in [&client, &server] {
        stream.set_nonblocking(true).ok()?;
        stream.set_nodelay(true).ok()?;
    }
    let mut buffer = vec![0; 16 << 10];
    loop {
        let mut waits = [PollFd::new(&client, PollFlags::IN), PollFd::new(&server, PollFlags::IN)];
        poll(&mut waits, None).ok()?;
        match tls.read_tls(&mut client) {
            Ok(0) => return None,
            Ok(_) => {
                tls.process_new_packets().ok()?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        while let Ok(count @ 1..) = tls.reader().read(&mut buffer) {
            write_all(&mut server, &buffer[..count])?;
        }
        match server.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => tls.writer().write_all(&buffer[..count]).ok()?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        while tls.wants_write() {
            match tls.write_tls(&mut client) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait_to_write(&client)?,
                result => drop(result.ok()?),
            }
        }
    }
}

fn write_all(into: &mut TcpStream, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        match into.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait_to_write(into)?,
            Err(_) => return None,
        }
    }
    Some(())
}

fn wait_to_write(stream: &TcpStream) -> Option<()> {
    poll(&mut [PollFd::new(stream, PollFlags::OUT)], None).ok().map(drop)
}

fn ca(folder: &Path, pem: &str) -> std::path::PathBuf {
    let path = folder.join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    path
}

#[test]
fn both_protocols_run_over_tls() {
    for wire in [Wire::Amqp, Wire::Mqtt] {
        let server = Server::start(Behaviour { wire, ..Behaviour::default() });
        let relay = Relay::start(server.address);
        let folder = tempfile::tempdir().unwrap();
        let mut order = order(pipe(wire));
        order.load.tls = true;
        let ca = ca(folder.path(), &relay.certificate);
        let result = try_load_trusting(&order, relay.address, ca).unwrap();
        assert_eq!((result.integrity.received, result.integrity.lost), (1_000, 0));
        assert!(result.load.tls && result.context.target.contains("s://"), "{}", result.context.target);
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_an_error_before_the_load() {
    let server = Server::start(Behaviour::default());
    let relay = Relay::start(server.address);
    let mut order = order(pipe(Wire::Amqp));
    order.load.tls = true;
    order.setup = Duration::from_secs(5);
    let failure = try_load_with(&order, relay.address).unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(failure.message.contains("certificate"), "{failure}");
    assert!(failure.help.is_some_and(|help| help.contains("--ca")));
}
