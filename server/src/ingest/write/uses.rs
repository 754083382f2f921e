//! Images in use in scopes, and by how many containers.

use std::collections::{BTreeSet, HashMap};

use sqlx::Row as _;

use super::{
    Writer,
    entities::Looked,
    events::{Entity, What},
};
use crate::{
    database::{Column::Integer, DatabaseError, Rows},
    ingest::delta::{ImageUse, Used},
};

/// Rows of image uses, by scope, image and name: with how many containers use them, unless they are gone.
type Known = HashMap<[i64; 3], (i64, Option<i64>)>;

/// Image uses of the scopes, by what they are; their counts are brought up to date.
pub(super) async fn image_uses<'a>(
    writer: &mut Writer<'_>,
    looked: &'a [Looked<'_>],
) -> Result<HashMap<(i64, &'a ImageUse), i64>, DatabaseError> {
    let mut known = load(writer, looked).await?;
    let mut rows = Rows::new(&[Integer; 9]);
    for one in looked {
        let (scope, at) = (one.scope, one.observed_at);
        for (usage, Used { by, is_listed }) in &one.content.delta.used {
            let key = key(writer, scope, usage);
            let (id, before) = known.get(&key).copied().unwrap_or_else(|| (writer.identifier(), None));
            let now = (before.unwrap_or(0) + by).max(0);
            let is_used = now > 0 || *is_listed;
            known.insert(key, (id, is_used.then_some(now)));
            match (before.is_some(), is_used) {
                (false, true) => writer.events.push(at, What::Appeared, Entity::Image, [id, scope], None),
                (true, false) => writer.events.push(at, What::Disappeared, Entity::Image, [id, scope], None),
                _ => {}
            }
            let [_, image, name] = key;
            rows.push([
                writer.account.into(),
                id.into(),
                scope.into(),
                image.into(),
                name.into(),
                now.into(),
                at.into(),
                (!is_used).then_some(one.former).into(),
                (!is_used).then_some(at).into(),
            ]);
        }
    }
    let insert = [
        "INSERT INTO image_use (account_id, id, scope_id, image_id, name_id, containers, first_seen_at, last_seen_at, gone_at) \
         SELECT * FROM",
        "AS v WHERE true ON CONFLICT (account_id, id) DO UPDATE SET containers = excluded.containers, gone_at = excluded.gone_at, \
         last_seen_at = excluded.last_seen_at",
    ];
    rows.execute(writer.connection, writer.dialect, &[], insert).await?;
    let mut ids = HashMap::new();
    for one in looked {
        for usage in concerned(one) {
            if let Some((id, _)) = known.get(&key(writer, one.scope, usage)) {
                ids.insert((one.scope, usage), *id);
            }
        }
    }
    Ok(ids)
}

fn key(writer: &Writer<'_>, scope: i64, usage: &ImageUse) -> [i64; 3] {
    [scope, writer.ids.image(&usage.image), writer.ids.name(&usage.name)]
}

/// All that a scope's change is about.
fn concerned<'a>(one: &'a Looked<'_>) -> impl Iterator<Item = &'a ImageUse> {
    let delta = &one.content.delta;
    let unconfirmed = one.content.unconfirmed.iter().flat_map(|unconfirmed| &unconfirmed.uses);
    delta.used.keys().chain(delta.uses.values()).chain(unconfirmed)
}

async fn load(writer: &mut Writer<'_>, looked: &[Looked<'_>]) -> Result<Known, DatabaseError> {
    let keys: BTreeSet<[i64; 3]> = looked
        .iter()
        .flat_map(|one| concerned(one).map(|usage| (one.scope, usage)))
        .map(|(scope, usage)| key(writer, scope, usage))
        .collect();
    let mut wanted = Rows::new(&[Integer; 3]);
    for [scope, image, name] in keys {
        wanted.push([scope.into(), image.into(), name.into()]);
    }
    let select = [
        "SELECT t.scope_id AS scope, t.image_id AS image, t.name_id AS name, t.id AS id, t.containers AS containers, \
         t.gone_at AS gone_at FROM",
        "AS v CROSS JOIN image_use t WHERE t.account_id = $1 AND t.scope_id = v.column1 AND t.image_id = v.column2 \
         AND t.name_id = v.column3",
    ];
    let found = wanted.fetch(writer.connection, writer.dialect, &[writer.account.into()], select).await?;
    let mut known = Known::new();
    for row in found {
        let is_gone = row.try_get::<Option<i64>, _>("gone_at")?.is_some();
        let containers = if is_gone { None } else { Some(row.try_get("containers")?) };
        let key = [row.try_get("scope")?, row.try_get("image")?, row.try_get("name")?];
        known.insert(key, (row.try_get("id")?, containers));
    }
    Ok(known)
}
