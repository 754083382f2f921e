use super::*;

fn digest(text: &str) -> Digest {
    Digest::sha256(text.as_bytes())
}

fn known(text: &str) -> DigestFact {
    DigestFact::known(digest(text), Provenance("test".into()))
}

fn repo(repository: &str, text: &str) -> RepoDigest {
    RepoDigest { repository: repository.into(), digest: digest(text) }
}

fn platform(architecture: &str, variant: Option<&str>) -> Platform {
    Platform { os: "linux".into(), architecture: architecture.into(), variant: variant.map(Into::into) }
}

/// An image of which nothing is known.
fn image() -> Image {
    Image::unresolved("x", MissingReason::NotReported)
}

/// As containerd tells an image of two platforms of which one runs.
fn complete(index: &str, manifest: &str, config: &str, of: Platform) -> Image {
    Image {
        index_digest: known(index),
        manifest_digest: known(manifest),
        config_digest: known(config),
        platform: Some(of),
        ..image()
    }
}

/// As the Kubernetes API tells an image that was pulled.
fn pulled(repository: &str, text: &str) -> Image {
    Image {
        repo_digests: vec![repo(repository, text)],
        config_digest: DigestFact::missing(MissingReason::NotReported),
        ..Image::unresolved("x", MissingReason::Ambiguous)
    }
}

fn facts(identity: &Identity) -> [Result<Digest, MissingReason>; 3] {
    [&identity.index_digest, &identity.manifest_digest, &identity.config_digest].map(|fact| match fact {
        DigestFact::Known { digest, .. } => Ok(digest.clone()),
        DigestFact::Missing { missing } => Err(*missing),
    })
}

const UNKNOWN: Result<Digest, MissingReason> = Err(MissingReason::Ambiguous);
const NOT_REPORTED: Result<Digest, MissingReason> = Err(MissingReason::NotReported);

const NGINX: &str = "nginx:1.27";

#[test]
fn a_repository_digest_is_resolved_by_who_knows_what_it_is_of() {
    let containerd = complete("index", "manifest", "config", platform("amd64", None));
    let graph = DigestGraph::of([&containerd]);
    let of_index = pulled("docker.io/library/nginx", "index");
    // Without the platform an index may stand for any of its manifests.
    let identity = identify(&graph, &[&of_index], Some(NGINX), None);
    assert_eq!(facts(&identity), [Ok(digest("index")), UNKNOWN, NOT_REPORTED]);
    let identity = identify(&graph, &[&of_index], Some(NGINX), Some(&platform("amd64", None)));
    assert_eq!(facts(&identity), [Ok(digest("index")), Ok(digest("manifest")), Ok(digest("config"))]);
    let how = [&identity.index_digest, &identity.manifest_digest, &identity.config_digest].map(|fact| match fact {
        DigestFact::Known { from, .. } => from.clone(),
        DigestFact::Missing { .. } => Provenance("missing".into()),
    });
    assert_eq!(
        how,
        [Provenance::UNIFIED_REPO_DIGEST, Provenance::UNIFIED_INDEX_AND_PLATFORM, Provenance::UNIFIED_MANIFEST]
    );

    // kubernetes#115199: elsewhere the same pod shows the manifest.
    let identity = identify(&graph, &[&pulled("nginx", "manifest")], Some(NGINX), None);
    assert_eq!(facts(&identity), [Err(MissingReason::NotReported), Ok(digest("manifest")), Ok(digest("config"))]);
    // Nobody knows what this one is of.
    let identity = identify(&graph, &[&pulled("nginx", "other")], Some(NGINX), Some(&platform("amd64", None)));
    assert_eq!(facts(&identity), [UNKNOWN, UNKNOWN, NOT_REPORTED]);
}

/// The agent's own node knows one platform's manifest; the pod may run on a node of another one.
#[test]
fn a_manifest_of_another_platform_is_not_taken_for_this_ones() {
    let graph = DigestGraph::of([&complete("index", "manifest", "config", platform("amd64", None))]);
    let identity = identify(&graph, &[&pulled("nginx", "index")], Some(NGINX), Some(&platform("arm64", None)));
    assert_eq!(facts(&identity)[..2], [Ok(digest("index")), Err(MissingReason::Ambiguous)]);
    let both = [
        complete("index", "manifest", "config", platform("amd64", None)),
        complete("index", "manifest-arm", "config-arm", platform("arm64", Some("v8"))),
    ];
    let identity =
        identify(&DigestGraph::of(&both), &[&pulled("nginx", "index")], Some(NGINX), Some(&platform("arm64", None)));
    assert_eq!(facts(&identity)[1..], [Ok(digest("manifest-arm")), Ok(digest("config-arm"))]);
    // The graph has the one variant that somebody runs, and the index may have others.
    let arm = complete("index", "manifest-v7", "config-v7", platform("arm", Some("v7")));
    let identity =
        identify(&DigestGraph::of([&arm]), &[&pulled("nginx", "index")], Some(NGINX), Some(&platform("arm", None)));
    assert_eq!(facts(&identity)[1], Err(MissingReason::Ambiguous));
}

#[test]
fn a_configuration_finds_its_manifest() {
    let containerd = complete("index", "manifest", "config", platform("amd64", None));
    let mut docker = pulled("nginx", "index");
    docker.config_digest = known("config");
    let graph = DigestGraph::of([&containerd, &docker]);
    let identity = identify(&graph, &[&docker], Some(NGINX), None);
    assert_eq!(identity.manifest_digest, DigestFact::known(digest("manifest"), Provenance::UNIFIED_INDEX_AND_CONFIG));
    // It was loaded from a file: no repository, no index.
    let loaded = Image { config_digest: known("config"), ..image() };
    let identity = identify(&graph, &[&loaded], None, None);
    assert_eq!(identity.manifest_digest, DigestFact::known(digest("manifest"), Provenance::UNIFIED_SAME_CONFIG));
    // What was pulled came as it is in the registry, and not as somebody loaded it from a file.
    let pulled_elsewhere = Image { config_digest: known("config"), ..pulled("nginx", "other") };
    let identity = identify(&graph, &[&pulled_elsewhere], Some(NGINX), None);
    assert_eq!(identity.manifest_digest.digest(), None);
    // The same content, compressed anew, is another manifest of the same configuration.
    let recompressed = complete("index-2", "manifest-2", "config", platform("amd64", None));
    let graph = DigestGraph::of([&containerd, &recompressed]);
    assert_eq!(facts(&identify(&graph, &[&loaded], None, None))[1], Err(MissingReason::Ambiguous));
    // The index still tells.
    assert_eq!(facts(&identify(&graph, &[&docker], Some(NGINX), None))[1], Ok(digest("manifest")));
}

#[test]
fn a_configuration_that_is_not_the_platforms_is_not_given_its_manifest() {
    let graph = DigestGraph::of([&complete("index", "manifest", "config", platform("amd64", None))]);
    let mut docker = pulled("nginx", "index");
    docker.config_digest = known("another-config");
    let identity = identify(&graph, &[&docker], Some(NGINX), Some(&platform("amd64", None)));
    assert_eq!(facts(&identity)[1], Err(MissingReason::Ambiguous));
}

#[test]
fn among_repository_digests_the_one_that_was_asked_for() {
    let all = [repo("mirror.example.com/nginx", "a"), repo("nginx", "b"), repo("docker.io/library/nginx", "b")];
    let chosen = |name| choose_repo_digest(&all, name).map(ToString::to_string);
    assert_eq!(chosen(Some("nginx:1.27")), Some(repo("docker.io/library/nginx", "b").to_string()));
    assert_eq!(chosen(Some("mirror.example.com/nginx")), Some(repo("mirror.example.com/nginx", "a").to_string()));
    // The registry alone is not enough, and neither is being the only one: nobody said that this repository serves it.
    assert_eq!(chosen(Some("mirror.example.com/other")), None);
    assert_eq!(choose_repo_digest(&all[1..2], Some("mirror.example.com/other")), None);
    assert_eq!(chosen(None), None);
    assert_eq!(chosen(Some("not a name")), None);
    assert_eq!(choose_repo_digest(&all[1..], None).map(|repo| repo.digest.clone()), Some(digest("b")));

    // Pulled by tag and by digest: two digests of one repository, of which the name tells one.
    let both = [repo("nginx", "index"), repo("nginx", "manifest")];
    assert_eq!(choose_repo_digest(&both, Some("nginx:1.27")), None);
    let pinned = format!("nginx@{}", digest("manifest"));
    assert_eq!(choose_repo_digest(&both, Some(&pinned)), Some(&both[1]));
}

#[test]
fn what_contradicts_a_more_trusted_statement_is_told() {
    let runtime = complete("index", "manifest", "config", platform("amd64", None));
    let orchestrator = Image { config_digest: known("another"), ..image() };
    let graph = DigestGraph::of([&runtime, &orchestrator]);
    let identity = identify(&graph, &[&runtime, &orchestrator], Some(NGINX), None);
    assert_eq!(identity.contradicted_by, [1]);
    assert_eq!(facts(&identity)[2], Ok(digest("config")));
}

/// A source that lies, or has a bug, does not make others' digests mean something else.
#[test]
fn a_digest_that_is_said_to_be_two_things_is_neither() {
    let one = complete("index", "manifest", "config", platform("amd64", None));
    let other = complete("manifest", "x", "y", platform("amd64", None));
    let disputed = complete("index", "z", "config-1", platform("amd64", None));
    let disputing = complete("index", "z", "config-2", platform("amd64", None));
    assert_eq!(DigestGraph::of([&disputed, &disputing]).config_of(&digest("z")), None);
    assert_eq!(DigestGraph::of([&disputed, &disputed]).config_of(&digest("z")), Some(&digest("config-1")));
    let graph = DigestGraph::of([&one, &other]);
    assert_eq!((graph.role(&digest("index")), graph.role(&digest("manifest"))), (Some(Role::Index), None));
}
