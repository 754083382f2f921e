//! The command line's grammar.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::access::Role;

/// Keeps what agents report of the containers that run, and answers questions about it.
#[derive(Debug, Parser)]
#[command(name = "stocktake-server", version, disable_help_subcommand = true, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Form of the log on stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, help_heading = "Logging")]
    pub(crate) log_format: LogFormat,

    /// Log more: once for what is done, twice for each request. `STOCKTAKE_LOG` sets a filter instead (`debug`, `sqlx=debug`).
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Logging")]
    pub(crate) verbose: u8,
}

const AFTER_HELP: &str = "\
Exit status:
   0  what was asked for was done
   1  it was not; what is printed says why
   2  wrong command line
  69  the database cannot be reached or used
  70  internal error
  78  wrong configuration

Data goes to stdout, everything else to stderr.";

const SERVE_AFTER_HELP: &str = "\
Without any option it serves at 127.0.0.1:8228, out of a file of SQLite: /var/lib/stocktake-server/inventory.db for root, else
stocktake-server/inventory.db in $XDG_STATE_HOME (~/.local/state). It brings the database's schema up to date first.

SIGTERM and SIGINT let requests that are under way end, and end the server with exit status 0; a second one ends it at once.
SIGHUP has it read its configuration again: [limits], [metrics] and [agentless] count from then on,
the rest from the next start. One that is not valid is complained of, and the former one stays in
force.";

const BACKUP_AFTER_HELP: &str = "\
The server may run meanwhile: the copy is the database as it is at one moment. It is checked before
the command ends with exit status 0. To restore it, stop the server and put the copy in the place of
the database's file, without the files beside it that end in -wal and -shm.

What goes to stdout is copied and checked first, in a file beside the database or, where that is
set, in TMPDIR. It is whole if the command ends with exit status 0.

Of SQLite only; PostgreSQL has pg_dump.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve, until told to stop.
    #[command(after_help = SERVE_AFTER_HELP)]
    Serve(Serve),
    /// Bring the database's schema up to date, which `serve` does, too.
    Migrate(Where),
    /// Say who may use the server.
    #[command(subcommand)]
    User(User),
    /// Say which programs may use the server, such as agents.
    #[command(subcommand)]
    Token(Token),
    /// See to the secrets in the database: credentials of clusters and hosts, and where notifications go.
    #[command(subcommand)]
    Secrets(Secrets),
    /// Copy the database to a file, or to stdout.
    #[command(after_help = BACKUP_AFTER_HELP)]
    Backup(Backup),
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

/// What is kept where.
#[derive(Debug, Default, Args)]
pub(crate) struct Where {
    /// Configuration file (TOML). Default: `/etc/stocktake/server.toml`, if it is there.
    #[arg(short, long, value_name = "FILE", env = "STOCKTAKE_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Database: path of a file of SQLite, or `postgres://USER@HOST/NAME`. A URL with a password belongs into the environment or
    /// a file that `database_file` of `[server]` names, since others see a command line.
    #[arg(short, long, value_name = "PATH|URL", env = "STOCKTAKE_DATABASE_URL", hide_env_values = true)]
    pub(crate) database: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) place: Where,

    /// Address and port to serve at. Default: the configuration's `listen`, which is `127.0.0.1:8228` where it says nothing.
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) place: Where,

    /// Where to put the copy; `-` for stdout. A file that is there already is left as it is, and the command fails.
    pub(crate) file: PathBuf,
}

/// Whose users or tokens.
#[derive(Debug, Args)]
pub(crate) struct Account {
    #[command(flatten)]
    pub(crate) place: Where,

    /// Account that it belongs to.
    #[arg(short, long, value_name = "NAME", default_value = "admin")]
    pub(crate) account: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Add a user. The password is read from stdin, or asked for.
    Add {
        /// Name, which nobody else has on this server.
        name: String,
        /// What they may.
        #[arg(short, long, value_enum)]
        role: Role,
        #[command(flatten)]
        account: Account,
    },
    /// List users.
    List {
        #[command(flatten)]
        account: Account,
    },
    /// Give a user another password, read from stdin or asked for.
    Password {
        /// Name.
        name: String,
        #[command(flatten)]
        account: Account,
    },
    /// Remove a user.
    Remove {
        /// Name.
        name: String,
        #[command(flatten)]
        account: Account,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print its secret, which cannot be shown again.
    Add {
        /// Name, such as that of the host whose agent uses it.
        name: String,
        /// What it may.
        #[arg(short, long, value_enum, default_value_t = Role::InventoryAgent)]
        role: Role,
        /// When it expires (RFC 3339); never, if it is not said.
        #[arg(short, long, value_name = "TIME")]
        expires: Option<jiff::Timestamp>,
        #[command(flatten)]
        account: Account,
    },
    /// List tokens.
    List {
        #[command(flatten)]
        account: Account,
    },
    /// Take a token back.
    Remove {
        /// Name.
        name: String,
        #[command(flatten)]
        account: Account,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Encrypt all of them with the first key, so that the others can be taken away. Servers may run meanwhile.
    #[command(after_help = ROTATE_AFTER_HELP)]
    Rotate(Where),
}

const ROTATE_AFTER_HELP: &str = "\
To replace a key: put the new one before it in `key_file` (servers read it whenever they need it) or
in STOCKTAKE_SECRET_KEY (restart all of them), and run this. Once it finds nothing to encrypt any
more, take the old key away, and keep it with the backups that were made before: they take it. With
SQLite and nothing said the file is beside the database, with `.key` behind its name.";

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
