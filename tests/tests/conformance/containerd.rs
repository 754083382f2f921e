//! A private containerd 1.6.

use std::{process::Command, sync::Arc};

use serde_json::json;
use stocktake_collector_containerd::ContainerdCollector;
use stocktake_core::conformance::Subject;
use stocktake_tests::{bed, daemon::Process, home::Home, tools};

use crate::{IMAGES, Private, SECRET, padding};

pub(crate) fn subject() -> Private {
    let home = Arc::new(Home::new("containerd"));
    let socket = home.path("containerd.sock");
    let daemon = Arc::new(start(&home, WITHOUT_CRI));
    fill(&home, &socket);
    Private {
        subject: Subject {
            daemon: Some(daemon),
            secret: Some(SECRET.to_owned()),
            ..Subject::new::<ContainerdCollector>(json!({ "address": socket, "states": ["all"] }))
        },
        // It does not tell what changes; absent namespaces and all else can be tried here.
        not_checked: &["C-33"],
        keep: vec![Box::new(home)],
    }
}

/// For [`start`]: no plug-in that answers a kubelet.
pub(crate) const WITHOUT_CRI: &str = "disabled_plugins = ['io.containerd.grpc.v1.cri']\n";

/// containerd with all that it has in `home`. `more` is the rest of its configuration.
pub(crate) fn start(home: &Home, more: &str) -> Process {
    let socket = home.path("containerd.sock");
    start_when(home, more, move || tools::try_output(tools::ctr(&socket, "default").arg("version")).is_ok())
}

/// The same with another sign that it `is_ready`.
pub(crate) fn start_when(home: &Home, more: &str, is_ready: impl Fn() -> bool + Send + Sync + 'static) -> Process {
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

/// Two namespaces with many containers, of which one runs, and one without any.
fn fill(home: &Home, socket: &str) {
    let side = format!("{IMAGES}/side.tar");
    let image = bed::SIDE_IMAGE;
    let label = format!("padding={}", padding());
    for namespace in ["default", "team-a"] {
        tools::output(tools::ctr(socket, namespace).args(["images", "import", &side]));
        for number in 0..20 {
            tools::output(tools::ctr(socket, namespace).args(["containers", "create", "--label", &label]).args([
                "--env",
                &format!("KEY={SECRET}"),
                image,
                &format!("made-{number}"),
                "/bin/echo",
                SECRET,
            ]));
        }
    }
    tools::output(tools::ctr(socket, "default").args(["namespaces", "create", "empty"]));
    tools::output(
        tools::ctr(socket, "default").args(["run", "--detach", "--null-io", "--runc-root", &home.path("runc")]).args([
            "--cgroup",
            &home.cgroup(),
            image,
            "running",
        ]),
    );
}
