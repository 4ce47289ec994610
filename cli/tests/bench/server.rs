//! A target that treats every message as it is told: it passes on, drops, doubles, delays, ...

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
use mq_cli::bench::result::Wire;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{amqp, mqtt};

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
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    pub(crate) wire: Wire,
    /// By the number of the message, counted from 0.
    pub(crate) treat: fn(u64) -> Treatment,
    /// Credit for a sender; none when zero, which MQTT does not have.
    pub(crate) credit: u32,
    /// Every attach, and every subscription, is refused.
    pub(crate) refuses: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { wire: Wire::Amqp, treat: |_| Treatment::Pass, credit: 10_000, refuses: false }
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
            clients: Vec::new(),
            messages: Messages { behaviour, taken: 0, waiting: VecDeque::new(), held: None },
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

/// A connection of the target.
pub(crate) trait Client: Send {
    fn stream(&self) -> &TcpStream;

    /// Reads what came and answers it; messages go to `messages`.
    fn turn(&mut self, messages: &mut Messages);

    /// Delivers the message when the client takes it now; false when it does not.
    fn deliver(&mut self, message: &Message) -> bool;

    fn write(&mut self);

    fn is_gone(&self) -> bool;
}

/// A message on its way through the target.
#[derive(Clone)]
pub(crate) struct Message {
    /// Where it goes; `None` goes to any consumer.
    pub(crate) topic: Option<String>,
    pub(crate) payload: Bytes,
    /// What MQTT says about an answer: the topic and the correlation data.
    pub(crate) answer: Option<(String, Bytes)>,
}

/// What the target has taken.
pub(crate) struct Messages {
    behaviour: Behaviour,
    taken: u64,
    /// To be delivered, in order of time.
    waiting: VecDeque<(Instant, Message)>,
    /// To be delivered behind the next one.
    held: Option<Message>,
}

impl Messages {
    pub(crate) fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    /// How the next message is treated.
    pub(crate) fn treatment(&mut self) -> Treatment {
        self.taken += 1;
        (self.behaviour.treat)(self.taken - 1)
    }

    pub(crate) fn take(&mut self, treatment: Treatment, mut message: Message) {
        let now = Instant::now();
        match treatment {
            Treatment::Pass => self.waiting.push_back((now, message)),
            Treatment::Double => self.waiting.extend([(now, message.clone()), (now, message)]),
            Treatment::Delay(delay) => self.waiting.push_back((now + delay, message)),
            Treatment::Swap => {
                self.held = Some(message);
                return;
            }
            Treatment::Corrupt => {
                let mut changed = message.payload.to_vec();
                *changed.last_mut().unwrap() ^= 0xff;
                message.payload = changed.into();
                self.waiting.push_back((now, message));
            }
            Treatment::Drop | Treatment::Release | Treatment::Reject | Treatment::Modify | Treatment::Cut => {
                return;
            }
        }
        self.waiting.extend(self.held.take().map(|held| (now, held)));
    }
}

struct Target {
    listener: TcpListener,
    clients: Vec<Box<dyn Client>>,
    messages: Messages,
}

impl Target {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            while let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(true).unwrap();
                stream.set_nodelay(true).unwrap();
                self.clients.push(match self.messages.behaviour.wire {
                    Wire::Amqp => Box::new(amqp::Client::new(stream)),
                    Wire::Mqtt => Box::new(mqtt::Client::new(stream, self.messages.behaviour)),
                });
            }
            for client in &mut self.clients {
                client.turn(&mut self.messages);
            }
            self.deliver();
            for client in &mut self.clients {
                client.write();
            }
            self.clients.retain(|client| !client.is_gone());
            self.wait();
        }
    }

    fn wait(&self) {
        let mut waits = vec![PollFd::new(&self.listener, PollFlags::IN)];
        waits.extend(self.clients.iter().map(|client| PollFd::new(client.stream(), PollFlags::IN)));
        let until = self.messages.waiting.front().map_or(Duration::from_millis(5), |(due, _)| {
            due.saturating_duration_since(Instant::now())
                .clamp(Duration::from_micros(100), Duration::from_millis(5))
        });
        let timeout = Timespec { tv_sec: 0, tv_nsec: until.subsec_nanos().into() };
        poll(&mut waits, Some(&timeout)).unwrap();
    }

    /// Delivers what is due, to the first that takes it.
    fn deliver(&mut self) {
        while let Some((due, message)) = self.messages.waiting.front() {
            if *due > Instant::now() || !self.clients.iter_mut().any(|client| client.deliver(message)) {
                return;
            }
            self.messages.waiting.pop_front();
        }
    }
}

/// Writes what an engine has, as far as the socket takes it; false when the client has gone.
pub(crate) fn write_out<E>(
    stream: &mut TcpStream,
    engine: &mut E,
    slices: for<'a> fn(&'a E, &mut [IoSlice<'a>]) -> usize,
    written: fn(&mut E, Instant, usize),
) -> bool {
    loop {
        let mut parts = [IoSlice::new(&[]); 16];
        let used = slices(engine, &mut parts);
        if used == 0 {
            return true;
        }
        match stream.write_vectored(&parts[..used]) {
            Ok(count) => written(engine, Instant::now(), count),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Reads what is there; false when the client has gone.
pub(crate) fn read_in(stream: &mut TcpStream, input: &mut BytesMut) -> bool {
    let mut buffer = [0; 64 << 10];
    match stream.read(&mut buffer) {
        Ok(count) => {
            input.extend_from_slice(&buffer[..count]);
            count > 0
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
