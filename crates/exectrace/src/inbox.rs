//! Between the ring's callback and the loop that hands out: records in, execs and losses out, in order.

use std::collections::VecDeque;

use crate::assemble::{Assembler, Exec};
use crate::loss::{Loss, LossLedger, LossReason};
use crate::record;
use crate::scope::ScopeId;

/// What the ring gave and nobody has taken yet.
#[derive(Default)]
pub(crate) struct Inbox {
    assembler: Assembler,
    pub(crate) ledger: LossLedger,
    pub(crate) arrivals: VecDeque<Arrival>,
    /// Count of the reader's rounds, by which unfinished execs expire.
    pub(crate) round: u64,
}

pub(crate) enum Arrival {
    Exec(Box<Exec>),
    Lost(Loss),
}

impl Inbox {
    /// Takes one record from the ring.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let record = match record::decode(bytes) {
            Ok(record) => record,
            Err(_) => return self.lose(None, LossReason::Undecodable, 1),
        };
        let head = *record.head();
        let stream = ScopeId::new(head.scope).map(|scope| (scope, head.hook.0, head.cpu));
        let assembled = self.assembler.push(&record, self.round);
        if let Some(cut) = assembled.cut {
            self.give(cut);
        }
        let lost = stream.map_or(0, |stream| self.ledger.on_record(stream, head.seq));
        if lost > 0 {
            self.lose(ScopeId::new(head.scope), LossReason::RingFull, lost);
        }
        if let Some(whole) = assembled.whole {
            self.give(whole);
        }
    }

    fn give(&mut self, exec: Exec) {
        let head = exec.fixed.head;
        if let (true, Some(scope)) = (exec.args_lost, ScopeId::new(head.scope)) {
            self.ledger.on_cut((scope, head.hook.0, head.cpu));
        }
        self.arrivals.push_back(Arrival::Exec(Box::new(exec)));
    }

    /// Gives up on execs that have waited for arguments since before a round.
    pub(crate) fn expire(&mut self, before: u64) {
        let expired: Vec<Exec> = self.assembler.expire(before).collect();
        for exec in expired {
            self.give(exec);
        }
    }

    fn lose(&mut self, scope: Option<ScopeId>, reason: LossReason, count: u64) {
        self.arrivals.push_back(Arrival::Lost(Loss { scope, reason, count }));
    }
}
