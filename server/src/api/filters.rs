//! Filters, as SQL.
//!
//! Each filter is a condition on a row, and most are also a *way*: a statement that finds the rows' ids through an index. The
//! way of fewest rows is taken if there are few; else rows are looked at in their order, of which a page's are then soon found.
//! Conditions are asked row by row, and no list is made that grows with the inventory but for one of scopes. They are on
//! `+column`, so that SQLite does not go by them, and [`of_each`] row, which PostgreSQL would else join with all that could match.

use sqlx::AnyConnection;
use stocktake_core::model::{ContainerKind, ContainerState};

use super::{
    asked::Asked,
    fragments::{has_label, in_scopes, of_each, of_pods, places, pod_has, scopes_of_place},
    images_named::{images_of_digest, reference, uses_of_reference},
    statement::{Statement, integer},
    visible::{SEEN_AT, Shown, Visible, named},
};
use crate::{database::Dialect, http::Problem, words};

/// So many rows are found by a way, and sorted, sooner than others are passed over.
const FEW: i64 = 20_000;

/// The same where several filters are to hold: rows of which all do may be so rare that nearly all others would be passed over.
const FEW_OF_SEVERAL: i64 = 60_000;

/// A way that finds more than this is none after all.
const MOST: i64 = 60_000;

/// How many rows a scope, a workload and a set of labels are taken to have. A guess is enough; more than there are where rows are the
/// dearer to find. Uses of images say how many they have, and have as many on the average.
const OF_SCOPE: i64 = 250;
const OF_WORKLOAD: i64 = 30;
const OF_USE: i64 = 4;
const OF_LABELS: i64 = 20;

/// What is asked of rows of one table.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// All must hold. In the names of `visible`.
    pub(super) conditions: Vec<String>,
    ways: Vec<Way>,
    /// Conditions on the scope `ssc` alone, which together are a way.
    scopes: Vec<String>,
    /// The index in whose order rows are looked at if there is no way; none for the table itself.
    pub(super) walk: Option<&'static str>,
}

/// How rows are found through an index.
#[derive(Debug)]
struct Way {
    /// Finds what rows belong to: scopes, workloads.
    heads: String,
    /// How many rows each has, more or less; none where heads are uses of images, which say so themselves.
    each: Option<i64>,
    /// Finds the rows' ids, some of them perhaps twice.
    rows: String,
}

impl Way {
    /// Counts heads, or the rows that they say they have; something above `most` rows if there are more.
    fn count(&self, most: i64) -> String {
        let heads = &self.heads;
        match self.each {
            Some(each) => format!(
                "SELECT COUNT(*) AS count FROM (SELECT 1 AS one FROM ({heads}) AS heads LIMIT {}) AS counted",
                most / each + 1
            ),
            // What is gone says 0. That there are too many is to be known sooner than all have been looked at.
            None => format!(
                "SELECT CASE WHEN COUNT(*) > {enough} THEN {most} + 1 ELSE \
                 CAST(COALESCE(SUM(CASE WHEN iu.containers > 1 THEN iu.containers ELSE 1 END), 0) AS BIGINT) END AS count \
                 FROM (SELECT heads.id AS id FROM ({heads}) AS heads LIMIT {enough} + 1) AS counted CROSS JOIN image_use AS iu WHERE iu.account_id = $1 AND iu.id = counted.id",
                enough = most / OF_USE,
            ),
        }
    }
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
    pub(super) fn of(
        table: Table,
        asked: &Asked,
        visible: &Visible,
        dialect: Dialect,
        statement: &mut Statement,
    ) -> Result<Self, Problem> {
        let mut filters = Self::default();
        // Indexes of owners, labels and nodes are of what is there.
        let is_there = asked.at.is_none() && asked.shown().is_there();
        filters.images(asked, statement, is_there)?;
        filters.owner(table, asked, statement, is_there);
        filters.labels(table, asked, dialect, statement, is_there);
        filters.nodes(table, asked, statement, is_there);
        filters.namespace(table, asked, statement);
        filters.scopes(asked, statement);
        filters.seen(asked, visible, statement);
        filters.way_of_scopes(table, asked, dialect);
        filters.plain(table, asked, statement)?;
        filters.walk = walk(table, asked, is_there)?;
        Ok(filters)
    }

    /// What the way of fewest rows finds, if it finds few; in no order, and some of it perhaps twice.
    pub(super) async fn few(
        &self,
        statement: &Statement,
        connection: &mut AnyConnection,
    ) -> Result<Option<Vec<i64>>, sqlx::Error> {
        let mut best: Option<(i64, &Way)> = None;
        let few = if self.ways.len() > 1 { FEW_OF_SEVERAL } else { FEW };
        for way in &self.ways {
            let most = best.map_or(few, |(rows, _)| rows);
            let count = way.count(most);
            let found = statement.with_text(count).fetch(connection).await?;
            let count = found.first().map_or(Ok(0), |row| integer(row, "count"))? * way.each.unwrap_or(1);
            if count <= most {
                best = Some((count, way));
            }
        }
        let Some((_, way)) = best else { return Ok(None) };
        // What would be found twice need not be sorted out before the finding ends.
        let rows = way.rows.replace(" UNION SELECT ", " UNION ALL SELECT ");
        let text = format!(
            "SELECT string_agg(CAST(found.id AS TEXT), ',') AS ids FROM (SELECT way.id AS id FROM ({rows}) AS way LIMIT {MOST}) AS found"
        );
        let ids = statement.with_text(text).fetch_ids(connection).await?;
        Ok(Some(ids).filter(|ids| ids.len() < usize::try_from(MOST).unwrap_or(usize::MAX)))
    }

    fn add(&mut self, heads: &str, each: i64, rows: String) {
        self.ways.push(Way { heads: heads.to_owned(), each: Some(each), rows });
    }

    fn images(&mut self, asked: &Asked, statement: &mut Statement, is_there: bool) -> Result<(), Problem> {
        if let Some(digest) = &asked.digest {
            let images = images_of_digest(&statement.bind(digest.as_str()));
            let uses = format!(
                "SELECT iu.id FROM ({images}) AS found CROSS JOIN image_use AS iu WHERE iu.account_id = $1 AND iu.image_id = found.id"
            );
            self.image_uses(&uses, &format!("+iu.image_id IN ({images})"), is_there);
        }
        if let Some(repository) = &asked.repository {
            let reference = reference(repository, "repository")?;
            let tag = asked.tag.as_deref().or(reference.tag());
            let repository = statement.bind(reference.canonical_repository());
            let tag = tag.map(|tag| statement.bind(tag));
            let of_tag = |table: &str| tag.as_ref().map(|tag| format!(" AND {table}.tag = {tag}")).unwrap_or_default();
            let condition = format!(
                "(+iu.name_id IN (SELECT im.id FROM image_name AS im WHERE im.account_id = $1 AND im.repository = {repository}{}) \
                 OR +iu.image_id IN (SELECT it.image_id FROM image_tag AS it WHERE it.account_id = $1 AND it.repository = {repository}{}))",
                of_tag("im"),
                of_tag("it")
            );
            self.image_uses(&uses_of_reference(&repository, tag.as_deref()), &condition, is_there);
        } else if let Some(tag) = &asked.tag {
            let tag = statement.bind(tag.as_str());
            let uses = format!(
                "SELECT iu.id FROM image_name AS im CROSS JOIN image_use AS iu WHERE im.account_id = $1 \
                 AND im.tag = {tag} AND iu.account_id = $1 AND iu.name_id = im.id"
            );
            let condition = format!(
                "EXISTS (SELECT 1 FROM image_name AS im WHERE im.account_id = $1 AND im.id = iu.name_id AND im.tag = {tag} LIMIT 1 OFFSET 0)"
            );
            self.image_uses(&uses, &condition, is_there);
        }
        Ok(())
    }

    /// Containers of some uses of images, which a condition on `iu` tells, too.
    fn image_uses(&mut self, uses: &str, condition: &str, is_there: bool) {
        self.conditions.push(of_each(&format!(
            "EXISTS (SELECT 1 FROM image_use AS iu WHERE iu.account_id = $1 AND iu.id = ~c.image_use_id AND {} LIMIT 1 OFFSET 0)",
            of_each(condition)
        )));
        let there = if is_there { " AND co.gone_at IS NULL" } else { "" };
        let rows = format!(
            "SELECT co.id FROM ({uses}) AS used CROSS JOIN container AS co WHERE co.account_id = $1 AND co.image_use_id = used.id{there}"
        );
        self.ways.push(Way { heads: uses.to_owned(), each: None, rows });
    }

    fn owner(&mut self, table: Table, asked: &Asked, statement: &mut Statement, is_there: bool) {
        let Some(owner) = &asked.owner else { return };
        let (kind, name) = owner.split_once('/').map_or((None, owner.as_str()), |(kind, name)| (Some(kind), name));
        let mut of = format!("wo.account_id = $1 AND wo.name = {}", statement.bind(name));
        if let Some(kind) = kind {
            of += &format!(" AND wo.kind = {}", statement.bind(kind));
        }
        let workloads = format!("SELECT wo.id FROM workload AS wo WHERE {of}");
        if table == Table::Workload {
            self.conditions.push(of.replace("wo.", "~c."));
            return self.add(&workloads, 1, workloads.clone());
        }
        let owner = if table == Table::Container { OWNER } else { "+~c.workload_id" };
        self.conditions.push(of_each(&format!("{owner} IN ({workloads})")));
        if is_there {
            let of_them = |table: &str| {
                format!(
                    "SELECT co.id FROM ({workloads}) AS owners CROSS JOIN {table} AS co WHERE co.account_id = $1 \
                     AND co.workload_id = owners.id AND co.gone_at IS NULL"
                )
            };
            let rows = match table {
                Table::Container => format!("{} UNION {}", of_pods(&of_them("pod")), of_them("container")),
                _ => of_them(table.name()),
            };
            self.add(&workloads, OF_WORKLOAD, rows);
        }
    }

    fn labels(&mut self, table: Table, asked: &Asked, dialect: Dialect, statement: &mut Statement, is_there: bool) {
        let mut sets: Vec<String> = Vec::new();
        for label in &asked.labels {
            let (key, value) = label.split_once('=').map_or((label.as_str(), None), |(key, value)| (key, Some(value)));
            self.conditions.push(has_label(table, key, value, dialect, statement));
            let mut of = format!("~la.account_id = $1 AND ~la.key = {}", statement.bind(words::start(key)));
            if let Some(value) = value {
                of += &format!(" AND ~la.value = {}", statement.bind(words::start(value)));
            }
            sets.push(of);
        }
        let Some((first, others)) = sets.split_first().filter(|_| is_there) else { return };
        let of = |sets: &str, table: &str, not_null: &str| {
            format!(
                "SELECT co.id FROM ({sets}) AS sets CROSS JOIN {table} AS co \
                 WHERE co.account_id = $1 AND co.labels_id = sets.set_id AND co.gone_at IS NULL{not_null}"
            )
        };
        let one = format!("SELECT la.set_id FROM label AS la WHERE {}", named(first, ""));
        let others = others.iter().map(|other| {
            format!(" AND EXISTS (SELECT 1 FROM label AS ola WHERE {} AND ola.set_id = la.set_id)", named(other, "o"))
        });
        let all = others.fold(one.clone(), |all, other| all + &other);
        let rows = if table == Table::Container {
            // A pod that lacks one may have a container that has it.
            format!(
                "{} UNION {}",
                of_pods(&of(&all, "pod", "")),
                of(&one, "container", " AND co.labels_id IS NOT NULL")
            )
        } else {
            of(&all, table.name(), "")
        };
        self.add(&all, OF_LABELS, rows);
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
            Table::Pod => (format!("~c.node_name = {name}"), Some(pods.clone())),
            Table::Container => (
                format!("~c.node_name = {name} OR {}", pod_has(&format!("po.node_name = {name}"))),
                Some(format!(
                    "{} UNION SELECT cn.id FROM container AS cn WHERE cn.account_id = $1 AND cn.node_name = {name}",
                    of_pods(&pods)
                )),
            ),
        };
        self.conditions.push(of_each(&format!("+~c.scope_id IN ({scopes}) OR {condition}")));
        match way {
            Some(way) if is_there => self.add(&pods, 2, format!("{by_scope} UNION {way}")),
            Some(_) => {}
            None => self.add(scopes, OF_SCOPE, by_scope),
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
        let of_pod = pod_has(&format!("po.namespace = {name}"));
        let (condition, own) = match table {
            Table::Pod | Table::Workload => (
                format!("~c.namespace = {name} OR ~c.namespace IS NULL AND +~c.scope_id IN ({scopes})"),
                format!("SELECT po.id FROM {} AS po WHERE po.account_id = $1 AND po.namespace = {name}", table.name()),
            ),
            Table::Container => (
                format!(
                    "{of_pod} OR +~c.scope_id IN ({scopes}) AND NOT EXISTS (SELECT 1 FROM pod AS po \
                     WHERE po.account_id = $1 AND po.id = ~c.pod_id AND po.namespace IS NOT NULL LIMIT 1 OFFSET 0)"
                ),
                of_pods(&pods),
            ),
        };
        self.conditions.push(of_each(&condition));
        // Workloads have no index by namespace.
        if table != Table::Workload {
            self.add(&scopes, OF_SCOPE, format!("{by_scope} UNION {own}"));
        }
    }

    fn scopes(&mut self, asked: &Asked, statement: &mut Statement) {
        let mut conditions = Vec::new();
        if let Some(context) = &asked.context {
            conditions.push(format!("ssc.context = {}", statement.bind(context.as_str())));
        }
        if let Some(cluster) = &asked.cluster {
            conditions.push(format!("ssc.place_id IN ({})", places("cluster", &statement.bind(cluster.as_str()))));
        }
        for condition in &conditions {
            self.conditions.push(of_each(&format!(
                "+~c.scope_id IN (SELECT ssc.id FROM scope AS ssc WHERE ssc.account_id = $1 AND {condition})"
            )));
        }
        self.scopes.append(&mut conditions);
    }

    /// What was seen in which way, or when, as far as it follows from scopes.
    fn seen(&mut self, asked: &Asked, visible: &Visible, statement: &mut Statement) {
        let sources = |condition: &str| {
            format!(
                "SELECT sso.id FROM source AS sso CROSS JOIN agent AS sag WHERE sso.account_id = $1 AND sag.account_id = $1 \
                 AND sag.id = sso.agent_id AND {}",
                named(condition, "s")
            )
        };
        if let Some(coverage) = &asked.coverage {
            let condition = format!("~sc.coverage = {}", statement.bind(coverage.as_str()));
            self.scopes.push(named(&condition, "s"));
            self.conditions.push(condition);
        }
        if let Some(since) = asked.seen_since {
            let since = statement.bind(since);
            self.conditions.push(format!("{SEEN_AT} >= {since}"));
            // No row was seen later than its scope.
            let sources = sources(&format!("~so.observed_at >= {since}"));
            self.scopes.push(format!(
                "(ssc.follows <> 1 AND ssc.seen_at >= {since} OR ssc.follows = 1 AND +ssc.source_id IN ({sources}))"
            ));
        }
        if asked.at.is_some() {
            return;
        }
        let silent = sources(&visible.silent());
        match asked.shown() {
            Shown::Present => {
                self.scopes
                    .push(format!("ssc.gone_at IS NULL AND ssc.follows <> 0 AND +ssc.source_id NOT IN ({silent})"));
            }
            Shown::Stale => {
                self.scopes.push(format!("ssc.gone_at IS NULL AND (ssc.follows = 0 OR +ssc.source_id IN ({silent}))"));
            }
            Shown::Gone => self.scopes.push("ssc.gone_at IS NOT NULL".to_owned()),
            Shown::Current | Shown::All => {}
        }
    }

    /// What is in the scopes for which all that was said of scopes holds, and rows that stand out from theirs.
    fn way_of_scopes(&mut self, table: Table, asked: &Asked, dialect: Dialect) {
        if self.scopes.is_empty() {
            return;
        }
        let scopes =
            format!("SELECT ssc.id FROM scope AS ssc WHERE ssc.account_id = $1 AND {}", self.scopes.join(" AND "));
        let rows = in_scopes(table, &scopes);
        // Few rows are so, and SQLite would not know.
        let by = |what: &str| match table {
            Table::Workload if what == "left" => format!("{} AS co", table.name()),
            _ => format!("{0} AS co{1}", table.name(), dialect.indexed_by(&format!("{}_{what}", table.name()))),
        };
        let others = match asked.shown() {
            Shown::Stale if asked.at.is_none() => {
                format!(
                    "FROM {} WHERE co.account_id = $1 AND co.last_seen_at IS NOT NULL AND co.gone_at IS NULL",
                    by("left")
                )
            }
            Shown::Gone if asked.at.is_none() => {
                format!("FROM {} WHERE co.account_id = $1 AND co.gone_at IS NOT NULL", by("gone"))
            }
            _ => return self.add(&scopes, OF_SCOPE, rows),
        };
        self.add(&format!("SELECT co.id {others}"), 1, format!("{rows} UNION SELECT co.id {others}"));
    }

    fn plain(&mut self, table: Table, asked: &Asked, statement: &mut Statement) -> Result<(), Problem> {
        match table {
            Table::Container => {
                // Said again in the words of an index, which leaves out what most are.
                if let Some(state) = asked.state {
                    let other = if state == ContainerState::Running { "" } else { OTHER_STATES };
                    self.conditions.push(format!("~c.state = {}{other}", statement.bind(words::state_number(state))));
                }
                if let Some(kind) = asked.container_kind()? {
                    let other = if kind == ContainerKind::Regular { "" } else { OTHER_KINDS };
                    self.conditions.push(format!("~c.kind = {}{other}", statement.bind(words::kind_number(kind))));
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

/// What the schema's `container_state` and `container_kind` leave out: running, and regular ones.
const OTHER_STATES: &str = " AND ~c.state <> 2";
const OTHER_KINDS: &str = " AND ~c.kind <> 0";

/// The workload that a container belongs to: its own, or else its pod's as that is now.
const OWNER: &str =
    "COALESCE(~c.workload_id, (SELECT po.workload_id FROM pod AS po WHERE po.account_id = $1 AND po.id = ~c.pod_id))";

/// The index in which what is asked for stands in the order that is asked for.
fn walk(table: Table, asked: &Asked, is_there: bool) -> Result<Option<&'static str>, Problem> {
    if !is_there {
        return Ok(None);
    }
    Ok(match (table, asked.sort.by_name) {
        (Table::Container, true) => Some("container_name"),
        (Table::Container, false) if asked.state.is_some_and(|state| state != ContainerState::Running) => {
            Some("container_state")
        }
        (Table::Container, false) if asked.container_kind()?.is_some_and(|kind| kind != ContainerKind::Regular) => {
            Some("container_kind")
        }
        (Table::Container, false) => Some("container_there"),
        (Table::Pod, true) => Some("pod_name"),
        (Table::Pod, false) => Some("pod_there"),
        (Table::Workload, _) => None,
    })
}
