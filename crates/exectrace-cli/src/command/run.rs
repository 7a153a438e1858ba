//! `exectrace run`: a command under our eyes, as if we were not there.

use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::SystemTime;

use anyhow::Context;
use exectrace::{Scope, Tracer, Tree};
use nix::libc;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::proc;
use crate::attach::{self, Attempts};
use crate::cli::RunArgs;
use crate::exit::{Exit, Failed, report};
use crate::labels::LabelSource;
use crate::line::Why;
use crate::log::{Log, Origin};
use crate::pipeline::{Account, Look, Pipeline, Plan};
use crate::start::Watch;

pub(crate) fn main(args: RunArgs) -> ExitCode {
    match run(&args) {
        Ok(status) => status_code(status),
        Err(error) => match report(&error) {
            exit @ (Exit::NotFound | Exit::CannotExecute) => exit.into(),
            _ => Exit::RunFailed.into(),
        },
    }
}

fn run(args: &RunArgs) -> anyhow::Result<ExitStatus> {
    let opened = Log::open(&args.logging, &Origin::default(), 1)?;
    let mut attempts = Attempts::of(&args.logging)?;
    let mut tracer = attach::open(&args.logging, None, &opened.sifting, &mut attempts)?;
    // Ourselves: we exec nothing, so what is logged are our children, from their first exec on.
    tracer.add_scope(Scope::Tree(Tree::own()))?;
    let since = SystemTime::now();
    catch_signals()?;
    let mut child = spawn(&args.command)?;
    forward_signals_to(&child);
    // The command runs on, whatever becomes of the log, and its status is ours.
    if let Err(error) = log(args, tracer, opened, since, &child) {
        report(&error);
    }
    child.wait().context("waiting for the command")
}

/// Logs until the command ends.
fn log(args: &RunArgs, mut tracer: Tracer, log: Log, since: SystemTime, child: &Child) -> anyhow::Result<()> {
    let ended = pidfd_of(child)?;
    let plan = Plan {
        logging: &args.logging,
        look: Look { format: args.logging.outputs.format, tree: args.tree },
        labels: LabelSource::fixed([]),
        // The tree begins with the command.
        watch: Watch { proc: proc(), since, expect_running: false, until: None, pod: None },
        service: None,
        ends_with_its_scopes: false,
    };
    let mut pipeline = Pipeline::start(log, plan, &mut tracer)?;
    pipeline.read(&mut tracer, &[ended.as_fd()])?;
    pipeline.stop(tracer, Why::CommandEnded, Account::IfNotWhole).map(Log::finish)
}

fn spawn(words: &[OsString]) -> anyhow::Result<Child> {
    let program = words.first().map(OsString::as_os_str).unwrap_or(OsStr::new(""));
    let mut command = Command::new(program);
    command.args(&words[1..]).arg0(program);
    command.spawn().map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::CannotExecute };
        Failed(exit, format!("cannot run {}: {error}", program.display())).into()
    })
}

fn pidfd_of(child: &Child) -> anyhow::Result<OwnedFd> {
    let pid = pid_of(child).context("the command has no pid")?;
    pidfd_open(pid, PidfdFlags::empty()).context("watching the command")
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// The command's pid; 0 before there is one.
static COMMAND: AtomicI32 = AtomicI32::new(0);
/// A signal that came before there was one; 0 if none.
static EARLY: AtomicI32 = AtomicI32::new(0);

/// What is sent to us is meant for the command, from before it starts: nothing may end us and leave it without us. What
/// a terminal sends at a key press it sends to the command as well, as soon as there is one. What we were told to ignore
/// (nohup) stays so, because the command inherits that, and would not inherit a handler.
fn catch_signals() -> anyhow::Result<()> {
    for signal in [SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGQUIT] {
        if is_ignored(signal) {
            continue;
        }
        let from_a_key = [SIGINT, SIGQUIT].contains(&signal);
        let handle = move || match COMMAND.load(Ordering::SeqCst) {
            0 => EARLY.store(signal, Ordering::SeqCst),
            pid if !from_a_key => send(pid, signal),
            _ => {}
        };
        // SAFETY: kill(2) and atomics are async-signal-safe, and nothing else happens in the handler.
        unsafe { signal_hook::low_level::register(signal, handle) }.context("handling a signal")?;
    }
    Ok(())
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only fills in the old one, of which zeros are a valid value.
    let (status, action) =
        unsafe { (libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()), action.assume_init()) };
    status == 0 && action.sa_sigaction == libc::SIG_IGN
}

fn forward_signals_to(child: &Child) {
    let pid = i32::try_from(child.id()).unwrap_or_default();
    COMMAND.store(pid, Ordering::SeqCst);
    send(pid, EARLY.swap(0, Ordering::SeqCst));
}

/// The command may be gone already.
fn send(pid: i32, signal: i32) {
    if let (Some(pid), Some(signal)) = (Pid::from_raw(pid), Signal::from_named_raw(signal)) {
        let _ = kill_process(pid, signal);
    }
}

/// As a shell tells it: 128 and the signal for a command that a signal ended.
fn status_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_told_as_a_shell_does() {
        let code = |raw| format!("{:?}", status_code(ExitStatus::from_raw(raw)));
        assert_eq!(code(7 << 8), format!("{:?}", ExitCode::from(7)));
        assert_eq!(code(9), format!("{:?}", ExitCode::from(137)));
    }
}
