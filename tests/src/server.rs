//! The inventory server's binary, run as a person runs it: on a port of its own, over a database of its own.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{agent::built, bed, daemon::free_port, tools, wait_until};

/// The password of `admin` in the servers of tests.
pub const PASSWORD: &str = "a password of tests";

/// What servers of tests encrypt secrets with that have PostgreSQL, unless their configuration names a file.
const KEY: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2";

/// The binary: `$STOCKTAKE_SERVER`, or the one that cargo puts beside the tests.
#[must_use]
pub fn binary() -> PathBuf {
    built("STOCKTAKE_SERVER", "stocktake-server")
}

/// The command line that asks a server, which `tests/run` has built.
#[must_use]
pub fn cli() -> PathBuf {
    std::env::var_os("STOCKTAKE_CLI").expect("STOCKTAKE_CLI names the binary `stocktake`; tests/run sets it").into()
}

/// `stocktake-server ARGUMENTS…`, with nothing in its environment but `PATH`.
#[must_use]
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(arguments);
    command
}

/// A server that runs. It is killed when this goes, and its database goes with it.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    port: u16,
    database: String,
    /// The database in PostgreSQL that goes, too.
    postgres: Option<String>,
    config: String,
    folder: TempDir,
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Server {
    /// A server over a new file of SQLite.
    #[must_use]
    pub fn sqlite() -> Self {
        Self::sqlite_with("")
    }

    /// The same, with this configuration (TOML).
    #[must_use]
    pub fn sqlite_with(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = folder.path().join("inventory.db").display().to_string();
        Self::start_over(database, None, config, folder)
    }

    /// A server over a new database in the bed's PostgreSQL, which the test has to need (`needs!("postgresql")`).
    #[must_use]
    pub fn postgres() -> Self {
        Self::postgres_with("")
    }

    /// The same, with this configuration (TOML).
    #[must_use]
    pub fn postgres_with(config: &str) -> Self {
        let name = format!("test_{}", Uuid::now_v7().simple());
        let _ = psql(&format!("CREATE DATABASE {name}"));
        let (server, _) = bed::POSTGRESQL.rsplit_once('/').expect("a URL with a database");
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_over(format!("{server}/{name}"), Some(name), config, folder)
    }

    fn start_over(database: String, postgres: Option<String>, config: &str, folder: TempDir) -> Self {
        let mut server = Self { child: None, port: free_port(), database, postgres, config: config.to_owned(), folder };
        server.start();
        server
    }

    /// A server over a database that the test has made: a path, or a URL. It outlives the server.
    #[must_use]
    pub fn over(database: &str, config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_over(database.to_owned(), None, config, folder)
    }

    /// Another server over the same database, which outlives that one and this.
    #[must_use]
    pub fn replica(&self) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_over(self.database.clone(), None, &self.config, folder)
    }

    fn start(&mut self) {
        let config = self.folder.path().join("server.toml");
        fs::write(&config, &self.config).expect("a temporary file");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a temporary file");
        let listen = format!("127.0.0.1:{}", self.port);
        let mut command = command(&["serve", "-v", "--listen", &listen, "--config"]);
        // Beside the command line, where a URL with a password would be seen.
        command.arg(config).env("STOCKTAKE_DATABASE_URL", &self.database).env("STOCKTAKE_ADMIN_PASSWORD", PASSWORD);
        if self.database.starts_with("postgres") {
            // One beside a file of SQLite it makes itself.
            command.env("STOCKTAKE_SECRET_KEY", KEY);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("cannot run {}: {error}", binary().display())));
        wait_until("the server to be ready", || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("a child can be waited for"));
            assert!(ended.is_none(), "the server ended ({ended:?}): {}", self.told());
            self.try_get("/readyz").is_some_and(|answer| answer.status == 200)
        });
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What it has told people so far, over all its starts.
    #[must_use]
    pub fn told(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Where it serves, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port where it serves.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What `--database` would be.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// A folder that lives as long as this.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process's number. Fails the test if it does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Asks without credentials.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|| panic!("{path} is not answered: {}", self.told()))
    }

    /// `Authorization` of `admin`.
    #[must_use]
    pub fn admin(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("admin:{PASSWORD}")))
    }

    /// Asks as `admin`, with a body of JSON unless it is null.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: &serde_json::Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "Authorization: {}\r\nContent-Type: application/json\r\nContent-Length: {}",
            self.admin(),
            body.len()
        );
        let answer = self.try_ask(&format!("{method} {path}"), &head, &body);
        answer.unwrap_or_else(|| panic!("{method} {path} is not answered: {}", self.told()))
    }

    fn try_get(&self, path: &str) -> Option<Answer> {
        self.try_ask(&format!("GET {path}"), "Accept: */*", "")
    }

    fn try_ask(&self, request: &str, head: &str, body: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(45))).ok()?;
        write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n\r\n{body}").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// The most memory that it has had since it was started, in bytes.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
        kibibytes * 1024
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        kill_process(Pid::from_child(child), signal).expect("a process of the test's own");
    }

    /// Kills it, which it cannot prevent, and waits for that.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Asks it to end, as a service manager does, and waits for that.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        child.wait().expect("a child can be waited for")
    }

    /// Starts it again, at the same port and over the same database. One that runs is killed before.
    pub fn restart(&mut self) {
        if self.child.is_some() {
            self.kill9();
        }
        self.start();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
        if let Some(name) = &self.postgres {
            let _ = psql(&format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// Runs a statement in the bed's PostgreSQL, as whoever may do everything, and returns what it prints.
#[must_use]
pub fn psql(statement: &str) -> String {
    run_psql(bed::POSTGRESQL, statement)
}

/// The same in another database than the bed's own.
#[must_use]
pub fn psql_in(database: &str, statement: &str) -> String {
    let (server, _) = bed::POSTGRESQL.rsplit_once('/').expect("a URL with a database");
    run_psql(&format!("{server}/{database}"), statement)
}

fn run_psql(url: &str, statement: &str) -> String {
    tools::output(Command::new("psql").args([
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        url,
        "-c",
        statement,
    ]))
}
