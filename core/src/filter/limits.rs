//! How long anything may be, so that one hostile or broken runtime cannot make a report of any size.
//!
//! What is too long is cut, and what was cut carries the digest of the whole. It follows from the text alone, so that equal
//! scopes stay equal; two texts that differ only behind the cut stay different, so that a key is still a key, a reference
//! still leads to what it led to, a container is still the same in every source, and a change is still a change.

use std::{collections::BTreeMap, fmt};

use super::{Example, Removed, Rule, Thing};
use crate::{
    Digest,
    labels::Labels,
    model::{
        Cluster, Container, ContainerKind, Coverage, DigestFact, Host, Image, Namespace, Node, Platform, Pod,
        Provenance, RuntimeVersion, Scope, ScopeId, Source, Text, Workload,
    },
};

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// Of a label's or annotation's value, in bytes. A Kubernetes label has 63 at the most; annotations may have 262,144
    /// together, but what is longer than this is a document and not a mark.
    Value,
    /// Of a label's or annotation's key, in bytes. Kubernetes allows 317: 253, a slash and 63.
    Key,
    /// Of the labels of one thing, and of its annotations. The nodes of node-feature-discovery have some 200.
    Entries,
    /// Of names, identifiers, references and every other text, in bytes. The longest sound one is the name of an image
    /// with tag and digest, 255, 1, 128, 1 and 135 (distribution specification 1.1).
    Text,
}

impl Limit {
    /// All.
    pub const ALL: [Self; 4] = [Self::Value, Self::Key, Self::Entries, Self::Text];

    /// The greatest length or number that is left alone.
    #[must_use]
    pub fn maximum(self) -> usize {
        match self {
            Self::Value => 4096,
            Self::Key | Self::Entries => 512,
            Self::Text => 1024,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let maximum = self.maximum();
        match self {
            Self::Value => write!(f, "a value of more than {maximum} bytes"),
            Self::Key => write!(f, "a key of more than {maximum} bytes"),
            Self::Entries => write!(f, "more than {maximum} labels or annotations of one thing"),
            Self::Text => write!(f, "a text of more than {maximum} bytes"),
        }
    }
}

/// Stands where something was cut, before the digest of the whole.
const CUT: &str = "…";

/// The beginning of a text and the digest of all of it, together no longer than `limit` allows; `None` if it is not too
/// long.
fn shortened(text: &str, limit: Limit) -> Option<String> {
    let maximum = limit.maximum();
    if text.len() <= maximum {
        return None;
    }
    let digest = Digest::sha256(text.as_bytes());
    let end = text.floor_char_boundary(maximum - CUT.len() - digest.as_str().len());
    Some(format!("{}{CUT}{digest}", &text[..end]))
}

/// Bounds the keys, values and number of labels or annotations; `cut` is told of each, by its key in the result.
pub(super) fn limit_map(map: &mut Labels, cut: &mut impl FnMut(Limit, &str)) {
    let is_long = |text: &Text, limit: Limit| text.len() > limit.maximum();
    let is_sound = map.len() <= Limit::Entries.maximum()
        && !map.iter().any(|(key, value)| is_long(key, Limit::Key) || is_long(value, Limit::Value));
    if is_sound {
        return;
    }
    let mut entries: BTreeMap<Text, Text> = map.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    for (key, value) in &*map {
        if let Some(short) = shortened(key, Limit::Key) {
            cut(Limit::Key, &short);
            entries.remove(key);
            entries.insert(short.into(), value.clone());
        }
    }
    // The last ones by key: which ones is the same in every look.
    while entries.len() > Limit::Entries.maximum() {
        if let Some((key, _)) = entries.pop_last() {
            cut(Limit::Entries, &key);
        }
    }
    for (key, value) in &mut entries {
        if let Some(short) = shortened(value, Limit::Value) {
            *value = short.into();
            cut(Limit::Value, key);
        }
    }
    *map = entries.into();
}

/// Bounds every text of a scope but its labels and annotations.
pub(super) fn limit_scope(scope: &mut Scope, removed: &mut Removed) {
    let Scope { nodes, namespaces, workloads, pods, containers, images } = scope;
    for node in nodes {
        limit_node(node, removed);
    }
    for namespace in namespaces {
        limit_namespace(namespace, removed);
    }
    for workload in workloads {
        limit_workload(workload, removed);
    }
    for pod in pods {
        limit_pod(pod, removed);
    }
    for container in containers {
        limit_container(container, removed);
    }
    for image in images {
        limit_image(image, removed);
    }
}

/// Bounds what a runtime says of itself and of how a look went.
#[must_use]
pub fn limit_source(source: &mut Source) -> Removed {
    let mut removed = Removed::default();
    let mut cuts = Cuts::default();
    let Source {
        collector,
        kind: _,
        runtime,
        cluster,
        host,
        observed_at: _,
        coverage,
        shown: _,
        cost: _,
        warnings,
        scopes,
    } = source;
    if let Some(RuntimeVersion { name, version }) = runtime {
        cuts.text("runtime's name", name);
        cuts.text("version", version);
    }
    if let Some(Cluster { uid, name }) = cluster {
        cuts.option("cluster's uid", uid);
        cuts.option("cluster's name", name);
    }
    if let Some(Host { machine_id, hostname }) = host {
        cuts.option("machine id", machine_id);
        cuts.option("host name", hostname);
    }
    cuts.reason(coverage);
    for warning in warnings {
        cuts.at("warning", &mut warning.message, Limit::Value);
    }
    for entry in scopes {
        let ScopeId { kind: _, name } = &mut entry.id;
        cuts.text("scope's name", name);
        cuts.reason(&mut entry.coverage);
    }
    cuts.record(Thing::Source, collector, &mut removed);
    removed
}

fn limit_node(node: &mut Node, removed: &mut Removed) {
    let Node {
        name,
        uid,
        machine_id,
        container_runtime_version,
        kernel_version,
        kubelet_version,
        operating_system,
        os_image,
        architecture,
        ready: _,
        created_at: _,
        labels: _,
        annotations: _,
    } = node;
    let mut cuts = Cuts::default();
    cuts.text("name", name);
    for (what, text) in [
        ("uid", uid),
        ("machine_id", machine_id),
        ("container_runtime_version", container_runtime_version),
        ("kernel_version", kernel_version),
        ("kubelet_version", kubelet_version),
        ("operating_system", operating_system),
        ("os_image", os_image),
        ("architecture", architecture),
    ] {
        cuts.option(what, text);
    }
    cuts.record(Thing::Node, name, removed);
}

fn limit_namespace(namespace: &mut Namespace, removed: &mut Removed) {
    let Namespace { name, uid, phase, created_at: _, labels: _, annotations: _ } = namespace;
    let mut cuts = Cuts::default();
    cuts.text("name", name);
    cuts.option("uid", uid);
    cuts.option("phase", phase);
    cuts.record(Thing::Namespace, name, removed);
}

fn limit_workload(workload: &mut Workload, removed: &mut Removed) {
    let Workload { id, kind, name, namespace, api_version, uid } = workload;
    let mut cuts = Cuts::default();
    cuts.text("id", id);
    cuts.text("kind", kind);
    cuts.text("name", name);
    cuts.option("namespace", namespace);
    cuts.option("api_version", api_version);
    cuts.option("uid", uid);
    cuts.record(Thing::Workload, name, removed);
}

fn limit_pod(pod: &mut Pod, removed: &mut Removed) {
    let Pod {
        uid,
        name,
        namespace,
        node_name,
        phase,
        reason,
        workload,
        config_hash,
        created_at: _,
        started_at: _,
        labels: _,
        annotations: _,
    } = pod;
    let mut cuts = Cuts::default();
    cuts.text("uid", uid);
    cuts.text("name", name);
    cuts.text("namespace", namespace);
    cuts.option("node_name", node_name);
    cuts.option("phase", phase);
    cuts.option("reason", reason);
    cuts.option("workload", workload);
    cuts.option("config_hash", config_hash);
    cuts.record(Thing::Pod, name, removed);
}

fn limit_container(container: &mut Container, removed: &mut Removed) {
    let Container {
        id,
        name,
        kind,
        pod_uid,
        workload,
        node_name,
        image,
        image_ref,
        image_missing: _,
        state: _,
        state_reason,
        exit_code: _,
        created_at: _,
        started_at: _,
        finished_at: _,
        restart_count: _,
        labels: _,
    } = container;
    let mut cuts = Cuts::default();
    cuts.option("id", id);
    cuts.text("name", name);
    cuts.option("pod_uid", pod_uid);
    cuts.option("workload", workload);
    cuts.option("node_name", node_name);
    cuts.option("image", image);
    cuts.option("image_ref", image_ref);
    cuts.option("state_reason", state_reason);
    let of = if *kind == ContainerKind::Sandbox { Thing::Sandbox } else { Thing::Container };
    cuts.record(of, name, removed);
}

fn limit_image(image: &mut Image, removed: &mut Removed) {
    let Image {
        id,
        names,
        index_digest,
        manifest_digest,
        config_digest,
        repo_digests,
        platform,
        size_bytes: _,
        created_at: _,
    } = image;
    let mut cuts = Cuts::default();
    cuts.text("id", id);
    for name in names {
        cuts.text("names", name);
    }
    for repo in repo_digests {
        cuts.text("repo_digests", &mut repo.repository);
    }
    for fact in [index_digest, manifest_digest, config_digest] {
        if let DigestFact::Known { digest: _, from: Provenance(from) } = fact
            && let Some(short) = shortened(from, Limit::Text)
        {
            *from = short.into();
            cuts.0.push(("from", Limit::Text));
        }
    }
    if let Some(Platform { os, architecture, variant }) = platform {
        cuts.text("os", os);
        cuts.text("architecture", architecture);
        cuts.option("variant", variant);
    }
    cuts.record(Thing::Image, id, removed);
}

/// The fields of one thing that were cut.
#[derive(Default)]
struct Cuts(Vec<(&'static str, Limit)>);

impl Cuts {
    fn text(&mut self, field: &'static str, text: &mut (impl AsRef<str> + From<String>)) {
        self.at(field, text, Limit::Text);
    }

    fn at(&mut self, field: &'static str, text: &mut (impl AsRef<str> + From<String>), limit: Limit) {
        if let Some(short) = shortened(text.as_ref(), limit) {
            *text = short.into();
            self.0.push((field, limit));
        }
    }

    fn option(&mut self, field: &'static str, text: &mut Option<impl AsRef<str> + From<String>>) {
        if let Some(text) = text {
            self.text(field, text);
        }
    }

    fn reason(&mut self, coverage: &mut Coverage) {
        if let Coverage::Partial { reason } | Coverage::Denied { reason } | Coverage::Failed { reason } = coverage {
            self.at("reason", reason, Limit::Value);
        }
    }

    fn record(self, of: Thing, name: &str, removed: &mut Removed) {
        for (field, limit) in self.0 {
            let example = || Example { of, name: name.to_owned(), detail: Some(field.to_owned()) };
            removed.add(Rule::Limit(limit), Thing::Text, example);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_within_the_limit_and_stays_different() {
        let long = "é".repeat(1 << 19);
        let longer = format!("{long}x");
        let [one, other] = [&long, &longer].map(|text| shortened(text, Limit::Value).unwrap());
        assert_ne!(one, other, "they differ only behind the cut");
        assert!(one.len() <= 4096 && one.len() > 4090, "{}", one.len());
        assert!(one.starts_with("éé") && one.ends_with(Digest::sha256(long.as_bytes()).as_str()));
        assert_eq!(shortened(&one, Limit::Value), None, "once is enough");
        assert_eq!(shortened(&"x".repeat(4096), Limit::Value), None);
    }

    #[test]
    fn long_keys_do_not_fall_together_and_the_last_of_too_many_go() {
        let key = "k".repeat(600);
        let short = (0..600).map(|number| (format!("n{number:03}"), ""));
        let mut map: Labels = short.chain([(format!("{key}a"), "1"), (format!("{key}b"), "2")]).collect();
        let mut cuts = Vec::new();
        limit_map(&mut map, &mut |limit, key| cuts.push((limit, key.to_owned())));
        let values: Vec<&str> =
            map.iter().filter(|(key, _)| key.starts_with('k')).map(|(_, value)| value.as_str()).collect();
        assert_eq!(values.len(), 2, "{values:?}");
        assert_eq!(map.len(), 512);
        assert_eq!(map.keys().last().map(Text::as_str), Some("n509"));
        assert_eq!(cuts.len(), 2 + 90);
        let before = map.clone();
        limit_map(&mut map, &mut |limit, key| panic!("{limit} {key}"));
        assert_eq!(map, before);
    }
}
