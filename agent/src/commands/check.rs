//! `check`: is the configuration sound, and does each runtime answer?

use std::io;

use anstyle::{AnsiColor, Style};
use futures_util::future::join_all;
use stocktake_core::{Location, Registry, RuntimeInfo};

use super::collectors;
use crate::{
    cli::Check,
    exit::Exit,
    observe::{Failure, probe},
};

pub(super) async fn run(arguments: Check, registry: &Registry) -> anyhow::Result<Exit> {
    let configured = match collectors(&arguments.source, registry).await {
        Ok(configured) => configured,
        Err(exit) => return Ok(exit),
    };
    let mut out = anstream::AutoStream::auto(io::stdout());
    let width = configured.iter().map(|collector| collector.name.len()).chain(["configuration".len()]).max();
    let width = width.unwrap_or_default();
    if let Some(path) = &arguments.source.config {
        line(&mut out, true, "configuration", width, &path.display().to_string())?;
    }

    let outcomes = join_all(configured.iter().map(probe)).await;
    let mut absent = 0;
    for (collector, outcome) in configured.iter().zip(&outcomes) {
        match outcome {
            Ok(info) => line(&mut out, true, &collector.name, width, &describe(info))?,
            Err(failure) => {
                absent += usize::from(failure.is_absence());
                line(&mut out, false, &collector.name, width, &failure.to_string())?;
            }
        }
    }
    Ok(exit(&outcomes, absent))
}

fn exit(outcomes: &[Result<RuntimeInfo, Failure>], absent: usize) -> Exit {
    if outcomes.iter().all(Result::is_ok) {
        Exit::Success
    } else if absent == outcomes.len() {
        Exit::Unavailable
    } else {
        Exit::Incomplete
    }
}

fn line(out: &mut impl io::Write, good: bool, name: &str, width: usize, text: &str) -> io::Result<()> {
    let (word, colour) = if good { ("ok    ", AnsiColor::Green) } else { ("failed", AnsiColor::Red) };
    let style = Style::new().fg_color(Some(colour.into()));
    writeln!(out, "{style}{word}{style:#}  {name:width$}  {text}")
}

fn describe(info: &RuntimeInfo) -> String {
    let place = match &info.location {
        Location::Cluster(cluster) => ("cluster", cluster.name.clone().or_else(|| cluster.uid.clone())),
        Location::Host(host) => ("host", host.hostname.clone().or_else(|| host.machine_id.clone())),
    };
    match place {
        (kind, Some(name)) => format!("{} {}, {kind} {name}", info.runtime.name, info.runtime.version),
        (_, None) => format!("{} {}", info.runtime.name, info.runtime.version),
    }
}
