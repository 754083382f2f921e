//! The contract between Stocktake and everything that looks at a container runtime.
//!
//! A collector depends on this crate alone. It holds the [`RuntimeCollector`] trait, the registry through which an
//! agent finds collectors that it does not name in code, and the one report model that all of them fill. It performs
//! no I/O and starts no task, so that it can be embedded anywhere and every rule in it is a pure function. What runs a
//! collector is a feature: `conformance` brings the suite that tries one against the collector specification.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod exec;
pub mod filter;
#[cfg(feature = "heap")]
pub mod heap;
pub mod identity;
pub mod labels;
#[cfg(feature = "machine")]
pub mod machine;
pub mod model;
pub mod select;
pub mod unify;
#[cfg(feature = "wire")]
pub mod wire;

mod collector;
mod digest;
mod error;
mod normalise;
mod reference;
mod registry;
mod suggest;

pub use collector::{
    Candidate, Context, Environment, Location, ObservedScope, Resource, RuntimeCollector, RuntimeInfo, ScopeChange,
    ScopeSink, Selection, Stability,
};
pub use digest::{Digest, InvalidDigest};
pub use error::{CollectError, ConfigError};
pub use normalise::{normalise, scope_digest};
pub use reference::{ImageReference, InvalidReference, RepoDigest};
pub use registry::{CollectorFactory, CollectorPlugin, Registry, RegistryError};
pub use suggest::nearest;

#[doc(hidden)]
pub mod __private {
    //! What [`register_collector!`](crate::register_collector) expands to; not part of the contract.
    pub use inventory;
}
