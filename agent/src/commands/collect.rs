//! `collect`: look once at everything, and print it.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use futures_util::future::join_all;
use stocktake_core::{
    Registry,
    model::{Agent, Inventory},
};

use super::{configuration, is_broken_pipe};
use crate::{
    assemble::{Assembled, assemble},
    cli::{Collect, Format},
    config::Configuration,
    environment,
    exit::Exit,
    explain::explain,
    observe::observe,
    render, say,
};

pub(super) async fn run(arguments: Collect, registry: &Registry) -> anyhow::Result<Exit> {
    let Configuration { collectors, filters } = match configuration(&arguments.source, registry).await {
        Ok(configuration) => configuration,
        Err(exit) => return Ok(exit),
    };
    let observations = join_all(collectors.iter().map(|collector| observe(collector, &filters))).await;
    let exit = Exit::of(&observations);
    let agent = Agent { version: env!("CARGO_PKG_VERSION").to_owned(), hostname: environment::host().hostname };
    let Assembled { inventory, removed } = assemble(agent, observations, &filters);
    if arguments.explain {
        explain(&filters, &inventory.report.sources, &removed);
    }

    match print(&inventory, arguments.format) {
        Ok(()) => {}
        // Who reads has seen enough (`| head`), which does not make the inventory complete.
        Err(error) if is_broken_pipe(&error) => return Ok(exit),
        Err(error) => return Err(error),
    }
    for source in &inventory.report.sources {
        for warning in &source.warnings {
            say::warning(&format!("{}: {}", source.collector, warning.message));
        }
    }
    Ok(exit)
}

fn print(inventory: &Inventory, format: Format) -> anyhow::Result<()> {
    let stdout = io::stdout();
    match format {
        Format::Table => {
            let mut out = BufWriter::new(anstream::AutoStream::auto(stdout));
            render::table(inventory, render::terminal_width(), &mut out)?;
            out.flush()?;
        }
        Format::Json => {
            let indented = stdout.is_terminal();
            let mut out = BufWriter::with_capacity(1 << 16, stdout.lock());
            render::json(inventory, indented, &mut out)?;
            out.flush()?;
        }
        Format::Ndjson => {
            let mut out = BufWriter::with_capacity(1 << 16, stdout.lock());
            render::ndjson(inventory, &mut out)?;
            out.flush()?;
        }
    }
    Ok(())
}
