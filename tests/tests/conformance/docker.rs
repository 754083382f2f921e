//! A private Docker 20.10 on a containerd of its own, and a private Podman.

use std::{any::Any, process::Command, sync::Arc};

use serde_json::{Value, json};
use stocktake_collector_docker::DockerCollector;
use stocktake_core::conformance::Subject;
use stocktake_tests::{
    bed,
    daemon::Process,
    home::Home,
    private::{Dockerd, IMAGES, answers, curl},
    tools,
};

use crate::{Private, SECRET, padding};

pub(crate) fn docker() -> Private {
    let Dockerd { socket, process, containerd, home } = dockerd("docker");
    private(&socket, process, vec![Box::new(containerd), Box::new(home)])
}

/// A dockerd with many containers.
pub(crate) fn dockerd(name: &str) -> Dockerd {
    let daemon = Dockerd::start(name);
    fill(&daemon.home, &daemon.socket, &json!({}));
    daemon
}

pub(crate) fn podman() -> Private {
    let home = Arc::new(Home::new("podman"));
    let socket = home.path("podman.sock");
    let (storage, run) = (home.path("storage"), home.path("run"));
    let containers = home.write(
        "containers.conf",
        "[containers]\ncgroups = 'enabled'\ndefault_ulimits = ['nofile=1024:1024', 'nproc=1024:1024']\nlog_driver = 'k8s-file'\n\
         [engine]\ncgroup_manager = 'cgroupfs'\nevents_logger = 'file'\nruntime = '/usr/sbin/runc'\n",
    );
    let registries = home.write("registries.conf", "unqualified-search-registries = []\n");
    let conf = format!("[storage]\ndriver = 'overlay'\ngraphroot = '{storage}'\nrunroot = '{run}'\n");
    let conf = home.write("storage.conf", &conf);
    let (tmp, runc) = (home.path("tmp"), format!("root={}", home.path("runc")));
    let podman = move || {
        let mut command = Command::new("/usr/bin/podman");
        command.env("CONTAINERS_CONF", &containers).env("CONTAINERS_REGISTRIES_CONF", &registries);
        command.env("CONTAINERS_STORAGE_CONF", &conf);
        command.args(["--root", &storage, "--runroot", &run, "--tmpdir", &tmp, "--runtime-flag", &runc]);
        command
    };
    tools::output(podman().args(["load", "--input", &format!("{IMAGES}/side.tar")]));
    let address = format!("unix://{socket}");
    let command = move || {
        let mut command = podman();
        command.args(["system", "service", "--time=0", &address]);
        command
    };
    let daemon = Process::start("podman", home.path("podman.log"), command, answers(&socket));
    fill(&home, &socket, &json!({ "CgroupParent": home.cgroup() }));
    private(&socket, daemon, vec![Box::new(home)])
}

fn private(socket: &str, daemon: Process, keep: Vec<Box<dyn Any + Send>>) -> Private {
    Private {
        subject: Subject {
            daemon: Some(Arc::new(daemon)),
            secret: Some(SECRET.to_owned()),
            ..Subject::new::<DockerCollector>(settings(socket))
        },
        // Its one scope is the host, of which none can be absent.
        not_checked: &["C-21"],
        keep,
    }
}

/// For all that there is at `socket`.
pub(crate) fn settings(socket: &str) -> Value {
    json!({ "host": format!("unix://{socket}"), "states": ["all"] })
}

/// Many containers, of which one runs. `host_config` is added to what they are created with.
fn fill(home: &Home, socket: &str, host_config: &Value) {
    let mut body = json!({
        "Image": bed::SIDE_IMAGE, "Env": [format!("KEY={SECRET}")], "Cmd": ["/bin/hold", SECRET],
        "Labels": { "padding": padding() }, "HostConfig": { "NetworkMode": "none" },
    });
    for (key, value) in host_config.as_object().expect("an object") {
        body["HostConfig"][key] = value.clone();
    }
    let file = format!("@{}", home.write("container.json", &body.to_string()));
    let post = ["--request", "POST", "--header", "Content-Type: application/json"];
    let create = [&post[..], &["--data", &file, "http://d/v1.40/containers/create?name=made-[1-40]"]].concat();
    curl(socket, &create).unwrap_or_else(|error| panic!("{error}"));
    let start = [&post[..], &["http://d/v1.40/containers/made-1/start"]].concat();
    curl(socket, &start).unwrap_or_else(|error| panic!("{error}"));
}
