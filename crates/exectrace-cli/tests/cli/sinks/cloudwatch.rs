//! CloudWatch Logs, played by moto on loopback: what gets there, and what waits while it is not there.

use std::path::Path;

use super::moto::Moto;
use super::{Shipping, free_port, number_of, read};
use crate::folder::Folder;
use crate::program::{Ended, exectrace};

fn run(folder: &Folder, log: &Path, port: u16, command: &str) -> Ended {
    Ended::of(&mut Shipping { folder: folder.path(), log: Some(log) }.to_cloudwatch(port, command))
}

fn stream() -> String {
    format!("main/{}-x", rustix::system::uname().nodename().to_string_lossy())
}

#[test]
fn root_each_line_gets_there_once_in_a_group_and_a_stream_that_are_made() {
    let (folder, moto) = (Folder::new(), Moto::start(free_port()));
    let log = folder.path().join("log");
    let ended = run(&folder, &log, moto.port, "i=0; while [ $i -lt 200 ]; do /bin/true $i; i=$((i+1)); done");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines = read(&log);
    assert!(lines.len() > 200);
    let mut there = moto.lines(&stream());
    // Events of one batch are sorted by their time, which is not quite the order of the log.
    there.sort_by_key(|line| number_of(line));
    assert_eq!(there, lines);
}

#[test]
fn root_lines_wait_on_disk_while_the_place_is_out_of_reach() {
    let folder = Folder::new();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let port = free_port();
    let ended = run(&folder, &first, port, "/bin/true while it is away");
    assert_eq!(ended.code, Some(0), "a place that is away is no failure of the command: {ended:?}");
    assert!(ended.stderr.contains("lines wait in the spool, and are sent by the next start"), "{}", ended.stderr);
    let moto = Moto::start(port);
    let ended = run(&folder, &second, port, "/bin/true when it is back");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("lines that an earlier process left are sent first"), "{}", ended.stderr);
    let (mut there, mut all) = (moto.lines(&stream()), [read(&first), read(&second)].concat());
    there.sort();
    all.sort();
    assert_eq!(there, all);
}

#[test]
fn what_a_network_sink_needs_is_said_before_anything_runs() {
    let refused = |words: &[&str]| {
        let ended =
            Ended::of(exectrace(["run", "-o", "json", "--sink", "cloudwatch"]).args(words).args(["--", "true"]));
        assert_eq!(ended.code, Some(125), "{ended:?}");
        ended.stderr
    };
    assert!(refused(&[]).contains("needs --cloudwatch-group NAME"));
    assert!(refused(&["--cloudwatch-group", "g"]).contains("needs --spool DIR"));
    let template = refused(&["--cloudwatch-group", "g", "--cloudwatch-stream", "{temperature}"]);
    assert!(template.contains("{temperature}"), "{template}");
    assert!(refused(&["--cloudwatch-group", "g", "--spool", "/proc/nowhere"]).contains("cannot be used"));
}
