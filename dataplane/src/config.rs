//! Reads the configuration file of the daemon.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mq_model::config::DaemonConfig;
use mq_model::{Diagnostics, Invalid};

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
    /// The node is one of another data plane.
    #[error(
        "{} is for a node of {product}; start it with `mq deploy`, or leave `dataplane` out", path.display()
    )]
    Dataplane { path: PathBuf, product: &'static str },
    /// The name on the command line is none.
    #[error("cannot call the node `{name}`: {reason}; correct --node")]
    Name { name: String, reason: Invalid },
}

/// Reads and checks a configuration file. `node` is the node's name in place of the one in the file: so several
/// nodes can have one file.
///
/// # Errors
///
/// See [`ConfigError`]; all problems of the file are reported at once.
pub fn load(path: &Path, node: Option<String>) -> Result<DaemonConfig, ConfigError> {
    let failed = |source| ConfigError::Io { path: path.to_owned(), source };
    let mut content = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_READ).read_to_end(&mut content).map_err(failed)?;
    let name = path.display().to_string();
    let mut config = DaemonConfig::parse_bytes(&name, &content).map_err(ConfigError::Invalid)?;
    if !config.dataplane.is_default() {
        let product = config.dataplane.product();
        return Err(ConfigError::Dataplane { path: path.to_owned(), product });
    }
    if let Some(node) = node {
        config.node.clone_from(&node);
        config.validate().map_err(|reason| ConfigError::Name { name: node, reason })?;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_another_data_plane_is_not_started_as_one_of_mqd() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mqd.yaml");
        std::fs::write(&file, "state-dir: s\ndataplane: rabbitmq\n").unwrap();
        assert!(load(&file, None).unwrap_err().to_string().contains("RabbitMQ"));
    }

    #[test]
    fn the_name_on_the_command_line_stands_in_place_of_that_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mqd.yaml");
        std::fs::write(&file, "state-dir: s\nnode: router\n").unwrap();
        assert_eq!(load(&file, None).unwrap().node, "router");
        assert_eq!(load(&file, Some("f-router-x2b".into())).unwrap().node, "f-router-x2b");
        let error = load(&file, Some("A b".into())).unwrap_err().to_string();
        assert!(error.contains("`A b`") && error.contains("--node"), "{error}");
    }
}
