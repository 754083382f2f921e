//! Taking out whole containers, wherever they were seen, with what only they referred to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Example, Filters, Removed, Rule, Setting, Thing};
use crate::{
    Digest, ImageReference,
    model::{Container, ContainerKind, Counts, DigestFact, Image, Pod, Report, Scope, ScopeId, Source, Text},
    normalise, scope_digest,
    unify::{Drawn, Seen, Sighted},
};

impl Filters {
    /// Takes the containers that are not to be reported out of a report's scopes, and what only they referred to: images,
    /// workloads, and pods with their sandboxes once nothing else is left of them. Says what it took, by collector.
    ///
    /// `scopes` are normalised bodies by digest. They are again when they come back, under new digests where something
    /// was taken out. The coverage of a scope stays: it tells how completely it was seen, not how much of it is told.
    #[must_use]
    pub fn remove_containers(
        &self,
        mut report: Report,
        mut scopes: BTreeMap<Digest, Scope>,
    ) -> (Report, BTreeMap<Digest, Scope>, BTreeMap<Text, Removed>) {
        let sources: Vec<&Source> = report.sources.iter().collect();
        let plan = self.plan(&Drawn::of(&sources, &scopes));
        let mut removed: BTreeMap<Text, Removed> = BTreeMap::new();
        let mut reported = BTreeMap::new();
        let mut untouched = BTreeSet::new();
        for source in &mut report.sources {
            for entry in &mut source.scopes {
                let Some((digest, body)) = entry.digest.as_ref().and_then(|digest| scopes.get_key_value(digest)) else {
                    continue;
                };
                let mut taken = Removed::default();
                let mut body = self.without(body, &source.collector, &entry.id, &plan, &mut taken);
                if taken.is_empty() {
                    untouched.insert(digest.clone());
                    continue;
                }
                let Counts { dangling_references, duplicates, truncated, .. } = entry.counts;
                entry.counts = Counts { dangling_references, duplicates, truncated, ..normalise(&mut body) };
                let digest = scope_digest(&body);
                entry.digest = Some(digest.clone());
                reported.insert(digest, body);
                removed.entry(source.collector.clone()).or_default().merge(taken);
            }
        }
        reported.extend(untouched.iter().filter_map(|digest| scopes.remove_entry(digest)));
        (report, reported, removed)
    }

    fn plan(&self, world: &Drawn<'_>) -> Plan {
        let names_of_images: Vec<BTreeSet<String>> = world.images().map(|image| image_names([image])).collect();
        let mut plan = Plan::default();
        let mut fates: HashMap<&str, Fate> = HashMap::new();
        let mut sandboxes = Vec::new();
        for container in world.containers() {
            let is_sandbox = container.seen.iter().all(|seen| seen.container.kind == ContainerKind::Sandbox);
            let image = container.image.and_then(|position| names_of_images.get(position));
            let cause = self.cause(&container, image, is_sandbox).filter(|cause| !is_sandbox || cause.is_by_name());
            if is_sandbox && cause.is_none() {
                sandboxes.extend(container.seen);
                continue;
            }
            if !is_sandbox {
                for pod in container.seen.iter().filter_map(|seen| seen.pod) {
                    let fate = fates.entry(pod_key(pod)).or_default();
                    fate.is_left |= cause.is_none();
                    fate.cause = fate.cause.take().or_else(|| cause.clone());
                }
            }
            if let Some(cause) = cause {
                container.seen.iter().for_each(|seen| plan.take(seen, &cause));
            }
        }
        let gone = fates.into_iter().filter(|(_, fate)| !fate.is_left);
        plan.pods = gone.filter_map(|(pod, fate)| Some((pod.to_owned(), fate.cause?.rule))).collect();
        // Nobody asked for a sandbox to run: it goes when its pod does.
        for seen in &sandboxes {
            if let Some(rule) = seen.pod.and_then(|pod| plan.pods.get(pod_key(pod)).copied()) {
                plan.take(seen, &Cause { rule, name: None });
            }
        }
        plan
    }

    /// Why a container is not to be reported.
    ///
    /// What excludes its image may be known of it to another source, and through another container. What includes it has
    /// to be said of the container itself: otherwise which containers are reported would hang on the others.
    fn cause(&self, container: &Sighted<'_>, image: Option<&BTreeSet<String>>, is_sandbox: bool) -> Option<Cause> {
        let names = container.seen.iter().map(|seen| seen.container.name.as_str());
        let cause = |(rule, name): (Rule, Option<&str>)| Cause { rule, name: name.map(str::to_owned) };
        // Nobody asked for a sandbox by name, so that none is missing among those that are included.
        let by_name = self.verdict(Setting::Containers, names);
        if let Some(verdict) = by_name.filter(|(rule, _)| !is_sandbox || matches!(rule, Rule::Excluded(..))) {
            return Some(cause(verdict));
        }
        if self.images.is_everything() {
            return None;
        }
        let mut own = image_names(container.seen.iter().filter_map(|seen| seen.image.map(|(_, image)| image)));
        container.seen.iter().filter_map(|seen| seen.container.image.as_deref()).for_each(|name| spell(name, &mut own));
        let elsewhere = image.into_iter().flatten().map(String::as_str);
        let excluded = self.verdict(Setting::Images, own.iter().map(String::as_str).chain(elsewhere));
        let excluded = excluded.filter(|(rule, _)| matches!(rule, Rule::Excluded(..)));
        excluded.or_else(|| self.verdict(Setting::Images, own.iter().map(String::as_str))).map(cause)
    }

    /// A scope without what the plan takes out of it.
    fn without(&self, body: &Scope, collector: &Text, scope: &ScopeId, plan: &Plan, removed: &mut Removed) -> Scope {
        let nothing = HashMap::new();
        let taken = plan.containers.get(&(collector.clone(), scope.clone())).unwrap_or(&nothing);
        let mut left = Scope {
            nodes: body.nodes.clone(),
            namespaces: body.namespaces.clone(),
            workloads: body.workloads.clone(),
            images: body.images.clone(),
            ..Scope::default()
        };
        let mut causes: HashMap<&str, Rule> = HashMap::new();
        for (index, container) in body.containers.iter().enumerate() {
            let Some(cause) = taken.get(&index) else {
                left.containers.push(container.clone());
                continue;
            };
            let references = [container.image_ref.as_deref(), container.workload.as_deref()];
            causes.extend(references.into_iter().flatten().map(|reference| (reference, cause.rule)));
            let of = if container.kind == ContainerKind::Sandbox { Thing::Sandbox } else { Thing::Container };
            removed.add(cause.rule, of, || cause.example(of, container));
        }
        for pod in &body.pods {
            let Some(rule) = plan.pods.get(pod_key(pod)).copied() else {
                left.pods.push(pod.clone());
                continue;
            };
            causes.extend(pod.workload.as_deref().map(|workload| (workload, rule)));
            removed.add(rule, Thing::Pod, || Example { of: Thing::Pod, name: pod.name.to_string(), detail: None });
        }
        let (images_before, workloads_before) = references(&body.containers, &body.pods);
        let (images, workloads) = references(&left.containers, &left.pods);
        left.workloads.retain(|workload| {
            let id = workload.id.as_str();
            let keep = workloads.contains(id) || !workloads_before.contains(id);
            if let (false, Some(rule)) = (keep, causes.get(id)) {
                removed.count(*rule, Thing::Workload);
            }
            keep
        });
        left.images.retain(|image| {
            let id = image.id.as_str();
            let rule = if images.contains(id) {
                None
            } else if images_before.contains(id) {
                causes.get(id).copied()
            } else {
                // No container speaks for it.
                let names = image_names([image]);
                self.verdict(Setting::Images, names.iter().map(String::as_str)).map(|(rule, _)| rule)
            };
            if let Some(rule) = rule {
                removed.count(rule, Thing::Image);
            }
            rule.is_none()
        });
        left
    }
}

/// What is to be taken out.
#[derive(Default)]
struct Plan {
    /// Positions in the bodies' containers, by collector and scope.
    containers: HashMap<(Text, ScopeId), HashMap<usize, Cause>>,
    /// By [`pod_key`].
    pods: HashMap<String, Rule>,
}

impl Plan {
    fn take(&mut self, seen: &Seen<'_>, cause: &Cause) {
        let place = (seen.source.collector.clone(), seen.entry.id.clone());
        self.containers.entry(place).or_default().insert(seen.index, cause.clone());
    }
}

/// What becomes of a pod.
#[derive(Default)]
struct Fate {
    /// Whether a container of it is reported.
    is_left: bool,
    /// Why a container of it is not.
    cause: Option<Cause>,
}

/// Why a container is taken out.
#[derive(Clone)]
struct Cause {
    rule: Rule,
    /// The name that an `exclude` pattern covers.
    name: Option<String>,
}

impl Cause {
    fn is_by_name(&self) -> bool {
        matches!(self.rule, Rule::Excluded(..))
    }

    fn example(&self, of: Thing, container: &Container) -> Example {
        let detail = self.name.clone().filter(|name| *name != container.name).map(|name| format!("known as `{name}`"));
        let image = || container.image.as_ref().map(|image| format!("image `{image}`"));
        Example { of, name: container.name.to_string(), detail: detail.or_else(image) }
    }
}

/// By what a pod is the same in every scope: a runtime knows a static pod by its configuration's hash. On several nodes
/// that is one pod here, of the same containers.
fn pod_key(pod: &Pod) -> &str {
    pod.config_hash.as_deref().unwrap_or(&pod.uid)
}

/// Keys of the images and workloads that containers and pods refer to.
fn references<'a>(containers: &'a [Container], pods: &'a [Pod]) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
    let images = containers.iter().filter_map(|container| container.image_ref.as_deref());
    let of_containers = containers.iter().filter_map(|container| container.workload.as_deref());
    let of_pods = pods.iter().filter_map(|pod| pod.workload.as_deref());
    (images.collect(), of_containers.chain(of_pods).collect())
}

/// Everything that an image may be called in a pattern.
fn image_names<'a>(images: impl IntoIterator<Item = &'a Image>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for image in images {
        image.names.iter().for_each(|name| spell(name, &mut names));
        image.repo_digests.iter().for_each(|repo| spell(&repo.to_string(), &mut names));
        let facts = [&image.index_digest, &image.manifest_digest, &image.config_digest];
        names.extend(facts.into_iter().filter_map(DigestFact::digest).map(ToString::to_string));
    }
    names
}

/// Adds a name as it is written, and the canonical and the shortest form of it, each with and without tag and digest.
fn spell(name: &str, names: &mut BTreeSet<String>) {
    names.insert(name.to_owned());
    let Ok(reference) = name.parse::<ImageReference>() else { return };
    let canonical = reference.canonical_repository();
    let short = canonical.strip_prefix("docker.io/").map(|rest| rest.strip_prefix("library/").unwrap_or(rest));
    for repository in [Some(canonical.as_str()), short].into_iter().flatten() {
        names.insert(repository.to_owned());
        names.extend(reference.tag().map(|tag| format!("{repository}:{tag}")));
        let Some(digest) = reference.digest() else { continue };
        names.insert(format!("{repository}@{digest}"));
        names.extend(reference.tag().map(|tag| format!("{repository}:{tag}@{digest}")));
    }
}
