//! All agents of a large site at once.

use std::time::Instant;

use stocktake_tests::load::Fleet;

use super::{UNLIMITED, over_both, server_over};

const SEED: u64 = 3;
const AGENTS: usize = 2000;

/// What a server may take for it, in bytes: it holds what its limits let in, not what all agents have.
const MEMORY: u64 = 700 << 20;

over_both!(
    two_thousand_agents_at_once_are_all_taken_by_sqlite,
    two_thousand_agents_at_once_are_all_taken_by_postgresql,
    all_at_once
);

fn all_at_once(database: &str) {
    let server = server_over(database, UNLIMITED);
    let mut fleet = Fleet::new(&server, AGENTS, 4, SEED);
    let began = Instant::now();
    for _ in 0..2 {
        fleet.report_once();
    }
    let (took, memory) = (began.elapsed(), server.peak_memory());
    let told = format!("{took:.1?}, server's memory {} MiB at the most", memory >> 20);
    fleet.conclude(&format!("2,000 agents at once ({database})"), 2, &told);
    assert!(memory < MEMORY, "the server took {memory} bytes");
}
