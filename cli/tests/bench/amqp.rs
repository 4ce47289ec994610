//! A connection of the target that speaks AMQP.

use std::{net::TcpStream, sync::Arc, time::Instant};

use bytes::BytesMut;
use mq_amqp::{
    Config, Connection, Event, Events, IncomingTransfer, LinkKey, Outgoing, Side, Terms, condition,
    performative::{Attach, DeliveryState, Error, Role, SaslCode, Tag},
    value::{Symbol, Text},
};

use crate::server::{self, Behaviour, Message, Messages, Treatment, read_in, write_out};

pub(crate) struct Client {
    stream: TcpStream,
    engine: Connection,
    input: BytesMut,
    events: Events,
    /// Links that we deliver on.
    consumers: Vec<LinkKey>,
    delivered: u64,
    is_gone: bool,
}

impl server::Client for Client {
    fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn turn(&mut self, messages: &mut Messages) {
        self.read();
        while let Some(event) = self.events.pop_front() {
            match event {
                Event::SaslInit { .. } => self.engine.sasl_outcome(SaslCode::Ok, None).unwrap(),
                Event::Opened(_) => self.engine.open().unwrap(),
                Event::LinkAttached { link, attach } => self.attached(link, *attach, messages.behaviour()),
                Event::Transfer(transfer) => self.taken(transfer, messages),
                _ => {}
            }
            if self.is_gone {
                return;
            }
            self.take_input();
        }
    }

    fn deliver(&mut self, message: &Message) -> bool {
        let engine = &self.engine;
        let has_credit = |link: &LinkKey| engine.credit(*link).unwrap_or(0) > 0;
        let Some(link) = self.consumers.iter().copied().find(has_credit) else {
            return false;
        };
        let tag = Tag::from(self.delivered);
        self.delivered += 1;
        let payload = message.payload.clone();
        let outgoing = Outgoing { tag, token: 0, settled: true, message_format: 0, payload, more: false };
        self.engine.send(link, outgoing).unwrap();
        true
    }

    fn write(&mut self) {
        self.engine.flush();
        let engine = &mut self.engine;
        self.is_gone |= !write_out(&mut self.stream, engine, Connection::slices, Connection::written);
    }

    fn is_gone(&self) -> bool {
        self.is_gone
    }
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let config = Config {
            container_id: Text::from("faulty"),
            mechanisms: vec![Symbol::from("ANONYMOUS")],
            ..Config::default()
        };
        let engine = Connection::new(Arc::new(config), Side::Server, Instant::now());
        let (input, events) = (BytesMut::new(), Events::new());
        Self { stream, engine, input, events, consumers: Vec::new(), delivered: 0, is_gone: false }
    }

    fn attached(&mut self, link: LinkKey, attach: Attach, behaviour: Behaviour) {
        if behaviour.refuses {
            self.engine.refuse(link, Error::new(condition::NOT_FOUND, "no such address")).unwrap();
            return;
        }
        let terms = Terms { source: attach.source, target: attach.target, ..Terms::default() };
        self.engine.accept(link, terms, 0).unwrap();
        match attach.role {
            Role::Receiver => self.consumers.push(link),
            Role::Sender if behaviour.credit > 0 => self.engine.grant(link, behaviour.credit).unwrap(),
            Role::Sender => {}
        }
    }

    fn read(&mut self) {
        self.is_gone |= !read_in(&mut self.stream, &mut self.input);
        self.take_input();
    }

    fn take_input(&mut self) {
        if self.engine.handle_input(Instant::now(), &mut self.input, &mut self.events).is_err() {
            self.is_gone = true;
        }
    }

    fn taken(&mut self, transfer: IncomingTransfer, messages: &mut Messages) {
        self.engine.consume(transfer.delivery.session(), 1).unwrap();
        assert!(!transfer.more, "the tests send one frame per message");
        let treatment = messages.treatment();
        let state = match treatment {
            Treatment::Release => DeliveryState::Released,
            Treatment::Reject => DeliveryState::Rejected(None),
            Treatment::Modify => DeliveryState::Modified {
                delivery_failed: Some(true),
                undeliverable_here: None,
                annotations: None,
            },
            Treatment::Cut => {
                self.is_gone = true;
                return;
            }
            _ => DeliveryState::Accepted,
        };
        if !transfer.settled {
            self.engine.settle(Role::Receiver, transfer.delivery, Some(state), true).unwrap();
        }
        self.engine.grant(transfer.link, 1).unwrap();
        messages.take(treatment, Message { topic: None, payload: transfer.payload, answer: None });
    }
}
