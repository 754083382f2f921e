//! A server that is killed at any moment.

use std::{thread::sleep, time::Duration};

use fastrand::Rng;
use stocktake_tests::{load::Fleet, wait_until};

use super::{UNLIMITED, over_both, server_over};

const SEED: u64 = 1;
const KILLS: usize = 25;

over_both!(
    a_server_that_is_killed_loses_nothing_in_sqlite,
    a_server_that_is_killed_loses_nothing_in_postgresql,
    is_killed
);

fn is_killed(database: &str) {
    let mut server = server_over(database, UNLIMITED);
    let mut fleet = Fleet::new(&server, 12, 20, SEED);
    let mut random = Rng::with_seed(SEED);
    let mut in_doubt = 0;
    for _ in 0..KILLS {
        let enough = fleet.acknowledged() + random.u64(5..30);
        fleet.start();
        wait_until("reports to be taken", || fleet.acknowledged() >= enough);
        sleep(Duration::from_millis(random.u64(0..40)));
        server.kill9();
        fleet.stop();
        in_doubt += fleet.in_doubt();
        server.restart();
        fleet.check();
    }
    assert!(in_doubt >= KILLS, "the kills came while reports were under way: {in_doubt}");
    fleet.conclude(&format!("kill -9 ({database})"), KILLS, &format!("{in_doubt} under way when killed"));
}
