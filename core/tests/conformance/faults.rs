//! Each fault of the model, with the rule that it breaks.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::json;
use stocktake_core::conformance::{Outcome, Subject};

use crate::{
    check, check_alone,
    model::{Fault, Settings},
    subject,
};

const FAULTS: [(&str, &str); 50] = [
    ("asks_when_built", "C-06"),
    ("blocks_when_built", "C-06"),
    ("no_version", "C-07"),
    ("no_location", "C-07"),
    ("new_name_per_probe", "C-08"),
    ("never_complete", "C-09"),
    ("errs_after_the_scopes", "C-09"),
    ("scope_twice", "C-10"),
    ("scope_without_name", "C-10"),
    ("same_id_twice", "C-11"),
    ("empty_id", "C-11"),
    ("same_pod_twice", "C-11"),
    ("pod_of_another_scope", "C-12"),
    ("neither_image_nor_reason", "C-13"),
    ("image_and_reason", "C-13"),
    ("config_as_manifest", "C-14"),
    ("config_as_repo_digest", "C-14"),
    ("unused_image", "C-15"),
    ("node", "C-16"),
    ("other_state", "C-17"),
    ("other_reason", "C-17"),
    ("environment_as_labels", "C-18"),
    ("environment_in_warning", "C-18"),
    ("age", "C-19"),
    ("remembers_what_it_reported", "C-19"),
    ("ignores_selection", "C-20"),
    ("empties_selected", "C-20"),
    ("ignores_absent_scope", "C-21"),
    ("one_at_a_time", "C-22"),
    ("locks_for_ever", "C-23"),
    ("loses_content_when_dropped", "C-23"),
    ("blocks_its_thread", "C-25"),
    ("probe_blames_protocol", "C-26"),
    ("down_is_empty", "C-27"),
    ("down_is_no_scopes", "C-27"),
    ("down_is_denied", "C-27"),
    ("hung_is_empty", "C-28"),
    ("death_is_the_end", "C-29"),
    ("death_is_patience", "C-29"),
    ("never_reconnects", "C-30"),
    ("leaves_tasks", "C-24"),
    ("subscribes_unasked", "C-31"),
    ("stays_subscribed", "C-31"),
    ("never_stands", "C-32"),
    ("begins_with_scopes", "C-32"),
    ("refuses_to_tell", "C-32"),
    ("hears_no_end", "C-33"),
    ("ends_without_error", "C-33"),
    ("never_subscribes_again", "C-33"),
    ("panics_at_the_end", "C-33"),
];

/// Break `C-24` for the whole process.
const MESSES: [&str; 3] = ["leaves_files", "leaves_threads", "leaves_processes"];

/// Suites at the same time; they mostly wait.
const LANES: usize = 16;

#[test]
fn each_fault_breaks_its_rule_and_no_other() {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some((fault, rule)) = FAULTS.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let verdict = verdict(fault, rule, check);
                    wrong.lock().unwrap().extend(verdict);
                }
            });
        }
    });
    wrong.lock().unwrap().extend(MESSES.iter().filter_map(|fault| verdict(fault, "C-24", check_alone)));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the suite said of a fault, if not what it should have.
fn verdict(fault: &str, rule: &str, check: fn(Subject) -> Outcome) -> Option<String> {
    let _: Fault = serde_json::from_value(json!(fault)).unwrap();
    let mut subject = subject::<Settings>(fault, Some(fault));
    if rule == "C-24" {
        // Which is found without one.
        subject.daemon = None;
    }
    let outcome = check(subject);
    (outcome.failed() != [rule]).then(|| format!("{fault} breaks {rule}, and the suite says:\n{outcome}"))
}
