//! TLS of clients at a whole node: what comes through, who is let in, and what of the node it may cost.

#[path = "support/service.rs"]
#[expect(dead_code, reason = "others need more of it")]
mod service;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use mq_model::config::{
    ClientCertificates, DaemonConfig, ListenerConfig, ListenerTls, Tls, TlsVersion, Where,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use service::Service;
use support::{DEADLINE, Node, config, get, parse, wait_for};
use tempfile::TempDir;

const AMQP: &[u8] = b"AMQP\x00\x01\x00\x00";

/// The files of a CA and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key.
#[derive(Clone)]
struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(4_000, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    /// A list of certificates that are good no more, by their numbers.
    fn revoke(&self, numbers: &[u64]) -> String {
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: (*number).into(),
            revocation_time: rcgen::date_time_ymd(2_020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2_020, 1, 1),
            next_update: rcgen::date_time_ymd(2_200, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    fn client(&self, name: &str) -> Identity {
        self.issue(|params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.subject_alt_names =
                vec![SanType::URI(format!("spiffe://acme/{name}").try_into().unwrap())];
        })
    }
}

/// A node whose certificates this test has made.
struct Place {
    authority: Authority,
    clients: Authority,
    directory: TempDir,
    node: Node,
}

fn write(directory: &Path, identity: &Identity) {
    std::fs::write(directory.join("server.pem"), &identity.certificate).unwrap();
    std::fs::write(directory.join("server.key"), &identity.key).unwrap();
}

fn start_with(change: impl FnOnce(&mut DaemonConfig)) -> Place {
    let directory = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new("fleet"), Authority::new("clients"));
    write(directory.path(), &authority.issue(|_| {}));
    std::fs::write(directory.path().join("ca.pem"), &authority.pem).unwrap();
    std::fs::write(directory.path().join("clients.pem"), &clients.pem).unwrap();
    let mut config = config(directory.path());
    let free = ListenerConfig::loopback(0);
    config.listeners.amqps = Some(free.clone());
    config.listeners.mqtts = Some(free.clone());
    config.listeners.https = Some(free);
    config.tls = Some(Tls {
        certificate: "server.pem".into(),
        key: "server.key".into(),
        client_ca: Some("clients.pem".into()),
        client_crl: None,
        fleet_ca: Some("ca.pem".into()),
        client_certificates: None,
        min_version: TlsVersion::Tls12,
        names: Vec::new(),
    });
    change(&mut config);
    config.validate().unwrap();
    Place { authority, clients, directory, node: Node::start(config) }
}

fn start() -> Place {
    start_with(|_| {})
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

impl Place {
    /// The configuration of a client that trusts the node's authority.
    fn client(&self, identity: Option<&Identity>) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        self.client_of(builder.with_protocol_versions(&[&TLS12, &TLS13]).unwrap(), identity)
    }

    fn client_of(
        &self,
        builder: rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>,
        identity: Option<&Identity>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap()).unwrap();
        let builder = builder.with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }

    fn connect(&self, listener: &str) -> Secure {
        secure(self.node.listener(listener), Arc::new(self.client(None)))
    }

    fn connections(&self) -> Vec<Value> {
        let list = get(self.node.http, "/api/v1/connections").json();
        list["items"].as_array().unwrap_or_else(|| panic!("{list}")).clone()
    }

    fn metric(&self, line: &str) -> f64 {
        let page = get(self.node.http, "/metrics");
        let values = page.text().lines().filter_map(|found| found.strip_prefix(line));
        values.map(|value| value.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    fn handshakes(&self, outcome: &str) -> f64 {
        let page = get(self.node.http, "/metrics");
        let wanted = format!("outcome=\"{outcome}\"");
        let lines = page.text().lines().filter(|line| line.starts_with("mq_tls_handshakes_total"));
        lines
            .filter(|line| line.contains(&wanted))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }
}

fn plain(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn secure(address: SocketAddr, config: Arc<ClientConfig>) -> Secure {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), plain(address))
}

/// What AMQP says first comes back: this far a connection has come.
fn greets(stream: &mut (impl Read + Write)) -> std::io::Result<()> {
    stream.write_all(AMQP)?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer, AMQP);
    Ok(())
}

/// A CONNECT of MQTT 3.1.1 that wants a new session (3.1).
fn connect_packet(client_id: &str) -> Vec<u8> {
    let rest =
        [b"\x00\x04MQTT\x04\x02\x00\x3c\x00", &[client_id.len() as u8][..], client_id.as_bytes()].concat();
    [&[0x10, rest.len() as u8][..], &rest].concat()
}

fn read_exactly(stream: &mut impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn amqp_mqtt_and_http_are_served_over_both_versions() {
    let place = start();
    for version in [&TLS12, &TLS13] {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let config = Arc::new(place.client_of(builder, None));
        let mut amqp = secure(place.node.listener("amqps"), config.clone());
        greets(&mut amqp).unwrap();
        let connection = place.connections().into_iter().find(|found| found["listener"] == "amqps").unwrap();
        let name = if version.version == rustls::ProtocolVersion::TLSv1_3 { "TLSv1.3" } else { "TLSv1.2" };
        assert_eq!(connection["tls"]["version"], name, "{connection}");
        assert_eq!(connection["tls"]["serverName"], "localhost");

        let mut mqtt = secure(place.node.listener("mqtts"), config.clone());
        mqtt.write_all(&connect_packet("c")).unwrap();
        assert_eq!(read_exactly(&mut mqtt, 4), [0x20, 2, 0, 0]);

        let mut http = secure(place.node.listener("https"), config);
        http.write_all(b"GET /livez HTTP/1.1\r\nHost: broker.example\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        http.read_to_end(&mut answer).expect("an end that TLS knows of");
        assert_eq!(parse(&answer).status, 200, "whatever the host is called");
    }
}

#[test]
fn clients_are_served_on_every_worker_over_tls() {
    let place = start();
    let mut clients = Vec::new();
    for number in 0..16 {
        let mut mqtt = place.connect("mqtts");
        mqtt.write_all(&connect_packet(&format!("client-{number}"))).unwrap();
        assert_eq!(read_exactly(&mut mqtt, 4), [0x20, 2, 0, 0]);
        clients.push(mqtt);
    }
    let connections = place.connections();
    let workers: std::collections::HashSet<_> =
        connections.iter().map(|connection| connection["worker"].as_u64().unwrap()).collect();
    assert_eq!(workers.len(), 2, "sessions are handed over with their TLS");
    assert!(connections.iter().all(|connection| connection["tls"]["version"] == "TLSv1.3"));
}

#[test]
fn mqtt_comes_in_frames_over_tls() {
    let place = start();
    let mut stream = place.connect("https");
    let request = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    let packet = connect_packet("framed");
    let frame = [&[0x82, 0x80 | u8::try_from(packet.len()).unwrap(), 0, 0, 0, 0], &packet[..]].concat();
    // In one breath: what was decrypted with the request goes along to the worker.
    stream.write_all(&[request.as_bytes(), &frame].concat()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\x82\x04\x20\x02\x00\x00") {
        let mut byte = [0];
        stream
            .read_exact(&mut byte)
            .unwrap_or_else(|error| panic!("{error} after {}", answer.escape_ascii()));
        answer.push(byte[0]);
    }
    let connections = place.connections();
    let connection = connections.iter().find(|found| found["container"] == "framed").unwrap();
    assert_eq!(
        (&connection["listener"], &connection["tls"]["version"]),
        (&"https".into(), &"TLSv1.3".into())
    );
}

#[test]
fn one_port_serves_plain_and_tls_where_it_says_so() {
    let place = start_with(|config| {
        config.listeners.amqp.tls = Some(ListenerTls::Optional);
        config.listeners.mqtt.tls = Some(ListenerTls::Optional);
        config.listeners.http.tls = Some(ListenerTls::Optional);
    });
    greets(&mut plain(place.node.amqp)).unwrap();
    greets(&mut place.connect("amqp")).unwrap();
    for stream in [&mut plain(place.node.listener("mqtt")) as &mut dyn ReadWrite, &mut place.connect("mqtt")]
    {
        stream.write_all(&connect_packet("c")).unwrap();
        assert_eq!(read_exactly(&mut &mut *stream, 4), [0x20, 2, 0, 0]);
    }
    let mut http = place.connect("http");
    http.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    http.read_to_end(&mut answer).unwrap();
    assert_eq!(parse(&answer).status, 200);
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn what_is_no_tls_is_closed_without_an_answer() {
    let place = start();
    let mut garbage = vec![0x16, 3, 1, 2, 0];
    garbage.resize(600, 7);
    for (listener, bytes) in [
        ("amqps", AMQP.to_vec()),
        ("mqtts", connect_packet("c")),
        ("https", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("amqps", garbage.clone()),
        ("https", garbage),
    ] {
        let mut stream = plain(place.node.listener(listener));
        stream.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // At most an alert of TLS (content type 21), and never a word of the protocol.
        assert!(answer.is_empty() || answer[0] == 21, "{listener}: {}", answer.escape_ascii());
    }
    greets(&mut place.connect("amqps")).unwrap();
}

#[test]
fn a_client_that_does_not_finish_its_handshake_is_closed_in_time() {
    let place = start_with(|config| config.limits.handshake_timeout_ms = 200);
    let silent = plain(place.node.listener("amqps"));
    let mut half = plain(place.node.listener("mqtts"));
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    for mut stream in [silent, half] {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("closed");
        assert!(answer.is_empty() || answer[0] == 21, "an alert at most: {}", answer.escape_ascii());
    }
    // So is one that has agreed on TLS and says nothing above it.
    let mut idle = place.connect("amqps");
    while idle.conn.is_handshaking() {
        idle.conn.complete_io(&mut idle.sock).unwrap();
    }
    assert_eq!(idle.read(&mut [0; 64]).unwrap(), 0, "closed, as TLS says it");
}

#[test]
fn a_client_without_a_certificate_of_use_is_let_in_where_none_is_required() {
    let place = start_with(|config| {
        config.tls.as_mut().unwrap().client_certificates = Some(ClientCertificates::Require);
    });
    let other = Authority::new("clients");
    let expired = place.clients.issue(|params| {
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2_019, 1, 1), rcgen::date_time_ymd(2_020, 1, 1));
    });
    let early = place.clients.issue(|params| params.not_before = rcgen::date_time_ymd(3_999, 1, 1));
    let own_key = KeyPair::generate().unwrap();
    let self_signed =
        CertificateParams::new(vec!["sensor".to_owned()]).unwrap().self_signed(&own_key).unwrap();
    let self_signed = Identity { certificate: self_signed.pem(), key: own_key.serialize_pem() };
    let server_only = place.clients.issue(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let refused = [
        ("none", None),
        ("of another authority with the same name", Some(other.client("sensor"))),
        ("expired", Some(expired)),
        ("not good yet", Some(early)),
        ("self-signed", Some(self_signed)),
        ("for servers alone", Some(server_only)),
    ];
    for (what, identity) in refused {
        let mut stream = secure(place.node.listener("amqps"), Arc::new(place.client(identity.as_ref())));
        let error = greets(&mut stream).expect_err(what);
        assert!(matches!(error.kind(), ErrorKind::InvalidData), "{what}: {error} tells why");
    }
    assert_eq!(place.handshakes("failed"), 6.0);

    let identity = place.clients.client("sensor-1");
    let mut stream = secure(place.node.listener("amqps"), Arc::new(place.client(Some(&identity))));
    greets(&mut stream).unwrap();
    let connections = place.connections();
    assert_eq!(connections.len(), 1, "{connections:?}");
    let subject = connections[0]["tls"]["subject"].as_str().unwrap();
    assert!(subject.contains("CN=sensor-1"), "{subject}");
    assert_eq!(connections[0]["tls"]["fingerprint"].as_str().unwrap().len(), 64);
}

#[test]
fn certificates_are_asked_for_or_not() {
    let ask = |wanted| {
        let place = start_with(|config| {
            config.tls.as_mut().unwrap().client_certificates = wanted;
        });
        let mut without = place.connect("amqps");
        greets(&mut without).unwrap();
        drop(without);
        // Signed by the fleet's own authority.
        let admin = place.authority.client("mq-admin");
        let mut with = secure(place.node.listener("amqps"), Arc::new(place.client(Some(&admin))));
        greets(&mut with).unwrap();
        wait_for("one connection", || {
            let connections = place.connections();
            (connections.len() == 1).then(|| connections[0]["tls"]["subject"].as_str().map(str::to_owned))
        })
    };
    assert_eq!(ask(Some(ClientCertificates::None)), None);
    assert!(ask(None).unwrap().contains("mq-admin"), "with authorities they are");
}

#[test]
fn the_admin_api_knows_the_fleet_s_administrator_by_his_certificate_and_nobody_by_that_of_others() {
    let place = start_with(|config| config.authentication.anonymous = Where::Never);
    let ask = |identity: Option<&Identity>| {
        let mut http = secure(place.node.listener("https"), Arc::new(place.client(identity)));
        http.write_all(b"GET /api/v1/addresses HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        http.read_to_end(&mut answer).expect("an end that TLS knows of");
        parse(&answer).status
    };
    assert_eq!(ask(Some(&place.authority.client("mq-admin"))), 200);
    assert_eq!(ask(Some(&place.authority.client("sensor-1"))), 401, "another certificate of the fleet");
    assert_eq!(ask(Some(&place.clients.client("mq-admin"))), 401, "the name alone is worth nothing");
    assert_eq!(ask(None), 401);
    assert_eq!(get(place.node.http, "/api/v1/addresses").status, 401);
    assert_eq!(get(place.node.http, "/livez").status, 200);
}

#[test]
fn the_oldest_version_is_a_setting() {
    let place = start_with(|config| config.tls.as_mut().unwrap().min_version = TlsVersion::Tls13);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let old = place.client_of(builder.with_protocol_versions(&[&TLS12]).unwrap(), None);
    assert!(greets(&mut secure(place.node.listener("amqps"), Arc::new(old))).is_err());
    greets(&mut place.connect("amqps")).unwrap();
}

#[test]
fn a_client_of_another_protocol_has_come_to_the_wrong_port() {
    let place = start();
    let connect = |protocol: &str| {
        let mut config = place.client(None);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        greets(&mut secure(place.node.listener("amqps"), Arc::new(config)))
    };
    connect("amqp").unwrap();
    assert!(connect("http/1.1").is_err());
}

#[test]
fn a_client_that_comes_back_does_not_begin_anew() {
    let place = start();
    let config = Arc::new(place.client(None));
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        let mut stream = secure(place.node.listener("amqps"), config.clone());
        greets(&mut stream).unwrap();
        assert_eq!(stream.conn.handshake_kind(), Some(expected));
    }
    assert_eq!((place.handshakes("full"), place.handshakes("resumed")), (1.0, 2.0));
}

#[test]
fn a_certificate_that_is_replaced_counts_for_new_connections_alone() {
    let place = start();
    let shown = || {
        let mut stream = place.connect("amqps");
        greets(&mut stream).unwrap();
        let certificate = stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
        (certificate, stream)
    };
    let (first, mut old) = shown();
    let expiry = place.metric("mq_tls_certificate_expiry_seconds");
    assert!(expiry > 6.4e10, "the year 4000: {expiry}");
    write(
        place.directory.path(),
        &place.authority.issue(|params| {
            params.not_after = rcgen::date_time_ymd(3_500, 1, 1);
        }),
    );
    let second = wait_for("the new certificate", || {
        let (found, _) = shown();
        (found != first).then_some(found)
    });
    assert!(place.metric("mq_tls_certificate_expiry_seconds") < expiry);
    let node = get(place.node.http, "/api/v1/node").json();
    assert!(node["certificate"]["expires"].as_str().unwrap().starts_with("3500-01-01"), "{node}");
    // The one that is there goes on: an empty frame is a sign of life.
    old.write_all(b"\x00\x00\x00\x08\x02\x00\x00\x00").unwrap_or_else(|error| panic!("{error}"));

    std::fs::write(place.directory.path().join("server.pem"), "no certificate").unwrap();
    wait_for("the failure to be counted", || {
        (place.metric("mq_tls_reload_failures_total") >= 1.0).then_some(())
    });
    assert_eq!(shown().0, second, "the one before stays in use");
}

#[test]
fn the_end_of_a_connection_is_told() {
    let place = start();
    let mut stream = place.connect("amqps");
    // A header that is no one's: it is answered with ours, and closed (AMQP 2.2).
    stream.write_all(b"HTTP/1.1").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the end is no truncation");
    assert_eq!(answer, AMQP);
}

#[test]
fn a_certificate_that_is_revoked_lets_nobody_in_and_ends_what_it_has_opened() {
    let crl = |place: &Path, issuer: &Authority, revoked: &[u64]| {
        std::fs::write(place.join("crl.pem"), issuer.revoke(revoked)).unwrap();
    };
    let strangers = Authority::new("strangers");
    let place = start_with(|config| {
        crl(&config.state_dir, &strangers, &[7, 8]);
        config.tls.as_mut().unwrap().client_crl = Some("crl.pem".into());
    });
    let [lost, kept] = [7_u64, 8].map(|number| {
        let identity = place.clients.issue(|params| params.serial_number = Some(number.into()));
        Arc::new(place.client(Some(&identity)))
    });
    let connect = |config: &Arc<ClientConfig>| secure(place.node.listener("amqps"), config.clone());
    let mut opened = [connect(&lost), connect(&kept)];
    for stream in &mut opened {
        greets(stream).expect("numbers of another authority mean nothing");
    }
    assert_eq!(place.connections().len(), 2);

    crl(place.directory.path(), &place.clients, &[7]);
    wait_for("the connection is closed", || (place.connections().len() == 1).then_some(()));
    let [closed, _] = &mut opened;
    let mut rest = Vec::new();
    // The end comes with or without a goodbye.
    let _ = closed.read_to_end(&mut rest);
    assert!(greets(&mut connect(&lost)).is_err(), "with a ticket or without");
    assert!(greets(&mut connect(&kept)).is_ok());
    assert!(place.metric("mq_tls_revocation_list_expiry_seconds") > 4e9);

    std::fs::write(place.directory.path().join("crl.pem"), "nothing").unwrap();
    wait_for("the failure", || (place.metric("mq_tls_reload_failures_total") >= 1.0).then_some(()));
    assert!(greets(&mut connect(&lost)).is_err(), "what was there before stays in use");
}

#[test]
fn a_service_is_asked_about_the_user_whom_a_certificate_names() {
    let service = Service::start(|question| {
        let is_known = question["user"] == "sensor-1" && question["certificate"]["subject"] == "CN=sensor-1";
        Some((200, json!({ "allow": is_known, "grants": ["send:up/#"] })))
    });
    let place = start_with(|config| {
        config.authentication.anonymous = Where::Never;
        service.configure(config);
    });
    let connack = |identity: Option<&Identity>| {
        let mut mqtt = secure(place.node.listener("mqtts"), Arc::new(place.client(identity)));
        mqtt.write_all(&connect_packet("c"))?;
        let mut answer = [0; 4];
        mqtt.read_exact(&mut answer).map(|()| answer[3])
    };
    assert_eq!(connack(Some(&place.clients.client("sensor-1"))).unwrap(), 0);
    for name in ["sensor-2", "mq-admin", "anonymous"] {
        assert_ne!(connack(Some(&place.clients.client(name))).unwrap_or(5), 0, "{name}");
    }
    assert_ne!(connack(None).unwrap_or(5), 0);
    let asked = service.asked();
    let users: Vec<_> = asked.iter().map(|question| question["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["sensor-1", "sensor-2"]);
    assert!(asked.iter().all(|question| question.get("password").is_none()), "{asked:?}");
}

#[test]
fn the_node_does_not_start_with_files_of_no_use() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("fleet");
    let (one, other) = (authority.issue(|_| {}), authority.issue(|_| {}));
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("ca.pem"), &authority.pem).unwrap();
    let refusal = |certificate: &str, key: &str, ca: &str| {
        std::fs::write(path("server.pem"), certificate).unwrap();
        std::fs::write(path("server.key"), key).unwrap();
        let mut config = config(directory.path());
        config.listeners.amqps = Some(ListenerConfig::loopback(0));
        config.tls = Some(Tls {
            certificate: "server.pem".into(),
            key: "server.key".into(),
            client_ca: Some(ca.into()),
            client_crl: None,
            fleet_ca: None,
            client_certificates: None,
            min_version: TlsVersion::Tls12,
            names: Vec::new(),
        });
        let log = mqd::log::build(&Default::default(), false, std::io::sink).unwrap().1;
        match mqd::app::App::build(config, log) {
            Ok(_) => panic!("it starts"),
            Err(error) => error.to_string(),
        }
    };
    let mismatch = refusal(&one.certificate, &other.key, "ca.pem");
    assert!(mismatch.contains("tls.certificate and tls.key"), "{mismatch}");
    let empty = refusal("", &one.key, "ca.pem");
    assert!(empty.contains("server.pem") && empty.contains("tls.certificate"), "{empty}");
    let no_key = refusal(&one.certificate, &one.certificate, "ca.pem");
    assert!(no_key.contains("server.key") && no_key.contains("tls.key"), "{no_key}");
    let nowhere = refusal(&one.certificate, &one.key, "nowhere.pem");
    assert!(nowhere.contains("nowhere.pem") && nowhere.contains("tls.client-ca"), "{nowhere}");
}

/// A publication of MQTT 3.1.1 with QoS 0 (3.3).
fn publish(topic: &str, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x30];
    let mut left = 2 + topic.len() + body.len();
    while left >= 0x80 {
        packet.push(0x80 | (left & 0x7f) as u8);
        left >>= 7;
    }
    packet.push(left as u8);
    packet.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
    packet.extend(topic.as_bytes());
    packet.extend(body);
    packet
}

/// Sends publications over one stream and reads them from another; what came.
fn through(
    publisher: &mut (impl Read + Write + Send),
    subscriber: &mut (impl Read + Write),
    sent: &[u8],
) -> Vec<u8> {
    for (name, stream) in
        [("p", &mut *publisher as &mut dyn ReadWrite), ("s", subscriber as &mut dyn ReadWrite)]
    {
        stream.write_all(&connect_packet(name)).unwrap();
        assert_eq!(read_exactly(&mut &mut *stream, 4), [0x20, 2, 0, 0]);
    }
    subscriber.write_all(b"\x82\x06\x00\x01\x00\x01t\x00").unwrap();
    assert_eq!(read_exactly(subscriber, 5), [0x90, 3, 0, 1, 0]);
    let received = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| publisher.write_all(sent).unwrap());
        *received.lock().unwrap() = read_exactly(subscriber, sent.len());
    });
    received.into_inner().unwrap()
}

#[test]
fn messages_large_and_small_come_over_tls_as_they_do_without() {
    let place = start();
    let body = |size: usize| (0..size).map(|index| (index % 251) as u8).collect::<Vec<_>>();
    let small: Vec<u8> =
        (0..10_000).flat_map(|number| publish("t", format!("{number}").as_bytes())).collect();
    for sent in [small, publish("t", &body(900_000)), publish("t", &body(16 << 10))] {
        let over_tls = through(&mut place.connect("mqtts"), &mut place.connect("mqtts"), &sent);
        let mixed = through(&mut place.connect("mqtts"), &mut plain(place.node.listener("mqtt")), &sent);
        assert!(over_tls == sent && mixed == sent, "{} bytes", sent.len());
    }
}

/// Creates a user who has no password.
fn create_user(place: &Place, name: &str) {
    let user = serde_json::json!({
        "user": {
            "apiVersion": "mq.dev/v1",
            "kind": "User",
            "metadata": { "name": name },
            "spec": { "grants": ["send:#"] },
        },
    });
    let answer = support::send_json(place.node.http, "POST", "/api/v1/users", &user);
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// A frame, as it comes.
fn read_frame(stream: &mut impl Read) -> Vec<u8> {
    let size = read_exactly(stream, 4);
    let count = u32::from_be_bytes(size.try_into().unwrap()) as usize;
    read_exactly(stream, count - 4)
}

/// Says who the client is with the certificate that it has shown (AMQP 5.3); gives the code of the outcome.
fn log_in_externally(stream: &mut Secure) -> u8 {
    stream.write_all(b"AMQP\x03\x01\x00\x00").unwrap();
    assert_eq!(read_exactly(stream, 8), b"AMQP\x03\x01\x00\x00");
    let mechanisms = read_frame(stream);
    assert!(mechanisms.windows(8).any(|name| name == b"EXTERNAL"), "{}", mechanisms.escape_ascii());
    let init = b"\x00\x53\x41\xc0\x0d\x02\xa3\x08EXTERNAL\xa0\x00";
    let size = u32::try_from(8 + init.len()).unwrap().to_be_bytes();
    stream.write_all(&[&size[..], &[2, 1, 0, 0], init].concat()).unwrap();
    let outcome = read_frame(stream);
    let code = outcome.windows(2).find(|pair| pair[0] == 0x50).unwrap_or_else(|| panic!("{outcome:?}"));
    code[1]
}

#[test]
fn a_certificate_says_who_its_client_is() {
    let place = start();
    create_user(&place, "sensor-1");
    let known = Arc::new(place.client(Some(&place.clients.client("sensor-1"))));
    let stranger = Arc::new(place.client(Some(&place.clients.client("sensor-2"))));

    let mut amqp = secure(place.node.listener("amqps"), known.clone());
    assert_eq!(log_in_externally(&mut amqp), 0);
    greets(&mut amqp).unwrap();
    let mut refused = secure(place.node.listener("amqps"), stranger.clone());
    assert_eq!(log_in_externally(&mut refused), 1);

    let mut mqtt = secure(place.node.listener("mqtts"), known);
    mqtt.write_all(&connect_packet("known")).unwrap();
    assert_eq!(read_exactly(&mut mqtt, 4), [0x20, 2, 0, 0]);
    // On loopback who is nobody's may come in as nobody.
    let mut other = secure(place.node.listener("mqtts"), stranger);
    other.write_all(&connect_packet("stranger")).unwrap();
    assert_eq!(read_exactly(&mut other, 4), [0x20, 2, 0, 0]);
    let user = |client: &str| {
        let connections = place.connections();
        let found = connections.iter().find(|found| found["container"] == client).unwrap();
        found["user"].as_str().unwrap().to_owned()
    };
    assert_eq!((user("known").as_str(), user("stranger").as_str()), ("sensor-1", "anonymous"));
}
