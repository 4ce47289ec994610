//! A client of MQTT that does exactly what a test writes.
//!
//! Packets are written as the standard shows them: hexadecimal bytes, and text between apostrophes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::wait::{PATIENCE, eventually};

/// A packet: its first byte, and what follows the remaining length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

/// A socket, and packets on it.
#[derive(Debug)]
pub struct RawMqtt {
    stream: TcpStream,
    input: VecDeque<u8>,
}

/// Bytes as the standard shows them: `00 01 't' 7f`.
///
/// # Panics
/// When it is something else.
#[track_caller]
pub fn hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, part) in text.split('\'').enumerate() {
        if number % 2 == 1 {
            bytes.extend_from_slice(part.as_bytes());
        } else {
            let digits = part.split_whitespace();
            bytes.extend(digits.map(|digits| u8::from_str_radix(digits, 16).expect("two digits")));
        }
    }
    bytes
}

/// A packet as bytes.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let more = left >= 0x80;
        bytes.push((left & 0x7f) as u8 | if more { 0x80 } else { 0 });
        left >>= 7;
        if !more {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// A packet whose body is written as the standard shows it.
#[track_caller]
pub fn written(first: u8, body: &str) -> Vec<u8> {
    packet(first, &hex(body))
}

/// A text with its length.
pub fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// A CONNECT of version 5.0 with a clean start; `properties` as the standard shows them.
#[track_caller]
pub fn connect_5(client: &str, properties: &str) -> Vec<u8> {
    let properties = hex(properties);
    let length = u8::try_from(properties.len()).expect("few properties");
    packet(0x10, &[&hex("00 04 'MQTT' 05 02 00 00")[..], &[length], &properties, &string(client)].concat())
}

/// A CONNECT of version 3.1.1 with a clean session.
pub fn connect_3(client: &str) -> Vec<u8> {
    packet(0x10, &[&hex("00 04 'MQTT' 04 02 00 00")[..], &string(client)].concat())
}

/// A PUBLISH of version 5.0 without properties.
pub fn publish_5(topic: &str, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let id = if qos > 0 { id.to_be_bytes().to_vec() } else { Vec::new() };
    packet(0x30 | qos << 1, &[&string(topic)[..], &id, &[0], payload].concat())
}

/// A SUBSCRIBE of version 5.0 to one filter, without properties.
pub fn subscribe_5(id: u16, filter: &str, options: u8) -> Vec<u8> {
    packet(0x82, &[&id.to_be_bytes()[..], &[0], &string(filter), &[options]].concat())
}

impl RawMqtt {
    /// Connects the socket and says nothing.
    ///
    /// # Panics
    /// When nothing listens.
    #[track_caller]
    pub fn open(server: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&server, PATIENCE).expect("the daemon accepts connections");
        stream.set_nodelay(true).expect("a socket takes options");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes options");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket takes options");
        Self { stream, input: VecDeque::new() }
    }

    /// Connects with version 5.0, and is let in.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn connect_5(server: SocketAddr, client: &str, properties: &str) -> Self {
        let mut raw = Self::open(server);
        raw.send(&connect_5(client, properties));
        let answer = raw.expect(0x20);
        assert_eq!(answer.body[1], 0, "{answer:02x?}");
        raw
    }

    /// Connects with version 3.1.1, and is let in.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn connect_3(server: SocketAddr, client: &str) -> Self {
        let mut raw = Self::open(server);
        raw.send(&connect_3(client));
        assert_eq!(raw.expect(0x20).body, [0, 0]);
        raw
    }

    /// How long reading may take.
    pub fn set_patience(&mut self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a socket takes options");
        self.stream.set_write_timeout(Some(patience)).expect("a socket takes options");
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// When the daemon does not take them.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Writes bytes.
    ///
    /// # Panics
    /// When the daemon does not take them.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the daemon reads");
    }

    /// The next packet; `None` at the end of the stream.
    ///
    /// # Errors
    /// When none comes in the time of patience, or the connection is reset.
    pub fn try_read(&mut self) -> io::Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.next_packet() {
                return Ok(Some(packet));
            }
            let mut buffer = [0; 16 << 10];
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                assert!(self.input.is_empty(), "the stream ends inside a packet: {:02x?}", self.input);
                return Ok(None);
            }
            self.input.extend(&buffer[..count]);
        }
    }

    fn next_packet(&mut self) -> Option<Packet> {
        let (mut length, mut header) = (0_usize, 1);
        loop {
            let byte = *self.input.get(header)?;
            length |= usize::from(byte & 0x7f) << (7 * (header - 1));
            header += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if self.input.len() < header + length {
            return None;
        }
        let bytes: Vec<u8> = self.input.drain(..header + length).collect();
        Some(Packet { first: bytes[0], body: bytes[header..].to_vec() })
    }

    /// The next packet.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn read(&mut self) -> Packet {
        match self.try_read() {
            Ok(Some(packet)) => packet,
            Ok(None) => panic!("the stream ends"),
            Err(error) => panic!("no packet: {error}"),
        }
    }

    /// The next packet, which has this first byte.
    ///
    /// # Panics
    /// When it has another, or none comes.
    #[track_caller]
    pub fn expect(&mut self, first: u8) -> Packet {
        let packet = self.read();
        assert_eq!(packet.first, first, "{packet:02x?}");
        packet
    }

    /// The stream ends, in order and without another packet.
    ///
    /// # Panics
    /// When it does not: a reset is no such end, since it may destroy what was said before.
    #[track_caller]
    pub fn expect_end(&mut self) {
        match self.try_read() {
            Ok(None) => {}
            Ok(Some(packet)) => panic!("another packet: {packet:02x?}"),
            Err(error) => panic!("no end: {error}"),
        }
    }

    /// The daemon disconnects with this reason (version 5.0), and the stream ends.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn expect_disconnect(&mut self, reason: u8) {
        let packet = self.expect(0xe0);
        assert_eq!(packet.body.first().copied().unwrap_or(0), reason, "{packet:02x?}");
        self.expect_end();
    }

    /// A ping is answered: all that was sent before is done with.
    ///
    /// # Panics
    /// When something else comes first.
    #[track_caller]
    pub fn ping(&mut self) {
        self.send(&[0xc0, 0]);
        assert_eq!(self.read(), Packet { first: 0xd0, body: Vec::new() });
    }

    /// Subscribes with version 5.0 and is granted something.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn subscribe_5(&mut self, filter: &str, options: u8) {
        self.send(&subscribe_5(1, filter, options));
        let answer = self.expect(0x90);
        assert_eq!(answer.body.last().copied(), Some(options & 3), "{answer:02x?}");
    }

    /// Says that nothing more will be written.
    pub fn shut(&self) {
        // The daemon may have gone first.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Whether the daemon reads nothing more within the time of patience.
    pub fn is_stopped_by(&mut self, bytes: &[u8], times: usize) -> bool {
        (0..times).any(|_| {
            self.try_send(bytes)
                .is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
        })
    }
}

/// A client that sends itself messages through the daemon all the time, while others misbehave.
#[derive(Debug)]
pub struct MqttWitness {
    exchanged: Arc<AtomicU64>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MqttWitness {
    /// Starts to exchange messages.
    pub fn start(server: SocketAddr) -> Self {
        let exchanged = Arc::new(AtomicU64::new(0));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (count, stop) = (exchanged.clone(), is_stopped.clone());
        let thread = thread::spawn(move || {
            let mut raw = RawMqtt::connect_5(server, "witness", "");
            raw.subscribe_5("witness", 1);
            let mut id: u16 = 1;
            while !stop.load(Ordering::Relaxed) {
                raw.send(&publish_5("witness", 1, id, b"undisturbed"));
                let mut packets = [raw.read(), raw.read()];
                packets.sort_by_key(|packet| packet.first);
                assert_eq!((packets[0].first, packets[1].first), (0x32, 0x40), "{packets:02x?}");
                assert!(packets[0].body.ends_with(b"undisturbed"));
                let own = &packets[0].body[9..11];
                raw.send(&packet(0x40, own));
                id = id % 1_000 + 1;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { exchanged, is_stopped, thread: Some(thread) }
    }

    /// Waits until more messages have been exchanged.
    ///
    /// # Panics
    /// When that does not happen.
    #[track_caller]
    pub fn is_undisturbed(&self) {
        let before = self.exchanged.load(Ordering::Relaxed);
        eventually("more messages of the witness", || {
            let ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
            assert!(!ended, "the witness was disturbed");
            (self.exchanged.load(Ordering::Relaxed) >= before + 20).then_some(())
        });
    }
}

impl Drop for MqttWitness {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the witness was disturbed");
        }
    }
}
