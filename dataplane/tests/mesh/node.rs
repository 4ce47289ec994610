//! One node of a fleet, as its clients see it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use mqd::hub::Speaks;

pub(crate) use crate::support::DEADLINE;

/// Where a node serves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) amqp: SocketAddr,
    pub(crate) mqtt: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) mesh: SocketAddr,
}

impl Node {
    /// A client's socket. Which shard serves it is the node's choice.
    pub(crate) fn connect(&self, _shard: usize) -> TcpStream {
        let stream = TcpStream::connect(self.amqp).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A socket of a client that speaks so and has sent these bytes.
    pub(crate) fn connect_as(&self, shard: usize, speaks: Speaks, _proxy: bool, hello: &[u8]) -> TcpStream {
        let mut stream = match speaks {
            Speaks::Amqp => self.connect(shard),
            Speaks::Mqtt | Speaks::MqttInFrames { .. } => self.mqtt_stream(),
        };
        stream.write_all(hello).unwrap();
        stream
    }

    /// A socket of a client of MQTT.
    pub(crate) fn mqtt_stream(&self) -> TcpStream {
        let stream = TcpStream::connect(self.mqtt).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}
