//! What `mq` asks the `mq` of another machine, and how that answers: lines of JSON over the standard streams of
//! `mq agent`, which `ssh` carries.
//!
//! A question is `{"id": 1, "ask": {...}}` and its answer `{"id": 1, "done": ...}` or `{"id": 1, "failed":
//! {...}}`. Questions are worked on at the same time and answered in whatever order they are done. The agent
//! holds the lock of the fleet for whoever asked for it, and ends, and with it the lock, when its input does or
//! when nothing was asked for [`SILENCE`]. What it was doing to a node is done to its end by the node itself.

use std::{
    collections::BTreeMap,
    net::{TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use mq_model::{
    admin::Runtime,
    config::{DaemonConfig, MeshTls},
    manifest::Supervision,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    sync::{mpsc, oneshot},
    task::LocalSet,
};

use super::{
    Backend, Order,
    archive::{self, Places},
    authority::{self, Signed},
    local::{Host, Local, create_private},
    lock::Lock,
    plan::Leaving,
    service::{self, Manager},
};
use crate::{
    args::Global,
    exit::Exit,
    failure::{Failure, Outcome, reason},
    output::Output,
};

/// The version of this protocol: both ends come from one build, so that it only tells a mistake.
pub const PROTOCOL: u32 = 1;
/// The longest line of either side.
const MAX_LINE: u64 = 16 << 20;
/// Questions under way of one agent; more wait unread.
const MAX_UNDER_WAY: usize = 64;
/// After so much silence an agent ends, and gives the lock back.
pub const SILENCE: Duration = Duration::from_secs(60);
/// How often whoever asks says that it is still there.
const SIGN: Duration = Duration::from_secs(15);
/// How long another machine may take to answer a connection.
const REACH: Duration = Duration::from_secs(3);
/// Bytes of free space that a machine with nodes has to have.
const MIN_FREE: u64 = 256 << 20;
/// Open files that a node must be allowed to have.
const MIN_FILES: u64 = 4_096;

/// What is asked. Each says what the answer is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// [`Facts`].
    Hello,
    /// Nothing.
    Sign,
    /// The [`Entry`](super::entry::Entry) of the node.
    Entry { node: String },
    /// Nothing, once the fleet is locked for `by`.
    Lock { command: String, by: String },
    /// The configurations of the nodes by name.
    Kept,
    /// The names of the nodes.
    Nodes,
    /// The runtimes of the nodes.
    Runtimes,
    /// The nodes that are wanted here, and those that are here.
    Observe(Vec<DaemonConfig>),
    /// All problems in words, one for each.
    Problems { starts: Vec<(DaemonConfig, Option<Runtime>)>, reach: Vec<(String, u16)> },
    /// What is known of the node's certificate.
    Held { node: String, tls: MeshTls },
    /// A key's public half.
    NewKey { node: String, tls: MeshTls },
    /// Nothing.
    Accept { node: String, tls: MeshTls, signed: Signed },
    /// Whether the node was told something new of whom to believe.
    Trust { node: String, tls: MeshTls, ca: String },
    /// The certificates that lie at the node.
    Certificates { node: Box<DaemonConfig> },
    /// What the node needs for clients that speak TLS, when some do.
    Wish { node: Box<DaemonConfig> },
    /// Nothing.
    AcceptForClients { node: Box<DaemonConfig>, ca: String, signed: Option<Signed> },
    /// The runtime of the node.
    Start { node: Box<DaemonConfig>, deadline: Duration },
    /// The runtime of the node.
    WaitReady { node: String, deadline: Duration },
    /// How it ended.
    Stop { node: String, deadline: Duration },
    /// Whether there was anybody to ask.
    AskToStop { node: String },
    /// How it ended.
    AwaitStop { node: String, deadline: Duration },
    /// The report.
    Report { node: String, depth: bool },
    /// What it holds.
    Order { node: String, order: Order },
    /// What it holds.
    Holds { node: String },
    /// Nothing.
    NoteLeaving { node: String, leaving: Option<Leaving> },
    /// Where the data is.
    Retire { node: String, retain: Duration },
    /// Lines.
    LastWords { node: String },
    /// Lines as one text.
    Log { node: String, lines: Option<u32> },
    /// Nothing, once what has arrived for the node is in its place.
    Adopt { state: PathBuf, store: PathBuf, checksum: String },
    /// Nothing.
    Sweep { now: Timestamp },
    /// Nothing.
    Purge,
}

/// What a machine says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    pub protocol: u32,
    /// The version of the daemon that nodes would be started from.
    pub version: Option<String>,
    /// The fleet's directory there.
    pub directory: PathBuf,
    /// The time there.
    pub now: Timestamp,
    /// Who keeps nodes running: `system`, `user`, `keeper` or `nobody`.
    pub manager: String,
    /// Whether somebody starts them when the machine boots.
    pub starts_at_boot: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    id: u64,
    ask: Ask,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Done(Value),
    Failed { exit: u8, message: String, help: Option<String> },
}

#[derive(Debug, Serialize, Deserialize)]
struct Reply {
    id: u64,
    #[serde(flatten)]
    answer: Answer,
}

/// How an agent was started.
#[derive(Clone, Debug)]
pub struct Setup {
    pub fleet: String,
    /// The fleet's directory.
    pub directory: PathBuf,
    /// The folder with the daemon that nodes are started from.
    pub release: PathBuf,
    pub supervision: Supervision,
}

/// Answers until the input ends or nobody has asked anything for `silence`.
pub async fn serve(
    setup: Setup,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + 'static,
    silence: Duration,
) -> Outcome {
    LocalSet::new().run_until(answer_all(setup, input, output, silence)).await
}

async fn answer_all(
    setup: Setup,
    input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin + 'static,
    silence: Duration,
) -> Outcome {
    let agent = Rc::new(Agent::new(setup)?);
    let mut input = BufReader::new(input);
    // The channel is the bound on what is under way: an answer has its place before the question is read.
    let (replies, mut due) = mpsc::channel::<Reply>(MAX_UNDER_WAY);
    let writing = tokio::task::spawn_local(async move {
        while let Some(reply) = due.recv().await {
            if write_line(&mut output, &reply).await.is_err() {
                return;
            }
        }
    });
    loop {
        let Ok(place) = replies.clone().reserve_owned().await else { return Ok(()) };
        let line = match tokio::time::timeout(silence, read_line(&mut input)).await {
            // Whoever asked is gone, and told nobody.
            Err(_) | Ok(Ok(None)) => break,
            Ok(line) => line?.unwrap_or_default(),
        };
        let Question { id, ask } = serde_json::from_slice(&line)
            .map_err(|error| Failure::failed(format!("the agent was asked nonsense: {error}")))?;
        let agent = Rc::clone(&agent);
        tokio::task::spawn_local(async move {
            let answer = match agent.answer(ask).await {
                Ok(value) => Answer::Done(value),
                Err(Failure { exit, message, help, .. }) => {
                    Answer::Failed { exit: exit.code(), message, help }
                }
            };
            place.send(Reply { id, answer });
        });
    }
    writing.abort();
    Ok(())
}

/// The machine that is asked.
struct Agent {
    local: Local,
    setup: Setup,
    manager: Option<Manager>,
    output: Output,
    lock: std::cell::RefCell<Option<Lock>>,
}

impl Agent {
    fn new(setup: Setup) -> Outcome<Self> {
        let manager = Manager::choose(setup.supervision)?;
        let is_keeping = manager.is_none() && setup.supervision == Supervision::Auto;
        let host = Host { release: setup.release.clone(), manager, is_keeping };
        let local = Local::of_host(&setup.fleet, setup.directory.clone(), host);
        let output = Output::new(&Global { quiet: true, ..Global::default() });
        Ok(Self { local, setup, manager, output, lock: std::cell::RefCell::default() })
    }

    async fn answer(&self, ask: Ask) -> Outcome<Value> {
        let Self { local, output, .. } = self;
        match ask {
            Ask::Hello => done(self.facts().await?),
            Ask::Sign => done(()),
            Ask::Entry { node } => done(local.entry(&node)),
            Ask::Lock { command, by } => {
                create_private(&self.setup.directory)?;
                let lock = Lock::take(&self.setup.directory, &self.setup.fleet, &command, &by)?;
                *self.lock.borrow_mut() = Some(lock);
                done(())
            }
            Ask::Kept => done(local.kept().await?),
            Ask::Nodes => done(Backend::nodes(local).await?),
            Ask::Runtimes => done(local.runtimes().await?),
            Ask::Observe(nodes) => done(local.observe(&nodes).await?),
            Ask::Problems { starts, reach } => done(self.problems(&starts, reach).await),
            Ask::Held { node, tls } => done(authority::held(&local.state(&node), &tls)?),
            Ask::NewKey { node, tls } => {
                create_private(&local.state(&node))?;
                done(authority::new_key(&local.state(&node), &tls)?)
            }
            Ask::Accept { node, tls, signed } => {
                authority::accept(&local.state(&node), &tls, &signed)?;
                done(local.hand_over(&node).await?)
            }
            Ask::Trust { node, tls, ca } => {
                let is_new = authority::trust(&local.state(&node), &tls, &ca)?;
                if is_new {
                    local.hand_over(&node).await?;
                }
                done(is_new)
            }
            Ask::Certificates { node } => done(local.certificates(&node).await?),
            Ask::Wish { node } => {
                create_private(&local.state(&node.node))?;
                done(authority::wish(&node, &local.state(&node.node))?)
            }
            Ask::AcceptForClients { node, ca, signed } => {
                authority::accept_for_clients(&node, &local.state(&node.node), &ca, signed.as_ref())?;
                // One that runs reads them as its own user.
                done(local.hand_over(&node.node).await?)
            }
            Ask::Start { node, deadline } => done(local.start(&node, deadline, output).await?),
            Ask::WaitReady { node, deadline } => done(local.wait_ready(&node, deadline, output).await?),
            Ask::Stop { node, deadline } => done(local.stop(&node, deadline, output).await?),
            Ask::AskToStop { node } => done(local.ask_to_stop(&node).await?),
            Ask::AwaitStop { node, deadline } => done(local.await_stop(&node, deadline, output).await?),
            Ask::Report { node, depth } => done(local.report(&node, depth).await?),
            Ask::Order { node, order } => done(local.order(&node, order).await?),
            Ask::Holds { node } => done(local.holds(&node).await?),
            Ask::NoteLeaving { node, leaving } => done(local.note_leaving(&node, leaving).await?),
            Ask::Retire { node, retain } => done(local.retire(&node, retain).await?),
            Ask::LastWords { node } => done(local.last_words(&node).await),
            Ask::Log { node, lines } => {
                let said = local.log(&node, lines).await?;
                done(String::from_utf8_lossy(&said))
            }
            Ask::Adopt { state, store, checksum } => {
                done(archive::adopt(&Places { state, store }, &checksum)?)
            }
            Ask::Sweep { now } => done(local.sweep(now).await?),
            Ask::Purge => {
                local.purge().await?;
                // The last fleet takes the folder of all fleets with it, and the user that its nodes ran as.
                let is_last =
                    self.setup.directory.parent().is_some_and(|all| std::fs::remove_dir(all).is_ok());
                if is_last && self.manager == Some(Manager::System) {
                    service::remove_daemon_user().await;
                }
                done(())
            }
        }
    }

    async fn facts(&self) -> Outcome<Facts> {
        let manager = match self.manager {
            Some(Manager::System) => "system",
            Some(Manager::User) => "user",
            None if self.setup.supervision == Supervision::Auto => "keeper",
            None => "nobody",
        };
        Ok(Facts {
            protocol: PROTOCOL,
            version: self.local.version().await?,
            directory: self.setup.directory.clone(),
            now: Timestamp::now(),
            manager: manager.into(),
            starts_at_boot: self.manager.is_some() || has_cron().await,
        })
    }

    /// Everything that stands in the way, not only the first of it.
    async fn problems(
        &self,
        starts: &[(DaemonConfig, Option<Runtime>)],
        reach: Vec<(String, u16)>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let starts: Vec<_> = starts.iter().map(|(node, held)| (node, held.as_ref())).collect();
        if !starts.is_empty() {
            problems.extend(resources(&self.setup.directory));
            if let Some(manager) = self.manager {
                problems.extend(manager.problems().await);
            }
            problems.extend(self.local.preflight(&starts).await.err().map(|failure| failure.message));
        }
        let tried = tokio::task::spawn_blocking(move || {
            reach.iter().filter_map(|(host, port)| unreached(host, *port)).collect::<Vec<_>>()
        });
        problems.extend(tried.await.unwrap_or_default());
        problems
    }
}

async fn has_cron() -> bool {
    let asked = tokio::process::Command::new("crontab").arg("-l").stdin(std::process::Stdio::null()).output();
    asked.await.is_ok()
}

/// What the machine has too little of.
fn resources(directory: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let existing = directory.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"));
    if let Ok(found) = rustix::fs::statvfs(existing) {
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if free < MIN_FREE {
            problems.push(format!(
                "{} has {} free, and a node takes at least {}; make room",
                existing.display(),
                crate::shape::bytes(free),
                crate::shape::bytes(MIN_FREE)
            ));
        }
    }
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    if let Some(files) = files.filter(|files| *files < MIN_FILES) {
        problems.push(format!(
            "a process may open {files} files there, and a node takes at least {MIN_FILES}; raise `nofile` in \
             /etc/security/limits.conf"
        ));
    }
    problems
}

/// Why there is no way to a port of another machine. One on which nobody listens is reached all the same.
fn unreached(host: &str, port: u16) -> Option<String> {
    let failed = |why: &str| Some(format!("it does not reach {host}:{port}: {why}"));
    let addresses: Vec<_> = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => return failed(&reason(&error)),
    };
    let mut why = "its name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, REACH) {
            Ok(_) => return None,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return None,
            Err(error) => why = reason(&error),
        }
    }
    failed(&why)
}

fn done(value: impl Serialize) -> Outcome<Value> {
    serde_json::to_value(value).map_err(|error| Failure::failed(format!("cannot answer: {error}")))
}

async fn write_line(output: &mut (impl AsyncWrite + Unpin), line: &impl Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line).map_err(std::io::Error::other)?;
    text.push(b'\n');
    output.write_all(&text).await?;
    output.flush().await
}

/// The next line; `None` when there is none.
async fn read_line(input: &mut (impl AsyncBufReadExt + Unpin)) -> Outcome<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = input.take(MAX_LINE).read_until(b'\n', &mut line).await;
    read.map_err(|error| Failure::failed(format!("cannot read a line: {}", reason(&error))))?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() as u64 + 1 >= MAX_LINE => {
            Err(Failure::failed(format!("a line of the agent is longer than {MAX_LINE} bytes")))
        }
        // Cut off in the middle: whoever wrote it is gone.
        Some(_) => Ok(None),
    }
}

/// The other end: asks an agent.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The machine, for messages.
    host: String,
    questions: mpsc::Sender<Question>,
    waiting: Waiting,
    next: Arc<AtomicU64>,
}

/// Who waits for an answer; `Err`: there will be none, and why.
type Waiting = Arc<Mutex<Result<BTreeMap<u64, oneshot::Sender<Answer>>, String>>>;

impl Asker {
    /// Asks over these streams from now on. `ended` says why there are no more answers, once there are none.
    pub fn new(
        host: String,
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
        ended: impl Future<Output = String> + Send + 'static,
    ) -> Self {
        let waiting: Waiting = Arc::new(Mutex::new(Ok(BTreeMap::new())));
        let (questions, due) = mpsc::channel(MAX_UNDER_WAY);
        tokio::spawn(write_questions(output, due));
        tokio::spawn(read_answers(BufReader::new(input), Arc::clone(&waiting), ended));
        Self { host, questions, waiting, next: Arc::default() }
    }

    /// What the agent answers.
    ///
    /// # Errors
    ///
    /// What went wrong there, or that the machine is out of reach.
    pub async fn ask<T: DeserializeOwned>(&self, ask: Ask) -> Outcome<T> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        match &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Ok(waiting) => waiting.insert(id, answer),
            Err(why) => return Err(self.lost(why)),
        };
        // When nobody takes it any more, the answer below says why.
        let _ = self.questions.send(Question { id, ask }).await;
        match answered.await {
            Ok(Answer::Done(value)) => serde_json::from_value(value).map_err(|error| {
                Failure::failed(format!("cannot understand the answer of {}: {error}", self.host))
            }),
            Ok(Answer::Failed { exit, message, help }) => {
                let exit = Exit::ALL.into_iter().find(|known| known.code() == exit).unwrap_or(Exit::Failed);
                let failure = Failure::new(exit, format!("{}: {message}", self.host));
                Err(help.into_iter().fold(failure, |failure, help| failure.help(help)))
            }
            Err(_) => {
                let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let why = waiting.as_ref().err().map_or("", |why| why.as_str());
                Err(self.lost(why))
            }
        }
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::new(Exit::Unreachable, format!("{}: its agent has ended: {why}", self.host))
            .help("look after the machine and its network, then run the same command again")
    }
}

async fn write_questions(mut output: impl AsyncWrite + Unpin, mut due: mpsc::Receiver<Question>) {
    loop {
        let question = match tokio::time::timeout(SIGN, due.recv()).await {
            Ok(Some(question)) => question,
            Ok(None) => return,
            // Nobody waits for this answer.
            Err(_) => Question { id: u64::MAX, ask: Ask::Sign },
        };
        if write_line(&mut output, &question).await.is_err() {
            return;
        }
    }
}

async fn read_answers(
    mut input: impl AsyncBufReadExt + Unpin,
    waiting: Waiting,
    ended: impl Future<Output = String>,
) {
    while let Ok(Some(line)) = read_line(&mut input).await {
        // What cannot be understood is an answer to nobody; a machine that says only such things is lost.
        let Ok(Reply { id, answer }) = serde_json::from_slice(&line) else { break };
        if let Ok(waiting) = &mut *waiting.lock().unwrap_or_else(PoisonError::into_inner)
            && let Some(asked) = waiting.remove(&id)
        {
            // Whoever asked may have given up.
            let _ = asked.send(answer);
        }
    }
    let why = ended.await;
    *waiting.lock().unwrap_or_else(PoisonError::into_inner) = Err(why);
}

/// Asks for how far two clocks are apart at least: the time there, when it was asked, and when it answered.
pub fn skew(there: Timestamp, asked: Timestamp, took: Duration) -> Duration {
    let apart = there.duration_since(asked).unsigned_abs();
    let ahead = there > asked;
    // In the time between the clock there may have gone on by so much.
    if ahead { apart.saturating_sub(took) } else { apart }
}

/// How long something took, and what came of it.
pub async fn timed<T>(what: impl Future<Output = T>) -> (T, Duration) {
    let begin = Instant::now();
    let result = what.await;
    (result, begin.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(directory: &Path) -> Setup {
        Setup {
            fleet: "f".into(),
            directory: directory.join("f"),
            release: directory.join("release"),
            supervision: Supervision::None,
        }
    }

    fn run<T>(what: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(what)
    }

    /// An agent in memory, and who asks it; the agent's end is the last of the three.
    fn pair(directory: &Path, silence: Duration) -> (Asker, impl Future<Output = Outcome>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (near_input, near_output) = tokio::io::split(near);
        let (far_input, far_output) = tokio::io::split(far);
        let serving = serve(setup(directory), far_input, far_output, silence);
        let asker = Asker::new("h1".into(), near_input, near_output, async { "gone".to_owned() });
        (asker, serving)
    }

    #[test]
    fn questions_are_answered_and_failures_say_which_host() {
        let directory = tempfile::tempdir().unwrap();
        run(async {
            let (asker, serving) = pair(directory.path(), SILENCE);
            let asking = async {
                assert_eq!(asker.ask::<Vec<String>>(Ask::Nodes).await.unwrap(), Vec::<String>::new());
                let failure = asker.ask::<Value>(Ask::Holds { node: "node-1".into() }).await.unwrap_err();
                assert_eq!(failure.exit, Exit::Unreachable);
                assert_eq!(failure.message, "h1: the node `node-1` does not run");
            };
            tokio::select! {
                () = asking => {}
                ended = serving => panic!("{ended:?}"),
            }
        });
    }

    #[test]
    fn a_lock_is_held_until_the_agent_has_heard_nothing_for_a_while() {
        let directory = tempfile::tempdir().unwrap();
        let lock = |by: &str| Ask::Lock { command: "mq deploy".into(), by: by.into() };
        run(async {
            let (first, serving) = pair(directory.path(), SILENCE);
            let (second, other) = pair(directory.path(), Duration::from_secs(3_600));
            let contest = async {
                first.ask::<()>(lock("ana@laptop")).await.unwrap();
                let failure = second.ask::<()>(lock("bob@desk")).await.unwrap_err();
                assert_eq!(failure.exit, Exit::Conflict);
                assert!(failure.message.contains("ana@laptop"), "{failure}");
            };
            let (mut serving, mut other) = (std::pin::pin!(serving), std::pin::pin!(other));
            tokio::select! {
                () = contest => {}
                ended = &mut serving => panic!("{ended:?}"),
                ended = &mut other => panic!("{ended:?}"),
            }
            // Ana's laptop sleeps: nothing comes from it any more, and the connection stays.
            drop(first);
            tokio::select! {
                ended = &mut serving => ended.unwrap(),
                ended = &mut other => panic!("{ended:?}"),
            }
            tokio::select! {
                locked = second.ask::<()>(lock("bob@desk")) => locked.unwrap(),
                ended = &mut other => panic!("{ended:?}"),
            }
        });
    }

    #[test]
    fn a_connection_that_ends_fails_what_is_under_way_and_what_comes_after() {
        run(async {
            let (near, far) = tokio::io::duplex(1 << 10);
            let (input, output) = tokio::io::split(near);
            let asker = Asker::new("h1".into(), input, output, async { "no route to host".to_owned() });
            let asking = asker.ask::<()>(Ask::Hello);
            drop(far);
            for failure in [asking.await.unwrap_err(), asker.ask::<()>(Ask::Hello).await.unwrap_err()] {
                assert_eq!(failure.exit, Exit::Unreachable);
                assert_eq!(failure.message, "h1: its agent has ended: no route to host");
            }
        });
    }

    #[test]
    fn a_line_has_a_bound() {
        run(async {
            let endless = tokio::io::repeat(b'x');
            let failure = read_line(&mut BufReader::new(endless)).await.unwrap_err();
            assert!(failure.message.contains("longer than"), "{failure}");
            let mut cut_off = &b"{\"id\": 1"[..];
            assert_eq!(read_line(&mut cut_off).await.unwrap(), None);
        });
    }

    #[test]
    fn the_time_that_an_answer_took_is_no_skew() {
        let asked = Timestamp::UNIX_EPOCH;
        let seconds = Duration::from_secs;
        assert_eq!(skew(asked + seconds(1), asked, seconds(2)), Duration::ZERO);
        assert_eq!(skew(asked + seconds(9), asked, seconds(2)), seconds(7));
        assert_eq!(skew(asked - seconds(9), asked, seconds(2)), seconds(9));
    }
}
