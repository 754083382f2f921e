//! One node, for an agent on each: its pods of all namespaces are one scope, and nothing is listed of other nodes.

use stocktake_core::{
    CollectError, ConfigError, Environment, ObservedScope, ScopeSink, Selection,
    model::{Coverage, Node, Scope, ScopeId, Text, Warning},
};

use crate::{
    api::{Api, percent_encode},
    convert::{ConvertedPod, convert_node, convert_pod},
    error::{Action, Failure, FailureKind},
    kubelet,
    list::{Lister, Query, Step},
    live::{Kind, Live, Resource},
    node_owners::{NodeOwners, needed},
    pods::{self, Stray},
    scope::PodScope,
    settings::Settings,
    texts::Texts,
    wire::{self, OwnerReference},
};

/// Puts the values of environment variables in the place of `$NAME`.
pub(crate) fn expand(key: &str, text: &str, environment: &Environment) -> Result<String, ConfigError> {
    let mut parts = text.split('$');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let value = environment.variable(name).ok_or_else(|| {
            ConfigError::new(key, format!("the environment variable `{name}` is not set")).hint(
                "set it in the DaemonSet from `fieldRef: {fieldPath: spec.nodeName}`, or `status.hostIP` for an address",
            )
        })?;
        // An address within a URL.
        let is_ipv6 = !text.starts_with('$') && value.parse::<std::net::Ipv6Addr>().is_ok();
        let (open, close) = if is_ipv6 { ("[", "]") } else { ("", "") };
        expanded.extend([open, value, close, rest]);
    }
    Ok(expanded)
}

/// The settings with the node's name itself.
pub(crate) fn resolve(settings: Settings, environment: &Environment) -> Result<Settings, ConfigError> {
    let Some(written) = &settings.node else { return Ok(settings) };
    let name = expand("node", written, environment)?;
    // A DNS subdomain, as Kubernetes has it: nothing else can stand in a field selector without escaping.
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-.".contains(letter);
    if name.is_empty() || name.len() > 253 || !name.chars().all(is_name) {
        return Err(ConfigError::new("node", format!("`{}` is not the name of a node", crate::error::one_line(&name)))
            .hint("write the name as `kubectl get nodes` shows it, or `$NODE_NAME`"));
    }
    Ok(Settings { node: Some(name), ..settings })
}

/// What is watched of a node. What its pods belong to is asked for by name.
pub(crate) fn resources(settings: &Settings) -> Vec<Resource> {
    let name = settings.node.as_deref().unwrap_or_default();
    let mut resources = Vec::new();
    if settings.cluster_objects {
        let query = Query { field_selector: Some(format!("metadata.name={name}")), ..Query::core("nodes") };
        resources.push(Resource::new(Kind::Nodes, query));
    }
    let places = pods::places(settings).into_iter();
    resources.extend(places.map(|place| Resource::new(Kind::Pods, pods::query(settings, place))));
    resources
}

/// What was found of the node's pods.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) pods: Vec<ConvertedPod>,
    /// Why not all were seen.
    pub(crate) errors: Vec<CollectError>,
    /// Whether none were seen.
    pub(crate) is_unseen: bool,
    pub(crate) stray: Stray,
    pub(crate) remarks: Vec<Warning>,
}

/// A look at one node.
pub(crate) struct NodeLook<'a> {
    pub(crate) api: &'a Api,
    /// The node's kubelet, where it is to be asked.
    pub(crate) kubelet: Option<Result<Api, CollectError>>,
    pub(crate) settings: &'a Settings,
    pub(crate) live: &'a Live,
    pub(crate) owners: &'a NodeOwners,
    pub(crate) name: Text,
}

impl NodeLook<'_> {
    /// Hands over the node's scope, if it is selected. The answer is the coverage of the list of scopes, which is this one.
    pub(crate) async fn collect(&self, select: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
        let id = ScopeId::node(self.name.clone());
        if !select.includes(&id) {
            return Ok(Coverage::Complete);
        }
        // From what is watched the pods are taken last, so that a look that is given up takes nothing from the next.
        let watched = self.live.of_node(&self.name);
        let asked = if watched.is_some() { None } else { Some(self.pods(sink).await) };
        if let Some(found) = &asked
            && found.is_unseen
        {
            let error = found.errors.first();
            let coverage = error.map_or(Coverage::Complete, Coverage::from_error);
            sink.scope(ObservedScope { id, coverage, body: Scope::default() });
            return asked.and_then(|found| found.errors.into_iter().next()).map_or(Ok(Coverage::Complete), Err);
        }
        let (wanted, node) = match watched {
            Some(watched) => (watched.needed, watched.node),
            None => (needed(asked.iter().flat_map(|found| &found.pods)), None),
        };
        let node = match node {
            Some(node) => Some(Ok(node)),
            None if self.settings.cluster_objects => Some(self.node().await),
            None => None,
        };
        let links = self.owners.ask(self.api, &wanted).await;
        let found = match asked.or_else(|| self.live.take_node()) {
            Some(found) => found,
            // It was lost while the owners were asked for.
            None => self.pods(sink).await,
        };
        let denied = links.denied.warning();
        let failed = links.failed.map(|why| format!("the outermost owners of pods are not known: {why}"));
        [denied, found.stray.warning()].into_iter().flatten().for_each(|warning| sink.warning(warning));
        found.remarks.iter().for_each(|remark| sink.warning(remark.clone()));
        let reasons: Vec<String> = [incomplete(&found.errors), failed].into_iter().flatten().collect();
        let scope = self.scope(found.pods, node, reasons, |scope| scope.into_body(&links.known.owners));
        sink.scope(ObservedScope { id, ..scope });
        Ok(Coverage::Complete)
    }

    fn scope(
        &self,
        pods: Vec<ConvertedPod>,
        node: Option<Result<Node, Failure>>,
        mut reasons: Vec<String>,
        body: impl FnOnce(PodScope) -> Scope,
    ) -> ObservedScope {
        let mut nodes = Vec::new();
        match node {
            Some(Ok(node)) => nodes.push(node),
            // A pod may be on a node that was taken out of the cluster a moment ago.
            Some(Err(failure)) if failure.kind == FailureKind::NotFound && pods.is_empty() => {
                let reason = format!(
                    "the cluster has no node `{}`; correct `node`, which is a name as `kubectl get nodes` shows it",
                    self.name
                );
                let coverage = Coverage::Failed { reason };
                return ObservedScope { id: ScopeId::node(self.name.clone()), coverage, body: Scope::default() };
            }
            Some(Err(failure)) => reasons.push(format!("without the node: {}", failure.error.full_message())),
            None => {}
        }
        let of_node = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: self.name.as_str().into(),
            uid: nodes.first().and_then(|node| node.uid.as_deref()).unwrap_or_default().into(),
            controller: Some(true),
        };
        let of_node = Texts::default().owner(&of_node);
        let mut scope = PodScope::default();
        for mut pod in pods {
            // The mirror of a static pod belongs to its node, and what the kubelet has is the same pod.
            if pod.pod.config_hash.is_some() && pod.owner.is_none() {
                pod.owner = Some(std::sync::Arc::clone(&of_node));
            }
            scope.add(pod, self.settings.include_not_running);
        }
        let coverage = match reasons.as_slice() {
            [] => Coverage::Complete,
            _ => Coverage::Partial { reason: reasons.join("; ") },
        };
        ObservedScope { id: ScopeId::node(self.name.clone()), coverage, body: Scope { nodes, ..body(scope) } }
    }

    /// The pods, of the kubelet or else of the API server.
    async fn pods(&self, sink: &mut dyn ScopeSink) -> Found {
        let error = match &self.kubelet {
            None => return self.list().await,
            Some(Ok(kubelet)) => match kubelet::list(kubelet, self.settings, &self.name).await {
                Ok(found) => return found,
                Err(failure) => failure.error.full_message(),
            },
            Some(Err(error)) => error.full_message(),
        };
        sink.warning(Warning::new(format!(
            "the pods of node `{}` are listed by the API server, because {error}",
            self.name
        )));
        self.list().await
    }

    async fn list(&self) -> Found {
        let mut found = Found { is_unseen: true, ..Found::default() };
        let mut texts = Texts::default();
        for place in pods::places(self.settings) {
            match self.list_in(place, &mut found, &mut texts).await {
                Ok(()) => found.is_unseen = false,
                Err(failure) => {
                    let goes_on = matches!(failure.kind, FailureKind::Forbidden | FailureKind::NotFound);
                    found.errors.push(failure.error);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        found.is_unseen &= found.pods.is_empty();
        found
    }

    /// Lists the node's pods of one namespace, or of all. What was listed before a failure stays.
    async fn list_in(&self, place: Option<String>, found: &mut Found, texts: &mut Texts) -> Result<(), Failure> {
        let settings = self.settings;
        let way = pods::way(settings, place.as_deref());
        let mut lister = Lister::<wire::Pod>::new(self.api, pods::query(settings, place.clone()), way);
        let before = found.pods.len();
        let mut kept_bytes: usize = found.pods.iter().map(ConvertedPod::kept_bytes).sum();
        while let Some(step) = lister.next().await? {
            match step {
                Step::Item(pod) => {
                    let namespace = pod.metadata.as_ref().and_then(|metadata| metadata.namespace.clone());
                    let Some(namespace) = namespace.filter(|name| place.as_ref().is_none_or(|place| place == name))
                    else {
                        found.stray.add();
                        continue;
                    };
                    if !settings.namespaces.matches(&namespace) || !pods::is_selected(&pod, settings) {
                        continue;
                    }
                    let namespace = texts.shared(&namespace);
                    let pod = convert_pod(pod, &namespace, texts);
                    kept_bytes += pod.kept_bytes();
                    found.pods.push(pod);
                    if settings.exceeds_memory(kept_bytes) {
                        let error = pods::over_memory(settings, &format!("node `{}`", self.name));
                        return Err(Failure { kind: FailureKind::Other, error });
                    }
                }
                Step::Page(_) => {}
                Step::Restarted => found.pods.truncate(before),
            }
        }
        found.remarks.extend(lister.remark());
        Ok(())
    }

    async fn node(&self) -> Result<Node, Failure> {
        let name = self.name.to_string();
        let path = format!("/api/v1/nodes/{}", percent_encode(&name));
        let action = Action::Get { resource: "nodes".into(), namespace: None, name };
        self.api.get::<wire::Node>(&path, &action).await.map(convert_node)
    }
}

/// Why not all pods were seen.
fn incomplete(errors: &[CollectError]) -> Option<String> {
    let reasons: Vec<String> = errors.iter().map(CollectError::full_message).collect();
    (!reasons.is_empty()).then(|| format!("not all pods could be listed: {}", reasons.join("; ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment() -> Environment {
        let variables = [("NODE_NAME", "worker-1.example.com"), ("ODD", "a,b")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Environment { variables: variables.into(), ..Environment::default() }
    }

    fn resolved(settings: serde_json::Value) -> Result<Settings, ConfigError> {
        resolve(ConfigError::deserialize(settings).unwrap(), &environment())
    }

    #[test]
    fn the_name_is_written_or_comes_from_the_environment() {
        let name = |settings| resolved(settings).unwrap().node;
        assert_eq!(name(json!({})), None);
        assert_eq!(name(json!({ "node": "worker-2" })).as_deref(), Some("worker-2"));
        assert_eq!(name(json!({ "node": "$NODE_NAME" })).as_deref(), Some("worker-1.example.com"));
    }

    #[test]
    fn a_variable_that_is_not_set_is_explained() {
        let error = resolved(json!({ "node": "$MY_NODE" })).unwrap_err();
        assert_eq!(error.message, "the environment variable `MY_NODE` is not set");
        assert!(error.hint.unwrap().contains("spec.nodeName"));
    }

    #[test]
    fn what_is_no_name_does_not_become_a_selector() {
        for written in ["", "$ODD", "a=b", "a b", "Ä", "../x"] {
            let error = resolved(json!({ "node": written })).unwrap_err();
            assert!(error.to_string().contains("is not the name of a node"), "{written}: {error}");
        }
    }

    #[test]
    fn pods_are_chosen_by_node_and_nothing_else_is_watched_of_the_cluster() {
        let paths = |settings| {
            let settings = resolved(settings).unwrap();
            resources(&settings).into_iter().map(|resource| resource.query.path(&[])).collect::<Vec<_>>()
        };
        assert_eq!(
            paths(json!({ "node": "n" })),
            ["/api/v1/nodes?fieldSelector=metadata.name%3Dn", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn"]
        );
        let settings = json!({
            "node": "n", "cluster_objects": false, "include_not_running": false, "namespaces": ["shop"]
        });
        assert_eq!(
            paths(settings),
            [
                "/api/v1/namespaces/shop/pods?fieldSelector=spec.nodeName%3Dn%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3D\
              Failed"
            ]
        );
    }
}
