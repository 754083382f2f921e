//! `collect`: look once at everything, and print it.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, IsTerminal as _, StdoutLock, Write as _},
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use futures_util::future::join_all;
use stocktake_core::{
    Digest, Registry,
    filter::Filters,
    model::{Inventory, Report, Scope},
    unify::{Conclusions, Document, KnownFindings},
};

use super::{configuration, is_broken_pipe};
use crate::{
    assemble::{Assembled, assemble},
    bundle::{self, SigningKey},
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
    let Configuration { collectors, filters, .. } = match configuration(&arguments.source, registry).await {
        Ok(configuration) => configuration,
        Err(exit) => return Ok(exit),
    };
    let mut earlier: Option<KnownFindings> = None;
    loop {
        let (exit, Assembled { report, scopes, removed }) = look(&collectors, &filters).await;
        let mut conclusions = Conclusions::of(&report.sources, &scopes);
        match &earlier {
            Some(earlier) => conclusions.confirm(earlier),
            None if arguments.shows_findings() && !conclusions.findings().is_empty() => {
                tracing::info!("looking again, because sources disagree");
                earlier = Some(conclusions.known_findings());
                // This look is let go before the next begins: two of them take twice the memory.
                continue;
            }
            None => {}
        }
        if let Some(file) = &arguments.output {
            write_bundle(file, arguments.sign.as_deref(), &report, &scopes)?;
            warn(&report);
            return Ok(exit);
        }
        if arguments.explain {
            explain(&filters, &report.sources, &removed);
        }
        let document = Document { report: &report, scopes: &scopes, unified: &conclusions };
        let (report, printed) = match arguments.format {
            Format::Json => {
                let printed = print(|out| Ok(render::json(&document, io::stdout().is_terminal(), out)?));
                (report, printed)
            }
            Format::Ndjson => {
                let printed = print(|out| Ok(render::ndjson(&document, out)?));
                (report, printed)
            }
            _ => {
                let unified = Some(conclusions.unified());
                let inventory = Inventory { report, scopes, unified };
                let printed = match exchange(&arguments) {
                    Some(exchange) => print_exchange(&inventory, &exchange),
                    None => print_table(&inventory, &arguments),
                };
                (inventory.report, printed)
            }
        };
        return match printed {
            Ok(()) => {
                warn(&report);
                Ok(exit)
            }
            // Who reads has seen enough (`| head`), which does not make the inventory complete.
            Err(error) if is_broken_pipe(&error) => Ok(exit),
            Err(error) => Err(error),
        };
    }
}

/// Writes a bundle so that it is whole or not there.
fn write_bundle(
    file: &Path,
    key: Option<&Path>,
    report: &Report,
    scopes: &BTreeMap<Digest, Scope>,
) -> anyhow::Result<()> {
    let key = key.map(SigningKey::read).transpose()?;
    let bytes = bundle::write(report, scopes, key.as_ref())?;
    if file == Path::new("-") {
        io::stdout().write_all(&bytes)?;
        return Ok(());
    }
    let cannot = || format!("cannot write {}", file.display());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut unfinished = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    unfinished.write_all(&bytes).and_then(|()| unfinished.as_file().sync_all()).with_context(cannot)?;
    unfinished.persist(file).with_context(cannot)?;
    say::note(&format!("wrote {} ({} bytes); `stocktake-agent submit` delivers it", file.display(), bytes.len()));
    Ok(())
}

fn warn(report: &Report) {
    for source in &report.sources {
        for warning in &source.warnings {
            say::warning(&format!("{}: {}", source.collector, warning.message));
        }
    }
}

async fn look(collectors: &[Configured], filters: &Arc<Filters>) -> (Exit, Assembled) {
    let observations = join_all(collectors.iter().map(|collector| observe(collector, filters))).await;
    let exit = Exit::of(&observations);
    let agent = environment::agent();
    (exit, assemble(agent, observations, filters))
}

/// The format, if others have made it.
fn exchange(arguments: &Collect) -> Option<Exchange> {
    match arguments.format {
        Format::Table | Format::Json | Format::Ndjson => None,
        Format::Csv => Some(Exchange::Csv),
        Format::Cyclonedx => Some(Exchange::CycloneDx),
        Format::KaiJson => Some(Exchange::KaiJson(arguments.missing_tag())),
        Format::KaiTable => Some(Exchange::KaiTable(arguments.missing_tag())),
        Format::K8sInventory => Some(Exchange::K8sInventory(arguments.missing_tag())),
    }
}

/// Prints for programs, as it is made.
fn print<T>(document: impl FnOnce(&mut BufWriter<StdoutLock<'_>>) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let printed = document(&mut out)?;
    out.flush()?;
    Ok(printed)
}

fn print_exchange(inventory: &Inventory, format: &Exchange) -> anyhow::Result<()> {
    let for_people = io::stdout().is_terminal();
    for remark in print(|out| render::exchange(inventory, format, for_people, out))? {
        say::warning(&remark);
    }
    Ok(())
}

fn print_table(inventory: &Inventory, arguments: &Collect) -> anyhow::Result<()> {
    let mut out = BufWriter::new(anstream::AutoStream::auto(io::stdout()));
    let view = match (arguments.by_source, arguments.by_image) {
        (true, _) => TableView::BySource,
        (_, true) => TableView::ByImage,
        _ => TableView::Unified,
    };
    render::table(inventory, view, render::terminal_width(), &mut out)?;
    Ok(out.flush()?)
}
