//! Clients that remember everything, and what their memories together say of a fault: whether anything was lost,
//! came twice or came back, and for how long nothing went through.
//!
//! `MQ_TESTS_DIARIES` names a folder where everything that the clients say is kept for people.
//!
//! The clients are programs that know other libraries than ours (`tests/clients/*/remember.py`); they connect
//! again by themselves. All times are those of the machine's monotonic clock, theirs as well as the test's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::daemon::{diaries, report};
use crate::foreign::Library;
use crate::wait::eventually;

/// A moment of the machine's monotonic clock, which all processes share.
pub type Moment = Duration;

/// Now.
pub fn moment() -> Moment {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// A message: who sent it first, and its number there.
pub type Name = (String, u64);

/// What a client has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It may send or receive.
    Attached,
    /// A subscription is confirmed.
    Subscribed,
    Disconnected,
    /// The link was closed by the node, for this reason.
    Detached(String),
    Sent(u64),
    Settled(u64, Fate),
    Got(Name),
    /// It has said that it has taken the message, for good.
    Took(Name),
    Ended,
}

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Accepted,
    Released,
    Modified,
    Rejected,
    /// Settled, and nobody says how.
    Unsaid,
    /// The connection ended before: nobody knows.
    Unknown,
}

/// What a client is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    library: Library,
    role: &'static str,
    name: String,
    servers: Vec<SocketAddr>,
    address: String,
    rate: u32,
    window: u32,
    hold: Duration,
    qos: u8,
}

impl Plan {
    /// A sender, with a program of this library: the servers are those that it connects to, in turn.
    pub fn sender(library: Library, name: &str, servers: &[SocketAddr], address: &str) -> Self {
        Self {
            library,
            role: "sender",
            name: name.to_owned(),
            servers: servers.to_vec(),
            address: address.to_owned(),
            rate: 200,
            window: 100,
            hold: Duration::ZERO,
            qos: 1,
        }
    }

    /// A receiver.
    pub fn receiver(library: Library, name: &str, servers: &[SocketAddr], address: &str) -> Self {
        Self { role: "receiver", ..Self::sender(library, name, servers, address) }
    }

    /// Messages a second; 200 unless it is said.
    #[must_use]
    pub fn rate(self, rate: u32) -> Self {
        Self { rate, ..self }
    }

    /// Messages under way, or the credit of a receiver; 100 unless it is said.
    #[must_use]
    pub fn window(self, window: u32) -> Self {
        Self { window, ..self }
    }

    /// How long a receiver keeps a message before it takes it; not at all unless it is said.
    #[must_use]
    pub fn holding(self, hold: Duration) -> Self {
        Self { hold, ..self }
    }

    /// The same with this QoS of MQTT, where it would be 1.
    #[must_use]
    pub fn qos(self, qos: u8) -> Self {
        Self { qos, ..self }
    }

    /// Starts the client and waits until it may send or receive.
    ///
    /// # Panics
    /// When it does not get so far.
    #[track_caller]
    pub fn start(&self) -> Rememberer {
        let client = self.launch();
        let ready = if self.library.is_mqtt() && self.role == "receiver" {
            Sight::Subscribed
        } else {
            Sight::Attached
        };
        eventually(&format!("{} to be {ready:?}", self.name), || {
            client.sights().iter().any(|(_, sight)| *sight == ready).then_some(())
        });
        client
    }

    /// Starts the client.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn launch(&self) -> Rememberer {
        let mut command = self.library.program("remember.py");
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        let options = json!({
            "role": self.role, "name": self.name, "servers": servers, "address": self.address,
            "rate": self.rate, "window": self.window, "hold": self.hold.as_secs_f64(), "heartbeat": 4,
            "qos": self.qos,
        });
        command.arg(options.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let commands = child.stdin.take().expect("standard input is a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let stderr = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        let sights = Arc::new(Mutex::new(Vec::new()));
        let (seen, name) = (sights.clone(), self.name.clone());
        let mut diary = self.diary();
        let reading = thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // For people: a diary that cannot be written is none.
                let _ = diary.as_mut().map(|diary| writeln!(diary, "{line}"));
                let sight = parse(&line).unwrap_or_else(|| panic!("{name} says: {line}"));
                lock(&seen).push(sight);
            }
        });
        let talk = Arc::new(Mutex::new(String::new()));
        let kept = talk.clone();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut talk = lock(&kept);
                talk.push_str(&line);
                talk.push('\n');
            }
        });
        Rememberer {
            plan: self.clone(),
            child,
            commands: Some(commands),
            sights,
            talk,
            reading: Some(reading),
        }
    }
}

impl Plan {
    fn diary(&self) -> Option<File> {
        let folder = diaries()?;
        Some(File::create(folder.join(&self.name)).expect("MQ_TESTS_DIARIES is a folder"))
    }
}

/// A client that remembers. Dropping it kills it.
#[derive(Debug)]
pub struct Rememberer {
    plan: Plan,
    child: Child,
    commands: Option<ChildStdin>,
    sights: Arc<Mutex<Vec<(Moment, Sight)>>>,
    talk: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

impl Rememberer {
    fn sights(&self) -> MutexGuard<'_, Vec<(Moment, Sight)>> {
        lock(&self.sights)
    }

    /// Messages that a sender knows to be accepted, or that a receiver has taken.
    pub fn count(&self) -> usize {
        let is_one = |sight: &Sight| matches!(sight, Sight::Settled(_, Fate::Accepted) | Sight::Took(_));
        self.sights().iter().filter(|(_, sight)| is_one(sight)).count()
    }

    /// Waits until so many more messages than now have gone through.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn expect_more(&self, more: usize) {
        let enough = self.count() + more;
        eventually(&format!("{more} more messages of {}", self.plan.name), || {
            (self.count() >= enough).then_some(())
        });
    }

    /// What it remembers by now.
    fn so_far(&self) -> Memory {
        Memory { name: self.plan.name.clone(), sights: self.sights().clone() }
    }

    /// Ends the client, a sender after everything has been settled; what it remembers.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn end(mut self) -> Memory {
        let commands = self.commands.take();
        if let Some(mut commands) = commands {
            // Gone already is seen below.
            let _ = commands.write_all(b"end\n");
            eventually(&format!("the end of {}", self.plan.name), || {
                let ended = self.child.try_wait().expect("the client can be waited for");
                ended.map(|status| assert!(status.success(), "{} ended with {status}", self.plan.name))
            });
        }
        if let Some(reading) = self.reading.take() {
            assert!(reading.join().is_ok(), "{} says something else", self.plan.name);
        }
        let sights = std::mem::take(&mut *self.sights());
        assert_eq!(sights.last().map(|(_, sight)| sight), Some(&Sight::Ended), "{}", self.plan.name);
        Memory { name: self.plan.name.clone(), sights }
    }
}

impl Drop for Rememberer {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let sights = self.sights();
            let tail = &sights[sights.len().saturating_sub(8)..];
            report(&format!("---- {} saw last {tail:?}\n{}----", self.plan.name, lock(&self.talk)));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line of a client's.
fn parse(line: &str) -> Option<(Moment, Sight)> {
    let mut words = line.split(' ');
    let (word, at) = (words.next()?, Duration::try_from_secs_f64(words.next()?.parse().ok()?).ok()?);
    let fact = words.next().unwrap_or_default();
    let settled = |fate| fact.parse().ok().map(|number| Sight::Settled(number, fate));
    let name =
        || fact.rsplit_once(':').and_then(|(sender, number)| Some((sender.into(), number.parse().ok()?)));
    let sight = match word {
        "attached" => Sight::Attached,
        "subscribed" => Sight::Subscribed,
        "disconnected" => Sight::Disconnected,
        "detached" => Sight::Detached(fact.to_owned()),
        "sent" => Sight::Sent(fact.parse().ok()?),
        "accepted" => settled(Fate::Accepted)?,
        "released" => settled(Fate::Released)?,
        "modified" => settled(Fate::Modified)?,
        "rejected" => settled(Fate::Rejected)?,
        "unsaid" => settled(Fate::Unsaid)?,
        "unknown" => settled(Fate::Unknown)?,
        "got" => Sight::Got(name()?),
        "took" => Sight::Took(name()?),
        "ended" => Sight::Ended,
        _ => return None,
    };
    Some((at, sight))
}

/// What a client remembers when it has ended.
#[derive(Clone, Debug)]
pub struct Memory {
    name: String,
    sights: Vec<(Moment, Sight)>,
}

impl Memory {
    /// A memory that nobody has, for tests of what is concluded from one.
    #[cfg(test)]
    fn of(name: &str, lines: &str) -> Self {
        let sights = lines.lines().map(|line| parse(line.trim()).expect("a line of a client's"));
        Self { name: name.to_owned(), sights: sights.collect() }
    }

    /// Numbers that the sender knows to be accepted.
    fn accepted(&self) -> BTreeSet<u64> {
        let numbers = self.sights.iter().filter_map(|(_, sight)| match sight {
            Sight::Settled(number, Fate::Accepted) => Some(*number),
            _ => None,
        });
        numbers.collect()
    }

    /// Numbers that were sent more than once.
    fn repeated(&self) -> BTreeSet<u64> {
        let (mut once, mut again) = (BTreeSet::new(), BTreeSet::new());
        for (_, sight) in &self.sights {
            if let Sight::Sent(number) = sight
                && !once.insert(*number)
            {
                again.insert(*number);
            }
        }
        again
    }

    /// Times at which a message got through.
    fn successes(&self) -> impl Iterator<Item = Moment> {
        let is_one = |sight: &Sight| matches!(sight, Sight::Settled(_, Fate::Accepted) | Sight::Got(_));
        self.sights.iter().filter(move |(_, sight)| is_one(sight)).map(|(at, _)| *at)
    }

    /// How often the client had to connect again.
    fn disconnections(&self) -> usize {
        self.sights.iter().filter(|(_, sight)| *sight == Sight::Disconnected).count()
    }

    /// What was under way at a moment: how many messages, and when the last of them was settled, whatever
    /// the outcome; `None`: one never was.
    fn under_way(&self, at: Moment) -> (usize, Option<Moment>) {
        let mut open: BTreeSet<u64> = BTreeSet::new();
        let mut last = Some(at);
        let before = self.sights.partition_point(|(when, _)| *when <= at);
        for (_, sight) in &self.sights[..before] {
            match sight {
                Sight::Sent(number) => drop(open.insert(*number)),
                Sight::Settled(number, _) => drop(open.remove(number)),
                _ => {}
            }
        }
        let count = open.len();
        for (when, sight) in &self.sights[before..] {
            if let Sight::Settled(number, _) = sight
                && open.remove(number)
            {
                last = Some(*when);
            }
        }
        (count, last.filter(|_| open.is_empty()))
    }

    /// Whether any message ever got this fate.
    pub fn has_seen(&self, fate: Fate) -> bool {
        self.sights.iter().any(|(_, sight)| matches!(sight, Sight::Settled(_, seen) if *seen == fate))
    }

    /// Conditions with which links were closed.
    pub fn detachments(&self) -> BTreeSet<String> {
        let conditions = self.sights.iter().filter_map(|(_, sight)| match sight {
            Sight::Detached(condition) => Some(condition.clone()),
            _ => None,
        });
        conditions.collect()
    }
}

/// Clients that send and receive the same messages.
#[derive(Debug)]
pub struct Load {
    pub senders: Vec<Rememberer>,
    pub receivers: Vec<Rememberer>,
    /// Whether each message is for one of the receivers; otherwise each is for all of them.
    pub is_shared: bool,
    /// When something broke.
    pub faults: Vec<Moment>,
    /// Whether an acknowledgement may be lost with the node that got it: see [`Account`].
    pub may_forget: bool,
}

impl Load {
    /// Clients of messages of which each is for one of the receivers.
    pub fn shared(senders: Vec<Rememberer>, receivers: Vec<Rememberer>) -> Self {
        Self { senders, receivers, is_shared: true, faults: Vec::new(), may_forget: false }
    }

    /// Clients of messages that are for every receiver.
    pub fn copied(senders: Vec<Rememberer>, receivers: Vec<Rememberer>) -> Self {
        Self { is_shared: false, ..Self::shared(senders, receivers) }
    }

    /// Waits until so many more messages than now have gone through at each sender, and together at as many
    /// receivers.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn expect_more(&self, more: usize) {
        let received = || self.receivers.iter().map(Rememberer::count).sum::<usize>();
        let enough = received() + more;
        for sender in &self.senders {
            sender.expect_more(more);
        }
        eventually(&format!("{more} more messages received"), || (received() >= enough).then_some(()));
    }

    /// Notes that something breaks now.
    pub fn breaks(&mut self) {
        self.faults.push(moment());
    }

    /// Ends the senders when all of theirs is settled, then the receivers when they have got what was accepted,
    /// or do not get it.
    ///
    /// # Panics
    /// When a client does not end.
    #[track_caller]
    pub fn end(self) -> Account {
        let senders: Vec<Memory> = self.senders.into_iter().map(Rememberer::end).collect();
        let mut account = Account {
            senders,
            receivers: Vec::new(),
            is_shared: self.is_shared,
            faults: self.faults,
            may_forget: self.may_forget,
        };
        let deadline = moment() + LAST_ARRIVAL;
        while moment() < deadline {
            account.receivers = self.receivers.iter().map(Rememberer::so_far).collect();
            if account.settle().lost.is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        account.receivers = self.receivers.into_iter().map(Rememberer::end).collect();
        account
    }
}

/// How long what was accepted may take to arrive after everything else has ended.
const LAST_ARRIVAL: Duration = Duration::from_secs(15);

/// What is said by all that was sent, and all that was received of it.
#[derive(Clone, Debug)]
pub struct Account {
    pub senders: Vec<Memory>,
    pub receivers: Vec<Memory>,
    /// Whether each message is for one of the receivers; otherwise each is for all of them.
    pub is_shared: bool,
    /// When something broke.
    pub faults: Vec<Moment>,
    /// Whether an acknowledgement may be lost with the node that got it. Only those given at least
    /// [`SETTLED`] before a fault then count as known.
    pub may_forget: bool,
}

/// How long before a crash an acknowledgement may still be on its way to the disk.
const SETTLED: Duration = Duration::from_secs(1);

/// How long after a fault what happens is because of it.
const AFTERMATH: Duration = Duration::from_secs(20);

/// Conclusions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Messages whose sender knows that they were accepted.
    pub accepted: usize,
    /// Those of them that a receiver never got.
    pub lost: Vec<(String, Name)>,
    /// Messages that came again although they were sent once and taken.
    pub returned: Vec<(String, Name)>,
    /// Messages that came more than once, by right: they had been sent again, or not been taken.
    pub repeated: usize,
    /// Reconnections of all clients.
    pub reconnections: usize,
    /// The longest time without a success, of the client for which it was longest.
    pub longest_gap: Duration,
    /// Messages that were under way when something broke.
    pub under_way: usize,
    /// How long it took until the last of those was settled; `None`: it never was.
    pub settled_in: Option<Duration>,
}

impl Account {
    /// Draws the conclusions.
    pub fn settle(&self) -> Findings {
        let mut findings = Findings { settled_in: Some(Duration::ZERO), ..Findings::default() };
        self.find_lost(&mut findings);
        self.find_returned(&mut findings);
        for client in self.senders.iter().chain(&self.receivers) {
            findings.reconnections += client.disconnections();
        }
        findings.longest_gap = self.longest_gap();
        for fault in &self.faults {
            for sender in &self.senders {
                let (count, last) = sender.under_way(*fault);
                findings.under_way += count;
                let took = last.map(|last| last.saturating_sub(*fault));
                findings.settled_in = findings.settled_in.zip(took).map(|(one, other)| one.max(other));
            }
        }
        findings
    }

    fn find_lost(&self, findings: &mut Findings) {
        let got = |receiver: &Memory| -> BTreeSet<Name> {
            let names = receiver.sights.iter().filter_map(|(_, sight)| match sight {
                Sight::Got(name) => Some(name.clone()),
                _ => None,
            });
            names.collect()
        };
        let mut groups: Vec<(String, BTreeSet<Name>)> =
            self.receivers.iter().map(|receiver| (receiver.name.clone(), got(receiver))).collect();
        if self.is_shared {
            let all = groups.iter().flat_map(|(_, names)| names.iter().cloned()).collect();
            groups = vec![("all".to_owned(), all)];
        }
        for sender in &self.senders {
            let accepted = sender.accepted();
            findings.accepted += accepted.len();
            for (group, names) in &groups {
                let names_of = accepted.iter().map(|number| (sender.name.clone(), *number));
                let lost = names_of.filter(|name| !names.contains(name));
                findings.lost.extend(lost.map(|name| (group.clone(), name)));
            }
        }
    }

    fn find_returned(&self, findings: &mut Findings) {
        let repeated: BTreeSet<Name> = self
            .senders
            .iter()
            .flat_map(|sender| sender.repeated().into_iter().map(|number| (sender.name.clone(), number)))
            .collect();
        let mut groups: Vec<Vec<&Memory>> = self.receivers.iter().map(|receiver| vec![receiver]).collect();
        if self.is_shared {
            groups = vec![self.receivers.iter().collect()];
        }
        for group in groups {
            let mut sights: Vec<(Moment, &str, &Sight)> = Vec::new();
            for receiver in group {
                sights.extend(receiver.sights.iter().map(|(at, sight)| (*at, receiver.name.as_str(), sight)));
            }
            sights.sort_by_key(|(at, ..)| *at);
            let mut seen = BTreeSet::new();
            let mut taken: BTreeMap<&Name, Moment> = BTreeMap::new();
            for (at, receiver, sight) in sights {
                match sight {
                    Sight::Took(name) => drop(taken.insert(name, at)),
                    Sight::Got(name) if !seen.insert(name) => {
                        let is_known = taken.get(name).is_some_and(|taken| self.is_known(*taken, at));
                        if is_known && !repeated.contains(name) {
                            findings.returned.push((receiver.to_owned(), name.clone()));
                        } else {
                            findings.repeated += 1;
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Whether what was taken at one moment had to be known at the other.
    fn is_known(&self, taken: Moment, back: Moment) -> bool {
        let mut between = self.faults.iter().filter(|fault| **fault + AFTERMATH >= taken && **fault <= back);
        !(self.may_forget && between.any(|fault| taken + SETTLED > *fault))
    }

    /// The longest time without a success around each fault. What is for one of the receivers counts for all
    /// of them.
    fn longest_gap(&self) -> Duration {
        let mut lines: Vec<Vec<Moment>> =
            self.senders.iter().map(|sender| sender.successes().collect()).collect();
        if self.is_shared {
            let mut all: Vec<Moment> = self.receivers.iter().flat_map(Memory::successes).collect();
            all.sort_unstable();
            lines.push(all);
        } else {
            lines.extend(self.receivers.iter().map(|receiver| receiver.successes().collect()));
        }
        let gaps = lines.iter().flat_map(|line| line.windows(2)).filter_map(|pair| {
            let is_of_a_fault =
                self.faults.iter().any(|fault| pair[1] >= *fault && pair[0] <= *fault + AFTERMATH);
            is_of_a_fault.then(|| pair[1].saturating_sub(pair[0]))
        });
        gaps.max().unwrap_or_default()
    }
}

impl Findings {
    /// Asserts that nothing was lost, nothing came back, and all that was under way has been settled.
    ///
    /// # Panics
    /// When it is not so.
    #[track_caller]
    pub fn are_good(&self) {
        assert!(self.accepted > 0, "nothing was sent: {self:#?}");
        assert!(self.lost.is_empty(), "accepted and lost: {self:#?}");
        assert!(self.returned.is_empty(), "taken and back again: {self:#?}");
        assert!(self.settled_in.is_some(), "never settled: {self:#?}");
    }
}

/// A table of what was found, for people. It goes to the real standard error: the runner swallows what
/// successful tests print.
#[derive(Debug, Default)]
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let header = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.to_owned(), rows: vec![header] }
    }

    /// A table of findings.
    pub fn of_faults(title: &str) -> Self {
        Self::new(
            title,
            &[
                "what breaks",
                "accepted",
                "lost",
                "back again",
                "repeated",
                "reconnected",
                "longest gap",
                "its bound",
                "under way",
                "settled in",
            ],
        )
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds what was found of a fault, which is to cause no longer gap than that, if anything is promised.
    pub fn add(&mut self, fault: &str, bound: Option<Duration>, findings: &Findings) {
        self.row(vec![
            fault.to_owned(),
            findings.accepted.to_string(),
            findings.lost.len().to_string(),
            findings.returned.len().to_string(),
            findings.repeated.to_string(),
            findings.reconnections.to_string(),
            milliseconds(findings.longest_gap),
            bound.map_or_else(|| "none".to_owned(), milliseconds),
            findings.under_way.to_string(),
            findings.settled_in.map_or_else(|| "never".to_owned(), milliseconds),
        ]);
    }

    /// Prints the table.
    pub fn print(&self) {
        // A closed standard error loses a table, nothing else.
        let _ = std::io::stderr().write_all(self.text().as_bytes());
    }

    fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
        let mut text = format!("\n{}\n", self.title);
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                let width = width(column).unwrap_or(0);
                let space = if column + 1 == columns { "\n" } else { "  " };
                let _ = if column == 0 {
                    write!(text, "{cell:<width$}{space}")
                } else {
                    write!(text, "{cell:>width$}{space}")
                };
            }
        }
        text
    }
}

/// A time for people.
pub fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(senders: &[&str], receivers: &[&str]) -> Account {
        let memories = |letter: &str, texts: &[&str]| -> Vec<Memory> {
            let numbered = texts.iter().enumerate();
            numbered.map(|(at, text)| Memory::of(&format!("{letter}{at}"), text)).collect()
        };
        Account {
            senders: memories("s", senders),
            receivers: memories("r", receivers),
            is_shared: true,
            faults: vec![Duration::from_secs(10)],
            may_forget: false,
        }
    }

    #[test]
    fn what_was_accepted_and_never_received_is_lost() {
        let sender = "sent 1 0\nsent 1 1\naccepted 2 0\naccepted 2 1";
        let mut account = account(&[sender], &["got 1.5 s0:0\ntook 1.5 s0:0", "got 1.6 s0:1"]);
        assert_eq!(account.settle().lost, []);
        account.is_shared = false;
        let lost = [("r0".to_owned(), ("s0".to_owned(), 1)), ("r1".to_owned(), ("s0".to_owned(), 0))];
        assert_eq!(account.settle().lost, lost);
        account.receivers.pop();
        account.is_shared = true;
        assert_eq!(account.settle().lost, [("all".to_owned(), ("s0".to_owned(), 1))]);
    }

    #[test]
    fn what_was_taken_and_comes_again_is_back_unless_it_was_sent_again() {
        let receivers = ["got 3 s0:0\ntook 3 s0:0", "got 9.5 s0:0"];
        let once = account(&["sent 2 0\naccepted 4 0"], &receivers).settle();
        assert_eq!((once.returned.len(), once.repeated), (1, 0));
        let again = account(&["sent 2 0\nunknown 4 0\nsent 5 0\naccepted 9 0"], &receivers).settle();
        assert_eq!((again.returned.len(), again.repeated), (0, 1));
        let never_taken = account(&["sent 2 0\naccepted 4 0"], &["got 3 s0:0", "got 9 s0:0"]).settle();
        assert_eq!((never_taken.returned.len(), never_taken.repeated), (0, 1));
    }

    #[test]
    fn an_acknowledgement_just_before_a_crash_may_be_forgotten_and_an_older_one_not() {
        for (taken, may_forget, returned) in [("9.9", true, 0), ("9.9", false, 1), ("8", true, 1)] {
            let receiver = format!("got 3 s0:0\ntook {taken} s0:0\ngot 12 s0:0");
            let mut account = account(&["sent 2 0\naccepted 4 0"], &[&receiver]);
            account.may_forget = may_forget;
            assert_eq!(account.settle().returned.len(), returned, "{taken}");
        }
    }

    #[test]
    fn the_gap_is_the_longest_time_without_a_success_around_a_fault() {
        let sender = "accepted 1 0\naccepted 9 1\naccepted 9.75 2\naccepted 11 3\naccepted 11.5 4";
        let findings = account(&[sender], &["got 9.9 s0:0", "got 10.5 s0:1"]).settle();
        assert_eq!(findings.longest_gap, Duration::from_millis(1_250));
    }

    #[test]
    fn what_was_under_way_is_settled_with_its_last_message() {
        let sender = "sent 9 0\nsent 9 1\nsent 9 2\naccepted 9.5 1\nmodified 10.25 0\nsent 10.5 0";
        let unsettled = account(&[sender], &[]).settle();
        assert_eq!((unsettled.under_way, unsettled.settled_in), (2, None));
        let settled = account(&[&format!("{sender}\naccepted 11 2")], &[]).settle();
        assert_eq!((settled.under_way, settled.settled_in), (2, Some(Duration::from_secs(1))));
    }
}
