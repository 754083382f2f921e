//! The document that a program prints.

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};

use crate::{
    Location, ObservedScope, RuntimeInfo,
    model::{
        Cluster, Container, Coverage, Host, Image, MissingReason, Namespace, Node, Pod, RuntimeVersion, SCHEMA_VERSION,
        Scope, ScopeId, ScopeKind, Shown, Text, Warning, Workload,
    },
};

/// What a program saw: one JSON object on its standard output.
///
/// Written so that a shell script can write it: what can be left out is left out. What a reader does not know it ignores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// Version of this form.
    #[serde(default = "schema_version")]
    pub schema: String,
    /// Who the runtime is. A source that does not say it is never complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// The cluster, where the runtime is one; `host` then means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// The machine that the runtime is on. Left out: the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// How completely the list of scopes was seen. Left out: partially. That all was seen makes what is missing
    /// disappear, so it has to be said.
    #[serde(default = "unsaid", deserialize_with = "coverage")]
    pub coverage: Coverage,
    /// How much of a scope is shown: `all`, `running` (all that has a process) or `part`. Left out: a part, and then nothing
    /// follows from what is not there.
    #[serde(default)]
    pub shown: Shown,
    /// Remarks on what could be better and yet leaves the inventory complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// The scopes. May be left out only where nothing but who the runtime is was asked for; that there is none is said
    /// with an empty list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<ScopeDocument>>,
}

/// Name and version of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Runtime {
    /// `docker`, `lxc`, `jails`.
    pub name: String,
    /// The version that it reports, where it does.
    #[serde(default)]
    pub version: String,
}

/// One scope with its body.
///
/// Its fields are not flattened from the model's types: a complaint then names the field that it is about, and a large
/// document is not held twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScopeDocument {
    /// What it is.
    #[serde(default = "host")]
    pub kind: ScopeKind,
    /// Its name among those of its kind. A source's one host or cluster scope needs none.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub name: Text,
    /// How completely it was seen. Left out: partially.
    #[serde(default = "unsaid", deserialize_with = "coverage")]
    pub coverage: Coverage,
    /// Nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// Namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
    /// Workloads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Workload>,
    /// Pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<Pod>,
    /// Containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
    /// Images in use. Only `id` has to be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "images")]
    pub images: Vec<Image>,
}

impl Default for Document {
    /// A document that says nothing, and that it says nothing.
    fn default() -> Self {
        Self {
            schema: schema_version(),
            runtime: None,
            cluster: None,
            host: None,
            coverage: unsaid(),
            shown: Shown::Part,
            warnings: Vec::new(),
            scopes: None,
        }
    }
}

impl Document {
    /// Who the runtime is, if it says so. `host` is the machine that is meant where none is named.
    #[must_use]
    pub fn info(&self, host: &Host) -> Option<RuntimeInfo> {
        let Runtime { name, version } = self.runtime.clone().filter(|runtime| !runtime.name.is_empty())?;
        let location = match (&self.cluster, &self.host) {
            (Some(cluster), _) => Location::Cluster(cluster.clone()),
            (None, named) => Location::Host(named.as_ref().unwrap_or(host).clone()),
        };
        Some(RuntimeInfo { runtime: RuntimeVersion { name, version }, location })
    }

    /// The same document of the runtime that `info` describes.
    #[must_use]
    pub fn of(mut self, info: RuntimeInfo) -> Self {
        let RuntimeVersion { name, version } = info.runtime;
        self.runtime = Some(Runtime { name, version });
        (self.cluster, self.host) = match info.location {
            Location::Cluster(cluster) => (Some(cluster), None),
            Location::Host(host) => (None, Some(host)),
        };
        self
    }
}

impl From<ObservedScope> for ScopeDocument {
    fn from(observed: ObservedScope) -> Self {
        let ScopeId { kind, name } = observed.id;
        let Scope { nodes, namespaces, workloads, pods, containers, images } = observed.body;
        Self { kind, name, coverage: observed.coverage, nodes, namespaces, workloads, pods, containers, images }
    }
}

impl From<ScopeDocument> for ObservedScope {
    fn from(document: ScopeDocument) -> Self {
        let ScopeDocument { kind, name, coverage, nodes, namespaces, workloads, pods, containers, images } = document;
        let body = Scope { nodes, namespaces, workloads, pods, containers, images };
        Self { id: ScopeId { kind, name }, coverage, body }
    }
}

/// JSON Schema of a [`Document`], `docs/schema/exec.v1.json`.
#[must_use]
pub fn document_schema() -> Schema {
    let mut schema = schema_for!(Document);
    // Whoever reads a document fills in the rest.
    for (pointer, required) in
        [("/$defs/Image/required", json!(["id"])), ("/$defs/DigestFact/anyOf/0/required", json!(["digest"]))]
    {
        if let Some(found) = schema.pointer_mut(pointer) {
            *found = required;
        }
    }
    schema
}

fn schema_version() -> String {
    SCHEMA_VERSION.to_owned()
}

fn host() -> ScopeKind {
    ScopeKind::Host
}

fn unsaid() -> Coverage {
    Coverage::Partial { reason: "the program does not say how completely it looked (`coverage`)".to_owned() }
}

/// A word that this version does not know is kept as such, and a reason may be left out.
fn coverage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Coverage, D::Error> {
    #[derive(Deserialize)]
    struct Said {
        status: String,
        #[serde(default)]
        reason: Option<String>,
    }
    let Said { status, reason } = Said::deserialize(deserializer)?;
    let reason = reason.unwrap_or_else(|| "the program does not say why".to_owned());
    Ok(match status.as_str() {
        "complete" => Coverage::Complete,
        "partial" => Coverage::Partial { reason },
        "denied" => Coverage::Denied { reason },
        "failed" => Coverage::Failed { reason },
        _ => Coverage::Other,
    })
}

/// Digests that are not mentioned were not reported; one of which is not said how it was learnt was learnt somehow.
fn images<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Image>, D::Error> {
    let image = |(position, mut image): (usize, Map<String, Value>)| {
        for key in ["index_digest", "manifest_digest", "config_digest"] {
            let fact = image.entry(key).or_insert_with(|| json!({ "missing": MissingReason::NotReported }));
            if let Some(fact) = fact.as_object_mut().filter(|fact| fact.contains_key("digest")) {
                fact.entry("from").or_insert_with(|| "unspecified".into());
            }
        }
        serde_json::from_value(Value::Object(image))
            .map_err(|error| de::Error::custom(format!("[{position}]: {error}")))
    };
    Vec::deserialize(deserializer)?.into_iter().enumerate().map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Digest,
        model::{ContainerState, DigestFact, Provenance},
    };

    fn read(json: &str) -> Document {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
    }

    #[test]
    fn what_is_left_out_is_never_complete() {
        let document = read(r#"{"scopes": [{"containers": [{"name": "a"}]}]}"#);
        assert_eq!(document.coverage, unsaid());
        let scope = ObservedScope::from(document.scopes.unwrap().remove(0));
        assert_eq!((scope.id, scope.coverage), (ScopeId::host(), unsaid()));
        assert_eq!(scope.body.containers[0].state, ContainerState::Unknown);
        assert_eq!(read("{}"), Document::default());
    }

    #[test]
    fn words_and_fields_of_another_version_are_no_errors_and_no_completeness() {
        let document = read(
            r#"{"new": 1, "coverage": {"status": "mostly"}, "scopes": [
                {"kind": "galaxy", "name": "m31", "coverage": {"status": "denied"}, "new": [],
                 "containers": [{"name": "a", "state": "levitating", "kind": "x", "new": {}}]}]}"#,
        );
        assert_eq!(document.coverage, Coverage::Other);
        let scope = &document.scopes.unwrap()[0];
        assert_eq!(scope.kind, ScopeKind::Other);
        assert_eq!(scope.coverage, Coverage::Denied { reason: "the program does not say why".into() });
        assert_eq!(scope.containers[0].state, ContainerState::Other);
    }

    #[test]
    fn an_image_needs_no_more_than_its_id() {
        let digest = Digest::sha256(b"");
        let document = read(&format!(
            r#"{{"scopes": [{{"images": [{{"id": "a"}}, {{"id": "b", "manifest_digest": {{"digest": "{digest}"}},
                "config_digest": {{"digest": "md5:1", "from": "x"}}, "repo_digests": ["no digest"]}}]}}]}}"#
        ));
        let images = document.scopes.unwrap().remove(0).images;
        assert_eq!(images[0], Image::unresolved("a", MissingReason::NotReported));
        assert_eq!(images[1].manifest_digest, DigestFact::known(digest, Provenance("unspecified".into())));
        assert_eq!(images[1].config_digest, DigestFact::missing(MissingReason::Other));
        assert_eq!(images[1].repo_digests, []);
        let error = serde_json::from_str::<Document>(r#"{"scopes": [{"images": [{"id": "a"}, {}]}]}"#).unwrap_err();
        assert!(error.to_string().starts_with("[1]: missing field `id`"), "{error}");
    }

    #[test]
    fn the_host_is_the_agents_unless_another_or_a_cluster_is_named() {
        let own = Host { hostname: Some("own".into()), ..Host::default() };
        let location = |json: &str| read(json).info(&own).map(|info| info.location);
        assert_eq!(["{}", r#"{"runtime": {"name": ""}}"#].map(location), [None, None]);
        assert_eq!(location(r#"{"runtime": {"name": "x"}}"#), Some(Location::Host(own.clone())));
        let other = Host { hostname: Some("other".into()), ..Host::default() };
        assert_eq!(
            location(r#"{"runtime": {"name": "x"}, "host": {"hostname": "other"}}"#),
            Some(Location::Host(other))
        );
        let cluster = Cluster { name: Some("prod".into()), uid: None };
        assert_eq!(
            location(r#"{"runtime": {"name": "x"}, "cluster": {"name": "prod"}, "host": {}}"#),
            Some(Location::Cluster(cluster))
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let scope = ObservedScope {
            id: ScopeId::namespace("n"),
            coverage: Coverage::Partial { reason: "half".into() },
            body: Scope {
                containers: vec![Container { name: "a".into(), ..Container::default() }],
                images: vec![Image::unresolved("i", MissingReason::Ambiguous)],
                ..Scope::default()
            },
        };
        let info = RuntimeInfo {
            runtime: RuntimeVersion { name: "r".into(), version: "1".into() },
            location: Location::Host(Host { machine_id: Some("m".into()), hostname: None }),
        };
        let document = Document {
            coverage: Coverage::Complete,
            warnings: vec![Warning::new("w")],
            scopes: Some(vec![scope.clone().into()]),
            ..Document::default()
        };
        let document = document.of(info.clone());
        let again = read(&serde_json::to_string(&document).unwrap());
        assert_eq!(again, document);
        assert_eq!(again.info(&Host::default()), Some(info));
        assert_eq!(ObservedScope::from(again.scopes.unwrap().remove(0)), scope);
    }

    #[test]
    fn the_schema_asks_for_no_more_than_a_reader() {
        let schema = document_schema();
        assert_eq!(schema.get("required"), None);
        assert_eq!(schema.pointer("/$defs/Image/required"), Some(&json!(["id"])));
        assert_eq!(schema.pointer("/$defs/DigestFact/anyOf/0/required"), Some(&json!(["digest"])));
        assert_eq!(schema.pointer("/$defs/ScopeDocument/required"), None);
    }
}
