//! The CSV against the JSON of the same containers.

use std::collections::BTreeMap;

use stocktake_core::model::ContainerKind;
use stocktake_tests::needs;

use crate::{QUIET, collect};

#[test]
fn there_is_a_row_for_each_container_of_the_unified_view() {
    needs!("docker", "docker-next", "podman");
    let run = collect("csv", QUIET, &[]).exits(0);
    assert_eq!(run.stderr, "");
    assert_eq!(run.stdout.matches('\n').count(), run.stdout.matches("\r\n").count());
    let mut reader = csv::Reader::from_reader(run.stdout.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().collect::<Result<_, _>>().unwrap();

    let inventory = collect("json", QUIET, &[]).exits(0).report().inventory;
    let unified = inventory.unified.unwrap();
    let listed: Vec<_> =
        unified.containers.iter().filter(|container| container.kind != ContainerKind::Sandbox).collect();
    assert_eq!(rows.len(), listed.len());
    assert!(rows.len() >= 30, "{run}");
    for (row, container) in rows.iter().zip(listed) {
        let image =
            container.image_ref.as_ref().and_then(|id| unified.images.iter().find(|image| image.image.id == *id));
        let manifest = image.and_then(|image| image.image.manifest_digest.digest());
        let expected = [
            ("container", Some(container.name.clone())),
            ("container_id", container.id.clone()),
            ("state", Some(container.state.as_str().into())),
            ("image", container.image.clone()),
            ("repo_digest", container.repo_digest.as_ref().map(|digest| digest.to_string().into())),
            ("manifest_digest", manifest.map(|digest| digest.text().clone())),
        ];
        for (column, value) in expected {
            assert_eq!(row[column], value.unwrap_or_default(), "{column} of {row:?}");
        }
    }
    let of_compose = rows.iter().find(|row| row["container"] == "shop-web-1").unwrap();
    assert_eq!((&*of_compose["workload_namespace"], &*of_compose["workload"]), ("shop", "web"));
}
