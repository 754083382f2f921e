//! How collectors and targets are, and whether the agent is ready and alive.

use std::path::Path;

use jiff::Timestamp;

use super::{configure, denied, failed, good, look, partial, seconds, status, telemetry, timed_out};
use crate::{
    deliver::{Failure, Sent},
    follow::Standing,
    spool::Backlog,
    telemetry::{
        CollectorState::{Denied, Failed, Hangs, Ok, Partial, Waiting},
        status::TargetState,
    },
};
use stocktake_core::model::Coverage;

#[test]
fn what_was_not_looked_at_yet_is_not_ready() {
    let (telemetry, now) = telemetry(&["a"], &[]);
    let found = status(&telemetry, now);
    assert!(!found.ready);
    assert_eq!(found.collectors[0].state, Waiting);
    assert_eq!(found.reasons, ["collector a: waiting: it has not been looked at yet"]);
    assert_eq!((found.collectors[0].looked_at, found.collectors[0].complete_at), (None, None));
}

#[test]
fn what_was_seen_is_ready() {
    let (telemetry, now) = telemetry(&["a"], &[]);
    telemetry.looked_at(&good("a"), now);
    let found = status(&telemetry, now.after(seconds(12)));
    assert!(found.ready, "{:?}", found.reasons);
    assert_eq!(found.remarks, [""; 0]);
    let collector = &found.collectors[0];
    assert_eq!((collector.state, collector.complete_at, collector.looked_at), (Ok, Some(now.at), Some(now.at)));
    assert_eq!(collector.runtime.as_deref(), Some("docker 27.1, host web-1"));
    assert_eq!((collector.counts.containers, collector.scopes["complete"]), (3, 1));
    assert_eq!((collector.took_seconds, &*collector.warnings), (Some(0.031), &["it is old".to_owned()][..]));
}

/// It is there to take over: a rollout that waits for it has to end.
#[test]
fn who_stands_by_is_ready_and_who_cannot_tell_is_not() {
    let (telemetry, now) = telemetry(&[], &[]);
    telemetry.lease("inventory/agent", Some("web-1"), None);
    let found = status(&telemetry, now);
    assert!(found.ready, "{:?}", found.reasons);
    assert_eq!(found.remarks, ["stands by: the lease inventory/agent is that of web-1, who reports"]);
    telemetry.lease("inventory/agent", None, Some("no route to host"));
    let found = status(&telemetry, now);
    assert!(!found.ready && found.reasons[0].contains("no route to host"), "{:?}", found.reasons);
}

/// Each with what makes it so, whether it is ready, and what is said of it.
#[test]
fn a_look_makes_a_collector_what_it_is() {
    let all = Coverage::Complete;
    for (update, state, told) in [
        (good("a"), Ok, ""),
        (look("a", all.clone(), &[]), Ok, ""),
        (
            look("a", all.clone(), &[all.clone(), denied("403")]),
            Partial,
            "1 of 2 scopes are seen as a whole; namespace n1: 403",
        ),
        (look("a", partial("a page is torn"), std::slice::from_ref(&all)), Partial, "a page is torn"),
        (look("a", failed("nobody home"), &[]), Failed, "nobody home"),
        (look("a", denied("no"), &[]), Denied, "no"),
        (look("a", all.clone(), &[failed("torn"), failed("torn too")]), Failed, "namespace n0: torn"),
        (look("a", all.clone(), &[denied("no")]), Denied, "namespace n0: no"),
        (timed_out("a"), Hangs, "no complete answer within 30s"),
    ] {
        let (telemetry, now) = telemetry(&["a"], &[]);
        telemetry.looked_at(&update, now);
        let found = status(&telemetry, now);
        assert_eq!(found.collectors[0].state, state, "{update:?}");
        assert_eq!(found.ready, matches!(state, Ok | Partial), "{update:?}");
        let said = if found.ready { &found.remarks } else { &found.reasons };
        match said.first() {
            Some(line) => {
                assert!(line.starts_with(&format!("collector a: {}", state.as_str())) && line.contains(told), "{line}");
            }
            None => assert_eq!(state, Ok, "{update:?}"),
        }
    }
}

/// A look that times out after it has seen a part is not taken for a part.
#[test]
fn one_that_hangs_half_way_hangs() {
    let (telemetry, now) = telemetry(&["a"], &[]);
    let mut update = look("a", partial("no complete answer within 30s"), &[Coverage::Complete]);
    update.look.timed_out = true;
    telemetry.looked_at(&update, now);
    assert_eq!(status(&telemetry, now).collectors[0].state, Hangs);
}

#[test]
fn silence_is_hanging_too() {
    let (telemetry, now) = telemetry(&["a"], &[]);
    let of = |after| status(&telemetry, now.after(seconds(after))).collectors.remove(0);
    assert_eq!((of(60).state, of(70).state), (Waiting, Waiting));
    let hung = of(100);
    assert_eq!(hung.state, Hangs);
    assert!(hung.reason.unwrap().starts_with("no look at it has ended for 1"), "what it waits for");
    assert!(hung.failing_since.is_some());

    telemetry.looked_at(&good("a"), now.after(seconds(100)));
    assert_eq!((of(100).state, of(200).state), (Ok, Ok));
    let hung = of(206);
    assert_eq!(hung.state, Hangs);
    assert_eq!(hung.reason.as_deref(), Some("no look at it has ended for 106s, and one was due 1s ago"));
    assert_eq!(hung.failing_since, Some(now.after(seconds(100)).at), "since it was heard of last");
    assert_eq!(hung.complete_at, Some(now.after(seconds(100)).at));
    assert!(!status(&telemetry, now.after(seconds(206))).ready);
}

#[test]
fn since_when_it_fails_and_when_it_was_well() {
    let (telemetry, now) = telemetry(&["a"], &[]);
    let at = |number| now.after(seconds(number));
    telemetry.looked_at(&good("a"), at(0));
    telemetry.looked_at(&look("a", failed("gone"), &[]), at(10));
    telemetry.looked_at(&timed_out("a"), at(20));
    let found = status(&telemetry, at(130));
    let collector = &found.collectors[0];
    assert_eq!((collector.failing_since, collector.complete_at), (Some(at(10).at), Some(at(0).at)));
    assert_eq!(
        found.reasons,
        ["collector a: hangs since 2m: no look at it has ended for 110s, and one was due 5s ago"]
    );
    telemetry.looked_at(&good("a"), at(140));
    assert_eq!(status(&telemetry, at(140)).collectors[0].failing_since, None);
}

#[test]
fn what_tells_what_changes_is_known_now() {
    let (telemetry, now) = telemetry(&["a"], &[]);
    telemetry.looked_at(&good("a"), now);
    let standing = Standing::default();
    telemetry.following(standing.clone());
    let later = now.after(seconds(40));
    assert_eq!(status(&telemetry, later).collectors[0].complete_at, Some(now.at));
    standing.set("a", true);
    let found = status(&telemetry, later).collectors.remove(0);
    assert_eq!((found.is_watched, found.complete_at), (true, Some(later.at)));
}

#[test]
fn another_configuration_forgets_what_it_does_not_name() {
    let (telemetry, now) = telemetry(&["a", "b"], &["x", "y"]);
    telemetry.looked_at(&good("a"), now);
    telemetry.looked_at(&good("b"), now);
    telemetry.delivered("x", 1, &Sent::default(), seconds(1));
    configure(&telemetry, &["b", "c"], &["x"]);
    let found = status(&telemetry, now);
    let states: Vec<_> = found.collectors.iter().map(|it| (it.name.as_str(), it.state)).collect();
    assert_eq!(states, [("b", Ok), ("c", Waiting)]);
    assert_eq!(
        found.targets.iter().map(|it| (it.name.as_str(), it.state)).collect::<Vec<_>>(),
        [("x", TargetState::Ok)]
    );
    // What is late of one that is followed anew is late from then on.
    assert_eq!(status(&telemetry, now.after(seconds(100))).collectors[0].state, Hangs);
    // Who speaks of what is not there any more is not listened to.
    telemetry.looked_at(&good("a"), now);
    telemetry.dropped("y", 1, "size");
    assert_eq!(status(&telemetry, now).collectors.len(), 2);
}

fn later(message: &str) -> Failure {
    Failure::Later { after: None, status: "503".into(), message: message.into() }
}

#[test]
fn a_target_that_takes_nothing_is_a_remark() {
    let (telemetry, now) = telemetry(&["a"], &["x"]);
    telemetry.looked_at(&good("a"), now);
    assert_eq!(status(&telemetry, now).targets[0].state, TargetState::Waiting);
    let backlog = Backlog { reports: 12, bytes: 5000, oldest: Some(now.at) };
    telemetry.backlog("x", backlog);
    let again = Timestamp::now() + seconds(30);
    telemetry.not_delivered("x", 7, &later("it is \u{1b}[31mtired"), seconds(1), Some(again));
    let found = status(&telemetry, now);
    assert!(found.ready);
    let remark = &found.remarks[0];
    assert!(remark.starts_with("target x: takes nothing since 0s, 12 reports wait, next attempt in "), "{remark}");
    assert!(remark.ends_with("it is \u{fffd}[31mtired"), "{remark}");
    let target = &found.targets[0];
    assert_eq!((target.state, target.queue.reports), (TargetState::Failing, 12));
    let failure = target.failure.as_ref().unwrap();
    assert_eq!((failure.status.as_str(), failure.next_attempt_at), ("503", Some(again)));

    telemetry.delivered("x", 7, &Sent { bytes: 10, requests: 2 }, seconds(1));
    telemetry.backlog("x", Backlog::default());
    let found = status(&telemetry, now);
    assert_eq!((found.targets[0].state, &*found.remarks), (TargetState::Ok, &[][..]));
    assert_eq!((found.targets[0].delivered.as_ref().unwrap().sequence, found.targets[0].sent_bytes), (7, 10));
    assert!(found.targets[0].failure.is_some(), "it is the latest, be it over");
}

#[test]
fn what_is_lost_and_refused_is_told() {
    let (telemetry, now) = telemetry(&["a"], &["x"]);
    telemetry.looked_at(&good("a"), now);
    telemetry.dropped("x", 3, "size");
    telemetry.dropped("x", 2, "size");
    let refused = Failure::Refused { status: "400".into(), message: "no such field".into() };
    telemetry.not_delivered("x", 1, &refused, seconds(1), None);
    let found = status(&telemetry, now);
    assert!(found.ready);
    assert!(found.remarks.contains(&"target x: 5 reports were dropped: size".to_owned()), "{:?}", found.remarks);
    assert!(found.targets[0].failure.as_ref().unwrap().is_refusal);
}

/// Targets take the words from what others answer.
#[test]
fn the_words_for_failures_are_few() {
    let (telemetry, now) = telemetry(&[], &["x"]);
    let fails = |status: &str| {
        let failure = Failure::Later { after: None, status: status.into(), message: String::new() };
        telemetry.not_delivered("x", 1, &failure, seconds(1), None);
    };
    fails("it says: no");
    fails("");
    for status in 400..500 {
        fails(&status.to_string());
        fails(&status.to_string());
    }
    let deliveries = status(&telemetry, now).targets.remove(0).deliveries;
    assert!(deliveries.len() <= 33, "{deliveries:?}");
    assert_eq!((deliveries["400"], deliveries.values().sum::<u64>()), (2, 202));
}

#[test]
fn a_spool_that_cannot_be_written_is_not_ready() {
    let (telemetry, now) = telemetry(&["a"], &[]);
    telemetry.looked_at(&good("a"), now);
    telemetry.spool_failed(Some("no space left on device"));
    let found = status(&telemetry, now);
    assert_eq!(found.reasons, ["spool: cannot be written since 0s: no space left on device"]);
    telemetry.spool_failed(None);
    assert!(status(&telemetry, now).ready);
}

#[test]
fn a_configuration_that_is_not_valid_is_a_remark_until_one_is() {
    let (telemetry, now) = telemetry(&["a"], &[]);
    telemetry.looked_at(&good("a"), now);
    telemetry.configuration_read(Path::new("/etc/agent.toml"));
    telemetry.configuration_refused("agent.toml:3: no such key");
    let found = status(&telemetry, now);
    assert!(found.ready && found.remarks[0].contains("agent.toml:3: no such key"), "{:?}", found.remarks);
    telemetry.configuration_read(Path::new("/etc/agent.toml"));
    let found = status(&telemetry, now);
    assert_eq!((found.configuration.error, found.configuration.file.as_deref()), (None, Some("/etc/agent.toml")));
}

#[test]
fn what_reports_is_dead_when_it_does_nothing_for_long() {
    let (telemetry, now) = telemetry(&["a"], &[]);
    let is_alive = |after| telemetry.state().is_alive(now.after(seconds(after)));
    assert!(is_alive(0) && is_alive(600));
    // Ten times the minute within which it reports, and what the collector may take.
    assert!(!is_alive(700));
    assert!(!status(&telemetry, now.after(seconds(700))).alive);
    telemetry.looked_at(&good("a"), now.after(seconds(650)));
    assert!(is_alive(700));
    assert!(super::Telemetry::default().is_alive(), "before there is a configuration");
}

#[test]
fn a_document_of_a_later_version_is_read() {
    let (telemetry, now) = telemetry(&["a"], &["x"]);
    telemetry.looked_at(&good("a"), now);
    let written = serde_json::to_value(status(&telemetry, now)).unwrap();
    assert_eq!(serde_json::from_value::<super::Status>(written.clone()).unwrap(), status(&telemetry, now));
    let mut later = written;
    later["collectors"][0]["state"] = "dreams".into();
    later["collectors"][0]["mood"] = 5.into();
    later["targets"][0]["state"] = "dreams".into();
    later["weather"] = "fine".into();
    let read: super::Status = serde_json::from_value(later).unwrap();
    assert_eq!((read.collectors[0].state.as_str(), read.targets[0].state.as_str()), ("other", "other"));
}
