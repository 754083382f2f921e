//! Looking at a fake: a sink, collectors, and what they tell.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt as _, stream::BoxStream};
use serde_json::{Value, json};
use stocktake_collector_kubernetes::KubernetesCollector;
use stocktake_core::{
    CollectError, CollectorPlugin as _, ConfigError, Context, ObservedScope, RuntimeCollector as _, ScopeChange,
    ScopeSink, Selection,
    model::{Cost, Coverage, ScopeId, Warning},
    normalise,
};

use crate::{
    cluster::Cluster,
    fake::{Answer, FakeServer, Recorded, list},
};

#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) scopes: BTreeMap<ScopeId, ObservedScope>,
    pub(crate) warnings: Vec<String>,
    pub(crate) cost: Cost,
}

impl ScopeSink for Sink {
    fn scope(&mut self, scope: ObservedScope) {
        let id = scope.id.clone();
        assert!(self.scopes.insert(id.clone(), scope).is_none(), "{id} was handed over twice");
    }

    fn warning(&mut self, warning: Warning) {
        self.warnings.push(warning.message);
    }

    fn cost(&mut self, cost: Cost) {
        self.cost = cost;
    }
}

impl Sink {
    /// Status and names of the pods of a namespace.
    pub(crate) fn namespace(&self, name: &str) -> (&str, Vec<&str>) {
        let scope = self.scopes.get(&ScopeId::namespace(name)).unwrap_or_else(|| panic!("no scope for {name}"));
        let mut names: Vec<_> = scope.body.pods.iter().map(|pod| pod.name.as_str()).collect();
        names.sort_unstable();
        (scope.coverage.status(), names)
    }

    /// Why a namespace was not seen completely.
    pub(crate) fn reason(&self, name: &str) -> &str {
        self.scopes[&ScopeId::namespace(name)].coverage.reason().unwrap_or_default()
    }

    pub(crate) fn cluster(&self) -> &ObservedScope {
        &self.scopes[&ScopeId::cluster()]
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.scopes.keys().map(ToString::to_string).collect()
    }
}

pub(crate) fn collector(server: &FakeServer, mut settings: Value) -> KubernetesCollector {
    settings["server"] = json!(server.url());
    let context = Context { user_agent: "stocktake-agent/test".into(), ..Context::default() };
    KubernetesCollector::new(ConfigError::deserialize(settings).unwrap(), context).unwrap()
}

/// What a collector sees that has never looked before.
pub(crate) async fn collect(server: &FakeServer, settings: Value) -> (Result<Coverage, CollectError>, Sink) {
    look(&collector(server, settings)).await
}

/// What a collector sees.
pub(crate) async fn look(collector: &KubernetesCollector) -> (Result<Coverage, CollectError>, Sink) {
    let mut sink = Sink::default();
    let result = collector.collect(&Selection::All, &mut sink).await;
    (result, sink)
}

/// What a collector sees that is watching: without a request, and nothing else than one sees that has never looked before.
pub(crate) async fn look_at_watched(collector: &KubernetesCollector, cluster: &Cluster, settings: Value) -> Sink {
    let requests = cluster.server.requests();
    let (coverage, mut sink) = look(collector).await;
    assert_eq!(cluster.server.requests(), requests, "what is watched is known");
    let (of_fresh, mut fresh) = collect(&cluster.server, settings).await;
    assert_eq!(coverage.unwrap(), of_fresh.unwrap());
    for scope in sink.scopes.values_mut().chain(fresh.scopes.values_mut()) {
        let _ = normalise(&mut scope.body);
    }
    assert_eq!(sink.scopes, fresh.scopes);
    assert_eq!(sink.warnings, fresh.warnings);
    sink
}

/// What a collector tells of changes.
pub(crate) struct Changes(BoxStream<'static, Result<ScopeChange, CollectError>>);

impl Changes {
    pub(crate) fn of(collector: &KubernetesCollector) -> Self {
        Self(collector.changes())
    }

    async fn item(&mut self) -> Option<Result<ScopeChange, CollectError>> {
        tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.expect("nothing was told")
    }

    /// What it tells next.
    pub(crate) async fn next(&mut self) -> ScopeChange {
        self.item().await.expect("it has ended").unwrap()
    }

    /// Everything that it tells until it is quiet.
    pub(crate) async fn all(&mut self) -> ScopeChange {
        let mut all = self.next().await;
        while let Ok(item) = tokio::time::timeout(Duration::from_millis(300), self.0.next()).await {
            all = all.merge(item.expect("it has ended").unwrap());
        }
        all
    }

    /// The error that it ends with some day. From now on time passes as fast as it may.
    pub(crate) async fn late_error(&mut self) -> CollectError {
        tokio::time::pause();
        let item = tokio::time::timeout(Duration::from_hours(1), self.0.next()).await.expect("nothing was told");
        tokio::time::resume();
        item.expect("it has ended").unwrap_err()
    }

    /// The error that it ends with.
    pub(crate) async fn error(&mut self) -> CollectError {
        let error = self.item().await.expect("it has ended").unwrap_err();
        assert!(self.item().await.is_none(), "an error is the last that is told");
        error
    }

    /// Whether it tells of something more; otherwise it ends without a word.
    pub(crate) async fn may_end(&mut self) -> bool {
        self.item().await.map(Result::unwrap).is_some()
    }

    /// It ends without a word.
    pub(crate) async fn ends(&mut self) {
        let item = self.item().await;
        assert!(item.is_none(), "{item:?}");
    }

    /// It tells nothing for as long as things may take here.
    pub(crate) async fn is_quiet(&mut self) {
        let item = tokio::time::timeout(Duration::from_millis(300), self.0.next()).await;
        assert!(item.is_err(), "{item:?}");
    }
}

/// These namespaces, as a change.
pub(crate) fn scopes(names: &[&str]) -> ScopeChange {
    ScopeChange::Scopes(names.iter().map(|name| ScopeId::namespace(*name)).collect())
}

/// Nodes and namespaces as they should be, pods by `pods`.
pub(crate) fn healthy(
    names: &'static [&'static str],
    pods: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
) -> FakeServer {
    FakeServer::start(move |request| match request.path.as_str() {
        "/api/v1/namespaces" => Answer::ok(&list(names.iter().map(|name| json!({"metadata": {"name": name}})), None)),
        "/api/v1/nodes" => Answer::ok(&list([json!({"metadata": {"name": "n1"}})], None)),
        _ => pods(request),
    })
}

/// A `continue` token as kube-apiserver writes it.
pub(crate) fn token(start: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(format!(r#"{{"v":"meta.k8s.io/v1","rv":7,"start":"{start}\u0000"}}"#))
}
