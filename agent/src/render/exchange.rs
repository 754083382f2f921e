//! The formats of others: what is printed for programs that are not Stocktake's.

use std::io::{self, Write};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use stocktake_core::{model::Inventory, unify::UnifiedView};

use super::{csv::csv, cyclonedx::cyclonedx, gaps::gaps, k8s_inventory, kai, missing_tag::MissingTag};

/// A format that others have made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exchange {
    KaiJson(MissingTag),
    KaiTable(MissingTag),
    K8sInventory(MissingTag),
    CycloneDx,
    Csv,
}

/// Prints the unified view. Returns what a person ought to know of what is not in it.
pub(crate) fn exchange(
    inventory: &Inventory,
    format: &Exchange,
    for_people: bool,
    out: &mut impl Write,
) -> anyhow::Result<Vec<String>> {
    let view =
        UnifiedView::of(inventory).context("the report's unified view does not fit its sources, which is a bug")?;
    let remarks = match format {
        Exchange::KaiJson(policy) => kai::json(&view, policy, out)?,
        Exchange::KaiTable(policy) => kai::table(&view, policy, out)?,
        Exchange::K8sInventory(policy) => k8s_inventory::json(&view, policy, out)?,
        // It has a place for what could not be seen.
        Exchange::CycloneDx => return cyclonedx(&view, for_people, out).map(|()| Vec::new()),
        Exchange::Csv => csv(&view, out).map(|()| Vec::new())?,
    };
    Ok(gaps(inventory).into_iter().chain(remarks).collect())
}

/// A document as Go's encoder writes it with that indentation.
pub(super) fn indented_json(value: &impl Serialize, indent: &[u8], out: &mut impl Write) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(&mut *out, PrettyFormatter::with_indent(indent)))?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use stocktake_core::model::{Cluster, Coverage, Source};

    use super::*;
    use crate::render::sample::{self, Seen};

    fn printed(seen: Vec<Seen>, format: &Exchange) -> (String, Vec<String>) {
        let mut out = Vec::new();
        let remarks = exchange(&sample::inventory(seen), format, true, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), remarks)
    }

    /// A cluster and a host.
    fn both() -> Vec<Seen> {
        vec![sample::cluster(), sample::docker(vec![sample::container("=1+1", "app:1")], vec![sample::side_image("i")])]
    }

    const FORMATS: [(Exchange, &str); 5] = [
        (Exchange::KaiJson(MissingTag::Digest), include_str!("testdata/kai.json")),
        (Exchange::KaiTable(MissingTag::Digest), include_str!("testdata/kai.txt")),
        (Exchange::K8sInventory(MissingTag::Digest), include_str!("testdata/k8s-inventory.json")),
        (Exchange::CycloneDx, include_str!("testdata/cyclonedx.json")),
        (Exchange::Csv, include_str!("testdata/containers.csv")),
    ];

    #[test]
    fn each_format_is_what_it_was_byte_for_byte() {
        for (format, expected) in FORMATS {
            let (text, _) = printed(both(), &format);
            assert_eq!(text, expected, "{format:?}");
        }
    }

    #[test]
    fn nothing_is_left_out_in_silence() {
        let denied = "kubernetes: namespace secret: denied: may not list pods";
        let of_cluster = [
            denied,
            "docker: 1 container is left out, for this format knows Kubernetes alone; json, csv and cyclonedx have them",
            "cluster eks-prod: 1 namespace is left out, not having been completely seen: secret; who reads this format \
             replaces all that it has of a namespace",
            "cluster eks-prod: 2 containers are left out, being ephemeral or of pods that do not run, which Anchore's \
             agents do not read",
        ];
        let dropped = "cluster eks-prod: 2 containers are left out, the image having no tag (missing tag: drop)";
        let dangling = "cluster eks-prod: left out, for a receiver refuses references that lead nowhere: \
                        1 container without an id or such a pod, 1 pod's unknown node";
        let remarks = |format: &Exchange| printed(both(), format).1;
        assert_eq!(remarks(&Exchange::Csv), [denied]);
        assert_eq!(remarks(&Exchange::CycloneDx), [""; 0]);
        assert_eq!(remarks(&Exchange::KaiTable(MissingTag::Digest)), of_cluster);
        assert_eq!(remarks(&Exchange::KaiJson(MissingTag::Drop)), [&of_cluster[..], &[dropped]].concat());
        assert_eq!(
            remarks(&Exchange::K8sInventory(MissingTag::Drop)),
            [&of_cluster[..], &[dropped, dangling]].concat()
        );
    }

    #[test]
    fn a_cluster_that_was_not_seen_is_not_an_empty_one() {
        let gone =
            Source { coverage: Coverage::Failed { reason: "nobody home".into() }, ..sample::source("kubernetes") };
        for (format, _) in FORMATS.iter().take(3) {
            let (text, remarks) = printed(vec![(gone.clone(), Vec::new())], format);
            assert_eq!(text, "", "{format:?}");
            assert_eq!(remarks[0], "kubernetes: failed: nobody home");
            assert!(remarks[1].starts_with("no Kubernetes cluster was seen"), "{remarks:?}");
        }
    }

    #[test]
    fn containers_of_an_unknown_cluster_are_left_out() {
        let (source, scopes) = sample::cluster();
        let (text, remarks) = printed(vec![(Source { cluster: None, ..source }, scopes)], &FORMATS[0].0);
        assert_eq!(text, "");
        let expected = "kubernetes: 9 containers are left out, for it is not known of which cluster;";
        assert!(remarks.iter().any(|remark| remark.starts_with(expected)), "{remarks:?}");
    }

    /// A reader that has closed the pipe.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_known_for_one() {
        // More than any format buffers for itself.
        let many = (0..500).map(|number| sample::container(&number.to_string(), "app:1")).collect();
        let inventory = sample::inventory(vec![sample::cluster(), sample::docker(many, vec![sample::side_image("i")])]);
        for (format, _) in FORMATS {
            let error = exchange(&inventory, &format, true, &mut Closed).unwrap_err();
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            assert_eq!(kind, Some(io::ErrorKind::BrokenPipe), "{format:?}: {error:?}");
        }
    }

    #[test]
    fn a_cluster_without_images_is_one() {
        let (source, mut scopes) = sample::cluster();
        scopes.truncate(2);
        let (text, _) = printed(vec![(source.clone(), scopes.clone())], &Exchange::KaiTable(MissingTag::Digest));
        assert_eq!(text, "No Images found\n");
        let (text, _) = printed(vec![(source, scopes)], &Exchange::KaiJson(MissingTag::Digest));
        assert!(text.contains("\"namespace\": \"empty\",\n   \"images\": []\n"), "{text}");
    }

    #[test]
    fn there_is_a_document_for_each_cluster_and_not_for_each_collector() {
        let cluster_of = |collector: &str, name: &str, uid: &str| {
            let (source, scopes) = sample::cluster();
            let cluster = Some(Cluster { uid: Some(uid.into()), name: Some(name.into()) });
            (Source { collector: collector.into(), cluster, ..source }, scopes)
        };
        let seen = vec![cluster_of("a", "prod", "1"), cluster_of("b", "prod", "1"), cluster_of("c", "other", "2")];
        for (format, expected) in [FORMATS[0].clone(), FORMATS[2].clone()] {
            let (text, _) = printed(seen.clone(), &format);
            let documents = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
            let documents: Vec<serde_json::Value> = documents.collect::<Result<_, _>>().unwrap();
            let names: Vec<&str> =
                documents.iter().map(|document| document["cluster_name"].as_str().unwrap()).collect();
            assert_eq!(names, ["other", "prod"], "{format:?}");
            for document in documents {
                let mut expected: serde_json::Value = serde_json::from_str(expected).unwrap();
                expected["cluster_name"] = document["cluster_name"].clone();
                assert_eq!(document, expected, "each container once");
            }
        }
    }

    /// Who may not list namespaces learns no uid, without which no pod can be sent.
    #[test]
    fn what_refers_to_nothing_is_not_sent() {
        let (source, mut scopes) = sample::cluster();
        scopes.remove(0);
        let (text, remarks) = printed(vec![(source, scopes)], &Exchange::K8sInventory(MissingTag::Digest));
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["containers"], serde_json::json!([]));
        for list in ["namespaces", "nodes", "pods"] {
            assert_eq!(document.get(list), None, "{list}");
        }
        let counts =
            "2 namespaces without a known uid, 3 pods of such namespaces, 7 containers without an id or of such pods";
        assert!(remarks.iter().any(|remark| remark.ends_with(counts)), "{remarks:?}");
    }
}
