//! What live subscriptions take of memory, and that a route which is known takes none.

// A counting allocator cannot be written without it.
#![allow(unsafe_code, clippy::print_stdout)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use mq_core::{AddressKind, AddressSettings, Core, CoreLimits, Effect, PeerMessage, ShardId, Subscriber};

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
        // What it takes at least with what the system's allocator adds: 8 bytes, in steps of 16.
        count(1, taken(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -taken(layout.size()));
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn taken(bytes: usize) -> i64 {
    ((bytes + 8).next_multiple_of(16)).max(32) as i64
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Subscriptions of each measurement.
const SUBSCRIPTIONS: u64 = 200_000;

fn core(shard: u16) -> Core {
    let mut core = Core::new(ShardId::new(0, shard), 2, CoreLimits::default());
    let settings = AddressSettings { kind: AddressKind::Topic, ..AddressSettings::default() };
    core.set_address(Instant::now(), &"#".into(), settings);
    while core.poll_effect().is_some() {}
    core
}

/// Bytes for each subscription: at the shard of the subscriber, and at another one.
fn bytes_for_each(filter: impl Fn(u64) -> String) -> [i64; 2] {
    let (mut here, mut there) = (core(0), core(1));
    let (mut of_here, mut of_there) = (0, 0);
    for number in 0..SUBSCRIPTIONS {
        // Clients come in no order.
        let filter = filter(number.wrapping_mul(7_919) % SUBSCRIPTIONS);
        let before = BYTES.get();
        let added = here.add_live(&filter, Subscriber { token: number, index: 0 });
        assert_eq!(added, Ok(true));
        let mail: Option<PeerMessage> = match here.poll_effect() {
            Some(Effect::Peer { message, .. }) => Some(message),
            other => panic!("{other:?}"),
        };
        let between = BYTES.get();
        there.handle_peer(Instant::now(), ShardId(0), mail.expect("news"));
        // What is on its way is counted in the first step, and gone after the second.
        let news = taken(filter.len() + 16);
        of_here += between - before - news;
        of_there += BYTES.get() - between + news;
    }
    let each = |bytes: i64| bytes / SUBSCRIPTIONS as i64;
    [each(of_here), each(of_there)]
}

#[test]
fn a_live_subscription_without_wildcards_takes_less_than_150_bytes_of_each_shard() {
    let exact = bytes_for_each(|number| format!("devices/{number}/command"));
    let all = bytes_for_each(|number| format!("devices/{number}/#"));
    println!("without wildcards {exact:?} bytes, with one {all:?}");
    assert!(exact.iter().all(|bytes| *bytes < 150), "{exact:?}");
    assert!(all.iter().all(|bytes| *bytes < 250), "{all:?}");
}

#[test]
fn a_route_that_is_known_is_found_without_allocating() {
    let mut core = core(0);
    for number in 0..100 {
        let added = core.add_live(&format!("a/{number}"), Subscriber { token: number, index: 0 });
        assert_eq!(added, Ok(true));
    }
    while core.poll_effect().is_some() {}
    let first = core.route("a/7");
    let before = ALLOCATIONS.get();
    for _ in 0..1_000 {
        let route = core.route("a/7");
        core.publish_live(&route, 1, None);
    }
    assert_eq!(ALLOCATIONS.get(), before);
    assert_eq!(first.local.len(), 1);
}
