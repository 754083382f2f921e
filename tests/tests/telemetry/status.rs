//! `stocktake-agent status`.

use rustix::process::Signal;
use serde_json::Value;
use stocktake_tests::{agent::Agent, wait_until};

use super::{Machine, hung};

#[test]
fn a_person_reads_how_everything_is() {
    let machine = Machine::new();
    // Nobody listens there.
    let target = "[targets.gone]\ntype = 'stocktake'\nurl = 'http://127.0.0.1:9'\n";
    let agent = machine.agent(target);
    wait_until("the target fails", || machine.status(&[]).stdout.contains("remark"));
    let run = machine.status(&[]).exits(0);
    for part in [
        "ready\n",
        &format!("process {}", agent.id()),
        "agent.toml, in force for ",
        "spool /",
        "COLLECTOR  TYPE  STATE  LAST GOOD  SCOPES  CONTAINERS  TOOK",
        "\ntoy        exec  ok     ",
        "  1 of 1  1 ",
        "\narchive",
        "\ngone",
        "target gone: takes nothing since",
        "next attempt in",
    ] {
        assert!(run.stdout.contains(part), "{part:?} is not said\n{run}");
    }
    let widest = run.stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?}\n{run}");
    assert_eq!(run.stderr, "");
    let _ = agent.terminate().exits(0);
}

#[test]
fn a_program_reads_the_same_and_the_exit_code() {
    let (machine, (_daemon, collector)) = (Machine::new(), hung());
    let agent = machine.agent(&collector);
    let read = || -> Value { serde_json::from_str(&machine.status(&["--format", "json"]).exits(1).stdout).unwrap() };
    wait_until("it hangs", || read()["collectors"][0]["state"] == "hangs");
    let found = read();
    assert_eq!((found["ready"].as_bool(), found["collectors"][1]["state"].as_str()), (Some(false), Some("ok")));
    assert_eq!(found["collectors"][1]["counts"]["containers"], 1);
    // Starting it again would not help: it is at work.
    let _ = machine.status(&["--alive"]).exits(0);
    let table = machine.status(&[]).exits(1);
    assert!(table.stdout.starts_with("not ready\n") && table.stdout.contains("\nnot ready because\n"), "{table}");
    let _ = agent.terminate().exits(0);
}

#[test]
fn a_configuration_that_is_not_in_force_is_told() {
    let machine = Machine::new();
    let mut agent = machine.agent("");
    wait_until("it is ready", || machine.get("/readyz").0 == 200);
    let good = machine.configuration("");
    // What is asked is where to ask, which is still in it.
    machine.configure(&good.replace("interval = '1s'", "interval = 'often'"));
    agent.signal(Signal::HUP);
    agent.wait_until_told("the former one stays in force");
    let run = machine.status(&[]).exits(0);
    let words = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("; what it holds now is not valid") && words.contains("agent.interval"), "{run}");
    machine.configure(&good);
    agent.signal(Signal::HUP);
    wait_until("it is in force again", || !machine.status(&[]).stdout.contains("not valid"));
    let _ = agent.terminate().exits(0);
}

#[test]
fn where_no_agent_runs_a_person_is_told_what_to_do() {
    let machine = Machine::new();
    machine.configure(&machine.configuration(""));
    let run = machine.status(&[]).exits(69).says("no agent runs: there is no ").says("`stocktake-agent run`");
    assert_eq!(run.stdout, "");
    // One that was killed leaves its socket behind.
    let agent = machine.agent("");
    agent.kill();
    let _ = machine.status(&[]).exits(69).says("does not run any more");
    let agent = machine.agent("");
    wait_until("it answers again", || machine.status(&[]).code != Some(69));
    let _ = agent.terminate().exits(0);
    let _ = machine.status(&[]).exits(69).says("no agent runs");
}

#[test]
fn a_configuration_without_a_socket_is_told() {
    let machine = Machine::new();
    machine.configure("[telemetry]\nsocket = 'off'\n");
    let _ = machine.status(&[]).exits(69).says("`socket` of `[telemetry]` is `off`");
    machine.configure("[telemetry]\nsocket = 5\n");
    let _ = machine.status(&[]).exits(78).says("agent.toml:2: telemetry.socket");
    let _ = Agent::new(&["status", "--socket", "/nowhere/agent.sock"]).run().exits(69).says("/nowhere/agent.sock");
}
