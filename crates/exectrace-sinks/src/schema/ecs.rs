//! Elastic Common Schema: <https://www.elastic.co/docs/reference/ecs>.

use serde_json::value::RawValue;

use super::Host;
use super::node::{Node, number, object, quoted, raw, rest, text};
use crate::coder::{CoderLine, Process, base_name, is_of_process, sequence};

/// The version whose field names are used.
const VERSION: &str = "8.17.0";
/// Bytes of the longest name of a program that is told beside its path.
const NAME: usize = 128;

/// A line, with everything that has no field under `exectrace`.
pub(super) fn line<'a>(line: CoderLine<'a>, host: &'a Host) -> Node<'a> {
    let CoderLine { ts, level, msg, caller, func, mut labels, cmdline, kind, mut body } = line;
    let number_of_line = body.take("line");
    let process = is_of_process(&kind).then(|| Process::take(&mut body));
    let is_process = process.is_some();
    let error = process.as_ref().and_then(|process| process.error);
    let user = object([
        ("id", raw(labels.take("user_id"))),
        ("name", raw(labels.take("username"))),
        ("email", raw(labels.take("user_email"))),
    ]);
    let organization = object([("id", raw(labels.take("organization_id")))]);
    let own = rest(body).map(|rest| Node::Object(vec![(kind, rest)]));
    object([
        ("@timestamp", text(ts)),
        ("ecs", object([("version", text(VERSION))])),
        (
            "event",
            object([
                ("kind", text(kind_of(msg))),
                ("category", is_process.then_some(Node::Words(&["process"]))),
                ("type", type_of(msg).map(Node::Words)),
                ("action", text(msg)),
                ("outcome", outcome(msg)),
                ("module", text("exectrace")),
                ("dataset", text("exectrace.log")),
                ("id", raw(number_of_line)),
                ("sequence", number_of_line.and_then(sequence).and_then(number)),
                ("duration", raw(process.as_ref().and_then(|process| process.duration_ns))),
            ]),
        ),
        ("message", text(msg)),
        (
            "log",
            object([
                ("level", text(level.to_ascii_lowercase())),
                ("origin", object([("file", object([("name", text(caller))])), ("function", text(func))])),
            ]),
        ),
        ("host", object([("hostname", text(host.name.as_str()))])),
        ("agent", object([("type", text("exectrace")), ("version", text(host.version))])),
        ("user", user),
        ("organization", organization),
        ("labels", rest(labels)),
        ("error", object([("code", raw(error))])),
        ("container", process.as_ref().and_then(|process| object([("id", raw(process.container))]))),
        ("process", process.and_then(|process| of_process(&process, cmdline, ts, msg))),
        ("exectrace", own),
    ])
    .unwrap_or(Node::Object(Vec::new()))
}

fn of_process<'a>(process: &Process<'a>, cmdline: Option<&'a RawValue>, ts: &'a str, msg: &str) -> Option<Node<'a>> {
    let name = process.executable.and_then(|path| base_name(path, NAME));
    object([
        ("entity_id", raw(process.id)),
        ("pid", raw(process.pid)),
        ("vpid", raw(process.vpid)),
        ("name", name.and_then(text)),
        ("executable", raw(process.executable)),
        ("args", raw(process.argv)),
        ("args_count", raw(process.argc)),
        ("command_line", raw(cmdline)),
        ("working_directory", raw(process.cwd)),
        ("interactive", process.tty.map(|_| Node::Bool(true))),
        ("start", raw(process.started)),
        ("end", (msg == "exit").then(|| text(ts)).flatten()),
        ("exit_code", raw(process.code)),
        ("user", object([("id", quoted(process.euid))])),
        ("group", object([("id", quoted(process.egid))])),
        ("real_user", object([("id", quoted(process.uid))])),
        ("real_group", object([("id", quoted(process.gid))])),
        ("parent", object([("pid", raw(process.ppid)), ("entity_id", raw(process.parent_id))])),
        ("session_leader", object([("pid", raw(process.sid))])),
    ])
}

fn kind_of(msg: &str) -> &'static str {
    match msg {
        "lost" | "dropped" => "pipeline_error",
        "running" | "ledger" => "state",
        _ => "event",
    }
}

fn type_of(msg: &str) -> Option<&'static [&'static str]> {
    match msg {
        "exec" | "exec-failed" => Some(&["start"]),
        "exit" => Some(&["end"]),
        "lost" | "dropped" => Some(&["error"]),
        _ => Some(&["info"]),
    }
}

fn outcome(msg: &str) -> Option<Node<'static>> {
    match msg {
        "exec" => text("success"),
        "exec-failed" => text("failure"),
        _ => None,
    }
}
