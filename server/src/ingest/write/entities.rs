//! Rows of what is in a scope: those that came, those that changed, and those that are gone.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};
use sqlx::Row as _;
use stocktake_core::model::{Container, Pod, Workload};

use super::{
    Writer,
    events::{Entity, What},
    scope::{ENTITIES, PRESENT},
};
use crate::{
    database::{Column, DatabaseError, Rows, Value},
    ingest::{
        delta::{ImageUse, Unconfirmed, Used},
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

/// Writes what is new in a scope. `observed_at` is when it was seen now, `former` when it was seen before.
pub(super) async fn write(
    writer: &mut Writer<'_>,
    content: &Content,
    scope: i64,
    [observed_at, former]: [i64; 2],
) -> Result<(), DatabaseError> {
    let delta = &content.delta;
    let uses = image_uses(writer, content, scope, [observed_at, former]).await?;
    facts(writer, &NODE, &delta.nodes, |node| &node.name, scope, [observed_at, former]).await?;
    facts(writer, &NAMESPACE, &delta.namespaces, |namespace| &namespace.name, scope, [observed_at, former]).await?;
    workloads(writer, &delta.workloads, scope, [observed_at, former]).await?;
    pods(writer, &delta.pods, scope, [observed_at, former]).await?;
    containers(writer, content, &uses, scope, [observed_at, former]).await?;
    let mut left = HashMap::new();
    if let Some(unconfirmed) = &content.unconfirmed {
        left = leave(writer, unconfirmed, &uses, scope, former).await?;
    }
    if content.follows_part {
        confirm(writer, scope, &left).await?;
    }
    Ok(())
}

/// Whatever was left by an earlier look that did not see all was seen now, but for what is left again.
async fn confirm(
    writer: &mut Writer<'_>,
    scope: i64,
    left: &HashMap<&'static str, HashSet<i64>>,
) -> Result<(), DatabaseError> {
    for table in ENTITIES {
        let text = format!(
            "SELECT id FROM {table} WHERE account_id = $1 AND scope_id = $2 AND last_seen_at IS NOT NULL AND {PRESENT}"
        );
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).bind(writer.account).bind(scope);
        let marked: Vec<i64> = query.fetch_all(&mut *writer.connection).await?;
        let mut rows = Rows::new(&[Integer]);
        for id in marked.into_iter().filter(|id| !left.get(table).is_some_and(|left| left.contains(id))) {
            rows.push([id.into()]);
        }
        let before =
            format!("UPDATE {table} SET last_seen_at = NULL WHERE account_id = $1 AND id IN (SELECT column1 FROM");
        rows.execute(writer.connection, writer.dialect, &[writer.account.into()], [&before, "AS v)"]).await?;
    }
    Ok(())
}

/// Rows that were not seen in a look that did not see all keep the time at which they were. Which ones, by table.
async fn leave(
    writer: &mut Writer<'_>,
    unconfirmed: &Unconfirmed,
    uses: &HashMap<ImageUse, i64>,
    scope: i64,
    former: i64,
) -> Result<HashMap<&'static str, HashSet<i64>>, DatabaseError> {
    let lists: [(&'static str, &Vec<i64>); 5] = [
        ("container", &unconfirmed.containers),
        ("pod", &unconfirmed.pods),
        ("workload", &unconfirmed.workloads),
        ("node", &unconfirmed.nodes),
        ("namespace", &unconfirmed.namespaces),
    ];
    let mut left = HashMap::new();
    for (table, keys) in lists {
        let ids: HashSet<i64> = find(writer, table, scope, keys.iter().copied()).await?.into_values().collect();
        mark(writer, table, ids.iter().copied(), None, former).await?;
        left.insert(table, ids);
    }
    let ids: HashSet<i64> = unconfirmed.uses.iter().filter_map(|usage| uses.get(usage).copied()).collect();
    mark(writer, "image_use", ids.iter().copied(), None, former).await?;
    left.insert("image_use", ids);
    Ok(left)
}

/// Rows by key, of those that are present.
async fn find(
    writer: &mut Writer<'_>,
    table: &'static str,
    scope: i64,
    keys: impl Iterator<Item = i64>,
) -> Result<HashMap<i64, i64>, DatabaseError> {
    let mut rows = Rows::new(&[Integer]);
    keys.for_each(|key| rows.push([key.into()]));
    let after = format!(
        "AS v CROSS JOIN {table} t WHERE t.account_id = $1 AND t.scope_id = $2 AND t.key = v.column1 AND {PRESENT}"
    );
    let select = ["SELECT t.key AS key, t.id AS id FROM", &after];
    let found = rows.fetch(writer.connection, writer.dialect, &[writer.account.into(), scope.into()], select).await?;
    Ok(found.iter().map(|row| Ok((row.try_get("key")?, row.try_get("id")?))).collect::<Result<_, sqlx::Error>>()?)
}

/// Notes when rows were seen last, and since when they are gone if they are.
async fn mark(
    writer: &mut Writer<'_>,
    table: &'static str,
    ids: impl Iterator<Item = i64>,
    gone_at: Option<i64>,
    former: i64,
) -> Result<(), DatabaseError> {
    let mut rows = Rows::new(&[Integer]);
    ids.for_each(|id| rows.push([id.into()]));
    let before = format!(
        "UPDATE {table} SET gone_at = $1, last_seen_at = coalesce(last_seen_at, $2) WHERE account_id = $3 AND id IN (SELECT column1 FROM"
    );
    let first = [gone_at.into(), former.into(), writer.account.into()];
    rows.execute(writer.connection, writer.dialect, &first, [&before, "AS v)"]).await?;
    Ok(())
}

/// Marks what is missing as gone.
async fn remove<T>(
    writer: &mut Writer<'_>,
    table: &'static str,
    changes: &Changes<T>,
    scope: i64,
    [observed_at, former]: [i64; 2],
) -> Result<Vec<i64>, DatabaseError> {
    let ids = find(writer, table, scope, changes.missing.iter().map(|(key, _)| *key)).await?;
    let mut ids: Vec<i64> = ids.into_values().collect();
    ids.sort_unstable();
    mark(writer, table, ids.iter().copied(), Some(observed_at), former).await?;
    Ok(ids)
}

/// Image uses of the scope, by what they are; their counts are brought up to date.
async fn image_uses(
    writer: &mut Writer<'_>,
    content: &Content,
    scope: i64,
    [observed_at, former]: [i64; 2],
) -> Result<HashMap<ImageUse, i64>, DatabaseError> {
    let found = sqlx::query(
        "SELECT id, image_id, name_id, containers, gone_at FROM image_use WHERE account_id = $1 AND scope_id = $2",
    )
    .bind(writer.account)
    .bind(scope)
    .fetch_all(&mut *writer.connection)
    .await?;
    let mut known: HashMap<(i64, i64), (i64, Option<i64>)> = HashMap::new();
    for row in found {
        let is_gone = row.try_get::<Option<i64>, _>("gone_at")?.is_some();
        let containers = if is_gone { None } else { Some(row.try_get("containers")?) };
        known.insert((row.try_get("image_id")?, row.try_get("name_id")?), (row.try_get("id")?, containers));
    }
    let mut rows = Rows::new(&[Integer; 8]);
    for (usage, Used { by, is_listed }) in &content.delta.used {
        let (image, name) = (writer.ids.image(&usage.image), writer.ids.name(&usage.name));
        let (id, before) = known.get(&(image, name)).copied().unwrap_or_else(|| (writer.identifier(), None));
        let now = (before.unwrap_or(0) + by).max(0);
        let is_used = now > 0 || *is_listed;
        known.insert((image, name), (id, is_used.then_some(now)));
        let gone_at = (!is_used).then_some(observed_at);
        match (before.is_some(), is_used) {
            (false, true) => writer.events.push(observed_at, What::Appeared, Entity::Image, [id, scope], None),
            (true, false) => writer.events.push(observed_at, What::Disappeared, Entity::Image, [id, scope], None),
            _ => {}
        }
        rows.push([
            writer.account.into(),
            id.into(),
            scope.into(),
            image.into(),
            name.into(),
            now.into(),
            observed_at.into(),
            gone_at.into(),
        ]);
    }
    let insert = [
        "INSERT INTO image_use (account_id, id, scope_id, image_id, name_id, containers, first_seen_at, gone_at) SELECT * FROM",
        "AS v WHERE true ON CONFLICT (account_id, id) DO UPDATE SET containers = excluded.containers, gone_at = excluded.gone_at, \
         last_seen_at = CASE WHEN excluded.gone_at IS NULL THEN NULL ELSE $1 END",
    ];
    rows.execute(writer.connection, writer.dialect, &[former.into()], insert).await?;
    let by_row = |usage: &ImageUse| {
        known.get(&(writer.ids.image(&usage.image), writer.ids.name(&usage.name))).map(|(id, _)| *id)
    };
    let delta = &content.delta;
    let unconfirmed = content.unconfirmed.iter().flat_map(|unconfirmed| &unconfirmed.uses);
    let wanted = delta.used.keys().chain(delta.uses.values()).chain(unconfirmed);
    Ok(wanted.filter_map(|usage| Some((usage.clone(), by_row(usage)?))).collect())
}

/// Nodes and namespaces, of which all is kept as it was told.
async fn facts<T: serde::Serialize>(
    writer: &mut Writer<'_>,
    table: &Table,
    changes: &Changes<T>,
    name: impl Fn(&T) -> &str,
    scope: i64,
    times: [i64; 2],
) -> Result<(), DatabaseError> {
    if changes.is_empty() {
        return Ok(());
    }
    remove(writer, table.name, changes, scope, times).await?;
    let ids = find(writer, table.name, scope, changes.changed.iter().map(|(key, ..)| *key)).await?;
    let mut rows = Rows::new(table.types);
    for (key, entity) in changes.present() {
        let id = ids.get(&key).copied().unwrap_or_else(|| writer.identifier());
        rows.push([
            writer.account.into(),
            id.into(),
            scope.into(),
            key.into(),
            name_value(name(entity)),
            serde_json::to_string(entity).unwrap_or_default().into(),
            times[0].into(),
        ]);
    }
    table.write(writer, rows).await
}

async fn workloads(
    writer: &mut Writer<'_>,
    changes: &Changes<Workload>,
    scope: i64,
    times: [i64; 2],
) -> Result<(), DatabaseError> {
    remove(writer, WORKLOAD.name, changes, scope, times).await?;
    let ids = find(writer, WORKLOAD.name, scope, changes.changed.iter().map(|(key, ..)| *key)).await?;
    let mut rows = Rows::new(WORKLOAD.types);
    for (key, workload) in changes.present() {
        let id = ids.get(&key).copied().unwrap_or_else(|| writer.identifier());
        rows.push([
            writer.account.into(),
            id.into(),
            scope.into(),
            key.into(),
            workload.kind.as_str().into(),
            name_value(&workload.name),
            workload.namespace.as_deref().into(),
            workload.api_version.as_deref().into(),
            workload.uid.as_deref().into(),
            times[0].into(),
        ]);
    }
    WORKLOAD.write(writer, rows).await
}

async fn pods(
    writer: &mut Writer<'_>,
    changes: &Changes<Pod>,
    scope: i64,
    times: [i64; 2],
) -> Result<(), DatabaseError> {
    remove(writer, POD.name, changes, scope, times).await?;
    let ids = find(writer, POD.name, scope, changes.changed.iter().map(|(key, ..)| *key)).await?;
    let present: Vec<(i64, &Pod)> = changes.present().collect();
    let owners = present.iter().filter_map(|(_, pod)| pod.workload.as_deref()).map(|id| key(&[id]));
    let workloads = find(writer, WORKLOAD.name, scope, owners.collect::<HashSet<i64>>().into_iter()).await?;
    let name: String = sqlx::query_scalar("SELECT name FROM scope WHERE account_id = $1 AND id = $2")
        .bind(writer.account)
        .bind(scope)
        .fetch_one(&mut *writer.connection)
        .await?;
    let mut rows = Rows::new(POD.types);
    for (pod_key, pod) in present {
        let id = ids.get(&pod_key).copied().unwrap_or_else(|| writer.identifier());
        let workload = pod.workload.as_deref().and_then(|id| workloads.get(&key(&[id]))).copied();
        rows.push([
            writer.account.into(),
            id.into(),
            scope.into(),
            pod_key.into(),
            words::pack(&pod.uid).into(),
            name_value(&pod.name),
            Some(words::indexed(&pod.namespace)).filter(|namespace| *namespace != name).as_deref().into(),
            pod.node_name.as_deref().map(words::indexed).as_deref().into(),
            pod.phase.as_deref().into(),
            workload.into(),
            writer.ids.labels(&pod.labels).into(),
            millis(pod.created_at).into(),
            times[0].into(),
        ]);
    }
    POD.write(writer, rows).await
}

async fn containers(
    writer: &mut Writer<'_>,
    content: &Content,
    uses: &HashMap<ImageUse, i64>,
    scope: i64,
    times: [i64; 2],
) -> Result<(), DatabaseError> {
    let changes = &content.delta.containers;
    for id in remove(writer, CONTAINER.name, changes, scope, times).await? {
        writer.events.push(times[0], What::Disappeared, Entity::Container, [id, scope], None);
    }
    let ids = find(writer, CONTAINER.name, scope, changes.changed.iter().map(|(key, ..)| *key)).await?;
    let present: Vec<(i64, &Container)> = changes.present().collect();
    let pods: HashSet<i64> =
        present.iter().filter_map(|(_, container)| container.pod_uid.as_deref()).map(|uid| key(&[uid])).collect();
    let pods = find(writer, POD.name, scope, pods.into_iter()).await?;
    let owners: HashSet<i64> =
        present.iter().filter_map(|(_, container)| container.workload.as_deref()).map(|id| key(&[id])).collect();
    let workloads = find(writer, WORKLOAD.name, scope, owners.into_iter()).await?;
    let mut rows = Rows::new(CONTAINER.types);
    for (container_key, container) in present {
        let id = ids.get(&container_key).copied().unwrap_or_else(|| writer.identifier());
        if !ids.contains_key(&container_key) {
            writer.events.push(times[0], What::Appeared, Entity::Container, [id, scope], None);
        }
        let pod = container.pod_uid.as_deref().and_then(|uid| pods.get(&key(&[uid]))).copied();
        let own = container.workload.as_deref().and_then(|id| workloads.get(&key(&[id]))).copied();
        let usage = content.delta.uses.get(&container_key).and_then(|usage| uses.get(usage)).copied();
        rows.push([
            writer.account.into(),
            id.into(),
            scope.into(),
            container_key.into(),
            usage.into(),
            pod.into(),
            own.into(),
            writer.ids.labels(&container.labels).into(),
            container.id.as_deref().map(words::pack).into(),
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
            times[0].into(),
        ]);
    }
    CONTAINER.write(writer, rows).await?;
    for (key, old, new) in &changes.changed {
        let former = (content.delta.former_uses.get(key), content.delta.uses.get(key));
        if let (Some(id), Some(detail)) = (ids.get(key), difference(old, new, former)) {
            writer.events.push(times[0], What::Changed, Entity::Container, [*id, scope], Some(&detail));
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
