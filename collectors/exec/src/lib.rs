//! Whatever a program can see: a collector that starts it and reads what it prints (`docs/exec.md`).
//!
//! One collection is one run, and asking who the runtime is one more. Nothing is remembered between the two: who the runtime
//! is is asked by itself (`check`, discovery), and may have changed by the next collection. A program to which both
//! are equally dear looks at `STOCKTAKE_REQUEST`.

mod answer;
mod lines;
mod process;
mod program;
mod run;
mod settings;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use stocktake_core::{
    CollectError, CollectorPlugin, ConfigError, Context, ObservedScope, Resource, RuntimeCollector, RuntimeInfo,
    ScopeSink, Selection, Stability,
    exec::{self, Document},
    model::{Coverage, Host, Scope, ScopeId, Shown},
    register_collector,
};

use crate::program::Program;
pub use settings::Settings;

register_collector!(ExecCollector);

/// Reads what a program prints. Its scopes are those that the program names.
pub struct ExecCollector {
    program: Program,
    host: Host,
    /// What the program said last of how much it shows.
    shown: Mutex<Shown>,
}

impl CollectorPlugin for ExecCollector {
    const KIND: &'static str = "exec";
    const SUMMARY: &'static str = "what a program of yours sees and prints as JSON";
    const STABILITY: Stability = Stability::Experimental;
    const PROVIDES: &'static [Resource] = &[
        Resource::Nodes,
        Resource::Namespaces,
        Resource::Workloads,
        Resource::Pods,
        Resource::Containers,
        Resource::Images,
    ];
    type Settings = Settings;

    fn new(settings: Settings, context: Context) -> Result<Self, ConfigError> {
        Ok(Self { program: Program::new(settings, &context)?, host: context.host, shown: Mutex::default() })
    }
}

#[async_trait]
impl RuntimeCollector for ExecCollector {
    async fn probe(&self) -> Result<RuntimeInfo, CollectError> {
        let document = self.run(exec::REQUEST_PROBE).await?;
        document.info(&self.host).ok_or_else(|| self.incomplete("does not say who the runtime is (`runtime`)"))
    }

    async fn collect(&self, select: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
        let Document { coverage, shown, warnings, scopes, .. } = self.run(exec::REQUEST_COLLECT).await?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        // Left out is not empty.
        let scopes =
            scopes.ok_or_else(|| self.incomplete("has no `scopes`; where there are none, write an empty list"))?;
        for warning in warnings {
            sink.warning(warning);
        }
        let mut seen = BTreeSet::new();
        for scope in scopes.into_iter().map(ObservedScope::from).filter(|scope| select.includes(&scope.id)) {
            seen.insert(scope.id.clone());
            sink.scope(scope);
        }
        if let Selection::Only(wanted) = select {
            for gone in wanted.difference(&seen) {
                sink.scope(absent(gone, &coverage));
            }
        }
        Ok(coverage)
    }

    fn shown(&self) -> Shown {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExecCollector {
    async fn run(&self, request: &str) -> Result<Document, CollectError> {
        answer::document(&self.program, run::run(&self.program, request).await)
    }

    fn incomplete(&self, what: &str) -> CollectError {
        let message = format!("{} prints a document that {what}", self.program.path.display());
        CollectError::Protocol { message, source: None }
    }
}

/// A scope that was asked for and that the program did not name: gone, if the program has named all that there are.
fn absent(id: &ScopeId, list: &Coverage) -> ObservedScope {
    let coverage = match list {
        Coverage::Partial { reason } => Coverage::Failed { reason: reason.clone() },
        list => list.clone(),
    };
    ObservedScope { id: id.clone(), coverage, body: Scope::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_registered() {
        let registry = stocktake_core::Registry::linked().unwrap();
        assert!(registry.get("exec").is_some());
    }

    #[test]
    fn a_scope_is_gone_only_if_the_list_is_complete() {
        let reason = "half".to_owned();
        let coverage = |list| absent(&ScopeId::host(), &list).coverage;
        assert_eq!(coverage(Coverage::Complete), Coverage::Complete);
        assert_eq!(coverage(Coverage::Partial { reason: reason.clone() }), Coverage::Failed { reason });
        assert_eq!(coverage(Coverage::Other), Coverage::Other);
    }
}
