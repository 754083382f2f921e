//! Looking at a runtime, as a whole or in part. Whatever goes wrong is a failed source and nothing more.

mod sink;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use stocktake_core::{
    CollectError, Digest, Location, RuntimeCollector, RuntimeInfo, Selection,
    filter::Filters,
    model::{Coverage, ScopeId, Source},
};
use tokio::time::Instant;

pub(crate) use self::sink::Content;
use self::sink::{Seen, SharedSink, lock};
use crate::isolate::{Failure, isolated};

/// A collector that is ready to run.
#[derive(Clone)]
pub(crate) struct Configured {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// How long one collection may take.
    pub(crate) timeout: Duration,
    /// How often to look at the least, where it is looked at again and again.
    pub(crate) interval: Duration,
    pub(crate) collector: Arc<dyn RuntimeCollector>,
}

/// What is asked of a runtime.
pub(crate) struct Question {
    pub(crate) select: Selection,
    /// Whether it is asked who it is, too.
    pub(crate) asks_who: bool,
    /// Digests of bodies that need not be handed on.
    pub(crate) known: BTreeMap<ScopeId, Digest>,
    /// How many bytes all bodies may have together. None: as many as there are.
    pub(crate) most_bytes: Option<usize>,
}

impl Question {
    /// Who it is, and all that there is.
    pub(crate) fn everything() -> Self {
        Self { select: Selection::All, asks_who: true, known: BTreeMap::new(), most_bytes: None }
    }
}

/// What one collector saw, without what is not to leave the host.
pub(crate) struct Observation {
    pub(crate) source: Source,
    /// What is in its scopes, in their order.
    pub(crate) contents: Vec<Content>,
    /// Whether the runtime answered at all.
    pub(crate) reached: bool,
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether there was no complete answer within the collector's `timeout`.
    pub(crate) timed_out: bool,
}

/// Asks a runtime who it is.
pub(crate) async fn probe(configured: &Configured) -> Result<RuntimeInfo, Failure> {
    let collector = Arc::clone(&configured.collector);
    isolated(configured.timeout, async move { collector.probe().await }).await
}

/// Looks at one runtime. Never fails: what went wrong is in the observation.
#[tracing::instrument(level = "error", skip_all, fields(collector = configured.name))]
pub(crate) async fn observe(configured: &Configured, filters: &Arc<Filters>) -> Observation {
    ask(configured, filters, Question::everything()).await
}

/// Looks at what is asked for of one runtime. Never fails: what went wrong is in the observation.
pub(crate) async fn ask(configured: &Configured, filters: &Arc<Filters>, question: Question) -> Observation {
    let (observed_at, began) = (Timestamp::now(), Instant::now());
    let Question { select, asks_who, known, most_bytes } = question;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let collector = Arc::clone(&configured.collector);
    let mut sink = SharedSink { seen: Arc::clone(&seen), filters: Arc::clone(filters), known, most_bytes };
    let outcome = isolated(configured.timeout, async move {
        if asks_who {
            match collector.probe().await {
                Ok(info) => sink.lock().runtime = Some(info),
                Err(error @ CollectError::Unavailable { .. }) => return Err(error),
                // Who may not ask for the version may still list.
                Err(error) => sink.lock().unidentified = Some(error.full_message()),
            }
        }
        let outcome = collector.collect(&select, &mut sink).await;
        let shown = collector.shown();
        sink.lock().shown = shown;
        outcome
    })
    .await;

    let seen = std::mem::take(&mut *lock(&seen));
    let reached = seen.runtime.is_some() || outcome.as_ref().err().is_none_or(|failure| !failure.is_absence());
    let (took, timed_out) = (began.elapsed(), matches!(outcome, Err(Failure::TimedOut(_))));
    let coverage = coverage(outcome, &seen, most_bytes);
    let (cluster, host) = match seen.runtime.as_ref().map(|info| info.location.clone()) {
        Some(Location::Cluster(cluster)) => (Some(cluster), None),
        Some(Location::Host(host)) => (None, Some(host)),
        _ => (None, None),
    };
    let (entries, contents) = seen.scopes.into_values().unzip();
    tracing::info!(status = coverage.status(), elapsed = ?took, "collected");
    Observation {
        source: Source {
            collector: configured.name.clone().into(),
            kind: configured.kind.into(),
            runtime: seen.runtime.map(|info| info.runtime),
            cluster,
            host,
            observed_at,
            coverage,
            shown: seen.shown,
            warnings: seen.warnings,
            cost: seen.cost,
            scopes: entries,
        },
        contents,
        reached,
        took,
        timed_out,
    }
}

/// How completely the list of scopes was seen.
fn coverage(outcome: Result<Coverage, Failure>, seen: &Seen, most_bytes: Option<usize>) -> Coverage {
    let has_seen = seen.scopes.values().any(|(entry, _)| entry.coverage.has_seen());
    match (outcome, &seen.unidentified) {
        (Ok(_), _) if seen.is_full => {
            let most = most_bytes.unwrap_or_default();
            let reason = format!(
                "there are more than {most} bytes, and the rest was left out; look at less, or raise the limit"
            );
            Coverage::Partial { reason }
        }
        // What cannot be told apart from other sources cannot stand for the whole of one.
        (Ok(Coverage::Complete), Some(reason)) => {
            Coverage::Partial { reason: format!("the runtime does not say who it is: {reason}") }
        }
        (Ok(coverage), _) => coverage,
        (Err(failure), _) if has_seen => Coverage::Partial { reason: failure.to_string() },
        (Err(failure), _) => failure.coverage(),
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use stocktake_core::{
        ObservedScope, ScopeSink,
        model::{Host, RuntimeVersion, Scope},
    };

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
        let configured = Configured { name: "stub".into(), kind: "stub", timeout: LIMIT, interval: LIMIT, collector };
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
    async fn a_body_that_is_known_is_not_handed_on_unless_a_filter_needs_it() {
        let collector = Arc::new(Stub(Behaviour::Anonymous));
        let configured = Configured { name: "stub".into(), kind: "stub", timeout: LIMIT, interval: LIMIT, collector };
        let first = observe(&configured, &Arc::default()).await;
        assert!(first.contents[0].body.is_some());
        let digest = first.source.scopes[0].digest.clone().unwrap();
        let again = async |filters: Filters, digest: Digest| {
            let known = [(ScopeId::namespace("first"), digest)].into();
            let question = Question { select: Selection::All, asks_who: false, known, most_bytes: None };
            let observation = ask(&configured, &Arc::new(filters), question).await;
            assert_eq!(observation.source.runtime, None, "it was not asked");
            assert_eq!(observation.source.scopes, first.source.scopes);
            observation.contents[0].body.is_some()
        };
        assert!(!again(Filters::default(), digest.clone()).await);
        assert!(again(Filters::default(), Digest::sha256(b"another")).await);
        let filters = serde_json::from_value(serde_json::json!({ "images": { "exclude": ["x"] } })).unwrap();
        assert!(again(filters, digest).await);
    }

    #[tokio::test]
    async fn what_is_more_than_was_asked_for_is_left_out_and_makes_the_source_partial() {
        let collector = Arc::new(Stub(Behaviour::Anonymous));
        let configured = Configured { name: "stub".into(), kind: "stub", timeout: LIMIT, interval: LIMIT, collector };
        let limited = async |most_bytes| {
            let question = Question { asks_who: false, most_bytes: Some(most_bytes), ..Question::everything() };
            ask(&configured, &Arc::default(), question).await
        };
        let observation = limited(1).await;
        assert!(observation.source.scopes.is_empty() && observation.contents.is_empty());
        assert!(observation.source.coverage.reason().unwrap().contains("more than 1 bytes"));
        let observation = limited(1 << 20).await;
        assert_eq!((observation.source.scopes.len(), &observation.source.coverage), (1, &Coverage::Complete));
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
