//! The DNS server of the cluster: names of services and of the pods behind headless ones, and nothing beyond
//! (RFC 1035, and the DNS specification of Kubernetes as far as addresses go).

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::api::Api;
use super::store::Store;

const ZONE: &str = ".svc.cluster.local";

/// Bytes of a question.
const MAX_QUESTION: usize = 512;

/// How often the server looks whether it is to end.
const TURN: Duration = Duration::from_millis(50);

/// Serves on a socket until it is told to end.
pub(super) fn start(api: Arc<Api>, socket: UdpSocket, is_ending: Arc<AtomicBool>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut packet = [0; MAX_QUESTION];
        socket.set_read_timeout(Some(TURN)).expect("a time is no zero");
        while !is_ending.load(Ordering::Acquire) {
            let Ok((count, peer)) = socket.recv_from(&mut packet) else { continue };
            if let Some(answer) = answer(&api, &packet[..count]) {
                // Who does not get it asks again.
                let _ = socket.send_to(&answer, peer);
            }
        }
    })
}

/// The answer to a packet, or none to what is no question.
fn answer(api: &Api, packet: &[u8]) -> Option<Vec<u8>> {
    let (name, end) = question(packet)?;
    let kind = u16::from_be_bytes([*packet.get(end)?, *packet.get(end + 1)?]);
    let found = api.with(|store| resolve(store, &name));
    // No such name, or no address of the kind that is asked for.
    let code: u8 = if found.is_none() { 3 } else { 0 };
    let addresses = found.filter(|_| kind == 1).unwrap_or_default();
    let mut answer = packet.get(..end + 4)?.to_vec();
    answer[2] = 0x84 | (packet[2] & 0x01);
    answer[3] = 0x80 | code;
    answer[4..6].copy_from_slice(&1_u16.to_be_bytes());
    answer[6..8].copy_from_slice(&u16::try_from(addresses.len()).ok()?.to_be_bytes());
    // What a question says beyond itself (EDNS) is not answered.
    answer[8..12].fill(0);
    for address in addresses {
        // The name is that of the question; class IN; no time to live, so that nobody remembers.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// The name of the first question, and where its type begins.
fn question(packet: &[u8]) -> Option<(String, usize)> {
    if packet.get(2)? & 0x80 != 0 {
        return None;
    }
    let mut labels: Vec<String> = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*packet.get(at)?);
        if length == 0 {
            return Some((labels.join("."), at + 1));
        }
        // RFC 1035, 2.3.4; a question has no pointers.
        if length > 63 {
            return None;
        }
        let label = packet.get(at + 1..at + 1 + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += 1 + length;
    }
}

/// The addresses of a name, or `None` when there is no such name.
fn resolve(store: &Store, name: &str) -> Option<Vec<Ipv4Addr>> {
    let parts: Vec<&str> = name.strip_suffix(ZONE)?.split('.').collect();
    let (host, service, namespace) = match parts[..] {
        [service, namespace] => (None, service, namespace),
        [host, service, namespace] => (Some(host), service, namespace),
        _ => return None,
    };
    let found = store.find("Service", namespace, service)?;
    let address = found["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok());
    if let (Some(address), None) = (address, host) {
        return Some(vec![address]);
    }
    let endpoints = store.find("Endpoints", namespace, service)?;
    let subsets = endpoints["subsets"].as_array().into_iter().flatten();
    let addresses = subsets.flat_map(|subset| subset["addresses"].as_array().into_iter().flatten());
    let wanted = addresses.filter(|one| host.is_none_or(|host| one["hostname"] == host));
    let found: Vec<Ipv4Addr> = wanted.filter_map(|one: &Value| one["ip"].as_str()?.parse().ok()).collect();
    (host.is_none() || !found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_far_as_it_goes() {
        let mut packet = vec![0; 12];
        packet.extend(b"\x01A\x02bc\x00\x00\x01\x00\x01");
        assert_eq!(question(&packet), Some(("a.bc".into(), 18)));
        assert_eq!(question(&packet[..15]), None);
        packet[12] = 0xc0;
        assert_eq!(question(&packet), None);
    }
}
