//! Daemons that do what a healthy one cannot be made to do. Whatever they do, nothing that was not seen passes for
//! empty, and the other sources are reported as if nothing had happened.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's helpers are tests"
)]

mod broken_lines;
mod containerd;
mod docker;
mod permissions;

use stocktake_core::model::{Coverage, ScopeId};
use stocktake_tests::{
    agent::{Agent, Run},
    bed,
};

/// Beside the address of a daemon that hangs. All others have so long that none which answers passes for one that hangs,
/// however busy the machine is.
const HANGS: &str = "timeout = '2s'";

/// A look at a daemon with a fault and, beside it, at a sound one.
fn collect_beside_a_sound_one(kind: &str, address: &str) -> Run {
    let config = format!(
        "[agent]\ntimeout = '30s'\n[collectors.faulty]\ntype = '{kind}'\n{address}\nstates = ['all']\n\
         [collectors.sound]\ntype = 'docker'\nhost = 'unix://{}'\n",
        bed::DOCKER
    );
    Agent::collect(&config, &["--format", "json"]).run()
}

/// The sound source is complete, the faulty one is not, in none of its scopes, and says `told`.
#[track_caller]
fn assert_only_the_faulty_one_failed(run: &Run, told: &str) {
    assert_eq!(run.code, Some(1), "{run}");
    let report = run.report();
    assert!(report.coverage("sound", &ScopeId::host()).is_complete(), "{run}");
    assert_eq!(report.containers("sound"), 10, "{run}");
    let faulty = report.source("faulty");
    assert!(matches!(faulty.coverage, Coverage::Failed { .. } | Coverage::Denied { .. }), "{faulty:?}");
    let reason = faulty.coverage.reason().unwrap();
    assert!(reason.contains(told), "{reason:?} does not say {told:?}");
    assert!(!reason.contains('\n'), "{reason:?} is more than a line");
    let complete = faulty.scopes.iter().find(|entry| entry.coverage.is_complete());
    assert_eq!(complete, None, "a scope that was not seen");
}
