//! Ports of this machine's loopback whose connections are passed on, each by a way of its own.

use std::{
    io,
    net::Ipv4Addr,
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{AbortHandle, JoinSet},
};

use crate::failure::{Failure, Outcome, reason};

/// Connections through one port at the same time; further ones wait.
const MAX_CONNECTIONS: usize = 256;
/// How long nothing is accepted after that has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Ports here, and what passes on their connections. They end when this is dropped.
#[derive(Debug, Default)]
pub struct Relay {
    /// In the order in which they were added. Nothing else on this machine has them meanwhile.
    pub ports: Vec<u16>,
    tasks: Vec<AbortHandle>,
}

impl Relay {
    /// Adds a port whose connections are given to `pass_on`.
    ///
    /// # Errors
    ///
    /// There is no free port on loopback.
    pub async fn add<F>(&mut self, pass_on: impl Fn(TcpStream) -> F + Send + 'static) -> Outcome
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let unbound = |error: io::Error| {
            Failure::failed(format!("there is no free port on loopback: {}", reason(&error)))
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unbound)?;
        self.ports.push(listener.local_addr().map_err(unbound)?.port());
        self.tasks.push(tokio::spawn(serve(listener, pass_on)).abort_handle());
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Passes on each connection by a task of its own; never ends.
async fn serve<F>(listener: TcpListener, pass_on: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    // Those that are under way end with this.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(pass_on(stream));
                    }
                    // Out of descriptors, most likely: others end meanwhile.
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Copies both ways until both have ended.
pub async fn join(mut near: TcpStream, mut far: impl AsyncRead + AsyncWrite + Unpin) {
    // Whoever connected sees that the connection ends: nothing better can be said in a protocol that is not known
    // here.
    let _ = near.set_nodelay(true);
    let _ = copy_bidirectional(&mut near, &mut far).await;
}

/// What a thread of its own keeps open, for commands that wait for nothing else meanwhile. It has ended when this is
/// dropped.
#[derive(Debug)]
pub struct Kept {
    /// Dropping it ends the thread.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Kept {
    /// Opens something within this time, and keeps the second of what `open` returns. The first is for the caller.
    ///
    /// # Errors
    ///
    /// Those of `open`; `late` when it takes too long.
    pub fn open<T, G, F>(
        within: Duration,
        late: Failure,
        open: impl FnOnce() -> F + Send + 'static,
    ) -> Outcome<(T, Self)>
    where
        T: Send + 'static,
        F: Future<Output = Outcome<(T, G)>>,
    {
        let (end, ended) = oneshot::channel();
        let (say, said) = mpsc::channel();
        let body = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ =
                        say.send(Err(Failure::failed(format!("cannot wait for I/O: {}", reason(&error)))));
                    return;
                }
            };
            runtime.block_on(async {
                match open().await {
                    // Whoever wanted it may have given up.
                    Ok((wanted, _kept)) => {
                        if say.send(Ok(wanted)).is_ok() {
                            let _ = ended.await;
                        }
                    }
                    Err(failure) => {
                        let _ = say.send(Err(failure));
                    }
                }
            });
        };
        let thread = thread::Builder::new().name("relay".into()).spawn(body);
        let thread =
            thread.map_err(|error| Failure::failed(format!("cannot start a thread: {}", reason(&error))))?;
        match said.recv_timeout(within) {
            Ok(opened) => Ok((opened?, Self { end: Some(end), thread: Some(thread) })),
            // It may hang in a program of the user's: nobody waits for that.
            Err(RecvTimeoutError::Timeout) => Err(late),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Failure::failed("what passes on connections has ended"))
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // What it has kept is gone, or it has said so itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Shutdown, TcpStream},
        sync::{Arc, Mutex},
    };

    use super::*;

    /// Says so when it is dropped.
    struct Guard(Arc<Mutex<bool>>);

    impl Drop for Guard {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = true;
        }
    }

    /// A port whose connections get back what they send.
    fn echo(guard: Guard) -> Outcome<(Vec<u16>, Kept)> {
        Kept::open(Duration::from_secs(30), Failure::failed("late"), move || async move {
            let mut relay = Relay::default();
            relay
                .add(async |stream| {
                    let (near, mut far) = tokio::io::duplex(64);
                    let back = async move {
                        let (mut read, mut write) = tokio::io::split(&mut far);
                        let _ = tokio::io::copy(&mut read, &mut write).await;
                        let _ = tokio::io::AsyncWriteExt::shutdown(&mut write).await;
                    };
                    tokio::join!(join(stream, near), back);
                })
                .await?;
            Ok((relay.ports.clone(), (relay, guard)))
        })
    }

    #[test]
    fn connections_are_passed_on_until_it_is_dropped_and_then_nothing_is_left() {
        let is_gone = Arc::new(Mutex::new(false));
        let (ports, kept) = echo(Guard(Arc::clone(&is_gone))).unwrap();
        for text in ["one", "two"] {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, ports[0])).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut back = String::new();
            stream.read_to_string(&mut back).unwrap();
            assert_eq!(back, text);
        }
        assert!(!*is_gone.lock().unwrap());
        drop(kept);
        assert!(*is_gone.lock().unwrap(), "what was kept is gone once it has been dropped");
    }

    #[test]
    fn what_cannot_be_opened_or_takes_too_long_is_said() {
        let within = Duration::from_secs(30);
        let failing = || async { Err::<((), ()), _>(Failure::failed("no way")) };
        assert_eq!(Kept::open(within, Failure::failed("late"), failing).unwrap_err().message, "no way");
        let never = || std::future::pending::<Outcome<((), ())>>();
        let late = Kept::open(Duration::ZERO, Failure::failed("late"), never);
        assert_eq!(late.unwrap_err().message, "late");
    }
}
