//! Dead records give their room back, and nothing else.

use super::bed::{Bed, SEGMENT, open};
use crate::{Compaction, Options, State, StoreError};

/// A log of some segments of which one message in `every` is alive.
fn sparse(seed: u64, every: usize) -> Bed {
    let mut bed = Bed::with(seed, Options { segment_bytes: SEGMENT, ..Options::default() });
    let messages: Vec<_> = (0..600).map(|number| bed.send(1 + number % 3, &[7; 100])).collect();
    for key in 0..5 {
        bed.put(&[key], &[key; 200]).unwrap();
        bed.put(&[key], &[key; 300]).unwrap();
    }
    bed.delete(&[3]).unwrap();
    for (number, reference) in messages.into_iter().enumerate() {
        if number % every == 0 {
            bed.update(1 + number as u64 % 3, reference, b"once").unwrap();
            bed.update(1 + number as u64 % 3, reference, b"twice").unwrap();
        } else {
            bed.settle(1 + number as u64 % 3, reference, None).unwrap();
        }
    }
    bed.sync();
    bed
}

#[test]
fn files_without_a_live_message_are_removed() {
    let mut bed = Bed::new();
    let messages: Vec<_> = (0..600).map(|_| bed.send(1, &[7; 100])).collect();
    assert!(bed.log.status().segments > 4);
    for reference in messages {
        bed.settle(1, reference, None).unwrap();
    }
    bed.compact();
    let status = bed.log.status();
    assert_eq!((status.live_bytes, status.messages), (0, 0));
    assert!(status.segments <= 2, "{status:?}");
    assert!(bed.crash().model.messages.is_empty());
}

#[test]
fn a_rewritten_message_keeps_its_name_and_what_belongs_to_it() {
    let mut bed = sparse(1, 20);
    let before = bed.disk.used();
    bed.compact();
    assert!(bed.disk.used() < before / 2, "{} of {before} bytes are left", bed.disk.used());
    bed.check_bodies();
    let mut bed = bed.crash();
    assert_eq!(bed.model.messages.len(), 30);
    assert_eq!(bed.model.objects.len(), 4);
    bed.compact();
    bed.kill();
}

#[test]
fn a_location_can_be_read_when_compaction_has_removed_the_message() {
    let mut bed = Bed::new();
    let messages: Vec<_> = (0..600_u32).map(|number| bed.send(1, &[number as u8; 100])).collect();
    bed.sync();
    let location = bed.log.locate(messages[5]).unwrap();
    for reference in messages.iter().copied() {
        bed.settle(1, reference, None).unwrap();
    }
    bed.compact();
    assert!(bed.log.locate(messages[5]).is_none());
    assert_eq!(location.read().unwrap(), [5; 100][..]);
}

#[test]
fn a_crash_at_any_step_of_compaction_loses_nothing() {
    let mut bed = sparse(0, 7);
    let before = bed.disk.operations();
    bed.compact();
    let steps = bed.disk.operations() - before;
    assert!(steps > 30, "{steps}");
    for step in 0..steps {
        for seed in 0..3 {
            let mut bed = sparse(step * 3 + seed, 7);
            bed.disk.cut_power_after(step);
            while bed.log.compact_step(1000).is_ok_and(|left| left != Compaction::Idle) {}
            let mut bed = bed.crash();
            bed.compact();
            bed.check_bodies();
        }
    }
}

#[test]
fn a_slow_subscription_keeps_its_messages_and_not_the_settlements_of_others() {
    let mut bed = Bed::new();
    let queues: Vec<u64> = (1..=200).collect();
    let messages: Vec<_> = (0..30).map(|_| bed.append(&queues, true, None, &[1; 50]).unwrap()).collect();
    for reference in &messages {
        for queue in queues.iter().filter(|queue| **queue != 150) {
            bed.settle(*queue, *reference, None).unwrap();
        }
        bed.sync();
        bed.compact();
    }
    let mut bed = bed.crash();
    assert_eq!(bed.model.messages.len(), 30);
    for reference in messages {
        bed.settle(150, reference, None).unwrap();
    }
    bed.compact();
    assert_eq!(bed.log.status().live_bytes, 0);
}

#[test]
fn the_disk_bound_holds_while_messages_come_and_go() {
    let mut bed = Bed::new();
    let mut held = std::collections::VecDeque::new();
    for round in 0..4_000_u64 {
        held.push_back((round % 5, bed.send(round % 5, &[3; 80])));
        // One queue is not read: its messages lie in every file.
        if held.len() > 50
            && let Some((queue, reference)) = held.pop_front()
            && (queue != 4 || round % 10 == 0)
        {
            bed.settle(queue, reference, None).unwrap();
        }
        if round % 100 == 0 {
            bed.sync();
            bed.compact();
        }
    }
    bed.kill();
}

#[test]
fn compaction_without_room_is_put_off() {
    let mut bed = sparse(1, 2);
    bed.disk.set_capacity(Some(bed.disk.used()));
    assert_eq!(bed.log.compact_step(1000).unwrap(), Compaction::Blocked);
    assert_eq!(bed.log.status().state, State::Ready);
    bed.check_bodies();
    bed.disk.set_capacity(None);
    bed.compact();
    bed.check_bodies();
}

#[test]
fn a_damaged_file_is_named_and_left_alone() {
    let mut bed = sparse(1, 20);
    bed.disk.damage("0000000002.log", 200);
    let error = loop {
        match bed.log.compact_step(100_000) {
            Ok(Compaction::Idle) => panic!("the damage was not found"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, StoreError::Corrupt { path, offset, .. }
        if path.ends_with("0000000002.log") && *offset <= 200),
        "{error}"
    );
    while bed.log.compact_step(100_000).expect("the other files are fine") != Compaction::Idle {}
    assert_eq!((bed.log.status().damaged, bed.log.status().state), (1, State::Ready));
    bed.send(1, b"more");
    bed.sync();
    assert!(open(&bed.disk.kill(), bed.options).is_err());
}

#[test]
fn what_was_forgotten_does_not_return_when_the_record_of_it_moves() {
    let mut bed = Bed::new();
    for _ in 0..300 {
        bed.append(&[1, 2], true, None, &[1; 60]).unwrap();
        bed.send(1, &[1; 30]);
        bed.send(2, &[1; 30]);
    }
    bed.forget(1).unwrap();
    bed.sync();
    bed.compact();
    for _ in 0..600 {
        let reference = bed.send(3, &[1; 100]);
        bed.settle(3, reference, None).unwrap();
    }
    bed.sync();
    bed.compact();
    let mut bed = bed.crash();
    assert_eq!(bed.model.messages.len(), 600);
    bed.forget(2).unwrap();
    bed.sync();
    bed.compact();
    assert!(bed.crash().model.messages.is_empty());
}
