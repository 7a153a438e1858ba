//! The generated half: skeletons of the kernel programs and the types of `bpf/record.h`.

#![allow(missing_docs, unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all, clippy::unwrap_used)]
#![allow(clippy::undocumented_unsafe_blocks, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

include!(concat!(env!("OUT_DIR"), "/exec.skel.rs"));

/// The program that is run once, to find the own pod.
pub(crate) mod pod {
    include!(concat!(env!("OUT_DIR"), "/pod.skel.rs"));
}
