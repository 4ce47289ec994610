//! What nodes tell each other of what is taken: counts, and how fast something is sent.
//!
//! Four times a second a node tells all others which of its accounts have changed, and a new node everything. It
//! is about accounts of spaces, and of those users who have limits. A message is lost only with the channel, and
//! then all that its node has said is forgotten. So an account takes some ten bytes a second of each path at most
//! for each count that changes, and nothing at all while nothing does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mq_mesh::NodeId;
use tracing::warn;

use super::{Account, HELD_KINDS, Limit, UNLIMITED, Usage};
use crate::mesh::{ControlMail, Fabric, NodeEvent, Service, Tag};

/// How often.
const PERIOD: Duration = Duration::from_millis(250);

/// Accounts that are told at once; the others come with the next messages.
const MOST_AT_ONCE: usize = 4_096;

/// Accounts in one message.
const IN_ONE_MESSAGE: usize = 256;

/// Accounts of one other node that are kept in mind.
const MOST_OF_A_NODE: usize = 1_000_000;

/// Bytes of an account's key.
const LONGEST_NAME: usize = 1_024;

/// How fast something is sent on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    /// Units in a second.
    pub(super) rate: u64,
    /// Somebody had to wait: it would be more.
    pub(super) is_short: bool,
}

/// What one account takes on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    held: [u64; HELD_KINDS],
    messages: Flow,
    bytes: Flow,
}

impl Report {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn encode(&self, name: &str, out: &mut BytesMut) {
        out.put_u16(u16::try_from(name.len()).unwrap_or(u16::MAX));
        out.put_slice(name.as_bytes());
        for held in self.held {
            out.put_u64(held);
        }
        for flow in [self.messages, self.bytes] {
            out.put_u64(flow.rate);
            out.put_u8(u8::from(flow.is_short));
        }
    }

    fn decode(input: &mut Bytes) -> Option<(Arc<str>, Self)> {
        let length = usize::from(input.try_get_u16().ok()?);
        if length > LONGEST_NAME || length > input.remaining() {
            return None;
        }
        let name = std::str::from_utf8(&input.split_to(length)).ok()?.into();
        let mut report = Self::default();
        for held in &mut report.held {
            *held = input.try_get_u64().ok()?;
        }
        for flow in [&mut report.messages, &mut report.bytes] {
            *flow = Flow { rate: input.try_get_u64().ok()?, is_short: input.try_get_u8().ok()? != 0 };
        }
        Some((name, report))
    }
}

/// The part of a limit that one node may use, where the others use this much: what those leave who use less than
/// they may, shared out equally among those who would use more. At least an equal part of all, so that the others
/// learn of it.
pub(super) fn share(limit: u64, others: &[Flow]) -> u64 {
    let busy = others.iter().filter(|flow| flow.rate > 0 || flow.is_short).count() as u64;
    let short = others.iter().filter(|flow| flow.is_short).count() as u64;
    let used =
        others.iter().filter(|flow| !flow.is_short).fold(0_u64, |sum, flow| sum.saturating_add(flow.rate));
    (limit.saturating_sub(used) / (short + 1)).max(limit / (busy + 1)).max(1)
}

/// What the other nodes have said, and what they were told.
#[derive(Debug, Default)]
pub(super) struct Others {
    nodes: BTreeMap<NodeId, HashMap<Arc<str>, Report>>,
    /// Nodes that have been told nothing yet.
    fresh: Vec<NodeId>,
    told: HashMap<Arc<str>, Report>,
}

impl Others {
    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Report> {
        self.nodes.values().filter_map(move |reports| reports.get(name))
    }

    /// Tells an account what the others take.
    pub(super) fn tell(&self, account: &Account) {
        let mut held = [0_u64; HELD_KINDS];
        for report in self.of(&account.key) {
            for (sum, count) in held.iter_mut().zip(report.held) {
                *sum = sum.saturating_add(count);
            }
        }
        for (limit, held) in Limit::ALL.into_iter().zip(held) {
            account.set_elsewhere(limit, held);
        }
        let flows = |flow: fn(&Report) -> Flow| self.of(&account.key).map(flow).collect::<Vec<Flow>>();
        if let Some(limit) = account.messages.limit() {
            account.messages.set_share(share(limit, &flows(|report| report.messages)));
        }
        if let Some(limit) = account.bytes.limit() {
            account.bytes.set_share(share(limit, &flows(|report| report.bytes)));
        }
    }
}

impl Usage {
    /// What has to be given to the mesh.
    pub(crate) fn service(self: &Arc<Self>) -> Service {
        let usage = self.clone();
        Service { tag: Tag::Usage, deliver: Box::new(move |event| usage.hear(event)) }
    }

    /// Takes what another node says, or what has become of it.
    pub(super) fn hear(&self, event: NodeEvent) {
        match event {
            NodeEvent::Opened { node, .. } => {
                let mut others = self.others();
                others.nodes.insert(node, HashMap::new());
                others.fresh.push(node);
            }
            NodeEvent::Lost { node } => {
                let gone = {
                    let mut others = self.others();
                    others.fresh.retain(|fresh| *fresh != node);
                    others.nodes.remove(&node)
                };
                self.tell_accounts(gone.unwrap_or_default().keys());
            }
            NodeEvent::Message { node, message } => {
                let names = self.take_reports(node, message);
                self.tell_accounts(names.iter());
            }
            NodeEvent::Cordoned { .. } | NodeEvent::Emptied { .. } => {}
        }
    }

    fn take_reports(&self, node: NodeId, mut message: Bytes) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        let mut others = self.others();
        let Some(reports) = others.nodes.get_mut(&node) else { return names };
        while message.has_remaining() {
            let Some((name, report)) = Report::decode(&mut message) else {
                warn!(%node, "what a node says of its tenants cannot be read; run versions that are neighbours");
                break;
            };
            if report.is_nothing() {
                reports.remove(&name);
            } else if reports.len() < MOST_OF_A_NODE || reports.contains_key(&name) {
                reports.insert(name.clone(), report);
            }
            names.push(name);
        }
        names
    }

    /// Accounts hear what others take of them; one that is made later asks itself.
    fn tell_accounts<'a>(&self, names: impl Iterator<Item = &'a Arc<str>>) {
        for name in names {
            if let Some(account) = self.find(name) {
                self.others().tell(&account);
            }
        }
    }

    /// What has changed in such a time, as messages for the nodes that are to hear it.
    pub(super) fn tick(&self, now: Instant, period: Duration) -> Vec<(NodeId, Bytes)> {
        self.prune();
        let mut changed = Vec::new();
        let mut there = HashMap::new();
        for account in self.all().into_iter().filter(|account| account.is_told()) {
            there.insert(account.key.clone(), account.report(now, period));
        }
        let mut others = self.others();
        let is_new = |(name, report): &(&Arc<str>, &Report)| others.told.get(*name) != Some(*report);
        let new = there.iter().filter(|(_, report)| !report.is_nothing());
        let new = new.filter(is_new).map(|(name, report)| (name.clone(), *report));
        changed.extend(new.take(MOST_AT_ONCE));
        let is_gone = |name: &Arc<str>| there.get(name).is_none_or(Report::is_nothing);
        let gone =
            others.told.keys().filter(|name| is_gone(name)).map(|name| (name.clone(), Report::default()));
        changed.extend(gone.take(MOST_AT_ONCE));
        for (name, report) in &changed {
            if report.is_nothing() {
                others.told.remove(name);
            } else {
                others.told.insert(name.clone(), *report);
            }
        }
        let fresh = std::mem::take(&mut others.fresh);
        let all: Vec<(Arc<str>, Report)> = match fresh.is_empty() {
            true => Vec::new(),
            false => others.told.iter().map(|(name, report)| (name.clone(), *report)).collect(),
        };
        let nodes: Vec<NodeId> = others.nodes.keys().copied().collect();
        drop(others);
        // With nobody else, the whole limit is this node's.
        self.tell_accounts(changed.iter().map(|(name, _)| name));
        let (changed, all) = (encoded(&changed), encoded(&all));
        let messages = |node: NodeId| {
            let said = if fresh.contains(&node) { &all } else { &changed };
            said.iter().map(move |message| (node, message.clone()))
        };
        nodes.into_iter().flat_map(messages).collect()
    }
}

impl Account {
    /// Whether others are told of it: of users only of those who have limits.
    fn is_told(&self) -> bool {
        let has_limit = || self.limits.iter().any(|limit| limit.load(Ordering::Relaxed) != UNLIMITED);
        self.key.len() <= LONGEST_NAME && (self.space.is_none() || has_limit())
    }

    fn report(&self, now: Instant, period: Duration) -> Report {
        let mut held = [0; HELD_KINDS];
        for (place, limit) in held.iter_mut().zip(Limit::ALL) {
            *place = self.held(limit);
        }
        Report { held, messages: self.messages.flow(now, period), bytes: self.bytes.flow(now, period) }
    }
}

fn encoded(reports: &[(Arc<str>, Report)]) -> Vec<Bytes> {
    let messages = reports.chunks(IN_ONE_MESSAGE).map(|chunk| {
        let mut out = BytesMut::new();
        for (name, report) in chunk {
            report.encode(name, &mut out);
        }
        out.freeze()
    });
    messages.collect()
}

/// Tells the other nodes, for as long as it is polled.
pub(crate) async fn run(usage: Arc<Usage>, fabric: Option<Arc<Fabric>>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let messages = usage.tick(now, now.saturating_duration_since(last));
        last = now;
        for (to, message) in messages {
            if let Some(fabric) = &fabric {
                fabric.tell(ControlMail::Say { tag: Tag::Usage, to, message });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow(rate: u64, is_short: bool) -> Flow {
        Flow { rate, is_short }
    }

    #[test]
    fn a_node_whose_others_are_quiet_has_the_whole_limit() {
        assert_eq!(share(1_000, &[]), 1_000);
        assert_eq!(share(1_000, &[Flow::default(); 49]), 1_000);
    }

    #[test]
    fn what_others_leave_is_shared_out_among_those_who_want_more() {
        assert_eq!(share(1_000, &[flow(100, false), flow(400, true)]), 450);
        assert_eq!(share(1_000, &[flow(1_000, true)]), 500);
        assert_eq!(share(1_000, &[flow(1_000, false)]), 500, "and it will hear of this one");
        assert_eq!(share(1, &[flow(1, true); 9]), 1, "a node is never shut off");
    }

    proptest! {
        /// Nodes that want this much, each of which goes by what the others have said.
        #[test]
        fn nodes_come_to_use_the_limit_and_no_more(limit in 1_000_u64..1_000_000, wants in prop::collection::vec(0_u64..500_000, 1..8)) {
            let mut flows = vec![Flow::default(); wants.len()];
            for _ in 0..20 {
                let next = (0..wants.len()).map(|node| {
                    let others: Vec<Flow> =
                        flows.iter().enumerate().filter(|(other, _)| *other != node).map(|(_, flow)| *flow).collect();
                    let share = share(limit, &others);
                    flow(wants[node].min(share), wants[node] > share)
                });
                flows = next.collect();
            }
            let used: u64 = flows.iter().map(|flow| flow.rate).sum();
            let wanted: u64 = wants.iter().sum();
            prop_assert!(used <= limit + wants.len() as u64, "{used} of {limit}");
            prop_assert!(used + limit / 10 + wants.len() as u64 >= wanted.min(limit), "{used} of {limit}, {wanted} wanted");
        }

        #[test]
        fn a_report_comes_back_as_it_was(held: [u64; HELD_KINDS], rate: u64, is_short: bool, name in "[a-z]{1,20}(/[a-z]{1,20})?") {
            let report = Report { held, messages: flow(rate, is_short), bytes: flow(rate / 2, !is_short) };
            let mut encoded = encoded(&[(name.as_str().into(), report)]).remove(0);
            prop_assert_eq!(Report::decode(&mut encoded), Some((Arc::from(name.as_str()), report)));
            prop_assert!(encoded.is_empty());
        }

        #[test]
        fn whatever_comes_is_read_or_not_and_nothing_breaks(bytes: Vec<u8>) {
            let mut input = Bytes::from(bytes);
            while Report::decode(&mut input).is_some() {}
        }
    }
}
