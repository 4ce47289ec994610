//! `mq bench`: load with a schedule, latency from the intended time, and what it cost the target.
//!
//! A [`result::BenchResult`] is what everything ends in and what reports and verdicts start from.

pub mod assertion;
pub mod client;
pub mod clock;
pub mod control;
pub mod cost;
#[cfg(test)]
pub(crate) mod example;
pub mod histogram;
pub mod host;
pub mod integrity;
pub mod compare;
pub mod verdict;
pub mod baseline;
pub mod lane;
pub mod metric;
pub mod noise;
pub mod payload;
pub mod report;
pub mod result;
pub mod run;
pub mod schedule;
pub mod series;
pub mod worker;
