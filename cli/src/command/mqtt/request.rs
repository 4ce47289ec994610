//! `mq request` over MQTT.

use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use rumqttc::v5::mqttbytes::v5::{Filter, Publish, RetainForwardRule};

use super::{DEFAULT_QOS, Publication, check_fields, publication, received, topic};
use crate::{
    args::message::Request,
    client::{
        amqp::interrupted,
        mqtt::{Client, Happening, Login, Settled, check_topic, quality},
    },
    command::{
        message::{self, Fields},
        request::{late, plural_replies},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    record::{self, Reception},
    settings::Endpoint,
    shape,
};

/// Replies that are taken ahead of the one being printed, at most.
const WINDOW: u16 = 100;

pub(in crate::command) async fn run(
    args: &Request,
    endpoint: &Endpoint,
    output: &mut Output,
) -> Outcome<Exit> {
    check_topic(&endpoint.address)?;
    check_fields(&args.fields)?;
    let fields = Fields::parse(&args.fields)?;
    let body = message::body(args.body.as_ref(), args.message.as_ref(), args.file.as_deref())?;
    let publication = publication(&fields.message(record::data(body)), None, &fields);
    let login = Login { window: WINDOW, ..Login::default() };
    let mut client = Client::connect(endpoint, &login).await?;
    let mut replies = 0;
    let result = {
        let exchange = exchange(args, &mut client, &endpoint.address, publication, &mut replies, output);
        tokio::select! {
            result = tokio::time::timeout(args.timeout, exchange) => result.ok(),
            exit = interrupted() => Some(Ok(exit)),
        }
    };
    client.close().await;
    result.unwrap_or_else(|| Err(late(args, &endpoint.address, replies)))
}

async fn exchange(
    args: &Request,
    client: &mut Client,
    address: &str,
    publication: Publication,
    replies: &mut u32,
    output: &mut Output,
) -> Outcome<Exit> {
    let Publication { payload, mut properties } = publication;
    let qos = args.quality.qos.unwrap_or(DEFAULT_QOS);
    client.check(qos, false)?;
    let reply_to = properties.response_topic.get_or_insert_with(|| response_topic(client)).clone();
    let id: Bytes = uuid::Uuid::new_v4().simple().to_string().into();
    let id = properties.correlation_data.get_or_insert(id).clone();
    check_topic(&reply_to)?;
    client
        .subscribe(Filter {
            path: reply_to.clone(),
            qos: quality(qos),
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: RetainForwardRule::Never,
        })
        .await?;
    let begin = Instant::now();
    client.publish(address, qos, false, payload, properties).await;
    while *replies < args.replies {
        // A reply may overtake the outcome of its request.
        match client.next().await? {
            Happening::Sent | Happening::Settled(Settled::Accepted) => {}
            Happening::Settled(Settled::Unmatched) => {
                let message = format!("nobody is subscribed to `{address}`");
                return Err(Failure::new(Exit::NotDelivered, message)
                    .help("is somebody there to answer? for a test: `mq reply` with --echo"));
            }
            Happening::Settled(Settled::Refused(why)) => {
                let message = format!("the request to `{address}` was refused: {why}");
                return Err(Failure::new(Exit::NotDelivered, message));
            }
            Happening::Message(reply) => {
                if answers(&reply, &id) {
                    *replies += 1;
                    print(&reply, *replies, args, output)?;
                } else {
                    output.warn("a message that answers another request is left out");
                }
                client.acknowledge(&reply).await;
            }
        }
    }
    let elapsed = shape::elapsed(begin.elapsed());
    output.talk(&format!("received {} in {elapsed}", plural_replies(*replies)));
    Ok(Exit::Ok)
}

/// What the server has for answers to this client, or else a topic that nobody else uses.
fn response_topic(client: &Client) -> String {
    match client.response_information() {
        Some(information) => information.to_owned(),
        None => format!("reply/{}", client.client_id()),
    }
}

/// A responder that sends no correlation data is taken at its word: the topic is ours alone.
fn answers(reply: &Publish, id: &Bytes) -> bool {
    let data = reply.properties.as_ref().and_then(|properties| properties.correlation_data.as_ref());
    data.is_none_or(|data| data == id)
}

fn print(reply: &Publish, number: u32, args: &Request, output: &mut Output) -> Outcome {
    let (message, mqtt) = received(reply);
    let topic = topic(reply);
    let reception = Reception {
        address: &topic,
        at: Timestamp::now(),
        sequence: number.into(),
        settlement: "accepted",
        mqtt: Some(&mqtt),
    };
    message::print(&message, reception, args.output, output)
}
