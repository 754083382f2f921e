//! The same runtime looked at again: again, in part, and twice at once.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    look::{End, Look},
    rule,
    suite::Suite,
    truth::{Truth, normalised},
};
use crate::{
    RuntimeCollector, Selection,
    model::{Scope, ScopeId, ScopeKind},
};

/// Runtimes tell ages in seconds ("Up 3 seconds"): what depends on the time of looking has changed after it.
const LONGER_THAN_A_SECOND: Duration = Duration::from_millis(1100);

/// Each selected scope is one collection.
const SELECTED_SCOPES: usize = 5;

/// Whether later collections bring what the first one brought.
pub(super) async fn is_deterministic(suite: &mut Suite, collector: &Arc<dyn RuntimeCollector>, truth: &Truth) -> bool {
    tokio::time::sleep(LONGER_THAN_A_SECOND).await;
    let again = truth.difference(&suite.look(collector, Selection::All).await);
    let by_another = match suite.build().await {
        Ok(other) => truth.difference(&suite.look(&other, Selection::All).await),
        Err(error) => Some(error),
    };
    let seen = again.map(|seen| format!("the second time: {seen}"));
    let seen = seen.or_else(|| by_another.map(|seen| format!("by another collector object: {seen}")));
    let is_deterministic = seen.is_none();
    suite.judge(rule::DETERMINISM, seen);
    is_deterministic
}

pub(super) async fn check(suite: &mut Suite, collector: &Arc<dyn RuntimeCollector>, truth: &Truth) {
    selection(suite, collector, truth).await;
    absent_scope(suite, collector, truth).await;
    let (one, other) = tokio::join!(suite.look(collector, Selection::All), suite.look(collector, Selection::All));
    suite.judge(rule::CONCURRENCY, truth.difference(&one).or_else(|| truth.difference(&other)));
}

async fn selection(suite: &mut Suite, collector: &Arc<dyn RuntimeCollector>, truth: &Truth) {
    let nothing = suite.look(collector, Selection::Only(BTreeSet::new())).await;
    let extra = nothing.scopes.first().map(|scope| format!("nothing was selected, and {} was handed over", scope.id));
    suite.judge(rule::SELECTION, extra.or_else(|| Truth::of(&nothing).err()));
    for (id, body) in truth.0.iter().take(SELECTED_SCOPES) {
        let look = suite.look(collector, Selection::Only([id.clone()].into())).await;
        let expected = Truth([(id.clone(), body.clone())].into());
        let seen = expected.difference(&look).map(|seen| format!("{id} was selected: {seen}"));
        suite.judge(rule::SELECTION, seen);
    }
}

async fn absent_scope(suite: &mut Suite, collector: &Arc<dyn RuntimeCollector>, truth: &Truth) {
    if !truth.0.keys().any(|id| id.kind == ScopeKind::Namespace) {
        return suite.skip(rule::ABSENT_SCOPE, "the runtime has no namespaces, so none can be absent");
    }
    let absent = ScopeId::namespace("stocktake-conformance-absent");
    let look = suite.look(collector, Selection::Only([absent.clone()].into())).await;
    suite.judge(rule::ABSENT_SCOPE, not_handed_over_empty(&absent, &look));
}

fn not_handed_over_empty(absent: &ScopeId, look: &Look) -> Option<String> {
    if !matches!(look.end, End::Answered(_)) {
        return Some(look.end.to_string());
    }
    match look.scopes.iter().find(|scope| scope.id == *absent) {
        None => Some("it was not handed over".to_owned()),
        Some(scope) if !scope.coverage.is_complete() => Some(format!("it is {}", scope.coverage.status())),
        Some(scope) => (normalised(&scope.body) != Scope::default()).then(|| "it has content".to_owned()),
    }
}
