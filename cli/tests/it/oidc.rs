//! Logging in at an identity provider, whose every answer is known here; and what commands send afterwards.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::sandbox::Sandbox;

/// An identity provider and an admin API in one, on a port of its own. It ends with the process of the test.
struct Provider {
    url: String,
    seen: Arc<Mutex<Seen>>,
}

/// What it has been asked, and how it answers.
#[derive(Default)]
struct Seen {
    /// The forms that came to the token endpoint.
    forms: Vec<BTreeMap<String, String>>,
    /// What requests of the admin API and of clients with a secret had as `authorization`.
    authorizations: Vec<String>,
    /// What the token endpoint says next; then, that a token is granted.
    refusals: Vec<&'static str>,
    /// How many tokens were granted.
    granted: u64,
    /// How long a token is good, in seconds.
    life: u64,
}

impl Provider {
    fn start(life: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen { life, ..Seen::default() }));
        let (issuer, shared) = (url.clone(), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &issuer, &mut shared.lock().unwrap());
            }
        });
        Self { url, seen }
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap())
    }

    /// A sandbox whose context has its admin API here.
    fn sandbox(&self) -> Sandbox {
        let sandbox = Sandbox::new();
        sandbox.ok(&format!("context add far --amqp amqp://127.0.0.1:9 --http {}", self.url));
        sandbox.ok("context use far");
        sandbox
    }

    /// What the admin API is sent by a command.
    #[track_caller]
    fn sent_by(&self, sandbox: &Sandbox, command: &str) -> Option<String> {
        self.seen(|seen| seen.authorizations.clear());
        sandbox.ok(command);
        self.seen(|seen| seen.authorizations.pop())
    }
}

fn answer(stream: TcpStream, issuer: &str, seen: &mut Seen) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace();
    let (_, path) = (words.next(), words.next().unwrap_or_default().to_owned());
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let form = form_of(&String::from_utf8(body).unwrap());
    seen.authorizations.extend(authorization);
    let (status, body) = match path.split('?').next().unwrap_or_default() {
        "/.well-known/openid-configuration" => (200, discovery(issuer)),
        "/device" => (
            200,
            json!({
                "device_code": "d3v1ce", "user_code": "WXYZ-1234", "verification_uri": format!("{issuer}/activate"),
                "expires_in": 300, "interval": 1,
            }),
        ),
        "/token" => token(form, seen),
        "/api/v1/addresses" => (200, json!({ "items": [] })),
        _ => (404, json!({})),
    };
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n");
    let _ = write!(reader.into_inner(), "{head}content-length: {}\r\n\r\n{body}", body.len());
}

fn discovery(issuer: &str) -> Value {
    json!({
        "issuer": issuer, "token_endpoint": format!("{issuer}/token"),
        "authorization_endpoint": format!("{issuer}/authorize"),
        "device_authorization_endpoint": format!("{issuer}/device"),
    })
}

fn token(form: BTreeMap<String, String>, seen: &mut Seen) -> (u16, Value) {
    seen.forms.push(form);
    if !seen.refusals.is_empty() {
        return (400, json!({ "error": seen.refusals.remove(0) }));
    }
    seen.granted += 1;
    let (number, life) = (seen.granted, seen.life);
    let granted = json!({
        "access_token": format!("acc3ss-{number}"), "token_type": "Bearer", "expires_in": life,
        "refresh_token": format!("r3fresh-{number}"),
    });
    (200, granted)
}

fn form_of(text: &str) -> BTreeMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://form/?{text}")).unwrap();
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

#[test]
fn a_code_on_another_device_logs_in_and_commands_send_the_token() {
    let provider = Provider::start(3_600);
    provider.seen(|seen| seen.refusals = vec!["authorization_pending"]);
    let sandbox = provider.sandbox();
    let said =
        sandbox.run(&format!("login --oidc --issuer {} --client-id cli --resource urn:mq", provider.url));
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("/activate") && said.stderr.contains("WXYZ-1234"), "{said:?}");
    for secret in ["acc3ss", "r3fresh", "d3v1ce"] {
        assert!(!said.stdout.contains(secret) && !said.stderr.contains(secret), "{said:?}");
    }
    let form = provider.seen(|seen| seen.forms.last().cloned().unwrap());
    assert_eq!((form["device_code"].as_str(), form["client_id"].as_str()), ("d3v1ce", "cli"));
    assert_eq!(form["resource"], "urn:mq");
    assert_eq!(provider.sent_by(&sandbox, "address list").as_deref(), Some("Bearer acc3ss-1"));
    // Not to anybody else, and not when somebody else is named.
    let elsewhere = format!("address list --admin {}", provider.url);
    assert_eq!(provider.sent_by(&sandbox, &elsewhere), None);
    let shown = sandbox.ok("context show -o json");
    assert!(shown.contains(&provider.url) && !shown.contains("acc3ss"), "{shown}");
    sandbox.ok("logout");
    assert_eq!(provider.sent_by(&sandbox, "address list"), None);
}

#[test]
fn a_token_that_is_about_to_end_is_renewed_and_a_login_that_is_over_says_so() {
    let provider = Provider::start(30);
    let sandbox = provider.sandbox();
    sandbox.ok(&format!("login --oidc --issuer {}", provider.url));
    assert_eq!(provider.sent_by(&sandbox, "address list").as_deref(), Some("Bearer acc3ss-2"));
    let form = provider.seen(|seen| seen.forms.last().cloned().unwrap());
    assert_eq!((form["grant_type"].as_str(), form["refresh_token"].as_str()), ("refresh_token", "r3fresh-1"));
    assert_eq!(provider.sent_by(&sandbox, "address list").as_deref(), Some("Bearer acc3ss-3"));
    let form = provider.seen(|seen| seen.forms.last().cloned().unwrap());
    assert_eq!(form["refresh_token"], "r3fresh-2", "the latest one");
    provider.seen(|seen| seen.refusals = vec!["invalid_grant"]);
    let over = sandbox.run("address list");
    assert_eq!(over.code, 6, "{over:?}");
    assert!(over.stderr.contains("mq login --oidc"), "{over:?}");
}

#[test]
fn a_program_logs_in_with_a_secret_that_is_on_no_command_line() {
    let provider = Provider::start(30);
    let sandbox = provider.sandbox();
    let login = format!("login --client-credentials --issuer {} --client-id ci", provider.url);
    assert_eq!(sandbox.run(&login).code, 2, "there is no secret");
    let logged_in = sandbox.feed(&format!("{login} --client-secret-file -"), b"s3cret\n");
    assert_eq!(logged_in.code, 0, "{logged_in:?}");
    let basic = base64::prelude::BASE64_STANDARD.encode("ci:s3cret");
    assert_eq!(provider.seen(|seen| seen.authorizations.pop()), Some(format!("Basic {basic}")));
    let form = provider.seen(|seen| seen.forms.last().cloned().unwrap());
    assert!(form["grant_type"] == "client_credentials" && !form.contains_key("client_secret"), "{form:?}");
    // It gets others in the same way.
    assert_eq!(provider.sent_by(&sandbox, "address list").as_deref(), Some("Bearer acc3ss-2"));
    let by_environment = sandbox.command(&login).env("MQ_CLIENT_SECRET", "s3cret").output().unwrap();
    assert!(by_environment.status.success(), "{by_environment:?}");
}

#[test]
fn a_browser_logs_in_by_a_code_that_only_its_own_command_can_use() {
    let provider = Provider::start(3_600);
    let sandbox = provider.sandbox();
    let (script, page) = (sandbox.path().join("browser"), sandbox.path().join("page"));
    std::fs::write(&script, "#!/bin/sh\necho \"$1\" > page.new && mv page.new page\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = sandbox.command(&format!("login --oidc --browser --issuer {}", provider.url));
    let child = command.env("BROWSER", &script).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !page.exists() {
        assert!(Instant::now() < deadline, "the page was never opened");
        std::thread::yield_now();
    }
    let url = reqwest::Url::parse(std::fs::read_to_string(&page).unwrap().trim()).unwrap();
    let asked = form_of(url.query().unwrap());
    assert_eq!((asked["response_type"].as_str(), asked["code_challenge_method"].as_str()), ("code", "S256"));
    let redirect = reqwest::Url::parse(&asked["redirect_uri"]).unwrap();
    assert_eq!(redirect.host_str(), Some("127.0.0.1"));
    let mut back = TcpStream::connect(("127.0.0.1", redirect.port().unwrap())).unwrap();
    write!(back, "GET /?code=c0de&state={} HTTP/1.1\r\nhost: x\r\n\r\n", asked["state"]).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let form = provider.seen(|seen| seen.forms.last().cloned().unwrap());
    assert_eq!((form["code"].as_str(), &form["redirect_uri"]), ("c0de", &asked["redirect_uri"]));
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
    assert_eq!(challenge, asked["code_challenge"]);
    assert_eq!(provider.sent_by(&sandbox, "address list").as_deref(), Some("Bearer acc3ss-1"));
}

#[test]
fn a_provider_over_plain_http_or_of_another_name_gets_nothing() {
    let provider = Provider::start(30);
    let sandbox = provider.sandbox();
    let plain = sandbox.run("login --oidc --issuer http://id.example.org");
    assert_eq!(plain.code, 2, "{plain:?}");
    assert!(plain.stderr.contains("https"), "{plain:?}");
    let other = sandbox.run(&format!("login --oidc --issuer {}/", provider.url));
    assert_eq!(other.code, 2, "{other:?}");
    assert!(other.stderr.contains("is about the issuer"), "{other:?}");
    assert_eq!(provider.seen(|seen| seen.forms.len()), 0);
}
