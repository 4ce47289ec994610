//! The log on a disk in memory.

mod bed;
mod compaction;
mod damage;
mod failures;
mod random;
mod recovery;
mod transactions;
