//! What has to be true of the content of a collection, whatever is in the runtime.

use std::collections::{BTreeMap, BTreeSet};

use super::{look::Look, rule, suite::Suite};
use crate::{
    ObservedScope, Resource,
    model::{
        Container, ContainerKind, ContainerState, DigestFact, Image, MissingReason, Scope, ScopeId, ScopeKind, Text,
    },
    normalise,
};

type Check = fn(&ObservedScope) -> Option<String>;

/// Rules that a scope keeps or breaks by itself.
const CHECKS: [(rule::Rule, Check); 5] = [
    (rule::UNIQUE_IDS, repeated_id),
    (rule::REFERENCES, dangling_references),
    (rule::IMAGE_OR_REASON, image_and_reason),
    (rule::DIGEST_ROLES, mixed_up_digests),
    (rule::IMAGES_IN_USE, unused_image),
];

pub(super) fn check(suite: &mut Suite, look: &Look) {
    suite.judge(rule::SCOPES, wrong_scope(look));
    let provides = suite.subject.factory.provides;
    suite.judge(rule::PROVIDES, look.scopes.iter().find_map(|scope| not_provided(scope, provides)));
    suite.judge(rule::VOCABULARY, look.scopes.iter().find_map(word_of_another_version));
    secrets(suite, look);
    if look.scopes.iter().all(|scope| scope.body.containers.is_empty()) {
        for (rule, _) in CHECKS {
            suite.skip(rule, "the runtime has no containers");
        }
        return;
    }
    for (rule, broken) in CHECKS {
        let seen = look.scopes.iter().find_map(|scope| Some(format!("{}: {}", scope.id, broken(scope)?)));
        suite.judge(rule, seen);
    }
}

fn wrong_scope(look: &Look) -> Option<String> {
    if look.scopes.is_empty() {
        return Some("not one scope".to_owned());
    }
    let mut ids: BTreeSet<&ScopeId> = BTreeSet::new();
    for ObservedScope { id, .. } in &look.scopes {
        if !ids.insert(id) {
            return Some(format!("{id} was handed over twice"));
        }
        let stands_alone = matches!(id.kind, ScopeKind::Host | ScopeKind::Cluster);
        if id.name.is_empty() && !stands_alone {
            return Some(format!("a scope `{id}` without a name"));
        }
    }
    None
}

/// Entities may be handed over again if they are the same to the letter, except containers.
fn repeated_id(scope: &ObservedScope) -> Option<String> {
    let mut ids = BTreeSet::new();
    for container in &scope.body.containers {
        match &container.id {
            Some(id) if id.is_empty() => return Some(format!("container `{}` has an empty id", container.name)),
            Some(id) if !ids.insert(id) => return Some(format!("two containers have the id `{id}`")),
            None if container.pod_uid.is_none() => {
                return Some(format!("container `{}` has neither an id nor a pod", container.name));
            }
            _ => {}
        }
    }
    let body = &scope.body;
    let keys = body.pods.iter().map(|pod| &pod.uid).chain(body.workloads.iter().map(|workload| &workload.id));
    if keys.chain(body.images.iter().map(|image| &image.id)).any(Text::is_empty) {
        return Some("a pod, workload or image has an empty id".to_owned());
    }
    let duplicates = normalise(&mut scope.body.clone()).duplicates;
    (duplicates > 0).then(|| format!("{duplicates} entities have the id of another one and say something else"))
}

fn dangling_references(scope: &ObservedScope) -> Option<String> {
    let dangling = normalise(&mut scope.body.clone()).dangling_references;
    (dangling > 0).then(|| format!("{dangling} references lead nowhere"))
}

fn image_and_reason(scope: &ObservedScope) -> Option<String> {
    scope.body.containers.iter().find_map(|Container { name, image_ref, image_missing, .. }| {
        match (image_ref, image_missing) {
            (Some(_), Some(reason)) => Some(format!("container `{name}` has an image and the reason `{reason}`")),
            (None, None) => Some(format!("container `{name}` has neither an image nor a reason")),
            (_, Some(MissingReason::DanglingReference)) => {
                Some(format!("container `{name}` has a reason that is not the collector's to give"))
            }
            _ => None,
        }
    })
}

fn facts(image: &Image) -> [(&'static str, &DigestFact); 3] {
    [("index", &image.index_digest), ("manifest", &image.manifest_digest), ("configuration", &image.config_digest)]
}

/// One digest in two roles, be it in one image or in two.
fn mixed_up_digests(scope: &ObservedScope) -> Option<String> {
    let mut roles = BTreeMap::new();
    for image in &scope.body.images {
        for (role, fact) in facts(image) {
            let Some(digest) = fact.digest() else { continue };
            let known = *roles.entry(digest).or_insert(role);
            if known != role {
                return Some(format!("{digest} is called a digest of the {known} and of the {role}"));
            }
        }
    }
    let served = scope.body.images.iter().flat_map(|image| &image.repo_digests);
    let config = served.map(|served| &served.digest).find(|digest| roles.get(digest) == Some(&"configuration"));
    config.map(|digest| format!("{digest} is called a digest of the configuration and one that a repository serves"))
}

fn unused_image(scope: &ObservedScope) -> Option<String> {
    let used: BTreeSet<&str> = scope.body.containers.iter().filter_map(|it| it.image_ref.as_deref()).collect();
    let unused = scope.body.images.iter().find(|image| !used.contains(image.id.as_str()));
    unused.map(|image| format!("no container refers to image `{}`", image.id))
}

fn not_provided(scope: &ObservedScope, provides: &[Resource]) -> Option<String> {
    let Scope { nodes, namespaces, workloads, pods, containers, images } = &scope.body;
    let counts = [
        (Resource::Nodes, nodes.len()),
        (Resource::Namespaces, namespaces.len()),
        (Resource::Workloads, workloads.len()),
        (Resource::Pods, pods.len()),
        (Resource::Containers, containers.len()),
        (Resource::Images, images.len()),
    ];
    let extra = counts.into_iter().find(|(resource, count)| *count > 0 && !provides.contains(resource));
    extra.map(|(resource, count)| format!("{}: {count} of {resource:?}", scope.id))
}

fn word_of_another_version(scope: &ObservedScope) -> Option<String> {
    let containers = &scope.body.containers;
    let place = if scope.id.kind == ScopeKind::Other {
        "the scope's kind".to_owned()
    } else if let Some(container) = containers.iter().find(|container| {
        container.kind == ContainerKind::Other
            || container.state == ContainerState::Other
            || container.image_missing == Some(MissingReason::Other)
    }) {
        format!("container `{}`", container.name)
    } else {
        let is_other = |fact: &DigestFact| matches!(fact, DigestFact::Missing { missing: MissingReason::Other });
        let image = scope.body.images.iter().find(|image| facts(image).iter().any(|(_, fact)| is_other(fact)))?;
        format!("image `{}`", image.id)
    };
    Some(format!("{}: {place}", scope.id))
}

fn secrets(suite: &mut Suite, look: &Look) {
    let Some(secret) = suite.subject.secret.clone() else {
        return suite.skip(rule::SECRETS, "the test did not give the suite a secret to look for");
    };
    let told = |scope: &ObservedScope| serde_json::to_string(&scope.body).is_ok_and(|json| json.contains(&secret));
    let place = look.scopes.iter().find(|scope| told(scope)).map(|scope| scope.id.to_string());
    let warned = look.warnings.iter().any(|warning| warning.message.contains(&secret));
    let place = place.or_else(|| warned.then(|| "a warning".to_owned()));
    suite.judge(rule::SECRETS, place.map(|place| format!("the secret of a container is in {place}")));
}
