//! Every way to ask the kernel for an exec, and every way to deceive who watches.

use exectrace::{ExecId, Partial, Traits};

use crate::support::*;

/// The fixture's name, which is also the word that its exec of the target has.
#[track_caller]
fn the_one_exec_of(fixture: &str) -> Option<Finished> {
    let mut workspace = Workspace::new();
    let run = workspace.run_if_supported(command(fixture).arg(target()))?;
    assert_calls(&run.events, &[call(target(), [target(), fixture])]);
    assert_eq!(run.event().traits, Traits::empty());
    assert_eq!(show(&run.event().exe), target());
    assert_eq!(run.event().parent_id, Some(run.own.id));
    Some(run)
}

#[test]
fn root_an_exec_of_a_name_below_a_folder_s_descriptor_is_seen_as_the_kernel_names_it() {
    let run = Workspace::new().run(command("execveat").arg(target()));
    assert_calls(&run.events, &[call("/dev/fd/10/target", [target(), "execveat"])]);
    assert_eq!(show(&run.event().exe), target());
}

#[test]
fn root_an_exec_of_a_descriptor_is_seen_with_the_file_that_runs() {
    for fixture in ["execveat_fd", "fexecve"] {
        let run = Workspace::new().run(command(fixture).arg(target()));
        assert_calls(&run.events, &[call("/dev/fd/10", [target(), fixture])]);
        assert_eq!(show(&run.event().exe), target());
        assert_eq!(run.event().traits, Traits::empty());
    }
}

#[test]
fn root_a_file_in_memory_is_a_memfd_and_not_a_deleted_file() {
    let run = Workspace::new().run(command("memfd").arg(target()));
    assert_calls(&run.events, &[call("/dev/fd/10", [target(), "memfd"])]);
    assert_eq!(run.event().traits, Traits::MEMFD);
    assert_eq!(show(&run.event().exe), "/memfd:exectrace-memfd");
}

#[test]
fn root_a_script_in_memory_is_seen_with_its_interpreter() {
    let run = Workspace::new().run(&mut command("memfd_script"));
    assert_calls(&run.events, &[call("/dev/fd/10", ["/dev/fd/10", "memfd_script"])]);
    let event = run.event();
    let interpreter = event.interpreter.as_ref().expect("a script");
    assert_eq!((show(&interpreter.path), interpreter.args.len()), ("/bin/sh".to_owned(), 0));
    assert_eq!(show(&event.exe), real("/bin/sh"));
    assert_eq!(event.traits, Traits::empty(), "the file that runs is the shell");
}

#[test]
fn root_a_file_without_a_name_is_deleted_and_shows_the_name_that_it_had() {
    let run = Workspace::new().run(command("unlinked").arg(target()));
    assert_calls(&run.events, &[call("/dev/fd/10", [target(), "unlinked"])]);
    assert_eq!(run.event().traits, Traits::DELETED);
    assert_eq!(show(&run.event().exe), run.line());
}

#[test]
fn root_an_exec_by_the_32_bit_entry_is_seen() {
    if let Some(run) = the_one_exec_of("int80") {
        assert_eq!(run.event().comm, b"int80");
    }
}

#[test]
fn root_a_32_bit_program_s_arguments_are_read_from_its_own_memory() {
    let target32 = fixture("target32");
    let mut workspace = Workspace::new();
    match workspace.namespace.try_spawn(std::process::Command::new(target32).arg("32 bits")) {
        Ok(mut child) => assert!(wait(&mut child).success()),
        Err(error) => return skip(format_args!("32-bit programs: {error}")),
    }
    assert_calls(&workspace.settle(), &[call(target32, [target32, "32 bits"])]);
    let run = workspace.run(command("vfork").arg(target32));
    assert_calls(&run.events, &[call(target32, [target32, "vfork"])]);
}

#[test]
fn root_an_exec_by_a_thread_has_the_pid_of_its_leader() {
    let run = Workspace::new().run(command("thread_exec").arg(target()));
    assert_calls(&run.events, &[call(target(), [target(), "thread_exec"])]);
    let event = run.event();
    assert_eq!(event.traits, Traits::THREAD);
    assert_eq!(event.vpid.to_string(), run.line());
    assert_ne!(event.caller_tid, event.pid);
    assert_eq!(event.ppid, run.pid);
    assert_eq!(event.comm, b"thread_exec");
    assert_eq!(event.parent_id, Some(run.own.id));
}

#[test]
fn root_an_exec_after_vfork_is_seen() {
    let run = the_one_exec_of("vfork").expect("any kernel");
    assert_eq!(run.event().ppid, run.pid);
}

#[test]
fn root_literals_that_the_child_never_touched_are_read() {
    let run = Workspace::new().run(command("fork_literal").arg(target()));
    assert_calls(&run.events, &[call("./fork-literal-target", ["fork-literal-name", "fork-literal-word"])]);
    assert_eq!(show(&run.event().exe), target());
}

#[test]
fn root_strings_on_pages_that_are_nowhere_yet_are_read() {
    let run = Workspace::new().run(command("cold_page").arg(target()));
    assert_calls(&run.events, &[call(target(), [target(), "cold", "page"])]);
}

#[test]
fn root_an_exec_without_arguments_has_the_ones_that_the_kernel_made() {
    let echo = fixture("echo_argc");
    for fixture in ["argv_null", "argv_empty"] {
        let run = Workspace::new().run(command(fixture).arg(echo));
        // 5.18 puts an empty argv[0] where there is none, and so do older kernels that got that change.
        let made = vec![""; run.line().parse().expect("a number")];
        assert_calls(&run.events, &[call(echo, made)]);
    }
}

#[test]
fn root_blank_arguments_are_kept_and_counted() {
    let run = Workspace::new().run(command("argv_blank").arg(target()));
    assert_calls(&run.events, &[call(target(), ["", "", "x", ""])]);
}

#[test]
fn root_arguments_are_bytes_and_nothing_is_made_of_them() {
    let run = Workspace::new().run(command("bytes").arg(target()));
    let expected: [&[u8]; 11] = [
        target().as_bytes(),
        b"\xff\xfe",
        b"ok\xc3",
        b"\xed\xa0\x80",
        b"line\n{\"msg\":\"exec\"}\n",
        b"\x1b[2J\x1b[31mred\x1b[0m\x1b]0;title\x07",
        b"\xef\xbf\xbd",
        b"txt.\xe2\x80\xaegpj",
        b"\x7f",
        b"\t\r",
        b"\"\\\\u0041'$(id)",
    ];
    let expected = Call { filename: target().into(), argv: expected.map(<[u8]>::to_vec).to_vec() };
    assert_calls(&run.events, &[expected]);
}

#[test]
fn root_arguments_that_another_thread_changes_are_those_that_the_new_image_got() {
    let rounds = scaled(2000);
    let echo = fixture("echo_argv");
    let run = Workspace::new().run(command("argv_race").args([echo, &rounds.to_string()]));
    let told: Vec<(String, Call)> = run
        .lines()
        .iter()
        .map(|line| {
            let (pid, word) = line.split_once(' ').expect("a pid and a word");
            (pid.to_owned(), call(echo, [echo, word]))
        })
        .collect();
    assert_eq!(told.len(), rounds);
    let seen: Vec<(String, Call)> =
        run.events.iter().map(|event| event.vpid.to_string()).zip(calls(&run.events)).collect();
    assert_eq!(seen, told);
}

#[test]
fn root_an_image_that_overwrites_its_name_and_arguments_lies_too_late() {
    let own = fixture("rename_after");
    let run = Workspace::new().run(&mut command("rename_after"));
    assert_calls(&run.events, &[call(own, [own, "truth"])]);
    assert_eq!(run.event().comm, b"rename_after");
    assert_eq!(run.event().pid, run.pid);
}

#[test]
fn root_arguments_that_a_debugger_rewrites_are_those_that_the_new_image_got() {
    if let Some(run) = Workspace::new().run_if_supported(command("ptrace_rewrite").arg(target())) {
        assert_calls(&run.events, &[call(target(), [target(), "given"])]);
    }
}

#[test]
fn root_a_question_whether_an_exec_would_do_is_no_exec() {
    let run = Workspace::new().run_if_supported(command("at_execve_check").arg(target()));
    assert_eq!(run.is_some(), kernel() >= (6, 14), "AT_EXECVE_CHECK came with 6.14");
    if let Some(run) = run {
        assert_calls(&run.events, &[]);
    }
}

#[test]
fn root_an_exec_after_one_that_failed_is_seen_alone() {
    let run = Workspace::new().run(command("enoexec_then_exec").arg(target()));
    assert_calls(&run.events, &[call(target(), [target(), "after"])]);
}

#[test]
fn root_execs_that_fail_are_not_seen() {
    let mut workspace = Workspace::new();
    let run = workspace.run(&mut command("failed"));
    assert_calls(&run.events, &[]);
}

#[test]
fn root_an_exec_that_kills_its_process_on_the_way_is_not_seen() {
    let run = Workspace::new().run(command("late_failure").arg(target()));
    assert_calls(&run.events, &[]);
}

#[test]
fn root_execs_of_one_process_are_a_chain() {
    const COUNT: u32 = 7;
    let own = fixture("exec_chain");
    let run = Workspace::new().run(command("exec_chain").arg(COUNT.to_string()));
    let left: Vec<String> = (0..COUNT).rev().map(|left| left.to_string()).collect();
    let expected: Vec<Call> = left.iter().map(|left| call(own, [own, left.as_str()])).collect();
    assert_calls(&run.events, &expected);
    let mut before = run.own.id;
    for event in &run.events {
        assert_eq!((event.pid, event.caller_tid), (run.pid, run.pid));
        assert_eq!(event.id, ExecId { exec: before.exec + 1, ..before });
        assert_eq!(event.parent_id, Some(before));
        assert_eq!((event.partial, event.comm.as_slice()), (Partial::empty(), &b"exec_chain"[..]));
        before = event.id;
    }
}

#[test]
fn root_the_loader_called_by_name_is_known() {
    let loader =
        if cfg!(target_arch = "aarch64") { "/lib/ld-linux-aarch64.so.1" } else { "/lib64/ld-linux-x86-64.so.2" };
    if let Some(run) = Workspace::new().run_if_supported(&mut command("loader")) {
        assert_calls(&run.events, &[call(loader, [loader, "/bin/true"])]);
        assert_eq!(run.event().traits, Traits::LD_SO);
        assert_eq!(show(&run.event().exe), real(loader));
    }
}

#[test]
fn root_a_program_that_the_loader_serves_is_not_the_loader() {
    let run = Workspace::new().run(&mut std::process::Command::new("/bin/true"));
    assert_calls(&run.events, &[]);
    assert_eq!(run.own.traits, Traits::empty());
}

#[test]
fn root_a_copy_of_the_loader_is_seen_and_not_recognised() {
    let Ok(loader) = std::fs::canonicalize("/lib64/ld-linux-x86-64.so.2") else { return skip("no such loader") };
    let folder = public_folder();
    let copied = copy(loader.to_str().expect("a path in UTF-8"), folder.path(), "innocent");
    let run = Workspace::new().run(std::process::Command::new(&copied).arg("/bin/true"));
    assert_own_call(&run, call(&copied, [copied.as_str(), "/bin/true"]));
    assert_calls(&run.events, &[]);
    assert_eq!((run.own.traits, show(&run.own.exe)), (Traits::empty(), copied));
}
