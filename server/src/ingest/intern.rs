//! What many rows have in common stands once: images, their names, sets of labels. They are written ahead of the report, each as
//! soon as it is first met; what nobody comes to refer to is removed later.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::{AnyConnection, Row as _};
use stocktake_core::{ImageReference, labels::Labels, model::Image};

use super::plan::Plan;
use crate::{
    database::{Column, Database, DatabaseError, Dialect, Rows, Value},
    words,
};

/// How many are remembered of each. Beyond it all are forgotten: they are in the database.
const REMEMBERED: usize = 20_000;

/// What is remembered between reports.
#[derive(Default)]
pub(crate) struct Interned(Mutex<Ids>);

/// Identifiers of what is in the database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids {
    images: HashMap<(i64, [u8; 32]), i64>,
    names: HashMap<(i64, String), i64>,
    labels: HashMap<(i64, [u8; 32]), i64>,
    account: i64,
}

impl Ids {
    pub(crate) fn image(&self, hash: &[u8; 32]) -> i64 {
        self.images.get(&(self.account, *hash)).copied().unwrap_or_default()
    }

    pub(crate) fn name(&self, name: &str) -> i64 {
        self.names.get(&(self.account, name.to_owned())).copied().unwrap_or_default()
    }

    /// None for no labels.
    pub(crate) fn labels(&self, labels: &Labels) -> Option<i64> {
        let hash = labels_hash(labels)?;
        self.labels.get(&(self.account, hash)).copied()
    }
}

fn labels_json(labels: &Labels) -> String {
    // It cannot fail: it is a map of texts.
    serde_json::to_string(labels).unwrap_or_default()
}

fn labels_hash(labels: &Labels) -> Option<[u8; 32]> {
    (!labels.is_empty()).then(|| Sha256::digest(labels_json(labels)).into())
}

/// What a plan refers to.
#[derive(Default)]
struct Needed<'a> {
    images: BTreeMap<[u8; 32], &'a Image>,
    names: BTreeSet<&'a str>,
    labels: BTreeMap<[u8; 32], &'a Labels>,
}

impl<'a> Needed<'a> {
    fn of(plan: &'a Plan) -> Self {
        let mut needed = Self::default();
        let contents = plan.sources.iter().flat_map(|source| &source.scopes).filter_map(|scope| scope.content.as_ref());
        for content in contents {
            let delta = &content.delta;
            needed.images.extend(delta.images.iter().map(|(hash, image)| (*hash, image)));
            let uses = delta.used.keys().chain(delta.uses.values());
            needed.names.extend(uses.map(|usage| usage.name.as_str()));
            let unconfirmed = content.unconfirmed.iter().flat_map(|unconfirmed| &unconfirmed.uses);
            needed.names.extend(unconfirmed.map(|usage| usage.name.as_str()));
            let pods = delta.pods.added.iter().map(|(_, pod)| &pod.labels);
            let pods = pods.chain(delta.pods.changed.iter().map(|(_, _, pod)| &pod.labels));
            let containers = delta.containers.added.iter().map(|(_, container)| &container.labels);
            let containers =
                containers.chain(delta.containers.changed.iter().map(|(_, _, container)| &container.labels));
            for labels in pods.chain(containers) {
                needed.labels.extend(labels_hash(labels).map(|hash| (hash, labels)));
            }
        }
        needed
    }
}

impl Interned {
    /// Identifiers of all that the plan refers to.
    pub(crate) async fn all(&self, database: &Database, account: i64, plan: &Plan) -> Result<Ids, DatabaseError> {
        let needed = Needed::of(plan);
        let (mut ids, mut lacking) = (Ids { account, ..Ids::default() }, Needed::default());
        {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (hash, image) in needed.images {
                match known.images.get(&(account, hash)) {
                    Some(id) => drop(ids.images.insert((account, hash), *id)),
                    None => drop(lacking.images.insert(hash, image)),
                }
            }
            for name in needed.names {
                match known.names.get(&(account, name.to_owned())) {
                    Some(id) => drop(ids.names.insert((account, name.to_owned()), *id)),
                    None => drop(lacking.names.insert(name)),
                }
            }
            for (hash, labels) in needed.labels {
                match known.labels.get(&(account, hash)) {
                    Some(id) => drop(ids.labels.insert((account, hash), *id)),
                    None => drop(lacking.labels.insert(hash, labels)),
                }
            }
        }
        if lacking.images.is_empty() && lacking.names.is_empty() && lacking.labels.is_empty() {
            return Ok(ids);
        }
        let found = intern(database, account, &lacking).await?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.images.len().max(known.names.len()).max(known.labels.len()) > REMEMBERED {
            *known = Ids::default();
        }
        for ids in [&mut ids, &mut *known] {
            ids.images.extend(found.images.clone());
            ids.names.extend(found.names.clone());
            ids.labels.extend(found.labels.clone());
        }
        Ok(ids)
    }

    /// Forgets all: some of it is no longer in the database.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Ids::default();
    }
}

async fn intern(database: &Database, account: i64, lacking: &Needed<'_>) -> Result<Ids, DatabaseError> {
    let count = lacking.images.len() + lacking.names.len() + lacking.labels.len();
    let mut next = database.identifiers(count).await?;
    let dialect = database.dialect();
    let mut writing = database.write().await?;
    let connection = writing.connection();
    let mut ids = Ids { account, ..Ids::default() };
    images(connection, dialect, account, &lacking.images, &mut next, &mut ids).await?;
    names(connection, dialect, account, &lacking.names, &mut next, &mut ids).await?;
    labels(connection, dialect, account, &lacking.labels, &mut next, &mut ids).await?;
    writing.commit().await?;
    Ok(ids)
}

fn take(next: &mut i64) -> i64 {
    *next += 1;
    *next - 1
}

fn hash_of(bytes: &[u8]) -> Result<[u8; 32], sqlx::Error> {
    bytes.try_into().map_err(|_| sqlx::Error::Decode("a hash of another length than 32 bytes".into()))
}

const IMAGE: [Column; 11] = [
    Column::Integer,
    Column::Integer,
    Column::Bytes,
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Integer,
    Column::Text,
    Column::Integer,
];

async fn images(
    connection: &mut AnyConnection,
    dialect: Dialect,
    account: i64,
    images: &BTreeMap<[u8; 32], &Image>,
    next: &mut i64,
    ids: &mut Ids,
) -> Result<(), DatabaseError> {
    let now = Timestamp::now().as_millisecond();
    let mut rows = Rows::new(&IMAGE);
    for (hash, image) in images {
        let digest = |fact: &stocktake_core::model::DigestFact| fact.digest().map(ToString::to_string);
        rows.push([
            account.into(),
            take(next).into(),
            hash.to_vec().into(),
            words::indexed(&identity(image, hash)).into_owned().into(),
            digest(&image.index_digest).into(),
            digest(&image.manifest_digest).into(),
            digest(&image.config_digest).into(),
            image.platform.as_ref().map(ToString::to_string).into(),
            image.size_bytes.and_then(|size| i64::try_from(size).ok()).into(),
            serde_json::to_string(image).unwrap_or_default().into(),
            now.into(),
        ]);
    }
    let insert = [
        "INSERT INTO image (account_id, id, hash, identity, index_digest, manifest_digest, config_digest, platform, size_bytes, \
            facts, first_seen_at) SELECT * FROM",
        "AS v WHERE true ON CONFLICT (account_id, hash) DO NOTHING",
    ];
    rows.execute(connection, dialect, &[], insert).await?;
    let mut hashes = Rows::new(&[Column::Bytes]);
    for hash in images.keys() {
        hashes.push([hash.to_vec().into()]);
    }
    let select = [
        "SELECT t.hash AS hash, t.id AS id FROM",
        "AS v CROSS JOIN image t WHERE t.account_id = $1 AND t.hash = v.column1",
    ];
    for row in hashes.fetch(connection, dialect, &[account.into()], select).await? {
        let hash = hash_of(row.try_get("hash")?)?;
        ids.images.insert((account, hash), row.try_get("id")?);
    }
    let (mut digests, mut tags) = (Rows::new(&DIGEST), Rows::new(&TAG));
    for (hash, image) in images {
        let id = ids.image(hash);
        for (digest, kind) in all_digests(image) {
            digests.push([account.into(), digest.into(), id.into(), kind.into()]);
        }
        for (repository, tag) in all_tags(image) {
            tags.push([account.into(), repository.into(), tag.into(), id.into()]);
        }
    }
    let insert = ["INSERT INTO image_digest (account_id, digest, image_id, kind) SELECT * FROM", NOTHING];
    digests.execute(connection, dialect, &[], insert).await?;
    let insert = ["INSERT INTO image_tag (account_id, repository, tag, image_id) SELECT * FROM", NOTHING];
    tags.execute(connection, dialect, &[], insert).await?;
    let configs: BTreeSet<String> =
        images.values().filter_map(|image| image.config_digest.digest()).map(ToString::to_string).collect();
    for config in configs {
        identify(connection, account, &config).await?;
    }
    Ok(())
}

const NOTHING: &str = "AS v WHERE true ON CONFLICT DO NOTHING";
const DIGEST: [Column; 4] = [Column::Integer, Column::Text, Column::Integer, Column::Text];
const TAG: [Column; 4] = [Column::Integer, Column::Text, Column::Text, Column::Integer];

/// The digest that says most, or what else there is.
fn identity(image: &Image, hash: &[u8; 32]) -> String {
    let known = [&image.manifest_digest, &image.config_digest, &image.index_digest];
    let digest = known.into_iter().find_map(|fact| fact.digest());
    let digest = digest.or_else(|| image.repo_digests.first().map(|repo_digest| &repo_digest.digest));
    match (digest, image.names.first()) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(name)) => format!("name:{name}"),
        (None, None) => format!("unknown:{}", words::hex(&hash[..8])),
    }
}

/// Images of one configuration whose manifest is not known are those of the only manifest that is (rule `unified_same_config`
/// of `core::identity`).
async fn identify(connection: &mut AnyConnection, account: i64, config: &str) -> Result<(), sqlx::Error> {
    let manifests: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT manifest_digest FROM image WHERE account_id = $1 AND config_digest = $2 AND manifest_digest IS NOT NULL \
         LIMIT 2",
    )
    .bind(account)
    .bind(config.to_owned())
    .fetch_all(&mut *connection)
    .await?;
    let identity = match &manifests[..] {
        [only] => only.clone(),
        _ => config.to_owned(),
    };
    sqlx::query(
        "UPDATE image SET identity = $1 WHERE account_id = $2 AND config_digest = $3 AND manifest_digest IS NULL AND identity <> $1",
    )
    .bind(identity)
    .bind(account)
    .bind(config.to_owned())
    .execute(connection)
    .await?;
    Ok(())
}

fn all_digests(image: &Image) -> BTreeSet<(String, &'static str)> {
    let facts =
        [(&image.index_digest, "index"), (&image.manifest_digest, "manifest"), (&image.config_digest, "config")];
    let known = facts.into_iter().filter_map(|(fact, kind)| Some((fact.digest()?.to_string(), kind)));
    let served = image.repo_digests.iter().map(|repo_digest| (repo_digest.digest.to_string(), "repo"));
    known.chain(served).collect()
}

fn all_tags(image: &Image) -> BTreeSet<(String, String)> {
    let named = image.names.iter().map(|name| repository_and_tag(name));
    let served = image
        .repo_digests
        .iter()
        .filter_map(|digest| Some((words::indexed(&digest.canonical_repository()?).into_owned(), String::new())));
    named.chain(served).filter(|(repository, _)| !repository.is_empty()).collect()
}

/// Canonical repository and tag of a name; empty where it has none.
fn repository_and_tag(name: &str) -> (String, String) {
    match name.parse::<ImageReference>() {
        Ok(reference) => (
            words::indexed(&reference.canonical_repository()).into_owned(),
            words::indexed(reference.tag().unwrap_or_default()).into_owned(),
        ),
        Err(_) => (String::new(), String::new()),
    }
}

async fn names(
    connection: &mut AnyConnection,
    dialect: Dialect,
    account: i64,
    names: &BTreeSet<&str>,
    next: &mut i64,
    ids: &mut Ids,
) -> Result<(), DatabaseError> {
    let mut rows = Rows::new(&[Column::Integer, Column::Integer, Column::Text, Column::Text, Column::Text]);
    let mut wanted = Rows::new(&[Column::Text]);
    for name in names {
        let (repository, tag) = repository_and_tag(name);
        rows.push([account.into(), take(next).into(), (*name).into(), repository.into(), tag.into()]);
        wanted.push([(*name).into()]);
    }
    let insert = [
        "INSERT INTO image_name (account_id, id, name, repository, tag) SELECT * FROM",
        "AS v WHERE true ON CONFLICT (account_id, name) DO NOTHING",
    ];
    rows.execute(connection, dialect, &[], insert).await?;
    let select = [
        "SELECT t.name AS name, t.id AS id FROM",
        "AS v CROSS JOIN image_name t WHERE t.account_id = $1 AND t.name = v.column1",
    ];
    for row in wanted.fetch(connection, dialect, &[account.into()], select).await? {
        ids.names.insert((account, row.try_get("name")?), row.try_get("id")?);
    }
    Ok(())
}

async fn labels(
    connection: &mut AnyConnection,
    dialect: Dialect,
    account: i64,
    labels: &BTreeMap<[u8; 32], &Labels>,
    next: &mut i64,
    ids: &mut Ids,
) -> Result<(), DatabaseError> {
    let mut rows = Rows::new(&[Column::Integer, Column::Integer, Column::Bytes, Column::Text]);
    let mut wanted = Rows::new(&[Column::Bytes]);
    for (hash, labels) in labels {
        rows.push([account.into(), take(next).into(), hash.to_vec().into(), labels_json(labels).into()]);
        wanted.push([hash.to_vec().into()]);
    }
    let insert = [
        "INSERT INTO label_set (account_id, id, hash, labels) SELECT * FROM",
        "AS v WHERE true ON CONFLICT (account_id, hash) DO NOTHING",
    ];
    rows.execute(connection, dialect, &[], insert).await?;
    let select = [
        "SELECT t.hash AS hash, t.id AS id FROM",
        "AS v CROSS JOIN label_set t WHERE t.account_id = $1 AND t.hash = v.column1",
    ];
    let mut entries = Rows::new(&[Column::Integer, Column::Text, Column::Text, Column::Integer]);
    for row in wanted.fetch(connection, dialect, &[account.into()], select).await? {
        let (hash, id) = (hash_of(row.try_get("hash")?)?, row.try_get::<i64, _>("id")?);
        ids.labels.insert((account, hash), id);
        for (key, value) in labels.get(&hash).into_iter().flat_map(|labels| labels.iter()) {
            entries.push([account.into(), Value::from(words::start(key)), Value::from(words::start(value)), id.into()]);
        }
    }
    let insert = ["INSERT INTO label (account_id, key, value, set_id) SELECT * FROM", NOTHING];
    entries.execute(connection, dialect, &[], insert).await?;
    Ok(())
}
