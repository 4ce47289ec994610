//! Those whom others know: tokens of an identity provider, and names that a service is asked about.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::provider::{Provider, signed};
use super::service::{Service, open_sesame};
use super::support::{Answer, Node, anycast, config, get, request, send_json, wait_for};
use super::{ADDRESSES, problem};

const JSON: (&str, &str) = ("Content-Type", "application/json");

struct Place {
    node: Node,
    provider: Provider,
    service: Service,
    _directory: tempfile::TempDir,
}

impl Place {
    /// A node with a provider and a service, and an administrator of its own with the password `pencil`.
    fn start() -> Self {
        let (provider, service) = (Provider::start(), Service::start(open_sesame));
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(&directory.path().join("state"));
        provider.configure(&mut config);
        service.configure(&mut config);
        // The first user is made by somebody who is none.
        config.authentication.anonymous = mq_model::config::Where::Loopback;
        let node = Node::start(config.clone());
        for (name, roles) in [("root", json!(["admin"])), ("off", json!([]))] {
            let user = json!({
                "user": {
                    "apiVersion": "mq.dev/v1", "kind": "User", "metadata": { "name": name }, "spec": { "roles": roles },
                },
                "password": { "password": "pencil" },
            });
            assert_eq!(send_json(node.http, "POST", "/api/v1/users", &user).status, 201);
        }
        let disable = json!({ "disabled": true });
        assert_eq!(send_json(node.http, "POST", "/api/v1/users/off/rights", &disable).status, 200);
        node.stop();
        provider.configure(&mut config);
        config.authentication.oidc.truncate(1);
        let place = Self { node: Node::start(config), provider, service, _directory: directory };
        wait_for("the provider's keys", || {
            (place.with_token(&place.provider.token("x", &[], 300)).status != 503).then_some(())
        });
        place
    }

    fn send(&self, authorization: &str, method: &str, path: &str, body: &str) -> Answer {
        request(self.node.http, method, path, &[JSON, ("Authorization", authorization)], body.as_bytes())
    }

    fn with_token(&self, token: &str) -> Answer {
        self.send(&format!("Bearer {token}"), "GET", ADDRESSES, "")
    }

    fn basic(&self, user: &str, password: &str) -> Answer {
        let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.send(&format!("Basic {encoded}"), "GET", ADDRESSES, "")
    }
}

/// The ways in which a refused client is asked to say who it is.
fn challenges(answer: &Answer) -> Vec<&str> {
    answer
        .headers
        .iter()
        .filter(|(name, _)| name == "www-authenticate")
        .map(|(_, value)| value.as_str())
        .collect()
}

#[test]
fn a_token_lets_its_user_do_what_his_roles_and_the_table_say() {
    let place = Place::start();
    assert_eq!(place.with_token(&place.provider.token("ann", &["mq-viewer"], 300)).status, 200);
    let token = format!("bearer {}", place.provider.token("ann", &["mq-viewer"], 300));
    let created = place.send(&token, "POST", ADDRESSES, &anycast("q").to_string());
    problem(&created, 403, "forbidden");
    let token = format!("Bearer {}", place.provider.token("root", &[], 300));
    let created = place.send(&token, "POST", ADDRESSES, &anycast("q").to_string());
    assert_eq!(created.status, 201, "the table says what he may do");
    // What is his own outlives the token: he says who he is in another way for that.
    let password = json!({ "password": "crayon" }).to_string();
    let viewer = json!({ "spec": { "roles": ["viewer"] } });
    let document = json!({ "apiVersion": "mq.dev/v1", "kind": "User", "metadata": { "name": "root" }, "spec": viewer["spec"] });
    assert_eq!(place.send(&token, "PUT", "/api/v1/users/root", &document.to_string()).status, 200);
    problem(&place.send(&token, "PUT", "/api/v1/users/root/password", &password), 403, "forbidden");
    assert_eq!(place.send(&token, "GET", "/api/v1/users/root", "").status, 200);
}

#[test]
fn a_token_that_is_no_good_is_refused_in_the_same_words_whatever_is_wrong() {
    let mut words = None;
    // Whoever goes on failing is made to wait: another node for some of them.
    for range in [0..4, 4..7] {
        let place = Place::start();
        for token in &bad_tokens(&place.provider)[range] {
            let answer = place.with_token(token);
            let detail = problem(&answer, 401, "invalid-token").detail;
            assert_eq!(*words.get_or_insert_with(|| detail.clone()), detail);
            let asked = challenges(&answer);
            let expected =
                ["Basic realm=\"mq\", charset=\"UTF-8\"", "Bearer realm=\"mq\", error=\"invalid_token\""];
            assert_eq!(asked, expected);
            assert_eq!(place.with_token(&place.provider.token("root", &[], 300)).status, 200, "others go on");
        }
    }
}

fn bad_tokens(provider: &Provider) -> [String; 7] {
    [
        provider.token("ann", &["mq-admin"], -300),
        provider.token("off", &["mq-admin"], 300),
        provider.token("anonymous", &["mq-admin"], 300),
        provider.token("mq-admin", &["mq-admin"], 300),
        signed(&json!({ "alg": "none" }), &json!({ "iss": provider.issuer })),
        signed(&json!({ "alg": "EdDSA", "kid": "one" }), &json!({ "iss": "https://other.example" })),
        "nonsense".to_owned(),
    ]
}

#[test]
fn a_page_that_asks_by_itself_is_not_answered_with_a_dialogue() {
    let place = Place::start();
    assert_eq!(
        challenges(&get(place.node.http, ADDRESSES)),
        ["Basic realm=\"mq\", charset=\"UTF-8\"", "Bearer realm=\"mq\""]
    );
    let scripted = request(place.node.http, "GET", ADDRESSES, &[("Sec-Fetch-Dest", "empty")], &[]);
    assert_eq!((scripted.status, challenges(&scripted)), (401, vec!["Bearer realm=\"mq\""]));
}

#[test]
fn a_service_is_asked_about_names_that_the_table_has_not() {
    let place = Place::start();
    assert_eq!(place.basic("ann", "sesame").status, 200);
    problem(&place.basic("ann", "simsalabim"), 401, "unauthorized");
    assert_eq!(place.service.asked().len(), 2);
    assert_eq!(place.service.asked()[0]["protocol"], "http");
    assert_eq!(place.basic("root", "pencil").status, 200);
    problem(&place.basic("root", "sesame"), 401, "unauthorized");
    problem(&place.basic("off", "sesame"), 401, "unauthorized");
    assert_eq!(place.service.asked().len(), 2, "the table decides on its own users alone");
    place.service.judge_by(|_| Some((500, json!({}))));
    problem(&place.basic("ann", "sesame"), 503, "unavailable");
    assert_eq!(place.basic("root", "pencil").status, 200);
}
