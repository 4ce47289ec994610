//! Links that send to the core, and their credit.

/// Where a producer's messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerTarget<'a> {
    /// All to this address.
    Address(&'a str),
    /// Each to the address that it names (an anonymous relay).
    AnyAddress,
}

/// How a producer settles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerOptions {
    /// The producer's receiver-settle-mode is `second`: it is told the outcome before its delivery is
    /// settled, and settles it itself (AMQP 2.8.3).
    pub settles_second: bool,
}
