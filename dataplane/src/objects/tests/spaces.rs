//! Address spaces as objects: what is of one, what begins and ends with it, the same on every node.

use mq_model::space::{AddressSpaceSpec, SpaceLimits};
use mq_model::user::DEFAULT_SPACE;

use super::super::*;
use super::fleet::{Net, TestNode, until};
use super::{Memory, catalogue, spec};

async fn create(catalogue: &Catalogue, name: &str, spec: AddressSpaceSpec) -> Result<Put, ChangeError> {
    let edit = move |current: Option<SpaceValue>| Ok(SpaceValue { spec, ..current.unwrap_or_default() });
    catalogue.edit_space(name.into(), edit).await
}

async fn user(catalogue: &Catalogue, space: &str, name: &str) -> Result<Put, ChangeError> {
    let edit = |_: Option<UserValue>| Ok(Some(UserValue::default()));
    catalogue.edit_user(space.into(), name.into(), edit).await
}

async fn address(catalogue: &Catalogue, name: &str) -> Result<Arc<Object>, ChangeError> {
    catalogue.create(name.into(), BTreeMap::new(), spec(1)).await
}

fn hosts(hosts: &[&str]) -> AddressSpaceSpec {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    AddressSpaceSpec { hosts, ..AddressSpaceSpec::default() }
}

fn has_user(catalogue: &Catalogue, space: &str, name: &str) -> bool {
    catalogue.user_table().find(space, name).is_some()
}

#[tokio::test]
async fn a_space_is_durable_and_in_the_table_when_its_creation_is_answered() {
    let memory = Memory::default();
    {
        let (catalogue, _tellings) = catalogue(&memory);
        assert_eq!(create(&catalogue, "acme", hosts(&["acme.example.com"])).await.unwrap(), Put::Created);
        assert!(catalogue.user_table().space("acme").is_some());
        assert_eq!(create(&catalogue, "acme", hosts(&["acme.example.com"])).await.unwrap(), Put::Unchanged);
        user(&catalogue, "acme", "ann").await.unwrap();
    }
    let (catalogue, _tellings) = catalogue(&memory);
    assert_eq!(&**catalogue.user_table().space_at("acme.example.com").unwrap().name(), "acme");
    assert!(has_user(&catalogue, "acme", "ann") && !has_user(&catalogue, DEFAULT_SPACE, "ann"));
}

#[tokio::test]
async fn nothing_is_of_a_space_that_does_not_exist() {
    let memory = Memory::default();
    let (catalogue, _tellings) = catalogue(&memory);
    assert!(
        matches!(user(&catalogue, "acme", "ann").await, Err(ChangeError::NoSpace(name)) if &*name == "acme")
    );
    assert!(matches!(address(&catalogue, "$s/acme/a").await, Err(ChangeError::NoSpace(_))));
    create(&catalogue, "acme", AddressSpaceSpec::default()).await.unwrap();
    user(&catalogue, "acme", "ann").await.unwrap();
    address(&catalogue, "$s/acme/a").await.unwrap();
    user(&catalogue, DEFAULT_SPACE, "ann").await.unwrap();
}

#[tokio::test]
async fn a_space_with_something_in_it_is_removed_with_all_of_it_or_not_at_all() {
    let memory = Memory::default();
    let (catalogue, _tellings) = catalogue(&memory);
    for space in ["acme", "acme2"] {
        create(&catalogue, space, AddressSpaceSpec::default()).await.unwrap();
        user(&catalogue, space, "ann").await.unwrap();
        address(&catalogue, &format!("$s/{space}/a")).await.unwrap();
    }
    address(&catalogue, "acme").await.unwrap();
    let refused = catalogue.remove_space("acme".into(), false).await;
    assert!(matches!(refused, Err(ChangeError::SpaceInUse { addresses: 1, users: 1, .. })), "{refused:?}");
    catalogue.remove_space("acme".into(), true).await.unwrap();
    assert!(catalogue.user_table().space("acme").is_none() && catalogue.address("$s/acme/a").is_none());
    assert!(has_user(&catalogue, "acme2", "ann") && catalogue.address("$s/acme2/a").is_some());
    assert!(catalogue.address("acme").is_some());
    create(&catalogue, "acme", AddressSpaceSpec::default()).await.unwrap();
    assert!(!has_user(&catalogue, "acme", "ann"), "it begins anew");
    catalogue.remove_space("acme".into(), false).await.unwrap();
    let gone = catalogue.remove_space("acme".into(), false).await;
    assert!(matches!(gone, Err(ChangeError::NoPrincipal(PrincipalKind::Space, _))), "{gone:?}");
}

#[tokio::test]
async fn the_default_space_takes_limits_and_stays() {
    let memory = Memory::default();
    let (catalogue, _tellings) = catalogue(&memory);
    let limits = SpaceLimits { max_links: Some(7), ..SpaceLimits::default() };
    create(&catalogue, DEFAULT_SPACE, AddressSpaceSpec { limits: limits.clone(), ..hosts(&[]) })
        .await
        .unwrap();
    assert_eq!(catalogue.user_table().space(DEFAULT_SPACE).unwrap().limits(), &limits);
    let refused = catalogue.remove_space(DEFAULT_SPACE.into(), true).await;
    assert!(matches!(refused, Err(ChangeError::BuiltInSpace(_))), "{refused:?}");
}

#[tokio::test]
async fn a_host_chooses_one_space() {
    let memory = Memory::default();
    let (catalogue, _tellings) = catalogue(&memory);
    create(&catalogue, "acme", hosts(&["acme.example.com", "next"])).await.unwrap();
    for (space, taken) in [("b", hosts(&["ACME.example.com"])), ("b", hosts(&["acme"])), ("next", hosts(&[]))]
    {
        let refused = create(&catalogue, space, taken).await;
        assert!(matches!(&refused, Err(ChangeError::HostTaken(_, by)) if &**by == "acme"), "{refused:?}");
    }
    let refused = create(&catalogue, "b", hosts(&["default"])).await;
    assert!(matches!(&refused, Err(ChangeError::HostTaken(_, by)) if &**by == DEFAULT_SPACE), "{refused:?}");
    create(&catalogue, "acme", hosts(&["acme", "acme.example.com"])).await.unwrap();
    create(&catalogue, "next", hosts(&[])).await.unwrap();
}

#[tokio::test]
async fn a_space_has_as_many_addresses_as_its_limit_says() {
    let memory = Memory::default();
    let (catalogue, _tellings) = catalogue(&memory);
    let limits = SpaceLimits { max_addresses: Some(2), ..SpaceLimits::default() };
    create(&catalogue, "acme", AddressSpaceSpec { limits, ..hosts(&[]) }).await.unwrap();
    let names: Vec<String> = (0..20).map(|number| format!("$s/acme/a-{number}")).collect();
    let asked: Vec<_> = names
        .iter()
        .map(|name| {
            let (catalogue, name) = (catalogue.clone(), name.clone());
            tokio::spawn(async move { address(&catalogue, &name).await })
        })
        .collect();
    let mut made = Vec::new();
    for answer in asked {
        made.push(answer.await.unwrap());
    }
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 2, "also of those that come at once");
    let is_limited = |made: &Result<_, _>| matches!(made, Ok(_) | Err(ChangeError::AddressLimit(2)));
    assert!(made.iter().all(is_limited));
    let there = names.iter().find(|name| catalogue.address(name).is_some()).unwrap();
    catalogue
        .put(there.as_str().into(), BTreeMap::new(), spec(5))
        .await
        .expect("what is there can be changed");
    catalogue.remove(there.as_str().into()).await.unwrap();
    address(&catalogue, "$s/acme/another").await.unwrap();
    address(&catalogue, "$s/acme/one-more").await.unwrap_err();
    address(&catalogue, "of-the-default-space").await.unwrap();
}

#[tokio::test]
async fn a_user_has_created_as_many_addresses_as_his_limit_says_also_after_a_restart() {
    let memory = Memory::default();
    let user_limits = SpaceLimits { max_addresses: Some(1), ..SpaceLimits::default() };
    let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
    let make = async |catalogue: &Catalogue, by: Option<&Arc<str>>, name: &str| {
        catalogue.create_for(by.cloned(), name.into(), BTreeMap::new(), spec(1)).await
    };
    {
        let (catalogue, _tellings) = catalogue(&memory);
        create(&catalogue, "acme", AddressSpaceSpec { user_limits, ..hosts(&[]) }).await.unwrap();
        let first = make(&catalogue, Some(&ann), "$s/acme/first").await.unwrap();
        assert_eq!(first.created_by.as_deref(), Some("ann"));
        make(&catalogue, Some(&bob), "$s/acme/second").await.unwrap();
        // Whoever changes it, it is still hers; and an operator has no limit.
        catalogue.put_for(Some(bob.clone()), "$s/acme/first".into(), BTreeMap::new(), spec(5)).await.unwrap();
        make(&catalogue, None, "$s/acme/third").await.unwrap();
    }
    let (catalogue, _tellings) = catalogue(&memory);
    let refused = make(&catalogue, Some(&ann), "$s/acme/more").await.unwrap_err();
    assert!(matches!(&refused, ChangeError::AddressLimitOfUser { user, limit: 1 } if **user == *ann));
    let words = refused.to_string();
    assert!(words.contains("user ann has created 1 addresses") && words.contains("maxAddresses"), "{words}");
    catalogue.remove("$s/acme/first".into()).await.unwrap();
    make(&catalogue, Some(&bob), "$s/acme/more").await.unwrap_err();
    make(&catalogue, Some(&ann), "$s/acme/more").await.unwrap();
}

#[tokio::test]
async fn no_error_says_what_a_name_is_called_inside_the_fleet() {
    let memory = Memory::default();
    let (catalogue, _tellings) = catalogue(&memory);
    create(&catalogue, "acme", AddressSpaceSpec::default()).await.unwrap();
    address(&catalogue, "$s/acme/a").await.unwrap();
    let error = address(&catalogue, "$s/acme/a").await.unwrap_err().to_string();
    assert!(error.contains("`a`") && !error.contains("$s") && !error.contains("acme"), "{error}");
    let error = catalogue.remove("$s/acme/b".into()).await.unwrap_err().to_string();
    assert!(error.contains("`b`") && !error.contains("$s") && !error.contains("acme"), "{error}");
}

#[tokio::test]
async fn a_space_of_one_node_is_that_of_every_node() {
    let net = Net::default();
    let nodes = net.fleet(3).await;
    create(&nodes[0].catalogue, "acme", hosts(&["acme.example.com"])).await.unwrap();
    user(&nodes[1].catalogue, "acme", "ann").await.unwrap();
    for node in &nodes {
        assert!(has_user(&node.catalogue, "acme", "ann"), "{}", node.name);
    }
    nodes[2].catalogue.remove_space("acme".into(), true).await.unwrap();
    for node in &nodes {
        assert!(node.catalogue.user_table().space("acme").is_none(), "{}", node.name);
    }
}

#[tokio::test]
async fn what_a_node_that_was_away_gave_to_a_space_that_ended_is_not_of_the_next_one_of_that_name() {
    let net = Net::default();
    let nodes = net.fleet(3).await;
    create(&nodes[0].catalogue, "acme", AddressSpaceSpec::default()).await.unwrap();
    net.disconnect(&nodes[0], &nodes[1]);
    net.disconnect(&nodes[0], &nodes[2]);
    user(&nodes[0].catalogue, "acme", "left-over").await.unwrap();
    nodes[1].catalogue.remove_space("acme".into(), false).await.unwrap();
    create(&nodes[1].catalogue, "acme", AddressSpaceSpec::default()).await.unwrap();
    user(&nodes[2].catalogue, "acme", "new").await.unwrap();
    net.connect_all(&nodes);
    until("the nodes have met", || has(&nodes[0], "new")).await;
    for node in &nodes {
        assert!(has(node, "new") && !has(node, "left-over"), "{}", node.name);
    }
}

#[tokio::test]
async fn what_two_nodes_have_made_of_one_space_without_knowing_of_each_other_is_one() {
    let net = Net::default();
    let nodes = net.fleet(2).await;
    net.disconnect(&nodes[0], &nodes[1]);
    create(&nodes[0].catalogue, "acme", AddressSpaceSpec::default()).await.unwrap();
    user(&nodes[0].catalogue, "acme", "one").await.unwrap();
    create(&nodes[1].catalogue, "acme", AddressSpaceSpec::default()).await.unwrap();
    user(&nodes[1].catalogue, "acme", "two").await.unwrap();
    net.connect_all(&nodes);
    let has_both = |node: &TestNode| has(node, "one") && has(node, "two");
    until("both have the users of both", || nodes.iter().all(has_both)).await;
}

fn has(node: &TestNode, name: &str) -> bool {
    has_user(&node.catalogue, "acme", name)
}
