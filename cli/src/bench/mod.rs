//! `mq bench`: load with a schedule, latency from the intended time, and what it cost the target.
//!
//! A [`result::BenchResult`] is what everything ends in and what reports and verdicts start from.

#[cfg(test)]
pub(crate) mod example;

pub mod assertion;
pub mod baseline;
pub mod client;
pub mod clock;
pub mod compare;
pub mod control;
pub mod cost;
pub mod histogram;
pub mod host;
pub mod integrity;
pub mod lane;
pub mod metric;
pub mod noise;
pub mod payload;
pub mod progress;
pub mod report;
pub mod result;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod search;
pub mod series;
pub mod storm;
pub mod verdict;
pub mod worker;
