//! `mq recv`.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::message::{self, Ran};
use crate::{
    args::message::{Ack, Recv},
    client::amqp::{AnyDelivery, Arrival, Client, Inlet, Intake, Subscription, interrupted},
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    plane::names::Way,
    record::{self, Reception},
    settings::Settings,
    shape,
};

/// To whom a durable subscription belongs, unless the user says so.
const CONTAINER: &str = "mq";
/// Longer than any deadline: no deadline.
const NEVER: Duration = shape::MAX_DURATION;

pub(super) async fn run(args: Recv, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let endpoint = settings.message_address(&args.address)?;
    if args.count == Some(0) {
        return Ok(Exit::Ok);
    }
    if endpoint.scheme.is_mqtt() {
        return super::mqtt::recv::run(&args, &endpoint, output).await;
    }
    super::mqtt::only(args.quality.qos.is_some(), "--qos")?;
    super::mqtt::only(args.session_expiry.is_some(), "--session-expiry")?;
    if args.until_empty && args.exec.is_none() && matches!(args.ack, Ack::Release | Ack::Modify) {
        return Err(Failure::usage("messages that are given back come again: the address is never empty")
            .help("look at them with `mq browse`"));
    }
    let subscription = subscription(&args)?;
    super::only_mqd(subscription.is_some(), "subscriptions that clients name", &endpoint)?;
    super::only_mqd(args.selection.selector.is_some(), "selectors", &endpoint)?;
    let endpoint = super::reached(endpoint, Way::From, settings).await?;
    // A durable subscription belongs to the client, who must be the same the next time.
    let owner = subscription.filter(|subscription| subscription.is_durable && !subscription.is_shared);
    let container = owner.map(|_| args.client_id.as_deref().unwrap_or(CONTAINER));
    let mut client = Client::connect_as(&endpoint, container, args.until_empty).await?;
    let intake = Intake {
        address: &endpoint.address,
        window: args.credit,
        limit: args.count,
        is_browsing: false,
        selector: args.selection.selector.as_deref(),
        with_retained: args.retained,
        subscription,
    };
    let result = match client.intake(&intake).await {
        Ok(inlet) => receive(&args, inlet, &endpoint.address, output).await,
        Err(failure) => Err(failure),
    };
    client.close().await;
    result
}

fn subscription(args: &Recv) -> Outcome<Option<Subscription<'_>>> {
    let is_shared = args.shared;
    match (&args.durable_subscription, &args.subscription) {
        (Some(name), _) => Ok(Some(Subscription { name, is_durable: true, is_shared })),
        (None, Some(name)) => Ok(Some(Subscription { name, is_durable: false, is_shared })),
        (None, None) if is_shared => {
            Err(Failure::usage("--shared needs the name of the subscription that is shared")
                .help("add --durable-subscription NAME, or --subscription NAME for one that ends"))
        }
        (None, None) => Ok(None),
    }
}

async fn receive(args: &Recv, inlet: Inlet, address: &str, output: &mut Output) -> Outcome<Exit> {
    let begin = Instant::now();
    let mut receiving = Receiving { args, inlet, address, output, received: 0, bytes: 0, failed: 0 };
    let result = receiving.all().await;
    let (received, bytes, failed) = (receiving.received, receiving.bytes, receiving.failed);
    // To close the link of a durable subscription would end the subscription.
    match &args.durable_subscription {
        Some(_) => receiving.inlet.detach().await,
        None => receiving.inlet.close().await,
    }
    let mut summary = format!("received {} ({})", shape::plural(received, "message"), shape::bytes(bytes));
    if failed > 0 {
        summary.push_str(&format!(", {} of them failed", shape::number(failed)));
    }
    output.talk(&format!("{summary} in {}", shape::elapsed(begin.elapsed())));
    match result? {
        End::Signal(exit) => Ok(exit),
        End::Late if args.count.is_some_and(|count| received < count) || received == 0 => {
            Err(too_few(args, address, received))
        }
        End::Done | End::Late if failed > 0 => Ok(Exit::Partial),
        End::Done | End::Late => Ok(Exit::Ok),
    }
}

pub(super) fn too_few(args: &Recv, address: &str, received: u64) -> Failure {
    let message = match args.count {
        Some(count) => format!(
            "{} of {} came from `{address}` in time",
            shape::number(received),
            shape::plural(count, "message")
        ),
        None => format!("no message came from `{address}` in time"),
    };
    Failure::new(Exit::TimedOut, message)
}

/// Why receiving ended.
pub(super) enum End {
    /// As many as were asked for, --until-idle or --until-empty.
    Done,
    /// A deadline passed.
    Late,
    Signal(Exit),
}

/// A receiving under way.
struct Receiving<'a> {
    args: &'a Recv,
    inlet: Inlet,
    address: &'a str,
    output: &'a mut Output,
    received: u64,
    bytes: u64,
    /// Messages that --exec failed on, or that could not be decoded.
    failed: u64,
}

impl Receiving<'_> {
    async fn all(&mut self) -> Outcome<End> {
        let end = tokio::time::Instant::now() + self.args.timeout.unwrap_or(NEVER);
        let idle = self.args.until_idle.or(self.args.wait).unwrap_or(NEVER);
        let mut interrupt = std::pin::pin!(interrupted());
        while self.args.count.is_none_or(|count| self.received < count) {
            let idle_end = tokio::time::Instant::now() + idle;
            let arrival = tokio::select! {
                biased;
                exit = &mut interrupt => return Ok(End::Signal(exit)),
                arrival = self.next() => match arrival? {
                    Some(arrival) => arrival,
                    None => return Ok(End::Done),
                },
                () = tokio::time::sleep_until(end.min(idle_end)) => {
                    let is_idle = self.args.until_idle.is_some() && idle_end <= end;
                    return Ok(if is_idle { End::Done } else { End::Late });
                }
            };
            let is_stopped = tokio::select! {
                exit = &mut interrupt => Some(exit),
                done = self.one(arrival) => { done?; None }
            };
            if let Some(exit) = is_stopped {
                return Ok(End::Signal(exit));
            }
        }
        Ok(End::Done)
    }

    /// The next message; `None` when there is none and that is the end.
    async fn next(&mut self) -> Outcome<Option<Arrival>> {
        if self.args.until_empty {
            self.inlet.recv_available().await
        } else {
            self.inlet.recv().await.map(Some)
        }
    }

    async fn one(&mut self, arrival: Arrival) -> Outcome {
        self.received += 1;
        match arrival {
            Arrival::Message(delivery) => self.message(&delivery).await,
            Arrival::Garbled(why) => {
                self.failed += 1;
                self.output.warn(&why);
                self.inlet.grant().await
            }
        }
    }

    /// Prints or hands over first, settles second: a message that was not dealt with is not lost.
    async fn message(&mut self, delivery: &AnyDelivery) -> Outcome {
        let message = delivery.message();
        let body = record::body_bytes(&message.body);
        self.bytes += body.len() as u64;
        let mut ack = self.args.ack;
        match &self.args.exec {
            Some(command) => {
                match message::run(command, &body, self.address, self.args.exec_timeout).await? {
                    Ran::Succeeded(said) => self.output.bytes(&said)?,
                    Ran::Failed(why) => {
                        self.failed += 1;
                        self.output.warn(&format!("`{command}` failed ({why}); the message is released"));
                        ack = Ack::Release;
                    }
                }
            }
            None => {
                let reception = Reception {
                    address: self.address,
                    at: Timestamp::now(),
                    sequence: self.received,
                    settlement: settlement(ack),
                    mqtt: None,
                };
                message::print(message, reception, self.args.output, self.output)?;
            }
        }
        self.inlet.settle(delivery, ack).await
    }
}

fn settlement(ack: Ack) -> &'static str {
    match ack {
        Ack::Accept => "accepted",
        Ack::Release => "released",
        Ack::Reject => "rejected",
        Ack::Modify => "modified",
        Ack::None => "none",
    }
}
