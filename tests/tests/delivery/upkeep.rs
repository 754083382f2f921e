//! Another configuration, and the end.

use std::fs;

use rustix::process::Signal;
use stocktake_tests::{agent::Agent, receiver::Receiver, wait_until};

use crate::house::{House, assert_no_gap, start, target, wait_until_known};

#[test]
fn a_configuration_is_read_again_when_told_to_or_when_it_is_another() {
    let (house, first, second) = (House::new(), Receiver::start(), Receiver::start());
    let file = house.path("agent.toml");
    fs::write(&file, house.configuration("", &target(&first))).unwrap();
    let mut agent = Agent::new(&["run", "-v", "--config", file.to_str().unwrap()]).start();
    wait_until("it reports", || !first.ledger().reports.is_empty());

    fs::write(&file, "[collectors.toy]\ntype = 'exce'\n").unwrap();
    agent.signal(Signal::HUP);
    agent.wait_until_told("did you mean `exec`?");
    agent.wait_until_told("the configuration is not valid; the former one stays in force");
    let had = first.ledger().reports.len();
    wait_until("it goes on", || first.ledger().reports.len() > had);

    // Nobody tells it this time.
    let both = format!("{}[targets.second]\ntype = 'stocktake'\nurl = '{}'\n", target(&first), second.url());
    fs::write(&file, house.configuration("", &both)).unwrap();
    wait_until("it reports to another, too", || !second.ledger().reports.is_empty());
    house.runs_one("after");
    wait_until_known(&first, "after");
    wait_until_known(&second, "after");

    fs::write(
        &file,
        house.configuration("", &format!("[targets.second]\ntype = 'stocktake'\nurl = '{}'\n", second.url())),
    )
    .unwrap();
    agent.signal(Signal::HUP);
    agent.wait_until_told("this target is not configured any more");
    house.wait_until_delivered();
    let _ = agent.terminate().exits(0);
    assert_no_gap(&first.end().sequences());
    let second = second.end().sequences();
    assert!(second.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{second:?}");
}

#[test]
fn without_a_target_there_is_nothing_to_run_for() {
    let house = House::new();
    let _ = start(&house.configuration("", "")).finish().exits(78).says("there is no target");
}

#[test]
fn a_configuration_that_is_not_there_is_told() {
    let _ = Agent::new(&["run", "--config", "/nowhere/agent.toml"]).run().exits(78).says("/nowhere/agent.toml");
}

#[test]
fn a_collector_that_hangs_or_fails_is_reported_as_that_and_the_others_as_they_are() {
    let (house, receiver) = (House::new(), Receiver::start());
    house.runs_one("web");
    let others = "[collectors.hangs]\ntype = 'exec'\ncommand = ['/bin/sleep', '1000']\ntimeout = '1s'\n\
                  [collectors.fails]\ntype = 'exec'\ncommand = ['/bin/false']\n";
    let agent = house.agent_with("", &format!("{others}{}", target(&receiver)));
    wait_until_known(&receiver, "web");
    wait_until("all three are reported", || {
        receiver.ledger().reports.last().is_some_and(|it| it.report.sources.len() == 3)
    });
    let report = receiver.ledger().reports.last().unwrap().report.clone();
    let status: Vec<_> = report.sources.iter().map(|it| (it.collector.as_str(), it.coverage.status())).collect();
    assert_eq!(status, [("fails", "failed"), ("hangs", "failed"), ("toy", "complete")]);
    let _ = agent.terminate().exits(0);
}
