//! The image of the `Containerfile`, run by containerd as a cluster's machines do it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use mq_model::manifest::AddressType;
use mq_tests::admin::Admin;
use mq_tests::containers::{Containers, node_config};
use mq_tests::network::within;
use mq_tests::oci::{Stage, write_image};
use mq_tests::{Authority, Mq, eventually, repository};
use serde_json::Value;

const IMAGE: &str = "registry.test/mq:1";
const NODES: usize = 3;

/// Writes what a node reads, and makes room for what it keeps; both are of the image's user.
fn furnish(containers: &Containers, authority: &Authority, number: usize, user: u32) -> [PathBuf; 2] {
    let own = containers.folder().join(format!("node-{number}"));
    let [etc, data] = ["etc", "data"].map(|name| own.join(name));
    for folder in [&etc, &data] {
        fs::create_dir_all(folder).unwrap();
    }
    let node = format!("node-{number}");
    let lower = (1..number).map(|lower| containers.network().address(lower).to_string());
    let config = node_config(&node, lower, 5_000, |name| format!("/etc/mq/{name}"));
    authority.issue(&node, &etc);
    fs::write(etc.join("mqd.yaml"), serde_json::to_string(&config).unwrap()).unwrap();
    give(&own, user);
    [etc, data]
}

fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), user));
    }
}

/// Who runs a process, in numbers: real, effective and saved user, and that of files (proc_pid_status(5)).
fn users_of(process: u32) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("a process has users");
    line.split_whitespace().map(str::to_owned).collect()
}

/// Whether a process may write to what its root is mounted from (proc_pid_mountinfo(5)).
fn has_writable_root(process: u32) -> bool {
    let mounts = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
    let root = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let root = root.into_iter().find(|fields| fields[4] == "/").expect("a process has a root");
    !root[5].split(',').any(|option| option == "ro")
}

#[test]
fn containers_of_the_image_mesh_and_serve_as_nobody_on_a_root_that_is_not_written_to() {
    let Some(containers) = Containers::new_or_say_why(NODES) else { return };
    let archive = containers.folder().join("image.tar");
    write_image(&archive, IMAGE);
    containers.import(&archive);
    // A daemon without a configuration says how it is used.
    containers.try_image(IMAGE).exits_with(2).says("--config");
    let stage = Stage::read();
    let command = format!("{} --config /etc/mq/mqd.yaml", stage.entrypoint.join(" "));
    let (user, _) = stage.user.split_once(':').expect("user and group");
    let number_of_user: u32 = user.parse().expect("a user that needs no file of users");
    assert_ne!(number_of_user, 0);
    let authority = Authority::new("tests");
    for number in 1..=NODES {
        let [etc, data] = furnish(&containers, &authority, number, number_of_user);
        let folders = [(etc, "/etc/mq:ro"), (data, "/var/lib/mq")];
        containers.run(number, IMAGE, &folders, &command);
    }
    for number in 1..=NODES {
        let process = containers.process(number).expect("the daemon runs");
        assert_eq!(users_of(process), [user; 4]);
        assert!(!has_writable_root(process));
    }

    let at = |number: usize, port: u16| SocketAddr::from((containers.network().address(number), port));
    within(&containers.network().clients(), || {
        let admin = Admin::new(at(1, 8080));
        eventually("the nodes to be one fleet", || {
            let answer = admin.try_get("/api/v1/mesh")?;
            let mesh: Value = serde_json::from_str(&answer.body).ok()?;
            let up = mesh["nodes"].as_array()?.iter().filter(|node| node["state"] == "up").count();
            (up == NODES).then_some(())
        });
        admin.create("orders", AddressType::Queue);
        let mq = Mq::new();
        for number in 1..=NODES {
            mq.run(&format!("send amqp://{}/orders -m from-{number}", at(number, 5672))).succeeds();
        }
        let received = mq.run(&format!("recv amqp://{}/orders -n 3 --timeout 20s", at(3, 5672))).succeeds();
        for number in 1..=NODES {
            assert!(received.stdout.contains(&format!("from-{number}")), "{received:?}");
        }
    });

    // The image has the command line, too, and it needs no home.
    let nodes = containers.execute(2, "/usr/local/bin/mq --admin http://127.0.0.1:8080 node list -o name");
    assert_eq!(nodes.succeeds().lines(), ["node-1", "node-2", "node-3"]);
    for number in 1..=NODES {
        assert_eq!(containers.stop(number), Some(0), "{}", containers.talk(number));
    }
}

#[test]
fn programs_for_both_architectures_are_made_alike_and_the_image_has_those() {
    let read = |name: &str| fs::read_to_string(repository().join(name)).unwrap();
    let aliases = read(".cargo/config.toml");
    let of = |architecture: &str| {
        let (_, rest) = aliases.split_once(&format!("static-{architecture} = [")).expect("an alias");
        rest.split_once("\n]").expect("the end of it").0.to_owned()
    };
    assert_eq!(of("x86_64").replace("x86_64", "aarch64"), of("aarch64"));
    for flag in ["--locked", "--release", "--package=mq", "--package=mqd", "+crt-static"] {
        assert!(of("aarch64").contains(flag), "{flag}");
    }
    assert!(read("Containerfile").contains("cargo \"static-$machine\""));
    assert!(read(".dockerignore").lines().any(|line| line == "!.cargo"));
}
