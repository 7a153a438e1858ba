//! A strict CloudWatch Logs that is in trouble: every limit of PutLogEvents is checked, and every fault injected.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::front::{Answer, Front, Request, lock};
use super::{Shipping, execs, number_of, read};
use crate::disk::SmallDisk;
use crate::folder::Folder;
use crate::program::{Ended, Program};

/// What came, and what was wrong with it.
#[derive(Default)]
pub(super) struct Received {
    lines: Vec<String>,
    wrong: Vec<String>,
}

impl Received {
    fn numbers(&self) -> BTreeSet<(String, u64)> {
        self.lines.iter().map(|line| number_of(line)).collect()
    }
}

const CONTENT: &str = "Content-Type: application/x-amz-json-1.1\r\n";

fn fault(status: u16, code: &str) -> Answer {
    Answer::Reply(status, CONTENT, json!({ "__type": code, "message": "injected" }).to_string().into_bytes())
}

/// What AWS documents of PutLogEvents.
fn breaches(events: &[(i64, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |is: bool, what: &str| {
        if !is {
            wrong.push(what.to_owned());
        }
    };
    must((1..=10_000).contains(&events.len()), "1 to 10,000 events");
    must(events.iter().map(|(_, message)| message.len() + 26).sum::<usize>() <= 1_048_576, "1 MiB with 26 for each");
    must(
        events.iter().all(|(_, message)| (1..=262_118).contains(&message.len())),
        "a message has 1 to 256 KiB less 26",
    );
    must(events.is_sorted_by_key(|(time, _)| *time), "in order of time");
    let span = events.last().zip(events.first()).map_or(0, |(last, first)| last.0 - first.0);
    must(span < 24 * 3_600_000, "within 24 hours");
    must(events.iter().all(|(_, message)| message.len() < 16_384 && message.is_ascii()), "lines that fit");
    wrong
}

/// What a front answers to what it takes.
fn taken() -> Answer {
    Answer::Reply(200, CONTENT, b"{}".to_vec())
}

/// A strict front: PutLogEvents get the answer that `script` has for their number, from 1 on, or are taken.
fn strict(
    script: impl Fn(usize, &[(i64, String)]) -> Option<Answer> + Send + Sync + 'static,
) -> (Front, Arc<Mutex<Received>>) {
    strict_that_thanks_by(taken, script)
}

fn strict_that_thanks_by(
    thanks: fn() -> Answer,
    script: impl Fn(usize, &[(i64, String)]) -> Option<Answer> + Send + Sync + 'static,
) -> (Front, Arc<Mutex<Received>>) {
    let received = Arc::new(Mutex::new(Received::default()));
    let (to, puts) = (Arc::clone(&received), Mutex::new(0));
    let front = Front::start(move |_, request: &Request| {
        let action = request.headers.get("x-amz-target").and_then(|target| target.rsplit('.').next()).unwrap_or("");
        if action != "PutLogEvents" {
            return Answer::Reply(200, CONTENT, b"{}".to_vec());
        }
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let event = |event: &Value| {
            (event["timestamp"].as_i64().expect("a time"), event["message"].as_str().expect("a line").to_owned())
        };
        let events: Vec<_> = body["logEvents"].as_array().expect("events").iter().map(event).collect();
        lock(&to).wrong.extend(breaches(&events));
        let number = {
            let mut puts = lock(&puts);
            *puts += 1;
            *puts
        };
        script(number, &events).unwrap_or_else(|| {
            lock(&to).lines.extend(events.into_iter().map(|(_, message)| message));
            thanks()
        })
    });
    (front, received)
}

#[track_caller]
fn assert_all(received: &Mutex<Received>, lines: &[String]) {
    let received = lock(received);
    assert_eq!(received.wrong, Vec::<String>::new());
    let sent: BTreeSet<_> = lines.iter().map(|line| number_of(line)).collect();
    assert_eq!(received.numbers(), sent);
}

#[test]
fn root_every_line_gets_through_a_place_that_fails_in_every_way_that_passes() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let (front, received) = strict(|number, _| match number {
        1 => Some(fault(400, "ThrottlingException")),
        2 => Some(fault(500, "InternalFailure")),
        3 => Some(Answer::Half),
        4 => Some(Answer::HangUp),
        5 => Some(fault(503, "ServiceUnavailableException")),
        6 => Some(Answer::Reply(429, "Retry-After: 0\r\n", b"slow down".to_vec())),
        7 => Some(Answer::Reply(500, "", b"<html>no JSON</html>".to_vec())),
        _ => None,
    });
    Ended::well(&mut Shipping { folder: folder.path(), log: Some(&log) }.to_cloudwatch(front.port, &execs(300)));
    assert!(front.count() >= 8, "{}", front.count());
    assert_all(&received, &read(&log));
}

#[test]
fn root_any_2xx_is_success_whatever_else_it_says() {
    for thanks in [
        || Answer::Reply(200, "Content-Type: text/html\r\n", b"<html>".to_vec()),
        || Answer::Reply(202, CONTENT, b"[".to_vec()),
        || Answer::Reply(204, "", Vec::new()),
    ] {
        let folder = Folder::new();
        let log = folder.path().join("log");
        let (front, received) = strict_that_thanks_by(thanks, |_, _| None);
        let shipping = Shipping { folder: folder.path(), log: Some(&log) };
        let ended = Ended::of(&mut shipping.to_cloudwatch(front.port, &execs(20)));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!ended.stderr.contains("lines wait in the spool"), "{}", ended.stderr);
        assert_all(&received, &read(&log));
        assert_eq!(lock(&received).lines.len(), read(&log).len(), "nothing is sent twice");
    }
}

#[test]
fn root_batches_keep_to_the_limits_under_load() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let (front, received) = strict(|_, _| None);
    // 1,500 execs of 3 KB: several batches that are full by their bytes.
    let command = format!("x=$(head -c 3000 /dev/zero | tr '\\0' x); {}", execs(1500).replace("true", "true $x"));
    Ended::well(&mut Shipping { folder: folder.path(), log: Some(&log) }.to_cloudwatch(front.port, &command));
    assert_all(&received, &read(&log));
    assert!(front.count() >= 5, "{} requests", front.count());
}

#[test]
fn root_a_line_that_is_refused_for_good_is_dropped_alone_and_told() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let (front, received) = strict(|_, events| {
        let is_bad = events.iter().any(|(_, message)| message.contains("poison"));
        is_bad.then(|| fault(400, "InvalidParameterException"))
    });
    let command = format!("{}; /bin/true poison; {}", execs(20), execs(20));
    let ended =
        Ended::well(&mut Shipping { folder: folder.path(), log: Some(&log) }.to_cloudwatch(front.port, &command));
    // The shell's own line has the word too.
    let kept: Vec<String> = read(&log).into_iter().filter(|line| !line.contains("poison")).collect();
    assert_all(&received, &kept);
    assert!(ended.stderr.contains("lines are refused, and dropped: "), "{}", ended.stderr);
    assert_eq!(dropped(&read(&log), &ended.stderr), 2, "{}", ended.stderr);
}

/// How many lines a log and the last words of the program tell that a sink lacks.
fn dropped(log: &[String], stderr: &str) -> u64 {
    let parse = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
    let told = log.iter().map(|line| parse(line)).filter(|line| line["msg"] == "dropped");
    let in_log: u64 = told.map(|line| line["fields"]["dropped"]["lines"].as_u64().expect("a count")).sum();
    let last = stderr
        .lines()
        .map(parse)
        .filter(|line| line["msg"].as_str().expect("words").contains("its log does not say so"));
    in_log + last.map(|line| line["fields"]["lines"].as_u64().expect("a count")).sum::<u64>()
}

#[test]
fn root_what_must_be_put_right_first_is_said_and_costs_nothing() {
    let folder = Folder::new();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (front, _) = strict(|_, _| Some(fault(400, "AccessDeniedException")));
    let ended =
        Ended::well(&mut Shipping { folder: folder.path(), log: Some(&first) }.to_cloudwatch(front.port, "/bin/true"));
    assert!(ended.stderr.contains("allow logs:PutLogEvents"), "{}", ended.stderr);
    let (front, received) = strict(|_, _| None);
    Ended::well(&mut Shipping { folder: folder.path(), log: Some(&second) }.to_cloudwatch(front.port, "/bin/true"));
    assert_all(&received, &[read(&first), read(&second)].concat());
}

#[test]
fn root_a_place_that_never_answers_holds_nobody_up_for_long() {
    let folder = Folder::new();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (front, _) = strict(|_, _| Some(Answer::Never));
    let ended =
        Ended::well(&mut Shipping { folder: folder.path(), log: Some(&first) }.to_cloudwatch(front.port, &execs(50)));
    assert!(ended.stderr.contains("lines wait in the spool"), "{}", ended.stderr);
    let (front, received) = strict(|_, _| None);
    Ended::well(&mut Shipping { folder: folder.path(), log: Some(&second) }.to_cloudwatch(front.port, "/bin/true"));
    assert_all(&received, &[read(&first), read(&second)].concat());
}

#[test]
fn root_what_a_small_disk_cannot_keep_is_counted() {
    let (folder, disk) = (Folder::new(), SmallDisk::new("4m"));
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (front, _) = strict(|_, _| Some(fault(500, "InternalFailure")));
    let command = format!("x=$(head -c 9000 /dev/zero | tr '\\0' x); {}", execs(1000).replace("true", "true $x"));
    let ended =
        Ended::well(&mut Shipping { folder: disk.path(), log: Some(&first) }.to_cloudwatch(front.port, &command));
    let told = dropped(&read(&first), &ended.stderr);
    assert!(told > 100, "{told}: {}", ended.stderr);
    let (front, received) = strict(|_, _| None);
    let ended =
        Ended::well(&mut Shipping { folder: disk.path(), log: Some(&second) }.to_cloudwatch(front.port, "/bin/true"));
    // The second run drops some more before the place has taken the rest.
    let told = told + dropped(&read(&second), &ended.stderr);
    let all = [read(&first), read(&second)].concat();
    let received = lock(&received);
    assert_eq!(received.wrong, Vec::<String>::new());
    assert_eq!(received.numbers().len() as u64 + told, all.len() as u64, "received and counted are all that was sent");
    assert!(received.lines.iter().all(|line| all.contains(line)));
}

#[test]
fn root_a_stop_while_the_place_is_away_keeps_what_waits_and_says_how_much() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let (front, received) = strict(|number, _| (number < 3).then_some(Answer::HangUp));
    let mut run = Program::start(
        &mut Shipping { folder: folder.path(), log: Some(&log) }
            .to_cloudwatch(front.port, "echo up; read line; /bin/true"),
    );
    run.stdout().wait_for("up", |line| line == "up");
    let (_, stopped) = run.stop();
    assert!(stopped.code.is_some(), "{stopped:?}");
    assert_all(&received, &read(&log));
}
