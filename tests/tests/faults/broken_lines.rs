//! Real daemons on a line that breaks anywhere: what is called complete is what a whole line brings.

use stocktake_core::model::{Coverage, ScopeId};
use stocktake_tests::{
    agent::{Agent, Run},
    bed, needs,
    relay::{End, Relay},
    report::Report,
};

/// In how many places the line is cut.
const CUTS: u64 = 24;

/// For a look that ends by itself, on a machine that is busy.
const PATIENT: &str = "30s";

fn collect(kind: &str, key: &str, relay: &Relay, timeout: &str) -> Run {
    let config = format!(
        "[agent]\ntimeout = '{timeout}'\n[collectors.c]\ntype = '{kind}'\nstates = ['all']\n{key}{}'\n",
        relay.socket().display()
    );
    Agent::collect(&config, &["--format", "json"]).run()
}

fn cut_everywhere(kind: &str, key: &str, target: &str, end: End, cuts: u64) {
    let whole = Relay::new(target, u64::MAX, end);
    let truth = collect(kind, key, &whole, PATIENT).exits(0).report();
    let length = whole.passed();
    let timeout = if matches!(end, End::Silence) { "2s" } else { PATIENT };
    let mut incomplete = 0;
    for number in 0..cuts {
        let limit = length * number / cuts;
        let relay = Relay::new(target, limit, end);
        let run = collect(kind, key, &relay, timeout);
        let place = format!("{kind} cut after {limit} of {length} bytes, {end:?}");
        assert!(matches!(run.code, Some(0 | 1 | 69)), "{place}: {run}");
        let report = run.report();
        assert_complete_is_true(&report, &truth, &place);
        let complete = report.source("c").is_complete();
        assert_eq!(run.code == Some(0), complete, "{place}: {run}");
        incomplete += u64::from(!complete);
    }
    // Behind the last thing that is needed there is little left to cut off.
    assert!(incomplete * 4 >= cuts * 3, "{kind}: only {incomplete} of {cuts} cuts did any harm, so this proves little");
}

fn assert_complete_is_true(report: &Report, truth: &Report, place: &str) {
    let source = report.source("c");
    for entry in source.scopes.iter().filter(|entry| entry.coverage.is_complete()) {
        let expected = truth.entry("c", &entry.id);
        assert_eq!(entry.digest, expected.digest, "{place}: {} is called complete and is not", entry.id);
    }
    // Whatever is missing from a complete list of scopes would be taken for gone.
    if source.coverage == Coverage::Complete {
        let ids =
            |report: &Report| report.source("c").scopes.iter().map(|entry| entry.id.clone()).collect::<Vec<ScopeId>>();
        assert_eq!(ids(report), ids(truth), "{place}");
    }
}

#[test]
fn docker_20_10_on_a_line_that_breaks() {
    needs!("docker");
    cut_everywhere("docker", "host = 'unix://", bed::DOCKER, End::Close, CUTS);
}

#[test]
fn docker_28_5_on_a_line_that_breaks() {
    needs!("docker-next");
    cut_everywhere("docker", "host = 'unix://", bed::DOCKER_NEXT, End::Close, CUTS);
}

#[test]
fn podman_on_a_line_that_breaks() {
    needs!("podman");
    cut_everywhere("docker", "host = 'unix://", bed::PODMAN, End::Close, CUTS);
}

#[test]
fn containerd_on_a_line_that_breaks() {
    needs!("docker-next");
    cut_everywhere("containerd", "address = '", bed::CONTAINERD_NEXT, End::Close, CUTS);
}

#[test]
fn docker_on_a_line_that_goes_dead() {
    needs!("docker");
    cut_everywhere("docker", "host = 'unix://", bed::DOCKER, End::Silence, 3);
}

#[test]
fn containerd_on_a_line_that_goes_dead() {
    needs!("docker-next");
    cut_everywhere("containerd", "address = '", bed::CONTAINERD_NEXT, End::Silence, 4);
}
