//! An agent that is killed at any moment.

use std::{collections::BTreeSet, thread::sleep, time::Duration};

use stocktake_tests::{
    receiver::{Fault, Receiver},
    wait_until,
};

use crate::house::{House, assert_no_gap, start, target};

/// How often it is killed.
const KILLS: u64 = 300;

/// Numbers that look random and are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A report is made once it is in the spool. Each that was seen there has been delivered in the end, once in effect, and is
/// gone from there.
#[test]
fn an_agent_that_is_killed_at_random_moments_loses_nothing() {
    let (house, receiver) = (House::new(), Receiver::start());
    let configuration = house.configuration("", &target(&receiver));
    let mut random = Random(0x5dee_ce66_d123_4567);
    let mut made = BTreeSet::new();
    for round in 0..KILLS {
        house.runs_one(&format!("container-{round}"));
        // Sometimes an answer is lost, too, and sometimes the server takes nothing.
        receiver.then(match random.below(4) {
            0 => vec![Fault::TakenUnanswered],
            1 => vec![Fault::Status(503, ""), Fault::Status(503, "")],
            _ => Vec::new(),
        });
        let agent = start(&configuration);
        // Where the machine is slow, most kills come before there is anything to lose. Of some that is made sure.
        if round % 4 == 0 {
            receiver.then([Fault::Status(503, ""), Fault::Status(503, "")]);
            wait_until("a report in the spool", || house.waiting().last() > made.last());
        }
        sleep(Duration::from_micros(random.below(120_000)));
        agent.kill();
        made.extend(house.waiting());
    }
    receiver.soundly();
    let agent = start(&configuration);
    house.wait_until_delivered();
    let _ = agent.terminate().exits(0);
    let ledger = receiver.end();
    let sequences = ledger.sequences();
    println!(
        "{KILLS} kills: {} reports seen in the spool, {} delivered, {} of them more than once, 0 lost",
        made.len(),
        sequences.len(),
        ledger.repeated
    );
    assert_no_gap(&sequences);
    let delivered: BTreeSet<u64> = sequences.into_iter().collect();
    assert_eq!(made.difference(&delivered).collect::<Vec<_>>(), [] as [&u64; 0]);
    assert!(made.len() > 20, "the kills came while there was something to lose: {}", made.len());
    assert_eq!(house.waiting(), [] as [u64; 0]);
}
