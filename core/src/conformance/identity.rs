//! Who the runtime is.

use std::sync::Arc;

use super::{
    look::{End, probe},
    rule,
    suite::Suite,
};
use crate::{Location, RuntimeCollector, RuntimeInfo};

pub(super) async fn check(suite: &mut Suite, collector: &Arc<dyn RuntimeCollector>) {
    let End::Answered(first) = answer(suite, collector).await else { return };
    suite.judge(rule::IDENTITY, gap(&first));
    let Ok(other) = suite.build().await else { return };
    for again in [collector, &other] {
        if let End::Answered(again) = answer(suite, again).await {
            let difference = (again != first).then(|| format!("{first:?}, then {again:?}"));
            suite.judge(rule::STABLE_IDENTITY, difference);
        }
    }
}

async fn answer(suite: &mut Suite, collector: &Arc<dyn RuntimeCollector>) -> End<RuntimeInfo> {
    let end = probe(collector, suite.subject.deadline).await;
    if !matches!(end, End::Answered(_)) {
        suite.fail(rule::IDENTITY, &end);
        suite.skip(rule::STABLE_IDENTITY, "a probe was not answered");
    }
    end
}

fn gap(info: &RuntimeInfo) -> Option<String> {
    let is_told = |word: &Option<String>| word.as_ref().is_some_and(|word| !word.trim().is_empty());
    let is_located = match &info.location {
        Location::Cluster(cluster) => is_told(&cluster.uid) || is_told(&cluster.name),
        Location::Host(host) => is_told(&host.machine_id) || is_told(&host.hostname),
    };
    let words = [&info.runtime.name, &info.runtime.version];
    let is_whole = is_located && words.iter().all(|word| !word.trim().is_empty());
    (!is_whole).then(|| format!("{info:?}"))
}
