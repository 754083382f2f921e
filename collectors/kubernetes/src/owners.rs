//! From the object that made a pod to the one that a person wrote: `ReplicaSet` to `Deployment`, `Job` to `CronJob`.
//!
//! There it ends. A `Deployment`, `CronJob` or `StatefulSet` may itself be managed by an operator's object (a Knative
//! `Revision`, a database's custom resource), of which there are as many kinds as operators, each with a grant of its
//! own. Those are not listed: a pod's workload is never what manages its `Deployment`, and whether anything does is not
//! known.

use std::collections::HashMap;

use crate::wire::{Owned, OwnerReference};

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

    /// Whether `owner` is of this kind.
    pub(crate) fn is(&self, owner: &OwnerReference) -> bool {
        owner.kind == self.kind && self.is_in_group(owner)
    }

    /// What the link belongs to: its controller, or what normally owns it. `kubectl create job --from=cronjob/…` of
    /// Kubernetes 1.20 names the `CronJob` without calling it the controller (testdata/jobs.json).
    fn owner_of(&self, owners: Vec<OwnerReference>) -> Option<OwnerReference> {
        let is_parent = |owner: &OwnerReference| owner.kind == self.parent && self.is_in_group(owner);
        match controller(&owners).cloned() {
            Some(owner) => Some(owner),
            None => owners.into_iter().find(is_parent),
        }
    }

    fn is_in_group(&self, owner: &OwnerReference) -> bool {
        owner.api_version.split_once('/').is_some_and(|(group, _)| group == self.group)
    }
}

/// The one owner that manages the object; others merely have it deleted with them.
pub(crate) fn controller(owners: &[OwnerReference]) -> Option<&OwnerReference> {
    owners.iter().find(|owner| owner.controller == Some(true))
}

/// What manages the links that were listed, by the link's uid.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    above: HashMap<String, OwnerReference>,
}

impl Owners {
    /// Remembers what `owned`, which is a `link`, belongs to. If to nothing, it is the outermost and needs no entry.
    pub(crate) fn add(&mut self, link: &Link, owned: Owned) {
        // All objects without a uid would be one.
        if owned.metadata.uid.is_empty() {
            return;
        }
        if let Some(owner) = link.owner_of(owned.metadata.owner_references) {
            self.above.insert(owned.metadata.uid, owner);
        }
    }

    /// The outermost owner of an object that `owner` manages, as far as [`LINKS`] lead: what may manage a `Deployment` is
    /// not looked for. `owner` itself, if nothing is known to be above it.
    pub(crate) fn outermost<'a>(&'a self, owner: &'a OwnerReference) -> &'a OwnerReference {
        if LINKS.iter().any(|link| link.is(owner)) { self.above.get(&owner.uid).unwrap_or(owner) } else { owner }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(api_version: &str, kind: &str, uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: api_version.into(),
            kind: kind.into(),
            uid: uid.into(),
            name: format!("{kind}-{uid}"),
            controller: Some(true),
        }
    }

    fn owned(uid: &str, owners: Vec<OwnerReference>) -> Owned {
        Owned { metadata: crate::wire::OwnedMeta { uid: uid.into(), owner_references: owners } }
    }

    #[test]
    fn follows_the_controller_and_only_from_links() {
        let mut owners = Owners::default();
        let rollout = owner("argoproj.io/v1alpha1", "Rollout", "r");
        let other = OwnerReference { controller: None, ..owner("v1", "ConfigMap", "c") };
        owners.add(&LINKS[0], owned("rs", vec![other, rollout.clone()]));
        owners.add(&LINKS[0], owned("bare", vec![]));

        assert_eq!(owners.outermost(&owner("apps/v1", "ReplicaSet", "rs")), &rollout);
        let bare = owner("apps/v1", "ReplicaSet", "bare");
        assert_eq!(owners.outermost(&bare), &bare, "nothing manages it");
        let unseen = owner("batch/v1", "Job", "deleted-meanwhile");
        assert_eq!(owners.outermost(&unseen), &unseen);
        let foreign = owner("batch.volcano.sh/v1alpha1", "Job", "rs");
        assert_eq!(owners.outermost(&foreign), &foreign);
    }

    #[test]
    fn an_owner_that_does_not_manage_is_no_owner() {
        let plain = OwnerReference { controller: Some(false), ..owner("v1", "Node", "n") };
        assert_eq!(controller(std::slice::from_ref(&plain)), None);
        assert_eq!(controller(&[plain, owner("v1", "Node", "m")]).map(|owner| owner.uid.as_str()), Some("m"));
    }
}
