//! How an agent comes to know collectors that it does not name: each registers itself at link time.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Candidate, ConfigError, Context, Environment, Resource, RuntimeCollector, Stability};

/// A collector that can be configured: typed for its author, erased for the agent by [`CollectorFactory`].
pub trait CollectorPlugin: RuntimeCollector + Sized + 'static {
    /// The word for `type` in the configuration: lower case, digits and dashes.
    const KIND: &'static str;
    /// One line for `stocktake-agent collectors`.
    const SUMMARY: &'static str;
    /// How far it can be relied on.
    const STABILITY: Stability;
    /// What it can report.
    const PROVIDES: &'static [Resource];

    /// Its part of the configuration. Derive with `#[serde(deny_unknown_fields)]`; the documentation comments become
    /// the published schema and the example configuration.
    type Settings: DeserializeOwned + JsonSchema;

    /// Builds the collector. Checks settings and files, and touches no network: a runtime that is down is a failed
    /// collection, not a failed start.
    fn new(settings: Self::Settings, context: Context) -> Result<Self, ConfigError>;

    /// Runtimes of this kind that look as if they were on this machine. May look at files, connects to nothing.
    #[must_use]
    fn discover(_environment: &Environment) -> Vec<Candidate> {
        Vec::new()
    }
}

/// A [`CollectorPlugin`] with its types erased.
#[derive(Debug, Clone, Copy)]
pub struct CollectorFactory {
    /// [`CollectorPlugin::KIND`].
    pub kind: &'static str,
    /// [`CollectorPlugin::SUMMARY`].
    pub summary: &'static str,
    /// [`CollectorPlugin::STABILITY`].
    pub stability: Stability,
    /// [`CollectorPlugin::PROVIDES`].
    pub provides: &'static [Resource],
    build: fn(Value, Context) -> Result<Box<dyn RuntimeCollector>, ConfigError>,
    schema: fn() -> Schema,
    discover: fn(&Environment) -> Vec<Candidate>,
}

impl CollectorFactory {
    /// The factory of `C`.
    #[must_use]
    pub const fn new<C: CollectorPlugin>() -> Self {
        Self {
            kind: C::KIND,
            summary: C::SUMMARY,
            stability: C::STABILITY,
            provides: C::PROVIDES,
            build: build::<C>,
            schema: settings_schema::<C>,
            discover: C::discover,
        }
    }

    /// Builds a collector from its settings, a JSON object. Paths in the error are relative to that object.
    pub fn build(&self, settings: Value, context: Context) -> Result<Box<dyn RuntimeCollector>, ConfigError> {
        (self.build)(settings, context)
    }

    /// JSON Schema of the settings.
    #[must_use]
    pub fn settings_schema(&self) -> Schema {
        (self.schema)()
    }

    /// Runtimes of this kind that look as if they were on this machine.
    #[must_use]
    pub fn discover(&self, environment: &Environment) -> Vec<Candidate> {
        (self.discover)(environment)
    }
}

fn build<C: CollectorPlugin>(settings: Value, context: Context) -> Result<Box<dyn RuntimeCollector>, ConfigError> {
    Ok(Box::new(C::new(ConfigError::deserialize(settings)?, context)?))
}

fn settings_schema<C: CollectorPlugin>() -> Schema {
    schemars::schema_for!(C::Settings)
}

inventory::collect!(CollectorFactory);

/// Makes a [`CollectorPlugin`] known to every agent that it is linked into.
///
/// A crate that is linked but never named in code is dropped by the linker together with its registration: an agent
/// names it with `use my_collector as _;`.
#[macro_export]
macro_rules! register_collector {
    ($plugin:ty) => {
        $crate::__private::inventory::submit! { $crate::CollectorFactory::new::<$plugin>() }
    };
}

/// The collectors that are linked into this program, by kind.
#[derive(Debug, Clone)]
pub struct Registry {
    factories: BTreeMap<&'static str, CollectorFactory>,
}

/// Why the collectors of a program do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Two of one kind: the configuration could not say which is meant.
    #[error("two collectors of type `{kind}` are linked into this program; remove one or rename its KIND")]
    DuplicateKind {
        /// The kind.
        kind: &'static str,
    },
}

impl Registry {
    /// All collectors that registered themselves.
    pub fn linked() -> Result<Self, RegistryError> {
        Self::of(inventory::iter::<CollectorFactory>().copied())
    }

    /// A registry of chosen collectors, for tests and for programs without link-time registration.
    pub fn of(factories: impl IntoIterator<Item = CollectorFactory>) -> Result<Self, RegistryError> {
        let mut by_kind = BTreeMap::new();
        for factory in factories {
            if by_kind.insert(factory.kind, factory).is_some() {
                return Err(RegistryError::DuplicateKind { kind: factory.kind });
            }
        }
        Ok(Self { factories: by_kind })
    }

    /// The collector of a kind.
    #[must_use]
    pub fn get(&self, kind: &str) -> Option<&CollectorFactory> {
        self.factories.get(kind)
    }

    /// All, sorted by kind: link order means nothing.
    pub fn iter(&self) -> impl Iterator<Item = &CollectorFactory> {
        self.factories.values()
    }

    /// The complaint about a `type` that no collector has.
    #[must_use]
    pub fn unknown_kind(&self, kind: &str) -> ConfigError {
        let known = self.factories.keys().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ");
        let error = ConfigError::new("", format!("unknown collector type `{kind}`, this program has {known}"));
        match crate::nearest(kind, self.factories.keys().copied()) {
            Some(word) => error.hint(format!("did you mean `{word}`?")),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use schemars::JsonSchema;
    use serde::Deserialize;

    use super::*;
    use crate::{CollectError, RuntimeInfo, ScopeSink, Selection, model::Coverage};

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        count: u32,
    }

    struct Stub;

    #[async_trait]
    impl RuntimeCollector for Stub {
        async fn probe(&self) -> Result<RuntimeInfo, CollectError> {
            Err(CollectError::Unsupported { message: "a stub".into() })
        }

        async fn collect(&self, _: &Selection, _: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
            Ok(Coverage::Complete)
        }
    }

    impl CollectorPlugin for Stub {
        const KIND: &'static str = "stub";
        const SUMMARY: &'static str = "does nothing";
        const STABILITY: Stability = Stability::Experimental;
        const PROVIDES: &'static [Resource] = &[];
        type Settings = Settings;

        fn new(settings: Settings, _: Context) -> Result<Self, ConfigError> {
            if settings.count == 0 { Err(ConfigError::new("count", "must be at least 1")) } else { Ok(Self) }
        }
    }

    register_collector!(Stub);

    #[test]
    fn a_registered_collector_is_found_and_built() {
        let registry = Registry::linked().unwrap();
        let factory = registry.get("stub").expect("registered above");
        assert!(factory.build(serde_json::json!({"count": 1}), Context::default()).is_ok());
        let error = factory.build(serde_json::json!({"count": "1"}), Context::default()).err().unwrap();
        assert_eq!(error.path, "count");
        assert!(serde_json::to_string(&factory.settings_schema()).unwrap().contains("\"count\""));
    }

    #[test]
    fn two_of_one_kind_are_refused() {
        let factory = CollectorFactory::new::<Stub>();
        assert_eq!(Registry::of([factory, factory]).unwrap_err(), RegistryError::DuplicateKind { kind: "stub" });
    }

    #[test]
    fn an_unknown_kind_is_told_the_nearest() {
        let registry = Registry::of([CollectorFactory::new::<Stub>()]).unwrap();
        assert_eq!(
            registry.unknown_kind("stubb").to_string(),
            "unknown collector type `stubb`, this program has `stub`; did you mean `stub`?"
        );
    }
}
