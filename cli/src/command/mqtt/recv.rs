//! `mq recv` over MQTT.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rumqttc::v5::mqttbytes::v5::{Filter, Publish, RetainForwardRule};

use super::{DEFAULT_QOS, received, topic};
use crate::{
    args::message::{Ack, Recv},
    client::{
        amqp::interrupted,
        mqtt::{Client, Happening, Login, quality},
    },
    command::{
        message::{self, Ran},
        recv::{End, too_few},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    record::Reception,
    settings::Endpoint,
    shape,
};

/// How long nothing comes until a topic counts as empty.
const EMPTY: Duration = Duration::from_secs(1);

pub(in crate::command) async fn run(args: &Recv, endpoint: &Endpoint, output: &mut Output) -> Outcome<Exit> {
    let filter = filter(args, &endpoint.address)?;
    let is_acknowledged = match args.ack {
        Ack::Accept => true,
        Ack::None => false,
        Ack::Release | Ack::Reject | Ack::Modify => {
            return Err(Failure::usage("MQTT knows acknowledged messages and no others")
                .help("use --ack accept or --ack none"));
        }
    };
    let credit = u64::from(args.credit);
    let window = args.count.map_or(credit, |count| count.min(credit));
    let login = Login {
        client_id: args.client_id.clone(),
        session_expiry: args.session_expiry.unwrap_or(0),
        window: u16::try_from(window).unwrap_or(u16::MAX),
    };
    let mut client = Client::connect(endpoint, &login).await?;
    let result = match client.subscribe(filter).await {
        Ok(granted) => {
            if granted < args.quality.qos.unwrap_or(DEFAULT_QOS) {
                output.talk(&format!("{} grants QoS {granted}", endpoint.place()));
            }
            receive(args, &mut client, is_acknowledged, &endpoint.address, output).await
        }
        Err(failure) => Err(failure),
    };
    client.close().await;
    result
}

fn filter(args: &Recv, address: &str) -> Outcome<Filter> {
    super::never(args.selection.selector.is_some(), "--selector")?;
    if args.durable_subscription.is_some() {
        return Err(Failure::usage(
            "over MQTT a session keeps what is missed, not a subscription with a name",
        )
        .help("use --client-id ID --session-expiry TIME"));
    }
    let path = match (&args.subscription, args.shared) {
        (Some(name), true) if name.contains(['/', '+', '#']) => {
            return Err(Failure::usage(format!(
                "`{name}` is no name of a share: it contains `/`, `+` or `#`"
            )));
        }
        (Some(name), true) => format!("$share/{name}/{address}"),
        (_, true) => {
            return Err(
                Failure::usage("--shared needs the name of the share").help("add --subscription NAME")
            );
        }
        (_, false) => address.to_owned(),
    };
    Ok(Filter {
        path,
        qos: quality(args.quality.qos.unwrap_or(DEFAULT_QOS)),
        nolocal: false,
        preserve_retain: true,
        retain_forward_rule: match args.retained {
            true => RetainForwardRule::OnEverySubscribe,
            false => RetainForwardRule::Never,
        },
    })
}

async fn receive(
    args: &Recv,
    client: &mut Client,
    is_acknowledged: bool,
    address: &str,
    output: &mut Output,
) -> Outcome<Exit> {
    let begin = Instant::now();
    let mut receiving = Receiving { args, client, is_acknowledged, output, received: 0, bytes: 0, failed: 0 };
    let result = receiving.all().await;
    let Receiving { received, bytes, failed, output, .. } = receiving;
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

/// A receiving under way.
struct Receiving<'a> {
    args: &'a Recv,
    client: &'a mut Client,
    is_acknowledged: bool,
    output: &'a mut Output,
    received: u64,
    bytes: u64,
    /// Messages that --exec failed on.
    failed: u64,
}

impl Receiving<'_> {
    async fn all(&mut self) -> Outcome<End> {
        let end = tokio::time::Instant::now() + self.args.timeout.unwrap_or(shape::MAX_DURATION);
        let quiet = if self.args.until_empty { Some(EMPTY) } else { self.args.until_idle };
        let idle = quiet.or(self.args.wait).unwrap_or(shape::MAX_DURATION);
        let mut idle_end = tokio::time::Instant::now() + idle;
        let mut interrupt = std::pin::pin!(interrupted());
        while self.args.count.is_none_or(|count| self.received < count) {
            let happening = tokio::select! {
                biased;
                exit = &mut interrupt => return Ok(End::Signal(exit)),
                happening = self.client.next() => happening?,
                () = tokio::time::sleep_until(end.min(idle_end)) => {
                    return Ok(if quiet.is_some() && idle_end <= end { End::Done } else { End::Late });
                }
            };
            let Happening::Message(publish) = happening else { continue };
            let is_stopped = tokio::select! {
                exit = &mut interrupt => Some(exit),
                done = self.one(&publish) => { done?; None }
            };
            if let Some(exit) = is_stopped {
                return Ok(End::Signal(exit));
            }
            idle_end = tokio::time::Instant::now() + idle;
        }
        Ok(End::Done)
    }

    /// Prints or hands over first, acknowledges second: a message that was not dealt with is not lost.
    async fn one(&mut self, publish: &Publish) -> Outcome {
        self.received += 1;
        self.bytes += publish.payload.len() as u64;
        let topic = topic(publish);
        if let Some(command) = &self.args.exec {
            match message::run(command, &publish.payload, &topic, self.args.exec_timeout).await? {
                Ran::Succeeded(said) => self.output.bytes(&said)?,
                Ran::Failed(why) => {
                    self.failed += 1;
                    self.output.warn(&format!("`{command}` failed ({why}); the message is not acknowledged"));
                    return Ok(());
                }
            }
        } else {
            let (message, mqtt) = received(publish);
            let reception = Reception {
                address: &topic,
                at: Timestamp::now(),
                sequence: self.received,
                settlement: if self.is_acknowledged { "accepted" } else { "none" },
                mqtt: Some(&mqtt),
            };
            message::print(&message, reception, self.args.output, self.output)?;
        }
        if self.is_acknowledged {
            self.client.acknowledge(publish).await;
        }
        Ok(())
    }
}
