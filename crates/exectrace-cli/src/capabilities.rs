//! Gives up what is not needed once the tracer stands.

use anyhow::Context;
use caps::{CapSet, Capability, CapsHashSet};

/// Keeps BPF and PERFMON of this thread, and of threads that it starts later, and nothing else: older kernels want BPF
/// for reading the counters. A process that has neither traces by SYS_ADMIN and keeps that.
pub(crate) fn drop_others() -> anyhow::Result<()> {
    drop_all_but(&[])
}

/// The same, with SYS_PTRACE kept for finding and holding other processes' namespaces.
pub(crate) fn drop_others_but_ptrace() -> anyhow::Result<()> {
    drop_all_but(&[Capability::CAP_SYS_PTRACE])
}

fn drop_all_but(more: &[Capability]) -> anyhow::Result<()> {
    let had = caps::read(None, CapSet::Permitted).context("reading the own capabilities")?;
    let for_good = to_keep(&had);
    let keep = more.iter().filter(|capability| had.contains(capability)).chain(&for_good).copied().collect();
    caps::clear(None, CapSet::Ambient).context("dropping ambient capabilities")?;
    if had.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::read(None, CapSet::Bounding).context("reading the bounding set")? {
            if !for_good.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability).context("dropping a capability for good")?;
            }
        }
    }
    caps::clear(None, CapSet::Inheritable).context("dropping inheritable capabilities")?;
    caps::set(None, CapSet::Effective, &keep).context("dropping effective capabilities")?;
    caps::set(None, CapSet::Permitted, &keep).context("dropping permitted capabilities")?;
    rustix::thread::set_no_new_privs(true).context("giving up new privileges")
}

fn to_keep(had: &CapsHashSet) -> CapsHashSet {
    let needed = [Capability::CAP_BPF, Capability::CAP_PERFMON];
    if needed.iter().all(|capability| had.contains(capability)) {
        return needed.into_iter().collect();
    }
    [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYS_ADMIN]
        .into_iter()
        .filter(|capability| had.contains(capability))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tracing_needs_is_kept() {
        let root = caps::all();
        assert_eq!(to_keep(&root), [Capability::CAP_BPF, Capability::CAP_PERFMON].into_iter().collect());
        let admin = [Capability::CAP_SYS_ADMIN, Capability::CAP_CHOWN].into_iter().collect();
        assert_eq!(to_keep(&admin), [Capability::CAP_SYS_ADMIN].into_iter().collect());
    }
}
