//! What leaves the host: filters by label, annotation, image and container, and limits to how long anything may be.
//!
//! All of it is pure. [`Filters::clean`] acts on one scope as soon as it is seen, so that nothing that is not to be reported
//! is held or hashed. [`Filters::remove_containers`] acts on what all sources saw together: a container that one source
//! knows by an excluded name is the same container where another knows only its id, and is gone from both.

mod containers;
mod limits;
mod metadata;
mod removed;

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

pub use limits::{Limit, limit_source};
pub use removed::{Example, Removed, Taken, Thing};

use crate::{
    model::Scope,
    select::{NameSelector, Verdict},
};

/// What is reported of everything that is seen. A filter narrows what is reported, not how completely it was seen: a
/// scope of which something was filtered stays complete.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// Which labels of nodes, namespaces, pods and containers to report, by key.
    #[schemars(example = serde_json::json!({ "exclude": ["internal.example.com/*"] }))]
    pub labels: NameSelector,
    /// Which annotations of nodes, namespaces and pods to report, by key. Those that hold a whole earlier version of
    /// their object, as kubectl's does, or a command line are never reported.
    #[schemars(example = serde_json::json!({ "include": ["example.com/*", "kubernetes.io/*"] }))]
    pub annotations: NameSelector,
    /// Containers of which images to report, by the image's names as they are written and in full (`nginx`,
    /// `nginx:1.27`, `docker.io/library/*`), and by its digests. A container is left out of every source that saw it.
    #[schemars(example = serde_json::json!({ "exclude": ["registry.example.com/base/*"] }))]
    pub images: NameSelector,
    /// Which containers to report, by name. A container is left out of every source that saw it.
    #[schemars(example = serde_json::json!({ "exclude": ["istio-proxy", "debug-*"] }))]
    pub containers: NameSelector,
}

/// A setting of [`Filters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// `labels`.
    Labels,
    /// `annotations`.
    Annotations,
    /// `images`.
    Images,
    /// `containers`.
    Containers,
}

/// What takes something out, or cuts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// No pattern in the setting's `include` covers it.
    NotIncluded(Setting),
    /// The pattern at this position in the setting's `exclude` covers it, and none before does.
    Excluded(Setting, usize),
    /// By its key it holds environment variables, command lines or mounts. It is in force whatever the settings are.
    Secret,
    /// It is longer than anything sound.
    Limit(Limit),
}

const SETTINGS: [Setting; 4] = [Setting::Labels, Setting::Annotations, Setting::Images, Setting::Containers];

impl Filters {
    /// Takes what is not to be reported out of one scope: labels and annotations, and what is too long of anything.
    #[must_use]
    pub fn clean(&self, scope: &mut Scope) -> Removed {
        let mut removed = Removed::default();
        limits::limit_scope(scope, &mut removed);
        metadata::clean(self, scope, &mut removed);
        removed
    }

    /// Whether there may be containers that are not to be reported.
    #[must_use]
    pub fn selects_containers(&self) -> bool {
        !self.images.is_everything() || !self.containers.is_everything()
    }

    /// Everything that may take something out, in the order in which people are told.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for setting in SETTINGS {
            let selector = self.selector(setting);
            if !selector.includes_everything() {
                rules.push(Rule::NotIncluded(setting));
            }
            rules.extend((0..selector.excluded().len()).map(|position| Rule::Excluded(setting, position)));
        }
        rules.push(Rule::Secret);
        rules.extend(Limit::ALL.map(Rule::Limit));
        rules
    }

    /// A rule as a person knows it: where it stands in the configuration, else what it is about.
    #[must_use]
    pub fn describe(&self, rule: Rule) -> String {
        match rule {
            Rule::NotIncluded(setting) => format!("filters.{setting}.include"),
            Rule::Excluded(setting, position) => match self.selector(setting).excluded().get(position) {
                Some(pattern) => format!("filters.{setting}.exclude `{pattern}`"),
                None => format!("filters.{setting}.exclude"),
            },
            Rule::Secret => "never reported (environment variables, command lines, mounts)".to_owned(),
            Rule::Limit(limit) => limit.to_string(),
        }
    }

    fn selector(&self, setting: Setting) -> &NameSelector {
        match setting {
            Setting::Labels => &self.labels,
            Setting::Annotations => &self.annotations,
            Setting::Images => &self.images,
            Setting::Containers => &self.containers,
        }
    }

    /// What takes a thing of these names out, and the name by which it does.
    fn verdict<'n>(
        &self,
        setting: Setting,
        names: impl IntoIterator<Item = &'n str, IntoIter: Clone>,
    ) -> Option<(Rule, Option<&'n str>)> {
        match self.selector(setting).verdict(names) {
            Verdict::Chosen => None,
            Verdict::NotIncluded => Some((Rule::NotIncluded(setting), None)),
            Verdict::Excluded { position, name } => Some((Rule::Excluded(setting, position), Some(name))),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
            Self::Images => "images",
            Self::Containers => "containers",
        })
    }
}

#[cfg(test)]
mod tests;
