//! Bundles: a report with all that it names in one file, for networks that nothing but a file crosses.
//!
//! ```text
//! skippable frame 0     {"format":"stocktake-bundle","version":1}
//! zstd frame            the manifest
//! zstd frame …          the bodies of the scopes that it names
//! skippable frame 1     {"sha256": of all before it, "signature": of all before it, if it is signed}
//! ```
//!
//! They are the frames in which reports travel, so that `zstd --test` and `zstd -dc` understand them.

mod signature;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io, sync::Arc};

use serde::{Deserialize, Serialize};
use stocktake_core::{
    Digest,
    model::{Report, Scope},
    wire::{Frames, Skippable, append_frame, append_skippable, leading_skippable},
};

pub(crate) use self::signature::{Signature, SigningKey, VerifyingKey};
use crate::deliver::{Bodies, Parcel};

const FORMAT: &str = "stocktake-bundle";

/// The version that is written, and the newest that is read.
const VERSION: u32 = 1;

const HEAD: u8 = 0;
const END: u8 = 1;

/// Beyond it a bundle is a bomb: decompressed, in bytes.
const LARGEST: usize = 1 << 30;

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct End {
    sha256: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<Signature>,
}

/// Why a bundle cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("it is no bundle; `stocktake-agent collect --output FILE` makes one")]
    NoBundle,
    #[error(
        "it is a bundle of version {0}, and this agent knows those up to {VERSION}; use a newer agent to submit it"
    )]
    Newer(u32),
    #[error("it ends before its end: it was cut, or is still being written")]
    Cut,
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it is not signed, and a signature is wanted")]
    Unsigned,
    #[error("its signature is not by that key: it was changed, or somebody else has made it")]
    WrongSignature,
}

/// Writes a report with the bodies of its scopes.
pub(crate) fn write(
    report: &Report,
    scopes: &BTreeMap<Digest, Scope>,
    key: Option<&SigningKey>,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let head = Head { format: FORMAT.to_owned(), version: VERSION };
    append_skippable(&mut bytes, HEAD, &serde_json::to_vec(&head)?)?;
    append_frame(&mut bytes, &serde_json::to_vec(report)?, None)?;
    for scope in scopes.values() {
        append_frame(&mut bytes, &serde_json::to_vec(scope)?, None)?;
    }
    let end = End { sha256: Digest::sha256(&bytes), signature: key.map(|key| key.sign(&bytes)) };
    append_skippable(&mut bytes, END, &serde_json::to_vec(&end)?)?;
    Ok(bytes)
}

/// Reads a bundle, of which nothing is taken on trust but, with `key`, who made it.
pub(crate) fn read(bytes: &[u8], key: Option<&VerifyingKey>) -> Result<Parcel, Error> {
    check_head(bytes)?;
    let damaged = |error: &dyn std::fmt::Display| Error::Damaged(error.to_string());
    let mut frames = Frames::new(bytes, LARGEST);
    let manifest = frames.next_document(|_| None::<&[u8]>).map_err(|error| damaged(&error))?.ok_or(Error::Cut)?;
    let report: Report = serde_json::from_slice(&manifest).map_err(|error| damaged(&error))?;
    let mut bodies = BTreeMap::new();
    let end = loop {
        let rest = frames.rest();
        if let Some(Skippable { kind: END, content, .. }) = leading_skippable(rest).map_err(|_| Error::Cut)? {
            let signed = &bytes[..bytes.len() - rest.len()];
            let end: End = serde_json::from_slice(content).map_err(|error| damaged(&error))?;
            check_end(&end, signed, key)?;
            break end;
        }
        let body = frames.next_document(|_| None::<&[u8]>).map_err(|error| damaged(&error))?.ok_or(Error::Cut)?;
        bodies.insert(Digest::sha256(&body), body);
    };
    tracing::debug!(is_signed = end.signature.is_some(), scopes = bodies.len(), "read a bundle");
    let mut named = report.sources.iter().flat_map(|source| &source.scopes);
    let is_there = |digest: &Digest| bodies.contains_key(digest);
    if let Some(entry) = named.find(|entry| entry.digest.as_ref().is_some_and(|digest| !is_there(digest))) {
        return Err(Error::Damaged(format!("{} is named and not in it", entry.id)));
    }
    Ok(Parcel { report, manifest, bodies: Arc::new(Held(bodies)), base: None })
}

fn check_head(bytes: &[u8]) -> Result<(), Error> {
    let Ok(Some(Skippable { kind: HEAD, content, .. })) = leading_skippable(bytes) else { return Err(Error::NoBundle) };
    let head: Head = serde_json::from_slice(content).map_err(|_| Error::NoBundle)?;
    match head {
        Head { format, .. } if format != FORMAT => Err(Error::NoBundle),
        Head { version, .. } if version > VERSION => Err(Error::Newer(version)),
        Head { .. } => Ok(()),
    }
}

fn check_end(end: &End, signed: &[u8], key: Option<&VerifyingKey>) -> Result<(), Error> {
    if Digest::sha256(signed) != end.sha256 {
        return Err(Error::Damaged("its checksum is another".to_owned()));
    }
    match (key, &end.signature) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(Error::Unsigned),
        (Some(key), Some(signature)) if key.has_made(signature, signed) => Ok(()),
        (Some(_), Some(_)) => Err(Error::WrongSignature),
    }
}

/// Bodies in memory.
struct Held(BTreeMap<Digest, Vec<u8>>);

impl Bodies for Held {
    fn body(&self, digest: &Digest) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(digest).cloned())
    }
}
