//! Catalogues of several nodes that speak with each other in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mq_mesh::NodeId;
use mq_model::manifest::AddressType;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::*;
use super::{Memory, address, key, names, of, told};
use crate::hub::ShardCommand;

/// What carries messages between the nodes: everything, in order, where two are connected.
#[derive(Clone, Default)]
pub(super) struct Net(Arc<Mutex<NetState>>);

#[derive(Default)]
struct NetState {
    nodes: BTreeMap<NodeId, UnboundedSender<NodeEvent>>,
    connected: BTreeSet<(NodeId, NodeId)>,
}

pub(super) struct TestNode {
    pub(super) name: Arc<str>,
    id: NodeId,
    memory: Memory,
    pub(super) catalogue: Catalogue,
    tellings: UnboundedReceiver<String>,
}

fn id(name: &str) -> NodeId {
    NodeId::new("default", name)
}

impl Net {
    fn exchange(&self, node: NodeId) -> Exchange {
        let (events, heard) = unbounded_channel();
        self.0.lock().unwrap().nodes.insert(node, events);
        let net = self.clone();
        let say = move |to: NodeId, message| {
            let state = net.0.lock().unwrap();
            if state.connected.contains(&(node, to)) {
                let _ = state.nodes[&to].send(NodeEvent::Message { node, message });
            }
        };
        Exchange { say: Box::new(say), events: heard }
    }

    fn connect(&self, one: &TestNode, other: &TestNode) {
        let mut state = self.0.lock().unwrap();
        for (at, to) in [(one, other), (other, one)] {
            if state.connected.insert((at.id, to.id)) {
                let _ = state.nodes[&at.id].send(NodeEvent::Opened { node: to.id, name: to.name.clone() });
            }
        }
    }

    pub(super) fn disconnect(&self, one: &TestNode, other: &TestNode) {
        let mut state = self.0.lock().unwrap();
        for (at, to) in [(one, other), (other, one)] {
            if state.connected.remove(&(at.id, to.id)) {
                let _ = state.nodes[&at.id].send(NodeEvent::Lost { node: to.id });
            }
        }
    }

    pub(super) fn connect_all(&self, nodes: &[TestNode]) {
        for (index, one) in nodes.iter().enumerate() {
            nodes[..index].iter().for_each(|other| self.connect(one, other));
        }
    }

    fn tell(&self, node: &TestNode, event: NodeEvent) {
        let _ = self.0.lock().unwrap().nodes[&node.id].send(event);
    }

    /// A node of the fleet on this disk. The shards confirm everything; what they are told names the home
    /// where it is another node.
    fn start(&self, name: &str, memory: &Memory) -> TestNode {
        let (commands, mut received) = unbounded_channel();
        let (told, tellings) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(command) = received.recv().await {
                match command {
                    ShardCommand::SetAddress { address, reply } => {
                        let home = address.home.as_ref().map_or_else(String::new, |home| format!("@{home}"));
                        let from = address.moving_from.as_ref();
                        let from = from.map_or_else(String::new, |from| format!("<{from}"));
                        let _ = (told.send(format!("+{}{home}{from}", address.name)), reply.send(()));
                    }
                    ShardCommand::RemoveAddress { name, reply } => {
                        let _ = (told.send(format!("-{name}")), reply.send(()));
                    }
                    ShardCommand::AddressServed { reply, .. } | ShardCommand::SetUsers { reply, .. } => {
                        let _ = reply.send(());
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
        });
        let id = id(name);
        let journal = Journal::open(Box::new(memory.clone()), id).unwrap();
        let membership = Membership { node: name.into(), is_founder: name == "node-1" };
        let loaded = Loaded::of(journal, id).in_fleet(membership, true).unwrap();
        let catalogue = loaded.serve_with(Hub::new(vec![commands]), Some(self.exchange(id)));
        TestNode { name: name.into(), id, memory: memory.clone(), catalogue, tellings }
    }

    pub(super) async fn fleet(&self, count: usize) -> Vec<TestNode> {
        let start = |number| self.start(&format!("node-{number}"), &Memory::default());
        let mut nodes: Vec<TestNode> = (1..=count).map(start).collect();
        self.connect_all(&nodes);
        agree(&nodes).await;
        nodes.iter_mut().for_each(|node| drop(told(&mut node.tellings)));
        nodes
    }
}

impl TestNode {
    async fn put(&self, name: &str, kind: AddressType) -> Arc<Object> {
        self.catalogue.put(name.into(), BTreeMap::new(), of(kind)).await.unwrap().1
    }

    fn home(&self, name: &str) -> Option<String> {
        self.catalogue.address(name)?.home.as_ref().map(ToString::to_string)
    }

    /// What it serves, but for what is different on every node.
    fn serves(&self) -> Vec<(Arc<str>, Version, Option<Arc<str>>)> {
        let addresses = self.catalogue.addresses().into_iter();
        addresses.map(|(name, object)| (name, object.version, object.home.clone())).collect()
    }
}

/// Waits for a condition.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}

/// Waits until all nodes serve the same, the built-in topic of the founder among it.
async fn agree(nodes: &[TestNode]) {
    let is_same = || {
        let first = nodes[0].serves();
        !first.is_empty() && nodes[1..].iter().all(|node| node.serves() == first)
    };
    until("all nodes serve the same", is_same).await;
    for node in nodes {
        node.catalogue.joined().await;
    }
}

#[tokio::test]
async fn a_created_address_is_served_by_every_node_when_it_is_answered() {
    let net = Net::default();
    let mut nodes = net.fleet(3).await;
    nodes[1].put("q", AddressType::Queue).await;
    let home = nodes[0].home("q").unwrap();
    for node in &mut nodes {
        assert_eq!(node.home("q").as_ref(), Some(&home));
        let is_kept_here = node.catalogue.address("q").unwrap().id != 0;
        assert_eq!(is_kept_here, *node.name == *home, "others have no name for it in their stores");
        let expected = if *node.name == *home { "+q".to_owned() } else { format!("+q@{home}") };
        assert_eq!(told(&mut node.tellings), [expected]);
        assert_eq!(names(&Journal::open(Box::new(node.memory.clone()), node.id).unwrap()), ["#", "q"]);
    }
    nodes[2].catalogue.remove("q".into()).await.unwrap();
    for node in &mut nodes {
        assert_eq!(told(&mut node.tellings), ["-q"]);
        assert_eq!(node.catalogue.address("q"), None);
    }
}

#[tokio::test]
async fn what_is_not_stored_has_no_home_and_is_told_to_all() {
    let net = Net::default();
    let mut nodes = net.fleet(2).await;
    nodes[1].put("a", AddressType::Anycast).await;
    for node in &mut nodes {
        assert_eq!((node.home("a"), told(&mut node.tellings)), (None, vec!["+a".to_owned()]));
    }
}

#[tokio::test]
async fn homes_are_spread_evenly_and_avoid_nodes_that_are_cordoned() {
    let net = Net::default();
    let nodes = net.fleet(3).await;
    for number in 0..8 {
        nodes[number % 3].put(&format!("q-{number}"), AddressType::Queue).await;
    }
    let homes = |node: &TestNode| {
        let mut homes: BTreeMap<String, usize> = BTreeMap::new();
        for (name, _) in node.catalogue.addresses() {
            *homes.entry(node.home(&name).unwrap()).or_default() += 1;
        }
        homes.into_values().collect::<Vec<_>>()
    };
    // The topic of the founder is one, too.
    assert_eq!(homes(&nodes[0]), [3, 3, 3]);
    for node in &nodes {
        net.tell(node, NodeEvent::Cordoned { name: "node-2".into(), is_cordoned: true });
    }
    for number in 0..4 {
        let object = nodes[0].put(&format!("r-{number}"), AddressType::Topic).await;
        assert_ne!(object.home.as_deref(), Some("node-2"));
    }
}

/// A queue with so many shards.
fn of_shards(shards: u16) -> AddressSpec {
    AddressSpec { shards: Some(shards), ..of(AddressType::Queue) }
}

#[tokio::test]
async fn the_shards_of_a_queue_are_on_all_nodes_and_have_its_settings() {
    let net = Net::default();
    let nodes = net.fleet(3).await;
    let put = async |node: &TestNode, spec| node.catalogue.put("q".into(), BTreeMap::new(), spec).await;
    put(&nodes[1], of_shards(4)).await.unwrap();
    let homes = |node: &TestNode| -> Vec<String> {
        (0..4).map(|number| node.home(&mq_core::shard_name("q", number)).unwrap()).collect()
    };
    let first = homes(&nodes[0]);
    assert_eq!(BTreeSet::from_iter(&first).len(), 3, "{first:?}");
    for node in &nodes {
        assert_eq!((homes(node), node.catalogue.len()), (first.clone(), 2), "a queue, and the topic");
    }
    let limited = AddressSpec { max_deliveries: Some(5), ..of_shards(4) };
    put(&nodes[2], limited.clone()).await.unwrap();
    for node in &nodes {
        let shard = node.catalogue.address("q::#3").unwrap();
        assert_eq!((&shard.spec, homes(node)), (&limited, first.clone()), "a shard stays where it is");
    }
    put(&nodes[0], of_shards(2)).await.unwrap();
    for node in &nodes {
        let shard = node.catalogue.address("q::#3").unwrap();
        assert_eq!((shard.spec.shards(), homes(node)), (2, first.clone()), "it may still hold something");
        let numbers: Vec<u16> = node.catalogue.shards("q").into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [1, 2, 3]);
    }
    put(&nodes[0], of_shards(6)).await.unwrap();
    assert_eq!(homes(&nodes[2]), first);
    assert!(nodes[2].home("q::#5").is_some());
    let last_values = AddressSpec { last_value: true, ..of_shards(6) };
    nodes[1].catalogue.put("values".into(), BTreeMap::new(), last_values.clone()).await.unwrap();
    let fewer = AddressSpec { shards: Some(5), ..last_values };
    let refused = nodes[1].catalogue.put("values".into(), BTreeMap::new(), fewer).await;
    assert!(matches!(refused, Err(ChangeError::ShardsOfLastValues(_))), "{refused:?}");
    let before = nodes[0].catalogue.address("q::#2").unwrap();
    nodes[0].catalogue.set_home("q::#2".into(), "node-2".into()).await.unwrap();
    assert_eq!(nodes[1].home("q::#2").as_deref(), Some("node-2"), "each moves by itself");
    nodes[1].catalogue.remove("q".into()).await.unwrap();
    for node in &nodes {
        let left = node.catalogue.addresses().into_iter().filter(|(name, _)| name.starts_with('q')).count();
        assert_eq!(left, 0, "its shards go with it");
    }
    put(&nodes[0], of_shards(3)).await.unwrap();
    let after = nodes[0].catalogue.address("q::#2").unwrap();
    assert_ne!(before.birth, after.birth, "what was removed and is made again begins anew");
}

#[tokio::test]
async fn a_subscription_has_the_home_of_its_topic_and_goes_where_that_goes() {
    let net = Net::default();
    let mut nodes = net.fleet(3).await;
    nodes[0].put("t", AddressType::Topic).await;
    let first = nodes[0].home("t").unwrap();
    nodes[0].put("t::s", AddressType::Subscription).await;
    assert_eq!(nodes[1].home("t::s"), nodes[1].home("t"));
    let other =
        ["node-1", "node-2"].into_iter().find(|name| nodes[0].home("t").as_deref() != Some(name)).unwrap();
    nodes.iter_mut().for_each(|node| drop(told(&mut node.tellings)));
    let ids: Vec<u64> = nodes.iter().map(|node| node.catalogue.address("t::s").unwrap().id).collect();
    nodes[2].catalogue.set_home("t".into(), other.into()).await.unwrap();
    for (node, id) in nodes.iter_mut().zip(ids) {
        assert_eq!(node.home("t::s").as_deref(), Some(other));
        let now = node.catalogue.address("t::s").unwrap().id;
        assert!(now != 0 || *node.name != *other, "its home has a name for it in its store");
        assert!(id == 0 || now == id, "what it holds stays its own");
        let at = if *node.name == *other { String::new() } else { format!("@{other}") };
        let suffix = format!("{at}<{first}");
        assert_eq!(told(&mut node.tellings), [format!("+t{suffix}"), format!("+t::s{suffix}")]);
    }
    let refused = nodes[0].catalogue.set_home("t::s".into(), "node-1".into()).await;
    assert!(matches!(refused, Err(ChangeError::NoHome(_))), "{refused:?}");
}

#[tokio::test]
async fn two_nodes_that_create_an_address_apart_agree_on_one_home_and_lose_nothing_of_it() {
    let net = Net::default();
    let mut nodes = net.fleet(2).await;
    net.disconnect(&nodes[0], &nodes[1]);
    // Each is alone, as soon as it knows, so each is the home of its own.
    let mut tries = 0..1_000;
    let (name, first, second) = loop {
        let name: Arc<str> = format!("q-{}", tries.next().expect("they hear of it")).into();
        let first = nodes[0].put(&name, AddressType::Queue).await;
        let second = nodes[1].put(&name, AddressType::Queue).await;
        if first.home.as_deref() == Some("node-1") && second.home.as_deref() == Some("node-2") {
            break (name, first, second);
        }
    };
    nodes.iter_mut().for_each(|node| drop(told(&mut node.tellings)));
    let ids = [first.id, second.id];
    net.connect(&nodes[0], &nodes[1]);
    agree(&nodes).await;
    let winner = nodes[0].home(&name).unwrap();
    let loser = if winner == "node-1" { "node-2" } else { "node-1" };
    until("what the other one holds is passed on", || {
        let moves =
            |node: &TestNode| node.catalogue.address(&name).unwrap().moving_from.as_deref() == Some(loser);
        nodes.iter().all(moves)
    })
    .await;
    for (node, id) in nodes.iter_mut().zip(ids) {
        assert_eq!(node.home(&name).as_ref(), Some(&winner));
        assert_eq!(node.catalogue.address(&name).unwrap().id, id, "it is one address, and goes on as such");
        let home = if *node.name == *winner { String::new() } else { format!("@{winner}") };
        let told = told(&mut node.tellings);
        let last = told.iter().rfind(|told| told.starts_with(&format!("+{name}"))).unwrap();
        assert_eq!(last, &format!("+{name}{home}<{loser}"));
    }
    let emptied = NodeEvent::Emptied { address: name.clone() };
    nodes.iter().for_each(|node| net.tell(node, emptied.clone()));
    until("nothing is left", || {
        nodes.iter().all(|node| node.catalogue.address(&name).unwrap().moving_from.is_none())
    })
    .await;
}

#[tokio::test]
async fn a_queue_moves_from_home_to_home_and_back_and_says_where_from() {
    let net = Net::default();
    let nodes = net.fleet(3).await;
    let set_home = async |home: &str| nodes[2].catalogue.set_home("q".into(), home.into()).await;
    nodes[0].put("q", AddressType::Queue).await;
    let homes = |object: &Object| (object.home.clone().unwrap(), object.moving_from.clone());
    let first = nodes[0].home("q").unwrap();
    let others: Vec<&str> =
        ["node-1", "node-2", "node-3"].into_iter().filter(|name| *name != first).collect();
    let moved = set_home(others[0]).await.unwrap();
    assert_eq!(homes(&moved), (others[0].into(), Some(first.as_str().into())));
    let refused = set_home(others[1]).await;
    assert!(matches!(refused, Err(ChangeError::Moving(..))), "{refused:?}");
    let turned = set_home(&first).await.unwrap();
    assert_eq!(homes(&turned), (first.as_str().into(), Some(others[0].into())));
    // Only the node that passes it on can say that it has nothing left.
    for node in &nodes {
        let object = node.catalogue.emptied("q".into()).await.unwrap();
        let is_done = *node.name == *others[0] || object.moving_from.is_none();
        assert_eq!(object.moving_from.is_none(), is_done, "{}", node.name);
    }
    assert_eq!(homes(&nodes[0].catalogue.address("q").unwrap()), (first.as_str().into(), None));
}

#[tokio::test]
async fn a_topic_that_moves_turns_back_only_where_it_still_is() {
    let net = Net::default();
    let nodes = net.fleet(3).await;
    nodes[0].put("t", AddressType::Topic).await;
    let homes = |object: &Object| (object.home.clone().unwrap(), object.moving_from.clone());
    let first = nodes[0].home("t").unwrap();
    let at_home = nodes.iter().find(|node| *node.name == *first).unwrap();
    let other = nodes.iter().find(|node| *node.name != *first).unwrap();
    let moved = other.catalogue.set_home("t".into(), (&*other.name).into()).await.unwrap();
    assert_eq!(homes(&moved), ((&*other.name).into(), Some(first.as_str().into())));
    let refused = other.catalogue.set_home("t".into(), first.as_str().into()).await;
    assert!(matches!(refused, Err(ChangeError::Moving(..))), "{refused:?}");
    let turned = at_home.catalogue.set_home("t".into(), first.as_str().into()).await.unwrap();
    assert_eq!(homes(&turned), (first.as_str().into(), None));
}

#[tokio::test]
async fn the_end_of_a_move_that_a_full_disk_refuses_is_said_when_there_is_room() {
    let net = Net::default();
    let nodes = net.fleet(2).await;
    nodes[0].put("q", AddressType::Queue).await;
    let first = nodes[0].home("q").unwrap();
    let (old, new) = if first == "node-1" { (&nodes[0], &nodes[1]) } else { (&nodes[1], &nodes[0]) };
    new.catalogue.set_home("q".into(), new.name.clone()).await.unwrap();
    let is_moving = || nodes.iter().any(|node| node.catalogue.address("q").unwrap().moving_from.is_some());
    assert!(is_moving());
    old.memory.fail_with(Some(io::ErrorKind::StorageFull));
    net.tell(old, NodeEvent::Emptied { address: "q".into() });
    until("the disk has refused it", || old.memory.failures() > 0).await;
    old.memory.fail_with(None);
    assert!(is_moving());
    old.put("there-is-room", AddressType::Anycast).await;
    until("the move has ended", || !is_moving()).await;
}

#[tokio::test]
async fn a_node_that_could_not_note_that_it_has_joined_notes_it_with_a_later_change() {
    let net = Net::default();
    let memory = Memory::default();
    let first = net.start("node-1", &Memory::default());
    let second = net.start("node-2", &memory);
    memory.refuse(Some(r#""is_member":true"#));
    net.connect(&first, &second);
    second.catalogue.joined().await;
    let put = || second.catalogue.put("q".into(), BTreeMap::new(), of(AddressType::Queue));
    assert!(matches!(put().await, Err(ChangeError::Store(_))));
    memory.refuse(None);
    put().await.unwrap();
    assert!(memory.open().unwrap().base().is_member);
}

#[tokio::test]
async fn an_address_that_was_removed_and_made_again_while_a_node_was_away_begins_anew_there() {
    let net = Net::default();
    let mut nodes = net.fleet(2).await;
    nodes[0].put("q", AddressType::Queue).await;
    nodes[0].put("kind", AddressType::Queue).await;
    let before = nodes[1].catalogue.address("q").unwrap().birth;
    net.disconnect(&nodes[0], &nodes[1]);
    nodes.iter_mut().for_each(|node| drop(told(&mut node.tellings)));
    nodes[0].catalogue.remove("q".into()).await.unwrap();
    nodes[0].put("q", AddressType::Queue).await;
    nodes[0].put("kind", AddressType::Anycast).await;
    net.connect(&nodes[0], &nodes[1]);
    agree(&nodes).await;
    assert!(nodes[1].catalogue.address("q").unwrap().birth > before);
    let told: Vec<String> = told(&mut nodes[1].tellings);
    let without_home: Vec<&str> = told.iter().map(|told| told.split('@').next().unwrap()).collect();
    assert_eq!(without_home, ["-q", "-kind", "+kind", "+q"]);
}

#[tokio::test]
async fn a_topic_removed_on_one_side_of_a_partition_leaves_no_subscription_of_the_other() {
    let net = Net::default();
    let mut nodes = net.fleet(2).await;
    nodes[0].put("t", AddressType::Topic).await;
    net.disconnect(&nodes[0], &nodes[1]);
    nodes[1].put("t::s", AddressType::Subscription).await;
    nodes[0].catalogue.remove("t".into()).await.unwrap();
    net.connect(&nodes[0], &nodes[1]);
    until("the topic is gone", || nodes[1].catalogue.address("t").is_none()).await;
    agree(&nodes).await;
    assert_eq!(nodes[0].catalogue.address("t::s"), None);
    let missing = nodes[0].catalogue.remove("t::s".into()).await;
    assert!(matches!(missing, Err(ChangeError::NotFound(_))), "{missing:?}");
    // A topic that is made again begins without it.
    nodes.iter_mut().for_each(|node| drop(told(&mut node.tellings)));
    nodes[0].put("t", AddressType::Topic).await;
    for node in &nodes {
        assert_eq!(node.catalogue.address("t::s"), None);
        assert_eq!(address(&Journal::open(Box::new(node.memory.clone()), node.id).unwrap(), "t::s"), None);
    }
}

#[tokio::test]
async fn a_node_that_was_down_hears_of_everything_and_is_heard() {
    let net = Net::default();
    let mut nodes = net.fleet(3).await;
    nodes[0].put("kept", AddressType::Queue).await;
    nodes[0].put("gone", AddressType::Queue).await;
    let stopped = nodes.pop().unwrap();
    nodes.iter().for_each(|node| net.disconnect(node, &stopped));
    let memory = stopped.memory.clone();
    drop(stopped);
    nodes[0].catalogue.remove("gone".into()).await.unwrap();
    nodes[1].put("new", AddressType::Queue).await;
    let back = net.start("node-3", &memory);
    assert_eq!(back.serves().len(), 3, "it serves what it had at once");
    nodes.push(back);
    net.connect_all(&nodes);
    agree(&nodes).await;
    let names: Vec<_> = nodes[2].serves().into_iter().map(|(name, ..)| name.to_string()).collect();
    assert_eq!(names, ["#", "kept", "new"]);
}

#[tokio::test]
async fn a_new_node_takes_no_change_before_it_has_what_the_fleet_has() {
    let net = Net::default();
    let mut nodes = net.fleet(1).await;
    let existing = nodes[0].put("q", AddressType::Queue).await;
    nodes.push(net.start("node-2", &Memory::default()));
    // Unaware of the fleet, it would declare another one, with itself as the home.
    let (put, ()) =
        tokio::join!(nodes[1].catalogue.put("q".into(), BTreeMap::new(), of(AddressType::Queue)), async {
            net.connect(&nodes[0], &nodes[1]);
        });
    let (put, object) = put.unwrap();
    assert_eq!((put, object.version), (Put::Unchanged, existing.version));
}

#[tokio::test]
async fn what_a_node_has_declared_alone_is_at_home_there_when_it_founds_a_fleet() {
    let memory = Memory::default();
    let (alone, _tellings) = super::catalogue(&memory);
    for (name, kind) in [("q", AddressType::Queue), ("a", AddressType::Anycast), ("t", AddressType::Topic)] {
        let object = alone.put(name.into(), BTreeMap::new(), of(kind)).await.unwrap().1;
        assert_eq!(object.home, None);
    }
    alone.put("t::s".into(), BTreeMap::new(), of(AddressType::Subscription)).await.unwrap();
    let ids: Vec<u64> = alone.addresses().iter().map(|(_, object)| object.id).collect();
    drop(alone);
    let net = Net::default();
    let nodes = [net.start("node-1", &memory), net.start("node-2", &Memory::default())];
    net.connect_all(&nodes);
    agree(&nodes).await;
    for name in ["q", "t", "t::s", "#"] {
        assert_eq!(nodes[1].home(name).as_deref(), Some("node-1"), "{name}");
    }
    assert_eq!(nodes[1].home("a"), None);
    let after: Vec<u64> = nodes[0].catalogue.addresses().iter().map(|(_, object)| object.id).collect();
    assert_eq!((after[0], &after[1..]), (0, &*ids), "what they hold stays theirs");
}

#[tokio::test]
async fn the_founder_declares_the_topic_for_all_names_once_and_not_again_when_it_was_removed() {
    let net = Net::default();
    let nodes = net.fleet(2).await;
    assert_eq!(nodes[1].home("#").as_deref(), Some("node-1"));
    assert!(!nodes[1].catalogue.address("#").unwrap().is_built_in);
    nodes[1].catalogue.remove("#".into()).await.unwrap();
    let memory = nodes[0].memory.clone();
    drop(nodes);
    let net = Net::default();
    let founder = net.start("node-1", &memory);
    assert_eq!(founder.catalogue.address("#"), None);
}

#[tokio::test]
async fn a_node_that_does_not_answer_holds_a_change_up_for_a_second() {
    let net = Net::default();
    let nodes = net.fleet(1).await;
    // It is there, and says nothing.
    let (mute, _heard) = unbounded_channel();
    let other = NodeId(5);
    net.0.lock().unwrap().nodes.insert(other, mute);
    net.0.lock().unwrap().connected.insert((nodes[0].id, other));
    net.tell(&nodes[0], NodeEvent::Opened { node: other, name: "node-9".into() });
    let mut took = Duration::ZERO;
    // Until the writer has heard of it.
    for number in 0..1_000 {
        let begun = Instant::now();
        nodes[0].put(&format!("a-{number}"), AddressType::Anycast).await;
        took = begun.elapsed();
        if took >= SPREAD_PATIENCE {
            break;
        }
    }
    assert!((SPREAD_PATIENCE..SPREAD_PATIENCE * 3).contains(&took), "{took:?}");
}

#[tokio::test]
async fn nodes_that_change_the_same_addresses_at_the_same_time_end_with_the_same() {
    let net = Net::default();
    let nodes = net.fleet(3).await;
    let mut tasks = tokio::task::JoinSet::new();
    for (number, node) in nodes.iter().enumerate() {
        let catalogue = node.catalogue.clone();
        tasks.spawn(async move {
            for round in 0..200 {
                let name: Arc<str> = format!("q-{}", (round * 7 + number) % 13).into();
                if round % 5 == number {
                    let _ = catalogue.remove(name).await;
                } else {
                    let labels = BTreeMap::from([("round".to_owned(), format!("{number}-{round}"))]);
                    catalogue.put(name, labels, of(AddressType::Queue)).await.unwrap();
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    agree(&nodes).await;
    for (name, object) in nodes[0].catalogue.addresses() {
        for node in &nodes {
            let other = node.catalogue.address(&name).unwrap();
            assert_eq!(
                (&other.spec, &other.labels, &other.home),
                (&object.spec, &object.labels, &object.home)
            );
            let journal = Journal::open(Box::new(node.memory.clone()), node.id).unwrap();
            assert_eq!(journal.kept(&key(&name)).unwrap().record.version, object.version);
        }
    }
}

#[tokio::test]
async fn ten_thousand_addresses_reach_a_node_that_joins_and_the_next_one_is_as_fast_as_ever() {
    let net = Net::default();
    let mut nodes = net.fleet(2).await;
    let creating = (0..10_000).map(|number| {
        let catalogue = nodes[0].catalogue.clone();
        async move {
            let name = format!("plant/device-{number}");
            catalogue.put(name.into(), BTreeMap::new(), of(AddressType::Queue)).await.unwrap();
        }
    });
    let mut tasks = tokio::task::JoinSet::new();
    creating.for_each(|create| drop(tasks.spawn(create)));
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    nodes.push(net.start("node-3", &Memory::default()));
    let begun = Instant::now();
    net.connect_all(&nodes);
    agree(&nodes).await;
    let joining = begun.elapsed();
    let mut took: Vec<Duration> = Vec::new();
    for number in 0..100 {
        let begun = Instant::now();
        nodes[number % 3].put(&format!("next-{number}"), AddressType::Queue).await;
        took.push(begun.elapsed());
        let name = format!("next-{number}");
        assert!(nodes.iter().all(|node| node.catalogue.address(&name).is_some()));
    }
    took.sort_unstable();
    assert!(took[98] < Duration::from_millis(50), "{:?}", took[98]);
    assert!(joining < Duration::from_secs(10), "{joining:?}");
}

#[tokio::test]
async fn a_node_that_leaves_its_fleet_serves_everything_itself_and_has_a_place_for_it() {
    let net = Net::default();
    let nodes = net.fleet(2).await;
    for number in 0..4 {
        nodes[0].put(&format!("q-{number}"), AddressType::Queue).await;
    }
    let ids: Vec<u64> = nodes[1].catalogue.addresses().iter().map(|(_, object)| object.id).collect();
    assert!(ids[1..].contains(&0), "some are at home elsewhere: {ids:?}");
    let memory = nodes[1].memory.clone();
    drop(nodes);
    let reading = || Journal::open(Box::new(memory.clone()), id("node-2")).unwrap();
    let alone = Loaded::of(reading(), id("node-2")).alone(true).unwrap().addresses();
    assert!(alone.iter().all(|served| served.home.is_none() && served.moving_from.is_none()));
    let mut given: Vec<u64> = alone.iter().map(|served| served.id).collect();
    assert!(ids.iter().zip(&given).all(|(before, now)| *before == 0 || before == now));
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 5, "none has that of another: {given:?}");
    let again = Loaded::of(reading(), id("node-2")).alone(true).unwrap().addresses();
    assert!(alone.iter().zip(&again).all(|(one, other)| one.id == other.id), "also over a restart");
}
