//! The suite is tried on collectors that each break one rule, and has to find that one and no other.

#![allow(clippy::unwrap_used, reason = "a test's helpers are tests")]

mod changes;
mod faults;
mod model;
mod plugins;

use std::{fs, sync::RwLock, time::Duration};

use serde_json::json;
use stocktake_core::conformance::{self, Outcome, RULES, Subject};

use crate::model::{Model, ModelSettings, Runtime, SECRET, Settings};

/// A model with everything that the suite can make use of. `name` is the runtime's, and has to be the test's own.
fn subject<S: ModelSettings>(name: &str, fault: Option<&str>) -> Subject {
    let daemon = Runtime::new(name);
    Subject {
        deadline: Duration::from_secs(2),
        daemon: Some(daemon),
        secret: Some(SECRET.to_owned()),
        ..Subject::new::<Model<S>>(json!({ "runtime": name, "fault": fault }))
    }
}

/// Collectors that leave things behind are seen by every suite in the process, so that these go by themselves.
static TIDY: RwLock<()> = RwLock::new(());

fn check(subject: Subject) -> Outcome {
    let _tidy = TIDY.read().unwrap();
    conformance::check(subject)
}

fn check_alone(subject: Subject) -> Outcome {
    let _tidy = TIDY.write().unwrap();
    conformance::check(subject)
}

#[track_caller]
fn assert_fails_only(rule: &str, outcome: &Outcome) {
    assert_eq!(outcome.failed(), [rule], "{outcome}");
}

#[test]
fn a_right_collector_passes_every_rule() {
    let outcome = check(subject::<Settings>("right", None));
    assert!(outcome.conforms(), "{outcome}");
    assert_eq!(outcome.not_checked(), [""; 0], "{outcome}");
}

#[test]
fn what_cannot_be_tried_is_said() {
    let outcome = check(Subject { daemon: None, secret: None, ..subject::<Settings>("bare", None) });
    assert!(outcome.conforms(), "{outcome}");
    let untried = ["C-06", "C-18", "C-25", "C-26", "C-27", "C-28", "C-29", "C-30", "C-33"];
    assert_eq!(outcome.not_checked(), untried, "{outcome}");
    assert!(outcome.to_string().contains("no daemon that it may stop"), "{outcome}");
}

/// Nothing that rests on a complete collection passes without one.
#[test]
fn without_a_runtime_nothing_is_proved() {
    let subject = subject::<Settings>("absent", None);
    subject.daemon.as_ref().unwrap().kill().unwrap();
    let outcome = check(subject);
    assert_eq!(outcome.failed(), ["C-07", "C-09"], "{outcome}");
    let passed = RULES.len() - outcome.failed().len() - outcome.not_checked().len();
    assert_eq!(passed, 5, "what a plug-in says of itself: {outcome}");
}

#[test]
fn the_specification_has_the_rules_of_the_suite() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/collector-spec.md");
    let specification = fs::read_to_string(path).unwrap();
    let written: Vec<&str> = specification.lines().filter(|line| line.starts_with("**C-")).collect();
    let expected: Vec<String> = RULES.iter().map(|rule| format!("**{}** {}", rule.number, rule.sentence)).collect();
    assert_eq!(written, expected);
}
