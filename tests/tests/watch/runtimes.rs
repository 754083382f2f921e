//! Real runtimes tell what changes, and the agent waits for nothing else.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use stocktake_core::conformance::Daemon as _;
use stocktake_tests::{
    bed,
    cleanup::Cleanup,
    home::Home,
    needs,
    private::{Dockerd, IMAGES, WITHOUT_CRI, containerd},
    tools,
};

use crate::{Known, LIMIT, Watch};

fn docker_config(socket: &str) -> String {
    format!("[collectors.docker]\nhost = 'unix://{socket}'\nstates = ['all']\n")
}

fn containerd_config(socket: &str) -> String {
    format!("[collectors.containerd]\naddress = '{socket}'\nstates = ['all']\n")
}

/// Nobody else's: other tests may have containers come and go beside this one.
fn name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("told-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A life in the words of each runtime: which call, and in which state the container is then.
fn is_told(config: &str, life: &[(&dyn Fn(), Option<&str>)], name: &str) {
    let watch = Watch::told(config);
    let mut known = Known::default();
    known.read_until(&watch, "the first report", |known| !known.0.is_empty());
    for (act, state) in life {
        act();
        known.read_until(&watch, &format!("{name} to be {state:?}"), |known| known.state(name) == *state);
    }
    let (_, stderr) = watch.end(Signal::TERM);
    assert_eq!(stderr, "");
}

fn docker_tells(socket: &str, config: &str) {
    let name = name();
    let docker = |arguments: &[&str]| drop(tools::output(tools::docker(socket).args(arguments).arg(&name)));
    let _cleanup = Cleanup::new(|| drop(tools::try_output(tools::docker(socket).args(["rm", "--force", &name]))));
    let create = || {
        let arguments = ["create", "--name", &name, "--network", "none", bed::SIDE_IMAGE, "/bin/hold"];
        drop(tools::output(tools::docker(socket).args(arguments)));
    };
    is_told(
        config,
        &[
            (&create, Some("created")),
            (&|| docker(&["start"]), Some("running")),
            (&|| docker(&["pause"]), Some("paused")),
            (&|| docker(&["unpause"]), Some("running")),
            (&|| docker(&["kill"]), Some("exited")),
            (&|| docker(&["rm"]), None),
        ],
        &name,
    );
}

#[test]
fn docker_20_tells() {
    needs!("docker");
    docker_tells(bed::DOCKER, &docker_config(bed::DOCKER));
}

#[test]
fn docker_28_tells() {
    needs!("docker-next");
    docker_tells(bed::DOCKER_NEXT, &docker_config(bed::DOCKER_NEXT));
}

#[test]
fn docker_tells_over_tls() {
    needs!("docker");
    let file = |name: &str| format!("'{}/{name}.pem'", bed::DOCKER_TLS);
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    let tls = format!("tls = {{ ca_file = {ca}, cert_file = {cert}, key_file = {key} }}");
    let config = format!("[collectors.docker]\nhost = '{}'\nstates = ['all']\n{tls}\n", bed::DOCKER_TCP);
    docker_tells(bed::DOCKER, &config);
}

#[test]
fn podman_tells() {
    needs!("podman");
    let name = name();
    let podman = |arguments: &[&str]| {
        let mut command = Command::new("/usr/bin/podman");
        command.args(["--remote", "--url", &format!("unix://{}", bed::PODMAN)]).args(arguments);
        command
    };
    let run = |arguments: &[&str]| drop(tools::output(podman(arguments).arg(&name)));
    let _cleanup = Cleanup::new(|| drop(tools::try_output(&mut podman(&["rm", "--force", &name]))));
    let image =
        tools::json(Command::new("/usr/bin/curl").args(["-s", "--unix-socket", bed::PODMAN, "http://d/images/json"]));
    let image = image[0]["Id"].as_str().unwrap().to_owned();
    let create = || {
        let arguments = ["create", "--name", &name, "--network", "none", "--cgroup-parent", "/stocktake-bed/podman"];
        drop(tools::output(podman(&arguments).args([&image, "/bin/hold"])));
    };
    is_told(
        &docker_config(bed::PODMAN),
        &[
            (&create, Some("created")),
            (&|| run(&["start"]), Some("running")),
            (&|| run(&["pause"]), Some("paused")),
            (&|| run(&["unpause"]), Some("running")),
            (&|| run(&["stop", "--time", "0"]), Some("exited")),
            (&|| run(&["rm"]), None),
        ],
        &name,
    );
}

fn containerd_tells(socket: &str) {
    let (name, namespace) = (name(), format!("ns-{}", name()));
    let ctr = |arguments: &[&str]| tools::output(tools::ctr(socket, &namespace).args(arguments));
    let _cleanup = Cleanup::new(|| remove_namespace(socket, &namespace));
    let side = format!("{IMAGES}/side.tar");
    let create = || {
        ctr(&["images", "import", &side]);
        ctr(&["containers", "create", bed::SIDE_IMAGE, &name]);
    };
    let start = || drop(ctr(&["tasks", "start", "--detach", "--null-io", &name]));
    let end = || {
        ctr(&["tasks", "kill", "--signal", "KILL", &name]);
    };
    let remove = || {
        drop(tools::try_output(tools::ctr(socket, &namespace).args(["tasks", "delete", &name])));
        ctr(&["containers", "delete", &name]);
    };
    is_told(
        &containerd_config(socket),
        &[
            // It has no task.
            (&create, Some("stopped")),
            (&start, Some("running")),
            (&|| drop(ctr(&["tasks", "pause", &name])), Some("paused")),
            (&|| drop(ctr(&["tasks", "resume", &name])), Some("running")),
            (&end, Some("exited")),
            (&remove, None),
        ],
        &name,
    );
}

/// With all that is in it.
fn remove_namespace(socket: &str, namespace: &str) {
    let ctr = |arguments: &[&str]| tools::try_output(tools::ctr(socket, namespace).args(arguments)).unwrap_or_default();
    for kind in ["tasks", "containers", "images"] {
        for thing in ctr(&[kind, "list", "--quiet"]).split_whitespace() {
            let force: &[&str] = if kind == "tasks" { &["--force"] } else { &[] };
            ctr(&[&[kind, "delete"], force, &[thing]].concat());
        }
    }
    // Each is in the way of those it stands on.
    for _ in 0..5 {
        for snapshot in tools::rows(&ctr(&["snapshots", "list"])) {
            ctr(&["snapshots", "remove", &snapshot[0]]);
        }
    }
    for digest in ctr(&["content", "list", "--quiet"]).split_whitespace() {
        ctr(&["content", "delete", digest]);
    }
    ctr(&["namespaces", "remove", namespace]);
}

#[test]
fn containerd_1_tells() {
    needs!("containerd");
    containerd_tells(bed::CONTAINERD);
}

#[test]
fn containerd_2_tells() {
    needs!("docker-next");
    containerd_tells(bed::CONTAINERD_NEXT);
}

/// What changes while it is away, and what changes once it is back.
#[test]
fn a_docker_that_is_started_again_is_followed_again() {
    needs!("docker");
    let daemon = Dockerd::start("watched");
    let docker = |arguments: &[&str]| tools::output(tools::docker(&daemon.socket).args(arguments));
    let create =
        |name: &str| drop(docker(&["create", "--name", name, "--network", "none", bed::SIDE_IMAGE, "/bin/hold"]));
    create("early");
    docker(&["start", "early"]);
    let watch = Watch::told(&docker_config(&daemon.socket));
    let mut known = Known::default();
    known.read_until(&watch, "the first report", |known| known.state("early") == Some("running"));
    daemon.process.kill().unwrap();
    // Not through Docker, which is away: by its end, which Docker learns when it is back.
    let ids =
        tools::output(tools::ctr(&daemon.home.path("containerd.sock"), "moby").args(["tasks", "list", "--quiet"]));
    tools::output(tools::ctr(&daemon.home.path("containerd.sock"), "moby").args([
        "tasks",
        "kill",
        "-s",
        "KILL",
        ids.trim(),
    ]));
    daemon.process.start().unwrap();
    known.read_until(&watch, "what happened meanwhile", |known| known.state("early") == Some("exited"));
    create("late");
    known.read_until(&watch, "what happened since", |known| known.state("late") == Some("created"));
    let (_, stderr) = watch.end(Signal::TERM);
    assert!(stderr.contains("the runtime does not tell what changes"), "{stderr}");
}

#[test]
fn a_containerd_that_is_started_again_is_followed_again() {
    needs!("containerd");
    let home = Arc::new(Home::new("watched"));
    let daemon = containerd(&home, WITHOUT_CRI);
    let socket = home.path("containerd.sock");
    let ctr = |arguments: &[&str]| tools::output(tools::ctr(&socket, "default").args(arguments));
    ctr(&["images", "import", &format!("{IMAGES}/side.tar")]);
    ctr(&["containers", "create", bed::SIDE_IMAGE, "early"]);
    let watch = Watch::told(&containerd_config(&socket));
    let mut known = Known::default();
    known.read_until(&watch, "the first report", |known| known.state("early").is_some());
    daemon.restart();
    ctr(&["containers", "delete", "early"]);
    known.read_until(&watch, "what happened meanwhile", |known| known.state("early").is_none());
    ctr(&["containers", "create", bed::SIDE_IMAGE, "late"]);
    known.read_until(&watch, "what happened since", |known| known.state("late").is_some());
    let (_, stderr) = watch.end(Signal::TERM);
    assert!(stderr.contains("the runtime does not tell what changes"), "{stderr}");
}

/// An event of it is an event all the same, and looks come with reports.
#[test]
fn a_health_check_causes_no_look() {
    needs!("docker");
    let daemon = Dockerd::start("checked");
    let docker = |arguments: &[&str]| tools::output(tools::docker(&daemon.socket).args(arguments));
    let run = ["run", "--detach", "--name", "checked", "--network", "none", bed::SIDE_IMAGE, "/bin/hold"];
    docker(&run);
    let watches = [
        Watch::told(&docker_config(&daemon.socket)),
        Watch::told(&containerd_config(&daemon.home.path("containerd.sock"))),
    ];
    for (watch, looks) in watches.iter().zip([1, 2]) {
        let mut reports = 0;
        // containerd's second look, which a machine that is busy may have late, or fall together with the first; and
        // whatever is left of the start.
        let patience = |reports| match reports {
            0 => LIMIT,
            _ if reports < looks => Duration::from_secs(30),
            _ => Duration::from_secs(2),
        };
        while let Ok(line) = watch.lines.recv_timeout(patience(reports)) {
            reports += usize::from(line.starts_with(r#"{"type":"report""#));
        }
        assert!(reports > 0, "there is no first report");
    }
    for _ in 0..10 {
        docker(&["exec", "checked", "/bin/echo", "healthy"]);
    }
    docker(&["rename", "checked", "renamed"]);
    let told: Vec<Value> = std::iter::repeat_with(|| serde_json::from_str(&watches[0].line()).unwrap())
        .take_while(|line: &Value| line["name"] != "renamed")
        .collect();
    let reports = told.iter().filter(|line| line["type"] == "report").count();
    assert_eq!(reports, 1, "the look at the new name: {told:?}");
    docker(&["rm", "--force", "renamed"]);
    let told: Vec<Value> = std::iter::repeat_with(|| serde_json::from_str(&watches[1].line()).unwrap())
        .take_while(|line: &Value| line["type"] != "scope")
        .collect();
    let reports = told.iter().filter(|line| line["type"] == "report").count();
    assert_eq!(reports, 1, "the look at its end: {told:?}");
}
