//! An agent as a server knows it: reports about what is said, over one connection. What it costs to make them is not part of what
//! it costs to send them.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use stocktake_core::{
    Digest,
    model::{Agent, Report, SCHEMA_VERSION, Scope, ScopeEntry, Source},
    wire::{MEDIA_TYPE, Outcome, REPORTS, Receipt, SENT_AT, append_frame},
};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::server::PASSWORD;

/// A connection to a server, logged in.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authorization: String,
}

impl Connection {
    /// Connects to a port of this machine. `authorization` is the header of that name.
    pub async fn open(port: u16, authorization: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender. What is wrong with it, the sender says, too.
        tokio::spawn(connection);
        Ok(Self { sender, authorization: authorization.to_owned() })
    }

    /// Connects as the administrator of a server of tests.
    pub async fn admin(port: u16) -> anyhow::Result<Self> {
        Self::open(port, &format!("Basic {}", STANDARD.encode(format!("admin:{PASSWORD}")))).await
    }

    /// Sends a request, and returns the answer's status and body.
    pub async fn send(&mut self, request: http::request::Builder, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let request =
            request.header(HOST, "127.0.0.1").header(AUTHORIZATION, &self.authorization).body(Full::new(body))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    /// Asks a question, whose answer has to be a good one.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        let (status, body) = self.send(Request::get(path), Bytes::new()).await?;
        if !status.is_success() {
            bail!("{path} is answered with {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }

    /// Delivers a report, which the server must not have had.
    pub async fn report(&mut self, frames: Bytes) -> anyhow::Result<()> {
        let request = Request::post(format!("/{REPORTS}"))
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .header(SENT_AT, Timestamp::now().to_string());
        let (status, body) = self.send(request, frames).await?;
        let receipt: Receipt = serde_json::from_slice(&body)
            .with_context(|| format!("a report is answered with {status}: {}", String::from_utf8_lossy(&body)))?;
        if receipt.outcome != Outcome::Accepted {
            bail!("a report is said to be known that was never sent");
        }
        Ok(())
    }
}

/// Who reports, and what the server has of it.
#[derive(Debug)]
pub struct Reporter {
    agent: Agent,
    sequence: u64,
    manifest: Option<Vec<u8>>,
    bodies: BTreeMap<usize, (Digest, Vec<u8>)>,
}

impl Reporter {
    /// One that has reported nothing yet.
    #[must_use]
    pub fn new(hostname: &str) -> Self {
        let agent = Agent {
            id: Some(Uuid::now_v7()),
            run: Some(Uuid::now_v7()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: Some(hostname.to_owned()),
        };
        Self { agent, sequence: 0, manifest: None, bodies: BTreeMap::new() }
    }

    /// The next report, of one source: its frames as an agent makes them that has what it sent last. `scopes` are all of the
    /// source's; those that are `None` are as before.
    pub fn frames(&mut self, source: &Source, scopes: &[Option<Scope>]) -> anyhow::Result<Bytes> {
        let mut bodies = Vec::new();
        for (position, scope) in scopes.iter().enumerate() {
            let Some(scope) = scope else { continue };
            let body = serde_json::to_vec(scope)?;
            let former = self.bodies.insert(position, (Digest::sha256(&body), body));
            bodies.push((position, former));
        }
        let entry = |(position, entry): (usize, &ScopeEntry)| ScopeEntry {
            digest: self.bodies.get(&position).map(|(digest, _)| digest.clone()),
            ..entry.clone()
        };
        self.sequence += 1;
        let now = Timestamp::now();
        let scopes = source.scopes.iter().enumerate().map(entry).collect();
        let report = Report {
            schema: SCHEMA_VERSION.to_owned(),
            id: Uuid::now_v7(),
            agent: self.agent.clone(),
            created_at: now,
            sequence: Some(self.sequence),
            valid_for_seconds: Some(180),
            sources: vec![Source { observed_at: now, scopes, ..source.clone() }],
        };
        let manifest = serde_json::to_vec(&report)?;
        let mut frames = Vec::new();
        append_frame(&mut frames, &manifest, self.manifest.as_deref())?;
        for (position, former) in bodies {
            let body = &self.bodies[&position].1;
            append_frame(&mut frames, body, former.as_ref().map(|(_, former)| former.as_slice()))?;
        }
        self.manifest = Some(manifest);
        Ok(frames.into())
    }
}
