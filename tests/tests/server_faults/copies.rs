//! Copies that are made during ingest, and served afterwards.

use std::{process::Command, thread::sleep, time::Duration};

use stocktake_tests::{
    load::Fleet,
    needs,
    postgres::{self, Cluster},
    server::{Server, command},
    tools,
};

use super::UNLIMITED;

const SEED: u64 = 6;
const COPIES: usize = 3;

/// Makes copies while agents report, and serves each of them to agents that know more than it does.
fn copies(database: &str, mut server: Server, copy: impl Fn(&Server, usize) -> String) {
    let mut fleet = Fleet::new(&server, 12, 20, SEED);
    for number in 0..COPIES {
        fleet.start();
        sleep(Duration::from_millis(400));
        let made = copy(&server, number);
        sleep(Duration::from_millis(400));
        fleet.stop();
        fleet.check();
        // What came after the copy is not in it, and agents find that out by themselves.
        let restored = Server::over(&made, UNLIMITED);
        fleet.go_to(&[&restored]);
        fleet.forget_acknowledgements();
        fleet.report_soundly();
        fleet.check();
        server = restored;
    }
    let healed = fleet.tally().healed.load(std::sync::atomic::Ordering::Relaxed);
    assert!(healed > 0, "the copies were older than what agents had delivered");
    fleet.conclude(
        &format!("backup and restore during ingest ({database})"),
        COPIES,
        &format!("{COPIES} copies served"),
    );
    drop(server);
}

#[test]
fn a_copy_of_sqlite_that_was_made_during_ingest_is_served() {
    let folder = tempfile::tempdir().unwrap();
    copies("SQLite", Server::sqlite_with(UNLIMITED), |server, number| {
        let file = folder.path().join(format!("copy-{number}.db"));
        tools::output(command(&["backup"]).arg(&file).env("STOCKTAKE_DATABASE_URL", server.database()));
        file.display().to_string()
    });
}

#[test]
fn a_dump_of_postgresql_that_was_made_during_ingest_is_served() {
    needs!("postgresql");
    let cluster = Cluster::new(&[]);
    let folder = tempfile::tempdir().unwrap();
    copies("PostgreSQL", Server::over(&cluster.url(), UNLIMITED), |server, number| {
        let file = folder.path().join(format!("copy-{number}.dump"));
        let (_, from) = server.database().rsplit_once('/').unwrap();
        let to = format!("copy_{number}");
        tools::output(cluster.program("pg_dump").args(["--format=custom", "--dbname", from, "--file"]).arg(&file));
        let _ = cluster.sql("postgres", &format!("CREATE DATABASE {to}"));
        let restore: &mut Command = &mut cluster.program("pg_restore");
        tools::output(restore.args(["--exit-on-error", "--dbname", &to]).arg(&file));
        postgres::url(cluster.port(), &to)
    });
}
