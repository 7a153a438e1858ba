//! Arguments of every size: none is lost, cut or moved at the seams of the records they come in.

use std::os::unix::process::CommandExt;
use std::process::Command;

use exectrace::{Partial, Tracer};
use sha2::{Digest, Sha256};

use crate::support::*;

/// `ARGS_FIRST` and `ARGS_NEXT` of bpf/record.h.
const FIRST: usize = 16_128;
const NEXT: usize = 32_448;
/// The longest argument that the kernel takes (`MAX_ARG_STRLEN` with its NUL).
const LONGEST: usize = 131_071;

/// What `fill_argument` of fixture.h makes.
fn argument(index: usize, length: usize) -> Vec<u8> {
    let digits = index.to_string();
    let start = if digits.len() <= length { digits.as_bytes() } else { b"" };
    let letter = |at: usize| b'a' + u8::try_from((index + at) % 26).expect("below 26");
    start.iter().copied().chain((start.len()..length).map(letter)).collect()
}

/// The argv that `many_args TARGET COUNT LEN` makes.
fn many(count: usize, length: usize) -> Vec<Vec<u8>> {
    std::iter::once(target().into()).chain((1..=count).map(|index| argument(index, length))).collect()
}

fn block(argv: &[Vec<u8>]) -> Vec<u8> {
    argv.iter().flat_map(|arg| arg.iter().copied().chain([0])).collect()
}

/// Arguments that are `total` bytes with their NULs.
fn of_total(total: usize) -> Vec<Vec<u8>> {
    let mut argv = vec![b"x".to_vec()];
    let mut left = total - 2;
    while left > 0 {
        let length = left.min(100_000) - 1;
        argv.push(argument(argv.len(), length));
        left -= length + 1;
    }
    assert_eq!(block(&argv).len(), total);
    argv
}

fn command_with(argv: &[Vec<u8>]) -> Command {
    let os = |arg: &Vec<u8>| std::os::unix::ffi::OsStringExt::from_vec(arg.clone());
    let args: Vec<std::ffi::OsString> = argv.iter().map(os).collect();
    let mut command = Command::new(target());
    command.env_clear().arg0(&args[0]).args(&args[1..]);
    command
}

fn around(lengths: impl IntoIterator<Item = usize>) -> Vec<usize> {
    lengths.into_iter().flat_map(|length| [length - 1, length, length + 1]).collect()
}

/// Compares without printing megabytes where it fails.
#[track_caller]
fn assert_bytes(found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len());
    let differ = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!(differ, None, "the first byte that differs");
}

#[track_caller]
fn assert_argv(event: &exectrace::Event, expected: &[Vec<u8>]) {
    assert_eq!((show(&event.filename), event.partial), (target().to_owned(), Partial::empty()));
    assert_args_are_whole(event);
    assert_eq!(event.argv.count as usize, expected.len());
    assert_bytes(&block(&argv(event)), &block(expected));
}

#[test]
fn root_argument_blocks_of_all_lengths_around_the_seams_of_records_and_pages_are_whole() {
    let seams = [FIRST, FIRST + NEXT, FIRST + 2 * NEXT, FIRST + 3 * NEXT];
    let pages = [4096, 2 * 4096, 3 * 4096, 4 * 4096, 3 * 8192, 65_536, 2 * 65_536, 3 * 65_536, 8 * 65_536];
    let lengths = around(seams.into_iter().chain(pages));
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(16 << 20));
    for length in &lengths {
        workspace.namespace.run(&mut command_with(&of_total(*length)));
    }
    let events = workspace.settle();
    assert_eq!(
        events.iter().map(|event| event.argv.total_bytes).collect::<Vec<_>>(),
        lengths.iter().map(|length| *length as u64).collect::<Vec<_>>()
    );
    for (event, length) in events.iter().zip(lengths) {
        assert_argv(event, &of_total(length));
    }
}

#[test]
fn root_200_000_arguments_are_whole() {
    let run = Workspace::new().run(command("many_args").args([target(), "200000", "6"]));
    assert_argv(run.event(), &many(200_000, 6));
}

#[test]
fn root_200_000_empty_arguments_are_counted() {
    let run = Workspace::new().run(command("many_args").args([target(), "200000", "0"]));
    assert_argv(run.event(), &many(200_000, 0));
}

#[test]
fn root_an_argument_of_128_kib_is_whole() {
    let run = Workspace::new().run(command("one_arg").args([target(), &LONGEST.to_string()]));
    assert_argv(run.event(), &many(1, LONGEST));
}

#[test]
fn root_2_mib_of_arguments_are_whole() {
    let run = Workspace::new().run(command("many_args").args([target(), "16", "131071"]));
    assert_argv(run.event(), &many(16, LONGEST));
}

#[test]
fn root_as_many_arguments_as_the_kernel_takes_are_whole() {
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(16 << 20));
    let run = workspace.run(command("many_args").args([target(), "47", "131071"]));
    assert!(run.event().argv.total_bytes > 6_160_000);
    assert_argv(run.event(), &many(47, LONGEST));
}

#[test]
fn root_what_is_not_kept_is_counted_and_hashed() {
    for total in [1000, FIRST + 1000, FIRST + 2 * NEXT] {
        let expected = of_total(total);
        let whole = block(&expected);
        for keep in [0, 1, total - 1, total, total + 1] {
            let mut workspace = Workspace::with(Tracer::builder().max_args_bytes(keep as u64));
            // The workspace's own sentinel would be cut too, so that it would not be known.
            workspace.namespace.run(&mut command_with(&expected));
            let mut items = Vec::new();
            workspace.tracer.drain(|item| items.push(item)).expect("a tracer that reads");
            let events = no_loss(items);
            let [event] = &events[..] else { panic!("one exec, not {}", events.len()) };
            let kept = keep.min(total);
            assert_bytes(&kept_block(event), &whole[..kept]);
            assert_eq!(event.argv.kept_bytes(), kept as u64);
            assert_eq!((event.argv.count as usize, event.argv.total_bytes), (expected.len(), total as u64));
            let limited = kept < total;
            assert_eq!(event.truncated(), limited, "{total} bytes, of which {keep} are to be kept");
            assert_eq!(event.argv.sha256, limited.then(|| Sha256::digest(&whole).into()));
            assert_eq!(event.partial, if limited { Partial::ARGS_KEEP_LIMIT } else { Partial::empty() });
        }
    }
}

#[test]
fn root_what_is_not_read_is_counted_and_not_hashed() {
    for total in [1000, FIRST + 1000, FIRST + 2 * NEXT] {
        let expected = of_total(total);
        let whole = block(&expected);
        for read in [0, 1, total - 1, total, total + 1] {
            let limit = u32::try_from(read).expect("few");
            let mut workspace = Workspace::with(Tracer::builder().read_args_bytes(limit));
            workspace.namespace.run(&mut command_with(&expected));
            let mut items = Vec::new();
            workspace.tracer.drain(|item| items.push(item)).expect("a tracer that reads");
            let events = no_loss(items);
            let [event] = &events[..] else { panic!("one exec, not {}", events.len()) };
            let kept = read.min(total);
            assert_bytes(&kept_block(event), &whole[..kept]);
            assert_eq!((event.argv.count as usize, event.argv.total_bytes), (expected.len(), total as u64));
            let limited = kept < total;
            assert_eq!((event.truncated(), event.argv.sha256), (limited, None));
            assert_eq!(event.partial, if limited { Partial::ARGS_READ_LIMIT } else { Partial::empty() });
        }
    }
}

/// The block as far as the event has it: strings, and a NUL behind each that is whole.
fn kept_block(event: &exectrace::Event) -> Vec<u8> {
    let mut bytes = block(&argv(event));
    bytes.truncate(usize::try_from(event.argv.kept_bytes()).expect("few"));
    bytes
}

#[test]
fn root_an_argument_too_long_for_the_kernel_is_no_exec() {
    let mut workspace = Workspace::new();
    let error = workspace.namespace.try_spawn(&mut command_with(&[b"x".to_vec(), vec![b'y'; LONGEST + 1]]));
    assert_eq!(error.expect_err("E2BIG").kind(), std::io::ErrorKind::ArgumentListTooLong);
    assert_calls(&workspace.settle(), &[]);
}
