//! Running collectors: each in a task of its own, within a deadline, so that one that hangs or panics is a failed source
//! and nothing more.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use stocktake_core::{
    CollectError, Location, ObservedScope, RuntimeCollector, RuntimeInfo, ScopeSink, Selection,
    filter::{Filters, Removed},
    model::{Cost, Counts, Coverage, Scope, ScopeEntry, ScopeId, Source, Warning},
};

/// How long a task past its deadline may take to be dropped. One that blocks its thread is left alone after that.
const TO_BE_DROPPED: Duration = Duration::from_secs(1);

/// A collector that is ready to run.
#[derive(Clone)]
pub(crate) struct Configured {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// How long one collection may take.
    pub(crate) timeout: Duration,
    pub(crate) collector: Arc<dyn RuntimeCollector>,
}

/// What one collector saw, without what is not to leave the host.
pub(crate) struct Observation {
    /// Its scopes have neither digests nor counts yet.
    pub(crate) source: Source,
    /// The scopes' bodies, in their order, and what was taken out of each.
    pub(crate) bodies: Vec<(Scope, Removed)>,
    /// Whether the runtime answered at all.
    pub(crate) reached: bool,
}

/// Why a call to a collector has no answer.
pub(crate) enum Failure {
    Collector(CollectError),
    TimedOut(Duration),
    Panicked(String),
}

impl Failure {
    fn coverage(&self) -> Coverage {
        match self {
            Self::Collector(error) => Coverage::from_error(error),
            other => Coverage::Failed { reason: other.to_string() },
        }
    }

    /// Whether the runtime is not there at all, as opposed to refusing, hanging or talking nonsense.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Collector(CollectError::Unavailable { .. }))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Collector(error) => f.write_str(&error.full_message()),
            Self::TimedOut(limit) => {
                write!(f, "no complete answer within {limit:?}; the runtime hangs, or raise `timeout`")
            }
            Self::Panicked(message) => write!(f, "the collector has a bug and panicked: {message}"),
        }
    }
}

/// Asks a runtime who it is.
pub(crate) async fn probe(configured: &Configured) -> Result<RuntimeInfo, Failure> {
    let collector = Arc::clone(&configured.collector);
    isolated(configured.timeout, async move { collector.probe().await }).await
}

/// Looks at one runtime. Never fails: what went wrong is in the observation.
#[tracing::instrument(skip_all, fields(collector = configured.name))]
pub(crate) async fn observe(configured: &Configured, filters: &Arc<Filters>) -> Observation {
    let observed_at = Timestamp::now();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let collector = Arc::clone(&configured.collector);
    let mut sink = SharedSink { seen: Arc::clone(&seen), filters: Arc::clone(filters) };
    let outcome = isolated(configured.timeout, async move {
        match collector.probe().await {
            Ok(info) => sink.lock().runtime = Some(info),
            Err(error @ CollectError::Unavailable { .. }) => return Err(error),
            // Who may not ask for the version may still list.
            Err(error) => sink.lock().unidentified = Some(error.full_message()),
        }
        collector.collect(&Selection::All, &mut sink).await
    })
    .await;

    let seen = std::mem::take(&mut *lock(&seen));
    let reached = seen.runtime.is_some() || outcome.as_ref().err().is_none_or(|failure| !failure.is_absence());
    let has_seen = seen.scopes.values().any(|(scope, _)| scope.coverage.has_seen());
    let coverage = match (outcome, seen.unidentified) {
        // What cannot be told apart from other sources cannot stand for the whole of one.
        (Ok(Coverage::Complete), Some(reason)) => {
            Coverage::Partial { reason: format!("the runtime does not say who it is: {reason}") }
        }
        (Ok(coverage), _) => coverage,
        (Err(failure), _) if has_seen => Coverage::Partial { reason: failure.to_string() },
        (Err(failure), _) => failure.coverage(),
    };
    let (cluster, host) = match seen.runtime.as_ref().map(|info| info.location.clone()) {
        Some(Location::Cluster(cluster)) => (Some(cluster), None),
        Some(Location::Host(host)) => (None, Some(host)),
        _ => (None, None),
    };
    let entry = |(scope, removed): (ObservedScope, Removed)| {
        let ObservedScope { id, coverage, body } = scope;
        (ScopeEntry { id, coverage, digest: None, counts: Counts::default() }, (body, removed))
    };
    let (entries, bodies) = seen.scopes.into_values().map(entry).unzip();
    tracing::info!(status = coverage.status(), elapsed = ?(Timestamp::now() - observed_at), "collected");
    Observation {
        source: Source {
            collector: configured.name.clone().into(),
            kind: configured.kind.into(),
            runtime: seen.runtime.map(|info| info.runtime),
            cluster,
            host,
            observed_at,
            coverage,
            shown: configured.collector.shown(),
            warnings: seen.warnings,
            cost: seen.cost,
            scopes: entries,
        },
        bodies,
        reached,
    }
}

/// Runs `work` in its own task. The deadline is kept outside, so that work that blocks its thread cannot miss it.
async fn isolated<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = Result<T, CollectError>> + Send + 'static,
) -> Result<T, Failure> {
    let mut task = tokio::spawn(work);
    match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(outcome)) => outcome.map_err(Failure::Collector),
        Ok(Err(error)) => Err(Failure::Panicked(panic_message(error))),
        Err(_) => {
            task.abort();
            // The process may end soon, and with it what drops the task; what the task has started ends by being dropped.
            let _ = tokio::time::timeout(TO_BE_DROPPED, task).await;
            Err(Failure::TimedOut(limit))
        }
    }
}

fn panic_message(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned()),
        Err(error) => error.to_string(),
    }
}

/// What was seen so far; shared, so that it survives the end of the task that fills it.
#[derive(Default)]
struct Seen {
    runtime: Option<RuntimeInfo>,
    /// Why the runtime does not say who it is, though it answers.
    unidentified: Option<String>,
    scopes: BTreeMap<ScopeId, (ObservedScope, Removed)>,
    warnings: Vec<Warning>,
    cost: Option<Cost>,
}

struct SharedSink {
    seen: Arc<Mutex<Seen>>,
    filters: Arc<Filters>,
}

impl SharedSink {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // Nothing in here is left half done by a panic.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ScopeSink for SharedSink {
    fn scope(&mut self, mut scope: ObservedScope) {
        // Before it is held: what is not to be reported need not stay in memory.
        let removed = self.filters.clean(&mut scope.body);
        let mut seen = self.lock();
        let id = scope.id.clone();
        if seen.scopes.insert(id.clone(), (scope, removed)).is_some() {
            seen.warnings.push(Warning::new(format!("the collector handed over {id} twice; the later one counts")));
        }
    }

    fn warning(&mut self, warning: Warning) {
        self.lock().warnings.push(warning);
    }

    fn cost(&mut self, cost: Cost) {
        self.lock().cost = Some(cost);
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use stocktake_core::model::{Host, RuntimeVersion};

    use super::*;

    #[derive(Clone, Copy)]
    enum Behaviour {
        Panic,
        Hang,
        Block,
        Fail,
        Absent,
        Anonymous,
        Refuse,
    }

    struct Stub(Behaviour);

    #[async_trait]
    impl RuntimeCollector for Stub {
        async fn probe(&self) -> Result<RuntimeInfo, CollectError> {
            if matches!(self.0, Behaviour::Absent) {
                return Err(CollectError::Unavailable { message: "nobody home".into(), source: None });
            }
            if matches!(self.0, Behaviour::Anonymous) {
                return Err(CollectError::Denied { message: "version is secret".into(), source: None });
            }
            let runtime = RuntimeVersion { name: "stub".into(), version: "1".into() };
            Ok(RuntimeInfo { runtime, location: Location::Host(Host::default()) })
        }

        async fn collect(&self, _: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
            let denied = CollectError::Denied { message: "no".into(), source: None };
            if matches!(self.0, Behaviour::Refuse) {
                sink.scope(ObservedScope::unseen(ScopeId::namespace("first"), &denied));
                return Err(denied);
            }
            sink.scope(ObservedScope::complete(ScopeId::namespace("first"), Scope::default()));
            match self.0 {
                Behaviour::Anonymous => return Ok(Coverage::Complete),
                Behaviour::Panic => panic!("index out of bounds"),
                Behaviour::Hang => std::future::pending().await,
                Behaviour::Block => std::thread::sleep(2 * LIMIT),
                Behaviour::Fail | Behaviour::Absent | Behaviour::Refuse => {}
            }
            Err(CollectError::Protocol { message: "garbage".into(), source: None })
        }
    }

    const LIMIT: Duration = Duration::from_secs(3);

    async fn observed(behaviour: Behaviour) -> Observation {
        let collector = Arc::new(Stub(behaviour));
        let configured = Configured { name: "stub".into(), kind: "stub", timeout: LIMIT, collector };
        observe(&configured, &Arc::default()).await
    }

    fn assert_partial(observation: &Observation, reason: &str) {
        let Coverage::Partial { reason: found } = &observation.source.coverage else { panic!("{reason}") };
        assert!(found.contains(reason), "{found}");
        assert_eq!(observation.source.scopes.len(), 1);
        assert!(observation.reached);
    }

    /// Time stands still but for waiting, so that a slow machine fails no test.
    #[tokio::test(start_paused = true)]
    async fn whatever_goes_wrong_is_a_partial_source_that_keeps_what_was_seen() {
        assert_partial(&observed(Behaviour::Panic).await, "panicked: index out of bounds");
        assert_partial(&observed(Behaviour::Hang).await, "no complete answer within 3s");
        assert_partial(&observed(Behaviour::Fail).await, "garbage");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_collector_that_blocks_its_thread_cannot_miss_the_deadline() {
        assert_partial(&observed(Behaviour::Block).await, "no complete answer within 3s");
    }

    #[tokio::test]
    async fn a_runtime_that_does_not_say_who_it_is_is_not_complete() {
        assert_partial(&observed(Behaviour::Anonymous).await, "who it is: version is secret");
    }

    #[tokio::test]
    async fn where_nothing_was_seen_nothing_is_partial() {
        let observation = observed(Behaviour::Refuse).await;
        assert_eq!(observation.source.coverage, Coverage::Denied { reason: "no".into() });
        assert_eq!(observation.source.scopes[0].digest, None);
    }

    #[tokio::test]
    async fn a_runtime_that_is_not_there_is_a_failed_source() {
        let observation = observed(Behaviour::Absent).await;
        assert_eq!(observation.source.coverage, Coverage::Failed { reason: "nobody home".into() });
        assert!(!observation.reached);
    }
}
