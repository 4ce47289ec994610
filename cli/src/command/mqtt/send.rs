//! `mq send` over MQTT.

use std::time::{Duration, Instant};

use super::{DEFAULT_QOS, Publication, check_fields, publication};
use crate::{
    args::message::Send,
    client::{
        amqp::interrupted,
        mqtt::{Client, Happening, Login, MAX_WINDOW, Settled, check_topic},
    },
    command::send::{Item, Source, Tally, UNMATCHED, pace, within},
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::Endpoint,
    shape,
};

pub(in crate::command) async fn run(args: &Send, endpoint: &Endpoint, output: &Output) -> Outcome<Exit> {
    check_topic(&endpoint.address)?;
    check_fields(&args.fields)?;
    let qos = wanted_qos(args)?;
    let mut source = Source::new(args)?;
    let window = u16::try_from(args.in_flight).unwrap_or(u16::MAX).min(MAX_WINDOW);
    let login = Login { client_id: args.client_id.clone(), session_expiry: 0, window };
    let client = Client::connect(endpoint, &login).await?;
    let begin = Instant::now();
    let mut sending =
        Sending { client, args, topic: &endpoint.address, qos, pending: 0, tally: Tally::default() };
    let result = tokio::select! {
        result = sending.all(&mut source, usize::from(window)) => result.map(|()| None),
        exit = interrupted() => Ok(Some(exit)),
    };
    let Sending { client, pending, tally, .. } = sending;
    client.close().await;
    output.talk(&tally.summary(pending as u64, begin.elapsed()));
    match result? {
        Some(exit) => Ok(exit),
        None if tally.refused() > 0 => Err(tally.failure(&endpoint.address)),
        None => Ok(Exit::Ok),
    }
}

/// The quality of service that the flags ask for; `None`: what each line says.
fn wanted_qos(args: &Send) -> Outcome<Option<u8>> {
    let wanted = args.quality.qos.or_else(|| args.settled.then_some(0));
    match (wanted, args.settled, args.fields.durable) {
        (Some(qos), true, _) if qos > 0 => {
            Err(Failure::usage(format!("--settled asks for no outcome, and QoS {qos} has one")))
        }
        (Some(0), _, true) => {
            Err(Failure::usage("a message of QoS 0 is not durable").help("use --qos 1 or 2"))
        }
        _ => Ok(wanted),
    }
}

/// A sending under way.
struct Sending<'a> {
    client: Client,
    args: &'a Send,
    topic: &'a str,
    qos: Option<u8>,
    /// Messages whose outcome is not known yet; of QoS 0, those that have not left.
    pending: usize,
    tally: Tally,
}

impl Sending<'_> {
    async fn all(&mut self, source: &mut Source, window: usize) -> Outcome {
        let mut pace = self.args.rate.map(pace);
        while let Some(item) = source.next().await? {
            while self.pending >= window {
                self.outcome().await?;
            }
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            self.one(&item, source).await?;
        }
        while self.pending > 0 {
            self.outcome().await?;
        }
        Ok(())
    }

    async fn one(&mut self, item: &Item, source: &Source) -> Outcome {
        let mqtt = item.mqtt.as_ref();
        let qos = self.qos.or_else(|| mqtt.map(|mqtt| mqtt.qos)).unwrap_or(DEFAULT_QOS);
        let retain = self.args.retain || mqtt.is_some_and(|mqtt| mqtt.retain);
        self.client.check(qos, retain)?;
        let Publication { payload, properties } = publication(&item.message, mqtt, source.fields());
        self.tally.sent += 1;
        self.tally.bytes += payload.len() as u64;
        self.pending += 1;
        // The connection takes it as soon as it has room: while it does not, outcomes have to be heard.
        let Self { client, topic, args, .. } = self;
        let handing = client.publish(topic, qos, retain, payload, properties);
        let handed = within(args.timeout, args.timeout, handing).await;
        handed.map_err(|_| no_outcome(self.topic, self.args.timeout))
    }

    async fn outcome(&mut self) -> Outcome {
        let timeout = self.args.timeout;
        let happening = within(timeout, timeout, self.client.next()).await;
        let word = match happening.map_err(|_| no_outcome(self.topic, timeout))?? {
            // Nobody has asked for messages.
            Happening::Message(_) => return Ok(()),
            Happening::Sent => {
                self.pending = self.pending.saturating_sub(1);
                return Ok(());
            }
            Happening::Settled(Settled::Accepted) => "accepted",
            Happening::Settled(Settled::Unmatched) => UNMATCHED,
            Happening::Settled(Settled::Refused(why)) => {
                self.tally.first_refusal.get_or_insert_with(|| format!("refused: {why}"));
                "refused"
            }
        };
        self.pending = self.pending.saturating_sub(1);
        *self.tally.outcomes.entry(word).or_default() += 1;
        Ok(())
    }
}

fn no_outcome(topic: &str, timeout: Duration) -> Failure {
    let timeout = shape::elapsed(timeout);
    Failure::new(Exit::TimedOut, format!("no outcome of a message to `{topic}` for {timeout}"))
        .help("see `mq status`, or wait longer with --timeout")
}
