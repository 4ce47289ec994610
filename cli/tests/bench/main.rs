//! The load of `mq bench` against targets with known faults: each has to show in the right figure.

mod faults;
mod proxy;
mod server;
