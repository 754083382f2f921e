//! What a new body changes in a scope.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use stocktake_core::model::{Container, Image, MissingReason, Namespace, Node, Pod, Workload};

use super::elements::{Changes, Elements, compare, container_key, key};
use crate::words::indexed;

/// An image in use: what is known of it, and the name that it was asked for by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ImageUse {
    /// SHA-256 of what is known.
    pub(crate) image: [u8; 32],
    pub(crate) name: String,
}

impl ImageUse {
    fn new(image: [u8; 32], name: &str) -> Self {
        Self { image, name: indexed(name).into_owned() }
    }
}

/// What differs between two bodies of a scope.
#[derive(Debug)]
pub(crate) struct Delta {
    pub(crate) nodes: Changes<Node>,
    pub(crate) namespaces: Changes<Namespace>,
    pub(crate) workloads: Changes<Workload>,
    pub(crate) pods: Changes<Pod>,
    pub(crate) containers: Changes<Container>,
    /// The image uses of containers that came or changed, and of those that changed before they did, by the containers' keys.
    pub(crate) uses: HashMap<i64, ImageUse>,
    pub(crate) former_uses: HashMap<i64, ImageUse>,
    /// Uses of images that changed.
    pub(crate) used: BTreeMap<ImageUse, Used>,
    /// What is known of images that are in `used`, by hash.
    pub(crate) images: HashMap<[u8; 32], Image>,
}

/// How the use of an image changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// By how many containers more, or less, it is used.
    pub(crate) by: i64,
    /// Whether it is in use all the same where no containers use it: none are told of.
    pub(crate) is_listed: bool,
}

/// The images of a body by the ids that its containers go by. Only those that matter are looked into.
struct Images<'a> {
    written: HashMap<Cow<'a, str>, &'a RawValue>,
    by_id: HashMap<String, [u8; 32]>,
    by_hash: HashMap<[u8; 32], Image>,
}

#[derive(Deserialize)]
struct Id<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

impl<'a> Images<'a> {
    fn of(elements: &Elements<'a>) -> Result<Self, serde_json::Error> {
        let mut written = HashMap::new();
        for image in &elements.images {
            let Id { id } = serde_json::from_str(image.get())?;
            written.insert(id, *image);
        }
        Ok(Self { written, by_id: HashMap::new(), by_hash: HashMap::new() })
    }

    /// SHA-256 of what is known of the image with this id.
    fn hash(&mut self, id: &str) -> Result<Option<[u8; 32]>, serde_json::Error> {
        if let Some(hash) = self.by_id.get(id) {
            return Ok(Some(*hash));
        }
        let Some(image) = self.written.get(id) else { return Ok(None) };
        let image = serde_json::from_str(image.get())?;
        self.add(id.to_owned(), image).map(Some)
    }

    /// The ids of those of which something else was known before, or nothing. All that are new are looked into: they have to be images.
    fn altered(&mut self, former: &mut Self) -> Result<HashSet<String>, serde_json::Error> {
        let mut altered = HashSet::new();
        for (id, image) in self.written.clone() {
            let before = former.written.get(&id).copied();
            if before.is_some_and(|before| before.get() == image.get()) {
                continue;
            }
            if self.hash(&id)? != former.hash(&id)? && before.is_some() {
                altered.insert(id.into_owned());
            }
        }
        Ok(altered)
    }

    /// The id means something within its scope only, and is no part of what is known of the image.
    fn add(&mut self, id: String, image: Image) -> Result<[u8; 32], serde_json::Error> {
        let image = Image { id: "".into(), ..image };
        let hash: [u8; 32] = Sha256::digest(serde_json::to_vec(&image)?).into();
        self.by_id.insert(id, hash);
        self.by_hash.insert(hash, image);
        Ok(hash)
    }

    fn used_by(&mut self, container: &Container) -> Result<ImageUse, serde_json::Error> {
        let known = match container.image_ref.as_deref() {
            Some(id) => self.hash(id)?,
            None => None,
        };
        let image = if let Some(hash) = known {
            hash
        } else {
            // Nothing is known of it but why.
            let reason = container.image_missing.unwrap_or(MissingReason::NotReported);
            self.add(format!("\0{reason}"), Image::unresolved("", reason))?
        };
        Ok(ImageUse::new(image, container.image.as_deref().unwrap_or_default()))
    }

    /// Where no containers are told of, images are in use under their names.
    fn listed(&mut self) -> Result<BTreeSet<ImageUse>, serde_json::Error> {
        for id in self.written.clone().into_keys() {
            self.hash(&id)?;
        }
        let listed = self
            .by_hash
            .iter()
            .flat_map(|(hash, image)| {
                let names = image.names.iter().map(ToString::to_string);
                let none = image.names.is_empty().then(String::new);
                names.chain(none).map(|name| ImageUse::new(*hash, &name))
            })
            .collect();
        Ok(listed)
    }
}

impl Delta {
    /// What differs. `is_cluster` says how containers are told apart.
    pub(crate) fn between(earlier: &[u8], later: &[u8], is_cluster: bool) -> Result<Self, serde_json::Error> {
        let earlier = if earlier.is_empty() { Elements::default() } else { Elements::of(earlier)? };
        let later = Elements::of(later)?;
        let (mut former, mut images) = (Images::of(&earlier)?, Images::of(&later)?);
        // An image of which something else is known now is another one to all its containers, which may say the same as before.
        let altered = images.altered(&mut former)?;
        let uses_altered =
            |container: &Container| container.image_ref.as_deref().is_some_and(|id| altered.contains(id));
        let always: Option<&dyn Fn(&Container) -> bool> = if altered.is_empty() { None } else { Some(&uses_altered) };
        let containers =
            compare(&earlier.containers, &later.containers, |container| container_key(container, is_cluster), always)?;

        let mut altered_uses: BTreeMap<ImageUse, Used> = BTreeMap::new();
        let (mut uses, mut former_uses) = (HashMap::new(), HashMap::new());
        for (key, container) in &containers.missing {
            let usage = former.used_by(container)?;
            altered_uses.entry(usage.clone()).or_default().by -= 1;
            former_uses.insert(*key, usage);
        }
        for (key, old, new) in &containers.changed {
            let (old, new) = (former.used_by(old)?, images.used_by(new)?);
            altered_uses.entry(old.clone()).or_default().by -= 1;
            altered_uses.entry(new.clone()).or_default().by += 1;
            former_uses.insert(*key, old);
            uses.insert(*key, new);
        }
        for (key, container) in &containers.added {
            let usage = images.used_by(container)?;
            altered_uses.entry(usage.clone()).or_default().by += 1;
            uses.insert(*key, usage);
        }
        let was_listed = if earlier.containers.is_empty() { former.listed()? } else { BTreeSet::new() };
        let is_listed = if later.containers.is_empty() { images.listed()? } else { BTreeSet::new() };
        for usage in was_listed.symmetric_difference(&is_listed) {
            altered_uses.entry(usage.clone()).or_default();
        }
        altered_uses.retain(|usage, change| {
            change.is_listed = is_listed.contains(usage);
            change.by != 0 || change.is_listed != was_listed.contains(usage)
        });
        former.by_hash.extend(images.by_hash);
        let needed: HashSet<[u8; 32]> = altered_uses.keys().chain(uses.values()).map(|usage| usage.image).collect();
        former.by_hash.retain(|hash, _| needed.contains(hash));
        Ok(Self {
            nodes: named(&earlier.nodes, &later.nodes, |node: &Node| key(&[&node.name]))?,
            namespaces: named(&earlier.namespaces, &later.namespaces, |namespace: &Namespace| key(&[&namespace.name]))?,
            workloads: named(&earlier.workloads, &later.workloads, |workload: &Workload| key(&[&workload.id]))?,
            pods: named(&earlier.pods, &later.pods, |pod: &Pod| key(&[&pod.uid]))?,
            containers,
            uses,
            former_uses,
            used: altered_uses,
            images: former.by_hash,
        })
    }
}

/// Keys of what a body holds and a part of it does not.
#[derive(Debug)]
pub(crate) struct Unconfirmed {
    pub(crate) nodes: Vec<i64>,
    pub(crate) namespaces: Vec<i64>,
    pub(crate) workloads: Vec<i64>,
    pub(crate) pods: Vec<i64>,
    pub(crate) containers: Vec<i64>,
    pub(crate) uses: Vec<ImageUse>,
}

impl Unconfirmed {
    /// And what is known of the images among them.
    pub(crate) fn of(
        whole: &[u8],
        part: &[u8],
        is_cluster: bool,
    ) -> Result<(Self, HashMap<[u8; 32], Image>), serde_json::Error> {
        fn keys<T>(changes: Changes<T>) -> Vec<i64> {
            changes.missing.into_iter().map(|(key, _)| key).collect()
        }
        let gap = Delta::between(whole, part, is_cluster)?;
        let (all, some) = (Delta::between(b"", whole, is_cluster)?, Delta::between(b"", part, is_cluster)?);
        let mut images = all.images;
        let uses: Vec<ImageUse> = all.used.into_keys().filter(|usage| !some.used.contains_key(usage)).collect();
        let needed: HashSet<[u8; 32]> = uses.iter().map(|usage| usage.image).collect();
        images.retain(|hash, _| needed.contains(hash));
        let unconfirmed = Self {
            nodes: keys(gap.nodes),
            namespaces: keys(gap.namespaces),
            workloads: keys(gap.workloads),
            pods: keys(gap.pods),
            containers: keys(gap.containers),
            uses,
        };
        Ok((unconfirmed, images))
    }
}

fn named<T: serde::de::DeserializeOwned>(
    earlier: &[&RawValue],
    later: &[&RawValue],
    key: impl Fn(&T) -> i64,
) -> Result<Changes<T>, serde_json::Error> {
    compare(earlier, later, key, None)
}

#[cfg(test)]
mod tests {
    use stocktake_core::{
        Digest,
        model::{DigestFact, Provenance, Scope},
    };

    use super::*;

    fn container(id: &str, image: &str) -> Container {
        Container {
            id: Some(id.into()),
            name: id.into(),
            image: Some(image.into()),
            image_ref: Some(image.into()),
            ..Container::default()
        }
    }

    fn image(id: &str, manifest: Option<&str>) -> Image {
        let mut image = Image { names: vec![id.into()], ..Image::unresolved(id, MissingReason::NotReported) };
        if let Some(content) = manifest {
            image.manifest_digest = DigestFact::known(Digest::sha256(content.as_bytes()), Provenance("test".into()));
        }
        image
    }

    fn body(containers: Vec<Container>, images: Vec<Image>) -> Vec<u8> {
        serde_json::to_vec(&Scope { containers, images, ..Scope::default() }).unwrap()
    }

    fn used(delta: &Delta) -> Vec<(&str, i64)> {
        delta.used.iter().map(|(usage, used)| (usage.name.as_str(), used.by)).collect()
    }

    #[test]
    fn uses_are_counted_by_containers() {
        let one = body(vec![container("1", "a"), container("2", "a")], vec![image("a", None)]);
        let first = Delta::between(b"", &one, false).unwrap();
        assert_eq!(used(&first), [("a", 2)]);
        let two = body(vec![container("1", "a"), container("3", "b")], vec![image("a", None), image("b", None)]);
        let second = Delta::between(&one, &two, false).unwrap();
        let mut counts = used(&second);
        counts.sort_unstable();
        assert_eq!(counts, [("a", -1), ("b", 1)]);
        assert_eq!((second.containers.added.len(), second.containers.missing.len()), (1, 1));
    }

    #[test]
    fn what_becomes_known_of_an_image_changes_the_containers_that_say_the_same_as_before() {
        let one = body(vec![container("1", "a"), container("2", "b")], vec![image("a", None), image("b", None)]);
        let two = body(vec![container("1", "a"), container("2", "b")], vec![image("a", Some("m")), image("b", None)]);
        let delta = Delta::between(&one, &two, false).unwrap();
        assert_eq!(delta.containers.changed.len(), 1);
        assert_eq!(delta.used.values().map(|used| used.by).collect::<BTreeSet<_>>(), BTreeSet::from([-1, 1]));
    }

    #[test]
    fn images_without_containers_are_used_under_each_of_their_names() {
        let mut listed = image("a", None);
        listed.names.push("a:2".into());
        let one = body(Vec::new(), vec![listed]);
        let delta = Delta::between(b"", &one, true).unwrap();
        assert_eq!(used(&delta), [("a", 0), ("a:2", 0)]);
        assert!(delta.used.values().all(|used| used.is_listed));
        let counted = body(vec![container("1", "a")], vec![image("a", None)]);
        let delta = Delta::between(&one, &counted, true).unwrap();
        assert_eq!(used(&delta).iter().filter(|(name, by)| (*name, *by) == ("a", 1)).count(), 1);
        assert!(delta.used.values().all(|used| !used.is_listed), "from now on they are counted");
        assert!(Delta::between(&one, &one, true).unwrap().used.is_empty());
    }
}
