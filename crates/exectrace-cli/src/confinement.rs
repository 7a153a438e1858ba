//! In the container that the webhook adds, this program does nothing but what the container is for.
//!
//! The container has the capabilities to trace the whole node. Who may `kubectl exec` into it finds no shell there, and
//! nothing to change the environment with; but this program could be told to trace something else. So where the
//! environment says that this is such a container, other commands are refused.

use std::ffi::OsStr;

use exectrace_k8s::names::POD_UID_VARIABLE;

use crate::cli::{Command, SidecarArgs};

/// Why a command is refused here; `None`: it is not. `own_uid` is what the environment has as the pod's UID.
pub(crate) fn refusal(command: &Command, own_uid: Option<&OsStr>) -> Option<String> {
    let own_uid = own_uid?;
    let is_allowed = match command {
        Command::Sidecar(args) => is_of_this_pod(args, own_uid),
        // They look at this host, or at what is given to them, and trace nothing but themselves.
        Command::Probe(_) | Command::Check(_) | Command::Verify(_) | Command::Config(_) => true,
        Command::Completions { .. } | Command::Man => true,
        Command::Cost(args) => !args.live,
        Command::Run(_) | Command::Trace(_) | Command::Unpin(_) | Command::Query(_) | Command::Bench(_) => false,
        #[cfg(feature = "kubernetes")]
        Command::Enable(_) | Command::Disable(_) | Command::Status(_) | Command::Logs(_) | Command::Webhook(_) => false,
    };
    (!is_allowed).then(|| {
        format!(
            "this is the container of a pod's sidecar ({POD_UID_VARIABLE} is set), which traces its own pod and does nothing \
             else: run other commands elsewhere"
        )
    })
}

fn is_of_this_pod(args: &SidecarArgs, own_uid: &OsStr) -> bool {
    args.pod_uid.as_deref().is_some_and(|uid| own_uid == uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    const UID: &str = "621d2e52-1b7a-4d6c-9c55-0123456789ab";

    fn refused(words: &str, own_uid: Option<&str>) -> bool {
        let words = std::iter::once("exectrace").chain(words.split_ascii_whitespace()).map(Into::into).collect();
        let cli = Cli::try_from_words(words).unwrap_or_else(|error| panic!("{error}"));
        refusal(&cli.command, own_uid.map(OsStr::new)).is_some()
    }

    #[test]
    fn in_a_sidecar_s_container_only_its_own_pod_can_be_traced() {
        for words in [
            "trace --all",
            "trace --pid 1",
            "run -- sh",
            "bench",
            "unpin /sys/fs/bpf/x",
            "sidecar",
            "sidecar --use-local-pidns",
            "--init-address 127.0.0.1:9",
            "sidecar --pod-uid 721d2e52-1b7a-4d6c-9c55-0123456789ab",
        ] {
            assert!(refused(words, Some(UID)), "{words}");
            assert!(!refused(words, None), "{words}");
        }
        for words in ["check", "probe /run/exectrace/ready.sock", &format!("sidecar --pod-uid {UID}")] {
            assert!(!refused(words, Some(UID)), "{words}");
        }
    }
}
