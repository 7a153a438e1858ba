use exectrace::Event;

use super::made::{World, on, running};
use super::{by_rules, folding};
use crate::{Kind, Session, Sift, SiftConfig, markers};

/// Kind, by what, and pid of the root.
fn told(session: &Session) -> (Kind, Option<&str>, Option<u32>) {
    (session.kind, session.by.as_deref(), session.root.map(|root| root.pid))
}

/// A container of which everything was logged: its first process, and that.
fn container() -> (World, Sift, Event) {
    let (mut world, mut sift) = (World::new(), by_rules(&[], &[]));
    let init = Event { vpid: 1, comm: b"runc:[2:INIT]".to_vec(), ..world.begin("/usr/bin/tini", &["tini"]) };
    sift.judge(&init);
    (world, sift, init)
}

#[test]
fn the_first_process_of_a_container_is_container_and_so_is_what_it_executes() {
    let (mut world, mut sift) = (World::new(), by_rules(&[], &[]));
    let init = Event { vpid: 1, ..world.begin("/usr/bin/tini", &["tini"]) };
    assert_eq!(told(&sift.session(&init)), (Kind::Container, None, Some(init.pid)));
    let sh = world.exec(&init, "/bin/sh", &["sh"]);
    assert_eq!(told(&sift.session(&sh)), (Kind::Container, None, Some(init.pid)));
}

#[test]
fn the_first_of_the_node_is_not_a_container_s() {
    let (mut world, mut sift) = (World::new(), by_rules(&[], &[]));
    let init = Event { vpid: 1, ns_level: 0, ..world.begin("/sbin/init", &["init"]) };
    assert_eq!(sift.session(&init).kind, Kind::Unknown);
}

#[test]
fn what_is_put_into_a_container_that_runs_is_exec() {
    let (mut world, mut sift, init) = container();
    let entered = Event { comm: b"runc:[2:INIT]".to_vec(), ..world.begin("/bin/bash", &["bash"]) };
    assert_eq!(told(&sift.session(&entered)), (Kind::Exec, None, Some(entered.pid)));
    let on_a_terminal = on("pts/0", Event { comm: b"crun".to_vec(), ..world.begin("/bin/bash", &["bash"]) });
    let session = sift.session(&on_a_terminal);
    assert_eq!(told(&session), (Kind::Exec, None, Some(on_a_terminal.pid)));
    assert!(session.is_interactive(true));
    let ls = world.exec(&on_a_terminal, "/bin/ls", &["ls"]);
    assert_eq!(told(&sift.session(&ls)), (Kind::Exec, None, Some(on_a_terminal.pid)));
    assert_ne!(init.pid, entered.pid);
}

#[test]
fn containers_of_a_pod_have_each_a_first_process_and_who_enters_them_is_exec() {
    let (mut world, mut sift) = (World::new(), by_rules(&[], &[]));
    let mut enter = |container: &str, vpid, comm: &str| {
        let event = world.begin("/bin/sh", &["sh"]);
        sift.session(&Event { container: Some(container.into()), vpid, comm: comm.into(), ..event }).kind
    };
    for container in ["a", "b"] {
        assert_eq!(enter(container, 1, "runc:[2:INIT]"), Kind::Container, "{container}");
        assert_eq!(enter(container, 9, "runc:[2:INIT]"), Kind::Exec, "{container}");
        assert_eq!(enter(container, 12, "sh"), Kind::Unknown, "{container}");
    }
    assert_eq!(enter("c", 9, "runc:[2:INIT]"), Kind::Exec, "one that ran before the log");
    assert_eq!(enter("d", 1_234, "sh"), Kind::Container, "one without a namespace of its own");
}

#[test]
fn what_nothing_is_known_of_is_unknown_and_on_a_terminal_it_is_somebody_s() {
    let (mut world, mut sift) = (World::new(), by_rules(&[], &[]));
    let orphan = world.begin("/bin/sh", &["sh"]);
    assert_eq!(told(&sift.session(&orphan)), (Kind::Unknown, None, Some(orphan.pid)));
    let shell = on("tty1", world.begin("/bin/bash", &["bash"]));
    let session = sift.session(&shell);
    assert_eq!(told(&session), (Kind::Terminal, None, Some(shell.pid)));
    assert!(session.is_interactive(true) && !session.is_interactive(false));
}

#[test]
fn a_new_terminal_is_a_new_session_and_its_absence_is_none() {
    let (mut world, mut sift, init) = container();
    let shell = on("pts/0", world.exec(&init, "/bin/bash", &["bash"]));
    assert_eq!(told(&sift.session(&shell)), (Kind::Terminal, None, Some(shell.pid)));
    let daemon = Event { tty: None, ..world.exec(&shell, "/usr/bin/setsid", &["setsid"]) };
    assert_eq!(sift.session(&daemon).root, Some(shell.id));
}

#[test]
fn a_login_over_ssh_is_what_sshd_executes() {
    let (mut world, mut sift, init) = container();
    let sshd = world.exec(&init, "/usr/sbin/sshd", &["sshd", "-D"]);
    assert_eq!(sift.session(&sshd).kind, Kind::Container);
    let anew = world.exec(&sshd, "/usr/sbin/sshd", &["sshd", "-R"]);
    assert_eq!(told(&sift.session(&anew)), (Kind::Container, None, Some(init.pid)), "it is the server still");
    let split = world.replace(&anew, "/usr/lib/openssh/sshd-session", &["sshd-session", "-R"]);
    assert_eq!(sift.session(&split).kind, Kind::Container);
    let shell = on("pts/1", world.exec(&split, "/bin/bash", &["-bash"]));
    let session = sift.session(&shell);
    assert_eq!(told(&session), (Kind::Ssh, Some("sshd"), Some(shell.pid)));
    assert!(session.is_interactive(true));
    let ls = world.exec(&shell, "/bin/ls", &["ls"]);
    assert_eq!(sift.session(&ls).root, Some(shell.id));
    let other = world.exec(&split, "/usr/lib/openssh/sftp-server", &["sftp-server"]);
    assert_eq!(told(&sift.session(&other)), (Kind::Ssh, Some("sshd"), Some(other.pid)));
}

#[test]
fn a_terminal_that_is_opened_in_a_login_is_ssh_as_well_with_a_root_of_its_own() {
    let (mut world, mut sift, init) = container();
    let sshd = world.exec(&init, "/usr/sbin/sshd", &["sshd"]);
    let shell = on("pts/1", world.exec(&sshd, "/bin/bash", &["-bash"]));
    let tmux = world.exec(&shell, "/usr/bin/tmux", &["tmux"]);
    let pane = on("pts/2", world.exec(&tmux, "/bin/bash", &["-bash"]));
    for event in [&sshd, &shell, &tmux] {
        sift.judge(event);
    }
    assert_eq!(told(&sift.session(&pane)), (Kind::Ssh, Some("sshd"), Some(pane.pid)));
}

#[test]
fn what_sshd_executes_before_a_login_is_no_session() {
    let (mut world, mut sift, init) = container();
    let split = world.exec(&init, "/usr/lib/openssh/sshd-session", &["sshd-session", "-R"]);
    sift.judge(&split);
    let auth = world.exec(&split, "/usr/lib/openssh/sshd-auth", &["sshd-auth", "-R"]);
    assert_eq!(sift.session(&auth).kind, Kind::Container);
}

#[test]
fn clocks_and_managers_of_services_begin_what_they_execute() {
    let (mut world, mut sift, init) = container();
    for (server, kind, by) in [
        ("/usr/sbin/cron", Kind::Cron, "cron"),
        ("/usr/sbin/atd", Kind::Cron, "at"),
        ("/usr/lib/systemd/systemd", Kind::Service, "systemd"),
        ("/command/s6-supervise", Kind::Service, "s6"),
        ("/usr/bin/runsv", Kind::Service, "runit"),
    ] {
        let server = world.exec(&init, server, &["server"]);
        assert_eq!(sift.session(&server).kind, Kind::Container);
        let shell = world.exec(&server, "/bin/sh", &["sh", "-c", "x"]);
        let session = sift.session(&shell);
        assert_eq!(told(&session), (kind, Some(by), Some(shell.pid)));
        assert!(!session.is_interactive(false));
        let below = world.exec(&shell, "/usr/bin/x", &["x"]);
        assert_eq!(told(&sift.session(&below)), (kind, Some(by), Some(shell.pid)));
    }
}

#[test]
fn a_manager_of_services_that_is_a_script_begins_what_it_executes() {
    let (mut world, mut sift, init) = container();
    let manager = world.script(&init, "/usr/bin/supervisord", "/usr/bin/python3.12");
    sift.judge(&manager);
    let service = world.exec(&manager, "/usr/sbin/nginx", &["nginx"]);
    assert_eq!(told(&sift.session(&service)), (Kind::Service, Some("supervisord"), Some(service.pid)));
}

#[test]
fn the_server_of_an_ide_is_ide_by_its_file_and_by_its_arguments() {
    let (mut world, mut sift, init) = container();
    let node = "/home/jessie/.vscode-server/bin/abc/node";
    let by_file = world.exec(&init, node, &["node", "x.js"]);
    assert_eq!(told(&sift.session(&by_file)), (Kind::Ide, Some("vscode"), Some(by_file.pid)));
    let by_argv = world.exec(&init, "/usr/bin/node", &["node", "/opt/v/out/server-main.js", "--port=0"]);
    assert_eq!(told(&sift.session(&by_argv)), (Kind::Ide, Some("vscode"), Some(by_argv.pid)));
    let by_script = world.script(&init, "/opt/bin/jupyter-lab", "/usr/bin/python3");
    assert_eq!(told(&sift.session(&by_script)), (Kind::Ide, Some("jupyter"), Some(by_script.pid)));
    let worker = world.exec(&by_file, node, &["node", "/x/out/bootstrap-fork", "--type=extensionHost"]);
    assert_eq!(sift.session(&worker).root, Some(by_file.id), "a process of it begins nothing");
    let git = world.exec(&worker, "/usr/bin/git", &["git", "status"]);
    let session = sift.session(&git);
    assert_eq!(session.root, Some(by_file.id));
    assert!(!session.is_interactive(false));
}

#[test]
fn a_terminal_in_an_ide_stays_ide_with_a_root_of_its_own() {
    let (mut world, mut sift, init) = container();
    let server = world.exec(&init, "/usr/lib/code-server/lib/node", &["node"]);
    sift.judge(&server);
    let shell = on("pts/4", world.exec(&server, "/bin/bash", &["bash"]));
    let session = sift.session(&shell);
    assert_eq!(told(&session), (Kind::Ide, Some("code-server"), Some(shell.pid)));
    assert!(session.is_interactive(true));
    let ls = world.exec(&shell, "/bin/ls", &["ls"]);
    assert_eq!(sift.session(&ls).root, Some(shell.id));
}

#[test]
fn an_agent_in_a_terminal_of_an_ide_is_agent_and_nobody_is_at_the_other_end() {
    let (mut world, mut sift, init) = container();
    let server = world.exec(&init, "/usr/lib/code-server/lib/node", &["node"]);
    let shell = on("pts/4", world.exec(&server, "/bin/bash", &["bash"]));
    let agent = world.exec(&shell, "/home/jessie/.local/bin/claude", &["claude"]);
    sift.judge(&server);
    sift.judge(&shell);
    let session = sift.session(&agent);
    assert_eq!(told(&session), (Kind::Agent, Some("claude-code"), Some(agent.pid)));
    assert!(!session.is_interactive(true));
    let bash = world.exec(&agent, "/bin/bash", &["bash", "-c", "ls"]);
    assert_eq!(sift.session(&bash).root, Some(agent.id));
    let back = world.exec(&shell, "/bin/ls", &["ls"]);
    assert_eq!(sift.session(&back).root, Some(shell.id), "the terminal is a person's again");
}

#[test]
fn an_agent_is_known_by_a_marker_alone() {
    let (mut world, mut sift, init) = container();
    let config = SiftConfig::default();
    for (at, (name, marker)) in markers(&config.origin).enumerate() {
        let env_marker = Some(u32::try_from(at).expect("few markers"));
        let bash = Event { env_marker, ..world.exec(&init, "/bin/bash", &["bash", "-c", "x"]) };
        assert_eq!(told(&sift.session(&bash)), (Kind::Agent, Some(name), Some(bash.pid)), "{marker}");
    }
    let bash = Event { env_marker: Some(9_999), ..world.exec(&init, "/bin/bash", &["bash"]) };
    assert_eq!(sift.session(&bash).kind, Kind::Container, "a number that stands for none");
}

#[test]
fn a_marker_is_enough_of_a_process_of_which_nothing_was_logged() {
    let (mut world, mut sift) = (World::new(), by_rules(&[], &[]));
    let bash = on("pts/0", Event { env_marker: Some(0), ..world.begin("/bin/bash", &["bash"]) });
    let session = sift.session(&bash);
    assert_eq!(told(&session), (Kind::Agent, Some("claude-code"), Some(bash.pid)));
    assert!(!session.is_interactive(true));
}

#[test]
fn an_agent_wins_over_all_that_is_below_it() {
    let (mut world, mut sift, init) = container();
    let agent = world.script(&init, "/usr/local/bin/codex", "/usr/bin/node");
    assert_eq!(told(&sift.session(&agent)), (Kind::Agent, Some("codex"), Some(agent.pid)));
    for (path, below) in [
        ("/usr/sbin/sshd", "/bin/bash"),
        ("/usr/sbin/cron", "/bin/sh"),
        ("/usr/lib/code-server/lib/node", "/bin/bash"),
        ("/home/jessie/.local/bin/claude", "/bin/bash"),
    ] {
        let server = world.exec(&agent, path, &["server"]);
        assert_eq!(sift.session(&server).root, Some(agent.id), "{path}");
        let below = on("pts/7", world.exec(&server, below, &["x"]));
        let session = sift.session(&below);
        assert_eq!(session.root, Some(agent.id), "below {path}");
        assert!(!session.is_interactive(true));
    }
}

#[test]
fn what_ran_before_the_log_is_found_by_the_parent_s_number() {
    let (mut world, mut sift) = (World::new(), by_rules(&[], &[]));
    for process in [
        running(500, 1, "/usr/sbin/sshd", &["sshd: jessie [priv]"]),
        running(501, 500, "/bin/bash", &["-bash"]),
        running(502, 501, "/usr/bin/python3", &["python3", "/opt/aider/bin/aider", "--model", "x"]),
        running(600, 1, "/usr/sbin/cron", &["cron", "-f"]),
    ] {
        sift.ran(&process);
    }
    for (ppid, kind, by) in [
        (501, Kind::Ssh, Some("sshd")),
        (500, Kind::Ssh, Some("sshd")),
        (600, Kind::Cron, Some("cron")),
        (502, Kind::Agent, Some("aider")),
    ] {
        let event = Event { ppid, ..world.begin("/bin/ls", &["ls"]) };
        assert_eq!(told(&sift.session(&event)), (kind, by, None), "below {ppid}");
    }
}

#[test]
fn what_ran_before_the_log_is_found_by_the_session_s_leader_where_the_parent_is_gone() {
    let (mut world, mut sift) = (World::new(), by_rules(&[], &[]));
    sift.ran(&running(700, 1, "/usr/lib/code-server/lib/node", &["node"]));
    sift.ran(&running(701, 700, "/bin/bash", &["bash"]));
    let orphan = on("pts/4", Event { ppid: 1, sid: 701, ..world.begin("/bin/ls", &["ls"]) });
    let session = sift.session(&orphan);
    assert_eq!(told(&session), (Kind::Ide, Some("code-server"), None));
    assert!(session.is_interactive(true));
}

#[test]
fn processes_from_before_the_log_that_form_a_circle_are_gone_through_once() {
    let (mut world, mut sift) = (World::new(), by_rules(&[], &[]));
    sift.ran(&running(700, 701, "/bin/a", &["a"]));
    sift.ran(&running(701, 700, "/bin/b", &["b"]));
    let event = Event { ppid: 700, ..world.begin("/bin/ls", &["ls"]) };
    assert_eq!(told(&sift.session(&event)), (Kind::Unknown, None, None));
}

#[test]
fn what_descends_from_before_the_log_is_no_entry_whatever_its_name() {
    let (mut world, mut sift, _) = container();
    sift.ran(&running(700, 1, "/bin/bash", &["bash"]));
    let event = Event { ppid: 700, comm: b"runc:[2:INIT]".to_vec(), ..world.begin("/bin/ls", &["ls"]) };
    assert_eq!(sift.session(&event).kind, Kind::Unknown);
}

#[test]
fn the_first_kubectl_exec_after_a_log_began_is_exec() {
    let (mut world, mut sift) = (World::new(), by_rules(&[], &[]));
    sift.ran(&running(700, 1, "/usr/bin/sleep", &["sleep", "infinity"]));
    let entered = Event { comm: b"runc:[2:INIT]".to_vec(), ..world.begin("/bin/bash", &["bash"]) };
    assert_eq!(sift.session(&entered).kind, Kind::Exec);
}

#[test]
fn an_agent_is_known_by_its_arguments_when_these_have_lines() {
    let (mut world, mut sift, init) = container();
    let agent = world.exec(&init, "/usr/bin/python3", &["python3", "/opt/bin/aider", "--message", "one\ntwo"]);
    assert_eq!(sift.session(&agent).kind, Kind::Agent);
}

/// 16,384 execs are remembered.
fn forget(world: &mut World, sift: &mut Sift) {
    let other = world.begin("/usr/bin/yes", &["yes"]);
    sift.judge(&other);
    for _ in 0..16_400 {
        let flood = world.exec(&other, "/usr/bin/true", &["true"]);
        sift.judge(&flood);
    }
}

#[test]
fn what_a_forgotten_agent_executes_is_not_a_person_s() {
    let (mut world, mut sift, init) = container();
    let shell = on("pts/0", world.exec(&init, "/bin/bash", &["bash"]));
    let agent = world.script(&shell, "/usr/local/bin/aider", "/usr/bin/python3");
    sift.judge(&shell);
    assert_eq!(sift.session(&agent).kind, Kind::Agent);
    forget(&mut world, &mut sift);
    let session = sift.session(&world.exec(&agent, "/usr/bin/git", &["git", "commit"]));
    assert!(matches!(session.kind, Kind::Agent | Kind::Unknown), "{session:?}");
    assert!(!session.is_interactive(true), "{session:?}");
}

#[test]
fn who_calls_itself_a_runtime_and_was_forgotten_is_no_kubectl_exec() {
    let (mut world, mut sift, init) = container();
    let python = world.exec(&init, "/usr/bin/python3", &["python3"]);
    sift.judge(&python);
    forget(&mut world, &mut sift);
    let child = Event { comm: b"runc:[2:INIT]".to_vec(), ..world.exec(&python, "/bin/sh", &["sh"]) };
    assert_ne!(sift.session(&child).kind, Kind::Exec);
}

#[test]
fn it_makes_no_difference_whether_there_is_roll_up() {
    let (mut world, _, init) = container();
    let shell = on("pts/0", world.exec(&init, "/bin/bash", &["bash"]));
    let ls = world.exec(&shell, "/bin/ls", &["ls"]);
    let (mut plain, mut rolled) = (by_rules(&[], &[]), folding());
    for event in [&init, &shell, &ls] {
        assert_eq!(plain.session(event), rolled.session(event));
    }
}
