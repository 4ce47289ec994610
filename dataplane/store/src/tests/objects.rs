//! Small objects: alone, with a transaction, and many of them that are replaced all the time.

use super::bed::{Bed, SEGMENT, open};
use crate::format::{self, FORMAT, FileHeader, kind};
use crate::testing::FaultyDisk;
use crate::{Options, State, StoreError};

const FILE: &str = "0000000001.log";

fn value(bed: &Bed, key: &[u8]) -> Option<Vec<u8>> {
    bed.model.objects.get(key).cloned()
}

#[test]
fn an_object_of_a_transaction_counts_with_its_commit() {
    let mut bed = Bed::new();
    bed.put(b"old", b"1").unwrap();
    bed.put(b"gone", b"1").unwrap();
    for (transaction, is_committed) in [(1, true), (2, false), (3, false)] {
        bed.append(&[1], true, Some(transaction), b"message").unwrap();
        bed.put_in(b"old", &[transaction as u8], Some(transaction)).unwrap();
        bed.put_in(b"new", &[transaction as u8], Some(transaction)).unwrap();
        bed.delete_in(b"gone", Some(transaction)).unwrap();
        match transaction {
            _ if is_committed => bed.commit(transaction).unwrap(),
            2 => bed.rollback(transaction),
            _ => {}
        }
    }
    bed.sync();
    let bed = bed.crash();
    assert_eq!(value(&bed, b"old").as_deref(), Some(&[1][..]));
    assert_eq!(value(&bed, b"new").as_deref(), Some(&[1][..]));
    assert_eq!(value(&bed, b"gone"), None);
    assert_eq!(bed.model.messages.len(), 1);
}

#[test]
fn the_last_change_of_a_key_in_a_transaction_counts() {
    let mut bed = Bed::new();
    bed.put_in(b"a", b"1", Some(1)).unwrap();
    bed.put_in(b"a", b"2", Some(1)).unwrap();
    bed.put_in(b"b", b"1", Some(1)).unwrap();
    bed.delete_in(b"b", Some(1)).unwrap();
    bed.delete_in(b"c", Some(1)).unwrap();
    bed.put_in(b"c", b"3", Some(1)).unwrap();
    bed.commit(1).unwrap();
    bed.sync();
    let bed = bed.crash();
    let objects: Vec<_> = bed.model.objects.into_iter().collect();
    assert_eq!(objects, [(b"a".to_vec(), b"2".to_vec()), (b"c".to_vec(), b"3".to_vec())]);
}

#[test]
fn a_commit_replaces_what_was_put_after_its_own_change_was_asked_for() {
    for is_rewritten in [false, true] {
        let mut bed = Bed::new();
        bed.put_in(b"a", b"of the transaction", Some(1)).unwrap();
        bed.put(b"a", b"outside").unwrap();
        bed.commit(1).unwrap();
        bed.put(b"b", b"before").unwrap();
        bed.delete_in(b"b", Some(2)).unwrap();
        bed.commit(2).unwrap();
        if is_rewritten {
            fill_files(&mut bed);
            bed.compact();
            assert!(bed.disk.read(FILE).is_none_or(|file| file.len() < SEGMENT as usize / 2), "it is sparse");
        }
        bed.sync();
        let bed = bed.crash();
        assert_eq!(value(&bed, b"a").as_deref(), Some(&b"of the transaction"[..]));
        assert_eq!(value(&bed, b"b"), None);
    }
}

/// Fills some files and empties them.
fn fill_files(bed: &mut Bed) {
    for _ in 0..600 {
        let reference = bed.send(9, &[1; 100]);
        bed.settle(9, reference, None).unwrap();
    }
}

#[test]
fn a_cut_at_any_byte_leaves_message_and_objects_together_or_neither() {
    let mut bed = Bed::new();
    bed.put(b"taken", b"").unwrap();
    bed.append(&[1], true, Some(1), &[3; 40]).unwrap();
    bed.put_in(b"number", &[4; 30], Some(1)).unwrap();
    bed.delete_in(b"taken", Some(1)).unwrap();
    bed.commit(1).unwrap();
    bed.flush(false).unwrap();
    let file = bed.disk.read(FILE).unwrap();
    // The commit ends with the number of the transaction, a zero.
    let end = file.iter().rposition(|byte| *byte != 0).unwrap() + 2;
    let mut seen = Vec::new();
    for length in 32..=end {
        let disk = FaultyDisk::new(1);
        disk.put(FILE, &file[..length]);
        let (_, _, visited) = open(&disk, bed.options).unwrap();
        let keys: Vec<Vec<u8>> = visited.objects.into_keys().collect();
        seen.push((visited.messages.len(), keys));
    }
    seen.dedup();
    assert_eq!(seen, [(0, vec![]), (0, vec![b"taken".to_vec()]), (1, vec![b"number".to_vec()])]);
}

#[test]
fn a_power_cut_at_any_step_leaves_message_and_objects_together_or_neither() {
    for steps in 0.. {
        let mut bed = Bed::with(steps, Options { segment_bytes: 4096, ..Options::default() });
        bed.put(b"number", &[0]).unwrap();
        bed.sync();
        bed.disk.cut_power_after(steps);
        let mut committed = 0;
        // Enough for several files, and for rewriting them.
        let ran = (1..=60_u8).try_for_each(|number| -> Result<(), StoreError> {
            let reference = bed.append(&[1], true, Some(1), &[number; 100])?;
            bed.put_in(b"number", &[number; 200], Some(1))?;
            bed.put_in(&[number % 3], &[number; 20], Some(1))?;
            bed.delete_in(&[(number + 1) % 3], Some(1))?;
            bed.commit(1)?;
            if number > 1 {
                bed.settle(1, reference, None)?;
            }
            bed.flush(true)?;
            committed = number;
            bed.log.compact_step(3000).map(drop)
        });
        let is_off = bed.disk.is_off();
        assert_eq!(ran.is_ok(), !is_off, "{ran:?}");
        let bed = bed.crash();
        let found = value(&bed, b"number").unwrap()[0];
        assert!(found == committed || found == committed + 1, "{found} of {committed} after {steps} steps");
        assert_eq!(
            bed.model.objects.keys().filter(|key| key.len() == 1).count(),
            match found {
                0 => 0,
                1 => 1,
                _ => 2,
            }
        );
        if !is_off {
            assert!(steps > 100, "the test covers what it is for: {steps}");
            return;
        }
    }
}

#[test]
fn a_full_disk_refuses_a_commit_whole_and_takes_it_when_there_is_room() {
    let mut bed = Bed::new();
    bed.put(b"gone", b"").unwrap();
    bed.append(&[1], true, Some(1), b"message").unwrap();
    for key in 0..100 {
        bed.put_in(&[key], &[key; 200], Some(1)).unwrap();
    }
    bed.delete_in(b"gone", Some(1)).unwrap();
    bed.disk.set_capacity(Some(bed.disk.used()));
    let refused = bed.log.commit(crate::TransactionId(1));
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    assert_eq!(bed.log.status().state, State::Full);
    bed.sync();
    let copy = FaultyDisk::new(1);
    for name in bed.disk.names() {
        copy.put(&name, &bed.disk.read(&name).unwrap());
    }
    let (_, _, visited) = open(&copy, bed.options).unwrap();
    assert_eq!((visited.objects.len(), visited.messages.len()), (1, 0), "nothing of it counts");
    bed.disk.set_capacity(None);
    bed.commit(1).unwrap();
    bed.sync();
    assert_eq!(bed.crash().model.objects.len(), 100);
}

#[test]
fn what_a_transaction_changes_is_in_one_file_however_much_it_is() {
    let mut bed = Bed::new();
    for key in 0..200 {
        bed.put_in(&[key], &[key; 300], Some(1)).unwrap();
    }
    bed.largest = 200 * 400;
    bed.send(1, b"in the first file");
    bed.commit(1).unwrap();
    bed.send(1, b"behind it");
    bed.sync();
    bed.compact();
    let lengths: Vec<usize> =
        bed.disk.names().iter().map(|name| bed.disk.read(name).unwrap().len()).collect();
    assert!(lengths.iter().any(|length| *length > 200 * 300), "{lengths:?}");
    assert_eq!(bed.crash().model.objects.len(), 200);
}

#[test]
fn a_transaction_cannot_hold_more_than_a_record_can() {
    let mut bed = Bed::new();
    let value = vec![0; 16 << 20];
    let refused = (0..64).find_map(|_| bed.log.put(b"key", &value, Some(crate::TransactionId(1))).err());
    assert!(matches!(refused, Some(StoreError::TooLarge { .. })), "{refused:?}");
    bed.rollback(1);
}

#[test]
fn an_object_that_is_gone_takes_no_memory() {
    let mut bed = Bed::new();
    for number in 0..2_000_u32 {
        let key = number.to_le_bytes();
        bed.put(&key, &[1; 20]).unwrap();
        bed.delete(&key).unwrap();
    }
    // At most those whose value is in the file before that of their end.
    let remembered = bed.log.index.objects.len() as u64;
    assert!(remembered <= bed.log.status().segments, "{remembered} are remembered");
    bed.compact();
    assert!(bed.log.index.objects.is_empty());
    bed.sync();
    assert!(bed.crash().model.objects.is_empty());
}

#[test]
fn many_objects_that_are_replaced_all_the_time_stay_within_the_bound() {
    const OBJECTS: usize = 5_000;
    const SEGMENT: u64 = 128 << 10;
    for share_of_deletions in [0, 30] {
        let mut bed = Bed::with(1, Options { segment_bytes: SEGMENT, ..Options::default() });
        let mut random = fastrand::Rng::with_seed(share_of_deletions);
        for number in 0..10 * OBJECTS {
            let key = random.u16(..OBJECTS as u16).to_le_bytes();
            let transaction = (number % 4 == 0).then_some(1);
            if random.u64(0..100) < share_of_deletions {
                bed.delete_in(&key, transaction).unwrap();
            } else {
                bed.put_in(&key, &[number as u8; 200], transaction).unwrap();
            }
            if transaction.is_some() {
                bed.commit(1).unwrap();
            }
            // As the daemon does: after each batch, no more than a little.
            if number % 16 == 0 {
                bed.log.flush(true).unwrap();
                bed.log.compact_step(16 * 2 * 250).unwrap();
                let status = bed.log.status();
                // While it is at it: the copy of a file comes on top, and what is written meanwhile.
                let bound = 2 * status.live_bytes + 3 * SEGMENT;
                assert!(status.disk_bytes <= bound, "{number}: {status:?}");
            }
        }
        bed.sync();
        bed.compact();
        let disk = bed.disk.kill();
        let (_, recovery, _) = open(&disk, bed.options).unwrap();
        let most = 2 * bed.log.status().live_bytes + 2 * SEGMENT;
        assert!(recovery.bytes <= most, "{} bytes are read, {most} would do", recovery.bytes);
        bed.crash();
    }
}

/// A file of another format with these records.
fn file_of(format: u32, records: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut bytes = FileHeader { segment: 1, generation: 0, format }.encode();
    for (kind, flags, payload) in records {
        let start = format::begin(&mut bytes);
        bytes.extend_from_slice(payload);
        format::finish(&mut bytes, start, *kind, *flags, 1, start as u32);
    }
    bytes
}

#[test]
fn a_log_of_the_first_format_is_read_and_goes_on_in_a_file_of_the_latest() {
    let put: &[u8] = b"\x03keyvalue";
    let message: &[u8] = b"\0\x01\x01\x04metabody";
    for records in [&[][..], &[(kind::PUT, 0, put), (kind::MESSAGE, 1, message)]] {
        let disk = FaultyDisk::new(1);
        disk.put(FILE, &file_of(1, records));
        let options = Options { segment_bytes: SEGMENT, ..Options::default() };
        let (mut log, recovery, visited) = open(&disk, options).unwrap();
        assert_eq!(
            (recovery.objects, recovery.messages),
            (records.len() as u64 / 2, records.len() as u64 / 2)
        );
        if !records.is_empty() {
            assert_eq!(visited.objects[&b"key"[..]], b"value");
        }
        log.put(b"key", b"later", Some(crate::TransactionId(1))).unwrap();
        log.commit(crate::TransactionId(1)).unwrap();
        log.close().unwrap();
        let (_, _, visited) = open(&disk, options).unwrap();
        assert_eq!(visited.objects[&b"key"[..]], b"later");
        assert_eq!(visited.messages.len(), records.len() / 2);
        let formats: Vec<u32> = disk
            .names()
            .iter()
            .map(|name| u32::from_le_bytes(disk.read(name).unwrap()[8..12].try_into().unwrap()))
            .collect();
        assert_eq!(formats, [1, FORMAT], "what an earlier version would misread is in no file of its format");
    }
}
