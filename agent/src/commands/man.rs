//! `man`: the manual, a page a command.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::{cli::Cli, exit::Exit};

pub(super) fn run(folder: &Path) -> anyhow::Result<Exit> {
    let mut program = Cli::command();
    program.build();
    write(&program, folder).with_context(|| format!("cannot write to the folder {}", folder.display()))?;
    Ok(Exit::Success)
}

/// That of a command, and of all that is below it. Section 8 is that of daemons and what belongs to them.
fn write(command: &clap::Command, folder: &Path) -> std::io::Result<()> {
    for inner in command.get_subcommands() {
        write(inner, folder)?;
    }
    Man::new(command.clone()).section("8").manual("Stocktake").generate_to(folder).map(drop)
}
