//! Where an image is: in which contexts, under which names, since when.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use serde::Serialize;
use sqlx::AnyConnection;
use stocktake_core::Digest;
use utoipa::ToSchema;

use super::{
    answer::{Page, View, answer, cut, now},
    asked::{Asked, Asks, Cursor, PAGES},
    containers::Digests,
    images_named::reference,
    pods::Whence,
    statement::{Statement, integer, text},
    visible::{JOINED, JOINS, Visible, named},
};
use crate::{access::Reader, app::App, http::Problem};

/// An image in use in a scope, under a name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Use {
    pub(super) id: i64,
    /// The name that it was asked for by.
    pub(super) image: String,
    pub(super) image_identity: String,
    digests: Digests,
    /// By which digest it was found: `index_digest`, `manifest_digest`, `config_digest`, `repo_digest`, or `same_config`: its
    /// configuration is that of an image which was found. Of a name: `name` that it was asked for by, or `tag` that it is known under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) found_by: Option<&'static str>,
    /// How many containers use it there; 0 where they are not told of.
    pub(super) containers: i64,
    #[serde(flatten)]
    pub(super) whence: Whence,
}

/// What found a use, the surest first.
const FOUND_BY: [&str; 8] = [
    "index_digest",
    "manifest_digest",
    "config_digest",
    "repo_digest",
    "manifest_digest",
    "same_config",
    "name",
    "tag",
];

/// `GET /v1/where`.
pub(super) struct Whereabouts;

impl View for Whereabouts {
    type Line = Use;
    const TAKES: &'static [&'static [&'static str]] = &[PAGES, &["image", "status"]];
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "image",
        "image_identity",
        "found_by",
        "digests/index/digest",
        "digests/manifest/digest",
        "digests/config/digest",
        "containers",
        "cluster",
        "host",
        "context",
        "first_seen_at",
        "last_seen_at",
        "status",
    ];

    async fn page(app: &App, account_id: i64, asked: &Asked) -> Result<Page<Use>, Problem> {
        let Some(image) = asked.image.as_deref() else {
            return Err(Problem::bad_request(
                "`image` is missing: say a digest or a name, such as `?image=nginx:1.25`",
            ));
        };
        let mut statement = Statement::of_account(account_id);
        let visible = Visible::new(&mut statement, now(), app.retention);
        let uses = uses(image, &mut statement)?;
        let shows = named(&visible.shows(asked.shown()), "");
        let mut connection = app.database.read().await?;
        let found = find(asked, &uses, &shows, &statement, &mut connection).await?;
        let page = cut(found, asked, |(id, _)| Cursor::new(asked.sort, *id, ""));
        let ids: Vec<i64> = page.items.iter().map(|(id, _)| *id).collect();
        let mut known = describe(app, &mut connection, account_id, &ids).await?;
        let line = |(id, by): &(i64, i64)| {
            let found_by = usize::try_from(*by).ok().and_then(|by| FOUND_BY.get(by)).copied();
            known.remove(id).map(|known| Use { found_by, ..known })
        };
        Ok(Page { items: page.items.iter().filter_map(line).collect(), next: page.next })
    }
}

/// The uses of a page with what found each, and one more if there is another page. An image may be in use in thousands of
/// scopes: whether one counts is asked of some at a time.
async fn find(
    asked: &Asked,
    uses: &str,
    shows: &str,
    statement: &Statement,
    connection: &mut AnyConnection,
) -> Result<Vec<(i64, i64)>, Problem> {
    let (wanted, mut all) = (asked.limit + 1, Vec::new());
    let (mut batch, mut after) = (2 * wanted, asked.after.as_ref().map_or(i64::MIN, |cursor| cursor.id));
    loop {
        let mut statement = statement.clone();
        let (behind, size) = (statement.bind(after), statement.bind(batch));
        let left = statement.bind(wanted - i64::try_from(all.len()).unwrap_or(i64::MAX));
        let some = format!("SELECT id, found_by FROM ({uses}) AS uses WHERE id > {behind} ORDER BY id");
        let last = statement.with_text(format!("{some} LIMIT 1 OFFSET {}", batch - 1));
        statement.text = format!(
            "SELECT c.id AS id, found.found_by AS found_by FROM ({some} LIMIT {size}) AS found CROSS JOIN image_use AS c{joins} \
             WHERE c.account_id = $1 AND c.id = found.id AND {joined} AND {shows} ORDER BY c.id LIMIT {left}",
            joins = named(JOINS, ""),
            joined = named(JOINED, ""),
        );
        for row in &statement.fetch(connection).await? {
            all.push((integer(row, "id")?, integer(row, "found_by")?));
        }
        if i64::try_from(all.len()).unwrap_or(i64::MAX) >= wanted {
            return Ok(all);
        }
        let last = last.fetch(connection).await?;
        let Some(last) = last.first() else { return Ok(all) };
        after = integer(last, "id")?;
        batch *= 4;
    }
}

/// Ids of uses of an image, each with what found it.
fn uses(image: &str, statement: &mut Statement) -> Result<String, Problem> {
    let is_hex = image.len() == 64 && image.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex {
        return Ok(uses_of_digest(&statement.bind(format!("sha256:{image}"))));
    }
    if Digest::is_digest(image) {
        return Ok(uses_of_digest(&statement.bind(image)));
    }
    let reference = reference(image, "image")?;
    if let Some(digest) = reference.digest() {
        return Ok(uses_of_digest(&statement.bind(digest.as_str())));
    }
    let repository = statement.bind(reference.canonical_repository());
    let tag = reference.tag().map(|tag| statement.bind(tag));
    let of_tag = |table: &str| tag.as_ref().map(|tag| format!(" AND {table}.tag = {tag}")).unwrap_or_default();
    Ok(format!(
        "SELECT id, MIN(found_by) AS found_by FROM (SELECT iu.id AS id, 6 AS found_by FROM image_name AS im CROSS JOIN image_use AS iu \
         WHERE im.account_id = $1 AND im.repository = {repository}{} AND iu.account_id = $1 AND iu.name_id = im.id \
         UNION ALL SELECT iu.id AS id, 7 AS found_by FROM image_tag AS it CROSS JOIN image_use AS iu WHERE it.account_id = $1 \
         AND it.repository = {repository}{} AND iu.account_id = $1 AND iu.image_id = it.image_id) AS uses GROUP BY id",
        of_tag("im"),
        of_tag("it")
    ))
}

fn uses_of_digest(digest: &str) -> String {
    let same = |column: &str, by: usize| {
        format!(
            " UNION ALL SELECT other.id AS id, {by} AS found_by FROM image_digest AS dg CROSS JOIN image AS one CROSS JOIN image AS other \
             WHERE dg.account_id = $1 AND dg.digest = {digest} AND one.account_id = $1 AND one.id = dg.image_id \
             AND other.account_id = $1 AND other.{column} = one.{column}"
        )
    };
    format!(
        "SELECT iu.id AS id, images.found_by AS found_by FROM (SELECT id, MIN(found_by) AS found_by FROM (SELECT dg.image_id AS id, CASE dg.kind \
         WHEN 'index' THEN 0 WHEN 'manifest' THEN 1 WHEN 'config' THEN 2 ELSE 3 END AS found_by FROM image_digest AS dg \
         WHERE dg.account_id = $1 AND dg.digest = {digest}{}{}) AS found GROUP BY id) AS images \
         CROSS JOIN image_use AS iu WHERE iu.account_id = $1 AND iu.image_id = images.id",
        same("manifest_digest", 4),
        same("config_digest", 5)
    )
}

/// All that is told of some uses of images.
pub(super) async fn describe(
    app: &App,
    connection: &mut AnyConnection,
    account_id: i64,
    ids: &[i64],
) -> Result<BTreeMap<i64, Use>, Problem> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut statement = Statement::of_account(account_id);
    let visible = Visible::new(&mut statement, now(), app.retention);
    let list = statement.ids(app.database.dialect(), ids.iter().copied());
    statement.text = format!(
        "SELECT c.id AS id, c.containers AS containers, im.name AS image, ig.identity AS image_identity, ig.facts AS facts, {whence} \
         FROM image_use AS c{joins} CROSS JOIN image AS ig CROSS JOIN image_name AS im WHERE c.account_id = $1 AND c.id {list} \
         AND {joined} AND ig.account_id = $1 AND ig.id = c.image_id AND im.account_id = $1 AND im.id = c.name_id",
        whence = Whence::columns(&visible),
        joins = named(JOINS, ""),
        joined = named(JOINED, ""),
    );
    let mut known = BTreeMap::new();
    for row in &statement.fetch(connection).await? {
        let id = integer(row, "id")?;
        let found = Use {
            id,
            image: text(row, "image")?,
            image_identity: text(row, "image_identity")?,
            digests: Digests::read(&text(row, "facts")?),
            found_by: None,
            containers: integer(row, "containers")?,
            whence: Whence::read(row)?,
        };
        known.insert(id, found);
    }
    Ok(known)
}

#[utoipa::path(get, path = "/v1/where", params(Asks<Whereabouts>), tag = "inventory",
    responses((status = 200, body = Page<Use>), (status = 400, description = "A parameter is wrong.")))]
pub(super) async fn whereabouts(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<Whereabouts>,
) -> Result<Response, Problem> {
    answer::<Whereabouts>(app, caller.account_id, asked).await
}
