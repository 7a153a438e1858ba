//! Records -> one exec each. A large argv comes in several records; here they are put together.
//!
//! A hook's program is never entered twice on one CPU, so the records of one exec follow one another in the stream of
//! their (CPU, hook), whatever others lie between them in the ring. What is missing is told by the offset: the pieces
//! are contiguous or the exec is cut where the gap is.

use std::collections::HashMap;

use crate::record::{ArgsRecord, ExecRecord};
use crate::ring::Span;
use crate::skel::types::{exec_flag, exec_record};

/// One exec with all that arrived of it.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) fixed: exec_record,
    pub(crate) filename: Vec<u8>,
    pub(crate) interp: Vec<u8>,
    pub(crate) exe: Vec<u8>,
    pub(crate) cwd: Vec<u8>,
    pub(crate) args: Vec<u8>,
    pub(crate) tty: Vec<u8>,
    pub(crate) container: Vec<u8>,
    /// A piece that the kernel had read found no room in the ring.
    pub(crate) args_lost: bool,
    /// Where its first record lies in the ring.
    pub(crate) first: Span,
}

impl Exec {
    pub(crate) fn new(record: &ExecRecord<'_>, first: Span) -> Exec {
        let mut args = Vec::with_capacity(record.fixed.args_wanted.min(MAX_PREALLOCATION) as usize);
        args.extend_from_slice(record.args);
        Exec {
            fixed: record.fixed,
            filename: record.filename.to_vec(),
            interp: record.interp.to_vec(),
            exe: record.exe.to_vec(),
            cwd: record.cwd.to_vec(),
            tty: record.tty.to_vec(),
            container: record.container.to_vec(),
            args,
            args_lost: false,
            first,
        }
    }

    fn is_whole(&self) -> bool {
        self.args.len() >= self.fixed.args_wanted as usize
    }
}

/// A length from the wire is not believed beyond this.
const MAX_PREALLOCATION: u32 = 8 << 20;

/// CPU and hook: one program that cannot be entered twice at a time.
type Stream = (u32, u32);

/// Holds at most one unfinished exec for each CPU and hook.
#[derive(Default, Debug)]
pub(crate) struct Assembler {
    unfinished: HashMap<Stream, Unfinished>,
}

#[derive(Debug)]
struct Unfinished {
    exec: Exec,
    /// Round of [`Assembler::expire`] in which its last piece came.
    round: u64,
}

/// Execs that are finished with a record, in this order.
#[derive(Debug, Default)]
pub(crate) struct Assembled {
    /// One that the record shows to be without its rest.
    pub(crate) cut: Option<Exec>,
    /// The one that the record completes.
    pub(crate) whole: Option<Exec>,
    /// The record is of one that was given out before, without all of its pieces.
    pub(crate) is_late: bool,
}

impl Assembler {
    /// Takes an exec's first record, which lies at `first`; `round` says when, in the caller's count of calls to
    /// [`Self::expire`].
    pub(crate) fn push_exec(&mut self, record: &ExecRecord<'_>, first: Span, round: u64) -> Assembled {
        let stream = (record.fixed.head.cpu, record.fixed.head.hook.0);
        let cut = self.unfinished.remove(&stream).map(cut);
        let exec = Exec::new(record, first);
        if exec.is_whole() {
            return Assembled { cut, whole: Some(exec), is_late: false };
        }
        self.unfinished.insert(stream, Unfinished { exec, round });
        Assembled { cut, ..Assembled::default() }
    }

    /// Takes more of an exec's arguments.
    pub(crate) fn push_args(&mut self, record: &ArgsRecord<'_>, round: u64) -> Assembled {
        let stream = (record.head.cpu, record.head.hook.0);
        let Some(mut unfinished) = self.unfinished.remove(&stream) else {
            // The rest of an exec that was given out cut.
            return Assembled { is_late: true, ..Assembled::default() };
        };
        let exec = &mut unfinished.exec;
        if record.head.scope != exec.fixed.head.scope || record.head.args_offset as usize != exec.args.len() {
            return Assembled { cut: Some(cut(unfinished)), ..Assembled::default() };
        }
        exec.args.extend_from_slice(record.args);
        exec.fixed.head.flags.0 |= record.head.flags.0;
        let end = exec_flag::EXEC_ARGS_FAULT.0 | exec_flag::EXEC_ARGS_TIGHT.0;
        if record.head.flags.0 & end != 0 || exec.is_whole() {
            return Assembled { whole: Some(unfinished.exec), ..Assembled::default() };
        }
        unfinished.round = round;
        self.unfinished.insert(stream, unfinished);
        Assembled::default()
    }

    /// Where the first record of an exec lies that is not given out yet.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.unfinished.values().map(|unfinished| unfinished.exec.first.start).min()
    }

    #[cfg(fuzzing)]
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    /// Gives out what has waited for its next piece since before round `before`.
    pub(crate) fn expire(&mut self, before: u64) -> impl Iterator<Item = Exec> {
        self.unfinished
            .extract_if(move |_, unfinished| unfinished.round < before)
            .map(|(_, unfinished)| cut(unfinished))
    }
}

fn cut(unfinished: Unfinished) -> Exec {
    Exec { args_lost: true, ..unfinished.exec }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{args_bytes, exec_bytes};
    use crate::record::{Record, decode};
    use crate::skel::types::{hook, record_head};

    fn head(cpu: u32, seq: u64) -> record_head {
        record_head { cpu, seq, hook: hook::HOOK_EXEC, flags: exec_flag(0), scope: 1, ..Default::default() }
    }

    fn exec(cpu: u32, seq: u64, wanted: u32, args: &[u8]) -> Vec<u8> {
        let fixed = exec_record { head: head(cpu, seq), args_wanted: wanted, args_total: wanted, ..Default::default() };
        exec_bytes(fixed, [b"/bin/x", b"", b"/bin/x", b"/", b"", b"", args])
    }

    fn piece(cpu: u32, seq: u64, offset: u32, args: &[u8]) -> Vec<u8> {
        args_bytes(record_head { args_offset: offset, ..head(cpu, seq) }, args)
    }

    fn push(assembler: &mut Assembler, bytes: &[u8]) -> Assembled {
        push_at(assembler, bytes, 0, 0)
    }

    fn push_at(assembler: &mut Assembler, bytes: &[u8], start: u64, round: u64) -> Assembled {
        match decode(bytes).expect("the test makes whole records") {
            Record::Exec(exec) => assembler.push_exec(&exec, Span { start, end: start + 100 }, round),
            Record::Args(args) => assembler.push_args(&args, round),
            other => panic!("{other:?}"),
        }
    }

    fn finished(assembled: Assembled) -> Vec<(Vec<u8>, bool)> {
        [assembled.cut, assembled.whole].into_iter().flatten().map(|exec| (exec.args, exec.args_lost)).collect()
    }

    #[test]
    fn an_exec_that_fits_comes_out_at_once() {
        let assembled = push(&mut Assembler::default(), &exec(0, 0, 2, b"x\0"));
        assert_eq!(finished(assembled), [(b"x\0".to_vec(), false)]);
    }

    #[test]
    fn pieces_of_two_cpus_do_not_mix() {
        let mut assembler = Assembler::default();
        assert!(finished(push(&mut assembler, &exec(0, 0, 6, b"aaa"))).is_empty());
        assert!(finished(push(&mut assembler, &exec(1, 0, 6, b"bbb"))).is_empty());
        assert_eq!(finished(push(&mut assembler, &piece(1, 1, 3, b"BBB"))), [(b"bbbBBB".to_vec(), false)]);
        assert_eq!(finished(push(&mut assembler, &piece(0, 1, 3, b"AAA"))), [(b"aaaAAA".to_vec(), false)]);
    }

    #[test]
    fn the_next_exec_of_the_stream_cuts_an_unfinished_one() {
        let mut assembler = Assembler::default();
        push(&mut assembler, &exec(0, 0, 6, b"aaa"));
        let assembled = push(&mut assembler, &exec(0, 2, 2, b"b\0"));
        assert_eq!(finished(assembled), [(b"aaa".to_vec(), true), (b"b\0".to_vec(), false)]);
    }

    #[test]
    fn a_gap_within_the_pieces_cuts_and_the_rest_is_passed_over() {
        let mut assembler = Assembler::default();
        push(&mut assembler, &exec(0, 0, 9, b"aaa"));
        let assembled = push(&mut assembler, &piece(0, 2, 6, b"ccc"));
        assert_eq!(finished(assembled), [(b"aaa".to_vec(), true)]);
        let rest = push(&mut assembler, &piece(0, 3, 9, b"ddd"));
        assert!(rest.is_late && finished(rest).is_empty());
    }

    #[test]
    fn a_fault_in_a_piece_ends_the_exec_and_keeps_what_came() {
        let mut assembler = Assembler::default();
        push(&mut assembler, &exec(0, 0, 9, b"aaa"));
        let mut head = record_head { args_offset: 3, ..head(0, 1) };
        head.flags.0 |= exec_flag::EXEC_ARGS_FAULT.0;
        let assembled = push(&mut assembler, &args_bytes(head, b""));
        let exec = assembled.whole.expect("one exec");
        assert_eq!(exec.args, b"aaa");
        assert_ne!(exec.fixed.head.flags.0 & exec_flag::EXEC_ARGS_FAULT.0, 0);
    }

    #[test]
    fn the_oldest_is_the_first_that_still_waits() {
        let mut assembler = Assembler::default();
        push_at(&mut assembler, &exec(0, 0, 6, b"aaa"), 100, 0);
        push_at(&mut assembler, &exec(1, 0, 6, b"bbb"), 300, 0);
        assert_eq!(assembler.oldest(), Some(100));
        push_at(&mut assembler, &piece(0, 1, 3, b"AAA"), 500, 0);
        assert_eq!(assembler.oldest(), Some(300));
    }

    #[test]
    fn a_piece_that_says_the_ring_is_tight_ends_the_exec() {
        let mut assembler = Assembler::default();
        push(&mut assembler, &exec(0, 0, 9, b"aaa"));
        let mut head = record_head { args_offset: 3, ..head(0, 1) };
        head.flags.0 |= exec_flag::EXEC_ARGS_TIGHT.0;
        let exec = push(&mut assembler, &args_bytes(head, b"")).whole.expect("one exec");
        assert_eq!((&exec.args[..], exec.args_lost), (&b"aaa"[..], false));
    }

    #[test]
    fn what_waits_too_long_expires_cut() {
        let mut assembler = Assembler::default();
        push_at(&mut assembler, &exec(0, 0, 6, b"aaa"), 0, 4);
        assert_eq!(assembler.expire(4).count(), 0);
        assert!(assembler.expire(5).all(|exec| exec.args_lost));
        assert!(assembler.unfinished.is_empty());
    }
}
