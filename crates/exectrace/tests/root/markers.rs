//! Markers in environments: which are found, and who inherits them.

use std::process::{Command, Stdio};

use exectrace::{Backup, Event, Failed, FailedHook, Item, Partial, Tracer, TracerBuilder};

use crate::support::*;

fn marked(words: &[&str], programs: &[&str]) -> TracerBuilder {
    let builder = words.iter().fold(Tracer::builder(), |builder, word| builder.env_marker(*word));
    programs.iter().fold(builder, |builder, name| builder.env_marker_of(*name))
}

/// What the target is found to have in each environment.
#[track_caller]
fn found(workspace: &mut Workspace, environments: &[&[&str]]) -> Vec<(Option<u32>, Partial)> {
    for environment in environments {
        // In this order, and with doubles; Command would sort them.
        workspace.namespace.run(Command::new("env").arg("-i").args(*environment).arg(target()));
    }
    let events = workspace.settle();
    let targets = events.iter().filter(|event| event.filename == target().as_bytes());
    let found: Vec<_> = targets.map(|event| (event.env_marker, event.partial)).collect();
    assert_eq!(found.len(), environments.len());
    found
}

fn whole<const N: usize>(markers: [Option<u32>; N]) -> Vec<(Option<u32>, Partial)> {
    markers.map(|marker| (marker, Partial::empty())).into()
}

/// Variables, each of which begins like a marker.
fn variables(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("A{number}=AGENT=1")).collect()
}

fn refs(variables: &[String]) -> Vec<&str> {
    variables.iter().map(String::as_str).collect()
}

fn markers(events: &[Event]) -> Vec<(String, Option<u32>)> {
    events.iter().map(|event| (word(event), event.env_marker)).collect()
}

#[test]
fn root_a_marker_is_found_by_its_name_or_by_its_value() {
    let mut workspace = Workspace::with(marked(&["AGENT", "MODE=deep", "AGENT=7", "EMPTY="], &["target"]));
    let environments: [&[&str]; 8] = [
        &["AGENT=1"],
        &["AGENT="],
        &["X=1", "MODE=deep"],
        &["AGENT=7"],
        &["AGENT=77"],
        &["EMPTY="],
        &[],
        &["X=AGENT=1"],
    ];
    let due = [Some(0), Some(0), Some(1), Some(2), Some(0), Some(3), None, None];
    assert_eq!(found(&mut workspace, &environments), whole(due));
}

#[test]
fn root_a_variable_that_only_begins_like_a_marker_is_none() {
    let mut workspace = Workspace::with(marked(&["AGENT", "MODE=deep"], &["target"]));
    let environments: [&[&str]; 6] =
        [&["AGENTS=1"], &["AGEN=T"], &["MODE=deeper"], &["MODE=dee"], &["MODE="], &["XAGENT=1"]];
    assert_eq!(found(&mut workspace, &environments), whole([None; 6]));
}

#[test]
fn root_of_several_markers_the_first_in_the_environment_is_found() {
    let mut workspace = Workspace::with(marked(&["A", "B", "B"], &["target"]));
    assert_eq!(found(&mut workspace, &[&["B=1", "A=1"], &["A=1", "B=1"]]), whole([Some(1), Some(0)]));
}

#[test]
fn root_markers_of_all_lengths_and_64_at_once_are_found() {
    let words: Vec<String> = (0..64).map(|number| format!("M{number}{}", "x".repeat(number.min(59)))).collect();
    let mut workspace = Workspace::with(marked(&refs(&words), &["target"]));
    let environments: Vec<String> = words.iter().map(|word| format!("{word}=1")).collect();
    let environments: Vec<[&str; 1]> = environments.iter().map(|variable| [variable.as_str()]).collect();
    let environments: Vec<&[&str]> = environments.iter().map(|variables| &variables[..]).collect();
    let due: Vec<_> = (0..64).map(|number| (Some(number), Partial::empty())).collect();
    assert_eq!(found(&mut workspace, &environments), due);
}

#[test]
fn root_all_that_descends_from_a_marked_process_has_its_marker() {
    let folder = public_folder();
    let agent = copy("/bin/sh", folder.path(), "agent");
    let mut workspace = Workspace::with(marked(&["OTHER", "AGENT=1"], &["agent", "target"]));
    // Nothing of the environment is left to those below, or another marker; each is a process of its own but for the last.
    let script = "env -i \"$1\" child; ( ( env -i OTHER=1 \"$1\" grandchild; : ); : ); exec env -i \"$1\" itself";
    let mut command = Command::new(&agent);
    command.args(["-c", script, "sh", target()]).env("AGENT", "1");
    let run = workspace.run(&mut command);
    assert_eq!(run.own.env_marker, Some(1));
    let execs = markers(&run.events);
    for name in ["child", "grandchild", "itself"] {
        assert!(execs.contains(&(name.to_owned(), Some(1))), "{name}: {execs:?}");
    }
    assert!(execs.iter().all(|(_, marker)| *marker == Some(1)), "{execs:?}");
    // Who is beside it has none.
    assert_eq!(found(&mut workspace, &[&[], &["OTHER=1"]]), whole([None, Some(0)]));
}

#[test]
fn root_what_is_left_out_hands_its_marker_down_too() {
    let folder = public_folder();
    let agent = copy("/bin/sh", folder.path(), "agent");
    let mut workspace = Workspace::with(marked(&["AGENT"], &["agent"]).rule(exact(&agent)));
    let mut command = Command::new(&agent);
    workspace.namespace.run(command.args(["-c", "env -i \"$1\" child; :", "sh", target()]).env("AGENT", "1"));
    let events = workspace.settle();
    assert!(markers(&events).contains(&("child".to_owned(), Some(0))), "{:?}", markers(&events));
}

#[test]
fn root_only_programs_that_were_named_are_looked_at() {
    let folder = public_folder();
    let fifteen = "fifteen-letters";
    let [short, whole, longer] = ["target", fifteen, "fifteen-letters-and-more"].map(|name| {
        std::fs::create_dir(folder.path().join(format!("of-{name}"))).expect("a folder");
        copy(target(), &folder.path().join(format!("of-{name}")), name)
    });
    let link = folder.path().join("fifteen");
    std::os::unix::fs::symlink(&whole, &link).expect("a link");
    let script = program(folder.path(), "script", format!("#!{whole}\n").as_bytes());
    let mut workspace = Workspace::with(marked(&["AGENT"], &[fifteen]));
    let paths = [short, whole, longer, real(folder.path()) + "/fifteen", script];
    for path in &paths {
        workspace.namespace.run(Command::new(path).env("AGENT", "1"));
    }
    let found: Vec<_> = workspace.settle().iter().map(|event| event.env_marker).collect();
    // The file that runs counts: the end of a link, the interpreter of a script.
    assert_eq!(found, [None, Some(0), None, Some(0), Some(0)]);
}

#[test]
fn root_without_markers_or_programs_there_are_none() {
    for builder in [marked(&[], &[]), marked(&["AGENT"], &[]), marked(&[], &["target"])] {
        assert_eq!(found(&mut Workspace::with(builder), &[&["AGENT=1"]]), whole([None]));
    }
}

#[test]
fn root_a_marker_behind_200_variables_is_found() {
    let mut workspace = Workspace::with(marked(&["AGENT=1"], &["target"]));
    let mut environment = variables(200);
    environment.push("AGENT=1".to_owned());
    environment.push("LAST=1".to_owned());
    assert_eq!(found(&mut workspace, &[&refs(&environment)]), whole([Some(0)]));
}

#[test]
fn root_of_more_than_256_variables_the_first_are_looked_at_and_the_event_says_so() {
    let mut workspace = Workspace::with(marked(&["AGENT=1"], &["target"]));
    let with_marker_at = |place: usize, count: usize| {
        let mut environment = variables(count);
        if place < count {
            environment[place] = "AGENT=1".to_owned();
        }
        environment
    };
    let environments = [(255, 256), (255, 257), (256, 256), (256, 257), (300, 300), (16, 1000)];
    let environments = environments.map(|(place, count)| with_marker_at(place, count));
    let environments: Vec<Vec<&str>> = environments.iter().map(|variables| refs(variables)).collect();
    let environments: Vec<&[&str]> = environments.iter().map(Vec::as_slice).collect();
    let (none, limit) = (Partial::empty(), Partial::ENV_LIMIT);
    let due = [(Some(0), none), (Some(0), none), (None, none), (None, limit), (None, limit), (Some(0), none)];
    assert_eq!(found(&mut workspace, &environments), due);
}

#[test]
fn root_a_marker_at_the_end_of_an_environment_of_1_mib_is_found() {
    let mut workspace = Workspace::with(marked(&["AGENT=1"], &["target"]));
    // The longest that the kernel takes.
    let mut environment: Vec<String> = (0..8).map(|number| format!("A{number}={}", "x".repeat(131_068))).collect();
    let without = environment.clone();
    environment.push("AGENT=1".to_owned());
    assert_eq!(found(&mut workspace, &[&refs(&environment), &refs(&without)]), whole([Some(0), None]));
}

/// Strings of about the length in which the kernel program reads them.
#[test]
fn root_a_long_variable_is_one_variable_wherever_it_is_cut() {
    let mut workspace = Workspace::with(marked(&["AGENT=1"], &["target"]));
    for len in 32_440..32_456 {
        let within = format!("A={}AGENT=1", "x".repeat(len - 2));
        let before = format!("A={}", "x".repeat(len - 2));
        let environments: [&[&str]; 3] = [&[&within], &[&before, "AGENT=1"], &[&before, "AGENT=2"]];
        assert_eq!(found(&mut workspace, &environments), whole([None, Some(0), None]), "{len}");
    }
}

#[test]
fn root_the_second_program_finds_markers_as_the_first() {
    let mut workspace = Workspace::with(marked(&["AGENT=1"], &["target"]).backup(Backup::Alone));
    assert_eq!(found(&mut workspace, &[&["AGENT=1"], &["AGENT=2"]]), whole([Some(0), None]));
}

#[test]
fn root_a_process_for_which_the_table_has_no_room_shows_its_own_marker() {
    let mut workspace = Workspace::with(marked(&["AGENT"], &["target"]).max_processes(16));
    let cats: Vec<_> = (0..60).map(|_| workspace.namespace.spawn(Command::new("cat").stdin(Stdio::piped()))).collect();
    for marker in ["AGENT", "OTHER"] {
        workspace.namespace.run(Command::new(target()).arg(marker).env_clear().env(marker, "1"));
    }
    let events = workspace.settle();
    for mut cat in cats {
        cat.stdin.take();
        assert!(wait(&mut cat).success());
    }
    let of_target: Vec<Event> = events.into_iter().filter(|event| event.filename == target().as_bytes()).collect();
    assert_eq!(markers(&of_target), [("AGENT".to_owned(), Some(0)), ("OTHER".to_owned(), None)]);
    assert!(of_target.iter().all(|event| event.partial.contains(Partial::PARENT)), "there was room: {of_target:?}");
}

#[test]
fn root_an_attempt_that_failed_has_the_marker_of_who_tried() {
    let folder = public_folder();
    let agent = copy("/bin/sh", folder.path(), "agent");
    for hook in [FailedHook::Fexit, FailedHook::Tracepoint] {
        if hook.check().is_err() {
            continue;
        }
        let mut workspace = Workspace::with(marked(&["AGENT"], &["agent"]).failed(Failed::All, hook));
        for variable in ["AGENT", "OTHER"] {
            let mut command = Command::new(&agent);
            command.args(["-c", "exec /nowhere/at/all"]).env_clear().env(variable, "1");
            wait(&mut workspace.namespace.spawn(&mut command));
        }
        let attempts = drain(&mut workspace.tracer).into_iter().filter_map(|item| match item {
            Item::Failed(failed) => Some(failed.attempt.env_marker),
            _ => None,
        });
        assert_eq!(attempts.collect::<Vec<_>>(), [Some(0), None]);
    }
}
