//! How connections begin, go on against the odds, and end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mq_amqp::Limits;
use mq_amqp::codec::encode_performative;
use mq_amqp::frame::{FrameKind, begin_frame, finish_frame};
use mq_amqp::performative::{Attach, Begin, Detach, Flow, Open, Performative, Role, Transfer};
use mq_model::manifest::AddressType;

use crate::client::{Client, message, to};
use crate::links::SHARDS;
use crate::node::{DEADLINE, Node, Place};

fn frame(performative: &Performative) -> Vec<u8> {
    frame_on(0, performative)
}

fn frame_on(channel: u16, performative: &Performative) -> Vec<u8> {
    let mut out = BytesMut::new();
    let start = begin_frame(&mut out, FrameKind::Amqp, channel);
    encode_performative(&mut out, performative);
    finish_frame(&mut out, start);
    out.to_vec()
}

/// A protocol header and an open.
fn hello() -> Vec<u8> {
    let open = Open { container_id: "raw".into(), ..Open::default() };
    [b"AMQP\x00\x01\x00\x00".to_vec(), frame(&Performative::Open(Box::new(open)))].concat()
}

fn begin() -> Performative {
    let begin = Begin { incoming_window: 1_000_000, outgoing_window: 1_000_000, ..Begin::default() };
    Performative::Begin(Box::new(begin))
}

/// A client that speaks frame by frame, with its connection open and one session begun.
fn raw(node: &Node, shard: usize) -> TcpStream {
    let mut stream = node.connect(shard);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(&[hello(), frame(&begin())].concat()).unwrap();
    let mut header = [0; 8];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(&header, b"AMQP\x00\x01\x00\x00");
    stream
}

/// What a consumer of `a` attaches with.
fn consumer_attach(handle: u32) -> Attach {
    Attach {
        name: "in".into(),
        handle,
        role: Role::Receiver,
        snd_settle_mode: Default::default(),
        rcv_settle_mode: Default::default(),
        source: Some(Box::new(mq_amqp::performative::Source {
            address: crate::client::text("a"),
            ..Default::default()
        })),
        target: None,
        unsettled: Vec::new(),
        incomplete_unsettled: false,
        initial_delivery_count: None,
        max_message_size: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: Vec::new(),
    }
}

fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the end, and no reset");
    bytes
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_client_that_sends_garbage_reads_why_it_is_closed() {
    let node = Node::start();
    for shard in [0, 1] {
        let mut stream = raw(&node, shard);
        // More than the node will read before it closes.
        let _ = stream.write_all(&vec![0xff; 3 << 20]);
        let answer = read_to_end(&mut stream);
        assert!(contains(&answer, "amqp:connection:framing-error"), "{}", answer.escape_ascii());
    }
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"AMQP\x00\x00\x09\x01", b"\x16\x03\x01\x02\x00"] {
        let mut stream = node.connect(0);
        stream.write_all(hello).unwrap();
        assert_eq!(read_to_end(&mut stream), b"AMQP\x00\x01\x00\x00", "the version that would do");
    }
    node.until_empty();
}

#[test]
fn a_client_that_shuts_its_end_gets_what_it_is_owed() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        consumer.consumer("a", 10);
        let out = producer.producer("a");
        producer.until("credit", |client| client.credit(out) > 0);
        producer.start(out, message("the last word"), true, false);
        producer.engine.close(Instant::now(), None);
        producer.write();
        producer.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(producer.ended(), None, "the close is answered");
        assert_eq!(consumer.receive(1).text(), "the last word");
    }
}

#[test]
fn a_client_that_leaves_without_a_close_leaves_nothing() {
    let node = Node::start();
    for _ in 0..20 {
        let mut client = Client::connect(&node, 0);
        client.producer("a");
        client.consumer("a", 10);
        client.stream.shutdown(Shutdown::Write).unwrap();
        client.turn();
    }
    node.until_empty();
}

#[test]
fn a_connection_closed_by_its_name_reads_the_reason() {
    let node = Node::start();
    let mut clients = [0, 1].map(|shard| Client::connect(&node, shard));
    for client in &mut clients {
        client.producer("a");
        client.consumer("a", 1);
    }
    let connections = node.wait_for(node.hub().connections());
    assert_eq!(connections.len(), 2);
    for connection in &connections {
        assert!(node.wait_for(node.hub().close(&connection.id, "maintenance")));
    }
    assert!(!node.wait_for(node.hub().close("c0-999", "maintenance")));
    for client in &mut clients {
        let error = client.ended().unwrap();
        assert_eq!(error.condition.as_str(), "amqp:connection:forced");
        assert_eq!(error.description.unwrap().as_str(), "maintenance");
    }
    node.until_empty();
}

#[test]
fn a_connection_that_is_closed_and_says_nothing_more_is_gone_all_the_same() {
    let node = Node::start();
    let stream = raw(&node, 0);
    let unopened = node.connect(1);
    node.until("both connections", |now| now.connections == 2);
    for connection in node.wait_for(node.hub().connections()) {
        assert!(node.wait_for(node.hub().close(&connection.id, "maintenance")));
        assert!(!node.wait_for(node.hub().close(&connection.id, "again")), "it is closing already");
    }
    node.until_empty();
    drop((stream, unopened));
}

#[test]
fn a_draining_node_lets_deliveries_settle_and_takes_nothing_new() {
    let node = Node::start();
    let (mut producer, mut consumer) = (Client::connect(&node, 0), Client::connect(&node, 1));
    consumer.consumer("a", 10);
    let out = producer.producer("a");
    let number = producer.send_text(out, "under way");
    let received = consumer.receive(1);
    let hub = node.hub().clone();
    let draining = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(hub.drain(Instant::now() + DEADLINE, "the node is stopping"))
    });
    producer.until("its credit to be taken back", |client| client.credit(out) == 0);
    let refused = producer.try_attach("late", Role::Sender, to("a")).unwrap_err();
    assert_eq!(refused.condition.as_str(), "amqp:link:detach-forced");
    let mut late = raw(&node, 0);
    assert!(contains(&read_to_end(&mut late), "amqp:connection:forced"));
    consumer.accept(&received);
    let settled = producer.outcome(number);
    assert_eq!(settled, mq_amqp::performative::DeliveryState::Accepted);
    for client in [&mut producer, &mut consumer] {
        assert_eq!(client.ended().unwrap().condition.as_str(), "amqp:connection:forced");
    }
    assert_eq!(draining.join().unwrap(), 0, "nothing was unsettled in the end");
    node.until_empty();
}

#[test]
fn a_client_of_a_draining_node_goes_when_nothing_of_its_own_is_under_way() {
    let node = Node::start();
    let (mut producer, mut slow) = (Client::connect(&node, 0), Client::connect(&node, 1));
    let mut idle = Client::connect(&node, 0);
    slow.consumer("a", 10);
    idle.consumer("b", 10);
    let out = producer.producer("a");
    let number = producer.send_text(out, "under way");
    let received = slow.receive(1);
    let hub = node.hub().clone();
    let draining = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(hub.drain(Instant::now() + DEADLINE, "the node is stopping"))
    });
    assert_eq!(idle.ended().unwrap().condition.as_str(), "amqp:connection:forced");
    assert!(!draining.is_finished(), "another one has something to settle");
    slow.accept(&received);
    assert_eq!(producer.outcome(number), mq_amqp::performative::DeliveryState::Accepted);
    for client in [&mut producer, &mut slow] {
        assert_eq!(client.ended().unwrap().condition.as_str(), "amqp:connection:forced");
    }
    assert_eq!(draining.join().unwrap(), 0);
    node.until_empty();
}

#[test]
fn a_client_that_is_silent_is_told_and_cut_off() {
    let node = Node::with(|config| config.limits.idle_timeout_ms = 1_000);
    let mut stream = raw(&node, 0);
    let answer = read_to_end(&mut stream);
    assert!(contains(&answer, "no frame within the idle timeout of 1000 ms"), "{}", answer.escape_ascii());
    node.until_empty();
}

#[test]
fn a_client_that_does_not_finish_its_handshake_is_cut_off() {
    let node = Node::with(|config| config.limits.handshake_timeout_ms = 100);
    let mut streams: Vec<TcpStream> = (0..20).map(|number| node.connect(number % 2)).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&b"AMQP\x00\x01\x00\x00\x00\x00"[..number % 10]).unwrap();
    }
    for stream in &mut streams {
        read_to_end(stream);
    }
    node.until_empty();
}

/// Writes `bytes` again and again until the node takes no more for a while; says how much it took.
fn flood(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut taken = 0;
    while taken < 256 << 20 {
        match stream.write(&bytes[taken % bytes.len()..]) {
            Ok(count) => taken += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return taken;
            }
            Err(error) => panic!("{error}"),
        }
    }
    taken
}

/// The node goes on for others, and for this client once it reads.
fn assert_serves(node: &Node, shard: usize) {
    let mut other = Client::connect(node, shard);
    other.consumer("b", 1);
    let out = other.producer("b");
    let number = other.send_text(out, "for others");
    let received = other.receive(1);
    other.accept(&received);
    other.outcome(number);
}

fn echo() -> Vec<u8> {
    let flow = Flow { next_incoming_id: Some(0), echo: true, incoming_window: 1_000, ..Flow::default() };
    frame(&Performative::Flow(flow))
}

#[test]
fn a_client_that_asks_for_echoes_and_reads_none_is_not_read_until_it_does() {
    let node = Node::start();
    let mut stream = raw(&node, 0);
    let flow = echo();
    let taken = flood(&mut stream, &flow.repeat(1_000));
    assert!(taken < 64 << 20, "the node took {taken} bytes of questions without an answer taken");
    assert_serves(&node, 0);
    // It reads at last: every question is answered.
    let mut reader = stream.try_clone().unwrap();
    let rest = flow.len() - taken % flow.len();
    let questions = taken / flow.len() + 1;
    let reading = std::thread::spawn(move || {
        // An answer is as long as a flow without a link always is here.
        let mut answers = 0;
        let mut bytes = [0; 64 << 10];
        let mut input = BytesMut::new();
        while answers < questions {
            let count = reader.read(&mut bytes).unwrap();
            assert!(count > 0, "the connection ended");
            input.extend_from_slice(&bytes[..count]);
            while let Some(frame) = mq_amqp::frame::next_frame(&mut input, 1 << 20).unwrap() {
                answers += usize::from(frame.body.get(2) == Some(&0x13));
            }
        }
    });
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(&flow[flow.len() - rest..]).unwrap();
    reading.join().unwrap();
    drop(stream);
    node.until_empty();
}

#[test]
fn a_client_that_attaches_and_detaches_and_reads_nothing_is_not_read_until_it_does() {
    let node = Node::start();
    let mut stream = raw(&node, 1);
    let attach = consumer_attach(0);
    let detach = Detach { handle: 0, closed: true, error: None };
    let mut bytes = frame(&Performative::Attach(Box::new(attach)));
    bytes.extend(frame(&Performative::Detach(detach)));
    let taken = flood(&mut stream, &bytes.repeat(500));
    assert!(taken < 64 << 20, "the node took {taken} bytes");
    assert_serves(&node, 1);
    drop(stream);
    node.until_empty();
}

#[test]
fn a_consumer_that_never_reads_holds_up_nobody_else() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let mut producer = Client::connect(&node, there);
        let mut deaf = Client::connect(&node, here);
        // All the credit there is.
        deaf.consumer("a", u32::MAX);
        let out = producer.producer("a");
        let large = message(&"x".repeat(200_000));
        producer.until("credit", |client| client.credit(out) > 0);
        let end = Instant::now() + DEADLINE;
        // The sockets have what fits; then what comes stays in the core.
        while node.statistics().undelivered == 0 {
            assert!(Instant::now() < end, "{:?}", node.statistics());
            if producer.credit(out) > 0 && producer.engine.pending_bytes(producer.session) == 0 {
                producer.start(out, large.clone(), false, false);
            }
            producer.turn();
        }
        assert_serves(&node, here);
        drop(deaf);
        producer.until("all to be settled", |client| client.states.values().all(|state| state.1));
        drop(producer);
        node.until_empty();
    }
}

#[test]
fn a_client_that_never_reads_gets_no_more_for_having_many_sessions() {
    let node = Node::start();
    node.set("deep", AddressType::Anycast, |spec| spec.limits.link_credit = Some(10_000));
    let mut producer = Client::connect(&node, 0);
    let mut deaf = Client::over(node.connect_narrow(0), Limits::default());
    for number in 0..100 {
        if number > 0 {
            deaf.session = deaf.engine.begin(0).unwrap();
        }
        deaf.consumer("deep", u32::MAX);
    }
    let out = producer.producer("deep");
    let large = message(&"x".repeat(10_000));
    let end = Instant::now() + DEADLINE;
    while node.statistics().undelivered == 0 {
        assert!(Instant::now() < end, "{:?}", node.statistics());
        while producer.credit(out) > 0 && producer.engine.pending_bytes(producer.session) == 0 {
            producer.start(out, large.clone(), true, false);
        }
        producer.turn();
    }
    // 16 KiB for each session, more for the first ones, and what the kernel took.
    let given = node.statistics().bytes_out;
    assert!(given < 5 << 20, "{given} bytes are under way to a client that reads none");
}

#[test]
fn a_client_is_read_again_when_a_turn_has_written_all_that_kept_it_from_being_read() {
    let node = Node::start();
    let (mut producer, mut keeper) = (Client::connect(&node, 0), Client::connect(&node, 0));
    keeper.consumer("a", 0);
    let out = producer.producer("a");
    let body = message(&"x".repeat(10_000));
    for _ in 0..150 {
        producer.send(out, body.clone(), true);
    }
    node.until("all to wait", |now| now.undelivered == 150);
    // One read brings consumers on so many sessions that the outbox is beyond its limit at once.
    let mut bytes = hello();
    for channel in 0..100 {
        let flow = Flow {
            next_incoming_id: Some(0),
            incoming_window: 1_000_000,
            outgoing_window: 1_000_000,
            handle: Some(0),
            delivery_count: Some(0),
            link_credit: Some(1_000),
            ..Flow::default()
        };
        let attach = Performative::Attach(Box::new(consumer_attach(0)));
        for performative in [begin(), attach, Performative::Flow(flow)] {
            bytes.extend(frame_on(channel, &performative));
        }
    }
    let mut stream = node.connect_with(0, &bytes);
    node.until("all to be sent", |now| now.undelivered == 0);
    stream.write_all(&frame(&Performative::Close(Default::default()))).unwrap();
    assert!(read_to_end(&mut stream).len() > 150 * 10_000);
}

#[test]
fn credit_without_end_is_credit_like_any_other() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let into = consumer.consumer("a", u32::MAX);
        consumer.grant(into, u32::MAX);
        let out = producer.producer("a");
        for count in 1..=600 {
            producer.send(out, message("one of many"), true);
            consumer.receive(count);
        }
    }
}

#[test]
fn a_slow_reader_keeps_no_more_than_the_window_of_its_producers() {
    let node = Node::with(|config| config.limits.session_window = 1 << 20);
    node.set("deep", AddressType::Anycast, |spec| spec.limits.link_credit = Some(300));
    let (mut producer, mut consumer) = (Client::connect(&node, 0), Client::connect(&node, 0));
    let into = consumer.consumer("deep", 0);
    let out = producer.producer("deep");
    producer.until("credit", |client| client.credit(out) == 300);
    let large = message(&"x".repeat(64 << 10));
    for _ in 0..300 {
        producer.start(out, large.clone(), false, false);
    }
    producer.write();
    node.until("the window to be full", |now| now.undelivered >= 8);
    producer.sync();
    let now = node.statistics();
    assert!(now.bytes_in < 2 << 20, "the node took {} bytes in", now.bytes_in);
    consumer.consumes = true;
    consumer.grant(into, 300);
    while consumer.received.iter().filter(|received| received.is_whole).count() < 300 {
        producer.turn();
        consumer.turn();
    }
    let received = std::mem::take(&mut consumer.received);
    for delivery in &received {
        assert_eq!(delivery.bytes.len(), large.len());
        consumer
            .engine
            .settle(
                Role::Receiver,
                delivery.delivery,
                Some(mq_amqp::performative::DeliveryState::Accepted),
                true,
            )
            .unwrap();
    }
    consumer.write();
    producer.until("every outcome", |client| client.states.len() == 300);
    let [producing, _] = [0, 1].map(|index| {
        let connection = &node.wait_for(node.hub().connections())[index];
        node.wait_for(node.hub().sessions(&connection.id)).unwrap()
    });
    assert_eq!(producing[0].unsettled_in, 0);
    assert!(producing[0].incoming_window > 32, "the window is open again: {producing:?}");
}

#[test]
fn a_consumer_with_a_small_window_gets_everything_in_its_own_time() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let limits = Limits { incoming_window: 4, ..Limits::default() };
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::with(&node, here, limits));
        consumer.consumes = false;
        consumer.consumer("a", 500);
        let out = producer.producer("a");
        let large = message(&"x".repeat(40_000));
        for _ in 0..100 {
            producer.send(out, large.clone(), true);
        }
        let mut frames = 0;
        let end = Instant::now() + DEADLINE;
        while consumer.received.iter().filter(|received| received.is_whole).count() < 100 {
            assert!(Instant::now() < end, "{} came", consumer.received.len());
            consumer.turn();
            producer.turn();
            let bytes: usize = consumer.received.iter().map(|received| received.bytes.len()).sum();
            if bytes > frames {
                consumer.engine.consume(consumer.session, 4).unwrap();
                frames = bytes;
            }
        }
    }
}

#[test]
fn settling_what_was_never_sent_changes_nothing() {
    let node = Node::start();
    let mut stream = raw(&node, 0);
    for role in [Role::Sender, Role::Receiver] {
        let disposition = mq_amqp::performative::Disposition {
            role,
            first: 0,
            last: Some(i32::MAX.cast_unsigned()),
            settled: true,
            state: Some(mq_amqp::performative::DeliveryState::Accepted),
            batchable: false,
        };
        stream.write_all(&frame(&Performative::Disposition(disposition))).unwrap();
    }
    assert_serves(&node, 0);
    stream.write_all(&frame(&Performative::Close(Default::default()))).unwrap();
    read_to_end(&mut stream);
    node.until_empty();
}

/// A consumer of the queue `one` attaches and gives credit in one breath.
fn hasty_consumer() -> Vec<u8> {
    let source = mq_amqp::performative::Source { address: crate::client::text("one"), ..Default::default() };
    let attach = Attach { source: Some(Box::new(source)), ..consumer_attach(0) };
    let flow = Flow {
        next_incoming_id: Some(0),
        incoming_window: 1_000,
        outgoing_window: 1_000,
        handle: Some(0),
        link_credit: Some(5),
        echo: true,
        ..Flow::default()
    };
    [frame(&Performative::Attach(Box::new(attach))), frame(&Performative::Flow(flow))].concat()
}

/// A node with a queue that has one consumer at a time.
fn with_queue_for_one() -> Node {
    let mut place = Place::new();
    place.add("one", AddressType::Queue, |spec| spec.limits.max_consumers = Some(1));
    Node::at(&place, |_| {})
}

#[test]
fn credit_given_in_the_breath_of_the_attach_counts_whatever_the_shard() {
    for shard in [0, 1] {
        let node = with_queue_for_one();
        let mut stream = raw(&node, shard);
        stream.write_all(&hasty_consumer()).unwrap();
        let mut producer = Client::connect(&node, 0);
        let out = producer.producer("one");
        producer.send_text(out, "in time");
        let mut answer = Vec::new();
        while !contains(&answer, "in time") {
            let mut bytes = [0; 4_096];
            let count = stream.read(&mut bytes).expect("a delivery");
            assert!(count > 0, "{}", answer.escape_ascii());
            answer.extend_from_slice(&bytes[..count]);
        }
    }
}

#[test]
fn a_consumer_that_goes_in_the_breath_of_its_attach_leaves_nothing_whatever_the_shard() {
    let detach = Detach { handle: 0, closed: true, error: None };
    let ends = [
        Some(Performative::Detach(detach)),
        Some(Performative::End(Default::default())),
        Some(Performative::Close(Default::default())),
        None,
    ];
    for shard in [0, 1] {
        let node = with_queue_for_one();
        for end in &ends {
            let mut stream = raw(&node, shard);
            let last = end.as_ref().map(frame).unwrap_or_default();
            stream.write_all(&[hasty_consumer(), last].concat()).unwrap();
            match end {
                Some(Performative::Detach(_) | Performative::End(_)) => {
                    stream.write_all(&frame(&Performative::Close(Default::default()))).unwrap();
                    read_to_end(&mut stream);
                }
                Some(_) => drop(read_to_end(&mut stream)),
                None => drop(stream),
            }
            node.until_empty();
            // The home may hear of it a moment later.
            node.until("the place of the consumer to be free", |_| {
                let shards = node.wait_for(node.hub().addresses(Some(&"one".into())));
                shards.iter().filter_map(|shard| shard.queue).all(|queue| queue.consumers == 0)
            });
        }
        let mut client = Client::connect(&node, 1 - shard);
        let out = client.producer("one");
        client.consumer("one", 1);
        client.send_text(out, "to the next");
        assert_eq!(client.receive(1).text(), "to the next");
    }
}

#[test]
fn a_handle_beyond_the_limit_ends_the_session_alone() {
    let node = Node::with(|config| config.limits.max_links = 10);
    let mut stream = raw(&node, 0);
    stream.write_all(&frame(&Performative::Attach(Box::new(consumer_attach(9))))).unwrap();
    node.until("the link", |now| now.consumers == 1);
    stream.write_all(&frame(&Performative::Attach(Box::new(consumer_attach(65_535))))).unwrap();
    node.until("the link to go with its session", |now| now.consumers == 0);
    assert_eq!(node.statistics().connections, 1);
    stream.write_all(&frame(&Performative::Close(Default::default()))).unwrap();
    assert!(contains(&read_to_end(&mut stream), "handle 65535 is above handle-max 9"));
    node.until_empty();
}

#[test]
fn a_transfer_without_credit_closes_the_link_alone() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    let out = client.producer("a");
    let transfer = Transfer {
        handle: 0,
        delivery_id: Some(0),
        delivery_tag: mq_amqp::performative::Tag::new(b"t"),
        message_format: Some(0),
        settled: Some(true),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    };
    client.write();
    client.stream.write_all(&frame(&Performative::Transfer(transfer))).unwrap();
    assert_eq!(client.detached(out).condition.as_str(), "amqp:link:transfer-limit-exceeded");
    drop(client);
    node.until_empty();
}

#[test]
fn a_frame_that_comes_byte_by_byte_is_a_frame() {
    let node = Node::start();
    let mut stream = raw(&node, 0);
    for byte in [echo(), frame(&Performative::Close(Default::default()))].concat() {
        stream.write_all(&[byte]).unwrap();
        node.statistics();
    }
    read_to_end(&mut stream);
    node.until_empty();
}
