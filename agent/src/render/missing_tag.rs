//! The image of a container in the words of Anchore's agents, who know a name with a tag and one digest, and what they
//! put where a name has no tag.

use std::collections::BTreeSet;

use stocktake_core::{Digest, ImageReference, unify::ContainerView};

/// What to do with an image that was asked for without a tag (kai's and k8s-inventory's `missing-tag-policy`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MissingTag {
    /// The hexadecimal digits of the digest are the tag. Where no digest is known, the name stays without one.
    Digest,
    /// This is the tag.
    Insert(String),
    /// The image is left out.
    Drop,
}

/// What is to be said of a container's image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tagged {
    /// This.
    Image {
        /// The name as it was asked for, without a digest: `nginx:1.27`.
        name: String,
        /// What the repository serves it under, else the digest of its manifest.
        digest: Option<Digest>,
    },
    /// It has no tag, and such are not wanted.
    Dropped,
    /// It was asked for by no name, or that is not known.
    Nameless,
}

/// The image of a container.
pub(crate) fn tagged(view: &ContainerView<'_>, policy: &MissingTag) -> Tagged {
    let asked_for = view.container.image.as_deref().unwrap_or_default();
    let (name, pinned) = asked_for.split_once('@').map_or((asked_for, None), |(name, digest)| (name, Some(digest)));
    if name.is_empty() || name.parse::<Digest>().is_ok() {
        return Tagged::Nameless;
    }
    let digest = digest(view, pinned.and_then(|digest| digest.parse().ok()));
    if has_tag(name) {
        return Tagged::Image { name: name.to_owned(), digest };
    }
    // What is asked for by digest has no tag, whatever else the runtime calls the same image.
    let pulled = if pinned.is_none() { pulled_tag(view, name) } else { None };
    let tag = match (pulled, policy) {
        (Some(tag), _) => Some(tag),
        (None, MissingTag::Drop) => return Tagged::Dropped,
        (None, MissingTag::Insert(tag)) => Some(tag.clone()),
        (None, MissingTag::Digest) => digest.as_ref().map(|digest| digest.encoded().to_owned()),
    };
    Tagged::Image { name: tag.map_or_else(|| name.to_owned(), |tag| format!("{name}:{tag}")), digest }
}

/// What a registry serves the image under: what was asked for by digest, else what the repository that was asked for is
/// known to serve. For an image that was never in a registry its manifest's digest, under which a registry would serve
/// it; never its configuration's, under which none would.
fn digest(view: &ContainerView<'_>, pinned: Option<Digest>) -> Option<Digest> {
    let served = || view.container.repo_digest.as_ref().map(|repo| repo.digest.clone());
    // The kubelet names some repository of an image, which may be another one with the same content (kubernetes#40062).
    let told = || {
        let seen = view.seen.iter().find(|seen| seen.is_orchestrated())?;
        let mut digests = seen.image?.1.repo_digests.iter().map(|repo| &repo.digest);
        let first = digests.next()?;
        digests.all(|digest| digest == first).then(|| first.clone())
    };
    let manifest = || view.image.and_then(|image| image.image.manifest_digest.digest().cloned());
    pinned.or_else(served).or_else(told).or_else(manifest)
}

/// In `localhost:5000/x` the colon is the port's.
fn has_tag(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// The tag that a name without one led to, by the names that the runtime has for the image. Of several it can only be the
/// one that is the default for pulling.
fn pulled_tag(view: &ContainerView<'_>, name: &str) -> Option<String> {
    let repository = name.parse::<ImageReference>().ok()?.canonical_repository();
    let names = view.image.map(|image| image.image.names.as_slice()).unwrap_or_default();
    let of_repository = names.iter().filter_map(|name| name.parse::<ImageReference>().ok());
    let tags: BTreeSet<String> = of_repository
        .filter(|reference| reference.canonical_repository() == repository)
        .filter_map(|reference| reference.tag().map(str::to_owned))
        .collect();
    if tags.len() > 1 { tags.get("latest").cloned() } else { tags.into_iter().next() }
}

#[cfg(test)]
mod tests {
    use stocktake_core::unify::UnifiedView;

    use super::*;
    use crate::render::sample;

    const HEX: &str = "aa00000000000000000000000000000000000000000000000000000000000000";

    /// What is said of an image that was asked for as `image`.
    fn said(image: &str, names: &[&str], repo_digests: &[&str], policy: &MissingTag) -> Tagged {
        let inventory = sample::one_container(image, names, repo_digests);
        let view = UnifiedView::of(&inventory).unwrap();
        tagged(&view.containers[0], policy)
    }

    fn name_of(tagged: Tagged) -> String {
        match tagged {
            Tagged::Image { name, .. } => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_stays_as_it_was_written() {
        for policy in [MissingTag::Digest, MissingTag::Insert("UNKNOWN".into()), MissingTag::Drop] {
            for name in ["nginx:1.27", "localhost:5000/a/b:c", "docker.io/library/nginx:latest"] {
                assert_eq!(name_of(said(name, &[], &[], &policy)), name);
            }
            assert_eq!(name_of(said(&format!("nginx:1.27@sha256:{HEX}"), &[], &[], &policy)), "nginx:1.27");
        }
    }

    #[test]
    fn policies_are_for_what_has_no_tag() {
        for name in ["nginx", "localhost:5000/a/b"] {
            let pinned = format!("{name}@sha256:{HEX}");
            let insert = MissingTag::Insert("UNKNOWN".into());
            assert_eq!(name_of(said(&pinned, &[], &[], &MissingTag::Digest)), format!("{name}:{HEX}"));
            assert_eq!(name_of(said(&pinned, &[], &[], &insert)), format!("{name}:UNKNOWN"));
            assert_eq!(said(&pinned, &[], &[], &MissingTag::Drop), Tagged::Dropped);
            assert_eq!(name_of(said(name, &[], &[], &MissingTag::Digest)), name, "no digest, no colon");
        }
    }

    #[test]
    fn a_name_without_a_tag_has_the_one_that_was_pulled() {
        let names = ["docker.io/library/nginx:1.27", "example.com/nginx:7"];
        assert_eq!(name_of(said("nginx", &names, &[], &MissingTag::Drop)), "nginx:1.27");
        let several = ["docker.io/library/nginx:1.27", "docker.io/library/nginx:latest"];
        assert_eq!(name_of(said("nginx", &several, &[], &MissingTag::Drop)), "nginx:latest");
        let unclear = ["docker.io/library/nginx:1.27", "docker.io/library/nginx:1.26"];
        assert_eq!(said("nginx", &unclear, &[], &MissingTag::Drop), Tagged::Dropped);
        let pinned = format!("nginx@sha256:{HEX}");
        assert_eq!(said(&pinned, &names, &[], &MissingTag::Drop), Tagged::Dropped);
    }

    #[test]
    fn the_digest_is_the_one_that_the_repository_serves() {
        let of = |tagged| match tagged {
            Tagged::Image { digest, .. } => digest.map(|digest| digest.to_string()),
            other => panic!("{other:?}"),
        };
        let (one, other) = (format!("example.com/x@sha256:{HEX}"), format!("nginx@sha256:{}", HEX.replace("aa", "bb")));
        let served = said("nginx:1", &[], &[&one, &other], &MissingTag::Digest);
        assert_eq!(of(served).unwrap(), other["nginx@".len()..]);
        assert_eq!(of(said("nginx:1", &[], &[], &MissingTag::Digest)), None);
        let side_loaded = sample::side_loaded("nginx:1");
        let view = UnifiedView::of(&side_loaded).unwrap();
        assert_eq!(of(tagged(&view.containers[0], &MissingTag::Digest)), Some(sample::MANIFEST.to_owned()));
    }

    #[test]
    fn what_is_asked_for_by_no_name_has_none() {
        for image in ["", &format!("sha256:{HEX}"), &format!("@sha256:{HEX}")] {
            assert_eq!(said(image, &[], &[], &MissingTag::Digest), Tagged::Nameless, "{image}");
        }
    }
}
