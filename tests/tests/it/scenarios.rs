//! What every client library has to be able to do, whichever it is.

use mq_model::manifest::AddressType;
use mq_tests::Daemon;
use mq_tests::foreign::{Library, Peer};
use serde_json::json;

/// The scenarios as tests of one library.
macro_rules! with {
    ($library:expr) => {
        crate::scenarios::with!($library =>
            ten_messages_arrive_in_order_and_are_accepted,
        );
    };
    ($library:expr => $($name:ident,)*) => {
        $(#[test]
        fn $name() {
            if !mq_tests::foreign::is_skipped() {
                crate::scenarios::$name($library);
            }
        })*
    };
}
pub(crate) use with;

fn daemon_with(address: &str, kind: AddressType) -> Daemon {
    let daemon = Daemon::start();
    daemon.admin().create(address, kind);
    daemon
}

pub(crate) fn ten_messages_arrive_in_order_and_are_accepted(library: Library) {
    let daemon = daemon_with("telemetry", AddressType::Anycast);
    let mut receiver = Peer::connect(library, &daemon);
    receiver.receiver("r", "telemetry", json!({ "credit": 10 }));
    let mut sender = Peer::connect(library, &daemon);
    sender.sender("s", "telemetry");
    sender.send_with("s", json!({ "count": 10, "body": "message {}" }));
    for number in 1..=10 {
        assert_eq!(receiver.body("r"), format!("message {number}"));
        assert_eq!(sender.settled("s")["state"], "accepted");
    }
    let statistics = daemon.admin().statistics();
    assert_eq!((statistics.deliveries_in, statistics.outcomes.accepted), (10, 10));
}
