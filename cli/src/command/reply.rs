//! `mq reply`.

use std::{collections::HashMap, time::Duration};

use fe2o3_amqp::{
    Sender,
    types::{
        definitions::{AmqpError, SenderSettleMode},
        messaging::{Outcome as Disposition, Properties},
    },
};
use mq_model::{
    CATCH_ALL_TOPIC,
    manifest::{Address, AddressSpec, AddressType},
    validate_address_name,
};

use super::message::{self, Fields, Ran};
use crate::{
    args::message::{Ack, Reply},
    client::{
        admin::Admin,
        amqp::{AnyDelivery, Arrival, Client, Inlet, delivery_failure, disposition_text, interrupted},
    },
    deploy::plan::is_built_in,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    plane::names::Way,
    record::{self, AnyMessage},
    settings::Settings,
    shape,
};

/// Senders to reply addresses that are kept where there is no anonymous relay.
const MAX_SENDERS: usize = 64;

pub(super) async fn run(args: Reply, settings: &Settings, output: &Output) -> Outcome<Exit> {
    let endpoint = settings.message_address(&args.address)?;
    if args.count == Some(0) {
        return Ok(Exit::Ok);
    }
    if endpoint.scheme.is_mqtt() {
        return super::mqtt::reply::run(&args, &endpoint, output).await;
    }
    super::mqtt::only(args.quality.qos.is_some(), "--qos")?;
    if endpoint.is_deployed && endpoint.dataplane.is_default() {
        offer(&endpoint.address, settings, output).await?;
    }
    let endpoint = super::reached(endpoint, Way::From, settings).await?;
    let mut client = Client::connect(&endpoint).await?;
    let inlet = client.receiver(&endpoint.address, args.credit, args.count).await;
    let result = match inlet {
        Ok(inlet) => answer(&args, &mut client, inlet, &endpoint.address, output).await,
        Err(failure) => Err(failure),
    };
    client.close().await;
    result
}

/// Who answers on an address offers a service: the address is made when nobody has created one that serves
/// the name. Built-in topics do not count: a request to them goes to everybody, or to nobody.
async fn offer(name: &str, settings: &Settings, output: &Output) -> Outcome {
    let admin = super::admin(settings)?;
    match is_created(name, &admin).await {
        Ok(false) if validate_address_name(name).is_ok() => {}
        Ok(_) => return Ok(()),
        // Messages may work all the same.
        Err(failure) if failure.exit == Exit::Unreachable => return Ok(()),
        Err(failure) => return Err(failure),
    }
    let address = Address::new(name, AddressSpec::new(AddressType::Anycast));
    match admin.create_address(&address).await {
        Ok(_) => output.talk(&format!("created address {name} (anycast); undo: mq address delete {name}")),
        // Somebody else was faster.
        Err(failure) if failure.exit == Exit::Conflict => {}
        Err(failure) => return Err(failure),
    }
    Ok(())
}

/// Whether an address that somebody has created serves the name: one of that name, or a topic above it.
pub(super) async fn is_created(name: &str, admin: &Admin) -> Outcome<bool> {
    let above = std::iter::successors(Some(name), |name| Some(name.rsplit_once('/')?.0));
    for candidate in above.chain([CATCH_ALL_TOPIC]) {
        match admin.address(candidate).await {
            Ok(address) if candidate == name || address.spec.kind == AddressType::Topic => {
                return Ok(!is_built_in(&address));
            }
            Ok(_) => {}
            Err(failure) if failure.exit == Exit::NotFound => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(false)
}

async fn answer(
    args: &Reply,
    client: &mut Client,
    mut inlet: Inlet,
    address: &str,
    output: &Output,
) -> Outcome<Exit> {
    let relay = match client.has_relay() {
        true => client.sender(None, SenderSettleMode::Unsettled).await.ok(),
        false => None,
    };
    let mut outlet = Outlet { relay, senders: HashMap::new(), deadline: args.exec_timeout };
    let mut tally = Tally::default();
    let result = tokio::select! {
        result = answer_all(args, client, address, &mut inlet, &mut outlet, &mut tally, output) => result,
        exit = interrupted() => Ok(exit),
    };
    output.talk(&tally.summary());
    inlet.close().await;
    match result? {
        Exit::Ok if tally.failed > 0 => Ok(Exit::Partial),
        exit => Ok(exit),
    }
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) answered: u64,
    pub(super) failed: u64,
}

impl Tally {
    pub(super) fn summary(&self) -> String {
        let mut text = format!("answered {}", shape::plural(self.answered, "request"));
        if self.failed > 0 {
            text.push_str(&format!(", {} failed", shape::number(self.failed)));
        }
        text
    }
}

async fn answer_all(
    args: &Reply,
    client: &mut Client,
    address: &str,
    inlet: &mut Inlet,
    outlet: &mut Outlet,
    tally: &mut Tally,
    output: &Output,
) -> Outcome<Exit> {
    while args.count.is_none_or(|count| tally.answered + tally.failed < count) {
        let delivery = match inlet.recv().await? {
            Arrival::Message(delivery) => delivery,
            Arrival::Garbled(why) => {
                tally.failed += 1;
                output.warn(&why);
                inlet.grant().await?;
                continue;
            }
        };
        match one(args, client, address, &delivery, outlet).await? {
            Answer::Sent => {
                tally.answered += 1;
                inlet.settle(&delivery, Ack::Accept).await?;
            }
            Answer::Undelivered(why) => {
                // The request was dealt with; that its sender is gone is not the request's fault.
                tally.failed += 1;
                output.warn(&why);
                inlet.settle(&delivery, Ack::Accept).await?;
            }
            Answer::Refused(why) => {
                tally.failed += 1;
                refuse(inlet, &delivery, &why, output).await?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// What became of a request.
enum Answer {
    Sent,
    /// There is an answer, and nobody to take it.
    Undelivered(String),
    /// There is no answer.
    Refused(String),
}

async fn one(
    args: &Reply,
    client: &mut Client,
    address: &str,
    request: &AnyDelivery,
    outlet: &mut Outlet,
) -> Outcome<Answer> {
    let request = request.message();
    let properties = request.properties.clone().unwrap_or_default();
    let Some(reply_to) = properties.reply_to.clone() else {
        return Ok(Answer::Refused("the request has no reply-to".into()));
    };
    let body = match (&args.exec, &args.message) {
        (Some(command), _) => {
            let input = record::body_bytes(&request.body);
            match message::run(command, &input, address, args.exec_timeout).await? {
                Ran::Succeeded(mut said) => {
                    // What a shell would strip: a command ends its line, a reply is no line.
                    if said.last() == Some(&b'\n') {
                        said.pop();
                    }
                    record::data(said)
                }
                Ran::Failed(why) => return Ok(Answer::Refused(format!("`{command}` failed: {why}"))),
            }
        }
        (None, Some(text)) => record::data(text.as_bytes()),
        (None, None) => request.body.clone(),
    };
    let mut reply = Fields::default().message(body);
    reply.properties = Some(Properties {
        to: Some(reply_to.clone()),
        correlation_id: properties.correlation_id.or(properties.message_id),
        content_type: if args.echo { properties.content_type } else { None },
        ..Properties::new()
    });
    if args.echo {
        reply.application_properties.clone_from(&request.application_properties);
    }
    outlet.send(client, &reply_to, reply).await
}

async fn refuse(inlet: &mut Inlet, delivery: &AnyDelivery, why: &str, output: &Output) -> Outcome {
    output.warn(&format!("{why}; the request is rejected"));
    inlet.reject(delivery, AmqpError::PreconditionFailed, why).await
}

/// Sends replies to wherever the requests came from.
struct Outlet {
    /// One link for every address, where the peer offers it.
    relay: Option<Sender>,
    senders: HashMap<String, Sender>,
    deadline: Duration,
}

impl Outlet {
    async fn send(&mut self, client: &mut Client, reply_to: &str, reply: AnyMessage) -> Outcome<Answer> {
        let deadline = self.deadline;
        let gone = |why: &str| {
            Ok(Answer::Undelivered(format!("the reply to `{reply_to}` was not delivered: {why}")))
        };
        let sender = match &mut self.relay {
            Some(relay) => relay,
            None => match self.sender(client, reply_to).await {
                Ok(sender) => sender,
                Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
                Err(failure) => return gone(&failure.message),
            },
        };
        let Ok(sent) = tokio::time::timeout(deadline, sender.send(reply)).await else {
            return gone(&format!("nobody took it within {}", shape::elapsed(deadline)));
        };
        match sent {
            Ok(Disposition::Accepted(_)) => Ok(Answer::Sent),
            Ok(disposition) => gone(&disposition_text(&disposition)),
            Err(error) => {
                let failure = delivery_failure(&error, reply_to);
                // The next reply gets a link of its own when this one is lost.
                if self.relay.take().is_none() {
                    self.senders.remove(reply_to);
                }
                if failure.exit == Exit::Unreachable { Err(failure) } else { gone(&failure.message) }
            }
        }
    }

    async fn sender(&mut self, client: &mut Client, address: &str) -> Result<&mut Sender, Failure> {
        if !self.senders.contains_key(address) {
            if self.senders.len() >= MAX_SENDERS {
                self.senders.clear();
            }
            let sender = client.sender(Some(address), SenderSettleMode::Unsettled).await?;
            self.senders.insert(address.to_owned(), sender);
        }
        self.senders
            .get_mut(address)
            .ok_or_else(|| Failure::failed(format!("there is no sender to `{address}`")))
    }
}
