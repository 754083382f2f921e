//! `collectors`: the types of collectors in this program.

use std::io::{self, Write as _};

use comfy_table::{Table, presets};
use stocktake_core::Registry;

use crate::exit::Exit;

pub(super) fn run(registry: &Registry) -> anyhow::Result<Exit> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["TYPE", "STABILITY", "SUMMARY", "PROVIDES"]);
    for factory in registry.iter() {
        let provides: Vec<String> =
            factory.provides.iter().map(|resource| format!("{resource:?}").to_lowercase()).collect();
        table.add_row([factory.kind, &factory.stability.to_string(), factory.summary, &provides.join(", ")]);
    }
    let mut out = io::stdout();
    for line in table.lines() {
        writeln!(out, "{}", line.trim())?;
    }
    Ok(Exit::Success)
}
