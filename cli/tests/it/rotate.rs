//! Another authority for a fleet that runs.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::{
    fleet::{fleet, json, pids},
    sandbox::Sandbox,
};

/// What a node proves itself with, and the port where it takes others.
struct Proof {
    folder: tempfile::TempDir,
}

impl Proof {
    /// What the node has now.
    fn of(sandbox: &Sandbox, node: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in ["node.pem", "node.key"] {
            let from = sandbox.fleet("default").join(node).join("state/tls").join(file);
            fs::copy(from, folder.path().join(file)).unwrap();
        }
        Self { folder }
    }

    /// Whether a node believes whoever shows this, who believes the authorities in `ca`.
    fn is_believed(&self, ca: &Path, port: u16, node: &str) -> bool {
        let file = |name: &str| self.folder.path().join(name);
        let chain = certificates(&file("node.pem"));
        let mut roots = RootCertStore::empty();
        certificates(ca).into_iter().for_each(|ca| roots.add(ca).unwrap());
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(file("node.key")).unwrap())
            .unwrap();
        let name = ServerName::try_from(format!("{node}.default.mq.internal")).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket);
        // One that is believed has its nonsense answered by the end of the connection, others by an alert.
        let _ = stream.write_all(&[0xff; 64 << 10]);
        let read = stream.read(&mut [0; 64]);
        !read.is_err_and(|error| error.to_string().contains("alert"))
    }
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

fn mesh_port(sandbox: &Sandbox, node: &str) -> u16 {
    let shown = json(sandbox, &format!("node show {node}"));
    let mesh = shown["listeners"].as_array().unwrap().iter().find(|listener| listener["protocol"] == "mesh");
    mesh.unwrap()["port"].as_u64().unwrap().try_into().unwrap()
}

#[test]
fn an_authority_is_replaced_under_load_without_a_restart_and_the_old_one_is_refused() {
    let sandbox = fleet(3);
    sandbox.ok("address create jobs --type queue");
    let (old, port) = (Proof::of(&sandbox, "node-1"), mesh_port(&sandbox, "node-2"));
    let ca = sandbox.fleet("default").join("ca/ca.pem");
    assert!(old.is_believed(&ca, port, "node-2"));
    let before = pids(&sandbox);
    let first = fs::read(&ca).unwrap();
    let plan = sandbox.ok("fleet rotate-ca --dry-run");
    assert!(plan.contains("3 nodes  trust both") && plan.ends_with("nothing was changed\n"), "{plan}");
    assert_eq!(fs::read(&ca).unwrap(), first);

    let sender = sandbox.start("send jobs -n 600 --rate 100 --durable -m x");
    let held = sandbox.ok("fleet rotate-ca --hold");
    assert!(held.contains("trust both"), "{held}");
    assert!(old.is_believed(&ca, port, "node-2"), "nobody is refused yet");
    let done = sandbox.ok("fleet rotate-ca");
    assert!(done.ends_with("what the one before has signed is refused\n"), "{done}");

    let new = Proof::of(&sandbox, "node-1");
    assert!(new.is_believed(&ca, port, "node-2"));
    assert!(!old.is_believed(&ca, port, "node-2"), "what the old authority has signed");
    assert_eq!(pids(&sandbox), before, "nobody was restarted");
    let sent = sender.wait_with_output().unwrap();
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(sandbox.ok("recv jobs --until-empty").lines().count(), 600);
    assert!(sandbox.ok("deploy").ends_with("\nunchanged\n"));
    // New links come about with what is there now.
    sandbox.ok("restart node-2 --soak 0");
    assert_eq!(json(&sandbox, "fleet graph")["links"].as_array().unwrap().len(), 3);
    sandbox.ok("scale 4");
    assert_eq!(json(&sandbox, "fleet graph")["links"].as_array().unwrap().len(), 6);
}
