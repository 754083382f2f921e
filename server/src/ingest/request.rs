//! What is in a request: a manifest and bodies, as frames (docs/protocol.md).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::error::Category;
use stocktake_core::{
    Digest,
    model::{Report, SCHEMA_VERSION, ScopeEntry},
    wire::{FrameError, Frames, Outline, outline, problem},
};

use super::{
    Incoming, Sender,
    elements::Elements,
    kept::{self, Packed},
    recent::Recent,
};
use crate::{
    database::Database,
    http::Problem,
    memory::{self, spawn_blocking},
    words::{self, indexed},
};

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
    sender: Sender,
    sent_at: Option<Timestamp>,
    bytes: Bytes,
) -> Result<Incoming, Problem> {
    let received_at = Timestamp::now();
    let mut documents = documents(database, recent, sender, bytes.clone(), true).await?;
    let Some((digest, manifest)) = documents.manifest.take() else {
        return Err(Problem::bad_request("there is no manifest in the request"));
    };
    let mut json = serde_json::Deserializer::from_slice(&manifest);
    let report: Report = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        // What stands there may be the dictionary's.
        let is_whole = outline(&bytes, 1).first().is_some_and(|frame| frame.dictionary.is_none());
        let why = if is_whole { error.to_string() } else { format!("{}: {}", error.path(), place(error.inner())) };
        Problem::bad_request(format!("the manifest is not a report: {why}"))
    })?;
    if report.schema != SCHEMA_VERSION {
        let said = &report.schema;
        return Err(Problem::bad_request(format!(
            "the report is of schema `{said}`, this server knows `{SCHEMA_VERSION}`"
        )));
    }
    check_unique(&report)?;
    let numbered = [report.agent.id.is_some(), report.agent.run.is_some(), report.sequence.is_some()];
    if numbered != [report.sequence.is_some(); 3] {
        return Err(Problem::bad_request(
            "a report has all of `agent.id`, `agent.run` and `sequence`, or none of them",
        ));
    }
    let skew = sent_at.map_or(0, |sent_at| received_at.as_millisecond() - sent_at.as_millisecond());
    Ok(Incoming {
        kind: if report.agent.id.is_some() { "stocktake" } else { "bundle" },
        credential: Some(sender.credential),
        report,
        manifest: Some((digest, manifest)),
        bodies: documents.bodies,
        earlier: documents.earlier,
        is_whole: true,
        skew: if skew.abs() > SKEW { skew } else { 0 },
        received_at: received_at.as_millisecond(),
    })
}

/// Bytes of a collector's name and type. People name collectors, in a line of a configuration.
const NAME: usize = 200;

/// Whatever a report tells of it tells of once.
fn check_unique(report: &Report) -> Result<(), Problem> {
    let mut collectors = HashSet::new();
    for source in &report.sources {
        if source.collector.len().max(source.kind.len()) > NAME {
            return Err(Problem::bad_request(format!(
                "a source's collector has a name or type of more than {NAME} bytes"
            )));
        }
        if !collectors.insert(&source.collector) {
            return Err(Problem::bad_request(format!("the report has two sources `{}`", source.collector)));
        }
        let mut scopes = HashSet::new();
        // Names that are too long to be looked up are cut there.
        let key = |entry: &'_ ScopeEntry| (entry.id.kind, indexed(&entry.id.name).into_owned());
        if let Some(twice) = source.scopes.iter().find(|entry| !scopes.insert(key(entry))) {
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
    sender: Sender,
    bytes: Bytes,
) -> Result<Vec<(Vec<u8>, Packed)>, Problem> {
    let bodies = documents(database, recent, sender, bytes, false).await?.bodies;
    packed(bodies).await
}

/// Bodies as they are to be kept, once it is sure that they are bodies of scopes.
pub(super) async fn packed(bodies: BTreeMap<Digest, Bytes>) -> Result<Vec<(Vec<u8>, Packed)>, Problem> {
    if bodies.is_empty() {
        return Ok(Vec::new());
    }
    let pack = |(digest, body): (&Digest, &Bytes)| {
        Elements::of(body).map_err(|error| no_scope(digest, &error))?;
        Ok((words::pack_digest(digest), Packed::of(body)?))
    };
    spawn_blocking(move || bodies.iter().map(pack).collect()).await.map_err(|error| failed(&error))?
}

/// What is called a body of a scope is something else. What stands there is not repeated: it may be a dictionary's.
pub(super) fn no_scope(digest: &Digest, error: &serde_json::Error) -> Problem {
    Problem::bad_request(format!("{digest} is not a scope: {}", place(error)))
}

/// What sort of error it is, and where, without what stands there.
fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Data => "JSON of another shape",
        Category::Eof => "JSON that is cut",
        Category::Io | Category::Syntax => "no JSON",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

#[derive(Default)]
struct Documents {
    manifest: Option<(Digest, Bytes)>,
    bodies: BTreeMap<Digest, Bytes>,
    /// What was looked up: dictionaries.
    earlier: BTreeMap<Digest, Bytes>,
}

/// Reads all frames. What one was made with is in the request, or was kept and sent by the same sender; there it is looked up when it
/// is missed.
async fn documents(
    database: &Database,
    recent: &Recent,
    sender: Sender,
    bytes: Bytes,
    has_manifest: bool,
) -> Result<Documents, Problem> {
    let frames = if bytes.len() <= AT_ONCE {
        outline(&bytes, DOCUMENTS)
    } else {
        let input = bytes.clone();
        spawn_blocking(move || outline(&input, DOCUMENTS)).await.map_err(|error| failed(&error))?
    };
    let named: BTreeSet<Digest> = frames.iter().filter_map(|frame| frame.dictionary.clone()).collect();
    let mut fetched: BTreeMap<Digest, Bytes> =
        named.iter().filter_map(|digest| Some((digest.clone(), recent.manifest(sender, digest)?))).collect();
    // Usually each body was made with the former one: they are looked up together.
    let missed: BTreeSet<Digest> = named.into_iter().filter(|digest| !fetched.contains_key(digest)).collect();
    // They are held to what documents are, lest a short request name many long ones.
    let size = if missed.is_empty() { 0 } else { kept::size(database, sender, &missed).await? };
    if size > DECOMPRESSED {
        let title = format!("the dictionaries of the request have more than {DECOMPRESSED} bytes together");
        return Err(Problem::new(http::StatusCode::PAYLOAD_TOO_LARGE, title));
    }
    memory::hold(size).await?;
    if missed.len() > 1 {
        fetched.extend(kept::bodies(database, sender, &missed).await?);
    }
    if bytes.len() > AT_ONCE
        && let Some(documents) = side_by_side(&bytes, &frames, &fetched, has_manifest).await?
    {
        return Ok(Documents { earlier: fetched, ..documents });
    }
    // What is small, as most is, is not worth a thread's while. How large it is shows only when it is read.
    let mut is_small = bytes.len() <= AT_ONCE;
    let mut room = AT_ONCE;
    let mut position = Position { offset: 0, left: room, documents: Documents::default(), count: 0, has_manifest };
    loop {
        let (at, stop) = if is_small {
            position.read(&bytes, &fetched)?
        } else {
            // Clones share what they hold.
            let (input, dictionaries) = (bytes.clone(), fetched.clone());
            let read = spawn_blocking(move || position.read(&input, &dictionaries)).await;
            read.map_err(|error| failed(&error))??
        };
        position = at;
        let digest = match stop {
            Stop::End => return Ok(Documents { earlier: fetched, ..position.documents }),
            Stop::TooLarge if room < DECOMPRESSED => {
                // Twice as much each time: what was read in vain is no more than what is read.
                let more = room.min(DECOMPRESSED - room);
                memory::hold(more).await?;
                is_small = false;
                room += more;
                position.left += more;
                continue;
            }
            Stop::TooLarge => {
                let title = format!("the documents of the request have more than {DECOMPRESSED} bytes together");
                return Err(Problem::new(http::StatusCode::PAYLOAD_TOO_LARGE, title));
            }
            Stop::Missed(digest) => digest,
        };
        let document = match recent.manifest(sender, &digest) {
            Some(manifest) => Some(manifest),
            None => kept::dictionary(database, sender, &digest).await?,
        };
        let Some(document) = document else {
            let title = "a frame was made with a dictionary that is not here; send it without";
            return Err(Problem::conflict(problem::UNKNOWN_DICTIONARY, title, vec![digest]));
        };
        fetched.insert(digest, document);
    }
}

/// Reads frames on all cores, if each says how long its document is and what it was made with is at hand.
async fn side_by_side(
    bytes: &Bytes,
    frames: &[Outline],
    fetched: &BTreeMap<Digest, Bytes>,
    has_manifest: bool,
) -> Result<Option<Documents>, Problem> {
    let sizes = frames.iter().map(|frame| usize::try_from(frame.size?).ok());
    let is_at_hand = |digest: &Digest| fetched.contains_key(digest);
    let (Some(sizes), true, Some(bytes_end)) = (
        sizes.collect::<Option<Vec<usize>>>(),
        frames.iter().filter_map(|frame| frame.dictionary.as_ref()).all(is_at_hand),
        frames.last().map(|frame| frame.end),
    ) else {
        return Ok(None);
    };
    let all: usize = sizes.iter().fold(0, |sum, size| sum.saturating_add(*size));
    if all > DECOMPRESSED || bytes_end != bytes.len() {
        return Ok(None);
    }
    memory::hold(all).await?;
    let share = all / std::thread::available_parallelism().map_or(1, std::num::NonZero::get) + 1;
    let (mut parts, mut offset, mut left) = (Vec::new(), 0, 0);
    for (position, (frame, size)) in frames.iter().zip(sizes).enumerate() {
        left += size;
        if left >= share || position + 1 == frames.len() {
            let has_manifest = has_manifest && offset == 0;
            let part = Position { offset, left, documents: Documents::default(), count: 0, has_manifest };
            let (input, dictionaries) = (bytes.slice(..frame.end), fetched.clone());
            parts.push(spawn_blocking(move || part.read(&input, &dictionaries)));
            (offset, left) = (frame.end, 0);
        }
    }
    let mut documents = Documents::default();
    for part in parts {
        let (part, stop) = part.await.map_err(|error| failed(&error))??;
        // One that lies about its length is read as those are that do not say.
        let Stop::End = stop else { return Ok(None) };
        documents.manifest = documents.manifest.or(part.documents.manifest);
        documents.bodies.extend(part.documents.bodies);
    }
    Ok(Some(documents))
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
    fn read(mut self, bytes: &[u8], fetched: &BTreeMap<Digest, Bytes>) -> Result<(Self, Stop), Problem> {
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
                self.documents.manifest = Some((digest, document.into()));
            } else {
                self.documents.bodies.insert(digest, document.into());
            }
        }
    }
}

/// Whether a JSON document has a text with a NUL character, which can stand there as `\u0000` only.
pub(crate) fn has_nul(document: &[u8]) -> bool {
    memchr::memmem::find_iter(document, "u0000")
        .any(|at| document[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1)
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
