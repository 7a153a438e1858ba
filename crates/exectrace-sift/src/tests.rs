//! What becomes of the execs of made worlds. `made` makes them.

mod build;
mod hiding;
mod made;
mod origin;
mod properties;
mod rollup;
mod rules;

use exectrace::{Ended, Event, FailedExec};

use crate::{Conditions, Criteria, Judged, Rare, Rollup, Session, Sift, SiftConfig, SiftFile, Verdict};

/// What a line takes in these tests.
const LINE: u64 = 100;

/// By the default, with roll-up.
fn folding() -> Sift {
    Criteria::new(&SiftConfig::default(), true).expect("the default").sift()
}

/// By this file, with roll-up.
fn folding_by(text: &str) -> Sift {
    Criteria::new(&toml::from_str::<SiftFile>(text).expect(text).complete(), true).expect(text).sift()
}

/// By these rules, without roll-up.
fn by_rules(exclude: &[&str], include: &[&str]) -> Sift {
    let all = |texts: &[&str]| texts.iter().map(|text| Conditions::parse(text).expect(text)).collect();
    let config = SiftConfig { exclude: all(exclude), include: all(include), ..SiftConfig::default() };
    Criteria::new(&config, false).expect("rules").sift()
}

impl Sift {
    fn judge(&mut self, event: &Event) -> Judged {
        self.exec(event, |_| Some(LINE))
    }

    fn verdict(&mut self, event: &Event) -> Verdict {
        self.judge(event).verdict
    }

    fn session(&mut self, event: &Event) -> Session {
        self.judge(event).session.expect("execs have one").as_ref().clone()
    }

    fn verdict_of_attempt(&mut self, failed: &FailedExec) -> Verdict {
        self.failed(failed, |_| Some(LINE)).verdict
    }

    fn verdict_of_end(&mut self, ended: &Ended) -> Verdict {
        self.ended(ended, || LINE)
    }
}

impl Verdict {
    fn number(self) -> Option<u64> {
        match self {
            Verdict::Folded(number) => Some(number),
            _ => None,
        }
    }
}

fn rare(why: Rare) -> Verdict {
    Verdict::Line(Some(why))
}

fn only(rollups: Vec<Rollup>) -> Rollup {
    let [rollup] = <[Rollup; 1]>::try_from(rollups).expect("one roll-up");
    rollup
}
