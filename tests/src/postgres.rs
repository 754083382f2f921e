//! PostgreSQL clusters of a test's own, which it may kill, stop and let take over from each other.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};
use stocktake_core::conformance::Daemon as _;

use crate::{
    daemon::{Process, free_port},
    home::Home,
    tools, wait_until,
};

/// Programs of Debian's package, which the test bed installs.
const BIN: &str = "/usr/lib/postgresql/15/bin";

/// Processes are killed here, and no power is cut: what was written stays, synced or not.
const SETTINGS: [&str; 4] = ["fsync=off", "shared_buffers=32MB", "max_connections=60", "max_wal_senders=4"];

/// A cluster with one database, `inventory`, of the user `stocktake`. It goes when this goes.
#[derive(Debug)]
pub struct Cluster {
    // It ends before its files go.
    process: Process,
    port: u16,
    _home: Home,
}

impl Cluster {
    /// A new one, with settings such as `synchronous_commit=off`.
    #[must_use]
    pub fn new(settings: &[&str]) -> Self {
        let home = home();
        let data = home.path("data");
        tools::output(as_postgres("initdb").args(["-D", &data, "-U", "stocktake", "--auth", "trust"]).args([
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--no-sync",
        ]));
        let cluster = Self::start(home, settings);
        let _ = cluster.sql("postgres", "CREATE DATABASE inventory");
        cluster
    }

    /// A copy of this one, which follows it until it is promoted.
    #[must_use]
    pub fn standby(&self) -> Self {
        let home = home();
        let port = self.port.to_string();
        tools::output(
            as_postgres("pg_basebackup").args(["-D", &home.path("data"), "-R", "-X", "stream", "-c", "fast"]).args([
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                "stocktake",
                "--no-sync",
            ]),
        );
        let standby = Self::start(home, &[]);
        wait_until("the standby to follow", || {
            self.sql("postgres", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").trim() == "1"
        });
        standby
    }

    fn start(home: Home, settings: &[&str]) -> Self {
        let port = free_port();
        let (data, log) = (home.path("data"), home.path("log"));
        let settings: Vec<String> = SETTINGS.iter().chain(settings).map(|setting| format!("-c{setting}")).collect();
        let sockets = format!("-cunix_socket_directories={}", home.path("."));
        let command = move || {
            let mut command = as_postgres("postgres");
            command.args(["-D", &data, "-p", &port.to_string(), "-clisten_addresses=127.0.0.1", &sockets]);
            command.args(&settings);
            command
        };
        let is_ready = move || {
            let mut ask = Command::new(format!("{BIN}/pg_isready"));
            ask.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status().is_ok_and(|status| status.success())
        };
        Self { process: Process::start("postgres", log, command, is_ready), port, _home: home }
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its database, as a server is told it.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.port, "inventory")
    }

    /// Runs a statement, and returns what it prints.
    #[must_use]
    pub fn sql(&self, database: &str, statement: &str) -> String {
        self.try_sql(database, statement).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_sql(&self, database: &str, statement: &str) -> Result<String, String> {
        let mut psql = Command::new(format!("{BIN}/psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        tools::try_output(psql.args(["-d", &url(self.port, database), "-c", statement]))
    }

    /// A program of PostgreSQL's, to be used with this cluster.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(format!("{BIN}/{name}"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "stocktake"]);
        command
    }

    /// Ends it as `pg_ctl stop --mode=immediate` does: nothing is written any more. It recovers when it is started.
    pub fn stop(&self) {
        let id = self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).expect("it runs");
        kill_process(id, Signal::QUIT).expect("a process of the test's own");
        // Its children end with it, and give back the memory that they share.
        wait_until("PostgreSQL to end", || {
            fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero())).is_ok_and(|stat| stat.contains(") Z "))
        });
        drop(self.process.kill());
    }

    /// Starts it again.
    pub fn start_again(&self) {
        self.process.start().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Kills one of the processes that serve the database, at which PostgreSQL ends all of them and recovers, which is waited for.
    /// Whether there was one.
    #[must_use]
    pub fn kill_backend(&self) -> bool {
        let pids =
            self.sql("postgres", "SELECT pid FROM pg_stat_activity WHERE datname = 'inventory' ORDER BY state LIMIT 1");
        let pid = pids.trim().parse().ok().and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|pid| kill_process(*pid, Signal::KILL).is_ok()) else { return false };
        // Until PostgreSQL has noticed, it answers as before.
        let process = format!("/proc/{}", pid.as_raw_nonzero());
        wait_until("PostgreSQL to notice the kill", || !Path::new(&process).exists());
        wait_until("PostgreSQL to recover", || self.try_sql("postgres", "SELECT 1").is_ok());
        true
    }

    /// Ends all connections to the database, as an administrator may. How many there were.
    #[must_use]
    pub fn end_connections(&self) -> usize {
        let statement = "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'inventory') AS e";
        self.sql("postgres", statement).trim().parse().expect("a number")
    }

    /// Lets a standby take over.
    pub fn promote(&self) {
        assert_eq!(self.sql("postgres", "SELECT pg_promote()").trim(), "t");
    }
}

/// The URL of a database, at any port that leads to it.
#[must_use]
pub fn url(port: u16, database: &str) -> String {
    format!("postgres://stocktake@127.0.0.1:{port}/{database}")
}

/// A place that the user `postgres` may use: PostgreSQL refuses to run as root.
fn home() -> Home {
    let home = Home::new("postgres");
    let (id, group) = postgres();
    let path = home.path(".");
    let folder = Path::new(&path);
    chown(folder, Some(id), Some(group)).expect("the test runs as root");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("a folder of the test's own");
    home
}

fn postgres() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let user = users.lines().find(|line| line.starts_with("postgres:")).expect("Debian's package brings the user");
    let mut ids = user.split(':').skip(2).map(|id| id.parse().expect("a number"));
    (ids.next().expect("a user"), ids.next().expect("a group"))
}

fn as_postgres(program: &str) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.env_clear().args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
    command.arg(format!("{BIN}/{program}"));
    command
}
