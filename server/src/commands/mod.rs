//! The commands, each in its file, and what they share.

mod backup;
mod man;
mod migrate;
mod secrets;
mod serve;
mod token;
mod user;

use std::{
    ffi::OsString,
    fs::{self, DirBuilder},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{CommandFactory as _, Parser as _};

use crate::{
    access::{Access, AccessError, Bounds},
    agentless,
    cli::{Cli, Command, Where},
    config::{self, Settings},
    database::{Database, DatabaseError},
    exit::Exit,
    logging, notify, say,
    secrets::{KeyError, KeySource, Shelf, Vault},
};

/// The configuration that is read if it is there.
const USUAL_CONFIG: &str = "/etc/stocktake/server.toml";

/// Where all secrets stand.
const SHELVES: [&Shelf; 2] = [&agentless::SHELF, &notify::SHELF];

/// How long what is under way may take to be dropped once a command has ended.
const TO_BE_DROPPED: Duration = Duration::from_millis(500);

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
    logging::start(cli.log_format, cli.verbose);
    // An inventory, its journal and its copies are their owner's alone. (What it was is of no use.)
    let _ = rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    match dispatch(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            say::error(&format!("{error:#}"));
            Exit::Software.into()
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Serve(arguments) => block_on(serve::run(arguments)),
        Command::Migrate(place) => block_on(migrate::run(place)),
        Command::User(command) => block_on(user::run(command)),
        Command::Token(command) => block_on(token::run(command)),
        Command::Secrets(command) => block_on(secrets::run(command)),
        Command::Backup(arguments) => block_on(backup::run(arguments)),
        Command::Man { folder } => man::run(&folder),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "stocktake-server", &mut script);
            // For a program with a hyphen in its name bash's script looks for its cases under another word than they
            // have, so that nothing is completed behind a command (clap-rs/clap#6421).
            let script = String::from_utf8(script)?.replace("stocktake__subcmd__server", "stocktake__server");
            match io::stdout().write_all(script.as_bytes()) {
                // The reader of our output has seen enough (`| head`).
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
                _ => Ok(Exit::Success),
            }
        }
    }
}

fn block_on(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(command);
    runtime.shutdown_timeout(TO_BE_DROPPED);
    exit
}

/// The file that is named, or the usual one if it is there.
fn configuration(place: &Where) -> Option<&Path> {
    let usual = Path::new(USUAL_CONFIG);
    // Set and empty means "not set", as everywhere.
    let named = place.config.as_deref().filter(|path| !path.as_os_str().is_empty());
    named.or_else(|| usual.exists().then_some(usual))
}

/// What the configuration says, and the command line before it, or how a command ends that cannot do without it.
fn settings(place: &Where) -> Result<Settings, Exit> {
    let mut settings = match configuration(place).map(config::load) {
        Some(Ok(settings)) => settings,
        Some(Err(invalid)) => {
            for complaint in invalid.complaints() {
                say::error(&complaint);
            }
            return Err(Exit::Config);
        }
        None => Settings::default(),
    };
    if let Some(database) = place.database.as_ref().filter(|database| !database.is_empty()) {
        settings.server.database = Some(database.clone());
        settings.server.database_file = None;
    }
    Ok(settings)
}

/// Where the database is: where the settings say, or where it usually is.
fn database_of(settings: &Settings) -> Result<String, Exit> {
    let found = match (&settings.server.database, &settings.server.database_file) {
        (Some(database), _) => Ok(database.clone()),
        (None, Some(file)) => database_in(file),
        (None, None) => usual_database().map(|path| path.display().to_string()),
    };
    found.map_err(|message| {
        say::error(&message);
        Exit::Config
    })
}

/// Where a file says that the database is, which is not repeated: there may be a password in it.
fn database_in(file: &Path) -> Result<String, String> {
    let told = |what: &str| format!("`database_file` of `[server]`: {}: {what}", file.display());
    let text = fs::read_to_string(file).map_err(|error| told(&format!("cannot be read: {error}")))?;
    match text.trim() {
        "" => Err(told("is empty; write `postgres://USER:PASSWORD@HOST/NAME` into it")),
        database => Ok(database.to_owned()),
    }
}

/// The file of who says nothing, whose folder is made.
fn usual_database() -> Result<PathBuf, String> {
    let folder = if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/lib/stocktake-server")
    } else {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_STATE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".local/state")))
            .ok_or("there is neither HOME nor XDG_STATE_HOME to keep the inventory in; say where with --database")?
            .join("stocktake-server")
    };
    // What is in it is for nobody else to read.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|error| {
        format!("cannot make {}: {error}; say where to keep the inventory with --database", folder.display())
    })?;
    Ok(folder.join("inventory.db"))
}

/// Opens the database, and brings its schema up to date.
async fn open(url: &str) -> Result<Database, Exit> {
    let opened = async {
        let database = Database::open(url).await?;
        database.migrate().await?;
        Ok(database)
    };
    opened.await.map_err(|error| cannot_use(&error))
}

/// What secrets are encrypted with: as the settings say, or with the key beside a file of SQLite.
async fn key_source(settings: &Settings, database: &Database) -> Result<KeySource, Exit> {
    let file = database.file().await.map_err(|error| cannot_use(&error))?;
    Ok(KeySource::new(settings.secrets.key_file.clone()).or_beside(file.as_deref()))
}

/// What encrypts secrets. Keys that cannot be used are told before anything needs them.
fn vault(source: KeySource) -> Result<Vault, Exit> {
    let vault = Vault::new(source);
    match vault.keys() {
        Ok(_) | Err(KeyError::None) => Ok(vault),
        Err(error) => {
            say::error(&error.to_string());
            Err(Exit::Config)
        }
    }
}

/// Who may do what, as the database of these settings has it.
async fn access(place: &Where) -> Result<Access, Exit> {
    let settings = settings(place)?;
    let access = Access::new(open(&database_of(&settings)?).await?);
    access.bound(Bounds::of(&settings.limits));
    Ok(access)
}

/// Tells why it was not done.
fn refused(error: &AccessError) -> Exit {
    say::error(&error.to_string());
    Exit::Failure
}

/// Prints rows below each other, in columns.
fn print_table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> anyhow::Result<Exit> {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let widths: Vec<usize> =
        (0..N).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    match io::stdout().write_all(text.as_bytes()) {
        // The reader of our output has seen enough (`| head`).
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::Success),
    }
}

fn cannot_use(error: &DatabaseError) -> Exit {
    let mut text = format!("cannot use the database: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    say::error(&text);
    Exit::of(error)
}
