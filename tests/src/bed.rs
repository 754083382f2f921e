//! The test bed: which parts of it are up, where they are, and what is in them (`bed/README.md`).

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

/// Sockets, kubeconfigs and logs of the bed.
pub const RUN: &str = "/run/stocktake-bed";
/// Docker 20.10.
pub const DOCKER: &str = "/run/stocktake-bed/docker/docker.sock";
/// Docker 28.5.
pub const DOCKER_NEXT: &str = "/run/stocktake-bed/docker-next/docker.sock";
/// Podman.
pub const PODMAN: &str = "/run/stocktake-bed/podman/podman.sock";
/// containerd 1.6.
pub const CONTAINERD: &str = "/run/stocktake-bed/containerd/containerd.sock";
/// containerd 2.1.
pub const CONTAINERD_NEXT: &str = "/run/stocktake-bed/docker-next/containerd.sock";
/// The folder of LXC's containers.
pub const LXC: &str = "/var/lib/stocktake-bed/lxc";
/// PostgreSQL: a database in which to make others.
pub const POSTGRESQL: &str = "postgres://stocktake@127.0.0.1:15432/postgres";
/// Docker 20.10 over TCP with TLS.
pub const DOCKER_TCP: &str = "tcp://127.0.0.1:12376";
/// Its certificates, as `DOCKER_CERT_PATH` wants them.
pub const DOCKER_TLS: &str = "/run/stocktake-bed/docker/tls";
/// Metrics of containerd 1.6.
pub const CONTAINERD_METRICS: &str = "127.0.0.1:11338";
/// Metrics of containerd 2.1.
pub const CONTAINERD_NEXT_METRICS: &str = "127.0.0.1:11339";

/// An image that was never in a registry.
pub const SIDE_IMAGE: &str = "example.com/bed/side:2.0";
/// An image that was pulled: an index of two platforms.
pub const APP_IMAGE: &str = "127.0.0.1:15000/team/app:1.0";

/// The kubeconfig of one of the cluster's users.
#[must_use]
pub fn kubeconfig(user: &str) -> String {
    format!("{RUN}/kubernetes/{user}.kubeconfig")
}

/// Whether the test may go on. `false` if `STOCKTAKE_BED_SKIP` leaves the component out, which is printed.
///
/// `root` is a component too: without it nothing else is to be had.
#[must_use]
pub fn require(component: &str) -> bool {
    // What stands on containerd goes with it, as in `bed up`.
    let stands_on_containerd = matches!(component, "docker" | "kubernetes");
    let skipped = env::var("STOCKTAKE_BED_SKIP").unwrap_or_default();
    if skipped.split_whitespace().any(|word| word == component || (word == "containerd" && stands_on_containerd)) {
        say_skipped(&format!("(STOCKTAKE_BED_SKIP): {component}"));
        return false;
    }
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    assert!(
        is_root,
        "this test has to be run as root: run `sudo make test`; STOCKTAKE_BED_SKIP=\"root {}\" goes without",
        COLLECTORS.map(|(component, _)| component).join(" ")
    );
    if component == "root" {
        return true;
    }
    let state = state_of(component);
    assert_eq!(
        state, "up",
        "the test bed's {component} is {state}: run `make test`, or `sudo tests/bed/bed up {component}`; \
         STOCKTAKE_BED_SKIP={component} goes without it"
    );
    true
}

/// Says that something was passed over.
pub fn say_skipped(what: &str) {
    say(&format!("SKIPPED {what}"));
}

/// Says something where a test that succeeds is otherwise not heard.
pub fn say(what: &str) {
    // Not `eprintln`, which the test program keeps to itself unless the test fails.
    writeln!(io::stderr(), "{what}").expect("stderr");
}

/// The components of the bed, each with the collectors that [`config`] has for it.
const COLLECTORS: [(&str, &[&str]); 7] = [
    ("docker", &["docker"]),
    ("docker-next", &["docker-next", "containerd-next"]),
    ("podman", &["podman"]),
    // Only the agent in `examples/lxc` has a collector for it.
    ("lxc", &[]),
    // What the server keeps its inventory in.
    ("postgresql", &[]),
    ("containerd", &["containerd"]),
    ("kubernetes", &["kubernetes", "cri"]),
];

/// The collectors of [`config`] for what is not skipped.
#[must_use]
pub fn collectors() -> Vec<&'static str> {
    COLLECTORS.iter().filter(|(component, _)| require(component)).flat_map(|(_, names)| names.iter().copied()).collect()
}

/// What `bed status` has said last.
static STATUS: Mutex<Status> = Mutex::new(Status { told: String::new(), asks_left: 6 });

struct Status {
    told: String,
    asks_left: u32,
}

fn state_of(component: &str) -> String {
    let mut status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    // Once for all tests; a few times more where something is not up, since one answer that takes long would fail them all.
    while word_of(&status.told, component) != Some("up") && status.asks_left > 0 {
        if !status.told.is_empty() {
            thread::sleep(Duration::from_secs(2));
        }
        *status = Status { told: bed(&["status"]), asks_left: status.asks_left - 1 };
    }
    let told = status.told.clone();
    drop(status);
    word_of(&told, component)
        .unwrap_or_else(|| panic!("`bed status` does not know {component}; run the tests as root. It says: {told}"))
        .to_owned()
}

fn word_of<'a>(status: &'a str, component: &str) -> Option<&'a str> {
    let line = status.lines().find(|line| line.split_whitespace().next() == Some(component))?;
    line.split_whitespace().nth(1)
}

/// The agent's configuration for all of the bed that is up: every collector, every state.
#[must_use]
pub fn config() -> String {
    bed(&["config"])
}

fn bed(arguments: &[&str]) -> String {
    let script = crate::repository().join("tests/bed/bed");
    let output = Command::new(script).args(arguments).output().expect("tests/bed/bed can be run");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
