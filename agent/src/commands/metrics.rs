//! `metrics`: what `run` measures.

use std::io::{self, Write as _};

use crate::{exit::Exit, telemetry};

pub(super) fn run() -> anyhow::Result<Exit> {
    io::stdout().write_all(telemetry::page().as_bytes())?;
    Ok(Exit::Success)
}
