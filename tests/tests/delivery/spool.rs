//! A disk that is full, cannot be written, or does not hold what was written.

use std::{fs, path::Path, process::Command};

use stocktake_tests::{
    receiver::{Fault, Receiver},
    wait_until,
};

use crate::house::{House, assert_no_gap, start, target, wait_until_known};

/// A file system of its own in memory, which ends with this.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path, options: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "stocktake-test"]).arg(at));
        Self(at)
    }

    fn remount(&self, options: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.0));
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // Whoever still uses it keeps it until then.
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("mount is there");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_full_disk_loses_nothing_while_the_agent_runs() {
    let (house, receiver) = (House::new(), Receiver::start());
    let spool = house.spool();
    let disk = Disk::mount(&spool, "size=256k");
    house.runs_one("before");
    let mut agent = house.agent(&receiver);
    wait_until_known(&receiver, "before");
    receiver.always(Some(Fault::Status(503, "")));
    fs::write(spool.join("ballast"), vec![7; 1 << 20]).expect_err("it is full now");
    house.runs_one("meanwhile");
    agent.wait_until_told("cannot write");
    house.runs_one("meanwhile too");
    receiver.always(None);
    wait_until_known(&receiver, "meanwhile too");
    fs::remove_file(spool.join("ballast")).unwrap();
    house.runs_one("after");
    agent.wait_until_told("the spool can be written again");
    wait_until_known(&receiver, "after");
    house.wait_until_delivered();
    let _ = agent.terminate().exits(0);
    assert_no_gap(&receiver.end().sequences());
    drop(disk);
}

#[test]
fn a_disk_that_cannot_be_written_keeps_no_report_from_being_delivered() {
    let (house, receiver) = (House::new(), Receiver::start());
    let spool = house.spool();
    let disk = Disk::mount(&spool, "size=1m");
    house.runs_one("before");
    let agent = house.agent(&receiver);
    wait_until_known(&receiver, "before");
    let _ = agent.terminate().exits(0);
    disk.remount("ro");
    house.runs_one("after");
    let mut agent = house.agent(&receiver);
    wait_until_known(&receiver, "after");
    agent.wait_until_told("cannot write");
    let _ = agent.terminate().exits(0);
    drop(disk);
}

#[test]
fn a_folder_that_cannot_be_made_is_told_at_the_start() {
    let (house, receiver) = (House::new(), Receiver::start());
    fs::write(house.spool(), "a file").unwrap();
    let run = start(&house.configuration("", &target(&receiver))).finish().exits(78);
    assert!(run.stderr.contains("cannot use the spool at") && run.stderr.contains("spool_dir"), "{}", run.stderr);
}

#[test]
fn what_is_damaged_is_put_aside_and_the_rest_is_delivered() {
    let (house, receiver) = (House::new(), Receiver::start());
    receiver.always(Some(Fault::Status(503, "")));
    house.runs_one("first");
    let agent = house.agent(&receiver);
    wait_until("reports wait", || house.waiting().len() >= 4);
    agent.kill();
    let waiting = house.waiting();
    let file = |number: u64| house.spool().join("reports").join(format!("{number:020}.zst"));
    let whole = fs::read(file(waiting[1])).unwrap();
    fs::write(file(waiting[1]), &whole[..whole.len() / 2]).unwrap();
    let mut flipped = fs::read(file(waiting[2])).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    fs::write(file(waiting[2]), flipped).unwrap();
    // And the body of a scope, which the runtime has no more.
    for body in fs::read_dir(house.spool().join("scopes")).unwrap() {
        fs::write(body.unwrap().path(), "garbage").unwrap();
    }
    receiver.always(None);
    house.runs_one("second");
    let mut agent = house.agent(&receiver);
    agent.wait_until_told("a report in the spool is damaged and was put aside");
    wait_until_known(&receiver, "second");
    house.wait_until_delivered();
    let _ = agent.terminate().exits(0);
    let ledger = receiver.end();
    let sequences = ledger.sequences();
    let expected: Vec<u64> =
        (1..=*sequences.last().unwrap()).filter(|it| ![waiting[1], waiting[2]].contains(it)).collect();
    assert_eq!(sequences, expected, "all but the two that were damaged");
    let told = serde_json::to_string(&ledger.reports[0].report).unwrap();
    assert!(told.contains("does not have its content any more"), "a scope without its body is no empty one: {told}");
    let aside = fs::read_dir(house.spool().join("aside")).unwrap().count();
    assert!(aside >= 3, "{aside}");
}

#[test]
fn a_body_that_is_damaged_while_it_is_needed_is_seen_again() {
    let (house, receiver) = (House::new(), Receiver::start());
    house.runs_one("web");
    let mut agent = house.agent(&receiver);
    wait_until_known(&receiver, "web");
    for body in fs::read_dir(house.spool().join("scopes")).unwrap() {
        fs::write(body.unwrap().path(), "garbage").unwrap();
    }
    // Nobody has it now.
    receiver.ledger().lose_contents();
    agent.wait_until_told("is damaged and was put aside");
    wait_until("a report says that it was lost", || {
        let ledger = receiver.ledger();
        ledger.reports.iter().any(|it| !it.report.sources[0].is_complete())
    });
    let had = receiver.ledger().reports.len();
    wait_until("it is there again", || {
        let ledger = receiver.ledger();
        ledger.reports.iter().skip(had).any(|it| it.report.sources[0].is_complete())
    });
    wait_until_known(&receiver, "web");
    let _ = agent.terminate().exits(0);
}

#[test]
fn a_disk_has_a_bound_and_the_oldest_goes_first() {
    let (house, receiver) = (House::new(), Receiver::start());
    receiver.always(Some(Fault::Status(503, "")));
    let targets = target(&receiver);
    let mut agent = house.agent_with("spool_max_size = '4KiB'", &targets);
    agent.wait_until_told("the oldest reports were dropped undelivered");
    wait_until("the first is gone", || !house.waiting().contains(&1));
    let _ = agent.terminate().exits(0);
    let waiting = house.waiting();
    receiver.always(None);
    // Without the bound: its own first report might push out one of those before that is delivered.
    let agent = house.agent_with("", &targets);
    house.wait_until_delivered();
    let _ = agent.terminate().exits(0);
    let sequences = receiver.end().sequences();
    assert!(
        sequences.starts_with(&waiting) && sequences[0] > 1,
        "the newest were kept, and their numbers tell what is missing: {sequences:?}"
    );
}
