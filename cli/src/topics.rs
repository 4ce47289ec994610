//! The texts of `mq help TOPIC`.

use crate::{
    bench::metric::{Metric, Series, Statistic},
    env,
    exit::Exit,
};

/// Name and text of every topic.
pub fn all() -> Vec<(&'static str, String)> {
    vec![
        ("exit-codes", exit_codes()),
        ("environment", environment()),
        ("addresses", ADDRESSES.to_owned()),
        ("output", OUTPUT.to_owned()),
        ("templates", TEMPLATES.to_owned()),
        ("records", RECORDS.to_owned()),
        ("bench-metrics", bench_metrics()),
    ]
}

fn exit_codes() -> String {
    let mut text = String::from("Every command of mq ends with one of these codes:\n\n");
    for exit in Exit::ALL {
        text.push_str(&format!("  {:>3}  {}\n", exit.code(), exit.meaning()));
    }
    text
}

fn environment() -> String {
    let mut text = String::from("A flag wins over a variable, a variable wins over the context:\n\n");
    for (name, meaning) in env::ALL {
        text.push_str(&format!("  {name:<16}{meaning}\n"));
    }
    text
}

fn bench_metrics() -> String {
    let mut text = String::from(BENCH_METRICS);
    text.push_str("\nLatencies, each with one of ");
    text.push_str(&Statistic::ALL.map(Statistic::name).join(", "));
    text.push_str(" behind a dot:\n\n");
    for series in Series::ALL {
        text.push_str(&format!("  {:<24}{}\n", series.name(), series.meaning()));
    }
    text.push_str("\nEverything else:\n\n");
    for metric in Metric::all() {
        if let Metric::Figure(figure) = metric {
            text.push_str(&format!("  {:<24}{}\n", figure.name, figure.meaning));
        }
    }
    text
}

const BENCH_METRICS: &str = "\
What `mq bench` can be asked to keep:

  mq bench run FILE --assert 'e2e.p99<5ms' --assert 'received.rate>=50k' --assert 'lost==0'
  mq bench run FILE --baseline main.json --max-regress 'e2e.p99=10%' --max-regress 'rate=5%'

The operators are <, <=, >, >=, == and !=. A time needs its unit (us, ms, s), a rate or count takes k and
M, a size Ki, Mi and Gi, a share a percent sign.

A figure is worse when it is worse than the baseline by more than is allowed, and by more than chance
explains: the interval of Mann and Whitney over the runs, at 95 %. It needs four runs on each side;
with fewer, the seconds within the runs stand in, and five percent of noise between runs are assumed.
";

const ADDRESSES: &str = "\
Where a command sends to or receives from:

  telemetry                              an address in the fleet of the current context
  sensors/kitchen                        the same; `/`, `.` and `:` are part of the name
  events/+/paid, events/#                to receive from a topic: one level, all further levels
  events::billing                        to receive from the subscription `billing` of the topic `events`
  amqp://host/telemetry                  an address on any AMQP 1.0 peer, no deployment needed
  amqp://user:password@host:5672/a%2Fb   with SASL PLAIN, a port and a percent-encoded name
  mqtt://host/sensors/kitchen            a topic on any MQTT 5.0 server: to send, recv, request and reply
  mqtt://host/sensors/#                  a topic filter, to receive; `$share/NAME/sensors/#` shares it
  mqtt:///sensors/kitchen                without a host: the fleet of the current context

What an address does with a message is its type:

  anycast        one consumer, the least busy; nothing is stored, the sender learns its outcome
  multicast      every consumer online now; nothing is stored, the sender learns the worst outcome
  queue          stored; one consumer, in order; the sender learns that it is stored
  topic          stored for every subscription; a durable one gets it later when it is offline now
  subscription   `topic::name`, a durable subscription that an administrator made

A name that no address serves is served by the topic `#`, which a fleet has unless its file says
`mqtt.catchAll: false`: a client of MQTT needs to create nothing. AMQP and MQTT reach the same addresses:
`mq recv 'sensors/#'` gets what an MQTT client publishes to sensors/kitchen, and the other way round.

A message to a queue or topic waits for its consumers. When it is durable (`mq send --durable`), accepted
means that it is on the disk. Rejected and too often delivered messages go to the dead letter address, with
the reason in message annotations: `mq browse orders.dlq -o json` shows them, `mq address move` tries again.

Prefer --user with --password-file or MQ_PASSWORD to a password in the URL: every user of the
machine can read a command line.
";

const OUTPUT: &str = "\
stdout carries data, stderr carries everything else. A reader that closes the pipe ends the command
with exit code 0.

  -o table   for people; nothing is printed when there is nothing to show
  -o wide    a table with every column
  -o json    one document: {\"apiVersion\": \"mq.cli/v1\", \"kind\": ..., \"items\": [...]}
  -o jsonl   one JSON object per line
  -o yaml    addresses as documents that `mq apply -f -` reads
  -o name    names only, one per line

With json, jsonl and yaml an error is one JSON object on stderr:
{\"apiVersion\": \"mq.cli/v1\", \"kind\": \"Error\", \"error\": {\"exitCode\": 7, \"message\": ..., \"help\": ...}}
";

const TEMPLATES: &str = "\
With --template, `mq send` expands these in the body of each message:

  {{seq}}          1, 2, 3, ...
  {{seqmod 16}}    the remainder of seq - 1 divided by 16: 0 to 15, over and over
  {{now}}          the time in RFC 3339, in UTC
  {{unix_ms}}      the time as milliseconds since 1970
  {{uuid}}         a random UUID, version 4
  {{rand 1 9}}     a random whole number, both ends included
  {{randstr 32}}   random letters and digits
  {{line}}         the line of the input, with --lines
  {{env.NAME}}     an environment variable

--seed makes uuid, rand and randstr the same in every run.
";

const RECORDS: &str = "\
`mq recv -o json` and `mq browse -o json` print each message as one line of JSON; `mq send --json-lines`
reads it back, also from a file whose name ends in .jsonl, and the message it sends is the same.
Flags such as --durable and --priority go over what the line says.

  v                        1, the version of the format
  proto, address, at, seq  how, where, when and as which message of this run it was received
  header                   durable, priority, ttl_ms, first_acquirer, delivery_count
  properties               message_id, to, subject, reply_to, correlation_id, content_type, ...
  application_properties, message_annotations, delivery_annotations, footer
  body                     {\"kind\": \"data\", \"enc\": \"utf8\" or \"base64\", \"value\": ...},
                           {\"kind\": \"value\" or \"sequence\", \"enc\": \"json\", \"value\": ...} or
                           {\"kind\": \"none\"}
  mqtt                     qos, retain, dup, user_properties, subscription_ids, payload_format, of a message
                           that came over MQTT; it says more than application_properties, which have each
                           name once, and goes before them when the message is sent over MQTT
  settlement               what the sender is told

Strings, booleans and null are themselves; every other AMQP type names itself:
{\"i32\": 5}, {\"u64\": 7}, {\"f64\": 0.5}, {\"uuid\": \"...\"}, {\"timestamp\": 1700000000000},
{\"symbol\": \"x\"}, {\"binary\": \"base64\"}, {\"list\": [...]}, {\"map\": [[key, value], ...]},
{\"array\": [...]}, {\"described\": [descriptor, value]}.
On input a bare whole number is an i64, another number an f64, a string is a body of text, and every
field may be left out. What belongs to a delivery and not to the message is not sent again:
first_acquirer, delivery_count and delivery_annotations.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_of_exit_codes_lists_every_one() {
        for exit in Exit::ALL {
            assert!(exit_codes().contains(&format!("{:>3}  {}", exit.code(), exit.meaning())));
        }
    }
}
