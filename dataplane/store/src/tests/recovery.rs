//! What a log gives back when it is opened.

use std::sync::Arc;

use super::bed::{Bed, SEGMENT, Visited, open, open_knowing};
use crate::{Compaction, Log, NewMessage, Options, QueueId, RealDisk};

#[test]
fn what_is_not_durable_can_be_read_until_the_restart() {
    let mut bed = Bed::new();
    for number in 0..200 {
        bed.append(&[1], number % 2 == 0, None, &[number; 50]).unwrap();
    }
    bed.check_bodies();
    bed.sync();
    bed.check_bodies();
    let disk = bed.disk.kill();
    let (log, recovery, _) = open(&disk, bed.options).unwrap();
    assert_eq!((recovery.messages, recovery.volatile), (100, 100));
    assert_eq!(log.status().messages, 100);
}

#[test]
fn queues_that_nobody_knows_are_dropped_and_counted() {
    let mut bed = Bed::new();
    for _ in 0..100 {
        bed.append(&[1, 2], true, None, &[1; 50]).unwrap();
        bed.send(2, &[2; 50]);
        bed.send(3, &[3; 50]);
    }
    bed.sync();
    let disk = bed.disk.kill();
    let (log, recovery, visited) = open_knowing(&disk, bed.options, &[2]).unwrap();
    assert_eq!((recovery.messages, recovery.unknown), (200, 200));
    assert!(visited.messages.iter().all(|(_, queue, ..)| *queue != QueueId(2)));
    assert_eq!(log.status().messages, 200);
}

#[test]
fn the_last_update_is_given_back_with_the_message() {
    let mut bed = Bed::new();
    let reference = bed.append(&[1, 2], true, None, b"body").unwrap();
    bed.update(1, reference, b"one").unwrap();
    bed.update(2, reference, b"two").unwrap();
    bed.update(1, reference, b"three").unwrap();
    bed.sync();
    let disk = bed.disk.kill();
    let (_, _, visited) = open(&disk, bed.options).unwrap();
    let states: Vec<_> = visited.messages.iter().map(|(_, _, _, state, _)| state.as_deref()).collect();
    assert_eq!(states, [Some(&b"three"[..]), Some(&b"two"[..])]);
}

#[test]
fn what_recovery_may_not_hold_it_reads_again() {
    let mut bed = Bed::new();
    for number in 0..900_u64 {
        let reference = bed.append(&[1 + number % 3], number % 7 > 0, None, &[number as u8; 60]).unwrap();
        if number % 5 == 0 {
            bed.settle(1 + number % 3, reference, None).unwrap();
        }
    }
    bed.sync();
    let disk = bed.disk.kill();
    let (_, _, held) = open(&disk, bed.options).unwrap();
    assert!(held.messages.len() > 500);
    for recovery_bytes in [0, 1000, 3000] {
        let (_, _, read) = open(&disk, Options { recovery_bytes, ..bed.options }).unwrap();
        assert_eq!(read.messages, held.messages);
    }
}

#[test]
fn a_name_is_not_given_twice() {
    let mut bed = Bed::new();
    let mut last = None;
    for _ in 0..8 {
        for _ in 0..150 {
            let reference = bed.send(1, &[1; 60]);
            assert!(Some(reference) > last);
            last = Some(reference);
            bed.settle(1, reference, None).unwrap();
        }
        bed.sync();
        bed.compact();
        bed = bed.kill();
    }
}

#[test]
fn a_message_larger_than_a_segment_gets_its_own() {
    let mut bed = Bed::new();
    bed.send(1, b"before");
    let large = bed.send(1, &vec![5; 3 * SEGMENT as usize]);
    bed.send(1, b"after");
    bed.sync();
    let mut bed = bed.crash();
    assert_eq!(bed.model.messages.len(), 3);
    bed.settle(1, large, None).unwrap();
    bed.sync();
    bed.compact();
    assert!(bed.disk.used() < 3 * SEGMENT, "{}", bed.disk.used());
}

#[test]
fn an_idle_log_is_small() {
    let bed = Bed::with(1, Options::default());
    assert_eq!(bed.disk.used(), Options::default().segment_bytes / 8);
}

#[test]
fn a_real_directory_is_a_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let options = Options { segment_bytes: Options::MIN_SEGMENT_BYTES, ..Options::default() };
    let mut visited = Visited::default();
    let (mut log, _) = Log::open(Arc::new(RealDisk::new(&path).unwrap()), options, &mut visited).unwrap();
    let message = NewMessage {
        targets: &[QueueId(9)],
        durable: true,
        transaction: None,
        meta: b"meta",
        body: &[7; 900],
    };
    let messages: Vec<_> = (0..4000).map(|_| log.append(&message).unwrap()).collect();
    log.flush(true).unwrap();
    let mut other = Visited::default();
    let error = Log::open(Arc::new(RealDisk::new(&path).unwrap()), options, &mut other).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    for (number, reference) in messages.iter().enumerate() {
        if number % 100 != 0 {
            log.settle(QueueId(9), *reference, None).unwrap();
        }
    }
    while log.compact_step(1 << 20).unwrap() != Compaction::Idle {}
    let status = log.status();
    assert!(status.disk_bytes <= 2 * status.live_bytes + 2 * options.segment_bytes, "{status:?}");
    log.close().unwrap();
    let on_disk: u64 =
        std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(on_disk, status.disk_bytes);
    let (log, recovery) = Log::open(Arc::new(RealDisk::new(&path).unwrap()), options, &mut visited).unwrap();
    assert_eq!((recovery.messages, recovery.torn_bytes), (40, 0));
    for (reference, _, meta, _, length) in &visited.messages {
        assert_eq!((&meta[..], *length), (&b"meta"[..], 900));
        assert_eq!(log.locate(*reference).unwrap().read().unwrap(), [7; 900][..]);
    }
}
