//! Messages between two shards of a fleet, in order, none lost, none twice.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use crate::frame::Segment;
use crate::identity::{Endpoint, Epoch, Incarnation};

/// Bytes of a message, at most.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// What a channel may keep and how long it waits.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// Bytes that may be under way, neither acknowledged nor lost. Default: 4 MiB.
    pub window: usize,
    /// Bytes that may wait and be under way together; a channel that would hold more ends with
    /// [`Reset::Overrun`]. Default: 256 MiB.
    pub backlog: usize,
    /// How long an acknowledgement may wait for a segment that carries it along. Default: 50 ms.
    pub acknowledge_after: Duration,
    /// The shortest and the longest time without progress after which the channel asks what has arrived.
    /// Default: 200 ms and 2 s.
    pub probe_after: (Duration, Duration),
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            window: 4 * 1024 * 1024,
            backlog: 256 * 1024 * 1024,
            acknowledge_after: Duration::from_millis(50),
            probe_after: (Duration::from_millis(200), Duration::from_secs(2)),
        }
    }
}

/// What a channel tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelEvent {
    /// Both ends know each other: messages may be sent from here on, and arrive from here on.
    Opened {
        /// Which life of the other node it is.
        remote_incarnation: Incarnation,
    },
    /// The next message, whole. One that came in one segment is a slice of it: copy what is small and kept.
    Message(Bytes),
    /// What the channel was has ended, and with it all that was under way either way. `Opened` comes
    /// again once both ends have begun anew.
    Reset(Reset),
}

/// Why a channel has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reset {
    #[error("the other end has begun anew")]
    ByPeer,
    #[error("ended on this side")]
    Here,
    #[error("more than the {limit} bytes that may wait for the other end")]
    Overrun { limit: usize },
    #[error("the other end sent what is not a message: {what}")]
    Malformed { what: &'static str },
}

/// Why a message was not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    #[error("the channel is not open")]
    NotOpen,
    #[error("a message of {length} bytes, of at most {MAX_MESSAGE}")]
    TooLarge { length: usize },
}

/// What has happened on a channel since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelStatistics {
    pub messages_sent: u64,
    pub messages_received: u64,
    pub segments_sent: u64,
    pub segments_received: u64,
    pub segments_retransmitted: u64,
    /// Segments that came although they had come before.
    pub duplicates: u64,
    pub resets: u64,
}

/// One end of a channel.
///
/// Feed it with [`send`](Self::send), [`handle_segment`](Self::handle_segment),
/// [`handle_path_changed`](Self::handle_path_changed) and [`handle_timeout`](Self::handle_timeout); after each
/// drain [`poll_event`](Self::poll_event) until it is empty; at the end of a turn drain
/// [`poll_transmit`](Self::poll_transmit) for as long as the connection takes more, and arm a timer from
/// [`poll_timeout`](Self::poll_timeout). It takes messages from the moment in which
/// [`ChannelEvent::Opened`] is polled until something resets it, even before that reset is polled: what was
/// meant for the other end's past does not reach its present.
#[derive(Debug)]
pub struct Channel {
    local: Endpoint,
    remote: Endpoint,
    epoch: Epoch,
    options: ChannelOptions,
}

impl Channel {
    /// An end that begins. `epoch` must be larger than every one that a channel between the same two had
    /// here before, whose own [`epoch`](Self::epoch) may have moved on.
    pub fn new(
        now: Instant,
        local: Endpoint,
        remote: Endpoint,
        epoch: Epoch,
        options: ChannelOptions,
    ) -> Self {
        let _ = now;
        Self { local, remote, epoch, options }
    }

    /// Which beginning of this end it is.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The other end.
    pub fn remote(&self) -> Endpoint {
        self.remote
    }

    /// Whether messages may be sent.
    pub fn is_open(&self) -> bool {
        false
    }

    /// Takes a message. Small ones are copied and share a segment; of a large one that lies in one piece
    /// slices are kept.
    ///
    /// # Errors
    /// The channel is not open, or the message is too large.
    pub fn send(&mut self, message: impl Buf) -> Result<(), SendError> {
        let _ = message;
        Err(SendError::NotOpen)
    }

    /// Takes the message that `write` appends, saving a copy of it. `write` must only append; it is not
    /// called when the channel is not open.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub fn send_with(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), SendError> {
        let _ = write;
        Err(SendError::NotOpen)
    }

    /// Takes what has come for this end from the other one. A segment of somebody else is left alone.
    pub fn handle_segment(&mut self, now: Instant, segment: Segment) {
        let _ = (now, segment);
    }

    /// Says that segments take another way from now on, so that some may have been lost. Costs one
    /// question to the other end when something is under way, nothing otherwise.
    pub fn handle_path_changed(&mut self, now: Instant) {
        let _ = now;
    }

    /// To be called at [`poll_timeout`](Self::poll_timeout) or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When time alone makes the channel do something.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next segment to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Segment> {
        let _ = (now, self.local, &self.options);
        None
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<ChannelEvent> {
        None
    }

    /// Bytes of messages that are kept here because the other end has not acknowledged them.
    pub fn backlog(&self) -> usize {
        0
    }

    /// Ends what the channel was and begins anew: for when the other node cannot be reached, or sends
    /// what cannot be understood. Says [`ChannelEvent::Reset`] if it was open.
    pub fn reset(&mut self, now: Instant) {
        let _ = now;
    }

    /// Counters.
    pub fn statistics(&self) -> ChannelStatistics {
        ChannelStatistics::default()
    }
}
