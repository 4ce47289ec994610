//! One node of a fleet, as its clients see it.

use std::net::{SocketAddr, TcpStream};

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
}
