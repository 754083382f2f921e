//! Replicas that take the same reports at once.

use std::{sync::atomic::Ordering::Relaxed, thread::sleep, time::Duration};

use fastrand::Rng;
use stocktake_tests::load::Fleet;

use super::{UNLIMITED, over_both, server_over};

const SEED: u64 = 2;
const ROUNDS: usize = 8;

over_both!(
    replicas_that_take_the_same_reports_at_once_over_sqlite,
    replicas_that_take_the_same_reports_at_once_over_postgresql,
    take_the_same
);

/// Reports that one of them knew of the other, and reports.
fn counts(fleet: &Fleet) -> (u64, u64) {
    let tally = fleet.tally();
    (tally.known.load(Relaxed), tally.acknowledged.load(Relaxed))
}

fn take_the_same(database: &str) {
    let server = server_over(database, UNLIMITED);
    let mut replica = server.replica();
    let mut fleet = Fleet::new(&server, 8, 20, SEED);
    fleet.go_to(&[&server, &replica]);
    let mut random = Rng::with_seed(SEED);
    // In all rounds without a kill: while one of them starts, the other alone takes what comes, on some machines for long.
    let (mut known, mut acknowledged) = (0, 0);
    for round in 0..ROUNDS {
        let before = counts(&fleet);
        fleet.start();
        sleep(Duration::from_millis(random.u64(300..700)));
        // Sometimes one of them dies, and the other one goes on.
        if round % 4 == 3 {
            replica.kill9();
            sleep(Duration::from_millis(200));
            replica.restart();
        }
        fleet.stop();
        if round % 4 != 3 {
            let after = counts(&fleet);
            known += after.0 - before.0;
            acknowledged += after.1 - before.1;
        }
        fleet.check();
    }
    assert!(
        known > acknowledged / 2,
        "both took the same reports: {known} of {acknowledged} were known to one of them"
    );
    fleet.conclude(
        &format!("two replicas, the same reports at once ({database})"),
        ROUNDS,
        &format!("{known} sent to both and taken once"),
    );
}
