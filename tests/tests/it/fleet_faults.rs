//! What breaks in a fleet, and what clients that remember everything saw of it: nothing accepted is lost, nothing
//! taken comes back, traffic goes on, and all that was under way is settled. What was measured is printed as a
//! table beside what the design promises; only what is far off fails, since machines of tests are busy.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mq_model::manifest::AddressType;
use mq_tests::foreign::{Library, is_skipped};
use mq_tests::network::{Network, within};
use mq_tests::remember::{Account, Fate, Findings, Load, Plan, Rememberer, Table};
use mq_tests::{Fleet, Proxy};

/// Messages that go through at each sender before something breaks, while it is broken, and after it was mended.
const ENOUGH: usize = 150;

/// What the design promises of a killed node or a closed connection, and of silence.
const AFTER_AN_END: Duration = Duration::from_secs(1);
const AFTER_SILENCE: Duration = Duration::from_secs(3);

/// How much longer a gap on a busy machine may be before a test fails.
const GRACE: Duration = Duration::from_secs(12);

/// Which node is which in a scene.
#[derive(Clone, Copy)]
struct Cast {
    /// The one that something happens to.
    hit: usize,
    /// The one that a sender is connected to.
    sending: usize,
    /// The one that a receiver is connected to.
    receiving: usize,
}

/// What breaks, and how it is mended.
struct Fault {
    words: &'static str,
    /// The longest gap that the design allows; `None`: it promises none, as what holds the messages is gone
    /// until it is mended.
    bound: Option<Duration>,
    strike: fn(&mut Fleet, Cast),
    mend: fn(&mut Fleet, Cast),
}

/// A client of AMQP that prefers the first of the nodes.
fn amqp(fleet: &Fleet, nodes: &[usize], plan: fn(&[SocketAddr]) -> Plan) -> Rememberer {
    let servers: Vec<SocketAddr> = nodes.iter().map(|&number| fleet.node(number).amqp()).collect();
    plan(&servers).start()
}

/// Lets something break under load, mends it, and asks the clients.
fn suffer(fleet: &mut Fleet, cast: Cast, mut load: Load, fault: &Fault) -> (Account, Findings) {
    load.expect_more(ENOUGH);
    load.breaks();
    (fault.strike)(fleet, cast);
    if fault.bound.is_some() {
        load.expect_more(ENOUGH);
    } else {
        fleet.wait_until_broken(cast.sending);
    }
    (fault.mend)(fleet, cast);
    fleet.wait_until_whole();
    load.expect_more(ENOUGH);
    let account = load.end();
    let findings = account.settle();
    (account, findings)
}

/// Lets one thing after the other break, and prints what it meant.
fn suffer_all(title: &str, fleet: &mut Fleet, cast: Cast, load: fn(&Fleet, Cast) -> Load, faults: &[Fault]) {
    let mut table = Table::of_faults(title);
    let mut all = Vec::new();
    for fault in faults {
        let (_, findings) = suffer(fleet, cast, load(fleet, cast), fault);
        table.add(fault.words, fault.bound, &findings);
        all.push(findings);
    }
    table.print();
    for (fault, findings) in faults.iter().zip(&all) {
        judge(fault, findings);
    }
}

/// What has to be true, however busy the machine is.
fn judge(fault: &Fault, findings: &Findings) {
    findings.are_good();
    if let Some(bound) = fault.bound {
        let gap = findings.longest_gap.max(findings.settled_in.unwrap_or_default());
        assert!(gap < bound + GRACE, "{}: {findings:#?}", fault.words);
    }
}

#[test]
fn direct_messages_flow_on_whatever_breaks() {
    if is_skipped() {
        return;
    }
    let faults = [
        Fault {
            words: "a consumer's node is killed",
            bound: Some(AFTER_AN_END),
            strike: |fleet, cast| fleet.kill(cast.hit),
            mend: |fleet, cast| fleet.start_again(cast.hit),
        },
        Fault {
            words: "a consumer's node hangs",
            bound: Some(AFTER_SILENCE),
            strike: |fleet, cast| fleet.hang(cast.hit),
            mend: |fleet, cast| fleet.wake(cast.hit),
        },
        Fault {
            words: "the link to a consumer's node closes",
            bound: Some(AFTER_AN_END),
            strike: |fleet, cast| fleet.link(cast.sending, cast.hit).close(),
            mend: |fleet, cast| fleet.link(cast.sending, cast.hit).heal(),
        },
        Fault {
            words: "the link to a consumer's node falls silent",
            bound: Some(AFTER_SILENCE),
            strike: |fleet, cast| fleet.link(cast.sending, cast.hit).silence(),
            mend: |fleet, cast| fleet.link(cast.sending, cast.hit).heal(),
        },
        Fault {
            words: "a consumer's node is cut off",
            bound: Some(AFTER_SILENCE),
            strike: |fleet, cast| fleet.links_of(cast.hit).for_each(Proxy::silence),
            mend: |fleet, cast| fleet.links_of(cast.hit).for_each(Proxy::heal),
        },
        Fault {
            words: "every connection between nodes is reset",
            bound: Some(AFTER_AN_END),
            strike: |fleet, _| {
                (1..=fleet.size()).flat_map(|number| fleet.links_of(number)).for_each(Proxy::reset)
            },
            mend: |_, _| {},
        },
    ];
    let mut fleet = Fleet::of(3).with_proxies().start();
    fleet.create(1, "work", AddressType::Anycast);
    let title = "Direct messages through three nodes: senders at two of them, receivers at the third and at one of those";
    suffer_all(title, &mut fleet, Cast { hit: 3, sending: 1, receiving: 2 }, direct_load, &faults);
}

fn direct_load(fleet: &Fleet, cast: Cast) -> Load {
    let Cast { hit, sending, receiving } = cast;
    let receivers = vec![
        amqp(fleet, &[receiving], |servers| receiver("receiver-1", servers, "work")),
        amqp(fleet, &[hit, receiving], |servers| receiver("receiver-2", servers, "work")),
    ];
    let senders = vec![
        amqp(fleet, &[sending], |servers| sender("sender-1", servers, "work")),
        amqp(fleet, &[receiving], |servers| sender("sender-2", servers, "work")),
    ];
    Load::shared(senders, receivers)
}

fn sender(name: &str, servers: &[SocketAddr], address: &str) -> Plan {
    Plan::sender(Library::Proton, &unique(name), servers, address)
}

/// A name that no client of another scene has: what an earlier one has left may still come.
fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A receiver that keeps each message for a moment, so that something is under way to it at any time.
fn receiver(name: &str, servers: &[SocketAddr], address: &str) -> Plan {
    Plan::receiver(Library::Proton, &unique(name), servers, address).holding(Duration::from_millis(20))
}

#[test]
fn messages_for_the_only_consumer_take_another_path() {
    if is_skipped() {
        return;
    }
    let faults = [
        Fault {
            words: "the shortest path closes",
            bound: Some(AFTER_AN_END),
            strike: |fleet, cast| fleet.link(cast.sending, cast.receiving).close(),
            mend: |fleet, cast| fleet.link(cast.sending, cast.receiving).heal(),
        },
        Fault {
            words: "the shortest path falls silent",
            bound: Some(AFTER_SILENCE),
            strike: |fleet, cast| fleet.link(cast.sending, cast.receiving).silence(),
            mend: |fleet, cast| fleet.link(cast.sending, cast.receiving).heal(),
        },
        Fault {
            words: "the node in the middle of the only path is killed, and comes back",
            bound: None,
            strike: |fleet, cast| {
                fleet.link(cast.sending, cast.receiving).close();
                fleet.kill(cast.hit);
            },
            mend: |fleet, cast| {
                fleet.start_again(cast.hit);
                fleet.link(cast.sending, cast.receiving).heal();
            },
        },
    ];
    let mut fleet = Fleet::of(3).with_proxies().start();
    fleet.create(1, "work", AddressType::Anycast);
    let load = |fleet: &Fleet, cast: Cast| {
        let receivers = vec![amqp(fleet, &[cast.receiving], |servers| receiver("receiver", servers, "work"))];
        let senders = vec![amqp(fleet, &[cast.sending], |servers| sender("sender", servers, "work"))];
        Load::shared(senders, receivers)
    };
    let title = "Direct messages between two of three nodes that are neighbours";
    suffer_all(title, &mut fleet, Cast { hit: 2, sending: 1, receiving: 3 }, load, &faults);
}

#[test]
fn a_queue_keeps_what_it_has_accepted_whatever_breaks() {
    if is_skipped() {
        return;
    }
    let faults = [
        Fault {
            words: "the link to the home falls silent",
            bound: Some(AFTER_SILENCE),
            strike: |fleet, cast| fleet.link(cast.sending, cast.hit).silence(),
            mend: |fleet, cast| fleet.link(cast.sending, cast.hit).heal(),
        },
        Fault {
            words: "a sender's node is killed",
            bound: Some(AFTER_AN_END),
            strike: |fleet, cast| fleet.kill(cast.sending),
            mend: |fleet, cast| fleet.start_again(cast.sending),
        },
        Fault {
            words: "a receiver's node is killed",
            bound: Some(AFTER_AN_END),
            strike: |fleet, cast| fleet.kill(cast.receiving),
            mend: |fleet, cast| fleet.start_again(cast.receiving),
        },
        Fault {
            words: "the home is killed, and comes back",
            bound: None,
            strike: |fleet, cast| fleet.kill(cast.hit),
            mend: |fleet, cast| fleet.start_again(cast.hit),
        },
        Fault {
            words: "the home hangs, and goes on",
            bound: None,
            strike: |fleet, cast| fleet.hang(cast.hit),
            mend: |fleet, cast| fleet.wake(cast.hit),
        },
    ];
    let mut fleet = Fleet::of(3).with_proxies().start();
    fleet.create(1, "jobs", AddressType::Queue);
    let home = fleet.home_number(1, "jobs");
    let others: Vec<usize> = (1..=3).filter(|number| *number != home).collect();
    let cast = Cast { hit: home, sending: others[0], receiving: others[1] };
    let title = "A queue of three nodes: a sender and a receiver at nodes that are not its home";
    suffer_all(title, &mut fleet, cast, queue_load, &faults);
}

fn queue_load(fleet: &Fleet, cast: Cast) -> Load {
    let Cast { sending, receiving, .. } = cast;
    let receivers = vec![amqp(fleet, &[receiving, sending], |servers| receiver("receiver", servers, "jobs"))];
    let senders = vec![amqp(fleet, &[sending, receiving], |servers| sender("sender", servers, "jobs"))];
    // What a receiver said just before its node or the home was killed may not have got to the home's disk.
    Load { may_forget: true, ..Load::shared(senders, receivers) }
}

#[test]
fn topics_of_mqtt_flow_on_whatever_breaks() {
    if is_skipped() {
        return;
    }
    let faults = [
        Fault {
            words: "the publisher's link to the topic's home falls silent",
            bound: Some(AFTER_SILENCE),
            strike: |fleet, cast| fleet.link(cast.sending, cast.hit).silence(),
            mend: |fleet, cast| fleet.link(cast.sending, cast.hit).heal(),
        },
        Fault {
            words: "the publisher's node is killed",
            bound: Some(AFTER_AN_END),
            strike: |fleet, cast| fleet.kill(cast.sending),
            mend: |fleet, cast| fleet.start_again(cast.sending),
        },
        Fault {
            words: "the home of the topic is killed, and comes back",
            bound: None,
            strike: |fleet, cast| fleet.kill(cast.hit),
            mend: |fleet, cast| fleet.start_again(cast.hit),
        },
    ];
    let mut fleet = Fleet::of(3).with_proxies().start();
    fleet.create(1, "sensors", AddressType::Topic);
    let home = fleet.home_number(1, "sensors");
    let others: Vec<usize> = (1..=3).filter(|number| *number != home).collect();
    let cast = Cast { hit: home, sending: others[0], receiving: others[1] };
    let title = "MQTT with QoS 1: publisher and subscriber at nodes that are not the topic's home";
    suffer_all(title, &mut fleet, cast, topic_load, &faults);
}

fn topic_load(fleet: &Fleet, cast: Cast) -> Load {
    let mqtt =
        |nodes: &[usize]| -> Vec<SocketAddr> { nodes.iter().map(|&node| fleet.node(node).mqtt()).collect() };
    let subscribed = mqtt(&[cast.receiving]);
    let receivers =
        vec![Plan::receiver(Library::Paho, &unique("subscriber"), &subscribed, "sensors/+").start()];
    let published = mqtt(&[cast.sending, cast.receiving]);
    let senders =
        vec![Plan::sender(Library::Paho, &unique("publisher"), &published, "sensors/kitchen").start()];
    Load { may_forget: true, ..Load::copied(senders, receivers) }
}

#[test]
fn direct_messages_flow_on_when_packets_are_dropped() {
    let Some(network) = (!is_skipped()).then(|| Network::new_or_say_why(3)).flatten() else { return };
    let faults = [
        Fault {
            words: "packets between a sender's node and a consumer's are dropped",
            bound: Some(AFTER_SILENCE),
            strike: |fleet, cast| fleet.network().part(cast.sending, cast.hit),
            mend: |fleet, cast| fleet.network().join(cast.sending, cast.hit),
        },
        Fault {
            words: "the cable of a consumer's node is pulled",
            bound: Some(AFTER_SILENCE),
            strike: |fleet, cast| fleet.network().unplug(cast.hit),
            mend: |fleet, cast| fleet.network().plug(cast.hit),
        },
    ];
    let place = network.clients();
    within(&place, || {
        let mut fleet = Fleet::of(3).on(network).start();
        fleet.create(1, "work", AddressType::Anycast);
        let title = "The same in network namespaces";
        suffer_all(title, &mut fleet, Cast { hit: 3, sending: 1, receiving: 2 }, direct_load, &faults);
    });
}

#[test]
fn a_slow_link_is_not_taken_for_a_dead_one() {
    if is_skipped() {
        return;
    }
    let fault = Fault {
        words: "every link is slower by 300 ms",
        bound: Some(AFTER_AN_END),
        strike: |fleet, cast| {
            fleet.links_of(cast.hit).for_each(|link| link.delay(Duration::from_millis(300)))
        },
        mend: |fleet, cast| fleet.links_of(cast.hit).for_each(Proxy::heal),
    };
    let mut fleet = Fleet::of(2).with_proxies().start();
    fleet.create(1, "work", AddressType::Anycast);
    let receivers = vec![amqp(&fleet, &[2], |servers| receiver("receiver", servers, "work"))];
    let senders = vec![amqp(&fleet, &[1], |servers| sender("sender", servers, "work"))];
    let cast = Cast { hit: 1, sending: 1, receiving: 2 };
    let (account, findings) = suffer(&mut fleet, cast, Load::shared(senders, receivers), &fault);
    let mut table = Table::of_faults("Direct messages through two nodes");
    table.add(fault.words, fault.bound, &findings);
    table.print();
    judge(&fault, &findings);
    for fate in [Fate::Released, Fate::Modified, Fate::Rejected, Fate::Unknown] {
        assert!(!account.senders.iter().any(|sender| sender.has_seen(fate)), "{fate:?}: {findings:#?}");
    }
    assert_eq!(findings.repeated, 0, "{findings:#?}");
}
