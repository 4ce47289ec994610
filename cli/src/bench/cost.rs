//! What a run costs the target: CPU time and resident memory, from its admin API or from the process table.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Instant,
};

use super::result::{Cost, CostSource};
use crate::client::admin::Admin;

/// Bytes of a page where the system does not say otherwise in the places read here.
const KIBI: u64 = 1_024;

/// One look at the target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// CPU seconds since the start of the process.
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
}

/// Where to look.
#[derive(Clone, Debug)]
pub enum Probe {
    Admin { admin: Admin, runtime: tokio::runtime::Handle, is_here: bool },
    Process { pid: u32, name: String },
}

impl Probe {
    /// The process on this machine that listens on `to`.
    pub fn of_listener(to: SocketAddr) -> Option<Self> {
        if !is_local(to.ip()) {
            return None;
        }
        let pid = listener(to.port())?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned();
        Some(Self::Process { pid, name })
    }

    /// The node at `to` whose admin API this is. To be called where blocking is allowed.
    pub fn of_admin(admin: Admin, runtime: tokio::runtime::Handle, to: Option<SocketAddr>) -> Self {
        Self::Admin { admin, runtime, is_here: to.is_some_and(|to| is_local(to.ip())) }
    }

    /// Whether the target runs on this machine.
    fn is_here(&self) -> bool {
        match self {
            Self::Admin { is_here, .. } => *is_here,
            Self::Process { .. } => true,
        }
    }

    pub fn source(&self) -> CostSource {
        match self {
            Self::Admin { admin, .. } => CostSource::Admin(admin.place()),
            Self::Process { pid, name } => CostSource::Process { pid: *pid, name: name.clone() },
        }
    }

    /// Looks now; `None` when nobody answers any more.
    pub fn sample(&self) -> Option<Sample> {
        match self {
            Self::Admin { admin, runtime, .. } => {
                let node = runtime.block_on(admin.node()).ok()?;
                Some(Sample { cpu_seconds: node.cpu_seconds, resident_bytes: node.resident_bytes })
            }
            Self::Process { pid, .. } => process(*pid),
        }
    }
}

/// What the measured part cost, from looks before the load, at the beginning, in between and at the end.
#[derive(Clone, Debug)]
pub struct Meter {
    probe: Probe,
    before: Sample,
    begin: Option<Sample>,
    end: Option<Sample>,
    peak: u64,
    /// Of the whole machine, at the beginning and at the end; only where the target is on it.
    machine: Option<(Machine, Option<Machine>)>,
}

/// CPU time of this machine, in seconds since some time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Machine {
    at: Instant,
    /// All processors together, what the host of a virtual machine took included.
    busy: f64,
    /// This process.
    own: f64,
}

impl Meter {
    /// Looks for the first time.
    pub fn new(probe: Probe) -> Option<Self> {
        let before = probe.sample()?;
        Some(Self { probe, before, begin: None, end: None, peak: before.resident_bytes, machine: None })
    }

    pub fn before(&self) -> Sample {
        self.before
    }

    /// The measured part begins.
    pub fn begin(&mut self) {
        self.begin = self.look();
        self.machine = Machine::now().filter(|_| self.probe.is_here()).map(|machine| (machine, None));
    }

    /// The measured part goes on.
    pub fn look(&mut self) -> Option<Sample> {
        let sample = self.probe.sample()?;
        self.peak = self.peak.max(sample.resident_bytes);
        Some(sample)
    }

    /// The measured part ends.
    pub fn end(&mut self) {
        self.end = self.look();
        if let Some((_, end)) = &mut self.machine {
            *end = Machine::now();
        }
    }

    /// Processors that neither this process nor the target used, on average over the measured part.
    pub fn elsewhere_cores(&self) -> Option<f64> {
        let (from, to) = self.machine?;
        let target = self.end?.cpu_seconds - self.begin?.cpu_seconds;
        from.elsewhere(&to?, target)
    }

    /// The cost of `messages` in `seconds`.
    pub fn cost(&self, messages: u64, seconds: f64) -> Option<Cost> {
        let (begin, end) = (self.begin?, self.end?);
        let cpu = end.cpu_seconds - begin.cpu_seconds;
        // A target that was restarted counts from zero again.
        if cpu < 0.0 {
            return None;
        }
        Some(Cost {
            source: self.probe.source(),
            cpu_seconds: cpu,
            cores: if seconds > 0.0 { cpu / seconds } else { 0.0 },
            cpu_us_per_message: (messages > 0).then(|| cpu * 1e6 / messages as f64),
            resident_before: self.before.resident_bytes,
            resident_peak: self.peak,
            resident_after: end.resident_bytes,
        })
    }
}

impl Machine {
    fn now() -> Option<Self> {
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        let all = std::fs::read_to_string("/proc/stat").ok()?;
        let own = std::fs::read_to_string("/proc/self/stat").ok()?;
        Some(Self {
            at: Instant::now(),
            busy: busy_ticks(&all)? as f64 / per_second,
            own: ticks(&own)? as f64 / per_second,
        })
    }

    /// Processors that were busy until `later` with neither this process nor the `target` seconds of the
    /// target.
    fn elsewhere(&self, later: &Self, target: f64) -> Option<f64> {
        let elapsed = later.at.saturating_duration_since(self.at).as_secs_f64();
        let elsewhere = (later.busy - self.busy) - (later.own - self.own) - target;
        (elapsed > 0.0).then(|| (elsewhere / elapsed).max(0.0))
    }
}

/// The ticks of all processors that were not idle (proc(5), `/proc/stat`): user, nice, system, irq,
/// softirq and steal; not idle and iowait, and not guests, which are counted as user already.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6, 7].map(|index| fields.get(index).copied());
    busy.into_iter().flatten().reduce(u64::saturating_add)
}

fn is_local(address: IpAddr) -> bool {
    // An address that a socket can be bound to is one of this machine.
    address.is_loopback() || std::net::UdpSocket::bind((address, 0)).is_ok()
}

/// The process that listens on a TCP port of this machine, when this user may see it.
fn listener(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|path| listening_inode(&std::fs::read_to_string(path).ok()?, port))?;
    let wanted = format!("socket:[{inode}]");
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut files = std::fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        files.any(|file| points_to(&file.path(), &wanted)).then_some(pid)
    })
}

fn points_to(link: &Path, wanted: &str) -> bool {
    std::fs::read_link(link).is_ok_and(|target| target.as_os_str() == wanted)
}

/// The inode of the socket that listens on a port, from a table of the kernel (proc(5), `/proc/net/tcp`).
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        (state == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port)).then_some(inode)
    })
}

/// CPU time and memory of a process (proc(5)).
pub(crate) fn process(pid: u32) -> Option<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Sample { cpu_seconds: cpu_seconds(pid)?, resident_bytes: resident(&status)? })
}

/// The scheduler's own count in nanoseconds, where the kernel keeps it; it lacks threads that have ended.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    ticks(&text).map(|ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// User and system time in ticks: fields 14 and 15, counted behind the name, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system))
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes.saturating_mul(KIBI))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_is_found_among_other_sockets() {
        let table =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1628 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100
   1: 0100007F:1628 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20
   2: 0100007F:1629 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100";
        assert_eq!(listening_inode(table, 0x1628), Some(4711));
        assert_eq!(listening_inode(table, 0x1629), Some(4713));
        assert_eq!(listening_inode(table, 0xc001), None);
        assert_eq!(listening_inode("garbage\nmore : garbage", 1), None);
    }

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn what_others_use_is_what_neither_the_generator_nor_the_target_used() {
        let stat = "cpu  100 1 50 9000 70 2 3 4 0 0\ncpu0 9 9 9 9\n";
        assert_eq!(busy_ticks(stat), Some(160));
        assert_eq!(busy_ticks("cpu0 1 2 3"), None);
        let at = Instant::now();
        let from = Machine { at, busy: 100.0, own: 10.0 };
        let to = Machine { at: at + std::time::Duration::from_secs(10), busy: 115.0, own: 14.0 };
        assert_eq!(from.elsewhere(&to, 6.0), Some(0.5));
        assert_eq!(from.elsewhere(&to, 20.0), Some(0.0), "rounding does not make it negative");
        assert_eq!(from.elsewhere(&from, 0.0), None);
    }

    #[test]
    fn a_listener_of_this_process_is_found_and_costs_something() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let probe = Probe::of_listener(listener.local_addr().unwrap()).expect("this test may see itself");
        assert!(matches!(probe, Probe::Process { pid, .. } if pid == std::process::id()));
        assert!(probe.sample().unwrap().resident_bytes > 0);
    }
}
