//! A disk that fails, or is full.

use std::io::ErrorKind;

use super::bed::{Bed, SEGMENT, open};
use crate::testing::{FaultyDisk, Operation};
use crate::{Compaction, NewMessage, Options, QueueId, State, StoreError};

#[test]
fn after_a_failed_write_or_sync_writes_are_refused_and_reads_go_on() {
    for operation in [Operation::Write, Operation::Sync] {
        let mut bed = Bed::new();
        let kept = bed.send(1, b"kept");
        bed.sync();
        bed.send(1, b"lost perhaps");
        bed.disk.fail(operation, 0, ErrorKind::Other);
        let error = bed.flush(true).unwrap_err().to_string();
        assert!(error.contains("refuses writes") && error.contains("0000000001.log"), "{error}");
        let message =
            NewMessage { targets: &[QueueId(1)], durable: false, transaction: None, meta: b"", body: b"" };
        let refused = [
            bed.log.append(&message).map(drop),
            bed.log.settle(QueueId(1), kept, None),
            bed.log.put(b"key", b"value", None),
            bed.log.flush(true),
            bed.log.compact_step(1).map(drop),
        ];
        for result in refused {
            assert!(matches!(result, Err(StoreError::Failed { .. })), "{result:?}");
        }
        let status = bed.log.status();
        assert_eq!(status.state, State::Failed);
        assert!(status.reason.is_some_and(|reason| reason.starts_with("cannot ")));
        assert_eq!(bed.log.locate(kept).unwrap().read().unwrap(), b"kept"[..]);
        bed.crash();
    }
}

#[test]
fn what_is_found_after_a_failed_sync_is_durable_then() {
    for seed in 0..50 {
        let mut bed = Bed::with(seed, Options { segment_bytes: SEGMENT, ..Options::default() });
        for number in 0..100 {
            bed.send(1, &[number; 100]);
        }
        bed.disk.fail(Operation::Sync, 0, ErrorKind::Other);
        bed.flush(true).unwrap_err();
        // The next owner reads what the kernel has; what it finds has to survive a power cut.
        bed.kill().crash();
    }
}

#[test]
fn a_full_disk_refuses_messages_takes_settlements_and_recovers() {
    let mut bed = Bed::new();
    let mut messages: Vec<_> = (0..300).map(|_| bed.send(1, &[1; 100])).collect();
    bed.disk.set_capacity(Some(bed.disk.used()));
    let error = loop {
        match bed.append(&[1], true, None, &[2; 100]) {
            Ok(reference) => messages.push(reference),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(bed.log.status().state, State::Full);
    bed.sync();
    bed.check_bodies();
    // The oldest file empties within the reserve, and that is room for the next message.
    let first = messages[0].0 >> 32;
    let oldest: Vec<_> = messages.iter().filter(|reference| reference.0 >> 32 == first).copied().collect();
    let mut settled = 0;
    for reference in &oldest {
        settled += usize::from(bed.settle(1, *reference, None).is_ok());
    }
    assert!(settled >= 20, "{settled}");
    bed.sync();
    let mut bed = bed.kill();
    assert_eq!(bed.model.messages.len(), messages.len() - settled);
    bed.disk.set_capacity(None);
    bed.send(1, b"again");
    assert_eq!(bed.log.status().state, State::Ready);
    bed.sync();
    bed.crash();
}

#[test]
fn removing_files_makes_room_on_a_full_disk() {
    let mut bed = Bed::new();
    // Not durable: settling them needs no room at all.
    let mut messages: Vec<_> = (0..300).map(|_| bed.append(&[1], false, None, &[1; 100]).unwrap()).collect();
    bed.disk.set_capacity(Some(bed.disk.used()));
    while let Ok(reference) = bed.append(&[1], false, None, &[2; 100]) {
        messages.push(reference);
    }
    assert_eq!(bed.log.status().state, State::Full);
    for reference in messages {
        bed.settle(1, reference, None).unwrap();
    }
    while bed.log.compact_step(10_000).unwrap() != Compaction::Idle {}
    bed.send(1, &[3; 100]);
    bed.sync();
    assert_eq!(bed.log.status().state, State::Ready);
    bed.crash();
}

#[test]
fn without_something_new_nothing_is_synced() {
    let mut bed = Bed::new();
    bed.send(1, b"first");
    bed.sync();
    let syncs = bed.disk.syncs();
    bed.sync();
    assert_eq!(bed.disk.syncs(), syncs);
    bed.append(&[1], false, None, b"second").unwrap();
    bed.flush(false).unwrap();
    assert_eq!(bed.disk.syncs(), syncs);
    bed.check_bodies();
    bed.sync();
    assert_eq!(bed.disk.syncs(), syncs + 1);
}

#[test]
fn a_log_has_one_owner() {
    let disk = FaultyDisk::new(1);
    let options = Options { segment_bytes: SEGMENT, ..Options::default() };
    let first = open(&disk, options).unwrap();
    let error = open(&disk, options).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    drop(first);
    open(&disk, options).unwrap();
}

#[test]
fn what_no_log_can_do_is_refused() {
    let mut bed = Bed::new();
    assert!(matches!(bed.append(&[], true, None, b""), Err(StoreError::NoTarget)));
    for segment_bytes in [0, 100, (1 << 30) + 1] {
        let error = open(&FaultyDisk::new(1), Options { segment_bytes, ..Options::default() }).unwrap_err();
        assert!(matches!(error, StoreError::SegmentBytes { .. }), "{error}");
    }
}

#[test]
fn a_log_opens_on_a_full_disk_and_goes_on_when_there_is_room() {
    let mut bed = Bed::new();
    let reference = bed.send(1, &[1; 100]);
    bed.sync();
    bed.append(&[1], true, None, &[2; 300]).unwrap();
    bed.flush(false).unwrap();
    let left = bed.disk.kill();
    // A torn end is cut off, and the room is gone before the log has it again.
    let file = left.read("0000000001.log").unwrap();
    left.put("0000000001.log", &file[..500]);
    left.set_capacity(Some(500));
    let mut bed = bed.reopen(left);
    let error = bed.append(&[1], true, None, &[3; 100]).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    bed.check_bodies();
    bed.disk.set_capacity(None);
    bed.settle(1, reference, None).unwrap();
    bed.send(1, b"again");
    bed.sync();
    bed.crash();
}
