//! The server that is measured, and its database.

use std::{fmt::Write as _, fs, net::TcpListener, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AnyConnection, Connection as _, Row as _, any::install_default_drivers};
use stocktake_tests::{bench::reporter::Connection, server::PASSWORD};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A server that runs. It is killed when this goes.
pub(crate) struct Server {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Server {
    /// Starts it, and waits until it answers.
    pub(crate) async fn start(binary: &Path, database: &str) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("server.toml");
        fs::write(&config, "[limits]\nrequests_per_second = 0\n")?;
        let mut command = Command::new(binary);
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--config"]).arg(config);
        command.env("STOCKTAKE_DATABASE_URL", database).env("STOCKTAKE_ADMIN_PASSWORD", PASSWORD);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn();
        let mut server = Self { child: child.context("cannot run the server")?, port, _folder: folder };
        for _ in 0..200 {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended: {status}");
            }
            if let Ok(mut connection) = Connection::admin(port).await
                && connection.get("/readyz").await.is_ok()
            {
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the server is not ready")
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What the kernel says of it.
    pub(crate) fn memory(&self) -> anyhow::Result<String> {
        let id = self.child.id().context("the server ended")?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        Ok(format!("{}, {}", line("VmRSS"), line("VmHWM")))
    }

    /// Asks it to end, as a service manager does.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("the server ended")?;
        kill_process(Pid::from_raw(i32::try_from(id)?).context("no process")?, Signal::TERM)?;
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("the server ended: {status}");
        }
        Ok(())
    }
}

async fn connect(database: &str) -> anyhow::Result<AnyConnection> {
    install_default_drivers();
    let url = if database.contains("://") { database.to_owned() } else { format!("sqlite://{database}") };
    Ok(AnyConnection::connect(&url).await?)
}

/// Removes the bodies that no scope has any more, as the server does an hour later.
pub(crate) async fn forget_bodies(database: &str) -> anyhow::Result<()> {
    let text = "DELETE FROM body WHERE NOT EXISTS (SELECT 1 FROM scope WHERE scope.account_id = body.account_id \
        AND (scope.told_digest = body.digest OR scope.base_digest = body.digest))";
    let mut connection = connect(database).await?;
    sqlx::query("PRAGMA busy_timeout = 60000").execute(&mut connection).await.ok();
    sqlx::query(text).execute(&mut connection).await?;
    Ok(())
}

/// How large the database is, for each container, and what of it.
pub(crate) async fn disk(database: &str) -> anyhow::Result<String> {
    let mut connection = connect(database).await?;
    let (rows, now): (i64, i64) = {
        let text = "SELECT count(*), CAST(coalesce(sum(CASE WHEN gone_at IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT) FROM container";
        let row = sqlx::query(text).fetch_one(&mut connection).await?;
        (row.try_get(0)?, row.try_get(1)?)
    };
    let parts = if database.contains("://") {
        "SELECT CAST(relname AS TEXT) AS name, pg_relation_size(oid) AS bytes FROM pg_class WHERE relnamespace = 'public'::regnamespace \
         AND relkind IN ('r', 'i') ORDER BY 2 DESC"
    } else {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&mut connection).await?;
        "SELECT name, sum(pgsize) AS bytes FROM dbstat GROUP BY name ORDER BY 2 DESC"
    };
    let parts = sqlx::query(parts).fetch_all(&mut connection).await?;
    let (mut text, mut sum) = (String::new(), 0);
    for part in &parts {
        let (name, bytes): (String, i64) = (part.try_get("name")?, part.try_get("bytes")?);
        sum += bytes;
        if bytes / now.max(1) > 0 {
            write!(text, "\n| {name} | {bytes} | {} |", bytes / now.max(1))?;
        }
    }
    let head = format!(
        "{rows} container rows, of which {now} are there; {} bytes each, {} each that is there",
        sum / rows.max(1),
        sum / now.max(1)
    );
    Ok(format!("{head}\n| table or index | bytes | bytes a container |\n|---|---|---|\n| all | {sum} | |{text}"))
}
