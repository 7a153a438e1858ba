//! Any bytes as one record of the ring. The first byte says how many bytes of the arguments are kept.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((keep, bytes)) = input.split_first() else { return };
    exectrace::fuzzing::one_record(bytes, u64::from(*keep));
});
