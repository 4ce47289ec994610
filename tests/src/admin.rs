//! A client of the admin API: one request, one connection, no library.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use mq_model::admin::{Connection, Link, List, Node, Statistics};
use mq_model::manifest::{Address, AddressSpec, AddressType};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::wait::{PATIENCE, eventually};

/// What the admin API answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none of this type.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the answer {}: {}", self.status, self.body))
    }
}

/// The admin API of one node.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    server: SocketAddr,
}

impl Admin {
    pub fn new(server: SocketAddr) -> Self {
        Self { server }
    }

    /// Where the API listens.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Panics
    /// When nothing answers, or something that is not HTTP.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.exchange(method, path, body).unwrap_or_else(|error| {
            panic!("{method} {path} at {}: {error}", self.server);
        });
        parsed(&answer).unwrap_or_else(|| panic!("{method} {path} was not answered in HTTP: {answer:?}"))
    }

    /// What is read there; `None` while nobody answers.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        parsed(&self.exchange("GET", path, None).ok()?)
    }

    fn exchange(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let (server, length) = (self.server, body.len());
        // HTTP/1.0 keeps chunks and kept-alive connections out of the answer.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {server}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// `GET` below `/api/v1`.
    ///
    /// # Panics
    /// When the answer is not 200 with this type.
    #[track_caller]
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let answer = self.request("GET", &format!("/api/v1{path}"), None);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.json()
    }

    /// Creates an address with every default.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create(&self, name: &str, kind: AddressType) {
        self.create_with(name, AddressSpec::new(kind));
    }

    /// Creates an address.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create_with(&self, name: &str, spec: AddressSpec) {
        let document = serde_json::to_value(Address::new(name, spec)).expect("addresses have a JSON form");
        let answer = self.request("POST", "/api/v1/addresses", Some(&document));
        assert_eq!(answer.status, 201, "creating {name}: {}", answer.body);
    }

    /// The names of the addresses.
    #[track_caller]
    pub fn addresses(&self) -> Vec<String> {
        let addresses: List<Address> = self.get("/addresses");
        addresses.items.into_iter().map(|address| address.metadata.name).collect()
    }

    #[track_caller]
    pub fn node(&self) -> Node {
        self.get("/node")
    }

    #[track_caller]
    pub fn statistics(&self) -> Statistics {
        self.get("/statistics")
    }

    #[track_caller]
    pub fn connections(&self) -> Vec<Connection> {
        self.get::<List<Connection>>("/connections").items
    }

    #[track_caller]
    pub fn links(&self) -> Vec<Link> {
        self.get::<List<Link>>("/links").items
    }

    /// Waits for the connection of a container.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn connection_of(&self, container: &str) -> Connection {
        eventually(&format!("a connection of {container}"), || {
            self.connections().into_iter().find(|connection| connection.container == container)
        })
    }

    /// Waits for a link of an address.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn link_of(&self, address: &str) -> Link {
        eventually(&format!("a link of {address}"), || {
            self.links().into_iter().find(|link| link.address.as_deref() == Some(address))
        })
    }
}

fn parsed(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}
