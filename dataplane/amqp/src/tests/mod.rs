//! Two engines in memory, with a virtual clock.

mod basics;
mod pair;
