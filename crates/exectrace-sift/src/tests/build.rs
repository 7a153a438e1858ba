//! A build that is busy, in which others can be hidden.

use exectrace::Event;

use super::made::World;
use super::{folding, folding_by};
use crate::{Sift, Verdict};

pub(super) struct Build {
    pub(super) world: World,
    pub(super) sift: Sift,
    /// The root of the session; it has no terminal.
    pub(super) shell: Event,
    /// What so much is below.
    pub(super) make: Event,
}

impl Build {
    /// By the default.
    pub(super) fn busy() -> Build {
        Build::of(folding())
    }

    /// By this file.
    pub(super) fn busy_by(text: &str) -> Build {
        Build::of(folding_by(text))
    }

    fn of(mut sift: Sift) -> Build {
        let mut world = World::new();
        let shell = world.begin("/bin/bash", &["bash"]);
        let make = world.exec(&shell, "/usr/bin/make", &["make", "-j8"]);
        sift.judge(&shell);
        sift.judge(&make);
        let mut build = Build { world, sift, shell, make };
        for _ in 0..20 {
            build.cc();
        }
        assert!(build.cc().number().is_some(), "the build is not busy");
        build
    }

    /// What is usual in it.
    pub(super) fn cc(&mut self) -> Verdict {
        let cc = self.world.exec(&self.make, "/usr/bin/cc", &["cc", "-c", "x.c"]);
        self.sift.verdict(&cc)
    }

    pub(super) fn exec(&mut self, path: &str, argv: &[&str]) -> Event {
        self.world.exec(&self.make, path, argv)
    }

    /// So that it is seen, and no file is new.
    pub(super) fn seen(&mut self, path: &str, argv: &[&str]) {
        let event = self.exec(path, argv);
        self.sift.judge(&event);
    }
}
