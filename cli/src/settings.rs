//! Which fleet a command talks to: flags, then environment, then context.

use std::{
    io::{BufRead, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use mq_model::{
    Dataplane, Secret,
    admin::{Listener, Protocol, Runtime},
    config::{DaemonConfig, ListenerTls},
    mesh::node_name,
    space::DEFAULT_SPACE,
    user::FLEET_ADMIN,
    validate_name,
};
use reqwest::Url;

use crate::{
    args::Global,
    client::{admin::Admin, tls::Trust},
    cluster::forward,
    context::{Access, Context, Contexts, PasswordSource, Place, Store, read_bounded},
    deploy::{
        authority::{admin_files, has_admin},
        entry::{owner, token},
        history::History,
        local::{config_of, node_names, state_of_node},
        ssh::Tunnel,
    },
    env,
    exit::Exit,
    failure::{Failure, Outcome, reason},
    keyring::{Kept, Keyring},
    oidc::{Oidc, Provider},
};

/// The port of AMQP without TLS (IANA).
pub const AMQP_PORT: u16 = 5672;

/// How long a node may take to take a connection, and to say that it serves, before another one is asked.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same where the way leads through the API of a cluster, which has to log in and to find the pod.
const FAR_PATIENCE: Duration = Duration::from_secs(10);

/// The largest `node.json`, password file or other small file that is read.
const MAX_SMALL_FILE: u64 = 64 << 10;

/// What a command needs to know to reach a fleet.
#[derive(Clone, Debug)]
pub struct Settings {
    global: Global,
    contexts: Contexts,
    /// The context in use, with the node that was chosen: one command speaks with one node.
    chosen: OnceLock<Context>,
    /// The way to that node, when it is on another machine and listens on its loopback.
    tunnel: OnceLock<Arc<Way>>,
    /// The first line of stdin, once it has been read as a password.
    typed: OnceLock<Secret>,
    /// The token of the context in use, or why there is none, once that is known.
    token: OnceLock<Outcome<Secret>>,
    /// The password on stdin is not that of whoever gives the command.
    leaves_stdin: bool,
}

/// Who `mq` says it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Anonymous,
    /// The password is sent.
    Plain {
        user: String,
        password: String,
    },
    /// AMQP: that the password is known is proved, and it is not sent (RFC 7677).
    Scram {
        user: String,
        password: String,
    },
    /// AMQP over TLS: who the certificate names that the client shows (SASL EXTERNAL).
    Certificate,
    /// A token of an identity provider, which says whose it is: OAUTHBEARER (RFC 7628), and the password of MQTT.
    Bearer {
        token: String,
    },
}

/// The protocol of a URL, and whether TLS lies below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Amqp,
    Amqps,
    Mqtt,
    Mqtts,
}

impl Scheme {
    pub const ALL: [Self; 4] = [Self::Amqp, Self::Amqps, Self::Mqtt, Self::Mqtts];

    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Amqps => "amqps",
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
        }
    }

    /// The port that IANA has for it.
    pub fn port(self) -> u16 {
        match self {
            Self::Amqp => AMQP_PORT,
            Self::Amqps => 5671,
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
        }
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Self::Amqps | Self::Mqtts)
    }

    pub fn is_mqtt(self) -> bool {
        matches!(self, Self::Mqtt | Self::Mqtts)
    }

    /// The same over TLS.
    pub fn secured(self) -> Self {
        match self {
            Self::Amqp | Self::Amqps => Self::Amqps,
            Self::Mqtt | Self::Mqtts => Self::Mqtts,
        }
    }
}

/// Where and what: one address on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub scheme: Scheme,
    pub host: String,
    pub port: u16,
    pub credentials: Credentials,
    /// The address space to be in, where that is not `default`.
    pub space: Option<String>,
    /// Whom to trust when the scheme has TLS, and what to show.
    pub trust: Trust,
    /// The address; empty when only the connection was asked for.
    pub address: String,
    /// The fleet is one that `mq deploy` runs on this machine, so that is what to suggest.
    pub is_deployed: bool,
    /// What runs there: addresses are called as it calls them.
    pub dataplane: Dataplane,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Certificate => f.write_str("Certificate"),
            Self::Plain { user, .. } => write!(f, "Plain({user}, ***)"),
            Self::Scram { user, .. } => write!(f, "Scram({user}, ***)"),
            Self::Bearer { .. } => f.write_str("Bearer(***)"),
        }
    }
}

impl Credentials {
    /// The user and the password; the user of a token is empty. `None`: there are none.
    pub fn named(&self) -> Option<(&str, &str)> {
        match self {
            Self::Anonymous | Self::Certificate => None,
            Self::Plain { user, password } | Self::Scram { user, password } => Some((user, password)),
            Self::Bearer { token } => Some(("", token)),
        }
    }
}

impl Settings {
    pub fn new(global: Global, contexts: Contexts) -> Self {
        Self {
            global,
            contexts,
            chosen: OnceLock::new(),
            tunnel: OnceLock::new(),
            typed: OnceLock::new(),
            token: OnceLock::new(),
            leaves_stdin: false,
        }
    }

    pub fn of_user(global: Global) -> Outcome<Self> {
        Ok(Self::new(global, Store::of_user()?.load()?))
    }

    /// The name of the context in use.
    pub fn context_name(&self) -> Option<&str> {
        self.global.context.as_deref().or(self.contexts.current.as_deref())
    }

    /// The context in use, with the ports that its fleet has now, and the node of it that answers.
    pub fn context(&self) -> Outcome<Context> {
        if let Some(chosen) = self.chosen.get() {
            return Ok(chosen.clone());
        }
        let context = self.named_context()?;
        let (context, tunnel) = living(context)?;
        if let Some(tunnel) = tunnel {
            // Set once, like the node that it leads to.
            let _ = self.tunnel.set(Arc::new(tunnel));
        }
        Ok(self.chosen.get_or_init(|| context).clone())
    }

    /// Whether the admin API was named by a flag, so that only its node is meant.
    pub fn is_admin_given(&self) -> bool {
        self.global.admin.is_some()
    }

    /// The context in use, with the places where its nodes are now.
    pub fn named_context(&self) -> Outcome<Context> {
        let Some(name) = self.context_name() else {
            return Err(Failure::new(Exit::NotFound, "there is no fleet to talk to")
                .help("deploy one with `mq deploy`, or say where it is with --url amqp://host:port"));
        };
        let context = self.contexts.named(name)?.clone();
        Ok(refreshed(context))
    }

    /// The URL of the admin API.
    pub fn admin(&self) -> Outcome<Url> {
        if let Some(url) = &self.global.admin {
            return http_url(url);
        }
        match self.context()?.admin {
            Some(url) => http_url(&url),
            None => Err(Failure::usage(format!(
                "the context `{}` does not say where the admin API is",
                self.context_name().unwrap_or_default()
            ))
            .help("say it with --admin http://host:port")),
        }
    }

    /// Where `target` is: a bare address in the context's fleet, or an address in an AMQP URL.
    pub fn endpoint(&self, target: &str) -> Outcome<Endpoint> {
        self.endpoint_of(target, &[Scheme::Amqp, Scheme::Amqps])
    }

    /// As [`endpoint`](Self::endpoint), for a command that speaks the protocols of `schemes`.
    pub fn endpoint_of(&self, target: &str, schemes: &[Scheme]) -> Outcome<Endpoint> {
        let (base, address, is_of_context) = match target.split_once("://") {
            // No host: that of the context.
            Some(("mqtt", path)) if path.starts_with('/') && schemes.contains(&Scheme::Mqtt) => {
                let topic = path.get(1..).unwrap_or_default();
                (self.mqtt()?, Some(decoded(topic, target)?), true)
            }
            Some(_) => (peer_url(&with_wildcards(target), schemes)?, None, false),
            None => {
                let (url, is_of_context) = self.amqp()?;
                (url, Some(target.to_owned()), is_of_context)
            }
        };
        let address = match address {
            Some(address) => address,
            // One `/` ends the host; a topic of MQTT may begin with another.
            None => decoded(base.path().strip_prefix('/').unwrap_or_default(), target)?,
        };
        let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.name() == base.scheme());
        let scheme = scheme.unwrap_or(Scheme::Amqp);
        Ok(Endpoint {
            scheme,
            host: host(&base),
            port: base.port().unwrap_or_else(|| scheme.port()),
            credentials: self.credentials(&base, is_of_context, scheme)?,
            space: self.space()?,
            trust: self.trust(),
            address,
            is_deployed: is_of_context && self.fleet_directory().is_some(),
            dataplane: if is_of_context { self.dataplane() } else { Dataplane::default() },
        })
    }

    /// As [`endpoint`](Self::endpoint), for a command that needs an address.
    pub fn address(&self, target: &str) -> Outcome<Endpoint> {
        let endpoint = self.endpoint(target)?;
        if endpoint.address.is_empty() {
            return Err(Failure::usage(format!("`{target}` names no address"))
                .help("write amqp://host:port/address, or a bare address"));
        }
        Ok(endpoint)
    }

    /// As [`address`](Self::address), for a command that speaks MQTT, too.
    pub fn message_address(&self, target: &str) -> Outcome<Endpoint> {
        let endpoint = self.endpoint_of(target, &Scheme::ALL)?;
        if endpoint.address.is_empty() {
            return Err(Failure::usage(format!("`{target}` names no address"))
                .help("write mqtt://host:port/topic, amqp://host:port/address, or a bare address"));
        }
        if endpoint.scheme.is_mqtt() && endpoint.dataplane == Dataplane::Rabbitmq {
            return Err(Failure::usage("RabbitMQ speaks MQTT 3.1.1, and this command speaks 5.0")
                .help("leave `mqtt://` out: the same messages are there over AMQP"));
        }
        Ok(endpoint)
    }

    /// Whom to trust, and what to show: what the flags say, and for a fleet of this machine its own authority.
    pub fn trust(&self) -> Trust {
        let Global { ca, cert, key, insecure, .. } = &self.global;
        let access = self.access().unwrap_or_default();
        let identity = cert.clone().zip(key.clone()).or_else(|| access.certificate.zip(access.key));
        let own = self.fleet_directory().map(|directory| admin_files(&directory).ca);
        let ca = ca.clone().or(access.ca).or_else(|| own.filter(|path| path.is_file()));
        Trust { ca, identity, is_insecure: *insecure, ..Trust::default() }
    }

    /// The same for the admin API, where `mq` is the administrator of a fleet of this machine.
    pub fn admin_trust(&self) -> Trust {
        let trust = self.trust();
        if trust.identity.is_some() || self.is_admin_given() {
            return trust;
        }
        let directory = self.fleet_directory().filter(|directory| has_admin(directory));
        let files = directory.map(|directory| admin_files(&directory));
        Trust { identity: files.map(|files| (files.certificate, files.key)), ..trust }
    }

    /// Where `mq deploy` keeps what is known of the fleet of the context, when it was deployed from this machine.
    fn fleet_directory(&self) -> Option<std::path::PathBuf> {
        self.contexts.named(self.context_name()?).ok()?.deployed_from().map(Path::to_owned)
    }

    /// The URL of the context's fleet for MQTT.
    fn mqtt(&self) -> Outcome<Url> {
        let Some(url) = self.context()?.mqtt else {
            return Err(Failure::usage(format!(
                "the context `{}` does not say where MQTT is",
                self.context_name().unwrap_or_default()
            ))
            .help("write mqtt://host:port/topic"));
        };
        peer_url(&url, &[Scheme::Mqtt, Scheme::Mqtts])
    }

    fn amqp(&self) -> Outcome<(Url, bool)> {
        match &self.global.url {
            Some(url) => Ok((amqp_url(url)?, false)),
            None => {
                let context = self.context()?;
                if context.amqp.is_empty() {
                    let name = self.context_name().unwrap_or_default();
                    return Err(Failure::usage(format!("the context `{name}` does not say where AMQP is"))
                        .help("write mqtt:///topic, or amqp://host:port/address"));
                }
                Ok((amqp_url(&context.amqp)?, true))
            }
        }
    }

    /// The same, for a command about the password on stdin, which is not the one that it logs in with.
    #[must_use]
    pub fn leaving_stdin(&self) -> Self {
        Self { leaves_stdin: true, ..self.clone() }
    }

    /// The address space that a command is about: the one that was named, else that of its user; `None`: `default`.
    pub fn space(&self) -> Outcome<Option<String>> {
        let access = self.access().unwrap_or_default();
        let of_user = |user: &Option<String>| Some(user.as_ref()?.rsplit_once('@')?.1.to_owned());
        let of_flags = self.global.space.clone().or_else(|| of_user(&self.global.user));
        // A user whom a flag names is not of the space of the context's.
        let of_context = match &self.global.user {
            Some(_) => None,
            None => access.space.or_else(|| of_user(&access.user)),
        };
        let Some(space) = of_flags.or(of_context) else { return Ok(None) };
        validate_name(&space).map_err(|error| Failure::usage(format!("the address space: {error}")))?;
        Ok(Some(space).filter(|space| space != DEFAULT_SPACE))
    }

    /// What a user is called in messaging: nobody is let into a space but those who are of it.
    fn user_in_space(&self, user: String) -> Outcome<String> {
        Ok(match self.space()? {
            Some(space) if !user.contains('@') => format!("{user}@{space}"),
            _ => user,
        })
    }

    /// The admin API as the user that the flags and the environment name, if they do.
    pub fn known(&self, admin: Admin) -> Outcome<Admin> {
        match &self.global.user {
            Some(user) => Ok(admin.by(user.clone(), Secret::new(self.password(user)?))),
            None if self.is_admin_given() => Ok(admin),
            None => Ok(match self.credentials_of_context()? {
                Credentials::Bearer { token } => admin.bearing(Secret::new(token)),
                Credentials::Plain { user, password } | Credentials::Scram { user, password } => {
                    admin.by(user, Secret::new(password))
                }
                Credentials::Anonymous | Credentials::Certificate => match self.owner_token() {
                    Some(token) => admin.bearing(token),
                    None => admin,
                },
            }),
        }
    }

    /// Who the context says that commands are, and whom they trust.
    pub fn access(&self) -> Option<Access> {
        Some(self.contexts.named(self.context_name()?).ok()?.access.clone())
    }

    /// The user that the flags and the environment name.
    pub fn user_of_flags(&self) -> Option<&str> {
        self.global.user.as_deref()
    }

    /// The identity provider that the fleet trusts, when it was deployed by this user.
    pub fn issuer_of_fleet(&self) -> Option<String> {
        Some(self.deployed_config()?.authentication.oidc.first()?.issuer.clone())
    }

    /// Who commands are by what the context says.
    fn credentials_of_context(&self) -> Outcome<Credentials> {
        let access = self.access().unwrap_or_default();
        if access.oidc.is_some() {
            let token = self.token.get().cloned().unwrap_or_else(|| Err(nobody_logged_in()))?;
            return Ok(Credentials::Bearer { token: token.expose().to_owned() });
        }
        match access.user {
            Some(user) => Ok(Credentials::Plain { password: self.password(&user)?, user }),
            None => Ok(Credentials::Anonymous),
        }
    }

    /// Sees to it that the token of the context is good for a while, when it has one and is asked for it.
    pub async fn renew(&self) {
        let oidc = self.access().and_then(|access| access.oidc).filter(|_| self.global.user.is_none());
        let Some((oidc, context)) = oidc.zip(self.context_name()) else { return };
        // What went wrong is said by the first that needs the token.
        let _ = self.token.set(current_token(context, &oidc, &self.trust()).await);
    }

    /// What the owner of the node in use gets in with, when the fleet was deployed by this user.
    fn owner_token(&self) -> Option<Secret> {
        let context = self.context().ok()?;
        if let Some(tunnel) = self.tunnel.get() {
            return tunnel.owner();
        }
        let fleet = context.state.as_deref()?;
        let names = node_names(fleet).ok()?.into_iter();
        let mut states = names.map(|name| state_of_node(&fleet.join(name)));
        let is_it = |state: &std::path::PathBuf| {
            runtime(state).and_then(|runtime| place(&runtime)).is_some_and(|place| place.amqp == context.amqp)
        };
        token(&states.find(is_it)?)
    }

    /// Who a client of a fleet of this user is that says nothing of itself: nobody where that is enough, else the
    /// owner of the node.
    fn own_credentials(&self, scheme: Scheme) -> Credentials {
        let is_enough = || {
            let config = self.deployed_config()?;
            let is_local = config.listeners.is_local(scheme.name());
            Some(config.authentication.anonymous.includes(is_local))
        };
        if is_enough().unwrap_or(true) {
            return Credentials::Anonymous;
        }
        self.owner_token().as_ref().map_or(Credentials::Anonymous, owner)
    }

    /// How a node of the fleet of the context is configured; `None`: it was not deployed by this user.
    fn deployed_config(&self) -> Option<DaemonConfig> {
        let directory = self.fleet_directory()?;
        let kept = node_names(&directory).ok()?.into_iter().find_map(|node| config_of(&directory.join(node)));
        kept.or_else(|| {
            let fleet = History::of_fleet(&directory).newest().ok()??.fleet;
            Some(DaemonConfig::from_fleet(&fleet, &node_name(1), "state"))
        })
    }

    /// What runs on the nodes of the fleet of the context.
    fn dataplane(&self) -> Dataplane {
        self.deployed_config().map_or_else(Dataplane::default, |config| config.dataplane)
    }

    /// The same client at another node of the fleet.
    pub fn credentials_at(&self, node: &str, credentials: &Credentials) -> Credentials {
        let is_owner = credentials.named().is_some_and(|(user, _)| user == FLEET_ADMIN);
        let state = self.context().ok().and_then(|context| context.state);
        let other = state.filter(|_| is_owner).and_then(|fleet| token(&state_of_node(&fleet.join(node))));
        other.as_ref().map_or_else(|| credentials.clone(), owner)
    }

    /// The password on stdin; `None`: none was announced.
    pub fn password_of_stdin(&self) -> Outcome<Option<Secret>> {
        if !self.global.password_stdin {
            return Ok(None);
        }
        if let Some(typed) = self.typed.get() {
            return Ok(Some(typed.clone()));
        }
        // What is behind the line is left for the command.
        let mut line = String::new();
        let read = std::io::stdin().lock().take(MAX_SMALL_FILE).read_line(&mut line);
        read.map_err(|error| Failure::file("read the password in", Path::new("stdin"), &error))?;
        let password = Secret::new(line.trim_end_matches(['\r', '\n']));
        if password.is_empty() {
            return Err(
                Failure::usage("there is no password on stdin").help("write it there, and end the line")
            );
        }
        Ok(Some(self.typed.get_or_init(|| password).clone()))
    }

    fn credentials(&self, url: &Url, is_of_context: bool, scheme: Scheme) -> Outcome<Credentials> {
        let from_url = (!url.username().is_empty()).then(|| decoded(url.username(), "the user name"));
        let user = match (from_url, &self.global.user) {
            (Some(user), _) => user?,
            (None, Some(user)) => user.clone(),
            // What the context holds is for its own fleet alone.
            (None, None) if is_of_context => {
                return Ok(match self.credentials_of_context()? {
                    // Who owns the fleet is nobody's tenant.
                    Credentials::Anonymous if self.space()?.is_none() => self.own_credentials(scheme),
                    Credentials::Plain { user, password } => {
                        Credentials::Plain { user: self.user_in_space(user)?, password }
                    }
                    credentials => credentials,
                });
            }
            (None, None) => return Ok(Credentials::Anonymous),
        };
        let password = match url.password() {
            Some(password) => decoded(password, "the password")?,
            None => self.password(&user)?,
        };
        Ok(Credentials::Plain { user: self.user_in_space(user)?, password })
    }

    /// The password that the flags and the environment say.
    pub fn password_of_flags(&self, user: &str) -> Outcome<String> {
        self.said_password()?.ok_or_else(|| no_password(user))
    }

    fn said_password(&self) -> Outcome<Option<String>> {
        if !self.leaves_stdin
            && let Some(typed) = self.password_of_stdin()?
        {
            return Ok(Some(typed.expose().to_owned()));
        }
        if let Some(path) = &self.global.password_file {
            if self.leaves_stdin && is_stdin(path) {
                return Err(Failure::usage("stdin holds the password of the user whom the command is about")
                    .help(format!("say yours in {} or a file", env::PASSWORD)));
            }
            return first_line_of(path, "the password").map(|password| Some(password.expose().to_owned()));
        }
        Ok(env::text(env::PASSWORD))
    }

    fn password(&self, user: &str) -> Outcome<String> {
        if let Some(password) = self.said_password()? {
            return Ok(password);
        }
        let access = self.access().filter(|access| access.user.as_deref() == Some(user));
        match access.and_then(|access| access.password) {
            Some(source) => kept_password(&source, user, self.context_name().unwrap_or_default()),
            None => Err(no_password(user)),
        }
    }
}

fn no_password(user: &str) -> Failure {
    Failure::usage(format!("there is no password for the user `{user}`")).help(format!(
        "say it with --password-file FILE, --password-stdin or in {}, or keep it with `mq login`",
        env::PASSWORD
    ))
}

fn nobody_logged_in() -> Failure {
    Failure::new(Exit::Denied, "nobody is logged in")
        .help("log in with `mq login --oidc`, or leave with `mq logout`")
}

/// The password of a user, where the context says that it is.
fn kept_password(source: &PasswordSource, user: &str, context: &str) -> Outcome<String> {
    let text = match source {
        PasswordSource::File(path) => first_line_of(path, "the password")?,
        PasswordSource::Environment(name) => Secret::new(env::text(name).ok_or_else(|| {
            let message = format!("there is no password for the user `{user}` in {name}");
            Failure::usage(message).help("set the environment variable, or see `mq context show`")
        })?),
        PasswordSource::Command(command) => output_of(command)?,
        PasswordSource::Keyring => match Keyring::of_user()?.find(context)? {
            Some(Kept::Password { user: kept, password }) if kept == user => password,
            _ => {
                let message = format!("the keyring has no password for the user `{user}`");
                return Err(Failure::new(Exit::Denied, message)
                    .help(format!("log in with `mq login --user {user} --password-stdin`")));
            }
        },
    };
    Ok(text.expose().to_owned())
}

/// The first line that a command prints.
fn output_of(command: &str) -> Outcome<Secret> {
    use std::process::{Command, Stdio};
    let failed = |why: &str| {
        Failure::failed(format!("the command that gives the password fails: {why}"))
            .help(format!("see that `{command}` works in a shell"))
    };
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&reason(&error)))?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        let mut output = std::io::BufReader::new(output.take(MAX_SMALL_FILE));
        output.read_line(&mut line).map_err(|error| failed(&reason(&error)))?;
        // It may have more to say, and is not to end for want of a listener.
        let _ = std::io::copy(&mut output, &mut std::io::sink());
    }
    let status = child.wait().map_err(|error| failed(&reason(&error)))?;
    let password = Secret::new(line.trim_end_matches(['\r', '\n']));
    match (status.success(), password.is_empty()) {
        (true, false) => Ok(password),
        (true, true) => Err(failed("it prints nothing")),
        (false, _) => Err(failed(&status.to_string())),
    }
}

/// The first line of a file; `-` is stdin.
pub fn first_line_of(path: &Path, what: &str) -> Outcome<Secret> {
    let mut line = String::new();
    let read = if is_stdin(path) {
        std::io::stdin().lock().take(MAX_SMALL_FILE).read_line(&mut line).map(drop)
    } else {
        read_bounded(path, MAX_SMALL_FILE).map(|text| line = text)
    };
    read.map_err(|error| Failure::file(&format!("read {what} in"), path, &error))?;
    Ok(Secret::new(line.lines().next().unwrap_or_default()))
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// The token that is kept for a context, or a newer one when that is about to end.
async fn current_token(context: &str, oidc: &Oidc, trust: &Trust) -> Outcome<Secret> {
    let keyring = Keyring::of_user()?;
    let Some(Kept::Tokens(tokens)) = keyring.find(context)? else { return Err(nobody_logged_in()) };
    if !tokens.is_due(jiff::Timestamp::now()) {
        return Ok(tokens.access);
    }
    // What gets the next token may be good for once only (RFC 9700, 4.14): of commands that run at the same time one
    // spends it, and the others find what has come of that.
    let (of_lock, name) = (keyring.clone(), context.to_owned());
    let lock = tokio::task::spawn_blocking(move || of_lock.lock(&name)).await;
    let _lock = lock.map_err(|error| Failure::failed(format!("cannot wait: {error}")))??;
    let Some(Kept::Tokens(tokens)) = keyring.find(context)? else { return Err(nobody_logged_in()) };
    if !tokens.is_due(jiff::Timestamp::now()) {
        return Ok(tokens.access);
    }
    let renewed = Provider::find(oidc, trust).await?.renew(&tokens).await?;
    let token = renewed.access.clone();
    keyring.keep(context, &Kept::Tokens(renewed))?;
    Ok(token)
}

/// The context with the listeners that its nodes have now.
///
/// A daemon that was restarted by hand, or on another port 0, has other ports than the context remembers;
/// its `node.json` knows better.
fn refreshed(mut context: Context) -> Context {
    let places = context.state.as_deref().map(places).unwrap_or_default();
    match places.as_slice() {
        [] => {}
        [only] => context.stand_in(only),
        [first, ..] => {
            context.stand_in(first);
            context.nodes = places;
        }
    }
    context
}

/// Where the nodes of a fleet of this machine say that they are, those that have died included.
fn places(state: &Path) -> Vec<Place> {
    let names = node_names(state).unwrap_or_default().into_iter();
    let runtimes = names.filter_map(|name| runtime(&state_of_node(&state.join(name))));
    runtimes.filter_map(|runtime| place(&runtime)).collect()
}

/// Where a node is reached; `None` when it does not serve AMQP.
pub fn place(runtime: &Runtime) -> Option<Place> {
    Some(Place {
        name: runtime.node.clone(),
        amqp: listener_url(runtime, Protocol::Amqp)?,
        mqtt: listener_url(runtime, Protocol::Mqtt),
        admin: listener_url(runtime, Protocol::Http),
        via: None,
        pod: None,
    })
}

/// The context with a node that answers in front; any one, so that not every command asks the same. When none
/// does, the first stays: what is said about it is true of all.
fn living(mut context: Context) -> Outcome<(Context, Option<Way>)> {
    let is_far = context.nodes.iter().any(|place| place.via.is_some() || place.pod.is_some());
    if context.nodes.len() < 2 && !is_far {
        return Ok((context, None));
    }
    let start = fastrand::usize(..context.nodes.len());
    let turns: Vec<Place> =
        context.nodes.iter().cycle().skip(start).take(context.nodes.len()).cloned().collect();
    let mut failed = None;
    for place in turns {
        match with_tunnel(place, context.fleet.as_deref()) {
            Ok((place, tunnel)) if is_living(&place) => {
                context.stand_in(&place);
                return Ok((context, tunnel));
            }
            Ok(_) => {}
            Err(failure) => failed = Some(failure),
        }
    }
    match failed {
        Some(failure) => Err(failure),
        None => Ok((context, None)),
    }
}

/// The way to what a node has on its loopback.
#[derive(Debug)]
enum Way {
    Ssh(Tunnel),
    Pod(forward::Way),
}

impl Way {
    fn ports(&self) -> &[u16] {
        match self {
            Self::Ssh(tunnel) => &tunnel.ports,
            Self::Pod(way) => &way.ports,
        }
    }

    /// What the owner of the node gets in with, where that was asked for and is there.
    fn owner(&self) -> Option<Secret> {
        match self {
            Self::Ssh(tunnel) => tunnel.owner.clone(),
            Self::Pod(_) => None,
        }
    }
}

/// The place with URLs that this machine can connect to, and the way that they lead over.
fn with_tunnel(mut place: Place, fleet: Option<&Path>) -> Outcome<(Place, Option<Way>)> {
    if place.via.is_none() && place.pod.is_none() {
        return Ok((place, None));
    }
    let (via, pod) = (place.via.clone(), place.pod.clone());
    let is_loopback =
        |url: &Url| host(url).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    // Without TLS the token of the node's owner could be read on the way.
    let is_far = |url: &Url| is_loopback(url) || url.scheme() == "http";
    let urls = [Some(&mut place.amqp), place.mqtt.as_mut(), place.admin.as_mut()];
    let mut far: Vec<(&mut String, Url)> = urls
        .into_iter()
        .flatten()
        .filter_map(|text| Url::parse(text).ok().filter(&is_far).map(|url| (text, url)))
        .collect();
    if far.is_empty() {
        return Ok((place, None));
    }
    let places: Vec<(String, u16)> =
        far.iter().map(|(_, url)| (host(url), url.port_or_known_default().unwrap_or(AMQP_PORT))).collect();
    let fleet = fleet.and_then(|path| path.file_name()?.to_str());
    let way = match (&via, &pod) {
        (Some(via), _) => {
            Way::Ssh(Tunnel::open(via, &places, fleet.map(|fleet| (fleet, place.name.as_str())))?)
        }
        (None, Some(pod)) => {
            let ports: Vec<u16> = places.iter().map(|(_, port)| *port).collect();
            Way::Pod(forward::Way::open(pod, &ports)?)
        }
        (None, None) => return Ok((place, None)),
    };
    for ((text, url), port) in far.iter_mut().zip(way.ports()) {
        **text = format!("{}://127.0.0.1:{port}", url.scheme());
    }
    Ok((place, Some(way)))
}

/// Whether the node serves: by its own word where that can be asked for, else by taking a connection.
fn is_living(place: &Place) -> bool {
    let (url, path) = match &place.admin {
        Some(admin) if admin.starts_with("http:") => (admin, Some("/readyz")),
        // Over TLS it is asked when it is needed: that it takes a connection has to do here.
        Some(admin) => (admin, None),
        None => (&place.amqp, None),
    };
    let patience = if place.pod.is_some() { FAR_PATIENCE } else { PATIENCE };
    let Ok(url) = Url::parse(url) else { return false };
    let (host, port) = (host(&url), url.port_or_known_default().unwrap_or(AMQP_PORT));
    let Ok(addresses) = (host.as_str(), port).to_socket_addrs() else { return false };
    let connected =
        addresses.filter_map(|address| TcpStream::connect_timeout(&address, patience).ok()).next();
    match (connected, path) {
        (Some(stream), Some(path)) => says_ready(stream, &host, path, patience).unwrap_or(false),
        (connected, _) => connected.is_some(),
    }
}

/// A process that hangs takes connections and answers nothing.
fn says_ready(mut stream: TcpStream, host: &str, path: &str, patience: Duration) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.ends_with(b" 200"))
}

/// What a running daemon wrote about itself, when it is there and can be read.
pub fn runtime(state: &Path) -> Option<Runtime> {
    let text = read_bounded(&state.join("node.json"), MAX_SMALL_FILE).ok()?;
    serde_json::from_str(&text).ok()
}

/// Where a node takes clients of a protocol, and how: with TLS or without as in `like`, where there is the choice.
pub fn listener_like(
    listeners: &[Listener],
    protocol: Protocol,
    like: Scheme,
) -> Option<(&Listener, Scheme)> {
    let plain = if protocol == Protocol::Mqtt { Scheme::Mqtt } else { Scheme::Amqp };
    let ways = listeners.iter().filter(|listener| listener.protocol == protocol).flat_map(|listener| {
        let without = (listener.tls != ListenerTls::Always).then_some((listener, plain));
        let with = (listener.tls != ListenerTls::Never).then_some((listener, plain.secured()));
        without.into_iter().chain(with)
    });
    let ways: Vec<_> = ways.collect();
    let alike = ways.iter().find(|(_, scheme)| scheme.is_tls() == like.is_tls());
    alike.or_else(|| ways.first()).copied()
}

/// The URL of a node's listener for one protocol; a wildcard host is reached over loopback.
pub fn listener_url(runtime: &Runtime, protocol: Protocol) -> Option<String> {
    let mut listeners = runtime.listeners.iter().filter(|listener| listener.protocol == protocol);
    let first = listeners.clone().next()?;
    // Without TLS where there is a choice: it is this machine, or the user would have said more.
    let listener = listeners.find(|listener| listener.tls != ListenerTls::Always).unwrap_or(first);
    let scheme = match (protocol, listener.tls == ListenerTls::Always) {
        (Protocol::Amqp, false) => "amqp",
        (Protocol::Amqp, true) => "amqps",
        (Protocol::Mqtt, false) => "mqtt",
        (Protocol::Mqtt, true) => "mqtts",
        (Protocol::MqttWs, _) => "ws",
        (Protocol::Mesh, _) => "mesh",
        (Protocol::Http, false) => "http",
        (Protocol::Http, true) => "https",
    };
    let host = match listener.host.as_str() {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    Some(format!("{scheme}://{host}:{}", listener.port))
}

/// The URL with the `#` of a topic filter as part of its path, where a URL would have its fragment.
fn with_wildcards(url: &str) -> String {
    url.replace('#', "%23")
}

/// Checks the URL of an AMQP peer.
pub fn amqp_url(text: &str) -> Outcome<Url> {
    peer_url(text, &[Scheme::Amqp, Scheme::Amqps])
}

/// Checks the URL of a peer that speaks the protocol of one of `schemes`.
pub fn peer_url(text: &str, schemes: &[Scheme]) -> Outcome<Url> {
    const EXAMPLE: &str = "write it like amqp://127.0.0.1:5672/telemetry";
    let url = Url::parse(text)
        .map_err(|error| Failure::usage(format!("`{}` is not a URL: {error}", masked(text))).help(EXAMPLE))?;
    let refuse =
        |why: &str| Err(Failure::usage(format!("cannot use `{}`: {why}", masked(text))).help(EXAMPLE));
    if !schemes.iter().any(|scheme| scheme.name() == url.scheme()) {
        let names: Vec<&str> = schemes.iter().copied().map(Scheme::name).collect();
        return refuse(&format!("the scheme is `{}`, and this speaks {}", url.scheme(), names.join(", ")));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return refuse("there is no host");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("an address has no `?`; write it as %3F");
    }
    Ok(url)
}

/// Checks the URL of an admin API.
pub fn http_url(text: &str) -> Outcome<Url> {
    let help = "write it like http://127.0.0.1:8080";
    let url = Url::parse(text)
        .map_err(|error| Failure::usage(format!("`{}` is not a URL: {error}", masked(text))).help(help))?;
    if !matches!(url.scheme(), "http" | "https") {
        let why = format!(
            "cannot use `{}`: the scheme is `{}`, and the admin API speaks http and https",
            masked(text),
            url.scheme()
        );
        return Err(Failure::usage(why).help(help));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(Failure::usage(format!(
            "cannot use `{}`: only a host and a port are allowed",
            masked(text)
        ))
        .help(help));
    }
    Ok(url)
}

/// Whether one of the arguments is a URL with a password in it.
pub fn shows_password(arguments: impl Iterator<Item = String>) -> bool {
    let user_info = |argument: &str| {
        let (_, rest) = argument.split_once("://")?;
        let (user_info, _) = rest.split(['/', '?']).next()?.rsplit_once('@')?;
        user_info.split_once(':').map(|(_, password)| !password.is_empty())
    };
    arguments.into_iter().any(|argument| user_info(&argument).unwrap_or(false))
}

/// `text` without what may be a password.
fn masked(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        _ => text.to_owned(),
    }
}

/// The host as it is connected to.
pub fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned()
}

/// Undoes percent-encoding (RFC 3986).
fn decoded(text: &str, what: &str) -> Outcome<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let encoded = tail.first_chunk::<2>().filter(|_| *first == b'%').and_then(hexadecimal);
        match encoded {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{what} is not UTF-8 after percent-decoding")))
}

fn hexadecimal(digits: &[u8; 2]) -> Option<u8> {
    let high = char::from(digits[0]).to_digit(16)?;
    let low = char::from(digits[1]).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(global: Global) -> Settings {
        let mut contexts = Contexts::default();
        let context = Context {
            amqp: "amqp://127.0.0.1:5673".into(),
            mqtt: Some("mqtt://127.0.0.1:1884".into()),
            admin: Some("http://127.0.0.1:8081".into()),
            ..Context::default()
        };
        contexts.adopt("lab", context);
        Settings::new(global, contexts)
    }

    #[test]
    fn a_bare_address_is_in_the_fleet_of_the_context() {
        let endpoint = settings(Global::default()).address("sensors/kitchen").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("127.0.0.1", 5673));
        assert_eq!(endpoint.address, "sensors/kitchen");
        assert_eq!(endpoint.credentials, Credentials::Anonymous);
    }

    #[test]
    fn a_url_needs_no_context_and_may_hold_user_and_password() {
        let settings = Settings::new(Global::default(), Contexts::default());
        let endpoint = settings.address("amqp://ann:a%20b@[::1]/sensors/a%2Fb").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("::1", AMQP_PORT));
        assert_eq!(endpoint.address, "sensors/a/b");
        let plain = Credentials::Plain { user: "ann".into(), password: "a b".into() };
        assert_eq!(endpoint.credentials, plain);
        assert_eq!(format!("{:?}", endpoint.credentials), "Plain(ann, ***)");
    }

    #[test]
    fn a_flag_wins_over_the_context() {
        let global = Global { url: Some("amqp://10.0.0.1".into()), ..Global::default() };
        assert_eq!(settings(global).address("a").unwrap().host, "10.0.0.1");
        let global = Global { admin: Some("http://10.0.0.1:1".into()), ..Global::default() };
        assert_eq!(settings(global).admin().unwrap().as_str(), "http://10.0.0.1:1/");
    }

    #[test]
    fn without_a_context_the_error_says_how_to_get_one() {
        let failure = Settings::new(Global::default(), Contexts::default()).address("a").unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
        assert!(failure.help.unwrap().contains("mq deploy"));
    }

    #[test]
    fn a_url_that_cannot_work_is_refused_with_the_reason() {
        let settings = Settings::new(Global::default(), Contexts::default());
        for (url, why) in [
            ("https://h/a", "the scheme is `https`"),
            ("mqtt://h/a", "the scheme is `mqtt`"),
            ("amqp:///a", "no host"),
            ("amqp://h/a?b", "%3F"),
            ("amqp://h", "names no address"),
        ] {
            let failure = settings.address(url).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(why), "{failure}");
        }
    }

    #[test]
    fn a_node_that_is_dead_or_hangs_is_passed_over() {
        let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let serving = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
        let place = |name: &str, port: u16| Place {
            name: name.into(),
            amqp: format!("amqp://127.0.0.1:{port}"),
            mqtt: None,
            admin: Some(format!("http://127.0.0.1:{port}")),
            via: None,
            pod: None,
        };
        let nodes =
            vec![place("dead", dead), place("hangs", port(&hanging)), place("serves", port(&serving))];
        let wanted = nodes[2].clone();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = serving.accept().unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        });
        let (context, _) = living(Context { nodes, ..Context::default() }).unwrap();
        server.join().unwrap();
        assert_eq!((context.amqp, context.admin), (wanted.amqp, wanted.admin));
    }

    #[test]
    fn a_password_on_the_command_line_is_noticed() {
        let shows = |argument: &str| shows_password(["mq", argument].map(str::to_owned).into_iter());
        for argument in ["amqp://ann:secret@h/a", "--url=amqp://ann:secret@h", "mqtts://a:b@h:8883"] {
            assert!(shows(argument), "{argument}");
        }
        for argument in ["amqp://ann@h/a", "amqp://h:5672/a@b:c", "amqp://h/a", "x:y@z", "amqp://ann:@h"] {
            assert!(!shows(argument), "{argument}");
        }
    }

    #[test]
    fn a_listener_is_reached_as_the_first_one_was() {
        let listener = |protocol, port, tls| Listener {
            name: String::new(),
            protocol,
            host: "127.0.0.1".into(),
            port,
            tls,
        };
        let all = [
            listener(Protocol::Mqtt, 1883, ListenerTls::Never),
            listener(Protocol::Mqtt, 8883, ListenerTls::Always),
            listener(Protocol::Amqp, 5672, ListenerTls::Optional),
        ];
        let found = |listeners: &[Listener], protocol, like| {
            listener_like(listeners, protocol, like).map(|(listener, scheme)| (listener.port, scheme))
        };
        assert_eq!(found(&all, Protocol::Mqtt, Scheme::Amqp), Some((1883, Scheme::Mqtt)));
        assert_eq!(found(&all, Protocol::Mqtt, Scheme::Amqps), Some((8883, Scheme::Mqtts)));
        assert_eq!(found(&all, Protocol::Amqp, Scheme::Amqps), Some((5672, Scheme::Amqps)));
        assert_eq!(found(&all[1..], Protocol::Mqtt, Scheme::Amqp), Some((8883, Scheme::Mqtts)), "no choice");
        assert_eq!(found(&all[..2], Protocol::Amqp, Scheme::Amqp), None);
    }

    #[test]
    fn an_error_never_shows_a_password() {
        let failure = amqp_url("https://ann:secret@h/a").unwrap_err();
        assert!(!failure.message.contains("secret"), "{failure}");
    }
}
