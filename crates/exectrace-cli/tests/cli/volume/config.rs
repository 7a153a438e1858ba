//! The configuration file.

use serde_json::json;

use super::{NOWHERE, ledger, traced};
use crate::folder::Folder;
use crate::line::cmdlines;
use crate::program::{Ended, exectrace};

#[test]
fn what_is_built_in_is_printed_and_is_a_configuration() {
    let printed = Ended::well(&mut exectrace(["config"])).stdout;
    assert!(printed.contains("[rollup]\n") && printed.contains("[[origin.agent]]"), "{printed}");
    let folder = Folder::new();
    let path = folder.file("exectrace.toml", &printed);
    let said = Ended::well(exectrace(["config"]).arg(path)).stdout;
    assert!(said.contains("more than 10 in 1m") && said.ends_with("can be used\n"), "{said}");
}

#[test]
fn a_configuration_is_told_with_who_decides_its_rules() {
    let folder = Folder::new();
    let text = "# Noise of an editor\n[[exclude]]\nexe = '/usr/bin/git'\ntty = false\n\n\
                [[exclude]]\nargv = 'git status *'\nancestor = 'code-server'\n[[include]]\nuid = 7\n";
    let path = folder.file("exectrace.toml", text);
    let said = Ended::well(exectrace(["config"]).arg(path)).stdout;
    assert!(said.contains("exclude exe=/usr/bin/git tty=no: decided by the kernel program\n"), "{said}");
    assert!(said.contains("exclude argv='git status *' ancestor=code-server: decided by exectrace\n"), "{said}");
    assert!(said.contains("include uid=7\n"), "{said}");
}

#[test]
fn what_is_no_configuration_is_refused_with_the_line() {
    let folder = Folder::new();
    for (text, told) in [
        ("[rollup]\nwindow = 'soon'\n", "line 2"),
        ("[[exclude]]\nfile = 'x'\n", "unknown field `file`"),
        ("[[exclude]]\nexe = 'a/b'\n", "a path begins with /"),
        ("[[rollup.line]]\nargv_regex = '('\n", "is no pattern"),
        ("[[origin.ide]]\nname = 'x'\nexe = ['[']\n", "is no pattern"),
    ] {
        let path = folder.file("exectrace.toml", text);
        for words in [&["config"][..], &["trace", "--pid-ns", NOWHERE, "--config"]] {
            let ended = Ended::of(exectrace(words).arg(&path));
            assert_eq!(ended.code, Some(2), "{text}: {ended:?}");
            assert!(ended.stderr.contains(told), "{text}: {ended:?}");
        }
    }
    let ended = Ended::of(&mut exectrace(["config", "/nowhere"]));
    assert!(ended.code == Some(2) && ended.stderr.contains("/nowhere cannot be used"), "{ended:?}");
}

#[test]
fn root_rules_come_from_the_file_and_from_flags() {
    let folder = Folder::new();
    let path = folder.file("exectrace.toml", "[[exclude]]\nexe = '/usr/bin/true'\n");
    let path = path.to_str().expect("a path in UTF-8");
    let stopped = traced(&["--config", path, "--exclude", "argv='env y=*'"], "/bin/true x; env y=1; env z=1");
    let log = stopped.log();
    assert_eq!(cmdlines(&log), ["env 'z=1'"]);
    let rules = json!([{ "rule": "exe=/usr/bin/true", "execs": 1 }, { "rule": "argv='env y=*'", "execs": 1 }]);
    assert_eq!(ledger(&log)["rules"], rules);
}
