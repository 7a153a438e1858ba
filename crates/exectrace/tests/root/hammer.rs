//! Two processes that update BPF maps all the time, which makes kernels skip tracing programs: what is missed is counted.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use exectrace::{Failed, FailedHook, Item, Tracer, What};

use crate::support::*;

/// Kernels before do not count it when they skip a program at a tracepoint of the old kind.
const UNCOUNTED: (u32, u32) = (6, 7);

/// A process that hammers until the value goes.
struct Hammer(Child);

impl Hammer {
    fn start() -> Hammer {
        let mut child = spawn(command("map_hammer").stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "hammering\n");
        Hammer(child)
    }
}

impl Drop for Hammer {
    fn drop(&mut self) {
        self.0.stdin.take();
        self.0.wait().ok();
    }
}

fn count(items: &[Item], of: impl Fn(&Item) -> u64) -> u64 {
    items.iter().map(of).sum()
}

fn lost(items: &[Item], what: What) -> u64 {
    count(items, |item| match item {
        Item::Lost(loss) if loss.what == what => loss.count,
        _ => 0,
    })
}

#[test]
fn root_execs_and_ends_while_maps_are_hammered_are_seen_or_counted() {
    let mut workspace = Workspace::with(Tracer::builder().exits(true));
    let _hammers = [Hammer::start(), Hammer::start()];
    let storm = scaled(10_000);
    let (_, _, items) = workspace.run_for_items(command("storm").args([target(), "2", &storm.to_string(), "100"]));
    let execs = count(&items, |item| u64::from(matches!(item, Item::Exec(_))));
    assert_eq!(execs + lost(&items, What::Exec), storm as u64 + 1);
    let ends = count(&items, |item| u64::from(matches!(item, Item::Ended(_))));
    // And the sentinel's own end, which may come as well.
    let accounted = ends + lost(&items, What::Exit) + workspace.tracer.skipped_of(What::Exit).expect("a count");
    assert!(accounted == execs || accounted == execs + 1, "{ends} ends of {execs} execs, {accounted} accounted for");
}

/// A program of this kind is skipped where its CPU was taken away from who updates a map.
#[test]
fn root_failed_attempts_while_maps_are_hammered_are_seen_or_counted() {
    if let Err(why) = FailedHook::Tracepoint.check() {
        return skip(why);
    }
    let mut workspace = Workspace::with(Tracer::builder().failed(Failed::All, FailedHook::Tracepoint));
    let _hammers = [Hammer::start(), Hammer::start()];
    let attempts = scaled(3000) as u64;
    let script = "i=0; while [ $i -lt $1 ]; do (exec /nowhere/at/all $i) 2>/dev/null; i=$((i + 1)); done; exit 0";
    let (_, _, items) = workspace.run_for_items(&mut shell(script, &[&attempts.to_string()]));
    let told = count(&items, |item| u64::from(matches!(item, Item::Failed(_)))) + lost(&items, What::Failed);
    let skipped = workspace.tracer.skipped_of(What::Failed).expect("a count");
    println!("{told} of {attempts} told, at most {skipped} skipped");
    if kernel() < UNCOUNTED && told + skipped < attempts {
        return skip(format_args!("this kernel does not count what it skips: {told} of {attempts} attempts were told"));
    }
    assert!(told <= attempts && told + skipped >= attempts, "{told} told, {skipped} skipped");
}
