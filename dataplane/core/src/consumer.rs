//! Links that the core sends to.

use crate::outcome::Outcome;

/// How a consumer takes deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// Deliveries are sent to it settled (sender-settle-mode `settled`). Producers of unsettled
    /// deliveries learn `Accepted` once all of the message has been handed over.
    pub settled: bool,
    /// The outcome of a delivery that the consumer settles without one: the default-outcome of its
    /// source (AMQP 3.5.3). `None` means `Released`: nothing says that it was processed.
    pub default_outcome: Option<Outcome>,
}
