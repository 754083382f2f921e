//! The least that it can take to have the rows of a report in a database: it is told to copy them to tables of the same make.

use std::{process::Command, time::Instant};

use stocktake_tests::{
    bench::served::{Kind, Served},
    server, tools,
};

const TABLES: [&str; 8] = ["body", "workload", "pod", "container", "image_use", "image", "event", "label"];

/// Copies in one transaction, with a commit that lasts.
const SQLITE: &str = r#"
import sqlite3, sys, time
source, copy, tables = sys.argv[1], sys.argv[1] + ".floor", sys.argv[2:]
with sqlite3.connect(copy, isolation_level=None) as db:
    db.execute("ATTACH ? AS source", (source,))
    marks = ",".join("?" * len(tables))
    for (sql,) in db.execute(f"SELECT sql FROM source.sqlite_schema WHERE tbl_name IN ({marks}) AND sql IS NOT NULL ORDER BY type DESC", tables).fetchall():
        db.execute(sql)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    began = time.monotonic()
    db.execute("BEGIN")
    for table in tables:
        db.execute(f"INSERT INTO main.{table} SELECT * FROM source.{table}")
    db.execute("COMMIT")
    print(time.monotonic() - began)
"#;

/// Seconds that it takes.
pub(super) fn load(served: &Served) -> anyhow::Result<f64> {
    match served.kind {
        Kind::Sqlite => {
            let mut python = Command::new("python3");
            python.args(["-c", SQLITE, served.server.database()]).args(TABLES);
            Ok(tools::output(&mut python).trim().parse()?)
        }
        Kind::Postgres => {
            let name = served.server.database().rsplit('/').next().unwrap_or_default();
            let make: Vec<String> = TABLES
                .iter()
                .map(|table| format!("CREATE TABLE floor.{table} (LIKE public.{table} INCLUDING ALL)"))
                .collect();
            let _ = server::psql_in(name, &format!("CREATE SCHEMA floor; {}", make.join("; ")));
            let copy: Vec<String> =
                TABLES.iter().map(|table| format!("INSERT INTO floor.{table} SELECT * FROM public.{table}")).collect();
            let began = Instant::now();
            let _ = server::psql_in(name, &format!("BEGIN; {}; COMMIT", copy.join("; ")));
            let took = began.elapsed().as_secs_f64();
            let _ = server::psql_in(name, "DROP SCHEMA floor CASCADE");
            Ok(took)
        }
    }
}
