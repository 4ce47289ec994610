//! A cluster of the tests for people: says where its kubeconfig is, and runs until its standard input ends.
//!
//! `cargo run -p mq-tests --example cluster -- [IMAGE]`; with the name of an image, which is that of the programs
//! under test, its pods run.

use std::io::{self, Read, Write};

use mq_tests::kubernetes::Cluster;

fn main() -> io::Result<()> {
    let builder = Cluster::builder().with_monitoring();
    let cluster = match std::env::args().nth(1) {
        Some(image) => builder.with_programs(&image).start_with_pods_or_say_why(),
        None => Some(builder.start()),
    };
    let Some(cluster) = cluster else { return Ok(()) };
    writeln!(io::stdout(), "export KUBECONFIG={}", cluster.kubeconfig().display())?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
