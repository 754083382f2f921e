//! Programs that do what they should not. Nothing of them is left, nothing that was not seen passes for empty, and the
//! collector beside them is reported as if nothing had happened.

use std::{fs, path::Path};

use stocktake_core::model::{Coverage, ScopeId};
use stocktake_tests::{
    agent::{Agent, Run},
    wait_until,
};

use crate::Program;

const SOUND: &str = "#!/bin/sh\necho '{\"runtime\": {\"name\": \"r\"}, \"coverage\": {\"status\": \"complete\"}, \"scopes\": [\
    {\"coverage\": {\"status\": \"complete\"}, \"containers\": [{\"name\": \"a\"}]}]}'\n";

/// A look through a faulty program and, beside it, through a sound one.
fn collect(body: &str, settings: &str) -> (Program, Run) {
    let (faulty, sound) = (Program::new(&format!("#!/bin/sh\n{body}\n")), Program::new(SOUND));
    let config = format!("{}{settings}\n{}", faulty.config("faulty"), sound.config("sound"));
    let run = Agent::collect(&config, &["--format", "json"]).run().exits(1);
    let report = run.report();
    assert!(report.source("sound").is_complete() && report.containers("sound") == 1, "{run}");
    (faulty, run)
}

#[track_caller]
fn assert_failed(run: &Run, told: &str) {
    let report = run.report();
    let source = report.source("faulty");
    assert!(matches!(source.coverage, Coverage::Failed { .. } | Coverage::Denied { .. }), "{source:?}");
    let reason = source.coverage.reason().unwrap();
    assert!(reason.contains(told) && !reason.contains('\n'), "{reason}");
    assert_eq!(source.scopes, []);
}

#[track_caller]
fn assert_gone(program: &Program) {
    let ids = fs::read_to_string(program.file("ids")).unwrap();
    assert!(ids.split_whitespace().count() > 0, "no process");
    for id in ids.split_whitespace() {
        wait_until(&format!("process {id} to be gone"), || !Path::new("/proc").join(id).exists());
    }
}

#[test]
fn a_program_that_hangs_is_killed_with_all_its_descendants_at_the_deadline() {
    for body in [
        "sh -c 'sleep 1000 & echo $! >>$DIR/ids; wait' & echo $$ $! >>$DIR/ids; wait",
        "trap '' TERM INT HUP; sleep 1000 & echo $$ $! >>$DIR/ids; while :; do wait; done",
        // It has answered, and does not end.
        "echo '{\"scopes\": []}'; exec >&- 2>&-; sleep 1000 & echo $$ $! >>$DIR/ids; wait",
    ] {
        let (program, run) = collect(body, "timeout = '3s'");
        assert_failed(&run, "no complete answer within 3s");
        assert_gone(&program);
    }
}

#[test]
fn output_without_end_is_killed_at_its_bound_and_not_at_the_deadline() {
    let (program, run) = collect("echo $$ >>$DIR/ids; yes", "max_output_bytes = 1000000");
    assert_failed(&run, "prints more than 1000000 bytes");
    assert_gone(&program);
}

#[test]
fn an_answer_that_is_none_has_failed() {
    for (body, told) in [
        ("exit 0", "prints nothing"),
        ("echo 'error: no such runtime'", "prints no JSON document"),
        ("printf '{\"scopes\": [{\"coverage\": {\"status\": \"complete\"}, \"containers\": ['", "cut off"),
        ("echo '{\"coverage\": {\"status\": \"complete\"}}'", "no `scopes`"),
        ("kill -9 $$", "signal 9"),
        ("echo '\x1b[31mwhy' >&2; exit 3", "\u{fffd}[31mwhy"),
        ("echo 'not for you' >&2; exit 77", "refused by its runtime (exit code 77): not for you"),
    ] {
        let (_, run) = collect(body, "");
        assert_failed(&run, told);
    }
}

#[test]
fn what_is_not_said_to_be_complete_is_partial_and_kept() {
    let (_, run) =
        collect("echo '{\"runtime\": {\"name\": \"r\"}, \"scopes\": [{\"containers\": [{\"name\": \"a\"}]}]}'", "");
    let report = run.report();
    assert!(matches!(&report.source("faulty").coverage, Coverage::Partial { reason } if reason.contains("`coverage`")));
    assert!(matches!(report.coverage("faulty", &ScopeId::host()), Coverage::Partial { .. }));
    assert_eq!(report.containers("faulty"), 1);
}

#[test]
fn who_does_not_say_who_it_is_is_not_complete() {
    let (_, run) = collect(
        "echo '{\"coverage\": {\"status\": \"complete\"}, \"scopes\": [{\"coverage\": {\"status\": \"complete\"}}]}'",
        "",
    );
    let report = run.report();
    let Coverage::Partial { reason } = &report.source("faulty").coverage else { panic!("{run}") };
    assert!(reason.contains("does not say who"), "{reason}");
    assert!(report.coverage("faulty", &ScopeId::host()).is_complete());
}

#[test]
fn stderr_goes_into_the_log_and_is_harmless_there() {
    let body = format!("printf 'one\\ntwo \\033[31mred\\a\\n' >&2\n{}", SOUND.trim_start_matches("#!/bin/sh\n"));
    let program = Program::new(&format!("#!/bin/sh\n{body}"));
    let run = Agent::collect(&program.config("loud"), &["--verbose"]).run().exits(0);
    let run = run.says("stderr: one").says("stderr: two \u{fffd}[31mred\u{fffd}").says("loud");
    assert!(!run.stderr.contains('\x07'), "{run}");
    let quiet = Agent::collect(&program.config("loud"), &[]).run().exits(0);
    assert!(!quiet.stderr.contains("one"), "{quiet}");
}

#[test]
fn the_agents_environment_is_not_the_programs() {
    let program = Program::new(&format!("{SOUND}env >$DIR/env"));
    let agent = Agent::collect(&program.config("x"), &[]).env("API_TOKEN", "hush").env("HOME", "/home/agent");
    let _ = agent.run().exits(0);
    let environment = fs::read_to_string(program.file("env")).unwrap();
    assert!(!environment.contains("hush"), "{environment}");
    for line in ["HOME=/home/agent", "STOCKTAKE_COLLECTOR=x", "STOCKTAKE_REQUEST=collect"] {
        assert!(environment.lines().any(|found| found == line), "{line}: {environment}");
    }
}

#[test]
fn a_wrong_setting_is_told_with_file_line_and_key() {
    for (config, told) in [
        ("[collectors.x]\ntype = 'exec'\n", "agent.toml:1: collectors.x: missing key `command`"),
        ("[collectors.x]\ntype = 'exec'\ncommand = []\n", "agent.toml:3: collectors.x.command: names no program"),
        ("[collectors.x]\ntype = 'exec'\ncommand = 'a'\n", "agent.toml:3: collectors.x.command: invalid type: string"),
        (
            "[collectors.x]\ntype = 'exec'\ncommand = [\n  '/no/such',\n]\n",
            "agent.toml:4: collectors.x.command[0]: cannot look at /no/such: No such file",
        ),
        ("[collectors.exec]\ncommand = ['no-such']\n", "agent.toml:2: collectors.exec.command[0]: there is no program"),
        ("[collectors.exec]\ncommand = ['sh']\nsetings = {}\n", "did you mean `settings`?"),
        (
            "[collectors.exec]\ncommand = ['sh']\n[collectors.exec.environment]\nA = 'b'\nSTOCKTAKE_REQUEST = 'x'\n",
            "agent.toml:5: collectors.exec.environment.STOCKTAKE_REQUEST: is set by the agent",
        ),
        (
            "[collectors.exec]\ncommand = ['sh']\nmax_output_bytes = -1\n",
            "agent.toml:3: collectors.exec.max_output_bytes",
        ),
    ] {
        let _ = Agent::collect(config, &[]).run().exits(78).says(told);
    }
}
