//! A connection of the target that speaks MQTT.

use std::{net::TcpStream, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use mq_mqtt::{
    Accept, Config, Connection, Event, Limits, Outgoing, Qos, ReasonCode,
    packet::{Publish, Subscribe},
    property::{PropertyIn, PropertyView, PropertyWriter},
};

use crate::server::{self, Behaviour, Message, Messages, Treatment, read_in, write_out};

pub(crate) struct Client {
    stream: TcpStream,
    engine: Connection,
    input: BytesMut,
    /// What it subscribed to, and with which QoS.
    subscription: Option<(String, Qos)>,
    is_gone: bool,
}

impl server::Client for Client {
    fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn turn(&mut self, messages: &mut Messages) {
        self.is_gone |= !read_in(&mut self.stream, &mut self.input);
        while !self.is_gone {
            match self.engine.handle_input(Instant::now(), &mut self.input) {
                Ok(Some(Event::Connect(_))) => {
                    self.engine.accept(Instant::now(), Accept::default()).unwrap();
                }
                Ok(Some(Event::Subscribe(subscribe))) => self.subscribed(&subscribe, messages.behaviour()),
                Ok(Some(Event::Publish(publish))) => self.taken(publish, messages),
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => self.is_gone = true,
            }
        }
    }

    fn deliver(&mut self, message: &Message) -> bool {
        let Some((filter, qos)) = &self.subscription else {
            return false;
        };
        let topic = message.topic.as_deref().unwrap_or_default();
        if topic != filter || (*qos != Qos::AtMostOnce && self.engine.window() == 0) {
            return false;
        }
        let mut properties = PropertyWriter::new(PropertyIn::Publish);
        if let Some((topic, correlation)) = &message.answer {
            if !topic.is_empty() {
                properties.response_topic(topic).unwrap();
            }
            properties.correlation_data(correlation).unwrap();
        }
        let properties = properties.finish();
        let outgoing =
            Outgoing { qos: *qos, properties: properties.view(), ..Outgoing::new(topic, &message.payload) };
        self.engine.publish(&outgoing).is_ok()
    }

    fn write(&mut self) {
        let engine = &mut self.engine;
        self.is_gone |= !write_out(&mut self.stream, engine, Connection::slices, Connection::written);
    }

    fn is_gone(&self) -> bool {
        self.is_gone
    }
}

impl Client {
    pub(crate) fn new(stream: TcpStream, behaviour: Behaviour) -> Self {
        let receive_maximum = u16::try_from(behaviour.credit.max(1)).unwrap();
        let limits = Limits { receive_maximum, ..Limits::default() };
        let engine = Connection::server(Arc::new(Config { limits, ..Config::default() }), Instant::now());
        Self { stream, engine, input: BytesMut::new(), subscription: None, is_gone: false }
    }

    fn subscribed(&mut self, subscribe: &Subscribe, behaviour: Behaviour) {
        let wanted = &subscribe.subscriptions[0];
        let reason = match wanted.options.qos {
            _ if behaviour.refuses => ReasonCode::NotAuthorized,
            Qos::AtMostOnce => ReasonCode::Success,
            Qos::AtLeastOnce => ReasonCode::GrantedQos1,
            Qos::ExactlyOnce => ReasonCode::GrantedQos2,
        };
        self.subscription = Some((wanted.filter.as_str().to_owned(), wanted.options.qos));
        self.engine.suback(subscribe.packet_id, &[reason], PropertyView::default()).unwrap();
    }

    fn taken(&mut self, publish: Publish, messages: &mut Messages) {
        let treatment = messages.treatment();
        let reason = match treatment {
            Treatment::Release => ReasonCode::NoMatchingSubscribers,
            Treatment::Reject => ReasonCode::QuotaExceeded,
            Treatment::Modify => panic!("MQTT modifies nothing"),
            Treatment::Cut => {
                self.is_gone = true;
                return;
            }
            _ => ReasonCode::Success,
        };
        if let Some(packet_id) = publish.packet_id {
            self.engine.acknowledge(packet_id, reason, PropertyView::default()).unwrap();
        }
        let properties = publish.properties();
        let answer = properties.correlation_data().map(|correlation| {
            let topic = properties.response_topic().unwrap_or_default();
            (topic.to_owned(), Bytes::copy_from_slice(correlation))
        });
        let topic = Some(publish.topic().to_owned());
        messages.take(treatment, Message { topic, payload: publish.payload_bytes(), answer });
    }
}
