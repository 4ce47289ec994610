//! An AMQP target that treats every message as it is told: it passes on, drops, doubles, delays, ...

use std::{
    collections::VecDeque,
    io::{ErrorKind, IoSlice, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use mq_amqp::{
    Config, Connection, Event, Events, LinkKey, Outgoing, Side, Terms, condition,
    performative::{Attach, DeliveryState, Error, Role, SaslCode, Tag},
    value::{Symbol, Text},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    Pass,
    /// Accepted and never delivered.
    Drop,
    /// Delivered twice.
    Double,
    /// Delivered behind the next one.
    Swap,
    /// Delivered with a byte changed.
    Corrupt,
    /// Delivered later.
    Delay(Duration),
    /// Not delivered, and the sender is told so.
    Release,
    Reject,
    Modify,
    /// The sender's connection is cut.
    Cut,
}

/// How the target behaves.
pub(crate) struct Behaviour {
    /// By the number of the message, counted from 0.
    pub(crate) treat: fn(u64) -> Treatment,
    /// Credit for a sender; none when zero.
    pub(crate) credit: u32,
    /// Every attach is refused.
    pub(crate) refuses: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { treat: |_| Treatment::Pass, credit: 10_000, refuses: false }
    }
}

/// A target on loopback; it ends with the value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let target = Target {
            listener,
            behaviour,
            clients: Vec::new(),
            taken: 0,
            waiting: VecDeque::new(),
            held: None,
        };
        let thread = thread::spawn({
            let stop = stop.clone();
            move || target.run(&stop)
        });
        Self { address, stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking(), "the target panicked");
        }
    }
}

struct Client {
    stream: TcpStream,
    engine: Connection,
    input: BytesMut,
    events: Events,
    /// Links that we deliver on.
    consumers: Vec<LinkKey>,
    delivered: u64,
    is_gone: bool,
}

struct Target {
    listener: TcpListener,
    behaviour: Behaviour,
    clients: Vec<Client>,
    taken: u64,
    /// To be delivered, in order of time.
    waiting: VecDeque<(Instant, Bytes)>,
    /// To be delivered behind the next one.
    held: Option<Bytes>,
}

impl Target {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            while let Ok((stream, _)) = self.listener.accept() {
                self.clients.push(Client::new(stream));
            }
            for index in 0..self.clients.len() {
                self.turn(index);
            }
            self.deliver();
            for client in &mut self.clients {
                client.write();
            }
            self.clients.retain(|client| !client.is_gone);
            self.wait();
        }
    }

    fn wait(&self) {
        let mut waits = vec![PollFd::new(&self.listener, PollFlags::IN)];
        waits.extend(self.clients.iter().map(|client| PollFd::new(&client.stream, PollFlags::IN)));
        let until = self.waiting.front().map_or(Duration::from_millis(5), |(due, _)| {
            due.saturating_duration_since(Instant::now())
                .clamp(Duration::from_micros(100), Duration::from_millis(5))
        });
        let timeout = Timespec { tv_sec: 0, tv_nsec: until.subsec_nanos().into() };
        poll(&mut waits, Some(&timeout)).unwrap();
    }

    fn turn(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.read();
        while let Some(event) = client.events.pop_front() {
            match event {
                Event::SaslInit { .. } => client.engine.sasl_outcome(SaslCode::Ok).unwrap(),
                Event::Opened(_) => client.engine.open().unwrap(),
                Event::LinkAttached { link, attach } => client.attached(link, *attach, &self.behaviour),
                Event::Transfer(transfer) => {
                    client.engine.consume(transfer.delivery.session(), 1).unwrap();
                    assert!(!transfer.more, "the tests send one frame per message");
                    let treatment = (self.behaviour.treat)(self.taken);
                    self.taken += 1;
                    let state = match treatment {
                        Treatment::Release => DeliveryState::Released,
                        Treatment::Reject => DeliveryState::Rejected(None),
                        Treatment::Modify => DeliveryState::Modified {
                            delivery_failed: Some(true),
                            undeliverable_here: None,
                            annotations: None,
                        },
                        Treatment::Cut => {
                            client.is_gone = true;
                            return;
                        }
                        _ => DeliveryState::Accepted,
                    };
                    if !transfer.settled {
                        client.engine.settle(Role::Receiver, transfer.delivery, Some(state), true).unwrap();
                    }
                    client.engine.grant(transfer.link, 1).unwrap();
                    treat(treatment, transfer.payload, &mut self.waiting, &mut self.held);
                }
                _ => {}
            }
            client.take_input();
        }
    }

    /// Delivers what is due, to each consumer in turn.
    fn deliver(&mut self) {
        while self.waiting.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let Some((client, link)) = self.clients.iter_mut().find_map(|client| {
                let engine = &client.engine;
                let link =
                    client.consumers.iter().copied().find(|link| engine.credit(*link).unwrap_or(0) > 0)?;
                Some((client, link))
            }) else {
                return;
            };
            let (_, payload) = self.waiting.pop_front().unwrap();
            let tag = Tag::from(client.delivered);
            client.delivered += 1;
            let outgoing = Outgoing { tag, token: 0, settled: true, message_format: 0, payload, more: false };
            client.engine.send(link, outgoing).unwrap();
        }
    }
}

fn treat(
    treatment: Treatment,
    payload: Bytes,
    waiting: &mut VecDeque<(Instant, Bytes)>,
    held: &mut Option<Bytes>,
) {
    let now = Instant::now();
    match treatment {
        Treatment::Pass => waiting.push_back((now, payload)),
        Treatment::Double => waiting.extend([(now, payload.clone()), (now, payload)]),
        Treatment::Delay(delay) => waiting.push_back((now + delay, payload)),
        Treatment::Swap => {
            *held = Some(payload);
            return;
        }
        Treatment::Corrupt => {
            let mut changed = payload.to_vec();
            *changed.last_mut().unwrap() ^= 0xff;
            waiting.push_back((now, changed.into()));
        }
        Treatment::Drop | Treatment::Release | Treatment::Reject | Treatment::Modify | Treatment::Cut => {
            return;
        }
    }
    waiting.extend(held.take().map(|held| (now, held)));
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        let config = Config {
            container_id: Text::from("faulty"),
            mechanisms: vec![Symbol::from("ANONYMOUS")],
            ..Config::default()
        };
        let engine = Connection::new(Arc::new(config), Side::Server, Instant::now());
        let (input, events) = (BytesMut::new(), Events::new());
        Self { stream, engine, input, events, consumers: Vec::new(), delivered: 0, is_gone: false }
    }

    fn attached(&mut self, link: LinkKey, attach: Attach, behaviour: &Behaviour) {
        if behaviour.refuses {
            self.engine.refuse(link, Error::new(condition::NOT_FOUND, "no such address")).unwrap();
            return;
        }
        let terms = Terms { source: attach.source, target: attach.target, ..Terms::default() };
        self.engine.accept(link, terms, 0).unwrap();
        match attach.role {
            Role::Receiver => self.consumers.push(link),
            Role::Sender if behaviour.credit > 0 => self.engine.grant(link, behaviour.credit).unwrap(),
            Role::Sender => {}
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
