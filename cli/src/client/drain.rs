//! Sees when a peer has drained a link.
//!
//! A receiver that asks for a drain (AMQP 2.6.7) learns from the peer's flow that nothing is left. The client
//! library keeps that flow to itself, so a [`Watched`] stream looks at the frames that pass through it. It
//! also holds the flow back until everything that came before it has been received: the library takes a
//! flow at once and transfers when they are asked for, and would count those twice.
//!
//! The connection must have one receiving link.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, BytesMut};
use fe2o3_amqp::types::performatives::{Flow, Transfer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

/// The largest frame that is looked into; behind a larger one nothing is.
const MAX_FRAME: usize = 16 << 20;
/// How much is read at once.
const READ: usize = 16 << 10;
/// The descriptors of the two performatives that count (AMQP 2.7.4, 2.7.5).
const FLOW: u8 = 0x13;
const TRANSFER: u8 = 0x14;

/// What the stream and the one that waits for the drain share.
#[derive(Debug, Default)]
pub struct Watch {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Deliveries that have passed through.
    deliveries: u64,
    /// A drain has been asked for.
    is_armed: bool,
    /// The answer is here and held back.
    is_held: bool,
    reader: Option<Waker>,
}

impl Watch {
    /// Call it before the drain is asked for.
    pub fn arm(&self) {
        self.state().is_armed = true;
    }

    /// Waits until the peer has answered, and all that it sent before is among the `received` deliveries.
    /// Cancel-safe.
    pub async fn drained(&self, received: u64) {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                if state.is_held && state.deliveries <= received {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Lets the answer through, and every later one until the next [`arm`](Self::arm).
    pub fn release(&self) {
        let mut state = self.state();
        state.is_armed = false;
        state.is_held = false;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    fn saw_delivery(&self) {
        self.state().deliveries += 1;
    }

    /// Whether the answer that has just come must wait.
    fn holds(&self) -> bool {
        let mut state = self.state();
        if state.is_armed {
            state.is_held = true;
            self.changed.notify_one();
        }
        state.is_held
    }

    /// Whether the answer still must wait; if so, the reader is woken when it need not.
    fn still_holds(&self, context: &Context<'_>) -> bool {
        let mut state = self.state();
        if state.is_held {
            state.reader = Some(context.waker().clone());
        }
        state.is_held
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose frames are seen on their way in.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
    input: BytesMut,
    /// Bytes at the head of `input` that may be handed over.
    passed: usize,
    /// The length of the frame behind them that is held back.
    held: Option<usize>,
    /// Whether the input is no longer looked at.
    is_blind: bool,
}

impl<S> Watched<S> {
    pub fn new(stream: S, watch: Arc<Watch>) -> Self {
        Self { stream, watch, input: BytesMut::new(), passed: 0, held: None, is_blind: false }
    }

    /// Looks at the next whole frame of the input; false: there is none.
    fn look(&mut self) -> bool {
        if self.is_blind {
            self.passed = self.input.len();
            return self.passed > 0;
        }
        let Some(head) = self.input.first_chunk::<8>() else { return false };
        // A protocol header (AMQP 2.2) has the eight bytes of a frame's head.
        let length = match head {
            [b'A', b'M', b'Q', b'P', ..] => head.len(),
            [a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]) as usize,
        };
        if !(head.len()..=MAX_FRAME).contains(&length) {
            self.is_blind = true;
            return self.look();
        }
        let Some(frame) = self.input.get(..length) else { return false };
        match seen(frame) {
            Seen::Delivery => self.watch.saw_delivery(),
            Seen::Drained if self.watch.holds() => {
                self.held = Some(length);
                return true;
            }
            Seen::Drained | Seen::Other => {}
        }
        self.passed = length;
        true
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// The end of a delivery.
    Delivery,
    /// The flow of a sender that has no more.
    Drained,
    Other,
}

fn seen(frame: &[u8]) -> Seen {
    // AMQP 2.3.1: size, data offset in words of four bytes, type (0 is AMQP), channel.
    let (offset, kind) = match frame {
        [_, _, _, _, offset, kind, ..] => (usize::from(*offset) * 4, *kind),
        _ => return Seen::Other,
    };
    let Some(body) = frame.get(offset..).filter(|_| kind == 0) else { return Seen::Other };
    match descriptor(body) {
        Some(TRANSFER) => match serde_amqp::from_slice::<Transfer>(body) {
            Ok(transfer) if !transfer.more && !transfer.aborted => Seen::Delivery,
            _ => Seen::Other,
        },
        Some(FLOW) => match serde_amqp::from_slice::<Flow>(body) {
            Ok(flow) if flow.drain && flow.handle.is_some() && flow.link_credit == Some(0) => Seen::Drained,
            _ => Seen::Other,
        },
        _ => Seen::Other,
    }
}

/// The numeric descriptor of a performative, when it fits into a byte.
fn descriptor(body: &[u8]) -> Option<u8> {
    match body {
        [0x00, 0x53, code, ..] | [0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, code, ..] => Some(*code),
        _ => None,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.passed > 0 {
                let length = this.passed.min(buffer.remaining());
                buffer.put_slice(&this.input[..length]);
                this.input.advance(length);
                this.passed -= length;
                return Poll::Ready(Ok(()));
            }
            if let Some(length) = this.held {
                if this.watch.still_holds(context) {
                    return Poll::Pending;
                }
                this.held = None;
                this.passed = length;
                continue;
            }
            if this.look() {
                continue;
            }
            let mut chunk = [0; READ];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                // The end, maybe in the middle of a frame: the library is to see that.
                this.passed = this.input.len();
                this.is_blind = true;
                if this.passed == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            this.input.extend_from_slice(chunk.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::definitions::Handle;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(8 + body.len()).unwrap();
        [&size.to_be_bytes()[..], &[2, kind, 0, 0], body].concat()
    }

    fn flow(drain: bool, link_credit: u32) -> Vec<u8> {
        let flow = Flow {
            next_incoming_id: Some(0),
            incoming_window: 1,
            next_outgoing_id: 0,
            outgoing_window: 1,
            handle: Some(Handle(0)),
            delivery_count: Some(5),
            link_credit: Some(link_credit),
            available: None,
            drain,
            echo: false,
            properties: None,
        };
        frame(0, &serde_amqp::to_vec(&flow).unwrap())
    }

    fn transfer(more: bool) -> Vec<u8> {
        // handle 0, delivery-id 1, tag, message-format 0, settled false, more
        let flag = if more { 0x41 } else { 0x42 };
        let fields = [0x43, 0x52, 1, 0xa0, 1, b't', 0x43, 0x42, flag];
        let mut body = vec![0x00, 0x53, TRANSFER, 0xc0, u8::try_from(fields.len() + 1).unwrap(), 6];
        body.extend(fields);
        body.extend(b"payload");
        frame(0, &body)
    }

    #[test]
    fn only_whole_deliveries_and_answers_to_a_drain_count() {
        assert_eq!(seen(&transfer(false)), Seen::Delivery);
        assert_eq!(seen(&transfer(true)), Seen::Other);
        assert_eq!(seen(&flow(true, 0)), Seen::Drained);
        assert_eq!(seen(&flow(true, 1)), Seen::Other);
        assert_eq!(seen(&flow(false, 0)), Seen::Other);
        assert_eq!(seen(&frame(0, &[])), Seen::Other);
        assert_eq!(seen(&frame(1, &[0x00, 0x53, 0x44])), Seen::Other);
        assert_eq!(seen(b"AMQP\0\x01\0\0"), Seen::Other);
    }

    /// Writes in the pieces given, and returns what comes out until nothing more does.
    async fn pass(watch: &Arc<Watch>, pieces: &[&[u8]]) -> (Watched<tokio::io::DuplexStream>, Vec<u8>) {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let mut watched = Watched::new(far, Arc::clone(watch));
        let mut out = Vec::new();
        for piece in pieces {
            near.write_all(piece).await.unwrap();
            drain_into(&mut watched, &mut out).await;
        }
        // The other end must outlive the stream, or the end would show.
        std::mem::forget(near);
        (watched, out)
    }

    async fn drain_into(watched: &mut Watched<tokio::io::DuplexStream>, out: &mut Vec<u8>) {
        let mut buffer = [0; 7];
        loop {
            let read = std::pin::pin!(watched.read(&mut buffer));
            match futures_poll(read).await {
                Some(length) => out.extend_from_slice(&buffer[..length]),
                None => return,
            }
        }
    }

    /// What a read gives without waiting.
    async fn futures_poll(mut read: Pin<&mut impl Future<Output = io::Result<usize>>>) -> Option<usize> {
        std::future::poll_fn(|context| match read.as_mut().poll(context) {
            Poll::Ready(length) => Poll::Ready(Some(length.unwrap())),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn bytes_pass_unchanged_however_they_are_cut() {
        let all = [b"AMQP\0\x01\0\0".to_vec(), transfer(true), transfer(false), flow(true, 0)].concat();
        for cut in 1..all.len() {
            let watch = Arc::new(Watch::default());
            let (_, out) = pass(&watch, &[&all[..cut], &all[cut..]]).await;
            assert_eq!(out, all, "{cut}");
            assert_eq!(watch.state().deliveries, 1);
        }
    }

    #[tokio::test]
    async fn the_answer_waits_until_everything_before_it_is_received() {
        let watch = Arc::new(Watch::default());
        watch.arm();
        let sent = [transfer(false), transfer(false), flow(true, 0), transfer(false)];
        let (mut watched, mut out) = pass(&watch, &[&sent.concat()]).await;
        assert_eq!(out, sent[..2].concat());
        let too_early = std::pin::pin!(watch.drained(1));
        assert!(futures_poll_unit(too_early).await.is_none());
        watch.drained(2).await;
        watch.release();
        drain_into(&mut watched, &mut out).await;
        assert_eq!(out, sent.concat());
    }

    async fn futures_poll_unit(mut future: Pin<&mut impl Future<Output = ()>>) -> Option<()> {
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready().then_some(())))
            .await
    }

    #[tokio::test]
    async fn what_is_no_frame_passes_for_the_library_to_refuse() {
        for bytes in [&[0xff; 20][..], &[0, 0, 0, 7, 2, 0, 0, 0, 1, 2]] {
            let (_, out) = pass(&Arc::new(Watch::default()), &[bytes]).await;
            assert_eq!(out, bytes);
        }
    }
}
