//! From the object that made a pod to the one that a person wrote: `ReplicaSet` to `Deployment`, `Job` to `CronJob`.
//!
//! There it ends. A `Deployment`, `CronJob` or `StatefulSet` may itself be managed by an operator's object (a Knative
//! `Revision`, a database's custom resource), of which there are as many kinds as operators, each with a grant of its
//! own. Those are not listed: a pod's workload is never what manages its `Deployment`, and whether anything does is not
//! known.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use stocktake_core::model::Text;

use crate::{
    api::percent_encode,
    texts::Texts,
    wire::{OwnedMeta, OwnerReference, said},
};

/// What manages an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) api_version: Text,
    pub(crate) kind: Text,
    pub(crate) name: Text,
    /// Empty where nobody says it.
    pub(crate) uid: Text,
}

/// A kind that stands between a pod and its outermost owner. Nobody writes it by hand, so what owns it is the answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    kind: &'static str,
    /// What normally owns it, in the same group.
    parent: &'static str,
    group: &'static str,
    /// The group and version that it is listed under.
    pub(crate) api: &'static str,
    /// The resource that has to be granted.
    pub(crate) resource: &'static str,
}

/// All links. What is above a `ReplicaSet` need not be a `Deployment` (Argo Rollouts): the reference says what it is.
pub(crate) const LINKS: [Link; 2] = [
    Link { kind: "ReplicaSet", parent: "Deployment", group: "apps", api: "/apis/apps/v1", resource: "replicasets" },
    // Not every Job is one: `batch.volcano.sh` has its own.
    Link { kind: "Job", parent: "CronJob", group: "batch", api: "/apis/batch/v1", resource: "jobs" },
];

impl Link {
    /// The resource with its API group, as a role names it: `replicasets.apps`.
    pub(crate) fn qualified(&self) -> String {
        format!("{}.{}", self.resource, self.group)
    }

    /// Path of one object.
    pub(crate) fn path(&self, namespace: &str, name: &str) -> String {
        let (namespace, name) = (percent_encode(namespace), percent_encode(name));
        format!("{}/namespaces/{namespace}/{}/{name}", self.api, self.resource)
    }

    /// Whether `owner` is of this kind.
    pub(crate) fn is(&self, owner: &Owner) -> bool {
        owner.kind == self.kind && self.is_in_group(&owner.api_version)
    }

    /// What the link belongs to: its controller, or what normally owns it. `kubectl create job --from=cronjob/…` of
    /// Kubernetes 1.20 names the `CronJob` without calling it the controller (testdata/jobs.json).
    fn owner_of<'a>(&self, owners: &'a [OwnerReference]) -> Option<&'a OwnerReference> {
        let is_parent = |owner: &&OwnerReference| {
            owner.kind == self.parent.as_bytes() && self.is_in_group(&said(&owner.api_version))
        };
        controller(owners).or_else(|| owners.iter().find(is_parent))
    }

    fn is_in_group(&self, api_version: &str) -> bool {
        api_version.split_once('/').is_some_and(|(group, _)| group == self.group)
    }
}

/// The one owner that manages the object; others merely have it deleted with them.
pub(crate) fn controller(owners: &[OwnerReference]) -> Option<&OwnerReference> {
    owners.iter().find(|owner| owner.controller == Some(true))
}

/// What manages the links that were listed, by the link's uid; for each of [`LINKS`] its own.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    above: [HashMap<Text, Above>; LINKS.len()],
}

/// What manages a link.
#[derive(Debug)]
struct Above {
    /// Of the link.
    namespace: Text,
    manager: Arc<Owner>,
}

impl Owners {
    /// Remembers what `owned`, which is the link at this position, belongs to. If to nothing, it is the outermost and needs
    /// no entry. True if that was not known, or was something else.
    pub(crate) fn add(&mut self, link: usize, owned: &OwnedMeta, texts: &mut Texts) -> bool {
        let (Some(of), Some(above)) = (LINKS.get(link), self.above.get_mut(link)) else { return false };
        // All objects without a uid would be one.
        if owned.uid.is_empty() {
            return false;
        }
        match of.owner_of(&owned.owner_references) {
            Some(reference) => {
                let manager = texts.owner(reference);
                let namespace = texts.shared(owned.namespace.as_deref().unwrap_or_default());
                let before =
                    above.insert(owned.uid.as_str().into(), Above { namespace, manager: Arc::clone(&manager) });
                before.is_none_or(|before| before.manager != manager)
            }
            None => self.remove(link, owned),
        }
    }

    /// Forgets an object that is gone. True if it had an owner.
    pub(crate) fn remove(&mut self, link: usize, owned: &OwnedMeta) -> bool {
        self.above.get_mut(link).is_some_and(|above| above.remove(owned.uid.as_str()).is_some())
    }

    /// Forgets all but these, of one namespace or of all.
    pub(crate) fn retain(&mut self, link: usize, namespace: Option<&str>, listed: &HashSet<Text>) {
        if let Some(above) = self.above.get_mut(link) {
            let is_other = |above: &Above| namespace.is_some_and(|namespace| above.namespace != *namespace);
            above.retain(|uid, above| is_other(above) || listed.contains(uid));
        }
    }

    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.above.iter().map(HashMap::len).sum()
    }

    /// The outermost owner of an object that `owner` manages, as far as [`LINKS`] lead: what may manage a `Deployment` is
    /// not looked for. `owner` itself, if nothing is known to be above it.
    pub(crate) fn outermost<'a>(&'a self, owner: &'a Owner) -> &'a Owner {
        let mut links = LINKS.iter().zip(&self.above);
        let above = links.find(|(link, _)| link.is(owner)).and_then(|(_, above)| above.get(&owner.uid));
        above.map_or(owner, |above| &above.manager)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(api_version: &str, kind: &str, uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: api_version.into(),
            kind: kind.into(),
            uid: uid.into(),
            name: format!("{kind}-{uid}").into(),
            controller: Some(true),
        }
    }

    fn owner(api_version: &str, kind: &str, uid: &str) -> Owner {
        Owner::clone(&Texts::default().owner(&reference(api_version, kind, uid)))
    }

    fn owned(uid: &str, owner_references: Vec<OwnerReference>) -> OwnedMeta {
        OwnedMeta { uid: uid.into(), owner_references, ..OwnedMeta::default() }
    }

    #[test]
    fn follows_the_controller_and_only_from_links() {
        let (mut owners, mut texts) = (Owners::default(), Texts::default());
        let rollout = ("argoproj.io/v1alpha1", "Rollout", "r");
        let other = OwnerReference { controller: None, ..reference("v1", "ConfigMap", "c") };
        let of_rollout = owned("rs", vec![other, reference(rollout.0, rollout.1, rollout.2)]);
        assert!(owners.add(0, &of_rollout, &mut texts));
        assert!(!owners.add(0, &of_rollout, &mut texts), "it was known");
        assert!(!owners.add(0, &owned("bare", vec![]), &mut texts));

        let rollout = owner(rollout.0, rollout.1, rollout.2);
        assert_eq!(owners.outermost(&owner("apps/v1", "ReplicaSet", "rs")), &rollout);
        let bare = owner("apps/v1", "ReplicaSet", "bare");
        assert_eq!(owners.outermost(&bare), &bare, "nothing manages it");
        let unseen = owner("batch/v1", "Job", "deleted-meanwhile");
        assert_eq!(owners.outermost(&unseen), &unseen);
        let foreign = owner("batch.volcano.sh/v1alpha1", "Job", "rs");
        assert_eq!(owners.outermost(&foreign), &foreign);
        assert!(owners.remove(0, &of_rollout) && !owners.remove(0, &of_rollout));
    }

    #[test]
    fn what_a_list_does_not_have_is_forgotten_where_it_is_of() {
        let (mut owners, mut texts) = (Owners::default(), Texts::default());
        for (uid, namespace) in [("1", "a"), ("2", "a"), ("3", "b")] {
            let manager = reference("apps/v1", "Deployment", "d");
            owners.add(0, &OwnedMeta { namespace: Some(namespace.into()), ..owned(uid, vec![manager]) }, &mut texts);
        }
        let known =
            |owners: &Owners, uid: &str| owners.outermost(&owner("apps/v1", "ReplicaSet", uid)).kind == "Deployment";
        owners.retain(0, Some("a"), &["2".into()].into());
        assert_eq!(["1", "2", "3"].map(|uid| known(&owners, uid)), [false, true, true]);
        owners.retain(0, None, &["2".into()].into());
        assert_eq!((owners.len(), known(&owners, "2")), (1, true));
    }

    #[test]
    fn an_owner_that_does_not_manage_is_no_owner() {
        let plain = OwnerReference { controller: Some(false), ..reference("v1", "Node", "n") };
        assert_eq!(controller(std::slice::from_ref(&plain)), None);
        assert_eq!(controller(&[plain, reference("v1", "Node", "m")]).map(|owner| &owner.uid[..]), Some(&b"m"[..]));
    }
}
