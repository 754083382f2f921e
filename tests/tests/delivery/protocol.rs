//! What is sent, and how little of it.

use stocktake_tests::{
    receiver::{Fault, Receiver},
    wait_until,
};

use crate::house::{House, assert_no_gap, knows, start, target, wait_until_known};

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

#[test]
fn a_first_report_is_whole_an_unchanged_one_next_to_nothing_and_a_changed_one_what_changed() {
    let (house, receiver) = (House::new(), Receiver::start());
    let (shop, mut bank) = (names("shop-", 300), names("bank-", 300));
    house.runs(&[("bank", bank.clone()), ("shop", shop.clone())]);
    let agent = house.agent(&receiver);
    wait_until("an unchanged report", || receiver.ledger().reports.len() >= 3);
    let first = receiver.ledger().reports[0].clone();
    assert_eq!(first.report.sources[0].scopes.len(), 2);
    assert!(first.bytes > 3000, "{} bytes", first.bytes);
    let unchanged = receiver.ledger().reports[1].clone();
    assert!(unchanged.bytes < 600, "{} bytes", unchanged.bytes);
    assert_eq!(unchanged.report.sources[0].scopes, first.report.sources[0].scopes);
    bank[7] = "another".to_owned();
    house.runs(&[("bank", bank), ("shop", shop)]);
    wait_until_known(&receiver, "another");
    let changed = receiver
        .ledger()
        .reports
        .iter()
        .find(|it| it.report.sources[0].scopes != first.report.sources[0].scopes)
        .unwrap()
        .clone();
    assert!(changed.bytes < 1000, "{} bytes", changed.bytes);
    let _ = agent.terminate().exits(0);
    let ledger = receiver.end();
    assert_no_gap(&ledger.sequences());
    assert_eq!(ledger.requests.len(), ledger.reports.len(), "one request a report");
    assert_eq!(house.waiting(), [] as [u64; 0]);
}

#[test]
fn a_server_that_lost_what_it_had_gets_it_again() {
    let (house, receiver) = (House::new(), Receiver::start());
    house.runs(&[("a", names("a", 20)), ("b", names("b", 20))]);
    let mut agent = house.agent(&receiver);
    wait_until_known(&receiver, "a1");
    receiver.ledger().lose_contents();
    let had = receiver.ledger().reports.len();
    wait_until("another report", || receiver.ledger().reports.len() > had + 1);
    assert!(knows(&receiver.ledger().latest().unwrap(), "b19"), "it is whole again");
    receiver.ledger().lose_everything();
    wait_until("another report", || !receiver.ledger().reports.is_empty());
    assert!(knows(&receiver.ledger().latest().unwrap(), "b19"));
    assert!(!agent.told().contains("WARN"), "nobody has to do anything: {}", agent.told());
    agent.wait_until_told("reporting");
    let _ = agent.terminate().exits(0);
}

#[test]
fn what_is_too_large_for_one_request_goes_in_several() {
    let (house, receiver) = (House::new(), Receiver::start());
    receiver.always(Some(Fault::LargerThan(20_000)));
    let namespaces: Vec<String> = names("namespace-", 12);
    // Texts that do not compress.
    let random = |namespace: &str| -> Vec<String> {
        (0..120).map(|number| format!("{:x}", md5ish(&format!("{namespace}{number}")))).collect()
    };
    let all: Vec<(&str, Vec<String>)> = namespaces.iter().map(|name| (name.as_str(), random(name))).collect();
    house.runs(&all);
    let agent = house.agent(&receiver);
    wait_until("it is reported", || !receiver.ledger().reports.is_empty());
    let ledger = receiver.ledger();
    let inventory = ledger.latest().unwrap();
    assert_eq!(inventory.scopes.values().map(|scope| scope.containers.len()).sum::<usize>(), 12 * 120);
    assert!(ledger.requests.len() > ledger.reports.len() && ledger.requests.iter().all(|bytes| *bytes <= 20_000));
    drop(ledger);
    let _ = agent.terminate().exits(0);
}

/// Something that looks random (FNV-1a, twice).
fn md5ish(text: &str) -> u128 {
    let hash =
        |seed: u64| text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (u128::from(hash(0xcbf2_9ce4_8422_2325)) << 64) | u128::from(hash(0x9e37_79b9_7f4a_7c15))
}

#[test]
fn an_agent_stays_the_same_through_its_runs_and_each_run_is_a_later_one() {
    let (house, receiver) = (House::new(), Receiver::start());
    for container in ["first", "second"] {
        house.runs_one(container);
        let agent = house.agent(&receiver);
        wait_until_known(&receiver, container);
        let _ = agent.terminate().exits(0);
    }
    let ledger = receiver.end();
    assert_no_gap(&ledger.sequences());
    let agents: Vec<_> = ledger.reports.iter().map(|it| it.report.agent.clone()).collect();
    let (first, last) = (agents.first().unwrap(), agents.last().unwrap());
    assert!(first.id.is_some() && agents.iter().all(|agent| agent.id == first.id));
    assert!(first.run < last.run);
    assert_eq!(ledger.reports[0].report.valid_for_seconds, Some(3));
}

#[test]
fn of_two_agents_with_one_identity_the_elder_is_told_and_loses_nothing() {
    let (house, copy, receiver) = (House::new(), House::new(), Receiver::start());
    let mut elder = house.agent(&receiver);
    wait_until("it reports", || !receiver.ledger().reports.is_empty());
    std::fs::create_dir_all(copy.spool()).unwrap();
    std::fs::copy(house.spool().join("agent.json"), copy.spool().join("agent.json")).unwrap();
    let younger = copy.agent(&receiver);
    elder.wait_until_told("another agent reports under this one's identity");
    wait_until("its reports are kept", || house.waiting().len() > 1);
    let _ = younger.terminate().exits(0);
    let _ = elder.terminate().exits(0);
    assert!(!house.waiting().is_empty());
}

#[test]
fn two_agents_do_not_share_a_spool() {
    let (house, receiver) = (House::new(), Receiver::start());
    let agent = house.agent(&receiver);
    wait_until("it reports", || !receiver.ledger().reports.is_empty());
    let _ = start(&house.configuration("", &target(&receiver))).finish().exits(78).says("another agent uses it");
    let _ = agent.terminate().exits(0);
}
