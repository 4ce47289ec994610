//! What the node tells systemd: that it is ready, that it is alive, that it stops (`sd_notify(3)`).
//!
//! A unit with `Type=notify` names a datagram socket in `NOTIFY_SOCKET`; without that nothing is said. One
//! datagram holds lines of `NAME=value`.

use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

/// The variable that names the socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The variable that says after how many microseconds of silence the node is killed.
const WATCHDOG: &str = "WATCHDOG_USEC";

/// The variable that says which process is to give signs of life.
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// Where systemd listens; `None`: nobody does.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    socket: Option<UnixDatagram>,
    watchdog: bool,
}

impl Notify {
    /// The socket that the environment names. One that cannot be reached is a warning: the node serves all the
    /// same, until systemd's patience ends.
    pub(crate) fn from_environment() -> Self {
        let Some(name) = std::env::var_os(SOCKET) else { return Self::default() };
        match connect(name.as_bytes()) {
            Ok(socket) => Self { socket: Some(socket), watchdog: is_watched() },
            Err(error) => {
                tracing::warn!(%error, socket = %name.to_string_lossy(), "cannot reach the service manager");
                Self::default()
            }
        }
    }

    /// The node serves.
    pub(crate) fn ready(&self) {
        self.say("READY=1\nSTATUS=serving");
    }

    /// The node has begun to stop, and takes so long at most.
    pub(crate) fn stopping(&self, time: Duration) {
        self.say(&format!("STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={}", time.as_micros()));
    }

    /// The node reads what it has stored: it is not ready yet and does not hang, for so long at least.
    pub(crate) fn recovering(&self, time: Duration) {
        self.say(&format!("STATUS=reading the message log\nEXTEND_TIMEOUT_USEC={}", time.as_micros()));
    }

    /// Every worker has answered just now.
    pub(crate) fn alive(&self) {
        if self.watchdog {
            self.say("WATCHDOG=1");
        }
    }

    fn say(&self, lines: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(lines.as_bytes())
        {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

/// A path, or a name in the abstract namespace, which is written with `@` in front.
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let address = match name.strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(name)))?,
    };
    socket.connect_addr(&address)?;
    // The control thread must not wait for a service manager that does not read.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whether signs of life are wanted, and of this process.
fn is_watched() -> bool {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_meant = number(WATCHDOG_PROCESS).is_none_or(|process| process == u64::from(std::process::id()));
    is_meant && number(WATCHDOG).is_some_and(|time| time > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn told(name: &[u8], socket: &UnixDatagram) {
        let notify = Notify { socket: Some(connect(name).expect("a socket")), watchdog: true };
        notify.recovering(Duration::from_secs(1));
        assert_eq!(received(socket), "STATUS=reading the message log\nEXTEND_TIMEOUT_USEC=1000000");
        notify.ready();
        assert_eq!(received(socket), "READY=1\nSTATUS=serving");
        notify.alive();
        assert_eq!(received(socket), "WATCHDOG=1");
        notify.stopping(Duration::from_secs(10));
        assert_eq!(received(socket), "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=10000000");
    }

    #[test]
    fn the_service_manager_is_told_over_a_path_and_over_an_abstract_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        told(path.as_os_str().as_bytes(), &UnixDatagram::bind(&path).expect("a socket"));
        let name = format!("mqd-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        told(format!("@{name}").as_bytes(), &UnixDatagram::bind_addr(&address).expect("a socket"));
    }

    #[test]
    fn a_node_that_nobody_watches_gives_no_signs_of_life() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let notify =
            Notify { socket: Some(connect(path.as_os_str().as_bytes()).expect("a socket")), watchdog: false };
        notify.alive();
        notify.ready();
        assert_eq!(received(&socket), "READY=1\nSTATUS=serving", "the first that is said");
    }

    #[test]
    fn a_service_manager_that_is_gone_stops_nobody() {
        assert!(connect(b"/nowhere/at/all").is_err());
        Notify::default().ready();
    }
}
