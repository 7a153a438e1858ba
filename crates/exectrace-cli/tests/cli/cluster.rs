//! An API server with workspaces, for the commands that talk to one.

pub(crate) use exectrace_api_server_fixture::objects::{node, switch};
use exectrace_api_server_fixture::{ApiServer, objects};
use serde_json::Value;

use crate::program::{Ended, exectrace};

/// Runs the program against a server.
#[track_caller]
pub(crate) fn asked(server: &ApiServer, words: &[&str]) -> Ended {
    let mut command = exectrace(words);
    Ended::of(command.arg("--kubeconfig").arg(server.kubeconfig()))
}

pub(crate) fn namespace(name: &str) -> Value {
    objects::namespace(name, true)
}

/// A pod of the namespace `workspaces` at `node-1`.
pub(crate) fn workspace(user: &str, name: &str, traced: bool) -> Value {
    objects::workspace("workspaces", &format!("{user}-{name}"), [user, name], traced)
}
