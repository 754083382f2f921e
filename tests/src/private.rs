//! Daemons of a test's own on Debian's packages, with images of the bed.

use std::{process::Command, sync::Arc};

use serde_json::json;

use crate::{daemon::Process, home::Home, tools};

/// Archives of the bed's images.
pub const IMAGES: &str = "/var/lib/stocktake-bed/images";

/// For [`containerd()`]: no plug-in that answers a kubelet.
pub const WITHOUT_CRI: &str = "disabled_plugins = ['io.containerd.grpc.v1.cri']\n";

/// containerd with all that it has in `home`. `more` is the rest of its configuration.
#[must_use]
pub fn containerd(home: &Home, more: &str) -> Process {
    let socket = home.path("containerd.sock");
    containerd_when(home, more, move || tools::try_output(tools::ctr(&socket, "default").arg("version")).is_ok())
}

/// The same with another sign that it `is_ready`.
#[must_use]
pub fn containerd_when(home: &Home, more: &str, is_ready: impl Fn() -> bool + Send + Sync + 'static) -> Process {
    let config = home.write(
        "containerd.toml",
        &format!(
            "version = 2\nroot = '{root}'\nstate = '{state}'\n{more}\
             [grpc]\naddress = '{socket}'\n[plugins.'io.containerd.internal.v1.opt']\npath = '{opt}'\n",
            root = home.path("root"),
            socket = home.path("containerd.sock"),
            state = home.path("state"),
            opt = home.path("opt"),
        ),
    );
    let command = move || {
        let mut command = Command::new("/usr/bin/containerd");
        command.args(["--config", &config]);
        command
    };
    Process::start("containerd", home.path("containerd.log"), command, is_ready)
}

/// A Docker 20.10 on a containerd of its own, with one image.
#[derive(Debug)]
pub struct Dockerd {
    /// Where it listens.
    pub socket: String,
    /// It ends first.
    pub process: Process,
    /// What it runs containers with.
    pub containerd: Process,
    /// Everything of both.
    pub home: Arc<Home>,
}

impl Dockerd {
    /// Returns when it answers. Its containers outlive it.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let home = Arc::new(Home::new(name));
        let containerd = containerd(&home, WITHOUT_CRI);
        let socket = home.path("docker.sock");
        let config = json!({
            "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false,
            "data-root": home.path("data"), "exec-root": home.path("exec"), "pidfile": home.path("docker.pid"),
            "deprecated-key-path": home.path("key.json"), "containerd": home.path("containerd.sock"),
            "hosts": [format!("unix://{socket}")], "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "cgroup-parent": home.cgroup(), "live-restore": true,
        });
        let config = home.write("daemon.json", &config.to_string());
        let command = move || {
            let mut command = Command::new("/usr/sbin/dockerd");
            command.args(["--config-file", &config]);
            command
        };
        let process = Process::start("dockerd", home.path("docker.log"), command, answers(&socket));
        tools::output(tools::docker(&socket).args(["load", "--input", &format!("{IMAGES}/side.tar")]));
        Self { socket, process, containerd, home }
    }
}

/// Whether a daemon that speaks Docker's API answers at `socket`.
pub fn answers(socket: &str) -> impl Fn() -> bool + Send + Sync + use<> {
    let socket = socket.to_owned();
    move || curl(&socket, &["http://d/_ping"]).is_ok()
}

/// One call brings as many requests as there are numbers in the URL.
///
/// # Errors
/// What curl complains about.
pub fn curl(socket: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("/usr/bin/curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "50", "--unix-socket", socket]).args(arguments);
    tools::try_output(&mut command)
}
