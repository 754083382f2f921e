//! A PostgreSQL that goes away: it is restarted, its processes are killed, another one takes over.

use std::{thread::sleep, time::Duration};

use fastrand::Rng;
use stocktake_tests::{
    gate::Gate,
    load::Fleet,
    needs,
    postgres::{self, Cluster},
    server::Server,
    wait_until,
};

use super::UNLIMITED;

const SEED: u64 = 5;
const ROUNDS: usize = 12;
const TAKEOVERS: usize = 3;

fn is_ready(server: &Server) -> bool {
    server.get("/readyz").status == 200
}

#[test]
fn a_database_that_goes_away_during_ingest_loses_nothing() {
    needs!("postgresql");
    let cluster = Cluster::new(&[]);
    let server = Server::over(&cluster.url(), UNLIMITED);
    let mut fleet = Fleet::new(&server, 12, 20, SEED);
    let mut random = Rng::with_seed(SEED);
    let (mut stopped, mut killed, mut ended) = (0, 0, 0);
    for round in 0..ROUNDS {
        fleet.start();
        sleep(Duration::from_millis(random.u64(100..500)));
        match round % 3 {
            0 => {
                cluster.stop();
                stopped += 1;
                sleep(Duration::from_millis(random.u64(0..300)));
                assert!(!is_ready(&server), "the server says that it can serve without its database");
                cluster.start_again();
            }
            1 => killed += usize::from(cluster.kill_backend()),
            _ => ended += cluster.end_connections(),
        }
        wait_until("the server to be ready", || is_ready(&server));
        fleet.stop();
        fleet.check();
    }
    assert!(stopped > 2 && killed > 2 && ended > 2, "{stopped} {killed} {ended}");
    let told = format!("{stopped} immediate stops, {killed} processes killed, {ended} connections ended");
    fleet.conclude("PostgreSQL goes away", ROUNDS, &told);
}

#[test]
fn a_standby_that_takes_over_has_all_that_was_acknowledged() {
    needs!("postgresql");
    let mut primary = Cluster::new(&SYNCHRONOUS);
    let address = Gate::new(primary.port());
    let server = Server::over(&postgres::url(address.port(), "inventory"), UNLIMITED);
    let mut fleet = Fleet::new(&server, 12, 20, SEED);
    let mut random = Rng::with_seed(SEED);
    for _ in 0..TAKEOVERS {
        let standby = primary.standby();
        // From now on nothing is committed that the standby does not have.
        let _ = primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        let _ = primary.sql("postgres", "SELECT pg_reload_conf()");
        wait_until("the standby to be synchronous", || {
            primary.sql("postgres", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").trim() == "1"
        });
        fleet.start();
        sleep(Duration::from_millis(random.u64(500..1000)));
        primary.stop();
        sleep(Duration::from_millis(200));
        standby.promote();
        address.lead_to(standby.port());
        wait_until("the server to be ready", || is_ready(&server));
        sleep(Duration::from_millis(300));
        fleet.stop();
        primary = standby;
        fleet.check();
    }
    fleet.conclude("a standby takes over (PostgreSQL)", TAKEOVERS, &format!("{TAKEOVERS} primaries lost"));
}

/// An acknowledged report is on two machines.
const SYNCHRONOUS: [&str; 1] = ["synchronous_commit=remote_apply"];
