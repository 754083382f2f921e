//! Containers that several sources see, as SQL: which rows are of one, and which of those is shown.

use std::collections::BTreeMap;

use sqlx::AnyConnection;

use super::{
    statement::{Statement, integer, text},
    visible::{JOINED, JOINS, RANK, named},
};
use crate::database::Dialect;

/// All rows of the container that the row `of` has the identifier of: a table by the name `row`, and the conditions on it.
pub(super) fn rows_of(of: &str, row: &str, dialect: Dialect) -> [String; 2] {
    [
        format!("container AS {row}{}", dialect.indexed_by("container_runtime_id")),
        format!(
            "{row}.account_id = $1 AND substr({row}.runtime_id, 1, 8) = substr({of}.runtime_id, 1, 8) \
             AND {row}.runtime_id = {of}.runtime_id"
        ),
    ]
}

/// Whether the container `of` has several rows, or had.
pub(super) fn is_shared(of: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM shared_container AS sh WHERE sh.account_id = $1 AND sh.runtime_id = {of}.runtime_id LIMIT 1 OFFSET 0)"
    )
}

/// Whether a row `dc` is to be shown in the place of `of`: the cluster's, else the one that came first.
pub(super) fn comes_before(of: &str) -> String {
    let (theirs, own) = (named(RANK, "d"), named(RANK, ""));
    format!("({theirs} < {own} OR {theirs} = {own} AND dc.id < {of}.id)")
}

/// Whether no other row of the container `c` that `matches` as well (in the names of `visible`) is shown in its place. A case, and with
/// offsets, as PostgreSQL then asks it of each row, and only of those that it is worth asking of.
pub(super) fn is_shown(matches: &str, dialect: Dialect) -> String {
    let [rows, are_rows] = rows_of("c", "dc", dialect);
    format!(
        "CASE WHEN {is_shared} THEN NOT EXISTS (SELECT 1 FROM {rows}{joins} WHERE {are_rows} AND dc.id <> c.id AND {joined} \
         AND {matches} AND {before} LIMIT 1 OFFSET 0) ELSE TRUE END",
        is_shared = is_shared("c"),
        joins = named(JOINS, "d"),
        joined = named(JOINED, "d"),
        matches = named(matches, "d"),
        before = comes_before("c"),
    )
}

/// Containers that more than one use of an image tells of.
pub(super) struct Twice<'a> {
    /// Finds the uses that count, where these are few.
    pub(super) uses: Option<&'a str>,
    /// How many rows those that are asked about have together.
    pub(super) rows: i64,
    /// What a use has to be to count, in the names of `visible`.
    pub(super) matches: &'a str,
    pub(super) dialect: Dialect,
}

impl Twice<'_> {
    /// By image, how many rows are of a container for which another row counts: its line in the list of containers names the image that
    /// this other row does. `question` has bound what the texts name.
    pub(super) async fn count<'a>(
        &self,
        mut question: Statement,
        identities: impl Iterator<Item = &'a str>,
        connection: &mut AnyConnection,
    ) -> Result<BTreeMap<String, i64>, sqlx::Error> {
        let identities: Vec<String> = identities.map(|identity| question.bind(identity)).collect();
        if identities.is_empty() {
            return Ok(BTreeMap::new());
        }
        let [rows, are_rows] = rows_of("ss", "cn", self.dialect);
        let shared = self.shared(&question, connection).await?;
        if shared == 0 {
            return Ok(BTreeMap::new());
        }
        let (from, are_uses) = match self.uses {
            // From whichever there are fewer of.
            None if shared < self.rows => {
                (format!("shared_container AS ss CROSS JOIN {rows} CROSS JOIN image_use AS c"), are_rows)
            }
            None => (
                "image AS im CROSS JOIN image_use AS c CROSS JOIN container AS cn CROSS JOIN shared_container AS ss"
                    .to_owned(),
                format!(
                    "im.account_id = $1 AND im.identity IN ({}) AND c.image_id = im.id AND cn.account_id = $1 \
                     AND cn.image_use_id = c.id AND ss.runtime_id = cn.runtime_id",
                    identities.join(",")
                ),
            ),
            Some(uses) => (
                format!(
                    "({uses}) AS way CROSS JOIN image_use AS c CROSS JOIN container AS cn CROSS JOIN shared_container AS ss"
                ),
                "c.id = way.id AND cn.account_id = $1 AND cn.image_use_id = c.id AND ss.runtime_id = cn.runtime_id"
                    .to_owned(),
            ),
        };
        // Where some uses alone count, so do only they stand for others.
        let counts =
            self.uses.map(|uses| format!(" AND du.id IN (SELECT other.id FROM ({uses}) AS other)")).unwrap_or_default();
        let [others, are_others] = rows_of("cn", "dc", self.dialect);
        question.text = format!(
            "SELECT ig.identity AS identity, COUNT(*) AS count FROM {from} CROSS JOIN image AS ig{joins} \
             WHERE ss.account_id = $1 AND {are_uses} AND cn.gone_at IS NULL AND c.account_id = $1 AND c.id = cn.image_use_id \
             AND ig.account_id = $1 AND ig.id = c.image_id AND ig.identity IN ({identities}) AND {matches} AND EXISTS (\
             SELECT 1 FROM {others} CROSS JOIN image_use AS du{their_joins} WHERE {are_others} AND dc.id <> cn.id AND dc.gone_at IS NULL \
             AND du.account_id = $1 AND du.id = dc.image_use_id AND {their_matches}{counts} AND {before} LIMIT 1 OFFSET 0) GROUP BY ig.identity",
            joins = named(JOINS, ""),
            identities = identities.join(","),
            matches = named(self.matches, ""),
            their_joins = named(JOINS, "d"),
            their_matches = named(&self.matches.replace("~c.", "du."), "d"),
            before = comes_before("cn"),
        );
        let rows = question.fetch(connection).await?;
        rows.iter().map(|row| Ok((text(row, "identity")?, integer(row, "count")?))).collect()
    }

    /// How many identifiers are shared; something above the rows asked about if there are more.
    async fn shared(&self, question: &Statement, connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
        let mut question = question.clone();
        let most = question.bind(self.rows + 1);
        question.text = format!(
            "SELECT COUNT(*) AS count FROM (SELECT 1 AS one FROM shared_container AS sh WHERE sh.account_id = $1 LIMIT {most}) AS counted"
        );
        question.fetch(connection).await?.first().map_or(Ok(0), |row| integer(row, "count"))
    }
}
