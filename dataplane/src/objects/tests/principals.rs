//! Users and roles as objects: kept, changed in order, the same on every node.

use std::sync::Arc;

use mq_auth::{Salts, Secret, Verifiers};
use mq_model::user::{DEFAULT_SPACE, RoleSpec, UserSpec};

use super::super::*;
use super::fleet::{Net, TestNode, until};
use super::{Memory, catalogue, names};

fn user(grants: &[&str], roles: &[&str]) -> UserValue {
    let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    UserValue { spec: UserSpec { grants, roles, ..UserSpec::default() }, ..UserValue::default() }
}

fn grants(table: &UserTable, name: &str) -> Option<Vec<String>> {
    table.find(DEFAULT_SPACE, name).map(|user| user.grants().iter().map(ToString::to_string).collect())
}

async fn put(catalogue: &Catalogue, name: &str, value: UserValue) -> Put {
    catalogue.edit_user(DEFAULT_SPACE.into(), name.into(), move |_| Ok(Some(value))).await.unwrap()
}

async fn put_role(catalogue: &Catalogue, name: &str, granted: &[&str]) -> Put {
    let granted = granted.iter().map(|grant| grant.parse().unwrap()).collect();
    let value = RoleValue { spec: RoleSpec { grants: granted }, ..RoleValue::default() };
    catalogue.edit_role(DEFAULT_SPACE.into(), name.into(), move |_| Ok(Some(value))).await.unwrap()
}

#[tokio::test]
async fn a_user_is_durable_and_in_the_table_when_his_creation_is_answered() {
    let memory = Memory::default();
    {
        let (catalogue, _tellings) = catalogue(&memory);
        let mut changes = catalogue.users();
        changes.mark_unchanged();
        assert_eq!(put(&catalogue, "ann", user(&["send:a"], &["one"])).await, Put::Created);
        assert!(changes.has_changed().unwrap());
        assert_eq!(grants(&catalogue.user_table(), "ann").unwrap(), ["send:a"]);
        assert_eq!(put_role(&catalogue, "one", &["recv:b"]).await, Put::Created);
        assert_eq!(grants(&catalogue.user_table(), "ann").unwrap(), ["send:a", "recv:b"]);
        assert_eq!(catalogue.len(), 0, "no address has come into being");
    }
    let (catalogue, _tellings) = catalogue(&memory);
    assert_eq!(grants(&catalogue.user_table(), "ann").unwrap(), ["send:a", "recv:b"]);
    catalogue.edit_user(DEFAULT_SPACE.into(), "ann".into(), |_| Ok(None)).await.unwrap();
    assert!(grants(&catalogue.user_table(), "ann").is_none());
}

#[tokio::test]
async fn what_changes_nothing_makes_no_other_table() {
    let memory = Memory::default();
    let (catalogue, _tellings) = catalogue(&memory);
    put(&catalogue, "ann", user(&["send:a"], &[])).await;
    let (length, generation) = (memory.content().len(), catalogue.user_table().generation());
    assert_eq!(put(&catalogue, "ann", user(&["send:a"], &[])).await, Put::Unchanged);
    assert_eq!(
        catalogue.edit_user(DEFAULT_SPACE.into(), "bob".into(), |_| Ok(None)).await.unwrap(),
        Put::Unchanged
    );
    let refused =
        catalogue.edit_user(DEFAULT_SPACE.into(), "bob".into(), |_| Err(ChangeError::Stopping)).await;
    assert!(matches!(refused, Err(ChangeError::Stopping)));
    assert_eq!((memory.content().len(), catalogue.user_table().generation()), (length, generation));
}

#[tokio::test]
async fn changes_of_one_user_that_arrive_together_lose_none_of_each_other() {
    let memory = Memory::default();
    let (catalogue, _tellings) = catalogue(&memory);
    put(&catalogue, "ann", user(&[], &[])).await;
    let changes: Vec<_> = (0..20)
        .map(|number| {
            let catalogue = catalogue.clone();
            tokio::spawn(async move {
                let add = move |current: Option<UserValue>| {
                    let mut value = current.unwrap();
                    value.spec.grants.push(format!("send:a-{number}").parse().unwrap());
                    Ok(Some(value))
                };
                catalogue.edit_user(DEFAULT_SPACE.into(), "ann".into(), add).await.unwrap()
            })
        })
        .collect();
    for change in changes {
        assert_eq!(change.await.unwrap(), Put::Updated);
    }
    assert_eq!(grants(&catalogue.user_table(), "ann").unwrap().len(), 20);
}

#[tokio::test]
async fn an_address_and_a_user_of_one_name_know_nothing_of_each_other() {
    let memory = Memory::default();
    let (catalogue, _tellings) = catalogue(&memory);
    put(&catalogue, "a", user(&[], &[])).await;
    catalogue.create("default/a".into(), BTreeMap::new(), super::spec(1)).await.unwrap();
    catalogue.remove("default/a".into()).await.unwrap();
    assert!(grants(&catalogue.user_table(), "a").is_some());
    assert_eq!(names(&memory.open().unwrap()), ["default/a", "salts"], "the user, in his space");
}

#[tokio::test]
async fn no_journal_holds_a_password() {
    let memory = Memory::default();
    let (catalogue, _tellings) = catalogue(&memory);
    let salts = Salts { password: [1; 16], scram_sha256: [2; 16], scram_sha512: [3; 16] };
    let password = Secret::new("correct horse");
    let verifiers = Arc::new(Verifiers::derive(&password, &salts).unwrap());
    put(&catalogue, "ann", UserValue { verifiers: Some(verifiers), ..user(&[], &[]) }).await;
    let content = memory.content();
    let text = String::from_utf8_lossy(&content);
    assert!(text.contains("$argon2id$") && !text.contains("correct horse"), "{text}");
    let table = catalogue.user_table();
    let ann = table.find(DEFAULT_SPACE, "ann").unwrap();
    assert!(Verifiers::check(ann.verifiers().map(|verifiers| &**verifiers), &password));
}

#[tokio::test]
async fn every_node_has_the_users_of_the_fleet() {
    let net = Net::default();
    let nodes = net.fleet(3).await;
    put(&nodes[1].catalogue, "ann", user(&["send:a"], &["one"])).await;
    put_role(&nodes[2].catalogue, "one", &["recv:b"]).await;
    for node in &nodes {
        assert_eq!(
            grants(&node.catalogue.user_table(), "ann").unwrap(),
            ["send:a", "recv:b"],
            "{}",
            node.name
        );
    }
    let salts = nodes[0].catalogue.user_table().salts().copied();
    assert!(salts.is_some());
    assert!(nodes.iter().all(|node| node.catalogue.user_table().salts().copied() == salts));
    net.disconnect(&nodes[0], &nodes[1]);
    net.disconnect(&nodes[0], &nodes[2]);
    nodes[1].catalogue.edit_user(DEFAULT_SPACE.into(), "ann".into(), |_| Ok(None)).await.unwrap();
    assert!(has(&nodes[0], "ann") && !has(&nodes[2], "ann"));
    net.connect_all(&nodes);
    until("the node that was away learns who has gone", || !has(&nodes[0], "ann")).await;
}

fn has(node: &TestNode, name: &str) -> bool {
    grants(&node.catalogue.user_table(), name).is_some()
}

#[tokio::test]
async fn salts_of_nobody_are_made_with_the_first_user_and_stay() {
    let memory = Memory::default();
    let salts = {
        let (catalogue, _tellings) = catalogue(&memory);
        put_role(&catalogue, "one", &["recv:b"]).await;
        assert_eq!(catalogue.user_table().salts(), None, "there is nobody to be told apart");
        put(&catalogue, "ann", user(&[], &[])).await;
        let salts = *catalogue.user_table().salts().unwrap();
        put(&catalogue, "bob", user(&[], &[])).await;
        assert_eq!(catalogue.user_table().salts(), Some(&salts));
        salts
    };
    let (catalogue, _tellings) = catalogue(&memory);
    assert_eq!(catalogue.user_table().salts(), Some(&salts));
    assert!(format!("{:?}", catalogue.user_table()).contains("salts: Some(***)"));
}
