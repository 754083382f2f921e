//! Filters, as SQL.
//!
//! Each filter is a condition on a row, and most are also a *way*: a statement that finds the rows' ids through an index. The
//! way of fewest rows is taken if there are few; else rows are looked at in their order, of which a page's are then soon found.
//! Conditions are on `+column`, so that SQLite does not go by them.

use sqlx::AnyConnection;
use stocktake_core::ImageReference;

use super::{
    asked::Asked,
    statement::{Statement, integer},
    visible::SEEN_AT,
};
use crate::{http::Problem, words};

/// So many ids are sorted sooner than others are passed over.
const FEW: i64 = 5000;

/// What is asked of rows of one table.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// All must hold. In the names of `visible`.
    pub(super) conditions: Vec<String>,
    /// Statements that find ids.
    ways: Vec<String>,
}

/// A table whose rows are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Workload,
    Pod,
    Container,
}

impl Table {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Pod => "pod",
            Self::Container => "container",
        }
    }
}

impl Filters {
    /// Binds to `statement` what `asked` says of rows of `table`.
    pub(super) fn of(table: Table, asked: &Asked, statement: &mut Statement) -> Result<Self, Problem> {
        let mut filters = Self::default();
        // Indexes of owners, labels and nodes are of what is there.
        let is_there = asked.at.is_none() && asked.shown().is_there();
        filters.images(asked, statement)?;
        filters.owner(table, asked, statement, is_there);
        for label in &asked.labels {
            filters.label(table, label, statement, is_there);
        }
        filters.nodes(table, asked, statement, is_there);
        filters.namespace(table, asked, statement);
        filters.scopes(table, asked, statement);
        filters.plain(table, asked, statement)?;
        Ok(filters)
    }

    /// The way of few rows, if there is one.
    pub(super) async fn way(
        &self,
        statement: &Statement,
        connection: &mut AnyConnection,
    ) -> Result<Option<&str>, sqlx::Error> {
        let mut best: Option<(i64, &str)> = None;
        for way in &self.ways {
            let most = best.map_or(FEW, |(count, _)| count);
            // What it would find twice is counted twice: it need not be sorted out before the count ends.
            let found = way.replace(" UNION SELECT ", " UNION ALL SELECT ");
            let count = format!(
                "SELECT COUNT(*) AS count FROM (SELECT 1 AS one FROM ({found}) AS way LIMIT {most}) AS counted"
            );
            let rows = statement.with_text(count).fetch(connection).await?;
            let count = rows.first().map_or(Ok(0), |row| integer(row, "count"))?;
            if count < most {
                best = Some((count, way));
            }
            // Nothing is gained by a better one.
            if count < 200 {
                break;
            }
        }
        Ok(best.map(|(_, way)| way))
    }

    fn images(&mut self, asked: &Asked, statement: &mut Statement) -> Result<(), Problem> {
        if let Some(digest) = &asked.digest {
            let digest = statement.bind(digest.as_str());
            let uses = format!(
                "SELECT iu.id FROM ({}) AS found CROSS JOIN image_use AS iu WHERE iu.account_id = $1 AND iu.image_id = found.id",
                images_of_digest(&digest)
            );
            self.image_uses(&uses);
        }
        if let Some(repository) = &asked.repository {
            let reference = reference(repository, "repository")?;
            let tag = asked.tag.as_deref().or(reference.tag());
            let repository = statement.bind(reference.canonical_repository());
            let tag = tag.map(|tag| statement.bind(tag));
            self.image_uses(&uses_of_reference(&repository, tag.as_deref()));
        } else if let Some(tag) = &asked.tag {
            let tag = statement.bind(tag.as_str());
            self.conditions.push(format!(
                "+~c.image_use_id IN (SELECT iu.id FROM image_name AS im CROSS JOIN image_use AS iu WHERE im.account_id = $1 \
                 AND im.tag = {tag} AND iu.account_id = $1 AND iu.name_id = im.id)"
            ));
        }
        Ok(())
    }

    fn image_uses(&mut self, uses: &str) {
        self.conditions.push(format!("+~c.image_use_id IN ({uses})"));
        self.ways.push(format!(
            "SELECT co.id FROM ({uses}) AS used CROSS JOIN container AS co WHERE co.account_id = $1 AND co.image_use_id = used.id"
        ));
    }

    fn owner(&mut self, table: Table, asked: &Asked, statement: &mut Statement, is_there: bool) {
        let Some(owner) = &asked.owner else { return };
        let (kind, name) = owner.split_once('/').map_or((None, owner.as_str()), |(kind, name)| (Some(kind), name));
        let mut workloads =
            format!("SELECT wo.id FROM workload AS wo WHERE wo.account_id = $1 AND wo.name = {}", statement.bind(name));
        if let Some(kind) = kind {
            workloads += &format!(" AND wo.kind = {}", statement.bind(kind));
        }
        if table == Table::Workload {
            self.conditions.push(format!("+~c.id IN ({workloads})"));
            return self.ways.push(workloads);
        }
        self.conditions.push(format!("+~c.workload_id IN ({workloads})"));
        if is_there {
            self.ways.push(format!(
                "SELECT co.id FROM ({workloads}) AS owners CROSS JOIN {} AS co WHERE co.account_id = $1 \
                 AND co.workload_id = owners.id AND co.gone_at IS NULL",
                table.name()
            ));
        }
    }

    fn label(&mut self, table: Table, label: &str, statement: &mut Statement, is_there: bool) {
        let (key, value) = label.split_once('=').map_or((label, None), |(key, value)| (key, Some(value)));
        let mut sets =
            format!("SELECT la.set_id FROM label AS la WHERE la.account_id = $1 AND la.key = {}", statement.bind(key));
        if let Some(value) = value {
            sets += &format!(" AND la.value = {}", statement.bind(value));
        }
        let of = |table: &str, gone: &str, not_null: &str| {
            format!(
                "SELECT co.id FROM (SELECT DISTINCT set_id FROM ({sets}) AS found) AS sets CROSS JOIN {table} AS co \
                 WHERE co.account_id = $1 AND co.labels_id = sets.set_id{gone}{not_null}"
            )
        };
        let (there, own) = (" AND co.gone_at IS NULL", " AND co.labels_id IS NOT NULL");
        let mut condition = format!("+~c.labels_id IN ({sets})");
        let mut way = of(table.name(), there, if table == Table::Container { own } else { "" });
        if table == Table::Container {
            condition = format!("({condition} OR {})", pod_has("labels_id", &format!("IN ({sets})")));
            let pods = of("pod", there, "");
            way += &format!(
                " UNION SELECT ct.id FROM ({pods}) AS pods CROSS JOIN container AS ct WHERE ct.account_id = $1 \
                 AND ct.pod_id = pods.id"
            );
        }
        self.conditions.push(condition);
        if is_there {
            self.ways.push(way);
        }
    }

    fn nodes(&mut self, table: Table, asked: &Asked, statement: &mut Statement, is_there: bool) {
        if let Some(node) = &asked.node {
            let name = statement.bind(node.as_str());
            let scopes = format!(
                "SELECT st.id FROM scope AS st WHERE st.account_id = $1 AND st.name = {name} AND st.scope_kind = 'node'"
            );
            self.on_node(table, &name, &scopes, is_there);
        }
        if let Some(host) = &asked.host {
            let name = statement.bind(host.as_str());
            let scopes = format!(
                "{} UNION SELECT st.id FROM scope AS st WHERE st.account_id = $1 AND st.name = {name} \
                AND st.scope_kind = 'node'",
                scopes_of_place("host", &name)
            );
            self.on_node(table, &name, &scopes, is_there);
        }
    }

    /// What is in one of `scopes`, or runs on the node.
    fn on_node(&mut self, table: Table, name: &str, scopes: &str, is_there: bool) {
        let there = if is_there { " AND po.gone_at IS NULL" } else { "" };
        let pods = format!("SELECT po.id FROM pod AS po WHERE po.account_id = $1 AND po.node_name = {name}{there}");
        let by_scope = in_scopes(table, scopes);
        let (condition, way) = match table {
            Table::Workload => (String::from("1 = 0"), None),
            Table::Pod => (format!("~c.node_name = {name}"), Some(pods)),
            Table::Container => (
                format!("~c.node_name = {name} OR +~c.pod_id IN ({pods})"),
                Some(format!(
                    "SELECT ct.id FROM ({pods}) AS pods CROSS JOIN container AS ct WHERE ct.account_id = $1 \
                     AND ct.pod_id = pods.id UNION SELECT cn.id FROM container AS cn WHERE cn.account_id = $1 \
                     AND cn.node_name = {name}"
                )),
            ),
        };
        self.conditions.push(format!("(+~c.scope_id IN ({scopes}) OR {condition})"));
        match way {
            Some(way) if is_there => self.ways.push(format!("{by_scope} UNION {way}")),
            Some(_) => {}
            None => self.ways.push(by_scope),
        }
    }

    fn namespace(&mut self, table: Table, asked: &Asked, statement: &mut Statement) {
        let Some(namespace) = &asked.namespace else { return };
        let name = statement.bind(namespace.as_str());
        let scopes = format!(
            "SELECT st.id FROM scope AS st WHERE st.account_id = $1 AND st.name = {name} AND st.scope_kind = 'namespace'"
        );
        let by_scope = in_scopes(table, &scopes);
        let pods = format!("SELECT po.id FROM pod AS po WHERE po.account_id = $1 AND po.namespace = {name}");
        let of_pod = pod_has("namespace", &format!("= {name}"));
        let (condition, own) = match table {
            Table::Pod | Table::Workload => (
                format!("(~c.namespace = {name} OR ~c.namespace IS NULL AND +~c.scope_id IN ({scopes}))"),
                format!("SELECT po.id FROM {} AS po WHERE po.account_id = $1 AND po.namespace = {name}", table.name()),
            ),
            Table::Container => (
                format!(
                    "({of_pod} OR +~c.scope_id IN ({scopes}) AND NOT EXISTS (SELECT 1 FROM pod AS po \
                     WHERE po.account_id = $1 AND po.id = ~c.pod_id AND po.namespace IS NOT NULL))"
                ),
                format!(
                    "SELECT ct.id FROM ({pods}) AS pods CROSS JOIN container AS ct WHERE ct.account_id = $1 \
                     AND ct.pod_id = pods.id"
                ),
            ),
        };
        self.conditions.push(condition);
        // Workloads have no index by namespace.
        if table != Table::Workload {
            self.ways.push(format!("{by_scope} UNION {own}"));
        }
    }

    fn scopes(&mut self, table: Table, asked: &Asked, statement: &mut Statement) {
        let mut add = |scopes: String| {
            self.conditions.push(format!("+~c.scope_id IN ({scopes})"));
            self.ways.push(in_scopes(table, &scopes));
        };
        if let Some(context) = &asked.context {
            let context = statement.bind(context.as_str());
            add(format!("SELECT st.id FROM scope AS st WHERE st.account_id = $1 AND st.context = {context}"));
        }
        if let Some(cluster) = &asked.cluster {
            let name = statement.bind(cluster.as_str());
            add(scopes_of_place("cluster", &name));
        }
    }

    fn plain(&mut self, table: Table, asked: &Asked, statement: &mut Statement) -> Result<(), Problem> {
        if let Some(coverage) = &asked.coverage {
            self.conditions.push(format!("~sc.coverage = {}", statement.bind(coverage.as_str())));
        }
        if let Some(since) = asked.seen_since {
            self.conditions.push(format!("{SEEN_AT} >= {}", statement.bind(since)));
        }
        match table {
            Table::Container => {
                if let Some(state) = asked.state {
                    self.conditions.push(format!("~c.state = {}", statement.bind(words::state_number(state))));
                }
                if let Some(kind) = asked.container_kind()? {
                    self.conditions.push(format!("~c.kind = {}", statement.bind(words::kind_number(kind))));
                }
            }
            Table::Workload => {
                if let Some(kind) = &asked.kind {
                    self.conditions.push(format!("~c.kind = {}", statement.bind(kind.as_str())));
                }
            }
            Table::Pod => {}
        }
        Ok(())
    }
}

/// Whether a container's pod is such. Asked row by row: there may be as many such pods as rows.
fn pod_has(column: &str, condition: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM pod AS po WHERE po.account_id = $1 AND po.id = ~c.pod_id AND po.{column} {condition})"
    )
}

fn scopes_of_place(kind: &str, name: &str) -> String {
    format!(
        "SELECT st.id FROM place AS pt CROSS JOIN scope AS st WHERE pt.account_id = $1 AND pt.name = {name} \
         AND pt.kind = '{kind}' AND st.account_id = $1 AND st.place_id = pt.id"
    )
}

fn in_scopes(table: Table, scopes: &str) -> String {
    format!(
        "SELECT co.id FROM ({scopes}) AS scopes CROSS JOIN {} AS co WHERE co.account_id = $1 AND co.scope_id = scopes.id",
        table.name()
    )
}

/// A name of an image as people write it.
pub(super) fn reference(text: &str, parameter: &str) -> Result<ImageReference, Problem> {
    text.parse().map_err(|error| Problem::bad_request(format!("`{parameter}`: {error}")))
}

/// Ids of images that a digest is of, and of those with the same manifest or configuration as they.
pub(super) fn images_of_digest(digest: &str) -> String {
    let same = |column: &str| {
        format!(
            " UNION SELECT other.id FROM image_digest AS dg CROSS JOIN image AS one CROSS JOIN image AS other \
             WHERE dg.account_id = $1 AND dg.digest = {digest} AND one.account_id = $1 AND one.id = dg.image_id \
             AND other.account_id = $1 AND other.{column} = one.{column}"
        )
    };
    format!(
        "SELECT dg.image_id AS id FROM image_digest AS dg WHERE dg.account_id = $1 AND dg.digest = {digest}{}{}",
        same("manifest_digest"),
        same("config_digest")
    )
}

/// Ids of uses of images that were asked for by a name, or that are known under it.
pub(super) fn uses_of_reference(repository: &str, tag: Option<&str>) -> String {
    let of_tag = |table: &str| tag.map(|tag| format!(" AND {table}.tag = {tag}")).unwrap_or_default();
    format!(
        "SELECT iu.id FROM image_name AS im CROSS JOIN image_use AS iu WHERE im.account_id = $1 AND im.repository = {repository}{} \
         AND iu.account_id = $1 AND iu.name_id = im.id \
         UNION SELECT iu.id FROM image_tag AS it CROSS JOIN image_use AS iu WHERE it.account_id = $1 \
         AND it.repository = {repository}{} AND iu.account_id = $1 AND iu.image_id = it.image_id",
        of_tag("im"),
        of_tag("it")
    )
}
