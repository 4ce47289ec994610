//! `mq request`.

use std::time::{Duration, Instant};

use fe2o3_amqp::{
    Sender,
    types::{
        definitions::SenderSettleMode,
        messaging::{MessageId, Outcome as Disposition, Properties},
    },
};
use jiff::Timestamp;

use super::{
    message::{self, Fields},
    reply::is_created,
};
use crate::{
    args::message::{Ack, Request},
    client::{
        admin::Admin,
        amqp::{AnyDelivery, Arrival, Client, Inlet, delivery_failure, disposition_text, interrupted},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    plane::names::Way,
    record::{self, AnyMessage, Reception},
    settings::{Endpoint, Settings},
    shape,
};

/// How long a request waits for its address to be created, and how often it looks.
const ADDRESS_GRACE: Duration = Duration::from_secs(2);
const ADDRESS_RETRY: Duration = Duration::from_millis(50);

/// Replies that are taken ahead of the one being printed, at most.
const MAX_WINDOW: u32 = 100;

pub(super) async fn run(args: Request, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let endpoint = settings.message_address(&args.address)?;
    if endpoint.scheme.is_mqtt() {
        return super::mqtt::request::run(&args, &endpoint, output).await;
    }
    super::mqtt::only(args.quality.qos.is_some(), "--qos")?;
    super::mqtt::only(args.fields.reply_to.is_some(), "--reply-to of a request")?;
    let fields = Fields::parse(&args.fields)?;
    let body = message::body(args.body.as_ref(), args.message.as_ref(), args.file.as_deref())?;
    let service = Service::find(&endpoint, settings).await;
    let endpoint = super::reached(endpoint, Way::To, settings).await?;
    let mut client = Client::connect(&endpoint).await?;
    let mut replies = 0;
    let result = {
        let message = fields.message(record::data(body));
        let exchange = exchange(&args, &mut client, &endpoint, &service, message, &mut replies, output);
        tokio::select! {
            result = tokio::time::timeout(args.timeout, exchange) => result.ok(),
            exit = interrupted() => Some(Ok(exit)),
        }
    };
    client.close().await;
    match result {
        Some(result) => result,
        None => Err(late(&args, &endpoint.address, replies)),
    }
}

pub(super) fn late(args: &Request, address: &str, replies: u32) -> Failure {
    let timeout = shape::elapsed(args.timeout);
    let message = match replies {
        0 => format!("no reply from `{address}` within {timeout}"),
        some => format!("{some} of {} replies from `{address}` within {timeout}", args.replies),
    };
    Failure::new(Exit::TimedOut, message)
        .help(format!("is somebody there to answer? for a test: mq reply {address} --echo"))
}

/// What is known of the address that a request goes to.
enum Service {
    /// Somebody has created it, or nobody can tell.
    There,
    /// Nobody has created it: who subscribes to such a topic may answer, and so may a responder that is
    /// about to create the address.
    Coming(Admin),
}

impl Service {
    async fn find(endpoint: &Endpoint, settings: &Settings) -> Self {
        match super::admin(settings) {
            // Where nothing is made up, an address that is not there is an error.
            Ok(admin) if endpoint.is_deployed && endpoint.dataplane.is_default() => {
                match is_created(&endpoint.address, &admin).await {
                    Ok(false) => Self::Coming(admin),
                    Ok(true) | Err(_) => Self::There,
                }
            }
            _ => Self::There,
        }
    }

    /// Returns when the address has been created meanwhile; never, when that does not happen soon.
    async fn created(&self, address: &str) {
        if let Self::Coming(admin) = self {
            let begin = Instant::now();
            while begin.elapsed() < ADDRESS_GRACE {
                tokio::time::sleep(ADDRESS_RETRY).await;
                if is_created(address, admin).await.unwrap_or(false) {
                    return;
                }
            }
        }
        std::future::pending().await
    }
}

async fn exchange(
    args: &Request,
    client: &mut Client,
    endpoint: &Endpoint,
    service: &Service,
    mut message: AnyMessage,
    replies: &mut u32,
    output: &mut Output,
) -> Outcome<Exit> {
    let (inlet, reply_to) = client.dynamic_receiver(args.replies.min(MAX_WINDOW)).await?;
    let address = endpoint.address.as_str();
    let sender = sender(client, endpoint).await?;
    let id = prepare(&mut message, reply_to.clone());
    let mut exchange = Exchange { args, client, address, reply_to, id, inlet, replies, output };
    let result = exchange.run(sender, service, message).await;
    exchange.inlet.close().await;
    result
}

/// A sender to the address. A responder that was started in the same breath is about to create it.
async fn sender(client: &mut Client, endpoint: &Endpoint) -> Outcome<Sender> {
    let begin = Instant::now();
    loop {
        match client.sender(Some(&endpoint.address), SenderSettleMode::Unsettled).await {
            Err(failure)
                if failure.exit == Exit::NotFound
                    && endpoint.is_deployed
                    && begin.elapsed() < ADDRESS_GRACE =>
            {
                tokio::time::sleep(ADDRESS_RETRY).await;
            }
            result => return result,
        }
    }
}

/// Makes a message a request, and returns the id that its replies will carry.
pub(super) fn prepare(message: &mut AnyMessage, reply_to: String) -> MessageId {
    let properties = message.properties.get_or_insert_with(Properties::new);
    properties.reply_to = Some(reply_to);
    let id =
        properties.message_id.take().unwrap_or_else(|| MessageId::String(uuid::Uuid::new_v4().to_string()));
    properties.message_id = Some(id.clone());
    // A responder answers with the correlation-id when there is one.
    properties.correlation_id.clone().unwrap_or(id)
}

/// Whether a message answers the request with this id. A responder that sends no correlation-id is taken at its
/// word: the address is ours alone.
pub(super) fn answers(message: &AnyMessage, id: &MessageId) -> bool {
    let correlation = message.properties.as_ref().and_then(|properties| properties.correlation_id.as_ref());
    correlation.is_none_or(|correlation| correlation == id)
}

/// A request that is being answered.
struct Exchange<'a> {
    args: &'a Request,
    client: &'a mut Client,
    address: &'a str,
    reply_to: String,
    id: MessageId,
    inlet: Inlet,
    replies: &'a mut u32,
    output: &'a mut Output,
}

impl Exchange<'_> {
    async fn run(&mut self, mut sender: Sender, service: &Service, message: AnyMessage) -> Outcome<Exit> {
        let begin = Instant::now();
        let again = message.clone();
        let sent = sender.send_batchable(message).await;
        let mut outcome = sent.map_err(|error| delivery_failure(&error, self.address))?;
        let mut is_settled = false;
        let mut is_sent_again = false;
        let mut created = std::pin::pin!(service.created(self.address));
        // A reply may overtake the outcome of its request.
        while *self.replies < self.args.replies {
            tokio::select! {
                // Nobody may have heard the request when it was one to a topic.
                () = &mut created, if !is_sent_again && *self.replies == 0 => {
                    is_sent_again = true;
                    sender = self.client.sender(Some(self.address), SenderSettleMode::Unsettled).await?;
                    let sent = sender.send_batchable(again.clone()).await;
                    outcome = sent.map_err(|error| delivery_failure(&error, self.address))?;
                    is_settled = false;
                }
                settled = &mut outcome, if !is_settled => {
                    is_settled = true;
                    let disposition = settled.map_err(|error| delivery_failure(&error, self.address))?;
                    self.check(&disposition)?;
                }
                arrival = self.inlet.recv() => self.arrival(arrival?).await?,
            }
        }
        let elapsed = shape::elapsed(begin.elapsed());
        self.output.talk(&format!("received {} in {elapsed}", plural_replies(*self.replies)));
        Ok(Exit::Ok)
    }

    fn check(&self, disposition: &Disposition) -> Outcome {
        if matches!(disposition, Disposition::Accepted(_)) {
            return Ok(());
        }
        let message = format!("the request to `{}` was {}", self.address, disposition_text(disposition));
        Err(Failure::new(Exit::NotDelivered, message))
    }

    async fn arrival(&mut self, arrival: Arrival) -> Outcome {
        match arrival {
            Arrival::Message(delivery) if answers(delivery.message(), &self.id) => {
                self.reply(&delivery).await
            }
            Arrival::Message(delivery) => {
                self.output.warn("a message that answers another request is left out");
                self.inlet.settle(&delivery, Ack::Accept).await
            }
            Arrival::Garbled(why) => {
                self.output.warn(&why);
                self.inlet.grant().await
            }
        }
    }

    async fn reply(&mut self, delivery: &AnyDelivery) -> Outcome {
        *self.replies += 1;
        let reception = Reception {
            address: &self.reply_to,
            at: Timestamp::now(),
            sequence: u64::from(*self.replies),
            settlement: "accepted",
            mqtt: None,
        };
        message::print(delivery.message(), reception, self.args.output, self.output)?;
        self.inlet.settle(delivery, Ack::Accept).await
    }
}

pub(super) fn plural_replies(count: u32) -> String {
    if count == 1 { "1 reply".into() } else { format!("{} replies", shape::number(count.into())) }
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::messaging::{Body, Message};

    use super::*;

    #[test]
    fn a_reply_carries_the_correlation_id_of_the_request_or_else_its_message_id() {
        let mut request = Message::from(Body::Empty);
        let id = prepare(&mut request, "here".into());
        let properties = request.properties.as_mut().unwrap();
        assert_eq!(properties.message_id.as_ref(), Some(&id));
        assert_eq!(properties.reply_to.as_deref(), Some("here"));
        properties.correlation_id = Some(MessageId::Ulong(7));
        assert_eq!(prepare(&mut request, "here".into()), MessageId::Ulong(7));
    }

    #[test]
    fn an_answer_to_another_request_is_none_to_this_one() {
        let mut reply = Message::from(Body::Empty);
        assert!(answers(&reply, &MessageId::Ulong(1)), "no correlation-id");
        let properties = Properties { correlation_id: Some(MessageId::Ulong(2)), ..Properties::new() };
        reply.properties = Some(properties);
        assert!(answers(&reply, &MessageId::Ulong(2)));
        assert!(!answers(&reply, &MessageId::Ulong(1)));
    }
}
