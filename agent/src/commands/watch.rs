//! `watch`: look, and look again at what changes, until told to stop.

use std::{
    io::{self, BufWriter, Write as _},
    time::Duration,
};

use stocktake_core::Registry;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinHandle,
};

use super::{configuration, is_broken_pipe};
use crate::{
    assemble::report,
    cli::{Watch, WatchFormat},
    config::Configuration,
    environment,
    exit::Exit,
    follow::{Update, follow},
    render::{self, Changes},
};

/// How long a report that is being written when the agent is told to stop may take. Who does not read it by then gets a
/// part of it.
const LAST_WORDS: Duration = Duration::from_millis(500);

pub(super) async fn run(arguments: Watch, registry: &Registry) -> anyhow::Result<Exit> {
    // Before anything starts that would have to be ended in order.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let format = arguments.format();
    let Configuration { mut collectors, filters, .. } = tokio::select! {
        configuration = configuration(&arguments.source, registry) => match configuration {
            Ok(configuration) => configuration,
            Err(exit) => return Ok(exit),
        },
        _ = interrupt.recv() => return Ok(Exit::Success),
        _ = terminate.recv() => return Ok(Exit::Success),
    };
    if let Some(interval) = arguments.interval {
        for collector in &mut collectors {
            collector.interval = interval;
        }
    }
    let are_several = collectors.len() > 1;
    let (following, updates) = follow(collectors, &filters);
    let mut writing = write(updates, format, are_several);
    let written = tokio::select! {
        written = &mut writing => Some(written),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    following.stop().await;
    match written {
        // All that follow have ended, which none does by itself.
        Some(Ok(Ok(()))) => anyhow::bail!("nothing is followed any more; the log says what happened"),
        Some(Ok(Err(error))) => {
            let error = error.into();
            if is_broken_pipe(&error) { Ok(Exit::Success) } else { Err(error) }
        }
        Some(Err(panic)) => Err(panic.into()),
        None => {
            let _ = tokio::time::timeout(LAST_WORDS, writing).await;
            Ok(Exit::Success)
        }
    }
}

/// Writes each update as it comes, on a thread of its own: a reader that does not read keeps nobody from being told to stop.
fn write(mut updates: mpsc::Receiver<Update>, format: WatchFormat, are_several: bool) -> JoinHandle<io::Result<()>> {
    let agent = environment::agent();
    tokio::task::spawn_blocking(move || match format {
        WatchFormat::Ndjson => {
            let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
            while let Some(update) = updates.blocking_recv() {
                render::ndjson_update(&report(agent.clone()), &update, &mut out)?;
                out.flush()?;
            }
            Ok(())
        }
        WatchFormat::Changes => {
            let mut out = BufWriter::new(anstream::AutoStream::auto(io::stdout()));
            let mut changes = Changes::new(are_several);
            while let Some(update) = updates.blocking_recv() {
                changes.write(&update, &mut out)?;
                out.flush()?;
            }
            Ok(())
        }
    })
}
