//! Clients that agree on TLS, one step after the other: together they take half of the shard's time at most,
//! so that a flood of them does not stop those who are served.

use std::collections::VecDeque;
use std::time::Instant;

use super::Shard;
use super::connection::Life;
use crate::hub::TlsStatistics;
use crate::tls::Pace;

/// A connection: its key, and the number that tells it from its successor.
type Name = (usize, u64);

/// Who may take the next step.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    pace: Pace,
    /// Those who wait for their turn, first in, first out.
    waiting: VecDeque<Name>,
    /// Who was woken for it.
    chosen: Option<Name>,
    pub(crate) statistics: TlsStatistics,
}

impl Handshakes {
    /// When the next one may go on who waits.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.waiting.is_empty() || self.chosen.is_some() { None } else { self.pace.next() }
    }

    /// Whether a connection may take a step now; if not, it waits, and is woken when it may.
    fn admit(&mut self, now: Instant, name: Name, is_waiting: bool) -> bool {
        if self.chosen == Some(name) {
            self.chosen = None;
            return true;
        }
        if self.waiting.is_empty() && self.chosen.is_none() && self.pace.is_due(now) {
            return true;
        }
        if !is_waiting {
            self.statistics.postponed += 1;
            self.waiting.push_back(name);
        }
        false
    }

    /// Who may take the next step now.
    fn choose(&mut self, now: Instant) -> Option<Name> {
        if self.chosen.is_some() || !self.pace.is_due(now) {
            return None;
        }
        self.chosen = self.waiting.pop_front();
        self.chosen
    }

    /// Somebody has gone.
    pub(super) fn forget(&mut self, name: Name) {
        if self.chosen == Some(name) {
            self.chosen = None;
        }
    }
}

impl Shard {
    /// Whether a connection that agrees on TLS may take a step now; if not, it is woken when it may.
    pub(super) fn admit_handshake(&mut self, now: Instant, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let name = (key, connection.number);
        let is_admitted = self.handshakes.admit(now, name, connection.is_postponed);
        connection.is_postponed = !is_admitted;
        is_admitted
    }

    /// A step was taken, which began then.
    pub(super) fn end_handshake_step(&mut self, began: Instant, key: usize) {
        let now = Instant::now();
        self.handshakes.pace.spend(now, now.saturating_duration_since(began));
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(encryption) = connection.socket.encryption() {
            tracing::debug!(
                connection = connection.number,
                version = %encryption.version,
                cipher = %encryption.cipher,
                "agreed on TLS"
            );
            let statistics = &mut self.handshakes.statistics;
            if encryption.is_resumed {
                statistics.resumed += 1;
            } else {
                statistics.full += 1;
            }
            connection.caller.encryption = Some(encryption.clone());
        }
    }

    /// Lets the next one take its step who waits for it.
    pub(super) fn wake_handshake(&mut self, now: Instant) {
        while let Some((key, number)) = self.handshakes.choose(now) {
            let found = self.connections.get(key).filter(|connection| connection.number == number);
            match found.filter(|connection| connection.life == Life::Serving) {
                Some(connection) => return connection.wake(),
                None => self.handshakes.chosen = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn those_who_wait_take_their_steps_one_after_the_other() {
        let now = Instant::now();
        let step = Duration::from_millis(10);
        let mut handshakes = Handshakes::default();
        assert!(handshakes.admit(now, (0, 0), false), "nobody is there yet");
        handshakes.pace.spend(now, step);
        assert!(!handshakes.admit(now, (1, 1), false) && !handshakes.admit(now, (2, 2), false));
        assert!(!handshakes.admit(now, (1, 1), true), "woken for another reason");
        let due = handshakes.poll_timeout().expect("somebody waits");
        assert!(due > now && handshakes.choose(now).is_none());
        assert_eq!(handshakes.choose(due), Some((1, 1)));
        assert_eq!((handshakes.poll_timeout(), handshakes.choose(due)), (None, None), "one at a time");
        assert!(!handshakes.admit(due, (3, 3), false), "nobody overtakes");
        assert!(handshakes.admit(due, (1, 1), true));
        assert_eq!(handshakes.choose(due), Some((2, 2)));
        handshakes.forget((2, 2));
        assert_eq!(handshakes.choose(due), Some((3, 3)), "who has gone holds nobody up");
        assert_eq!(handshakes.statistics.postponed, 3);
    }
}
