//! The daemon as a process: what it prints, how it ends, what it leaves behind.

mod support;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

use mq_model::admin::Protocol;
use rustix::process::Signal;
use support::{Place, address_of, anycast, delete, get, http_of, send_json, silent_client, wait_for};

const ADDRESSES: &str = "/api/v1/addresses";

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mqd")).args(arguments).output().unwrap()
}

fn names(http: std::net::SocketAddr) -> Vec<String> {
    let list = get(http, ADDRESSES).json();
    let items = list["items"].as_array().unwrap().iter();
    let created = items.filter(|address| address["status"]["builtIn"] != true);
    created.map(|address| address["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sigterm_ends_a_node_cleanly_and_takes_its_announcement_away() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let mut node = place.start();
        node.wait_ready();
        node.signal(signal);
        let (status, log) = node.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!place.runtime_file().exists());
    }
}

#[test]
fn the_log_of_a_process_is_one_json_object_per_line() {
    let place = Place::new();
    let mut node = place.start();
    node.wait_ready();
    node.signal(Signal::TERM);
    let (_, log) = node.wait();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let messages: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    assert!(messages.contains(&"serving") && messages.contains(&"stopped"), "{messages:?}");
}

#[test]
fn what_was_created_is_there_after_a_kill() {
    let place = Place::new();
    let mut node = place.start();
    let http = http_of(&node.wait_ready());
    for number in 0..50 {
        let created = send_json(http, "POST", ADDRESSES, &anycast(&format!("a{number:02}")));
        assert_eq!(created.status, 201, "{created:?}");
    }
    assert_eq!(delete(http, &format!("{ADDRESSES}/a07")).status, 204);
    node.signal(Signal::KILL);
    node.wait();
    assert!(place.runtime_file().exists(), "a killed node cannot take its announcement away");

    let mut node = place.start();
    let http = http_of(&node.wait_ready());
    let expected: Vec<String> =
        (0..50).filter(|number| *number != 7).map(|number| format!("a{number:02}")).collect();
    assert_eq!(names(http), expected);
}

#[test]
fn a_kill_while_addresses_are_being_created_loses_none_that_was_confirmed() {
    let place = Place::new();
    let mut node = place.start();
    let http = http_of(&node.wait_ready());
    let creator = std::thread::spawn(move || {
        let mut confirmed = Vec::new();
        for number in 0.. {
            let name = format!("a{number:05}");
            let body = serde_json::to_vec(&anycast(&name)).unwrap();
            let head = format!(
                "POST {ADDRESSES} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let Ok(mut stream) = TcpStream::connect(http) else { return confirmed };
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            let mut answer = Vec::new();
            let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
            if answer.starts_with(b"HTTP/1.1 201") {
                confirmed.push(name);
            }
        }
        unreachable!("the node was not killed")
    });
    // The next one is created when the one before has been confirmed.
    wait_for("some addresses", || (names(http).len() > 20).then_some(()));
    node.signal(Signal::KILL);
    node.wait();
    let confirmed = creator.join().unwrap();

    let mut node = place.start();
    let found = names(http_of(&node.wait_ready()));
    assert!(confirmed.len() >= 20);
    let lost: Vec<&String> = confirmed.iter().filter(|name| !found.contains(name)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(found.len() <= confirmed.len() + 1, "only the last one may be there without an answer");
}

#[test]
fn damaged_objects_keep_the_node_from_starting_and_are_named() {
    let place = Place::new();
    let mut node = place.start();
    let http = http_of(&node.wait_ready());
    for name in ["a", "b"] {
        assert_eq!(send_json(http, "POST", ADDRESSES, &anycast(name)).status, 201);
    }
    node.signal(Signal::TERM);
    node.wait();
    let journal = place.state().join("objects/addresses.journal");
    let mut content = std::fs::read(&journal).unwrap();
    let middle = content.len() - 40;
    content[middle] ^= 1;
    std::fs::write(&journal, &content).unwrap();
    let (status, log) = place.start().wait();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("addresses.journal") && log.contains("damaged at offset"), "{log}");
    assert_eq!(std::fs::read(&journal).unwrap(), content, "nothing was thrown away");
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_left_behind() {
    let place = Place::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    place.configure(|config| config.listeners.amqp.port = port);
    let (status, log) = place.start().wait();
    assert_eq!(status.code(), Some(1));
    let expected = format!(
        "cannot bind 127.0.0.1:{port}: address in use; stop the other listener or set listeners.amqp.port"
    );
    assert!(log.contains(&expected), "{log}");
    assert!(!place.runtime_file().exists());

    drop(other);
    place.configure(|_| {});
    place.start().wait_ready();
}

#[test]
fn a_second_daemon_on_the_same_state_directory_is_refused() {
    let place = Place::new();
    let mut first = place.start();
    let announced = first.wait_ready();
    let (status, log) = place.start().wait();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains(&format!("another mqd (pid {}) uses the state directory", first.pid())), "{log}");
    // The first one is as it was.
    assert_eq!(first.wait_ready(), announced);
    assert_eq!(get(http_of(&announced), "/readyz").status, 200);
}

#[test]
fn a_stale_announcement_is_replaced() {
    let place = Place::new();
    std::fs::create_dir_all(place.state()).unwrap();
    std::fs::write(place.runtime_file(), "{ not even json").unwrap();
    std::fs::write(place.state().join("mqd.lock"), "1\n").unwrap();
    let mut node = place.start();
    // The stale file is gone before the new one is there.
    wait_for("the stale announcement to go", || {
        let content = std::fs::read_to_string(place.runtime_file()).unwrap_or_default();
        (!content.starts_with("{ not")).then_some(())
    });
    assert_eq!(node.wait_ready().node, "node-1");
}

#[test]
fn a_second_signal_ends_a_draining_node_at_once() {
    let place = Place::new();
    place.configure(|config| config.drain_seconds = 3_600);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut node = place.start();
        let amqp = address_of(&node.wait_ready(), Protocol::Amqp);
        let _client = silent_client(amqp);
        node.signal(signal);
        wait_for("the node to drain", || TcpStream::connect(amqp).is_err().then_some(()));
        node.signal(signal);
        let (status, log) = node.wait();
        assert_eq!(status.code(), Some(code), "{log}");
        assert!(!place.runtime_file().exists());
    }
}

#[test]
fn a_node_out_of_files_recovers_when_connections_end() {
    let place = Place::new();
    let mut node = place.start_with_file_limit(64);
    let runtime = node.wait_ready();
    let (http, amqp) = (http_of(&runtime), address_of(&runtime, Protocol::Amqp));
    let clients: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(amqp).unwrap()).collect();
    drop(clients);
    wait_for("the node to answer again", || {
        let answer = get(http, "/metrics");
        let exhausted =
            answer.text().lines().find(|line| line.contains("out-of-resources")).map(str::to_owned);
        exhausted.filter(|line| !line.ends_with(" 0")).map(drop)
    });
    assert_eq!(get(http, "/readyz").status, 200);
}

#[test]
fn a_valid_configuration_is_called_valid() {
    let place = Place::new();
    let file = place.file();
    let output = run(&["--check-config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}: valid\n", file.display()));
    assert!(!place.state().exists(), "checking leaves no trace");
}

#[test]
fn every_problem_of_a_configuration_is_printed_with_its_place() {
    let place = Place::new();
    let file = place.file();
    let text = "state-dir: /tmp/x\nworkers: 1000\nlisteners:\n  amqp: { port: 5672 }\n  htpp: { port: 1 }\n";
    std::fs::write(&file, text).unwrap();
    let checked = run(&["--check-config", file.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(2));
    let problems = String::from_utf8(checked.stderr).unwrap();
    for place in ["2:10", "5:3"] {
        assert!(problems.contains(&format!("{}:{place}", file.display())), "{place} in {problems}");
    }
    assert!(checked.stdout.is_empty());

    let served = run(&["--config", file.to_str().unwrap()]);
    assert_eq!(served.status.code(), Some(2), "it does not start with it either");
    assert_eq!(String::from_utf8(served.stderr).unwrap(), problems);
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let output = run(&["--config", "/nowhere/mqd.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr).unwrap().contains("cannot read the configuration /nowhere/mqd.yaml")
    );
}

#[test]
fn a_log_filter_that_is_not_valid_is_a_configuration_error() {
    let place = Place::new();
    let output = run(&["--config", place.file().to_str().unwrap(), "--log-filter", "mqd=loudest"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("mqd=loudest"));
}

#[test]
fn the_command_line_wants_one_file() {
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["--config", "a", "--check-config", "b"]).status.code(), Some(2));
    let version = run(&["--version"]);
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("mqd {}\n", env!("CARGO_PKG_VERSION")));
}
