//! Two engines in memory, with a virtual clock; and one engine against frames written by hand.

mod basics;
mod credit;
mod handshake;
mod links;
mod memory;
mod noise;
mod pair;
mod peer;
mod sessions;
mod settlement;
mod time;
mod transactions;
mod transfers;
