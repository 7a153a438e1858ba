//! Where the file that runs lies, and where the process stands.

use std::fs;
use std::process::Command;

use exectrace::Partial;

use crate::support::*;

#[test]
fn root_a_path_of_3999_bytes_is_whole() {
    let run = Workspace::new().run(command("long_path").arg(target()));
    assert_eq!(run.line().len(), 3999);
    assert_calls(&run.events, &[call(run.line(), ["long_path"])]);
    assert_eq!(show(&run.event().exe), run.line());
}

#[test]
fn root_a_path_of_150_components_is_cut_at_its_front_and_says_so() {
    let run = Workspace::new().run(command("deep_path").arg(target()));
    assert_eq!(calls(&run.events), [call(run.line(), ["deep_path"])]);
    let event = run.event();
    assert_eq!(event.partial, Partial::EXE_CUT);
    assert_args_are_whole(event);
    let cut: Vec<&str> = run.line().rsplit('/').take(96).collect();
    let cut: String = cut.iter().rev().flat_map(|name| ["/", name]).collect();
    assert_eq!(show(&event.exe), cut);
}

#[test]
fn root_a_path_is_told_from_the_root_that_the_process_has() {
    let run = Workspace::new().run(command("chroot").arg(target()));
    assert_calls(&run.events, &[call("/inner", ["/inner", "chroot"])]);
    assert_eq!(show(&run.event().exe), "/inner");
    assert_eq!(show(&run.event().cwd), "/");
}

#[test]
fn root_a_link_is_shown_as_it_was_asked_for_and_where_it_ends() {
    let folder = public_folder();
    std::os::unix::fs::symlink(target(), folder.path().join("link")).expect("a link");
    let link = format!("{}/link", real(folder.path()));
    let run = Workspace::new().run(Command::new(&link).arg("x"));
    assert_own_call(&run, call(&link, [link.as_str(), "x"]));
    assert_eq!(show(&run.own.exe), target());
}

#[test]
fn root_a_path_leads_across_the_places_where_file_systems_are_mounted() {
    let folder = public_folder();
    let place = real(folder.path());
    let script = "mount -t tmpfs none \"$2\" && mkdir \"$2/a\" && mount -t tmpfs none \"$2/a\" && cp \"$1\" \"$2/a/copy\" \
                  && cd \"$2/a\" && ./copy x";
    let run =
        Workspace::new().run(Command::new("unshare").args(["--mount", "sh", "-c", script, "sh", target(), &place]));
    let event = run.events.last().expect("the copy's exec");
    assert_calls(std::slice::from_ref(event), &[call("./copy", ["./copy", "x"])]);
    assert_eq!(show(&event.exe), format!("{place}/a/copy"));
    assert_eq!(show(&event.cwd), format!("{place}/a"));
}

#[test]
fn root_the_current_folder_is_that_of_the_exec() {
    let folder = public_folder();
    let place = real(folder.path());
    fs::create_dir(folder.path().join("below")).expect("a folder");
    let mut script = shell("\"$1\" before; cd below; \"$1\" after; :", &[target()]);
    let run = Workspace::new().run(script.current_dir(&place));
    assert_eq!(show(&run.own.cwd), place);
    assert_calls(&run.events, &[call(target(), [target(), "before"]), call(target(), [target(), "after"])]);
    assert_eq!(show(&run.events[0].cwd), place);
    assert_eq!(show(&run.events[1].cwd), format!("{place}/below"));
}

#[test]
fn root_a_current_folder_that_was_removed_shows_the_path_that_it_had() {
    let folder = public_folder();
    let place = format!("{}/gone", real(folder.path()));
    fs::create_dir(&place).expect("a folder");
    let mut script = shell("rmdir \"$2\"; \"$1\" x; :", &[target(), &place]);
    let run = Workspace::new().run(script.current_dir(&place));
    let event = run.events.last().expect("the target's exec");
    assert_calls(std::slice::from_ref(event), &[call(target(), [target(), "x"])]);
    assert_eq!(show(&event.cwd), place);
    assert!(fs::metadata(&place).is_err(), "the folder was removed");
}

#[test]
fn root_the_root_itself_is_a_folder_with_a_name() {
    let run = Workspace::new().run(command("target").current_dir("/"));
    assert_eq!(show(&run.own.cwd), "/");
}

#[test]
fn root_a_folder_outside_the_process_s_root_says_so() {
    let folder = public_folder();
    let place = real(folder.path());
    fs::create_dir(folder.path().join("root")).expect("a folder");
    copy(target(), &folder.path().join("root"), "inner");
    // chroot(1) enters the new root; the call alone leaves the process where it is.
    let mut outside = Command::new("/inner");
    let root = format!("{place}/root");
    // SAFETY: chroot(2) alone is called between fork and exec.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut outside, move || Ok(rustix::process::chroot(&root)?));
    }
    let run = Workspace::new().run(outside.current_dir(&place));
    assert_eq!(run.own.partial, Partial::CWD_OUTSIDE_ROOT);
    assert_eq!(show(&run.own.exe), "/inner");
    assert_eq!(show(&run.own.cwd), place);
}
