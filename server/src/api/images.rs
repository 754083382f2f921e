//! Images: what runs, whoever knows what of it.

use std::collections::{BTreeMap, BTreeSet};

use axum::{extract::State, response::Response};
use serde::Serialize;
use sqlx::{AnyConnection, any::AnyRow};
use utoipa::ToSchema;

use super::{
    answer::{Page, View, answer, cut, now, time},
    asked::{Asked, Asks, Cursor, PAGES},
    containers::Digests,
    images_named::{images_of_digest, reference, uses_of_reference},
    shared::Twice,
    statement::{Statement, integer, maybe_integer, maybe_text, text},
    visible::{JOINED, JOINS, SCOPE_SEEN_AT, SEEN_AT, Shown, Visible, named},
};
use crate::{access::Reader, app::App, http::Problem};

/// An image in use.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Image {
    /// What makes it the same image, whoever tells of it.
    pub(super) identity: String,
    /// As those say that know most of it.
    digests: Option<Digests>,
    platform: Option<String>,
    size_bytes: Option<i64>,
    /// Names that it was asked for by.
    pub(super) names: BTreeSet<String>,
    /// As many as the list of containers has lines with it: one that several sources see counts once.
    pub(super) containers: i64,
    /// In how many contexts it is in use.
    pub(super) contexts: i64,
    first_seen_at: String,
    last_seen_at: String,
}

/// `GET /v1/images`.
pub(super) struct Images;

impl View for Images {
    type Line = Image;
    const TAKES: &'static [&'static [&'static str]] =
        &[PAGES, &["cluster", "context", "coverage", "digest", "repository", "seen_since", "status", "tag"]];
    const COLUMNS: &'static [&'static str] = &[
        "identity",
        "digests/index/digest",
        "digests/manifest/digest",
        "digests/config/digest",
        "platform",
        "size_bytes",
        "names",
        "containers",
        "contexts",
        "first_seen_at",
        "last_seen_at",
    ];

    async fn page(app: &App, account_id: i64, asked: &Asked) -> Result<Page<Image>, Problem> {
        let mut statement = Statement::of_account(account_id);
        let visible = Visible::new(&mut statement, now(), app.retention);
        let wanted = format!("{JOINED} AND {}", matches(asked, &visible, &mut statement));
        let matches = named(&wanted, "");
        let after = asked.after.as_ref().and_then(|cursor| cursor.name.as_deref()).unwrap_or_default();
        let (after, limit) = (statement.bind(after), statement.bind(asked.limit + 1));
        let joins = named(JOINS, "");
        // What is counted twice is taken from what was counted: both are of one moment.
        let mut connection = app.database.read_at_once().await?;
        let way = way(asked, &visible, &mut statement, &mut connection).await?;
        let question = statement.clone();
        let summary = format!(
            "ig.identity AS identity, COUNT(DISTINCT sc.context) AS contexts, CAST(SUM(c.containers) AS BIGINT) AS containers, \
             MIN(c.first_seen_at) AS first_seen_at, MAX({}) AS last_seen_at",
            named(SEEN_AT, "")
        );
        statement.text = if let Some(uses) = &way {
            format!(
                "SELECT {summary} FROM ({uses}) AS way CROSS JOIN image_use AS c CROSS JOIN image AS ig{joins} WHERE c.account_id = $1 \
                 AND c.id = way.id AND ig.account_id = $1 AND ig.id = c.image_id AND ig.identity > {after} AND {matches} \
                 GROUP BY ig.identity ORDER BY ig.identity LIMIT {limit}"
            )
        } else {
            let page = statement.with_text(format!(
                "SELECT DISTINCT ig.identity AS identity FROM image AS ig WHERE ig.account_id = $1 AND ig.identity > {after} \
                 AND EXISTS (SELECT 1 FROM image_use AS c{joins} WHERE c.account_id = $1 AND c.image_id = ig.id AND {matches}) \
                 ORDER BY ig.identity LIMIT {limit}"
            ));
            let rows = page.fetch(&mut connection).await?;
            let found: Vec<String> = rows.iter().map(|row| text(row, "identity")).collect::<Result<_, _>>()?;
            let list: Vec<String> = found.iter().map(|identity| statement.bind(identity.as_str())).collect();
            format!(
                "SELECT {summary} FROM image AS ig CROSS JOIN image_use AS c{joins} WHERE ig.account_id = $1 AND ig.identity IN ({}) \
                 AND c.account_id = $1 AND c.image_id = ig.id AND {matches} GROUP BY ig.identity ORDER BY ig.identity",
                if list.is_empty() { "NULL".to_owned() } else { list.join(",") }
            )
        };
        let rows = statement.fetch(&mut connection).await?;
        let found: Vec<Image> = rows.iter().map(Image::read).collect::<Result<_, _>>()?;
        let mut page = cut(found, asked, |image| Cursor::of_name(&image.identity));
        facts(&mut connection, account_id, &mut page.items).await?;
        let rows = page.items.iter().map(|image| image.containers).sum();
        let twice = Twice { uses: way.as_deref(), rows, matches: &wanted, dialect: app.database.dialect() };
        let twice =
            twice.count(question, page.items.iter().map(|image| image.identity.as_str()), &mut connection).await?;
        for image in &mut page.items {
            image.containers -= twice.get(&image.identity).copied().unwrap_or_default();
        }
        Ok(page)
    }
}

impl Image {
    fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            identity: text(row, "identity")?,
            digests: None,
            platform: None,
            size_bytes: None,
            names: BTreeSet::new(),
            containers: integer(row, "containers")?,
            contexts: integer(row, "contexts")?,
            first_seen_at: time(integer(row, "first_seen_at")?),
            last_seen_at: time(integer(row, "last_seen_at")?),
        })
    }
}

/// So many uses are looked at sooner than all images are.
const FEW: i64 = 5000;

/// Finds uses through their scopes, if those that are asked for have few.
async fn way(
    asked: &Asked,
    visible: &Visible,
    statement: &mut Statement,
    connection: &mut AnyConnection,
) -> Result<Option<String>, Problem> {
    if let Some(uses) = uses_of_image(asked, statement)? {
        return Ok(Some(uses));
    }
    let mut conditions = Vec::new();
    if let Some(context) = &asked.context {
        conditions.push(format!("~sc.context = {}", statement.bind(context.as_str())));
    }
    if let Some(cluster) = &asked.cluster {
        let name = statement.bind(cluster.as_str());
        conditions.push(format!(
            "~sc.place_id IN (SELECT pt.id FROM place AS pt WHERE pt.account_id = $1 AND pt.name = {name} AND pt.kind = 'cluster')"
        ));
    }
    if let Some(coverage) = &asked.coverage {
        conditions.push(format!("~sc.coverage = {}", statement.bind(coverage.as_str())));
    }
    if let Some(since) = asked.seen_since {
        conditions.push(format!("{SCOPE_SEEN_AT} >= {}", statement.bind(since)));
    }
    let (stale, gone) = (format!("{} = 'stale'", visible.scope_status()), "~sc.gone_at IS NOT NULL".to_owned());
    let of = |rows: &str| {
        format!(" UNION SELECT left_.id FROM image_use AS left_ WHERE left_.account_id = $1 AND left_.{rows}")
    };
    let also = match asked.shown() {
        Shown::Stale if conditions.is_empty() => {
            conditions.push(stale);
            of("last_seen_at IS NOT NULL AND left_.gone_at IS NULL")
        }
        Shown::Gone if conditions.is_empty() => {
            conditions.push(gone);
            of("gone_at IS NOT NULL")
        }
        _ => String::new(),
    };
    if conditions.is_empty() {
        return Ok(None);
    }
    let uses = format!(
        "SELECT us.id AS id FROM scope AS wsc CROSS JOIN source AS wso CROSS JOIN agent AS wag CROSS JOIN image_use AS us \
         WHERE wsc.account_id = $1 AND wso.account_id = $1 AND wso.id = wsc.source_id AND wag.account_id = $1 \
         AND wag.id = wso.agent_id AND us.account_id = $1 AND us.scope_id = wsc.id AND {}{also}",
        named(&conditions.join(" AND "), "w")
    );
    let count = statement.with_text(format!(
        "SELECT COUNT(*) AS count FROM (SELECT 1 AS one FROM ({uses}) AS way LIMIT {FEW}) AS counted"
    ));
    let rows = count.fetch(connection).await?;
    let count = rows.first().map_or(Ok(0), |row| integer(row, "count"))?;
    Ok((count < FEW).then_some(uses))
}

/// Uses of the images that are asked for by digest or name.
fn uses_of_image(asked: &Asked, statement: &mut Statement) -> Result<Option<String>, Problem> {
    let mut all = Vec::new();
    if let Some(digest) = &asked.digest {
        let images = images_of_digest(&statement.bind(digest.as_str()));
        all.push(format!(
            "SELECT iu.id AS id FROM ({images}) AS found CROSS JOIN image_use AS iu WHERE iu.account_id = $1 AND iu.image_id = found.id"
        ));
    }
    if let Some(repository) = &asked.repository {
        let reference = reference(repository, "repository")?;
        let repository = statement.bind(reference.canonical_repository());
        let tag = asked.tag.as_deref().or(reference.tag()).map(|tag| statement.bind(tag));
        all.push(uses_of_reference(&repository, tag.as_deref()));
    } else if let Some(tag) = &asked.tag {
        let tag = statement.bind(tag.as_str());
        all.push(format!(
            "SELECT iu.id AS id FROM image_name AS im CROSS JOIN image_use AS iu WHERE im.account_id = $1 AND im.tag = {tag} \
             AND iu.account_id = $1 AND iu.name_id = im.id"
        ));
    }
    // Both: the second is asked of what the first found.
    Ok(all
        .into_iter()
        .reduce(|all, others| format!("SELECT uses.id AS id FROM ({all}) AS uses WHERE uses.id IN ({others})")))
}

/// Which uses of images are asked for, where they are and how they were seen.
fn matches(asked: &Asked, visible: &Visible, statement: &mut Statement) -> String {
    let mut conditions = vec![visible.shows(asked.shown())];
    if let Some(context) = &asked.context {
        conditions.push(format!("~sc.context = {}", statement.bind(context.as_str())));
    }
    if let Some(cluster) = &asked.cluster {
        conditions.push(format!("~pl.kind = 'cluster' AND ~pl.name = {}", statement.bind(cluster.as_str())));
    }
    if let Some(coverage) = &asked.coverage {
        conditions.push(format!("~sc.coverage = {}", statement.bind(coverage.as_str())));
    }
    if let Some(since) = asked.seen_since {
        conditions.push(format!("{SEEN_AT} >= {}", statement.bind(since)));
    }
    conditions.join(" AND ")
}

/// Adds what is known of each, and its names.
async fn facts(connection: &mut AnyConnection, account_id: i64, images: &mut [Image]) -> Result<(), Problem> {
    if images.is_empty() {
        return Ok(());
    }
    let mut images: BTreeMap<String, &mut Image> =
        images.iter_mut().map(|image| (image.identity.clone(), image)).collect();
    let mut statement = Statement::of_account(account_id);
    let list: Vec<String> = images.keys().map(|identity| statement.bind(identity.as_str())).collect();
    let list = list.join(",");
    let all = statement.with_text(format!(
        "SELECT ig.identity AS identity, ig.facts AS facts, ig.platform AS platform, ig.size_bytes AS size_bytes FROM image AS ig \
         WHERE ig.account_id = $1 AND ig.identity IN ({list}) ORDER BY ig.id"
    ));
    for row in &all.fetch(connection).await? {
        let Some(image) = images.get_mut(&text(row, "identity")?) else { continue };
        let digests = Digests::read(&text(row, "facts")?);
        image.digests = Some(match image.digests.take() {
            Some(known) => known.or(digests),
            None => digests,
        });
        image.platform = image.platform.take().or(maybe_text(row, "platform")?);
        image.size_bytes = image.size_bytes.or(maybe_integer(row, "size_bytes")?);
    }
    let names = statement.with_text(format!(
        "SELECT DISTINCT ig.identity AS identity, im.name AS name FROM image AS ig CROSS JOIN image_use AS iu CROSS JOIN image_name AS im \
         WHERE ig.account_id = $1 AND ig.identity IN ({list}) AND iu.account_id = $1 AND iu.image_id = ig.id \
         AND im.account_id = $1 AND im.id = iu.name_id"
    ));
    for row in &names.fetch(connection).await? {
        if let Some(image) = images.get_mut(&text(row, "identity")?) {
            image.names.insert(text(row, "name")?);
        }
    }
    Ok(())
}

#[utoipa::path(get, path = "/v1/images", params(Asks<Images>), tag = "inventory",
    responses((status = 200, body = Page<Image>), (status = 400, description = "A parameter is wrong.")))]
pub(super) async fn images(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<Images>,
) -> Result<Response, Problem> {
    answer::<Images>(app, caller.account_id, asked).await
}
