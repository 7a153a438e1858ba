//! Formats that binfmt_misc knows. From 6.7 on each user namespace has its own table of them; before, the node has one,
//! and the test registers a magic of its own for as long as it takes.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use exectrace::{Event, Partial, Traits};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::*;

/// A format that is registered until the value goes.
struct Format {
    shell: Shell,
    entry: String,
}

impl Format {
    /// `None`, and a line that says why, where it cannot be registered.
    fn register(table: &str, name: &str, magic: &str, flags: &str) -> Option<Format> {
        let enter = if kernel() >= (6, 7) { "--user --map-root-user" } else { "" };
        let mut shell = Shell::start(&format!("exec unshare {enter} --mount sh"), spawn);
        let failed = shell.tell(&format!("mount -t binfmt_misc none {table} 2>&1"));
        if !failed.is_empty() {
            skip(format_args!("binfmt_misc: {}", failed.trim()));
            return None;
        }
        let entry = format!("{table}/{name}");
        let failed = shell.tell(&format!("echo ':{name}:M::{magic}::{}:{flags}' >{table}/register", target()));
        assert_eq!(failed, "");
        let there = shell.tell(&format!("test -e {entry} && echo yes"));
        assert_eq!(there, "yes\n", "the format is registered");
        Some(Format { shell, entry })
    }

    /// Makes a program start in the namespaces where the format is known.
    fn enter(&self, command: &mut Command) {
        let open = |kind| File::open(format!("/proc/{}/ns/{kind}", self.shell.pid())).expect("a child of ours");
        let user = (kernel() >= (6, 7)).then(|| open("user"));
        let mount = open("mnt");
        // SAFETY: setns(2) alone is called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                if let Some(user) = &user {
                    move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
                }
                Ok(move_into_link_name_space(mount.as_fd(), Some(LinkNameSpaceType::Mount))?)
            });
        }
    }
}

impl Drop for Format {
    fn drop(&mut self) {
        let removed = format!("echo -1 >{}", self.entry);
        self.shell.tell(&removed);
    }
}

/// The exec of a program in a format with these flags, called "called" with the argument "x".
fn exec_of_a_format(flags: &str) -> Option<(String, Event)> {
    let folder = public_folder();
    let table = folder.path().join("table");
    std::fs::create_dir(&table).expect("a folder");
    let magic = format!("exectrace{}", std::process::id());
    let name = format!("{magic}{flags}");
    let program = program(folder.path(), "program", format!("{magic}\n").as_bytes());
    let format = Format::register(table.to_str().expect("UTF-8"), &name, &magic, flags)?;
    let mut workspace = Workspace::new();
    let mut command = Command::new(&program);
    format.enter(command.arg0("called").arg("x"));
    let run = workspace.run(&mut command);
    assert_calls(&run.events, &[]);
    Some((program, run.own))
}

#[test]
fn root_a_registered_format_is_seen_with_its_interpreter() {
    let Some((program, event)) = exec_of_a_format("") else { return };
    assert_calls(std::slice::from_ref(&event), &[call(&program, [program.as_str(), "x"])]);
    let interpreter = event.interpreter.expect("a format with an interpreter");
    assert_eq!((show(&interpreter.path), interpreter.args.len()), (target().to_owned(), 0));
    assert_eq!((show(&event.exe), event.traits), (target().to_owned(), Traits::empty()));
}

#[test]
fn root_a_registered_format_with_flag_p_shows_the_caller_s_own_argv0() {
    let Some((program, event)) = exec_of_a_format("P") else { return };
    // Only from 5.12 on does the kernel tell that it kept argv[0].
    let expected: &[&str] = if kernel() >= (5, 12) { &["called", "x"] } else { &[&program, "called", "x"] };
    assert_eq!(calls(std::slice::from_ref(&event)), [call(&program, expected)]);
    assert_eq!(event.partial, Partial::empty());
    let interpreter = event.interpreter.expect("a format with an interpreter");
    assert_eq!((show(&interpreter.path), interpreter.args.len()), (target().to_owned(), 0));
}
