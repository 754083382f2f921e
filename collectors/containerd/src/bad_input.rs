//! What the conversion makes of what containerd holds, whatever it is: for the tests below and for `fuzz/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a test's helpers are tests")]

use containerd_client::{services::v1::Container, types::v1::Process};
use prost_types::{Any, Timestamp};
use serde_json::{Map, Value, json};
use stocktake_core::{model::Scope, select::StateSelector};

use crate::{
    content::ContentCache,
    convert,
    resolve::{ImageNames, Snapshots, Target},
};

/// The scope that is made of a namespace's objects, written as JSON: what protobuf cannot carry is left out, anything else
/// is taken as it is.
#[must_use]
pub fn scope(namespace: &[u8]) -> Option<Scope> {
    let namespace: Value = serde_json::from_slice(namespace).ok()?;
    let containers: Vec<Container> = list(&namespace["containers"]).iter().map(container).collect();
    let tasks: Vec<Process> = list(&namespace["tasks"]).iter().map(task).collect();
    let mut names = ImageNames::default();
    for image in list(&namespace["images"]) {
        if let Ok(digest) = text(&image["digest"]).parse() {
            names.targets.insert(text(&image["name"]), Target { digest, media_type: text(&image["media_type"]) });
        }
    }
    let mut snapshots = Snapshots::default();
    let of_all = list(&namespace["snapshots"]).iter();
    snapshots.insert("overlayfs", of_all.map(|entry| (text(&entry["name"]), text(&entry["parent"]))).collect());
    let mut content = ContentCache::default();
    for (digest, document) in fields(&namespace["content"]) {
        if let Ok(digest) = digest.parse() {
            content.insert(digest, text(document).as_bytes());
        }
    }
    let evidence: Vec<_> = containers.iter().map(|container| convert::evidence(container, &snapshots)).collect();
    Some(convert::scope(&containers, &tasks, &evidence, &names, &content, &StateSelector::ALL))
}

fn container(value: &Value) -> Container {
    let any = |value: &Value| Any { type_url: String::new(), value: text(value).into_bytes() };
    Container {
        id: text(&value["ID"]),
        image: text(&value["Image"]),
        snapshotter: text(&value["Snapshotter"]),
        snapshot_key: text(&value["SnapshotKey"]),
        labels: fields(&value["Labels"]).map(|(key, value)| (key.clone(), text(value))).collect(),
        extensions: fields(&value["Extensions"]).map(|(key, value)| (key.clone(), any(value))).collect(),
        created_at: time(&value["CreatedAt"]),
        ..Container::default()
    }
}

fn task(value: &Value) -> Process {
    Process {
        id: text(&value["id"]),
        container_id: text(&value["container_id"]),
        status: number(&value["status"]),
        exit_status: value["exit_status"].as_u64().and_then(|status| u32::try_from(status).ok()).unwrap_or_default(),
        exited_at: time(&value["exited_at"]),
        ..Process::default()
    }
}

/// Any seconds and nanoseconds, as protobuf carries them.
fn time(value: &Value) -> Option<Timestamp> {
    Some(Timestamp { seconds: value["seconds"].as_i64()?, nanos: number(&value["nanos"]) })
}

fn number(value: &Value) -> i32 {
    value.as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or_default()
}

/// A string as it is; of anything else its JSON, which is what extensions and documents are.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// What a real daemon held (`testdata/`), a document that [`scope`] reads for each namespace with anything in it: in it the
/// JSON that others wrote is JSON, not text, so that it can be spoiled from within.
#[must_use]
pub fn recorded() -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../testdata/containerd-1.6.json")).unwrap();
    let namespaces = all.as_object().unwrap().values().filter(|namespace| !list(&namespace["containers"]).is_empty());
    namespaces.cloned().map(opened).collect()
}

fn opened(mut namespace: Value) -> Value {
    for container in namespace["containers"].as_array_mut().unwrap() {
        let created: jiff::Timestamp = container["CreatedAt"].as_str().unwrap().parse().unwrap();
        container["CreatedAt"] = json!({"seconds": created.as_second(), "nanos": created.subsec_nanosecond()});
        for extension in container["Extensions"].as_object_mut().into_iter().flat_map(Map::values_mut) {
            let bytes = base64(extension["value"].as_str().unwrap());
            *extension = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
        }
    }
    for task in namespace["tasks"].as_array_mut().unwrap() {
        let states = ["CREATED", "RUNNING", "STOPPED", "PAUSED"];
        task["status"] = json!(1 + states.iter().position(|state| *state == task["status"]).unwrap());
    }
    for document in namespace["content"].as_object_mut().unwrap().values_mut() {
        *document = serde_json::from_str(document.as_str().unwrap()).unwrap();
    }
    namespace
}

/// Go's JSON writes bytes as base64; a crate for one test would be more to keep than these lines.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut buffer) = (0, 0u32);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET.iter().position(|letter| *letter == byte).expect("base64");
        buffer = (buffer << 6) | u32::try_from(value).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xff).unwrap());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stocktake_bad_input::{converter, normalised};
    use stocktake_core::Digest;

    use super::*;

    fn of(namespace: &[u8]) -> Option<Scope> {
        Some(normalised(scope(namespace)?, namespace.len()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn spoiled_objects_do_no_harm(choices in prop::collection::vec(any::<u8>(), 1..48)) {
            converter(&choices, &recorded(), scope);
        }

        #[test]
        fn what_others_recorded_may_be_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let extension = Any { type_url: String::new(), value: bytes.clone() };
            let extensions = [("io.cri-containerd.container.metadata".to_owned(), extension)].into();
            let container = Container { id: "a".into(), extensions, ..Container::default() };
            let _ = convert::evidence(&container, &Snapshots::default());
            let mut content = ContentCache::default();
            content.insert(Digest::sha256(&bytes), &bytes);
        }
    }

    #[test]
    fn the_recorded_objects_are_read_as_the_other_tests_read_them() {
        let scopes: Vec<Scope> = recorded().iter().map(|one| of(one.to_string().as_bytes()).unwrap()).collect();
        assert_eq!(scopes.iter().map(|scope| scope.containers.len()).collect::<Vec<_>>(), [4, 25, 10, 3]);
        let images = scopes.iter().flat_map(|scope| &scope.images);
        assert!(images.filter(|image| image.manifest_digest.digest().is_some()).count() > 3);
        assert!(scopes.iter().any(|scope| !scope.pods.is_empty()));
    }

    /// Many containers, each under a name of its own, of an image with all those names and as many manifests.
    #[test]
    fn neither_names_nor_manifests_are_repeated_for_each_container() {
        let digest = |number: usize| format!("sha256:{number:064x}");
        let manifests: Vec<Value> = (1..=900).map(|number| json!({"digest": digest(number)})).collect();
        let mut content = Map::from_iter([(digest(0), json!({"manifests": manifests}))]);
        let config = |number: usize| json!({"config": {"digest": digest(number)}, "layers": []});
        content.extend((1..=900).map(|number| (digest(number), config(10_000 + number))));
        let containers: Vec<Value> = (0..3000)
            .map(|number| {
                let metadata = json!({"Metadata": {"ImageRef": digest(10_001 + number % 900)}});
                let extensions = json!({"io.cri-containerd.container.metadata": metadata});
                json!({"ID": number.to_string(), "Image": format!("a:{number}"), "Extensions": extensions})
            })
            .collect();
        let images: Vec<Value> =
            (0..3000).map(|number| json!({"name": format!("a:{number}"), "digest": digest(0)})).collect();
        let text = json!({"containers": containers, "images": images, "content": content}).to_string();
        let scope = of(text.as_bytes()).unwrap();
        assert_eq!((scope.containers.len(), scope.images.len()), (3000, 900));
        assert_eq!(scope.images.iter().map(|image| image.names.len()).max(), Some(3000));
    }

    #[test]
    fn times_that_no_calendar_has_are_not_known() {
        let of = |seconds: i64, nanos: i64| {
            let text =
                json!({"containers": [{"ID": "a", "CreatedAt": {"seconds": seconds, "nanos": nanos}}]}).to_string();
            scope(text.as_bytes()).unwrap().containers[0].created_at
        };
        for (seconds, nanos) in [
            (i64::MIN, 0),
            (i64::MAX, 0),
            (i64::MAX, i64::from(i32::MAX)),
            (-1, 0),
            (-62_135_596_800, 0),
            (253_402_300_800, 0),
            (1, i64::from(i32::MIN)),
        ] {
            assert_eq!(of(seconds, nanos), None, "{seconds} {nanos}");
        }
        assert!(of(253_402_207_199, 999_999_999).is_some());
    }
}
