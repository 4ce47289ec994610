//! A real `mqd` on free ports, and what it costs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

pub(crate) struct Daemon {
    child: Launched,
    pub(crate) amqp: SocketAddr,
    pub(crate) mqtt: SocketAddr,
    http: SocketAddr,
    /// Where AMQP is spoken over TLS, and whom clients trust then.
    pub(crate) secure: Option<(SocketAddr, Arc<ClientConfig>)>,
    state: tempfile::TempDir,
}

impl Daemon {
    pub(crate) fn start(binary: &Path, workers: u16) -> Result<Self> {
        let state = tempfile::tempdir()?;
        let config = state.path().join("mqd.yaml");
        let text = format!(
            "state-dir: {}\nworkers: {workers}\nlisteners:\n  amqp: {{host: 127.0.0.1, port: 0}}\n  \
             mqtt: {{host: 127.0.0.1, port: 0}}\n  http: {{host: 127.0.0.1, port: 0}}\nlog: {{filter: warn}}\n",
            state.path().join("state").display()
        );
        std::fs::write(&config, text)?;
        let (child, [amqp, mqtt, http]) = launch(binary, &state)?;
        Ok(Self { child, amqp, mqtt, http, secure: None, state })
    }

    /// A daemon that speaks AMQP with TLS and without.
    pub(crate) fn start_secure(binary: &Path, workers: u16) -> Result<Self> {
        let (state, authority) = (tempfile::tempdir()?, Authority::new()?);
        authority.issue("localhost", state.path())?;
        let text = format!(
            "state-dir: {}\nworkers: {workers}\nlisteners:\n  amqp: {{host: 127.0.0.1, port: 0}}\n  \
             amqps: {{host: 127.0.0.1, port: 0}}\n  mqtt: {{host: 127.0.0.1, port: 0}}\n  \
             http: {{host: 127.0.0.1, port: 0}}\ntls: {{certificate: {folder}/node.pem, key: {folder}/node.key}}\n\
             log: {{filter: warn}}\n",
            state.path().join("state").display(),
            folder = state.path().display(),
        );
        std::fs::write(state.path().join("mqd.yaml"), text)?;
        let (child, [amqp, mqtt, http]) = launch(binary, &state)?;
        let runtime = wait_for(&state.path().join("state/node.json"), child.0.id())?;
        let secure = Some((listener(&runtime, "name", "amqps")?, Arc::new(authority.trusted()?)));
        Ok(Self { child, amqp, mqtt, http, secure, state })
    }

    /// Nodes that are neighbours, each of each other, started at once.
    pub(crate) fn start_fleet(binary: &Path, workers: u16, count: usize) -> Result<Vec<Self>> {
        let authority = Authority::new()?;
        let meshes = free_addresses(count)?;
        let mut spawned = Vec::new();
        for (index, mesh) in meshes.iter().enumerate() {
            let (name, state) = (format!("node-{}", index + 1), tempfile::tempdir()?);
            authority.issue(&name, state.path())?;
            let others = meshes.iter().take(index);
            let connect: Vec<String> =
                others.map(|other| format!("{{host: {}, port: {}}}", other.ip(), other.port())).collect();
            let text = format!(
                "fleet: bench\nnode: {name}\nstate-dir: {}\nworkers: {workers}\nlisteners:\n  \
                 amqp: {{host: 127.0.0.1, port: 0}}\n  mqtt: {{host: 127.0.0.1, port: 0}}\n  \
                 http: {{host: 127.0.0.1, port: 0}}\nmesh:\n  listen: {{host: 127.0.0.1, port: {port}}}\n  \
                 connect: [{connect}]\n  tls: {{ca: {folder}/ca.pem, certificate: {folder}/node.pem, \
                 key: {folder}/node.key}}\nlog: {{filter: warn}}\n",
                state.path().join("state").display(),
                port = mesh.port(),
                connect = connect.join(", "),
                folder = state.path().display(),
            );
            std::fs::write(state.path().join("mqd.yaml"), text)?;
            spawned.push((Launched(spawn(binary, &state)?), state));
        }
        spawned
            .into_iter()
            .map(|(launched, state)| {
                let [amqp, mqtt, http] = listeners(&state, launched.0.id())?;
                Ok(Self { child: launched, amqp, mqtt, http, secure: None, state })
            })
            .collect()
    }

    /// How many nodes of the fleet can be reached, this one included, as the node sees it.
    pub(crate) fn nodes_up(&self) -> Result<usize> {
        let mut stream = TcpStream::connect(self.http)?;
        write!(stream, "GET /api/v1/mesh HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.http)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body =
            answer.find('{').and_then(|start| answer.get(start..)).context("an answer without a body")?;
        let mesh: serde_json::Value = serde_json::Deserializer::from_str(body)
            .into_iter()
            .next()
            .context("an answer without a document")??;
        let nodes = mesh["nodes"].as_array().context("a fleet without nodes")?;
        Ok(nodes.iter().filter(|node| node["state"] == "up").count())
    }

    /// Where the daemon keeps what it stores: on the same disk.
    pub(crate) fn directory(&self) -> &Path {
        self.state.path()
    }

    /// Kills the daemon and starts it again on what it has left; says how long it takes until it serves.
    pub(crate) fn restart(&mut self, binary: &Path) -> Result<Duration> {
        self.child.0.kill()?;
        self.child.0.wait()?;
        let begun = Instant::now();
        (self.child, [self.amqp, self.mqtt, self.http]) = launch(binary, &self.state)?;
        Ok(begun.elapsed())
    }

    /// Creates an address through the admin API.
    pub(crate) fn create(&self, name: &str, kind: &str) -> Result<()> {
        self.create_with(name, &format!(r#"{{"type":"{kind}"}}"#))
    }

    /// The same with all that is to be said of it, as JSON.
    pub(crate) fn create_with(&self, name: &str, spec: &str) -> Result<()> {
        self.put(&format!("addresses/{name}"), "Address", name, spec)
    }

    /// Creates an address space with addresses of this kind.
    pub(crate) fn create_space(&self, space: &str, addresses: &[&str], kind: &str) -> Result<()> {
        self.put(&format!("spaces/{space}"), "AddressSpace", space, "{}")?;
        let spec = format!(r#"{{"type":"{kind}"}}"#);
        addresses.iter().try_for_each(|name| {
            self.put(&format!("spaces/{space}/addresses/{name}"), "Address", name, &spec)
        })
    }

    fn put(&self, path: &str, kind: &str, name: &str, spec: &str) -> Result<()> {
        let body = format!(
            r#"{{"apiVersion":"mq.dev/v1","kind":"{kind}","metadata":{{"name":"{name}"}},"spec":{spec}}}"#
        );
        let mut stream = TcpStream::connect(self.http)?;
        write!(
            stream,
            "PUT /api/v1/{path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.http,
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let mut status = String::new();
        reader.read_line(&mut status)?;
        if status.contains(" 201 ") || status.contains(" 200 ") {
            return Ok(());
        }
        let mut rest = String::new();
        let _ = reader.read_to_string(&mut rest);
        bail!("cannot create {path}: {status} {rest}")
    }

    /// User and system time of all threads so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut total = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.0.id()))? {
            // Nanoseconds on a CPU: finer than the ticks of stat.
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            total += text.split_whitespace().next().context("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// A line of /proc/PID/status in KiB, such as `VmRSS`.
    pub(crate) fn memory_kib(&self, line: &str) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.0.id()))?;
        let found = text.lines().find(|candidate| candidate.starts_with(line)).context("no such line")?;
        Ok(found.split_whitespace().nth(1).context("no number")?.parse()?)
    }

    /// Forgets the highest resident size so far.
    pub(crate) fn reset_peak(&self) -> Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.child.0.id()), "5")?)
    }
}

/// Addresses that nobody listens on, with ports below those that the system gives to connections: nodes that
/// have started already take many of these.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    let start = u16::try_from(std::process::id() % 10_000)?;
    let candidates = PORTS.skip(start.into()).chain(PORTS);
    let addresses = candidates.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let free: Vec<_> = addresses.filter(|address| TcpListener::bind(address).is_ok()).take(count).collect();
    if free.len() < count {
        bail!("there are not {count} free ports from {} to {}", PORTS.start, PORTS.end);
    }
    Ok(free)
}

/// A process that ends with its owner.
struct Launched(Child);

impl Drop for Launched {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who signs the certificates of a fleet.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Writes what a node shows to others into a folder.
    fn issue(&self, node: &str, folder: &Path) -> Result<()> {
        let params = CertificateParams::new(vec![format!("{node}.bench.mq.internal"), node.to_owned()])?;
        let key = KeyPair::generate()?;
        std::fs::write(folder.join("ca.pem"), &self.certificate)?;
        std::fs::write(folder.join("node.pem"), params.signed_by(&key, &self.issuer)?.pem())?;
        Ok(std::fs::write(folder.join("node.key"), key.serialize_pem())?)
    }
}

impl Authority {
    /// A client that trusts it.
    fn trusted(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes())?)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
    }
}

/// Starts a daemon, waits until it serves, and says where it speaks AMQP, MQTT and HTTP.
fn launch(binary: &Path, state: &tempfile::TempDir) -> Result<(Launched, [SocketAddr; 3])> {
    let child = Launched(spawn(binary, state)?);
    let addresses = listeners(state, child.0.id())?;
    Ok((child, addresses))
}

fn spawn(binary: &Path, state: &tempfile::TempDir) -> Result<Child> {
    Command::new(binary)
        .arg("--config")
        .arg(state.path().join("mqd.yaml"))
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))
}

/// Where a daemon speaks AMQP, MQTT and HTTP, once it serves.
fn listeners(state: &tempfile::TempDir, pid: u32) -> Result<[SocketAddr; 3]> {
    let runtime = wait_for(&state.path().join("state/node.json"), pid)?;
    Ok([port(&runtime, "amqp")?, port(&runtime, "mqtt")?, port(&runtime, "http")?])
}

/// The first listener of a protocol, which is the one without TLS.
fn port(runtime: &serde_json::Value, protocol: &str) -> Result<SocketAddr> {
    listener(runtime, "protocol", protocol)
}

fn listener(runtime: &serde_json::Value, field: &str, value: &str) -> Result<SocketAddr> {
    let listeners = runtime["listeners"].as_array().context("node.json has no listeners")?;
    let listener = listeners.iter().find(|listener| listener[field] == value).context("no listener")?;
    let host = listener["host"].as_str().context("no host")?;
    Ok(format!("{host}:{}", listener["port"]).parse()?)
}

fn wait_for(path: &Path, pid: u32) -> Result<serde_json::Value> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        // One of a daemon that was killed names another process.
        if let Ok(text) = std::fs::read_to_string(path)
            && let Ok(runtime) = serde_json::from_str::<serde_json::Value>(&text)
            && runtime["pid"] == pid
        {
            return Ok(runtime);
        }
        if Instant::now() > deadline {
            bail!("mqd did not write {} within 60 s", path.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
