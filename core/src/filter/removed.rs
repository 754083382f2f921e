//! What filters took out, counted and with a few examples, so that it can be told.

use std::{collections::BTreeMap, fmt};

use super::Rule;
use crate::model::{Scope, Warning};

/// How many examples are kept of what each rule took out.
const EXAMPLES: usize = 3;
/// How many characters of a text of others are shown in a message.
const SHOWN: usize = 80;

/// What kind of thing was taken out or cut, or what it was of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thing {
    /// A label.
    Label,
    /// An annotation.
    Annotation,
    /// Any other text: a name, a version.
    Text,
    /// A container that is no sandbox.
    Container,
    /// A pod's sandbox.
    Sandbox,
    /// A pod.
    Pod,
    /// A workload.
    Workload,
    /// An image.
    Image,
    /// A node.
    Node,
    /// A namespace.
    Namespace,
    /// What is said of a runtime or scope itself.
    Source,
}

/// Something that was taken out or cut.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Example {
    /// What it was of.
    pub of: Thing,
    /// The name of that: of an image its key in the scope.
    pub name: String,
    /// What exactly: which label, or the name by which a container was found.
    pub detail: Option<String>,
}

/// What one rule took out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many of what.
    pub counts: BTreeMap<Thing, usize>,
    /// The first few.
    pub examples: Vec<Example>,
}

/// What was taken out of a scope, or of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    by_rule: BTreeMap<Rule, Taken>,
}

impl Removed {
    /// What a rule took out; `None` if nothing.
    #[must_use]
    pub fn by(&self, rule: Rule) -> Option<&Taken> {
        self.by_rule.get(&rule)
    }

    /// Whether nothing was taken out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_rule.is_empty()
    }

    /// Adds what was taken out elsewhere.
    pub fn merge(&mut self, other: Self) {
        for (rule, taken) in other.by_rule {
            let known = self.by_rule.entry(rule).or_default();
            for (thing, count) in taken.counts {
                *known.counts.entry(thing).or_default() += count;
            }
            let room = EXAMPLES.saturating_sub(known.examples.len());
            known.examples.extend(taken.examples.into_iter().take(room));
        }
    }

    /// How much was cut, or dropped as one too many, because of a limit.
    #[must_use]
    pub fn truncated(&self) -> usize {
        self.limits().flat_map(|(_, taken)| taken.counts.values()).sum()
    }

    /// The remark that something was cut, which belongs into the report: what it shows is not what the runtime said.
    ///
    /// Its examples are only of things that are still in `scope`, so that no filtered name is told by it; the source itself
    /// always is.
    #[must_use]
    pub fn limits_warning(&self, place: &str, scope: Option<&Scope>) -> Option<Warning> {
        let number = self.truncated();
        if number == 0 {
            return None;
        }
        let shown = self.limits().flat_map(|(limit, taken)| taken.examples.iter().map(move |example| (limit, example)));
        let shown = shown.filter(|(_, example)| is_in(scope, example));
        let shown: Vec<String> = shown.take(EXAMPLES).map(|(limit, example)| format!("{example}: {limit}")).collect();
        let examples = if shown.is_empty() { String::new() } else { format!(" ({})", shown.join("; ")) };
        let (what, was) = if number == 1 { ("text or label", "was") } else { ("texts and labels", "were") };
        Some(Warning::new(format!(
            "{number} {what} of {place} {was} cut or dropped as longer or more than any sound one{examples}; \
             `collect --explain` counts them, `[filters]` can leave them out"
        )))
    }

    pub(super) fn add(&mut self, rule: Rule, thing: Thing, example: impl FnOnce() -> Example) {
        let taken = self.by_rule.entry(rule).or_default();
        *taken.counts.entry(thing).or_default() += 1;
        if taken.examples.len() < EXAMPLES {
            taken.examples.push(example());
        }
    }

    /// Counts what goes with something else, and is no example of its own.
    pub(super) fn count(&mut self, rule: Rule, thing: Thing) {
        *self.by_rule.entry(rule).or_default().counts.entry(thing).or_default() += 1;
    }

    fn limits(&self) -> impl Iterator<Item = (super::Limit, &Taken)> {
        self.by_rule.iter().filter_map(|(rule, taken)| match rule {
            Rule::Limit(limit) => Some((*limit, taken)),
            _ => None,
        })
    }
}

fn is_in(scope: Option<&Scope>, Example { of, name, .. }: &Example) -> bool {
    if *of == Thing::Source {
        return true;
    }
    let Some(scope) = scope else { return false };
    match of {
        Thing::Container | Thing::Sandbox => scope.containers.iter().any(|container| container.name == *name),
        Thing::Pod => scope.pods.iter().any(|pod| pod.name == *name),
        Thing::Workload => scope.workloads.iter().any(|workload| workload.name == *name),
        Thing::Image => scope.images.iter().any(|image| image.id == *name),
        Thing::Node => scope.nodes.iter().any(|node| node.name == *name),
        Thing::Namespace => scope.namespaces.iter().any(|namespace| namespace.name == *name),
        Thing::Label | Thing::Annotation | Thing::Text | Thing::Source => false,
    }
}

impl Thing {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Annotation => "annotation",
            Self::Text => "text",
            Self::Container => "container",
            Self::Sandbox => "sandbox",
            Self::Pod => "pod",
            Self::Workload => "workload",
            Self::Image => "image",
            Self::Node => "node",
            Self::Namespace => "namespace",
            Self::Source => "source",
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `3 labels, 1 pod`.
impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (thing, number)) in self.counts.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            let ending = match (number, thing) {
                (1, _) => "",
                (_, Thing::Sandbox) => "es",
                _ => "s",
            };
            write!(f, "{separator}{number} {thing}{ending}")?;
        }
        Ok(())
    }
}

/// `` container `web` (label `x`) ``.
impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.of, brief(&self.name))?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, " ({})", brief(detail)))
    }
}

/// The beginning of a text that may be of any length.
fn brief(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
