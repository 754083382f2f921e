//! What `ctr` says, in each namespace: `containers info`, `tasks ls`, `images ls`, and the documents of the content
//! store, from which the digests are worked out here once more. Of Docker's own namespace Docker says what runs.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use stocktake_core::Digest;
use stocktake_tests::tools;

use crate::{
    docker::{self, Daemon},
    view::{Key, Seen, View},
};

/// A namespace as `ctr` sees it.
struct Namespace<'a> {
    socket: &'a str,
    name: &'a str,
    /// Where image names lead.
    targets: BTreeMap<String, String>,
    /// State by container.
    tasks: BTreeMap<String, String>,
    documents: BTreeMap<String, Option<Value>>,
}

#[derive(Default)]
struct Digests {
    target: Option<String>,
    index: Option<String>,
    manifest: Option<String>,
    config: Option<String>,
}

pub(crate) fn add(view: &mut View, collector: &str, socket: &str, moby: Option<&Daemon>) {
    let namespaces = tools::output(tools::ctr(socket, "default").args(["namespaces", "ls", "--quiet"]));
    for name in namespaces.lines() {
        let mut namespace = Namespace::read(socket, name);
        let ids = tools::output(tools::ctr(socket, name).args(["containers", "ls", "--quiet"]));
        for id in ids.lines() {
            // Of a container that has gone meanwhile there is nothing to say; the report must not have it either.
            let info = tools::try_output(tools::ctr(socket, name).args(["containers", "info", id]));
            let Ok(info) = info.map(|text| serde_json::from_str(&text).unwrap()) else { continue };
            let seen = namespace.container(&info, moby.filter(|_| name == "moby"));
            let scope = format!("namespace {name}");
            view.insert(Key { collector: collector.to_owned(), scope, label: id.to_owned() }, seen);
        }
    }
}

impl<'a> Namespace<'a> {
    fn read(socket: &'a str, name: &'a str) -> Self {
        let images = tools::output(tools::ctr(socket, name).args(["images", "ls"]));
        let targets = tools::rows(&images).into_iter().map(|row| (row[0].clone(), row[2].clone())).collect();
        let tasks = tools::output(tools::ctr(socket, name).args(["tasks", "ls"]));
        let tasks = tools::rows(&tasks).into_iter().map(|row| (row[0].clone(), row[2].clone())).collect();
        Self { socket, name, targets, tasks, documents: BTreeMap::new() }
    }

    fn container(&mut self, info: &Value, moby: Option<&Daemon>) -> Seen {
        let id = info["ID"].as_str().unwrap();
        let label = |key: &str| info["Labels"][key].as_str().map(str::to_owned);
        let is_sandbox = label("io.cri-containerd.kind").as_deref() == Some("sandbox");
        let image = info["Image"].as_str().filter(|name| !name.is_empty() && !name.starts_with("moby-dangling@"));
        let digests = match moby.and_then(|daemon| daemon.find(id)) {
            Some(container) => self.of_moby(container),
            None => self.of_name(info),
        };
        // The CRI plug-in names every image by its configuration's digest too.
        let is_name = |name: &&String| !name.starts_with("moby-dangling@") && !name.starts_with("sha256:");
        let names = self.targets.iter().filter(|(_, target)| Some(*target) == digests.target.as_ref());
        let (repo_digests, names): (BTreeSet<String>, BTreeSet<String>) =
            names.map(|(name, _)| name).filter(is_name).cloned().partition(|name| name.contains('@'));
        // Of a pod's container it is some name of the image, and the one that was asked for only if the kubelet said it.
        let asked_for = match cri_metadata(info) {
            Some(metadata) => {
                assert!(names.contains(image.unwrap()), "{image:?} is not among {names:?}");
                metadata["Config"]["image"]["user_specified_image"]
                    .as_str()
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
            }
            None => image.map(str::to_owned),
        };
        Seen {
            id: Some(id.to_owned()),
            name: label("io.kubernetes.container.name")
                .or_else(|| label("nerdctl/name"))
                .unwrap_or_else(|| id.to_owned()),
            kind: if is_sandbox { "sandbox" } else { "regular" }.into(),
            state: match self.tasks.get(id).map(String::as_str) {
                None => "stopped",
                Some("RUNNING") => "running",
                Some("PAUSED") => "paused",
                Some("STOPPED") => "exited",
                Some("CREATED") => "created",
                Some(other) => panic!("ctr says {other}"),
            }
            .into(),
            image: asked_for,
            index: digests.index,
            manifest: digests.manifest,
            config: digests.config,
            repo_digests,
            names,
            pod: label("io.kubernetes.pod.name")
                .map(|pod| format!("{}/{pod}", label("io.kubernetes.pod.namespace").unwrap_or_default())),
        }
    }

    /// Docker's containers, as Docker says. Docker 20.10, which tells no manifest, keeps its images elsewhere, and
    /// containerd knows nothing of them.
    fn of_moby(&mut self, container: &Value) -> Digests {
        let [index, Some(manifest), _] = docker::digests(container) else { return Digests::default() };
        let config = self.config_of(&manifest);
        let manifest = Some(manifest);
        Digests { target: index.clone().or_else(|| manifest.clone()), index, manifest, config }
    }

    fn of_name(&mut self, info: &Value) -> Digests {
        let name = info["Image"].as_str().unwrap();
        let Some(target) = self.targets.get(name).cloned() else { return Digests::default() };
        let digests = self.of_target(&target);
        let config = digests.config.clone().unwrap();
        // The name is believed because something that cannot move agrees with it.
        if let Some(recorded) = cri_metadata(info).map(|metadata| metadata["ImageRef"].clone()) {
            assert_eq!(recorded, config.as_str(), "{name}: the CRI plug-in recorded another image");
        } else if let Some(chain) = self.snapshot_parent(info) {
            assert_eq!(self.chain_id(&config), chain, "{name}: the snapshot is of another image");
        }
        digests
    }

    fn of_target(&mut self, target: &str) -> Digests {
        let document = self.document(target).expect("the image's content is there");
        let (index, manifest) = match document["manifests"].as_array() {
            None => (None, target.to_owned()),
            Some(entries) => {
                let native = entries.iter().find(|entry| entry["platform"]["architecture"] == architecture()).unwrap();
                (Some(target.to_owned()), native["digest"].as_str().unwrap().to_owned())
            }
        };
        let config = self.config_of(&manifest);
        Digests { target: Some(target.to_owned()), index, manifest: Some(manifest), config }
    }

    fn config_of(&mut self, manifest: &str) -> Option<String> {
        self.document(manifest)?["config"]["digest"].as_str().map(str::to_owned)
    }

    /// The layers under a container's root file system.
    fn snapshot_parent(&self, info: &Value) -> Option<String> {
        let (snapshotter, key) = (info["Snapshotter"].as_str()?, info["SnapshotKey"].as_str()?);
        if snapshotter.is_empty() || key.is_empty() {
            return None;
        }
        let mut command = tools::ctr(self.socket, self.name);
        let snapshot = tools::json(command.args(["snapshots", "--snapshotter", snapshotter, "info", key]));
        snapshot["Parent"].as_str().map(str::to_owned)
    }

    /// OCI image specification, "Layer `ChainID`".
    fn chain_id(&mut self, config: &str) -> String {
        let config = self.document(config).expect("the image's configuration is there");
        let layers: Vec<&str> =
            config["rootfs"]["diff_ids"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let (first, rest) = layers.split_first().unwrap();
        rest.iter()
            .fold((*first).to_owned(), |chain, layer| Digest::sha256(format!("{chain} {layer}").as_bytes()).to_string())
    }

    fn document(&mut self, digest: &str) -> Option<Value> {
        let (socket, name) = (self.socket, self.name);
        let read = || {
            let text = tools::try_output(tools::ctr(socket, name).args(["content", "get", digest])).ok()?;
            assert_eq!(Digest::sha256(text.as_bytes()).as_str(), digest, "ctr gave another document");
            Some(serde_json::from_str(&text).unwrap())
        };
        self.documents.entry(digest.to_owned()).or_insert_with(read).clone()
    }
}

/// What the CRI plug-in recorded with a pod's container.
fn cri_metadata(info: &Value) -> Option<Value> {
    let metadata = info["Extensions"]["io.cri-containerd.container.metadata"]["value"].as_str()?;
    let metadata: Value = serde_json::from_slice(&BASE64_STANDARD.decode(metadata).unwrap()).unwrap();
    Some(metadata["Metadata"].clone())
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
