//! Performatives, SASL frames and termini from bytes.
//!
//! Fields are read in their order straight into the struct, so that transfer, disposition and flow
//! allocate nothing.

use bytes::{Buf, Bytes};

use super::{
    DecodeError, Fault,
    constructor::{self, descriptor},
    fault,
    reader::{DEPTH_MAX, Fields, Reader},
    values::{self, Values},
};
use crate::{
    performative::{
        Attach, Begin, Close, DeliveryState, Detach, Disposition, End, Error, Flow, NodeTarget, Open,
        Performative, ReceiverSettleMode, Role, SaslCode, SaslFrame, SenderSettleMode, Source, Tag, Target,
        TerminusDurability, TerminusExpiryPolicy, Transfer,
    },
    transaction::{TransactionId, TransactionalState},
    value::{Symbol, Value},
};

/// Symbols in one field that may hold several.
pub const SYMBOLS_MAX: u32 = 4096;

/// Deliveries in the unsettled map of one attach. A larger one comes in parts (AMQP 2.7.3,
/// incomplete-unsettled).
pub const UNSETTLED_MAX: u32 = 65_536;

/// Decodes the performative at the front of a frame's body (AMQP 2.7) and leaves in `body` the payload
/// that follows a transfer, as the slice it arrived in. After an error `body` is as it was.
///
/// # Errors
///
/// When the bytes are not a performative, when a field is absent that must not be or holds what it must
/// not, when a limit is crossed, and when anything follows a performative that carries no payload.
pub fn decode_performative(body: &mut Bytes) -> Result<Performative, DecodeError> {
    let mut reader = Reader::new(body);
    // One result, filled in where the caller wants it: moving it costs as much as decoding it.
    let performative = performative(&mut reader);
    let consumed = reader.offset();
    if performative.is_ok() {
        body.advance(consumed);
    }
    performative
}

/// Decodes the body of a SASL frame (AMQP 5.3.3), which nothing may follow.
///
/// # Errors
///
/// As [`decode_performative`].
pub fn decode_sasl(body: &mut Bytes) -> Result<SaslFrame, DecodeError> {
    let mut reader = Reader::new(body);
    let frame = sasl(&mut reader)?;
    reader.finish("sasl frame body")?;
    body.clear();
    Ok(frame)
}

/// Decodes the value at the front of `bytes` and leaves what follows it. After an error `bytes` is as it
/// was.
///
/// # Errors
///
/// When the bytes are not a value, or one deeper than [`DEPTH_MAX`](super::DEPTH_MAX) or made of more than
/// [`VALUES_MAX`](super::VALUES_MAX) values.
pub fn decode_value(bytes: &mut Bytes) -> Result<Value, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = Values::new().value(&mut reader, DEPTH_MAX, "value")?;
    let consumed = reader.offset();
    bytes.advance(consumed);
    Ok(value)
}

/// Reads the descriptor of a composite from its first byte on.
#[inline(always)]
fn described(reader: &mut Reader<'_>, what: &'static str) -> Result<u64, Fault> {
    match reader.byte(what)? {
        constructor::DESCRIBED => reader.descriptor(what),
        code => Err(reader.unexpected(code, what)),
    }
}

/// Reads a performative and, unless it is a transfer, the end of the frame behind it. The frequent ones have
/// a function of their own, the others share one, so that the large ones do not weigh on the small.
#[inline(always)]
fn performative(reader: &mut Reader<'_>) -> Result<Performative, DecodeError> {
    let start = reader.offset();
    match described(reader, "performative") {
        Ok(descriptor::TRANSFER) => transfer(reader),
        Ok(descriptor::DISPOSITION) => disposition(reader),
        Ok(descriptor::FLOW) => flow(reader),
        Ok(kind) => rare_performative(reader, kind, start),
        Err(fault) => Err(fault.into()),
    }
}

#[cold]
fn rare_performative(reader: &mut Reader<'_>, kind: u64, start: usize) -> Result<Performative, DecodeError> {
    // What outlives the frame copies what it keeps: a slice would hold on to the whole read buffer.
    *reader = reader.copying();
    let performative = match kind {
        descriptor::OPEN => Performative::Open(Box::new(open(reader)?)),
        descriptor::BEGIN => Performative::Begin(Box::new(begin(reader)?)),
        descriptor::ATTACH => Performative::Attach(Box::new(attach(reader)?)),
        descriptor::DETACH => Performative::Detach(detach(reader)?),
        descriptor::END => Performative::End(end(reader)?),
        descriptor::CLOSE => Performative::Close(close(reader)?),
        _ => return Err(DecodeError::UnknownDescriptor { what: "performative", offset: start }),
    };
    reader.finish(FRAME_BODY)?;
    Ok(performative)
}

const FRAME_BODY: &str = "frame body";

fn open(reader: &mut Reader<'_>) -> Result<Open, Fault> {
    let mut fields = Fields::open(reader, 10, "open")?;
    let open = Open {
        container_id: fields.mandatory("open.container-id", Reader::text)?,
        hostname: fields.optional("open.hostname", Reader::text)?,
        max_frame_size: fields.optional("open.max-frame-size", Reader::uint)?,
        channel_max: fields.optional("open.channel-max", Reader::ushort)?,
        idle_time_out: fields.optional("open.idle-time-out", Reader::uint)?,
        outgoing_locales: symbols(&mut fields, "open.outgoing-locales")?,
        incoming_locales: symbols(&mut fields, "open.incoming-locales")?,
        offered_capabilities: symbols(&mut fields, "open.offered-capabilities")?,
        desired_capabilities: symbols(&mut fields, "open.desired-capabilities")?,
        properties: map(&mut fields, "open.properties")?,
    };
    fields.finish("open")?;
    Ok(open)
}

fn begin(reader: &mut Reader<'_>) -> Result<Begin, Fault> {
    let mut fields = Fields::open(reader, 8, "begin")?;
    let begin = Begin {
        remote_channel: fields.optional("begin.remote-channel", Reader::ushort)?,
        next_outgoing_id: fields.mandatory("begin.next-outgoing-id", Reader::uint)?,
        incoming_window: fields.mandatory("begin.incoming-window", Reader::uint)?,
        outgoing_window: fields.mandatory("begin.outgoing-window", Reader::uint)?,
        handle_max: fields.optional("begin.handle-max", Reader::uint)?,
        offered_capabilities: symbols(&mut fields, "begin.offered-capabilities")?,
        desired_capabilities: symbols(&mut fields, "begin.desired-capabilities")?,
        properties: map(&mut fields, "begin.properties")?,
    };
    fields.finish("begin")?;
    Ok(begin)
}

fn attach(reader: &mut Reader<'_>) -> Result<Attach, Fault> {
    let mut fields = Fields::open(reader, 14, "attach")?;
    let attach = Attach {
        name: fields.mandatory("attach.name", Reader::text)?,
        handle: fields.mandatory("attach.handle", Reader::uint)?,
        role: fields.mandatory("attach.role", role)?,
        snd_settle_mode: fields.optional("attach.snd-settle-mode", sender_settle_mode)?.unwrap_or_default(),
        rcv_settle_mode: fields.optional("attach.rcv-settle-mode", receiver_settle_mode)?.unwrap_or_default(),
        source: fields.optional("attach.source", source)?.map(Box::new),
        target: fields.optional("attach.target", target)?.map(Box::new),
        unsettled: fields.optional("attach.unsettled", unsettled)?.unwrap_or_default(),
        incomplete_unsettled: fields.flag("attach.incomplete-unsettled")?,
        initial_delivery_count: fields.optional("attach.initial-delivery-count", Reader::uint)?,
        max_message_size: fields.optional("attach.max-message-size", Reader::ulong)?,
        offered_capabilities: symbols(&mut fields, "attach.offered-capabilities")?,
        desired_capabilities: symbols(&mut fields, "attach.desired-capabilities")?,
        properties: map(&mut fields, "attach.properties")?,
    };
    fields.finish("attach")?;
    Ok(attach)
}

#[inline(never)]
fn flow(reader: &mut Reader<'_>) -> Result<Performative, DecodeError> {
    let mut fields = Fields::open(reader, 11, "flow")?;
    let flow = Flow {
        next_incoming_id: fields.optional("flow.next-incoming-id", Reader::uint)?,
        incoming_window: fields.mandatory("flow.incoming-window", Reader::uint)?,
        next_outgoing_id: fields.mandatory("flow.next-outgoing-id", Reader::uint)?,
        outgoing_window: fields.mandatory("flow.outgoing-window", Reader::uint)?,
        handle: fields.optional("flow.handle", Reader::uint)?,
        delivery_count: fields.optional("flow.delivery-count", Reader::uint)?,
        link_credit: fields.optional("flow.link-credit", Reader::uint)?,
        available: fields.optional("flow.available", Reader::uint)?,
        drain: fields.flag("flow.drain")?,
        echo: fields.flag("flow.echo")?,
        properties: map(&mut fields, "flow.properties")?,
    };
    fields.finish("flow")?;
    reader.finish(FRAME_BODY)?;
    Ok(Performative::Flow(flow))
}

#[inline(never)]
fn transfer(reader: &mut Reader<'_>) -> Result<Performative, DecodeError> {
    let mut fields = Fields::open(reader, 11, "transfer")?;
    let mut transfer = Transfer {
        handle: fields.mandatory("transfer.handle", Reader::uint)?,
        delivery_id: fields.optional("transfer.delivery-id", Reader::uint)?,
        delivery_tag: None,
        message_format: None,
        settled: None,
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    };
    // The large fields are written where they stay.
    if let Some(bytes) = fields.optional("transfer.delivery-tag", Reader::binary)? {
        transfer.delivery_tag = Tag::new(bytes);
        if transfer.delivery_tag.is_none() {
            return Err(fields.reader.out_of_range("transfer.delivery-tag").into());
        }
    }
    transfer.message_format = fields.optional("transfer.message-format", Reader::uint)?;
    transfer.settled = fields.optional("transfer.settled", Reader::boolean)?;
    transfer.more = fields.flag("transfer.more")?;
    transfer.rcv_settle_mode = fields.optional("transfer.rcv-settle-mode", receiver_settle_mode)?;
    if fields.take_accepted() {
        transfer.state = Some(DeliveryState::Accepted);
    } else if fields.is_present() {
        transfer.state = fields.whole("transfer.state", state)?;
    }
    transfer.resume = fields.flag("transfer.resume")?;
    transfer.aborted = fields.flag("transfer.aborted")?;
    transfer.batchable = fields.flag("transfer.batchable")?;
    fields.finish("transfer")?;
    Ok(Performative::Transfer(transfer))
}

#[inline(never)]
fn disposition(reader: &mut Reader<'_>) -> Result<Performative, DecodeError> {
    let mut fields = Fields::open(reader, 6, "disposition")?;
    let mut disposition = Disposition {
        role: fields.mandatory("disposition.role", role)?,
        first: fields.mandatory("disposition.first", Reader::uint)?,
        last: fields.optional("disposition.last", Reader::uint)?,
        settled: fields.flag("disposition.settled")?,
        state: None,
        batchable: false,
    };
    if fields.take_accepted() {
        disposition.state = Some(DeliveryState::Accepted);
    } else {
        disposition.state = fields.whole("disposition.state", state)?;
    }
    disposition.batchable = fields.flag("disposition.batchable")?;
    fields.finish("disposition")?;
    reader.finish(FRAME_BODY)?;
    Ok(Performative::Disposition(disposition))
}

fn detach(reader: &mut Reader<'_>) -> Result<Detach, Fault> {
    let mut fields = Fields::open(reader, 3, "detach")?;
    let detach = Detach {
        handle: fields.mandatory("detach.handle", Reader::uint)?,
        closed: fields.flag("detach.closed")?,
        error: fields.optional("detach.error", error)?.map(Box::new),
    };
    fields.finish("detach")?;
    Ok(detach)
}

fn end(reader: &mut Reader<'_>) -> Result<End, Fault> {
    let mut fields = Fields::open(reader, 1, "end")?;
    let end = End { error: fields.optional("end.error", error)?.map(Box::new) };
    fields.finish("end")?;
    Ok(end)
}

fn close(reader: &mut Reader<'_>) -> Result<Close, Fault> {
    let mut fields = Fields::open(reader, 1, "close")?;
    let close = Close { error: fields.optional("close.error", error)?.map(Box::new) };
    fields.finish("close")?;
    Ok(close)
}

fn sasl(reader: &mut Reader<'_>) -> Result<SaslFrame, Fault> {
    let start = reader.offset();
    let (frame, fields) = match described(reader, "sasl frame")? {
        descriptor::SASL_MECHANISMS => {
            let mut fields = Fields::open(reader, 1, "sasl-mechanisms")?;
            let what = "sasl-mechanisms.sasl-server-mechanisms";
            (SaslFrame::Mechanisms(fields.mandatory(what, several_symbols)?), fields)
        }
        descriptor::SASL_INIT => {
            let mut fields = Fields::open(reader, 3, "sasl-init")?;
            let frame = SaslFrame::Init {
                mechanism: fields.mandatory("sasl-init.mechanism", Reader::symbol)?,
                initial_response: fields.optional("sasl-init.initial-response", binary)?,
                hostname: fields.optional("sasl-init.hostname", Reader::text)?,
            };
            (frame, fields)
        }
        descriptor::SASL_CHALLENGE => {
            let mut fields = Fields::open(reader, 1, "sasl-challenge")?;
            (SaslFrame::Challenge(fields.mandatory("sasl-challenge.challenge", binary)?), fields)
        }
        descriptor::SASL_RESPONSE => {
            let mut fields = Fields::open(reader, 1, "sasl-response")?;
            (SaslFrame::Response(fields.mandatory("sasl-response.response", binary)?), fields)
        }
        descriptor::SASL_OUTCOME => {
            let mut fields = Fields::open(reader, 2, "sasl-outcome")?;
            let frame = SaslFrame::Outcome {
                code: fields.mandatory("sasl-outcome.code", sasl_code)?,
                additional_data: fields.optional("sasl-outcome.additional-data", binary)?,
            };
            (frame, fields)
        }
        _ => return Err(fault(DecodeError::UnknownDescriptor { what: "sasl frame", offset: start })),
    };
    fields.finish("sasl frame")?;
    Ok(frame)
}

/// Reads a delivery state or null. One this crate does not know is kept as it came: it is for the peer at
/// the other end of the delivery (AMQP 3.4: the set of states is open).
#[inline(always)]
fn state(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<DeliveryState>, Fault> {
    let start = *reader;
    match reader.byte(what)? {
        constructor::DESCRIBED => {}
        constructor::NULL => return Ok(None),
        code => return Err(reader.unexpected(code, what)),
    }
    let kind = reader.descriptor(what)?;
    if kind == descriptor::ACCEPTED {
        Fields::open(reader, 0, "accepted")?.finish("accepted")?;
        return Ok(Some(DeliveryState::Accepted));
    }
    reader.apart(|reader| other_state(reader, &start, kind, what)).map(Some)
}

/// Reads what follows the descriptor of a state that begins at `start`.
#[inline(never)]
fn other_state<'a>(
    reader: &mut Reader<'a>,
    start: &Reader<'a>,
    kind: u64,
    what: &'static str,
) -> Result<DeliveryState, Fault> {
    Ok(match kind {
        descriptor::RECEIVED => {
            let mut fields = Fields::open(reader, 2, "received")?;
            let state = DeliveryState::Received {
                section_number: fields.mandatory("received.section-number", Reader::uint)?,
                section_offset: fields.mandatory("received.section-offset", Reader::ulong)?,
            };
            fields.finish("received")?;
            state
        }
        descriptor::REJECTED => {
            let mut fields = Fields::open(reader, 1, "rejected")?;
            let state = DeliveryState::Rejected(fields.optional("rejected.error", error)?.map(Box::new));
            fields.finish("rejected")?;
            state
        }
        descriptor::RELEASED => {
            Fields::open(reader, 0, "released")?.finish("released")?;
            DeliveryState::Released
        }
        descriptor::MODIFIED => {
            let mut fields = Fields::open(reader, 3, "modified")?;
            let state = DeliveryState::Modified {
                delivery_failed: fields.optional("modified.delivery-failed", Reader::boolean)?,
                undeliverable_here: fields.optional("modified.undeliverable-here", Reader::boolean)?,
                annotations: fields.whole("modified.message-annotations", raw_map)?,
            };
            fields.finish("modified")?;
            state
        }
        descriptor::DECLARED => {
            let mut fields = Fields::open(reader, 1, "declared")?;
            let transaction = fields.mandatory("declared.txn-id", TransactionId::read)?;
            fields.finish("declared")?;
            DeliveryState::Declared(Box::new(transaction))
        }
        descriptor::TRANSACTIONAL_STATE => {
            let mut fields = Fields::open(reader, 2, "transactional-state")?;
            let state = TransactionalState {
                transaction: fields.mandatory("transactional-state.txn-id", TransactionId::read)?,
                outcome: fields.whole("transactional-state.outcome", inner_outcome)?,
            };
            fields.finish("transactional-state")?;
            DeliveryState::Transactional(Box::new(state))
        }
        _ => {
            // The descriptor was read as one of ours would be; as part of a foreign value it is checked again.
            *reader = *start;
            reader.check_value(DEPTH_MAX, what)?;
            DeliveryState::Other(reader.since(start))
        }
    })
}

/// Reads the outcome inside of a transactional state, which is not such a state again (AMQP 4.5.6): so
/// nothing nests.
fn inner_outcome(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<DeliveryState>, Fault> {
    let start = *reader;
    if reader.byte(what)? == constructor::DESCRIBED
        && reader.descriptor(what)? == descriptor::TRANSACTIONAL_STATE
    {
        return Err(reader.out_of_range(what));
    }
    *reader = start;
    state(reader, what)
}

fn error(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Error, Fault> {
    expect_descriptor(reader, code, descriptor::ERROR, what)?;
    let mut fields = Fields::open(reader, 3, what)?;
    let error = Error {
        condition: fields.mandatory("error.condition", Reader::symbol)?,
        description: fields.optional("error.description", Reader::text)?,
        info: fields.whole("error.info", raw_map)?,
    };
    fields.finish(what)?;
    Ok(error)
}

fn expect_descriptor(
    reader: &mut Reader<'_>,
    code: u8,
    expected: u64,
    what: &'static str,
) -> Result<(), Fault> {
    let offset = reader.offset();
    if code != constructor::DESCRIBED {
        return Err(reader.unexpected(code, what));
    }
    if reader.descriptor(what)? != expected {
        return Err(fault(DecodeError::UnknownDescriptor { what, offset }));
    }
    Ok(())
}

fn source(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Source, Fault> {
    expect_descriptor(reader, code, descriptor::SOURCE, what)?;
    let mut fields = Fields::open(reader, 11, what)?;
    let source = Source {
        address: fields.optional("source.address", Reader::text)?,
        durable: fields.optional("source.durable", durability)?.unwrap_or_default(),
        expiry_policy: fields.optional("source.expiry-policy", expiry_policy)?.unwrap_or_default(),
        timeout: fields.optional("source.timeout", Reader::uint)?.unwrap_or_default(),
        dynamic: fields.flag("source.dynamic")?,
        dynamic_node_properties: map(&mut fields, "source.dynamic-node-properties")?,
        distribution_mode: fields.optional("source.distribution-mode", Reader::symbol)?,
        filter: fields.optional("source.filter", filter)?.unwrap_or_default(),
        default_outcome: fields.whole("source.default-outcome", state)?,
        outcomes: symbols(&mut fields, "source.outcomes")?,
        capabilities: symbols(&mut fields, "source.capabilities")?,
    };
    fields.finish(what)?;
    Ok(source)
}

fn target(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Target, Fault> {
    let offset = reader.offset();
    if code != constructor::DESCRIBED {
        return Err(reader.unexpected(code, what));
    }
    match reader.descriptor(what)? {
        descriptor::TARGET => node_target(reader, what).map(Target::Node),
        descriptor::COORDINATOR => {
            let mut fields = Fields::open(reader, 1, "coordinator")?;
            let capabilities = symbols(&mut fields, "coordinator.capabilities")?;
            fields.finish("coordinator")?;
            Ok(Target::Coordinator { capabilities })
        }
        _ => Err(fault(DecodeError::UnknownDescriptor { what, offset })),
    }
}

fn node_target(reader: &mut Reader<'_>, what: &'static str) -> Result<NodeTarget, Fault> {
    let mut fields = Fields::open(reader, 7, what)?;
    let target = NodeTarget {
        address: fields.optional("target.address", Reader::text)?,
        durable: fields.optional("target.durable", durability)?.unwrap_or_default(),
        expiry_policy: fields.optional("target.expiry-policy", expiry_policy)?.unwrap_or_default(),
        timeout: fields.optional("target.timeout", Reader::uint)?.unwrap_or_default(),
        dynamic: fields.flag("target.dynamic")?,
        dynamic_node_properties: map(&mut fields, "target.dynamic-node-properties")?,
        capabilities: symbols(&mut fields, "target.capabilities")?,
    };
    fields.finish(what)?;
    Ok(target)
}

#[inline(always)]
fn role(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Role, Fault> {
    Ok(if reader.boolean(code, what)? { Role::Receiver } else { Role::Sender })
}

fn sender_settle_mode(
    reader: &mut Reader<'_>,
    code: u8,
    what: &'static str,
) -> Result<SenderSettleMode, Fault> {
    match reader.ubyte(code, what)? {
        0 => Ok(SenderSettleMode::Unsettled),
        1 => Ok(SenderSettleMode::Settled),
        2 => Ok(SenderSettleMode::Mixed),
        _ => Err(reader.out_of_range(what)),
    }
}

#[inline(always)]
fn receiver_settle_mode(
    reader: &mut Reader<'_>,
    code: u8,
    what: &'static str,
) -> Result<ReceiverSettleMode, Fault> {
    match reader.ubyte(code, what)? {
        0 => Ok(ReceiverSettleMode::First),
        1 => Ok(ReceiverSettleMode::Second),
        _ => Err(reader.out_of_range(what)),
    }
}

fn sasl_code(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<SaslCode, Fault> {
    match reader.ubyte(code, what)? {
        0 => Ok(SaslCode::Ok),
        1 => Ok(SaslCode::Auth),
        2 => Ok(SaslCode::Sys),
        3 => Ok(SaslCode::SysPerm),
        4 => Ok(SaslCode::SysTemp),
        _ => Err(reader.out_of_range(what)),
    }
}

fn durability(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<TerminusDurability, Fault> {
    match reader.uint(code, what)? {
        0 => Ok(TerminusDurability::None),
        1 => Ok(TerminusDurability::Configuration),
        2 => Ok(TerminusDurability::UnsettledState),
        _ => Err(reader.out_of_range(what)),
    }
}

fn expiry_policy(
    reader: &mut Reader<'_>,
    code: u8,
    what: &'static str,
) -> Result<TerminusExpiryPolicy, Fault> {
    match reader.symbol_name(code, what)? {
        "link-detach" => Ok(TerminusExpiryPolicy::LinkDetach),
        "session-end" => Ok(TerminusExpiryPolicy::SessionEnd),
        "connection-close" => Ok(TerminusExpiryPolicy::ConnectionClose),
        "never" => Ok(TerminusExpiryPolicy::Never),
        _ => Err(reader.out_of_range(what)),
    }
}

#[inline(always)]
fn tag(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Tag, Fault> {
    let bytes = reader.binary(code, what)?;
    Tag::new(bytes).ok_or_else(|| reader.out_of_range(what))
}

fn binary(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Bytes, Fault> {
    let content = reader.binary(code, what)?;
    Ok(reader.raw(content))
}

/// Reads a field defined with multiple="true" (AMQP 1.4): absent, one symbol, or an array of them.
fn symbols(fields: &mut Fields<'_>, what: &'static str) -> Result<Vec<Symbol>, Fault> {
    Ok(fields.optional(what, several_symbols)?.unwrap_or_default())
}

fn several_symbols(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Vec<Symbol>, Fault> {
    if !matches!(code, constructor::ARRAY_8 | constructor::ARRAY_32) {
        return Ok(vec![reader.symbol(code, what)?]);
    }
    let (mut content, count) = reader.array(code, what)?;
    if count == 0 && content.is_empty() {
        // fe2o3-amqp writes an empty array without the constructor of its elements.
        return Ok(Vec::new());
    }
    let element = content.byte(what)?;
    content.check_elements(element, count, what)?;
    if count > SYMBOLS_MAX {
        return Err(fault(DecodeError::TooMany {
            what,
            count,
            limit: SYMBOLS_MAX,
            offset: content.offset(),
        }));
    }
    let mut symbols = Vec::with_capacity(count.min(16) as usize);
    for _ in 0..count {
        symbols.push(content.symbol(element, what)?);
    }
    content.finish(what)?;
    Ok(symbols)
}

/// Reads a field that is a map, empty when absent.
#[inline(always)]
fn map(fields: &mut Fields<'_>, what: &'static str) -> Result<Vec<(Value, Value)>, Fault> {
    let map =
        fields.optional(what, |reader, code, what| reader.apart(|reader| values::map(reader, code, what)))?;
    Ok(map.unwrap_or_default())
}

/// Reads a map or null and keeps the bytes of the map, checked to be well-formed.
fn raw_map(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<Bytes>, Fault> {
    let start = *reader;
    match reader.byte(what)? {
        constructor::NULL => Ok(None),
        code @ (constructor::MAP_8 | constructor::MAP_32) => {
            reader.check_content(code, DEPTH_MAX, what)?;
            Ok(Some(reader.since(&start)))
        }
        code => Err(reader.unexpected(code, what)),
    }
}

/// Reads a filter set (AMQP 3.5.8): a map with symbols as keys.
fn filter(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Vec<(Symbol, Value)>, Fault> {
    let (mut content, count) = reader.map(code, what)?;
    let mut values = Values::new();
    let mut filters = Vec::with_capacity(count.min(16) as usize);
    for _ in 0..count {
        let key = content.byte(what)?;
        let key = content.symbol(key, what)?;
        filters.push((key, values.value(&mut content, DEPTH_MAX - 1, what)?));
    }
    content.finish(what)?;
    Ok(filters)
}

/// Reads the unsettled map of an attach (AMQP 2.7.3): delivery tags and states.
fn unsettled(
    reader: &mut Reader<'_>,
    code: u8,
    what: &'static str,
) -> Result<Vec<(Tag, Option<DeliveryState>)>, Fault> {
    let (mut content, count) = reader.map(code, what)?;
    if count > UNSETTLED_MAX {
        return Err(fault(DecodeError::TooMany {
            what,
            count,
            limit: UNSETTLED_MAX,
            offset: content.offset(),
        }));
    }
    let mut deliveries = Vec::with_capacity(count.min(16) as usize);
    for _ in 0..count {
        let key = content.byte(what)?;
        let key = tag(&mut content, key, what)?;
        deliveries.push((key, state(&mut content, what)?));
    }
    content.finish(what)?;
    Ok(deliveries)
}
