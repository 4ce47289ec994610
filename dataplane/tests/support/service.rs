//! A service that is asked over HTTP who users are.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use mq_model::config::DaemonConfig;
use serde_json::{Value, json};

/// What it makes of a question: status and body, or nothing at all.
pub(crate) type Judge = fn(&Value) -> Option<(u16, Value)>;

pub(crate) struct Service {
    url: String,
    judge: Arc<Mutex<Judge>>,
    asked: Arc<Mutex<Vec<Value>>>,
}

/// Lets those in who know the word, as administrators.
pub(crate) fn open_sesame(question: &Value) -> Option<(u16, Value)> {
    let allow = question["password"] == "sesame";
    Some((200, json!({ "allow": allow, "roles": ["admin"] })))
}

impl Service {
    /// Answers on a port of its own until the process ends.
    pub(crate) fn start(judge: Judge) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/who", listener.local_addr().unwrap());
        let (judge, asked) = (Arc::new(Mutex::new(judge)), Arc::default());
        let service = Self { url, judge, asked };
        let (judge, asked) = (service.judge.clone(), service.asked.clone());
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                let question = read(&stream);
                let answer = judge.lock().unwrap()(&question);
                asked.lock().unwrap().push(question);
                match answer {
                    Some((status, body)) => say(stream, status, &body.to_string()),
                    None => silent.push(stream),
                }
            }
        });
        service
    }

    pub(crate) fn judge_by(&self, judge: Judge) {
        *self.judge.lock().unwrap() = judge;
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    /// Has a node ask it about everything, and remember as little as may be.
    pub(crate) fn configure(&self, config: &mut DaemonConfig) {
        let asks = ["password", "token", "certificate"];
        let http = json!({ "url": self.url, "asks": asks, "timeout": 500, "allowed": 0, "denied": 0 });
        config.authentication.http = Some(serde_json::from_value(http).unwrap());
    }
}

fn read(stream: &TcpStream) -> Value {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap_or_default()
}

fn say(mut stream: TcpStream, status: u16, body: &str) {
    let length = body.len();
    // Whoever has waited too long is gone.
    let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
}
