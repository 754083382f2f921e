//! A Rust collector beside itself as a program.

use stocktake_core::model::{Coverage, ScopeId};
use stocktake_tests::{
    agent::{Agent, Run},
    bed, needs,
};

const DOCKER_PROGRAM: &str = env!("CARGO_BIN_EXE_docker-program");

fn collect(settings: &str) -> Run {
    let config =
        format!("[collectors.outside]\ntype = 'exec'\ncommand = ['{DOCKER_PROGRAM}']\nsettings = {settings}\n");
    Agent::collect(&config, &["--format", "json"]).run()
}

#[test]
fn a_program_sees_what_the_collector_that_it_is_made_of_sees() {
    needs!("docker", "docker-next", "podman");
    for socket in [bed::DOCKER, bed::DOCKER_NEXT, bed::PODMAN] {
        for states in ["['all']", "['exited']"] {
            let config = format!(
                "[collectors.inside]\ntype = 'docker'\nhost = 'unix://{socket}'\nstates = {states}\n\
                 [collectors.outside]\ntype = 'exec'\ncommand = ['{DOCKER_PROGRAM}']\n\
                 settings = {{ host = 'unix://{socket}', states = {states} }}\n"
            );
            let run = Agent::collect(&config, &["--format", "json"]).run().exits(0);
            let report = run.report();
            let [inside, outside] = ["inside", "outside"].map(|name| report.source(name));
            assert!(inside.is_complete() && report.containers("inside") > 0, "{socket} {states}: {run}");
            // Digests included.
            assert_eq!(outside.scopes, inside.scopes, "{socket} {states}");
            assert_eq!((&outside.coverage, outside.shown), (&inside.coverage, inside.shown));
            assert_eq!((&outside.runtime, &outside.host), (&inside.runtime, &inside.host));
        }
    }
}

#[test]
fn a_daemon_that_is_not_there_is_as_absent_as_without_a_program() {
    let run = collect("{ host = 'unix:///nonexistent/docker.sock' }").exits(69);
    let report = run.report();
    let source = report.source("outside");
    let Coverage::Failed { reason } = &source.coverage else { panic!("{source:?}") };
    assert!(reason.contains("(exit code 69)") && reason.contains("start the daemon or set `host`"), "{reason}");
    assert_eq!(source.scopes, []);
}

#[test]
fn settings_that_the_collector_refuses_are_said_in_its_words() {
    let run = collect("{ hots = 'unix:///x' }").exits(1);
    let report = run.report();
    let reason = report.source("outside").coverage.reason().unwrap();
    assert!(reason.contains("(exit code 78)") && reason.contains("did you mean `host`?"), "{reason}");
    assert!(report.find_entry("outside", &ScopeId::host()).is_none());
}
