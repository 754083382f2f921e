//! The outermost owners of the pods of one node: each link is asked for by name, once, because a list of all would be one
//! of the whole cluster on each of its nodes.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream};
use stocktake_core::model::Text;
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    api::{Api, METADATA},
    convert::ConvertedPod,
    error::{Action, Failure, FailureKind},
    owners::{LINKS, Link, Owner, Owners},
    pods::DeniedLinks,
    texts::Texts,
    wire::{Owned, OwnedMeta},
};

/// Objects that are asked for at the same time.
const CONCURRENT: usize = 4;

/// What was asked before, across looks.
#[derive(Default)]
pub(crate) struct NodeOwners(Mutex<Known>);

/// What is known of links, by uid.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) owners: Owners,
    /// Of which is known what manages them, or that nothing does.
    asked: HashSet<Text>,
}

/// What is known after asking, and why it is not all.
pub(crate) struct Links<'a> {
    pub(crate) known: MutexGuard<'a, Known>,
    pub(crate) denied: DeniedLinks,
    pub(crate) failed: Option<String>,
}

/// A link that pods have for their controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needed {
    link: usize,
    namespace: Text,
    owner: Arc<Owner>,
}

/// The links that these pods have, each once, by uid.
pub(crate) fn needed<'a>(pods: impl IntoIterator<Item = &'a ConvertedPod>) -> BTreeMap<Text, Needed> {
    let mut needed = BTreeMap::new();
    for pod in pods {
        let Some(owner) = pod.owner.as_ref().filter(|owner| !owner.uid.is_empty()) else { continue };
        let Some(link) = LINKS.iter().position(|link| link.is(owner)) else { continue };
        let namespace = pod.pod.namespace.clone();
        needed.entry(owner.uid.clone()).or_insert_with(|| Needed { link, namespace, owner: Arc::clone(owner) });
    }
    needed
}

impl NodeOwners {
    /// Asks for what is not known yet, and forgets what is no longer needed: no more is kept than a node's pods have.
    pub(crate) async fn ask(&self, api: &Api, needed: &BTreeMap<Text, Needed>) -> Links<'_> {
        let mut known = self.0.lock().await;
        known.keep(needed);
        let missing: Vec<Needed> =
            needed.iter().filter(|(uid, _)| !known.asked.contains(*uid)).map(|(_, needed)| needed.clone()).collect();
        let refused = std::sync::Mutex::new(BTreeSet::new());
        let asked = stream::iter(missing).map(|needed| ask(api, needed, &refused)).buffer_unordered(CONCURRENT);
        let answers: Vec<_> = asked.collect().await;
        let (mut denied, mut failed, mut texts) = (DeniedLinks::default(), None, Texts::default());
        for (needed, answer) in answers {
            match answer {
                Answer::Told(owned) => known.learn(&needed, owned.as_ref(), &mut texts),
                Answer::Failed(failure) if failure.kind == FailureKind::Forbidden => denied.add(&action(&needed)),
                Answer::Failed(failure) => failed = Some(failure.error.full_message()),
                Answer::NotAsked => {}
            }
        }
        Links { known, denied, failed }
    }
}

impl Known {
    fn keep(&mut self, needed: &BTreeMap<Text, Needed>) {
        self.asked.retain(|uid| needed.contains_key(uid));
        for link in 0..LINKS.len() {
            self.owners.retain(link, None, &self.asked);
        }
    }

    /// `None` is an object that is gone: what it belonged to is not known any longer, and it is the outermost.
    fn learn(&mut self, needed: &Needed, owned: Option<&OwnedMeta>, texts: &mut Texts) {
        // Another object of the same name is not what the pod belongs to.
        if let Some(owned) = owned.filter(|owned| *owned.uid == *needed.owner.uid) {
            self.owners.add(needed.link, owned, texts);
        }
        self.asked.insert(needed.owner.uid.clone());
    }
}

enum Answer {
    Told(Option<OwnedMeta>),
    Failed(Failure),
    /// Because another of the same kind and namespace was refused.
    NotAsked,
}

async fn ask(api: &Api, needed: Needed, refused: &std::sync::Mutex<BTreeSet<(usize, Text)>>) -> (Needed, Answer) {
    let Some(link) = LINKS.get(needed.link) else { return (needed, Answer::NotAsked) };
    let place = (needed.link, needed.namespace.clone());
    let lock = || refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if lock().contains(&place) {
        return (needed, Answer::NotAsked);
    }
    let path = link.path(&needed.namespace, &needed.owner.name);
    let answer = match api.get_as::<Owned>(&path, METADATA, &action(&needed)).await {
        Ok(owned) => Answer::Told(owned.metadata),
        Err(failure) if failure.kind == FailureKind::NotFound => Answer::Told(None),
        Err(failure) => {
            if failure.kind == FailureKind::Forbidden {
                lock().insert(place);
            }
            Answer::Failed(failure)
        }
    };
    (needed, answer)
}

fn action(needed: &Needed) -> Action {
    Action::Get {
        resource: LINKS.get(needed.link).map(Link::qualified).unwrap_or_default(),
        namespace: Some(needed.namespace.to_string()),
        name: needed.owner.name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{convert::convert_pod, wire};

    fn pod(name: &str, owner: &str) -> ConvertedPod {
        let reference =
            json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": true });
        let pod =
            json!({ "metadata": { "name": name, "namespace": "shop", "uid": name, "ownerReferences": [reference] } });
        let pod: wire::Pod = serde_json::from_value(pod).unwrap();
        convert_pod(pod, &"shop".into(), &mut Texts::default())
    }

    fn owned(uid: &str) -> OwnedMeta {
        let deployment =
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d", "controller": true });
        serde_json::from_value(json!({ "uid": uid, "ownerReferences": [deployment] })).unwrap()
    }

    #[test]
    fn each_owner_is_asked_for_once_and_kept_as_long_as_a_pod_has_it() {
        let pods = [pod("a", "rs"), pod("b", "rs"), pod("c", "other")];
        let all = needed(&pods);
        assert_eq!(all.keys().map(Text::as_str).collect::<Vec<_>>(), ["other", "rs"]);
        let mut known = Known::default();
        let rs = &all["rs"];
        known.learn(rs, Some(&owned("rs")), &mut Texts::default());
        known.keep(&all);
        assert_eq!(&*known.owners.outermost(&rs.owner).name, "web");
        assert!(known.asked.contains("rs"));
        known.keep(&needed(&pods[2..]));
        assert!(known.asked.is_empty() && known.owners.len() == 0);
    }

    #[test]
    fn what_is_gone_or_another_by_that_name_is_the_outermost() {
        let pods = [pod("a", "rs")];
        let all = needed(&pods);
        for told in [None, Some(owned("another"))] {
            let mut known = Known::default();
            known.learn(&all["rs"], told.as_ref(), &mut Texts::default());
            assert_eq!(*known.owners.outermost(&all["rs"].owner), *all["rs"].owner);
            assert!(known.asked.contains("rs"), "it is not asked for again");
        }
    }
}
