//! What a connection has to write: small packets copied together, large payloads by reference.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Payloads from this size on leave as a segment of their own. Below it, copying costs less than a
/// reference count and a queue entry, and does not pin the buffer that the payload arrived in.
pub const SEGMENT_THRESHOLD: usize = 4_096;

/// The largest buffer kept for the next turn.
const MAX_KEPT: usize = 256 << 10;

/// The smallest buffer.
const MIN_BUFFER: usize = 512;

/// Bytes to be written, in order. From the first publication or acknowledgement on the buffer is kept for
/// the next turn, until `shrink`; who only connects and waits has none.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    segments: VecDeque<Bytes>,
    segment_bytes: usize,
    tail: BytesMut,
    is_kept: bool,
}

impl Outbox {
    /// Bytes that wait to be written.
    pub(crate) fn len(&self) -> usize {
        self.segment_bytes + self.tail.len()
    }

    /// Memory held, in bytes and segments.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.segments.capacity() + self.tail.capacity()
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.tail.is_empty()
    }

    /// Fills `slices` with what to write next; says how many it used.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.segments.iter().map(|segment| &segment[..]).chain(std::iter::once(&self.tail[..]));
        let mut used = 0;
        for (slot, part) in slices.iter_mut().zip(parts.filter(|part| !part.is_empty())) {
            *slot = IoSlice::new(part);
            used += 1;
        }
        used
    }

    /// Forgets `count` bytes that have been written.
    pub(crate) fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(front) = self.segments.front_mut() else { break };
            let part = front.len().min(count);
            front.advance(part);
            self.segment_bytes -= part;
            count -= part;
            if front.is_empty() {
                self.segments.pop_front();
            }
        }
        self.tail.advance(count.min(self.tail.len()));
        if self.is_empty() && (!self.is_kept || self.tail.capacity() > MAX_KEPT) {
            self.tail = BytesMut::new();
        }
    }

    /// The buffer that packets are written into.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        if self.tail.is_empty() {
            // Goes back to the start of the buffer, where there is one.
            self.tail.reserve(MIN_BUFFER);
        }
        &mut self.tail
    }

    /// The same for the packets of which there may be many.
    pub(crate) fn kept_buffer(&mut self) -> &mut BytesMut {
        self.is_kept = true;
        self.buffer()
    }

    /// Appends a payload to the packet that was just written: by copy when small, by reference
    /// otherwise.
    pub(crate) fn push_payload(&mut self, payload: &Bytes) {
        if payload.len() < SEGMENT_THRESHOLD {
            self.tail.extend_from_slice(payload);
            return;
        }
        if !self.tail.is_empty() {
            let written = self.tail.split().freeze();
            self.segment_bytes += written.len();
            self.segments.push_back(written);
        }
        self.segment_bytes += payload.len();
        self.segments.push_back(payload.clone());
    }

    /// Gives back what is kept for the next turn.
    pub(crate) fn shrink(&mut self) {
        if self.tail.is_empty() {
            self.tail = BytesMut::new();
        }
        self.is_kept = false;
        self.segments.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(outbox: &mut Outbox, at_once: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let used = outbox.slices(&mut slices);
            let flat: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            let count = flat.len().min(at_once);
            all.extend_from_slice(&flat[..count]);
            outbox.advance(count);
        }
        all
    }

    #[test]
    fn copies_and_segments_leave_in_the_order_they_were_written() {
        for at_once in [1, 7, 5_000, usize::MAX] {
            let mut outbox = Outbox::default();
            outbox.buffer().extend_from_slice(b"head");
            outbox.push_payload(&Bytes::from_static(b"small"));
            outbox.push_payload(&Bytes::from(vec![b'x'; SEGMENT_THRESHOLD]));
            outbox.buffer().extend_from_slice(b"tail");
            let mut expected = b"headsmall".to_vec();
            expected.extend(vec![b'x'; SEGMENT_THRESHOLD]);
            expected.extend_from_slice(b"tail");
            assert_eq!(outbox.len(), expected.len());
            assert_eq!(written(&mut outbox, at_once), expected);
        }
    }

    #[test]
    fn an_outbox_that_was_written_whole_and_shrunk_holds_no_memory() {
        let mut outbox = Outbox::default();
        outbox.buffer().extend_from_slice(&[0; 100_000]);
        outbox.push_payload(&Bytes::from(vec![0; SEGMENT_THRESHOLD]));
        outbox.advance(outbox.len());
        outbox.shrink();
        assert_eq!(outbox.capacity(), 0);
    }

    #[test]
    fn a_buffer_is_used_again() {
        let mut outbox = Outbox::default();
        outbox.kept_buffer().extend_from_slice(&[0; 500]);
        let start = outbox.tail.as_ptr();
        for _ in 0..1_000 {
            outbox.advance(outbox.len());
            outbox.kept_buffer().extend_from_slice(&[0; 500]);
            assert_eq!(outbox.tail.as_ptr(), start);
        }
    }

    #[test]
    fn who_only_connects_and_waits_holds_no_buffer() {
        let mut outbox = Outbox::default();
        for _ in 0..2 {
            outbox.buffer().extend_from_slice(b"an answer");
            outbox.advance(4);
            assert_ne!(outbox.capacity(), 0, "some of it waits");
            outbox.advance(5);
            assert_eq!(outbox.capacity(), 0);
        }
        outbox.kept_buffer().extend_from_slice(b"a message");
        outbox.advance(9);
        assert_ne!(outbox.capacity(), 0);
    }
}
