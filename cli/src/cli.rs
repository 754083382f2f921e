//! The command line's grammar.

pub(crate) mod clusters;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::time::moment;

/// Asks a Stocktake server which container images run, where, and since when.
#[derive(Debug, Parser)]
#[command(name = "stocktake", version, disable_help_subcommand = true, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) server: Server,
}

const AFTER_HELP: &str = "\
Examples:
  stocktake where nginx:1.25                      where an image runs
  stocktake containers --cluster prod --state running
  stocktake changes --since 24h
  stocktake inventory list --type kubernetes -o csv > images.csv
  STOCKTAKE_URL=https://stocktake.example.com stocktake --token-file token images

A password is read from STOCKTAKE_PASSWORD or asked for, a token from STOCKTAKE_TOKEN or a file; neither is ever an argument.
What is said of a server once is written into a file: `stocktake contexts --help`.

Exit status:
   0  what was asked for was done
   1  the server refused, or there is nothing of the name that was said
   2  wrong command line
  69  the server cannot be reached
  70  internal error
  77  the server does not know the user or token, or they may not do this
  78  wrong configuration

Data goes to stdout, everything else to stderr.";

const CONTEXTS_AFTER_HELP: &str = "\
Contexts are in $XDG_CONFIG_HOME/stocktake/config.toml (~/.config/stocktake/config.toml):

  current = \"prod\"

  [contexts.prod]
  url = \"https://stocktake.example.com\"
  token_file = \"prod.token\"       # or: user = \"jo\", and password_file, or it is asked for
  account = \"team-a\"              # another account than one's own
  ca_file = \"ca.pem\"              # instead of the system's certificate authorities

Paths are relative to the file. `-C NAME` takes another than the current one. With `--url` or STOCKTAKE_URL, and without
`-C`, no context counts: its credentials are for its own server.";

/// Which server, and as whom.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Server {
    /// Context of the configuration to use, instead of the current one.
    #[arg(short = 'C', long, global = true, value_name = "NAME")]
    pub(crate) context_name: Option<String>,

    /// Where the server is. Default: the context's, else `http://127.0.0.1:8228`.
    #[arg(long, global = true, env = "STOCKTAKE_URL")]
    pub(crate) url: Option<String>,

    /// User to log in as. The password is read from `STOCKTAKE_PASSWORD`, or asked for. Default: `STOCKTAKE_USER`, else the context's.
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "token_file")]
    pub(crate) user: Option<String>,

    /// File that holds a token. Default: the token in `STOCKTAKE_TOKEN`, else the context's.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Account to ask about, for who may ask about others than their own.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) account: Option<String>,

    /// File of certificates in PEM: the server's has to be signed by one of them, and by none of the system's.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The inventory as Anchore's tools know it: each image in each context.
    #[command(subcommand)]
    Inventory(Inventory),
    /// List images that are in use, each once.
    #[command(after_help = IMAGES_AFTER_HELP)]
    Images(Images),
    /// List containers, each once however many sources see it.
    #[command(after_help = CONTAINERS_AFTER_HELP)]
    Containers(Box<Containers>),
    /// Tell where an image is in use, by its name or a digest of any kind. Exit status 1 if it is nowhere.
    #[command(after_help = WHERE_AFTER_HELP)]
    Where(Where),
    /// Tell what appeared, disappeared and changed, in the order in which it came to be known.
    #[command(after_help = CHANGES_AFTER_HELP)]
    Changes(Changes),
    /// List agents, and which of them are silent.
    Agents(Agents),
    /// List what agents look at: each collector of each of them.
    Sources(Sources),
    /// What the server looks at itself: clusters and Docker hosts without an agent.
    #[command(subcommand, after_help = clusters::AFTER_HELP)]
    Clusters(clusters::Clusters),
    /// Deliver a report that was written to a file (`stocktake-agent collect --output FILE`).
    #[command(after_help = SUBMIT_AFTER_HELP)]
    Submit {
        /// The file; `-` for standard input.
        file: PathBuf,
    },
    /// The servers that this program knows by name.
    #[command(subcommand, after_help = CONTEXTS_AFTER_HELP)]
    Contexts(Contexts),
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

const WHERE_AFTER_HELP: &str = "\
Examples:
  stocktake where nginx                            any tag of docker.io/library/nginx
  stocktake where registry.example.com/shop/web:2.1
  stocktake where sha256:4c0f…                     of an index, a manifest, a configuration, or as a repository serves it
  stocktake where nginx:1.25 --status all -o json  also where it was";

const INVENTORY_LIST_AFTER_HELP: &str = "\
Examples:
  stocktake inventory list --type kubernetes
  stocktake inventory list --context prod/shop -o csv > shop.csv";

const INVENTORY_DELETE_AFTER_HELP: &str = "\
Examples:
  stocktake inventory delete --type kubernetes --context prod/shop
  stocktake inventory delete --type docker --context host-1 -y          in a script";

const WATCH_AFTER_HELP: &str = "\
Examples:
  stocktake inventory watch activate prod              the whole cluster
  stocktake inventory watch activate prod/shop
  stocktake inventory watch list
  stocktake inventory watch deactivate prod/shop

Where notifications go is set by the server's `PATCH /v1/subscriptions/ID`. Without that, they are
among what `stocktake changes --follow` tells.";

const IMAGES_AFTER_HELP: &str = "\
Examples:
  stocktake images --cluster prod
  stocktake images --repository nginx --status all     also those that are gone
  stocktake images -o json > images.json";

const CONTAINERS_AFTER_HELP: &str = "\
Examples:
  stocktake containers --cluster prod --namespace shop --state running
  stocktake containers --label app=web --label tier=front
  stocktake containers --host host-1 --at 2026-05-04T10:00:00Z
  stocktake containers --coverage denied -o csv > not-seen-completely.csv";

const CHANGES_AFTER_HELP: &str = "\
Examples:
  stocktake changes --since 24h
  stocktake changes --since 2026-05-04T00:00:00Z --until 2026-05-05T00:00:00Z --context prod/shop
  stocktake changes --follow --context prod/shop       what changes from now on
  stocktake changes --follow --since 1h -o json        each change a line

`--follow` goes on where it was cut off, for as long as it runs.";

const SUBMIT_AFTER_HELP: &str = "\
Examples:
  stocktake submit host.stk
  ssh host stocktake-agent collect --output - | stocktake submit -

What is delivered twice counts once.";

/// How an answer is printed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Shape {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    pub(crate) output: Form,

    /// Lines of a table, at most [default: 100]. `json` and `csv` are of all.
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Table,
    /// For programs: one array, with all that the server tells.
    Json,
    /// For spreadsheets.
    Csv,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Inventory {
    /// List images by context.
    #[command(after_help = INVENTORY_LIST_AFTER_HELP)]
    List(InventoryList),
    /// Take a context, or one image of it, out of the inventory. It comes back when it is reported again.
    #[command(after_help = INVENTORY_DELETE_AFTER_HELP)]
    Delete(InventoryDelete),
    /// Watch clusters and namespaces: the server tells of images that are new in them.
    #[command(subcommand, after_help = WATCH_AFTER_HELP)]
    Watch(Watch),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Watch {
    /// Watch a cluster or a namespace.
    Activate(Watched),
    /// Watch it no longer. What was set up stays for when it is watched again.
    Deactivate(Watched),
    /// List what is watched or was.
    List {
        /// Only of this context.
        #[arg(short, long, env = "ANCHORECTL_SUBSCRIPTION_KEY", value_name = "CONTEXT")]
        key: Option<String>,
        #[command(flatten)]
        shape: Shape,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Watched {
    /// The cluster, or `cluster/namespace`.
    #[arg(env = "ANCHORECTL_INVENTORY_CONTEXT", value_name = "CONTEXT")]
    pub(crate) context: String,
}

#[derive(Debug, Args)]
pub(crate) struct InventoryList {
    /// Only of this context: `cluster/namespace`, `host` or `host/namespace`.
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Only images of this digest.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) image_digest: Option<String>,
    /// Only of this type: `kubernetes`, `docker`, …
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) inventory_type: Option<String>,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

#[derive(Debug, Args)]
pub(crate) struct InventoryDelete {
    /// The context: `cluster/namespace`, `host` or `host/namespace`.
    #[arg(long)]
    pub(crate) context: String,
    /// Its type: `kubernetes`, `docker`, …
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) inventory_type: String,
    /// Only the image of this digest.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) image_digest: Option<String>,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Where things run, and how completely that was seen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Place {
    /// Only in this cluster.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Only in this context: `cluster/namespace`, `host` or `host/namespace`.
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Only where the scope was seen so: `complete`, `partial`, `denied`, `failed`.
    #[arg(long)]
    pub(crate) coverage: Option<String>,
}

/// Which image.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct OfImage {
    /// Only the image of this digest: of its index, manifest or configuration, or one that a repository serves it by.
    #[arg(long)]
    pub(crate) digest: Option<String>,
    /// Only images of this repository; `nginx` is `docker.io/library/nginx`.
    #[arg(long)]
    pub(crate) repository: Option<String>,
    /// Only images of this tag.
    #[arg(long)]
    pub(crate) tag: Option<String>,
}

/// What was seen when.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Sightings {
    /// Only what was seen at this time (RFC 3339) or later, or at most so long ago (`24h`, `7d`).
    #[arg(long, value_name = "TIME|DURATION", value_parser = moment)]
    pub(crate) seen_since: Option<Timestamp>,
    /// `present`, `stale`, `gone` or `all`; present and stale ones if not said.
    #[arg(long)]
    pub(crate) status: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Images {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) image: OfImage,
    #[command(flatten)]
    pub(crate) seen: Sightings,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Containers {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) image: OfImage,
    #[command(flatten)]
    pub(crate) seen: Sightings,
    /// What was there at this time (RFC 3339), or so long ago (`24h`, `7d`).
    #[arg(long, value_name = "TIME|DURATION", value_parser = moment, conflicts_with = "status", help_heading = "Filters")]
    pub(crate) at: Option<Timestamp>,
    /// Only on this host, or the cluster's node of this name.
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    pub(crate) host: Option<String>,
    /// Only of this kind: `regular`, `init`, `sidecar`, …
    #[arg(long, help_heading = "Filters")]
    pub(crate) kind: Option<String>,
    /// Only with this label, of its own or its pod's. May be given several times: all must hold.
    #[arg(long = "label", value_name = "KEY[=VALUE]", help_heading = "Filters")]
    pub(crate) labels: Vec<String>,
    /// Only in pods of this namespace.
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    pub(crate) namespace: Option<String>,
    /// Only on this node of a cluster.
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    pub(crate) node: Option<String>,
    /// Only of this outermost owner: `Kind/name` or the name.
    #[arg(long, help_heading = "Filters")]
    pub(crate) owner: Option<String>,
    /// Only in this state: `running`, `exited`, …
    #[arg(long, help_heading = "Filters")]
    pub(crate) state: Option<String>,
    /// Order: `first_seen` or `name`; `-` before it for descending.
    #[arg(long, allow_hyphen_values = true, help_heading = "Output")]
    pub(crate) sort: Option<String>,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

#[derive(Debug, Args)]
pub(crate) struct Where {
    /// The image: a name such as `nginx:1.25`, or a digest of any kind.
    pub(crate) image: String,
    /// `present`, `stale`, `gone` or `all`; present and stale ones if not said.
    #[arg(long)]
    pub(crate) status: Option<String>,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

#[derive(Debug, Args)]
pub(crate) struct Changes {
    /// Since this time (RFC 3339), or so long ago (`24h`, `7d`).
    #[arg(long, value_name = "TIME|DURATION", value_parser = moment, required_unless_present = "follow")]
    pub(crate) since: Option<Timestamp>,
    /// Go on with what changes from now on, as it comes to be known. `json` is then a line each.
    #[arg(long, conflicts_with_all = ["until", "limit"])]
    pub(crate) follow: bool,
    /// Before this time, or so long ago.
    #[arg(long, value_name = "TIME|DURATION", value_parser = moment)]
    pub(crate) until: Option<Timestamp>,
    /// Only in this context: `cluster/namespace`, `host` or `host/namespace`.
    #[arg(long)]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

#[derive(Debug, Args)]
pub(crate) struct Agents {
    #[command(flatten)]
    pub(crate) shape: Shape,
}

#[derive(Debug, Args)]
pub(crate) struct Sources {
    /// Only of this cluster.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Only what was seen so: `complete`, `partial`, `denied`, `failed`.
    #[arg(long)]
    pub(crate) coverage: Option<String>,
    /// Only of this host.
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Contexts {
    /// List contexts; the current one is marked.
    List,
    /// Make a context the current one.
    Use {
        /// Its name.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_is_sound() {
        super::Cli::command().debug_assert();
    }
}
