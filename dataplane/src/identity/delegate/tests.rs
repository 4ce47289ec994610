use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::time::{advance, sleep};

use super::*;

/// A service without a network: what it answers, and what it was asked.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Said>>, Arc<AtomicUsize>);

#[derive(Default)]
struct Said {
    /// `None`: it is silent.
    answer: Option<String>,
    asked: Vec<Value>,
    /// It answers so late.
    delay: Duration,
}

impl Service for World {
    fn ask(&self, body: String) -> Fetching<'_> {
        let mut said = self.0.lock().unwrap();
        said.asked.push(serde_json::from_str(&body).unwrap());
        let (answer, delay) = (said.answer.clone(), said.delay);
        drop(said);
        Box::pin(async move {
            let _under_way = UnderWay::new(&self.1);
            sleep(delay).await;
            match answer {
                Some(answer) => Ok(answer.into_bytes()),
                None => Err(FetchError::Connect(std::io::ErrorKind::ConnectionRefused.into())),
            }
        })
    }
}

/// A question that the service has and has not answered.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        let now = count.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(now <= 2, "{now} questions at once");
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl World {
    fn answering(answer: &Value) -> Self {
        let world = Self::default();
        world.answer(answer);
        world
    }

    fn answer(&self, answer: &Value) {
        self.0.lock().unwrap().answer = Some(answer.to_string());
    }

    fn die(&self) {
        self.0.lock().unwrap().answer = None;
    }

    fn delay(&self, delay: Duration) {
        self.0.lock().unwrap().delay = delay;
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }

    /// The service as a node asks it, two questions at a time.
    fn start(&self) -> Delegate {
        let config = json!({ "url": "https://auth.example", "parallel": 2 });
        let delegate = Delegate::of(&serde_json::from_value(config).unwrap(), Box::new(self.clone()));
        tokio::spawn(delegate.clone().run());
        delegate
    }
}

fn question<'a>(user: &'a str, password: &'a str) -> Question<'a> {
    Question {
        space: "default",
        user: Some(user),
        password: Some(password),
        token: None,
        protocol: "mqtt",
        address: "10.0.0.1".parse().unwrap(),
        client: Some("dev1"),
        certificate: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_says_who_a_user_is_and_what_roles_he_has() {
    let world =
        World::answering(&json!({ "allow": true, "roles": ["sensors"], "space": "default", "more": 1 }));
    let claims = world.start().check(&question("ann", "pencil")).await.unwrap();
    assert_eq!((claims.user.as_str(), claims.roles.as_slice()), ("ann", &["sensors".to_owned()][..]));
    assert_eq!(claims.expires, u64::MAX);
    let asked = json!({
        "space": "default", "user": "ann", "password": "pencil", "protocol": "mqtt", "address": "10.0.0.1", "client": "dev1",
    });
    assert_eq!(world.0.lock().unwrap().asked, [asked]);
}

#[tokio::test(start_paused = true)]
async fn a_service_says_whose_a_token_is_and_what_he_may_do() {
    let world = World::answering(&json!({ "allow": true, "user": "ann", "grants": ["send:t/${user}/#"] }));
    let token = Question { user: None, password: None, token: Some("opaque"), ..question("", "") };
    let claims = world.start().check(&token).await.unwrap();
    assert_eq!((claims.user.as_str(), claims.grants.len()), ("ann", 1));
    let asked = world.0.lock().unwrap().asked[0].clone();
    assert_eq!(
        (&asked["token"], &asked["user"], &asked["password"]),
        (&json!("opaque"), &Value::Null, &Value::Null)
    );

    for answer in [
        json!({ "allow": true }),
        json!({ "allow": true, "user": "" }),
        json!({ "allow": true, "user": "a".repeat(2_000) }),
        json!({ "allow": true, "user": "ann", "grants": ["everything"] }),
        json!({ "allow": true, "user": "ann", "grants": vec!["send:a"; MAX_GRANTS + 1] }),
    ] {
        let verdict = World::answering(&answer).start().check(&token).await;
        assert_eq!(verdict, Err(Refusal::Unavailable), "{answer}");
    }
    let other = World::answering(&json!({ "allow": true, "user": "bob" }));
    let verdict = other.start().check(&question("ann", "pencil")).await;
    assert_eq!(verdict, Err(Refusal::Credentials), "it has answered about another one");
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_for_the_same_question_and_not_for_ever() {
    let world = World::answering(&json!({ "allow": true }));
    let delegate = world.start();
    for _ in 0..3 {
        delegate.check(&question("ann", "pencil")).await.unwrap();
    }
    assert_eq!(world.asked(), 1);
    let other_client = Question { client: Some("dev2"), ..question("ann", "pencil") };
    let elsewhere = Question { address: "10.0.0.2".parse().unwrap(), ..question("ann", "pencil") };
    for other in [question("ann", "pen"), question("bob", "pencil"), other_client, elsewhere] {
        delegate.check(&other).await.unwrap();
    }
    assert_eq!(world.asked(), 5);
    world.answer(&json!({ "allow": false }));
    advance(Duration::from_secs(59)).await;
    assert!(delegate.check(&question("ann", "pencil")).await.is_ok());
    advance(Duration::from_secs(2)).await;
    assert_eq!(delegate.check(&question("ann", "pencil")).await, Err(Refusal::Credentials));
    // A no counts for five seconds.
    world.answer(&json!({ "allow": true }));
    assert_eq!(delegate.check(&question("ann", "pencil")).await, Err(Refusal::Credentials));
    advance(Duration::from_secs(6)).await;
    assert!(delegate.check(&question("ann", "pencil")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_yes_that_ends_soon_is_forgotten_then() {
    let world = World::answering(&json!({ "allow": true, "seconds": 0 }));
    let delegate = world.start();
    assert!(delegate.check(&question("ann", "pencil")).await.unwrap().expires <= unix_seconds());
    delegate.check(&question("ann", "pencil")).await.unwrap();
    assert_eq!(world.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_lets_nobody_in_and_is_not_remembered() {
    let too_many: Vec<String> = (0..=MAX_ROLES).map(|number| format!("role{number}")).collect();
    for answer in [
        json!({}),
        json!([]),
        json!({ "allow": "true" }),
        json!({ "allow": 1 }),
        json!({ "allow": true, "roles": "admin" }),
        json!({ "allow": true, "roles": [""] }),
        json!({ "allow": true, "roles": too_many }),
        json!({ "allow": true, "seconds": -1 }),
    ] {
        let world = World::answering(&answer);
        let delegate = world.start();
        assert_eq!(delegate.check(&question("ann", "pencil")).await, Err(Refusal::Unavailable), "{answer}");
        world.answer(&json!({ "allow": true }));
        assert!(delegate.check(&question("ann", "pencil")).await.is_ok(), "{answer}");
    }
    let world = World::answering(&json!({ "allow": true, "space": "acme" }));
    let answer = world.start().check(&question("ann", "pencil")).await;
    assert_eq!(answer, Err(Refusal::Credentials), "a user of another space is nobody in this one");
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_the_same_at_once_ask_once() {
    let world = World::answering(&json!({ "allow": true }));
    world.delay(Duration::from_millis(100));
    let delegate = world.start();
    let (answers, mut came) = mpsc::unbounded_channel();
    for _ in 0..10 {
        let answers = answers.clone();
        let reply = Box::new(move |answer| answers.send(answer).unwrap());
        assert!(matches!(delegate.ask(&question("ann", "pencil"), reply), Told::Later));
    }
    for _ in 0..10 {
        assert!(came.recv().await.unwrap().is_ok());
    }
    assert_eq!(world.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_service_is_not_waited_for_longer_than_the_timeout() {
    let world = World::answering(&json!({ "allow": true }));
    world.delay(Duration::from_secs(60));
    let delegate = world.start();
    let began = Instant::now();
    let names: Vec<String> = (0..8).map(|number| format!("user{number}")).collect();
    let mut tasks = JoinSet::new();
    for name in names {
        let delegate = delegate.clone();
        tasks.spawn(async move { delegate.check(&question(&name, "pencil")).await });
    }
    for answer in tasks.join_all().await {
        assert_eq!(answer, Err(Refusal::Unavailable));
    }
    assert!(began.elapsed() <= Duration::from_millis(2_001), "{:?}", began.elapsed());
    assert_eq!(world.asked(), 2, "no more at a time than are allowed");
    assert_eq!(delegate.lock().count, 0);
    assert!(delegate.lock().sources.is_empty() && delegate.lock().waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_asked_once_a_second_until_it_answers() {
    let world = World::default();
    let delegate = world.start();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        assert_eq!(delegate.check(&question("ann", "pencil")).await, Err(Refusal::Unavailable));
        advance(Duration::from_millis(50)).await;
    }
    let asked = world.asked();
    assert!((50..=64).contains(&asked), "{asked} questions in a minute");
    world.answer(&json!({ "allow": true }));
    advance(PAUSE).await;
    assert!(delegate.check(&question("ann", "pencil")).await.is_ok());
    // It is as before at once.
    assert!(delegate.check(&question("bob", "pencil")).await.is_ok());
    world.die();
    assert_eq!(delegate.check(&question("eve", "pencil")).await, Err(Refusal::Unavailable));
    assert!(delegate.check(&question("ann", "pencil")).await.is_ok(), "what is known goes on");
}

#[tokio::test(start_paused = true)]
async fn who_asks_when_too_many_of_his_source_do_is_told_at_once_and_others_go_on() {
    let config = json!({ "url": "https://auth.example" });
    // Nobody asks.
    let delegate = Delegate::of(&serde_json::from_value(config).unwrap(), Box::new(World::default()));
    let ask = |source: &str| {
        let asked = Question { address: source.parse().unwrap(), ..question("ann", "pencil") };
        delegate.ask(&asked, Box::new(|_| {}))
    };
    for _ in 0..MAX_WAITING_OF_SOURCE {
        assert!(matches!(ask("2001:db8::1"), Told::Later));
    }
    assert!(matches!(ask("2001:db8::2"), Told::Known(Err(Refusal::Throttled))), "the same customer");
    assert!(matches!(ask("10.0.0.1"), Told::Later));
}

#[tokio::test(start_paused = true)]
async fn what_came_of_questions_is_counted() {
    let world = World::answering(&json!({ "allow": true }));
    let delegate = world.start();
    for _ in 0..2 {
        let _ = delegate.check(&question("ann", "pencil")).await;
    }
    world.answer(&json!({ "allow": false }));
    let _ = delegate.check(&question("bob", "pencil")).await;
    world.die();
    let _ = delegate.check(&question("eve", "pencil")).await;
    let mut registry = Registry::default();
    delegate.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for (outcome, by) in
        [("allowed", "service"), ("allowed", "memory"), ("denied", "service"), ("unavailable", "service")]
    {
        let line = format!("mq_delegated_logins_total{{outcome=\"{outcome}\",by=\"{by}\"}} 1");
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_question_and_its_service_print_no_secret() {
    let config = json!({ "url": "https://auth.example" });
    let delegate = Delegate::of(&serde_json::from_value(config).unwrap(), Box::new(World::default()));
    let _ = delegate.ask(&question("ann", "pencil"), Box::new(|_| {}));
    assert!(!format!("{delegate:?}").contains("pencil"));
}
