//! Files that say they are a log: whatever they hold, recovery answers without a panic, and what it
//! accepts is a log that can be written to, compacted and read again.

use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use mq_store::testing::{FaultyDisk, file};
use mq_store::{
    Compaction, Log, NewMessage, Options, QueueId, RecoveredMessage, Reference, StoreError, Visitor,
};

/// Records with right checksums, and a little damage.
#[derive(Arbitrary, Debug)]
pub struct Plan {
    files: Vec<Vec<Entry>>,
    /// Ends of files: cut by so many bytes.
    cuts: [u8; 3],
    damage: Option<(u8, u16)>,
    unknown: u8,
    recovery_bytes: u16,
}

/// A record; those that make sense are more likely than chance would have it.
#[derive(Arbitrary, Debug)]
enum Entry {
    Message { index: u8, flags: u8, transaction: u8, targets: [u8; 3], count: u8, rest: Vec<u8> },
    Settle { flags: u8, transaction: u8, queue: u8, segment: u8, index: u8 },
    Update { queue: u8, segment: u8, index: u8, state: Vec<u8> },
    Forget(u8),
    Put(u8, Vec<u8>),
    Delete(u8),
    Commit(u8),
    Mark(u16),
    Seal,
    Any { kind: u8, flags: u8, payload: Vec<u8> },
}

impl Entry {
    fn record(&self) -> (u8, u8, Vec<u8>) {
        let in_transaction = |flags: u8, number: u8| (flags & 2 != 0).then_some(number & 0x7f);
        match self {
            Self::Message { index, flags, transaction, targets, count, rest } => {
                let mut payload = vec![index & 0x7f];
                payload.extend(in_transaction(*flags, *transaction));
                let count = usize::from(count % 3) + 1;
                payload.push(count as u8);
                payload.extend(targets.iter().take(count).map(|target| (target & 7).max(1)));
                payload.push(rest.len().min(3) as u8);
                payload.extend_from_slice(rest);
                (1, flags & 3, payload)
            }
            Self::Settle { flags, transaction, queue, segment, index } => {
                let mut payload: Vec<u8> = in_transaction(*flags, *transaction).into_iter().collect();
                payload.extend([queue & 15, segment & 3, index & 0x7f]);
                (2, flags & 2, payload)
            }
            Self::Update { queue, segment, index, state } => {
                let mut payload = vec![queue & 15, segment & 3, index & 0x7f];
                payload.extend_from_slice(state);
                (3, 0, payload)
            }
            Self::Forget(queue) => (4, 0, vec![queue & 15]),
            Self::Put(key, value) => (5, 0, [&[1, key & 7], &value[..]].concat()),
            Self::Delete(key) => (6, 0, vec![key & 7]),
            Self::Commit(number) => (7, 0, vec![number & 0x7f]),
            Self::Mark(synced) => (8, 0, vec![*synced as u8 | 0x80, (synced >> 8) as u8 & 0x7f]),
            Self::Seal => (9, 0, Vec::new()),
            Self::Any { kind, flags, payload } => (*kind, *flags, payload.clone()),
        }
    }
}

/// Name, queue, meta, state and length of the body.
type FoundMessage = (Reference, QueueId, Vec<u8>, Option<Vec<u8>>, u32);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    objects: Vec<(Vec<u8>, Vec<u8>)>,
    messages: Vec<FoundMessage>,
    unknown: u8,
}

impl Visitor for Found {
    fn object(&mut self, key: &[u8], value: &[u8]) {
        self.objects.push((key.to_vec(), value.to_vec()));
    }

    fn knows(&mut self, queue: QueueId) -> bool {
        queue.0 >= 16 || self.unknown >> (queue.0 % 8) & 1 == 0
    }

    fn message(&mut self, message: RecoveredMessage<'_>) {
        let RecoveredMessage { queue, reference, meta, state, body_length } = message;
        self.messages.push((reference, queue, meta.to_vec(), state.map(<[u8]>::to_vec), body_length));
    }
}

/// Opens what a plan from these bytes makes.
pub fn recovery(input: &[u8]) {
    if let Ok(plan) = Plan::arbitrary_take_rest(Unstructured::new(input)) {
        run(&plan);
    }
}

fn run(plan: &Plan) {
    let disk = FaultyDisk::new(0);
    for (number, entries) in plan.files.iter().take(3).enumerate() {
        let records: Vec<_> = entries.iter().map(Entry::record).collect();
        let (name, mut bytes) = file(number as u32 + 1, &records);
        let cut = plan.cuts.get(number).copied().unwrap_or_default();
        if cut > 200 {
            bytes.truncate(bytes.len() - usize::from(cut - 200).min(bytes.len()));
        }
        disk.put(&name, &bytes);
    }
    if let Some((number, offset)) = plan.damage {
        disk.damage(&format!("{:010}.log", number % 3 + 1), usize::from(offset));
    }
    let options =
        Options { segment_bytes: Options::MIN_SEGMENT_BYTES, recovery_bytes: plan.recovery_bytes.into() };
    let unknown = Found { unknown: plan.unknown, ..Found::default() };
    let mut found = unknown.clone();
    let Ok((mut log, recovery)) = Log::open(Arc::new(disk.clone()), options, &mut found) else { return };
    assert_eq!(recovery.messages, found.messages.len() as u64);
    for (reference, _, _, _, length) in &found.messages {
        let body = log.locate(*reference).expect("what was found is there").read().expect("it can be read");
        assert_eq!(body.len(), *length as usize);
    }
    let targets = [QueueId(100)];
    let message =
        NewMessage { targets: &targets, durable: true, transaction: None, meta: b"meta", body: b"body" };
    let added = log.append(&message).expect("there is room");
    log.flush(true).expect("the disk works");
    // Sparse enough that every file is rewritten.
    let large = NewMessage { body: &vec![0; 1 << 18], ..message };
    for _ in 0..8 {
        let reference = log.append(&large).expect("there is room");
        log.settle(targets[0], reference, None).expect("there is room");
    }
    for _ in 0..10_000 {
        if log.compact_step(1 << 20).expect("the disk works") == Compaction::Idle {
            break;
        }
    }
    log.close().expect("the disk works");

    let mut again = unknown;
    let opened: Result<_, StoreError> = Log::open(Arc::new(disk), options, &mut again);
    opened.expect("what it wrote it reads");
    let last = again.messages.pop().map(|(reference, ..)| reference);
    assert_eq!(last, Some(added), "what was added comes last");
    assert_eq!(again, found);
}
