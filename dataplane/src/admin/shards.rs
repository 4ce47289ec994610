//! The shards of a queue, as one address and each by itself.
//!
//! In the paths of the API the shard 2 of the queue `orders` is `orders::#2`; the first one is `orders::#0`,
//! which nothing but the API calls it. The name of the queue stands for all of them.

use std::sync::Arc;

use mq_core::{shard_name, split_shard};
use mq_model::manifest::{AddressStatus, QueueStatus, ShardStatus};

use super::Api;
use crate::objects::Object;

/// What the path says of the first shard.
const FIRST: &str = "::#0";

/// A shard of a queue, or an address as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard<'a> {
    pub(super) queue: &'a str,
    number: Option<u16>,
}

impl<'a> Shard<'a> {
    /// What a name in a path means.
    pub(super) fn parse(name: &'a str) -> Self {
        match (split_shard(name), name.strip_suffix(FIRST)) {
            (Some((queue, number)), _) => Self { queue, number: Some(number) },
            (None, Some(queue)) => Self { queue, number: Some(0) },
            (None, None) => Self { queue: name, number: None },
        }
    }

    /// The places that it means, of an address of that name: the one shard, or all; of what has no shards it
    /// is the address.
    pub(super) fn of<'b>(&self, api: &Api, name: &'b str) -> Vec<Shard<'b>> {
        let further = api.node.catalogue.shards(name);
        match self.number {
            Some(number) => vec![Shard { queue: name, number: Some(number) }],
            None if further.is_empty() => vec![Shard { queue: name, number: None }],
            None => {
                let numbers = [0].into_iter().chain(further.into_iter().map(|(number, _)| number));
                numbers.map(|number| Shard { queue: name, number: Some(number) }).collect()
            }
        }
    }

    /// What the catalogue calls it.
    pub(super) fn name(&self) -> Arc<str> {
        shard_name(self.queue, self.number.unwrap_or(0))
    }

    /// What another node is to be asked for.
    pub(super) fn path(&self) -> Arc<str> {
        match self.number {
            Some(0) => format!("{}{FIRST}", self.queue).into(),
            Some(_) => self.name(),
            None => self.queue.into(),
        }
    }
}

/// Makes one status of that of the first shard and those of the others, if there are any, as far as this node
/// knows them.
pub(super) fn gather_in(status: &mut AddressStatus, further: Vec<(u16, AddressStatus)>) {
    if further.is_empty() {
        return;
    }
    status.shards = vec![ShardStatus { queue: status.queue.take(), ..ShardStatus::default() }];
    for (shard, part) in further {
        // Each link has a part at every shard that it could reach.
        status.producers = status.producers.max(part.producers);
        status.consumers = status.consumers.max(part.consumers);
        status.deliveries_in += part.deliveries_in;
        status.deliveries_out += part.deliveries_out;
        status.undelivered += part.undelivered;
        status.unsettled += part.unsettled;
        status.dropped += part.dropped;
        status.expired += part.expired;
        status.shards.push(ShardStatus { shard, queue: part.queue, ..ShardStatus::default() });
    }
    total(status);
}

/// Adds what another node knows of the shards.
pub(super) fn merge(status: &mut AddressStatus, there: AddressStatus) {
    for row in there.shards {
        let own = status.shards.iter_mut().find(|own| own.shard == row.shard);
        if let (Some(own), Some(queue)) = (own, row.queue) {
            own.queue = Some(queue);
        }
    }
    total(status);
}

fn total(status: &mut AddressStatus) {
    let mut queues = status.shards.iter().filter_map(|shard| shard.queue.as_ref()).peekable();
    status.queue = queues.peek().is_some().then_some(()).map(|()| {
        let mut total = QueueStatus::default();
        queues.for_each(|queue| total.add(queue));
        total
    });
}

/// Says where each shard of a queue is, and whether it can be reached. Those that it has no more and that hold
/// nothing are left out.
pub(super) fn name_homes(api: &Api, queue: &str, object: &Object, status: &mut AddressStatus) {
    let shards = object.spec.shards();
    for row in &mut status.shards {
        row.is_leaving = row.shard >= shards;
        let Some(object) = api.node.catalogue.address(&shard_name(queue, row.shard)) else { continue };
        row.home = object.home.as_deref().map(str::to_owned);
        row.moving_from = object.moving_from.as_deref().map(str::to_owned);
        let mut holders = row.home.iter().chain(&row.moving_from);
        row.ready = !holders.any(|holder| status.unreachable.contains(holder));
    }
    // What a node that can be reached says nothing of is empty.
    let holds = |row: &ShardStatus| row.queue.as_ref().is_some_and(|queue| queue.messages > 0);
    status.shards.retain(|row| !row.is_leaving || !row.ready || holds(row));
    if shards == 1 && status.shards.len() == 1 {
        status.shards.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_queue_or_one_of_its_shards() {
        let parsed = |name| Shard::parse(name);
        assert_eq!(parsed("orders"), Shard { queue: "orders", number: None });
        assert_eq!(parsed("orders::#0"), Shard { queue: "orders", number: Some(0) });
        assert_eq!(parsed("orders::#2"), Shard { queue: "orders", number: Some(2) });
        assert_eq!(parsed("events::billing"), Shard { queue: "events::billing", number: None });
        assert_eq!((&*parsed("orders::#0").name(), &*parsed("orders::#0").path()), ("orders", "orders::#0"));
    }

    #[test]
    fn the_depth_of_a_queue_is_that_of_its_shards_together() {
        let holding = |messages| AddressStatus {
            consumers: 2,
            queue: Some(QueueStatus { messages, ..QueueStatus::default() }),
            ..AddressStatus::default()
        };
        let mut status = holding(1);
        gather_in(&mut status, vec![(1, AddressStatus::default()), (2, holding(3))]);
        assert_eq!((status.queue.as_ref().map(|queue| queue.messages), status.consumers), (Some(4), 2));
        let mut there = AddressStatus::default();
        gather_in(&mut there, vec![(1, holding(5)), (2, AddressStatus::default())]);
        merge(&mut status, there);
        assert_eq!(status.queue.map(|queue| queue.messages), Some(9));
        assert!(status.shards.iter().all(|shard| shard.queue.is_some()));
    }
}
