//! Who calls, from which terminal, under which numbers; which file it is, and when.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::SystemTime;

use exectrace::{Partial, Traits};

use crate::support::*;

#[test]
fn root_comm_is_the_caller_s_from_before_the_exec() {
    let run = Workspace::new().run(command("comm_before").arg(target()));
    assert_calls(&run.events, &[call(target(), [target(), "comm_before"])]);
    assert_eq!(show(&run.event().comm), "before");
}

#[test]
fn root_comm_has_15_bytes_at_most() {
    let folder = public_folder();
    let long = copy(fixture("exec_chain"), folder.path(), "more-than-fifteen-bytes");
    let run = Workspace::new().run(Command::new(&long).arg("1"));
    assert_calls(&run.events, &[call(&long, [long.as_str(), "0"])]);
    assert_eq!(show(&run.event().comm), "more-than-fifte");
}

#[test]
fn root_users_and_groups_are_those_after_the_exec() {
    let folder = public_folder();
    let target = copy(target(), folder.path(), "target");
    let run = Workspace::new().run(Command::new(&target).uid(12_345).gid(23_456));
    let own = &run.own;
    assert_eq!((own.uid, own.euid, own.gid, own.egid), (12_345, 12_345, 23_456, 23_456));
}

#[test]
fn root_a_set_user_id_file_shows_both_users() {
    let folder = public_folder();
    let copy = format!("{}/copy", real(folder.path()));
    let mut workspace = Workspace::new();
    if let Some(run) = workspace.run_if_supported(command("setuid").args([target(), "12345", &copy])) {
        assert_calls(&run.events, &[call(&copy, [copy.as_str(), "setuid"])]);
        let event = run.event();
        assert_eq!((event.uid, event.euid), (12_345, 0));
        assert_eq!(event.traits, Traits::SETUID);
        assert_eq!(event.mode & 0o7777, 0o4755);
    }
}

#[test]
fn root_a_set_user_id_file_without_effect_is_not_called_one() {
    let folder = public_folder();
    let copy = copy(target(), folder.path(), "copy");
    let chmod = Workspace::new().run(Command::new("chmod").args(["4755", &copy]));
    assert_eq!(chmod.own.traits, Traits::empty());
    let mut command = Command::new(&copy);
    // SAFETY: prctl(2) alone is called between fork and exec.
    unsafe {
        command.pre_exec(|| Ok(rustix::thread::set_no_new_privs(true)?));
    }
    let run = Workspace::new().run(command.uid(12_345));
    assert_eq!((run.own.uid, run.own.euid, run.own.traits), (12_345, 12_345, Traits::empty()));
    assert_eq!(run.own.mode & 0o7777, 0o4755);
}

#[test]
fn root_in_a_user_namespace_the_user_is_told_as_the_node_sees_it() {
    let folder = public_folder();
    let [userns, target] = ["userns", "target"].map(|name| copy(fixture(name), folder.path(), name));
    let mut workspace = Workspace::new();
    let Some(run) = workspace.run_if_supported(Command::new(&userns).arg(&target).uid(12_345).gid(23_456)) else {
        return;
    };
    assert_calls(&run.events, &[call(&target, [target.as_str(), "userns"])]);
    let event = run.event();
    assert_eq!((event.uid, event.euid, event.gid, event.egid), (12_345, 12_345, 23_456, 23_456));
    assert_eq!(event.ns_level, run.own.ns_level + 1);
    assert_ne!((event.pid_ns, event.mnt_ns), (run.own.pid_ns, run.own.mnt_ns));
}

#[test]
fn root_the_terminal_and_the_session_are_those_of_the_process() {
    let mut script = Command::new("script");
    script.args(["-qec", &format!("tty; exec {} x", target()), "/dev/null"]);
    if Command::new("script").arg("--version").output().is_err() {
        return skip("no script(1) of util-linux");
    }
    let run = Workspace::new().run(&mut script);
    let event = run.events.last().expect("the target's exec");
    assert_calls(std::slice::from_ref(event), &[call(target(), [target(), "x"])]);
    let tty = run.line().trim().strip_prefix("/dev/").expect("the path of a terminal").to_owned();
    assert_eq!(event.tty.as_deref().map(show), Some(tty));
    assert_eq!(event.sid, event.pid, "script(1) makes a session for its shell");
}

#[test]
fn root_a_session_without_a_terminal_has_none() {
    let mut command = command("target");
    // SAFETY: setsid(2) alone is called between fork and exec.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
    }
    let run = Workspace::new().run(&mut command);
    assert_eq!((run.own.tty.clone(), run.own.sid), (None, run.pid));
}

#[test]
fn root_the_login_user_is_what_proc_says() {
    let Ok(told) = fs::read_to_string("/proc/self/loginuid") else {
        return skip("this kernel has no login users");
    };
    let told = told.trim().parse().ok().filter(|uid| *uid != u32::MAX);
    let run = Workspace::new().run(&mut command("target"));
    assert_eq!(run.own.loginuid, told);
    assert_eq!(run.own.audit_session.is_some(), told.is_some());
    if told.is_some() {
        return skip("a login user is set here already, and cannot be set again");
    }
    let run = Workspace::new().run(&mut shell("echo 54321 >/proc/self/loginuid; exec \"$1\" x", &[target()]));
    assert_eq!(run.event().loginuid, Some(54_321));
    assert!(run.event().audit_session.is_some());
}

#[test]
fn root_the_cgroup_is_the_inode_of_its_folder() {
    let Some(folder) = CgroupFolder::new() else { return };
    let below = folder.child("below");
    let mut workspace = Workspace::new();
    let procs = below.path().join("cgroup.procs");
    let script = "echo 0 >\"$2\"; exec \"$1\" x";
    let run = workspace.run(&mut shell(script, &[target(), procs.to_str().expect("UTF-8")]));
    assert_calls(&run.events, &[call(target(), [target(), "x"])]);
    assert_eq!(run.event().cgroup, inode(below.path()));
    assert_ne!(run.own.cgroup, run.event().cgroup);
}

#[test]
fn root_the_file_that_runs_is_the_one_that_stat_shows() {
    let run = Workspace::new().run(&mut command("target"));
    let file = fs::metadata(target()).expect("a fixture");
    let device = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    assert_eq!((run.own.inode, run.own.device, run.own.mode), (file.ino(), device, file.mode()));
}

#[test]
fn root_the_time_is_that_of_the_exec() {
    let before = SystemTime::now();
    let run = Workspace::new().run(&mut command("target"));
    let after = SystemTime::now();
    // The wall clock can be set by a millisecond or two while the test runs.
    let slack = std::time::Duration::from_millis(20);
    assert!(before - slack <= run.own.time && run.own.time <= after + slack);
}

#[test]
fn root_nothing_is_partial_of_an_ordinary_exec() {
    let mut workspace = Workspace::new();
    let run = workspace.run(&mut command("target"));
    assert_eq!(run.own.partial, Partial::empty());
    assert_eq!(run.own.traits, Traits::empty());
    assert_eq!(run.own.interpreter, None);
    assert_eq!(run.own.ppid, std::process::id());
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    assert_eq!((stats.seen, stats.sent), (2, 2), "the target and the sentinel: {stats:?}");
}
