//! The lists of `reads`: which rows each is of, and how a row is told in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sqlx::any::AnyRow;
use stocktake_core::model::Image;

use super::inventories::{digest, seconds, tag};
use crate::{
    access::Caller,
    api::statement::{Statement, integer, maybe_bytes, maybe_text, text},
    app::App,
    http::Problem,
    words,
};

/// A list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Namespaces,
    Nodes,
    Pods,
    Containers,
    Services,
    Tasks,
    EcsContainers,
}

/// What ecs-inventory itself writes where it does not know.
const UNKNOWN: &str = "UNKNOWN";

/// Uids of a cluster's nodes or namespaces: by the place's key and their name.
type Uids = BTreeMap<(i64, String), String>;

impl Shape {
    /// Under which the list stands. Those of nodes and pods are called so in their specification.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Namespaces | Self::Nodes | Self::Pods => "namespaces",
            Self::Containers | Self::EcsContainers => "containers",
            Self::Services => "services",
            Self::Tasks => "tasks",
        }
    }

    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Namespaces => "namespace",
            Self::Nodes => "node",
            Self::Pods => "pod",
            Self::Containers | Self::EcsContainers => "container",
            Self::Services => "service",
            Self::Tasks => "task",
        }
    }

    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Namespaces => "namespace",
            Self::Nodes => "node",
            Self::Pods | Self::Tasks => "pod",
            Self::Containers | Self::EcsContainers => "container",
            Self::Services => "workload",
        }
    }

    /// Which rows of the table.
    pub(super) fn condition(self) -> &'static str {
        match self {
            Self::Namespaces | Self::Nodes | Self::Pods | Self::Containers => "~sc.kind = 'kubernetes'",
            Self::Services => "~sc.kind = 'ecs' AND ~c.kind = 'ecs_service'",
            Self::Tasks | Self::EcsContainers => "~sc.kind = 'ecs'",
        }
    }

    pub(super) fn columns(self) -> &'static str {
        match self {
            Self::Namespaces | Self::Nodes => "~c.facts AS facts",
            Self::Pods => {
                "~c.uid AS uid, ~c.name AS name, ~c.node_name AS node, ls.labels AS labels, \
                 COALESCE(~c.namespace, CASE WHEN ~sc.scope_kind = 'namespace' THEN ~sc.name END) AS namespace"
            }
            Self::Containers | Self::EcsContainers => {
                "~c.runtime_id AS runtime_id, ~c.name AS name, po.uid AS pod_uid, im.name AS image, ig.identity AS identity, \
                 ig.facts AS facts"
            }
            Self::Services => "~c.uid AS uid, ~c.name AS name",
            Self::Tasks => "~c.uid AS uid, wo.uid AS service, ls.labels AS labels",
        }
    }

    pub(super) fn joins(self) -> &'static str {
        match self {
            Self::Namespaces | Self::Nodes | Self::Services => "",
            Self::Pods => " LEFT JOIN label_set AS ls ON ls.account_id = $1 AND ls.id = ~c.labels_id",
            Self::Tasks => {
                " LEFT JOIN label_set AS ls ON ls.account_id = $1 AND ls.id = ~c.labels_id \
                 LEFT JOIN workload AS wo ON wo.account_id = $1 AND wo.id = ~c.workload_id"
            }
            Self::Containers | Self::EcsContainers => {
                " CROSS JOIN image_use AS iu CROSS JOIN image AS ig CROSS JOIN image_name AS im \
                 LEFT JOIN pod AS po ON po.account_id = $1 AND po.id = ~c.pod_id"
            }
        }
    }

    /// Conditions of [`Self::joins`].
    pub(super) fn joined(self) -> &'static str {
        match self {
            Self::Containers | Self::EcsContainers => {
                " AND iu.account_id = $1 AND iu.id = ~c.image_use_id AND ig.account_id = $1 AND ig.id = iu.image_id \
                 AND im.account_id = $1 AND im.id = iu.name_id"
            }
            _ => "",
        }
    }

    /// The rows as they are told.
    pub(super) async fn told(self, app: &App, caller: &Caller, rows: &[AnyRow]) -> Result<Vec<Value>, Problem> {
        let account = &caller.account;
        let (mut nodes, mut namespaces) = (Uids::new(), Uids::new());
        if self == Self::Pods {
            nodes = uids(app, caller.account_id, "node", &names(rows, "node")?).await?;
            namespaces = uids(app, caller.account_id, "namespace", &names(rows, "namespace")?).await?;
        }
        let tell = |row: &AnyRow| match self {
            Self::Namespaces | Self::Nodes => with_facts(row),
            Self::Pods => pod(row, account, &nodes, &namespaces),
            Self::Containers => container(row, account, ["id", "pod_id"]),
            Self::EcsContainers => container(row, account, ["arn", "task_arn"]),
            Self::Services => Ok(json!({"arn": maybe_text(row, "uid")?.unwrap_or(text(row, "name")?),
                "cluster_arn": text(row, "place")?, "tags": {}, "account_name": account})),
            Self::Tasks => Ok(json!({"arn": unpacked(row, "uid")?, "cluster_arn": text(row, "place")?,
                "service_arn": maybe_text(row, "service")?.as_deref().unwrap_or(UNKNOWN), "task_definition_arn": UNKNOWN,
                "tags": labels(row)?, "account_name": account})),
        };
        Ok(rows.iter().map(tell).collect::<Result<_, sqlx::Error>>()?)
    }
}

/// A node or namespace, of which everything is kept as it was told.
fn with_facts(row: &AnyRow) -> Result<Value, sqlx::Error> {
    let mut facts = read(&text(row, "facts")?)?;
    let mut take = |name: &str, or: Value| facts.get_mut(name).map_or(or, Value::take);
    Ok(json!({"uid": take("uid", "".into()), "name": take("name", "".into()), "labels": take("labels", json!({})),
        "annotations": take("annotations", json!({})), "last_seen": seconds(integer(row, "seen_at")?)}))
}

/// Annotations of pods are in no row.
fn pod(row: &AnyRow, account: &str, nodes: &Uids, namespaces: &Uids) -> Result<Value, sqlx::Error> {
    let mut pod = json!({"id": unpacked(row, "uid")?, "name": text(row, "name")?, "account_name": account,
        "labels": labels(row)?, "annotations": {}, "last_seen": seconds(integer(row, "seen_at")?)});
    let place = integer(row, "place_id")?;
    for (field, column, uids) in [("node_id", "node", nodes), ("namespace_id", "namespace", namespaces)] {
        let name = maybe_text(row, column)?;
        if let Some(uid) = name.and_then(|name| uids.get(&(place, name))) {
            pod[field] = uid.as_str().into();
        }
    }
    Ok(pod)
}

fn container(row: &AnyRow, account: &str, [id, pod]: [&str; 2]) -> Result<Value, sqlx::Error> {
    let image: Image = serde_json::from_str(&text(row, "facts")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let mut container = json!({id: unpacked(row, "runtime_id")?, pod: unpacked(row, "pod_uid")?, "account_name": account,
        "context": text(row, "context")?, "image_tag": tag(text(row, "image")?, &image),
        "image_digest": digest(text(row, "identity")?, &image)});
    if id == "id" {
        container["name"] = text(row, "name")?.into();
    }
    Ok(container)
}

fn unpacked(row: &AnyRow, column: &str) -> Result<String, sqlx::Error> {
    Ok(maybe_bytes(row, column)?.map(|bytes| words::unpack(&bytes)).unwrap_or_default())
}

fn labels(row: &AnyRow) -> Result<Value, sqlx::Error> {
    maybe_text(row, "labels")?.map_or(Ok(json!({})), |labels| read(&labels))
}

fn read(json: &str) -> Result<Value, sqlx::Error> {
    serde_json::from_str(json).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Names in a column, by the place's key.
fn names(rows: &[AnyRow], column: &str) -> Result<BTreeSet<(i64, String)>, sqlx::Error> {
    let mut names = BTreeSet::new();
    for row in rows {
        if let Some(name) = maybe_text(row, column)? {
            names.insert((integer(row, "place_id")?, name));
        }
    }
    Ok(names)
}

/// Uids of nodes or namespaces. One that is gone is told where no other has the name.
async fn uids(app: &App, account: i64, table: &str, wanted: &BTreeSet<(i64, String)>) -> Result<Uids, Problem> {
    if wanted.is_empty() {
        return Ok(Uids::new());
    }
    let mut statement = Statement::of_account(account);
    let places: BTreeSet<i64> = wanted.iter().map(|(place, _)| *place).collect();
    let places = statement.ids(app.database.dialect(), places);
    let names: BTreeSet<&str> = wanted.iter().map(|(_, name)| name.as_str()).collect();
    let names: Vec<String> = names.into_iter().map(|name| statement.bind(name)).collect();
    statement.text = format!(
        "SELECT s.place_id AS place_id, n.name AS name, n.facts AS facts FROM scope AS s CROSS JOIN {table} AS n \
         WHERE s.account_id = $1 AND s.place_id {places} AND n.account_id = $1 AND n.scope_id = s.id AND n.name IN ({}) \
         ORDER BY CASE WHEN n.gone_at IS NULL THEN 1 ELSE 0 END, n.id",
        names.join(",")
    );
    let mut connection = app.database.read().await?;
    let mut uids = Uids::new();
    for row in &statement.fetch(&mut connection).await? {
        if let Some(uid) = read(&text(row, "facts")?)?["uid"].as_str() {
            uids.insert((integer(row, "place_id")?, text(row, "name")?), uid.to_owned());
        }
    }
    Ok(uids)
}
