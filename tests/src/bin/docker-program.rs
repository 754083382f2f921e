//! The docker collector as a program of its own, for `type = "exec"`.

use std::process::ExitCode;

fn main() -> ExitCode {
    stocktake_core::exec::main::<stocktake_collector_docker::DockerCollector>()
}
