//! Scripts: what the caller gave, and beside it what the kernel put in front.

use std::os::unix::process::CommandExt;
use std::process::Command;

use exectrace::{Event, Partial};

use crate::support::*;

/// What the new image got, as the event tells it, in the form of /proc/PID/cmdline.
fn kernel_argv(event: &Event) -> String {
    let interpreter = event.interpreter.as_ref().expect("a script");
    let args = interpreter.args.iter().map(Vec::as_slice);
    let all = std::iter::once(interpreter.path.as_slice()).chain(args).chain(event.argv.iter());
    all.map(|arg| show(arg) + "\\x00").collect()
}

fn interpreter(event: &Event) -> Vec<String> {
    let interpreter = event.interpreter.as_ref().expect("a script");
    std::iter::once(&interpreter.path).chain(&interpreter.args).map(|arg| show(arg)).collect()
}

#[test]
fn root_a_script_shows_its_path_and_arguments_and_its_interpreter_beside_them() {
    let folder = public_folder();
    let script = program(folder.path(), "script", b"#!/bin/sh\nexit 0\n");
    let run = Workspace::new().run(Command::new(&script).arg0("lost").args(["", "x y"]));
    assert_own_call(&run, call(&script, [script.as_str(), "", "x y"]));
    assert_eq!(interpreter(&run.own), ["/bin/sh"]);
    assert_eq!(show(&run.own.exe), real("/bin/sh"));
    assert_calls(&run.events, &[]);
}

#[test]
fn root_the_argument_of_the_first_line_is_one_whatever_is_in_it() {
    let folder = public_folder();
    let script = program(folder.path(), "script", format!("#! {}  -a -b c \n", target()).as_bytes());
    let run = Workspace::new().run(Command::new(&script).arg("x"));
    assert_own_call(&run, call(&script, [script.as_str(), "x"]));
    assert_eq!(interpreter(&run.own), [target(), "-a -b c"]);
    assert_eq!(show(&run.own.exe), target());
}

#[test]
fn root_a_script_that_is_asked_for_by_a_relative_path_shows_that() {
    let folder = public_folder();
    program(folder.path(), "script", b"#!/bin/sh\nexit 0\n");
    let run = Workspace::new().run(shell("./script x; :", &[]).current_dir(real(folder.path())));
    assert_calls(&run.events, &[call("./script", ["./script", "x"])]);
    assert_eq!(interpreter(run.event()), ["/bin/sh"]);
}

#[test]
fn root_interpreter_and_arguments_together_are_what_the_new_image_got() {
    let folder = public_folder();
    let cat = real("/bin/cat");
    let script = program(folder.path(), "script", format!("#!{cat} /proc/self/cmdline\n").as_bytes());
    let run = Workspace::new().run(Command::new(&script).arg("/dev/null"));
    assert_own_call(&run, call(&script, [script.as_str(), "/dev/null"]));
    assert_eq!(interpreter(&run.own), [cat.as_str(), "/proc/self/cmdline"]);
    // cat prints the new image's arguments, and then the script.
    let printed = show(&run.stdout);
    assert_eq!(printed, kernel_argv(&run.own) + &show(format!("#!{cat} /proc/self/cmdline\n").as_bytes()));
}

#[test]
fn root_a_script_whose_interpreter_is_a_script_keeps_the_inner_one_with_the_interpreter() {
    let folder = public_folder();
    let inner = program(folder.path(), "inner", b"#!/bin/sh -e\nexit 0\n");
    let outer = program(folder.path(), "outer", format!("#!{inner} -o\n").as_bytes());
    let run = Workspace::new().run(Command::new(&outer).arg("x"));
    assert_own_call(&run, call(&outer, [outer.as_str(), "x"]));
    assert_eq!(interpreter(&run.own), ["/bin/sh", "-e", inner.as_str(), "-o"]);
    assert_eq!(
        kernel_argv(&run.own),
        ["/bin/sh", "-e", &inner, "-o", &outer, "x"].map(|arg| arg.to_owned() + "\\x00").concat()
    );
}

#[test]
fn root_a_script_four_deep_is_still_told_apart() {
    let folder = public_folder();
    let mut path = program(folder.path(), "script-0", b"#!/bin/sh -e\nexit 0\n");
    let mut expected = vec!["/bin/sh".to_owned(), "-e".to_owned()];
    for depth in 1..4 {
        expected.extend([path.clone(), format!("-{depth}")]);
        path = program(folder.path(), &format!("script-{depth}"), format!("#!{path} -{depth}\n").as_bytes());
    }
    let run = Workspace::new().run(Command::new(&path).arg("x"));
    assert_own_call(&run, call(&path, [path.as_str(), "x"]));
    assert_eq!(interpreter(&run.own), expected);
}

#[test]
fn root_a_file_without_a_first_line_is_its_shell_s() {
    let folder = public_folder();
    let text = program(folder.path(), "text", b"exit 0\n");
    let run = Workspace::new().run(Command::new("/bin/sh").args([&text, "x"]));
    assert_own_call(&run, call("/bin/sh", ["/bin/sh", text.as_str(), "x"]));
    assert_eq!(run.own.interpreter, None, "the kernel knows of no script");
    // env(1) and who else looks along PATH ask a shell where the kernel says ENOEXEC.
    let run = Workspace::new().run(Command::new("env").args([&text, "x"]));
    assert_eq!(run.event().interpreter, None);
    let shell = show(&run.event().filename);
    assert!(shell.ends_with("/sh"), "{shell}");
    assert_calls(&run.events, &[call(&shell, [shell.as_str(), text.as_str(), "x"])]);
}

#[test]
fn root_a_script_that_is_given_its_own_path_says_that_it_guesses_and_loses_nothing() {
    let folder = public_folder();
    let script = program(folder.path(), "script", b"#!/bin/sh\nexit 0\n");
    let run = Workspace::new().run(Command::new(&script).args([script.as_str(), "x"]));
    assert_eq!(run.own.partial, Partial::SCRIPT_ARGS);
    assert_args_are_whole(&run.own);
    assert_eq!(kernel_argv(&run.own), ["/bin/sh", &script, &script, "x"].map(|arg| arg.to_owned() + "\\x00").concat());
}

#[test]
fn root_a_script_given_its_own_path_far_behind_does_not_guess() {
    let folder = public_folder();
    let script = program(folder.path(), "script", b"#!/bin/sh\nexit 0\n");
    let mut args = vec!["x"; 20];
    args.push(&script);
    let run = Workspace::new().run(Command::new(&script).args(&args));
    args.insert(0, &script);
    assert_own_call(&run, call(&script, args));
}

#[test]
fn root_a_script_with_200_000_bytes_of_arguments_is_whole() {
    let folder = public_folder();
    let script = program(folder.path(), "script", format!("#!{}\n", target()).as_bytes());
    let long = "y".repeat(100_000);
    let run = Workspace::new().run(Command::new(&script).args([&long, &long]));
    assert_own_call(&run, call(&script, [&script, &long, &long]));
    assert_eq!(interpreter(&run.own), [target()]);
}
