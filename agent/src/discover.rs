//! Finding the runtimes of this machine when nobody has named any.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use stocktake_core::{Environment, Registry, model::Host};

use crate::{
    config::{DEFAULT_INTERVAL, DEFAULT_TIMEOUT},
    environment::context,
    observe::{Configured, probe},
};

/// How long a runtime may take to say who it is. One that takes longer is used all the same, and its silence reported:
/// a daemon that hangs is no daemon that is absent.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A runtime that was found.
pub(crate) struct Found {
    pub(crate) configured: Configured,
    /// Where, and what it says it is.
    pub(crate) description: String,
}

/// What looking around gave.
#[derive(Default)]
pub(crate) struct Discovery {
    pub(crate) found: Vec<Found>,
    /// What looked like a runtime and is none, and why.
    pub(crate) skipped: Vec<String>,
}

/// Asks every type of collector where its runtimes may be, and each of those whether it is one.
pub(crate) async fn discover(registry: &Registry, environment: &Environment, host: &Host) -> Discovery {
    let mut discovery = Discovery::default();
    let mut identities = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut candidates = Vec::new();
    for factory in registry.iter() {
        for candidate in factory.discover(environment) {
            if !identities.insert((factory.kind, candidate.identity)) {
                continue;
            }
            let name = unique(&candidate.name, &mut names);
            match factory.build(candidate.settings, context(&name, environment, host)) {
                Ok(collector) => {
                    let collector = Arc::from(collector);
                    candidates.push((
                        Configured {
                            name,
                            kind: factory.kind,
                            timeout: DEFAULT_TIMEOUT,
                            interval: DEFAULT_INTERVAL,
                            collector,
                        },
                        candidate.found,
                    ));
                }
                Err(error) => discovery.skipped.push(format!("{name} at {}: {error}", candidate.found)),
            }
        }
    }

    let probes = candidates.into_iter().map(|(configured, found)| async move {
        let outcome = probe(&Configured { timeout: PROBE_TIMEOUT, ..configured.clone() }).await;
        (configured, found, outcome)
    });
    for (configured, found, outcome) in join_all(probes).await {
        match outcome {
            Ok(info) => {
                let description = format!("{} {} at {found}", info.runtime.name, info.runtime.version);
                discovery.found.push(Found { configured, description });
            }
            Err(failure) if failure.is_absence() => {
                discovery.skipped.push(format!("{} at {found}: {failure}", configured.name));
            }
            Err(failure) => {
                let description = format!("{found}, which does not say what it is: {failure}");
                discovery.found.push(Found { configured, description });
            }
        }
    }
    discovery
}

fn unique(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut unique = name.to_owned();
    let mut number = 2;
    while !taken.insert(unique.clone()) {
        unique = format!("{name}-{number}");
        number += 1;
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let mut taken = BTreeSet::new();
        let names = ["docker", "docker", "podman", "docker"].map(|name| unique(name, &mut taken));
        assert_eq!(names, ["docker", "docker-2", "podman", "docker-3"]);
    }
}
