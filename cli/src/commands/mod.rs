//! The commands, each in its file, and what they share.

mod clusters;
mod confirm;
mod contexts;
mod files;
mod follow;
mod inventory;
mod list;
mod submit;
mod views;
mod watch;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};

use crate::{
    cli::{Cli, Command, Inventory, Server},
    client::Client,
    connection::Connection,
    exit::Exit,
    failure::Failure,
    say,
};

/// Parses the arguments and runs the command they name.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way too, and they are no errors. Where the message cannot be written,
            // there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    match dispatch(cli) {
        Ok(()) => Exit::Success.into(),
        Err(failure) => {
            if !failure.is_silent() {
                say::error(&failure.to_string());
            }
            failure.exit().into()
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let Cli { command, server } = cli;
    match command {
        Command::Completions { shell } => completions(shell),
        Command::Man { folder } => clap_mangen::generate_to(Cli::command(), folder).map_err(Failure::Output),
        Command::Contexts(command) => contexts::run(&command),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ask(command, &server))
        }
    }
}

/// Runs a command that needs a server.
async fn ask(command: Command, server: &Server) -> Result<(), Failure> {
    match command {
        Command::Inventory(Inventory::List(arguments)) => inventory::list(&arguments, &client(server)?).await,
        Command::Inventory(Inventory::Delete(arguments)) => inventory::delete(&arguments, server).await,
        Command::Inventory(Inventory::Watch(command)) => watch::run(&command, &client(server)?).await,
        Command::Images(arguments) => {
            views::images(&arguments).print(&arguments.shape, &client(server)?).await.map(drop)
        }
        Command::Containers(arguments) => {
            views::containers(&arguments).print(&arguments.shape, &client(server)?).await.map(drop)
        }
        Command::Where(arguments) => views::whereabouts(&arguments, &client(server)?).await,
        Command::Changes(arguments) if arguments.follow => follow::run(&arguments, &client(server)?).await,
        Command::Changes(arguments) => {
            views::changes(&arguments).print(&arguments.shape, &client(server)?).await.map(drop)
        }
        Command::Agents(arguments) => views::agents().print(&arguments.shape, &client(server)?).await.map(drop),
        Command::Sources(arguments) => {
            views::sources(&arguments).print(&arguments.shape, &client(server)?).await.map(drop)
        }
        Command::Clusters(command) => clusters::run(&command, server).await,
        Command::Submit { file } => submit::run(&file, server).await,
        // They need none.
        Command::Contexts(_) | Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

fn client(server: &Server) -> Result<Client, Failure> {
    Client::new(Connection::open(server)?)
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "stocktake", &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}
