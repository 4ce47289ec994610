//! Showing the same thing again and again.

use std::time::Duration;

use crate::{client::amqp::interrupted, exit::Exit, failure::Outcome};

/// Calls `show` at once and then every `interval`, until it fails or somebody wants it to end.
pub(super) async fn every(interval: Duration, mut show: impl AsyncFnMut() -> Outcome) -> Outcome<Exit> {
    let mut ticks = tokio::time::interval(interval);
    // A slow answer delays what comes after it, and nothing is made up for.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut interrupt = std::pin::pin!(interrupted());
    loop {
        tokio::select! {
            biased;
            // To be stopped is how watching ends.
            _ = &mut interrupt => return Ok(Exit::Ok),
            _ = ticks.tick() => {}
        }
        tokio::select! {
            biased;
            _ = &mut interrupt => return Ok(Exit::Ok),
            shown = show() => shown?,
        }
    }
}
