//! A private containerd 1.6.

use std::sync::Arc;

use serde_json::json;
use stocktake_collector_containerd::ContainerdCollector;
use stocktake_core::conformance::Subject;
use stocktake_tests::{
    bed,
    home::Home,
    private::{IMAGES, WITHOUT_CRI, containerd},
    tools,
};

use crate::{Private, SECRET, padding};

pub(crate) fn subject() -> Private {
    let home = Arc::new(Home::new("containerd"));
    let socket = home.path("containerd.sock");
    let daemon = Arc::new(containerd(&home, WITHOUT_CRI));
    fill(&home, &socket);
    Private {
        subject: Subject {
            daemon: Some(daemon),
            secret: Some(SECRET.to_owned()),
            ..Subject::new::<ContainerdCollector>(json!({ "address": socket, "states": ["all"] }))
        },
        not_checked: &[],
        keep: vec![Box::new(home)],
    }
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
