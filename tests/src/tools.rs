//! The runtimes' own tools, which say what the truth is.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::bed;

/// What a tool prints. Fails the test if the tool fails.
#[track_caller]
pub fn output(command: &mut Command) -> String {
    try_output(command).unwrap_or_else(|error| panic!("{error}"))
}

/// What a tool prints, or what it complains about.
pub fn try_output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// What a tool prints, as JSON.
#[track_caller]
pub fn json(command: &mut Command) -> Value {
    let text = output(command);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command:?} prints no JSON ({error}): {text}"))
}

/// Copies a program that is run afterwards. Another process copies it: a test beside this one may fork while the file is open for
/// writing, and it could then not be run (`ETXTBSY`).
#[track_caller]
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    output(Command::new("/bin/cp").arg("--preserve=mode").arg(from.as_ref()).arg(to.as_ref()));
}

/// `docker`, Debian's, for the daemon at `socket` and free of the user's own configuration.
#[must_use]
pub fn docker(socket: &str) -> Command {
    let mut command = Command::new("/usr/bin/docker");
    command.env_clear().env("DOCKER_CONFIG", "/nonexistent").args(["-H", &format!("unix://{socket}")]);
    // The client is older than the daemon and would ask for an answer of its own time.
    if socket == bed::DOCKER_NEXT {
        command.env("DOCKER_API_VERSION", "1.51");
    }
    command
}

/// A program in the root where Docker 28.5 runs, where `docker` and `docker compose` are of its age and find it by themselves. Of the
/// machine's files it has the folder of that Docker, [`bed::DOCKER_NEXT`]'s.
#[must_use]
pub fn beside_docker_next(program: &str) -> Command {
    let process = format!("{}/pid/docker-next-containerd.pid", bed::RUN);
    let process = fs::read_to_string(&process).unwrap_or_else(|error| panic!("{process}: {error}"));
    let mut command = Command::new("/usr/bin/nsenter");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DOCKER_CONFIG", "/nonexistent");
    command.args(["--mount", "--root", "--wd", "--target", process.trim(), program]);
    command
}

/// `ctr` in one namespace of the containerd at `socket`.
#[must_use]
pub fn ctr(socket: &str, namespace: &str) -> Command {
    let mut command = Command::new("/usr/bin/ctr");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(["--address", socket, "--namespace", namespace]);
    command
}

/// `kubectl` of the cluster's version, as administrator.
#[must_use]
pub fn kubectl() -> Command {
    let mut command = Command::new(format!("{}/bin/kubectl", bed::RUN));
    let cache = format!("{}/kubernetes/cache", bed::RUN);
    command.env_clear().args(["--kubeconfig", &bed::kubeconfig("admin"), "--cache-dir", &cache]);
    command
}

/// The words of a table's rows, without its heading.
#[must_use]
pub fn rows(table: &str) -> Vec<Vec<String>> {
    table.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}
