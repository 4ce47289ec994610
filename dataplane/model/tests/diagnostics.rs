//! Reads the cases of `tests/diagnostics/*.txt` and compares what is printed.
//!
//! A case is a fenced block `yaml NAME` (`mqd NAME` for the daemon's configuration), then a fenced
//! block `text` with what is printed, `ok` when the file is valid. Everything between is prose. With
//! `MQ_WRITE_DIAGNOSTICS` set the expected blocks are written in place of being compared: read the
//! difference before you commit it.

use std::fs;
use std::path::Path;

use mq_model::config::DaemonConfig;
use mq_model::{Diagnostics, Documents};

#[test]
fn diagnostics_are_printed_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let mut cases = 0;
    for entry in fs::read_dir(&folder).expect("the folder of the cases") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a readable case file");
        let (rewritten, count) = rewrite(&text);
        if std::env::var_os("MQ_WRITE_DIAGNOSTICS").is_some() {
            fs::write(&path, &rewritten).expect("a writable case file");
        }
        let differing =
            text.lines().zip(rewritten.lines()).position(|(expected, printed)| expected != printed);
        assert!(
            text == rewritten || std::env::var_os("MQ_WRITE_DIAGNOSTICS").is_some(),
            "{}, first difference at line {}; printed:\n{rewritten}",
            path.display(),
            differing.map_or(0, |index| index + 1)
        );
        assert!(count > 0, "{} holds no case", path.display());
        cases += count;
    }
    assert!(cases > 20, "only {cases} cases were found");
}

/// The text with what is printed now in the expected blocks, and the number of cases.
fn rewrite(text: &str) -> (String, usize) {
    let mut rewritten = String::new();
    let mut lines = text.lines();
    let mut printed = None;
    let mut cases = 0;
    while let Some(line) = lines.next() {
        rewritten.push_str(line);
        rewritten.push('\n');
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let block: String = block.iter().flat_map(|line| [*line, "\n"]).collect();
        match info.split_once(' ') {
            Some((kind, name)) => {
                assert!(printed.is_none(), "case {name} begins before the one before it ends");
                printed = Some(print(kind, name, &block));
                rewritten.push_str(&block);
            }
            None => {
                rewritten.push_str(&printed.take().expect("a case before its expectation"));
                cases += 1;
            }
        }
        rewritten.push_str("```\n");
    }
    assert!(printed.is_none(), "the last case has no expectation");
    (rewritten, cases)
}

fn print(kind: &str, name: &str, text: &str) -> String {
    // Spaces at the end of a line do not survive in a file; a visible stand-in does.
    let text = text.replace('→', "\t");
    let result: Result<(), Diagnostics> = match kind {
        "yaml" => Documents::parse(name, &text).map(drop),
        "mqd" => DaemonConfig::parse(name, &text).map(drop),
        other => panic!("unknown kind of case `{other}`"),
    };
    result.map_or_else(|diagnostics| format!("{diagnostics}\n"), |()| "ok\n".to_owned())
}
