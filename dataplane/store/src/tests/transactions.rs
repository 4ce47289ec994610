//! All of a transaction, or nothing.

use super::bed::{Bed, SEGMENT, open};
use crate::Options;
use crate::testing::FaultyDisk;

#[test]
fn a_transaction_without_a_commit_was_never_there() {
    let mut bed = Bed::new();
    let (first, second) = (bed.send(1, b"first"), bed.send(1, b"second"));
    bed.append(&[2], true, Some(7), b"of seven").unwrap();
    bed.settle(1, first, Some(7)).unwrap();
    bed.append(&[2, 3], true, Some(8), b"of eight").unwrap();
    bed.settle(1, second, Some(8)).unwrap();
    bed.check_bodies();
    bed.commit(8).unwrap();
    bed.sync();
    let disk = bed.disk.kill();
    let (_, recovery, _) = open(&disk, bed.options).unwrap();
    assert_eq!(recovery.uncommitted, 2);
    let bed = bed.crash();
    let left: Vec<_> =
        bed.model.messages.iter().map(|((_, queue), held)| (queue.0, &held.body[..])).collect();
    assert_eq!(left, [(1, &b"first"[..]), (2, b"of eight"), (3, b"of eight")]);
}

#[test]
fn a_cut_at_any_byte_leaves_all_of_a_transaction_or_nothing() {
    let mut bed = Bed::new();
    let outside = bed.send(1, b"outside");
    for number in 0..5 {
        bed.append(&[2, 3], true, Some(1), &[number; 40]).unwrap();
    }
    bed.settle(1, outside, Some(1)).unwrap();
    bed.commit(1).unwrap();
    bed.flush(false).unwrap();
    let file = bed.disk.read("0000000001.log").unwrap();
    // The commit ends with the number of the transaction, a zero.
    let end = file.iter().rposition(|byte| *byte != 0).unwrap() + 2;
    let mut seen = Vec::new();
    for length in 32..=end {
        let disk = FaultyDisk::new(1);
        disk.put("0000000001.log", &file[..length]);
        let (_, _, visited) = open(&disk, bed.options).unwrap();
        seen.push(visited.messages.len());
    }
    seen.dedup();
    assert_eq!(seen, [0, 1, 10]);
}

#[test]
fn a_rollback_leaves_nothing_but_what_was_there() {
    let mut bed = Bed::new();
    let kept = bed.send(1, b"kept");
    let lost = bed.append(&[1], true, Some(1), b"lost").unwrap();
    bed.settle(1, kept, Some(1)).unwrap();
    bed.rollback(1);
    assert!(bed.log.locate(lost).is_none());
    bed.check_bodies();
    bed.commit(1).unwrap();
    bed.sync();
    assert_eq!(bed.crash().model.messages.len(), 1);
}

#[test]
fn a_name_that_is_used_again_is_another_transaction() {
    let mut bed = Bed::new();
    let kept = bed.send(1, b"kept");
    bed.append(&[1], true, Some(1), b"never").unwrap();
    bed.settle(1, kept, Some(1)).unwrap();
    bed.sync();
    for _ in 0..3 {
        bed = bed.kill();
        bed.append(&[1], true, Some(1), b"more").unwrap();
        bed.commit(1).unwrap();
        bed.sync();
    }
    let bed = bed.crash();
    assert_eq!(bed.model.messages.len(), 4);
    assert!(bed.model.messages.values().all(|held| held.body != b"never"));
}

#[test]
fn a_transaction_stays_open_while_its_files_are_rewritten() {
    for commits in [true, false] {
        for seed in 0..10 {
            let mut bed = Bed::with(seed, Options { segment_bytes: SEGMENT, ..Options::default() });
            let messages: Vec<_> = (0..300).map(|_| bed.send(1, &[1; 100])).collect();
            for (number, reference) in messages.iter().enumerate() {
                if number % 40 == 0 {
                    bed.settle(1, *reference, Some(1)).unwrap();
                    bed.append(&[2], true, Some(1), &[2; 30]).unwrap();
                }
            }
            for (number, reference) in messages.iter().enumerate() {
                if number % 20 != 0 {
                    bed.settle(1, *reference, None).unwrap();
                }
            }
            // Fills files behind it, and empties them.
            for _ in 0..300 {
                let reference = bed.send(3, &[1; 100]);
                bed.settle(3, reference, None).unwrap();
            }
            bed.sync();
            bed.compact();
            if commits {
                bed.commit(1).unwrap();
            } else {
                bed.rollback(1);
            }
            bed.sync();
            bed.compact();
            let bed = bed.crash();
            let sent = bed.model.messages.keys().filter(|(_, queue)| queue.0 == 2).count();
            let kept = bed.model.messages.len() - sent;
            assert_eq!((sent, kept), if commits { (8, 7) } else { (0, 15) });
        }
    }
}

#[test]
fn a_commit_in_the_middle_of_a_rewrite_settles_what_was_copied_before() {
    let mut bed = Bed::new();
    let queues: Vec<u64> = (1..=4).collect();
    let shared = bed.append(&queues, true, None, b"shared").unwrap();
    let alone = bed.send(1, b"alone");
    bed.settle(2, shared, Some(1)).unwrap();
    bed.settle(1, alone, Some(1)).unwrap();
    for _ in 0..300 {
        let reference = bed.send(5, &[1; 100]);
        bed.settle(5, reference, None).unwrap();
    }
    bed.sync();
    // Empty files are removed first; then the copy of the first one begins with the two messages.
    while bed.disk.names().iter().all(|name| !name.ends_with(".new")) {
        bed.log.compact_step(1).unwrap();
    }
    bed.log.compact_step(200).unwrap();
    bed.commit(1).unwrap();
    bed.sync();
    bed.compact();
    let bed = bed.crash();
    let left: Vec<u64> = bed.model.messages.keys().map(|(_, queue)| queue.0).collect();
    assert_eq!(left, [1, 3, 4]);
}
