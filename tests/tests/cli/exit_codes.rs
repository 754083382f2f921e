//! What the exit code says.

use stocktake_core::model::Coverage;
use stocktake_tests::{agent::Agent, bed, needs};

const ABSENT: &str = "[collectors.absent]\ntype = 'docker'\nhost = 'unix:///nonexistent/docker.sock'\n";

#[test]
fn all_seen_is_0() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    let run = Agent::collect(&super::quiet_config(), &["--format", "json"]).run().exits(0);
    assert_eq!(run.stderr, "", "nothing to say to people");
    let report = run.report();
    for (collector, containers) in super::QUIET {
        assert_eq!(report.containers(collector), containers, "{collector}");
    }
    let _ = Agent::with_config("check", &super::quiet_config(), &[]).run().exits(0);
}

#[test]
fn one_runtime_that_is_not_there_is_1_and_the_others_are_printed() {
    needs!("docker");
    let config = format!("{ABSENT}[collectors.docker]\nhost = 'unix://{}'\n", bed::DOCKER);
    let run = Agent::collect(&config, &["--format", "json"]).run().exits(1);
    let report = run.report();
    assert_eq!(report.containers("docker"), 10);
    let absent = report.source("absent");
    let Coverage::Failed { reason } = &absent.coverage else { panic!("{absent:?}") };
    assert!(reason.contains("/nonexistent/docker.sock") && reason.contains("start the daemon"), "{reason}");
    assert_eq!(absent.scopes, [], "nothing was seen, and nothing passes for seen");

    let table = Agent::collect(&config, &[]).run().exits(1).stdout;
    assert!(table.lines().any(|line| line.contains("FAILED") && line.contains("/nonexistent/docker.sock")), "{table}");

    let check = Agent::with_config("check", &config, &[]).run().exits(1).stdout;
    let line = |name: &str| check.lines().find(|line| line.split_whitespace().nth(1) == Some(name)).unwrap().to_owned();
    assert!(line("docker").starts_with("ok") && line("absent").starts_with("failed"), "{check}");
}

#[test]
fn nothing_reachable_is_69() {
    let run = Agent::collect(ABSENT, &["--format", "json"]).run().exits(69);
    assert!(!run.report().source("absent").is_complete());
    let _ = Agent::with_config("check", ABSENT, &[]).run().exits(69);
}

#[test]
fn a_wrong_command_line_is_2() {
    for arguments in [
        &["collect", "--bogus"][..],
        &["colect"],
        &[],
        &["collect", "--format", "yaml"],
        &["collect", "extra"],
        &["config"],
        &["completions", "tcsh"],
    ] {
        let run = Agent::new(arguments).run().exits(2);
        assert_eq!(run.stdout, "", "{arguments:?}");
        assert!(run.stderr.contains("--help") || run.stderr.contains("Usage:"), "{arguments:?}: {run}");
    }
}

#[test]
fn a_collector_that_does_not_exist_is_2_and_told_with_the_nearest() {
    let config = "[collectors.docker]\n[collectors.containerd]\n";
    let run = Agent::collect(config, &["--collector", "dcoker"]).run().exits(2);
    assert_eq!(run.stdout, "");
    let _ = run.says("no collector is named `dcoker`; did you mean `docker`?");
    let run = Agent::collect(config, &["--collector", "zzz"]).run().exits(2);
    let _ = run.says("there is containerd, docker");
}

#[test]
fn chosen_collectors_alone_are_asked() {
    needs!("docker", "podman");
    for arguments in [&["--collector", "podman", "--collector", "docker"][..], &["--collector", "docker,podman"]] {
        let arguments = [arguments, &["--format", "json"]].concat();
        let report = Agent::collect(&super::quiet_config(), &arguments).run().exits(0).report();
        let names: Vec<&str> = report.inventory.report.sources.iter().map(|source| source.collector.as_str()).collect();
        assert_eq!(names, ["docker", "podman"]);
    }
}

#[test]
fn help_and_version_are_0_and_on_stdout() {
    for argument in ["--help", "--version", "-h", "-V"] {
        let run = Agent::new(&[argument]).run().exits(0);
        assert!(!run.stdout.is_empty() && run.stderr.is_empty(), "{argument}: {run}");
    }
    let help = Agent::new(&["--help"]).run().stdout;
    for code in ["69", "70", "78"] {
        assert!(help.contains(code), "the help does not explain exit code {code}");
    }
}
