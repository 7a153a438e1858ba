//! How many execs are missing, and where. Pure arithmetic over sequence numbers and the kernel's counters.
//!
//! Each scope, hook and CPU counts its records, those that found no room too. A gap in the numbers is a loss at that
//! very place of the stream; records of arguments that are missing belong to an exec that did arrive, and are no lost
//! execs. A loss after which nothing came shows only in the kernel's counter. Both ways lead to the same number, so
//! whichever is seen first reports it and the other finds it reported.

use std::collections::HashMap;

use crate::scope::ScopeId;
use crate::skel::types::hook;

/// Execs, or other things, that are missing from the stream at the place where this stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// What is missing.
    pub what: What,
    /// The scope that they belong to; `None` where the reason does not tell.
    pub scope: Option<ScopeId>,
    /// Why they are missing.
    pub reason: LossReason,
    /// How many.
    pub count: u64,
}

/// What a tracer tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum What {
    /// Execs.
    #[default]
    Exec,
    /// Attempts to exec that failed.
    Failed,
    /// Ends of processes.
    Exit,
}

impl What {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// All of them.
    pub const ALL: [What; What::COUNT] = [What::Exec, What::Failed, What::Exit];

    /// Its place in [`What::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// What a program of the kernel's half tells of.
    pub(crate) fn of_hook(number: u32) -> What {
        match hook(number) {
            hook::HOOK_FAILED => What::Failed,
            hook::HOOK_EXIT => What::Exit,
            _ => What::Exec,
        }
    }
}

/// Why something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LossReason {
    /// The ring buffer had no room: the reader was too slow or the ring too small.
    RingFull,
    /// The kernel did not run the program, because the same program was running on that CPU. Found out afterwards, when
    /// the process forks, execs or ends.
    ProgramSkipped,
    /// An attempt to exec failed while another one was being recorded on that CPU.
    ProgramBusy,
    /// A record came that this version does not understand.
    Undecodable,
}

impl LossReason {
    /// How many reasons there are.
    pub const COUNT: usize = 4;
    /// All of them.
    pub const ALL: [LossReason; LossReason::COUNT] =
        [LossReason::RingFull, LossReason::ProgramSkipped, LossReason::ProgramBusy, LossReason::Undecodable];

    /// Its place in [`LossReason::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The reason's name in the log.
    pub fn name(self) -> &'static str {
        match self {
            LossReason::RingFull => "ring_full",
            LossReason::ProgramSkipped => "program_skipped",
            LossReason::ProgramBusy => "program_busy",
            LossReason::Undecodable => "undecodable",
        }
    }
}

/// Scope, hook and CPU of a run of sequence numbers.
pub(crate) type Stream = (ScopeId, u32, u32);

#[derive(Debug, Default, Clone, Copy)]
struct Account {
    next: u64,
    lost_by_gaps: u64,
    reported: u64,
    piece_missing: bool,
    /// Nothing came yet since another reader's end: the first number is no gap.
    resumed: bool,
}

impl Account {
    fn report(&mut self, lost: u64) -> u64 {
        let news = lost.saturating_sub(self.reported);
        self.reported += news;
        news
    }
}

/// What was lost and reported so far, by stream.
#[derive(Debug, Default)]
pub(crate) struct LossLedger {
    accounts: HashMap<Stream, Account>,
}

impl LossLedger {
    /// What the kernel has counted so far is told elsewhere; where the numbers of this stream stand is not known yet.
    pub(crate) fn resume(&mut self, stream: Stream, lost: u64) {
        self.accounts.insert(stream, Account { reported: lost, resumed: true, ..Account::default() });
    }

    /// An exec of this stream was given out without all of its arguments: if records are missing before the next one
    /// that comes, one of them held these arguments and is no exec.
    pub(crate) fn on_cut(&mut self, stream: Stream) {
        self.accounts.entry(stream).or_default().piece_missing = true;
    }

    /// A record came. Returns how many execs are missing before it and not yet reported.
    pub(crate) fn on_record(&mut self, stream: Stream, seq: u64) -> u64 {
        let account = self.accounts.entry(stream).or_default();
        let known = !std::mem::take(&mut account.resumed);
        let gap = if known { seq.saturating_sub(account.next) } else { 0 };
        account.next = account.next.max(seq.saturating_add(1));
        let pieces = u64::from(std::mem::take(&mut account.piece_missing));
        account.lost_by_gaps += gap.saturating_sub(pieces);
        account.report(account.lost_by_gaps)
    }

    /// The kernel counts `lost` execs of the stream that found no room. Returns how many of them are not yet reported.
    pub(crate) fn on_counter(&mut self, stream: Stream, lost: u64) -> u64 {
        match (self.accounts.get_mut(&stream), lost) {
            (None, 0) => 0,
            (Some(account), lost) => account.report(lost),
            (None, lost) => self.accounts.entry(stream).or_default().report(lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: Stream = (ScopeId::FIRST, 0, 0);

    #[test]
    fn a_run_without_gaps_loses_nothing() {
        let mut ledger = LossLedger::default();
        assert_eq!((0..100).map(|seq| ledger.on_record(STREAM, seq)).sum::<u64>(), 0);
        assert_eq!(ledger.on_counter(STREAM, 0), 0);
    }

    #[test]
    fn a_gap_is_told_at_its_place_and_not_again_by_the_counter() {
        let mut ledger = LossLedger::default();
        assert_eq!(ledger.on_record(STREAM, 0), 0);
        assert_eq!(ledger.on_record(STREAM, 4), 3);
        assert_eq!(ledger.on_counter(STREAM, 3), 0);
    }

    #[test]
    fn a_loss_at_the_end_is_told_by_the_counter_and_not_again_by_the_gap() {
        let mut ledger = LossLedger::default();
        assert_eq!(ledger.on_record(STREAM, 0), 0);
        assert_eq!(ledger.on_counter(STREAM, 2), 2);
        assert_eq!(ledger.on_record(STREAM, 3), 0);
        assert_eq!(ledger.on_record(STREAM, 5), 1);
    }

    #[test]
    fn what_was_lost_before_a_reader_took_over_is_not_told_again() {
        let mut ledger = LossLedger::default();
        ledger.resume(STREAM, 5);
        assert_eq!(ledger.on_record(STREAM, 1000), 0);
        assert_eq!(ledger.on_counter(STREAM, 5), 0);
        assert_eq!(ledger.on_counter(STREAM, 7), 2);
    }

    #[test]
    fn missing_arguments_are_no_missing_exec() {
        let mut ledger = LossLedger::default();
        ledger.on_record(STREAM, 0);
        ledger.on_cut(STREAM);
        assert_eq!(ledger.on_record(STREAM, 2), 0);
        ledger.on_cut(STREAM);
        assert_eq!(ledger.on_record(STREAM, 5), 1);
    }

    #[test]
    fn the_last_of_all_numbers_is_no_reason_to_stop() {
        let mut ledger = LossLedger::default();
        assert_eq!(ledger.on_record(STREAM, u64::MAX), u64::MAX);
        assert_eq!(ledger.on_record(STREAM, u64::MAX), 0);
    }

    #[test]
    fn arguments_that_only_came_late_excuse_no_later_gap() {
        let mut ledger = LossLedger::default();
        ledger.on_record(STREAM, 0);
        ledger.on_cut(STREAM);
        assert_eq!(ledger.on_record(STREAM, 1), 0);
        assert_eq!(ledger.on_record(STREAM, 3), 1);
    }

    proptest! {
        /// Whatever arrives and whenever the counter is read, the sum of the reports is what was lost.
        #[test]
        fn the_reports_add_up(fates in proptest::collection::vec((any::<bool>(), any::<bool>()), 1..200)) {
            let mut ledger = LossLedger::default();
            let (mut lost, mut reported) = (0, 0);
            for (seq, (arrives, counter_read)) in fates.iter().enumerate() {
                if *arrives {
                    reported += ledger.on_record(STREAM, seq as u64);
                } else {
                    lost += 1;
                }
                if *counter_read {
                    reported += ledger.on_counter(STREAM, lost);
                }
            }
            reported += ledger.on_counter(STREAM, lost);
            prop_assert_eq!(reported, lost);
        }
    }
}
