//! Objects that the daemon keeps in the store beside those of the core: the sessions of its clients.
//!
//! They share the log and its order with what the core asks for. Their tickets are numbers that no ticket of
//! the core has, their keys begin with [`NAMESPACE`], which no key of the core does.

use std::time::Instant;

use bytes::Bytes;
use mq_core::{StoreAnswer, StoreRequest, Ticket};

use super::Shard;

/// The first byte of the key of an object of the daemon's.
pub(crate) const NAMESPACE: u8 = b'm';

impl Shard {
    /// Keeps an object, in place of one with the same key. [`object_stored`](Self::object_stored) says when
    /// it is on disk. Requests are carried out in the order in which they were made.
    pub(crate) fn put_object(&mut self, key: Bytes, value: Bytes) -> Ticket {
        let ticket = self.own_ticket();
        self.ask_for_object(StoreRequest::Put { ticket, key, value, transaction: None });
        ticket
    }

    /// Keeps an object no more; answered likewise.
    pub(crate) fn delete_object(&mut self, key: Bytes) -> Ticket {
        let ticket = self.own_ticket();
        self.ask_for_object(StoreRequest::Delete { ticket, key, transaction: None });
        ticket
    }

    fn own_ticket(&mut self) -> Ticket {
        self.next_ticket = self.next_ticket.wrapping_add(1);
        Ticket(Ticket::FOREIGN | self.next_ticket)
    }

    fn ask_for_object(&mut self, request: StoreRequest) {
        self.store_requests.push((self.id, Box::new(request)));
    }

    /// Takes an answer of the store, to the core or to the daemon itself.
    pub(super) fn handle_store(&mut self, now: Instant, answer: StoreAnswer) {
        if !answer.ticket().is_foreign() {
            return self.core.handle_store(now, answer);
        }
        let (ticket, result) = match answer {
            StoreAnswer::Failed { ticket, error } => (ticket, Err(error)),
            other => (other.ticket(), Ok(())),
        };
        self.object_stored(now, ticket, result);
    }

    /// Takes an object that the store has kept over a restart.
    pub(crate) fn recover_object(&mut self, now: Instant, key: &[u8], value: &[u8]) {
        if key.first() == Some(&NAMESPACE) {
            self.recover_session_object(key, value);
        } else {
            self.core.recover_object(now, key, value);
        }
    }
}
