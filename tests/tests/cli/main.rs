//! The command line, as a person or a script meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod configuration;
mod discovery;
mod exit_codes;
mod logging;
mod output;
mod table;

use stocktake_tests::bed;

/// The parts of the bed in which nothing comes and goes by itself.
fn quiet_config() -> String {
    format!(
        "[collectors.docker]\nhost = 'unix://{}'\nstates = ['all']\n\
         [collectors.docker-next]\ntype = 'docker'\nhost = 'unix://{}'\nstates = ['all']\n\
         [collectors.podman]\ntype = 'docker'\nhost = 'unix://{}'\nstates = ['all']\n\
         [collectors.containerd]\naddress = '{}'\nstates = ['all']\n\
         [collectors.kubernetes]\nkubeconfig = '{}'\n",
        bed::DOCKER,
        bed::DOCKER_NEXT,
        bed::PODMAN,
        bed::CONTAINERD_NEXT,
        bed::kubeconfig("reader"),
    )
}

/// How many containers [`quiet_config`] leads to.
const QUIET: [(&str, usize); 5] =
    [("containerd", 17), ("docker", 12), ("docker-next", 12), ("kubernetes", 16), ("podman", 3)];
