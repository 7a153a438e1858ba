//! Between the ring and the loop that hands out: records in, execs and losses out.

use std::collections::{BTreeMap, VecDeque};

use crate::assemble::{Assembled, Assembler, Exec};
use crate::loss::{Loss, LossLedger, LossReason, What};
use crate::record::{self, Record};
use crate::ring::Span;
use crate::scope::ScopeId;
use crate::skel::types::exit_record;

/// What the ring gave and nobody has taken yet.
#[derive(Default)]
pub(crate) struct Inbox {
    assembler: Assembler,
    pub(crate) ledger: LossLedger,
    pub(crate) arrivals: VecDeque<Arrival>,
    /// Count of the reader's rounds, by which unfinished execs expire.
    pub(crate) round: u64,
    /// Where the last record that was taken ends.
    end: u64,
    /// Everything is given in the order of first records, so that each position divides what was given from what was
    /// not. Otherwise an exec whose arguments are still on their way holds up nobody.
    in_order: bool,
    /// What waits for an exec that began before it: by where its first record starts, and its number there.
    held: BTreeMap<(u64, usize), Arrival>,
}

/// What arrived. The position in the ring with it divides what is given with it or before from the rest; it holds if all
/// is given in order.
pub(crate) enum Arrival {
    Exec(Box<Exec>, u64),
    Failed(Box<Exec>, u64),
    Exit(Box<exit_record>, u64),
    Lost(Loss),
}

impl Arrival {
    /// Whose it is.
    pub(crate) fn scope(&self) -> Option<ScopeId> {
        match self {
            Arrival::Exec(exec, _) | Arrival::Failed(exec, _) => ScopeId::new(exec.fixed.head.scope),
            Arrival::Exit(exit, _) => ScopeId::new(exit.head.scope),
            Arrival::Lost(loss) => loss.scope,
        }
    }
}

impl Inbox {
    /// For records from a position in the ring on, to be given in order.
    pub(crate) fn in_order_from(end: u64) -> Inbox {
        Inbox { end, in_order: true, ..Inbox::default() }
    }

    /// Takes one record from the ring.
    pub(crate) fn push(&mut self, bytes: &[u8], span: Span) {
        self.end = span.end;
        let record = match record::decode(bytes) {
            Ok(record) => record,
            Err(_) => return self.lose(span.start, What::Exec, None, LossReason::Undecodable, 1),
        };
        let head = *record.head();
        let assembled = match &record {
            Record::Exec(exec) => self.assembler.push_exec(exec, span, self.round),
            Record::Args(args) => self.assembler.push_args(args, self.round),
            Record::Failed(_) | Record::Exit(_) => Assembled::default(),
        };
        if let Some(cut) = assembled.cut {
            self.give_exec(cut);
        }
        if let Some(scope) = ScopeId::new(head.scope) {
            let lost = self.ledger.on_record((scope, head.hook.0, head.cpu), head.seq);
            self.lose(span.start, What::of_hook(head.hook.0), Some(scope), LossReason::RingFull, lost);
            if assembled.is_late {
                // The next piece may be missing as well, and is no exec. One excused too many the counter tells.
                self.ledger.on_cut((scope, head.hook.0, head.cpu));
            }
        }
        if let Some(whole) = assembled.whole {
            self.give_exec(whole);
        }
        match record {
            Record::Failed(failed) => {
                let failed = Box::new(Exec::new(&failed, span));
                self.give(span.start, Arrival::Failed(failed, span.end));
            }
            Record::Exit(exit) => self.give(span.start, Arrival::Exit(Box::new(exit), span.end)),
            Record::Exec(_) | Record::Args(_) => {}
        }
        self.give_held();
    }

    /// Before this position in the ring, everything has been given.
    pub(crate) fn position(&self) -> u64 {
        self.assembler.oldest().unwrap_or(self.end)
    }

    /// Execs that wait for the rest of their arguments.
    #[cfg(fuzzing)]
    pub(crate) fn unfinished(&self) -> usize {
        self.assembler.unfinished()
    }

    fn give_exec(&mut self, exec: Exec) {
        let head = exec.fixed.head;
        if let (true, Some(scope)) = (exec.args_lost, ScopeId::new(head.scope)) {
            self.ledger.on_cut((scope, head.hook.0, head.cpu));
        }
        let first = exec.first;
        self.give(first.start, Arrival::Exec(Box::new(exec), first.end));
    }

    fn give(&mut self, start: u64, arrival: Arrival) {
        if self.in_order {
            let number = self.held.range((start, 0)..=(start, usize::MAX)).count();
            self.held.insert((start, number), arrival);
        } else {
            self.arrivals.push_back(arrival);
        }
    }

    /// Gives what no unfinished exec stands before any more.
    fn give_held(&mut self) {
        let oldest = self.assembler.oldest().unwrap_or(u64::MAX);
        while let Some(first) = self.held.first_entry().filter(|first| first.key().0 < oldest) {
            self.arrivals.push_back(first.remove());
        }
    }

    /// Gives up on execs that have waited for arguments since before a round.
    pub(crate) fn expire(&mut self, before: u64) {
        let expired: Vec<Exec> = self.assembler.expire(before).collect();
        for exec in expired {
            self.give_exec(exec);
        }
        self.give_held();
    }

    fn lose(&mut self, at: u64, what: What, scope: Option<ScopeId>, reason: LossReason, count: u64) {
        if count > 0 {
            self.give(at, Arrival::Lost(Loss { what, scope, reason, count }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{args_bytes, exec_bytes};
    use crate::skel::types::{exec_record, hook, record_head};

    fn head(seq: u64) -> record_head {
        record_head { cpu: 0, seq, hook: hook::HOOK_EXEC, scope: 1, ..Default::default() }
    }

    fn push(inbox: &mut Inbox, seq: u64, bytes: &[u8]) {
        inbox.push(bytes, Span { start: seq * 100, end: seq * 100 + 100 });
    }

    /// Who takes over in the middle of an exec's arguments finds the rest of it, and perhaps not all of that.
    #[test]
    fn missing_pieces_of_an_exec_that_another_reader_told_are_no_missing_execs() {
        let mut inbox = Inbox::in_order_from(0);
        inbox.ledger.resume((ScopeId::FIRST, hook::HOOK_EXEC.0, 0), 0);
        push(&mut inbox, 5, &args_bytes(record_head { args_offset: 3, ..head(5) }, b"BBB"));
        // Number 6 held the last piece and found no room.
        let next = exec_record { head: head(7), args_wanted: 2, args_total: 2, ..Default::default() };
        push(&mut inbox, 7, &exec_bytes(next, [b"/bin/x", b"", b"/bin/x", b"/", b"", b"", b"x\0"]));
        let losses = inbox.arrivals.iter().filter(|arrival| matches!(arrival, Arrival::Lost(_))).count();
        assert_eq!((inbox.arrivals.len(), losses), (1, 0));
        assert_eq!(inbox.ledger.on_counter((ScopeId::FIRST, hook::HOOK_EXEC.0, 0), 0), 0);
    }
}
