//! Pieces of SQL that filters are made of.

use super::{filters::Table, statement::Statement};
use crate::database::Dialect;

/// A condition that is asked of each row, in either database. To the same end what is to exist has an offset: PostgreSQL then makes no
/// list of all that could.
pub(super) fn of_each(condition: &str) -> String {
    format!("({condition}) IS TRUE")
}

/// Whether a row, or a container's pod, has a label.
pub(super) fn has_label(
    table: Table,
    key: &str,
    value: Option<&str>,
    dialect: Dialect,
    statement: &mut Statement,
) -> String {
    let json = |text: &str| serde_json::Value::from(text).to_string();
    // As it stands in the set, behind a bracket or a comma.
    let written = format!("{}:{}", json(key), value.map(json).unwrap_or_default());
    let (first, other) = (statement.bind(format!("{{{written}")), statement.bind(format!(",{written}")));
    let has = |set: &str| {
        let (first, other) = (dialect.position(&first, "ls.labels"), dialect.position(&other, "ls.labels"));
        format!(
            "EXISTS (SELECT 1 FROM label_set AS ls WHERE ls.account_id = $1 AND ls.id = {set} AND ({first} > 0 OR {other} > 0) LIMIT 1 OFFSET 0)"
        )
    };
    let own = has("~c.labels_id");
    of_each(&if table == Table::Container { format!("{own} OR {}", pod_has(&has("po.labels_id"))) } else { own })
}

/// Whether a container's pod is such.
pub(super) fn pod_has(condition: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM pod AS po WHERE po.account_id = $1 AND po.id = ~c.pod_id AND {condition} LIMIT 1 OFFSET 0)"
    )
}

/// Containers of pods.
pub(super) fn of_pods(pods: &str) -> String {
    format!(
        "SELECT ct.id FROM ({pods}) AS pods CROSS JOIN container AS ct WHERE ct.account_id = $1 AND ct.pod_id = pods.id"
    )
}

pub(super) fn places(kind: &str, name: &str) -> String {
    format!("SELECT pt.id FROM place AS pt WHERE pt.account_id = $1 AND pt.name = {name} AND pt.kind = '{kind}'")
}

pub(super) fn scopes_of_place(kind: &str, name: &str) -> String {
    format!(
        "SELECT st.id FROM place AS pt CROSS JOIN scope AS st WHERE pt.account_id = $1 AND pt.name = {name} \
         AND pt.kind = '{kind}' AND st.account_id = $1 AND st.place_id = pt.id"
    )
}

pub(super) fn in_scopes(table: Table, scopes: &str) -> String {
    format!(
        "SELECT co.id FROM ({scopes}) AS scopes CROSS JOIN {} AS co WHERE co.account_id = $1 AND co.scope_id = scopes.id",
        table.name()
    )
}
