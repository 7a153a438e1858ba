//! Open Cybersecurity Schema Framework: <https://schema.ocsf.io>. What happens to processes is Process Activity, class 1007;
//! all other lines are Base Events.

use std::time::UNIX_EPOCH;

use serde_json::value::RawValue;

use super::Host;
use super::node::{Node, number, object, quoted, raw, rest, text};
use crate::coder::{CoderLine, Process, base_name, is_of_process, sequence, string};

/// The version of the schema.
const VERSION: &str = "1.4.0";
/// Bytes of the longest name of a file that is told beside its path.
const NAME: usize = 128;

/// A line, with everything that has no attribute under `unmapped`.
pub(super) fn line<'a>(line: CoderLine<'a>, host: &'a Host) -> Node<'a> {
    let CoderLine { ts, level, msg, caller: _, func: _, mut labels, cmdline, kind, mut body } = line;
    let number_of_line = body.take("line");
    let process = is_of_process(&kind).then(|| Process::take(&mut body));
    let (class, category, activity, name) = match msg {
        "exec" | "exec-failed" => (1007, 1, 1, "Launch"),
        "exit" => (1007, 1, 2, "Terminate"),
        "running" | "continued" => (1007, 1, 99, msg),
        _ => (0, 0, 99, msg),
    };
    let (status, status_name) = match msg {
        "exec" => (Some(1), Some("Success")),
        "exec-failed" => (Some(2), Some("Failure")),
        _ => (None, None),
    };
    let organization = object([("uid", raw(labels.take("organization_id")))]);
    let user = object([
        ("uid", raw(labels.take("user_id"))),
        ("name", raw(labels.take("username"))),
        ("email_addr", raw(labels.take("user_email"))),
        ("org", organization),
    ]);
    let own = rest(body).map(|rest| (kind, rest));
    let labels = rest(labels).map(|labels| ("labels".into(), labels));
    let unmapped: Vec<_> = own.into_iter().chain(labels).collect();
    let is_contained = process.as_ref().is_some_and(|process| process.container.is_some());
    object([
        ("time", millis(ts)),
        ("class_uid", number(class)),
        ("category_uid", number(category)),
        ("activity_id", number(activity)),
        ("activity_name", text(name)),
        ("type_uid", number(class * 100 + activity)),
        ("severity_id", number(severity(level))),
        ("status_id", status.and_then(number)),
        ("status", status_name.and_then(text)),
        ("status_code", raw(process.as_ref().and_then(|process| process.error))),
        ("duration", process.as_ref().and_then(|process| process.duration_ns).and_then(nanos_as_millis)),
        ("exit_code", raw(process.as_ref().and_then(|process| process.code))),
        ("message", text(msg)),
        ("actor", object([("app_name", text("exectrace")), ("user", user)])),
        ("device", object([("hostname", text(host.name.as_str())), ("type_id", number(0))])),
        ("process", process.and_then(|process| of_process(&process, cmdline, ts, msg))),
        (
            "metadata",
            object([
                ("version", text(VERSION)),
                (
                    "product",
                    object([
                        ("name", text("exectrace")),
                        ("vendor_name", text("exectrace")),
                        ("version", text(host.version)),
                    ]),
                ),
                ("uid", raw(number_of_line)),
                ("sequence", number_of_line.and_then(sequence).and_then(number)),
                ("original_time", text(ts)),
                ("profiles", is_contained.then_some(Node::Words(&["container"]))),
            ]),
        ),
        ("unmapped", Some(unmapped).filter(|unmapped| !unmapped.is_empty()).map(Node::Object)),
    ])
    .unwrap_or(Node::Object(Vec::new()))
}

fn of_process<'a>(process: &Process<'a>, cmdline: Option<&'a RawValue>, ts: &str, msg: &str) -> Option<Node<'a>> {
    object([
        ("uid", raw(process.id)),
        ("pid", raw(process.pid)),
        ("namespace_pid", raw(process.vpid)),
        ("file", process.executable.and_then(file)),
        ("cmd_line", raw(cmdline)),
        ("working_directory", raw(process.cwd)),
        ("created_time", process.started.and_then(string).and_then(|started| millis(&started))),
        ("terminated_time", (msg == "exit").then(|| millis(ts)).flatten()),
        ("user", object([("uid", quoted(process.uid))])),
        ("group", object([("uid", quoted(process.gid))])),
        ("euid", raw(process.euid)),
        ("egid", raw(process.egid)),
        ("session", object([("uid", quoted(process.sid)), ("terminal", raw(process.tty))])),
        ("container", object([("uid", raw(process.container))])),
        ("parent_process", object([("pid", raw(process.ppid)), ("uid", raw(process.parent_id))])),
        ("xattributes", object([("argv", raw(process.argv)), ("argc", raw(process.argc))])),
    ])
}

/// A file has a name; where that is very long, its path is the name.
fn file<'a>(path: &'a RawValue) -> Option<Node<'a>> {
    match base_name(path, NAME) {
        Some(name) => object([("name", text(name)), ("path", raw(Some(path))), ("type_id", number(1))]),
        None => object([("name", raw(Some(path))), ("type_id", number(1))]),
    }
}

/// Milliseconds since 1970.
fn millis(ts: &str) -> Option<Node<'static>> {
    let since = humantime::parse_rfc3339(ts).ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    number(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn nanos_as_millis(raw: &RawValue) -> Option<Node<'static>> {
    number(raw.get().parse::<i64>().ok()? / 1_000_000)
}

fn severity(level: &str) -> i64 {
    match level {
        "ERROR" => 4,
        "WARN" => 3,
        _ => 1,
    }
}
