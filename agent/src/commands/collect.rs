//! `collect`: look once at everything, and print it.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    sync::Arc,
};

use futures_util::future::join_all;
use stocktake_core::{
    Registry,
    filter::Filters,
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
    observe::{Configured, observe},
    render::{self, Exchange, TableView},
    say,
};

pub(super) async fn run(arguments: Collect, registry: &Registry) -> anyhow::Result<Exit> {
    let Configuration { collectors, filters } = match configuration(&arguments.source, registry).await {
        Ok(configuration) => configuration,
        Err(exit) => return Ok(exit),
    };
    let (mut exit, Assembled { mut inventory, mut removed }) = look(&collectors, &filters).await;
    let has_findings = inventory.unified.as_ref().is_some_and(|unified| !unified.findings.is_empty());
    if has_findings && arguments.shows_findings() {
        tracing::info!("looking again, because sources disagree");
        let earlier = inventory.unified.take();
        (exit, Assembled { inventory, removed }) = look(&collectors, &filters).await;
        if let (Some(unified), Some(earlier)) = (&mut inventory.unified, &earlier) {
            unified.confirm(earlier);
        }
    }
    if arguments.explain {
        explain(&filters, &inventory.report.sources, &removed);
    }

    match print(&inventory, &arguments) {
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

async fn look(collectors: &[Configured], filters: &Arc<Filters>) -> (Exit, Assembled) {
    let observations = join_all(collectors.iter().map(|collector| observe(collector, filters))).await;
    let exit = Exit::of(&observations);
    let agent = Agent { version: env!("CARGO_PKG_VERSION").to_owned(), hostname: environment::host().hostname };
    (exit, assemble(agent, observations, filters))
}

fn print(inventory: &Inventory, arguments: &Collect) -> anyhow::Result<()> {
    let stdout = io::stdout();
    let exchange = match arguments.format {
        Format::Table => {
            let mut out = BufWriter::new(anstream::AutoStream::auto(stdout));
            let view = match (arguments.by_source, arguments.by_image) {
                (true, _) => TableView::BySource,
                (_, true) => TableView::ByImage,
                _ => TableView::Unified,
            };
            render::table(inventory, view, render::terminal_width(), &mut out)?;
            return Ok(out.flush()?);
        }
        Format::Json => {
            let indented = stdout.is_terminal();
            let mut out = BufWriter::with_capacity(1 << 16, stdout.lock());
            render::json(inventory, indented, &mut out)?;
            return Ok(out.flush()?);
        }
        Format::Ndjson => {
            let mut out = BufWriter::with_capacity(1 << 16, stdout.lock());
            render::ndjson(inventory, &mut out)?;
            return Ok(out.flush()?);
        }
        Format::Csv => Exchange::Csv,
        Format::Cyclonedx => Exchange::CycloneDx,
        Format::KaiJson => Exchange::KaiJson(arguments.missing_tag()),
        Format::KaiTable => Exchange::KaiTable(arguments.missing_tag()),
        Format::K8sInventory => Exchange::K8sInventory(arguments.missing_tag()),
    };
    let for_people = stdout.is_terminal();
    let mut out = BufWriter::with_capacity(1 << 16, stdout.lock());
    let remarks = render::exchange(inventory, &exchange, for_people, &mut out)?;
    out.flush()?;
    for remark in remarks {
        say::warning(&remark);
    }
    Ok(())
}
