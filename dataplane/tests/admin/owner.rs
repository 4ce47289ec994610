//! Whoever can read the state directory of a node, and what the admin API lets him do.

use mq_model::admin::OWNER_TOKEN_FILE;
use mq_model::config::Where;

use super::support::{Node, config, get, request};
use super::{ADDRESSES, problem};

#[test]
fn the_token_of_the_state_directory_opens_a_node_that_lets_nobody_in_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    config.authentication.anonymous = Where::Never;
    let node = Node::start(config);
    problem(&get(node.http, ADDRESSES), 401, "unauthorized");
    let token = std::fs::read_to_string(directory.path().join(OWNER_TOKEN_FILE)).unwrap();
    let bearing = |token: &str, path: &str| {
        request(node.http, "GET", path, &[("Authorization", &format!("Bearer {token}"))], &[])
    };
    assert_eq!(bearing(&token, ADDRESSES).status, 200);
    assert_eq!(bearing(&token, "/api/v1/users").status, 200, "an administrator");
    let mut wrong = token.clone();
    wrong.pop();
    assert_eq!(bearing(&wrong, ADDRESSES).status, 401);
    for path in ["/api/v1/config", "/api/v1/node", "/metrics"] {
        assert!(!bearing(&token, path).text().contains(&token), "{path}");
    }
}
