//! The inventory server as a program, while what it stands on fails: after each fault no report that was acknowledged is missing, and
//! none is half applied. Each test prints a line, `FAULT …`, with what it has counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod checker;
mod copies;
mod database;
mod disk;
mod hostile;
mod kills;
mod large;
mod many;
mod poison;
mod replicas;

use stocktake_tests::server::Server;

/// How many reports are taken from one address is not what is tried here.
const UNLIMITED: &str = "[limits]\nrequests_per_second = 0\n";

/// A server over SQLite or PostgreSQL.
fn server_over(database: &str, config: &str) -> Server {
    match database {
        "SQLite" => Server::sqlite_with(config),
        _ => Server::postgres_with(config),
    }
}

/// What both databases have to stand: a test for each of them.
macro_rules! over_both {
    ($sqlite:ident, $postgres:ident, $fault:expr) => {
        #[test]
        fn $sqlite() {
            $fault("SQLite");
        }

        #[test]
        fn $postgres() {
            stocktake_tests::needs!("postgresql");
            $fault("PostgreSQL");
        }
    };
}
use over_both;
