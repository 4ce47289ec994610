//! What the log costs: `cargo bench -p mq-store --bench log [-- MESSAGES]`.
//!
//! Messages of 100 bytes with 24 bytes of meta, each held by one queue. The time of a synced append stands
//! beside that of a bare write and fdatasync to the same disk. Recovery reads what was appended and
//! nothing was settled of; the files are in the page cache then. Objects are 100,000 of 200 bytes, each
//! replaced 30 times.

#![allow(clippy::print_stdout)]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use mq_store::{Log, NewMessage, Options, QueueId, RealDisk, RecoveredMessage, Reference, Visitor};

const MESSAGES: usize = 10_000_000;
const SYNCS: usize = 1_000;
const OBJECTS: usize = 100_000;
const REPLACED: usize = 3_000_000;
/// Bytes of a record, about.
const RECORD: usize = 150;
const BODY: [u8; 100] = [7; 100];
const META: [u8; 24] = [1; 24];

/// Takes what it is given for a core that holds nothing.
#[derive(Default)]
struct Count(u64);

impl Visitor for Count {
    fn object(&mut self, _: &[u8], _: &[u8]) {}

    fn knows(&mut self, _: QueueId) -> bool {
        true
    }

    fn message(&mut self, message: RecoveredMessage<'_>) {
        self.0 += u64::from(message.body_length);
    }
}

fn open(path: &Path) -> Log {
    let disk = Arc::new(RealDisk::new(path).expect("the directory can be made"));
    Log::open(disk, Options::default(), &mut Count::default()).expect("the log opens").0
}

fn append(log: &mut Log) -> Reference {
    let message =
        NewMessage { targets: &[QueueId(1)], durable: true, transaction: None, meta: &META, body: &BODY };
    log.append(&message).expect("there is room")
}

/// The median of microseconds.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Microseconds of a synced flush of so many messages, and of a bare write and fdatasync of as many bytes
/// where the file was written before. They take turns, so that both meet the disk in the same mood.
fn synced(directory: &Path, batch: usize) -> io::Result<(f64, f64)> {
    let path = directory.join("bare");
    let file = File::create(&path)?;
    let record = vec![1; RECORD * batch];
    file.write_all_at(&vec![0; record.len() * SYNCS], 0)?;
    file.sync_all()?;
    let log_path = directory.join("synced");
    let mut log = open(&log_path);
    let (mut of_log, mut of_bare) = (Vec::with_capacity(SYNCS), Vec::with_capacity(SYNCS));
    for number in 0..SYNCS {
        let start = Instant::now();
        for _ in 0..batch {
            append(&mut log);
        }
        log.flush(true).expect("the disk works");
        of_log.push(start.elapsed().as_secs_f64() * 1e6);
        let start = Instant::now();
        file.write_all_at(&record, (number * record.len()) as u64)?;
        file.sync_data()?;
        of_bare.push(start.elapsed().as_secs_f64() * 1e6);
    }
    drop(log);
    fs::remove_file(path)?;
    fs::remove_dir_all(log_path)?;
    Ok((median(of_log), median(of_bare)))
}

/// Bytes of memory: now and at most.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() << 10
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// What objects cost that are replaced all the time, such as those of sessions: the log is compacted at
/// the pace of the daemon, and read at the end.
fn objects(directory: &Path) {
    let path = directory.join("objects");
    let mut log = open(&path);
    let mut state = 1_u64;
    let mut most = 0.0_f64;
    let (mut slowest, start) = (0.0_f64, Instant::now());
    for number in 0..OBJECTS + REPLACED {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let object = if number < OBJECTS { number } else { (state >> 33) as usize % OBJECTS };
        let key = format!("ms client {object:012}");
        log.put(key.as_bytes(), &[number as u8; 200], None).expect("there is room");
        if number % 1_000 == 999 {
            let step = Instant::now();
            let written = log.buffered_bytes() as u64;
            log.flush(false).expect("the disk works");
            log.compact_step((2 * written).max(64 << 10)).expect("the disk works");
            slowest = slowest.max(step.elapsed().as_secs_f64());
            let status = log.status();
            most = most.max(status.disk_bytes as f64 / (2 * status.live_bytes + (128 << 20)) as f64);
        }
    }
    let each = start.elapsed().as_secs_f64() * 1e9 / (OBJECTS + REPLACED) as f64;
    println!(
        "put an object      {each:>8.0} ns   with writing it and compaction, 1000 at once; {slowest:.3} s at most"
    );
    let status = log.status();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "                   {:>8.1} MiB  {:.1} MiB are alive; {most:.2} of twice that and two files at most",
        mib(status.disk_bytes),
        mib(status.live_bytes)
    );
    log.close().expect("the disk works");
    let start = Instant::now();
    open(&path);
    println!("recover them       {:>8.2} s    {OBJECTS} objects", start.elapsed().as_secs_f64());
    fs::remove_dir_all(path).expect("it is there");
}

fn main() {
    let messages = std::env::args().next_back().and_then(|number| number.parse().ok()).unwrap_or(MESSAGES);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is a directory");
    for batch in [1, 32, 256] {
        let (log, bare) = synced(directory.path(), batch).expect("the disk works");
        println!("append {batch:>3} and sync {log:>10.1} us   bare write and fdatasync {bare:.1} us");
    }

    objects(directory.path());

    let path = directory.path().join("log");
    let mut log = open(&path);
    let start = Instant::now();
    let mut written = 0.0;
    for number in 0..messages {
        append(&mut log);
        if number % 1_000 == 999 {
            let flush = Instant::now();
            log.flush(false).expect("the disk works");
            written += flush.elapsed().as_secs_f64();
        }
    }
    let all = start.elapsed().as_secs_f64();
    let each = |seconds: f64| seconds * 1e9 / messages as f64;
    println!(
        "append             {:>8.0} ns   and {:.0} ns for writing it",
        each(all - written),
        each(written)
    );
    log.close().expect("the disk works");

    let before = memory().0;
    let start = Instant::now();
    let mut log = open(&path);
    let seconds = start.elapsed().as_secs_f64();
    let (now, most) = memory();
    let share = |bytes: u64| bytes.saturating_sub(before) as f64 / messages as f64;
    println!(
        "recover            {seconds:>8.2} s    {messages} messages, {:.1} bytes of memory each, {:.1} at most",
        share(now),
        share(most)
    );

    let references: Vec<Reference> = {
        let mut all = All(Vec::with_capacity(messages));
        drop(log);
        let disk = Arc::new(RealDisk::new(&path).expect("the directory is there"));
        log = Log::open(disk, Options::default(), &mut all).expect("the log opens").0;
        all.0
    };
    let start = Instant::now();
    for reference in references.iter().take(messages / 10) {
        let location = log.locate(*reference).expect("it is there");
        assert_eq!(location.read().expect("it can be read").len(), BODY.len());
    }
    println!("read               {:>8.0} ns", start.elapsed().as_secs_f64() * 1e10 / messages as f64);
    let start = Instant::now();
    for (number, reference) in references.iter().enumerate() {
        log.settle(QueueId(1), *reference, None).expect("there is room");
        if number % 1_000 == 999 {
            log.flush(false).expect("the disk works");
        }
    }
    println!("settle             {:>8.0} ns   with writing it", each(start.elapsed().as_secs_f64()));
}

/// Keeps the names.
struct All(Vec<Reference>);

impl Visitor for All {
    fn object(&mut self, _: &[u8], _: &[u8]) {}

    fn knows(&mut self, _: QueueId) -> bool {
        true
    }

    fn message(&mut self, message: RecoveredMessage<'_>) {
        self.0.push(message.reference);
    }
}
