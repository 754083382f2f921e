//! The lines for programs and for people.

use rustix::process::Signal;
use stocktake_tests::agent::Agent;

use crate::{COMPLETE, Known, PARTIAL, Runtime, Watch, document, scope};

/// What `collect` says of the same runtime at the same time.
pub(crate) fn collected(config: &str) -> Known {
    let mut known = Known::default();
    let run = Agent::collect(config, &["--format", "ndjson"]).run();
    let of_scopes = |line: &&str| !line.contains("\"type\":\"unified_") && !line.contains("\"type\":\"finding\"");
    run.stdout.lines().filter(of_scopes).for_each(|line| drop(known.take(line)));
    known
}

#[test]
fn a_reader_knows_what_a_look_would_tell() {
    let runtime = Runtime::new(&document(COMPLETE, &[scope("a", &["app:1", "db:1"]), scope("b", &["app:1"])]));
    let config = runtime.config("paper");
    let watch = Watch::new(&config, &["--format", "ndjson"]);
    let (mut known, mut next) = (Known::default(), None);
    let first = known.report(&watch, &mut next);
    assert_eq!(first[..2], ["report", "source"]);
    assert_eq!(known, collected(&config));

    let until = |known: &mut Known, next: &mut Option<String>, kind: &str| loop {
        let kinds = known.report(&watch, next);
        if kinds.iter().any(|found| found == kind) {
            return kinds;
        }
        assert_eq!(kinds, ["report", "source"], "nothing changed, and nothing is told of scopes");
    };
    runtime.becomes(&document(COMPLETE, &[scope("a", &["app:2"]), scope("b", &["app:1"]), scope("c", &[])]));
    let kinds = until(&mut known, &mut next, "scope");
    assert_eq!(kinds, ["report", "source", "scope", "container", "scope"], "`a` and the empty `c`, and not `b`");
    assert_eq!(known, collected(&config));

    let before = known.0.len();
    runtime.becomes(&document(PARTIAL, &[scope("a", &["app:2"])]));
    let kinds = until(&mut known, &mut next, "scope");
    assert_eq!(kinds, ["report", "source", "scope", "scope"], "`b` and `c` were not seen, and nothing is gone");
    assert_eq!(known.0.len(), before);
    let (entry, things) = &known.0[&("paper".to_owned(), "namespace b".to_owned())];
    assert_eq!((entry["coverage"]["status"].as_str(), things.len()), (Some("failed"), 1));
    assert!(entry["coverage"]["reason"].as_str().unwrap().contains("a page is torn out"), "{entry}");

    runtime.becomes(&document(COMPLETE, &[scope("b", &["app:1"])]));
    let kinds = until(&mut known, &mut next, "scope_gone");
    assert_eq!(kinds, ["report", "source", "scope", "scope_gone", "scope_gone"], "`b` has not changed");
    assert_eq!(known, collected(&config));
    let (_, stderr) = watch.end(Signal::TERM);
    assert_eq!(stderr.lines().count(), 1, "once, that not everything is seen: {stderr}");
    assert!(stderr.contains("not everything is seen: a page is torn out"), "{stderr}");
}

#[test]
fn people_are_told_what_comes_and_goes() {
    let runtime = Runtime::new(&document(COMPLETE, &[scope("a", &["app:1"])]));
    let watch = Watch::new(&runtime.config("paper"), &["--format", "changes"]);
    let told = || watch.line().split_once("  ").unwrap().1.to_owned();
    assert!(told().starts_with("= paper  paper 1, "));
    runtime.becomes(&document(COMPLETE, &[scope("a", &["app:2"]), scope("b", &["db:1"])]));
    assert!(told().ends_with("/a/c0  app:1 -> app:2  running"));
    assert!(told().ends_with("/b/c0  db:1  running"));
    runtime.becomes("torn");
    runtime.becomes(&document(COMPLETE, &[scope("a", &["app:2"])]));
    let gone = told();
    assert!(gone.starts_with("- ") && gone.ends_with("/b/c0  db:1  running"), "{gone}");
}

#[test]
fn the_log_can_be_read_by_programs() {
    let runtime = Runtime::new("torn");
    let watch = Watch::new(&runtime.config("paper"), &["--format", "ndjson", "--log-format", "json", "--verbose"]);
    watch.line();
    runtime.becomes(&document(COMPLETE, &[]));
    while !watch.line().contains(r#""coverage":{"status":"complete"}"#) {}
    let (_, stderr) = watch.end(Signal::TERM);
    let lines: Vec<serde_json::Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(lines.iter().all(|line| line["span"]["collector"] == "paper"), "{stderr}");
    let warnings: Vec<_> = lines.iter().filter(|line| line["level"] == "WARN").collect();
    assert_eq!(warnings.len(), 1, "{stderr}");
}
