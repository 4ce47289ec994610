//! The machine that makes the load.

use super::result::Host;

/// What there is to say about this machine; what cannot be found out is left out.
pub fn describe() -> Host {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Host {
        system: std::env::consts::OS.into(),
        architecture: std::env::consts::ARCH.into(),
        kernel: Some(rustix::system::uname().release().to_string_lossy().into_owned()),
        cpu_model: cpu_model(),
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
    }
}

fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// A number for this boot of this machine: processes with the same one share a monotonic clock.
pub fn tag() -> u32 {
    match std::fs::read("/proc/sys/kernel/random/boot_id") {
        Ok(id) => crc32fast::hash(&id),
        // Without one no other process counts as being on the same clock.
        Err(_) => fastrand::u32(..),
    }
}
