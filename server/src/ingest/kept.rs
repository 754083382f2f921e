//! Documents as the database keeps them: bodies of scopes, and the manifest that each agent sent last.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use sqlx::{Row as _, any::AnyRow};
use stocktake_core::Digest;
use zstd::{bulk::Compressor, zstd_safe::get_frame_content_size};

use super::{Sender, request::failed};
use crate::{
    database::{Column, Database, DatabaseError, Rows},
    http::Problem,
    memory::spawn_blocking,
    words,
};

/// Bytes, as they are kept, that one thread decompresses before it is asked for more.
const STEP: usize = 256 << 10;

/// A document as it is kept.
#[derive(Debug)]
pub(super) struct Packed {
    /// Bytes of the document.
    pub(super) size: i64,
    pub(super) content: Vec<u8>,
}

impl Packed {
    /// Compresses a document.
    pub(super) fn of(document: &[u8]) -> Result<Self, sqlx::Error> {
        let pack = || {
            let mut compressor = Compressor::new(1)?;
            // By which damage is told when it is read.
            compressor.include_checksum(true)?;
            compressor.compress(document)
        };
        let content = pack().map_err(|error| sqlx::Error::Encode(error.into()))?;
        Ok(Self { size: i64::try_from(document.len()).unwrap_or(i64::MAX), content })
    }
}

/// What the database has spoilt is as good as not there: it is sent again.
fn unpack(content: &[u8]) -> Option<Bytes> {
    let size = get_frame_content_size(content).ok().flatten()?;
    zstd::bulk::decompress(content, usize::try_from(size).ok()?).ok().map(Bytes::from)
}

/// A body, whoever has sent it: for what the server works out itself, and for what was found to be the sender's.
pub(super) async fn body(database: &Database, account: i64, digest: &Digest) -> Result<Option<Bytes>, Problem> {
    let content: Option<Vec<u8>> = sqlx::query_scalar("SELECT content FROM body WHERE account_id = $1 AND digest = $2")
        .bind(account)
        .bind(words::pack_digest(digest))
        .fetch_optional(database.pool())
        .await?;
    let Some(content) = content else { return Ok(None) };
    spawn_blocking(move || unpack(&content)).await.map_err(|error| failed(&error))
}

/// A body that the sender has sent, or the manifest that was acknowledged last of an agent that reports with the same credential.
pub(super) async fn dictionary(database: &Database, sender: Sender, digest: &Digest) -> Result<Option<Bytes>, Problem> {
    if let Some(body) = bodies(database, sender, &BTreeSet::from([digest.clone()])).await?.remove(digest) {
        return Ok(Some(body));
    }
    let manifest: Option<Vec<u8>> = sqlx::query_scalar(
        "SELECT manifest FROM agent WHERE account_id = $1 AND manifest_digest = $2 AND credential = $3",
    )
    .bind(sender.account)
    .bind(words::pack_digest(digest))
    .bind(sender.credential)
    .fetch_optional(database.pool())
    .await?;
    Ok(manifest.and_then(|content| unpack(&content)))
}

/// What is selected of those bodies that are kept and that the sender has sent.
async fn sent(
    database: &Database,
    sender: Sender,
    digests: &BTreeSet<Digest>,
    select: &str,
) -> Result<Vec<AnyRow>, DatabaseError> {
    let mut wanted = Rows::new(&[Column::Bytes]);
    for digest in digests {
        wanted.push([words::pack_digest(digest).into()]);
    }
    let before = format!("SELECT {select} FROM");
    let after = "AS v CROSS JOIN body_sender s CROSS JOIN body t WHERE s.account_id = $1 AND s.digest = v.column1 \
        AND s.credential = $2 AND t.account_id = $1 AND t.digest = v.column1";
    let first = [sender.account.into(), sender.credential.into()];
    let mut connection = database.read().await?;
    Ok(wanted.fetch(&mut connection, database.dialect(), &first, [&before, after]).await?)
}

/// How many bytes those of them have together that are kept and the sender's.
pub(super) async fn size(database: &Database, sender: Sender, digests: &BTreeSet<Digest>) -> Result<usize, Problem> {
    let mut sum = 0_usize;
    for row in sent(database, sender, digests, "t.size AS size").await? {
        sum = sum.saturating_add(usize::try_from(row.try_get::<i64, _>("size")?).unwrap_or(usize::MAX));
    }
    Ok(sum)
}

/// Those that are not kept, or that the sender has not sent.
pub(super) async fn missing(
    database: &Database,
    sender: Sender,
    mut digests: BTreeSet<Digest>,
) -> Result<BTreeSet<Digest>, Problem> {
    let mut here = HashSet::new();
    for row in sent(database, sender, &digests, "t.digest AS digest").await? {
        here.insert(row.try_get::<Vec<u8>, _>("digest")?);
    }
    digests.retain(|digest| !here.contains(&words::pack_digest(digest)));
    Ok(digests)
}

/// Those bodies that are kept and that the sender has sent.
pub(super) async fn bodies(
    database: &Database,
    sender: Sender,
    digests: &BTreeSet<Digest>,
) -> Result<BTreeMap<Digest, Bytes>, Problem> {
    let keys: BTreeMap<Vec<u8>, &Digest> = digests.iter().map(|digest| (words::pack_digest(digest), digest)).collect();
    let found = sent(database, sender, digests, "t.digest AS digest, t.content AS content").await?;
    let (mut steps, mut step, mut bytes) = (Vec::new(), Vec::new(), 0);
    for row in found {
        let (key, content): (Vec<u8>, Vec<u8>) = (row.try_get("digest")?, row.try_get("content")?);
        let Some(digest) = keys.get(&key) else { continue };
        bytes += content.len();
        step.push(((*digest).clone(), content));
        if bytes > STEP {
            bytes = 0;
            steps.push(std::mem::take(&mut step));
        }
    }
    steps.push(step);
    let mut bodies = BTreeMap::new();
    let read = steps.into_iter().map(|step| spawn_blocking(|| unpacked(step)));
    for step in read.collect::<Vec<_>>() {
        bodies.extend(step.await.map_err(|error| failed(&error))?);
    }
    Ok(bodies)
}

fn unpacked(packed: Vec<(Digest, Vec<u8>)>) -> Vec<(Digest, Bytes)> {
    packed.into_iter().filter_map(|(digest, content)| Some((digest, unpack(&content)?))).collect()
}
