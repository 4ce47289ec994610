//! What a node says of itself, and the messages in which neighbours pass it on.
//!
//! - *Records*: any number of records, each behind its age in seconds (32 bits) and its length (16 bits).
//! - *Digest*: flags, a range of nodes, and the version of each record that the sender has in that range.
//! - *Summary*: how many records the sender has, and a hash of their versions.
//!
//! A record may grow at its end in later versions: what is not known there is passed on unread.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{MAX_COST, MAX_INFO, MAX_LINKS, Node};
use crate::frame::{MAX_NAME, MAX_PAYLOAD, MAX_SHARDS, WireError};
use crate::identity::{Incarnation, NodeId};
use crate::wire::{Input, at_most, put_bytes};

const RECORDS: u8 = 1;
const DIGEST: u8 = 2;
const SUMMARY: u8 = 3;

const LEAVING: u8 = 1;
const ANSWER: u8 = 1;

const DIGEST_HEADER: usize = 2 + 8 + 8;
const DIGEST_ENTRY: usize = 8 + 8 + 8;

/// Of two records of a node the one with the larger version is the later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) incarnation: Incarnation,
    pub(super) sequence: u64,
}

/// A node's word on itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) node: Arc<Node>,
    pub(super) sequence: u64,
    /// As it travels, but for its age.
    pub(super) raw: Bytes,
}

impl Record {
    pub(super) fn new(node: Node, sequence: u64) -> Self {
        let mut raw = BytesMut::new();
        put_bytes(&mut raw, node.name.as_bytes());
        raw.put_u64(node.incarnation.0);
        raw.put_u64(sequence);
        raw.put_u8(if node.is_leaving { LEAVING } else { 0 });
        raw.put_u16(node.shards);
        put_bytes(&mut raw, &node.info);
        raw.put_u16(u16::try_from(node.links.len()).unwrap_or(u16::MAX));
        for (neighbour, cost) in node.links.iter() {
            raw.put_u64(neighbour.0);
            raw.put_u32(*cost);
        }
        Self { node: Arc::new(node), sequence, raw: raw.freeze() }
    }

    pub(super) fn version(&self) -> Version {
        Version { incarnation: self.node.incarnation, sequence: self.sequence }
    }

    /// Whose record it is and which version: enough to see that it is known, as most are that come.
    pub(super) fn peek(fleet: &str, raw: &Bytes) -> Result<(NodeId, Version), WireError> {
        let mut rest = raw.clone();
        let mut input = Input(&mut rest);
        let name = input.bytes("record: name", MAX_NAME)?;
        let name = std::str::from_utf8(&name).map_err(|_| WireError::NotText { what: "record: name" })?;
        let incarnation = Incarnation(input.u64("record: incarnation")?);
        let sequence = input.u64("record: sequence")?;
        Ok((NodeId::new(fleet, name), Version { incarnation, sequence }))
    }

    pub(super) fn decode(fleet: &str, raw: &[u8]) -> Result<Self, WireError> {
        // A copy: a slice would keep the buffer it was read in for as long as the node is known.
        let raw = Bytes::copy_from_slice(raw);
        let mut rest = raw.clone();
        let mut input = Input(&mut rest);
        let name: Arc<str> = input.text("record: name", MAX_NAME)?.into();
        let incarnation = Incarnation(input.u64("record: incarnation")?);
        let sequence = input.u64("record: sequence")?;
        let flags = input.u8("record: flags")?;
        let shards = input.u16("record: shards")?;
        at_most("record: shards", usize::from(shards), usize::from(MAX_SHARDS))?;
        let info = input.bytes("record: info", MAX_INFO)?;
        let links = links(&mut input)?;
        let id = NodeId::new(fleet, &name);
        let is_leaving = flags & LEAVING != 0;
        let node = Node { id, name, incarnation, shards, info, links, is_leaving };
        Ok(Self { node: Arc::new(node), sequence, raw })
    }
}

fn links(input: &mut Input<'_>) -> Result<Arc<[(NodeId, u32)]>, WireError> {
    let count = usize::from(input.u16("record: links")?);
    at_most("record: links", count, MAX_LINKS)?;
    let mut links = Vec::with_capacity(count);
    for _ in 0..count {
        let neighbour = NodeId(input.u64("record: neighbour")?);
        let cost = input.u32("record: cost")?;
        if links.last().is_some_and(|(last, _)| *last >= neighbour) {
            return Err(WireError::Invalid { what: "record: neighbour out of order", value: neighbour.0 });
        }
        links.push((neighbour, cost.clamp(1, MAX_COST)));
    }
    Ok(links.into())
}

/// What neighbours say to each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Records as they travel, each with its age in seconds.
    Records(Vec<(u32, Bytes)>),
    Digest {
        /// The receiver is to send its own.
        is_answer_wanted: bool,
        first: NodeId,
        last: NodeId,
        versions: Vec<(NodeId, Version)>,
    },
    Summary(Summary),
}

/// Everything that a node knows, in a few bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) count: u32,
    pub(super) hash: u64,
}

impl Summary {
    pub(super) fn add(&mut self, node: NodeId, version: Version) {
        self.count = self.count.saturating_add(1);
        // A sum, so that the order of the nodes does not matter.
        let hash = mix(mix(mix(node.0) ^ version.incarnation.0) ^ version.sequence);
        self.hash = self.hash.wrapping_add(hash);
    }

    pub(super) fn encode(self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(SUMMARY);
        out.put_u32(self.count);
        out.put_u64(self.hash);
        out.freeze()
    }
}

/// The finalizer of splitmix64: spreads every bit over all.
pub(super) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Message {
    pub(super) fn decode(mut message: Bytes) -> Result<Self, WireError> {
        let mut input = Input(&mut message);
        let decoded = match input.u8("link state: kind")? {
            RECORDS => Self::Records(records(&mut input)?),
            DIGEST => digest(&mut input)?,
            SUMMARY => Self::Summary(Summary {
                count: input.u32("summary: count")?,
                hash: input.u64("summary: hash")?,
            }),
            kind => {
                return Err(WireError::Invalid { what: "link state: kind", value: u64::from(kind) });
            }
        };
        input.end("link state")?;
        Ok(decoded)
    }
}

fn records(input: &mut Input<'_>) -> Result<Vec<(u32, Bytes)>, WireError> {
    let mut records = Vec::new();
    while input.0.has_remaining() {
        let age = input.u32("records: age")?;
        records.push((age, input.bytes("records: record", MAX_PAYLOAD)?));
    }
    Ok(records)
}

fn digest(input: &mut Input<'_>) -> Result<Message, WireError> {
    let is_answer_wanted = input.u8("digest: flags")? & ANSWER != 0;
    let (first, last) = (NodeId(input.u64("digest: first")?), NodeId(input.u64("digest: last")?));
    let mut versions = Vec::with_capacity(input.0.len() / DIGEST_ENTRY);
    while input.0.has_remaining() {
        let node = NodeId(input.u64("digest: node")?);
        let is_in_order = versions.last().is_none_or(|(previous, _)| *previous < node);
        if !is_in_order || node < first || node > last {
            return Err(WireError::Invalid { what: "digest: node out of order", value: node.0 });
        }
        let incarnation = Incarnation(input.u64("digest: incarnation")?);
        versions.push((node, Version { incarnation, sequence: input.u64("digest: sequence")? }));
    }
    Ok(Message::Digest { is_answer_wanted, first, last, versions })
}

/// A message of records, as many as fit.
#[derive(Debug)]
pub(super) struct RecordsWriter(BytesMut);

impl RecordsWriter {
    pub(super) fn new() -> Self {
        let mut out = BytesMut::new();
        out.put_u8(RECORDS);
        Self(out)
    }

    /// Appends a record; `false`: it does not fit.
    pub(super) fn push(&mut self, age: u32, raw: &[u8]) -> bool {
        let fits = self.0.len() + 6 + raw.len() <= MAX_PAYLOAD;
        if fits {
            self.0.put_u32(age);
            put_bytes(&mut self.0, raw);
        }
        fits
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// A message of versions from `first` on, and the node from which the next message has to go on, if all do
/// not fit.
pub(super) fn encode_digest(
    is_answer_wanted: bool,
    first: NodeId,
    versions: impl Iterator<Item = (NodeId, Version)>,
) -> (Bytes, Option<NodeId>) {
    let mut out = BytesMut::new();
    out.put_u8(DIGEST);
    out.put_u8(if is_answer_wanted { ANSWER } else { 0 });
    out.put_u64(first.0);
    out.put_u64(u64::MAX);
    let mut next = None;
    for (node, version) in versions {
        if out.len() + DIGEST_ENTRY > MAX_PAYLOAD {
            next = Some(node);
            break;
        }
        out.put_u64(node.0);
        out.put_u64(version.incarnation.0);
        out.put_u64(version.sequence);
    }
    if let (Some(next), Some(mut last)) = (next, out.get_mut(DIGEST_HEADER - 8..DIGEST_HEADER)) {
        // Nodes are sorted and the message is not empty, so `next` is not the first.
        last.put_u64(next.0.saturating_sub(1));
    }
    (out.freeze(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_too_large_for_one_message_goes_on_in_the_next_without_a_gap() {
        let version = Version { incarnation: Incarnation(1), sequence: 1 };
        let all: Vec<(NodeId, Version)> = (0..4_000).map(|node| (NodeId(node * 7), version)).collect();
        let (mut from, mut found, mut messages) = (NodeId(0), Vec::new(), 0);
        loop {
            let rest = all.iter().copied().filter(|(node, _)| *node >= from);
            let (message, next) = encode_digest(true, from, rest);
            assert!(message.len() <= MAX_PAYLOAD);
            let decoded = Message::decode(message);
            let Ok(Message::Digest { is_answer_wanted: true, first, last, versions }) = decoded else {
                panic!("{decoded:?}")
            };
            assert_eq!(first, from);
            found.extend(versions);
            messages += 1;
            let Some(next) = next else {
                assert_eq!(last, NodeId(u64::MAX));
                break;
            };
            assert_eq!(last.0 + 1, next.0);
            from = next;
        }
        assert_eq!((found, messages), (all, 2));
    }

    #[test]
    fn the_largest_record_fits_into_a_message() {
        let links: Vec<(NodeId, u32)> = (0..MAX_LINKS as u64).map(|node| (NodeId(node), 1)).collect();
        let node = Node {
            id: NodeId::new("fleet", &"n".repeat(MAX_NAME)),
            name: "n".repeat(MAX_NAME).into(),
            incarnation: Incarnation(1),
            shards: 1,
            info: vec![7; MAX_INFO].into(),
            links: links.into(),
            is_leaving: false,
        };
        let record = Record::new(node, 5);
        let mut writer = RecordsWriter::new();
        assert!(writer.push(1, &record.raw));
        assert_eq!(Message::decode(writer.finish()), Ok(Message::Records(vec![(1, record.raw.clone())])));
        assert_eq!(Record::peek("fleet", &record.raw), Ok((record.node.id, record.version())));
        assert_eq!(Record::decode("fleet", &record.raw), Ok(record));
    }

    #[test]
    fn a_summary_does_not_depend_on_the_order_and_does_on_everything_else() {
        let version = |incarnation, sequence| Version { incarnation: Incarnation(incarnation), sequence };
        let summary = |nodes: &[(u64, Version)]| {
            let mut summary = Summary::default();
            nodes.iter().for_each(|(node, version)| summary.add(NodeId(*node), *version));
            summary
        };
        let base = summary(&[(1, version(5, 5)), (2, version(6, 6))]);
        assert_eq!(base, summary(&[(2, version(6, 6)), (1, version(5, 5))]));
        for other in [
            summary(&[(1, version(5, 6)), (2, version(6, 5))]),
            summary(&[(1, version(6, 5)), (2, version(5, 6))]),
            summary(&[(2, version(5, 5)), (1, version(6, 6))]),
            summary(&[(1, version(5, 5))]),
        ] {
            assert_ne!(base, other);
        }
    }
}
