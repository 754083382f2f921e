//! What `docker inspect` says, for both Dockers and Podman.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stocktake_tests::tools;

use crate::view::{Key, Seen, View};

/// The containers that the bed makes in each Docker.
pub(crate) const KNOWN: [&str; 12] = [
    "bed-running",
    "bed-pulled",
    "bed-pinned",
    "bed-shared",
    "bed-paused",
    "bed-exited",
    "bed-created",
    "bed-untagged",
    "bed-retagged",
    "bed-orphan",
    "shop-web-1",
    "stack_api.1.x",
];

/// Those whose image name the daemon's list no longer tells: it gives the image's id once the name leads elsewhere or
/// nowhere, and `docker inspect` alone, one request a container, still has the name.
const NAME_IS_LOST: [&str; 3] = ["bed-retagged", "bed-orphan", "bed-untagged"];

/// What a daemon says of all its containers and their images.
pub(crate) struct Daemon {
    socket: &'static str,
    containers: Vec<Value>,
    /// By the id that containers have for it; an image that was removed is not there.
    images: BTreeMap<String, Value>,
}

impl Daemon {
    pub(crate) fn inspect(socket: &'static str) -> Self {
        let ids = tools::output(tools::docker(socket).args(["ps", "--all", "--quiet", "--no-trunc"]));
        let containers = tools::json(tools::docker(socket).args(["inspect", "--type", "container"]).args(ids.lines()));
        let containers = containers.as_array().unwrap().clone();
        let used: BTreeSet<&str> = containers.iter().map(|container| container["Image"].as_str().unwrap()).collect();
        let inspect = |id: &str| {
            let text = tools::try_output(tools::docker(socket).args(["image", "inspect", id])).ok()?;
            Some((id.to_owned(), serde_json::from_str::<Value>(&text).unwrap()[0].clone()))
        };
        let images = used.into_iter().filter_map(inspect).collect();
        Self { socket, containers, images }
    }

    /// A container by name or id.
    pub(crate) fn container(&self, name: &str) -> &Value {
        self.find(name).unwrap_or_else(|| panic!("docker has no container {name}"))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Value> {
        let is =
            |container: &&Value| container["Id"] == name || container["Name"].as_str() == Some(&format!("/{name}"));
        self.containers.iter().find(is)
    }

    /// Where an image's name leads now.
    pub(crate) fn image_id(&self, name: &str) -> Option<String> {
        let image = tools::try_output(tools::docker(self.socket).args(["image", "inspect", name])).ok()?;
        serde_json::from_str::<Value>(&image).unwrap()[0]["Id"].as_str().map(str::to_owned)
    }
}

/// Digests of index, manifest and configuration, of which a daemon knows one or two.
pub(crate) fn digests(container: &Value) -> [Option<String>; 3] {
    let id = container["Image"].as_str().map(str::to_owned);
    // Only a daemon with the containerd store tells the manifest, and then the image's id is what was pulled or loaded.
    match container["ImageManifestDescriptor"]["digest"].as_str().map(str::to_owned) {
        Some(manifest) if Some(&manifest) == id.as_ref() => [None, Some(manifest), None],
        Some(manifest) => [id, Some(manifest), None],
        None => [None, None, id],
    }
}

pub(crate) fn add(view: &mut View, collector: &str, daemon: &Daemon) {
    for container in &daemon.containers {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let id = text(&container["Id"]).unwrap();
        let name = container["Name"].as_str().unwrap().trim_start_matches('/').to_owned();
        let [index, manifest, config] = digests(container);
        let image = daemon.images.get(container["Image"].as_str().unwrap());
        let repo_digests = image.and_then(|image| image["RepoDigests"].as_array()).into_iter().flatten();
        let names = image.and_then(|image| image["RepoTags"].as_array()).into_iter().flatten();
        let seen = Seen {
            id: Some(id.clone()),
            kind: "regular".into(),
            state: text(&container["State"]["Status"]).unwrap(),
            image: text(&container["Config"]["Image"]).filter(|_| !NAME_IS_LOST.contains(&name.as_str())),
            index,
            manifest,
            config,
            repo_digests: repo_digests.filter_map(text).filter(|digest| !digest.starts_with("<none>")).collect(),
            names: names.filter_map(text).filter(|name| !name.contains('@')).collect(),
            pod: None,
            name,
        };
        view.insert(Key { collector: collector.to_owned(), scope: "host".into(), label: id }, seen);
    }
}
