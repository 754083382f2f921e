//! What goes wrong between agent and server. After each fault every report has come once, in its order.

use std::{fs, time::Duration};

use stocktake_tests::{
    receiver::{Fault, Receiver},
    wait_until,
};

use crate::house::{House, assert_no_gap, target, target_within, wait_until_known};

/// The server does that once in a while, and then is sound.
#[track_caller]
fn survives(fault: &Fault, told: &str) {
    let (house, receiver) = (House::new(), Receiver::start());
    house.runs_one("before");
    let timeout = if matches!(fault, Fault::Hang) { "2s" } else { "30s" };
    let mut agent = house.agent_with("", &target_within(&receiver, timeout));
    wait_until_known(&receiver, "before");
    receiver.then([fault.clone(), fault.clone()]);
    house.runs_one("meanwhile");
    agent.wait_until_told(told);
    wait_until_known(&receiver, "meanwhile");
    house.runs_one("after");
    wait_until_known(&receiver, "after");
    let _ = agent.terminate().exits(0);
    let ledger = receiver.end();
    assert_no_gap(&ledger.sequences());
    assert_eq!(house.waiting(), [] as [u64; 0]);
    println!("{fault:?}: {} reports made and delivered, {} of them twice", ledger.reports.len(), ledger.repeated);
}

#[test]
fn a_server_that_fails() {
    survives(&Fault::Status(500, "out of memory\nat line 5"), "answered 500 (Internal Server Error): out of memory;");
}

#[test]
fn a_proxy_without_its_server() {
    survives(&Fault::Status(502, "<html>Bad Gateway</html>"), "answered 502");
}

#[test]
fn a_server_that_is_moved() {
    survives(&Fault::Status(404, ""), "check `url`");
}

#[test]
fn a_server_that_has_too_much_to_do() {
    survives(&Fault::RetryAfter(1), "answered 429");
}

#[test]
fn a_page_to_log_in_at() {
    survives(&Fault::LoginPage, "no Stocktake server that answered");
}

#[test]
fn a_connection_that_is_cut_within_the_request() {
    survives(&Fault::CutAfter(50), "WARN");
}

#[test]
fn a_report_that_is_taken_and_not_answered() {
    survives(&Fault::TakenUnanswered, "WARN");
}

#[test]
fn a_server_that_hangs() {
    survives(&Fault::Hang, "has not answered within 2 s");
}

#[test]
fn a_server_that_is_slow_is_waited_for() {
    let (house, receiver) = (House::new(), Receiver::start());
    receiver.always(Some(Fault::Slow(Duration::from_millis(1500))));
    house.runs_one("first");
    let agent = house.agent(&receiver);
    wait_until_known(&receiver, "first");
    house.runs_one("second");
    wait_until_known(&receiver, "second");
    receiver.always(None);
    house.wait_until_delivered();
    assert!(!agent.told().contains("not delivered"), "{}", agent.told());
    let _ = agent.terminate().exits(0);
    assert_no_gap(&receiver.end().sequences());
}

#[test]
fn a_server_that_is_gone_for_long() {
    let (house, receiver) = (House::new(), Receiver::start());
    house.runs_one("before");
    let mut agent = house.agent(&receiver);
    wait_until_known(&receiver, "before");
    let (address, ledger) = (receiver.address(), receiver.end());
    for container in ["one", "two", "three"] {
        let had = house.waiting().len();
        house.runs_one(container);
        wait_until("it waits in the spool", || house.waiting().len() > had + 1);
    }
    agent.wait_until_told("cannot connect to");
    // Also through the end of the agent.
    let run = agent.terminate().exits(0);
    assert_eq!(run.stderr.matches("not delivered").count(), 1, "told once: {}", run.stderr);
    let waited = house.waiting();
    let receiver = Receiver::at(address, ledger);
    let agent = house.agent(&receiver);
    house.wait_until_delivered();
    let _ = agent.terminate().exits(0);
    let sequences = receiver.end().sequences();
    assert_no_gap(&sequences);
    assert!(waited.len() > 3 && sequences.len() >= waited.len(), "{waited:?}");
}

#[test]
fn a_token_that_is_changed_loses_nothing() {
    let (house, receiver) = (House::new(), Receiver::start());
    receiver.demand("new");
    fs::write(house.path("token"), "old\n").unwrap();
    let token = format!("{}token_file = '{}'\n", target(&receiver), house.path("token").display());
    let mut agent = house.agent_with("", &token);
    agent.wait_until_told("answered 401");
    wait_until("reports wait", || house.waiting().len() > 1);
    fs::write(house.path("token"), "new\n").unwrap();
    wait_until("they are delivered", || !receiver.ledger().reports.is_empty());
    house.wait_until_delivered();
    let run = agent.terminate().exits(0);
    assert_no_gap(&receiver.end().sequences());
    assert!(!run.stderr.contains("old") && !run.stderr.contains("new\n"), "{}", run.stderr);
}

const REFUSED: &str = r#"{"type":"about:blank","title":"this one I do not like"}"#;

#[test]
fn a_report_that_is_refused_is_put_aside_and_holds_up_no_other() {
    let (house, receiver) = (House::new(), Receiver::start());
    house.runs_one("before");
    let mut agent = house.agent(&receiver);
    wait_until_known(&receiver, "before");
    // A page is no word of the server's on the report.
    receiver.then([Fault::Status(400, "<html>The SSL certificate error</html>"), Fault::Status(422, REFUSED)]);
    agent.wait_until_told("something in between");
    agent.wait_until_told("this one I do not like");
    house.runs_one("after");
    wait_until_known(&receiver, "after");
    let _ = agent.terminate().exits(0);
    let sequences = receiver.end().sequences();
    let missing: Vec<u64> = (1..=*sequences.last().unwrap()).filter(|number| !sequences.contains(number)).collect();
    let aside: Vec<_> = fs::read_dir(house.spool().join("aside")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(missing.len(), 1);
    assert_eq!(aside, [format!("refused-{:020}-stocktake.zst", missing[0]).as_str()]);
}

#[test]
fn one_target_that_takes_nothing_holds_up_no_other() {
    let (house, good, bad) = (House::new(), Receiver::start(), Receiver::start());
    bad.always(Some(Fault::Status(503, "")));
    let targets = format!(
        "[targets.good]\ntype = 'stocktake'\nurl = '{}'\n[targets.bad]\ntype = 'stocktake'\nurl = '{}'\n[targets.file]\npath = '{}'\n",
        good.url(),
        bad.url(),
        house.path("reports.ndjson").display()
    );
    let agent = house.agent_with("", &targets);
    wait_until("three reports", || good.ledger().reports.len() >= 3);
    assert!(house.waiting().len() >= 3, "they wait for the other one");
    bad.always(None);
    house.wait_until_delivered();
    let _ = agent.terminate().exits(0);
    let (good, bad) = (good.end().sequences(), bad.end().sequences());
    assert_no_gap(&good);
    assert_no_gap(&bad);
    let text = fs::read_to_string(house.path("reports.ndjson")).unwrap();
    let in_file: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["type"] == "report")
        .map(|line| line["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(in_file, good);
}
