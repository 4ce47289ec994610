//! Local transactions.

use std::time::Instant;

use super::protocol::Publication;
use crate::core::Core;
use crate::effect::Refused;
use crate::key::{AddressKey, LegKey};
use crate::outcome::Outcome;
use crate::store::{StoreAnswer, TransactionId};

/// The transactions of a shard.
#[derive(Debug, Default)]
pub(crate) struct Transactions {}

/// A part of a transaction that the store has not answered.
#[derive(Debug)]
pub(crate) struct Waiting {}

impl Core {
    pub(crate) fn check_transaction(&self, transaction: TransactionId) -> Result<(), Refused> {
        Err(Refused::NoTransaction(transaction.0))
    }

    pub(crate) fn post_in_transaction(
        &mut self,
        _id: TransactionId,
        _address: AddressKey,
        _publication: Publication,
    ) {
    }

    pub(crate) fn transaction_answered(&mut self, _now: Instant, _waiting: Waiting, _answer: StoreAnswer) {}

    /// Starts a transaction.
    ///
    /// # Errors
    /// `LimitExceeded` when the shard has its number of transactions.
    pub fn declare(&mut self, _now: Instant) -> Result<TransactionId, Refused> {
        Err(Refused::LimitExceeded { what: "the shard".into(), links: "transactions", limit: 0 })
    }

    /// Ends a transaction: commits it, or with `fail` rolls it back. `Discharged` says what became of
    /// it.
    ///
    /// # Errors
    /// `NoTransaction` when there is none of that name.
    pub fn discharge(
        &mut self,
        _now: Instant,
        transaction: TransactionId,
        _fail: bool,
    ) -> Result<(), Refused> {
        Err(Refused::NoTransaction(transaction.0))
    }

    /// Takes over the outcome that a consumer gives to a delivery in a transaction: it counts once
    /// that is committed.
    ///
    /// # Errors
    /// `NoTransaction` when there is none of that name.
    pub fn settle_in_transaction(
        &mut self,
        _now: Instant,
        _leg: LegKey,
        _outcome: Option<Outcome>,
        transaction: TransactionId,
    ) -> Result<(), Refused> {
        Err(Refused::NoTransaction(transaction.0))
    }
}
