//! The network of the pods: a namespace with an address for each, and one with a switch that they all are on. The
//! addresses of services, of the API server and of the DNS server are those of the switch.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use super::store::{API_IP, DNS_IP};
use crate::network::ip;

/// The hardware address of the switch.
const SWITCH: &str = "02:6d:71:00:00:01";

/// The namespaces. Dropping it removes that of the switch; each pod removes its own.
#[derive(Debug)]
pub(super) struct PodNetwork {
    prefix: String,
    next: AtomicU16,
    /// Where on loopback the load balancers of this cluster are: 127.96.x.0.
    pub(super) balancers: u8,
}

/// Where a pod is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) ip: Ipv4Addr,
}

impl PodNetwork {
    /// # Errors
    /// Why this machine has none.
    pub(super) fn new() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("mqk{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // The value that removes what there is exists before anything is made.
        let network = Self { prefix, next: AtomicU16::new(2), balancers: fastrand::u8(..) };
        let hub = network.hub();
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link set lo up"))?;
        // A bridge that is given none takes the least address of its ports, another one when that port goes: pods that know
        // the one before reach nobody for half a minute.
        ip(&format!("-n {hub} link add switch address {SWITCH} type bridge"))?;
        ip(&format!("-n {hub} addr add 10.244.0.1/16 dev switch"))?;
        ip(&format!("-n {hub} link set switch up"))?;
        for address in [API_IP, DNS_IP] {
            network.add_address(Ipv4Addr::from(address))?;
        }
        Ok(network)
    }

    /// The namespace of the switch.
    pub(super) fn hub(&self) -> String {
        format!("{}hub", self.prefix)
    }

    /// Makes the switch answer for one more address.
    pub(super) fn add_address(&self, address: Ipv4Addr) -> Result<(), String> {
        ip(&format!("-n {} addr add {address}/32 dev switch", self.hub()))
    }

    pub(super) fn remove_address(&self, address: Ipv4Addr) {
        // What is gone is as good.
        let _ = ip(&format!("-n {} addr del {address}/32 dev switch", self.hub()));
    }

    /// A place for a pod; addresses are not given twice.
    pub(super) fn add(&self) -> Result<Place, String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let [high, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(10, 244, high, low);
        let (hub, namespace) = (self.hub(), format!("{}p{number}", self.prefix));
        ip(&format!("netns add {namespace}"))?;
        ip(&format!("-n {namespace} link set lo up"))?;
        ip(&format!("-n {hub} link add port{number} type veth peer name eth0 netns {namespace}"))?;
        ip(&format!("-n {hub} link set port{number} master switch up"))?;
        ip(&format!("-n {namespace} addr add {address}/16 dev eth0"))?;
        ip(&format!("-n {namespace} link set eth0 up"))?;
        ip(&format!("-n {namespace} route add default via 10.244.0.1"))?;
        Ok(Place { namespace, ip: address })
    }

    pub(super) fn remove(namespace: &str) {
        // What was never made is as good.
        let _ = ip(&format!("netns del {namespace}"));
    }
}

impl Drop for PodNetwork {
    fn drop(&mut self) {
        Self::remove(&self.hub());
    }
}
