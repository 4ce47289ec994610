//! A relay of bytes that can stand still.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// Relays connections to a target. Its threads end with the connections they serve.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    stands_until: Arc<Mutex<Option<Instant>>>,
}

impl Proxy {
    pub(crate) fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), stands_until: Arc::default() };
        let accepting = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else {
                    return;
                };
                for (from, into) in [(&client, &server), (&server, &client)] {
                    let (from, into, proxy) =
                        (from.try_clone().unwrap(), into.try_clone().unwrap(), accepting.clone());
                    into.set_nodelay(true).unwrap();
                    thread::spawn(move || proxy.relay(from, into));
                }
            }
        });
        proxy
    }

    /// Nothing is relayed for so long.
    pub(crate) fn stall(&self, time: Duration) {
        *self.stands_until.lock().unwrap() = Some(Instant::now() + time);
    }

    fn relay(&self, mut from: TcpStream, mut into: TcpStream) {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let until = *self.stands_until.lock().unwrap();
            if let Some(left) = until.and_then(|until| until.checked_duration_since(Instant::now())) {
                // The fault itself, not a wait for something.
                thread::sleep(left);
            }
            if into.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = into.shutdown(Shutdown::Both);
    }
}
