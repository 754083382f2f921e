use std::fs;

use jiff::SignedDuration;
use stocktake_core::model::{Agent, Counts, ScopeId, Source};
use tempfile::TempDir;

use super::*;
use crate::{assemble, render::sample};

const LIMITS: Limits = Limits { size: 1 << 20, age: Duration::from_hours(1) };

fn open(folder: &TempDir, targets: &[&str]) -> Spool {
    open_with(folder, LIMITS, targets)
}

fn open_with(folder: &TempDir, limits: Limits, targets: &[&str]) -> Spool {
    let targets: Vec<String> = targets.iter().map(|name| (*name).to_owned()).collect();
    Spool::open(folder.path(), limits, &targets).unwrap()
}

/// A report of one scope with that content, which is kept.
fn keep(spool: &Spool, body: &str) -> u64 {
    keep_at(spool, body, Timestamp::now())
}

fn keep_at(spool: &Spool, body: &str, made: Timestamp) -> u64 {
    let digest = Digest::sha256(body.as_bytes());
    spool.keep_body(&digest, body.as_bytes()).unwrap();
    let entry = ScopeEntry {
        id: ScopeId::host(),
        coverage: Coverage::Complete,
        digest: Some(digest),
        counts: Counts::default(),
    };
    let source = Source { scopes: vec![entry], ..sample::source("docker") };
    let mut report = Report { created_at: made, sources: vec![source], ..assemble::report(Agent::default()) };
    spool.keep_report(&mut report).unwrap()
}

/// Takes the next report of a target, and has it acknowledged.
fn deliver(spool: &Spool, target: &str) -> Option<u64> {
    let Waiting { sequence, report, manifest } = spool.next_for(target).unwrap()?;
    let parcel = Parcel { report, manifest, bodies: std::sync::Arc::new(Nothing), base: None };
    spool.acknowledge(target, sequence, &parcel, true).unwrap();
    Some(sequence)
}

struct Nothing;

impl Bodies for Nothing {
    fn body(&self, _: &Digest) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

fn names(folder: &TempDir, of: &str) -> usize {
    fs::read_dir(folder.path().join(of)).unwrap().count()
}

fn has(spool: &Spool, body: &str) -> bool {
    spool.body(&Digest::sha256(body.as_bytes())).unwrap().is_some()
}

#[test]
fn a_report_is_there_until_every_target_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder, &["a", "b"]);
    assert_eq!((keep(&spool, "one"), keep(&spool, "two")), (1, 2));
    assert_eq!((deliver(&spool, "a"), deliver(&spool, "a"), deliver(&spool, "a")), (Some(1), Some(2), None));
    assert_eq!((names(&folder, "reports"), spool.backlog("a").reports, spool.backlog("b").reports), (2, 0, 2));
    assert_eq!(deliver(&spool, "b"), Some(1));
    assert_eq!(names(&folder, "reports"), 1);
    assert_eq!(deliver(&spool, "b"), Some(2));
    assert_eq!(names(&folder, "reports"), 0);
}

#[test]
fn a_body_is_there_as_long_as_something_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder, &["a"]);
    keep(&spool, "one");
    deliver(&spool, "a");
    assert!(has(&spool, "one"), "it is what is reported now, and what the next report differs from");
    keep(&spool, "two");
    assert!(has(&spool, "one"), "the target has it: the next one is sent as what differs");
    deliver(&spool, "a");
    assert!(!has(&spool, "one") && has(&spool, "two"));
    assert_eq!(names(&folder, "scopes"), 1);
}

#[test]
fn what_was_there_is_there_after_a_restart_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder, &["a"]);
    keep(&spool, "one");
    deliver(&spool, "a");
    keep(&spool, "two");
    // Of a report that was never finished.
    spool.keep_body(&Digest::sha256(b"three"), b"three").unwrap();
    drop(spool);
    let spool = open(&folder, &["a"]);
    assert!(has(&spool, "one") && has(&spool, "two") && !has(&spool, "three"));
    assert_eq!(spool.base_for("a").unwrap().report.sequence, Some(1));
    assert_eq!(deliver(&spool, "a"), Some(2));
    assert_eq!(keep(&spool, "four"), 3, "numbers go on, though no report is left");
}

#[test]
fn numbers_go_on_after_everything_was_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder, &["a"]);
    keep(&spool, "one");
    deliver(&spool, "a");
    drop(spool);
    assert_eq!(keep(&open(&folder, &["a"]), "two"), 2);
}

#[test]
fn no_number_is_given_twice_when_no_report_and_no_target_is_left_to_tell() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder, &["a"]);
    keep(&spool, "one");
    deliver(&spool, "a");
    drop(spool);
    let spool = open(&folder, &["renamed"]);
    assert_eq!(keep(&spool, "two"), 2);
    assert_eq!(deliver(&spool, "renamed"), Some(2));
}

#[test]
fn what_waits_for_a_target_that_is_not_configured_any_more_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder, &["a", "b"]);
    keep(&spool, "one");
    deliver(&spool, "b");
    spool.retarget(LIMITS, &["b".into()]).unwrap();
    assert_eq!(spool.take_dropped(), [Dropped { target: "a".into(), reports: 1, reason: "unconfigured" }]);
}

#[test]
fn a_new_target_gets_what_is_made_from_now_on_and_one_that_is_gone_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder, &["a"]);
    keep(&spool, "one");
    spool.retarget(LIMITS, &["a".into(), "b".into()]).unwrap();
    keep(&spool, "two");
    assert_eq!((deliver(&spool, "b"), deliver(&spool, "b")), (Some(2), None));
    spool.retarget(LIMITS, &["b".into()]).unwrap();
    assert_eq!(names(&folder, "reports"), 0);
    assert_eq!(names(&folder, "targets"), 2, "b.json and b.manifest.zst");
}

#[test]
fn what_is_too_old_is_dropped_and_counted_for_those_who_lack_it() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder, &["a", "b"]);
    let long_ago = Timestamp::now() - SignedDuration::from_hours(2);
    keep_at(&spool, "one", long_ago);
    assert_eq!(spool.backlog("a").reports, 1, "the newest stays, however old it is");
    deliver(&spool, "a");
    keep(&spool, "two");
    let dropped = Dropped { target: "b".into(), reports: 1, reason: "age" };
    assert_eq!(spool.take_dropped(), [dropped]);
    assert_eq!((deliver(&spool, "a"), deliver(&spool, "b")), (Some(2), Some(2)));
}

#[test]
fn a_clock_that_jumps_drops_nothing_that_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(&folder, &["a"]);
    let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
    keep_at(&spool, "one", tomorrow);
    keep(&spool, "two");
    assert_eq!(spool.take_dropped(), []);
    assert_eq!((deliver(&spool, "a"), deliver(&spool, "a")), (Some(1), Some(2)));
}

#[test]
fn what_is_too_much_is_dropped_oldest_first_and_the_newest_never() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open_with(&folder, Limits { size: 2500, ..LIMITS }, &["a"]);
    // Bodies that do not compress.
    let body = |number: u64| {
        (0..30).map(|part| Digest::sha256(format!("{number} {part}").as_bytes()).to_string()).collect::<String>()
    };
    for number in 1..=5 {
        keep(&spool, &body(number));
    }
    let kept = spool.backlog("a").reports;
    assert!((1..5).contains(&kept), "{kept}");
    let dropped: u64 = spool.take_dropped().iter().map(|dropped| dropped.reports).sum();
    assert_eq!(dropped, 5 - u64::try_from(kept).unwrap());
    assert_eq!(deliver(&spool, "a"), Some(dropped + 1));
    assert!(!has(&spool, &body(1)) && has(&spool, &body(5)));
}

#[test]
fn who_the_agent_is_stays_and_is_another_on_another_machine() {
    let folder = tempfile::tempdir().unwrap();
    let host = |id: &str| Host { machine_id: Some(id.into()), hostname: None };
    let spool = open(&folder, &["a"]);
    let id = spool.agent_id(&host("1")).unwrap();
    keep(&spool, "one");
    assert_eq!(spool.agent_id(&host("1")).unwrap(), id);
    assert_eq!(spool.backlog("a").reports, 1);
    let other = spool.agent_id(&host("2")).unwrap();
    assert_ne!(other, id);
    assert_eq!(spool.agent_id(&host("2")).unwrap(), other);
    // That is the other machine's to deliver.
    assert_eq!(spool.take_dropped(), [Dropped { target: "a".into(), reports: 1, reason: "copied" }]);
    assert_eq!(spool.next_for("a").unwrap().map(|waiting| waiting.sequence), None);
}

#[test]
fn what_waits_is_told_under_the_identity_that_takes_the_place_of_one_that_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host { machine_id: Some("1".into()), hostname: None };
    let spool = open(&folder, &["a"]);
    let id = spool.agent_id(&host).unwrap();
    keep(&spool, "one");
    keep(&spool, "two");
    drop(spool);
    fs::remove_file(folder.path().join("agent.json")).unwrap();
    let spool = open(&folder, &["a"]);
    let other = spool.agent_id(&host).unwrap();
    assert_ne!(other, id);
    for sequence in [1, 2] {
        let waiting = spool.next_for("a").unwrap().unwrap();
        assert_eq!((waiting.sequence, waiting.report.agent.id), (sequence, Some(other)));
        assert_eq!(waiting.manifest, serde_json::to_vec(&waiting.report).unwrap());
        assert_eq!(deliver(&spool, "a"), Some(sequence));
    }
    assert_eq!(spool.take_dropped(), []);
}

#[test]
fn two_do_not_share_it() {
    let folder = tempfile::tempdir().unwrap();
    let _spool = open(&folder, &["a"]);
    let error = Spool::open(folder.path(), LIMITS, &[]).unwrap_err();
    assert!(error.to_string().contains("another agent uses it"), "{error}");
}

#[test]
fn what_is_left_of_a_write_that_was_interrupted_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder, &["a"]));
    fs::write(folder.path().join(".unfinished"), "half a rep").unwrap();
    fs::write(folder.path().join("reports/readme.txt"), "who put this here?").unwrap();
    let spool = open(&folder, &["a"]);
    assert_eq!(keep(&spool, "one"), 1);
    assert_eq!(deliver(&spool, "a"), Some(1));
}
