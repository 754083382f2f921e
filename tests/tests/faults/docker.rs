//! Docker daemons with a fault at each request that a collection makes.

use stocktake_core::model::Coverage;
use stocktake_tests::{
    agent::Run,
    fake::{FakeDocker, Fault},
    needs,
};

use crate::{HANGS, assert_only_the_faulty_one_failed, collect_beside_a_sound_one};

/// What a collection asks for, in its order.
const PATHS: [&str; 4] = ["/version", "/info", "/containers/json", "/images/json"];

fn collect(path: &'static str, fault: Fault) -> Run {
    collect_with(path, fault, "")
}

fn collect_with(path: &'static str, fault: Fault, settings: &str) -> Run {
    let daemon = FakeDocker::new(path, fault);
    collect_beside_a_sound_one("docker", &format!("host = 'unix://{}'\n{settings}", daemon.socket().display()))
}

/// So that the other tests prove something: without a fault the made-up daemon is read.
#[test]
fn a_made_up_daemon_without_a_fault_is_complete() {
    needs!("docker");
    let run = collect("/never-asked", Fault::Hang).exits(0);
    assert_eq!(run.report().containers("faulty"), 1);
}

#[test]
fn a_daemon_that_hangs_is_given_up_in_time() {
    needs!("docker");
    for path in PATHS {
        let run = collect_with(path, Fault::Hang, HANGS);
        assert_only_the_faulty_one_failed(&run, "within 2s");
        assert!(run.report().source("faulty").coverage.reason().unwrap().contains("`timeout`"), "what to do: {run}");
    }
}

#[test]
fn a_daemon_that_closes_the_connection_has_failed() {
    needs!("docker");
    for path in PATHS {
        for fault in [Fault::Close, Fault::CloseInBody] {
            assert_only_the_faulty_one_failed_at(path, fault);
        }
    }
}

#[test]
fn a_daemon_that_talks_nonsense_has_failed() {
    needs!("docker");
    for path in &PATHS[1..] {
        for fault in [
            Fault::Garbage,
            Fault::Body(""),
            Fault::Body("<html>It works!</html>"),
            Fault::Body(r#"[{"Id":"aaa","#),
            Fault::Body(r#""a string""#),
            Fault::Body("null"),
            Fault::Body("7"),
        ] {
            assert_only_the_faulty_one_failed_at(path, fault);
        }
    }
}

/// Lists where objects are expected, and the reverse.
#[test]
fn an_answer_of_the_wrong_shape_has_failed() {
    needs!("docker");
    for path in ["/containers/json", "/images/json"] {
        for body in ["{}", r#"{"message":"ok"}"#, "[[]]", r#"["text"]"#] {
            assert_only_the_faulty_one_failed_at(path, Fault::Body(body));
        }
    }
    assert_only_the_faulty_one_failed_at("/info", Fault::Body("[1]"));
}

/// Names the path and the fault where the harness would name only what it found.
fn assert_only_the_faulty_one_failed_at(path: &'static str, fault: Fault) {
    println!("{path}, {fault:?}");
    let run = collect(path, fault);
    assert_only_the_faulty_one_failed(&run, "docker at unix://");
}

#[test]
fn a_daemon_that_refuses_is_denied() {
    needs!("docker");
    for path in ["/info", "/containers/json", "/images/json"] {
        let run = collect(path, Fault::Status(403, "authorization denied by plugin x"));
        assert_only_the_faulty_one_failed(&run, "authorization denied by plugin x");
        assert!(matches!(run.report().source("faulty").coverage, Coverage::Denied { .. }), "{path}: {run}");
    }
}

/// Its containers are still reported; but whose they are nobody knows, so they are not all that there is of anything.
#[test]
fn a_daemon_that_does_not_say_who_it_is_is_read_and_partial() {
    needs!("docker");
    for (fault, told) in [
        (Fault::Status(403, "no version for you"), "no version for you"),
        (Fault::Status(404, "no such page"), "no such page"),
        (Fault::Body("<html>It works!</html>"), "unreadable answer"),
        (Fault::Body("[1]"), "unreadable answer"),
    ] {
        let run = collect("/version", fault).exits(1);
        let report = run.report();
        assert_eq!(report.containers("faulty"), 1);
        let source = report.source("faulty");
        assert_eq!(source.runtime, None);
        let Coverage::Partial { reason } = &source.coverage else { panic!("{source:?}") };
        assert!(reason.contains("does not say who it is") && reason.contains(told), "{reason}");
    }
}

#[test]
fn a_daemon_with_an_error_has_failed() {
    needs!("docker");
    for path in PATHS {
        for status in [500, 503] {
            let run = collect(path, Fault::Status(status, "the disk is on fire"));
            assert_only_the_faulty_one_failed(&run, "the disk is on fire");
        }
    }
    for path in &PATHS[1..] {
        assert_only_the_faulty_one_failed(&collect(path, Fault::Status(404, "no such page")), "no such page");
    }
}

/// Each part comes soon after the one before, so that nothing but the deadline ends it.
#[test]
fn an_answer_without_end_is_given_up_in_time() {
    needs!("docker");
    for path in PATHS {
        assert_only_the_faulty_one_failed(&collect_with(path, Fault::Endless, HANGS), "within 2s");
    }
}

/// The deadline would come too late for the machine's memory.
#[test]
fn an_answer_without_end_does_not_fill_the_memory() {
    needs!("docker");
    for path in &PATHS[1..] {
        let daemon = FakeDocker::new(path, Fault::Flood);
        let address = format!("host = 'unix://{}'\ntimeout = '10m'", daemon.socket().display());
        let run = collect_beside_a_sound_one("docker", &address);
        assert_only_the_faulty_one_failed(&run, "MiB");
        assert!(daemon.sent() < 256 << 20, "{path}: {} MiB were read", daemon.sent() >> 20);
    }
}
