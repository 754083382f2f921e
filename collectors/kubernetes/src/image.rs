//! What a container status says of the image, which depends on the runtime that the kubelet asked.

use stocktake_core::{
    Digest, RepoDigest,
    model::{ContainerState, DigestFact, Image, MissingReason, Provenance, Text},
};

use crate::{convert::KeptContainer, texts::Texts};

/// What the key of an image begins with that goes by the name that was asked for. No `imageID` begins so: it is a digest,
/// a repository's digest, or either behind Docker's scheme.
const BY_NAME: &str = "name://";

/// The key of the image that an `imageID` stands for: the whole of it, which is what `kubectl` shows and what tells two
/// images apart.
pub(crate) fn key_of_id(image_id: &str, texts: &mut Texts) -> Text {
    texts.shared(image_id)
}

/// The key of an image that nothing but the name that was asked for stands for.
///
/// The name alone may be an `imageID` as well (`repository@digest`), and what is asked for would fall together with what
/// is there.
pub(crate) fn key_of_name(name: &str, texts: &mut Texts) -> Text {
    texts.shared(&format!("{BY_NAME}{name}"))
}

/// The image that a container's key stands for. `names` is left empty.
pub(crate) fn image_of(key: &Text, container: &KeptContainer) -> Image {
    if key.starts_with(BY_NAME) {
        let has_run = container.id.is_some() || container.state != ContainerState::Waiting;
        image_of_name(key, has_run)
    } else {
        image_of_id(key)
    }
}

/// The image that `image_id`, the `imageID` of a container status, stands for. `names` is left empty.
///
/// No form of it tells whether a repository's digest is that of an index or of one platform's manifest: of the same
/// image one distribution reports the one and another the other (kubernetes#115199). The repository may be another
/// than the one asked for, if it has the same content (kubernetes#40062, #95385).
fn image_of_id(image_id: &str) -> Image {
    if let Some(digest) = image_id.strip_prefix("docker://") {
        return docker_image(image_id, digest);
    }
    // containerd and CRI-O write `repository@digest`, Docker puts a scheme before it (kubernetes#95968).
    let pulled = image_id.strip_prefix("docker-pullable://").unwrap_or(image_id);
    if let Ok(repo_digest) = pulled.parse::<RepoDigest>() {
        return Image {
            config_digest: DigestFact::missing(MissingReason::NotReported),
            repo_digests: vec![repo_digest],
            ..Image::unresolved(image_id, MissingReason::Ambiguous)
        };
    }
    // An image that containerd has under no repository's digest, such as one that was imported from a file, goes by
    // its CRI image id, which is the configuration's digest. (containerd itself knows the manifest's.)
    if let Ok(digest) = image_id.parse::<Digest>() {
        return Image {
            config_digest: DigestFact::known(digest, Provenance::KUBERNETES_IMAGE_ID),
            ..Image::unresolved(image_id, MissingReason::NotReported)
        };
    }
    Image::unresolved(image_id, MissingReason::Unreadable)
}

/// Docker's own image id, used for an image without a repository digest. In the classic store it is the configuration's
/// digest, in the containerd store (the default since Docker 29) that of the index or manifest (docker/cli#6670). The
/// API server does not tell which store a node's Docker has, so it may be any of the three.
fn docker_image(image_id: &str, digest: &str) -> Image {
    let reason = if digest.parse::<Digest>().is_ok() { MissingReason::Ambiguous } else { MissingReason::Unreadable };
    Image::unresolved(image_id, reason)
}

/// The image of a container whose status names none. A digest in the name that was asked for is no repository's digest of
/// the image: it says what shall be there, and whether any repository serves it only the pull will show. It stays in the
/// name.
///
/// `has_run` tells an image that was there, and whose id was lost with the container's status, from one that may not
/// have been pulled yet.
fn image_of_name(key: &str, has_run: bool) -> Image {
    Image::unresolved(key, if has_run { MissingReason::NotReported } else { MissingReason::NotPulled })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Hand-written after the forms in the issues named above: the test bed's Kubernetes 1.20 on containerd 1.6 shows
    // only a bare digest and `repository@digest` (testdata/pods.json).
    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn missing(image: &Image) -> [Option<MissingReason>; 3] {
        [&image.index_digest, &image.manifest_digest, &image.config_digest].map(|fact| match fact {
            DigestFact::Known { .. } => None,
            DigestFact::Missing { missing } => Some(*missing),
        })
    }

    #[test]
    fn a_repository_digest_is_of_the_index_or_of_the_manifest() {
        for id in [
            format!("localhost:5000/team/shop@{DIGEST}"),
            format!("docker-pullable://localhost:5000/team/shop@{DIGEST}"),
        ] {
            let image = image_of_id(&id);
            assert_eq!(image.id, id);
            assert_eq!(image.repo_digests, [format!("localhost:5000/team/shop@{DIGEST}").parse().unwrap()]);
            let ambiguous = Some(MissingReason::Ambiguous);
            assert_eq!(missing(&image), [ambiguous, ambiguous, Some(MissingReason::NotReported)]);
        }
    }

    #[test]
    fn a_bare_digest_is_of_the_configuration() {
        let image = image_of_id(DIGEST);
        assert_eq!(image.config_digest.digest().map(Digest::as_str), Some(DIGEST));
        assert!(image.repo_digests.is_empty());
        assert_eq!(missing(&image), [Some(MissingReason::NotReported), Some(MissingReason::NotReported), None]);
    }

    #[test]
    fn an_image_id_of_docker_may_be_any_digest() {
        let image = image_of_id(&format!("docker://{DIGEST}"));
        assert_eq!(missing(&image), [Some(MissingReason::Ambiguous); 3]);
        assert!(image.id.ends_with(DIGEST));
    }

    #[test]
    fn what_cannot_be_read_is_kept_as_the_key() {
        for id in ["docker://busybox", "docker-pullable://busybox", "<none>", &DIGEST[7..], "a b@c"] {
            let image = image_of_id(id);
            assert_eq!((image.id.as_str(), missing(&image)), (id, [Some(MissingReason::Unreadable); 3]));
        }
    }
}
