//! `mq send`.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fe2o3_amqp::{
    Sender,
    link::{SendError, delivery::DeliveryFut},
    types::{
        definitions::SenderSettleMode,
        messaging::{Body, Outcome as Disposition},
        primitives::Value as Amqp,
    },
};
use tokio::sync::mpsc;

use super::message::{self, Fields};
use crate::{
    args::message::Send,
    client::amqp::{Client, close_sender, delivery_failure, disposition_text, interrupted},
    env,
    exit::Exit,
    failure::{Failure, Outcome, reason},
    output::Output,
    plane::names::Way,
    record::{self, AnyMessage},
    settings::Settings,
    shape,
    template::{Template, Values},
};

/// The outcomes of messages that somebody answers for now.
const ACCEPTED: [&str; 2] = ["accepted", UNMATCHED];
/// The outcome of a message that was taken, and that nobody was there to get.
pub(super) const UNMATCHED: &str = "without a subscriber";

/// The longest line of input.
const MAX_LINE: u64 = 64 << 20;
/// Lines that are read ahead of what is sent.
const LINES_AHEAD: usize = 64;
/// After how long without credit a person is told what is being waited for.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) async fn run(args: Send, settings: &Settings, output: &Output) -> Outcome<Exit> {
    let endpoint = settings.message_address(&args.address)?;
    if endpoint.scheme.is_mqtt() {
        return super::mqtt::send::run(&args, &endpoint, output).await;
    }
    super::mqtt::only(args.quality.qos.is_some(), "--qos")?;
    super::mqtt::only(args.client_id.is_some(), "--client-id")?;
    let endpoint = super::reached(endpoint, Way::To, settings).await?;
    let mut source = Source::new(&args)?;
    let mut client = Client::connect(&endpoint).await?;
    let mode = if args.settled { SenderSettleMode::Settled } else { SenderSettleMode::Unsettled };
    let result = match client.sender(Some(&endpoint.address), mode).await {
        Ok(sender) => send(&args, sender, &endpoint.address, &mut source, output).await,
        Err(failure) => Err(failure),
    };
    client.close().await;
    result
}

async fn send(
    args: &Send,
    sender: Sender,
    address: &str,
    source: &mut Source,
    output: &Output,
) -> Outcome<Exit> {
    let begin = Instant::now();
    let mut sending = Sending {
        sender,
        address,
        timeout: args.timeout,
        window: args.in_flight as usize,
        is_settled: args.settled,
        in_flight: VecDeque::new(),
        tally: Tally::default(),
        output,
    };
    let result = tokio::select! {
        result = sending.all(source, args.rate) => result.map(|()| None),
        exit = interrupted() => Ok(Some(exit)),
    };
    let in_doubt = sending.in_flight.len() as u64;
    let tally = sending.tally;
    close_sender(sending.sender).await;
    output.talk(&tally.summary(in_doubt, begin.elapsed()));
    match result? {
        Some(exit) => Ok(exit),
        None if tally.refused() > 0 => Err(tally.failure(address)),
        None => Ok(Exit::Ok),
    }
}

/// A sending under way.
struct Sending<'a> {
    sender: Sender,
    address: &'a str,
    timeout: Duration,
    window: usize,
    is_settled: bool,
    in_flight: VecDeque<DeliveryFut<Result<Disposition, SendError>>>,
    tally: Tally,
    output: &'a Output,
}

impl Sending<'_> {
    async fn all(&mut self, source: &mut Source, rate: Option<u64>) -> Outcome {
        let mut pace = rate.map(pace);
        while let Some(Item { message, .. }) = source.next().await? {
            while self.in_flight.len() >= self.window {
                self.settle_oldest().await?;
            }
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            self.one(message).await?;
        }
        while !self.in_flight.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    async fn one(&mut self, message: AnyMessage) -> Outcome {
        let bytes = record::body_bytes(&message.body).len() as u64;
        let mut sending = std::pin::pin!(self.sender.send_batchable(message));
        let mut sent = tokio::time::timeout(PATIENCE, &mut sending).await;
        if sent.is_err() {
            self.output.talk(&format!("waiting for credit to send to `{}`", self.address));
            sent = within(self.timeout.saturating_sub(PATIENCE), self.timeout, &mut sending).await;
        }
        let delivery = sent
            .map_err(|_| no_credit(self.address, self.timeout))?
            .map_err(|error| delivery_failure(&error, self.address))?;
        self.tally.sent += 1;
        self.tally.bytes += bytes;
        if !self.is_settled {
            self.in_flight.push_back(delivery);
        }
        Ok(())
    }

    async fn settle_oldest(&mut self) -> Outcome {
        let Some(oldest) = self.in_flight.front_mut() else { return Ok(()) };
        let settled = within(self.timeout, self.timeout, oldest).await;
        let settled = settled.map_err(|_| no_outcome(self.address, self.timeout))?;
        let disposition = settled.map_err(|error| delivery_failure(&error, self.address))?;
        self.in_flight.pop_front();
        self.tally.count(&disposition);
        Ok(())
    }
}

/// Waits for `left`, or for ever when the timeout as a whole is zero.
pub(super) async fn within<T>(
    left: Duration,
    timeout: Duration,
    work: impl Future<Output = T>,
) -> Result<T, tokio::time::error::Elapsed> {
    if timeout.is_zero() { Ok(work.await) } else { tokio::time::timeout(left, work).await }
}

/// Evenly spaced; what could not be sent in time is sent late, not in a burst.
pub(super) fn pace(rate: u64) -> tokio::time::Interval {
    let period = Duration::from_secs_f64(1.0 / rate as f64).max(Duration::from_nanos(1));
    let mut interval = tokio::time::interval(period);
    // Timers tick in milliseconds: above 1,000 per second several messages share a tick.
    let behaviour = match rate {
        0..=1_000 => tokio::time::MissedTickBehavior::Delay,
        _ => tokio::time::MissedTickBehavior::Burst,
    };
    interval.set_missed_tick_behavior(behaviour);
    interval
}

fn no_credit(address: &str, timeout: Duration) -> Failure {
    let timeout = shape::elapsed(timeout);
    Failure::new(Exit::TimedOut, format!("`{address}` took no message for {timeout}")).help(format!(
        "an anycast or multicast address needs a consumer: mq recv {address}; a queue needs room: mq address \
         show {address}; or wait longer with --timeout"
    ))
}

fn no_outcome(address: &str, timeout: Duration) -> Failure {
    let timeout = shape::elapsed(timeout);
    Failure::new(Exit::TimedOut, format!("no outcome of a message to `{address}` for {timeout}"))
        .help("a consumer holds it, or the disk is slow; wait longer with --timeout")
}

/// What became of the messages.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) bytes: u64,
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// Why the first message that was not accepted was not.
    pub(super) first_refusal: Option<String>,
}

impl Tally {
    fn count(&mut self, disposition: &Disposition) {
        let word = match disposition {
            Disposition::Accepted(_) => "accepted",
            Disposition::Rejected(_) => "rejected",
            Disposition::Released(_) => "released",
            Disposition::Modified(_) => "modified",
        };
        *self.outcomes.entry(word).or_default() += 1;
        if word != "accepted" && self.first_refusal.is_none() {
            self.first_refusal = Some(disposition_text(disposition));
        }
    }

    pub(super) fn refused(&self) -> u64 {
        self.outcomes.iter().filter(|(word, _)| !ACCEPTED.contains(*word)).map(|(_, count)| count).sum()
    }

    pub(super) fn summary(&self, in_doubt: u64, elapsed: Duration) -> String {
        let mut parts: Vec<String> =
            self.outcomes.iter().map(|(word, count)| format!("{} {word}", shape::number(*count))).collect();
        if in_doubt > 0 {
            parts.push(format!("{} in doubt", shape::number(in_doubt)));
        }
        let known = self.outcomes.values().sum::<u64>() + in_doubt;
        if self.sent > known {
            parts.push(format!("{} pre-settled", shape::number(self.sent - known)));
        }
        let mut text = format!("sent {} ({})", shape::plural(self.sent, "message"), shape::bytes(self.bytes));
        if !parts.is_empty() {
            text.push_str(&format!(": {}", parts.join(", ")));
        }
        text.push_str(&format!(" in {}", shape::elapsed(elapsed)));
        text
    }

    pub(super) fn failure(&self, address: &str) -> Failure {
        let message = format!(
            "{} of {} to `{address}` not accepted; the first was {}",
            shape::number(self.refused()),
            shape::plural(self.sent, "message"),
            self.first_refusal.as_deref().unwrap_or("lost")
        );
        Failure::new(Exit::NotDelivered, message)
    }
}

/// Where messages come from.
pub(super) struct Source {
    fields: Fields,
    kind: Kind,
    left: Option<u64>,
    sequence: u64,
    template: Option<(Template, fastrand::Rng)>,
    /// What each message-id is made of.
    id_template: Option<Template>,
}

/// A message that is to be sent.
pub(super) struct Item {
    pub(super) message: AnyMessage,
    /// What its line says of MQTT.
    pub(super) mqtt: Option<record::Mqtt>,
}

enum Kind {
    Body(Vec<u8>),
    Lines(mpsc::Receiver<Outcome<Vec<u8>>>),
    JsonLines(mpsc::Receiver<Outcome<Vec<u8>>>),
}

impl Source {
    pub(super) fn new(args: &Send) -> Outcome<Self> {
        let is_json_lines = args.json_lines || (!args.lines && is_json_lines_file(args.file.as_deref()));
        let (fields, id_template) = fields(args, is_json_lines)?;
        if args.lines && args.message.is_some() && !args.template {
            return Err(Failure::usage("with --lines the body is the line")
                .help("add --template to use -m as a template"));
        }
        if is_json_lines && args.template {
            return Err(Failure::usage("--template does not go with --json-lines"));
        }
        let (kind, left) = if args.lines {
            (Kind::Lines(read_lines(args.file.as_deref())?), args.count)
        } else if is_json_lines {
            (Kind::JsonLines(read_lines(args.file.as_deref())?), args.count)
        } else {
            let body = message::body(args.body.as_ref(), args.message.as_ref(), args.file.as_deref())?;
            (Kind::Body(body), Some(args.count.unwrap_or(1)))
        };
        let template = if args.template { Some(template(args, &kind)?) } else { None };
        Ok(Self { fields, kind, left, sequence: 0, template, id_template })
    }

    fn identified(&mut self, mut message: AnyMessage) -> AnyMessage {
        if let (Some(id), Some((_, random))) = (&self.id_template, &mut self.template) {
            let values = Values { sequence: self.sequence, now: jiff::Timestamp::now(), line: None };
            let id = id.expand(values, random);
            message.properties.get_or_insert_default().message_id = Some(id.into());
        }
        message
    }

    /// What every message is given.
    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The next message, with what its line says of MQTT. Not cancel-safe: the command ends when it is
    /// dropped.
    pub(super) async fn next(&mut self) -> Outcome<Option<Item>> {
        if self.left == Some(0) {
            return Ok(None);
        }
        let mut mqtt = None;
        let message = match &mut self.kind {
            Kind::Body(body) => {
                self.sequence += 1;
                let body = expanded(&mut self.template, self.sequence, None, body.clone());
                Some(self.fields.message(body))
            }
            Kind::Lines(lines) => match lines.recv().await.transpose()? {
                Some(line) => {
                    self.sequence += 1;
                    let text = String::from_utf8_lossy(&line).into_owned();
                    Some(self.fields.message(expanded(&mut self.template, self.sequence, Some(&text), line)))
                }
                None => None,
            },
            Kind::JsonLines(lines) => match lines.recv().await.transpose()? {
                Some(line) => {
                    self.sequence += 1;
                    let mut message;
                    (message, mqtt) = message_of_line(&line, self.sequence)?;
                    self.fields.put(&mut message);
                    Some(message)
                }
                None => None,
            },
        };
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(message.map(|message| Item { message: self.identified(message), mqtt }))
    }
}

/// A file of records is not the body of one message.
fn is_json_lines_file(path: Option<&Path>) -> bool {
    path.and_then(Path::extension).is_some_and(|extension| extension == "jsonl")
}

/// What every message is given, and what each message-id is made of when that is a template.
fn fields(args: &Send, is_json_lines: bool) -> Outcome<(Fields, Option<Template>)> {
    let mut flags = args.fields.clone();
    let id = flags.message_id.take_if(|_| args.template);
    let id = id.map(|id| Template::parse(&id, env::text)).transpose();
    let id = id.map_err(|why| Failure::usage(format!("--message-id cannot be used as a template: {why}")))?;
    if id.as_ref().is_some_and(Template::uses_line) {
        return Err(Failure::usage("`{{line}}` cannot be part of a message-id"));
    }
    let is_one_of_many = is_json_lines || args.lines || args.count.is_some_and(|count| count > 1);
    if flags.message_id.is_some() && is_one_of_many {
        return Err(Failure::usage("one --message-id for several messages makes them duplicates")
            .help("make it a template, such as --template --message-id 'order-{{seq}}'"));
    }
    let mut fields = Fields::parse(&flags)?;
    if args.retain {
        fields.retain();
    }
    Ok((fields, id))
}

fn expanded(
    template: &mut Option<(Template, fastrand::Rng)>,
    sequence: u64,
    line: Option<&str>,
    body: Vec<u8>,
) -> Body<Amqp> {
    match template {
        Some((template, random)) => {
            let values = Values { sequence, now: jiff::Timestamp::now(), line };
            record::data(template.expand(values, random))
        }
        None => record::data(body),
    }
}

fn template(args: &Send, kind: &Kind) -> Outcome<(Template, fastrand::Rng)> {
    let text = match kind {
        Kind::Lines(_) => args.message.clone().unwrap_or_else(|| "{{line}}".into()),
        Kind::Body(body) => String::from_utf8(body.clone()).map_err(|_| {
            Failure::usage("a template must be UTF-8").help("leave out --template to send bytes")
        })?,
        Kind::JsonLines(_) => String::new(),
    };
    let template = Template::parse(&text, env::text)
        .map_err(|why| Failure::usage(format!("the template cannot be used: {why}")))?;
    if template.uses_line() && !args.lines {
        return Err(Failure::usage("`{{line}}` stands for a line of the input").help("add --lines"));
    }
    let random = args.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    Ok((template, random))
}

fn message_of_line(line: &[u8], number: u64) -> Outcome<(AnyMessage, Option<record::Mqtt>)> {
    let text =
        std::str::from_utf8(line).map_err(|_| Failure::usage(format!("line {number} is not UTF-8")))?;
    record::from_json(text).map_err(|why| Failure::usage(format!("line {number}: {why}")))
}

/// Reads lines in a thread of its own: a read of stdin cannot be given up, a thread can.
fn read_lines(path: Option<&Path>) -> Outcome<mpsc::Receiver<Outcome<Vec<u8>>>> {
    let path = path.filter(|path| *path != Path::new("-")).map(PathBuf::from);
    let source: Box<dyn Read + std::marker::Send> = match &path {
        Some(path) => {
            Box::new(std::fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?)
        }
        None => Box::new(std::io::stdin()),
    };
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(source);
        while let Some(line) = next_line(&mut reader) {
            let is_last = line.is_err();
            // The receiver is gone when the command has ended.
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    Ok(receiver)
}

fn next_line(reader: &mut impl BufRead) -> Option<Outcome<Vec<u8>>> {
    let mut line = Vec::new();
    match reader.take(MAX_LINE + 1).read_until(b'\n', &mut line) {
        Ok(0) => None,
        Ok(_) if line.len() as u64 > MAX_LINE => Some(Err(Failure::usage(format!(
            "a line of the input is longer than {}",
            shape::bytes(MAX_LINE)
        )))),
        Ok(_) => {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            Some(Ok(line))
        }
        Err(error) => Some(Err(Failure::failed(format!("cannot read the input: {}", reason(&error))))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_either_kind_of_newline_or_with_the_input() {
        let mut input = &b"a\r\nb\n\nc"[..];
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input) {
            lines.push(String::from_utf8(line.unwrap()).unwrap());
        }
        assert_eq!(lines, ["a", "b", "", "c"]);
    }

    #[test]
    fn the_summary_accounts_for_every_message() {
        let mut tally = Tally { sent: 5, bytes: 10, ..Tally::default() };
        tally.outcomes.insert("accepted", 2);
        tally.outcomes.insert("released", 1);
        let text = tally.summary(1, Duration::from_millis(2));
        assert_eq!(
            text,
            "sent 5 messages (10 B): 2 accepted, 1 released, 1 in doubt, 1 pre-settled in 2.0ms"
        );
        assert_eq!(tally.refused(), 1);
    }

    #[test]
    fn a_line_that_is_no_message_is_named_by_its_number() {
        assert!(message_of_line(b"{", 3).unwrap_err().message.starts_with("line 3: not JSON"));
    }
}
