use std::time::Duration;

use mq_mesh::NodeId;
use mq_model::space::AddressSpaceSpec;
use proptest::prelude::*;

use super::*;
use crate::mesh::NodeEvent;

fn limits(connections: Option<u32>, links: Option<u32>) -> SpaceLimits {
    SpaceLimits { max_connections: connections, max_links: links, ..SpaceLimits::default() }
}

fn table(space: SpaceLimits, user: SpaceLimits) -> Arc<UserTable> {
    let spec = AddressSpaceSpec { limits: space, user_limits: user, ..AddressSpaceSpec::default() };
    Arc::new(UserTable::default().with_space(Space::of("acme", &spec, None), []))
}

fn usage(space: SpaceLimits, user: SpaceLimits) -> Usage {
    let usage = Usage::new(2, Instant::now());
    usage.set_table(&table(space, user));
    usage
}

#[test]
fn a_limit_is_what_may_be_held_and_one_more_is_refused_with_its_name_and_value() {
    let usage = usage(limits(Some(2), None), SpaceLimits::default());
    let acme = usage.space("acme");
    let one = acme.take(Limit::Connections).unwrap();
    let _two = acme.take(Limit::Connections).unwrap();
    let words = acme.take(Limit::Connections).unwrap_err().to_string();
    assert_eq!(
        words,
        "the address space acme may have 2 connections (maxConnections: 2); use fewer or raise the limit"
    );
    assert_eq!(usage.usage_of("acme").refused["maxConnections"], 1);
    drop(one);
    acme.take(Limit::Connections).unwrap();
    usage.space("other").take(Limit::Connections).unwrap();
}

#[test]
fn what_a_user_takes_is_to_the_charge_of_his_space_too() {
    let usage = usage(limits(Some(3), None), limits(Some(2), None));
    let (ann, bob) = (usage.absent("acme", Some("ann")), usage.absent("acme", Some("bob")));
    let _held = [ann.take(Limit::Connections).unwrap(), ann.take(Limit::Connections).unwrap()];
    let words = ann.take(Limit::Connections).unwrap_err().to_string();
    assert!(words.starts_with("user ann may have 2 connections"), "{words}");
    let third = bob.take(Limit::Connections).unwrap();
    let words = bob.take(Limit::Connections).unwrap_err().to_string();
    assert!(words.starts_with("the address space acme may have 3"), "{words}");
    drop(third);
    assert_eq!(usage.usage_of("acme").connections, 2);
    assert_eq!(bob.held(Limit::Connections), 0, "what was refused is given back whole");
}

#[test]
fn limits_change_under_those_who_have_something_and_take_nothing_away() {
    let usage = usage(limits(Some(9), None), SpaceLimits::default());
    let acme = usage.space("acme");
    let held: Vec<Held> = (0..5).map(|_| acme.take(Limit::Connections).unwrap()).collect();
    usage.set_table(&table(limits(Some(2), None), SpaceLimits::default()));
    assert_eq!(usage.usage_of("acme").connections, 5);
    assert!(acme.take(Limit::Connections).is_err());
    drop(held);
    acme.take(Limit::Connections).unwrap();
    usage.set_table(&Arc::new(UserTable::default()));
    let _many: Vec<Held> = (0..50).map(|_| acme.take(Limit::Connections).unwrap()).collect();
}

#[test]
fn the_stricter_of_two_sizes_and_rates_counts() {
    let space = SpaceLimits {
        max_message_size: Some(100),
        max_messages_per_second: Some(1_000),
        ..SpaceLimits::default()
    };
    let user = SpaceLimits {
        max_message_size: Some(10),
        max_messages_per_second: Some(10),
        ..SpaceLimits::default()
    };
    let usage = usage(space, user);
    let (ann, acme) = (usage.absent("acme", Some("ann")), usage.space("acme"));
    assert_eq!((ann.max_message_size(), acme.max_message_size()), (Some(10), Some(100)));
    assert!(ann.check_size(10).is_ok() && ann.check_size(11).is_err() && acme.check_size(11).is_ok());
    assert_eq!((ann.message_rate(), acme.message_rate()), (Some(10), Some(1_000)));
    let now = Instant::now();
    let waits = (0..10).map(|_| ann.pass(now, 1, 5).unwrap().0);
    let waits: Vec<Duration> = waits.collect();
    assert_eq!(waits[9], Duration::from_millis(900), "a second for ten, but for the burst");
    assert!(acme.pass(now, 1, 5).unwrap().0.is_zero(), "his space has room for others");
    assert_eq!(usage.usage_of("acme").delayed, 9, "each but the first");
}

/// What nodes say in such a time reaches all others.
fn exchange(nodes: &[Usage], period: Duration) {
    let now = Instant::now();
    let said: Vec<_> = nodes.iter().map(|node| node.tick(now, period)).collect();
    for (from, messages) in said.into_iter().enumerate() {
        for (to, message) in messages {
            let to = (0..nodes.len()).find(|index| id(*index) == to).expect("a node");
            nodes[to].hear(NodeEvent::Message { node: id(from), message });
        }
    }
}

fn id(index: usize) -> NodeId {
    NodeId::new("fleet", &format!("node-{index}"))
}

fn fleet(count: usize, space: &SpaceLimits) -> Vec<Usage> {
    let nodes: Vec<Usage> = (0..count).map(|_| usage(space.clone(), SpaceLimits::default())).collect();
    for (index, node) in nodes.iter().enumerate() {
        for other in (0..count).filter(|other| *other != index) {
            node.hear(NodeEvent::Opened { node: id(other), name: "other".into() });
        }
    }
    nodes
}

const PERIOD: Duration = Duration::from_millis(250);

#[test]
fn a_limit_holds_for_all_nodes_together_and_one_that_is_gone_counts_no_more() {
    let nodes = fleet(3, &limits(Some(4), None));
    let accounts: Vec<_> = nodes.iter().map(|node| node.space("acme")).collect();
    let _first: Vec<Held> =
        accounts.iter().map(|account| account.take(Limit::Connections).unwrap()).collect();
    exchange(&nodes, PERIOD);
    let fourth = accounts[2].take(Limit::Connections).unwrap();
    exchange(&nodes, PERIOD);
    for (node, account) in nodes.iter().zip(&accounts) {
        assert_eq!(node.usage_of("acme").connections, 4);
        assert!(account.take(Limit::Connections).is_err());
    }
    drop(fourth);
    exchange(&nodes, PERIOD);
    drop(accounts[0].take(Limit::Connections).unwrap());
    nodes[0].hear(NodeEvent::Lost { node: id(1) });
    assert_eq!(nodes[0].usage_of("acme").connections, 2);
    // It comes back, and is told everything, and tells it.
    nodes[0].hear(NodeEvent::Opened { node: id(1), name: "other".into() });
    nodes[1].hear(NodeEvent::Lost { node: id(0) });
    nodes[1].hear(NodeEvent::Opened { node: id(0), name: "other".into() });
    exchange(&nodes, PERIOD);
    assert_eq!((nodes[0].usage_of("acme").connections, nodes[1].usage_of("acme").connections), (3, 3));
}

#[test]
fn nothing_is_said_while_nothing_changes() {
    let nodes = fleet(2, &limits(Some(4), None));
    let _held = nodes[0].space("acme").take(Limit::Connections).unwrap();
    exchange(&nodes, PERIOD);
    assert!(nodes.iter().all(|node| node.tick(Instant::now(), PERIOD).is_empty()));
}

#[test]
fn users_without_limits_are_not_spoken_of_and_forgotten_when_they_are_gone() {
    let nodes = fleet(2, &limits(Some(4), None));
    let held = nodes[0].absent("acme", Some("ann")).take(Limit::Connections).unwrap();
    exchange(&nodes, PERIOD);
    let ann = key_of_user("acme", owner_of("acme", "ann"));
    assert!(nodes[1].find(&ann).is_none() && nodes[0].find(&ann).is_some());
    assert_eq!(nodes[1].usage_of("acme").connections, 1);
    drop(held);
    exchange(&nodes, PERIOD);
    assert!(nodes[0].find(&ann).is_none());
}

/// What a core does for a message of a user at an address of the space.
fn store(usage: &Usage, owner: Owner) -> Arc<Stock> {
    usage.stock_of_owner("$s/acme/q", owner)
}

#[test]
fn what_a_user_has_stored_is_found_by_his_number_whoever_comes_first() {
    let limits = SpaceLimits { max_stored_messages: Some(7), ..SpaceLimits::default() };
    let usage = usage(SpaceLimits::default(), limits);
    let ann = owner_of("acme", "ann");
    assert_ne!(ann, owner_of("other", "ann"));
    assert_ne!(owner_of("a", "b/c"), owner_of("a/b", "c"));
    // After a restart: a message of hers is there before she is, and before it is known who she is.
    let stock = store(&usage, ann);
    assert_eq!(stock.check(StockItem::Messages, 8).unwrap_err().limit, 7);
    let account = usage.absent("acme", Some("ann"));
    assert!(Arc::ptr_eq(&stock, &account.stock) && account.owner() == Some(ann));
    assert_eq!(&**account.name(), "acme/ann");
    drop(account);
    usage.prune();
    assert!(Arc::ptr_eq(&stock, &store(&usage, ann)), "it is in use");
    drop(stock);
    usage.prune();
    assert!(usage.find(&key_of_user("acme", ann)).is_none());
}

#[test]
fn what_a_user_has_stored_elsewhere_counts_towards_his_limit_and_limits_change_while_it_is_there() {
    let nodes = fleet(2, &SpaceLimits::default());
    let with = |most| SpaceLimits { max_stored_messages: Some(most), ..SpaceLimits::default() };
    nodes.iter().for_each(|node| node.set_table(&table(SpaceLimits::default(), with(5))));
    let ann = owner_of("acme", "ann");
    let stocks = [store(&nodes[0], ann), store(&nodes[1], ann)];
    // As nodes tell each other, and as a core on the other one would have it.
    stocks[1].set_elsewhere(StockItem::Messages, 3);
    assert!(
        stocks[1].check(StockItem::Messages, 2).is_ok() && stocks[1].check(StockItem::Messages, 3).is_err()
    );
    nodes[1].set_table(&table(SpaceLimits::default(), with(3)));
    assert_eq!(stocks[1].check(StockItem::Messages, 1).unwrap_err().limit, 3);
    assert_eq!(nodes[1].usage_of_user("acme", "ann").stored_messages, 3);
    nodes[1].set_table(&Arc::new(UserTable::default()));
    assert!(stocks[1].check(StockItem::Messages, 1).is_ok());
}

proptest! {
    /// Whoever takes and gives back what at which node: nothing is left behind, and no node has more than it may.
    #[test]
    fn what_is_counted_is_what_is_held(steps in prop::collection::vec((0_usize..2, 0_usize..3, any::<bool>()), 1..200)) {
        let usage = usage(limits(Some(5), Some(7)), limits(Some(3), None));
        let accounts = [usage.space("acme"), usage.absent("acme", Some("ann")), usage.absent("acme", Some("bob"))];
        let mut held: Vec<(usize, usize, Held)> = Vec::new();
        for (kind, account, takes) in steps {
            let limit = [Limit::Connections, Limit::Links][kind];
            if takes {
                let all = held.iter().filter(|one| one.0 == kind).count();
                let own = held.iter().filter(|one| one.0 == kind && one.1 == account).count();
                let is_free = all < [5, 7][kind] && (account == 0 || own < [3, usize::MAX][kind]);
                let taken = accounts[account].take(limit);
                prop_assert_eq!(taken.is_ok(), is_free);
                held.extend(taken.ok().map(|taken| (kind, account, taken)));
            } else if let Some(index) = held.iter().position(|one| one.0 == kind && one.1 == account) {
                held.swap_remove(index);
            }
            let count = |kind| held.iter().filter(|one| one.0 == kind).count() as u64;
            let found = usage.usage_of("acme");
            prop_assert_eq!((found.connections, found.links), (count(0), count(1)));
        }
        held.clear();
        prop_assert!(accounts.iter().all(|account| account.is_idle()));
    }
}
