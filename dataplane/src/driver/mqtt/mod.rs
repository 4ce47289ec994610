//! MQTT between the engine and the core.

pub(super) mod envelope;

use std::io::IoSlice;
use std::time::Instant;

use bytes::BytesMut;
use mq_mqtt::property::PropertyView;
use mq_mqtt::{Event, ReasonCode};
use tracing::info;

use super::Shard;
use super::protocol::Farewell;
use super::transport::Transport;

/// A client of MQTT, as long as its connection lives.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) engine: mq_mqtt::Connection,
    pub(super) transport: Transport,
}

/// What the socket asks of a client. The turn calls `flush` and then `slices` and `written` until the
/// socket is full or there is nothing left.
impl Client {
    /// Makes everything that was queued ready to be written.
    pub(super) fn flush(&mut self) {}

    /// Fills `slices` with what to write next; says how many it used.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.engine.slices(slices)
    }

    /// So many bytes have been written.
    pub(super) fn written(&mut self, now: Instant, count: usize) {
        self.engine.written(now, count);
    }

    /// Bytes that wait to be written.
    pub(super) fn buffered(&self) -> usize {
        self.engine.buffered()
    }

    /// Whether more input can be served now: false while the engine waits for an answer of ours, or
    /// while the core or other shards have no room for what it publishes. Whoever makes it true again
    /// calls [`Shard::resume_reading`]; what was read before is then served first.
    pub(super) fn may_read(&self) -> bool {
        self.engine.takes_input()
    }

    /// When [`Shard::handle_mqtt_timeout`] is due. Looked at when a turn of the connection ends.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout()
    }

    /// Whether nothing more will come of it. The socket is closed when what is buffered has left.
    pub(super) fn is_done(&self) -> bool {
        self.engine.is_done()
    }

    /// Gives back memory that only a busy connection needs: nothing has passed for some seconds.
    pub(super) fn shrink(&mut self) {
        self.engine.shrink();
    }

    /// The client identifier; empty before the CONNECT.
    pub(super) fn client_id(&self) -> &str {
        ""
    }
}

/// What the socket tells of a client. An end of our own is `engine.disconnect` (or an error of the
/// engine, which has queued what tells the peer) and then [`Shard::start_closing`], which releases the
/// client, writes what is left and closes the socket after the peer.
impl Shard {
    /// Takes what was read. Stops when [`Client::may_read`] says so; what is left in `buffer` is kept and
    /// given again with what comes. A client that is done afterwards is closed by the caller.
    pub(super) fn handle_mqtt_input(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) {
        while let Some(client) = self.connections.mqtt_mut(key) {
            if !client.may_read() {
                break;
            }
            match client.engine.handle_input(now, buffer) {
                Ok(Some(event)) => self.handle_mqtt_event(now, key, event),
                Ok(None) => break,
                Err(error) => {
                    info!(connection = %self.name_of(key), %error, "closing");
                    break;
                }
            }
        }
    }

    fn handle_mqtt_event(&mut self, now: Instant, key: usize, event: Event) {
        let _ = event;
        self.run_effects(now);
        self.mark_dirty(key);
    }

    /// The deadline of [`Client::poll_timeout`] may have come.
    ///
    /// # Errors
    /// What ends the connection, for the log. What tells the peer is queued.
    pub(super) fn handle_mqtt_timeout(&mut self, now: Instant, key: usize) -> Result<(), String> {
        let Some(client) = self.connections.mqtt_mut(key) else { return Ok(()) };
        client.engine.handle_timeout(now).map_err(|error| error.to_string())
    }

    /// Something has been written: there may be room for more.
    pub(super) fn refill_mqtt(&mut self, _now: Instant, _key: usize) {}

    /// Queues a DISCONNECT for a reason of ours; the client is done then.
    pub(super) fn close_mqtt(&mut self, _now: Instant, key: usize, farewell: Farewell, _reason: &str) {
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let reason = match farewell {
            Farewell::Stopping => ReasonCode::ServerShuttingDown,
            Farewell::Administrative => ReasonCode::AdministrativeAction,
        };
        let _ = client.engine.disconnect(reason, PropertyView::default());
    }

    /// Takes everything of a client out of the core, whatever ended it. Called once at least when a
    /// connection ends, and maybe again.
    pub(super) fn release_mqtt(&mut self, _now: Instant, _key: usize) {}
}
