//! `exectrace sidecar`: the handshake of the existing templates, labels, and how it ends.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::ledger::Verdict;
use crate::line::{Line, cmdlines, with_msg};
use crate::program::{EXECTRACE, Ended, PATIENCE, Program, exectrace};
use crate::trace::A_SECOND;
use crate::workspace::{BpfFs, Workspace};

const INITIAL_PID_NS: &str = "4026531836";

/// A sidecar that waits at a port of its own choice.
#[track_caller]
fn waiting(words: &[&str]) -> (Program, SocketAddr) {
    let mut program = Program::start(exectrace(words).args(["--init-address", "127.0.0.1:0"]));
    let address = address_of(&mut program);
    (program, address)
}

/// Where it waits from now on.
#[track_caller]
fn address_of(program: &mut Program) -> SocketAddr {
    let message = program.wait_for_message("waiting for the workspace's PID namespace");
    message.field("address").as_str().expect("an address").parse().expect("an address")
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends these bytes and returns the answer.
#[track_caller]
fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address).expect("a server");
    stream.write_all(request.as_bytes()).expect("a server that reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in time");
    answer
}

/// As curl does it.
pub(crate) fn post(address: SocketAddr, headers: &str, body: &str) -> String {
    let length = body.len();
    let host = format!("Host: {address}\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nContent-Length: {length}\r\n");
    send(address, &format!("POST / HTTP/1.1\r\n{host}{headers}\r\n{body}"))
}

#[track_caller]
pub(crate) fn accepted(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n") && answer.ends_with("\r\n\r\n"), "{answer:?}");
}

#[track_caller]
fn refused(answer: &str, why: &str) {
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer:?}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(body.contains(why) && body.ends_with('\n'), "{answer:?}");
}

/// Waits until nobody listens any more.
#[track_caller]
fn closed(address: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    while !connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
        assert!(Instant::now() < deadline, "{address} is still open");
    }
}

#[test]
fn root_a_number_is_accepted_once_and_lines_with_labels_flow() {
    // The subcommand's name is new; the templates call the program without it or with another one.
    for words in [&["sidecar"][..], &[], &["run"]] {
        let mut workspace = Workspace::new();
        let number = workspace.number();
        let labels = ["--label", "username=jessie", "--label", "workspace_name=a=b \"c\" \u{fc}"];
        let (program, address) = waiting(&[words, &labels].concat());
        workspace.tell("/bin/true before");
        accepted(&post(address, "Content-Type: text/plain\r\n", &number));
        closed(address);
        workspace.tell("/bin/true after");
        let (_, stopped) = program.stop();
        assert_eq!(stopped.code, Some(0), "{words:?}: {stopped:?}");
        let lines = stopped.parsed();
        assert_eq!(cmdlines(&lines), ["/bin/true after"]);
        for line in &lines {
            assert_eq!(line.label("username"), Some("jessie"), "{line:?}");
            assert_eq!(line.label("workspace_name"), Some("a=b \"c\" \u{fc}"), "{line:?}");
        }
    }
}

#[test]
fn root_what_is_no_handshake_is_refused_and_the_server_stays() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let (mut program, address) = waiting(&["sidecar"]);
    refused(&send(address, "GET / HTTP/1.1\r\n\r\n"), "POST");
    refused(&send(address, &format!("PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\n{number}")), "POST");
    refused(&send(address, &format!("POST /init HTTP/1.1\r\nContent-Length: 10\r\n\r\n{number}")), "path");
    refused(&send(address, "\x16\x03\x01 no HTTP at all\r\n\r\n"), "no HTTP request");
    refused(&post(address, "Content-Type: application/json\r\n", &number), "content type");
    refused(&post(address, "", "0"), "0 is no PID namespace");
    refused(&post(address, "", "a workspace"), "the body must be the number");
    refused(&post(address, "", ""), "the body must be the number");
    refused(&post(address, "", "4294967296"), "the body must be the number");
    refused(&post(address, "", "1"), "1 is no PID namespace's number");
    refused(&post(address, "", INITIAL_PID_NS), "trace the whole node instead");
    refused(&post(address, "", "4294967295"), "no process of this node is in PID namespace 4294967295");
    let message = program.wait_for_message("a handshake was refused");
    assert!(message.field("peer").is_string() && message.field("answer").is_string(), "{message:?}");
    accepted(&post(address, "", &number));
    workspace.tell("/bin/true at last");
    program.wait_for_exec("/bin/true at last");
}

/// A container that starts anew has a namespace of its own, and tells it as the first one did.
#[test]
fn root_a_workspace_that_starts_anew_is_asked_for_its_namespace_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = folder.path().join("key").to_str().expect("UTF-8").to_owned();
    fs::write(&key, "a key for the tests alone").expect("a file");
    let (mut program, address) = waiting(&["sidecar", "--chain-key", &key]);
    // Read once, whatever comes.
    fs::remove_file(&key).expect("the key");
    let mut first = Workspace::new();
    accepted(&post(address, "", &first.number()));
    first.tell("/bin/true one");
    drop(first);
    program.wait_for_message("the workspace's PID namespace is gone");
    let address = address_of(&mut program);
    let mut second = Workspace::new();
    second.tell("/bin/true unseen");
    accepted(&post(address, "", &second.number()));
    second.tell("/bin/true two");
    let (_, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let lines = stopped.log();
    assert_eq!(cmdlines(&lines), ["/bin/true one", "/bin/true two"]);
    let kinds: Vec<_> = lines.iter().map(Line::msg).filter(|msg| *msg != "running").collect();
    assert_eq!(
        kinds,
        ["start", "exec", "scope-gone", "ledger", "stop", "start", "exec", "ledger", "stop"],
        "{stopped:?}"
    );
    let bodies = |msg, name| with_msg(&lines, msg).iter().map(|line| line.field(name).clone()).collect::<Vec<_>>();
    let (gone, stops, starts) = (bodies("scope-gone", "gone"), bodies("stop", "stop"), bodies("start", "start"));
    assert_eq!(gone[0]["scope"], 1);
    assert_eq!((&stops[0]["why"], &stops[1]["why"]), (&"scope_gone".into(), &"signal".into()));
    // From when nothing could run there any more, not from when that was written.
    assert_eq!(starts[1]["unwatched"]["from"].as_str(), with_msg(&lines, "scope-gone")[0].text("ts"));
    let log = folder.path().join("log");
    fs::write(&log, stopped.text()).expect("a file");
    fs::write(&key, "a key for the tests alone").expect("a file");
    let verdict = Verdict::on(&log, &["--chain-key", &key]);
    assert_eq!(verdict.kinds(), ["unwatched"], "what ran before the second handshake: {:#}", verdict.report);
}

#[test]
fn root_a_sidecar_that_is_told_to_stop_before_the_handshake_leaves_no_pin() {
    let bpf = BpfFs::new();
    let (program, _) = waiting(&["sidecar", "--pin", &bpf.pin()]);
    assert!(Path::new(&bpf.pin()).exists());
    let (_, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(!Path::new(&bpf.pin()).exists());
}

/// What waited in the ring comes first, although nothing can ever come again.
#[test]
fn root_a_pin_of_a_workspace_that_is_gone_is_read_to_its_end_and_removed() {
    let bpf = BpfFs::new();
    let (pin, folder) = (bpf.pin(), tempfile::tempdir().expect("a temporary folder"));
    let log = folder.path().join("log");
    let words = ["sidecar", "--pin", &pin, "--log", log.to_str().expect("UTF-8"), "--watchdog", "0"];
    let (program, address) = waiting(&words);
    let mut first = Workspace::new();
    accepted(&post(address, "", &first.number()));
    first.tell("/bin/true one");
    first.wait_for_lines(log.to_str().expect("UTF-8"), "/bin/true", 1);
    program.signal(Signal::KILL);
    drop(program.end());
    first.tell("/bin/true between");
    drop(first);
    let (program, address) = waiting(&words);
    assert!(program.stderr.seen().iter().any(|line| line.contains("that a pinned tracer knows")));
    let mut second = Workspace::new();
    accepted(&post(address, "", &second.number()));
    second.tell("/bin/true two");
    let (_, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let lines = Line::parse_all(&fs::read_to_string(&log).expect("the log"));
    let starts: Vec<_> = with_msg(&lines, "start").iter().map(|line| line.field("start").clone()).collect();
    assert_eq!((starts.len(), starts[1]["resumed"].is_object(), &starts[2]["resumed"]), (3, true, &Value::Null));
    let stops: Vec<_> = with_msg(&lines, "stop").iter().map(|line| line.field("stop")["why"].clone()).collect();
    assert_eq!(stops, ["scope_gone", "signal"]);
    let verdict = Verdict::on(&log, &[]);
    assert_eq!(verdict.report["totals"]["execs"], 3, "{:#}", verdict.report);
    // The second run took all with it; the third left its pin.
    let mut kinds = verdict.kinds();
    kinds.retain(|kind| *kind != "torn");
    assert_eq!(kinds, ["unwatched", "not-resumed"], "{:#}", verdict.report);
}

/// Where the sidecar has a PID namespace of its own it can see neither the workspace's nor hold it.
#[test]
fn root_a_sidecar_in_a_namespace_of_its_own_takes_a_number_that_it_cannot_see() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let mut beside = Workspace::new();
    let words = "sidecar --init-address 127.0.0.1:0 >\"$out\" & echo $!";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let pid = beside.ask(&format!("out={}; {EXECTRACE} {words}", out.display()));
    let message = beside.wait_for_message("waiting for the workspace's PID namespace");
    let address: SocketAddr = message.field("address").as_str().expect("text").parse().expect("an address");
    refused(&post(address, "", INITIAL_PID_NS), "trace the whole node instead");
    accepted(&post(address, "", &number));
    let message = beside.wait_for_message("tracing the workspace's PID namespace");
    assert_eq!(message.field("held"), false);
    beside.tell("/bin/true beside");
    workspace.tell("/bin/true inside");
    assert_eq!(beside.ask(&format!("kill -TERM {pid}; wait {pid}; echo $?")), "0");
    let log = fs::read_to_string(out).expect("the log");
    assert_eq!(cmdlines(&Line::parse_all(&log)), ["/bin/true inside"]);
}

#[test]
fn root_the_own_namespace_needs_no_handshake() {
    let mut workspace = Workspace::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let words = "sidecar --use-local-pidns --label a=b";
    let pid = workspace.ask(&format!("{EXECTRACE} {words} >{} & echo $!", out.display()));
    workspace.wait_for_message("tracing the PID namespace of this container");
    Workspace::shared().tell("/bin/true beside");
    workspace.tell("/bin/true inside");
    assert_eq!(workspace.ask(&format!("kill -TERM {pid}; wait {pid}; echo $?")), "0");
    let lines = Line::parse_all(&fs::read_to_string(out).expect("the log"));
    assert_eq!(cmdlines(&lines), ["/bin/true inside"]);
    assert!(lines.iter().all(|line| line.label("a") == Some("b")), "{lines:?}");
}

/// The initial namespace is the whole node; there the sidecar would otherwise trace what no template means.
#[test]
fn root_outside_of_a_container_there_is_no_own_namespace() {
    let own = fs::read_link("/proc/self/ns/pid").expect("a namespace");
    if own != Path::new(&format!("pid:[{INITIAL_PID_NS}]")) {
        return println!("skipped: the tests run in a container");
    }
    let mut program = Program::start(&mut exectrace(["sidecar", "--use-local-pidns"]));
    program.wait_for_message("the node's own PID namespace");
    assert_eq!(program.end().0.code(), Some(3));
}

#[test]
fn root_of_its_capabilities_the_sidecar_keeps_two() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let (mut program, address) = waiting(&["sidecar"]);
    accepted(&post(address, "", &number));
    workspace.tell("/bin/true seen");
    // The pipeline starts after they were given up.
    program.wait_for_exec("/bin/true seen");
    for task in fs::read_dir(format!("/proc/{}/task", program.pid())).expect("threads") {
        let status = fs::read_to_string(task.expect("a thread").path().join("status")).expect("a status");
        for line in ["CapPrm:\t000000c000000000", "CapEff:\t000000c000000000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{line}: {status}");
        }
    }
}

#[test]
fn root_a_peer_that_says_nothing_does_not_keep_others_waiting() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let (_program, address) = waiting(&["sidecar"]);
    let mut slow = connect(address).expect("a server");
    slow.write_all(b"POST / HTTP/1.1\r\n").expect("a server that reads");
    let start = Instant::now();
    accepted(&post(address, "", &number));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn root_a_body_may_come_after_the_headers_and_be_asked_for() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let (_program, address) = waiting(&["sidecar"]);
    let mut stream = connect(address).expect("a server");
    let headers = format!("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", number.len());
    stream.write_all(headers.as_bytes()).expect("a server that reads");
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).expect("an answer in time");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(number.as_bytes()).expect("a server that reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in time");
    accepted(&answer);
}

#[test]
fn root_nobody_comes_in_time() {
    let (program, _) = waiting(&["sidecar", "--startup-timeout", "1s"]);
    let (status, lines, messages) = program.end();
    assert_eq!((status.code(), lines.len()), (Some(4), 0), "{messages:?}");
    assert!(messages.iter().any(|line| Line::parse(line).msg().contains("--startup-timeout")), "{messages:?}");
}

#[test]
fn root_a_stop_while_waiting_is_no_failure() {
    for signal in [Signal::TERM, Signal::INT] {
        let (program, address) = waiting(&["sidecar"]);
        let peer = connect(address).expect("a server");
        let start = Instant::now();
        program.signal(signal);
        let (status, _, messages) = program.end();
        assert_eq!(status.code(), Some(0), "{messages:?}");
        assert!(start.elapsed() < A_SECOND, "{:?}", start.elapsed());
        drop(peer);
    }
}

#[test]
fn root_a_stop_while_tracing_loses_nothing_that_was_before() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let (program, address) = waiting(&["sidecar"]);
    accepted(&post(address, "", &number));
    workspace.tell("/bin/true last");
    let (took, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(took < A_SECOND, "{took:?}");
    assert_eq!(cmdlines(&stopped.parsed()), ["/bin/true last"]);
    stopped.says("stopped");
}

/// A folder as the kubelet makes it: files are links through `..data`, which is swapped at once.
fn volume(folder: &Path, version: &str, files: &[(&str, &str)]) {
    let data = folder.join(version);
    fs::create_dir(&data).expect("a folder");
    for (name, content) in files {
        fs::write(data.join(name), content).expect("a file");
        // It is there from the version before.
        let _ = symlink(Path::new("..data").join(name), folder.join(name));
    }
    symlink(version, folder.join("..data_tmp")).expect("a link");
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("the swap");
}

#[test]
fn root_labels_of_a_folder_are_read_again_when_they_change() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("a path in UTF-8");
    volume(folder.path(), "..1", &[("labels", "username=\"jessie\"\nteam=\"a\"\n"), ("workspace_name", "main")]);
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let (mut program, address) = waiting(&["sidecar", "--labels-dir", path, "--label", "team=fixed"]);
    accepted(&post(address, "", &number));
    workspace.tell("/bin/true old");
    let old = program.wait_for_exec("/bin/true old");
    let labels = |line: &Line| ["username", "workspace_name", "team"].map(|name| line.label(name).map(str::to_owned));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(labels(&old), [some("jessie"), some("main"), some("fixed")]);
    volume(folder.path(), "..2", &[("labels", "username=\"zac\"\n"), ("workspace_name", "other")]);
    let changed = program.wait_for_line("labels-changed");
    assert_eq!(
        (labels(&changed)[0].as_deref(), &changed.field("changed")["before"]["team"]),
        (Some("zac"), &"fixed".into())
    );
    workspace.tell("/bin/true new");
    let new = program.wait_for_exec("/bin/true new");
    assert_eq!(labels(&new), [some("zac"), some("other"), some("fixed")]);
    volume(folder.path(), "..3", &[("labels", "no label at all\n")]);
    program.wait_for_message("the labels stay as they were");
    workspace.tell("/bin/true still");
    assert_eq!(labels(&program.wait_for_exec("/bin/true still")), labels(&new));
}

#[test]
fn labels_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("a path in UTF-8");
    fs::write(folder.path().join("labels"), "fine=\"yes\"\nbroken\n").expect("a file");
    for (folder, why) in [(path, "line 2"), ("/nonexistent", "/nonexistent"), ("/etc/passwd", "/etc/passwd")] {
        let ended = Ended::of(&mut exectrace(["sidecar", "--use-local-pidns", "--labels-dir", folder]));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        let message = ended.message();
        assert!(message.msg().contains(folder) && message.msg().contains(why), "{message:?}");
    }
}

#[test]
fn root_an_address_in_use_is_told_with_advice() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let ended = Ended::of(&mut exectrace(["sidecar", "--init-address", &address]));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let message = ended.message();
    assert!(message.msg().contains(&address) && message.msg().contains("--init-address"), "{message:?}");
}

#[test]
fn wrong_flags_are_told_with_and_without_a_subcommand() {
    for (words, told) in [
        (&["--init-address", "nowhere"][..], "--init-address"),
        (&["--label", "novalue"], "KEY=VALUE"),
        (&["--nonsense"], "--nonsense"),
        (&["sidecar", "--startup-timeout", "soon"], "--startup-timeout"),
        (&["sidecar", "--init-address", "workspace.example.com:56123"], "IP:PORT"),
    ] {
        let ended = Ended::of(&mut exectrace(words));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains(told), "{words:?}: {ended:?}");
    }
}

#[test]
fn root_curl_as_the_help_tells_it_is_understood() {
    if Command::new("curl").arg("--version").output().is_err() {
        return println!("skipped: no curl here");
    }
    let mut workspace = Workspace::new();
    let (mut program, address) = waiting(&["sidecar"]);
    let help = Ended::of(&mut exectrace(["sidecar", "--help"])).stdout;
    let (_, advice) = help.split_once("\n\n  curl ").expect("an example");
    let (advice, _) = advice.split_once("\n\n").expect("an empty line behind it");
    workspace.tell(&format!("curl -s {}", advice.replace("127.0.0.1:56123", &address.to_string())));
    workspace.tell("/bin/true after curl");
    program.wait_for_exec("/bin/true after curl");
}

/// A weakness that the documentation names: the number is all that the sidecar is told.
#[test]
fn root_the_first_who_comes_may_name_another_one_s_namespace() {
    let (mut own, mut neighbour) = (Workspace::new(), Workspace::new());
    let (mut program, address) = waiting(&["sidecar", "--label", "username=jessie"]);
    accepted(&post(address, "", &neighbour.number()));
    program.wait_for_message("tracing the workspace's PID namespace");
    own.tell("/bin/true own");
    neighbour.tell("/bin/true neighbour");
    let (_, stopped) = program.stop();
    assert_eq!(cmdlines(&stopped.parsed()), ["/bin/true neighbour"]);
}

#[test]
fn a_pod_is_not_also_a_namespace() {
    const UID: &str = "--pod-uid=621d2e52-1b7a-4d6c-9c55-0123456789ab";
    for other in [&["--use-local-pidns"][..], &["--init-address=127.0.0.1:0"], &["--startup-timeout=1s"]] {
        let ended = Ended::of(exectrace(["sidecar", UID]).args(other));
        assert_eq!(ended.code, Some(2), "{other:?}: {ended:?}");
        assert!(ended.stderr.contains("cannot be used with"), "{ended:?}");
    }
    let ended = Ended::of(&mut exectrace(["sidecar", "--pod-info", "/"]));
    assert!(ended.code == Some(2) && ended.stderr.contains("--pod-uid"), "{ended:?}");
}

#[test]
fn root_who_is_in_no_such_pod_is_told_so_and_leaves_no_log() {
    for (uid, why) in [
        ("621d2e52-1b7a-4d6c-9c55-0123456789ab", "finding the own pod"),
        ("main", "is no UID of a pod"),
        ("", "is no UID of a pod"),
    ] {
        let ended = Ended::of(&mut exectrace(["sidecar", "--pod-uid", uid]));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{ended:?}");
        assert!(ended.message().msg().contains(why), "{ended:?}");
    }
}

#[test]
fn root_the_probe_says_no_until_the_tracer_is_attached() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("ready.sock").into_os_string().into_string().expect("a path in UTF-8");
    let probe = || Ended::of(&mut exectrace(["probe", &socket]));
    let early = probe();
    assert_eq!(early.code, Some(1), "{early:?}");
    assert!(early.message().msg().contains("not attached yet"), "{early:?}");
    let mut workspace = Workspace::new();
    let (program, address) = waiting(&["sidecar", "--ready-socket", &socket]);
    assert_eq!(probe().code, Some(1), "it waits for a handshake");
    accepted(&post(address, "", &workspace.number()));
    let deadline = Instant::now() + PATIENCE;
    while probe().code != Some(0) {
        assert!(Instant::now() < deadline, "it is attached by now");
    }
    workspace.tell("/bin/true seen");
    let (_, stopped) = program.stop();
    assert_eq!(cmdlines(&stopped.parsed()), ["/bin/true seen"], "the probe says yes when an exec will be seen");
    let late = probe();
    assert_eq!((late.code, late.stdout.as_str()), (Some(1), ""), "{late:?}");
}
