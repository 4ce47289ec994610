//! `GET /api/v1/namespaces/<namespace>/pods/<name>/portforward` over a WebSocket with the subprotocol
//! `v4.channel.k8s.io`: for each port a channel of data and one of errors. The older tunnel of SPDY is not
//! spoken.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::node::Node;
use super::refusal::{Answer, Refusal};
use super::request::Query;

const PROTOCOL: &str = "v4.channel.k8s.io";

/// RFC 6455, 1.3.
const SALT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a frame that a client may send.
const MAX_FRAME: u64 = 1 << 20;

/// Pieces that wait for one side.
const WAITING: usize = 16;

/// What is sent to a client: an opcode and its payload.
type Frame = (u8, Vec<u8>);

/// Answers the handshake and forwards from then on.
pub(super) fn begin(
    node: &Arc<Node>,
    pod: &Value,
    headers: &HeaderMap,
    query: &Query,
    upgrade: OnUpgrade,
) -> Answer<Response<Body>> {
    let text = |name: header::HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let key = text(header::SEC_WEBSOCKET_KEY);
    if key.is_empty() {
        return Err(Refusal::bad_request("Upgrade request required"));
    }
    let is_spoken = text(header::SEC_WEBSOCKET_PROTOCOL).split(',').any(|name| name.trim() == PROTOCOL);
    if !is_spoken {
        return Err(Refusal::bad_request(format!("unable to upgrade: this server speaks {PROTOCOL} alone")));
    }
    let ports: Vec<u16> = query.text("ports").split(',').filter_map(|port| port.parse().ok()).collect();
    if ports.is_empty() {
        return Err(Refusal::bad_request("query parameter \"ports\" is required"));
    }
    if pod["status"]["phase"] != "Running" {
        let phase = &pod["status"]["phase"];
        return Err(Refusal::bad_request(format!(
            "unable to forward port because pod is not running. Current status={phase}"
        )));
    }
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let node = node.clone();
    tokio::spawn(async move {
        if let Ok(stream) = upgrade.await {
            run(TokioIo::new(stream), &node, &uid, &ports).await;
        }
    });
    let accept = STANDARD.encode(Sha1::digest(format!("{key}{SALT}")));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = [
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL)),
    ];
    response.headers_mut().extend(answer.map(|(name, value)| (Some(name), value)));
    let accept = HeaderValue::from_str(&accept).map_err(|_| Refusal::internal("base64 is text"))?;
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

async fn run(stream: impl AsyncRead + AsyncWrite + Unpin, node: &Arc<Node>, uid: &str, ports: &[u16]) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (frames, mut outgoing) = mpsc::channel::<Frame>(WAITING);
    let mut inputs: BTreeMap<u8, mpsc::Sender<Vec<u8>>> = BTreeMap::new();
    for (at, port) in (0_u8..).zip(ports.iter().take(64)) {
        let (data, errors) = (2 * at, 2 * at + 1);
        // Each channel begins with the number of its port.
        for channel in [data, errors] {
            let [low, high] = port.to_le_bytes();
            let frame = (2, vec![channel, low, high]);
            if frames.send(frame).await.is_err() {
                return;
            }
        }
        let (input, received) = mpsc::channel(WAITING);
        inputs.insert(data, input);
        tokio::spawn(relay(node.clone(), uid.to_owned(), *port, data, received, frames.clone()));
    }
    let write = async {
        while let Some((opcode, payload)) = outgoing.recv().await {
            if write_frame(&mut writer, opcode, &payload).await.is_err() || opcode == 8 {
                break;
            }
        }
    };
    let read = async {
        while let Ok((opcode, payload)) = read_frame(&mut reader).await {
            match opcode {
                8 => break,
                9 => drop(frames.send((10, payload)).await),
                0..=2 => {
                    let Some((channel, data)) = payload.split_first() else { continue };
                    if let Some(input) = inputs.get(channel) {
                        drop(input.send(data.to_vec()).await);
                    }
                }
                _ => {}
            }
        }
    };
    // Whoever ends first ends both.
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

/// Carries one port: what the client sends, and what the pod answers.
async fn relay(
    node: Arc<Node>,
    uid: String,
    port: u16,
    channel: u8,
    mut received: mpsc::Receiver<Vec<u8>>,
    frames: mpsc::Sender<Frame>,
) {
    // In the namespace of the pod, where its loopback is: the kubelet forwards to that.
    let dialled = tokio::task::spawn_blocking(move || node.dial(&uid, port)).await;
    let stream = match dialled {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let mut payload = vec![channel + 1];
            payload.extend(format!("error forwarding port {port}: {error}").bytes());
            drop(frames.send((2, payload)).await);
            drop(frames.send((8, Vec::new())).await);
            return;
        }
        Err(_) => return,
    };
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let (mut reader, mut writer) = stream.into_split();
    let read = async {
        let mut piece = vec![0; 16 << 10];
        while let Ok(count @ 1..) = reader.read(&mut piece).await {
            let mut payload = vec![channel];
            payload.extend_from_slice(&piece[..count]);
            if frames.send((2, payload)).await.is_err() {
                break;
            }
        }
    };
    let write = async {
        while let Some(data) = received.recv().await {
            if writer.write_all(&data).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
    // The connection of the pod is over, and with it that of the client.
    drop(frames.send((8, vec![3, 232])).await);
}

/// RFC 6455, 5.2. A message in several frames comes as several: the channels are streams of bytes, but the first
/// byte of a continuation is data, too, so that clients that fragment are refused.
async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Frame> {
    let mut head = [0; 2];
    reader.read_exact(&mut head).await?;
    let refuse = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, why);
    if head[0] & 0x80 == 0 {
        return Err(refuse("a message in several frames"));
    }
    let length = match head[1] & 0x7f {
        126 => u64::from(reader.read_u16().await?),
        127 => reader.read_u64().await?,
        length => u64::from(length),
    };
    if length > MAX_FRAME || head[1] & 0x80 == 0 {
        return Err(refuse("a frame that is too large, or that is not masked"));
    }
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).await?;
    let mut payload = vec![0; usize::try_from(length).map_err(|_| refuse("a frame that is too large"))?];
    reader.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((head[0] & 0x0f, payload))
}

async fn write_frame(
    writer: &mut (impl AsyncWrite + Unpin),
    opcode: u8,
    payload: &[u8],
) -> std::io::Result<()> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(u8::try_from(length).expect("it is small")),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend(u16::try_from(length).expect("it is not large").to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    writer.write_all(&frame).await?;
    writer.flush().await
}
