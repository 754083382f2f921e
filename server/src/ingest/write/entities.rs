//! Rows of what is in a scope: those that came, those that changed, and those that are gone.

use std::{borrow::Cow, collections::HashMap};

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};
use stocktake_core::model::{Container, Pod, Workload};

use super::{
    Writer,
    events::{Entity, What},
    present::{confirm, find, leave, remove},
    uses::image_uses,
};
use crate::{
    database::{Column, DatabaseError, Rows, Value},
    ingest::{
        delta::{Delta, ImageUse},
        elements::{Changes, key},
        plan::Content,
    },
    words,
};

use Column::{Bytes, Integer, Text};

/// A table, and the columns that are written; the first three are `account_id`, `id` and `scope_id`.
struct Table {
    name: &'static str,
    columns: &'static str,
    types: &'static [Column],
}

const POD: Table = Table {
    name: "pod",
    columns: "account_id, id, scope_id, key, uid, name, namespace, node_name, phase, workload_id, labels_id, created_at, first_seen_at",
    types: &[Integer, Integer, Integer, Integer, Bytes, Text, Text, Text, Text, Integer, Integer, Integer, Integer],
};

const WORKLOAD: Table = Table {
    name: "workload",
    columns: "account_id, id, scope_id, key, kind, name, namespace, api_version, uid, first_seen_at",
    types: &[Integer, Integer, Integer, Integer, Text, Text, Text, Text, Text, Integer],
};

const CONTAINER: Table = Table {
    name: "container",
    columns: "account_id, id, scope_id, key, image_use_id, pod_id, workload_id, labels_id, runtime_id, name, kind, state, \
              state_reason, node_name, exit_code, restart_count, created_at, started_at, finished_at, first_seen_at",
    types: &[
        Integer, Integer, Integer, Integer, Integer, Integer, Integer, Integer, Bytes, Text, Integer, Integer, Text,
        Text, Integer, Integer, Integer, Integer, Integer, Integer,
    ],
};

const NODE: Table = Table { name: "node", columns: FACTS, types: FACT_TYPES };
const NAMESPACE: Table = Table { name: "namespace", columns: FACTS, types: FACT_TYPES };
const FACTS: &str = "account_id, id, scope_id, key, name, facts, first_seen_at";
const FACT_TYPES: &[Column] = &[Integer, Integer, Integer, Integer, Text, Text, Integer];

impl Table {
    /// Rows that came and rows that changed; the time at which one was seen first stays.
    async fn write(&self, writer: &mut Writer<'_>, rows: Rows) -> Result<(), DatabaseError> {
        let kept = ["account_id", "id", "first_seen_at"];
        let set: Vec<String> = self
            .columns
            .split(',')
            .map(str::trim)
            .filter(|column| !kept.contains(column))
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        let before = format!("INSERT INTO {} ({}) SELECT * FROM", self.name, self.columns);
        let after = format!("AS v WHERE true ON CONFLICT (account_id, id) DO UPDATE SET {}", set.join(", "));
        rows.execute(writer.connection, writer.dialect, &[], [&before, &after]).await?;
        Ok(())
    }
}

/// A scope that was looked at and is not as it was.
pub(super) struct Looked<'a> {
    pub(super) content: &'a Content,
    pub(super) scope: i64,
    pub(super) name: Cow<'a, str>,
    /// When it was seen now, and when it was seen before.
    pub(super) observed_at: i64,
    pub(super) former: i64,
}

/// What changed of one sort.
pub(super) type Of<T> = fn(&Delta) -> &Changes<T>;

/// Identifiers of rows by scope and key.
pub(super) type Found = HashMap<(i64, i64), i64>;

/// Writes what is new in scopes, table by table: a statement for many rows costs little more than one for a single row.
pub(super) async fn write(writer: &mut Writer<'_>, looked: &[Looked<'_>]) -> Result<(), DatabaseError> {
    let uses = image_uses(writer, looked).await?;
    facts(writer, &NODE, looked, |delta| &delta.nodes, |node| &node.name).await?;
    facts(writer, &NAMESPACE, looked, |delta| &delta.namespaces, |namespace| &namespace.name).await?;
    workloads(writer, looked).await?;
    pods(writer, looked).await?;
    containers(writer, looked, &uses).await?;
    for one in looked {
        let mut left = HashMap::new();
        if let Some(unconfirmed) = &one.content.unconfirmed {
            left = leave(writer, unconfirmed, &uses, [one.scope, one.former]).await?;
        }
        if one.content.follows_part {
            confirm(writer, one.scope, &left).await?;
        }
    }
    Ok(())
}

/// What came and what changed in all of the scopes.
fn present<'a, T: 'a>(looked: &'a [Looked<'_>], of: Of<T>) -> impl Iterator<Item = (&'a Looked<'a>, i64, &'a T)> {
    looked.iter().flat_map(move |one| of(&one.content.delta).present().map(move |(key, entity)| (one, key, entity)))
}

/// The rows of what changed.
async fn changed<T>(
    writer: &mut Writer<'_>,
    table: &Table,
    looked: &[Looked<'_>],
    of: Of<T>,
) -> Result<Found, DatabaseError> {
    let keys = looked.iter().flat_map(|one| of(&one.content.delta).changed.iter().map(|(key, ..)| (one.scope, *key)));
    find(writer, table.name, keys.collect()).await
}

/// Nodes and namespaces, of which all is kept as it was told.
async fn facts<T: serde::Serialize>(
    writer: &mut Writer<'_>,
    table: &Table,
    looked: &[Looked<'_>],
    of: Of<T>,
    name: impl Fn(&T) -> &str,
) -> Result<(), DatabaseError> {
    remove(writer, table.name, looked, of).await?;
    let ids = changed(writer, table, looked, of).await?;
    let mut rows = Rows::new(table.types);
    for (one, key, entity) in present(looked, of) {
        let id = ids.get(&(one.scope, key)).copied().unwrap_or_else(|| writer.identifier());
        rows.push([
            writer.account.into(),
            id.into(),
            one.scope.into(),
            key.into(),
            name_value(name(entity)),
            serde_json::to_string(entity).unwrap_or_default().into(),
            one.observed_at.into(),
        ]);
    }
    table.write(writer, rows).await
}

async fn workloads(writer: &mut Writer<'_>, looked: &[Looked<'_>]) -> Result<(), DatabaseError> {
    let of: Of<Workload> = |delta| &delta.workloads;
    remove(writer, WORKLOAD.name, looked, of).await?;
    let ids = changed(writer, &WORKLOAD, looked, of).await?;
    let mut rows = Rows::new(WORKLOAD.types);
    for (one, key, workload) in present(looked, of) {
        let id = ids.get(&(one.scope, key)).copied().unwrap_or_else(|| writer.identifier());
        rows.push([
            writer.account.into(),
            id.into(),
            one.scope.into(),
            key.into(),
            workload.kind.as_str().into(),
            name_value(&workload.name),
            workload.namespace.as_deref().into(),
            workload.api_version.as_deref().into(),
            workload.uid.as_deref().into(),
            one.observed_at.into(),
        ]);
    }
    WORKLOAD.write(writer, rows).await
}

async fn pods(writer: &mut Writer<'_>, looked: &[Looked<'_>]) -> Result<(), DatabaseError> {
    let of: Of<Pod> = |delta| &delta.pods;
    remove(writer, POD.name, looked, of).await?;
    let ids = changed(writer, &POD, looked, of).await?;
    let owners = present(looked, of).filter_map(|(one, _, pod)| Some((one.scope, key(&[pod.workload.as_deref()?]))));
    let workloads = find(writer, WORKLOAD.name, owners.collect()).await?;
    let mut rows = Rows::new(POD.types);
    for (one, pod_key, pod) in present(looked, of) {
        let id = ids.get(&(one.scope, pod_key)).copied().unwrap_or_else(|| writer.identifier());
        let workload = pod.workload.as_deref().and_then(|id| workloads.get(&(one.scope, key(&[id])))).copied();
        rows.push([
            writer.account.into(),
            id.into(),
            one.scope.into(),
            pod_key.into(),
            words::pack(&pod.uid).into(),
            name_value(&pod.name),
            Some(words::indexed(&pod.namespace)).filter(|namespace| *namespace != one.name).as_deref().into(),
            pod.node_name.as_deref().map(words::indexed).as_deref().into(),
            pod.phase.as_deref().into(),
            workload.into(),
            writer.ids.labels(&pod.labels).into(),
            millis(pod.created_at).into(),
            one.observed_at.into(),
        ]);
    }
    POD.write(writer, rows).await
}

async fn containers(
    writer: &mut Writer<'_>,
    looked: &[Looked<'_>],
    uses: &HashMap<(i64, &ImageUse), i64>,
) -> Result<(), DatabaseError> {
    let of: Of<Container> = |delta| &delta.containers;
    for (id, one) in remove(writer, CONTAINER.name, looked, of).await? {
        writer.events.push(one.observed_at, What::Disappeared, Entity::Container, [id, one.scope], None);
    }
    let ids = changed(writer, &CONTAINER, looked, of).await?;
    let all = || present(looked, of);
    let pods = all().filter_map(|(one, _, container)| Some((one.scope, key(&[container.pod_uid.as_deref()?]))));
    let pods = find(writer, POD.name, pods.collect()).await?;
    let owners = all().filter_map(|(one, _, container)| Some((one.scope, key(&[container.workload.as_deref()?]))));
    let workloads = find(writer, WORKLOAD.name, owners.collect()).await?;
    let mut rows = Rows::new(CONTAINER.types);
    for (one, container_key, container) in all() {
        let known = ids.get(&(one.scope, container_key)).copied();
        let id = known.unwrap_or_else(|| writer.identifier());
        if known.is_none() {
            writer.events.push(one.observed_at, What::Appeared, Entity::Container, [id, one.scope], None);
        }
        let pod = container.pod_uid.as_deref().and_then(|uid| pods.get(&(one.scope, key(&[uid])))).copied();
        let own = container.workload.as_deref().and_then(|id| workloads.get(&(one.scope, key(&[id])))).copied();
        let usage = one.content.delta.uses.get(&container_key);
        let usage = usage.and_then(|usage| uses.get(&(one.scope, usage))).copied();
        let runtime_id = container.id.as_deref().map(words::pack);
        if let Some(id) = &runtime_id {
            writer.named.push(id);
        }
        rows.push([
            writer.account.into(),
            id.into(),
            one.scope.into(),
            container_key.into(),
            usage.into(),
            pod.into(),
            own.into(),
            writer.ids.labels(&container.labels).into(),
            runtime_id.into(),
            name_value(&container.name),
            words::kind_number(container.kind).into(),
            words::state_number(container.state).into(),
            container.state_reason.as_deref().into(),
            container.node_name.as_deref().filter(|_| pod.is_none()).map(words::indexed).as_deref().into(),
            container.exit_code.map(i64::from).into(),
            container.restart_count.map(i64::from).into(),
            millis(container.created_at).into(),
            millis(container.started_at).into(),
            millis(container.finished_at).into(),
            one.observed_at.into(),
        ]);
    }
    CONTAINER.write(writer, rows).await?;
    for one in looked {
        let delta = &one.content.delta;
        for (key, old, new) in &delta.containers.changed {
            let former = (delta.former_uses.get(key), delta.uses.get(key));
            if let (Some(id), Some(detail)) = (ids.get(&(one.scope, *key)), difference(old, new, former)) {
                let ids = [*id, one.scope];
                writer.events.push(one.observed_at, What::Changed, Entity::Container, ids, Some(&detail));
            }
        }
    }
    Ok(())
}

/// What is told of a change: what it does, which instance it is, what it is made from.
fn difference(
    old: &Container,
    new: &Container,
    (former, usage): (Option<&ImageUse>, Option<&ImageUse>),
) -> Option<Json> {
    let mut detail = Map::new();
    let mut tell = |word: &str, from: Json, to: Json| {
        if from != to {
            detail.insert(word.to_owned(), json!([from, to]));
        }
    };
    tell("state", json!(old.state), json!(new.state));
    tell("state_reason", json!(old.state_reason), json!(new.state_reason));
    tell("restart_count", json!(old.restart_count), json!(new.restart_count));
    tell("id", json!(old.id), json!(new.id));
    tell("image", json!(old.image), json!(new.image));
    if former.map(|usage| usage.image) != usage.map(|usage| usage.image) {
        let hash = |usage: Option<&ImageUse>| usage.map(|usage| words::hex(&usage.image));
        detail.insert("image_facts".to_owned(), json!([hash(former), hash(usage)]));
    }
    (!detail.is_empty()).then_some(Json::Object(detail))
}

fn name_value(name: &str) -> Value {
    words::indexed(name).as_ref().into()
}

fn millis(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millisecond)
}
