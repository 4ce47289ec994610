//! `mq reply` over MQTT.

use rumqttc::v5::mqttbytes::v5::{Filter, Publish, PublishProperties, RetainForwardRule};

use super::{DEFAULT_QOS, topic};
use crate::{
    args::message::Reply,
    client::{
        amqp::interrupted,
        mqtt::{Client, Happening, Login, check_topic, quality},
    },
    command::{
        message::{self, Ran},
        reply::Tally,
    },
    exit::Exit,
    failure::Outcome,
    output::Output,
    settings::Endpoint,
};

pub(in crate::command) async fn run(args: &Reply, endpoint: &Endpoint, output: &Output) -> Outcome<Exit> {
    let window = u16::try_from(args.credit).unwrap_or(u16::MAX);
    let mut client = Client::connect(endpoint, &Login { window, ..Login::default() }).await?;
    let filter = Filter {
        path: endpoint.address.clone(),
        qos: quality(args.quality.qos.unwrap_or(DEFAULT_QOS)),
        nolocal: false,
        preserve_retain: false,
        // What was asked before anybody was there to answer is not asked any more.
        retain_forward_rule: RetainForwardRule::Never,
    };
    let mut tally = Tally::default();
    let result = match client.subscribe(filter).await {
        Ok(_) => tokio::select! {
            result = answer_all(args, &mut client, &mut tally, output) => result,
            exit = interrupted() => Ok(exit),
        },
        Err(failure) => Err(failure),
    };
    client.close().await;
    if result.is_ok() {
        output.talk(&tally.summary());
    }
    match result? {
        Exit::Ok if tally.failed > 0 => Ok(Exit::Partial),
        exit => Ok(exit),
    }
}

async fn answer_all(args: &Reply, client: &mut Client, tally: &mut Tally, output: &Output) -> Outcome<Exit> {
    while args.count.is_none_or(|count| tally.answered + tally.failed < count) {
        let Happening::Message(request) = client.next().await? else { continue };
        match one(args, client, &request).await? {
            Ok(()) => tally.answered += 1,
            Err(why) => {
                tally.failed += 1;
                output.warn(&format!("{why}; the request stays without an answer"));
            }
        }
        client.acknowledge(&request).await;
    }
    Ok(Exit::Ok)
}

/// Answers a request; the inner error says why there is no answer.
async fn one(args: &Reply, client: &Client, request: &Publish) -> Outcome<Result<(), String>> {
    let asked = request.properties.clone().unwrap_or_default();
    let Some(reply_to) = asked.response_topic else {
        return Ok(Err("the request has no response topic".into()));
    };
    if let Err(failure) = check_topic(&reply_to) {
        return Ok(Err(failure.message));
    }
    let body = match (&args.exec, &args.message) {
        (Some(command), _) => {
            match message::run(command, &request.payload, &topic(request), args.exec_timeout).await? {
                Ran::Succeeded(mut said) => {
                    // What a shell would strip: a command ends its line, a reply is no line.
                    said.pop_if(|last| *last == b'\n');
                    said
                }
                Ran::Failed(why) => return Ok(Err(format!("`{command}` failed: {why}"))),
            }
        }
        (None, Some(text)) => text.clone().into_bytes(),
        (None, None) => request.payload.to_vec(),
    };
    let mut properties =
        PublishProperties { correlation_data: asked.correlation_data, ..PublishProperties::default() };
    if args.echo {
        properties.payload_format_indicator = asked.payload_format_indicator;
        properties.content_type = asked.content_type;
        properties.user_properties = asked.user_properties;
    }
    let qos = args.quality.qos.unwrap_or(DEFAULT_QOS);
    client.publish(&reply_to, qos, false, body, properties).await;
    Ok(Ok(()))
}
