//! PID namespaces within PID namespaces, and what is no namespace at all.

use std::process::Command;

use crate::support::*;

#[test]
fn root_a_process_that_unshares_stays_where_it_is() {
    let run = Workspace::new().run(command("unshare_only").arg(target()));
    assert_calls(&run.events, &[call(target(), [target(), "unshare_only"])]);
    assert_eq!(run.event().ns_level, run.own.ns_level);
    assert_eq!(run.event().pid_ns, run.own.pid_ns);
}

#[test]
fn root_a_namespace_below_is_inside_and_its_pids_are_the_scope_s() {
    let run = Workspace::new().run(command("nested_ns").arg(target()));
    assert_calls(&run.events, &[call(target(), [target(), "nested_ns"])]);
    let event = run.event();
    assert_eq!(event.vpid.to_string(), run.line());
    assert_eq!(event.ns_level, run.own.ns_level + 1);
    assert_ne!(event.pid_ns, run.own.pid_ns);
    assert_eq!(event.ppid, run.pid);
}

#[test]
fn root_numbers_of_namespaces_are_those_in_proc() {
    let mut workspace = Workspace::new();
    let init = workspace.namespace.init();
    let run = workspace.run(&mut Command::new(target()));
    assert_eq!(run.own.pid_ns, workspace.namespace.number());
    assert_eq!(run.own.mnt_ns, namespace_number(init, "mnt"));
    let run = workspace.run(Command::new("unshare").args(["--mount", target()]));
    assert_eq!(run.event().pid_ns, workspace.namespace.number());
    assert_ne!(run.event().mnt_ns, namespace_number(init, "mnt"));
}

#[test]
fn root_a_pid_is_the_node_s_and_a_vpid_the_namespace_s() {
    let run = Workspace::new().run(&mut shell("\"$1\" x & echo $!; wait $!", &[target()]));
    assert_calls(&run.events, &[call(target(), [target(), "x"])]);
    assert_eq!(run.event().vpid.to_string(), run.line());
    assert_ne!(run.event().pid, run.event().vpid);
}

#[test]
fn root_a_namespace_ten_deep_is_inside() {
    let mut words = Vec::new();
    for _ in 0..10 {
        words.extend(["unshare", "--pid", "--fork"]);
    }
    words.extend([target(), "ten"]);
    let run = Workspace::new().run(Command::new(words[0]).args(&words[1..]));
    let event = run.events.last().expect("the target's exec");
    assert_eq!(calls(std::slice::from_ref(event)), [call(target(), [target(), "ten"])]);
    assert_eq!(event.ns_level, run.own.ns_level + 10);
    assert_eq!(run.events.len(), 10);
    assert!(event.vpid > 10, "a number of the scope's namespace, where each of the ten has one: {}", event.vpid);
}
