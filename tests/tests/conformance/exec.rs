//! A program that looks at a private Docker 20.10: the daemon dies, hangs and comes back behind the program.

use std::sync::Arc;

use serde_json::json;
use stocktake_collector_exec::ExecCollector;
use stocktake_core::conformance::Subject;
use stocktake_tests::private::Dockerd;

use crate::{Private, SECRET, docker};

/// The docker collector as a program (`src/bin/docker-program.rs`).
const PROGRAM: &str = env!("CARGO_BIN_EXE_docker-program");

pub(crate) fn subject() -> Private {
    let Dockerd { socket, process, containerd, home } = docker::dockerd("exec");
    let settings = json!({ "command": [PROGRAM], "settings": docker::settings(&socket) });
    Private {
        subject: Subject {
            daemon: Some(Arc::new(process)),
            secret: Some(SECRET.to_owned()),
            ..Subject::new::<ExecCollector>(settings)
        },
        // The program's one scope is the host, of which none can be absent; and a program does not tell what changes.
        not_checked: &["C-21", "C-33"],
        keep: vec![Box::new(containerd), Box::new(home)],
    }
}
