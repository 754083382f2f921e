//! What is read of the API server's answers: the fields that are kept, and no other.
//!
//! Decoding whole typed pods costs 20 times the memory of this. Everything is optional, because a field that one
//! server leaves out or writes in another way must not cost the whole list; only what tells a list from any other JSON
//! object is required, so that an answer of something else is never taken for an empty list.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct List<T> {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) metadata: ListMeta,
    /// Required: a proxy's `{}` or a `Status` sent with 200 would be an empty list otherwise.
    #[serde(deserialize_with = "null_is_default", bound(deserialize = "T: Deserialize<'de>"))]
    pub(crate) items: Vec<T>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct ListMeta {
    /// Where the next page begins; empty or absent on the last.
    #[serde(default, rename = "continue")]
    pub(crate) next: Option<String>,
}

/// An error, as the API server words it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Status {
    #[serde(default)]
    pub(crate) message: Option<String>,
}

/// The answer of `/version`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    pub(crate) git_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ObjectMeta {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) uid: Option<String>,
    #[serde(deserialize_with = "time")]
    pub(crate) creation_timestamp: Option<Timestamp>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) owner_references: Vec<OwnerReference>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OwnerReference {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) api_version: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) uid: String,
    pub(crate) controller: Option<bool>,
}

/// An object of which only the uid and the owners matter (`PartialObjectMetadata`).
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Owned {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) metadata: OwnedMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OwnedMeta {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) uid: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) owner_references: Vec<OwnerReference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Namespace {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) status: NamespaceStatus,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct NamespaceStatus {
    #[serde(default)]
    pub(crate) phase: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) status: NodeStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeStatus {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) node_info: NodeInfo,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeInfo {
    #[serde(rename = "machineID")]
    pub(crate) machine_id: Option<String>,
    pub(crate) container_runtime_version: Option<String>,
    pub(crate) kernel_version: Option<String>,
    pub(crate) kubelet_version: Option<String>,
    pub(crate) operating_system: Option<String>,
    pub(crate) os_image: Option<String>,
    pub(crate) architecture: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Condition {
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pod {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) spec: PodSpec,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    pub(crate) node_name: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) init_containers: Vec<Container>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) ephemeral_containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) name: String,
    pub(crate) image: Option<String>,
    pub(crate) restart_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    pub(crate) phase: Option<String>,
    pub(crate) reason: Option<String>,
    #[serde(deserialize_with = "time")]
    pub(crate) start_time: Option<Timestamp>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) ephemeral_container_statuses: Vec<ContainerStatus>,
}

/// `image` is left out on purpose: it is *some* name of the local image, not the one asked for (kubernetes#51017).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerStatus {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) name: String,
    #[serde(rename = "containerID")]
    pub(crate) container_id: Option<String>,
    #[serde(rename = "imageID")]
    pub(crate) image_id: Option<String>,
    pub(crate) restart_count: Option<i64>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) state: ContainerState,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerState {
    pub(crate) waiting: Option<Waiting>,
    pub(crate) running: Option<Running>,
    pub(crate) terminated: Option<Terminated>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Waiting {
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Running {
    #[serde(deserialize_with = "time")]
    pub(crate) started_at: Option<Timestamp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Terminated {
    pub(crate) exit_code: Option<i64>,
    pub(crate) reason: Option<String>,
    #[serde(deserialize_with = "time")]
    pub(crate) started_at: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub(crate) finished_at: Option<Timestamp>,
}

/// Go writes an empty list, map or struct as `null` where its author forgot `omitempty`.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A time that cannot be read is not known; the object it stands in is.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_list_is_not_an_empty_one() {
        assert!(serde_json::from_str::<List<Pod>>("{}").is_err());
        assert!(serde_json::from_str::<List<Pod>>(r#"{"kind": "Status", "metadata": {}}"#).is_err());
        for empty in [r#"{"items": null}"#, r#"{"items": [], "metadata": null}"#] {
            assert!(serde_json::from_str::<List<Pod>>(empty).unwrap().items.is_empty());
        }
    }

    #[test]
    fn odd_objects_do_not_cost_the_list() {
        let list: List<Pod> = serde_json::from_str(
            r#"{"items": [
                {},
                {"metadata": null, "status": {"containerStatuses": [{"name": null, "state": null}]}},
                {"metadata": {"name": "a", "labels": null, "ownerReferences": null, "creationTimestamp": "yesterday"},
                 "spec": null, "status": {"startTime": null, "containerStatuses": null}},
                {"metadata": {"name": "b", "unheard": {"of": [1, 2]}, "creationTimestamp": "2026-11-23T20:00:00Z"}}
            ]}"#,
        )
        .unwrap();
        assert_eq!(list.items.len(), 4);
        assert_eq!(list.items[2].metadata.creation_timestamp, None);
        assert!(list.items[3].metadata.creation_timestamp.is_some());
    }
}
