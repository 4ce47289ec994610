//! Peers that are no `mqd`: a queue behind our own engine, while `mq` speaks through a library, and an admin
//! API that answers from a table.

use std::{
    collections::{HashMap, VecDeque},
    io::{BufRead, BufReader, ErrorKind, IoSlice, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use mq_amqp::{
    Config, Connection, Event, Events, LinkKey, Outgoing, Side, Terms,
    performative::{Attach, DeliveryState, Role, SaslCode, Tag},
    value::{Symbol, Text},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

/// How long a peer waits for something to happen before it looks whether it should end.
const PATIENCE: Duration = Duration::from_millis(5);

/// How a queue behaves.
#[derive(Clone, Default)]
pub(crate) struct Behaviour {
    /// The bodies that it has.
    pub(crate) bodies: Vec<String>,
    /// For each drain, bodies that come between the question and the answer.
    pub(crate) late: Vec<Vec<String>>,
    /// Whether it leaves out of its attach what it was asked for: distribution mode and filters.
    pub(crate) is_deaf: bool,
}

/// What a queue has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) container: String,
    pub(crate) attach: Option<Attach>,
    pub(crate) sent: usize,
    pub(crate) accepted: usize,
    pub(crate) released: usize,
    pub(crate) drains: usize,
    /// Whether the link was closed, or only detached.
    pub(crate) closed: Option<bool>,
}

/// A queue on loopback, for one client at a time; it ends with the value.
pub(crate) struct Queue {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _thread: Thread,
}

impl Queue {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let thread = Thread::start(listener, {
            let seen = Arc::clone(&seen);
            move |stream, stop| Client::new(stream, behaviour.clone(), &seen).run(stop)
        });
        Self { address, seen, _thread: thread }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

/// A thread that serves one connection after the other.
struct Thread {
    stop: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    fn start(listener: TcpListener, serve: impl Fn(TcpStream, &AtomicBool) + Send + 'static) -> Self {
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let handle = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((stream, _)) => serve(stream, &stop),
                        Err(_) => readable(&listener),
                    }
                }
            }
        });
        Self { stop, handle: Some(handle) }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(handle) = self.handle.take() {
            let result = handle.join();
            assert!(result.is_ok() || thread::panicking(), "the peer panicked");
        }
    }
}

/// Waits until there is something to read, or for a moment.
fn readable(source: impl std::os::fd::AsFd) {
    let timeout = Timespec { tv_sec: 0, tv_nsec: PATIENCE.subsec_nanos().into() };
    poll(&mut [PollFd::new(&source, PollFlags::IN)], Some(&timeout)).unwrap();
}

struct Client<'a> {
    stream: TcpStream,
    engine: Connection,
    input: BytesMut,
    events: Events,
    bodies: VecDeque<String>,
    late: VecDeque<Vec<String>>,
    is_deaf: bool,
    link: Option<LinkKey>,
    seen: &'a Mutex<Seen>,
    is_gone: bool,
}

impl<'a> Client<'a> {
    fn new(stream: TcpStream, behaviour: Behaviour, seen: &'a Mutex<Seen>) -> Self {
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        let config = Config {
            container_id: Text::from("queue"),
            mechanisms: vec![Symbol::from("ANONYMOUS")],
            ..Config::default()
        };
        Self {
            stream,
            engine: Connection::new(Arc::new(config), Side::Server, Instant::now()),
            input: BytesMut::new(),
            events: Events::new(),
            bodies: behaviour.bodies.into(),
            late: behaviour.late.into(),
            is_deaf: behaviour.is_deaf,
            link: None,
            seen,
            is_gone: false,
        }
    }

    fn run(mut self, stop: &AtomicBool) {
        while !self.is_gone && !stop.load(Ordering::Relaxed) {
            self.read();
            while let Some(event) = self.events.pop_front() {
                self.handle(event);
                self.take_input();
            }
            self.deliver();
            self.write();
            readable(&self.stream);
        }
    }

    fn handle(&mut self, event: Event) {
        let mut seen = self.seen.lock().unwrap();
        match event {
            Event::SaslInit { .. } => self.engine.sasl_outcome(SaslCode::Ok, None).unwrap(),
            Event::Opened(open) => {
                open.container_id.as_str().clone_into(&mut seen.container);
                self.engine.open().unwrap();
            }
            Event::LinkAttached { link, attach } => {
                let mut source = attach.source.clone();
                if let Some(source) = source.as_mut().filter(|_| self.is_deaf) {
                    source.distribution_mode = None;
                    source.filter.clear();
                }
                let terms = Terms { source, target: attach.target.clone(), ..Terms::default() };
                self.engine.accept(link, terms, 0).unwrap();
                seen.attach = Some(*attach);
                self.link = Some(link);
            }
            Event::LinkFlow { link, drain: true, .. } => {
                seen.drains += 1;
                drop(seen);
                self.bodies.extend(self.late.pop_front().into_iter().flatten());
                self.deliver();
                self.engine.drained(link).unwrap();
            }
            Event::LinkDetached { closed, .. } => {
                seen.closed = Some(closed);
                self.link = None;
            }
            Event::Disposition { delivery, state, settled, .. } => {
                match state {
                    Some(DeliveryState::Accepted) => seen.accepted += 1,
                    Some(DeliveryState::Released) => seen.released += 1,
                    other => panic!("no such outcome was expected: {other:?}"),
                }
                if !settled {
                    self.engine.settle(Role::Sender, delivery, None, true).unwrap();
                }
            }
            _ => {}
        }
    }

    fn deliver(&mut self) {
        let Some(link) = self.link else { return };
        while self.engine.credit(link).unwrap_or(0) > 0 {
            let Some(body) = self.bodies.pop_front() else { return };
            let mut seen = self.seen.lock().unwrap();
            let tag = Tag::from(seen.sent as u64);
            seen.sent += 1;
            // AMQP 3.2.6: a data section with a short binary.
            let length = u8::try_from(body.len()).unwrap();
            let payload = [&[0x00, 0x53, 0x75, 0xa0, length][..], body.as_bytes()].concat();
            let outgoing = Outgoing {
                tag,
                token: 0,
                settled: false,
                message_format: 0,
                payload: Bytes::from(payload),
                more: false,
            };
            self.engine.send(link, outgoing).unwrap();
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.is_gone = true,
            Ok(count) => self.input.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.is_gone = true,
        }
        self.take_input();
    }

    fn take_input(&mut self) {
        if self.engine.handle_input(Instant::now(), &mut self.input, &mut self.events).is_err() {
            self.is_gone = true;
        }
    }

    fn write(&mut self) {
        self.engine.flush();
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let used = self.engine.slices(&mut slices);
            if used == 0 {
                return;
            }
            match self.stream.write_vectored(&slices[..used]) {
                Ok(count) => self.engine.written(Instant::now(), count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.is_gone = true;
                    return;
                }
            }
        }
    }
}

/// An admin API that answers what it is told, and remembers what it was asked.
pub(crate) struct AdminApi {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    _thread: Thread,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// Method and path, such as `GET /api/v1/node`.
    pub(crate) line: String,
    pub(crate) body: Value,
}

impl AdminApi {
    /// Answers by method and path; everything else is not found.
    pub(crate) fn start(answers: &[(&str, u16, Value)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: HashMap<String, (u16, Value)> =
            answers.iter().map(|(line, status, body)| (line.to_string(), (*status, body.clone()))).collect();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let thread = Thread::start(listener, {
            let requests = Arc::clone(&requests);
            move |stream, _| answer(stream, &answers, &requests)
        });
        Self { url, requests, _thread: thread }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// Reads one request and answers it; the connection ends with the answer.
fn answer(stream: TcpStream, answers: &HashMap<String, (u16, Value)>, requests: &Mutex<Vec<Request>>) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut reader = BufReader::new(&stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let line = head[0].trim_end_matches(" HTTP/1.1").to_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let missing = serde_json::json!({"type": "not-found", "status": 404, "detail": "there is no such thing"});
    let (status, answer) = answers.get(&line).cloned().unwrap_or((404, missing));
    requests.lock().unwrap().push(Request { line, body });
    let answer = if answer.is_null() { String::new() } else { answer.to_string() };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    (&stream).write_all((head + &answer).as_bytes()).unwrap();
}
