//! The agent's binary, run as a person runs it: with arguments, in a clean environment.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{report::Report, running::Running};

/// The binary: `$STOCKTAKE_AGENT`, or the one that cargo puts beside the tests.
#[must_use]
pub fn binary() -> PathBuf {
    built("STOCKTAKE_AGENT", "stocktake-agent")
}

/// The binary of the agent in `examples/lxc`: `$EXAMPLE_AGENT_LXC`, or the one that cargo puts beside the tests.
#[must_use]
pub fn example_lxc() -> PathBuf {
    built("EXAMPLE_AGENT_LXC", "example-agent-lxc")
}

/// A program of this workspace: what the variable names, or what cargo puts beside the tests.
#[must_use]
pub fn built(variable: &str, package: &str) -> PathBuf {
    let beside_the_tests = || {
        // target/debug/deps/SUITE
        let suite = env::current_exe().expect("a test knows its own path");
        suite.ancestors().nth(2).expect("tests are in target/PROFILE/deps").join(package)
    };
    let path = env::var_os(variable).map_or_else(beside_the_tests, PathBuf::from);
    assert!(
        path.is_file(),
        "there is no {package} at {}: run `make test`, which builds it, or `cargo build -p {package}`",
        path.display()
    );
    path
}

/// A run of the agent that is being prepared.
#[derive(Debug)]
pub struct Agent {
    command: Command,
    stdin: String,
    /// Holds the configuration as long as the run needs it.
    folder: TempDir,
}

impl Agent {
    /// `stocktake-agent ARGUMENTS…`, with nothing in its environment but `PATH`.
    #[must_use]
    pub fn new(arguments: &[&str]) -> Self {
        let mut agent = Self::through(Command::new(binary()));
        agent.command.args(arguments);
        agent
    }

    /// What `command` starts, which has to be the agent.
    #[must_use]
    pub fn through(mut command: Command) -> Self {
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Self { command, stdin: String::new(), folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// `stocktake-agent collect --config FILE ARGUMENTS…`, the file holding `config`.
    #[must_use]
    pub fn collect(config: &str, arguments: &[&str]) -> Self {
        Self::with_config("collect", config, arguments)
    }

    /// `stocktake-agent COMMAND --config FILE ARGUMENTS…`, the file holding `config`.
    #[must_use]
    pub fn with_config(command: &str, config: &str, arguments: &[&str]) -> Self {
        let mut agent = Self::new(&[command, "--config"]);
        let path = agent.folder.path().join("agent.toml");
        fs::write(&path, config).expect("a temporary file");
        agent.command.arg(path).args(arguments);
        agent
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// A folder that lives as long as the run.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the process something to read.
    #[must_use]
    pub fn stdin(mut self, text: &str) -> Self {
        text.clone_into(&mut self.stdin);
        self
    }

    /// The command, to be started by the test itself.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Starts it.
    #[must_use]
    pub fn start(mut self) -> Running {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", self.command.get_program().display()));
        let mut stdin = child.stdin.take().expect("it is piped");
        let running = Running::new(child, self.folder);
        stdin.write_all(self.stdin.as_bytes()).expect("the agent reads or ignores its input");
        running
    }

    /// Runs it to its end.
    #[must_use]
    pub fn run(self) -> Run {
        self.start().finish()
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// What people are told.
    pub stderr: String,
}

impl Run {
    /// The same run, which must have ended with `code`.
    #[must_use]
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code\n{self}");
        self
    }

    /// The same run, which must have said `part` to people.
    #[must_use]
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "stderr does not say {part:?}\n{self}");
        self
    }

    /// The report that it printed.
    #[must_use]
    #[track_caller]
    pub fn report(&self) -> Report {
        let inventory = serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no report: {error}\n{self}"));
        Report { inventory }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stdout: String = self.stdout.chars().take(4000).collect();
        write!(f, "exit code: {:?}\n--- stdout\n{stdout}\n--- stderr\n{}", self.code, self.stderr)
    }
}
