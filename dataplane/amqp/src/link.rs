//! One end of a link (AMQP 2.6).

use crate::event::{LinkKey, NO_TOKEN};
use crate::performative::{Attach, Role};
use crate::transaction::TransactionId;
use crate::value::Text;
use crate::window::DeliveryId;

/// Where a link stands (AMQP 2.6.3, 2.6.5, 2.6.6).
///
/// ```text
///  attach in            accept
/// ──────────► Offered ──────────► Attached ──► detach in: answered, link gone
///                │ refuse          ▲ │ detach
///                │       attach in │ └─────────► Detaching ──► detach in: link gone
///                │            Attaching ───────────▲  │
///  attach out    └──────────────────┼─ detach ─────┘  │ detach in while ours waits
/// ──────────────────────────────────┘                 └──► Leaving ──► ours written: link gone
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// The peer attached; the caller has not answered yet.
    Offered,
    /// We attached; the peer has not answered yet.
    Attaching,
    Attached,
    /// We detached and wait for the peer's detach.
    Detaching,
    /// Both ends have detached; our detach still waits behind transfers for the peer's window.
    Leaving,
}

impl LinkState {
    /// Whether the caller still knows the link.
    pub(crate) fn is_known(self) -> bool {
        !matches!(self, Self::Detaching | Self::Leaving)
    }
}

/// A delivery whose last frame is still to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unfinished {
    pub(crate) id: DeliveryId,
    /// The caller's name of an incoming delivery.
    pub(crate) token: u64,
    pub(crate) settled: bool,
    /// Bytes so far.
    pub(crate) bytes: u64,
    /// Its frames are taken in and dropped.
    pub(crate) is_ignored: bool,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: Text,
    pub(crate) generation: u32,
    pub(crate) role: Role,
    pub(crate) state: LinkState,
    pub(crate) remote_handle: Option<u32>,
    pub(crate) token: u64,
    /// AMQP 2.6.7: deliveries sent so far, as a serial number.
    pub(crate) delivery_count: u32,
    /// Deliveries that the sending end may still start.
    pub(crate) credit: u32,
    pub(crate) drain: bool,
    /// The peer asked for our state before we answered its attach.
    pub(crate) owes_flow: bool,
    /// The largest message the receiving end takes, in bytes; 0 means no limit.
    pub(crate) max_message_size: u64,
    pub(crate) unfinished: Option<Unfinished>,
    /// Deliveries started on the link.
    pub(crate) deliveries: u64,
    /// Of these, how many wait with their first frame for the peer's window.
    pub(crate) unsent: u32,
    /// We receive: the transaction that acquires what the credit brings (AMQP 4.4.3). Every flow of the
    /// link says it again, because a flow without it ends it.
    pub(crate) acquisition: Option<Box<TransactionId>>,
}

impl Link {
    pub(crate) fn new(name: Text, role: Role, state: LinkState, generation: u32) -> Self {
        Self {
            name,
            generation,
            role,
            state,
            remote_handle: None,
            token: NO_TOKEN,
            delivery_count: 0,
            credit: 0,
            drain: false,
            owes_flow: false,
            max_message_size: 0,
            unfinished: None,
            deliveries: 0,
            unsent: 0,
            acquisition: None,
        }
    }

    /// What the peer's attach says of the link.
    pub(crate) fn take_terms(&mut self, attach: &Attach) {
        self.remote_handle = Some(attach.handle);
        match self.role {
            Role::Receiver => self.delivery_count = attach.initial_delivery_count.unwrap_or(0),
            Role::Sender => self.max_message_size = attach.max_message_size.unwrap_or(0),
        }
    }

    /// The sending end takes the receiver's credit over (AMQP 2.6.7: link-credit of the sender is
    /// delivery-count plus link-credit of the receiver, minus delivery-count of the sender).
    pub(crate) fn take_credit(&mut self, delivery_count: Option<u32>, credit: u32) {
        // Absent: the receiver has not seen our initial delivery-count, which is 0; what has been
        // sent since then comes off its credit all the same.
        let behind = delivery_count.unwrap_or(0).wrapping_sub(self.delivery_count).cast_signed();
        let credit = i64::from(credit) + i64::from(behind);
        self.credit = u32::try_from(credit.max(0)).unwrap_or(u32::MAX);
    }

    /// What a flow of the link tells: delivery-count and link-credit.
    ///
    /// Deliveries that wait for the session's window are not told as sent: the receiver takes the
    /// count for what has arrived, and would take each off its credit a second time.
    pub(crate) fn told(&self) -> (u32, u32) {
        (self.delivery_count.wrapping_sub(self.unsent), self.credit.saturating_add(self.unsent))
    }

    /// One delivery starts.
    pub(crate) fn count_delivery(&mut self) {
        self.delivery_count = self.delivery_count.wrapping_add(1);
        self.credit = self.credit.saturating_sub(1);
        self.deliveries += 1;
    }
}

/// A link as the outside sees it.
#[derive(Debug)]
pub struct LinkInfo<'a> {
    pub key: LinkKey,
    pub name: &'a Text,
    /// Ours.
    pub role: Role,
    /// Deliveries that the sending end may still start.
    pub credit: u32,
    /// Deliveries started on the link.
    pub deliveries: u64,
    pub token: u64,
}
