//! AMQP 1.0 without IO.

pub mod performative;
pub mod codec;
pub mod frame;
pub mod message;
pub mod value;
