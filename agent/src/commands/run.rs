//! `run`: report always, as a daemon.

use std::path::PathBuf;

use stocktake_core::Registry;

use super::select;
use crate::{
    cli::Run,
    config::{Configuration, Invalid, load},
    environment,
    exit::Exit,
    run::{self, ConfigurationFile, Error, Signals},
    say,
};

pub(super) async fn run(arguments: Run, registry: &Registry) -> anyhow::Result<Exit> {
    // Before anything starts that would have to be ended in order.
    let signals = Signals::heed()?;
    let (environment, host) = (environment::environment(), environment::host());
    let path: PathBuf = arguments.config;
    let load = || load(&path, registry, &environment, &host);
    let mut first = match load() {
        Ok(configuration) => configuration,
        Err(invalid) => return Ok(complain(&invalid)),
    };
    if let Some(complaint) = first.complaint_of_collectors(&path) {
        say::error(&complaint);
        return Ok(Exit::Config);
    }
    let chosen = arguments.collectors;
    first.collectors = match select(first.collectors, &chosen) {
        Ok(collectors) => collectors,
        Err(exit) => return Ok(exit),
    };
    let file = ConfigurationFile::new(path.clone(), || {
        let configuration = load()?;
        let collectors = configuration.collectors.into_iter();
        let collectors = collectors.filter(|collector| chosen.is_empty() || chosen.contains(&collector.name)).collect();
        Ok(Configuration { collectors, ..configuration })
    });
    match run::run(first, file, signals).await {
        Ok(()) => Ok(Exit::Success),
        Err(error @ Error::LeaseLost) => {
            say::error(&error.to_string());
            Ok(Exit::Unavailable)
        }
        Err(error @ (Error::NoTarget | Error::Spool { .. } | Error::Telemetry(_) | Error::Lease(_))) => {
            say::error(&error.to_string());
            Ok(Exit::Config)
        }
        Err(error @ Error::Ended) => Err(error.into()),
    }
}

fn complain(invalid: &Invalid) -> Exit {
    for complaint in invalid.complaints() {
        say::error(&complaint);
    }
    Exit::Config
}
