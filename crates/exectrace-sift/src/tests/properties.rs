//! What holds in any world.

use std::collections::{HashMap, HashSet};

use exectrace::{Args, Event, ExecId, Partial, Traits, What};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::made::{EACCES, ENOENT, World, on};
use super::rules::without_strings;
use super::{LINE, folding_by};
use crate::{Of, Rollup, Verdict};

/// How an exec differs from what is usual.
#[derive(Debug, Clone, Copy)]
enum Odd {
    No,
    Tty,
    NoTty,
    Traits(Traits),
    Partial(Partial),
    Lost,
    Truncated,
    Euid,
    Namespace,
    OtherUser,
    Script(&'static str),
    NewFile,
}

#[derive(Debug, Clone)]
enum Step {
    /// Of this process, this file.
    Exec(usize, &'static str, Odd),
    /// The same without a fork.
    Replace(usize, &'static str, Odd),
    Attempt(usize, u32),
    End(usize),
    Wait(u64),
}

const LISTED: [&str; 2] = ["/usr/bin/curl", "/bin/wget"];
const ELSEWHERE: [&str; 3] = ["/home/jessie/evil", "/tmp/usr/bin/cc", "/usr/binx"];

fn file() -> impl Strategy<Value = &'static str> {
    let usual = ["/usr/bin/cc", "/usr/bin/as", "/bin/sh", "/usr/bin/git", "/usr/bin/git"];
    let servers = ["/usr/sbin/sshd", "/usr/local/bin/claude", "/usr/sbin/cron", "/usr/lib/code-server/lib/node"];
    let select = |of: &[&'static str]| proptest::sample::select(of.to_vec());
    prop_oneof![24 => select(&usual), 1 => select(&servers), 1 => select(&LISTED), 1 => select(&ELSEWHERE)]
}

fn odd() -> impl Strategy<Value = Odd> {
    let traits = [Traits::MEMFD, Traits::DELETED, Traits::SETUID, Traits::LD_SO].map(Odd::Traits);
    let others = [Odd::Lost, Odd::Truncated, Odd::Euid, Odd::Namespace, Odd::OtherUser, Odd::NewFile];
    let scripts = ["/usr/bin/tool", "/home/jessie/run", "../../home/x", "tool"].map(Odd::Script);
    prop_oneof![
        50 => Just(Odd::No),
        1 => Just(Odd::Tty),
        2 => Just(Odd::NoTty),
        1 => proptest::sample::select(traits.to_vec()),
        1 => proptest::sample::select(Partial::all().iter().map(Odd::Partial).collect::<Vec<_>>()),
        2 => proptest::sample::select(others.to_vec()),
        1 => proptest::sample::select(scripts.to_vec()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let of = || prop_oneof![3 => 0usize..3, 1 => 0usize..60];
    prop_oneof![
        20 => (of(), file(), odd()).prop_map(|(of, file, odd)| Step::Exec(of, file, odd)),
        1 => (of(), file(), odd()).prop_map(|(of, file, odd)| Step::Replace(of, file, odd)),
        2 => (of(), prop_oneof![Just(ENOENT), Just(ENOENT), Just(EACCES)]).prop_map(|(of, errno)| Step::Attempt(of, errno)),
        4 => (0usize..60).prop_map(Step::End),
        1 => (0u64..12).prop_map(Step::Wait),
    ]
}

fn make_odd(world: &mut World, event: Event, odd: Odd) -> Event {
    match odd {
        Odd::No => event,
        Odd::Tty => on("pts/1", event),
        Odd::NoTty => Event { tty: None, ..event },
        Odd::Traits(traits) => Event { traits, ..event },
        Odd::Partial(partial) => Event { partial, ..event },
        Odd::Lost => without_strings(event),
        Odd::Truncated => Event { argv: Args::new(b"cc\0".to_vec(), 2, 50, None), ..event },
        Odd::Euid => Event { euid: 0, ..event },
        Odd::Namespace => Event { mnt_ns: event.mnt_ns + 1, ..event },
        Odd::OtherUser => Event { uid: 7, euid: 7, ..event },
        Odd::Script(path) => {
            let interpreter = Some(exectrace::Interpreter { path: event.exe.clone(), args: Vec::new() });
            Event { filename: path.into(), interpreter, cwd: b"/usr/bin".to_vec(), ..event }
        }
        Odd::NewFile => {
            let path = String::from_utf8_lossy(&event.exe).into_owned();
            world.put(&path);
            Event { inode: event.inode + 1_000_000, ..event }
        }
    }
}

/// Told apart from `rare.rs` on purpose: what of an exec nobody may fold, where and whenever it is.
fn is_rare(event: &Event) -> bool {
    let is_in = |paths: &[&str], path: &[u8]| paths.iter().any(|listed| listed.as_bytes() == path);
    let is_outside = is_in(&ELSEWHERE, &event.exe) || event.exe.is_empty();
    let is_outside_script = event.interpreter.is_some()
        && !matches!(event.filename.as_slice(), b"/usr/bin/tool" | b"tool")
        && event.filename != event.exe;
    event.tty.is_some()
        || event.traits.intersects(Traits::MEMFD | Traits::DELETED | Traits::SETUID | Traits::LD_SO)
        || !(event.partial - Partial::ENV_FAULT - Partial::ENV_LIMIT).is_empty()
        || event.argv.kept_bytes() < event.argv.total_bytes
        || event.euid != event.uid
        || is_outside
        || is_outside_script
        || is_in(&LISTED, &event.exe)
}

/// What verdicts were given, by what they were of.
#[derive(Default)]
struct Tally {
    happened: [u64; 3],
    lines: [u64; 3],
    excluded: [u64; 3],
    folded: HashMap<u64, Stack>,
}

/// What verdicts put into one roll-up.
#[derive(Default)]
struct Stack {
    items: Vec<(Option<ExecId>, Vec<Vec<u8>>)>,
    namespaces: HashSet<u32>,
    ends: u64,
    failures: u64,
}

impl Tally {
    fn add(&mut self, what: What, verdict: Verdict) -> Option<&mut Stack> {
        let at = what.index();
        self.happened[at] += 1;
        match verdict {
            Verdict::Line(_) => self.lines[at] += 1,
            Verdict::Excluded(_) => self.excluded[at] += 1,
            Verdict::Folded(number) => return Some(self.folded.entry(number).or_default()),
        }
        None
    }
}

impl Stack {
    fn add(&mut self, id: Option<ExecId>, event: &Event) {
        self.items.push((id, event.argv.iter().map(<[u8]>::to_vec).collect()));
        self.namespaces.insert(event.mnt_ns);
    }

    fn sha256(&self) -> [u8; 32] {
        let mut list = Sha256::new();
        for (id, argv) in &self.items {
            list.update(id.map(|id| id.to_string()).unwrap_or_default());
            list.update([0]);
            list.update(Sha256::digest(argv.iter().flat_map(|arg| [arg, &b"\0"[..]].concat()).collect::<Vec<u8>>()));
        }
        list.finalize().into()
    }
}

fn hold_against(rollups: &[Rollup], tally: &Tally, namespaces: &HashMap<ExecId, u32>) -> Result<(), TestCaseError> {
    prop_assert!(rollups.iter().map(|rollup| rollup.number).eq(1..=rollups.len() as u64), "numbers from 1, each once");
    let mut folded = [0u64; 3];
    for rollup in rollups {
        for (what, count) in rollup.counts() {
            folded[what.index()] += count;
        }
        let stack = tally.folded.get(&rollup.number).expect("somebody was told of its number");
        prop_assert_eq!(rollup.count, stack.items.len() as u64);
        prop_assert_eq!((rollup.ends, rollup.failures), (stack.ends, stack.failures));
        prop_assert_eq!(rollup.bytes, (rollup.count + rollup.ends) * LINE);
        prop_assert_eq!(rollup.sha256, stack.sha256());
        let distinct: HashSet<_> = stack.items.iter().map(|(_, argv)| argv).collect();
        prop_assert_eq!(rollup.distinct, distinct.len() as u64);
        prop_assert_eq!(rollup.samples.len(), distinct.len().min(3));
        prop_assert!(rollup.times[0] <= rollup.times[1]);
        if matches!(rollup.of, Of::Exe(_)) {
            let root = namespaces.get(&rollup.root).expect("the root was judged");
            prop_assert!(stack.namespaces.iter().all(|mnt_ns| mnt_ns == root), "another mount namespace");
        }
    }
    for (at, folded) in folded.into_iter().enumerate() {
        prop_assert_eq!(tally.happened[at], tally.lines[at] + tally.excluded[at] + folded);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_that_happened_is_in_a_line_left_out_or_in_one_roll_up_and_nothing_rare_is_folded(
        steps in proptest::collection::vec(step(), 1..250),
        more_than in 0u64..6,
        leaves_out in any::<bool>(),
    ) {
        let rules = "[[exclude]]\nexe = 'git'\ntty = false\n[[include]]\nargv = '* -c 3*'\n";
        let rules = if leaves_out { rules } else { "" };
        // The default's lists would take longer to compile than all else here.
        let lists = "folders = ['/bin/**', '/usr/bin/**', '/usr/sbin/**', '/usr/local/**']\nprograms = ['curl', 'wget']\n";
        let mut sift = folding_by(&format!("{rules}[rollup]\nmore_than = {more_than}\nwindow = '5s'\n{lists}"));
        let (mut world, mut tally, mut rollups) = (World::new(), Tally::default(), Vec::new());
        let (mut seen, mut namespaces) = (HashSet::new(), HashMap::new());
        let shell = world.begin("/bin/bash", &["bash"]);
        let make = world.exec(&shell, "/usr/bin/make", &["make"]);
        let mut processes: Vec<Event> = Vec::new();
        let steps = steps.into_iter().enumerate().map(|(at, step)| (at, Some(step)));
        for (at, step) in [(0, None), (1, None)].into_iter().chain(steps) {
            let argument = (at % 5).to_string();
            let argv = ["x", "-c", &argument];
            let nth = |of: usize| processes[of % processes.len()].clone();
            let exec = match step {
                None => Some(if at == 0 { shell.clone() } else { make.clone() }),
                Some(Step::Exec(of, file, odd)) => {
                    let event = world.exec(&nth(of), file, &argv);
                    Some(make_odd(&mut world, event, odd))
                }
                Some(Step::Replace(of, file, odd)) => {
                    let event = world.replace(&nth(of), file, &argv);
                    let event = make_odd(&mut world, event, odd);
                    let of = of % processes.len();
                    processes.remove(of);
                    Some(event)
                }
                Some(Step::Attempt(of, errno)) => {
                    let failed = world.attempt(&nth(of), &argv, errno);
                    let verdict = sift.verdict_of_attempt(&failed);
                    if let Some(stack) = tally.add(What::Failed, verdict) {
                        prop_assert_eq!(failed.errno, ENOENT);
                        prop_assert!(failed.attempt.tty.is_none());
                        stack.add(None, &failed.attempt);
                    }
                    None
                }
                // The shell and what is below it go on.
                Some(Step::End(of)) if processes.len() > 2 => {
                    let process = processes.remove(2 + of % (processes.len() - 2));
                    let is_failure = of % 3 == 0;
                    let verdict = sift.verdict_of_end(&world.end(&process, u32::from(is_failure) << 8));
                    if let Some(stack) = tally.add(What::Exit, verdict) {
                        stack.ends += 1;
                        stack.failures += u64::from(is_failure);
                    }
                    None
                }
                Some(Step::End(_)) => None,
                Some(Step::Wait(seconds)) => {
                    world.wait(seconds);
                    rollups.extend(sift.rolled_up(world.now));
                    None
                }
            };
            let Some(event) = exec else { continue };
            let verdict = sift.verdict(&event);
            let script = event.interpreter.is_some().then(|| match event.filename.as_slice() {
                b"tool" => b"/usr/bin/tool".to_vec(),
                path => path.to_vec(),
            });
            let is_left_out = matches!(verdict, Verdict::Excluded(_));
            let is_new = !is_left_out && seen.insert((event.exe.clone(), event.inode, script));
            namespaces.insert(event.id, event.mnt_ns);
            if let Some(stack) = tally.add(What::Exec, verdict) {
                prop_assert!(!is_rare(&event), "{:?}", event);
                prop_assert!(!is_new, "never seen before: {:?}", event);
                stack.add(Some(event.id), &event);
            }
            processes.push(event);
        }
        rollups.extend(sift.finish());
        let ids: Vec<ExecId> = tally.folded.values().flat_map(|stack| &stack.items).filter_map(|(id, _)| *id).collect();
        let distinct: HashSet<ExecId> = ids.iter().copied().collect();
        prop_assert_eq!(ids.len(), distinct.len(), "in one roll-up at most");
        rollups.sort_by_key(|rollup| rollup.number);
        hold_against(&rollups, &tally, &namespaces)?;
    }
}
