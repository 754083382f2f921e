//! Bodies of scopes, taken apart no further than needed: what is equal in two bodies, byte by byte, is not looked into.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use stocktake_core::model::{Container, ContainerKind, Scope};

/// A body of a scope, its entities as they are written.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Elements<'a> {
    #[serde(borrow, default)]
    pub(crate) nodes: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) namespaces: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) workloads: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) pods: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) containers: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) images: Vec<&'a RawValue>,
}

impl<'a> Elements<'a> {
    pub(crate) fn of(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        // An empty list would do for an object without fields, and a scope that is none is not an empty one.
        if body.trim_ascii_start().first() == Some(&b'[') {
            return Err(serde::de::Error::invalid_type(serde::de::Unexpected::Seq, &"an object"));
        }
        match std::str::from_utf8(body) {
            // Each entity is known to be text, then.
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(body),
        }
    }
}

/// What differs between two lists of entities, by key.
#[derive(Debug)]
pub(crate) struct Changes<T> {
    /// Only in the later list.
    pub(crate) added: Vec<(i64, T)>,
    /// In both, and not the same: the earlier one and the later one.
    pub(crate) changed: Vec<(i64, T, T)>,
    /// Only in the earlier list.
    pub(crate) missing: Vec<(i64, T)>,
}

impl<T> Changes<T> {
    /// What came and what changed, as it is now.
    pub(crate) fn present(&self) -> impl Iterator<Item = (i64, &T)> {
        let changed = self.changed.iter().map(|(key, _, entity)| (*key, entity));
        self.added.iter().map(|(key, entity)| (*key, entity)).chain(changed)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.missing.is_empty()
    }
}

/// Compares two lists. `always` says of an entity that is the same in both whether it is to be looked at all the same.
pub(crate) fn compare<T: DeserializeOwned>(
    earlier: &[&RawValue],
    later: &[&RawValue],
    key: impl Fn(&T) -> i64,
    always: Option<&dyn Fn(&T) -> bool>,
) -> Result<Changes<T>, serde_json::Error> {
    let (only_earlier, only_later) = apart(earlier, later);
    let mut missing: HashMap<i64, T> = HashMap::new();
    for entity in only_earlier {
        let entity = serde_json::from_str::<T>(entity.get())?;
        missing.entry(key(&entity)).or_insert(entity);
    }
    let mut changes = Changes { added: Vec::new(), changed: Vec::new(), missing: Vec::new() };
    let mut seen = HashSet::new();
    for text in only_later {
        let entity = serde_json::from_str::<T>(text.get())?;
        let key = key(&entity);
        // What has another's key is not kept a second time.
        if !seen.insert(key) {
            continue;
        }
        match missing.remove(&key) {
            Some(former) => changes.changed.push((key, former, entity)),
            None => changes.added.push((key, entity)),
        }
    }
    if let Some(always) = always {
        let before: HashSet<&str> = earlier.iter().map(|entity| entity.get()).collect();
        for text in later.iter().filter(|text| before.contains(text.get())) {
            let entity = serde_json::from_str::<T>(text.get())?;
            if always(&entity) {
                changes.changed.push((key(&entity), serde_json::from_str(text.get())?, entity));
            }
        }
    }
    changes.missing = missing.into_iter().collect();
    changes.missing.sort_unstable_by_key(|(key, _)| *key);
    Ok(changes)
}

/// How far ahead what comes next in one list is looked for in the other, as both are sorted: containers of a pod come and go together.
const AHEAD: usize = 16;

/// What is in one list only, as it is written: of each in its order.
fn apart<'a>(earlier: &[&'a RawValue], later: &[&'a RawValue]) -> (Vec<&'a RawValue>, Vec<&'a RawValue>) {
    let (mut one, mut other): (Vec<&RawValue>, Vec<&RawValue>) = (Vec::new(), Vec::new());
    let (mut i, mut j) = (0, 0);
    let find = |wanted: &RawValue, list: &[&RawValue], from: usize| {
        list[from..].iter().take(AHEAD).position(|entity| entity.get() == wanted.get())
    };
    while let (Some(old), Some(new)) = (earlier.get(i), later.get(j)) {
        if old.get() == new.get() {
            (i, j) = (i + 1, j + 1);
        } else if let Some(ahead) = find(old, later, j) {
            other.extend(&later[j..j + ahead]);
            j += ahead;
        } else {
            // What was there before is gone, or stands elsewhere.
            one.push(old);
            i += 1;
        }
    }
    one.extend(&earlier[i..]);
    other.extend(&later[j..]);
    // What stands twice in one list, or elsewhere in the other, is in both all the same.
    let (in_later, in_earlier) = (among(&one, later), among(&other, earlier));
    one.retain(|entity| !in_later.contains(entity.get()));
    other.retain(|entity| !in_earlier.contains(entity.get()));
    (one, other)
}

/// Those of some entities that are in a list. Most are told apart by how they begin.
fn among<'a>(some: &[&'a RawValue], list: &[&RawValue]) -> HashSet<&'a str> {
    fn head(entity: &RawValue) -> (usize, &[u8]) {
        let text = entity.get().as_bytes();
        (text.len(), &text[..text.len().min(96)])
    }
    let wanted: HashSet<&str> = some.iter().map(|entity| entity.get()).collect();
    let heads: HashSet<(usize, &[u8])> = some.iter().map(|entity| head(entity)).collect();
    let found = list.iter().filter(|entity| heads.contains(&head(entity)));
    found.filter_map(|entity| wanted.get(entity.get()).copied()).collect()
}

/// What is known of an earlier body and is not in a later one that is not the whole, added to that: the body that the rows are of
/// from then on.
pub(crate) fn merged(earlier: &[u8], later: &[u8], is_cluster: bool) -> Result<Vec<u8>, serde_json::Error> {
    let (earlier, mut later): (Scope, Scope) = (serde_json::from_slice(earlier)?, serde_json::from_slice(later)?);
    add(&mut later.nodes, earlier.nodes, |node| key(&[&node.name]));
    add(&mut later.namespaces, earlier.namespaces, |namespace| key(&[&namespace.name]));
    add(&mut later.workloads, earlier.workloads, |workload| key(&[&workload.id]));
    add(&mut later.pods, earlier.pods, |pod| key(&[&pod.uid]));
    add(&mut later.images, earlier.images, |image| key(&[&image.id]));
    add(&mut later.containers, earlier.containers, |container| container_key(container, is_cluster));
    let _ = stocktake_core::normalise(&mut later);
    serde_json::to_vec(&later)
}

fn add<T>(later: &mut Vec<T>, earlier: Vec<T>, key: impl Fn(&T) -> i64) {
    let known: HashSet<i64> = later.iter().map(&key).collect();
    later.extend(earlier.into_iter().filter(|entity| !known.contains(&key(entity))));
}

/// Key of an entity within its scope: 64 bits of a SHA-256, which nobody meets by chance.
pub(crate) fn key(parts: &[&str]) -> i64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    i64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
}

/// A container of a cluster is the one of that name in its pod, whichever instance of it runs; a runtime's is the instance.
pub(crate) fn container_key(container: &Container, is_cluster: bool) -> i64 {
    match (&container.pod_uid, &container.id) {
        (Some(pod), id) if is_cluster || id.is_none() => {
            // A container that is later known to be a sidecar is the same.
            let kind = if container.kind == ContainerKind::Sidecar { ContainerKind::Init } else { container.kind };
            key(&["pod", pod, kind.as_str(), &container.name])
        }
        (_, Some(id)) => key(&["id", id]),
        (_, None) => key(&["name", &container.name]),
    }
}

#[cfg(test)]
mod tests {
    use stocktake_core::model::Pod;

    use super::*;

    fn list(pods: &[(&str, &str)]) -> Vec<Box<RawValue>> {
        pods.iter()
            .map(|(uid, name)| {
                RawValue::from_string(format!(r#"{{"uid":"{uid}","name":"{name}","namespace":"n"}}"#)).unwrap()
            })
            .collect()
    }

    fn uids(pods: &[(i64, Pod)]) -> Vec<&str> {
        pods.iter().map(|(_, pod)| pod.uid.as_str()).collect()
    }

    #[test]
    fn what_came_went_and_changed_is_found_wherever_it_stands() {
        let earlier = list(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
        let later = list(&[("a", "1"), ("e", "1"), ("c", "2"), ("d", "1")]);
        let (earlier, later): (Vec<_>, Vec<_>) =
            (earlier.iter().map(AsRef::as_ref).collect(), later.iter().map(AsRef::as_ref).collect());
        let changes = compare::<Pod>(&earlier, &later, |pod| key(&[&pod.uid]), None).unwrap();
        assert_eq!((uids(&changes.added), uids(&changes.missing)), (vec!["e"], vec!["b"]));
        assert_eq!(changes.changed.len(), 1);
        assert_eq!((changes.changed[0].1.name.as_str(), changes.changed[0].2.name.as_str()), ("1", "2"));
        let none = compare::<Pod>(&later, &later, |pod| key(&[&pod.uid]), None).unwrap();
        assert!(none.is_empty());
        let looked_at =
            compare::<Pod>(&later, &later, |pod| key(&[&pod.uid]), Some(&|pod: &Pod| pod.uid == "a")).unwrap();
        assert_eq!(looked_at.changed.len(), 1);
    }

    #[test]
    fn what_stands_elsewhere_is_the_same() {
        let names: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
        let mut turned = names.clone();
        turned.rotate_left(40);
        turned[7] = "new".into();
        let lists = [&names, &turned].map(|names| {
            let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
            list(&pairs)
        });
        let [earlier, later] = lists.each_ref().map(|list| list.iter().map(AsRef::as_ref).collect::<Vec<&RawValue>>());
        let changes = compare::<Pod>(&earlier, &later, |pod| key(&[&pod.uid]), None).unwrap();
        assert_eq!((uids(&changes.added), uids(&changes.missing)), (vec!["new"], vec!["047"]));
        assert!(changes.changed.is_empty());
    }

    #[test]
    fn nothing_but_an_object_is_a_scope() {
        for text in ["[]", " []", "[[]]", "null", "0", "\"\"", ""] {
            assert!(Elements::of(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Elements::of(b" {}").is_ok());
    }

    #[test]
    fn what_stands_twice_is_there_once() {
        let (once, twice) = (list(&[("a", "1")]), list(&[("a", "1"), ("a", "1")]));
        let [once, twice] = [&once, &twice].map(|list| list.iter().map(AsRef::as_ref).collect::<Vec<&RawValue>>());
        for (earlier, later) in [(&once, &twice), (&twice, &once), (&twice, &twice)] {
            assert!(compare::<Pod>(earlier, later, |pod| key(&[&pod.uid]), None).unwrap().is_empty());
        }
        assert_eq!(compare::<Pod>(&[], &twice, |pod| key(&[&pod.uid]), None).unwrap().added.len(), 1);
    }

    #[test]
    fn a_second_entity_of_one_key_is_left_out() {
        let later = list(&[("a", "1"), ("a", "2")]);
        let later: Vec<_> = later.iter().map(AsRef::as_ref).collect();
        let changes = compare::<Pod>(&[], &later, |pod| key(&[&pod.uid]), None).unwrap();
        assert_eq!(changes.added.len(), 1);
    }
}
