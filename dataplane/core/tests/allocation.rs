//! The path of a message that a consumer can take at once allocates nothing, once it has run a few
//! times.

// A counting allocator cannot be written without it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use bytes::Bytes;
use mq_core::{
    AddressKind, AddressSettings, ConsumerOptions, Core, CoreLimits, Effect, Incoming, LegKey, Outcome,
    ProducerOptions, ProducerTarget, ShardId,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // The counter may be gone while a thread ends; then nobody asks for it.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of a thousand messages, after a thousand others.
fn allocations(kind: AddressKind, consumers: usize, settled: bool) -> u64 {
    let now = Instant::now();
    let mut core = Core::new(ShardId(0), 1, CoreLimits::default());
    core.set_address(now, &"a".into(), AddressSettings { kind, ..AddressSettings::default() });
    let lane = core.add_lane();
    core.set_lane_budget(now, lane, usize::MAX);
    let target = ProducerTarget::Address("a");
    let producer = core.add_producer(now, target, ProducerOptions::default()).expect("let in");
    for _ in 0..consumers {
        let consumer = core.add_consumer(now, lane, "a", ConsumerOptions::default()).expect("let in");
        core.set_credit(now, consumer, 10_000, false);
    }
    let body = Bytes::from(vec![7; 100]);
    let mut legs: Vec<LegKey> = Vec::with_capacity(100);
    let mut run = |messages: u64| {
        for handle in 0..messages {
            let incoming =
                Incoming { handle, settled, priority: 4, chunk: body.clone(), ..Incoming::default() };
            core.begin(now, producer, incoming);
            while let Some(effect) = core.poll_effect() {
                if let Effect::Deliver { leg: Some(leg), .. } = effect {
                    legs.push(leg);
                }
            }
            for leg in legs.drain(..) {
                core.settle_by_consumer(now, leg, Some(Outcome::Accepted), true);
            }
            while core.poll_effect().is_some() {}
        }
    };
    run(1_000);
    let before = ALLOCATIONS.with(Cell::get);
    run(1_000);
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn forwarding_to_a_ready_consumer_allocates_nothing() {
    for (kind, consumers, settled) in [
        (AddressKind::Anycast, 1, false),
        (AddressKind::Anycast, 1, true),
        (AddressKind::Anycast, 7, false),
        (AddressKind::Multicast, 10, true),
        (AddressKind::Multicast, 10, false),
    ] {
        let count = allocations(kind, consumers, settled);
        assert_eq!(count, 0, "{kind:?} to {consumers}, settled {settled}");
    }
}

#[test]
fn a_message_through_a_queue_costs_a_small_part_of_an_allocation() {
    for (consumers, settled) in [(1, false), (1, true), (7, false)] {
        let count = allocations(AddressKind::Queue, consumers, settled);
        // The queue keeps its entries in rows, and takes a new one every 32 messages.
        assert!(count <= 64, "{count} to {consumers}, settled {settled}");
    }
}
