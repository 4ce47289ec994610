//! `mq browse`.

use std::time::Instant;

use jiff::Timestamp;

use super::message;
use crate::{
    args::message::{Ack, Browse},
    client::amqp::{Arrival, Client, Inlet, Intake, interrupted},
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    record::{self, Reception},
    settings::Settings,
    shape,
};

/// How many messages are asked for ahead of the one that is printed.
const WINDOW: u32 = 100;

pub(super) async fn run(args: &Browse, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let endpoint = settings.address(&args.address)?;
    super::only_mqd(true, "browsing", &endpoint)?;
    if args.count == Some(0) {
        return Ok(Exit::Ok);
    }
    let mut client = Client::connect_as(&endpoint, None, true).await?;
    let intake = Intake {
        address: &endpoint.address,
        window: WINDOW,
        limit: args.count,
        is_browsing: true,
        selector: args.selection.selector.as_deref(),
        with_retained: false,
        subscription: None,
    };
    let result = match client.intake(&intake).await {
        Ok(inlet) => browse(args, inlet, &endpoint.address, output).await,
        Err(failure) => Err(failure),
    };
    client.close().await;
    result
}

async fn browse(args: &Browse, inlet: Inlet, address: &str, output: &mut Output) -> Outcome<Exit> {
    let begin = Instant::now();
    let mut browsing = Browsing { args, inlet, address, output, seen: 0, bytes: 0 };
    let result = browsing.all().await;
    let Browsing { inlet, output, seen, bytes, .. } = browsing;
    inlet.close().await;
    let (seen, bytes) = (shape::plural(seen, "message"), shape::bytes(bytes));
    output.talk(&format!("saw {seen} ({bytes}) in {}", shape::elapsed(begin.elapsed())));
    result
}

/// A browsing under way.
struct Browsing<'a> {
    args: &'a Browse,
    inlet: Inlet,
    address: &'a str,
    output: &'a mut Output,
    seen: u64,
    bytes: u64,
}

impl Browsing<'_> {
    async fn all(&mut self) -> Outcome<Exit> {
        let end = tokio::time::Instant::now() + self.args.timeout.unwrap_or(shape::MAX_DURATION);
        let mut interrupt = std::pin::pin!(interrupted());
        while self.args.count.is_none_or(|count| self.seen < count) {
            let arrival = tokio::select! {
                biased;
                exit = &mut interrupt => return Ok(exit),
                arrival = self.inlet.recv_available() => arrival?,
                () = tokio::time::sleep_until(end) => {
                    let message = format!("`{}` has more than could be seen in time", self.address);
                    return Err(Failure::new(Exit::TimedOut, message));
                }
            };
            match arrival {
                Some(arrival) => self.one(arrival).await?,
                None => break,
            }
        }
        Ok(Exit::Ok)
    }

    async fn one(&mut self, arrival: Arrival) -> Outcome {
        self.seen += 1;
        let delivery = match arrival {
            Arrival::Message(delivery) => delivery,
            Arrival::Garbled(why) => {
                self.output.warn(&why);
                return self.inlet.grant().await;
            }
        };
        let message = delivery.message();
        self.bytes += record::body_bytes(&message.body).len() as u64;
        let reception = Reception {
            address: self.address,
            at: Timestamp::now(),
            sequence: self.seen,
            settlement: "none",
            mqtt: None,
        };
        message::print(message, reception, self.args.output, self.output)?;
        // A copy: whatever is said of it, the message stays.
        self.inlet.settle(&delivery, Ack::Release).await
    }
}
