//! Tokens of an identity provider (OpenID Connect): for a person over a device code (RFC 8628) or over a browser
//! (RFC 8252, RFC 7636), for a program with a secret of its own (RFC 6749, 4.4); and others when they end.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use mq_model::Secret;
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    client::tls::Trust,
    exit::Exit,
    failure::{Failure, Outcome, reason},
    keyring::Tokens,
    output::Output,
};

/// How long the provider may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// The largest answer that is read.
const MAX_ANSWER: usize = 256 << 10;
/// How long a person may take.
const PERSON: Duration = Duration::from_secs(600);
/// How often the provider is asked whether the person is done, unless it says something else (RFC 8628, 3.2).
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest that it may ask to wait in between.
const MAX_INTERVAL: Duration = Duration::from_secs(60);
/// A token with less time left is not sent any more.
const LEAST_LEFT: SignedDuration = SignedDuration::from_secs(60);
/// How long the browser may take to say what it has come for.
const REQUEST: Duration = Duration::from_secs(5);

/// How a context gets its tokens. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Oidc {
    /// The provider, exactly as it calls itself.
    pub issuer: String,
    /// What the provider calls `mq`.
    pub client_id: String,
    /// What the token is to be good for, separated by blanks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whom the token is for (RFC 8707).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// A way to log in.
#[derive(Clone, Debug)]
pub enum Way {
    /// On any machine, with a code that a person types.
    Device,
    /// In the browser of this machine.
    Browser,
    /// A program for itself.
    Client(Secret),
}

/// What is known of a provider (OpenID Connect Discovery 1.0, 3).
#[derive(Debug, Deserialize)]
struct Discovered {
    issuer: String,
    token_endpoint: String,
    #[serde(default)]
    authorization_endpoint: Option<String>,
    #[serde(default)]
    device_authorization_endpoint: Option<String>,
    #[serde(default)]
    revocation_endpoint: Option<String>,
}

/// RFC 8628, 3.2.
#[derive(Deserialize)]
struct Device {
    device_code: String,
    user_code: String,
    verification_uri: String,
    #[serde(default)]
    verification_uri_complete: Option<String>,
    expires_in: u64,
    #[serde(default)]
    interval: Option<u64>,
}

/// RFC 6749, 5.1.
#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<Secret>,
}

/// RFC 6749, 5.2.
#[derive(Debug, Default, Deserialize)]
struct Refused {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

/// What the token endpoint says.
enum Answer {
    Granted(Granted),
    Refused(Refused),
}

impl Tokens {
    /// Whether another one has to be got before it is used.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires.duration_since(now) < LEAST_LEFT)
    }
}

/// A provider that has been found.
pub struct Provider<'a> {
    http: Client,
    oidc: &'a Oidc,
    found: Discovered,
}

impl<'a> Provider<'a> {
    /// Looks the provider up.
    pub async fn find(oidc: &'a Oidc, trust: &Trust) -> Outcome<Self> {
        safe(&oidc.issuer)?;
        let http = Client::builder()
            .tls_backend_preconfigured(trust.config(true)?)
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::failed(format!("cannot start an HTTP client: {error}")))?;
        let url = format!("{}/.well-known/openid-configuration", oidc.issuer.trim_end_matches('/'));
        let answer = http.get(safe(&url)?).send().await.map_err(|error| unreached(&oidc.issuer, &error))?;
        if !answer.status().is_success() {
            let message = format!("{url} answers {}", answer.status());
            return Err(Failure::new(Exit::NotFound, message).help("correct the issuer with --issuer URL"));
        }
        let found: Discovered = read(answer, &url).await?;
        if found.issuer != oidc.issuer {
            let shown: String = found.issuer.chars().take(256).collect();
            let message = format!("{url} is about the issuer `{shown}`");
            return Err(Failure::usage(message).help("name the issuer exactly as the provider does"));
        }
        safe(&found.token_endpoint)?;
        Ok(Self { http, oidc, found })
    }

    /// Gets tokens in one of the ways.
    pub async fn log_in(&self, way: &Way, output: &Output) -> Outcome<Tokens> {
        match way {
            Way::Device => self.with_device(output).await,
            Way::Browser => self.with_browser(output).await,
            Way::Client(secret) => self.as_client(secret).await,
        }
    }

    /// Gets other tokens with what the last ones came with.
    pub async fn renew(&self, tokens: &Tokens) -> Outcome<Tokens> {
        if let Some(secret) = &tokens.client_secret {
            return self.as_client(secret).await;
        }
        let Some(refresh) = &tokens.refresh else { return Err(over("it came without another one")) };
        let answer =
            self.ask(&[("grant_type", "refresh_token"), ("refresh_token", refresh.expose())], None).await?;
        match answer {
            Answer::Granted(granted) => {
                // RFC 6749, 6: the old one stays good unless there is a new one.
                let refresh = granted.refresh_token.clone().or_else(|| tokens.refresh.clone());
                Ok(Tokens { refresh, ..kept(granted) })
            }
            Answer::Refused(refused) => Err(over(&refused.words())),
        }
    }

    /// Has the provider take back what other tokens could be got with (RFC 7009); false: there is nothing to take
    /// back, or it knows no way.
    pub async fn revoke(&self, tokens: &Tokens) -> Outcome<bool> {
        let Some((url, refresh)) = self.found.revocation_endpoint.as_deref().zip(tokens.refresh.as_ref())
        else {
            return Ok(false);
        };
        let form = [
            ("token", refresh.expose()),
            ("token_type_hint", "refresh_token"),
            ("client_id", &self.oidc.client_id),
        ];
        let answer = self.post(url, &form, None).await?;
        if answer.status().is_success() { Ok(true) } else { Err(self.refused(&read(answer, url).await?)) }
    }

    /// RFC 8628.
    async fn with_device(&self, output: &Output) -> Outcome<Tokens> {
        let Some(url) = &self.found.device_authorization_endpoint else {
            return Err(self.cannot("device codes").help("use --browser"));
        };
        let answer = self.post(url, &self.wanted(), None).await?;
        let is_well = answer.status().is_success();
        if !is_well {
            return Err(self.refused(&read::<Refused>(answer, url).await?));
        }
        let device: Device = read(answer, url).await?;
        let place = device.verification_uri_complete.as_deref().unwrap_or(&device.verification_uri);
        output.talk(&format!("open {}", visible(place)));
        output.talk(&format!("and see to it that the code there is {}", visible(&device.user_code)));
        let end = Instant::now() + Duration::from_secs(device.expires_in).min(PERSON);
        let mut interval =
            device.interval.map_or(INTERVAL, Duration::from_secs).clamp(Duration::from_secs(1), MAX_INTERVAL);
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        while Instant::now() < end {
            tokio::time::sleep(interval).await;
            match self.ask(&[("grant_type", grant), ("device_code", &device.device_code)], None).await? {
                Answer::Granted(granted) => return Ok(kept(granted)),
                Answer::Refused(refused) => match refused.error.as_str() {
                    "authorization_pending" => {}
                    // 3.5: by five seconds for good.
                    "slow_down" => interval = (interval + INTERVAL).min(MAX_INTERVAL),
                    _ => return Err(self.refused(&refused)),
                },
            }
        }
        Err(Failure::new(Exit::TimedOut, "nobody has logged in before the code ended").help("try again"))
    }

    /// RFC 8252 with RFC 7636.
    async fn with_browser(&self, output: &Output) -> Outcome<Tokens> {
        let Some(endpoint) = &self.found.authorization_endpoint else {
            return Err(self.cannot("logging in with a browser").help("leave --browser out"));
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener
            .map_err(|error| Failure::failed(format!("cannot listen on loopback: {}", reason(&error))))?;
        let port = listener.local_addr().map_or(0, |address| address.port());
        let redirect = format!("http://127.0.0.1:{port}/");
        let (verifier, state) = (unguessable(), unguessable());
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let mut url = safe(endpoint)?;
        url.query_pairs_mut()
            .extend_pairs(self.wanted())
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", &redirect)
            .append_pair("state", &state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if self.scope().split(' ').any(|scope| scope == "offline_access") {
            // OpenID Connect Core 1.0, 11: without it the scope is ignored, and the token is the only one.
            url.query_pairs_mut().append_pair("prompt", "consent");
        }
        output.talk(&format!("log in at {url}"));
        open_browser(&url);
        let waiting = tokio::task::spawn_blocking(move || wait_for_code(&listener, &state, PERSON));
        let code = waiting.await.map_err(|error| Failure::failed(format!("cannot wait: {error}")))??;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", &redirect),
            ("code_verifier", &verifier),
        ];
        match self.ask(&form, None).await? {
            Answer::Granted(granted) => Ok(kept(granted)),
            Answer::Refused(refused) => Err(self.refused(&refused)),
        }
    }

    /// RFC 6749, 4.4.
    async fn as_client(&self, secret: &Secret) -> Outcome<Tokens> {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.oidc.scope.as_deref().map(|scope| ("scope", scope)));
        match self.ask(&form, Some(secret)).await? {
            Answer::Granted(granted) => {
                Ok(Tokens { refresh: None, client_secret: Some(secret.clone()), ..kept(granted) })
            }
            Answer::Refused(refused) => Err(self.refused(&refused)),
        }
    }

    /// What a person's token is to be good for.
    fn scope(&self) -> &str {
        self.oidc.scope.as_deref().unwrap_or("openid offline_access")
    }

    /// What every way to log in asks for.
    fn wanted(&self) -> Vec<(&str, &str)> {
        let Oidc { client_id, resource, .. } = self.oidc;
        let mut wanted = vec![("client_id", client_id.as_str())];
        wanted.push(("scope", self.scope()));
        wanted.extend(resource.as_deref().map(|resource| ("resource", resource)));
        wanted
    }

    async fn ask(&self, form: &[(&str, &str)], secret: Option<&Secret>) -> Outcome<Answer> {
        let url = &self.found.token_endpoint;
        let mut form = form.to_vec();
        form.extend(self.oidc.resource.as_deref().map(|resource| ("resource", resource)));
        if secret.is_none() {
            // 3.2.1: a client without a secret says who it is.
            form.push(("client_id", &self.oidc.client_id));
        }
        let answer = self.post(url, &form, secret).await?;
        if answer.status().is_success() {
            Ok(Answer::Granted(read(answer, url).await?))
        } else {
            Ok(Answer::Refused(read(answer, url).await?))
        }
    }

    async fn post(
        &self,
        url: &str,
        form: &[(&str, &str)],
        secret: Option<&Secret>,
    ) -> Outcome<reqwest::Response> {
        let request = self.http.post(safe(url)?);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = match secret {
            // 2.3.1: both halves are encoded like the fields of a form.
            Some(secret) => request.basic_auth(encoded(&self.oidc.client_id), Some(encoded(secret.expose()))),
            None => request,
        };
        request.body(form_of(form)).send().await.map_err(|error| unreached(&self.oidc.issuer, &error))
    }

    fn refused(&self, refused: &Refused) -> Failure {
        Failure::new(Exit::Denied, format!("{} lets nobody in: {}", self.oidc.issuer, refused.words()))
            .help("compare --client-id, --scope and --resource with what the provider knows of mq")
    }

    fn cannot(&self, what: &str) -> Failure {
        Failure::usage(format!("{} knows nothing of {what}", self.oidc.issuer))
    }
}

impl Refused {
    /// What a provider says, without what would move a terminal's cursor.
    fn words(&self) -> String {
        let Self { error, error_description } = self;
        let text = match error_description {
            Some(description) => format!("{description} ({error})"),
            None => error.clone(),
        };
        visible(&text)
    }
}

fn visible(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(512).collect()
}

fn kept(granted: Granted) -> Tokens {
    let seconds = granted.expires_in.map(|seconds| seconds.min(u64::from(u32::MAX)));
    let expires = seconds.and_then(|seconds| Timestamp::now().checked_add(Duration::from_secs(seconds)).ok());
    Tokens { access: granted.access_token, expires, refresh: granted.refresh_token, client_secret: None }
}

fn over(why: &str) -> Failure {
    Failure::new(Exit::Denied, format!("the token has ended, and there is no other one: {why}"))
        .help("log in again with `mq login --oidc`")
}

fn unreached(issuer: &str, error: &reqwest::Error) -> Failure {
    use std::error::Error;
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    Failure::new(Exit::Unreachable, format!("cannot reach the identity provider {issuer}: {innermost}"))
        .help("correct the issuer with --issuer URL, or the network; --ca FILE trusts its certificate")
}

/// The URL, when what is sent there can be read by nobody on the way.
fn safe(text: &str) -> Outcome<Url> {
    let url = Url::parse(text);
    let url = url.map_err(|error| Failure::usage(format!("`{}` is not a URL: {error}", visible(text))))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_here =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if url.scheme() == "https" || (url.scheme() == "http" && is_here) {
        return Ok(url);
    }
    let message = format!("passwords and tokens go to `{}` for everybody to read", visible(text));
    Err(Failure::usage(message).help("the identity provider has to be reached over https"))
}

async fn read<T: DeserializeOwned>(mut answer: reqwest::Response, url: &str) -> Outcome<T> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreached(url, &error))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Failure::failed(format!("the answer of {url} is larger than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    // The parser would show what it has read, tokens among it.
    serde_json::from_slice(&body).map_err(|error| {
        let place = (error.line(), error.column());
        let message =
            format!("{url} says something else than it should, at line {} column {}", place.0, place.1);
        Failure::failed(message).help("is it a provider of OpenID Connect?")
    })
}

fn form_of(fields: &[(&str, &str)]) -> String {
    // The only encoder of forms that is at hand encodes the query of a URL.
    let mut url = Url::parse("http://form/").ok();
    if let Some(url) = &mut url {
        url.query_pairs_mut().extend_pairs(fields);
    }
    url.and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

fn encoded(text: &str) -> String {
    form_of(&[("", text)]).trim_start_matches('=').to_owned()
}

/// 64 characters that nobody can guess (RFC 7636, 4.1).
fn unguessable() -> String {
    let part = || uuid::Uuid::new_v4().simple().to_string();
    part() + &part()
}

/// What opens a page, in the order in which it is tried. That there is none is no error: the page is named.
fn open_browser(url: &Url) {
    let chosen = crate::env::text(crate::env::BROWSER);
    let programs = chosen.into_iter().chain(["xdg-open", "open"].map(str::to_owned));
    for program in programs {
        let mut command = Command::new(program);
        command.arg(url.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if command.spawn().is_ok() {
            return;
        }
    }
}

/// Waits until the browser comes back with a code, and says to the person that this is all.
fn wait_for_code(listener: &TcpListener, state: &str, patience: Duration) -> Outcome<Secret> {
    let failed =
        |error: std::io::Error| Failure::failed(format!("cannot wait for the browser: {}", reason(&error)));
    listener.set_nonblocking(true).map_err(failed)?;
    let end = Instant::now() + patience;
    while Instant::now() < end {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Some(answer) = take_code(stream, state) {
                    return answer;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Err(Failure::new(Exit::TimedOut, "nobody has logged in within 10 minutes").help("try again"))
}

/// What a request of the browser brings; `None`: it is about something else.
fn take_code(mut stream: TcpStream, state: &str) -> Option<Outcome<Secret>> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(REQUEST)).ok()?;
    let mut line = String::new();
    BufReader::new((&stream).take(16 << 10)).read_line(&mut line).ok()?;
    let target = line.split_whitespace().nth(1)?;
    let url = Url::parse("http://127.0.0.1/").ok()?.join(target).ok()?;
    let field =
        |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    // RFC 6749, 10.12: an answer to a question of somebody else is none.
    let is_ours = field("state").as_deref() == Some(state);
    let answer = match (field("code"), field("error")) {
        (Some(code), _) if is_ours => Some(Ok(Secret::new(code))),
        (_, Some(error)) if is_ours => {
            let refused = Refused { error, error_description: field("error_description") };
            Some(Err(Failure::new(Exit::Denied, format!("the provider lets nobody in: {}", refused.words()))))
        }
        _ => None,
    };
    let (status, words) = match &answer {
        Some(Ok(_)) => ("200 OK", "Done: this page can be closed."),
        Some(Err(_)) => ("200 OK", "The provider has refused. The terminal says more."),
        None => ("404 Not Found", "There is nothing here."),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\nconnection: close\r\n");
    // A browser that has gone has still brought its code.
    let _ = write!(stream, "{head}content-length: {}\r\n\r\n{words}", words.len());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_over_https_or_stay_on_this_machine() {
        for url in
            ["https://id.example.org/x", "http://127.0.0.1:3000", "http://localhost/x", "http://[::1]:3"]
        {
            assert!(safe(url).is_ok(), "{url}");
        }
        for url in
            ["http://id.example.org", "ftp://127.0.0.1", "id.example.org", "http://localhost.example.org"]
        {
            assert!(safe(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_form_is_encoded_as_a_form() {
        assert_eq!(form_of(&[("scope", "a b"), ("secret", "x&y=%")]), "scope=a+b&secret=x%26y%3D%25");
        assert_eq!(encoded("a:b c"), "a%3Ab+c");
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let now = Timestamp::UNIX_EPOCH;
        let tokens =
            |expires| Tokens { access: Secret::new("a"), expires, refresh: None, client_secret: None };
        assert!(!tokens(None).is_due(now));
        assert!(!tokens(Some(now + Duration::from_secs(61))).is_due(now));
        assert!(tokens(Some(now + Duration::from_secs(59))).is_due(now));
        assert!(tokens(Some(now - Duration::from_secs(1))).is_due(now));
    }

    #[test]
    fn the_browser_brings_the_code_of_its_own_question_alone() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let visit = move |target: &str| {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET {target} HTTP/1.1\r\n\r\n").unwrap();
            let mut said = String::new();
            let _ = stream.read_to_string(&mut said);
            said
        };
        let visitor = std::thread::spawn(move || {
            assert!(visit("/favicon.ico").starts_with("HTTP/1.1 404"));
            assert!(visit("/?code=stolen&state=other").starts_with("HTTP/1.1 404"));
            assert!(visit("/?code=a%2Fb&state=mine").starts_with("HTTP/1.1 200"));
        });
        let code = wait_for_code(&listener, "mine", Duration::from_secs(20)).unwrap();
        visitor.join().unwrap();
        assert_eq!(code.expose(), "a/b");
    }
}
