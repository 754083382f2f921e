//! Texts that thousands of objects have in common, held once.

use std::{collections::HashSet, sync::Arc};

use stocktake_core::{labels::Labels, model::Text};

use crate::{owners::Owner, wire};

/// How many different texts are remembered. Beyond that all are forgotten, which costs nothing but that the next like them
/// are held a second time: what no object has any longer would otherwise be held for ever.
const MAX_REMEMBERED: usize = 200_000;

/// Finds for what was just read the equal that was read before.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    words: HashSet<Text>,
    labels: HashSet<Labels>,
    owners: HashSet<Arc<Owner>>,
}

impl Texts {
    /// A text that other objects have too: the name of a node or image, an image's id. Not for what is one object's own.
    pub(crate) fn shared(&mut self, text: &str) -> Text {
        if let Some(known) = self.words.get(text) {
            return known.clone();
        }
        let text = Text::from(text);
        // A short one stands in the value itself and has nothing to share.
        if text.is_heap_allocated() {
            self.make_room();
            self.words.insert(text.clone());
        }
        text
    }

    /// Labels or annotations. Pods that one template made have the same, but for what is added to each.
    pub(crate) fn labels<'a>(&mut self, entries: impl IntoIterator<Item = (&'a String, &'a String)>) -> Labels {
        let labels: Labels = entries.into_iter().map(|(key, value)| (self.shared(key), value.as_str())).collect();
        if let Some(known) = self.labels.get(&labels) {
            return known.clone();
        }
        self.make_room();
        self.labels.insert(labels.clone());
        labels
    }

    /// What manages a pod, and the pods beside it.
    pub(crate) fn owner(&mut self, reference: &wire::OwnerReference) -> Arc<Owner> {
        let owner = Owner {
            api_version: self.shared(&reference.api_version),
            kind: self.shared(&reference.kind),
            name: reference.name.as_str().into(),
            uid: reference.uid.as_str().into(),
        };
        if let Some(known) = self.owners.get(&owner) {
            return Arc::clone(known);
        }
        self.make_room();
        let owner = Arc::new(owner);
        self.owners.insert(Arc::clone(&owner));
        owner
    }

    fn make_room(&mut self) {
        if self.words.len() + self.labels.len() + self.owners.len() >= MAX_REMEMBERED {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_equal_is_held_once() {
        let mut texts = Texts::default();
        let name = "registry.example.com/team/shop:1.0";
        let (one, other) = (texts.shared(name), texts.shared(name));
        assert!(std::ptr::eq(one.as_str(), other.as_str()));
        let labels = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
        let (one, other) = (texts.labels(&labels), texts.labels(&labels));
        assert!(std::ptr::eq(one.get("app").unwrap(), other.get("app").unwrap()));
        let reference = wire::OwnerReference { kind: "ReplicaSet".into(), uid: "u".into(), ..Default::default() };
        assert!(Arc::ptr_eq(&texts.owner(&reference), &texts.owner(&reference)));
    }
}
