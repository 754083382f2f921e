//! Texts that thousands of objects have in common, held once.

use std::{collections::HashSet, sync::Arc};

use stocktake_core::{labels::Labels, model::Text};

use crate::{
    owners::Owner,
    wire::{self, said},
};

/// From how many on what no object has any longer is looked for, and forgotten: it would be held for ever otherwise.
const ENOUGH: usize = 5000;

/// Finds for what was just read the equal that was read before.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    words: HashSet<Text>,
    labels: HashSet<Labels>,
    owners: HashSet<Arc<Owner>>,
    /// Twice as many as were needed when that was last looked at.
    enough: usize,
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

    /// Labels. Pods that one template made have the same.
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
            api_version: self.shared(&said(&reference.api_version)),
            kind: self.shared(&said(&reference.kind)),
            name: said(&reference.name).into(),
            uid: said(&reference.uid).into(),
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
        if self.words.len() + self.labels.len() + self.owners.len() < self.enough.max(ENOUGH) {
            return;
        }
        self.labels.retain(Labels::is_shared);
        self.owners.retain(|owner| Arc::strong_count(owner) > 1);
        // Of a text it cannot be told. The next like it is held a second time, and shared from then on.
        self.words.clear();
        self.enough = 2 * (self.labels.len() + self.owners.len());
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

    #[test]
    fn what_nobody_has_any_longer_is_forgotten() {
        let mut texts = Texts::default();
        let of = |number: usize| BTreeMap::from([("number".to_owned(), number.to_string())]);
        let held: Vec<Labels> = (0..100).map(|number| texts.labels(&of(number))).collect();
        for number in 0..10 * ENOUGH {
            texts.labels(&of(number));
        }
        assert!(texts.labels.len() <= ENOUGH, "{}", texts.labels.len());
        let again = texts.labels(&of(7));
        assert!(
            std::ptr::eq(held[7].get("number").unwrap(), again.get("number").unwrap()),
            "what is held is remembered"
        );
    }
}
