//! `mq send`, `recv`, `request`, `reply`, `check`.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;

use crate::{args::View, shape};

/// Send messages to an address.
///
/// Waits until a consumer gives credit, sends, waits for the outcome of every message, and says what became
/// of them. Exits with 9 when a message was not accepted.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq send telemetry hello
  mq send telemetry -n 1000 -m 'reading {{seq}} {{rand 1 100}}' --template --rate 100
  mq send telemetry --lines < readings.txt
  mq send orders -f messages.jsonl --durable
  mq send orders 'remind me' --delay 1h --group customer-7
  mq recv old --until-idle 2s -o json | mq send new --json-lines
  mq send amqp://192.0.2.7/telemetry -f photo.jpg -H site=north -H level:=3
  mq send mqtt://127.0.0.1/sensors/kitchen -m 23 --qos 2 --retain")]
pub struct Send {
    /// The address, or amqp://[user[:password]@]host[:port]/address, or the same with mqtt://.
    pub address: String,
    /// The body, as text; without a body, -m, -f, --lines or --json-lines the message is empty.
    #[arg(conflicts_with_all = ["message", "file", "lines", "json_lines"])]
    pub body: Option<String>,
    /// The body, as text. With --lines and --template: the template of each body.
    #[arg(short, long, value_name = "TEXT", conflicts_with_all = ["file", "json_lines"])]
    pub message: Option<String>,
    /// A file that is the body; `-` is stdin. With --lines or --json-lines, and when its name ends in
    /// .jsonl: the file to read lines from.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Send each line of the input as one message.
    #[arg(long, conflicts_with = "json_lines")]
    pub lines: bool,
    /// Send each line of the input as one message, in the format that `mq recv -o json` prints. What
    /// flags say of a message goes over what its line says.
    #[arg(long)]
    pub json_lines: bool,
    /// How many times to send the body [default: 1]. With --lines or --json-lines: at most this many.
    #[arg(short = 'n', long, value_name = "COUNT", alias = "messages", value_parser = shape::count)]
    pub count: Option<u64>,
    #[command(flatten)]
    pub fields: MessageFields,
    /// Expand {{seq}}, {{now}}, {{uuid}} and the like in the body (see `mq help templates`).
    #[arg(short = 'T', long)]
    pub template: bool,
    /// The seed of the random parts of a template: the same seed gives the same bodies.
    #[arg(long, value_name = "NUMBER", requires = "template")]
    pub seed: Option<u64>,
    /// Send pre-settled: no outcome is asked for. Over MQTT this is QoS 0.
    #[arg(long)]
    pub settled: bool,
    /// Have the topic retain the message for whoever subscribes later; an empty one ends what is retained.
    #[arg(long)]
    pub retain: bool,
    /// Messages per second, at most.
    #[arg(short, long, value_name = "RATE", value_parser = shape::rate)]
    pub rate: Option<u64>,
    /// How many messages may wait for their outcome, 1 to 100,000.
    #[arg(long, value_name = "COUNT", default_value = "100")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub in_flight: u32,
    /// Give up when nothing moves for this long: no credit, no outcome; 0 waits for ever.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = shape::duration)]
    pub timeout: Duration,
    /// Over MQTT, the client identifier [default: a random one].
    #[arg(long, value_name = "ID", value_parser = client_id)]
    pub client_id: Option<String>,
    #[command(flatten)]
    pub quality: Quality,
}

/// How MQTT delivers.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Quality {
    /// Over MQTT, the quality of service: at most once, at least once, exactly once [default: 1].
    #[arg(short, long, value_name = "0-2", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: Option<u8>,
}

/// The parts of a message besides its body.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct MessageFields {
    /// An application property: key=text, or key:=json for numbers, booleans and null; repeatable. In MQTT
    /// it is a user property.
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE", visible_alias = "user-property")]
    pub headers: Vec<String>,
    /// A property: message-id, user-id, to, subject, reply-to, correlation-id, content-type,
    /// content-encoding, group-id, group-sequence or reply-to-group-id; repeatable.
    #[arg(long = "property", value_name = "NAME=VALUE")]
    pub properties: Vec<String>,
    /// A message annotation: name=text, or name:=json; repeatable.
    #[arg(long = "annotation", value_name = "NAME=VALUE")]
    pub annotations: Vec<String>,
    /// Mark the message as durable: a queue or topic accepts it when it is on the disk.
    #[arg(long)]
    pub durable: bool,
    /// The priority, 0 (last) to 9; 4 is the default of AMQP.
    #[arg(long, value_name = "0-9", value_parser = clap::value_parser!(u8).range(0..=9))]
    pub priority: Option<u8>,
    /// How long the message may wait for a consumer. In MQTT it is the message expiry, in whole seconds.
    #[arg(long, value_name = "TIME", value_parser = shape::milliseconds, visible_alias = "message-expiry")]
    pub ttl: Option<u32>,
    /// The content-type, such as application/json.
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// Where answers go: the reply-to, in MQTT the response topic.
    #[arg(long, value_name = "ADDRESS", visible_alias = "response-topic")]
    pub reply_to: Option<String>,
    /// The correlation-id, in MQTT the correlation data.
    #[arg(long, value_name = "ID", visible_alias = "correlation")]
    pub correlation_id: Option<String>,
    /// Deliver the message this long after it has come to its queue.
    #[arg(long, value_name = "TIME", value_parser = shape::milliseconds, conflicts_with = "at")]
    pub delay: Option<u32>,
    /// Deliver the message at this time, such as 2030-01-31T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub at: Option<jiff::Timestamp>,
    /// The message-id; with --template it is a template too. A queue that looks for duplicates goes by it.
    #[arg(long, value_name = "ID")]
    pub message_id: Option<String>,
    /// The group-id: a queue with message groups gives the messages of one group to one consumer.
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// The key of a last-value queue: the message takes the place of the waiting one with this key.
    #[arg(long, value_name = "KEY")]
    pub last_value_key: Option<String>,
}

/// Receive messages from an address.
///
/// Prints each body on a line of its own, until -n messages have come, until nothing comes any
/// more (--wait, --until-idle, --until-empty), or until Ctrl-C. A message is settled after it has been
/// printed. Exits with 4 when fewer than -n messages came, or none at all; --until-idle and --until-empty
/// make that a success.
///
/// Of a topic `events`, `events/+/paid` and `events/#` are the messages sent to the names that match,
/// and `events::billing` is the subscription `billing`.
///
/// Over MQTT the address is a topic filter. A message that fails in --exec is not acknowledged; it comes
/// again when its session does: see --client-id and --session-expiry.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq recv telemetry
  mq recv telemetry -n 10 --wait 30s
  mq recv telemetry -o json > messages.jsonl
  mq recv orders --until-empty
  mq recv 'events/#' --durable-subscription audit --selector \"region = 'eu'\"
  mq recv jobs --exec './work.sh'
  mq recv 'sensors/#' --retained --until-empty
  mq recv 'mqtt://127.0.0.1/sensors/#' --client-id logger --session-expiry 1d")]
pub struct Recv {
    /// The address, or amqp://[user[:password]@]host[:port]/address, or the same with mqtt://.
    pub address: String,
    /// Stop after this many messages.
    #[arg(short = 'n', long, value_name = "COUNT", alias = "messages", value_parser = shape::count)]
    pub count: Option<u64>,
    /// Stop when no message has come for this long.
    #[arg(short, long, value_name = "TIME", value_parser = shape::duration)]
    pub wait: Option<Duration>,
    /// Stop after this long in any case.
    #[arg(long, value_name = "TIME", value_parser = shape::duration)]
    pub timeout: Option<Duration>,
    /// Stop, and call it a success, when no message has come for this long.
    #[arg(long, value_name = "TIME", value_parser = shape::duration, conflicts_with = "wait")]
    pub until_idle: Option<Duration>,
    /// Stop, and call it a success, when the address says that it has no message to give.
    ///
    /// This is no matter of time: the peer is asked to send what it has and to say when that is all (the
    /// drain of AMQP). Messages that another consumer holds, or that are due later, are not waited for.
    /// MQTT has no such question: there it is the end when nothing has come for a second.
    #[arg(long, conflicts_with_all = ["wait", "until_idle"])]
    pub until_empty: bool,
    #[command(flatten)]
    pub selection: Selection,
    /// Begin with the messages that the topic retains.
    #[arg(long)]
    pub retained: bool,
    /// Receive through a subscription of this name, which keeps messages while nobody receives. It ends
    /// with `mq subscription delete`.
    #[arg(long, value_name = "NAME", value_parser = subscription_name, conflicts_with = "subscription")]
    pub durable_subscription: Option<String>,
    /// Receive through a subscription of this name, which ends with its last consumer; for --shared.
    #[arg(long, value_name = "NAME", value_parser = subscription_name, requires = "shared")]
    pub subscription: Option<String>,
    /// Share the subscription: each message goes to one of those who receive through it.
    #[arg(long)]
    pub shared: bool,
    /// To whom a durable subscription that is not shared belongs: the AMQP container-id (in JMS the
    /// client ID) [default: mq]. Over MQTT, the client identifier [default: a random one].
    #[arg(long, value_name = "ID", value_parser = client_id)]
    pub client_id: Option<String>,
    /// Over MQTT, how long the session outlives the command, such as 1h or `never` for no end: what is
    /// sent meanwhile comes next time. Needs --client-id [default: 0].
    #[arg(long, value_name = "TIME", value_parser = session_expiry, requires = "client_id")]
    pub session_expiry: Option<u32>,
    #[command(flatten)]
    pub quality: Quality,
    /// How to print messages.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: RecordFormat,
    /// What to tell the sender about each message.
    #[arg(long, value_name = "OUTCOME", default_value = "accept")]
    pub ack: Ack,
    /// How many messages to take ahead of the one being printed, 1 to 10,000.
    #[arg(long, value_name = "COUNT", default_value = "100")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub credit: u32,
    /// A shell command that gets each body on stdin, in place of printing it; a message is released
    /// when it fails.
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,
    /// How long one run of --exec may take.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = shape::duration)]
    pub exec_timeout: Duration,
}

/// Which messages of an address.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Selection {
    /// Only messages that meet this condition on their properties, in the language of JMS selectors, such
    /// as `priority > 4 AND region = 'eu'`.
    #[arg(long, value_name = "CONDITION", value_parser = selector)]
    pub selector: Option<String>,
}

/// Look at the messages of a queue.
///
/// Prints the messages that the queue holds, the one that would be delivered next first, and leaves them
/// where they are. Ends at the end of the queue.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq browse orders -n 5
  mq browse orders.dlq -o json
  mq browse orders --selector \"customer = '7'\" -o json | mq send copies --json-lines")]
pub struct Browse {
    /// The queue or subscription, or amqp://[user[:password]@]host[:port]/address.
    pub address: String,
    /// Stop after this many messages.
    #[arg(short = 'n', long, value_name = "COUNT", alias = "messages", value_parser = shape::count)]
    pub count: Option<u64>,
    #[command(flatten)]
    pub selection: Selection,
    /// Stop after this long in any case.
    #[arg(long, value_name = "TIME", value_parser = shape::duration)]
    pub timeout: Option<Duration>,
    /// How to print messages.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: RecordFormat,
}

/// The longest selector, in bytes.
const MAX_SELECTOR: usize = 4_096;
/// The longest name of a subscription or client, in bytes.
const MAX_NAME: usize = 255;

fn selector(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > MAX_SELECTOR {
        return Err(format!("1 to {MAX_SELECTOR} bytes"));
    }
    Ok(text.to_owned())
}

/// `|` stands between the name of a subscription and what tells its links apart.
fn subscription_name(text: &str) -> Result<String, String> {
    match client_id(text)? {
        name if name.contains('|') => Err("`|` cannot be part of it".into()),
        name => Ok(name),
    }
}

/// Seconds, all of them set for a session that does not end (MQTT 5.0, 3.1.2.11.2).
fn session_expiry(text: &str) -> Result<u32, String> {
    if text == "never" {
        return Ok(u32::MAX);
    }
    let time = shape::duration(text)?;
    let seconds = u32::try_from(time.as_secs()).map_err(|_| "too long".to_owned())?;
    Ok(seconds + u32::from(time.subsec_nanos() > 0))
}

fn client_id(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(format!("1 to {MAX_NAME} bytes of printable text"));
    }
    Ok(text.to_owned())
}

/// How messages are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecordFormat {
    /// The body, one message per line.
    Text,
    /// The whole message as one line of JSON (see `mq help records`).
    Json,
    /// The bytes of the body and nothing else.
    Raw,
}

/// What the sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ack {
    /// The message has been dealt with.
    Accept,
    /// The message was not taken; another consumer may have it.
    Release,
    /// The message is invalid.
    Reject,
    /// The message was not taken, and this attempt counts as failed.
    Modify,
    /// Nothing: the message is in doubt when the command ends.
    None,
}

/// Send a request and print the replies.
///
/// Asks the fleet for a temporary address, sends the request with it as reply-to, and waits. Over MQTT the
/// replies come to a response topic: that of --reply-to, or else one that the server or `mq` chooses.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq request time
  mq request sum '1 2 3' --timeout 2s
  mq request inventory --replies 5 -o json
  mq request mqtt://127.0.0.1/services/time")]
pub struct Request {
    /// The address, or amqp://[user[:password]@]host[:port]/address, or the same with mqtt://.
    pub address: String,
    /// The body, as text.
    #[arg(conflicts_with_all = ["message", "file"])]
    pub body: Option<String>,
    /// The body, as text.
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    pub message: Option<String>,
    /// A file that is the body; `-` is stdin.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub fields: MessageFields,
    /// How many replies to wait for.
    #[arg(long, value_name = "COUNT", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub replies: u32,
    /// How long to wait for all of it.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = shape::duration)]
    pub timeout: Duration,
    /// How to print replies.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: RecordFormat,
    #[command(flatten)]
    pub quality: Quality,
}

/// Answer requests.
///
/// Receives from an address and sends what the command prints to the reply-to address of each request, until
/// Ctrl-C. The correlation-id of a reply is that of the request, or else its message-id. An address of the
/// context's fleet that nobody has created is created, as anycast.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("answer").required(true))]
#[command(after_help = "Examples:
  mq reply time --exec date
  mq reply upper --exec 'tr a-z A-Z'
  mq reply ping -m pong -n 1
  mq reply mqtt://127.0.0.1/services/time --exec date")]
pub struct Reply {
    /// The address, or amqp://[user[:password]@]host[:port]/address, or the same with mqtt://.
    pub address: String,
    /// A shell command: the request's body is its stdin, its stdout is the reply.
    #[arg(long, value_name = "COMMAND", group = "answer")]
    pub exec: Option<String>,
    /// Reply with the request's body.
    #[arg(long, group = "answer")]
    pub echo: bool,
    /// Reply with this text.
    #[arg(short, long, value_name = "TEXT", group = "answer")]
    pub message: Option<String>,
    /// Stop after this many requests.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = shape::count)]
    pub count: Option<u64>,
    /// How long one run of --exec, and the delivery of one reply, may take.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = shape::duration)]
    pub exec_timeout: Duration,
    /// How many requests to take ahead of the one being answered, 1 to 10,000.
    #[arg(long, value_name = "COUNT", default_value = "10")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub credit: u32,
    #[command(flatten)]
    pub quality: Quality,
}

/// Prove that the fleet works.
///
/// For every address type and protocol that the fleet serves: creates a temporary address, sends, receives,
/// compares every byte, and removes the address again. Exits with 1 when anything failed.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// How many messages each check sends.
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "20")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: u32,
    /// How long each check may take.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = shape::duration)]
    pub timeout: Duration,
    #[command(flatten)]
    pub view: View,
}
