//! Two engines in memory, a virtual clock, and a peer that says whatever a test wants.

mod acknowledgements;
mod aliases;
mod encoded;
mod handshake;
mod limits;
mod memory;
mod pair;
mod protocol;
mod random;
mod requests;
mod sessions;
mod time;
