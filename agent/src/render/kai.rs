//! What `kai` 0.5.0 prints (`verbose-inventory-reports`): the images of a Kubernetes cluster by namespace.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use serde::Serialize;
use stocktake_core::{Digest, unify::UnifiedView};

use super::{
    clusters::{self, Cluster, ServerVersion, counted},
    exchange::indented_json,
    missing_tag::{MissingTag, Tagged, tagged},
};

/// One cluster's inventory, in the order and under the conditions of kai's own fields.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    pub(crate) timestamp: String,
    pub(crate) results: Vec<Item<'a>>,
    #[serde(rename = "serverVersionMetadata")]
    pub(crate) server_version_metadata: Option<ServerVersion<'a>>,
    pub(crate) cluster_name: &'a str,
    pub(crate) inventory_type: &'static str,
}

/// A namespace.
#[derive(Serialize)]
pub(crate) struct Item<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) images: Vec<Image>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Image {
    tag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repo_digest: Option<Digest>,
}

/// One document a cluster, by name, each indented by one space. Returns remarks on what is left out.
pub(super) fn json(view: &UnifiedView<'_>, policy: &MissingTag, out: &mut impl Write) -> io::Result<Vec<String>> {
    let (reports, remarks) = reports(view, policy);
    reports.iter().try_for_each(|report| indented_json(report, b" ", out))?;
    Ok(remarks)
}

/// One table a cluster, by name. Returns remarks on what is left out.
pub(super) fn table(view: &UnifiedView<'_>, policy: &MissingTag, out: &mut impl Write) -> io::Result<Vec<String>> {
    let (reports, remarks) = reports(view, policy);
    reports.iter().try_for_each(|report| table_of(report, out))?;
    Ok(remarks)
}

fn reports<'a>(view: &'a UnifiedView<'a>, policy: &MissingTag) -> (Vec<Report<'a>>, Vec<String>) {
    let (clusters, mut remarks) = clusters::clusters(view);
    let timestamp = clusters::seconds(view.inventory.report.created_at);
    let reports = clusters.iter().map(|cluster| report(cluster, policy, timestamp.clone(), &mut remarks)).collect();
    (reports, remarks)
}

pub(crate) fn report<'a>(
    cluster: &Cluster<'a>,
    policy: &MissingTag,
    timestamp: String,
    remarks: &mut Vec<String>,
) -> Report<'a> {
    Report {
        timestamp,
        results: results(cluster, policy, remarks),
        server_version_metadata: cluster.version.map(ServerVersion::of),
        cluster_name: cluster.name,
        inventory_type: "kubernetes",
    }
}

/// Every namespace, also those without images, each with every image once.
fn results<'a>(cluster: &Cluster<'a>, policy: &MissingTag, remarks: &mut Vec<String>) -> Vec<Item<'a>> {
    let (mut results, mut dropped, mut nameless) = (Vec::new(), 0, 0);
    for (namespace, content) in &cluster.namespaces {
        let mut images = Vec::new();
        let mut known = BTreeSet::new();
        for container in &content.containers {
            match tagged(container.view, policy) {
                Tagged::Image { name, digest } => {
                    let image = Image { tag: name, repo_digest: digest };
                    if known.insert(image.clone()) {
                        images.push(image);
                    }
                }
                Tagged::Dropped => dropped += 1,
                Tagged::Nameless => nameless += 1,
            }
        }
        results.push(Item { namespace, images });
    }
    remarks.extend(without_tag(cluster.name, dropped, nameless));
    results
}

/// The remark on containers whose image cannot be told.
pub(super) fn without_tag(cluster: &str, dropped: usize, nameless: usize) -> impl Iterator<Item = String> {
    let remark = |count: usize, why: &str| {
        (count > 0)
            .then(|| format!("cluster {cluster}: {} left out, {why}", counted(count, "container is", "containers are")))
    };
    [
        remark(dropped, "the image having no tag (missing tag: drop)"),
        remark(nameless, "the image not having been asked for by name"),
    ]
    .into_iter()
    .flatten()
}

/// Columns are as wide as their widest cell and two spaces; only behind the last heading there is one space (as
/// kai's table writer has it). Rows are in the order of their tags, and of equal tags in that of the report.
fn table_of(report: &Report<'_>, out: &mut impl Write) -> io::Result<()> {
    let of_item = |item: &'_ Item<'_>| -> Vec<[String; 3]> {
        let digest = |image: &Image| image.repo_digest.as_ref().map(Digest::to_string).unwrap_or_default();
        let row = |image: &Image| [image.tag.clone(), digest(image), item.namespace.to_owned()];
        item.images.iter().map(row).collect()
    };
    let mut rows: Vec<[String; 3]> = report.results.iter().flat_map(of_item).collect();
    if rows.is_empty() {
        return writeln!(out, "No Images found");
    }
    rows.sort_by(|a, b| a[0].cmp(&b[0]));
    let header = ["IMAGE TAG", "REPO DIGEST", "NAMESPACE"];
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].as_str()).chain([header[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let [tag, digest, namespace] = [width(0), width(1), width(2)];
    writeln!(out, "{:tag$}  {:digest$}  {:namespace$} ", header[0], header[1], header[2])?;
    rows.iter().try_for_each(|row| writeln!(out, "{:tag$}  {:digest$}  {:namespace$}  ", row[0], row[1], row[2]))
}
