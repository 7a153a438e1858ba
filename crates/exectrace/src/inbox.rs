//! Between the ring's callback and the loop that hands out: records in, execs and losses out, in order.

use std::collections::VecDeque;

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
}

/// What arrived, each with the position in the ring before which everything has been given with it or before it.
pub(crate) enum Arrival {
    Exec(Box<Exec>, u64),
    Failed(Box<Exec>, u64),
    Exit(Box<exit_record>, u64),
    Lost(Loss),
}

impl Inbox {
    /// For records from a position in the ring on.
    pub(crate) fn starting_at(end: u64) -> Inbox {
        Inbox { end, ..Inbox::default() }
    }

    /// Takes one record from the ring.
    pub(crate) fn push(&mut self, bytes: &[u8], span: Span) {
        self.end = span.end;
        let record = match record::decode(bytes) {
            Ok(record) => record,
            Err(_) => return self.lose(What::Exec, None, LossReason::Undecodable, 1),
        };
        let head = *record.head();
        let assembled = match &record {
            Record::Exec(exec) => self.assembler.push_exec(exec, span.start, self.round),
            Record::Args(args) => self.assembler.push_args(args, self.round),
            Record::Failed(_) | Record::Exit(_) => Assembled::default(),
        };
        if let Some(cut) = assembled.cut {
            // What the record itself is part of has not been given yet.
            let position = self.assembler.oldest().unwrap_or(span.start).min(span.start);
            self.give(cut, position);
        }
        if let Some(scope) = ScopeId::new(head.scope) {
            let lost = self.ledger.on_record((scope, head.hook.0, head.cpu), head.seq);
            self.lose(What::of_hook(head.hook.0), Some(scope), LossReason::RingFull, lost);
        }
        if let Some(whole) = assembled.whole {
            self.give(whole, self.position());
        }
        match record {
            Record::Failed(failed) => {
                let failed = Box::new(Exec::new(&failed, span.start));
                self.arrivals.push_back(Arrival::Failed(failed, self.position()));
            }
            Record::Exit(exit) => self.arrivals.push_back(Arrival::Exit(Box::new(exit), self.position())),
            Record::Exec(_) | Record::Args(_) => {}
        }
    }

    /// Before this position in the ring, everything has been given.
    pub(crate) fn position(&self) -> u64 {
        self.assembler.oldest().unwrap_or(self.end)
    }

    fn give(&mut self, exec: Exec, position: u64) {
        let head = exec.fixed.head;
        if let (true, Some(scope)) = (exec.args_lost, ScopeId::new(head.scope)) {
            self.ledger.on_cut((scope, head.hook.0, head.cpu));
        }
        self.arrivals.push_back(Arrival::Exec(Box::new(exec), position));
    }

    /// Gives up on execs that have waited for arguments since before a round.
    pub(crate) fn expire(&mut self, before: u64) {
        let expired: Vec<Exec> = self.assembler.expire(before).collect();
        for exec in expired {
            self.give(exec, self.position());
        }
    }

    fn lose(&mut self, what: What, scope: Option<ScopeId>, reason: LossReason, count: u64) {
        if count > 0 {
            self.arrivals.push_back(Arrival::Lost(Loss { what, scope, reason, count }));
        }
    }
}
