//! The conformance suite: one call that tries a collector, ours or anybody's, against `docs/collector-spec.md`.
//!
//! ```no_run
//! # use stocktake_core::{CollectorPlugin, conformance::{self, Subject}};
//! # fn jails_conform<JailsCollector: CollectorPlugin>() {
//! let settings = serde_json::json!({ "root": "/var/jails" });
//! let outcome = conformance::check(Subject::new::<JailsCollector>(settings));
//! assert!(outcome.conforms(), "{outcome}");
//! # }
//! ```
//!
//! What a daemon's end, hang and return do to a collector is tried only with a [`Daemon`] that the suite may treat so; the
//! outcome says of every rule whether it was tried.

mod changes;
mod content;
mod failure;
mod identity;
mod leftovers;
mod look;
mod outcome;
mod plugin;
mod repetition;
mod rule;
mod schema;
mod suite;
mod truth;

use std::{io, sync::Arc, thread, time::Duration};

use serde_json::Value;

pub use self::{
    outcome::{Outcome, Verdict},
    rule::{RULES, Rule},
};
use crate::{CollectorFactory, CollectorPlugin, Context, model::Host};

/// A collector that is to be tried, with a runtime that has content and does not change by itself.
#[derive(Clone)]
pub struct Subject {
    /// The collector.
    pub factory: CollectorFactory,
    /// Its settings, which select everything that the runtime has.
    pub settings: Value,
    /// What it is built with.
    pub context: Context,
    /// How long one collection may take. Whatever takes longer has failed; rules about a runtime that hangs take as long
    /// as this.
    pub deadline: Duration,
    /// The runtime as something that can be killed. Without it the rules about that are not checked.
    pub daemon: Option<Arc<dyn Daemon>>,
    /// A word that stands in the environment and the command line of a container, and nowhere else. Without it the rule
    /// about secrets is not checked.
    pub secret: Option<String>,
}

impl Subject {
    /// A subject with a made-up host, a deadline of ten seconds, no daemon and no secret.
    #[must_use]
    pub fn new<C: CollectorPlugin>(settings: Value) -> Self {
        let host = Host { machine_id: Some("0".repeat(32)), hostname: Some("conformance".to_owned()) };
        let context = Context {
            name: C::KIND.to_owned(),
            user_agent: "stocktake-conformance".to_owned(),
            host,
            ..Context::default()
        };
        Self {
            factory: CollectorFactory::new::<C>(),
            settings,
            context,
            deadline: Duration::from_secs(10),
            daemon: None,
            secret: None,
        }
    }
}

/// A runtime's daemon that belongs to the test. Its functions may block; each is given a minute.
pub trait Daemon: Send + Sync {
    /// Ends the daemon without warning (SIGKILL). Returns when it is gone.
    fn kill(&self) -> io::Result<()>;

    /// Starts it again after [`kill`](Self::kill). Returns when it answers, with the content that it had before.
    fn start(&self) -> io::Result<()>;

    /// Makes it accept and never answer (SIGSTOP).
    fn hang(&self) -> io::Result<()>;

    /// Makes it go on after [`hang`](Self::hang) (SIGCONT).
    fn resume(&self) -> io::Result<()>;
}

/// Tries a collector against every rule.
///
/// Blocks, for some collections' time and some deadlines': the collector runs in a runtime of its own, so that one which
/// blocks its thread holds up nobody and what it leaves behind is known for its own. To tell that, the suite counts what
/// the process has open: call it from a test program that does little else at the time.
pub fn check(subject: Subject) -> Outcome {
    let checked = thread::scope(|scope| {
        // On a thread of its own, because the caller's may belong to an async runtime.
        scope.spawn(|| suite::run(subject)).join()
    });
    match checked {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
