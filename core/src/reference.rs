//! Image names as people write them, read by the one grammar that registries and runtimes share.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Digest, model::Text};

mod grammar;

use grammar::{LIBRARY, Parts};

/// An image name read by the grammar of the distribution specification: `[registry[:port]/]repository[:tag][@digest]`.
///
/// Names are resolved as Docker resolves them (`distribution/reference` "normalized" form): without a registry they
/// belong to `docker.io`, and there a name of one component belongs to `library`. A tag is *not* invented: where the
/// name has neither tag nor digest, [`tag`](Self::tag) is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    registry: Box<str>,
    repository: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

/// Why a string is not an image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not an image name: {reason}")]
pub struct InvalidReference {
    value: String,
    reason: &'static str,
}

impl InvalidReference {
    fn new(value: &str, reason: &'static str) -> Self {
        Self { value: value.chars().take(100).collect(), reason }
    }
}

impl ImageReference {
    /// Host of the registry, with its port where it has one: `docker.io`, `localhost:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path within the registry: `library/busybox`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag that was written, if one was.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that was written, if one was.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository, by which two names are known to mean the same repository: `docker.io/library/busybox`.
    #[must_use]
    pub fn canonical_repository(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl FromStr for ImageReference {
    type Err = InvalidReference;

    fn from_str(value: &str) -> Result<Self, InvalidReference> {
        let Parts { registry, is_library, repository, tag, digest } =
            parts(value).map_err(|reason| InvalidReference::new(value, reason))?;
        Ok(Self {
            registry: registry.into(),
            repository: if is_library { format!("{LIBRARY}{repository}").into() } else { repository.into() },
            tag: tag.map(Into::into),
            digest: digest.and_then(|digest| digest.parse().ok()),
        })
    }
}

/// The parts of what is an image name to every runtime.
fn parts(value: &str) -> Result<Parts<'_>, &'static str> {
    // `distribution/reference`, ParseNormalizedNamed.
    if value.len() == 64 && value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("64 hexadecimal digits are an image id");
    }
    if Digest::is_digest(value) {
        return Err("a bare digest names no repository");
    }
    grammar::read(value)
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// `repository@digest`: the digest under which one repository serves the image.
///
/// Whether the digest is that of an index or of a platform's manifest is not told by the name; the same image may
/// have several, one for each repository that it was pulled from or pushed to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoDigest {
    /// The repository as the runtime reports it, with its registry where the runtime gives one.
    pub repository: Text,
    /// Digest of the index or manifest.
    pub digest: Digest,
}

impl RepoDigest {
    /// The repository in canonical form, to compare it with that of a requested name.
    ///
    /// `None` when the runtime's text is no valid name (Docker's `<none>@sha256:…`).
    #[must_use]
    pub fn canonical_repository(&self) -> Option<String> {
        self.repository.parse::<ImageReference>().ok().map(|reference| reference.canonical_repository())
    }

    /// Whether it is of the repository that `reference` names, both in canonical form.
    #[must_use]
    pub fn is_of(&self, reference: &ImageReference) -> bool {
        let Ok(Parts { registry, is_library, repository, .. }) = parts(&self.repository) else { return false };
        let of_registry = reference.repository();
        let named = if is_library { of_registry.strip_prefix(LIBRARY) } else { Some(of_registry) };
        registry == reference.registry() && named == Some(repository)
    }
}

impl FromStr for RepoDigest {
    type Err = InvalidReference;

    fn from_str(value: &str) -> Result<Self, InvalidReference> {
        let invalid = |reason| InvalidReference::new(value, reason);
        let (repository, digest) = value.rsplit_once('@').ok_or_else(|| invalid("expected `repository@digest`"))?;
        if repository.is_empty() {
            return Err(invalid("the repository before `@` is empty"));
        }
        let digest = digest.parse().map_err(|_| invalid("what stands behind `@` is not a digest"))?;
        Ok(Self { repository: repository.into(), digest })
    }
}

impl fmt::Display for RepoDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

impl Serialize for RepoDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RepoDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for RepoDigest {
    fn schema_name() -> Cow<'static, str> {
        "RepoDigest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A repository, an at sign and the digest under which that repository serves the image.",
            "pattern": "^.+@sha(256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})$",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn canonical(name: &str) -> String {
        name.parse::<ImageReference>().unwrap_or_else(|error| panic!("{error}")).to_string()
    }

    #[test]
    fn fills_in_what_docker_fills_in_and_no_tag() {
        assert_eq!(canonical("busybox"), "docker.io/library/busybox");
        assert_eq!(canonical("busybox:1.36"), "docker.io/library/busybox:1.36");
        assert_eq!(canonical("busybox:latest"), "docker.io/library/busybox:latest");
        assert_eq!(canonical("grafana/loki"), "docker.io/grafana/loki");
        assert_eq!(canonical("index.docker.io/library/x:1"), "docker.io/library/x:1");
        assert_eq!(canonical("localhost:5000/x"), "localhost:5000/x");
        assert_eq!(canonical("localhost/x:latest"), "localhost/x:latest");
        assert_eq!(canonical("10.0.0.1:5000/a/b:v1"), "10.0.0.1:5000/a/b:v1");
    }

    #[test]
    fn keeps_tag_and_digest_apart() {
        let reference: ImageReference = format!("localhost:5000/team/x:1.0@{DIGEST}").parse().unwrap();
        assert_eq!(reference.registry(), "localhost:5000");
        assert_eq!(reference.repository(), "team/x");
        assert_eq!(reference.tag(), Some("1.0"));
        assert_eq!(reference.digest().map(Digest::as_str), Some(DIGEST));
        let pinned: ImageReference = format!("busybox@{DIGEST}").parse().unwrap();
        assert_eq!(pinned.tag(), None);
    }

    #[test]
    fn ids_and_nonsense_are_not_names() {
        for bad in ["", DIGEST, &DIGEST[7..], "Upper", "a b", "x:", "x@sha256:12", "-x", "x:tag with space"] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn repo_digests_compare_by_canonical_repository() {
        let short: RepoDigest = format!("busybox@{DIGEST}").parse().unwrap();
        let long: RepoDigest = format!("docker.io/library/busybox@{DIGEST}").parse().unwrap();
        assert_eq!(short.canonical_repository(), long.canonical_repository());
        for name in ["busybox:1", "library/busybox", "docker.io/busybox", "a.b/busybox", "a/busybox"] {
            let reference: ImageReference = name.parse().unwrap();
            let is_same = long.canonical_repository() == Some(reference.canonical_repository());
            assert_eq!((short.is_of(&reference), long.is_of(&reference)), (is_same, is_same), "{name}");
        }
        let none: RepoDigest = format!("<none>@{DIGEST}").parse().unwrap();
        assert_eq!(none.canonical_repository(), None);
        assert!("busybox".parse::<RepoDigest>().is_err());
        assert!(format!("@{DIGEST}").parse::<RepoDigest>().is_err());
    }

    proptest! {
        #[test]
        fn canonical_names_are_a_fixed_point(
            name in "([a-z0-9]{1,8}(\\.[a-z]{2,3})?(:[0-9]{2,5})?/)?[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,10})?"
        ) {
            if let Ok(reference) = name.parse::<ImageReference>() {
                let text = reference.to_string();
                prop_assert_eq!(&text.parse::<ImageReference>().unwrap(), &reference);
            }
        }

        #[test]
        fn no_input_panics(name in "\\PC{0,80}") {
            let _ = name.parse::<ImageReference>();
            let _ = name.parse::<RepoDigest>();
        }
    }
}
