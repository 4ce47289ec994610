//! What one queue takes of memory: nothing for a message that goes straight through, and about what an
//! entry takes for one that waits.

// A counting allocator cannot be written without it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use mq_core::queue::{Arrival, Entry, MemberOptions, Next, Queue, Settlement};
use mq_core::{QueueSettings, Reference, UnixMillis};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count(allocations: u64, bytes: i64) {
    // The counters may be gone while a thread ends; then nobody asks for them.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + allocations));
    let _ = BYTES.try_with(|count| count.set(count.get() + bytes));
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: UnixMillis = UnixMillis(1_000);

fn queue() -> Queue {
    Queue::new(Arc::new(QueueSettings::default()))
}

#[test]
fn messages_that_go_through_allocate_nothing() {
    for (consumers, batch) in [(1, 1), (1, 100), (4, 100)] {
        let mut queue = queue();
        for _ in 0..consumers {
            let consumer = queue.add_consumer(MemberOptions::default()).expect("it is let in");
            queue.set_credit(consumer, u32::MAX, false);
        }
        let body = Bytes::from(vec![7; 100]);
        let mut taken = Vec::with_capacity(batch);
        let mut run = |messages: usize| {
            for _ in 0..messages / batch {
                for _ in 0..batch {
                    let arrival = Arrival { body: body.clone(), priority: 4, ..Arrival::default() };
                    queue.enqueue(NOW, arrival).expect("there is room");
                }
                while let Next::Deliver(delivery) = queue.next(NOW) {
                    taken.push(delivery);
                }
                for delivery in taken.drain(..) {
                    queue.settle(NOW, delivery.consumer, delivery.entry, Settlement::Accepted);
                }
            }
        };
        run(2_000);
        let before = ALLOCATIONS.with(Cell::get);
        run(10_000);
        let allocations = ALLOCATIONS.with(Cell::get) - before;
        assert_eq!(allocations, 0, "{consumers} consumers, {batch} at a time");
    }
}

#[test]
fn a_message_that_waits_in_the_store_takes_little_more_than_its_entry() {
    let before = BYTES.with(Cell::get);
    let mut queue = queue();
    let arrival =
        Arrival { priority: 4, durable: true, expires: Some(UnixMillis(90_000)), ..Arrival::default() };
    for number in 0..100_000 {
        queue.restore(NOW, &arrival, 100, Reference(number), 0);
    }
    let bytes = (BYTES.with(Cell::get) - before) / 100_000;
    assert!(bytes <= size_of::<Entry>() as i64 + 8, "{bytes} bytes for a message");
    let mut last = None;
    while let Some(key) = queue.take(last) {
        queue.remove(key);
        last = Some(key);
    }
    drop(arrival);
    let left = BYTES.with(Cell::get) - before;
    assert!(left < 1_000, "{left} bytes are left of an empty queue");
}
