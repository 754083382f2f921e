//! Collectors for a program that keeps their settings itself, such as the server, which looks at clusters where no agent runs.
//!
//! What looks, how it is isolated, and when to look again is what the agent has. Files, targets and a spool are not part of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;
use stocktake_core::{
    ConfigError, Context, Digest, Environment, Registry, RegistryError, filter::Filters, model::Source,
};

use crate::{
    assemble,
    follow::wait,
    observe::{Configured, Question, ask},
};

/// The collectors that are linked into this program.
#[derive(Debug, Clone)]
pub struct Collectors {
    registry: Registry,
    context: Context,
}

impl Collectors {
    /// All of them, for a program that introduces itself to servers as `user_agent`. `environment` is what collectors get to see of the
    /// process's, such as `HTTPS_PROXY`: it may be empty.
    ///
    /// # Errors
    /// Two collectors of one type are linked.
    pub fn linked(user_agent: &str, environment: Environment) -> Result<Self, RegistryError> {
        // One provider for all TLS: who sets it first does not matter.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let context = Context { user_agent: user_agent.to_owned(), environment, ..Context::default() };
        Ok(Self { registry: Registry::linked()?, context })
    }

    /// A collector of a type with its settings, as they would stand in a table of the agent's configuration without `type`, `timeout` and
    /// `interval`. Its name, in reports, is its type. Nothing is asked over the network.
    ///
    /// # Errors
    /// There is no such type, or its settings are wrong; the error says where and what.
    pub fn build(&self, kind: &str, settings: Value, limits: Limits) -> Result<Collector, ConfigError> {
        let Limits { timeout, bytes } = limits;
        let factory = self.registry.get(kind).ok_or_else(|| self.registry.unknown_kind(kind))?;
        let context = Context { name: kind.to_owned(), ..self.context.clone() };
        let collector = Arc::from(factory.build(settings, context)?);
        let configured =
            Configured { name: kind.to_owned(), kind: factory.kind, timeout, interval: timeout, collector };
        Ok(Collector { configured, bytes })
    }
}

/// What a look may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long.
    pub timeout: Duration,
    /// How many bytes all that is seen may have. What is beyond it is left out, and the source is seen in part.
    pub bytes: usize,
}

/// A collector that is ready to look.
pub struct Collector {
    configured: Configured,
    bytes: usize,
}

impl Collector {
    /// Asks the runtime who it is, and looks at all that its settings let it see. Never fails: what went wrong is in the source. A
    /// collector that hangs or panics is ended.
    pub async fn look(&self) -> Look {
        let filters = Arc::new(Filters::default());
        let question = Question { most_bytes: Some(self.bytes), ..Question::everything() };
        let observation = ask(&self.configured, &filters, question).await;
        let took = observation.took;
        let (source, scopes) = assemble::of_source(observation, &filters);
        // It cannot fail: every map in the model has texts for keys.
        let body = |scope| serde_json::to_vec(&scope).unwrap_or_default();
        let bodies = scopes.into_iter().map(|(digest, scope)| (digest, body(scope))).collect();
        Look { source, bodies, took }
    }
}

/// What one look has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What a report says of it.
    pub source: Source,
    /// Bodies of its scopes (JSON), by digest.
    pub bodies: BTreeMap<Digest, Vec<u8>>,
    /// How long it took.
    pub took: Duration,
}

/// How long to wait for the next look after so many in a row that have seen nothing: the agent's own schedule. A little longer than
/// `interval` after one that has seen something, so that what began together does not stay together.
#[must_use]
pub fn until_next(interval: Duration, failures: u32) -> Duration {
    wait(interval, failures)
}
