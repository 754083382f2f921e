//! A CycloneDX 1.6 bill of materials of what runs: one component a container, with its image's digests.

use std::{collections::BTreeMap, io::Write};

use packageurl::PackageUrl;
use serde_cyclonedx::cyclonedx::v_1_6::{
    AggregateType, Component, ComponentBuilder, CompositionsBuilder, CycloneDx, CycloneDxBuilder, Hash, HashAlg,
    Metadata, MetadataItemLifecycles, MetadataItemLifecyclesVariant0, MetadataTools, MetadataToolsVariant0, Property,
};
use serde_json::Value;
use stocktake_core::{
    Digest, ImageReference, RepoDigest,
    model::Shown,
    unify::{ContainerView, UnifiedView},
};

use super::{
    clusters::seconds,
    flat::{FIELDS, Field},
    gaps::gaps,
    json::document,
};

/// Before the names of properties that are Stocktake's own.
const NAMESPACE: &str = "stocktake";

/// What the bill is of; the components are its parts, of which `compositions` says whether they are all.
const SUBJECT: &str = "inventory";

/// Every container of the unified view, sandboxes too: they are made from an image like any other.
pub(super) fn cyclonedx(view: &UnifiedView<'_>, indented: bool, out: &mut impl Write) -> anyhow::Result<()> {
    Ok(document(&bill(view)?, indented, out)?)
}

fn bill(view: &UnifiedView<'_>) -> anyhow::Result<CycloneDx> {
    let gaps = gaps(view.inventory);
    let all_is_shown = view.inventory.report.sources.iter().all(|source| source.shown == Shown::All);
    let aggregate = match (gaps.is_empty(), all_is_shown) {
        (false, _) => AggregateType::Incomplete,
        (true, true) => AggregateType::Complete,
        // Nothing is missing of what was asked for, and that was not everything.
        (true, false) => AggregateType::NotSpecified,
    };
    let composition =
        CompositionsBuilder::default().aggregate(aggregate).assemblies(vec![Value::from(SUBJECT)]).build()?;
    let mut refs = Refs::default();
    let components = view.containers.iter().map(|container| component(container, refs.of(container)));
    let bill = CycloneDxBuilder::default()
        .bom_format("CycloneDX")
        .spec_version("1.6")
        .serial_number(format!("urn:uuid:{}", view.inventory.report.id))
        .version(1)
        .metadata(metadata(view, gaps)?)
        .components(components.collect::<anyhow::Result<Vec<_>>>()?)
        .compositions(vec![composition])
        .build()?;
    Ok(bill)
}

fn metadata(view: &UnifiedView<'_>, gaps: Vec<String>) -> anyhow::Result<Metadata> {
    let report = &view.inventory.report;
    let tool = ComponentBuilder::default()
        .type_("application")
        .name("stocktake-agent")
        .version(report.agent.version.as_str())
        .build()?;
    let subject = ComponentBuilder::default()
        .type_("platform")
        .bom_ref(SUBJECT)
        .name(report.agent.hostname.as_deref().unwrap_or(SUBJECT))
        .description("the runtimes and clusters that the agent on this machine looked at")
        .build()?;
    let sources = report.sources.iter().map(|source| {
        let runtime = source.runtime.as_ref().map(|runtime| format!(": {} {}", runtime.name, runtime.version));
        property("source", format!("{}{}", source.collector, runtime.unwrap_or_default()))
    });
    let gaps = gaps.into_iter().map(|gap| property("gap", gap));
    let operations = MetadataItemLifecyclesVariant0 { phase: "operations".to_owned() };
    Ok(Metadata {
        timestamp: Some(seconds(report.created_at)),
        lifecycles: Some(vec![MetadataItemLifecycles::Variant0(operations)]),
        tools: Some(MetadataTools::Variant0(MetadataToolsVariant0 { components: Some(vec![tool]), services: None })),
        component: Some(subject),
        properties: Some(sources.chain(gaps).collect()),
        ..Metadata::default()
    })
}

fn component(view: &ContainerView<'_>, bom_ref: String) -> anyhow::Result<Component> {
    let field = |(name, value): &Field| value(view).map(|value| property(name, value));
    let mut component = ComponentBuilder::default()
        .type_("container")
        .bom_ref(bom_ref)
        .name(view.container.name.as_str())
        .properties(FIELDS.iter().filter_map(field).collect::<Vec<_>>())
        .build()?;
    let manifest = view.image.and_then(|image| image.image.manifest_digest.digest());
    component.version = reference(view).and_then(|reference| reference.tag().map(str::to_owned));
    component.hashes = manifest.and_then(hash).map(|hash| vec![hash]);
    component.purl = view.container.repo_digest.as_ref().and_then(|served| purl(view, served));
    Ok(component)
}

fn property(name: &str, value: String) -> Property {
    Property { name: format!("{NAMESPACE}:{name}"), value: Some(value) }
}

/// The image as it was asked for, if it was by a name.
fn reference(view: &ContainerView<'_>) -> Option<ImageReference> {
    view.container.image.as_deref()?.parse().ok()
}

fn hash(digest: &Digest) -> Option<Hash> {
    let alg = match digest.as_str().split_once(':')?.0 {
        "sha256" => HashAlg::Sha256,
        "sha384" => HashAlg::Sha384,
        "sha512" => HashAlg::Sha512,
        _ => return None,
    };
    Some(Hash { alg, content: digest.encoded().to_owned() })
}

/// Where to get the image (purl specification, type `oci`): its name is the last part of the repository's, its version
/// what the repository serves it under. A repository whose name is no name (`<none>`) leads nowhere.
fn purl(view: &ContainerView<'_>, served: &RepoDigest) -> Option<String> {
    let repository = served.canonical_repository()?;
    let name = repository.rsplit('/').next()?.to_owned();
    let mut purl = PackageUrl::new("oci", name).ok()?;
    purl.with_version(served.digest.to_string()).ok()?;
    let asked_for = reference(view).filter(|reference| reference.canonical_repository() == repository);
    if let Some(tag) = asked_for.as_ref().and_then(ImageReference::tag) {
        purl.add_qualifier("tag", tag.to_owned()).ok()?;
    }
    let platform = view.image.and_then(|image| image.image.platform.as_ref());
    if let Some(platform) = platform {
        purl.add_qualifier("arch", platform.architecture.to_string()).ok()?;
    }
    purl.add_qualifier("repository_url", repository).ok()?;
    Some(purl.to_string())
}

/// Names for components that are the same in each report of the same containers, and different from each other.
#[derive(Default)]
struct Refs {
    given: BTreeMap<String, usize>,
}

impl Refs {
    /// By where the container was first seen, and its id there; one that has no id yet by its pod.
    fn of(&mut self, view: &ContainerView<'_>) -> String {
        let name = view.seen.first().map_or_else(String::new, |seen| {
            let container = seen.container;
            let pod = || format!("{}/{}", container.pod_uid.as_deref().unwrap_or_default(), container.name);
            let id = container.id.as_ref().map_or_else(pod, ToString::to_string);
            let scope = seen.entry.id.to_string().replacen(' ', "/", 1);
            format!("{}/{scope}/{id}", seen.source.collector)
        });
        let count = self.given.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 { name } else { format!("{name}#{count}") }
    }
}

#[cfg(test)]
mod tests {
    use stocktake_core::model::{Container, ContainerState, Coverage, Scope, ScopeId, Source};

    use super::*;
    use crate::render::sample::{self, Seen};

    fn bill_of(seen: Vec<Seen>) -> Value {
        let inventory = sample::inventory(seen);
        serde_json::to_value(bill(&UnifiedView::of(&inventory).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn what_could_not_be_seen_makes_the_bill_incomplete_and_is_named() {
        let complete = bill_of(vec![sample::docker(Vec::new(), Vec::new())]);
        assert_eq!(complete["compositions"][0]["aggregate"], "complete");
        assert_eq!(complete["compositions"][0]["assemblies"][0], complete["metadata"]["component"]["bom-ref"]);

        let incomplete = bill_of(vec![sample::cluster()]);
        assert_eq!(incomplete["compositions"][0]["aggregate"], "incomplete");
        let properties = incomplete["metadata"]["properties"].as_array().unwrap();
        let gap = properties.iter().find(|property| property["name"] == "stocktake:gap").unwrap();
        assert_eq!(gap["value"], "kubernetes: namespace secret: denied: may not list pods");

        let (source, scopes) = sample::docker(Vec::new(), Vec::new());
        let coverage = Coverage::Partial { reason: "hung".into() };
        let of_source = bill_of(vec![(Source { coverage, ..source }, scopes)]);
        assert_eq!(of_source["compositions"][0]["aggregate"], "incomplete");
    }

    #[test]
    fn references_differ_where_nothing_else_does() {
        let container = |id: Option<&str>, state| Container {
            id: id.map(Into::into),
            image_ref: None,
            state,
            ..sample::container("twin", "app:1")
        };
        let body = |containers: Vec<Container>| Scope { containers, ..Scope::default() };
        let scopes = [
            ("a", body(vec![container(Some("twin"), ContainerState::Running)])),
            ("b", body(vec![container(Some("twin"), ContainerState::Exited)])),
            ("c", body(vec![container(None, ContainerState::Waiting), container(None, ContainerState::Created)])),
        ];
        let scopes = scopes.map(|(name, body)| (ScopeId::namespace(name), Coverage::Complete, body));
        let bill = bill_of(vec![(sample::source("containerd"), scopes.into())]);
        let components = bill["components"].as_array().unwrap();
        let refs: Vec<&str> = components.iter().map(|component| component["bom-ref"].as_str().unwrap()).collect();
        let expected = [
            "containerd/namespace/a/twin",
            "containerd/namespace/b/twin",
            "containerd/namespace/c//name-of-twin",
            "containerd/namespace/c//name-of-twin#2",
        ];
        assert_eq!(refs, expected);
    }

    #[test]
    fn an_image_can_be_fetched_by_its_package_url() {
        let digest = sample::SERVED;
        let purl = |image: &str, repo_digest: String| {
            let inventory = sample::one_container(image, &[], &[&repo_digest]);
            let view = UnifiedView::of(&inventory).unwrap();
            component(&view.containers[0], "x".into()).unwrap().purl
        };
        let of_hub = purl("nginx:1.27", format!("nginx@{digest}")).unwrap();
        assert_eq!(of_hub, format!("pkg:oci/nginx@{digest}?repository_url=docker.io%2Flibrary%2Fnginx&tag=1.27"));
        let pinned = purl(&format!("h:5000/a/b@{digest}"), format!("h:5000/a/b@{digest}")).unwrap();
        assert_eq!(pinned, format!("pkg:oci/b@{digest}?repository_url=h:5000%2Fa%2Fb"));
        assert_eq!(purl("nginx:1.27", format!("<none>@{digest}")), None);
    }
}
