//! One session of a connection (AMQP 2.5): windows, delivery ids, unsettled deliveries, links.
//!
//! A session writes its frames straight into the connection's [`Wire`]; where the peer's window is
//! shut, whole frames wait in order. Settlements of one turn that follow each other are told in one
//! disposition.

use std::collections::VecDeque;

use bytes::Bytes;
use slab::Slab;

use crate::codec::encode_performative;
use crate::error::{Misuse, condition};
use crate::event::{DeliveryKey, Event, Events, IncomingTransfer, LinkKey, NO_TOKEN, SessionKey};
use crate::frame::{FrameKind, begin_frame, finish_frame, finish_frame_with};
use crate::limits::Limits;
use crate::link::{Link, LinkInfo, LinkState, Unfinished};
use crate::outbox::Outbox;
use crate::performative::{
    Attach, Begin, DeliveryState, Detach, Disposition, End, Error, Flow, Performative, ReceiverSettleMode,
    Role, SenderSettleMode, Source, Tag, Target, Transfer,
};
use crate::transaction::TransactionId;
use crate::value::{Symbol, Text, Value};
use crate::window::{DeliveryId, Window};

/// Transfer frames that we say we may send at once. We hold back what the peer's window does not
/// take, so the number tells the peer nothing but that there is no bound of ours.
const OUTGOING_WINDOW: u32 = i32::MAX.cast_unsigned();

/// The most that a transfer frame of ours holds beside its payload: frame header, composite
/// constructor, a 32-byte tag and the numbers.
const TRANSFER_OVERHEAD: usize = 96;

/// The most that the state of such a frame adds: constructors, sizes and a 32-byte transaction id.
const STATE_OVERHEAD: usize = 48;

/// Where frames go, and how large they may be.
pub(crate) struct Wire<'a> {
    pub(crate) outbox: &'a mut Outbox,
    /// Bytes of a frame that the peer accepts.
    pub(crate) max_frame_size: usize,
}

impl Wire<'_> {
    pub(crate) fn write(&mut self, channel: u16, performative: &Performative) {
        let out = self.outbox.buffer();
        let start = begin_frame(out, FrameKind::Amqp, channel);
        encode_performative(out, performative);
        finish_frame(out, start);
    }

    /// Writes one transfer frame with as much of `payload` as fits; answers with the rest.
    fn write_transfer(&mut self, channel: u16, transfer: &mut Transfer, mut payload: Bytes) -> Bytes {
        let overhead = TRANSFER_OVERHEAD + if transfer.state.is_some() { STATE_OVERHEAD } else { 0 };
        let room = self.max_frame_size.saturating_sub(overhead).max(1);
        let rest = if payload.len() > room { payload.split_off(room) } else { Bytes::new() };
        let more = transfer.more;
        transfer.more |= !rest.is_empty();
        let out = self.outbox.buffer();
        let start = begin_frame(out, FrameKind::Amqp, channel);
        crate::codec::encode_transfer(out, transfer);
        finish_frame_with(out, start, payload.len());
        self.outbox.push_payload(payload);
        transfer.more = more;
        rest
    }
}

/// Where a session stands (AMQP 2.5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionState {
    /// We began; the peer has not answered.
    Beginning,
    Mapped,
    /// We ended with or without an error: whatever comes is discarded until the peer's end.
    Ending,
}

/// An unsettled delivery.
#[derive(Debug)]
struct Unsettled {
    handle: u16,
    token: u64,
}

/// What waits for the peer's window, in the order in which it was said.
#[derive(Debug)]
enum Pending {
    Transfer {
        transfer: Transfer,
        payload: Bytes,
    },
    /// A detach stays behind the transfers of its link.
    Detach(Detach),
}

/// Settlements that will leave as one disposition.
#[derive(Debug)]
struct Settlement {
    first: DeliveryId,
    last: DeliveryId,
    settled: bool,
    state: Option<DeliveryState>,
}

/// What `flush` has to tell, by role of ours.
#[derive(Debug, Default)]
struct Settlements {
    received: Option<Settlement>,
    sent: Option<Settlement>,
}

impl Settlements {
    fn slot(&mut self, role: Role) -> &mut Option<Settlement> {
        match role {
            Role::Receiver => &mut self.received,
            Role::Sender => &mut self.sent,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    pub(crate) state: SessionState,
    pub(crate) remote_channel: Option<u16>,
    pub(crate) token: u64,
    /// The session waits for `flush`.
    pub(crate) is_dirty: bool,

    next_incoming_id: u32,
    /// Transfer frames that the peer may still send.
    incoming_window: u32,
    /// Transfer frames that the caller has consumed and the peer has not been told of.
    consumed: u32,
    next_incoming_delivery: Option<DeliveryId>,
    incoming: Window<Unsettled>,

    next_outgoing_id: u32,
    /// Transfer frames that we may still send.
    remote_incoming_window: u32,
    next_outgoing_delivery: DeliveryId,
    outgoing: Window<Unsettled>,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    settlements: Settlements,

    links: Slab<Link>,
    /// Our handle by the peer's handle.
    remote_handles: Vec<Option<u16>>,
    remote_handle_max: u32,
    next_generation: u32,
}

/// The caller's answer to an attach, and what it puts into its own.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    pub source: Option<Box<Source>>,
    pub target: Option<Box<Target>>,
    pub snd_settle_mode: SenderSettleMode,
    pub rcv_settle_mode: ReceiverSettleMode,
    /// The largest message that we take on the link, in bytes; `None` means no limit.
    pub max_message_size: Option<u64>,
    pub offered_capabilities: Vec<Symbol>,
    pub desired_capabilities: Vec<Symbol>,
    pub properties: Vec<(Value, Value)>,
}

/// A session that has to be ended because of what the peer did on it.
pub(crate) type SessionFault = Error;

impl Session {
    pub(crate) fn new(key: SessionKey, state: SessionState, limits: &Limits) -> Self {
        Self {
            key,
            state,
            remote_channel: None,
            token: NO_TOKEN,
            is_dirty: false,
            next_incoming_id: 0,
            incoming_window: limits.incoming_window,
            consumed: 0,
            next_incoming_delivery: None,
            incoming: Window::default(),
            next_outgoing_id: 0,
            remote_incoming_window: 0,
            next_outgoing_delivery: DeliveryId(0),
            outgoing: Window::default(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            settlements: Settlements::default(),
            links: Slab::new(),
            remote_handles: Vec::new(),
            remote_handle_max: u32::MAX,
            next_generation: 0,
        }
    }

    /// The peer's begin, first or in answer to ours.
    pub(crate) fn handle_begin(&mut self, remote_channel: u16, begin: &Begin) {
        self.remote_channel = Some(remote_channel);
        self.next_incoming_id = begin.next_outgoing_id;
        self.remote_incoming_window = begin.incoming_window;
        self.remote_handle_max = begin.handle_max.unwrap_or(u32::MAX);
        if self.state == SessionState::Beginning {
            self.state = SessionState::Mapped;
        }
    }

    pub(crate) fn write_begin(&self, wire: &mut Wire<'_>, limits: &Limits) {
        let begin = Begin {
            remote_channel: self.remote_channel,
            next_outgoing_id: self.next_outgoing_id,
            incoming_window: self.incoming_window,
            outgoing_window: OUTGOING_WINDOW,
            handle_max: Some(limits.handle_max),
            ..Begin::default()
        };
        wire.write(self.key.channel, &Performative::Begin(Box::new(begin)));
    }

    // ---- links ------------------------------------------------------------------------------

    pub(crate) fn link(&self, key: LinkKey) -> Result<&Link, Misuse> {
        let link = self.links.get(usize::from(key.handle)).ok_or(Misuse::NoLink)?;
        if key.session == self.key && link.generation == key.generation {
            Ok(link)
        } else {
            Err(Misuse::NoLink)
        }
    }

    pub(crate) fn link_mut(&mut self, key: LinkKey) -> Result<&mut Link, Misuse> {
        let link = self.links.get_mut(usize::from(key.handle)).ok_or(Misuse::NoLink)?;
        if key.session == self.key && link.generation == key.generation {
            Ok(link)
        } else {
            Err(Misuse::NoLink)
        }
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = LinkInfo<'_>> {
        self.links.iter().map(|(handle, link)| LinkInfo {
            key: self.link_key(handle, link.generation),
            name: &link.name,
            role: link.role,
            credit: link.credit,
            deliveries: link.deliveries,
            token: link.token,
        })
    }

    fn link_key(&self, handle: usize, generation: u32) -> LinkKey {
        // Handles stay below 65,536: `insert_link` refuses more.
        let handle = u16::try_from(handle).unwrap_or(u16::MAX);
        LinkKey { session: self.key, handle, generation }
    }

    fn insert_link(&mut self, name: Text, role: Role, state: LinkState) -> Option<LinkKey> {
        let handle = self.links.vacant_key();
        if u16::try_from(handle).is_err() || u32::try_from(handle).ok()? > self.remote_handle_max {
            return None;
        }
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        self.links.insert(Link::new(name, role, state, generation));
        Some(self.link_key(handle, generation))
    }

    /// A link by the handle that the peer uses for it.
    fn remote_link(&self, remote_handle: u32) -> Option<u16> {
        self.remote_handles.get(usize::try_from(remote_handle).ok()?).copied().flatten()
    }

    fn map_remote_handle(&mut self, remote_handle: u32, handle: u16) {
        let index = remote_handle as usize;
        if self.remote_handles.len() <= index {
            self.remote_handles.resize(index + 1, None);
        }
        if let Some(slot) = self.remote_handles.get_mut(index) {
            *slot = Some(handle);
        }
    }

    /// AMQP 2.6.3: the peer's attach, first or in answer to ours.
    pub(crate) fn handle_attach(
        &mut self,
        wire: &mut Wire<'_>,
        limits: &Limits,
        attach: Box<Attach>,
        events: &mut Events,
    ) -> Result<(), SessionFault> {
        if self.remote_link(attach.handle).is_some() {
            let text = format!("handle {} is attached already", attach.handle);
            return Err(Error::new(condition::HANDLE_IN_USE, text));
        }
        if attach.name.as_str().len() > limits.max_name_length {
            let text = format!("a link name is longer than {} bytes", limits.max_name_length);
            return Err(Error::new(condition::RESOURCE_LIMIT_EXCEEDED, text));
        }
        // Links of a peer that attaches and detaches again go when the aborted rest of their
        // deliveries has left; one that keeps its window shut must not pile them up.
        if self.links.len() > limits.handle_max as usize || self.pending.len() > limits.max_unsettled as usize
        {
            let text = "too many links and deliveries wait for the session's window or for a detach";
            return Err(Error::new(condition::RESOURCE_LIMIT_EXCEEDED, text));
        }
        if attach.role == Role::Sender && attach.initial_delivery_count.is_none() {
            // AMQP 2.7.3: "This MUST NOT be null if role is sender".
            return Err(Error::new(
                condition::INVALID_FIELD,
                "a sender's attach needs initial-delivery-count",
            ));
        }
        let role = match attach.role {
            Role::Sender => Role::Receiver,
            Role::Receiver => Role::Sender,
        };
        // The oldest first: the peer answers in the order in which we asked.
        let ours = self.links.iter().filter(|(_, link)| {
            link.role == role && link.remote_handle.is_none() && link.name == attach.name
        });
        if let Some((handle, _)) = ours.min_by_key(|(_, link)| link.generation) {
            self.complete_attach(handle, attach, events);
            return Ok(());
        }
        self.steal_link(wire, &attach.name, role, events);
        let Some(key) = self.insert_link(attach.name.clone(), role, LinkState::Offered) else {
            return Err(Error::new(condition::RESOURCE_LIMIT_EXCEEDED, "no handle is left for the link"));
        };
        self.map_remote_handle(attach.handle, key.handle);
        if let Ok(link) = self.link_mut(key) {
            link.take_terms(&attach);
        }
        if longest_address(&attach) > limits.max_name_length {
            let text = format!("an address is longer than {} bytes", limits.max_name_length);
            let _ = self.refuse(wire, key, Box::new(Error::new(condition::RESOURCE_LIMIT_EXCEEDED, text)));
            return Ok(());
        }
        events.push_back(Event::LinkAttached { link: key, attach });
        Ok(())
    }

    /// The peer answers our attach.
    fn complete_attach(&mut self, handle: usize, attach: Box<Attach>, events: &mut Events) {
        let Ok(handle) = u16::try_from(handle) else { return };
        self.map_remote_handle(attach.handle, handle);
        let Some(link) = self.links.get_mut(usize::from(handle)) else { return };
        link.take_terms(&attach);
        if link.state == LinkState::Attaching {
            link.state = LinkState::Attached;
            let generation = link.generation;
            events.push_back(Event::LinkAttached {
                link: self.link_key(usize::from(handle), generation),
                attach,
            });
        }
    }

    /// AMQP 2.6.1: a link name stands for one link; a second attach takes it over.
    fn steal_link(&mut self, wire: &mut Wire<'_>, name: &Text, role: Role, events: &mut Events) {
        let held = self.links.iter().find(|(_, link)| {
            link.role == role
                && link.name == *name
                && matches!(link.state, LinkState::Attached | LinkState::Offered)
        });
        let Some((handle, link)) = held else { return };
        let (key, token) = (self.link_key(handle, link.generation), link.token);
        let error =
            Some(Box::new(Error::new(condition::LINK_STOLEN, "another attach took the link name over")));
        let _ = self.detach(wire, key, true, error.clone());
        events.push_back(Event::LinkDetached { link: key, role, token, closed: true, error });
    }

    /// Attaches a link of ours (AMQP 2.6.3).
    pub(crate) fn attach(
        &mut self,
        wire: &mut Wire<'_>,
        name: Text,
        role: Role,
        terms: Terms,
        token: u64,
    ) -> Result<LinkKey, Misuse> {
        let key = self.insert_link(name, role, LinkState::Attaching).ok_or(Misuse::NoHandle)?;
        self.link_mut(key)?.token = token;
        self.write_attach(wire, key, terms)?;
        Ok(key)
    }

    /// Answers the peer's attach: the link exists from here on.
    pub(crate) fn accept(
        &mut self,
        wire: &mut Wire<'_>,
        key: LinkKey,
        terms: Terms,
        token: u64,
    ) -> Result<(), Misuse> {
        let link = self.link_mut(key)?;
        if link.state != LinkState::Offered {
            return Err(Misuse::State);
        }
        link.state = LinkState::Attached;
        link.token = token;
        let owes_flow = std::mem::take(&mut link.owes_flow);
        self.write_attach(wire, key, terms)?;
        if owes_flow {
            self.write_flow(wire, Some(key.handle));
        }
        Ok(())
    }

    /// AMQP 2.6.3: "the link endpoint is created, then immediately destroyed": an attach with no
    /// terminus of ours, then a detach that says why.
    pub(crate) fn refuse(
        &mut self,
        wire: &mut Wire<'_>,
        key: LinkKey,
        error: Box<Error>,
    ) -> Result<(), Misuse> {
        if self.link(key)?.state != LinkState::Offered {
            return Err(Misuse::State);
        }
        self.detach(wire, key, true, Some(error))
    }

    fn write_attach(&mut self, wire: &mut Wire<'_>, key: LinkKey, terms: Terms) -> Result<(), Misuse> {
        let link = self.link_mut(key)?;
        if link.role == Role::Receiver {
            link.max_message_size = terms.max_message_size.unwrap_or(0);
        }
        let attach = Attach {
            name: link.name.clone(),
            handle: u32::from(key.handle),
            role: link.role,
            snd_settle_mode: terms.snd_settle_mode,
            rcv_settle_mode: terms.rcv_settle_mode,
            source: terms.source,
            target: terms.target,
            unsettled: Vec::new(),
            incomplete_unsettled: false,
            initial_delivery_count: (link.role == Role::Sender).then_some(link.delivery_count),
            max_message_size: terms.max_message_size.filter(|size| *size > 0),
            offered_capabilities: terms.offered_capabilities,
            desired_capabilities: terms.desired_capabilities,
            properties: terms.properties,
        };
        wire.write(self.key.channel, &Performative::Attach(Box::new(attach)));
        Ok(())
    }

    /// Detaches a link; the caller forgets it at once (AMQP 2.6.4, 2.6.6).
    pub(crate) fn detach(
        &mut self,
        wire: &mut Wire<'_>,
        key: LinkKey,
        closed: bool,
        error: Option<Box<Error>>,
    ) -> Result<(), Misuse> {
        match self.link(key)?.state {
            LinkState::Detaching | LinkState::Leaving => return Err(Misuse::State),
            // What has not been attached cannot be detached.
            LinkState::Offered => self.write_attach(wire, key, Terms::default())?,
            LinkState::Attaching | LinkState::Attached => {}
        }
        self.flush_settlements(wire);
        let has_to_wait = self.forget_deliveries(key.handle);
        let detach = Detach { handle: u32::from(key.handle), closed, error };
        if has_to_wait {
            self.pending.push_back(Pending::Detach(detach));
        } else {
            wire.write(self.key.channel, &Performative::Detach(detach));
        }
        self.link_mut(key)?.state = LinkState::Detaching;
        Ok(())
    }

    /// The peer's detach: first, or in answer to ours.
    pub(crate) fn handle_detach(
        &mut self,
        wire: &mut Wire<'_>,
        detach: Detach,
        events: &mut Events,
    ) -> Result<(), SessionFault> {
        let handle = self.attached(detach.handle)?;
        if let Some(slot) = self.remote_handles.get_mut(detach.handle as usize) {
            *slot = None;
        }
        let Some(link) = self.links.get(usize::from(handle)) else { return Ok(()) };
        let (key, state) = (self.link_key(usize::from(handle), link.generation), link.state);
        let (role, token) = (link.role, link.token);
        if state != LinkState::Detaching {
            // AMQP 2.6.6: a closing detach is answered with a closing detach.
            let _ = self.detach(wire, key, detach.closed, None);
            let Detach { closed, error, .. } = detach;
            events.push_back(Event::LinkDetached { link: key, role, token, closed, error });
        }
        let is_waiting = self.pending.iter().any(|pending| pending.is_detach_of(handle));
        match self.links.get_mut(usize::from(handle)) {
            Some(link) if is_waiting => link.state = LinkState::Leaving,
            Some(_) => drop(self.links.remove(usize::from(handle))),
            None => {}
        }
        Ok(())
    }

    fn attached(&self, remote_handle: u32) -> Result<u16, SessionFault> {
        self.remote_link(remote_handle).ok_or_else(|| {
            Error::new(condition::UNATTACHED_HANDLE, format!("handle {remote_handle} is not attached"))
        })
    }

    /// A link is going: nothing of it stays unsettled, and what waits for the window is given up.
    /// True when frames of it have to leave all the same: a delivery that has not begun leaves as
    /// an aborted one without a payload, because delivery-ids follow each other without a gap
    /// (AMQP 2.7.5) and the next one is promised already. One that has begun is aborted before it.
    fn forget_deliveries(&mut self, handle: u16) -> bool {
        self.incoming.remove_if(|unsettled| unsettled.handle == handle);
        self.outgoing.remove_if(|unsettled| unsettled.handle == handle);
        if let Some(link) = self.links.get_mut(usize::from(handle)) {
            link.unfinished = None;
        }
        let handle = u32::from(handle);
        let has_to_wait = self.pending.iter().any(|pending| {
            matches!(pending, Pending::Transfer { transfer, .. }
                if transfer.handle == handle && transfer.delivery_id.is_some())
        });
        let bytes = &mut self.pending_bytes;
        let mut is_oldest = true;
        self.pending.retain_mut(|pending| {
            let Pending::Transfer { transfer, payload } = pending else { return true };
            if transfer.handle != handle {
                return true;
            }
            *bytes -= Pending::cost(payload);
            // Only the oldest frame can belong to a delivery that has begun.
            let stays = has_to_wait && (transfer.delivery_id.is_some() || is_oldest);
            is_oldest = false;
            if stays {
                *payload = Bytes::new();
                *bytes += Pending::cost(payload);
                transfer.more = false;
                transfer.aborted = true;
            }
            stays
        });
        has_to_wait
    }

    // ---- flow -------------------------------------------------------------------------------

    /// AMQP 2.7.4.
    pub(crate) fn handle_flow(
        &mut self,
        wire: &mut Wire<'_>,
        flow: &Flow,
        events: &mut Events,
    ) -> Result<(), SessionFault> {
        // AMQP 2.5.6: remote-incoming-window is next-incoming-id plus incoming-window of the flow,
        // minus our next-outgoing-id. Absent: the peer has not seen our begin, which said 0.
        let behind = flow.next_incoming_id.unwrap_or(0).wrapping_sub(self.next_outgoing_id).cast_signed();
        // A peer cannot have seen more than we sent.
        let window = i64::from(flow.incoming_window) + i64::from(behind.min(0));
        self.remote_incoming_window = u32::try_from(window.max(0)).unwrap_or(u32::MAX);
        self.send_pending(wire);
        let Some(remote_handle) = flow.handle else {
            if flow.echo {
                self.write_flow(wire, None);
            }
            return Ok(());
        };
        let handle = self.attached(remote_handle)?;
        let Some(link) = self.links.get_mut(usize::from(handle)) else { return Ok(()) };
        if !matches!(link.state, LinkState::Attached | LinkState::Offered) {
            return Ok(());
        }
        // AMQP 2.6.2: no frame of ours names a handle that we have not attached.
        let is_offered = link.state == LinkState::Offered;
        link.owes_flow |= flow.echo && is_offered;
        let (token, generation) = (link.token, link.generation);
        match link.role {
            Role::Sender => {
                link.take_credit(flow.delivery_count, flow.link_credit.unwrap_or(0));
                link.drain = flow.drain;
                let (credit, drain) = (link.credit, link.drain);
                let transaction = acquisition(flow)?;
                let link = self.link_key(usize::from(handle), generation);
                events.push_back(Event::LinkFlow { link, token, credit, drain, transaction });
            }
            Role::Receiver => {
                if let Some(count) = flow.delivery_count {
                    // AMQP 2.6.7: a drained sender has advanced its count over the credit it gives back.
                    let used = count.wrapping_sub(link.delivery_count);
                    if used <= link.credit {
                        link.delivery_count = count;
                        link.credit -= used;
                    }
                }
                let key = self.link_key(usize::from(handle), generation);
                self.note_drained(key, events);
            }
        }
        if flow.echo && !is_offered {
            self.write_flow(wire, Some(handle));
        }
        Ok(())
    }

    fn write_flow(&mut self, wire: &mut Wire<'_>, handle: Option<u16>) {
        // Every flow tells the window, so what has been consumed is told with it.
        self.incoming_window = self.incoming_window.saturating_add(std::mem::take(&mut self.consumed));
        let link = handle.and_then(|handle| self.links.get(usize::from(handle)));
        let flow = Flow {
            next_incoming_id: self.remote_channel.map(|_| self.next_incoming_id),
            incoming_window: self.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: OUTGOING_WINDOW,
            handle: link.and(handle).map(u32::from),
            delivery_count: link.map(|link| link.told().0),
            link_credit: link.map(|link| link.told().1),
            available: None,
            drain: link.is_some_and(|link| link.drain),
            echo: false,
            properties: link.and_then(|link| link.acquisition.as_deref()).map_or_else(Vec::new, txn_id),
        };
        wire.write(self.key.channel, &Performative::Flow(flow));
    }

    /// Gives the peer credit for further deliveries.
    pub(crate) fn grant(&mut self, wire: &mut Wire<'_>, key: LinkKey, credit: u32) -> Result<(), Misuse> {
        let link = self.receiving(key)?;
        link.credit = link.credit.saturating_add(credit);
        link.drain = false;
        self.write_flow(wire, Some(key.handle));
        Ok(())
    }

    /// What the link's credit brings is acquired in `transaction` from now on, or in none.
    pub(crate) fn acquire(
        &mut self,
        wire: &mut Wire<'_>,
        key: LinkKey,
        transaction: Option<TransactionId>,
    ) -> Result<(), Misuse> {
        self.receiving(key)?.acquisition = transaction.map(Box::new);
        self.write_flow(wire, Some(key.handle));
        Ok(())
    }

    /// Asks the peer to use its credit now or give it back (AMQP 2.6.7).
    pub(crate) fn drain(&mut self, wire: &mut Wire<'_>, key: LinkKey) -> Result<(), Misuse> {
        self.receiving(key)?.drain = true;
        self.write_flow(wire, Some(key.handle));
        Ok(())
    }

    /// Gives back all credit of a link that the peer drains.
    pub(crate) fn drained(&mut self, wire: &mut Wire<'_>, key: LinkKey) -> Result<(), Misuse> {
        let link = self.sending(key)?;
        link.delivery_count = link.delivery_count.wrapping_add(link.credit);
        link.credit = 0;
        self.write_flow(wire, Some(key.handle));
        Ok(())
    }

    fn receiving(&mut self, key: LinkKey) -> Result<&mut Link, Misuse> {
        let link = self.link_mut(key)?;
        match (link.role, link.state) {
            (Role::Receiver, LinkState::Attached) => Ok(link),
            (Role::Receiver, _) => Err(Misuse::State),
            (Role::Sender, _) => Err(Misuse::WrongRole),
        }
    }

    fn sending(&mut self, key: LinkKey) -> Result<&mut Link, Misuse> {
        let link = self.link_mut(key)?;
        match (link.role, link.state) {
            (Role::Sender, LinkState::Attached) => Ok(link),
            (Role::Sender, _) => Err(Misuse::State),
            (Role::Receiver, _) => Err(Misuse::WrongRole),
        }
    }

    /// The caller has passed `frames` transfer frames on: the peer may send as many again.
    pub(crate) fn consume(&mut self, frames: u32) {
        self.consumed = self.consumed.saturating_add(frames);
    }

    // ---- incoming transfers -----------------------------------------------------------------

    /// AMQP 2.7.5.
    pub(crate) fn handle_transfer(
        &mut self,
        wire: &mut Wire<'_>,
        limits: &Limits,
        transfer: Transfer,
        payload: Bytes,
        events: &mut Events,
    ) -> Result<(), SessionFault> {
        if self.incoming_window == 0 {
            return Err(Error::new(condition::WINDOW_VIOLATION, "a transfer beyond the incoming window"));
        }
        self.incoming_window -= 1;
        // AMQP 2.5.6: next-incoming-id counts transfer frames, not deliveries.
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        let handle = self.attached(transfer.handle)?;
        let first = match self.links.get(usize::from(handle)) {
            Some(link) if link.role == Role::Sender => {
                return Err(Error::new(condition::NOT_ALLOWED, "a transfer on a link whose sender we are"));
            }
            Some(link) if link.state == LinkState::Detaching => {
                self.consumed += 1;
                return self.skip_delivery_id(&transfer);
            }
            Some(link) => link.unfinished.is_none(),
            None => return Ok(()),
        };
        if first {
            self.start_delivery(wire, limits, handle, transfer, payload, events)
        } else {
            self.continue_delivery(wire, handle, transfer, payload, events)
        }
    }

    /// A delivery on a link that is on its way out still takes its id.
    fn skip_delivery_id(&mut self, transfer: &Transfer) -> Result<(), SessionFault> {
        if let (Some(id), Some(next)) = (transfer.delivery_id, self.next_incoming_delivery)
            && DeliveryId(id) == next
        {
            self.next_incoming_delivery = Some(next.next());
        }
        Ok(())
    }

    fn start_delivery(
        &mut self,
        wire: &mut Wire<'_>,
        limits: &Limits,
        handle: u16,
        transfer: Transfer,
        payload: Bytes,
        events: &mut Events,
    ) -> Result<(), SessionFault> {
        let (Some(id), Some(tag)) = (transfer.delivery_id, transfer.delivery_tag) else {
            return Err(Error::new(
                condition::INVALID_FIELD,
                "the first transfer of a delivery needs delivery-id and delivery-tag",
            ));
        };
        let id = DeliveryId(id);
        if self.next_incoming_delivery.is_some_and(|next| next != id) {
            let text = format!("delivery-id {} does not follow the one before", id.0);
            return Err(Error::new(condition::INVALID_FIELD, text));
        }
        self.next_incoming_delivery = Some(id.next());
        let Some(link) = self.links.get_mut(usize::from(handle)) else { return Ok(()) };
        let key = LinkKey { session: self.key, handle, generation: link.generation };
        let token = link.token;
        if link.credit == 0 {
            self.consumed += 1;
            let error = Error::new(condition::TRANSFER_LIMIT_EXCEEDED, "a delivery without credit");
            self.fail_link(wire, key, error, events);
            return Ok(());
        }
        link.count_delivery();
        let settled = transfer.settled.unwrap_or(false);
        if link.max_message_size > 0 && payload.len() as u64 > link.max_message_size {
            self.consumed += 1;
            self.fail_oversize(wire, key, events);
            return Ok(());
        }
        // AMQP 2.7.5, resume: "The receiver MUST ignore resumed deliveries that are not in its local
        // unsettled map", and ours is always empty.
        let is_ignored = transfer.resume;
        if transfer.more && !transfer.aborted {
            let bytes = payload.len() as u64;
            link.unfinished = Some(Unfinished { id, token: NO_TOKEN, settled, bytes, is_ignored });
        }
        if transfer.aborted || is_ignored {
            self.consumed += 1;
            self.note_drained(key, events);
            return Ok(());
        }
        if !settled {
            if self.incoming.len() >= limits.max_unsettled as usize {
                let text = format!("more than {} unsettled deliveries in a session", limits.max_unsettled);
                return Err(Error::new(condition::RESOURCE_LIMIT_EXCEEDED, text));
            }
            self.incoming.push(id, Unsettled { handle, token: NO_TOKEN });
        }
        events.push_back(Event::Transfer(IncomingTransfer {
            link: key,
            token,
            delivery: DeliveryKey { session: self.key, id },
            delivery_token: NO_TOKEN,
            first: true,
            more: transfer.more,
            settled,
            aborted: false,
            tag,
            message_format: transfer.message_format.unwrap_or(0),
            state: transfer.state,
            payload,
        }));
        self.note_drained(key, events);
        Ok(())
    }

    /// AMQP 2.6.7: a sender that used its last credit has nothing left to give back.
    fn note_drained(&mut self, key: LinkKey, events: &mut Events) {
        if let Ok(link) = self.link_mut(key)
            && link.drain
            && link.credit == 0
        {
            link.drain = false;
            let token = link.token;
            events.push_back(Event::LinkDrained { link: key, token });
        }
    }

    fn continue_delivery(
        &mut self,
        wire: &mut Wire<'_>,
        handle: u16,
        transfer: Transfer,
        payload: Bytes,
        events: &mut Events,
    ) -> Result<(), SessionFault> {
        let Some(link) = self.links.get_mut(usize::from(handle)) else { return Ok(()) };
        let key = LinkKey { session: self.key, handle, generation: link.generation };
        let Some(unfinished) = &mut link.unfinished else { return Ok(()) };
        if transfer.delivery_id.is_some_and(|id| id != unfinished.id.0) {
            let text = format!("delivery {} is unfinished on the link", unfinished.id.0);
            return Err(Error::new(condition::INVALID_FIELD, text));
        }
        unfinished.bytes += payload.len() as u64;
        if link.max_message_size > 0 && unfinished.bytes > link.max_message_size {
            self.consumed += 1;
            self.fail_oversize(wire, key, events);
            return Ok(());
        }
        // AMQP 2.7.5: settled is true when any transfer of the delivery said so.
        let newly_settled = transfer.settled == Some(true) && !unfinished.settled;
        unfinished.settled |= newly_settled;
        let Unfinished { id, token: delivery_token, settled, is_ignored, .. } = *unfinished;
        let token = link.token;
        if !transfer.more || transfer.aborted {
            link.unfinished = None;
        }
        if is_ignored {
            self.consumed += 1;
            return Ok(());
        }
        if newly_settled || transfer.aborted {
            // AMQP 2.7.5: "Aborted messages SHOULD be discarded by the recipient", settled.
            self.incoming.remove(id);
        }
        events.push_back(Event::Transfer(IncomingTransfer {
            link: key,
            token,
            delivery: DeliveryKey { session: self.key, id },
            delivery_token,
            first: false,
            more: transfer.more && !transfer.aborted,
            settled,
            aborted: transfer.aborted,
            tag: Tag::default(),
            message_format: 0,
            state: transfer.state,
            payload,
        }));
        Ok(())
    }

    fn fail_oversize(&mut self, wire: &mut Wire<'_>, key: LinkKey, events: &mut Events) {
        let Ok(link) = self.link(key) else { return };
        let (limit, token) = (link.max_message_size, link.token);
        events.push_back(Event::MessageTooLarge { link: key, token, limit });
        let text =
            format!("a message is larger than the link takes (max-message-size: {limit}); send smaller ones");
        self.fail_link(wire, key, Error::new(condition::MESSAGE_SIZE_EXCEEDED, text), events);
    }

    /// Detaches a link on which the peer broke a rule.
    fn fail_link(&mut self, wire: &mut Wire<'_>, key: LinkKey, error: Error, events: &mut Events) {
        let Ok(link) = self.link(key) else { return };
        let (role, token) = (link.role, link.token);
        let error = Some(Box::new(error));
        if self.detach(wire, key, true, error.clone()).is_ok() {
            events.push_back(Event::LinkDetached { link: key, role, token, closed: true, error });
        }
    }

    /// Names an incoming delivery, so that what comes later of it carries the caller's token.
    pub(crate) fn name_delivery(&mut self, link: LinkKey, id: DeliveryId, token: u64) {
        if let Some(unsettled) = self.incoming.get_mut(id) {
            unsettled.token = token;
        }
        if let Ok(link) = self.link_mut(link)
            && let Some(unfinished) = &mut link.unfinished
            && unfinished.id == id
        {
            unfinished.token = token;
        }
    }

    // ---- outgoing transfers -----------------------------------------------------------------

    /// Starts a delivery.
    pub(crate) fn send(
        &mut self,
        wire: &mut Wire<'_>,
        key: LinkKey,
        outgoing: Outgoing,
        state: Option<DeliveryState>,
    ) -> Result<DeliveryKey, Misuse> {
        let id = self.next_outgoing_delivery;
        let link = self.sending(key)?;
        if link.credit == 0 {
            return Err(Misuse::NoCredit);
        }
        if link.unfinished.is_some() {
            return Err(Misuse::Unfinished);
        }
        link.count_delivery();
        if outgoing.more {
            let (token, settled) = (outgoing.token, outgoing.settled);
            link.unfinished = Some(Unfinished { id, token, settled, bytes: 0, is_ignored: false });
        }
        self.next_outgoing_delivery = id.next();
        if !outgoing.settled {
            self.outgoing.push(id, Unsettled { handle: key.handle, token: outgoing.token });
        }
        let transfer = Transfer {
            handle: u32::from(key.handle),
            delivery_id: Some(id.0),
            delivery_tag: Some(outgoing.tag),
            message_format: Some(outgoing.message_format),
            settled: Some(outgoing.settled),
            more: outgoing.more,
            rcv_settle_mode: None,
            state,
            resume: false,
            aborted: false,
            batchable: false,
        };
        self.write_payload(wire, transfer, outgoing.payload);
        Ok(DeliveryKey { session: self.key, id })
    }

    /// Goes on with the unfinished delivery of a link.
    pub(crate) fn send_more(
        &mut self,
        wire: &mut Wire<'_>,
        key: LinkKey,
        payload: Bytes,
        more: bool,
    ) -> Result<(), Misuse> {
        let link = self.sending(key)?;
        link.unfinished.as_ref().ok_or(Misuse::NotStarted)?;
        if !more {
            link.unfinished = None;
        }
        self.write_payload(wire, Transfer::continuation(key.handle, more), payload);
        Ok(())
    }

    /// Gives the unfinished delivery of a link up (AMQP 2.6.14).
    pub(crate) fn abort(&mut self, wire: &mut Wire<'_>, key: LinkKey) -> Result<(), Misuse> {
        let link = self.sending(key)?;
        let unfinished = link.unfinished.take().ok_or(Misuse::NotStarted)?;
        self.outgoing.remove(unfinished.id);
        let transfer = Transfer { aborted: true, ..Transfer::continuation(key.handle, false) };
        self.write_payload(wire, transfer, Bytes::new());
        Ok(())
    }

    /// Splits a payload into frames where transfer ids are counted: each frame takes one.
    fn write_payload(&mut self, wire: &mut Wire<'_>, mut transfer: Transfer, mut payload: Bytes) {
        while self.remote_incoming_window > 0 && self.pending.is_empty() {
            let rest = self.write_transfer(wire, &mut transfer, payload);
            if rest.is_empty() {
                return;
            }
            transfer = transfer.following();
            payload = rest;
        }
        if transfer.delivery_id.is_some()
            && let Some(link) = self.links.get_mut(transfer.handle as usize)
        {
            link.unsent += 1;
        }
        self.pending_bytes += Pending::cost(&payload);
        self.pending.push_back(Pending::Transfer { transfer, payload });
    }

    fn write_transfer(&mut self, wire: &mut Wire<'_>, transfer: &mut Transfer, payload: Bytes) -> Bytes {
        self.remote_incoming_window -= 1;
        self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
        wire.write_transfer(self.key.channel, transfer, payload)
    }

    fn send_pending(&mut self, wire: &mut Wire<'_>) {
        while let Some(next) = self.pending.pop_front() {
            match next {
                Pending::Transfer { mut transfer, payload } if self.remote_incoming_window > 0 => {
                    if transfer.delivery_id.is_some()
                        && let Some(link) = self.links.get_mut(transfer.handle as usize)
                    {
                        link.unsent = link.unsent.saturating_sub(1);
                    }
                    self.pending_bytes -= Pending::cost(&payload);
                    let rest = self.write_transfer(wire, &mut transfer, payload);
                    if !rest.is_empty() {
                        self.pending_bytes += Pending::cost(&rest);
                        let transfer = transfer.following();
                        self.pending.push_front(Pending::Transfer { transfer, payload: rest });
                    }
                }
                Pending::Transfer { .. } => {
                    self.pending.push_front(next);
                    return;
                }
                Pending::Detach(detach) => self.write_late_detach(wire, detach),
            }
        }
    }

    fn write_late_detach(&mut self, wire: &mut Wire<'_>, detach: Detach) {
        let handle = detach.handle as usize;
        wire.write(self.key.channel, &Performative::Detach(detach));
        if self.links.get(handle).is_some_and(|link| link.state == LinkState::Leaving) {
            self.links.remove(handle);
        }
    }

    // ---- settlement -------------------------------------------------------------------------

    /// AMQP 2.7.6. Only what is unsettled here is touched, whatever the range says.
    pub(crate) fn handle_disposition(
        &mut self,
        disposition: &Disposition,
        events: &mut Events,
    ) -> Result<(), SessionFault> {
        let first = DeliveryId(disposition.first);
        let last = DeliveryId(disposition.last.unwrap_or(disposition.first));
        if last.distance_from(first) < 0 {
            return Err(Error::new(condition::INVALID_FIELD, "a disposition ends before it begins"));
        }
        let session = self.key;
        // The peer's role: a receiver speaks of what we sent.
        let (window, role) = match disposition.role {
            Role::Receiver => (&mut self.outgoing, Role::Sender),
            Role::Sender => (&mut self.incoming, Role::Receiver),
        };
        window.visit_range(first, last, |id, unsettled| {
            events.push_back(Event::Disposition {
                role,
                delivery: DeliveryKey { session, id },
                delivery_token: unsettled.token,
                state: disposition.state.clone(),
                settled: disposition.settled,
            });
            disposition.settled
        });
        Ok(())
    }

    /// Tells the peer the state of a delivery, and settles it when `settled`. `role` is ours.
    pub(crate) fn settle(
        &mut self,
        wire: &mut Wire<'_>,
        role: Role,
        id: DeliveryId,
        state: Option<DeliveryState>,
        settled: bool,
    ) -> bool {
        let window = match role {
            Role::Receiver => &mut self.incoming,
            Role::Sender => &mut self.outgoing,
        };
        let known = if settled { window.remove(id).is_some() } else { window.get_mut(id).is_some() };
        if !known {
            return false;
        }
        if role == Role::Sender && self.settle_unsent(id, settled) {
            return true;
        }
        let waiting = self.settlements.slot(role);
        if let Some(settlement) = waiting
            && settlement.last.next() == id
            && settlement.settled == settled
            && settlement.state == state
        {
            settlement.last = id;
            return true;
        }
        if waiting.is_some() {
            self.flush_settlements(wire);
        }
        let settlement = Settlement { first: id, last: id, settled, state };
        *self.settlements.slot(role) = Some(settlement);
        true
    }

    /// A delivery that still waits for the window is settled by its own first frame: a disposition
    /// would name a delivery that the peer does not know yet, and be forgotten. False when it does
    /// not wait.
    fn settle_unsent(&mut self, id: DeliveryId, settled: bool) -> bool {
        let first = self.pending.iter_mut().find_map(|pending| match pending {
            Pending::Transfer { transfer, .. } if transfer.delivery_id == Some(id.0) => Some(transfer),
            _ => None,
        });
        let Some(transfer) = first else { return false };
        transfer.settled = Some(settled);
        true
    }

    fn flush_settlements(&mut self, wire: &mut Wire<'_>) {
        for role in [Role::Receiver, Role::Sender] {
            let Some(settlement) = self.settlements.slot(role).take() else { continue };
            let disposition = Disposition {
                role,
                first: settlement.first.0,
                last: (settlement.last != settlement.first).then_some(settlement.last.0),
                settled: settlement.settled,
                state: settlement.state,
                batchable: false,
            };
            wire.write(self.key.channel, &Performative::Disposition(disposition));
        }
    }

    // ---- turn and end -----------------------------------------------------------------------

    /// Writes what the turn has gathered: settlements, and the window when half of it is used.
    pub(crate) fn flush(&mut self, wire: &mut Wire<'_>, limits: &Limits) {
        self.is_dirty = false;
        if self.state == SessionState::Ending {
            return;
        }
        self.flush_settlements(wire);
        if self.consumed > 0 && self.incoming_window <= limits.incoming_window / 2 {
            self.write_flow(wire, None);
        }
    }

    /// Ends the session from our side.
    pub(crate) fn end(&mut self, wire: &mut Wire<'_>, error: Option<Box<Error>>) {
        if self.state == SessionState::Ending {
            return;
        }
        self.flush_settlements(wire);
        wire.write(self.key.channel, &Performative::End(End { error }));
        self.state = SessionState::Ending;
        self.pending = VecDeque::new();
        self.pending_bytes = 0;
        self.incoming = Window::default();
        self.outgoing = Window::default();
    }

    /// The links that the caller still knows, to be told that they are gone.
    pub(crate) fn take_links(&mut self) -> Vec<(Role, u64)> {
        let links = std::mem::take(&mut self.links);
        self.remote_handles = Vec::new();
        let known = links.into_iter().filter(|(_, link)| link.state.is_known());
        known.map(|(_, link)| (link.role, link.token)).filter(|(_, token)| *token != NO_TOKEN).collect()
    }

    pub(crate) fn shrink(&mut self) {
        self.incoming.shrink();
        self.outgoing.shrink();
        self.pending.shrink_to(self.pending.len());
    }

    /// Entries and bytes of memory kept for what may come.
    #[cfg(test)]
    pub(crate) fn spare_capacity(&self) -> usize {
        self.incoming.capacity() + self.outgoing.capacity() + self.pending.capacity()
    }

    /// As after `id` transfers and deliveries out and `id` in; both ends have to be told.
    #[cfg(test)]
    pub(crate) fn start_ids_at(&mut self, id: u32) {
        (self.next_incoming_id, self.next_outgoing_id) = (id, id);
        self.next_outgoing_delivery = DeliveryId(id);
    }

    /// Bytes that wait for the peer's window.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    pub(crate) fn info(&self) -> SessionInfo {
        SessionInfo {
            key: self.key,
            remote_channel: self.remote_channel.unwrap_or(self.key.channel),
            incoming_window: self.incoming_window,
            remote_incoming_window: self.remote_incoming_window,
            links: self.links.len(),
            unsettled_incoming: self.incoming.len(),
            unsettled_outgoing: self.outgoing.len(),
            token: self.token,
        }
    }
}

impl Pending {
    /// Bytes that a waiting transfer takes: small payloads cost more than their length.
    fn cost(payload: &Bytes) -> usize {
        payload.len() + size_of::<Self>()
    }

    fn is_detach_of(&self, handle: u16) -> bool {
        matches!(self, Self::Detach(detach) if detach.handle == u32::from(handle))
    }
}

/// The property of a flow that names the transaction for what it gives credit for (AMQP 4.4.3).
const TXN_ID: Symbol = Symbol::from_static("txn-id");

fn txn_id(transaction: &TransactionId) -> Vec<(Value, Value)> {
    vec![(TXN_ID.into(), Bytes::copy_from_slice(transaction.as_bytes()).into())]
}

/// The transaction that the credit of a flow acquires in.
fn acquisition(flow: &Flow) -> Result<Option<Box<TransactionId>>, SessionFault> {
    let named = flow.properties.iter().find(|(key, _)| key.as_str() == Some(TXN_ID.as_str()));
    let transaction = match named {
        None | Some((_, Value::Null)) => return Ok(None),
        Some((_, Value::Binary(id))) => TransactionId::new(id),
        Some(_) => None,
    };
    let text = "the txn-id of a flow has to be a binary of at most 32 bytes";
    transaction.map(|id| Some(Box::new(id))).ok_or_else(|| Error::new(condition::INVALID_FIELD, text))
}

/// The longest address in an attach, in bytes.
fn longest_address(attach: &Attach) -> usize {
    let source = attach.source.as_ref().and_then(|source| source.address.as_ref());
    let target = attach.target.as_ref().and_then(|target| match target.as_ref() {
        Target::Node(target) => target.address.as_ref(),
        Target::Coordinator { .. } => None,
    });
    source.into_iter().chain(target).map(|address| address.as_str().len()).max().unwrap_or(0)
}

/// A delivery that we start.
#[derive(Debug)]
pub struct Outgoing {
    pub tag: Tag,
    /// The caller's name of the delivery, given back with its dispositions.
    pub token: u64,
    pub settled: bool,
    pub message_format: u32,
    pub payload: Bytes,
    /// Further payload follows with `send_more`.
    pub more: bool,
}

/// A session as the outside sees it.
#[derive(Clone, Copy, Debug)]
pub struct SessionInfo {
    pub key: SessionKey,
    pub remote_channel: u16,
    pub incoming_window: u32,
    pub remote_incoming_window: u32,
    pub links: usize,
    pub unsettled_incoming: usize,
    pub unsettled_outgoing: usize,
    pub token: u64,
}

impl Transfer {
    /// A further frame of a delivery.
    fn continuation(handle: u16, more: bool) -> Self {
        Self {
            handle: u32::from(handle),
            delivery_id: None,
            delivery_tag: None,
            message_format: None,
            settled: None,
            more,
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: false,
            batchable: false,
        }
    }

    /// What the next frame of the same delivery says.
    fn following(&self) -> Self {
        Self { handle: self.handle, aborted: self.aborted, ..Self::continuation(0, self.more) }
    }
}
