//! CAP_BPF and CAP_PERFMON are enough, and who lacks one is told which.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::example::watch_pid_namespace;
use crate::support::*;

const USER: u32 = 12_345;

/// Makes a program run as a user who has these capabilities and can have no others.
fn with_only(command: &mut Command, capabilities: CapabilitySet) {
    let limit = move || -> rustix::io::Result<()> {
        for capability in CapabilitySet::all().iter().filter(|capability| !capabilities.contains(*capability)) {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                // An older kernel, which does not have it.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
        rustix::thread::set_keep_capabilities(true)?;
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_gid(rustix::process::Gid::from_raw(USER))?;
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(USER))?;
        let sets = CapabilitySets { effective: capabilities, permitted: capabilities, inheritable: capabilities };
        rustix::thread::set_capabilities(None, sets)?;
        for capability in capabilities.iter() {
            rustix::thread::configure_capability_in_ambient_set(capability, true)?;
        }
        rustix::thread::set_no_new_privs(true)
    };
    // SAFETY: prctl(2), capset(2) and the setters of ids alone are called between fork and exec.
    unsafe { command.pre_exec(move || Ok(limit()?)) };
}

/// The example in a place where the user finds it, on a namespace whose init is that user's.
fn example(capabilities: CapabilitySet) -> (tempfile::TempDir, Namespace, Command) {
    let folder = public_folder();
    let path = copy(watch_pid_namespace().to_str().expect("UTF-8"), folder.path(), "example");
    let namespace = Namespace::with_init(Command::new("cat").uid(USER).gid(USER));
    let mut command = Command::new(path);
    command.arg(namespace.init().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    with_only(&mut command, capabilities);
    (folder, namespace, command)
}

#[test]
fn root_a_user_with_bpf_and_perfmon_alone_can_trace() {
    let (_folder, namespace, mut command) = example(CapabilitySet::BPF | CapabilitySet::PERFMON);
    let mut example = Watching::start(&mut command);
    let status = std::fs::read_to_string(format!("/proc/{}/status", example.pid())).expect("a process of ours");
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!(line("CapEff:"), Some("000000c000000000"));
    assert_eq!(line("CapBnd:"), Some("000000c000000000"));
    assert_eq!((line("NoNewPrivs:"), line("Groups:")), (Some("1"), Some("")));
    let mut child = namespace.spawn(Command::new(target()).arg("seen"));
    assert!(wait(&mut child).success());
    let (status, output) = example.end();
    assert!(status.success(), "{status}");
    assert_eq!(output, format!("{} {} seen\n", child.id(), target()));
}

#[test]
fn root_who_lacks_a_capability_is_told_which() {
    let cases: [(CapabilitySet, &[&str]); 3] = [
        (CapabilitySet::BPF, &["CAP_PERFMON"]),
        (CapabilitySet::PERFMON, &["CAP_BPF"]),
        (CapabilitySet::empty(), &["CAP_BPF", "CAP_PERFMON"]),
    ];
    for (capabilities, missing) in cases {
        let (_folder, _namespace, mut command) = example(capabilities);
        let output = spawn(&mut command).wait_with_output().expect("a child of ours");
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        for name in ["CAP_BPF", "CAP_PERFMON"] {
            assert_eq!(errors.contains(name), missing.contains(&name), "with {capabilities:?}: {errors}");
        }
        assert!(output.stdout.is_empty());
    }
}
