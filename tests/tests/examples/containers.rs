//! What the example's collector says of containers, beside what LXC's own tools say.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use stocktake_core::model::{Container, ContainerState, Coverage, MissingReason, ScopeId};
use stocktake_tests::{
    agent::{self, Agent, Run},
    bed,
    cleanup::Cleanup,
    needs, tools, wait_until,
};

use crate::lxc::{Containers, config, example, tool};

const JSON: [&str; 2] = ["--format", "json"];

fn states(run: &Run) -> Vec<(String, ContainerState)> {
    let report = run.report();
    let containers = &report.scope("lxc", &ScopeId::host()).containers;
    containers.iter().map(|container| (container.name.to_string(), container.state)).collect()
}

fn are(states: &[(&str, ContainerState)]) -> Vec<(String, ContainerState)> {
    states.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect()
}

#[test]
fn containers_are_what_lxc_says() {
    needs!("lxc");
    let report = example("collect", &config(bed::LXC), &JSON).run().exits(0).report();
    let source = report.source("lxc");
    let runtime = source.runtime.as_ref().unwrap();
    assert_eq!((source.kind.as_str(), runtime.name.as_str()), ("lxc", "lxc"));
    assert_eq!(runtime.version, tools::output(Command::new("/usr/bin/lxc-start").arg("--version")).trim());
    assert_eq!(report.coverage("lxc", &ScopeId::host()), &Coverage::Complete);

    let containers = &report.scope("lxc", &ScopeId::host()).containers;
    for (option, state) in [
        ("--running", ContainerState::Running),
        ("--frozen", ContainerState::Paused),
        ("--stopped", ContainerState::Stopped),
    ] {
        let listed = tools::output(&mut tool("lxc-ls", bed::LXC, &["-1", option]));
        // A frozen container counts as running too.
        let frozen = tools::output(&mut tool("lxc-ls", bed::LXC, &["-1", "--frozen"]));
        let expected: Vec<&str> = listed
            .lines()
            .filter(|name| option != "--running" || !frozen.lines().any(|other| other == *name))
            .collect();
        let seen = containers.iter().filter(|container| container.state == state);
        assert_eq!(seen.map(|container| container.name.as_str()).collect::<Vec<_>>(), expected, "{option}");
        assert_eq!(expected.len(), 1, "{option}: {listed}");
    }
    for container in containers {
        assert_eq!(container.id.as_ref(), Some(&container.name));
        assert_eq!(container.image_missing, Some(MissingReason::NotRecorded));
        assert_eq!(container.started_at.is_some(), container.state != ContainerState::Stopped, "{container:?}");
        if container.started_at.is_some() {
            is_as_old_as_its_init(container);
        }
    }
}

/// `ps` tells when a process was started, to the second.
fn is_as_old_as_its_init(container: &Container) {
    let init = tools::output(&mut tool("lxc-info", bed::LXC, &["-n", &container.name, "-pH"]));
    let started = tools::output(Command::new("ps").env("TZ", "UTC").args(["-o", "lstart=", "-p", init.trim()]));
    let seconds = tools::output(Command::new("date").args(["--utc", "+%s", "--date", started.trim()]));
    let difference = container.started_at.unwrap().as_second() - seconds.trim().parse::<i64>().unwrap();
    assert!((-2..=1).contains(&difference), "{container:?} was started {started}");
}

#[test]
fn what_does_not_run_is_left_out_unless_it_is_asked_for() {
    needs!("lxc");
    let config = format!("[collectors.lxc]\nlxcpath = '{}'\n", bed::LXC);
    let run = example("collect", &config, &JSON).run().exits(0);
    let expected = [("bed-lxc-frozen", ContainerState::Paused), ("bed-lxc-running", ContainerState::Running)];
    assert_eq!(states(&run), are(&expected));
}

#[test]
fn what_happens_to_a_container_is_told() {
    needs!("lxc");
    let containers = Containers::new(&["web"]);
    let is = |state| {
        let run = example("collect", &containers.config(), &JSON).run().exits(0);
        assert_eq!(states(&run), are(&[("web", state)]));
    };
    is(ContainerState::Stopped);
    let _ = containers.run("start", "web");
    is(ContainerState::Running);
    let _ = containers.run("freeze", "web");
    is(ContainerState::Paused);
    let _ = containers.run("unfreeze", "web");
    is(ContainerState::Running);
    containers.kill("web");
    is(ContainerState::Stopped);
    let _ = containers.run("destroy", "web");
    let run = example("collect", &containers.config(), &JSON).run().exits(0);
    assert_eq!(states(&run), [], "it is gone, and the list of what is left is complete");
}

#[test]
fn a_running_container_that_lxc_leaves_out_is_unknown_and_not_gone() {
    needs!("lxc");
    let containers = Containers::new(&["broken", "web"]);
    let _ = (containers.run("start", "broken"), containers.run("start", "web"));
    let file = containers.path().join("broken/config");
    let good = fs::read_to_string(&file).unwrap();
    let _mend = Cleanup::new(|| fs::write(&file, &good).unwrap());
    fs::write(&file, format!("lxc.nonsense = 1\n{good}")).unwrap();
    let listed = tools::output(&mut tool("lxc-ls", containers.path(), &["-1"]));
    assert_eq!(listed, "web\n", "lxc-ls leaves it out and succeeds");

    // A folder without a configuration is no container, nor is a file.
    fs::create_dir(containers.path().join("lost+found")).unwrap();
    fs::write(containers.path().join("notes"), "").unwrap();

    let run = example("collect", &containers.config(), &JSON).run().exits(1);
    assert_eq!(states(&run), are(&[("broken", ContainerState::Unknown), ("web", ContainerState::Running)]));
    let report = run.report();
    let Coverage::Partial { reason } = report.coverage("lxc", &ScopeId::host()) else { panic!("{run}") };
    assert!(reason.contains("no state of broken:") && reason.contains("lxc-info"), "{reason}");
}

#[test]
fn nothing_is_left_behind_when_lxc_hangs() {
    needs!("lxc");
    let containers = Containers::new(&["web"]);
    let _ = containers.run("start", "web");
    let monitor = containers.monitor("web");
    let signal = |signal: &str| tools::output(Command::new("kill").args([signal, &monitor]));
    let _go_on = Cleanup::new(|| drop(signal("-CONT")));
    let _ = signal("-STOP");

    let config = format!("{}timeout = '1s'\n", containers.config());
    let run = example("collect", &config, &JSON).run().exits(1);
    let report = run.report();
    let Coverage::Failed { reason } = &report.source("lxc").coverage else { panic!("{run}") };
    assert!(reason.contains("no complete answer within 1s"), "{reason}");
    assert_eq!(report.source("lxc").scopes, [], "nothing was seen, and nothing passes for seen");
    wait_until("lxc-ls to end with the agent", || askers(&containers).is_empty());
}

/// Command lines of the processes that ask LXC about these containers.
fn askers(containers: &Containers) -> Vec<String> {
    let path = containers.path().to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.starts_with("lxc-ls") && line.contains(path)).collect()
}

#[test]
fn a_folder_that_is_not_there_is_not_an_empty_one() {
    needs!("lxc");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in ["/nonexistent/lxc", file.to_str().unwrap()] {
        let listed = tools::output(&mut tool("lxc-ls", path, &[]));
        assert_eq!(listed, "", "lxc-ls takes it for an empty one");
        let run = example("collect", &config(path), &JSON).run().exits(69);
        let report = run.report();
        let Coverage::Failed { reason } = &report.source("lxc").coverage else { panic!("{run}") };
        assert!(reason.contains(&format!("cannot list {path}")) && reason.contains("lxc-config"), "{reason}");
        let check = example("check", &config(path), &[]).run().exits(69);
        assert!(check.stdout.lines().any(|line| line.starts_with("failed  lxc ")), "{check}");
    }
    let empty = tempfile::tempdir().unwrap();
    let run = example("collect", &config(empty.path().to_str().unwrap()), &JSON).run().exits(0);
    assert_eq!(states(&run), []);
}

#[test]
fn without_lxc_it_is_said_what_to_install() {
    needs!("lxc");
    let run = example("collect", &config(bed::LXC), &JSON).env("PATH", "/nonexistent").run().exits(69);
    let report = run.report();
    let Coverage::Failed { reason } = &report.source("lxc").coverage else { panic!("{run}") };
    assert!(reason.contains("cannot run lxc-ls, install"), "{reason}");
}

#[test]
fn a_user_who_may_not_see_is_denied_or_told_what_is_not_known() {
    needs!("lxc");
    let containers = Containers::new(&["web"]);
    let _ = containers.run("start", "web");
    let open = |mode| fs::set_permissions(containers.path(), fs::Permissions::from_mode(mode)).unwrap();

    open(0o700);
    let run = as_nobody(&containers.config()).exits(1);
    let report = run.report();
    let Coverage::Denied { reason } = &report.source("lxc").coverage else { panic!("{run}") };
    assert!(reason.contains("run as the user whose containers they are"), "{reason}");
    assert_eq!(report.source("lxc").scopes, []);

    // The folder may be read, and the monitors do not answer to a stranger.
    open(0o755);
    let run = as_nobody(&containers.config()).exits(1);
    assert_eq!(states(&run), are(&[("web", ContainerState::Unknown)]));
    assert_eq!(run.report().coverage("lxc", &ScopeId::host()).status(), "partial");
}

/// The agent as a user without any rights, with a home for LXC's lock files.
fn as_nobody(config: &str) -> Run {
    let home = tempfile::tempdir().unwrap();
    let copy = home.path().join("agent");
    // By another process: what this one has open for writing, a child that another test starts may have too, and then
    // it cannot be executed.
    let _ = tools::output(Command::new("cp").arg(agent::example_lxc()).arg(&copy));
    let file = home.path().join("agent.toml");
    fs::write(&file, config).unwrap();
    let _ = tools::output(Command::new("chown").args(["-R", "65534:65534"]).arg(home.path()));
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]).arg(copy);
    command.args(["collect", "--format", "json", "--config"]).arg(file);
    Agent::through(command).env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path()).run()
}
