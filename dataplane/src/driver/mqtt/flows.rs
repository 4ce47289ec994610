//! What is under way between a session and the core, and what the shard needs to find it.

use mq_core::StoreError;
use mq_core::Ticket;
use mq_mqtt::{PacketId, SessionState};

use super::record::OutgoingRecord;
use super::session::SessionKey;
use crate::driver::Shard;

/// What is under way to a client and from it, and what waits for it.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    state: Option<Box<State>>,
}

#[derive(Debug, Default)]
struct State {}

impl Flights {
    /// What a connection resumes.
    pub(crate) fn engine_state(&self) -> SessionState {
        let _ = &self.state;
        SessionState::default()
    }

    /// Before the restart a publication of QoS 2 was taken that the client has not released.
    pub(crate) fn recover_incoming(&mut self, _packet_id: PacketId) {}

    /// Before the restart a message of QoS 2 was sent.
    pub(crate) fn recover_outgoing(&mut self, _packet_id: PacketId, _record: OutgoingRecord) {}
}

/// What a shard needs to find who an effect of the core is for.
#[derive(Debug, Default)]
pub(crate) struct Messages {}

impl Shard {
    /// The store has done what was asked for with this ticket, or says why not.
    pub(crate) fn flow_object_stored(
        &mut self,
        _now: std::time::Instant,
        _ticket: Ticket,
        _result: Result<(), StoreError>,
    ) {
    }

    /// The record of a session is on disk, or is not.
    pub(crate) fn session_recorded(
        &mut self,
        _now: std::time::Instant,
        _session: SessionKey,
        _ticket: Ticket,
        _result: Result<(), StoreError>,
    ) {
    }
}
