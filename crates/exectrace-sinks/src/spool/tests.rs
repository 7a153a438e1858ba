use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const RUN: u32 = 42;

fn options(max_bytes: u64, when_full: WhenFull) -> SpoolOptions {
    SpoolOptions { name: "test", max_bytes, when_full, sync: Sync::Batch }
}

fn open_with(folder: &Path, options: SpoolOptions) -> (Spool, DroppedLines) {
    let dropped = DroppedLines::default();
    (Spool::open(folder, options, dropped.clone(), Arc::default()).expect("a spool"), dropped)
}

fn open(folder: &Path) -> (Spool, DroppedLines) {
    open_with(folder, options(1 << 30, WhenFull::DropOldest))
}

fn number(line: u64) -> Number {
    Number { run: RUN, line }
}

/// A line that tells its number.
fn line(number: u64) -> Vec<u8> {
    format!("{number:0100}\n").into_bytes()
}

fn put(spool: &Spool, lines: std::ops::Range<u64>) {
    lines.for_each(|at| spool.put(number(at), &line(at)));
}

/// The numbers of all lines that are there.
fn numbers(spool: &Spool) -> Vec<u64> {
    let (mut all, mut after) = (Vec::new(), 0);
    while let Some(chunk) = spool.next(after).expect("readable") {
        for (text, at) in chunk.lines.split_inclusive(|byte| *byte == b'\n').zip(chunk.first.line..) {
            assert_eq!(text, line(at));
            all.push(at);
        }
        after = chunk.id;
    }
    all
}

fn told(dropped: &DroppedLines) -> Vec<(Reason, u64, Option<u64>, Option<u64>)> {
    let line = |number: Option<Number>| number.map(|number| number.line);
    dropped.take().into_iter().map(|told| (told.reason, told.lines, line(told.first), line(told.last))).collect()
}

#[test]
fn lines_come_back_in_their_order_and_stay_until_they_are_acknowledged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, dropped) = open(folder.path());
    spool.put(number(1), &[line(1), line(2), line(3)].concat());
    put(&spool, 4..6);
    assert_eq!(numbers(&spool), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&spool), [1, 2, 3, 4, 5], "nobody has acknowledged anything");
    let first = spool.next(0).expect("readable").expect("a chunk");
    spool.acknowledge(first.id);
    assert_eq!(numbers(&spool), [4, 5]);
    assert_eq!(spool.size().0, 2);
    assert_eq!(told(&dropped), []);
}

#[test]
fn what_a_process_left_goes_first() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(&open(folder.path()).0, 1..4);
    let (spool, dropped) = open(folder.path());
    assert_eq!((spool.size().0, spool.counts().spool_lines()), (3, 3));
    spool.put(Number { run: 7, line: 1 }, &line(1));
    let runs: Vec<u32> = chunks(&spool).iter().map(|chunk| chunk.first.run).collect();
    assert_eq!(runs, [RUN, RUN, RUN, 7]);
    assert_eq!(told(&dropped), []);
}

fn chunks(spool: &Spool) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    while let Some(chunk) = spool.next(chunks.last().map_or(0, |chunk| chunk.id)).expect("readable") {
        chunks.push(chunk);
    }
    chunks
}

#[test]
fn only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let below = folder.path().join("a/b");
    let (spool, _) = open(&below);
    put(&spool, 1..2);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&below), 0o700);
    for file in fs::read_dir(&below).expect("a folder") {
        assert_eq!(mode(&file.expect("an entry").path()), 0o600);
    }
}

#[test]
fn a_full_one_drops_the_oldest_or_the_newest_and_tells_which() {
    for (when_full, left, gone) in [
        (WhenFull::DropOldest, 41..=60, (40, Some(1), Some(40))),
        (WhenFull::DropNewest, 1..=20, (40, Some(21), Some(60))),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // 101 bytes of a line, and 64 around it.
        let (spool, dropped) = open_with(folder.path(), options(20 * 165, when_full));
        put(&spool, 1..61);
        assert_eq!(numbers(&spool), left.collect::<Vec<_>>());
        assert_eq!(told(&dropped), [(Reason::SpoolFull, gone.0, gone.1, gone.2)]);
        assert_eq!(spool.counts().dropped(Reason::SpoolFull), 40);
    }
}

#[test]
fn what_is_being_sent_is_not_dropped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, dropped) = open_with(folder.path(), options(3 * 165, WhenFull::DropOldest));
    put(&spool, 1..4);
    let first = spool.next(0).expect("readable").expect("a chunk");
    put(&spool, 4..6);
    assert_eq!(told(&dropped), [(Reason::SpoolFull, 2, Some(2), Some(3))]);
    assert_eq!(spool.next(first.id).expect("readable").map(|chunk| chunk.first.line), Some(4));
}

#[test]
fn a_chunk_that_is_larger_than_all_of_it_is_dropped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, dropped) = open_with(folder.path(), options(1_000, WhenFull::DropOldest));
    spool.put(number(1), &line(1).repeat(20));
    assert_eq!(told(&dropped), [(Reason::SpoolFull, 20, Some(1), Some(20))]);
}

/// Bytes of all files of a folder.
fn on_disk(folder: &Path) -> u64 {
    fs::read_dir(folder).expect("a folder").map(|file| file.expect("an entry").metadata().expect("there").len()).sum()
}

#[test]
fn its_files_do_not_outgrow_their_bound() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let max_bytes = 4 << 20;
    let (spool, _) = open_with(folder.path(), options(max_bytes, WhenFull::DropOldest));
    let chunk = line(1).repeat(600);
    for at in 0..1_000 {
        spool.put(number(at * 600 + 1), &chunk);
        let bytes = on_disk(folder.path());
        assert!(bytes <= max_bytes + max_bytes / 4 + (8 << 20), "{bytes} bytes after {at} chunks");
    }
}

#[test]
fn two_processes_cannot_have_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (first, _) = open(folder.path());
    put(&first, 1..2);
    let second = Spool::open(folder.path(), options(1, WhenFull::DropOldest), DroppedLines::default(), Arc::default());
    assert!(matches!(second.err(), Some(SpoolError::InUse(_))));
}

#[test]
fn a_folder_that_cannot_be_used_and_another_version_are_named() {
    let open = |folder: &Path| {
        let refused = Spool::open(folder, options(1, WhenFull::DropOldest), DroppedLines::default(), Arc::default());
        refused.err().expect("an error").to_string()
    };
    assert!(open(Path::new("/proc/nowhere")).contains("/proc/nowhere cannot be used"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("test.spool");
    let other = rusqlite::Connection::open(&file).expect("a file");
    other.execute_batch("PRAGMA user_version = 9; CREATE TABLE x (y);").expect("a table");
    drop(other);
    assert!(open(folder.path()).contains("another version (9)"));
}

/// Changes bytes of a file, from the first place where it holds others.
fn flip(file: &Path, holds: &[u8]) {
    let mut bytes = fs::read(file).expect("a file");
    let at = bytes.windows(holds.len()).position(|window| window == holds).expect("what was put");
    bytes[at] ^= 1;
    fs::write(file, bytes).expect("a file");
}

#[test]
fn a_chunk_that_is_not_what_was_put_is_dropped_and_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(&open(folder.path()).0, 1..6);
    flip(&folder.path().join("test.spool"), &line(3));
    let (spool, dropped) = open(folder.path());
    assert_eq!(numbers(&spool), [1, 2, 4, 5]);
    assert_eq!(told(&dropped), [(Reason::SpoolDamaged, 1, Some(3), Some(3))]);
    assert_eq!(numbers(&spool), [1, 2, 4, 5]);
}

#[test]
fn a_file_that_is_none_is_put_aside_and_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("test.spool"), "this is no database, and long enough to see that".repeat(100))
        .expect("a file");
    let (spool, dropped) = open(folder.path());
    assert_eq!(told(&dropped), [(Reason::SpoolDamaged, 0, None, None)]);
    put(&spool, 1..3);
    assert_eq!(numbers(&spool), [1, 2]);
    assert!(folder.path().join("test.damaged-1").exists());
}

/// A process that was killed while it wrote leaves the file and its log as they were at that moment; SQLite reads the log
/// up to the first change that is not whole.
#[test]
fn a_torn_write_costs_no_more_than_what_was_being_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, _) = open(folder.path());
    put(&spool, 1..200);
    let copy = tempfile::tempdir().expect("a temporary folder");
    let log = "test.spool-wal";
    let whole = fs::read(folder.path().join(log)).expect("a log");
    for cut in [whole.len() - 1, whole.len() / 2, whole.len() / 3, 40, 0] {
        fs::copy(folder.path().join("test.spool"), copy.path().join("test.spool")).expect("a copy");
        fs::write(copy.path().join(log), &whole[..cut]).expect("a copy");
        let Ok(spool) =
            Spool::open(copy.path(), options(1 << 30, WhenFull::DropOldest), DroppedLines::default(), Arc::default())
        else {
            panic!("cut at {cut}");
        };
        let there = numbers(&spool);
        assert!(there.iter().copied().eq(1..there.len() as u64 + 1), "cut at {cut}: {there:?}");
    }
}

const CHILD: &str = "EXECTRACE_TEST_SPOOL";

/// The process that is killed: puts lines, and tells each as soon as it was put. Does nothing in a run of all tests.
#[test]
fn child_that_puts_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let (spool, _) = open(Path::new(&folder));
    let from = spool.size().0 + 1;
    for at in from.. {
        spool.put(number(at), &line(at));
        println!("put {at}");
    }
}

#[test]
fn a_kill_costs_nothing_that_was_put() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut told = 0;
    for patience in [1, 20, 300, 77, 5] {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "spool::tests::child_that_puts_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let puts =
            output.lines().map_while(Result::ok).filter_map(|line| line.split("put ").nth(1)?.parse::<u64>().ok());
        told = puts.take(patience).last().expect("a line").max(told);
        child.kill().expect("a kill");
        child.wait().expect("an end");
        let there = numbers(&open(folder.path()).0);
        assert!(there.len() as u64 >= told, "{} lines of {told}", there.len());
        assert!(there.iter().copied().eq(1..there.len() as u64 + 1), "{there:?}");
    }
}

/// A disk of 6 MiB, which somebody else fills.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> SmallDisk {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(folder.path()).status();
        assert!(mounted.expect("mount").success(), "a small disk needs root");
        SmallDisk(folder)
    }

    fn fill(&self) {
        let mut filler = fs::File::create(self.0.path().join("filler")).expect("a file");
        while std::io::Write::write(&mut filler, &[0; 4096]).is_ok_and(|count| count > 0) {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn root_a_full_disk_is_a_full_spool_and_no_end() {
    let disk = SmallDisk::new();
    let folder = disk.0.path().join("spool");
    let (spool, dropped) = open(&folder);
    put(&spool, 1..1_001);
    disk.fill();
    put(&spool, 1_001..20_001);
    let gone: Vec<_> = told(&dropped);
    assert!(!gone.is_empty() && gone.iter().all(|(reason, ..)| *reason == Reason::SpoolFull), "{gone:?}");
    let there = numbers(&spool);
    let all: u64 = gone.iter().map(|(_, lines, ..)| lines).sum();
    assert_eq!(there.len() as u64 + all, 20_000, "there or told");
    assert_eq!(there.last(), Some(&20_000), "what comes is worth more than what has waited longest");
    // What was sent can be removed although there is no room.
    let last = chunks(&spool).last().expect("a chunk").id;
    spool.acknowledge(last);
    assert_eq!(spool.size().0, 0);
    put(&spool, 1..101);
    assert_eq!(numbers(&spool).len(), 100);
    fs::remove_file(disk.0.path().join("filler")).expect("the filler");
    put(&spool, 101..5_001);
    assert_eq!((numbers(&spool).len(), told(&dropped)), (5_000, vec![]));
    drop(spool);
}
