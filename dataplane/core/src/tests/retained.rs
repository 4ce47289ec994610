//! What topics retain.

use std::time::Duration;

use super::bed::{Bed, P, name};
use super::sessions::{session, topic, with};
use super::stored::{bed, bed_with};
use crate::*;

const SHARDS: [(usize, usize); 4] = [(0, 0), (1, 1), (0, 1), (1, 0)];

fn with_topic() -> Bed {
    let mut bed = bed(2);
    bed.set("t", topic());
    bed
}

impl Bed {
    pub(crate) fn retain(&mut self, producer: P, to: &str, body: &str) -> u64 {
        let incoming = Incoming { to: Some(to), retain: Retain::Keep, ..self.incoming(body, false, false) };
        self.begin(producer, incoming).0
    }

    pub(crate) fn unretain(&mut self, producer: P, to: &str) -> u64 {
        let incoming = Incoming { to: Some(to), retain: Retain::Clear, ..self.incoming("", false, false) };
        self.begin(producer, incoming).0
    }

    pub(crate) fn ask(&mut self, shard: usize, token: u64, filter: &str, after: Option<&str>, max: u32) {
        let query = RetainedQuery {
            token,
            topic: name("t"),
            filter: name(filter),
            after: after.map(name),
            max_messages: max,
            max_bytes: 1_000,
        };
        self.cores[shard].query_retained(self.now, query);
        self.run();
    }

    /// All that a topic retains for a filter, page by page.
    pub(crate) fn retained(&mut self, shard: usize, filter: &str) -> Vec<(String, String)> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            self.ask(shard, 7, filter, after.as_deref(), 3);
            let page = self.retained.remove(&7).expect("an answer");
            assert!(page.messages.len() <= 3);
            for message in page.messages {
                found.push((message.name.to_string(), String::from_utf8_lossy(&message.body).into_owned()));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return found,
            }
        }
    }

    fn retained_bodies(&mut self, shard: usize, filter: &str) -> Vec<String> {
        self.retained(shard, filter).into_iter().map(|(_, body)| body).collect()
    }
}

#[test]
fn the_last_message_of_each_name_is_retained() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let producer = bed.anonymous(shards.0);
        for (to, body) in [("t/b", "1"), ("t/a", "2"), ("t/a/x", "3"), ("t/b", "4"), ("t", "5")] {
            let handle = bed.retain(producer, to, body);
            assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        }
        bed.send_durable_to(producer, "t/b", "not retained");
        assert_eq!(bed.retained_bodies(shards.1, "t/#"), ["5", "2", "3", "4"]);
        assert_eq!(bed.retained_bodies(shards.1, "t/+"), ["2", "4"]);
        assert_eq!(bed.retained_bodies(shards.1, "t/b"), ["4"]);
        assert_eq!(bed.retained_bodies(shards.1, "u/#"), Vec::<String>::new());
        assert_eq!((bed.holds("t").retained, bed.holds("t").retained_bytes), (4, 4));
        assert_eq!(bed.store.messages.len(), 4, "what was replaced is settled");
        let handle = bed.unretain(producer, "t/a");
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        bed.unretain(producer, "t/never");
        assert_eq!(bed.retained_bodies(shards.1, "t/#"), ["5", "3", "4"]);
        assert_eq!((bed.holds("t").retained, bed.store.messages.len()), (3, 3));
        bed.clear();
    }
}

#[test]
fn what_is_retained_is_delivered_and_stored_once() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let consumer = bed.join(shards.1, session("s", &["t/#"]), 10);
        let producer = bed.anonymous(shards.0);
        let incoming = Incoming {
            to: Some("t/a"),
            retain: Retain::Keep,
            durable: true,
            ..bed.incoming("x", false, false)
        };
        bed.begin(producer, incoming);
        assert_eq!(bed.store.appends, 2 - 1, "one record for the subscription and what is retained");
        assert_eq!(bed.bodies(consumer), ["x"]);
        bed.accept(consumer, 0);
        assert_eq!(bed.store.messages.len(), 1);
        bed.unretain(producer, "t/a");
        assert_eq!(bed.bodies(consumer), ["x", ""], "the one that clears goes its way");
        bed.accept(consumer, 1);
        assert!(bed.store.messages.is_empty());
        bed.clear();
    }
}

#[test]
fn a_producer_learns_that_its_message_is_retained_when_it_is_on_disk() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let producer = bed.anonymous(shards.0);
        bed.retain(producer, "t/a", "old");
        bed.store.held = true;
        let handle = bed.retain(producer, "t/a", "new");
        assert_eq!(bed.outcome(producer, handle), None);
        bed.ask(shards.1, 1, "t/#", None, 10);
        assert!(!bed.retained.contains_key(&1), "it waits for what is on its way to the disk");
        bed.ask(shards.1, 2, "t/#", Some("t"), 10);
        assert_eq!(&bed.retained[&2].messages[0].body[..], b"old", "a later page does not");
        bed.store.held = false;
        bed.run();
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        assert_eq!(&bed.retained[&1].messages[0].body[..], b"new");
        bed.clear();
    }
}

#[test]
fn a_settled_message_is_retained_on_disk_too() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let producer = bed.anonymous(shards.0);
        let incoming = Incoming { to: Some("t/a"), retain: Retain::Keep, ..bed.incoming("x", true, false) };
        bed.begin(producer, incoming);
        let mut bed = bed.restart(&[("t", topic())]);
        bed.ask(shards.1, 1, "#", None, 10);
        assert!(!bed.retained[&1].messages[0].durable, "it says what it was");
        bed.clear();
    }
}

#[test]
fn what_is_retained_survives_restarts_and_what_was_cleared_stays_away() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let producer = bed.anonymous(shards.0);
        for (to, body) in [("t/a", "1"), ("t/b", "2"), ("t/c", "3"), ("t/b", "4")] {
            bed.retain(producer, to, body);
        }
        bed.unretain(producer, "t/c");
        let mut bed = bed.restart(&[("t", topic())]);
        assert_eq!(bed.retained_bodies(shards.1, "#"), ["1", "4"]);
        let producer = bed.anonymous(shards.0);
        bed.retain(producer, "t/a", "5");
        let mut bed = bed.restart(&[("t", topic())]);
        assert_eq!(bed.retained_bodies(shards.1, "#"), ["5", "4"]);
        assert_eq!(bed.store.messages.len(), 2);
        bed.clear();
    }
}

#[test]
fn a_clear_counts_also_when_what_it_clears_is_still_on_its_way() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let producer = bed.anonymous(shards.0);
        bed.store.held = true;
        let kept = bed.retain(producer, "t/a", "1");
        let cleared = bed.unretain(producer, "t/a");
        let again = bed.retain(producer, "t/b", "2");
        bed.store.held = false;
        bed.run();
        for handle in [kept, cleared, again] {
            assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        }
        assert_eq!(bed.store.messages.len(), 1);
        let mut bed = bed.restart(&[("t", topic())]);
        assert_eq!(bed.retained_bodies(shards.1, "#"), ["2"]);
        bed.clear();
    }
}

#[test]
fn a_message_that_the_store_refuses_replaces_nothing() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let producer = bed.anonymous(shards.0);
        bed.retain(producer, "t/a", "old");
        bed.store.fails = true;
        for handle in [
            bed.retain(producer, "t/a", "new"),
            bed.retain(producer, "t/b", "new"),
            bed.unretain(producer, "t/a"),
        ] {
            assert!(matches!(bed.outcome(producer, handle), Some(Outcome::Rejected(_))));
        }
        bed.store.fails = false;
        assert_eq!(bed.retained_bodies(shards.1, "#"), ["old"]);
        bed.clear();
    }
}

#[test]
fn the_first_message_is_not_retained_when_its_queue_is_not_known_to_the_store() {
    let mut bed = with_topic();
    let producer = bed.anonymous(0);
    bed.store.held = true;
    let first = bed.retain(producer, "t/a", "lost");
    bed.store.fails = true;
    bed.store.held = false;
    assert!(bed.store_answers(), "the number of the queue");
    bed.store.fails = false;
    bed.run();
    assert_eq!(bed.outcome(producer, first), Some(Outcome::Released), "to be sent again");
    assert!(bed.store.messages.is_empty());
    bed.retain(producer, "t/a", "again");
    let mut bed = bed.restart(&[("t", topic())]);
    assert_eq!(bed.retained_bodies(0, "#"), ["again"]);
    bed.clear();
}

#[test]
fn what_is_retained_expires() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let producer = bed.anonymous(shards.0);
        for (to, seconds) in [("t/a", 10), ("t/b", 20)] {
            let ttl = Some(Duration::from_secs(seconds));
            let incoming =
                Incoming { to: Some(to), retain: Retain::Keep, ttl, ..bed.incoming(to, false, false) };
            bed.begin(producer, incoming);
        }
        bed.advance(Duration::from_secs(4));
        bed.ask(shards.1, 1, "t/a", None, 10);
        assert_eq!(bed.retained[&1].messages[0].ttl_left, Some(Duration::from_secs(6)));
        bed.advance(Duration::from_secs(6));
        assert_eq!(bed.retained_bodies(shards.1, "#"), ["t/b"]);
        assert_eq!((bed.holds("t").retained, bed.holds("t").expired), (1, 1));
        assert_eq!(bed.store.messages.len(), 1);
        bed.now += Duration::from_secs(3_600);
        let mut bed = bed.restart(&[("t", topic())]);
        bed.advance(Duration::from_secs(1));
        assert!(bed.retained_bodies(shards.1, "#").is_empty() && bed.store.messages.is_empty());
        bed.clear();
    }
}

#[test]
fn bodies_that_are_not_in_memory_are_loaded_for_the_page() {
    for shards in SHARDS {
        let mut bed = bed_with(2, CoreLimits { stored_memory_bytes: 8, ..CoreLimits::default() });
        bed.set("t", topic());
        let producer = bed.anonymous(shards.0);
        for to in ["t/a", "t/b", "t/c"] {
            bed.retain(producer, to, "body");
        }
        let home = bed.home_of("t");
        assert_eq!(bed.cores[home].stored_memory(), 4, "a quarter may be in memory");
        assert_eq!(bed.retained_bodies(shards.1, "#"), ["body", "body", "body"]);
        assert_eq!(bed.store.loads, 2);
        bed.store.cannot_load = true;
        assert_eq!(bed.retained_bodies(shards.1, "#"), ["body"], "what cannot be read is left out");
        bed.clear();
    }
}

#[test]
fn a_page_has_its_number_of_messages_and_bytes() {
    let mut bed = with_topic();
    let producer = bed.anonymous(0);
    for number in 0..5 {
        bed.retain(producer, &format!("t/{number}"), &"x".repeat(400));
    }
    bed.ask(1, 1, "#", None, 10);
    let page = bed.retained.remove(&1).expect("an answer");
    assert_eq!((page.messages.len(), page.next.as_deref()), (2, Some("t/1")), "1,000 bytes at most");
    bed.ask(1, 1, "#", Some("t/1"), 0);
    let page = bed.retained.remove(&1).expect("an answer");
    assert_eq!((page.messages.len(), page.next.as_deref()), (1, Some("t/2")), "one at least");
    bed.retain(producer, "t/3", &"x".repeat(4_000));
    bed.ask(1, 1, "#", Some("t/2"), 10);
    let page = bed.retained.remove(&1).expect("an answer");
    assert_eq!(page.messages[0].body.len(), 4_000, "one comes whatever its size");
    bed.ask(1, 1, "#", Some("t/4"), 10);
    assert_eq!(bed.retained[&1], RetainedPage::default());
    bed.clear();
}

#[test]
fn a_long_walk_is_cut_into_pages() {
    let mut bed = bed(1);
    bed.set("t", topic());
    let producer = bed.anonymous(0);
    for number in 0..12_000 {
        let incoming = Incoming { to: None, retain: Retain::Keep, ..bed.incoming("x", true, false) };
        let to = format!("t/{number:05}/a");
        bed.cores[0].begin(bed.now, producer.1, Incoming { to: Some(&to), ..incoming });
    }
    bed.retain(producer, "t/99999/b", "found");
    bed.ask(0, 1, "t/+/b", None, 10);
    let page = bed.retained.remove(&1).expect("an answer");
    let next = page.next.expect("there is more");
    assert!(page.messages.is_empty());
    bed.ask(0, 1, "t/+/b", Some(&next), 10);
    assert_eq!(bed.retained[&1].messages.len(), 1);
}

#[test]
fn a_shard_retains_its_number_of_messages() {
    let mut bed = bed_with(1, CoreLimits { max_retained: 2, ..CoreLimits::default() });
    bed.set("t", topic());
    let consumer = bed.join(0, session("s", &["t/#"]), 10);
    let producer = bed.anonymous(0);
    bed.retain(producer, "t/a", "1");
    bed.retain(producer, "t/b", "2");
    let refused = bed.retain(producer, "t/c", "3");
    let Some(Outcome::Rejected(Some(error))) = bed.outcome(producer, refused) else { panic!() };
    assert_eq!(error.condition, "amqp:resource-limit-exceeded");
    assert_eq!(bed.bodies(consumer), ["1", "2"], "what is refused goes nowhere");
    bed.retain(producer, "t/a", "4");
    bed.unretain(producer, "t/b");
    let taken = bed.retain(producer, "t/c", "5");
    assert_eq!(bed.outcome(producer, taken), Some(Outcome::Accepted));
    assert_eq!(bed.retained_bodies(0, "#"), ["4", "5"]);
    bed.clear();
}

#[test]
fn an_administrator_clears_by_filter() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let producer = bed.anonymous(shards.0);
        for to in ["t/a/1", "t/a/2", "t/b/1"] {
            bed.retain(producer, to, to);
        }
        let (home, now) = (bed.home_of("t"), bed.now);
        assert_eq!(bed.cores[home].clear_retained(now, "t", "t/a/+"), Ok(2));
        bed.run();
        assert_eq!(bed.retained_bodies(shards.1, "#"), ["t/b/1"]);
        assert_eq!(bed.store.messages.len(), 1);
        assert!(bed.cores[1 - home].clear_retained(now, "t", "#").is_err(), "its home is elsewhere");
        assert!(matches!(bed.cores[home].clear_retained(now, "t", "#/a"), Err(Refused::BadName { .. })));
        let mut bed = bed.restart(&[("t", topic())]);
        assert_eq!(bed.retained_bodies(shards.1, "#"), ["t/b/1"]);
        bed.clear();
    }
}

#[test]
fn with_its_topic_goes_what_it_retained() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let producer = bed.anonymous(shards.0);
        bed.retain(producer, "t/a", "1");
        bed.store.held = true;
        bed.retain(producer, "t/b", "2");
        bed.ask(shards.1, 1, "#", None, 10);
        bed.remove("t");
        bed.store.held = false;
        bed.run();
        assert_eq!(bed.retained[&1], RetainedPage::default());
        assert!(bed.store.messages.is_empty() && bed.store.objects.is_empty());
        bed.ask(shards.1, 2, "#", None, 10);
        assert_eq!(bed.retained[&2], RetainedPage::default());
        bed.set("t", topic());
        assert!(bed.retained_bodies(shards.1, "#").is_empty());
        for core in &bed.cores {
            assert_eq!(core.stored_memory(), 0);
            core.check_stored_idle();
        }
        bed.clear();
    }
}

#[test]
fn an_answer_has_what_other_shards_had_sent_before_they_knew_of_the_asker() {
    for home in 0..3 {
        let mut bed = bed(3);
        let address = (0..).map(|number| format!("t{number}")).find(|address| bed.home_of(address) == home);
        let address = address.expect("some have it");
        bed.set(&address, topic());
        let others: Vec<usize> = (0..3).filter(|shard| *shard != home).collect();
        for (publisher, asker) in [(others[0], others[1]), (others[0], home), (home, others[0])] {
            let producer = bed.anonymous(publisher);
            bed.deliver_mail = false;
            let body = format!("by {publisher}");
            bed.retain(producer, &address, &body);
            let query = RetainedQuery {
                token: 1,
                topic: name(&address),
                filter: name(&address),
                after: None,
                max_messages: 10,
                max_bytes: 1_000,
            };
            bed.cores[asker].query_retained(bed.now, query);
            bed.run();
            // Whatever else arrives first, the message is on its way from its publisher as long as that
            // has not heard of the asker.
            let hold = (publisher, home);
            while let Some(pair) =
                bed.mail.iter().find(|(pair, mail)| **pair != hold && !mail.is_empty()).map(|(pair, _)| *pair)
            {
                bed.post_mail(pair);
                while bed.store_answers() {}
            }
            assert_eq!(bed.retained.contains_key(&1), publisher == home, "{publisher} {home} {asker}");
            bed.deliver_mail = true;
            bed.run();
            let page = bed.retained.remove(&1).expect("an answer");
            assert_eq!(page.messages.len(), 1);
            assert_eq!(page.messages[0].body, body);
            bed.remove_producer(producer);
        }
        bed.clear();
    }
}

#[test]
fn a_question_to_a_shard_that_is_gone_is_answered() {
    let mut bed = with_topic();
    let home = bed.home_of("t");
    let producer = bed.anonymous(home);
    bed.retain(producer, "t/a", "1");
    bed.deliver_mail = false;
    bed.ask(1 - home, 1, "#", None, 10);
    bed.ask(home, 2, "#", None, 10);
    assert!(bed.retained.is_empty());
    bed.cores[1 - home].handle_peer_gone(bed.now, ShardId(home as u32));
    bed.cores[home].handle_peer_gone(bed.now, ShardId(1 - home as u32));
    bed.run();
    assert_eq!(bed.retained[&1], RetainedPage { is_unavailable: true, ..RetainedPage::default() });
    assert_eq!(bed.retained[&2].messages.len(), 1, "the home has what it has");
}

#[test]
fn what_a_transaction_retains_counts_when_it_is_committed() {
    for shards in SHARDS {
        for commit in [true, false] {
            let mut bed = with_topic();
            let producer = bed.anonymous(shards.0);
            bed.retain(producer, "t/a", "old");
            bed.retain(producer, "t/b", "old");
            let id = bed.cores[shards.0].declare(bed.now).expect("there is room");
            for (to, retain) in [("t/a", Retain::Keep), ("t/b", Retain::Clear), ("t/c", Retain::Keep)] {
                let incoming = Incoming {
                    to: Some(to),
                    retain,
                    transaction: Some(id),
                    ..bed.incoming("new", false, false)
                };
                bed.begin(producer, incoming);
            }
            assert_eq!(bed.retained_bodies(shards.1, "#"), ["old", "old"]);
            bed.cores[shards.0].discharge(bed.now, id, !commit).expect("it is open");
            bed.run();
            let expected = if commit { ["new", "new"] } else { ["old", "old"] };
            assert_eq!(bed.retained_bodies(shards.1, "#"), expected);
            assert_eq!(bed.store.messages.len(), 2);
            let mut bed = bed.restart(&[("t", topic())]);
            assert_eq!(bed.retained_bodies(shards.1, "#"), expected);
            bed.clear();
        }
    }
}

#[test]
fn a_transaction_does_not_retain_where_the_store_does_not_know_the_queue() {
    let mut bed = with_topic();
    let producer = bed.anonymous(0);
    let id = bed.cores[0].declare(bed.now).expect("there is room");
    let transaction = Some(id);
    let incoming = bed.incoming("lost", false, false);
    let incoming = Incoming { to: Some("t/a"), retain: Retain::Keep, transaction, ..incoming };
    bed.begin(producer, incoming);
    bed.store.held = true;
    bed.cores[0].discharge(bed.now, id, false).expect("it is open");
    bed.run();
    bed.store.fails = true;
    bed.store.held = false;
    assert!(bed.store_answers(), "the number of the queue");
    bed.store.fails = false;
    bed.run();
    assert!(bed.discharged[&id].is_err());
    assert!(bed.store.messages.is_empty() && bed.retained_bodies(0, "#").is_empty());
    bed.clear();
}

#[test]
fn a_subscription_may_begin_with_what_is_retained() {
    for shards in SHARDS {
        for memory in [8, 1 << 20] {
            let limits = CoreLimits { link_credit: 10, stored_memory_bytes: memory, ..CoreLimits::default() };
            let mut bed = bed_with(2, limits);
            bed.set("t", topic());
            let producer = bed.anonymous(shards.0);
            for number in 0..9 {
                bed.retain(producer, &format!("t/{number}"), &number.to_string());
            }
            bed.retain(producer, "t/other", "other");
            let lane = bed.lane(shards.1, usize::MAX);
            let options = ConsumerOptions { retained: true, ..ConsumerOptions::default() };
            let consumer = bed.consumer_in(shards.1, lane, "t/+", options, 0).expect("let in");
            bed.credit(consumer, 20, false);
            // The topic lets a subscription have five messages.
            for index in 0..10 {
                bed.accept(consumer, index);
            }
            bed.send_durable_to(producer, "t/9", "live");
            let received = &bed.consumers[&consumer].received;
            let retained: Vec<bool> = received.iter().map(|received| received.redelivery.retained).collect();
            assert_eq!(retained, [vec![true; 10], vec![false]].concat());
            let bodies = bed.bodies(consumer);
            assert_eq!(bodies[..9], ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
            assert_eq!(bodies[9..], ["other", "live"]);
            bed.accept(consumer, 10);
            bed.clear();
        }
    }
}

#[test]
fn a_durable_subscription_has_what_it_began_with_after_a_restart_too() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let producer = bed.anonymous(shards.0);
        for to in ["t/a", "t/b", "t/c"] {
            let incoming = Incoming {
                to: Some(to),
                retain: Retain::Keep,
                durable: true,
                ..bed.incoming(to, false, false)
            };
            bed.begin(producer, incoming);
        }
        let wanted = || ConsumerOptions { retained: true, ..with(session("s", &["t/+", "t/b", "t/#"])) };
        let consumer = bed.consumer_with(shards.1, "t", wanted(), 0).expect("let in");
        assert_eq!(bed.session_named("s").expect("there").queue.messages, 3, "each once");
        bed.remove_consumer(consumer);
        let mut bed = bed.restart(&[("t", topic())]);
        let consumer = bed.consumer_with(shards.1, "t", wanted(), 10).expect("let in");
        assert_eq!(bed.bodies(consumer), ["t/a", "t/b", "t/c"]);
        assert!(bed.consumers[&consumer].received.iter().all(|received| received.redelivery.retained));
        for index in 0..3 {
            bed.accept(consumer, index);
        }
        assert_eq!(bed.store.messages.len(), 3, "they are retained all the same");
        bed.clear();
    }
}

#[test]
fn what_comes_while_a_subscription_is_given_what_is_retained_comes_once_and_last() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let producer = bed.anonymous(shards.0);
        for number in 0..8 {
            bed.retain(producer, &format!("t/{number}"), "old");
        }
        bed.store.held = true;
        bed.retain(producer, "t/0", "under way");
        let lane = bed.lane(shards.1, usize::MAX);
        let options = ConsumerOptions { retained: true, ..ConsumerOptions::default() };
        let consumer = bed.consumer_in(shards.1, lane, "t/+", options, 100).expect("let in");
        bed.retain(producer, "t/7", "new");
        bed.store.held = false;
        bed.run();
        let mut index = 0;
        while index < bed.bodies(consumer).len() {
            bed.accept(consumer, index);
            index += 1;
        }
        let mut bodies = bed.bodies(consumer);
        bodies.sort_unstable();
        let expected = [vec!["new"], vec!["old"; 6], vec!["under way"]].concat();
        assert_eq!(bodies, expected, "what was replaced meanwhile does not come");
        bed.clear();
    }
}

#[test]
fn retained_messages_of_a_name_are_in_the_order_of_their_home() {
    let mut bed = bed(1);
    bed.set("t", topic());
    let producer = bed.anonymous(0);
    bed.store.held = true;
    let bodies: Vec<String> = (0..5).map(|number| number.to_string()).collect();
    for body in &bodies {
        bed.retain(producer, "t/a", body);
    }
    for shown in &bodies {
        bed.store.held = false;
        while bed.store.messages.values().all(|kept| kept.body != shown.as_bytes()) {
            assert!(bed.store_answers());
        }
        bed.store.held = true;
        bed.ask(0, 1, "#", Some("a"), 10);
        let page = bed.retained.remove(&1).expect("an answer");
        assert_eq!(page.messages[0].body, shown.as_bytes());
    }
    bed.store.held = false;
    bed.run();
    assert_eq!(bed.store.messages.len(), 1);
    bed.clear();
}
