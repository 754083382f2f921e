//! kai's document and table against `kubectl`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stocktake_tests::{agent::Agent, bed, needs, tools};

use crate::{collect, containers, digest, kubectl, tag, text};

/// Tags and digests by namespace.
type Images = BTreeMap<String, BTreeSet<(String, String)>>;

fn of_kubectl() -> Images {
    let mut images: Images = kubectl("namespaces")
        .iter()
        .map(|namespace| (text(namespace, "/metadata/name").to_owned(), BTreeSet::new()))
        .collect();
    let pods = kubectl("pods");
    for pod in pods.iter().filter(|pod| text(pod, "/status/phase") == "Running") {
        for (spec, status) in containers(pod) {
            let digest = digest(status.expect("a running pod's containers have a status"));
            let of_namespace = images.get_mut(text(pod, "/metadata/namespace")).unwrap();
            of_namespace.insert((tag(spec, &digest), digest));
        }
    }
    images
}

fn of_document(document: &Value) -> Images {
    let images = |item: &Value| -> BTreeSet<(String, String)> {
        let images = item["images"].as_array().unwrap();
        let set: BTreeSet<_> = images
            .iter()
            .map(|image| (text(image, "/tag").to_owned(), text(image, "/repoDigest").to_owned()))
            .collect();
        assert_eq!(set.len(), images.len(), "an image twice in {item}");
        set
    };
    let results = document["results"].as_array().unwrap();
    results.iter().map(|item| (text(item, "/namespace").to_owned(), images(item))).collect()
}

#[test]
fn namespaces_tags_and_digests_are_those_of_kubectl() {
    needs!("kubernetes", "containerd");
    let run = collect("kai-json", "kubernetes,containerd", &[]).exits(0);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let expected = of_kubectl();
    assert_eq!(of_document(&document), expected);
    assert!(expected["empty"].is_empty() && expected["shop"].len() >= 4, "{expected:?}");

    assert!(run.stdout.starts_with("{\n \"timestamp\": \"") && run.stdout.ends_with("\"\n}\n"), "{run}");
    assert_eq!((text(&document, "/cluster_name"), text(&document, "/inventory_type")), ("bed", "kubernetes"));
    let version = tools::json(tools::kubectl().args(["get", "--raw", "/version"]));
    for field in ["major", "minor", "gitVersion"] {
        assert_eq!(document["serverVersionMetadata"][field], version[field], "{field}");
    }
}

/// A configuration's digest is none that a registry serves: without containerd's word there is no digest.
#[test]
fn a_side_loaded_image_has_no_digest_that_no_registry_would_serve() {
    needs!("kubernetes");
    let run = collect("kai-json", "kubernetes", &[]).exits(0);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let results = document["results"].as_array().unwrap();
    let shop = results.iter().find(|item| item["namespace"] == "shop").unwrap();
    let images = shop["images"].as_array().unwrap();
    let side = images.iter().find(|image| image["tag"] == bed::SIDE_IMAGE).unwrap();
    assert_eq!(side.get("repoDigest"), None);
}

#[test]
fn the_table_has_the_documents_images() {
    needs!("kubernetes", "containerd");
    let run = collect("kai-table", "kubernetes,containerd", &[]).exits(0);
    let heading = run.stdout.lines().next().unwrap();
    assert_eq!(heading.split_whitespace().collect::<Vec<_>>(), ["IMAGE", "TAG", "REPO", "DIGEST", "NAMESPACE"]);
    let rows = tools::rows(&run.stdout);
    assert!(rows.is_sorted_by_key(|row| &row[0]), "{run}");
    let mut images: Images = of_kubectl().into_keys().map(|namespace| (namespace, BTreeSet::new())).collect();
    for row in &rows {
        images.get_mut(&row[2]).unwrap().insert((row[0].clone(), row[1].clone()));
    }
    assert_eq!(images, of_kubectl());
}

#[test]
fn policies_for_missing_tags_do_what_they_say() {
    needs!("kubernetes", "containerd");
    let tags = |options: &[&str]| -> (BTreeSet<String>, String) {
        let run = collect("kai-json", "kubernetes,containerd", options).exits(0);
        let document: Value = serde_json::from_str(&run.stdout).unwrap();
        let images = of_document(&document);
        (images.into_values().flatten().map(|(tag, _)| tag).collect(), run.stderr)
    };
    let repository = bed::APP_IMAGE.strip_suffix(":1.0").unwrap();
    let (inserted, _) = tags(&["--missing-tag", "insert"]);
    assert!(inserted.contains(&format!("{repository}:UNKNOWN")), "{inserted:?}");
    let (named, _) = tags(&["--missing-tag", "insert", "--missing-tag-insert", "by-digest"]);
    assert!(named.contains(&format!("{repository}:by-digest")), "{named:?}");
    let (dropped, stderr) = tags(&["--missing-tag", "drop"]);
    assert_eq!(dropped.len(), inserted.len() - 1, "{dropped:?}");
    assert!(stderr.contains("1 container is left out, the image having no tag"), "{stderr}");
    let (digests, _) = tags(&[]);
    assert!(digests.iter().any(|tag| tag.starts_with(&format!("{repository}:")) && tag.len() > 64), "{digests:?}");
}

/// Who reads kai's document replaces all that it has of a namespace: one that may not be listed is not an empty one.
#[test]
fn a_denied_namespace_is_not_an_empty_one() {
    needs!("kubernetes");
    let config = format!("[collectors.kubernetes]\nkubeconfig = '{}'\n", bed::kubeconfig("partial"));
    for format in ["kai-json", "k8s-inventory"] {
        let run = Agent::collect(&config, &["--format", format]).run().exits(1);
        let run =
            run.says("kubernetes: namespace restricted: denied").says("left out, not having been completely seen");
        let document: Value = serde_json::from_str(&run.stdout).unwrap();
        let (list, name) = if format == "kai-json" { ("results", "/namespace") } else { ("namespaces", "/name") };
        let names: Vec<&str> = document[list].as_array().unwrap().iter().map(|item| text(item, name)).collect();
        assert!(names.contains(&"shop") && names.contains(&"batch") && !names.contains(&"restricted"), "{names:?}");
    }
}

#[test]
fn hosts_are_left_out_and_that_is_said() {
    needs!("docker");
    for format in ["kai-json", "kai-table", "k8s-inventory"] {
        let run = collect(format, "docker", &[]).exits(0).says("docker: 12 containers are left out");
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains("no Kubernetes cluster was seen"), "{run}");
    }
}
