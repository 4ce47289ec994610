//! Performatives, SASL frames and values as bytes (AMQP part 1), and back.

mod error;

use bytes::{Bytes, BytesMut};

pub use self::error::DecodeError;
use crate::{
    performative::{
        Attach, Begin, Close, DeliveryState, Detach, Disposition, End, Flow, Open, Performative, SaslFrame,
        Transfer,
    },
    value::Value,
};

pub fn decode_performative(body: &mut Bytes) -> Result<Performative, DecodeError> { todo!("{body:?}") }
pub fn decode_sasl(body: &mut Bytes) -> Result<SaslFrame, DecodeError> { todo!("{body:?}") }
pub fn decode_value(body: &mut Bytes) -> Result<Value, DecodeError> { todo!("{body:?}") }
pub fn encode_performative(out: &mut BytesMut, performative: &Performative) { todo!("{out:?}{performative:?}") }
pub fn encode_sasl(out: &mut BytesMut, frame: &SaslFrame) { todo!("{out:?}{frame:?}") }
pub fn encode_value(out: &mut BytesMut, value: &Value) { todo!("{out:?}{value:?}") }
pub fn encode_state(out: &mut BytesMut, state: &DeliveryState) { todo!("{out:?}{state:?}") }
pub fn encode_open(out: &mut BytesMut, open: &Open) { todo!("{out:?}{open:?}") }
pub fn encode_begin(out: &mut BytesMut, begin: &Begin) { todo!("{out:?}{begin:?}") }
pub fn encode_attach(out: &mut BytesMut, attach: &Attach) { todo!("{out:?}{attach:?}") }
pub fn encode_flow(out: &mut BytesMut, flow: &Flow) { todo!("{out:?}{flow:?}") }
pub fn encode_transfer(out: &mut BytesMut, transfer: &Transfer) { todo!("{out:?}{transfer:?}") }
pub fn encode_disposition(out: &mut BytesMut, disposition: &Disposition) { todo!("{out:?}{disposition:?}") }
pub fn encode_detach(out: &mut BytesMut, detach: &Detach) { todo!("{out:?}{detach:?}") }
pub fn encode_end(out: &mut BytesMut, end: &End) { todo!("{out:?}{end:?}") }
pub fn encode_close(out: &mut BytesMut, close: &Close) { todo!("{out:?}{close:?}") }
