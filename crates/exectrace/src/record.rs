//! Bytes of the ring buffer -> [`Record`]. Pure and total: any bytes give a record or an error, never a panic.
//!
//! The layout is `bpf/record.h`. Nothing is interpreted here; `assemble` puts the pieces of one exec together and
//! `enrich` says what they mean.

use std::ptr;

use crate::skel::types::{exec_record, exit_record, hook, record_head, record_kind, record_version};

/// One record of the ring buffer, borrowed from it.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    Exec(ExecRecord<'a>),
    Args(ArgsRecord<'a>),
    /// An attempt that failed.
    Failed(ExecRecord<'a>),
    Exit(exit_record),
}

/// The first record of an exec: everything but the arguments that did not fit.
#[derive(Debug)]
pub(crate) struct ExecRecord<'a> {
    pub(crate) fixed: exec_record,
    pub(crate) filename: &'a [u8],
    pub(crate) interp: &'a [u8],
    pub(crate) exe: &'a [u8],
    pub(crate) cwd: &'a [u8],
    pub(crate) tty: &'a [u8],
    pub(crate) container: &'a [u8],
    pub(crate) args: &'a [u8],
}

/// More argument bytes of the exec that the same CPU and hook began.
#[derive(Debug)]
pub(crate) struct ArgsRecord<'a> {
    pub(crate) head: record_head,
    pub(crate) args: &'a [u8],
}

impl Record<'_> {
    pub(crate) fn head(&self) -> &record_head {
        match self {
            Record::Exec(exec) | Record::Failed(exec) => &exec.fixed.head,
            Record::Args(args) => &args.head,
            Record::Exit(exit) => &exit.head,
        }
    }
}

/// Why bytes are no record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("record of {len} bytes ends before its {needed}")]
    Short { len: usize, needed: usize },
    #[error("record of version {0}")]
    Version(u32),
    #[error("record of unknown kind {0}")]
    Kind(u32),
    #[error("record of unknown hook {0}")]
    Hook(u32),
}

/// Number of the scope that a record belongs to; 0 for bytes that are no record.
pub(crate) fn scope_of(bytes: &[u8]) -> u32 {
    copy::<record_head>(bytes).map_or(0, |head| head.scope)
}

/// Whether these bytes begin an exec.
pub(crate) fn is_exec(bytes: &[u8]) -> bool {
    copy::<record_head>(bytes).is_ok_and(|head| head.kind == record_kind::RECORD_EXEC)
}

/// Decodes one record. Bytes after its end are ignored, as the wire may grow.
pub(crate) fn decode(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    let head: record_head = copy(bytes)?;
    if head.version != record_version::RECORD_VERSION {
        return Err(DecodeError::Version(head.version.0));
    }
    if head.hook.0 >= hook::HOOK_COUNT.0 {
        return Err(DecodeError::Hook(head.hook.0));
    }
    match head.kind {
        record_kind::RECORD_EXEC => Ok(Record::Exec(exec(bytes, head)?)),
        record_kind::RECORD_FAILED => Ok(Record::Failed(exec(bytes, head)?)),
        record_kind::RECORD_EXIT => Ok(Record::Exit(copy(bytes)?)),
        record_kind::RECORD_ARGS => {
            let mut tail = Tail { bytes, offset: size_of::<record_head>() };
            Ok(Record::Args(ArgsRecord { args: tail.take(head.args_len)?, head }))
        }
        record_kind(other) => Err(DecodeError::Kind(other)),
    }
}

fn exec(bytes: &[u8], head: record_head) -> Result<ExecRecord<'_>, DecodeError> {
    let fixed: exec_record = copy(bytes)?;
    let mut tail = Tail { bytes, offset: size_of::<exec_record>() };
    Ok(ExecRecord {
        filename: tail.take(fixed.filename_len)?,
        interp: tail.take(fixed.interp_len)?,
        exe: tail.take(fixed.exe_len)?,
        cwd: tail.take(fixed.cwd_len)?,
        tty: tail.take(fixed.tty_len)?,
        container: tail.take(fixed.container_len)?,
        args: tail.take(head.args_len)?,
        fixed,
    })
}

/// A type of `record.h`: integers and arrays of them, so that any bytes are a value.
///
/// # Safety
/// Implement it only for `repr(C)` types for which that is true.
pub(crate) unsafe trait Wire: Copy {}
// SAFETY: generated from record.h; integers, transparent wrappers of integers and arrays of integers.
unsafe impl Wire for record_head {}
// SAFETY: as above.
unsafe impl Wire for exec_record {}
// SAFETY: as above.
unsafe impl Wire for exit_record {}

fn copy<T: Wire>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() < size_of::<T>() {
        return Err(DecodeError::Short { len: bytes.len(), needed: size_of::<T>() });
    }
    // SAFETY: the slice holds size_of::<T>() bytes, read_unaligned asks for no alignment and T is Wire.
    Ok(unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) })
}

struct Tail<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Tail<'a> {
    fn take(&mut self, len: u32) -> Result<&'a [u8], DecodeError> {
        let end = self.offset.saturating_add(len as usize);
        let part = self.bytes.get(self.offset..end).ok_or(DecodeError::Short { len: self.bytes.len(), needed: end })?;
        self.offset = end;
        Ok(part)
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) fn as_bytes<T: Wire>(value: &T) -> &[u8] {
    // SAFETY: a Wire type has no padding and lives as long as the slice.
    unsafe { std::slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::skel::types::exec_flag;

    /// An exec_record as the kernel would send it, with the given tail.
    pub(crate) fn exec_bytes(
        mut fixed: exec_record,
        [filename, interp, exe, cwd, tty, container, args]: [&[u8]; 7],
    ) -> Vec<u8> {
        let len = |part: &[u8]| u32::try_from(part.len()).expect("a part fits a record");
        fixed.head.version = record_version::RECORD_VERSION;
        fixed.head.kind = record_kind::RECORD_EXEC;
        fixed.filename_len = len(filename);
        fixed.interp_len = len(interp);
        fixed.exe_len = len(exe);
        fixed.cwd_len = len(cwd);
        fixed.tty_len = len(tty);
        fixed.container_len = len(container);
        fixed.head.args_len = len(args);
        let mut bytes = as_bytes(&fixed).to_vec();
        for part in [filename, interp, exe, cwd, tty, container, args] {
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// An args_record that continues `head` with `args`.
    pub(crate) fn args_bytes(head: record_head, args: &[u8]) -> Vec<u8> {
        let head = record_head {
            version: record_version::RECORD_VERSION,
            kind: record_kind::RECORD_ARGS,
            args_len: u32::try_from(args.len()).expect("a piece fits a record"),
            ..head
        };
        let mut bytes = as_bytes(&head).to_vec();
        bytes.extend_from_slice(args);
        bytes
    }

    fn sample() -> Vec<u8> {
        let fixed = exec_record { argc: 2, ..Default::default() };
        exec_bytes(fixed, [b"./run", b"", b"/home/jessie/run", b"/home/jessie", b"pts3", b"pod-1", b"./run\0-v\0"])
    }

    #[test]
    fn an_exec_record_gives_back_its_parts() {
        let bytes = sample();
        let Ok(Record::Exec(exec)) = decode(&bytes) else { panic!("no exec") };
        assert_eq!(exec.fixed.argc, 2);
        assert_eq!(
            [exec.filename, exec.interp, exec.exe, exec.cwd, exec.tty, exec.container, exec.args],
            [&b"./run"[..], b"", b"/home/jessie/run", b"/home/jessie", b"pts3", b"pod-1", b"./run\0-v\0"]
        );
    }

    #[test]
    fn every_prefix_of_a_record_is_an_error() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(matches!(decode(&bytes[..len]), Err(DecodeError::Short { .. })), "prefix of {len}");
        }
    }

    #[test]
    fn another_version_kind_or_hook_is_named() {
        let with = |change: fn(&mut record_head)| {
            let mut head = record_head {
                version: record_version::RECORD_VERSION,
                kind: record_kind::RECORD_ARGS,
                flags: exec_flag(0),
                ..Default::default()
            };
            change(&mut head);
            decode(as_bytes(&head)).map(|_| ()).expect_err("no record")
        };
        assert_eq!(with(|head| head.version.0 = 9), DecodeError::Version(9));
        assert_eq!(with(|head| head.kind.0 = 7), DecodeError::Kind(7));
        assert_eq!(with(|head| head.hook.0 = 9), DecodeError::Hook(9));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn any_lengths_decode_or_fail(lengths in proptest::array::uniform6(any::<u32>()), args_len in any::<u32>()) {
            let mut bytes = sample();
            let at = std::mem::offset_of!(exec_record, filename_len);
            for (i, len) in lengths.iter().enumerate() {
                bytes[at + 4 * i..at + 4 * i + 4].copy_from_slice(&len.to_ne_bytes());
            }
            bytes[36..40].copy_from_slice(&args_len.to_ne_bytes());
            if let Ok(Record::Exec(exec)) = decode(&bytes) {
                prop_assert_eq!(exec.args.len(), args_len as usize);
            }
        }
    }
}
