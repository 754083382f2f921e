//! The command line's grammar.

mod after_help;
mod values;

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use clap::{
    ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum, parser::ValueSource,
};

pub(crate) use self::values::tag;
use self::{
    after_help::{
        AFTER_HELP, DELIVERED_AFTER_HELP, IMPORT_AFTER_HELP, RUN_AFTER_HELP, STATUS_AFTER_HELP, SUBMIT_AFTER_HELP,
        WATCH_AFTER_HELP,
    },
    values::interval,
};
use crate::render::MissingTag;

/// Says which containers run, made from which images, on Kubernetes, containerd, CRI-O, Docker and Podman.
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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look once at everything, and print it.
    Collect(Collect),
    /// Look, and look again at what changes, until told to stop.
    #[command(after_help = WATCH_AFTER_HELP)]
    Watch(Watch),
    /// Report always, as a daemon: to every target of the configuration, at once when something changes.
    #[command(after_help = RUN_AFTER_HELP)]
    Run(Run),
    /// Deliver reports that were written to files (`collect --output FILE`) to the targets of the configuration.
    #[command(after_help = SUBMIT_AFTER_HELP)]
    Submit(Submit),
    /// Look at what waits to be delivered.
    Spool(SpoolArguments),
    /// Ask the agent that runs how it is: what it sees, who it reports to, and what stands in its way.
    #[command(after_help = STATUS_AFTER_HELP)]
    Status(Status),
    /// Wait until agents that run elsewhere have reported to all of their targets, by what their `/metrics` say.
    #[command(after_help = DELIVERED_AFTER_HELP)]
    Delivered(Delivered),
    /// Check the configuration, and whether each runtime answers.
    Check(Check),
    /// List the types of collectors in this program.
    Collectors,
    /// List the metrics that `run` serves, as Markdown.
    Metrics,
    /// Show what a configuration can hold, or make one of another program's.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual to a folder: a page a command.
    Man {
        /// The folder, which is there.
        folder: PathBuf,
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

    /// Show what each source saw on its own, instead of each container once. Only with the table: `json` and `ndjson`
    /// carry both.
    #[arg(long, conflicts_with = "by_image")]
    pub(crate) by_source: bool,

    /// Show each image once, with the digests by which each source knows it and what they come to. Only with the table.
    #[arg(long)]
    pub(crate) by_image: bool,

    /// For kai-json, kai-table and k8s-inventory: what stands for the tag of an image that has none.
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = MissingTagPolicy::Digest)]
    pub(crate) missing_tag: MissingTagPolicy,

    /// For `--missing-tag insert`: the tag.
    #[arg(long, value_name = "TAG", default_value = "UNKNOWN", value_parser = tag)]
    pub(crate) missing_tag_insert: String,

    /// Write a bundle to this file, for `submit`: the report and all that it names, compressed, with checksums. `-` for
    /// standard output.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["format", "by_source", "by_image"])]
    pub(crate) output: Option<PathBuf>,

    /// Sign the bundle with this key: private, Ed25519, in PEM (`openssl genpkey -algorithm ed25519`).
    #[arg(long, value_name = "FILE", requires = "output")]
    pub(crate) sign: Option<PathBuf>,

    /// Say on stderr what each filter, default and limit took out of what each collector saw, also where that is nothing.
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Configuration file (TOML), which names at least one target.
    #[arg(short, long, value_name = "FILE", env = "STOCKTAKE_CONFIG", default_value = "/etc/stocktake/agent.toml")]
    pub(crate) config: PathBuf,

    /// Use only the collectors of these names.
    #[arg(long = "collector", value_name = "NAME", value_delimiter = ',', num_args = 1..)]
    pub(crate) collectors: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// Files that `collect --output` has written; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Configuration file (TOML), of which the targets count.
    #[arg(short, long, value_name = "FILE", env = "STOCKTAKE_CONFIG", default_value = "/etc/stocktake/agent.toml")]
    pub(crate) config: PathBuf,

    /// Deliver only to the targets of these names.
    #[arg(long = "target", value_name = "NAME", value_delimiter = ',')]
    pub(crate) targets: Vec<String>,

    /// Refuse what is not signed by this key: public, Ed25519, in PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) verify: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SpoolArguments {
    #[command(subcommand)]
    pub(crate) command: SpoolCommand,

    /// Configuration file (TOML), which says where the spool is.
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "STOCKTAKE_CONFIG",
        default_value = "/etc/stocktake/agent.toml",
        global = true
    )]
    pub(crate) config: PathBuf,

    /// Where the spool is, instead.
    #[arg(long, value_name = "FOLDER", global = true)]
    pub(crate) spool_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// List what waits, for whom, and what was refused.
    List,
    /// Print a report with all that it names, as `collect --format json` does.
    Show {
        /// Its number.
        #[arg(value_name = "REPORT")]
        sequence: u64,
    },
    /// Drop reports before they are delivered, of an agent that does not run.
    Drop {
        /// Their numbers.
        #[arg(value_name = "REPORT", required_unless_present = "all")]
        sequences: Vec<u64>,
        /// All that wait, and all that was refused.
        #[arg(long, conflicts_with = "sequences")]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) source: Source,

    /// Form of the output. Default: `changes` on a terminal, else `ndjson`.
    #[arg(short, long, value_enum)]
    format: Option<WatchFormat>,

    /// How often to look at a runtime that does not tell what changes, or that was not seen as a whole (`30s`, `5m`). One
    /// that does tell is looked at as a whole ten times less often. Default: the configuration's `interval`, which is a minute
    /// where it says nothing.
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub(crate) interval: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WatchFormat {
    /// For programs: each scope that differs, and everything in it, one line a thing.
    Ndjson,
    /// For people: one line a container that appeared (+), changed its state or image (~) or is gone (-).
    Changes,
}

impl Watch {
    /// The form that was asked for, or that suits who reads.
    pub(crate) fn format(&self) -> WatchFormat {
        let suitable = || if io::stdout().is_terminal() { WatchFormat::Changes } else { WatchFormat::Ndjson };
        self.format.unwrap_or_else(suitable)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Socket of the agent; `socket` of `[telemetry]` in its configuration.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// Configuration file of the agent, to find its socket in. Default: `/etc/stocktake/agent.toml`, if it is there.
    #[arg(short, long, value_name = "FILE", env = "STOCKTAKE_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = StatusFormat::Table)]
    pub(crate) format: StatusFormat,

    /// End with 0 if the agent is at work, ready or not, and with 1 if what makes reports has done nothing for too long (`/livez`).
    #[arg(long)]
    pub(crate) alive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// For people: fits the terminal.
    Table,
    /// For programs: one document.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Delivered {
    /// Where agents are asked (`listen` of `[telemetry]`). Of several agents that a name leads to one is enough, as they may share a
    /// Lease.
    #[arg(required_unless_present = "all", value_name = "HOST:PORT")]
    pub(crate) addresses: Vec<String>,

    /// Where agents are asked of which each reports for itself, such as one a node: all that the name leads to have to have delivered.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) all: Vec<String>,

    /// How long to wait.
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "1m")]
    pub(crate) within: Duration,
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
    /// Convert a configuration of Anchore's kai or k8s-inventory.
    #[command(after_help = IMPORT_AFTER_HELP)]
    Import {
        /// Their configuration file (YAML); `-` for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: each container once, fits the terminal.
    Table,
    /// One document: the report, the scopes that it names by digest, and what all of them say together.
    Json,
    /// One line a source, scope, node, namespace, workload, pod, container and image, then one a unified container, unified
    /// image and finding.
    Ndjson,
    /// One row a container, for spreadsheets.
    Csv,
    /// CycloneDX 1.6 in JSON: one component a container.
    Cyclonedx,
    /// As kai 0.5 prints it: the images of each namespace of a cluster.
    KaiJson,
    /// The same, as a table.
    KaiTable,
    /// As Anchore's k8s-inventory prints it: containers, pods, nodes and namespaces of a cluster.
    K8sInventory,
}

impl Format {
    fn has_tags(self) -> bool {
        matches!(self, Self::KaiJson | Self::KaiTable | Self::K8sInventory)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MissingTagPolicy {
    /// The image's digest. Where that is not known the name stays as it is.
    Digest,
    /// The tag of `--missing-tag-insert`.
    Insert,
    /// None: such images are left out.
    Drop,
}

impl Collect {
    /// Whether what sources disagree on is part of the output.
    pub(crate) fn shows_findings(&self) -> bool {
        match self.format {
            Format::Table => !self.by_source && !self.by_image && self.output.is_none(),
            Format::Json | Format::Ndjson => true,
            Format::Csv | Format::Cyclonedx | Format::KaiJson | Format::KaiTable | Format::K8sInventory => false,
        }
    }

    /// The policy for images without a tag.
    pub(crate) fn missing_tag(&self) -> MissingTag {
        match self.missing_tag {
            MissingTagPolicy::Digest => MissingTag::Digest,
            MissingTagPolicy::Insert => MissingTag::Insert(self.missing_tag_insert.clone()),
            MissingTagPolicy::Drop => MissingTag::Drop,
        }
    }
}

impl Cli {
    /// Reads the arguments, the program's name first.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(arguments)?;
        let cli = Self::from_arg_matches(&matches)?;
        if let (Command::Collect(collect), Some((_, given))) = (&cli.command, matches.subcommand()) {
            collect.check(given)?;
        }
        Ok(cli)
    }
}

impl Collect {
    /// An option that would have no effect is a mistake (clap ties options to each other, not to each other's values).
    fn check(&self, given: &ArgMatches) -> Result<(), clap::Error> {
        let is_given = |option| given.value_source(option) == Some(ValueSource::CommandLine);
        let complain = |message: &str| {
            let mut command = Cli::command();
            command.build();
            let kind = clap::error::ErrorKind::ArgumentConflict;
            Err(match command.find_subcommand_mut("collect") {
                Some(collect) => collect.error(kind, message),
                None => command.error(kind, message),
            })
        };
        if (self.by_source || self.by_image) && self.format != Format::Table {
            let option = if self.by_source { "--by-source" } else { "--by-image" };
            return complain(&format!(
                "{option} is a view of the table; json and ndjson carry every view, so leave it out"
            ));
        }
        if (is_given("missing_tag") || is_given("missing_tag_insert")) && !self.format.has_tags() {
            return complain("--missing-tag is for --format kai-json, kai-table and k8s-inventory");
        }
        if is_given("missing_tag_insert") && self.missing_tag != MissingTagPolicy::Insert {
            return complain("--missing-tag-insert is for --missing-tag insert");
        }
        Ok(())
    }
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
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    fn collect(options: &[&str]) -> Result<MissingTag, clap::error::ErrorKind> {
        let words = ["stocktake-agent", "collect"].iter().chain(options).map(OsString::from);
        match Cli::read(words).map_err(|error| error.kind())?.command {
            Command::Collect(collect) => Ok(collect.missing_tag()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_policy_for_tags_needs_a_format_that_has_them() {
        for format in ["kai-json", "kai-table", "k8s-inventory"] {
            assert_eq!(collect(&["--format", format]), Ok(MissingTag::Digest));
            assert_eq!(collect(&["--format", format, "--missing-tag", "drop"]), Ok(MissingTag::Drop));
            let insert = ["--format", format, "--missing-tag", "insert"];
            assert_eq!(collect(&insert), Ok(MissingTag::Insert("UNKNOWN".into())));
            let other = collect(&[&insert[..], &["--missing-tag-insert", "none-1.0"]].concat());
            assert_eq!(other, Ok(MissingTag::Insert("none-1.0".into())));
        }
        let conflict = Err(clap::error::ErrorKind::ArgumentConflict);
        for format in ["table", "json", "ndjson", "csv", "cyclonedx"] {
            assert_eq!(collect(&["--format", format, "--missing-tag", "digest"]), conflict, "{format}");
            assert_eq!(collect(&["--format", format, "--missing-tag-insert", "x"]), conflict, "{format}");
        }
        assert_eq!(collect(&["--missing-tag", "drop"]), conflict);
        assert_eq!(collect(&["--format", "kai-json", "--missing-tag-insert", "x"]), conflict);
    }

    #[test]
    fn what_is_no_tag_is_not_inserted() {
        let insert = |tag| collect(&["--format", "kai-json", "--missing-tag", "insert", "--missing-tag-insert", tag]);
        for tag in ["", ".x", "a b", "a:b", &"x".repeat(129)] {
            assert_eq!(insert(tag), Err(clap::error::ErrorKind::ValueValidation), "{tag}");
        }
    }
}
