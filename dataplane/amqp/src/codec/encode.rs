//! Performatives, SASL frames, states and values to bytes, each in its smallest encoding.
//!
//! Everything is appended to a buffer whose capacity the caller keeps, so that encoding allocates nothing.
//! Lengths are 32 bits on the wire. Nothing longer can be in a frame, whose size is 32 bits too.

use bytes::{BufMut, Bytes, BytesMut};

use super::constructor::{self, descriptor};
use crate::{
    performative::{
        Attach, Begin, Close, DeliveryState, Detach, Disposition, End, Error, Flow, NodeTarget, Open,
        Performative, ReceiverSettleMode, Role, SaslFrame, SenderSettleMode, Source, Tag, Target,
        TerminusDurability, TerminusExpiryPolicy, Transfer,
    },
    transaction::TransactionId,
    value::{Array, Kind, Symbol, Text, Value},
};

/// Appends a performative (AMQP 2.7). The payload of a transfer is for the caller to append.
pub fn encode_performative(out: &mut BytesMut, performative: &Performative) {
    match performative {
        Performative::Open(open) => encode_open(out, open),
        Performative::Begin(begin) => encode_begin(out, begin),
        Performative::Attach(attach) => encode_attach(out, attach),
        Performative::Flow(flow) => encode_flow(out, flow),
        Performative::Transfer(transfer) => encode_transfer(out, transfer),
        Performative::Disposition(disposition) => encode_disposition(out, disposition),
        Performative::Detach(detach) => encode_detach(out, detach),
        Performative::End(end) => encode_end(out, end),
        Performative::Close(close) => encode_close(out, close),
    }
}

/// Appends an open (AMQP 2.7.1).
pub fn encode_open(out: &mut BytesMut, open: &Open) {
    let mut list = Fields::begin(out, descriptor::OPEN);
    list.mandatory(&open.container_id, write_text);
    list.optional(open.hostname.as_ref(), write_text);
    list.optional(open.max_frame_size, write_uint);
    list.optional(open.channel_max, write_ushort);
    list.optional(open.idle_time_out, write_uint);
    list.symbols(&open.outgoing_locales);
    list.symbols(&open.incoming_locales);
    list.symbols(&open.offered_capabilities);
    list.symbols(&open.desired_capabilities);
    list.map(&open.properties);
    list.finish();
}

/// Appends a begin (AMQP 2.7.2).
pub fn encode_begin(out: &mut BytesMut, begin: &Begin) {
    let mut list = Fields::begin(out, descriptor::BEGIN);
    list.optional(begin.remote_channel, write_ushort);
    list.mandatory(begin.next_outgoing_id, write_uint);
    list.mandatory(begin.incoming_window, write_uint);
    list.mandatory(begin.outgoing_window, write_uint);
    list.optional(begin.handle_max, write_uint);
    list.symbols(&begin.offered_capabilities);
    list.symbols(&begin.desired_capabilities);
    list.map(&begin.properties);
    list.finish();
}

/// Appends an attach (AMQP 2.7.3).
pub fn encode_attach(out: &mut BytesMut, attach: &Attach) {
    let mut list = Fields::begin(out, descriptor::ATTACH);
    list.mandatory(&attach.name, write_text);
    list.mandatory(attach.handle, write_uint);
    list.mandatory(attach.role, write_role);
    list.unless(attach.snd_settle_mode, SenderSettleMode::default(), |out, mode| {
        write_ubyte(out, mode as u8);
    });
    list.unless(attach.rcv_settle_mode, ReceiverSettleMode::default(), |out, mode| {
        write_ubyte(out, mode as u8);
    });
    list.optional(attach.source.as_deref(), write_source);
    list.optional(attach.target.as_deref(), write_target);
    list.optional((!attach.unsettled.is_empty()).then_some(&attach.unsettled[..]), write_unsettled);
    list.flag(attach.incomplete_unsettled);
    list.optional(attach.initial_delivery_count, write_uint);
    list.optional(attach.max_message_size, write_ulong);
    list.symbols(&attach.offered_capabilities);
    list.symbols(&attach.desired_capabilities);
    list.map(&attach.properties);
    list.finish();
}

/// Appends a flow (AMQP 2.7.4).
pub fn encode_flow(out: &mut BytesMut, flow: &Flow) {
    let mut list = Fields::begin(out, descriptor::FLOW);
    list.optional(flow.next_incoming_id, write_uint);
    list.mandatory(flow.incoming_window, write_uint);
    list.mandatory(flow.next_outgoing_id, write_uint);
    list.mandatory(flow.outgoing_window, write_uint);
    list.optional(flow.handle, write_uint);
    list.optional(flow.delivery_count, write_uint);
    list.optional(flow.link_credit, write_uint);
    list.optional(flow.available, write_uint);
    list.flag(flow.drain);
    list.flag(flow.echo);
    list.map(&flow.properties);
    list.finish();
}

/// Appends a transfer (AMQP 2.7.5), behind which the payload goes.
pub fn encode_transfer(out: &mut BytesMut, transfer: &Transfer) {
    let mut list = Fields::begin(out, descriptor::TRANSFER);
    list.mandatory(transfer.handle, write_uint);
    list.optional(transfer.delivery_id, write_uint);
    list.optional(transfer.delivery_tag.as_ref(), write_tag);
    list.optional(transfer.message_format, write_uint);
    list.optional(transfer.settled, write_boolean);
    list.flag(transfer.more);
    list.optional(transfer.rcv_settle_mode, |out, mode| write_ubyte(out, mode as u8));
    list.optional(transfer.state.as_ref(), encode_state);
    list.flag(transfer.resume);
    list.flag(transfer.aborted);
    list.flag(transfer.batchable);
    list.finish();
}

/// Appends a disposition (AMQP 2.7.6).
pub fn encode_disposition(out: &mut BytesMut, disposition: &Disposition) {
    let mut list = Fields::begin(out, descriptor::DISPOSITION);
    list.mandatory(disposition.role, write_role);
    list.mandatory(disposition.first, write_uint);
    list.optional(disposition.last, write_uint);
    list.flag(disposition.settled);
    list.optional(disposition.state.as_ref(), encode_state);
    list.flag(disposition.batchable);
    list.finish();
}

/// Appends a detach (AMQP 2.7.7).
pub fn encode_detach(out: &mut BytesMut, detach: &Detach) {
    let mut list = Fields::begin(out, descriptor::DETACH);
    list.mandatory(detach.handle, write_uint);
    list.flag(detach.closed);
    list.optional(detach.error.as_deref(), write_error);
    list.finish();
}

/// Appends an end (AMQP 2.7.8).
pub fn encode_end(out: &mut BytesMut, end: &End) {
    let mut list = Fields::begin(out, descriptor::END);
    list.optional(end.error.as_deref(), write_error);
    list.finish();
}

/// Appends a close (AMQP 2.7.9).
pub fn encode_close(out: &mut BytesMut, close: &Close) {
    let mut list = Fields::begin(out, descriptor::CLOSE);
    list.optional(close.error.as_deref(), write_error);
    list.finish();
}

/// Appends the body of a SASL frame (AMQP 5.3.3).
pub fn encode_sasl(out: &mut BytesMut, frame: &SaslFrame) {
    match frame {
        SaslFrame::Mechanisms(mechanisms) => {
            let mut list = Fields::begin(out, descriptor::SASL_MECHANISMS);
            list.mandatory(&mechanisms[..], write_symbols);
            list.finish();
        }
        SaslFrame::Init { mechanism, initial_response, hostname } => {
            let mut list = Fields::begin(out, descriptor::SASL_INIT);
            list.mandatory(mechanism, write_symbol);
            list.optional(initial_response.as_deref(), write_binary);
            list.optional(hostname.as_ref(), write_text);
            list.finish();
        }
        SaslFrame::Challenge(challenge) => {
            let mut list = Fields::begin(out, descriptor::SASL_CHALLENGE);
            list.mandatory(&challenge[..], write_binary);
            list.finish();
        }
        SaslFrame::Response(response) => {
            let mut list = Fields::begin(out, descriptor::SASL_RESPONSE);
            list.mandatory(&response[..], write_binary);
            list.finish();
        }
        SaslFrame::Outcome { code, additional_data } => {
            let mut list = Fields::begin(out, descriptor::SASL_OUTCOME);
            list.mandatory(*code as u8, write_ubyte);
            list.optional(additional_data.as_deref(), write_binary);
            list.finish();
        }
    }
}

/// Appends a delivery state (AMQP 3.4).
pub fn encode_state(out: &mut BytesMut, state: &DeliveryState) {
    match state {
        DeliveryState::Received { section_number, section_offset } => {
            let mut list = Fields::begin(out, descriptor::RECEIVED);
            list.mandatory(*section_number, write_uint);
            list.mandatory(*section_offset, write_ulong);
            list.finish();
        }
        DeliveryState::Accepted => write_empty(out, descriptor::ACCEPTED),
        DeliveryState::Rejected(error) => {
            let mut list = Fields::begin(out, descriptor::REJECTED);
            list.optional(error.as_deref(), write_error);
            list.finish();
        }
        DeliveryState::Released => write_empty(out, descriptor::RELEASED),
        DeliveryState::Modified { delivery_failed, undeliverable_here, annotations } => {
            let mut list = Fields::begin(out, descriptor::MODIFIED);
            list.optional(*delivery_failed, write_boolean);
            list.optional(*undeliverable_here, write_boolean);
            list.optional(annotations.as_ref(), write_raw);
            list.finish();
        }
        DeliveryState::Declared(transaction) => {
            let mut list = Fields::begin(out, descriptor::DECLARED);
            list.mandatory(&**transaction, TransactionId::write);
            list.finish();
        }
        DeliveryState::Transactional(state) => {
            let mut list = Fields::begin(out, descriptor::TRANSACTIONAL_STATE);
            list.mandatory(&state.transaction, TransactionId::write);
            list.optional(state.outcome.as_ref(), encode_state);
            list.finish();
        }
        DeliveryState::Other(raw) => write_raw(out, raw),
    }
}

/// Appends a value of any type.
pub fn encode_value(out: &mut BytesMut, value: &Value) {
    match value {
        Value::Null => out.put_u8(constructor::NULL),
        Value::Boolean(value) => write_boolean(out, *value),
        Value::UByte(value) => write_ubyte(out, *value),
        Value::UShort(value) => write_ushort(out, *value),
        Value::UInt(value) => write_uint(out, *value),
        Value::ULong(value) => write_ulong(out, *value),
        Value::Byte(value) => write_fixed(out, constructor::BYTE, &value.to_be_bytes()),
        Value::Short(value) => write_fixed(out, constructor::SHORT, &value.to_be_bytes()),
        Value::Int(value) => match i8::try_from(*value) {
            Ok(small) => write_fixed(out, constructor::SMALL_INT, &small.to_be_bytes()),
            Err(_) => write_fixed(out, constructor::INT, &value.to_be_bytes()),
        },
        Value::Long(value) => match i8::try_from(*value) {
            Ok(small) => write_fixed(out, constructor::SMALL_LONG, &small.to_be_bytes()),
            Err(_) => write_fixed(out, constructor::LONG, &value.to_be_bytes()),
        },
        Value::Float(value) => write_fixed(out, constructor::FLOAT, &value.to_be_bytes()),
        Value::Double(value) => write_fixed(out, constructor::DOUBLE, &value.to_be_bytes()),
        Value::Decimal32(bits) => write_fixed(out, constructor::DECIMAL_32, bits),
        Value::Decimal64(bits) => write_fixed(out, constructor::DECIMAL_64, bits),
        Value::Decimal128(bits) => write_fixed(out, constructor::DECIMAL_128, bits),
        Value::Char(value) => write_fixed(out, constructor::CHAR, &u32::from(*value).to_be_bytes()),
        Value::Timestamp(milliseconds) => write_timestamp(out, *milliseconds),
        Value::Uuid(bytes) => write_uuid(out, bytes),
        Value::Binary(bytes) => write_binary(out, bytes),
        Value::String(text) => write_text(out, text),
        Value::Symbol(symbol) => write_symbol(out, symbol),
        Value::List(elements) => write_list(out, elements),
        Value::Map(pairs) => write_map(out, pairs),
        Value::Array(array) => write_array(out, array),
        Value::Described(described) => {
            out.put_u8(constructor::DESCRIBED);
            encode_value(out, &described.0);
            encode_value(out, &described.1);
        }
    }
}

/// A composite being written (AMQP 1.4): nulls are held back until a field follows them, so that those at
/// the end are left off.
pub(crate) struct Fields<'a> {
    out: &'a mut BytesMut,
    list: Compound,
    count: u32,
    absent: u32,
}

/// More bytes than a transfer or a disposition takes, whose space is then reserved once for all fields.
const USUAL_SIZE: usize = 128;

impl<'a> Fields<'a> {
    pub(crate) fn begin(out: &'a mut BytesMut, descriptor: u64) -> Self {
        out.reserve(USUAL_SIZE);
        write_descriptor(out, descriptor);
        let list = Compound::begin(out, constructor::LIST_8);
        Self { out, list, count: 0, absent: 0 }
    }

    #[inline]
    pub(crate) fn mandatory<T>(&mut self, value: T, write: impl FnOnce(&mut BytesMut, T)) {
        if self.absent > 0 {
            self.out.put_bytes(constructor::NULL, self.absent as usize);
            self.count += self.absent;
            self.absent = 0;
        }
        self.count += 1;
        write(self.out, value);
    }

    #[inline]
    pub(crate) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut BytesMut, T)) {
        match value {
            Some(value) => self.mandatory(value, write),
            None => self.absent += 1,
        }
    }

    /// A field that may be left off when it has its default.
    #[inline]
    pub(crate) fn unless<T: PartialEq>(
        &mut self,
        value: T,
        default: T,
        write: impl FnOnce(&mut BytesMut, T),
    ) {
        self.optional((value != default).then_some(value), write);
    }

    /// A boolean that is false when left off.
    #[inline]
    pub(crate) fn flag(&mut self, value: bool) {
        self.unless(value, false, write_boolean);
    }

    fn symbols(&mut self, symbols: &[Symbol]) {
        self.optional((!symbols.is_empty()).then_some(symbols), write_symbols);
    }

    fn map(&mut self, pairs: &[(Value, Value)]) {
        self.optional((!pairs.is_empty()).then_some(pairs), write_map);
    }

    #[inline]
    pub(crate) fn finish(self) {
        if self.count == 0 {
            self.list.replace(self.out, constructor::LIST_0);
        } else {
            self.list.finish(self.out, self.count);
        }
    }
}

/// A list, map or array being written: begun in its 8-bit form, which is what nearly all fit into, and
/// widened at the end when this one did not.
pub(crate) struct Compound {
    start: usize,
}

/// Constructor, size and count, 8 bits each.
const NARROW: usize = 3;
/// The same with 32 bits for size and count.
const WIDE: usize = 9;

impl Compound {
    #[inline]
    pub(crate) fn begin(out: &mut BytesMut, narrow: u8) -> Self {
        let start = out.len();
        out.put_slice(&[narrow, 0, 0]);
        Self { start }
    }

    #[inline]
    pub(crate) fn finish(self, out: &mut BytesMut, count: u32) {
        // The size counts what follows itself: the count and the content.
        let size = out.len() - self.start - 2;
        match (u8::try_from(size), u8::try_from(count)) {
            (Ok(size), Ok(count)) => {
                if let Some([_, size_field, count_field]) = out.get_mut(self.start..self.start + NARROW) {
                    *size_field = size;
                    *count_field = count;
                }
            }
            _ => self.widen(out, count),
        }
    }

    #[cold]
    fn widen(self, out: &mut BytesMut, count: u32) {
        let content = self.start + NARROW..out.len();
        out.put_bytes(0, WIDE - NARROW);
        out.copy_within(content, self.start + WIDE);
        if let Some(code) = out.get_mut(self.start) {
            *code |= constructor::WIDE;
        }
        write_wide_head(out, self.start + 1, count);
    }

    /// Puts a single byte in place of all that was written.
    #[inline]
    fn replace(self, out: &mut BytesMut, code: u8) {
        out.truncate(self.start);
        out.put_u8(code);
    }
}

/// Fills in size and count of 32 bits each at `start`, for content that ends where `out` ends.
fn write_wide_head(out: &mut BytesMut, start: usize, count: u32) {
    // The size counts what follows itself: the count and the content.
    let size = length_field(out.len().saturating_sub(start + size_of::<u32>()));
    if let Some((size_field, rest)) = out.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut) {
        *size_field = size.to_be_bytes();
        if let Some(count_field) = rest.first_chunk_mut() {
            *count_field = count.to_be_bytes();
        }
    }
}

/// A length as it goes over the wire; see the top of this file for why it fits.
fn length_field(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "every descriptor of AMQP itself is below 256")]
pub(crate) fn write_descriptor(out: &mut BytesMut, descriptor: u64) {
    out.put_slice(&[constructor::DESCRIBED, constructor::SMALL_ULONG, descriptor as u8]);
}

fn write_empty(out: &mut BytesMut, descriptor: u64) {
    write_descriptor(out, descriptor);
    out.put_u8(constructor::LIST_0);
}

#[inline]
fn write_fixed(out: &mut BytesMut, code: u8, content: &[u8]) {
    out.put_u8(code);
    out.put_slice(content);
}

#[inline]
pub(crate) fn write_boolean(out: &mut BytesMut, value: bool) {
    out.put_u8(if value { constructor::TRUE } else { constructor::FALSE });
}

#[inline]
pub(crate) fn write_ubyte(out: &mut BytesMut, value: u8) {
    out.put_slice(&[constructor::UBYTE, value]);
}

fn write_ushort(out: &mut BytesMut, value: u16) {
    write_fixed(out, constructor::USHORT, &value.to_be_bytes());
}

#[inline]
pub(crate) fn write_uint(out: &mut BytesMut, value: u32) {
    match u8::try_from(value) {
        Ok(0) => out.put_u8(constructor::UINT_0),
        Ok(small) => out.put_slice(&[constructor::SMALL_UINT, small]),
        Err(_) => {
            let [a, b, c, d] = value.to_be_bytes();
            out.put_slice(&[constructor::UINT, a, b, c, d]);
        }
    }
}

pub(crate) fn write_ulong(out: &mut BytesMut, value: u64) {
    match u8::try_from(value) {
        Ok(0) => out.put_u8(constructor::ULONG_0),
        Ok(small) => out.put_slice(&[constructor::SMALL_ULONG, small]),
        Err(_) => write_fixed(out, constructor::ULONG, &value.to_be_bytes()),
    }
}

pub(crate) fn write_timestamp(out: &mut BytesMut, milliseconds: i64) {
    write_fixed(out, constructor::TIMESTAMP, &milliseconds.to_be_bytes());
}

pub(crate) fn write_uuid(out: &mut BytesMut, bytes: &[u8; 16]) {
    write_fixed(out, constructor::UUID, bytes);
}

#[inline]
fn write_role(out: &mut BytesMut, role: Role) {
    write_boolean(out, role == Role::Receiver);
}

#[inline]
fn write_tag(out: &mut BytesMut, tag: &Tag) {
    write_binary(out, tag.as_bytes());
}

#[inline]
fn write_variable(out: &mut BytesMut, narrow: u8, content: &[u8]) {
    match u8::try_from(content.len()) {
        Ok(length) => out.put_slice(&[narrow, length]),
        Err(_) => {
            write_fixed(out, narrow | constructor::WIDE, &length_field(content.len()).to_be_bytes());
        }
    }
    out.put_slice(content);
}

#[inline]
pub(crate) fn write_binary(out: &mut BytesMut, content: &[u8]) {
    write_variable(out, constructor::BINARY_8, content);
}

pub(crate) fn write_text(out: &mut BytesMut, text: &Text) {
    write_variable(out, constructor::STRING_8, text.as_str().as_bytes());
}

pub(crate) fn write_symbol(out: &mut BytesMut, symbol: &Symbol) {
    let name = ascii(symbol.as_str());
    write_variable(out, constructor::SYMBOL_8, name.as_bytes());
}

/// A symbol has no room for anything but ASCII (AMQP 1.6.21). Only a name made in this process can have
/// more; it stays recognisable.
fn ascii(name: &str) -> std::borrow::Cow<'_, str> {
    if name.is_ascii() {
        name.into()
    } else {
        name.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
    }
}

pub(crate) fn write_raw(out: &mut BytesMut, raw: &Bytes) {
    out.put_slice(raw);
}

/// Always an array, also of one: some peers do not know that AMQP 1.4 allows a single symbol in its place.
fn write_symbols(out: &mut BytesMut, symbols: &[Symbol]) {
    let array = Compound::begin(out, constructor::ARRAY_8);
    let wide = symbols.iter().any(|symbol| symbol.as_str().len() > u8::MAX.into());
    out.put_u8(if wide { constructor::SYMBOL_32 } else { constructor::SYMBOL_8 });
    for symbol in symbols {
        write_element_bytes(out, wide, ascii(symbol.as_str()).as_bytes());
    }
    array.finish(out, length_field(symbols.len()));
}

pub(crate) fn write_list(out: &mut BytesMut, elements: &[Value]) {
    if elements.is_empty() {
        return out.put_u8(constructor::LIST_0);
    }
    let list = Compound::begin(out, constructor::LIST_8);
    let count = write_list_content(out, elements);
    list.finish(out, count);
}

fn write_list_content(out: &mut BytesMut, elements: &[Value]) -> u32 {
    for element in elements {
        encode_value(out, element);
    }
    length_field(elements.len())
}

pub(crate) fn write_map(out: &mut BytesMut, pairs: &[(Value, Value)]) {
    let map = Compound::begin(out, constructor::MAP_8);
    let count = write_map_content(out, pairs);
    map.finish(out, count);
}

fn write_map_content(out: &mut BytesMut, pairs: &[(Value, Value)]) -> u32 {
    for (key, value) in pairs {
        encode_value(out, key);
        encode_value(out, value);
    }
    length_field(pairs.len() * 2)
}

fn write_array(out: &mut BytesMut, array: &Array) {
    let compound = Compound::begin(out, constructor::ARRAY_8);
    let count = write_array_content(out, array);
    compound.finish(out, count);
}

fn write_array_content(out: &mut BytesMut, array: &Array) -> u32 {
    for descriptor in array.descriptors() {
        out.put_u8(constructor::DESCRIBED);
        encode_value(out, descriptor);
    }
    let wide = array.elements().iter().any(|element| variable_length(element) > u8::MAX.into());
    out.put_u8(element_constructor(array.kind(), wide));
    for element in array.elements() {
        write_element(out, wide, element);
    }
    length_field(array.elements().len())
}

/// The bytes that an element of variable width brings, its own length aside.
fn variable_length(element: &Value) -> usize {
    match element {
        Value::Binary(bytes) => bytes.len(),
        Value::String(text) => text.as_str().len(),
        Value::Symbol(symbol) => symbol.as_str().len(),
        _ => 0,
    }
}

/// The constructor that every element of an array can share, whatever its value.
fn element_constructor(kind: Kind, wide: bool) -> u8 {
    let width = if wide { constructor::WIDE } else { 0 };
    match kind {
        Kind::Null => constructor::NULL,
        Kind::Boolean => constructor::BOOLEAN,
        Kind::UByte => constructor::UBYTE,
        Kind::UShort => constructor::USHORT,
        Kind::UInt => constructor::UINT,
        Kind::ULong => constructor::ULONG,
        Kind::Byte => constructor::BYTE,
        Kind::Short => constructor::SHORT,
        Kind::Int => constructor::INT,
        Kind::Long => constructor::LONG,
        Kind::Float => constructor::FLOAT,
        Kind::Double => constructor::DOUBLE,
        Kind::Decimal32 => constructor::DECIMAL_32,
        Kind::Decimal64 => constructor::DECIMAL_64,
        Kind::Decimal128 => constructor::DECIMAL_128,
        Kind::Char => constructor::CHAR,
        Kind::Timestamp => constructor::TIMESTAMP,
        Kind::Uuid => constructor::UUID,
        Kind::Binary => constructor::BINARY_8 | width,
        Kind::String => constructor::STRING_8 | width,
        Kind::Symbol => constructor::SYMBOL_8 | width,
        Kind::List => constructor::LIST_32,
        Kind::Map => constructor::MAP_32,
        Kind::Array => constructor::ARRAY_32,
    }
}

/// Appends an element as its array's constructor wants it, without a constructor of its own.
fn write_element(out: &mut BytesMut, wide: bool, element: &Value) {
    match element {
        // Null takes no bytes; a described value is never an element (its array has the descriptor).
        Value::Null | Value::Described(_) => {}
        Value::Boolean(value) => out.put_u8((*value).into()),
        Value::UByte(value) => out.put_u8(*value),
        Value::UShort(value) => out.put_u16(*value),
        Value::UInt(value) => out.put_u32(*value),
        Value::ULong(value) => out.put_u64(*value),
        Value::Byte(value) => out.put_i8(*value),
        Value::Short(value) => out.put_i16(*value),
        Value::Int(value) => out.put_i32(*value),
        Value::Long(value) | Value::Timestamp(value) => out.put_i64(*value),
        Value::Float(value) => out.put_f32(*value),
        Value::Double(value) => out.put_f64(*value),
        Value::Decimal32(bits) => out.put_slice(bits),
        Value::Decimal64(bits) => out.put_slice(bits),
        Value::Decimal128(bits) | Value::Uuid(bits) => out.put_slice(bits),
        Value::Char(value) => out.put_u32((*value).into()),
        Value::Binary(bytes) => write_element_bytes(out, wide, bytes),
        Value::String(text) => write_element_bytes(out, wide, text.as_str().as_bytes()),
        Value::Symbol(symbol) => write_element_bytes(out, wide, ascii(symbol.as_str()).as_bytes()),
        Value::List(_) | Value::Map(_) | Value::Array(_) => write_compound_element(out, element),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the narrow form is chosen for at most 255 bytes")]
fn write_element_bytes(out: &mut BytesMut, wide: bool, content: &[u8]) {
    if wide {
        out.put_u32(length_field(content.len()));
    } else {
        out.put_u8(content.len() as u8);
    }
    out.put_slice(content);
}

/// Appends a list, map or array as its 32-bit constructor wants it.
fn write_compound_element(out: &mut BytesMut, element: &Value) {
    let start = out.len();
    out.put_bytes(0, WIDE - 1);
    let count = match element {
        Value::List(elements) => write_list_content(out, elements),
        Value::Map(pairs) => write_map_content(out, pairs),
        Value::Array(array) => write_array_content(out, array),
        _ => 0,
    };
    write_wide_head(out, start, count);
}

fn write_error(out: &mut BytesMut, error: &Error) {
    let mut list = Fields::begin(out, descriptor::ERROR);
    list.mandatory(&error.condition, write_symbol);
    list.optional(error.description.as_ref(), write_text);
    list.optional(error.info.as_ref(), write_raw);
    list.finish();
}

fn write_source(out: &mut BytesMut, source: &Source) {
    let mut list = Fields::begin(out, descriptor::SOURCE);
    list.optional(source.address.as_ref(), write_text);
    list.unless(source.durable, TerminusDurability::default(), write_durability);
    list.unless(source.expiry_policy, TerminusExpiryPolicy::default(), write_expiry_policy);
    list.unless(source.timeout, 0, write_uint);
    list.flag(source.dynamic);
    list.map(&source.dynamic_node_properties);
    list.optional(source.distribution_mode.as_ref(), write_symbol);
    list.optional((!source.filter.is_empty()).then_some(&source.filter[..]), write_filter);
    list.optional(source.default_outcome.as_ref(), encode_state);
    list.symbols(&source.outcomes);
    list.symbols(&source.capabilities);
    list.finish();
}

fn write_target(out: &mut BytesMut, target: &Target) {
    match target {
        Target::Node(node) => write_node_target(out, node),
        Target::Coordinator { capabilities } => {
            let mut list = Fields::begin(out, descriptor::COORDINATOR);
            list.symbols(capabilities);
            list.finish();
        }
    }
}

fn write_node_target(out: &mut BytesMut, target: &NodeTarget) {
    let mut list = Fields::begin(out, descriptor::TARGET);
    list.optional(target.address.as_ref(), write_text);
    list.unless(target.durable, TerminusDurability::default(), write_durability);
    list.unless(target.expiry_policy, TerminusExpiryPolicy::default(), write_expiry_policy);
    list.unless(target.timeout, 0, write_uint);
    list.flag(target.dynamic);
    list.map(&target.dynamic_node_properties);
    list.symbols(&target.capabilities);
    list.finish();
}

fn write_durability(out: &mut BytesMut, durability: TerminusDurability) {
    write_uint(out, durability as u32);
}

fn write_expiry_policy(out: &mut BytesMut, policy: TerminusExpiryPolicy) {
    let name = match policy {
        TerminusExpiryPolicy::LinkDetach => "link-detach",
        TerminusExpiryPolicy::SessionEnd => "session-end",
        TerminusExpiryPolicy::ConnectionClose => "connection-close",
        TerminusExpiryPolicy::Never => "never",
    };
    write_variable(out, constructor::SYMBOL_8, name.as_bytes());
}

fn write_filter(out: &mut BytesMut, filter: &[(Symbol, Value)]) {
    let map = Compound::begin(out, constructor::MAP_8);
    for (key, value) in filter {
        write_symbol(out, key);
        encode_value(out, value);
    }
    map.finish(out, length_field(filter.len() * 2));
}

fn write_unsettled(out: &mut BytesMut, unsettled: &[(Tag, Option<DeliveryState>)]) {
    let map = Compound::begin(out, constructor::MAP_8);
    for (tag, state) in unsettled {
        write_tag(out, tag);
        match state {
            Some(state) => encode_state(out, state),
            None => out.put_u8(constructor::NULL),
        }
    }
    map.finish(out, length_field(unsettled.len() * 2));
}
