//! The thread that owns the log.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use mq_core::{ShardId, StoreAnswer, StoreError, StoreRequest, Targets, Ticket};
use mq_model::admin::StoreState;
use mq_store::{Compaction, Disk, Log, NewMessage, QueueId, Reference, State, TransactionId};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::reader::Load;
use super::recovery::Distributor;
use super::{Homes, Phase, Settings, Shared};
use crate::hub::Hub;
use crate::mailbox::Mailbox;

/// Bytes that are gathered before they are written, so that a rush does not double in memory.
const GATHERED: usize = 8 << 20;

/// Bytes that compaction may read and write before requests are looked for again.
const COMPACTION_STEP: u64 = 1 << 20;

/// The same while requests wait, or twice what the last batch has written where that is more: it keeps
/// up with any rate, and a request waits for a fraction of a millisecond.
const COMPACTION_STEP_BETWEEN: u64 = 64 << 10;

/// How long compaction waits when the disk has no room for it.
const COMPACTION_PAUSE: Duration = Duration::from_secs(10);

/// How old the figures may be that the admin API shows while the store is busy.
const STATUS_AGE: Duration = Duration::from_millis(250);

/// The condition for what is not the client's fault.
const INTERNAL_ERROR: &str = "amqp:internal-error";

/// The condition for a full disk, or a message larger than the log takes.
const LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";

/// Answers on their way to the shards, handed over with one wake-up each.
#[derive(Debug)]
pub(super) struct Answers(Vec<Vec<StoreAnswer>>);

impl Answers {
    pub(super) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Vec::new()).collect())
    }

    pub(super) fn push(&mut self, shard: ShardId, answer: StoreAnswer) {
        if let Some(answers) = self.0.get_mut(usize::from(shard.shard())) {
            answers.push(answer);
        }
    }

    pub(super) fn post(&mut self, mailboxes: &[Mailbox]) {
        for (answers, mailbox) in self.0.iter_mut().zip(mailboxes) {
            if !answers.is_empty() {
                mailbox.post_answers(answers);
            }
        }
    }

    /// Puts failures in the place of answers that claim what has not happened.
    fn fail(&mut self, error: &StoreError) {
        for answer in self.0.iter_mut().flatten() {
            *answer = StoreAnswer::Failed { ticket: answer.ticket(), error: error.clone() };
        }
    }
}

/// What a core is told of the log's error.
pub(super) fn refused(error: &mq_store::StoreError) -> StoreError {
    let condition = match error {
        mq_store::StoreError::Full { .. } | mq_store::StoreError::TooLarge { .. } => LIMIT_EXCEEDED,
        _ => INTERNAL_ERROR,
    };
    StoreError { condition, description: error.to_string().into() }
}

/// Opens the log, gives the shards what it holds, and serves them until all are gone.
#[allow(clippy::too_many_arguments, reason = "what the thread gets to own")]
pub(super) fn run(
    shared: Arc<Shared>,
    phase: &watch::Sender<Phase>,
    settings: Settings,
    disk: Arc<dyn Disk>,
    hub: Hub,
    homes: Homes,
    mailboxes: Arc<[Mailbox]>,
    loads: Sender<Vec<Load>>,
) {
    let begun = Instant::now();
    let mut distributor = Distributor::new(&shared, &hub, homes);
    let (log, recovery) = match Log::open(disk, settings.options, &mut distributor) {
        Ok(opened) => opened,
        Err(problem) => {
            let reason = problem.to_string();
            shared.set_status(|status| {
                status.state = StoreState::Failed;
                status.reason = Some(reason.clone());
            });
            phase.send_replace(Phase::Unreadable(reason.into()));
            return;
        }
    };
    distributor.finish();
    // The shards end when no hub is left.
    drop(hub);
    if recovery.messages > 0 || recovery.objects > 0 || recovery.torn_bytes > 0 {
        info!(
            messages = recovery.messages,
            objects = recovery.objects,
            bytes = recovery.bytes,
            segments = recovery.segments,
            of_removed_queues = recovery.unknown,
            not_durable = recovery.volatile,
            uncommitted = recovery.uncommitted,
            torn_bytes = recovery.torn_bytes,
            seconds = begun.elapsed().as_secs_f64(),
            "the message log is read"
        );
    }
    let mut writer = Writer {
        answers: Answers::new(mailboxes.len()),
        log,
        shared,
        settings,
        mailboxes,
        loads,
        waiting: Vec::new(),
        targets: Vec::new(),
        must_sync: false,
        unsynced_since: None,
        compaction: Next::Now,
        shown: None,
        state: StoreState::Recovering,
    };
    writer.show();
    phase.send_replace(Phase::Serving);
    writer.serve();
    writer.close();
}

/// When compaction is to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It has something to do.
    Now,
    /// When something was written.
    AfterWriting,
    /// Not before, and not while nothing is written.
    At(Instant),
}

struct Writer {
    log: Log,
    shared: Arc<Shared>,
    settings: Settings,
    mailboxes: Arc<[Mailbox]>,
    loads: Sender<Vec<Load>>,
    answers: Answers,
    /// Bodies to read, of this batch.
    waiting: Vec<Load>,
    /// The targets of a message, in the log's words.
    targets: Vec<QueueId>,
    /// An answer of this batch says that something is on disk.
    must_sync: bool,
    /// Since when something that was answered is not synced, in relaxed mode.
    unsynced_since: Option<Instant>,
    compaction: Next,
    /// When the figures were last shown.
    shown: Option<Instant>,
    state: StoreState,
}

impl Writer {
    fn serve(&mut self) {
        let mut batch = Vec::new();
        loop {
            // With something to compact it only looks.
            let deadline = match self.compaction {
                Next::Now => Some(Instant::now()),
                Next::AfterWriting | Next::At(_) => self.sync_deadline(),
            };
            if deadline.is_none() {
                self.show();
            }
            if !self.shared.wait(deadline, &mut batch) {
                return;
            }
            let written = self.carry_out(&mut batch);
            self.sync_when_due();
            self.compact(written);
            if self.shown.is_none_or(|shown| shown.elapsed() >= STATUS_AGE) {
                self.show();
            }
        }
    }

    /// Carries requests out: one write, one sync if anything waits for it, and the answers. Returns
    /// the bytes written.
    fn carry_out(&mut self, batch: &mut Vec<(ShardId, Box<StoreRequest>)>) -> u64 {
        if batch.is_empty() {
            return 0;
        }
        let mut written = 0;
        let mut failure = None;
        for (shard, request) in batch.drain(..) {
            self.apply(shard, *request);
            if self.log.buffered_bytes() >= GATHERED {
                written += self.log.buffered_bytes() as u64;
                failure = failure.or_else(|| self.log.flush(false).err());
            }
        }
        if !self.waiting.is_empty() {
            // The reader is gone only when it has panicked; its shards learn of it from the hub.
            let _ = self.loads.send(std::mem::take(&mut self.waiting));
        }
        written += self.log.buffered_bytes() as u64;
        let sync = std::mem::take(&mut self.must_sync);
        if sync && self.settings.relaxed.is_some() {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        failure = failure.or_else(|| self.log.flush(sync && self.settings.relaxed.is_none()).err());
        if let Some(problem) = failure {
            self.answers.fail(&refused(&problem));
            self.show();
        }
        self.answers.post(&self.mailboxes);
        written
    }

    fn apply(&mut self, shard: ShardId, request: StoreRequest) {
        match request {
            StoreRequest::Append { ticket, targets, durable, meta, body, transaction } => {
                self.targets.clear();
                match &targets {
                    Targets::One(queue) => self.targets.push(QueueId(queue.0)),
                    Targets::Many(queues) => self.targets.extend(queues.iter().map(|queue| QueueId(queue.0))),
                }
                let message = NewMessage {
                    targets: &self.targets,
                    durable,
                    transaction: transaction.map(|transaction| TransactionId(transaction.0)),
                    meta: &meta,
                    body: &body,
                };
                let appended = self.log.append(&message);
                self.must_sync |= durable;
                let appended = appended.map(|reference| StoreAnswer::Appended {
                    ticket,
                    reference: mq_core::Reference(reference.0),
                });
                self.answer(shard, ticket, appended);
            }
            StoreRequest::Settle { queue, reference, ticket, transaction } => {
                let transaction = transaction.map(|transaction| TransactionId(transaction.0));
                let settled = self.log.settle(QueueId(queue.0), Reference(reference.0), transaction);
                match ticket {
                    Some(ticket) => {
                        self.must_sync = true;
                        self.answer(shard, ticket, settled.map(|()| StoreAnswer::Settled { ticket }));
                    }
                    None => self.note(settled),
                }
            }
            StoreRequest::Update { queue, reference, state } => {
                let updated = self.log.update(QueueId(queue.0), Reference(reference.0), &state);
                self.note(updated);
            }
            StoreRequest::Load { ticket, reference } => match self.log.locate(Reference(reference.0)) {
                Some(location) => self.waiting.push((shard, ticket, location)),
                None => {
                    let error = StoreError {
                        condition: INTERNAL_ERROR,
                        description: "the message is not in the log any more".into(),
                    };
                    self.answers.push(shard, StoreAnswer::Failed { ticket, error });
                }
            },
            StoreRequest::Forget { queue } => {
                let forgotten = self.log.forget(QueueId(queue.0));
                self.note(forgotten);
            }
            StoreRequest::Put { ticket, key, value, transaction } => {
                // In a transaction it is the commit that has to be on disk.
                self.must_sync |= transaction.is_none();
                let transaction = transaction.map(|transaction| TransactionId(transaction.0));
                let done = self.log.put(&key, &value, transaction).map(|()| StoreAnswer::Done { ticket });
                self.answer(shard, ticket, done);
            }
            StoreRequest::Delete { ticket, key, transaction } => {
                self.must_sync |= transaction.is_none();
                let transaction = transaction.map(|transaction| TransactionId(transaction.0));
                let done = self.log.delete(&key, transaction).map(|()| StoreAnswer::Done { ticket });
                self.answer(shard, ticket, done);
            }
            StoreRequest::Commit { ticket, transaction } => {
                self.must_sync = true;
                let transaction = TransactionId(transaction.0);
                let done = self.log.commit(transaction).map(|()| StoreAnswer::Done { ticket });
                self.answer(shard, ticket, done);
            }
            StoreRequest::Rollback { transaction } => self.log.rollback(TransactionId(transaction.0)),
        }
    }

    fn answer(&mut self, shard: ShardId, ticket: Ticket, answer: Result<StoreAnswer, mq_store::StoreError>) {
        let answer =
            answer.unwrap_or_else(|problem| StoreAnswer::Failed { ticket, error: refused(&problem) });
        self.answers.push(shard, answer);
    }

    /// A request whose failure nobody is told of: what it was to end comes again after a restart,
    /// which is what a failed log promises.
    fn note(&mut self, done: Result<(), mq_store::StoreError>) {
        if done.is_err() {
            self.show();
        }
    }

    /// When what was answered in relaxed mode has to be synced.
    fn sync_deadline(&self) -> Option<Instant> {
        Some(self.unsynced_since? + self.settings.relaxed?)
    }

    fn sync_when_due(&mut self) {
        if self.sync_deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            self.unsynced_since = None;
            if self.log.flush(true).is_err() {
                self.show();
            }
        }
    }

    /// Gives room back on the disk, a step at a time.
    fn compact(&mut self, written: u64) {
        let is_due = match self.compaction {
            Next::Now => true,
            Next::AfterWriting => written > 0,
            Next::At(time) => written > 0 && time <= Instant::now(),
        };
        if !is_due {
            return;
        }
        let is_busy = !self.shared.inbox().requests.is_empty();
        let step = if is_busy { COMPACTION_STEP_BETWEEN } else { COMPACTION_STEP };
        self.compaction = match self.log.compact_step(step.max(2 * written)) {
            Ok(Compaction::More) => Next::Now,
            Ok(Compaction::Idle) => Next::AfterWriting,
            Ok(Compaction::Blocked) => Next::At(Instant::now() + COMPACTION_PAUSE),
            Err(problem) => {
                if self.state != StoreState::Failed {
                    error!(%problem, "a file of the message log cannot be compacted");
                }
                self.show();
                Next::AfterWriting
            }
        };
    }

    /// Shows the figures, and says when the log begins or ceases to take messages.
    fn show(&mut self) {
        let status = self.log.status();
        let state = match status.state {
            State::Ready => StoreState::Ready,
            State::Full => StoreState::Full,
            State::Failed => StoreState::Failed,
        };
        let reason = status.reason.as_deref().map(str::to_owned);
        if state != self.state {
            let reason = reason.as_deref().unwrap_or_default();
            match state {
                StoreState::Failed => error!(reason, "the message log takes no more messages"),
                StoreState::Full => warn!(reason, "the disk of the message log is full"),
                StoreState::Ready if self.state == StoreState::Full => {
                    info!("the message log has room again")
                }
                StoreState::Ready | StoreState::Recovering => {}
            }
            self.state = state;
        }
        self.shared.set_status(|shown| {
            shown.state = state;
            shown.reason = reason;
            shown.live_bytes = status.live_bytes;
            shown.disk_bytes = status.disk_bytes;
            shown.segments = status.segments;
            shown.messages = status.messages;
        });
        self.shown = Some(Instant::now());
    }

    fn close(self) {
        if let Err(problem) = self.log.close() {
            error!(%problem, "the message log could not be closed cleanly");
        }
    }
}
