//! The order of the checks, and what each of them asks.

use std::{fmt::Display, pin::pin, sync::Arc, time::Duration};

use super::{
    Daemon, Outcome, Subject, Verdict, changes, content, failure, identity, leftovers,
    look::{Fate, Look, look, within},
    plugin, repetition, rule,
    rule::{RULES, Rule},
    truth::Truth,
};
use crate::{RuntimeCollector, Selection};

/// How long a daemon may take to die or to come up. It is for a machine that is stuck, not a measure of anything.
pub(super) const DAEMON_LIMIT: Duration = Duration::from_mins(4);

/// Threads for the collector: enough that one which blocks some does not stop the suite.
const WORKERS: usize = 4;

/// Tries everything, in a runtime that ends with it.
pub(super) fn run(subject: Subject) -> Outcome {
    let mut suite = Suite { subject, outcome: Outcome::new() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(suite.check());
            // Not waiting for threads that the collector may block for ever.
            runtime.shutdown_background();
        }
        Err(error) => suite.skip_rest(&format!("no async runtime can be started: {error}")),
    }
    suite.outcome
}

/// The subject, and what is known of it so far.
pub(super) struct Suite {
    pub(super) subject: Subject,
    outcome: Outcome,
}

impl Suite {
    async fn check(&mut self) {
        plugin::check(self).await;
        let collector = match self.build().await {
            Ok(collector) => collector,
            Err(error) => {
                self.fail(rule::COMPLETE, format!("the collector cannot be built: {error}"));
                return self.skip_rest("the collector cannot be built");
            }
        };
        identity::check(self, &collector).await;
        let first = self.look(&collector, Selection::All).await;
        let truth = match Truth::of(&first) {
            Ok(truth) => truth,
            Err(incomplete) => {
                self.fail(rule::COMPLETE, incomplete);
                return self.skip_rest("there is no complete collection to begin with");
            }
        };
        self.pass(rule::COMPLETE);
        content::check(self, &first);
        if !repetition::is_deterministic(self, &collector, &truth).await {
            return self.skip_rest("collections differ by themselves, so that nothing can be compared");
        }
        repetition::check(self, &collector, &truth).await;
        leftovers::check(self, &truth, first.polls).await;
        changes::check(self, &truth).await;
        failure::check(self, &truth).await;
    }

    /// A new collector, or why there is none.
    pub(super) async fn build(&self) -> Result<Arc<dyn RuntimeCollector>, String> {
        self.build_with(self.subject.settings.clone()).await.map(Arc::from)
    }

    /// Building may block if it does what it must not, so that it is waited for elsewhere.
    pub(super) async fn build_with(&self, settings: serde_json::Value) -> Result<Box<dyn RuntimeCollector>, String> {
        let (factory, context) = (self.subject.factory, self.subject.context.clone());
        let building = pin!(tokio::task::spawn_blocking(move || factory.build(settings, context)));
        match within(self.subject.deadline, building).await {
            Some(Ok(built)) => built.map_err(|error| error.to_string()),
            Some(Err(panic)) => Err(format!("building it panicked: {panic}")),
            None => Err(format!("building it took longer than {:?}", self.subject.deadline)),
        }
    }

    pub(super) async fn look(&self, collector: &Arc<dyn RuntimeCollector>, select: Selection) -> Look {
        look(collector, select, Fate::Undisturbed, self.subject.deadline).await
    }

    pub(super) fn daemon(&self) -> Option<Arc<dyn Daemon>> {
        self.subject.daemon.clone()
    }

    pub(super) fn pass(&mut self, rule: Rule) {
        self.outcome.record(rule, &Verdict::Passed);
    }

    pub(super) fn fail(&mut self, rule: Rule, seen: impl Display) {
        self.outcome.record(rule, &Verdict::Failed { seen: seen.to_string() });
    }

    pub(super) fn has_failed(&self, rule: Rule) -> bool {
        matches!(self.outcome.verdict(rule.number), Some(Verdict::Failed { .. }))
    }

    /// Fails the rule if something was seen that breaks it.
    pub(super) fn judge(&mut self, rule: Rule, seen: Option<String>) {
        match seen {
            Some(seen) => self.fail(rule, seen),
            None => self.pass(rule),
        }
    }

    /// Says why a rule was not tried, unless it was after all.
    pub(super) fn skip(&mut self, rule: Rule, why: impl Display) {
        if matches!(self.outcome.verdict(rule.number), Some(Verdict::NotChecked { .. })) {
            self.outcome.record(rule, &Verdict::NotChecked { why: why.to_string() });
        }
    }

    /// The same for all that nothing was said of yet.
    fn skip_rest(&mut self, why: &str) {
        let untried = Outcome::new();
        for rule in RULES {
            if self.outcome.verdict(rule.number) == untried.verdict(rule.number) {
                self.skip(*rule, why);
            }
        }
    }
}
