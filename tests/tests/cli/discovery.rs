//! Without a configuration: what is found on a machine, in a mount namespace of the test's own.

use stocktake_tests::{agent::Run, bed, needs, sandbox::Machine};
use tempfile::TempDir;

struct Host {
    machine: Machine,
    home: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Host {
    fn new(machine: Machine) -> Self {
        Self { machine, home: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    fn with_kubeconfig_at_home(self, user: &str) -> Self {
        let folder = self.home.path().join(".kube");
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(bed::kubeconfig(user), folder.join("config")).unwrap();
        self
    }

    fn env(mut self, key: &'static str, value: &str) -> Self {
        self.variables.push((key, value.to_owned()));
        self
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let scratch = tempfile::tempdir().unwrap();
        let mut agent = self.machine.agent(scratch.path(), arguments).env("HOME", self.home.path());
        for (key, value) in &self.variables {
            agent = agent.env(key, value);
        }
        agent.run()
    }
}

fn names(run: &Run) -> Vec<String> {
    run.report().inventory.report.sources.into_iter().map(|source| source.collector.into()).collect()
}

#[test]
fn every_runtime_of_the_machine_is_found_and_named() {
    needs!("docker", "docker-next", "podman", "containerd", "kubernetes");
    let machine = Machine::new()
        .with(bed::DOCKER, "/run/docker.sock")
        .with(bed::PODMAN, "/run/podman/podman.sock")
        .with(bed::CONTAINERD, "/run/containerd/containerd.sock")
        .with(bed::CONTAINERD_NEXT, "/run/k3s/containerd/containerd.sock")
        .with(bed::DOCKER_NEXT, "/run/user/1000/docker.sock");
    let host = Host::new(machine).with_kubeconfig_at_home("reader");
    let run = host.run(&["collect", "--format", "json"]).exits(0);
    assert_eq!(names(&run), ["containerd", "docker", "docker-1000", "k3s-containerd", "kubernetes", "podman"]);
    for (name, runtime, place) in [
        ("docker", "docker 20.10", "/run/docker.sock"),
        ("docker-1000", "docker 28.", "/run/user/1000/docker.sock"),
        ("podman", "podman 4.", "/run/podman/podman.sock"),
        ("containerd", "containerd 1.6", "/run/containerd/containerd.sock"),
        ("k3s-containerd", "containerd 2.1", "/run/k3s/containerd/containerd.sock"),
        ("kubernetes", "kubernetes v1.20.2", ".kube/config"),
    ] {
        let start = format!("using {name}: {runtime}");
        let line = run.stderr.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}\n{run}"));
        assert!(line.contains(place), "{line}");
    }
    let run = run.says("--collector NAME").says("config example");
    assert_eq!(run.report().containers("docker"), 10, "what runs, by default");

    let run = host.run(&["collect", "--format", "json", "--collector", "podman"]).exits(0);
    assert_eq!(names(&run), ["podman"]);
    let _ = run.says("using podman").says("found docker:");
    let _ = host.run(&["collect", "--collector", "padman"]).exits(2).says("did you mean `podman`?");

    let check = host.run(&["check"]).exits(0);
    assert_eq!(check.stdout.lines().filter(|line| line.starts_with("ok")).count(), 6, "{check}");
}

#[test]
fn a_socket_counts_once_however_many_names_it_has() {
    needs!("docker");
    let machine = Machine::new()
        .with(bed::DOCKER, "/run/docker.sock")
        .with_link("/run/docker.sock", "/run/podman/podman.sock")
        .with_link("/run/docker.sock", "/run/user/1000/docker.sock");
    let run =
        Host::new(machine).env("DOCKER_HOST", "unix:///run/docker.sock").run(&["collect", "--format", "json"]).exits(0);
    // And /var/run is a link to /run.
    assert_eq!(names(&run), ["docker"]);
    let _ = run.says("$DOCKER_HOST");
}

#[test]
fn what_the_environment_names_is_found() {
    needs!("docker", "podman", "containerd", "kubernetes");
    let host = Host::new(Machine::new())
        .env("DOCKER_HOST", &format!("unix://{}", bed::DOCKER))
        .env("CONTAINER_HOST", &format!("unix://{}", bed::PODMAN))
        .env("CONTAINERD_ADDRESS", bed::CONTAINERD)
        .env("KUBECONFIG", &bed::kubeconfig("reader"));
    let run = host.run(&["collect", "--format", "json"]).exits(0);
    assert_eq!(names(&run), ["containerd", "docker", "kubernetes", "podman"]);
}

/// Of containerd more is known through its own services than through CRI; of what has no others CRI is all there is.
#[test]
fn a_runtime_is_asked_through_cri_where_nothing_knows_it_better() {
    needs!("kubernetes");
    let crio = Machine::new().with(bed::CONTAINERD, "/run/crio/crio.sock");
    let run = Host::new(crio).run(&["collect", "--format", "json"]).exits(0);
    assert_eq!(names(&run), ["crio"]);
    assert!(run.says("using crio: containerd 1.6").report().containers("crio") > 0);

    let machine = || Machine::new().with(bed::CONTAINERD, "/run/containerd/containerd.sock");
    let endpoint = "unix:///run/containerd/containerd.sock";
    let host = Host::new(machine()).env("CONTAINER_RUNTIME_ENDPOINT", endpoint);
    assert_eq!(names(&host.run(&["collect", "--format", "json"]).exits(0)), ["containerd"]);
    let elsewhere = Host::new(machine()).env("CONTAINER_RUNTIME_ENDPOINT", bed::CONTAINERD);
    assert_eq!(names(&elsewhere.run(&["collect", "--format", "json"]).exits(0)), ["containerd", "cri"]);
}

#[test]
fn a_user_who_is_not_root_finds_their_own() {
    needs!("docker");
    let machine = Machine::new().with(bed::DOCKER, "/run/user/1000/docker.sock");
    let host = Host::new(machine).env("XDG_RUNTIME_DIR", "/run/user/1000");
    let run = host.run(&["collect", "--format", "json"]).exits(0);
    assert_eq!(names(&run), ["docker-rootless"]);
}

#[test]
fn where_there_is_nothing_it_is_69_and_said_what_to_do() {
    needs!("root");
    let run = Host::new(Machine::new()).run(&["collect", "--format", "json"]).exits(69);
    assert_eq!(run.stdout, "");
    let _ = run.says("no container runtime was found").says("config example");
}

#[test]
fn a_dead_socket_is_passed_over_and_said_so() {
    needs!("docker");
    // A file in its place: nobody listens.
    let machine = Machine::new().with(bed::DOCKER, "/run/docker.sock").with("/dev/null", "/run/podman/podman.sock");
    let run = Host::new(machine).run(&["collect", "--format", "json"]).exits(0);
    assert_eq!(names(&run), ["docker"]);
    let _ = run.says("skipping podman at /run/podman/podman.sock");
}
