//! The reading end of the kernel's ring buffer.
//!
//! As libbpf's, with one difference that it does not offer: what was read stays in the ring until it is let go of. So a
//! tracer that is killed leaves behind, in a ring that is pinned, all that it had read and not yet written.
//!
//! The layout is the kernel's (kernel/bpf/ringbuf.c): a page with the reader's position, a page with the writers', and
//! the data, mapped twice in a row so that a record never breaks in two. Positions only grow.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::epoll;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::mapped::{Access, Mapped};

/// `BPF_RINGBUF_BUSY_BIT`, `BPF_RINGBUF_DISCARD_BIT` and `BPF_RINGBUF_HDR_SZ` of uapi/linux/bpf.h.
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
const HEADER: usize = 8;

/// Where a record lies in the stream of all records: positions before and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Span {
    /// Bytes that it takes in the ring.
    pub(crate) fn len(self) -> u64 {
        self.end - self.start
    }
}

/// A ring buffer that this process alone reads.
#[derive(Debug)]
pub(crate) struct Ring {
    reader: Mapped,
    writers: Mapped,
    page: usize,
    size: u64,
    read: u64,
    epoll: OwnedFd,
}

impl Ring {
    /// `size` is the size of the map's data, a power of two.
    pub(crate) fn open(map: BorrowedFd<'_>, size: u32) -> io::Result<Ring> {
        let page = rustix::param::page_size();
        let data = usize::try_from(size).map_err(io::Error::other)?;
        let reader = Mapped::new(map, 0, page, Access::ReadWrite)?;
        let writers = Mapped::new(map, page as u64, page + 2 * data, Access::Read)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // By edge: unread data alone, which may wait here for long, must not look like news.
        let events = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, map, epoll::EventData::new_u64(0), events)?;
        let read = reader.u64_at(0).load(Ordering::Acquire);
        Ok(Ring { reader, writers, page, size: u64::from(size), read, epoll })
    }

    /// Up to where it was read.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Up to where it was written.
    pub(crate) fn written(&self) -> u64 {
        self.writers.u64_at(0).load(Ordering::Acquire)
    }

    /// Reads the next record, if there is one. It is not changed before it is let go of.
    pub(crate) fn next(&mut self) -> Option<(Span, &[u8])> {
        loop {
            if self.read >= self.written() {
                return None;
            }
            let at = self.page + usize::try_from(self.read & (self.size - 1)).ok()?;
            let header = self.writers.u32_at(at).load(Ordering::Acquire);
            if header & BUSY != 0 {
                return None;
            }
            let len = header & !(BUSY | DISCARDED);
            let start = self.read;
            self.read += (u64::from(len) + HEADER as u64).next_multiple_of(8);
            let span = Span { start, end: self.read };
            if header & DISCARDED == 0 {
                // SAFETY: the kernel has finished this record, and writes there again only once the reader's position is
                // beyond it; `release` takes the ring mutably, and so ends this borrow first.
                let record = unsafe { self.writers.bytes(at + HEADER, len as usize) };
                return Some((span, record));
            }
        }
    }

    /// Reads on from an earlier position that was not let go of.
    pub(crate) fn read_again_from(&mut self, position: u64) {
        self.read = position;
    }

    /// Lets go of all records before a position that was read.
    pub(crate) fn release(&mut self, to: u64) {
        debug_assert!(to <= self.read);
        self.reader.u64_at(0).store(to.min(self.read), Ordering::Release);
    }

    /// Waits until the kernel wakes the reader, at most for `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(timeout).ok();
        match rustix::event::poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(()),
            Ok(_) => self.acknowledge(),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the news that the descriptor shows, so that it shows the next.
    fn acknowledge(&self) -> io::Result<()> {
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 1];
        match epoll::wait(&self.epoll, &mut events, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Readable when the kernel wakes the reader.
impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
