//! `spool`: what waits to be delivered, looked at from outside.

use std::io::{self, Write as _};

use stocktake_core::{
    Registry,
    model::{Inventory, Report},
};

use super::load_file;
use crate::{
    cli::{SpoolArguments, SpoolCommand},
    exit::Exit,
    say,
    spool::{Inspection, Lying, inspect},
};

pub(super) fn run(arguments: SpoolArguments, registry: &Registry) -> anyhow::Result<Exit> {
    let dir = if let Some(dir) = arguments.spool_dir {
        dir
    } else {
        match load_file(&arguments.config, registry) {
            Ok(configuration) => configuration.agent.spool_dir,
            Err(exit) => return Ok(exit),
        }
    };
    match arguments.command {
        SpoolCommand::List => list(&inspect(&dir)?),
        SpoolCommand::Show { sequence } => show(&inspect(&dir)?, sequence),
        SpoolCommand::Drop { sequences, all } => {
            let dropped = crate::spool::drop_reports(&dir, if all { None } else { Some(&sequences) })?;
            for sequence in &dropped {
                say::note(&format!("dropped report {sequence}"));
            }
            let missing: Vec<String> =
                sequences.iter().filter(|it| !dropped.contains(it)).map(ToString::to_string).collect();
            if missing.is_empty() {
                return Ok(Exit::Success);
            }
            say::error(&format!("there is no report {}", missing.join(", ")));
            Ok(Exit::Incomplete)
        }
    }
}

fn list(Inspection { lying, .. }: &Inspection) -> anyhow::Result<Exit> {
    let mut out = anstream::AutoStream::auto(io::stdout());
    if lying.is_empty() {
        say::note("nothing waits");
        return Ok(Exit::Success);
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["REPORT", "MADE", "SIZE", "SCOPES", "FOR"]);
    for Lying { sequence, size, report, waits_for } in lying {
        let (made, scopes) = match report {
            Ok(report) => (report.created_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), scopes(report).to_string()),
            Err(_) => ("damaged".to_owned(), String::new()),
        };
        table.add_row([sequence.to_string(), made, bytesize::ByteSize(*size).to_string(), scopes, waits_for.clone()]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(Exit::Success)
}

fn scopes(report: &Report) -> usize {
    report.sources.iter().map(|source| source.scopes.len()).sum()
}

fn show(inspection: &Inspection, sequence: u64) -> anyhow::Result<Exit> {
    let Some(lying) = inspection.lying.iter().find(|lying| lying.sequence == sequence) else {
        say::error(&format!("there is no report {sequence}; `stocktake-agent spool list` shows those that there are"));
        return Ok(Exit::Incomplete);
    };
    let report = match &lying.report {
        Ok(report) => report.clone(),
        Err(error) => {
            say::error(&format!("report {sequence} is damaged: {error}"));
            return Ok(Exit::Incomplete);
        }
    };
    let (report, scopes) = inspection.contents(report)?;
    let inventory = Inventory::new(report, scopes);
    let mut out = io::stdout();
    serde_json::to_writer_pretty(&mut out, &inventory).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(Exit::Success)
}
