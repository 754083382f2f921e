//! What is in a request: a manifest and bodies, as frames (docs/protocol.md).

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use sqlx::Row as _;
use stocktake_core::{
    Digest,
    model::{Report, SCHEMA_VERSION},
    wire::{FrameError, Frames, problem},
};
use tokio::task::spawn_blocking;

use super::{Incoming, elements::Elements, recent::Recent};
use crate::{database::Database, http::Problem, words};

/// Bytes that all documents of a request may have together.
pub(crate) const DECOMPRESSED: usize = 512 << 20;

/// As much is read at once; more is read where nobody waits for it.
const AT_ONCE: usize = 64 << 10;

/// Documents of a request.
const DOCUMENTS: usize = 100_000;

/// By how much an agent's clock has to be off before its times are corrected.
const SKEW: i64 = 5_000;

/// Reads a report with its bodies.
pub(super) async fn report(
    database: &Database,
    recent: &Recent,
    account: i64,
    sent_at: Option<Timestamp>,
    bytes: bytes::Bytes,
) -> Result<Incoming, Problem> {
    let received_at = Timestamp::now();
    let mut documents = documents(database, recent, account, bytes, true).await?;
    let Some((digest, manifest)) = documents.manifest.take() else {
        return Err(Problem::bad_request("there is no manifest in the request"));
    };
    let mut json = serde_json::Deserializer::from_slice(&manifest);
    let report: Report = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Problem::bad_request(format!("the manifest is not a report: {error}")))?;
    if report.schema != SCHEMA_VERSION {
        let said = &report.schema;
        return Err(Problem::bad_request(format!(
            "the report is of schema `{said}`, this server knows `{SCHEMA_VERSION}`"
        )));
    }
    check_unique(&report)?;
    let skew = sent_at.map_or(0, |sent_at| received_at.as_millisecond() - sent_at.as_millisecond());
    Ok(Incoming {
        kind: if report.agent.id.is_some() { "stocktake" } else { "bundle" },
        report,
        manifest: Some((digest, manifest)),
        bodies: documents.bodies,
        is_whole: true,
        skew: if skew.abs() > SKEW { skew } else { 0 },
        received_at: received_at.as_millisecond(),
    })
}

/// Whatever a report tells of it tells of once.
fn check_unique(report: &Report) -> Result<(), Problem> {
    let mut collectors = HashSet::new();
    for source in &report.sources {
        if !collectors.insert(&source.collector) {
            return Err(Problem::bad_request(format!("the report has two sources `{}`", source.collector)));
        }
        let mut scopes = HashSet::new();
        if let Some(twice) = source.scopes.iter().find(|entry| !scopes.insert(&entry.id)) {
            return Err(Problem::bad_request(format!("source `{}` tells twice of {}", source.collector, twice.id)));
        }
    }
    Ok(())
}

/// Something broke here, which is no word on the report.
pub(super) fn failed(error: &tokio::task::JoinError) -> Problem {
    tracing::error!(%error, "a report could not be worked on");
    Problem::new(http::StatusCode::INTERNAL_SERVER_ERROR, "something broke on the server; its log says what")
}

/// Reads bodies alone.
pub(super) async fn scopes(
    database: &Database,
    recent: &Recent,
    account: i64,
    bytes: bytes::Bytes,
) -> Result<BTreeMap<Digest, Vec<u8>>, Problem> {
    Ok(documents(database, recent, account, bytes, false).await?.bodies)
}

#[derive(Default)]
struct Documents {
    manifest: Option<(Digest, Vec<u8>)>,
    bodies: BTreeMap<Digest, Vec<u8>>,
}

/// Reads all frames. What one was made with is in the request or was kept; there it is looked up when it is missed.
async fn documents(
    database: &Database,
    recent: &Recent,
    account: i64,
    bytes: bytes::Bytes,
    has_manifest: bool,
) -> Result<Documents, Problem> {
    let mut fetched: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    // What is small, as most is, is not worth a thread's while. How large it is shows only when it is read.
    let mut is_small = bytes.len() <= AT_ONCE;
    let left = if is_small { AT_ONCE } else { DECOMPRESSED };
    let mut position = Position { offset: 0, left, documents: Documents::default(), count: 0, has_manifest };
    loop {
        let (at, stop) = if is_small {
            position.read(&bytes, &fetched)?
        } else {
            let (input, dictionaries) = (bytes.clone(), std::mem::take(&mut fetched));
            let read = spawn_blocking(move || position.read(&input, &dictionaries)).await;
            read.map_err(|error| failed(&error))??
        };
        position = at;
        let digest = match stop {
            Stop::End => return Ok(position.documents),
            Stop::TooLarge if is_small => {
                is_small = false;
                position.left += DECOMPRESSED - AT_ONCE;
                continue;
            }
            Stop::TooLarge => {
                let title = format!("the documents of the request have more than {DECOMPRESSED} bytes together");
                return Err(Problem::new(http::StatusCode::PAYLOAD_TOO_LARGE, title));
            }
            Stop::Missed(digest) => digest,
        };
        let document = match recent.manifest(account, &digest) {
            Some(manifest) => Some(manifest.to_vec()),
            None => document(database, account, &digest).await?,
        };
        let Some(document) = document else {
            let title = "a frame was made with a dictionary that is not here; send it without";
            return Err(Problem::conflict(problem::UNKNOWN_DICTIONARY, title, vec![digest]));
        };
        fetched.insert(digest, document);
    }
}

/// How far the frames were read.
struct Position {
    offset: usize,
    left: usize,
    documents: Documents,
    count: usize,
    has_manifest: bool,
}

/// Why they were not read any further.
enum Stop {
    End,
    /// A dictionary has to be fetched.
    Missed(Digest),
    /// The next document is larger than may be.
    TooLarge,
}

impl Position {
    /// Reads on.
    fn read(mut self, bytes: &[u8], fetched: &BTreeMap<Digest, Vec<u8>>) -> Result<(Self, Stop), Problem> {
        loop {
            let mut frames = Frames::new(bytes.get(self.offset..).unwrap_or_default(), self.left);
            let known = |digest: &Digest| {
                let manifest = self.documents.manifest.as_ref().filter(|(manifest, _)| manifest == digest);
                let body = || self.documents.bodies.get(digest).or_else(|| fetched.get(digest));
                manifest.map(|(_, manifest)| manifest).or_else(body).cloned()
            };
            let document = match frames.next_document(known) {
                Ok(Some(document)) => document,
                Ok(None) => return Ok((self, Stop::End)),
                Err(FrameError::UnknownDictionary(digest)) if !fetched.contains_key(&digest) => {
                    return Ok((self, Stop::Missed(digest)));
                }
                Err(FrameError::TooLarge(_)) => return Ok((self, Stop::TooLarge)),
                Err(error) => return Err(Problem::bad_request(error.to_string())),
            };
            self.offset = bytes.len() - frames.rest().len();
            self.left -= document.len();
            self.count += 1;
            if self.count > DOCUMENTS {
                return Err(Problem::bad_request(format!("there are more than {DOCUMENTS} documents in the request")));
            }
            let digest = Digest::sha256(&document);
            if has_nul(&document) {
                // PostgreSQL keeps no such text, and nothing that runs is called so.
                return Err(Problem::bad_request(format!("{digest} has a text with a NUL character in it")));
            }
            if self.has_manifest && self.documents.manifest.is_none() {
                self.documents.manifest = Some((digest, document));
            } else {
                Elements::of(&document)
                    .map_err(|error| Problem::bad_request(format!("{digest} is not a scope: {error}")))?;
                self.documents.bodies.insert(digest, document);
            }
        }
    }
}

/// Whether a JSON document has a text with a NUL character, which can stand there as `\u0000` only.
pub(crate) fn has_nul(document: &[u8]) -> bool {
    // What is no UTF-8 is no JSON, either, and refused as that.
    let Ok(text) = std::str::from_utf8(document) else { return false };
    text.match_indices("u0000")
        .any(|(at, _)| document[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1)
}

/// A manifest that was acknowledged last, or a body, by its digest.
pub(crate) async fn document(database: &Database, account: i64, digest: &Digest) -> Result<Option<Vec<u8>>, Problem> {
    let key = words::pack_digest(digest);
    let found = sqlx::query("SELECT content FROM body WHERE account_id = $1 AND digest = $2")
        .bind(account)
        .bind(key.clone())
        .fetch_optional(database.pool())
        .await?;
    let found = match found {
        Some(found) => Some(found),
        None => {
            sqlx::query("SELECT manifest AS content FROM agent WHERE account_id = $1 AND manifest_digest = $2")
                .bind(account)
                .bind(key)
                .fetch_optional(database.pool())
                .await?
        }
    };
    let Some(row) = found else { return Ok(None) };
    let content: Vec<u8> = row.try_get("content")?;
    let document = spawn_blocking(move || unpack(&content)).await.ok().flatten();
    // What the database has spoilt is as good as not there: it is sent again.
    Ok(document.filter(|document| Digest::sha256(document) == *digest))
}

/// Compresses a document for the database.
pub(crate) fn pack(document: &[u8]) -> Result<Vec<u8>, sqlx::Error> {
    zstd::bulk::compress(document, 1).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn unpack(content: &[u8]) -> Option<Vec<u8>> {
    zstd::stream::decode_all(content).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_told_from_what_looks_like_one() {
        assert!(has_nul(br#"{"name":"a\u0000b"}"#));
        assert!(has_nul(br#"{"name":"a\\\u0000b"}"#));
        assert!(!has_nul(br#"{"name":"a\\u0000b u0000"}"#));
        assert!(!has_nul(b"{}"));
    }
}
