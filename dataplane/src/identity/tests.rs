use std::collections::HashMap;
use std::future::pending;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use tokio::time::advance;

use super::fetch::Fetching;
use super::*;

const ISSUER: &str = "https://id.example/realms/mq";
const DISCOVERY: &str = "https://id.example/realms/mq/.well-known/openid-configuration";
const KEYS: &str = "https://id.example/keys";

/// A provider without a network: what is at which URL, and how often it was asked for.
#[derive(Clone, Default)]
struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    documents: HashMap<String, String>,
    asked: Vec<String>,
    hangs: bool,
}

impl Source for World {
    fn get<'a>(&'a self, url: &'a str, limit: usize) -> Fetching<'a> {
        let mut state = self.0.lock().expect("no test panics with it");
        state.asked.push(url.to_owned());
        let document = state.documents.get(url).cloned();
        let hangs = state.hangs;
        Box::pin(async move {
            if hangs {
                pending::<()>().await;
            }
            match document {
                Some(document) if document.len() > limit => Err(FetchError::TooLong(limit)),
                Some(document) => Ok(document.into_bytes()),
                None => Err(FetchError::Connect(std::io::ErrorKind::ConnectionRefused.into())),
            }
        })
    }
}

impl World {
    /// One with a provider that has the keys of these numbers.
    fn with_keys(numbers: &[u8]) -> Self {
        let world = Self::default();
        world.put(DISCOVERY, json!({ "issuer": ISSUER, "jwks_uri": KEYS, "token_endpoint": "x" }));
        world.put_keys(numbers);
        world
    }

    fn put(&self, url: &str, document: Value) {
        let mut state = self.0.lock().expect("no test panics with it");
        state.documents.insert(url.to_owned(), document.to_string());
    }

    fn put_keys(&self, numbers: &[u8]) {
        let key = |number: &u8| {
            let x = URL_SAFE_NO_PAD.encode(pair(*number).public_key().as_ref());
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": number.to_string(), "x": x })
        };
        self.put(KEYS, json!({ "keys": numbers.iter().map(key).collect::<Vec<_>>() }));
    }

    fn die(&self) {
        self.0.lock().expect("no test panics with it").documents.clear();
    }

    fn hang(&self) {
        self.0.lock().expect("no test panics with it").hangs = true;
    }

    /// How often the keys were asked for.
    fn looks(&self) -> usize {
        let state = self.0.lock().expect("no test panics with it");
        state.asked.iter().filter(|url| *url == KEYS).count()
    }

    fn asked(&self) -> usize {
        self.0.lock().expect("no test panics with it").asked.len()
    }
}

fn pair(number: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("any 32 bytes are a seed")
}

fn token_of(issuer: &str, number: u8) -> Secret {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let header = json!({ "alg": "EdDSA", "kid": number.to_string() }).to_string();
    let claims = json!({ "iss": issuer, "aud": "mq", "sub": "anna", "exp": now + 300 }).to_string();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(pair(number).sign(signed.as_bytes()));
    Secret::new(format!("{signed}.{signature}"))
}

fn token(number: u8) -> Secret {
    token_of(ISSUER, number)
}

fn config() -> OidcProvider {
    let config = json!({ "issuer": ISSUER, "audiences": ["mq"] });
    serde_json::from_value(config).expect("it says what it has to")
}

/// Providers whose task runs until the test is over.
fn start(world: &World) -> Providers {
    start_with(world, &config())
}

fn start_with(world: &World, config: &OidcProvider) -> Providers {
    let provider = Provider::new(config, Pace::default(), Box::new(world.clone()));
    let providers = Providers::of(vec![Arc::new(provider)]);
    tokio::spawn(providers.clone().run());
    providers
}

/// Waits until the provider has been looked at once.
async fn looked(providers: &Providers) {
    let mut held = providers.0.providers[0].held.subscribe();
    held.wait_for(|held| held.looks > 0).await.expect("the provider is there");
}

fn is_anna(result: &Result<Claims, Refusal>) -> bool {
    result.as_ref().is_ok_and(|claims| claims.user == "anna")
}

#[tokio::test(start_paused = true)]
async fn keys_are_found_by_discovery_and_tokens_known_at_once() {
    let world = World::with_keys(&[1]);
    let providers = start(&world);
    looked(&providers).await;
    assert!(matches!(providers.check_now(&token(1)), Verdict::Known(result) if is_anna(&result)));
    assert!(is_anna(&providers.check(&token(1)).await));
}

#[tokio::test(start_paused = true)]
async fn keys_are_where_the_configuration_says() {
    let world = World::with_keys(&[]);
    world.die();
    world.put_keys(&[1]);
    let providers = start_with(&world, &OidcProvider { keys: Some(KEYS.to_owned()), ..config() });
    assert!(is_anna(&providers.check(&token(1)).await));
}

#[tokio::test(start_paused = true)]
async fn token_that_comes_before_the_keys_waits_for_them() {
    let providers = start(&World::with_keys(&[1]));
    assert!(matches!(providers.check_now(&token(1)), Verdict::Later));
    assert!(is_anna(&providers.check(&token(1)).await));
}

#[tokio::test(start_paused = true)]
async fn new_key_is_fetched_when_a_token_names_it() {
    let world = World::with_keys(&[1]);
    let providers = start(&world);
    looked(&providers).await;
    world.put_keys(&[1, 2]);
    advance(Pace::default().least).await;
    assert!(matches!(providers.check_now(&token(2)), Verdict::Later));
    assert!(is_anna(&providers.check(&token(2)).await));
    assert_eq!(world.looks(), 2);
}

#[tokio::test(start_paused = true)]
async fn strangers_cannot_have_the_provider_asked_often() {
    let world = World::with_keys(&[1]);
    let providers = start(&world);
    looked(&providers).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        assert_eq!(providers.check(&token(9)).await, Err(Refusal::Credentials));
        advance(Duration::from_millis(100)).await;
    }
    assert!(world.looks() <= 14, "{} looks in a minute", world.looks());
}

#[tokio::test(start_paused = true)]
async fn dead_provider_neither_shuts_the_node_nor_opens_it() {
    let world = World::with_keys(&[1]);
    let providers = start(&world);
    looked(&providers).await;
    world.die();
    sleep(Duration::from_secs(24 * 3600)).await;
    assert!(is_anna(&providers.check(&token(1)).await), "the keys that were there stay");
    let began = Instant::now();
    assert_eq!(providers.check(&token(2)).await, Err(Refusal::Unavailable));
    assert!(began.elapsed() <= Pace::default().wait);
    world.put_keys(&[2]);
    world.put(DISCOVERY, json!({ "issuer": ISSUER, "jwks_uri": KEYS }));
    sleep(Pace::default().least).await;
    assert!(is_anna(&providers.check(&token(2)).await), "it is back");
}

#[tokio::test(start_paused = true)]
async fn provider_that_never_answered_lets_nobody_in() {
    let providers = start(&World::default());
    looked(&providers).await;
    assert_eq!(providers.check(&token(1)).await, Err(Refusal::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn provider_that_hangs_is_not_waited_for_longer_than_the_wait() {
    let world = World::with_keys(&[1]);
    let providers = start(&world);
    looked(&providers).await;
    world.hang();
    advance(Pace::default().least).await;
    let began = Instant::now();
    let refusals = (providers.check(&token(2)).await, providers.check(&token(2)).await);
    assert!(refusals.0.is_err() && refusals.1.is_err());
    assert!(began.elapsed() <= 2 * Pace::default().wait);
    assert!(is_anna(&providers.check(&token(1)).await), "others are not kept");
}

#[tokio::test(start_paused = true)]
async fn key_that_the_provider_takes_back_is_good_no_more() {
    let world = World::with_keys(&[1, 2]);
    let providers = start(&world);
    assert!(is_anna(&providers.check(&token(1)).await));
    world.put_keys(&[2]);
    sleep(Pace::default().refresh).await;
    assert_eq!(providers.check(&token(1)).await, Err(Refusal::Credentials));
    assert!(is_anna(&providers.check(&token(2)).await));
}

#[tokio::test(start_paused = true)]
async fn tokens_of_others_are_refused_without_asking_anybody() {
    let world = World::with_keys(&[1]);
    let providers = start(&world);
    looked(&providers).await;
    let asked = world.asked();
    advance(Pace::default().least).await;
    for issuer in ["https://id.example/realms/other", "", "https://id.example/realms/mq/"] {
        assert_eq!(providers.check(&token_of(issuer, 1)).await, Err(Refusal::Credentials), "{issuer}");
    }
    assert_eq!(providers.check(&Secret::new("no.token.at all")).await, Err(Refusal::Credentials));
    assert_eq!(world.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn discovery_cannot_lead_to_keys_of_somebody_else() {
    let documents = [
        json!({ "issuer": "https://evil.example", "jwks_uri": KEYS }),
        json!({ "issuer": format!("{ISSUER}/"), "jwks_uri": KEYS }),
        json!({ "issuer": ISSUER, "jwks_uri": "http://id.example/keys" }),
        json!({ "issuer": ISSUER, "jwks_uri": "file:///keys" }),
        json!({ "issuer": ISSUER }),
        json!([]),
        json!({ "issuer": ISSUER, "jwks_uri": KEYS, "filler": "x".repeat(MAX_KEYS_DOCUMENT) }),
    ];
    for document in documents {
        let world = World::with_keys(&[1]);
        world.put("http://id.example/keys", json!({ "keys": [] }));
        world.put(DISCOVERY, document.clone());
        let providers = start(&world);
        looked(&providers).await;
        assert_eq!(providers.check(&token(1)).await, Err(Refusal::Unavailable), "{document}");
        assert_eq!(world.asked(), 1, "nothing beyond the discovery document is asked for");
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_of_tokens_is_counted_by_issuer() {
    let providers = start(&World::with_keys(&[1]));
    looked(&providers).await;
    let _ = providers.check(&token(1)).await;
    let _ = providers.check(&token(9)).await;
    let _ = providers.check(&token_of("https://other.example", 1)).await;
    let _ = providers.check(&Secret::new("nothing")).await;
    let mut registry = Registry::default();
    providers.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("it can be written");
    for line in [
        format!("mq_tokens_total{{issuer=\"{ISSUER}\",outcome=\"accepted\"}} 1"),
        format!("mq_tokens_total{{issuer=\"{ISSUER}\",outcome=\"unknown-key\"}} 1"),
        "mq_tokens_total{issuer=\"\",outcome=\"issuer\"} 1".to_owned(),
        "mq_tokens_total{issuer=\"\",outcome=\"malformed\"} 1".to_owned(),
        format!("mq_identity_provider_refreshes_total{{issuer=\"{ISSUER}\",outcome=\"succeeded\"}} 1"),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn threads_that_ask_are_answered_when_the_key_is_there() {
    let world = World::with_keys(&[1]);
    let providers = start(&world);
    looked(&providers).await;
    world.put_keys(&[1, 2]);
    advance(Pace::default().least).await;
    let (answers, mut came) = mpsc::unbounded_channel();
    let ask = |number| {
        let answers = answers.clone();
        providers.ask(token(number), Box::new(move |answer| answers.send(answer).expect("the test waits")));
    };
    ask(2);
    assert!(is_anna(&came.recv().await.expect("an answer")));
    ask(3);
    assert_eq!(came.recv().await, Some(Err(Refusal::Credentials)));
}

#[tokio::test(start_paused = true)]
async fn who_asks_when_too_many_do_is_told_at_once() {
    let provider = Provider::new(&config(), Pace::default(), Box::new(World::default()));
    // Nobody answers.
    let providers = Providers::of(vec![Arc::new(provider)]);
    let (answers, mut came) = mpsc::unbounded_channel();
    for _ in 0..=MAX_ASKED {
        let answers = answers.clone();
        providers.ask(token(1), Box::new(move |answer| answers.send(answer).expect("the test waits")));
    }
    assert_eq!(came.try_recv().ok(), Some(Err(Refusal::Throttled)));
    assert!(came.try_recv().is_err());
}
