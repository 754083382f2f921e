//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Says which containers run, made from which images, on Kubernetes, containerd, Docker and Podman.
#[derive(Debug, Parser)]
#[command(name = "stocktake-agent", version, disable_help_subcommand = true, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Form of the log on stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, help_heading = "Logging")]
    pub(crate) log_format: LogFormat,

    /// Log more: once for what is done, twice for each step. `STOCKTAKE_LOG` sets a filter instead (`debug`, `kube=trace`).
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Logging")]
    pub(crate) verbose: u8,
}

const AFTER_HELP: &str = "\
Exit status:
   0  everything that was asked for was seen
   1  something could not be seen; what was is printed
   2  wrong command line
  69  no runtime could be reached
  70  internal error
  78  wrong configuration

Data goes to stdout, everything else to stderr.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look once at everything, and print it.
    Collect(Collect),
    /// Check the configuration, and whether each runtime answers.
    Check(Check),
    /// List the types of collectors in this program.
    Collectors,
    /// Show what a configuration can hold.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Configuration file (TOML). Without one, every runtime that can be found on this machine is used.
    #[arg(short, long, value_name = "FILE", env = "STOCKTAKE_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Use only the collectors of these names.
    #[arg(long = "collector", value_name = "NAME", value_delimiter = ',', num_args = 1..)]
    pub(crate) collectors: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Collect {
    #[command(flatten)]
    pub(crate) source: Source,

    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,

    /// Say on stderr what each filter, default and limit took out of what each collector saw, also where that is nothing.
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) source: Source,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// JSON Schema of the configuration.
    Schema,
    /// A configuration with every setting explained.
    Example,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: fits the terminal.
    Table,
    /// One document: the report and the scopes that it names by digest.
    Json,
    /// One line a source, scope, node, namespace, workload, pod, container and image.
    Ndjson,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_is_sound() {
        super::Cli::command().debug_assert();
    }
}
