//! A cluster of the tests for people: says where its kubeconfig is, and runs until its standard input ends.
//!
//! `cargo run -p mq-tests --example cluster`

use std::io::{self, Read, Write};

use mq_tests::kubernetes::Cluster;

fn main() -> io::Result<()> {
    let cluster = Cluster::builder().with_monitoring().start();
    writeln!(io::stdout(), "export KUBECONFIG={}", cluster.kubeconfig().display())?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
