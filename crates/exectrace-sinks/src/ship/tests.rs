use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use proptest::prelude::*;

use super::*;
use crate::counts::Counts;
use crate::destination::{Limits, Receipt};
use crate::dropped::DroppedLines;
use crate::spool::{SpoolOptions, Sync, WhenFull};

/// What the place answers to the lines that come, by their numbers.
type Answer = Box<dyn FnMut(&[u64]) -> Result<Receipt, SendError> + Send>;

/// A place that does as it is told, and tells what it was given.
struct Scripted {
    answer: Answer,
    given: Sender<(Vec<u64>, bool)>,
}

impl Destination for Scripted {
    const NAME: &'static str = "scripted";

    fn limits(&self) -> Limits {
        Limits { batch_bytes: 1 << 20, overhead: 26, line_bytes: 200, batch_lines: 10, span: None }
    }

    async fn send(&mut self, lines: &[Line]) -> Result<Receipt, SendError> {
        let numbers: Vec<u64> = lines.iter().map(|line| line.number.line).collect();
        let answer = (self.answer)(&numbers);
        // Nobody listens any more when a test is over.
        let _ = self.given.send((numbers, answer.is_ok()));
        answer
    }
}

const QUICK: ShipOptions = ShipOptions {
    linger: Duration::ZERO,
    attempt: Duration::from_secs(30),
    first_wait: Duration::from_millis(1),
    longest_wait: Duration::from_millis(5),
    refused_wait: Duration::from_millis(5),
};

fn open(folder: &Path) -> (Spool, DroppedLines) {
    let options =
        SpoolOptions { name: "scripted", max_bytes: 1 << 30, when_full: WhenFull::DropOldest, sync: Sync::Never };
    let dropped = DroppedLines::default();
    let spool = Spool::open(folder, options, dropped.clone(), Arc::new(Counts::default())).expect("a spool");
    (spool, dropped)
}

fn put(spool: &Spool, lines: std::ops::RangeInclusive<u64>) {
    for line in lines {
        spool
            .put(Number { run: 1, line }, format!("{{\"ts\":\"2026-11-24T22:00:00.000000000Z\"}} {line}\n").as_bytes());
    }
}

fn start(
    spool: &Spool,
    answer: impl FnMut(&[u64]) -> Result<Receipt, SendError> + Send + 'static,
) -> (Shipper, Receiver<(Vec<u64>, bool)>) {
    let (given, told) = channel();
    let place = Scripted { answer: Box::new(answer), given };
    (Shipper::start(place, spool.clone(), Box::new(<[u8]>::to_vec), QUICK).expect("a thread"), told)
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn retryable() -> SendError {
    SendError::Retryable { why: "busy".to_owned(), after: None }
}

/// All that was taken, in the order in which it was.
fn taken(told: &Receiver<(Vec<u64>, bool)>) -> Vec<u64> {
    told.try_iter().filter(|(_, ok)| *ok).flat_map(|(lines, _)| lines).collect()
}

#[test]
fn all_lines_are_sent_in_their_order_and_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, dropped) = open(folder.path());
    put(&spool, 1..=25);
    let (shipper, told) = start(&spool, |_| Ok(Receipt::default()));
    put(&spool, 26..=60);
    assert_eq!(shipper.stop(later()), (0, 0));
    assert_eq!(taken(&told), (1..=60).collect::<Vec<_>>());
    assert!(dropped.take().is_empty());
    assert_eq!((spool.counts().lines_sent(), spool.counts().spool_lines()), (60, 0));
}

#[test]
fn lines_that_come_while_it_waits_are_sent_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, _) = open(folder.path());
    let (shipper, told) = start(&spool, |_| Ok(Receipt::default()));
    for line in 1..=3 {
        put(&spool, line..=line);
        let (lines, _) = told.recv_timeout(Duration::from_secs(20)).expect("a batch");
        assert_eq!(lines, [line]);
    }
    assert_eq!(shipper.stop(later()), (0, 0));
}

#[test]
fn a_place_that_is_busy_is_asked_again_until_it_takes_the_batch() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, dropped) = open(folder.path());
    put(&spool, 1..=10);
    let mut failures = 6;
    let (shipper, told) = start(&spool, move |_| {
        failures -= i32::from(failures > 0);
        if failures > 0 { Err(retryable()) } else { Ok(Receipt::default()) }
    });
    while !told.recv_timeout(Duration::from_secs(20)).expect("an attempt").1 {}
    assert_eq!(shipper.stop(later()), (0, 0));
    assert!(dropped.take().is_empty());
    assert_eq!(spool.counts().retries(), 5);
}

#[test]
fn what_the_place_refuses_for_now_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, dropped) = open(folder.path());
    put(&spool, 1..=10);
    let (shipper, told) = start(&spool, |_| {
        Err(SendError::Refused { why: "who are you".to_owned(), advice: "give it credentials".to_owned() })
    });
    (0..3).for_each(|_| assert!(!told.recv_timeout(Duration::from_secs(20)).expect("an attempt").1));
    let (left, _) = shipper.stop(Instant::now());
    assert_eq!((left, dropped.take().len()), (10, 0));
}

#[test]
fn only_lines_that_are_refused_are_dropped_and_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, dropped) = open(folder.path());
    put(&spool, 1..=30);
    let (shipper, told) = start(&spool, |lines| {
        let is_bad = |line: &u64| [4, 5, 17].contains(line);
        if lines.iter().any(is_bad) {
            Err(SendError::Rejected { why: "bad".to_owned() })
        } else {
            Ok(Receipt::default())
        }
    });
    assert_eq!(shipper.stop(later()), (0, 0));
    assert_eq!(taken(&told), (1..=30).filter(|line| ![4, 5, 17].contains(line)).collect::<Vec<_>>());
    let told: Vec<_> = dropped.take().iter().map(|told| (told.reason, told.lines, told.first)).collect();
    let number = |line| Some(Number { run: 1, line });
    assert_eq!(told, [(Reason::Rejected, 2, number(4)), (Reason::Rejected, 1, number(17))]);
}

#[test]
fn what_a_receipt_rejects_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, dropped) = open(folder.path());
    put(&spool, 1..=10);
    let (shipper, _told) =
        start(&spool, |_| Ok(Receipt { rejected: vec![(2..4, "too old".to_owned())], ..Receipt::default() }));
    assert_eq!(shipper.stop(later()), (0, 0));
    let told = dropped.take();
    assert_eq!((told.len(), told[0].lines, told[0].first.map(|first| first.line)), (1, 2, Some(3)));
    assert_eq!((spool.counts().lines_sent(), spool.counts().dropped(Reason::Rejected)), (8, 2));
}

#[test]
fn what_a_receipt_rejects_without_saying_which_is_counted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, dropped) = open(folder.path());
    put(&spool, 1..=10);
    let some = || Receipt { rejected_somewhere: Some((3, "bad".to_owned())), ..Receipt::default() };
    let (shipper, _told) = start(&spool, move |_| Ok(some()));
    assert_eq!(shipper.stop(later()), (0, 0));
    let told = dropped.take();
    assert_eq!((told.len(), told[0].lines, told[0].first), (1, 3, None));
    assert_eq!((spool.counts().lines_sent(), spool.counts().dropped(Reason::Rejected)), (7, 3));
}

#[test]
fn a_line_that_is_too_long_is_dropped_and_the_others_are_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, dropped) = open(folder.path());
    put(&spool, 1..=2);
    spool.put(Number { run: 1, line: 3 }, &[&[b'x'; 300][..], b"\n"].concat());
    put(&spool, 4..=5);
    let (shipper, told) = start(&spool, |_| Ok(Receipt::default()));
    assert_eq!(shipper.stop(later()), (0, 0));
    assert_eq!(taken(&told), [1, 2, 4, 5]);
    assert_eq!(dropped.take().len(), 1);
}

#[test]
fn a_stop_leaves_what_it_could_not_send_for_the_next_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    {
        let (spool, _) = open(folder.path());
        put(&spool, 1..=40);
        let (shipper, told) =
            start(&spool, |lines| if lines.contains(&1) { Ok(Receipt::default()) } else { Err(retryable()) });
        assert!(told.recv_timeout(Duration::from_secs(20)).expect("an attempt").1);
        let (left, bytes) = shipper.stop(Instant::now());
        assert!(left == 30 && bytes > 0, "{left} lines");
    }
    let (spool, _) = open(folder.path());
    let (shipper, told) = start(&spool, |_| Ok(Receipt::default()));
    assert_eq!(shipper.stop(later()), (0, 0));
    assert_eq!(taken(&told), (11..=40).collect::<Vec<_>>());
}

/// A place that never answers.
struct Silent(Sender<()>);

impl Destination for Silent {
    const NAME: &'static str = "silent";

    fn limits(&self) -> Limits {
        Limits { batch_bytes: 1 << 20, overhead: 0, line_bytes: 200, batch_lines: 10, span: None }
    }

    async fn send(&mut self, _: &[Line]) -> Result<Receipt, SendError> {
        let _ = self.0.send(());
        std::future::pending().await
    }
}

#[test]
fn a_place_that_never_answers_is_asked_again_and_does_not_hold_up_a_stop() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (spool, _) = open(folder.path());
    put(&spool, 1..=3);
    let (asked, told) = channel();
    let options = ShipOptions { attempt: Duration::from_millis(10), ..QUICK };
    let shipper = Shipper::start(Silent(asked), spool, Box::new(<[u8]>::to_vec), options).expect("a thread");
    (0..3).for_each(|_| told.recv_timeout(Duration::from_secs(20)).expect("an attempt"));
    let begun = Instant::now();
    assert_eq!(shipper.stop(begun + Duration::from_millis(50)).0, 3);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the place answers: received, in the spool, or told.
    #[test]
    fn no_line_is_lost_without_being_told(answers in proptest::collection::vec(0..4_u8, 1..40), lines in 1..120_u64) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (spool, dropped) = open(folder.path());
        put(&spool, 1..=lines);
        let received = Arc::new(Mutex::new(Vec::new()));
        let mut at = 0;
        let answers = Arc::new(answers);
        let (script, to) = (Arc::clone(&answers), Arc::clone(&received));
        let (shipper, _told) = start(&spool, move |lines| {
            at += 1;
            match script[at % script.len()] {
                0 if at < 200 => Err(retryable()),
                1 if at < 200 => Err(SendError::Rejected { why: "bad".to_owned() }),
                2 if !lines.is_empty() => {
                    to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&lines[1..]);
                    Ok(Receipt { rejected: vec![(0..1, "the first".to_owned())], ..Receipt::default() })
                }
                _ => {
                    to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(lines);
                    Ok(Receipt::default())
                }
            }
        });
        let (left, _) = shipper.stop(later());
        prop_assert_eq!(left, 0);
        let mut all = received.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for told in dropped.take() {
            let (first, last) = (told.first.expect("a number").line, told.last.expect("a number").line);
            prop_assert_eq!(last - first + 1, told.lines);
            all.extend(first..=last);
        }
        all.sort_unstable();
        prop_assert_eq!(all, (1..=lines).collect::<Vec<_>>());
    }
}
