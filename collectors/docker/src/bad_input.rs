//! What the conversion makes of a daemon's answers, whatever they are: for the tests below and for `fuzz/`.

use bollard::models::{ContainerSummary, ImageSummary, SystemInfo};
use serde::Deserialize;
use serde_json::{Value, json};
use stocktake_core::{model::Scope, select::StateSelector};

/// The answers that a collection needs, in one document.
#[derive(Deserialize)]
struct Answers {
    containers: Vec<ContainerSummary>,
    images: Vec<ImageSummary>,
    info: SystemInfo,
}

/// The scope that is made of answers, if they can be decoded.
#[must_use]
pub fn scope(answers: &[u8]) -> Option<Scope> {
    let answers: Answers = serde_json::from_slice(answers).ok()?;
    let store = crate::image_store(&answers.info);
    Some(crate::convert::scope(&answers.containers, &answers.images, store, &StateSelector::ALL))
}

/// Answers of real daemons (`testdata/`), each a document that [`scope`] reads.
#[must_use]
pub fn recorded() -> Vec<Value> {
    let read = |text: &str| -> Value { serde_json::from_str(text).unwrap_or_default() };
    macro_rules! answers {
        ($($folder:literal)*) => {
            vec![$(json!({
                "containers": read(include_str!(concat!("../testdata/", $folder, "/containers.json"))),
                "images": read(include_str!(concat!("../testdata/", $folder, "/images.json"))),
                "info": read(include_str!(concat!("../testdata/", $folder, "/info.json"))),
            })),*]
        };
    }
    answers!("docker-20.10" "docker-28.5" "podman-4.3")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stocktake_bad_input::{converter, normalised};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn spoiled_answers_do_no_harm(choices in prop::collection::vec(any::<u8>(), 1..48)) {
            converter(&choices, &recorded(), scope);
        }
    }

    /// Many containers of an image with many names, and as many manifests of it: neither is the product of two lists.
    #[test]
    fn the_names_of_an_image_are_not_repeated_for_each_of_its_containers() {
        let id = |number: usize| format!("sha256:{number:064x}");
        let names: Vec<String> = (0..3000).map(|number| format!("example.com/a:{number}")).collect();
        let image = json!({"Id": id(0), "ParentId": "", "RepoTags": names, "RepoDigests": [], "Created": 1, "Size": 1,
            "SharedSize": -1, "Labels": {}, "Containers": 0});
        let snapshotter = json!({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]});
        for (info, manifests) in [(json!({}), 1), (snapshotter.clone(), 1), (snapshotter, 3000)] {
            let container = |number: usize| {
                json!({"Id": number.to_string(), "Image": "a", "ImageID": id(0), "State": "running",
                    "ImageManifestDescriptor": {"digest": id(1 + number % manifests)}})
            };
            let containers: Vec<Value> = (0..3000).map(container).collect();
            let text = json!({"containers": containers, "images": [image], "info": info}).to_string();
            let scope = normalised(scope(text.as_bytes()).unwrap(), text.len());
            assert_eq!(scope.containers.len(), 3000);
            assert_eq!(scope.images.iter().map(|image| image.names.len()).max(), Some(3000));
        }
    }
}
