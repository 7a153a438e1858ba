//! What becomes of secrets in arguments: the words of the command line become a [`Redactor`], and an entry loses its secrets
//! before it is encoded.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use exectrace::Args;
use exectrace_redact::{RedactionKey, Redactor, UserRules};

use crate::cli::sinks::{RedactArgs, Switch};
use crate::exit::{Exit, Failed};
use crate::line::Entry;

/// Whoever guesses a shorter key can try out what a mark stands for.
const MIN_KEY_BYTES: usize = 16;
/// No key is longer; a file that is was not meant.
const MAX_KEY_BYTES: u64 = 1 << 16;

/// `None`: secrets stay as they are.
pub(crate) fn redactor(args: &RedactArgs) -> anyhow::Result<Option<Arc<Redactor>>> {
    let rules = args.redact_rules.as_deref().map_or_else(|| Ok(UserRules::default()), read_rules)?;
    if args.redact == Switch::Off {
        return Ok(None);
    }
    let key = match &args.redact_key {
        Some(path) => read_key(path)?,
        None => random_key()?,
    };
    Ok(Some(Arc::new(Redactor::new(key, rules))))
}

/// With the rules that are built in, and a key of its own.
pub(crate) fn random() -> anyhow::Result<Redactor> {
    Ok(Redactor::new(random_key()?, UserRules::default()))
}

fn read_rules(path: &Path) -> anyhow::Result<UserRules> {
    let refused = || Failed(Exit::Usage, format!("the rules in {} cannot be used", path.display()));
    let text = fs::read_to_string(path).with_context(refused)?;
    UserRules::parse(&text).with_context(refused)
}

fn read_key(path: &Path) -> anyhow::Result<RedactionKey> {
    let refused = |why: &str| Failed(Exit::Usage, format!("the key of marks {} {why}", path.display()));
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_KEY_BYTES + 1).read_to_end(&mut bytes))
        .with_context(|| refused("cannot be read"))?;
    match bytes.len() {
        count if count < MIN_KEY_BYTES => Err(refused("is too short: a key has at least 16 bytes").into()),
        count if count as u64 > MAX_KEY_BYTES => Err(refused("is longer than 64 KiB").into()),
        _ => Ok(RedactionKey::new(&bytes)),
    }
}

fn random_key() -> anyhow::Result<RedactionKey> {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).context("drawing a random key")?;
    Ok(RedactionKey::new(&bytes))
}

/// Replaces the secrets in an entry's arguments; returns how many there were.
pub(crate) fn redact(entry: &mut Entry, redactor: &Redactor) -> u32 {
    match entry {
        Entry::Exec(event) => redact_args(&mut event.argv, redactor),
        Entry::Failed(failed) => redact_args(&mut failed.attempt.argv, redactor),
        Entry::Running(running) => redact_args(&mut running.argv, redactor),
        _ => 0,
    }
}

fn redact_args(args: &mut Args, redactor: &Redactor) -> u32 {
    let words: Vec<&[u8]> = args.iter().collect();
    let Some(redacted) = redactor.redact(&words) else { return 0 };
    *args = args.reworded(&redacted.argv);
    redacted.count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::samples;

    fn redactor() -> Redactor {
        Redactor::new(RedactionKey::new(&[7; 32]), UserRules::default())
    }

    #[test]
    fn an_entry_loses_its_secrets_and_says_how_many() {
        let mut event = samples::uname();
        event.argv = samples::args(&[b"deploy", b"--password", b"hunter2hunter2", b"now"]);
        let mut entry = Entry::Exec(Box::new(event));
        assert_eq!(redact(&mut entry, &redactor()), 1);
        let Entry::Exec(event) = &entry else { panic!("{entry:?}") };
        let words: Vec<&[u8]> = event.argv.iter().collect();
        assert!(words[2].starts_with(b"[redacted:") && words[3] == b"now", "{words:?}");
        assert!(!event.truncated(), "nothing is missing");
    }

    #[test]
    fn what_was_cut_stays_cut_and_its_hash_is_gone() {
        let mut event = samples::everything();
        event.argv = Args::new(b"deploy\0--password\0hunter2hunter2\0cu".to_vec(), 9, 90_000, Some([1; 32]));
        let (missing, mut entry) = (90_000 - event.argv.kept_bytes(), Entry::Exec(Box::new(event)));
        assert_eq!(redact(&mut entry, &redactor()), 1);
        let Entry::Exec(event) = &entry else { panic!("{entry:?}") };
        assert_eq!(event.argv.total_bytes - event.argv.kept_bytes(), missing);
        assert_eq!((event.argv.count, event.argv.sha256), (9, None));
        assert_eq!(event.argv.iter().last(), Some(&b"cu"[..]));
    }

    #[test]
    fn a_key_that_can_be_guessed_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        fs::write(&path, "short").expect("a file");
        assert!(read_key(&path).expect_err("five bytes").to_string().contains("at least 16"));
        fs::write(&path, [1; 1 << 17]).expect("a file");
        assert!(read_key(&path).expect_err("too many bytes").to_string().contains("longer"));
        assert!(read_key(&folder.path().join("none")).is_err());
    }
}
