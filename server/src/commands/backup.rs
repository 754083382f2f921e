//! `backup`: a copy of the database, while the server runs.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::{database_of, settings};
use crate::{cli, database, exit::Exit, say};

pub(super) async fn run(arguments: cli::Backup) -> anyhow::Result<Exit> {
    let url = match settings(&arguments.place).and_then(|settings| database_of(&settings)) {
        Ok(url) => url,
        Err(exit) => return Ok(exit),
    };
    let source = match database::sqlite_file(&url) {
        Ok(Some(source)) => source,
        Ok(None) => {
            say::error("this copies a file of SQLite, and the database is PostgreSQL: use `pg_dump --format=custom`");
            return Ok(Exit::Usage);
        }
        Err(error) => return Ok(super::cannot_use(&error)),
    };
    let is_streamed = arguments.file == Path::new("-");
    if is_streamed && io::stdout().is_terminal() {
        say::error("a database is nothing for a terminal: send it to a file (`> FILE`), or name one instead of `-`");
        return Ok(Exit::Usage);
    }
    let copied = if is_streamed { stream(&source).await } else { copy(&source, &arguments.file).await };
    match copied {
        Ok(()) => {
            let target = if is_streamed { "stdout".into() } else { arguments.file.to_string_lossy() };
            say::note(&format!("{target} is a copy of {}, and is sound", source.display()));
            Ok(Exit::Success)
        }
        Err(error) => {
            say::error(&format!("{error:#}"));
            Ok(Exit::Failure)
        }
    }
}

/// A copy on stdout. SQLite needs a file to copy to, which nobody sees any more before the first byte is sent.
async fn stream(source: &Path) -> anyhow::Result<()> {
    let mut name = source.file_name().unwrap_or_default().to_owned();
    name.push(format!(".copy-{}", uuid::Uuid::new_v4()));
    let folder = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let draft = folder.as_deref().or(source.parent()).unwrap_or(Path::new("")).join(name);
    copy(source, &draft).await?;
    let opened = File::open(&draft);
    fs::remove_file(&draft).with_context(|| format!("cannot remove {}", draft.display()))?;
    let sent = opened.and_then(|mut file| {
        let mut out = io::stdout().lock();
        io::copy(&mut file, &mut out)?;
        out.flush()
    });
    sent.context("cannot write the copy to stdout")
}

async fn copy(source: &Path, target: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(source.is_file(), "there is no database at {}", source.display());
    // Made here and not by SQLite, so that no file is overwritten and nobody else may read it.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            anyhow::bail!("{} is there already, and is left as it is: name another file", target.display())
        }
        made => drop(made.with_context(|| format!("cannot make {}", target.display()))?),
    }
    let copied = write(source, target).await;
    if copied.is_err() {
        // What is not whole is not left to be taken for a copy.
        let _ = fs::remove_file(target);
    }
    copied
}

async fn write(source: &Path, target: &Path) -> anyhow::Result<()> {
    let name = target.to_str().with_context(|| format!("{} is not UTF-8", target.display()))?;
    vacuum(source, name).await.map_err(|error| {
        let why = database::said_of_inventory(&error);
        anyhow::anyhow!("cannot copy {} to {}: {why}", source.display(), target.display())
    })?;
    let found = check(target).await.unwrap_or_else(|error| database::said(&error));
    anyhow::ensure!(found == "ok", "the copy {} is not sound: {found}", target.display());
    let folder =
        target.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(PathBuf::from("."), Path::to_owned);
    for path in [target, &folder] {
        File::open(path).and_then(|file| file.sync_all()).with_context(|| format!("cannot sync {}", path.display()))?;
    }
    Ok(())
}

async fn vacuum(source: &Path, target: &str) -> Result<(), sqlx::Error> {
    let mut database = SqliteConnectOptions::new().filename(source).connect().await?;
    sqlx::query("VACUUM INTO $1").bind(target).execute(&mut database).await?;
    // The last connection to a database takes away what lies beside it.
    database.close().await
}

/// `ok`, or what is wrong with a copy.
async fn check(copy: &Path) -> Result<String, sqlx::Error> {
    let mut database = SqliteConnectOptions::new().filename(copy).read_only(true).connect().await?;
    let found = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut database).await?;
    database.close().await?;
    Ok(found)
}
