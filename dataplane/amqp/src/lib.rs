//! AMQP 1.0 without IO.

pub mod performative;
