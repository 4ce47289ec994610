//! A torn end is cut off; anything else that is not what was written is an error with file and offset.

use std::sync::Arc;

use super::bed::{Bed, SEGMENT, open};
use crate::format::FILE_HEADER;
use crate::testing::{FaultyDisk, Operation};
use crate::{Log, Options, State, StoreError};

const FIRST: &str = "0000000001.log";

/// A disk with nothing but this file.
fn only(bytes: &[u8]) -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    disk.put(FIRST, bytes);
    disk
}

fn options() -> Options {
    Options { segment_bytes: SEGMENT, ..Options::default() }
}

/// The file of a log of some messages, and where each record ends.
fn small_log(sync: bool) -> (Bed, Vec<u8>) {
    let mut bed = Bed::new();
    for number in 0..12 {
        let reference = bed.send(1 + number % 2, &vec![number as u8; number as usize * 3]);
        if number % 3 == 0 {
            bed.settle(1 + number % 2, reference, None).unwrap();
        }
        bed.put(b"key", &[number as u8]).unwrap();
        bed.flush(sync).unwrap();
    }
    let file = bed.disk.read(FIRST).unwrap();
    (bed, file)
}

#[test]
fn a_log_cut_at_any_byte_holds_what_came_before() {
    let (bed, file) = small_log(true);
    let (_, _, whole) = open(&bed.disk.kill(), options()).unwrap();
    let end = file.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut last = 0;
    for length in FILE_HEADER as usize..=end {
        let disk = only(&file[..length]);
        let (mut log, recovery, found) = open(&disk, options()).expect("it is torn, not damaged");
        assert!(recovery.torn_bytes < 200);
        // What is settled later is there for a while.
        let before = whole.messages.iter().filter(|message| found.messages.contains(message)).count();
        assert!(before >= last, "at {length}");
        last = before;
        log.put(b"more", b"value", None).unwrap();
        log.close().unwrap();
        let (_, again, more) = open(&disk, options()).unwrap();
        assert_eq!(more.messages, found.messages, "at {length}");
        assert_eq!((again.torn_bytes, more.objects.len()), (0, found.objects.len() + 1), "at {length}");
    }
    assert_eq!(last, whole.messages.len());
    for length in 0..FILE_HEADER as usize {
        let error = open(&only(&file[..length]), options()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { offset: 0, .. }), "at {length}: {error}");
    }
}

#[test]
fn a_flipped_byte_of_a_closed_log_is_found_wherever_it_is() {
    let (bed, _) = small_log(true);
    let disk = bed.disk.clone();
    bed.log.close().unwrap();
    let file = disk.read(FIRST).unwrap();
    let (_, _, whole) = open(&disk.kill(), options()).unwrap();
    let end = file.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for place in 0..end {
        let mut damaged = file.clone();
        damaged[place] ^= 0x10;
        match open(&only(&damaged), options()) {
            Err(StoreError::Corrupt { path, offset, .. }) => {
                assert!(path.ends_with(FIRST) && offset <= place as u64, "at {place}: {offset}");
            }
            // The first byte of the version.
            Err(StoreError::NewerFormat { .. }) => assert!((8..12).contains(&place)),
            Err(error) => panic!("at {place}: {error}"),
            // The last record is the mark that says that the rest was synced.
            Ok((_, _, found)) => {
                assert!(place > end - 20, "at {place} of {end}");
                assert_eq!(found.messages, whole.messages);
            }
        }
    }
}

#[test]
fn a_hole_in_what_was_synced_is_damage_and_behind_it_is_a_torn_end() {
    let (_, synced) = small_log(true);
    let (_, unsynced) = small_log(false);
    for (file, was_synced) in [(synced, true), (unsynced, false)] {
        let mut holed = file.clone();
        holed[100..150].fill(0);
        match open(&only(&holed), options()) {
            Err(StoreError::Corrupt { offset, .. }) => assert!(was_synced && offset <= 100),
            Err(error) => panic!("{error}"),
            Ok((_, recovery, _)) => assert!(!was_synced && recovery.torn_bytes > 100),
        }
    }
}

#[test]
fn a_full_file_may_not_end_early() {
    let mut bed = Bed::new();
    for _ in 0..400 {
        bed.send(1, &[9; 100]);
    }
    bed.sync();
    let disk = bed.disk.kill();
    assert!(disk.names().len() > 2);
    let file = disk.read(FIRST).unwrap();
    for length in [file.len() - 1, file.len() - 16, 5000, FILE_HEADER as usize] {
        disk.put(FIRST, &file[..length]);
        let error = open(&disk, options()).unwrap_err();
        assert!(
            matches!(&error, StoreError::Corrupt { path, offset, .. }
            if path.ends_with(FIRST) && *offset <= length as u64),
            "{error}"
        );
    }
    let mut damaged = file;
    damaged[3000] ^= 1;
    disk.put(FIRST, &damaged);
    let error = open(&disk, options()).unwrap_err().to_string();
    assert!(error.starts_with("/memory/0000000001.log is damaged at offset "), "{error}");
}

#[test]
fn a_check_reads_everything_and_changes_nothing() {
    let (mut bed, file) = small_log(true);
    bed.append(&[1], true, None, b"not synced").unwrap();
    bed.flush(false).unwrap();
    let disk = bed.disk.kill();
    let (names, before) = (disk.names(), disk.operations());
    let checked = Log::check(Arc::new(disk.clone())).unwrap();
    assert_eq!((disk.names(), disk.operations()), (names, before));
    let (log, recovery, _) = open(&disk, options()).unwrap();
    assert_eq!(checked, recovery);
    assert!(matches!(Log::check(Arc::new(disk)), Err(StoreError::InUse { .. })));
    drop(log);
    let mut damaged = file;
    damaged[60] ^= 1;
    let error = Log::check(Arc::new(only(&damaged))).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let (_, mut file) = small_log(true);
    file[8] = 7;
    let error = open(&only(&file), options()).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 7, supported: 2, .. }));
    let text = error.to_string();
    assert!(text.contains("log format 7") && text.contains("up to 2"), "{text}");
}

#[test]
fn a_file_under_another_name_is_refused() {
    let (_, file) = small_log(true);
    let disk = FaultyDisk::new(1);
    disk.put("0000000004.log", &file);
    assert!(matches!(open(&disk, options()), Err(StoreError::Corrupt { offset: 0, .. })));
    disk.put("0000000004.log", b"not a log");
    assert!(matches!(open(&disk, options()), Err(StoreError::Corrupt { offset: 0, .. })));
}

#[test]
fn files_of_others_are_left_alone() {
    let disk = FaultyDisk::new(1);
    for name in ["notes.txt", "1.log", "0000000009.log.new"] {
        disk.put(name, b"what it says");
    }
    drop(open(&disk, options()).unwrap());
    assert_eq!(disk.names(), ["0000000001.log", "1.log", "notes.txt"]);
}

#[test]
fn a_read_error_concerns_one_message() {
    let mut bed = Bed::new();
    let (first, second) = (bed.send(1, &[1; 100]), bed.send(1, &[2; 100]));
    bed.sync();
    bed.disk.damage(FIRST, 100);
    let error = bed.log.locate(first).unwrap().read().unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { offset: FILE_HEADER, .. }), "{error}");
    assert_eq!(bed.log.locate(second).unwrap().read().unwrap(), [2; 100][..]);
    bed.disk.fail(Operation::Read, 0, std::io::ErrorKind::Other);
    let error = bed.log.locate(second).unwrap().read().unwrap_err();
    assert!(matches!(error, StoreError::Io { action: "read", .. }), "{error}");
    assert_eq!(bed.log.locate(second).unwrap().read().unwrap(), [2; 100][..]);
    bed.send(1, b"more");
    bed.sync();
    assert_eq!(bed.log.status().state, State::Ready);
}
