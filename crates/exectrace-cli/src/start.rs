//! What the first line of a run says: gathered before anything is written.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use exectrace::{Progress, Running, Scope, ScopeId, Tracer};
use sha2::{Digest, Sha256};

use crate::cli::LoggingArgs;
use crate::ledger::{Books, Snapshot};
use crate::line::{Folds, PodNames, Resumed, Start};
use crate::seal::{Seal, parse_seal};
use crate::sifting::Sifting;

/// A run that is about to begin.
pub(crate) struct Run {
    pub(crate) seal: Seal,
    /// What another process had written, if this run takes over from it.
    pub(crate) books: Books,
    pub(crate) start: Start,
    pub(crate) running: Vec<Running>,
}

/// What a command knows of the time before its run.
pub(crate) struct Watch<'a> {
    pub(crate) proc: &'a Path,
    /// When the scopes were set: what happens from then on is seen.
    pub(crate) since: SystemTime,
    /// Something may run in the scopes already.
    pub(crate) expect_running: bool,
    /// Until when this process itself watched before.
    pub(crate) until: Option<SystemTime>,
    /// What the pod is called that it watches.
    pub(crate) pod: Option<PodNames>,
}

impl Run {
    /// A run of this tracer, whose scopes have been added, but for the watchdog's.
    pub(crate) fn begin(
        args: &LoggingArgs,
        tracer: &Tracer,
        seal: Seal,
        sifting: &Sifting,
        complete: Option<crate::seal::Run>,
        watch: &Watch<'_>,
    ) -> anyhow::Result<Run> {
        let Watch { proc, since, expect_running, until, ref pod } = *watch;
        let resumed = resumed(tracer, sifting)?;
        let running = if resumed.is_none() && expect_running { snapshot(tracer, proc) } else { Some(Vec::new()) };
        let boot_id = std::fs::read_to_string(proc.join("sys/kernel/random/boot_id")).unwrap_or_default();
        let goes_on = resumed.is_none() && expect_running;
        let of_the_log = || args.outputs.log.as_deref().and_then(last_sign);
        let previous = if goes_on { until.or_else(of_the_log) } else { None };
        let start = Start {
            time: Some(since),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            boot_id: boot_id.trim().to_owned(),
            settings: settings(args, tracer, sifting),
            scopes: tracer.scopes().map(|(id, scope)| describe(id, scope)).collect(),
            pod: pod.clone(),
            running: running.as_ref().filter(|_| resumed.is_none()).map(Vec::len),
            chained: seal.chained(),
            unwatched: previous.map(|from| (from, since)),
            resumed,
            rollup: sifting.rollup().map(|config| Folds {
                more_than: config.more_than,
                window: config.window,
                complete,
            }),
        };
        if let Some((from, to)) = start.unwatched {
            let time = |time| humantime::format_rfc3339_millis(time).to_string();
            tracing::warn!(from = time(from), to = time(to), "nobody watched between the run before and this one");
        }
        let books = start.resumed.as_ref().map_or_else(Books::default, |resumed| resumed.books.clone());
        if let (None, Some(journal)) = (&start.resumed, tracer.journal()) {
            // From now on, who takes over knows whom he takes over from.
            let mut progress = Progress::up_to(tracer.position());
            books.store(seal.run().0, 0, &mut progress);
            journal.commit(&progress);
        }
        Ok(Run { seal, books, start, running: running.unwrap_or_default() })
    }
}

/// What the tracer before this one had committed, if it left a kernel's half behind.
fn resumed(tracer: &Tracer, sifting: &Sifting) -> anyhow::Result<Option<Resumed>> {
    let Some(progress) = tracer.resumed() else { return Ok(None) };
    let (run, line, books) = Books::restore(&progress);
    let scopes: Vec<ScopeId> = tracer.scopes().map(|(id, _)| id).collect();
    let counts = Snapshot::of(tracer, &scopes, sifting.names()).context("reading the counters")?;
    Ok((run != 0).then_some(Resumed { run, line, books, counts }))
}

fn snapshot(tracer: &Tracer, proc: &Path) -> Option<Vec<Running>> {
    let mut all = Vec::new();
    for (_, scope) in tracer.scopes() {
        all.extend(scope.running(proc)?);
    }
    all.sort_by_key(|running| (running.started, running.pid));
    all.dedup_by_key(|running| running.pid);
    if all.len() > MAX_RUNNING {
        tracing::warn!(
            processes = all.len(),
            told = MAX_RUNNING,
            "of the processes that run already, the oldest are told"
        );
        all.truncate(MAX_RUNNING);
    }
    Some(all)
}

fn describe(id: ScopeId, scope: &Scope) -> (ScopeId, &'static str, String) {
    let (kind, of) = match scope {
        Scope::PidNamespace(namespace) => ("pid_ns", namespace.number().to_string()),
        Scope::Cgroup(cgroup) => ("cgroup", cgroup.id().to_string()),
        Scope::Tree(tree) => ("tree", tree.root().to_string()),
        Scope::Pod(pod) => ("pod", pod.uid().to_owned()),
        Scope::Node => ("node", String::new()),
        // The watchdog's scope is added later, and is in no log.
        Scope::Pinned(_) | Scope::Children => ("pinned", String::new()),
    };
    (id, kind, of)
}

/// The first 16 hexadecimal digits of a hash over all that decides what is seen and what of it is written.
fn settings(args: &LoggingArgs, tracer: &Tracer, sifting: &Sifting) -> String {
    let mut hash = Sha256::new();
    hash.update(tracer.fingerprint());
    hash.update(format!("{:?} {:?} {:?}", args.fields, args.max_args_bytes, args.redaction.redact));
    hash.update(format!("{:?} {:?}", sifting.config(), sifting.rollup().is_some()));
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Processes of the snapshot: what a workspace can make of it must not fill memory.
const MAX_RUNNING: usize = 1024;

/// More than the longest line that is likely; a longer one hides those before it.
const TAIL: u64 = 1 << 20;

/// When the last line of the run before this one was written, if the log is a file that holds one.
fn last_sign(log: &Path) -> Option<SystemTime> {
    let mut file = File::open(log).ok().filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))?;
    let len = file.seek(SeekFrom::End(0)).ok()?;
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let line = tail.rsplit(|byte| *byte == b'\n').find(|line| parse_seal(line).is_some())?;
    let line: serde_json::Value = serde_json::from_slice(line).ok()?;
    humantime::parse_rfc3339(line.get("ts")?.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_sign_is_the_last_whole_line_of_the_log() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        assert_eq!(last_sign(&path), None);
        let line = |second: u32, number: u32| {
            format!(
                "{{\"ts\":\"1970-01-01T00:00:0{second}.000000000Z\",\"fields\":{{\"event\":{{\"pid\":1,\"line\":\"0000002a-{number}\"}}}}}}\n"
            )
        };
        std::fs::write(&path, format!("{}{}{{\"ts\":\"torn", line(1, 1), line(2, 2))).expect("a file");
        assert_eq!(last_sign(&path), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2)));
        std::fs::write(&path, "something else\n").expect("a file");
        assert_eq!(last_sign(&path), None);
    }
}
