//! Says that the tracer is attached, to who asks by a socket: the startup probe of a sidecar, which keeps the workspace
//! from starting until its first process will be seen.
//!
//! The socket is a file of the sidecar's own. A TCP or an abstract socket would lie in the pod's network namespace, where
//! the workspace could take its place.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::exit::{Exit, Failed};

const ANSWER: &[u8] = b"attached\n";
/// Longer than an answer takes on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers at `path` from now on, until this process ends. What an earlier one left there is removed.
pub(crate) fn announce(path: &Path) -> anyhow::Result<()> {
    let failed = || Failed(Exit::Usage, format!("cannot listen at {} (--ready-socket)", path.display()));
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(failed),
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(failed)?;
    thread::Builder::new()
        .name("ready".to_owned())
        .spawn(move || listener.incoming().flatten().for_each(answer))
        .context("starting a thread")?;
    Ok(())
}

fn answer(mut stream: UnixStream) {
    // Who asks may be gone.
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let _ = stream.write_all(ANSWER);
}

/// Asks at `path`; an error says why the answer is no.
pub(crate) fn ask(path: &Path) -> anyhow::Result<()> {
    let mut stream = UnixStream::connect(path)
        .with_context(|| format!("the tracer is not attached yet: nobody listens at {}", path.display()))?;
    stream.set_read_timeout(Some(PATIENCE)).context("asking")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("the tracer gives no answer")?;
    if answer != ANSWER {
        bail!("what listens at {} is no tracer", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_no_until_it_is_announced_and_yes_from_then_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ready.sock");
        assert!(ask(&path).is_err());
        // Of a process that is gone.
        drop(UnixListener::bind(&path).expect("a socket"));
        assert!(ask(&path).is_err());
        announce(&path).expect("a socket");
        for _ in 0..3 {
            ask(&path).expect("attached");
        }
        assert_eq!(fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn something_else_that_listens_is_not_believed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ready.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let other = thread::spawn(move || listener.accept().expect("a connection").0.write_all(b"hello"));
        let error = ask(&path).expect_err("another answer").to_string();
        assert!(error.contains("no tracer"), "{error}");
        other.join().expect("no panic").expect("it was read");
    }

    #[test]
    fn a_place_where_no_socket_can_be_is_named() {
        let error = format!("{:#}", announce(Path::new("/nonexistent/ready.sock")).expect_err("no such folder"));
        assert!(error.contains("/nonexistent/ready.sock") && error.contains("--ready-socket"), "{error}");
    }
}
