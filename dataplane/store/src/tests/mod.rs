//! The log on a disk in memory.

mod bed;
mod compaction;
mod damage;
mod failures;
mod objects;
mod random;
mod recovery;
mod transactions;
