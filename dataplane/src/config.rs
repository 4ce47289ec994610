//! Reads the configuration file of the daemon.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mq_model::Diagnostics;
use mq_model::config::DaemonConfig;

/// Bytes of a configuration file that are read. A longer one is refused for its size, by a limit
/// well below.
const MAX_READ: u64 = 2 << 20;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {source}; pass a file that mqd may read", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Every problem of the file, each with its line and column.
    #[error("{0}")]
    Invalid(Diagnostics),
}

/// Reads and checks a configuration file.
///
/// # Errors
///
/// See [`ConfigError`]; all problems of the file are reported at once.
pub fn load(path: &Path) -> Result<DaemonConfig, ConfigError> {
    let failed = |source| ConfigError::Io { path: path.to_owned(), source };
    let mut content = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_READ).read_to_end(&mut content).map_err(failed)?;
    let name = path.display().to_string();
    DaemonConfig::parse_bytes(&name, &content).map_err(ConfigError::Invalid)
}
