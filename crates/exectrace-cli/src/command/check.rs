//! `exectrace check`: facts, verdicts, and one exec that is really traced.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use exectrace::host::{Facts, Level, Verdict};
use exectrace::{Item, Pod, Scope, Tracer, Tree};
use serde_json::json;

use super::proc;
use crate::cli::{CheckArgs, CheckFormat};
use crate::exit::{Exit, report};

/// An event is there after a tenth of a second; a loaded machine may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn main(args: CheckArgs) -> ExitCode {
    let mut verdicts = Facts::read(proc(), Path::new("/sys"), Path::new("/boot")).verdicts();
    verdicts.push(trial());
    verdicts.extend(args.pod_uid.as_deref().map(pod));
    let printed = match args.output {
        CheckFormat::Text => print_text(&verdicts),
        CheckFormat::Json => print_json(&verdicts),
    };
    let works = works(&verdicts);
    match printed {
        Err(error) => report(&error).into(),
        Ok(()) if works => Exit::Ok.into(),
        Ok(()) => Exit::CannotTrace.into(),
    }
}

/// The verdicts that count; the others say why.
const TRIAL: &str = "trace";
const POD: &str = "pod";

fn works(verdicts: &[Verdict]) -> bool {
    let mut counting = verdicts.iter().filter(|verdict| [TRIAL, POD].contains(&verdict.name));
    counting.all(|verdict| verdict.level == Level::Ok)
}

fn pod(uid: &str) -> Verdict {
    match Pod::of_this_process(uid) {
        Ok(_) => {
            Verdict { name: POD, level: Level::Ok, found: format!("a cgroup of pod {uid} is above"), advice: None }
        }
        Err(error) => Verdict {
            name: POD,
            level: Level::Fail,
            found: error.to_string(),
            advice: Some("a sidecar cannot tell its pod from others here".to_owned()),
        },
    }
}

fn trial() -> Verdict {
    match trace_one_exec() {
        Ok(elapsed) => Verdict {
            name: TRIAL,
            level: Level::Ok,
            found: format!("attached and saw an exec after {} ms", elapsed.as_millis()),
            advice: None,
        },
        Err(error) => Verdict {
            name: TRIAL,
            level: Level::Fail,
            found: format!("{error:#}"),
            advice: Some("mend what failed above, then check again".to_owned()),
        },
    }
}

/// Runs this program once more with `--version`, in a scope of its own.
fn trace_one_exec() -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut tracer = Tracer::builder().ring_bytes(256 << 10).open()?;
    tracer.add_scope(Scope::Tree(Tree::own()))?;
    let mut child = Command::new("/proc/self/exe")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("running this program once more")?;
    child.wait().context("waiting for this program")?;
    let mut seen = false;
    while !seen {
        tracer.drain(|item| seen |= is_own(&item, child.id()))?;
        if !seen && start.elapsed() > PATIENCE {
            bail!("the kernel program was loaded and attached, but an exec was not seen");
        }
    }
    Ok(start.elapsed())
}

fn is_own(item: &Item, pid: u32) -> bool {
    match item {
        // In a PID namespace of its own this process knows its child by another number than the node does.
        Item::Exec(event) => event.vpid == pid || event.pid == pid,
        _ => false,
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "fail",
    }
}

fn print_text(verdicts: &[Verdict]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for verdict in verdicts {
        writeln!(out, "{:<5}{:<15} {}", level_name(verdict.level), verdict.name, verdict.found)?;
        if let Some(advice) = &verdict.advice {
            writeln!(out, "     {:<15} -> {advice}", "")?;
        }
    }
    Ok(())
}

fn print_json(verdicts: &[Verdict]) -> anyhow::Result<()> {
    let lines: Vec<_> = verdicts
        .iter()
        .map(|verdict| {
            json!({
                "name": verdict.name,
                "level": level_name(verdict.level),
                "found": verdict.found,
                "advice": verdict.advice,
            })
        })
        .collect();
    let works = works(verdicts);
    let report = serde_json::to_string_pretty(&json!({ "tracing_works": works, "checks": lines }))?;
    writeln!(std::io::stdout(), "{report}").context("writing to stdout")
}
