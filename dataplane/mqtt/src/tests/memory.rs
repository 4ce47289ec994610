//! What a connection keeps when nothing happens.

use bytes::Bytes;

use super::pair::{NONE, Pair, message};
use crate::{Connection, Event, Qos, ReasonCode, Version};

#[test]
fn an_idle_connection_is_small() {
    let size = size_of::<Connection>();
    assert!(size <= 640, "{size} bytes");
}

#[test]
fn an_event_is_not_large() {
    let size = size_of::<Event>();
    assert!(size <= 96, "{size} bytes");
}

#[test]
fn an_idle_connection_holds_no_buffers_after_heavy_traffic() {
    let mut pair = Pair::open(Version::V5_0);
    let body = Bytes::from(vec![0; 500]);
    for round in 0..20_u32 {
        for number in 0..50_u32 {
            let qos = if number % 2 == 0 { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
            let topic = format!("round/{round}/{number}");
            pair.client.engine.publish(&message(&topic, &body, qos)).expect("a window");
        }
        pair.run();
        for event in std::mem::take(&mut pair.server.events) {
            if let Event::Publish(publish) = event {
                let id = publish.packet_id.expect("QoS 1 or 2");
                pair.server.engine.acknowledge(id, ReasonCode::Success, NONE()).expect("it waits");
            }
        }
        pair.run();
    }
    for end in [&mut pair.client, &mut pair.server] {
        assert!(end.engine.spare_capacity() > 0, "there was traffic");
        end.engine.shrink();
        assert_eq!(end.engine.spare_capacity(), 0);
    }
    // And it works on.
    pair.client.engine.publish(&message("round/0/0", &body, Qos::AtMostOnce)).expect("open");
    pair.server.events.clear();
    pair.run();
    assert_eq!(pair.server.publish_event().topic(), "round/0/0");
}
