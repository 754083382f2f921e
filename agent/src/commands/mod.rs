//! The commands, each in its file, and what they share.

mod check;
mod collect;
mod collectors;
mod config;
mod delivered;
mod import;
mod man;
mod metrics;
mod run;
mod spool;
mod status;
mod submit;
mod watch;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use clap::CommandFactory as _;
use stocktake_core::{Registry, nearest};
use tokio::runtime::Runtime;

use crate::{
    cli::{self, Cli, Command, ConfigCommand},
    config::{Configuration, load},
    discover::{Discovery, discover},
    environment,
    exit::Exit,
    logging,
    observe::Configured,
    say,
};

/// How long what is under way when following ends may take to be dropped: what it has started, such as a program, ends by
/// that. Whatever blocks its thread longer is left behind.
const TO_BE_DROPPED: Duration = Duration::from_millis(500);

/// Parses the arguments and runs the command they name.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::read(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way too, and they are no errors. Where the message cannot be written,
            // there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    logging::start(cli.log_format, cli.verbose);
    let outcome = Registry::linked().map_err(anyhow::Error::from).and_then(|registry| dispatch(cli.command, &registry));
    match outcome {
        Ok(exit) => exit.into(),
        // The reader of our output has seen enough (`| head`).
        Err(error) if is_broken_pipe(&error) => Exit::Success.into(),
        Err(error) => {
            say::error(&format!("{error:#}"));
            Exit::Software.into()
        }
    }
}

fn dispatch(command: Command, registry: &Registry) -> anyhow::Result<Exit> {
    match command {
        Command::Collect(arguments) => block_on(collect::run(arguments, registry)),
        Command::Watch(arguments) => follow(watch::run(arguments, registry)),
        Command::Run(arguments) => follow(run::run(arguments, registry)),
        Command::Submit(arguments) => block_on(submit::run(arguments, registry)),
        Command::Spool(arguments) => spool::run(arguments, registry),
        Command::Check(arguments) => block_on(check::run(arguments, registry)),
        Command::Status(arguments) => block_on(status::run(arguments)),
        Command::Delivered(arguments) => block_on(delivered::run(arguments)),
        Command::Metrics => metrics::run(),
        Command::Collectors => collectors::run(registry),
        Command::Config { command: ConfigCommand::Schema } => config::schema(registry),
        Command::Config { command: ConfigCommand::Example } => config::example(registry),
        Command::Config { command: ConfigCommand::Import { file } } => import::run(&file, registry),
        Command::Man { folder } => man::run(&folder),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "stocktake-agent", &mut script);
            // For a program with a hyphen in its name bash's script looks for its cases under another word than they
            // have, so that nothing is completed behind a command (clap-rs/clap#6421).
            let script = String::from_utf8(script)?.replace("stocktake__subcmd__agent", "stocktake__agent");
            io::stdout().write_all(script.as_bytes())?;
            Ok(Exit::Success)
        }
    }
}

fn block_on(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = runtime()?;
    let exit = runtime.block_on(command);
    // A collector that missed its deadline may still block a thread; the process does not wait for it.
    runtime.shutdown_background();
    exit
}

/// Runs what has started things that have to end in order.
fn follow(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = runtime()?;
    let exit = runtime.block_on(command);
    runtime.shutdown_timeout(TO_BE_DROPPED);
    exit
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The collectors that a command is to use and what it may tell, or how it ends without any.
async fn configuration(source: &cli::Source, registry: &Registry) -> Result<Configuration, Exit> {
    let (environment, host) = (environment::environment(), environment::host());
    let mut configuration = if let Some(path) = &source.config {
        let configuration = load_file(path, registry)?;
        if let Some(complaint) = configuration.complaint_of_collectors(path) {
            say::error(&complaint);
            return Err(Exit::Config);
        }
        configuration
    } else {
        let found = discover(registry, &environment, &host).await;
        Configuration::of(choose_found(found, &source.collectors)?)
    };
    configuration.collectors = select(configuration.collectors, &source.collectors)?;
    Ok(configuration)
}

/// What a file says, or how a command ends that cannot do without it.
fn load_file(path: &Path, registry: &Registry) -> Result<Configuration, Exit> {
    load(path, registry, &environment::environment(), &environment::host()).map_err(|invalid| {
        for complaint in invalid.complaints() {
            say::error(&complaint);
        }
        Exit::Config
    })
}

/// Says what was found, and how to choose among it.
fn choose_found(discovery: Discovery, chosen: &[String]) -> Result<Vec<Configured>, Exit> {
    let is_chosen = |name: &String| chosen.is_empty() || chosen.contains(name);
    for found in &discovery.found {
        let verb = if is_chosen(&found.configured.name) { "using" } else { "found" };
        say::note(&format!("{verb} {}: {}", found.configured.name, found.description));
    }
    for skipped in &discovery.skipped {
        say::note(&format!("skipping {skipped}"));
    }
    if discovery.found.is_empty() {
        say::error(
            "no container runtime was found: no Docker, Podman, containerd or CRI-O socket, no kubeconfig\n\
             hint: start one, or say where it is in a configuration (`stocktake-agent config example`)",
        );
        return Err(Exit::Unavailable);
    }
    if chosen.is_empty() {
        say::note("to choose, add --collector NAME, or --config FILE (`stocktake-agent config example`)");
    }
    Ok(discovery.found.into_iter().map(|found| found.configured).collect())
}

fn select(all: Vec<Configured>, chosen: &[String]) -> Result<Vec<Configured>, Exit> {
    let names: Vec<&str> = all.iter().map(|collector| collector.name.as_str()).collect();
    for name in chosen {
        if !names.contains(&name.as_str()) {
            let hint = match nearest(name, names.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("there is {}", names.join(", ")),
            };
            say::error(&format!("no collector is named `{name}`; {hint}"));
            return Err(Exit::Usage);
        }
    }
    Ok(all.into_iter().filter(|collector| chosen.is_empty() || chosen.contains(&collector.name)).collect())
}
