//! A relay on loopback between two programs, whose link can break the ways links do: it closes, it falls
//! silent, it becomes slow.
//!
//! Silence is what pulled cables and dropped packets look like: both ends keep their connections, nothing gets
//! through, and nobody is told. What was said during a silence arrives when it ends, in order, as TCP's
//! retransmissions would have it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Chunks under way in one direction of a connection; with more the reader waits, as behind a full pipe.
const UNDER_WAY: usize = 256;

/// A relay. Dropping it closes every connection.
#[derive(Debug)]
pub struct Proxy {
    server: SocketAddr,
    link: Arc<Link>,
}

/// What befalls the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// They arrive after so long.
    Passing(Duration),
    /// They do not arrive.
    Silent,
    /// There are no connections.
    Closed,
}

#[derive(Debug)]
struct Link {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    weather: Weather,
    /// Connections of an earlier age are over.
    age: u64,
    sockets: Vec<TcpStream>,
    is_over: bool,
}

impl Proxy {
    /// A relay to `target`, on a port that the system picks.
    ///
    /// # Panics
    /// When there is no port.
    pub fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let server = listener.local_addr().expect("the socket is bound");
        let state = State {
            target,
            weather: Weather::Passing(Duration::ZERO),
            age: 0,
            sockets: Vec::new(),
            is_over: false,
        };
        let link = Arc::new(Link { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = link.clone();
        thread::spawn(move || accept_all(&listener, &accepting));
        Self { server, link }
    }

    /// Where to connect to.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Closes every connection and lets no new one live, until [`heal`](Self::heal).
    pub fn close(&self) {
        self.link.change(Weather::Closed, true);
    }

    /// Closes every connection; new ones are welcome.
    pub fn reset(&self) {
        let weather = self.link.state().weather;
        self.link.change(weather, true);
    }

    /// Lets nothing through, and says nothing about it, until [`heal`](Self::heal).
    pub fn silence(&self) {
        self.link.change(Weather::Silent, false);
    }

    /// Lets everything arrive so much later, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.link.change(Weather::Passing(delay), false);
    }

    /// Everything is as in the beginning.
    pub fn heal(&self) {
        self.delay(Duration::ZERO);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.state().is_over = true;
        self.link.change(Weather::Closed, true);
        // Wakes who accepts.
        drop(TcpStream::connect(self.server));
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, weather: Weather, ends_connections: bool) {
        let mut state = self.state();
        state.weather = weather;
        if ends_connections {
            state.age += 1;
            for socket in state.sockets.drain(..) {
                // Closed by its own ends already is as good.
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
        self.changed.notify_all();
    }

    /// Waits for the end of a silence; `None` when the connections of this age are over.
    fn wait_for_passage(&self, age: u64) -> Option<SocketAddr> {
        let state = self.state();
        let is_silent = |state: &mut State| state.age == age && state.weather == Weather::Silent;
        let state = self.changed.wait_while(state, is_silent).unwrap_or_else(PoisonError::into_inner);
        (state.age == age && state.weather != Weather::Closed).then_some(state.target)
    }

    fn delay(&self) -> Duration {
        match self.state().weather {
            Weather::Passing(delay) => delay,
            Weather::Silent | Weather::Closed => Duration::ZERO,
        }
    }

    /// Remembers the sockets of a connection, to end them; `false` when it is over already.
    fn keep(&self, age: u64, sockets: [&TcpStream; 2]) -> bool {
        let mut state = self.state();
        if state.age != age || state.weather == Weather::Closed {
            return false;
        }
        state.sockets.extend(sockets.into_iter().flat_map(TcpStream::try_clone));
        true
    }
}

fn accept_all(listener: &TcpListener, link: &Arc<Link>) {
    for client in listener.incoming() {
        let (age, is_over, weather) = {
            let state = link.state();
            (state.age, state.is_over, state.weather)
        };
        if is_over {
            return;
        }
        let Ok(client) = client else { continue };
        if weather == Weather::Closed {
            continue;
        }
        let link = link.clone();
        thread::spawn(move || {
            // Whoever ends a connection is told by its end alone.
            let _ = relay(&link, age, &client);
        });
    }
}

fn relay(link: &Arc<Link>, age: u64, client: &TcpStream) -> std::io::Result<()> {
    let Some(target) = link.wait_for_passage(age) else { return Ok(()) };
    let server = TcpStream::connect(target)?;
    for socket in [client, &server] {
        socket.set_nodelay(true)?;
    }
    if !link.keep(age, [client, &server]) {
        return Ok(());
    }
    let back = (server.try_clone()?, client.try_clone()?);
    let there = (client.try_clone()?, server);
    for (from, to) in [there, back] {
        let (sender, chunks) = sync_channel(UNDER_WAY);
        let (reading, writing) = (link.clone(), link.clone());
        thread::spawn(move || read_all(&reading, from, &sender));
        thread::spawn(move || write_all(&writing, age, to, &chunks));
    }
    Ok(())
}

fn read_all(link: &Link, mut from: TcpStream, chunks: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if chunks.send((Instant::now() + link.delay(), buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}

fn write_all(link: &Link, age: u64, mut to: TcpStream, chunks: &Receiver<(Instant, Vec<u8>)>) {
    for (due, chunk) in chunks {
        // The delay is the point: nothing is waited for here.
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if link.wait_for_passage(age).is_none() || to.write_all(&chunk).is_err() {
            break;
        }
    }
    // The end of a connection is news like any other.
    link.wait_for_passage(age);
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says everything back.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let server = listener.local_addr().expect("the socket is bound");
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut writer = socket.try_clone().expect("a socket can be shared");
                    std::io::copy(&mut &socket, &mut writer)
                });
            }
        });
        server
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let client = TcpStream::connect(proxy.server()).expect("the relay accepts");
        client.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        client
    }

    fn says(mut client: &TcpStream, text: &str) -> std::io::Result<String> {
        client.write_all(text.as_bytes())?;
        let mut answer = vec![0; text.len()];
        client.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    #[test]
    fn what_is_said_in_a_silence_arrives_after_it_and_in_order() {
        let proxy = Proxy::new(echo());
        let mut client = connect(&proxy);
        assert_eq!(says(&client, "before").unwrap(), "before");
        proxy.silence();
        client.write_all(b"dur").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let error = client.read(&mut [0]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        client.write_all(b"ing").unwrap();
        proxy.heal();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"during");
    }

    #[test]
    fn a_closed_link_has_no_connections_until_it_heals() {
        let proxy = Proxy::new(echo());
        let client = connect(&proxy);
        assert_eq!(says(&client, "x").unwrap(), "x");
        proxy.close();
        assert!(says(&client, "x").is_err());
        assert!(says(&connect(&proxy), "x").is_err());
        proxy.heal();
        assert_eq!(says(&connect(&proxy), "x").unwrap(), "x");
    }

    #[test]
    fn a_reset_ends_what_is_connected_and_nothing_else() {
        let proxy = Proxy::new(echo());
        let client = connect(&proxy);
        assert_eq!(says(&client, "x").unwrap(), "x");
        proxy.reset();
        assert!(says(&client, "x").is_err());
        assert_eq!(says(&connect(&proxy), "x").unwrap(), "x");
    }

    #[test]
    fn a_slow_link_is_slow_in_each_direction() {
        let proxy = Proxy::new(echo());
        proxy.delay(Duration::from_millis(30));
        let client = connect(&proxy);
        let begin = Instant::now();
        assert_eq!(says(&client, "x").unwrap(), "x");
        assert!(begin.elapsed() >= Duration::from_millis(60));
    }
}
