//! What leaves the host: labels, annotations, images and containers that settings leave out, what is never reported, and
//! what is too long to be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod containers;
mod explained;
mod limits;
mod metadata;

use serde_json::Value;
use stocktake_tests::{
    agent::{Agent, Run},
    bed,
};

/// One look at Docker 28.5 and the containerd that it stands on.
fn collect_docker_and_containerd(filters: &str) -> Run {
    let config = format!(
        "[filters]\n{filters}\n[collectors.docker]\nhost = 'unix://{}'\nstates = ['all']\n\
         [collectors.containerd]\naddress = '{}'\nnamespaces = ['moby']\nstates = ['all']\n",
        bed::DOCKER_NEXT,
        bed::CONTAINERD_NEXT,
    );
    Agent::collect(&config, &["--format", "json", "--explain", "--log-format", "json"]).run().exits(0)
}

/// The fields of the line in which `--explain` says what a rule took out of what a collector saw.
#[track_caller]
fn explained(run: &Run, collector: &str, rule: &str) -> Value {
    let lines = run.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut fields = lines.map(|line| line["fields"].clone());
    let is_asked =
        |fields: &Value| fields["collector"] == collector && fields["rule"].as_str().unwrap().starts_with(rule);
    fields.find(is_asked).unwrap_or_else(|| panic!("`{rule}` of {collector} is not explained\n{run}"))
}
