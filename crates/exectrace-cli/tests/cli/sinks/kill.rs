//! A program that is killed at any point: what was received and what the spool still has are all that was ever put there.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::Value;

use super::front::{Answer, Front, lock};
use super::{Shipping, execs, number_of};
use crate::folder::Folder;
use crate::program::{Ended, Program};

/// Random, but for a test that failed the same again: it prints what it drew.
fn draw(most: usize) -> usize {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
    usize::try_from(u64::from_ne_bytes(random) % most as u64).expect("small")
}

#[test]
fn root_killed_at_random_points_nothing_that_was_spooled_is_lost() {
    let folder = Folder::new();
    let received = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&received);
    // Every other batch is taken and its answer lost.
    let front = Front::start(move |number, request| {
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        if let Some(events) = body["logEvents"].as_array() {
            lock(&to).extend(events.iter().map(|event| event["message"].as_str().expect("a line").to_owned()));
        }
        if number % 2 == 0 {
            return Answer::Half;
        }
        Answer::Reply(200, "Content-Type: application/x-amz-json-1.1\r\n", b"{}".to_vec())
    });
    let shipping = Shipping { folder: folder.path(), log: None };
    let script = "echo ready; i=0; while read -r line; do /bin/true $i; echo $i; i=$((i+1)); done";
    for _ in 0..6 {
        let points = draw(120);
        println!("killed after {points} execs");
        let mut command: Command = shipping.to_cloudwatch(front.port, script);
        command.stdin(std::process::Stdio::piped());
        let mut program = Program::start(&mut command);
        program.stdout().wait_for("ready", |line| line == "ready");
        for at in 0..points {
            std::io::Write::write_all(program.stdin.as_mut().expect("a pipe"), b"\n").expect("a reader");
            let at = at.to_string();
            program.stdout().wait_for(&at, |line| line == at);
        }
        program.signal(Signal::KILL);
        // The shell ends with its input.
        let (status, _, _) = program.end();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
    let ended = Ended::of(&mut shipping.to_cloudwatch(front.port, &execs(10)));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stderr.contains("lines wait in the spool"), "{}", ended.stderr);
    let mut runs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in lock(&received).iter() {
        let (run, number) = number_of(line);
        runs.entry(run).or_default().push(number);
    }
    for (run, numbers) in &mut runs {
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(*numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "run {run} has a hole");
    }
    // Its own execs, those of the shell's, and what the run says of itself.
    assert!(runs.values().any(|numbers| numbers.len() >= 14), "{runs:?}");
}
