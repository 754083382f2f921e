//! A server that is measured.

use std::{fmt, fs};

use anyhow::{Context as _, bail};
use hyper::{Request, body::Bytes, header::CONTENT_TYPE};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::{
    bench::{process, reporter::Connection},
    server::{self, Server},
};

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A file.
    Sqlite,
    /// The bed's.
    Postgres,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// A server over an empty database.
#[derive(Debug)]
pub struct Served {
    /// The process.
    pub server: Server,
    /// Which database it has.
    pub kind: Kind,
    authorization: String,
    /// The process that PostgreSQL's others are children of.
    postmaster: Option<u32>,
}

/// Seconds of CPU: the server's, the database's where that is a process of its own, and the client's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// The server's.
    pub server: f64,
    /// That of the database's processes.
    pub database: f64,
    /// This process's.
    pub client: f64,
}

impl Served {
    /// Starts one.
    pub async fn start(kind: Kind) -> anyhow::Result<Self> {
        Self::start_with(kind, "").await
    }

    /// Starts one with this besides in its configuration (TOML).
    pub async fn start_with(kind: Kind, config: &str) -> anyhow::Result<Self> {
        // All come from one address.
        let config = &format!("{config}\n[limits]\nrequests_per_second = 0\n");
        let server = match kind {
            Kind::Sqlite => Server::sqlite_with(config),
            Kind::Postgres => Server::postgres_with(config),
        };
        let postmaster = match kind {
            Kind::Sqlite => None,
            Kind::Postgres => {
                let file = server::psql("SELECT pg_read_file('postmaster.pid')");
                Some(file.lines().next().unwrap_or_default().trim().parse().context("PostgreSQL has no process")?)
            }
        };
        let mut connection = Connection::admin(server.port()).await?;
        let request = Request::post("/v1/tokens").header(CONTENT_TYPE, "application/json");
        let body = json!({ "name": "bench", "role": "read-write" }).to_string();
        let (status, body) = connection.send(request, Bytes::from(body)).await?;
        let made: Value = serde_json::from_slice(&body).with_context(|| format!("no token, but {status}"))?;
        let Some(secret) = made["secret"].as_str() else { bail!("a token without a secret: {made}") };
        Ok(Self { authorization: format!("Bearer {secret}"), server, kind, postmaster })
    }

    /// A connection that may report and read.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.server.port(), &self.authorization).await
    }

    /// The token that [`Self::connect`] goes in with.
    #[must_use]
    pub fn token(&self) -> &str {
        self.authorization.trim_start_matches("Bearer ")
    }

    /// What was used so far.
    pub fn cost(&self) -> anyhow::Result<Cost> {
        let database = self.postmaster.map(process::family_cpu).transpose()?.unwrap_or_default();
        let client = std::time::Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
        Ok(Cost { server: process::cpu(self.server.id())?, database, client: client.as_secs_f64() })
    }

    /// Bytes that the database takes.
    pub fn size(&self) -> anyhow::Result<u64> {
        match self.kind {
            Kind::Sqlite => {
                let wal = format!("{}-wal", self.server.database());
                let wal = fs::metadata(wal).map(|file| file.len()).unwrap_or_default();
                Ok(fs::metadata(self.server.database())?.len() + wal)
            }
            Kind::Postgres => {
                let name = self.server.database().rsplit('/').next().unwrap_or_default();
                Ok(server::psql(&format!("SELECT pg_database_size('{name}')")).trim().parse()?)
            }
        }
    }
}

impl std::ops::Sub for Cost {
    type Output = Self;

    fn sub(self, former: Self) -> Self {
        Self {
            server: self.server - former.server,
            database: self.database - former.database,
            client: self.client - former.client,
        }
    }
}
