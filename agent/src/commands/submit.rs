//! `submit`: deliver a report that was written to a file.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use indicatif::{ProgressBar, ProgressStyle};
use stocktake_core::{Registry, nearest};

use super::load_file;
use crate::{
    bundle::{self, VerifyingKey},
    cli::Submit,
    config::ConfiguredTarget,
    deliver::{Failure, Parcel},
    exit::Exit,
    say,
};

/// How often a target that is not reached is tried, over some seconds. Who submits is there and can try again.
const ATTEMPTS: usize = 4;

pub(super) async fn run(arguments: Submit, registry: &Registry) -> anyhow::Result<Exit> {
    let key = arguments.verify.as_deref().map(VerifyingKey::read).transpose()?;
    let configuration = match load_file(&arguments.config, registry) {
        Ok(configuration) => configuration,
        Err(exit) => return Ok(exit),
    };
    let mut targets = match choose(configuration.targets, &arguments.targets) {
        Ok(targets) => targets,
        Err(exit) => return Ok(exit),
    };
    let mut parcels = Vec::new();
    for file in &arguments.files {
        let bytes = contents(file)?;
        match bundle::read(&bytes, key.as_ref()) {
            Ok(parcel) => parcels.push((file.display().to_string(), Arc::new(parcel))),
            // Before anything was sent.
            Err(error) => {
                say::error(&format!("{}: {error}", file.display()));
                return Ok(Exit::Incomplete);
            }
        }
    }
    let steps = u64::try_from(parcels.len() * targets.len()).unwrap_or(u64::MAX);
    // It shows itself on a terminal and nowhere else.
    let progress = ProgressBar::new(steps).with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let mut exit = Exit::Success;
    for (file, parcel) in &parcels {
        for target in &mut targets {
            progress.set_message(format!("{file} to {}", target.name));
            match deliver(target, parcel).await {
                Ok(bytes) => {
                    let told = format!("{file}: delivered to {} ({bytes} bytes)", target.name);
                    progress.suspend(|| say::note(&told));
                }
                Err(message) => {
                    progress.suspend(|| say::error(&format!("{file}: not delivered to {}: {message}", target.name)));
                    exit = Exit::Incomplete;
                }
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(exit)
}

async fn deliver(target: &mut ConfiguredTarget, parcel: &Arc<Parcel>) -> Result<u64, String> {
    let mut waits = ExponentialBuilder::new()
        .with_min_delay(Duration::from_secs(1))
        .with_max_times(ATTEMPTS - 1)
        .with_jitter()
        .build();
    loop {
        match target.target.deliver(parcel).await {
            Ok(sent) => return Ok(sent.bytes),
            Err(Failure::Refused { message, .. }) => return Err(message),
            Err(Failure::Later { message, .. }) => {
                let Some(wait) = waits.next() else {
                    return Err(format!("{message}; submit it again later, which changes nothing that was delivered"));
                };
                tracing::info!(?wait, "tries again: {message}");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

fn contents(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn choose(targets: Vec<ConfiguredTarget>, chosen: &[String]) -> Result<Vec<ConfiguredTarget>, Exit> {
    let names: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
    if let Some(unknown) = chosen.iter().find(|name| !names.contains(name)) {
        let hint = nearest(unknown, names.iter().map(String::as_str))
            .map_or_else(|| format!("there is {}", names.join(", ")), |word| format!("did you mean `{word}`?"));
        say::error(&format!("no target is named `{unknown}`; {hint}"));
        return Err(Exit::Usage);
    }
    let chosen: Vec<_> = targets.into_iter().filter(|it| chosen.is_empty() || chosen.contains(&it.name)).collect();
    if chosen.is_empty() {
        say::error("the configuration has no target; add a `[targets.NAME]` (`stocktake-agent config example`)");
        return Err(Exit::Config);
    }
    Ok(chosen)
}
