//! The formats of others, printed of the bed, against what the runtimes' own tools say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod csv;
mod cyclonedx;
mod k8s_inventory;
mod kai;

use serde_json::Value;
use stocktake_tests::{
    agent::{Agent, Run},
    bed, tools,
};

/// Parts of the bed in which nothing comes and goes by itself, so that two looks see the same.
const QUIET: &str = "docker,docker-next,podman,containerd-next";

/// `collect --format FORMAT` with these collectors of the bed's configuration.
fn collect(format: &str, collectors: &str, options: &[&str]) -> Run {
    let arguments = [&["--format", format, "--collector", collectors], options].concat();
    Agent::collect(&bed::config(), &arguments).run()
}

/// What `kubectl get` lists.
fn kubectl(kind: &str) -> Vec<Value> {
    let list = tools::json(tools::kubectl().args(["get", kind, "--all-namespaces", "--output", "json"]));
    list["items"].as_array().unwrap().clone()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// Containers of a pod's specification that Anchore's agents read, each with its status.
fn containers(pod: &Value) -> Vec<(&Value, Option<&Value>)> {
    let lists = [("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")];
    let of_list = |(specs, statuses): (&str, &str)| {
        let statuses: Vec<&Value> = pod["status"][statuses].as_array().into_iter().flatten().collect();
        let specs = pod["spec"][specs].as_array().into_iter().flatten();
        specs
            .map(|spec| (spec, statuses.iter().copied().find(|status| status["name"] == spec["name"])))
            .collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(of_list).collect()
}

/// The digest that an `imageID` names behind its repository; containerd's manifest for the side-loaded image, of which
/// Kubernetes has only the configuration's.
fn digest(status: &Value) -> String {
    let image_id = text(status, "/imageID");
    image_id.split_once('@').map_or_else(manifest_of_side_image, |(_, digest)| digest.to_owned())
}

fn manifest_of_side_image() -> String {
    let filter = format!("name=={}", bed::SIDE_IMAGE);
    let list = tools::output(tools::ctr(bed::CONTAINERD, "k8s.io").args(["images", "list", &filter]));
    tools::rows(&list)[0].iter().find(|word| word.starts_with("sha256:")).expect("a digest").clone()
}

/// The image's name as Anchore's agents send it under the policy `digest`.
fn tag(spec: &Value, digest: &str) -> String {
    let name = text(spec, "/image").split('@').next().unwrap();
    let has_tag = name.rsplit('/').next().unwrap().contains(':');
    if has_tag { name.to_owned() } else { format!("{name}:{}", &digest["sha256:".len()..]) }
}
