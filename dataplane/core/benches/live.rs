//! Nanoseconds that routing a message to live subscribers takes: `cargo bench -p mq-core --bench live`.
//!
//! A million filters without wildcards and a hundred with one are there. The names are those of a
//! thousand devices. While others connect, eight filters of newcomers come for each message.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use mq_core::{AddressKind, AddressSettings, Core, CoreLimits, Route, ShardId, Subscriber};

const FILTERS: u64 = 1_000_000;
const NAMES: u64 = 1_000;
const MESSAGES: u64 = 2_000_000;

fn main() {
    let mut core = Core::new(ShardId(0), 1, CoreLimits::default());
    let settings = AddressSettings { kind: AddressKind::Topic, ..AddressSettings::default() };
    core.set_address(Instant::now(), &"#".into(), settings);
    let start = Instant::now();
    for number in 0..FILTERS {
        add(&mut core, &format!("devices/{number}/command"), number);
    }
    let each = start.elapsed().as_nanos() as f64 / FILTERS as f64;
    println!("add a filter without wildcards   {each:8.1} ns");
    for number in 0..100 {
        add(&mut core, &format!("devices/+/{number}/#"), number);
    }
    add(&mut core, "devices/+/command", FILTERS);
    let names: Vec<String> = (0..NAMES).map(|number| format!("devices/{}/command", number * 777)).collect();

    run("route one name again and again", MESSAGES, |_| {
        let route = core.route(&names[1]);
        assert_eq!(black_box(&route).local.len(), 2);
    });
    run("route a thousand names by turns", MESSAGES, |number| {
        let route = core.route(&names[(number % NAMES) as usize]);
        assert_eq!(black_box(&route).local.len(), 2);
    });
    run("route a name for the first time", FILTERS, |number| {
        // More names than routes are kept.
        let route = core.route(&format!("devices/{number}/command"));
        assert_eq!(black_box(&route).local.len(), 2);
    });
    let mut client = 0;
    let mut known: Vec<Arc<Route>> = names.iter().map(|name| core.route(name)).collect();
    let mut made_again = 0;
    run("route while others connect", MESSAGES / 10, |number| {
        for index in 0..4 {
            client += 1;
            add(&mut core, &format!("clients/{client}/{index}"), client);
            add(&mut core, &format!("clients/{client}/#"), client);
        }
        let known = &mut known[(number % NAMES) as usize];
        let route = core.route(&known.name);
        made_again += u64::from(!Arc::ptr_eq(known, &route));
        *known = route;
    });
    println!("of which were made again         {:8.1} %", made_again as f64 * 100.0 / (MESSAGES / 10) as f64);
    run("the same without the message", MESSAGES / 10, |_| {
        for index in 0..4 {
            client += 1;
            add(&mut core, &format!("clients/{client}/{index}"), client);
            add(&mut core, &format!("clients/{client}/#"), client);
        }
    });
}

fn add(core: &mut Core, filter: &str, token: u64) {
    assert_eq!(core.add_live(filter, Subscriber { token, index: 0 }), Ok(true));
}

fn run(what: &str, times: u64, mut step: impl FnMut(u64)) {
    let start = Instant::now();
    (0..times).for_each(&mut step);
    println!("{what:32} {:8.1} ns", start.elapsed().as_nanos() as f64 / times as f64);
}
