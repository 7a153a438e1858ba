//! Any order of what the programs of the kernel's half can do, through the reader's side: what is lost is counted, and the
//! rest comes out. After the first byte, each two bytes are a step.
#![no_main]

use exectrace::fuzzing::{Fate, Step, a_stream};
use libfuzzer_sys::fuzz_target;

/// So many steps reach every state that more of them would.
const STEPS: usize = 500;

fuzz_target!(|input: &[u8]| {
    let Some((options, steps)) = input.split_first() else { return };
    let steps: Vec<Step> = steps.chunks_exact(2).take(STEPS).map(|step| to_step(step[0], step[1])).collect();
    a_stream(&steps, options & 1 != 0);
});

fn to_step(who: u8, what: u8) -> Step {
    Step {
        cpu: who & 1,
        hook: who >> 1 & 3,
        scope: who >> 3 & 1,
        pieces: who >> 4 & 3,
        fate: match what & 7 {
            0 | 1 => Fate::Lost,
            2 => Fate::Tight,
            3 => Fate::TightLost,
            4 => Fate::Garbled,
            _ => Fate::Arrives,
        },
        expire: what & 0x18 == 0x18,
        count: what & 0x60 == 0x60,
    }
}
