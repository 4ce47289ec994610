//! What a large fleet costs each of its shards: addresses with a consumer somewhere else.

// A counting allocator cannot be written without it.
#![allow(unsafe_code, clippy::print_stdout)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use mq_core::{
    AddressSettings, ConsumerOptions, Core, CoreLimits, Effect, PeerMessage, PeerOptions, ShardId,
};

struct Counting;

thread_local! {
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    // The counter may be gone while a thread ends; then nobody asks for it.
    let _ = BYTES.try_with(|count| count.set(count.get() + bytes));
}

fn bytes() -> i64 {
    BYTES.with(Cell::get)
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(taken(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-taken(layout.size()));
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What an allocation takes at least with what the system's allocator adds: 8 bytes, in steps of 16.
fn taken(bytes: usize) -> i64 {
    ((bytes + 8).next_multiple_of(16)).max(32) as i64
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ADDRESSES: usize = 50_000;

/// Shards of other nodes.
const PEERS: u32 = 20;

fn core() -> Core {
    let now = Instant::now();
    let mut core = Core::new(ShardId(0), 1, CoreLimits::default());
    for index in 0..ADDRESSES {
        core.set_address(now, &format!("device/{index:06}/commands").into(), AddressSettings::default());
    }
    for slot in 1..=PEERS {
        core.add_peer(now, ShardId::new(slot, 0), PeerOptions { cost: 1 });
    }
    introduce(&mut core);
    core
}

/// Lets a core say all that there is; gives what it says to the first of the others, and counts.
fn introduce(core: &mut Core) -> (Vec<PeerMessage>, usize) {
    let (mut mail, mut count) = (Vec::new(), 0);
    loop {
        while let Some(effect) = core.poll_effect() {
            let Effect::Peer { to, message } = effect else { continue };
            count += 1;
            if to == ShardId::new(1, 0) {
                mail.push(message);
            }
        }
        match core.poll_timeout() {
            Some(at) => core.handle_timeout(at),
            None => return (mail, count),
        }
    }
}

#[test]
fn an_address_with_a_consumer_elsewhere_costs_little_more_than_one_without() {
    let now = Instant::now();
    let (mut here, mut there) = (core(), core());
    let lane = here.add_lane();
    here.set_lane_budget(now, lane, 1 << 30);
    let consumers: Vec<_> = (0..ADDRESSES)
        .map(|index| {
            let address = format!("device/{index:06}/commands");
            let consumer = here.add_consumer(now, lane, &address, ConsumerOptions::default());
            let consumer = consumer.expect("below every limit");
            here.set_credit(now, consumer, 10, false);
            consumer
        })
        .collect();
    let (mut mail, messages) = introduce(&mut here);
    assert_eq!(mail.len(), ADDRESSES, "one message for each address and peer");
    assert_eq!(messages, ADDRESSES * PEERS as usize);

    let before = bytes();
    for message in mail.drain(..) {
        there.handle_peer(now, ShardId::new(1, 0), message);
        while there.poll_effect().is_some() {}
    }
    let elsewhere = (bytes() - before) / ADDRESSES as i64;

    // Credit that is used and given again is told to nobody who does not send.
    for consumer in &consumers {
        here.set_credit(now, *consumer, 0, false);
        here.set_credit(now, *consumer, 10, false);
    }
    assert_eq!(introduce(&mut here).1, 0);
    println!("an address with a consumer elsewhere takes {elsewhere} bytes more");
    assert!(elsewhere < 100, "{elsewhere}");
}
