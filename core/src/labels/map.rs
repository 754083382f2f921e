//! The form in which labels and annotations are held.

use std::{collections::BTreeMap, fmt, ops::Index, slice, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::Text;

/// Labels or annotations, sorted by key.
///
/// They do not change once they are made, so that all clones share them: the pods of one workload have the same labels, and
/// whoever finds that out holds them once. Without any, nothing is allocated.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(Option<Arc<[(Text, Text)]>>);

/// The labels and annotations of an object, in the order of their keys.
type Iter<'a> = std::iter::Map<slice::Iter<'a, (Text, Text)>, fn(&'a (Text, Text)) -> (&'a Text, &'a Text)>;

impl Labels {
    fn entries(&self) -> &[(Text, Text)] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Text> {
        let entries = self.entries();
        let position = entries.binary_search_by(|(known, _)| known.as_str().cmp(key)).ok()?;
        entries.get(position).map(|(_, value)| value)
    }

    /// Whether there is an entry with this key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> Iter<'_> {
        self.entries().iter().map(|(key, value)| (key, value))
    }

    /// The keys, in their order.
    #[must_use]
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Text> + ExactSizeIterator {
        self.entries().iter().map(|(key, _)| key)
    }

    /// Whether a clone has them too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.as_ref().is_some_and(|entries| Arc::strong_count(entries) > 1)
    }

    /// Takes out what is not to be kept. Where that is nothing, they are shared with the same clones as before.
    pub fn retain(&mut self, mut keep: impl FnMut(&Text, &Text) -> bool) {
        let kept: Vec<bool> = self.iter().map(|(key, value)| keep(key, value)).collect();
        if kept.contains(&false) {
            let kept = self.entries().iter().zip(kept).filter(|(_, is_kept)| *is_kept);
            *self = Self::of_sorted(kept.map(|(entry, _)| entry.clone()).collect());
        }
    }

    fn of_sorted(entries: Vec<(Text, Text)>) -> Self {
        Self((!entries.is_empty()).then(|| entries.into()))
    }
}

/// Of several entries with one key the last one stays, as in a map.
impl<K: Into<Text>, V: Into<Text>> FromIterator<(K, V)> for Labels {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut entries: Vec<(Text, Text)> =
            entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        // Stable, so that the later of two comes behind the earlier.
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        entries.dedup_by(|later, earlier| {
            let is_same = later.0 == earlier.0;
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        Self::of_sorted(entries)
    }
}

impl<K: Into<Text>, V: Into<Text>, const N: usize> From<[(K, V); N]> for Labels {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Into<Text>, V: Into<Text>> From<BTreeMap<K, V>> for Labels {
    fn from(entries: BTreeMap<K, V>) -> Self {
        entries.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a Text, &'a Text);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Like a map's, it panics where the key is not there.
impl Index<&str> for Labels {
    type Output = Text;

    #[allow(clippy::expect_used, reason = "it is what indexing means")]
    fn index(&self, key: &str) -> &Text {
        self.get(key).expect("no entry with this key")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> de::Visitor<'de> for Entries {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut entries: Vec<(Text, Text)> = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl JsonSchema for Labels {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Labels".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, String>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clones_and_what_is_retained_whole_share_one_allocation() {
        let labels = Labels::from([("b", "2"), ("a", "1")]);
        let mut kept = labels.clone();
        kept.retain(|_, _| true);
        assert!(std::ptr::eq(labels.entries(), kept.entries()));
        kept.retain(|key, _| key == "a");
        assert_eq!(kept, Labels::from([("a", "1")]));
        assert_eq!(labels.len(), 2, "a clone keeps what is taken out of another");
        kept.retain(|_, _| false);
        assert!(kept.0.is_none() && Labels::from_iter([] as [(&str, &str); 0]).0.is_none(), "nothing is allocated");
    }

    proptest! {
        #[test]
        fn they_are_a_map(entries in proptest::collection::vec(("[a-d]{0,2}", "[a-d]{0,2}"), 0..12)) {
            let map: BTreeMap<String, String> = entries.iter().cloned().collect();
            let labels: Labels = entries.into_iter().collect();
            prop_assert_eq!(labels.len(), map.len());
            prop_assert_eq!(labels.keys().map(Text::as_str).collect::<Vec<_>>(), map.keys().collect::<Vec<_>>());
            for key in map.keys().map(String::as_str).chain(["absent"]) {
                prop_assert_eq!(labels.get(key).map(Text::as_str), map.get(key).map(String::as_str));
                prop_assert_eq!(labels.contains_key(key), map.contains_key(key));
            }
            let text = serde_json::to_string(&map).unwrap();
            prop_assert_eq!(&serde_json::to_string(&labels).unwrap(), &text);
            prop_assert_eq!(&serde_json::from_str::<Labels>(&text).unwrap(), &labels);
            prop_assert_eq!(&Labels::from(map), &labels);
        }
    }
}
