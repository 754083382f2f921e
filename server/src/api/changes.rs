//! What changed, in the order in which it came to be known.

use axum::{extract::State, response::Response};
use serde::Serialize;
use serde_json::Value;
use sqlx::{AnyConnection, any::AnyRow};
use utoipa::ToSchema;

use super::{
    answer::{Page, View, answer, cut, time},
    asked::{Asked, Asks, Cursor, PAGES},
    containers::{self, Container},
    event_id,
    statement::{Statement, integer, maybe_integer, maybe_text},
    visible::Shown,
    whereabouts::{self, Use},
};
use crate::{access::Reader, app::App, http::Problem};

/// Something that changed.
#[expect(clippy::struct_field_names, reason = "as the answer names it")]
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Change {
    pub(crate) id: i64,
    /// What it is known by to who follows.
    #[serde(skip)]
    pub(crate) event_id: String,
    pub(crate) at: String,
    /// `appeared`, `disappeared` or `changed`; of an agent `silent` or `heard` again; of a scope `coverage_lost` or
    /// `coverage_regained`.
    pub(crate) change: &'static str,
    /// `container`, `image`, `agent` or `scope`.
    pub(crate) entity: &'static str,
    entity_id: i64,
    /// What changed, from what to what.
    detail: Option<Value>,
    pub(crate) context: Option<String>,
    /// Key of the scope; none of an agent's.
    scope: Option<i64>,
    /// The container as it is known now; none once it was removed.
    pub(crate) container: Option<Container>,
    /// The image's use as it is known now; none once it was removed.
    pub(crate) image: Option<Use>,
}

/// So many events are looked at before the bounds of times are looked for.
const NEXT: i64 = 2000;

/// Events of so many scopes are looked for scope by scope.
const FEW: usize = 50;

/// `GET /v1/changes`.
pub(super) struct Changes;

impl View for Changes {
    type Line = Change;
    const TAKES: &'static [&'static [&'static str]] = &[PAGES, &["context", "since", "until"]];
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "at",
        "change",
        "entity",
        "entity_id",
        "context",
        "container/name",
        "container/image",
        "container/pod/namespace",
        "container/pod/name",
        "image/image",
        "image/image_identity",
        "detail",
    ];

    async fn page(app: &App, account_id: i64, asked: &Asked) -> Result<Page<Change>, Problem> {
        let mut connection = app.database.read().await?;
        let rows = find(account_id, asked, &mut connection).await?;
        let changes: Vec<Change> = rows.iter().map(Change::read).collect::<Result<_, _>>()?;
        let mut page = cut(changes, asked, |change| Cursor::new(asked.sort, change.id, ""));
        describe(app, &mut connection, account_id, &mut page.items).await?;
        Ok(page)
    }
}

/// Adds what is known now of what they are of.
async fn describe(
    app: &App,
    connection: &mut AnyConnection,
    account_id: i64,
    changes: &mut [Change],
) -> Result<(), Problem> {
    let ids = |entity: &str| -> Vec<i64> {
        changes.iter().filter(|change| change.entity == entity).map(|change| change.entity_id).collect()
    };
    let (of_containers, of_images) = (ids("container"), ids("image"));
    let containers = containers::describe(app, connection, account_id, &of_containers, Shown::All).await?;
    let images = whereabouts::describe(app, connection, account_id, &of_images).await?;
    for change in changes {
        match change.entity {
            "container" => change.container = containers.get(&change.entity_id).cloned(),
            "image" => change.image = images.get(&change.entity_id).cloned(),
            _ => {}
        }
    }
    Ok(())
}

/// Columns that [`Change::read`] reads of an event, and of its scope if that is still there.
const CHANGE: &str = "ev.account_id AS account_id, ev.id AS id, ev.at AS at, ev.kind AS kind, ev.entity AS entity, \
    ev.entity_id AS entity_id, ev.scope_id AS scope_id, ev.detail AS detail, sc.context AS context";

/// Events behind one up to another, in their order: some, at the most.
pub(crate) async fn following(
    app: &App,
    connection: &mut AnyConnection,
    account_id: i64,
    [after, until]: [i64; 2],
    most: i64,
) -> Result<Vec<Change>, Problem> {
    let mut statement = Statement::of_account(account_id);
    let (after, until, most) = (statement.bind(after), statement.bind(until), statement.bind(most));
    statement.text = format!(
        "SELECT {CHANGE} FROM event AS ev LEFT JOIN scope AS sc ON sc.account_id = $1 AND sc.id = ev.scope_id \
         WHERE ev.account_id = $1 AND ev.id > {after} AND ev.id <= {until} ORDER BY ev.id LIMIT {most}"
    );
    let rows = statement.fetch(connection).await?;
    let mut changes: Vec<Change> = rows.iter().map(Change::read).collect::<Result<_, _>>()?;
    describe(app, connection, account_id, &mut changes).await?;
    Ok(changes)
}

/// The number before that of the first event at a time or later; none if there is no such event.
pub(crate) async fn before(
    connection: &mut AnyConnection,
    account_id: i64,
    since: i64,
) -> Result<Option<i64>, sqlx::Error> {
    let mut statement = Statement::of_account(account_id);
    let since = statement.bind(since);
    statement.text =
        format!("SELECT MIN(ev.id) AS first FROM event AS ev WHERE ev.account_id = $1 AND ev.at >= {since}");
    let rows = statement.fetch(connection).await?;
    let first = rows.first().map(|row| maybe_integer(row, "first")).transpose()?.flatten();
    Ok(first.map(|first| first - 1))
}

/// The events of a page, and one more if there is another page.
async fn find(account_id: i64, asked: &Asked, connection: &mut AnyConnection) -> Result<Vec<AnyRow>, sqlx::Error> {
    let mut statement = Statement::of_account(account_id);
    let mut conditions = String::new();
    if let Some(since) = asked.since {
        conditions += &format!(" AND +ev.at >= {}", statement.bind(since));
    }
    if let Some(until) = asked.until {
        conditions += &format!(" AND +ev.at < {}", statement.bind(until));
    }
    let after = statement.bind(asked.after.as_ref().map_or(i64::MIN, |cursor| cursor.id));
    let limit = statement.bind(asked.limit + 1);
    let text = |events: &str, conditions: &str| {
        format!(
            "SELECT {CHANGE} FROM {events} AS ev \
             LEFT JOIN scope AS sc ON sc.account_id = $1 AND sc.id = ev.scope_id \
             WHERE ev.account_id = $1 AND ev.id > {after}{conditions} ORDER BY ev.id LIMIT {limit}"
        )
    };
    let mut rows = Vec::new();
    let is_bound = asked.context.is_none() && (asked.since.is_some() || asked.until.is_some());
    if is_bound {
        // Where most of what comes next is wanted, a page is full before its bounds would be found.
        let next = format!("(SELECT * FROM event WHERE account_id = $1 AND id > {after} ORDER BY id LIMIT {NEXT})");
        rows = statement.with_text(text(&next, &conditions)).fetch(connection).await?;
    }
    if rows.len() <= usize::try_from(asked.limit).unwrap_or(usize::MAX) {
        if is_bound {
            // Numbers and times run nearly the same way: between the bounds, most are wanted.
            let bounds = statement.with_text(format!(
                "SELECT MIN(ev.id) AS first, MAX(ev.id) AS last FROM event AS ev WHERE ev.account_id = $1{}",
                conditions.replace("+ev.at", "ev.at")
            ));
            let bounds = bounds.fetch(connection).await?;
            let bounds = bounds
                .first()
                .map(|row| Ok::<_, sqlx::Error>((maybe_integer(row, "first")?, maybe_integer(row, "last")?)));
            let Some((Some(first), Some(last))) = bounds.transpose()? else {
                return Ok(Vec::new());
            };
            conditions += &format!(" AND ev.id >= {} AND ev.id <= {}", statement.bind(first), statement.bind(last));
        }
        let scopes = match &asked.context {
            Some(context) => Some((context, scopes(account_id, context, connection).await?)),
            None => None,
        };
        statement.text = match scopes {
            None => text("event", &conditions),
            // Hosts may all have one name.
            Some((context, scopes)) if scopes.len() > FEW => {
                let context = statement.bind(context.as_str());
                let scopes =
                    format!("SELECT st.id FROM scope AS st WHERE st.account_id = $1 AND st.context = {context}");
                text("event", &format!("{conditions} AND ev.scope_id IN ({scopes})"))
            }
            Some((_, scopes)) => {
                let of_scope = |(number, scope): (usize, &i64)| {
                    let events = text("event", &format!("{conditions} AND ev.scope_id = {}", statement.bind(*scope)));
                    format!("SELECT * FROM ({events}) AS events_{number}")
                };
                let events: Vec<String> = scopes.iter().enumerate().map(of_scope).collect();
                if events.is_empty() {
                    return Ok(Vec::new());
                }
                format!("{} ORDER BY id LIMIT {limit}", events.join(" UNION ALL "))
            }
        };
        rows = statement.fetch(connection).await?;
    }
    Ok(rows)
}

/// Keys of the scopes of a context: several collectors may tell of one.
async fn scopes(account_id: i64, context: &str, connection: &mut AnyConnection) -> Result<Vec<i64>, sqlx::Error> {
    let mut statement = Statement::of_account(account_id);
    let context = statement.bind(context);
    statement.text = format!("SELECT st.id AS id FROM scope AS st WHERE st.account_id = $1 AND st.context = {context}");
    statement.fetch(connection).await?.iter().map(|row| integer(row, "id")).collect()
}

impl Change {
    fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: integer(row, "id")?,
            event_id: event_id::of(row)?,
            at: time(integer(row, "at")?),
            change: match integer(row, "kind")? {
                1 => "appeared",
                2 => "disappeared",
                4 => "silent",
                5 => "heard",
                6 => "coverage_lost",
                7 => "coverage_regained",
                _ => "changed",
            },
            entity: match integer(row, "entity")? {
                1 => "container",
                2 => "image",
                3 => "agent",
                _ => "scope",
            },
            entity_id: integer(row, "entity_id")?,
            detail: maybe_text(row, "detail")?.and_then(|detail| serde_json::from_str(&detail).ok()),
            context: maybe_text(row, "context")?,
            scope: Some(integer(row, "scope_id")?).filter(|scope| *scope != 0),
            container: None,
            image: None,
        })
    }
}

#[utoipa::path(get, path = "/v1/changes", params(Asks<Changes>), tag = "inventory",
    responses((status = 200, body = Page<Change>), (status = 400, description = "A parameter is wrong.")))]
pub(super) async fn changes(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<Changes>,
) -> Result<Response, Problem> {
    answer::<Changes>(app, caller.account_id, asked).await
}
