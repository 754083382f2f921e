//! What is read of the API server's answers: the fields that are kept, and no other.
//!
//! Each type is read from protobuf, by the field numbers of Kubernetes' `generated.proto` files, and from JSON, which is
//! what some proxies and servers answer. Decoding whole typed pods costs 20 times the memory of this. Everything is
//! optional, because a field that one server leaves out or writes in another way must not cost the whole list.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use prost::Message;
use serde::{Deserialize, Deserializer};

/// What is said of a list as a whole (`metav1.ListMeta`).
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListMeta {
    /// The version that the list is of: opaque, to be handed back.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) resource_version: String,
    /// Where the next page begins; empty on the last.
    #[prost(string, tag = "3")]
    #[serde(rename = "continue", deserialize_with = "null_is_default")]
    pub(crate) next: String,
}

/// An error, as the API server words it (`metav1.Status`).
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    #[prost(string, optional, tag = "3")]
    pub(crate) message: Option<String>,
    #[prost(int32, optional, tag = "6")]
    pub(crate) code: Option<i32>,
}

/// The answer of `/version`, which is JSON whatever was asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    pub(crate) git_version: String,
}

/// A time: a string in JSON, seconds and nanoseconds in protobuf (`metav1.Time`). The zero value stands for none, which
/// is also what becomes of a time that cannot be read: the object it stands in is known all the same.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Time {
    /// The point in time, if it is one.
    pub(crate) fn timestamp(self) -> Option<Timestamp> {
        if self == Self::default() { None } else { Timestamp::new(self.seconds, self.nanos).ok() }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
        let time = text.and_then(|text| text.parse::<Timestamp>().ok());
        Ok(time.map_or(Self::default(), |time| Self { seconds: time.as_second(), nanos: time.subsec_nanosecond() }))
    }
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ObjectMeta {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) name: String,
    #[prost(string, optional, tag = "3")]
    pub(crate) namespace: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(crate) uid: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) resource_version: Option<String>,
    #[prost(message, optional, tag = "8")]
    pub(crate) creation_timestamp: Option<Time>,
    #[prost(message, optional, tag = "9")]
    pub(crate) deletion_timestamp: Option<Time>,
    #[prost(btree_map = "string, string", tag = "11")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, bytes", tag = "12")]
    #[serde(deserialize_with = "texts")]
    pub(crate) annotations: BTreeMap<String, Unchecked>,
    #[prost(message, repeated, tag = "13")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) owner_references: Vec<OwnerReference>,
}

#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OwnerReference {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(deserialize_with = "text")]
    pub(crate) kind: Unchecked,
    #[prost(bytes = "vec", tag = "3")]
    #[serde(deserialize_with = "text")]
    pub(crate) name: Unchecked,
    #[prost(bytes = "vec", tag = "4")]
    #[serde(deserialize_with = "text")]
    pub(crate) uid: Unchecked,
    #[prost(bytes = "vec", tag = "5")]
    #[serde(deserialize_with = "text")]
    pub(crate) api_version: Unchecked,
    #[prost(bool, optional, tag = "6")]
    pub(crate) controller: Option<bool>,
}

/// An object of which only the uid and the owners matter (`PartialObjectMetadata`).
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct Owned {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<OwnedMeta>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OwnedMeta {
    #[prost(string, optional, tag = "3")]
    pub(crate) namespace: Option<String>,
    #[prost(string, tag = "5")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) uid: String,
    #[prost(string, optional, tag = "6")]
    pub(crate) resource_version: Option<String>,
    #[prost(btree_map = "string, bytes", tag = "12")]
    #[serde(deserialize_with = "texts")]
    pub(crate) annotations: BTreeMap<String, Unchecked>,
    #[prost(message, repeated, tag = "13")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) owner_references: Vec<OwnerReference>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct Namespace {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "3")]
    pub(crate) status: Option<NamespaceStatus>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct NamespaceStatus {
    #[prost(string, optional, tag = "1")]
    pub(crate) phase: Option<String>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "3")]
    pub(crate) status: Option<NodeStatus>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeStatus {
    #[prost(message, repeated, tag = "4")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) conditions: Vec<Condition>,
    #[prost(message, optional, tag = "7")]
    pub(crate) node_info: Option<NodeInfo>,
}

#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeInfo {
    #[prost(string, optional, tag = "1")]
    #[serde(rename = "machineID")]
    pub(crate) machine_id: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) kernel_version: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(crate) os_image: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) container_runtime_version: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub(crate) kubelet_version: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub(crate) operating_system: Option<String>,
    #[prost(string, optional, tag = "10")]
    pub(crate) architecture: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct Condition {
    #[prost(string, tag = "1")]
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub(crate) kind: String,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) status: String,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct Pod {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) spec: Option<PodSpec>,
    #[prost(message, optional, tag = "3")]
    pub(crate) status: Option<PodStatus>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) containers: Vec<Container>,
    #[prost(string, optional, tag = "10")]
    pub(crate) node_name: Option<String>,
    #[prost(message, repeated, tag = "20")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) init_containers: Vec<Container>,
    #[prost(message, repeated, tag = "34")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) ephemeral_containers: Vec<EphemeralContainer>,
}

#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) name: String,
    #[prost(bytes = "vec", optional, tag = "2")]
    #[serde(deserialize_with = "optional_text")]
    pub(crate) image: Option<Unchecked>,
    #[prost(string, optional, tag = "24")]
    pub(crate) restart_policy: Option<String>,
}

/// In protobuf what it has in common with other containers is a message of its own, in JSON it is not.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct EphemeralContainer {
    #[prost(message, optional, tag = "1")]
    pub(crate) common: Option<Container>,
}

impl<'de> Deserialize<'de> for EphemeralContainer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { common: Some(Container::deserialize(deserializer)?) })
    }
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    #[prost(string, optional, tag = "1")]
    pub(crate) phase: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) reason: Option<String>,
    #[prost(message, optional, tag = "7")]
    pub(crate) start_time: Option<Time>,
    #[prost(message, repeated, tag = "8")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) container_statuses: Vec<ContainerStatus>,
    #[prost(message, repeated, tag = "10")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
    #[prost(message, repeated, tag = "13")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) ephemeral_container_statuses: Vec<ContainerStatus>,
}

/// `image` is left out on purpose: it is *some* name of the local image, not the one asked for (kubernetes#51017).
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerStatus {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) state: Option<ContainerState>,
    /// 64 bits wide, because a JSON document may hold anything; Kubernetes has 32.
    #[prost(int64, optional, tag = "5")]
    pub(crate) restart_count: Option<i64>,
    #[prost(string, optional, tag = "7")]
    #[serde(rename = "imageID")]
    pub(crate) image_id: Option<String>,
    #[prost(string, optional, tag = "8")]
    #[serde(rename = "containerID")]
    pub(crate) container_id: Option<String>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerState {
    #[prost(message, optional, tag = "1")]
    pub(crate) waiting: Option<Waiting>,
    #[prost(message, optional, tag = "2")]
    pub(crate) running: Option<Running>,
    #[prost(message, optional, tag = "3")]
    pub(crate) terminated: Option<Terminated>,
}

#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct Waiting {
    #[prost(string, optional, tag = "1")]
    pub(crate) reason: Option<String>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Running {
    #[prost(message, optional, tag = "1")]
    pub(crate) started_at: Option<Time>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Terminated {
    #[prost(int64, optional, tag = "1")]
    pub(crate) exit_code: Option<i64>,
    #[prost(string, optional, tag = "3")]
    pub(crate) reason: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(crate) started_at: Option<Time>,
    #[prost(message, optional, tag = "6")]
    pub(crate) finished_at: Option<Time>,
}

/// A text of which the API server does not check that it is UTF-8, neither when it takes it nor when it sends it: whoever may
/// make a pod would otherwise blind everybody who lists pods in protobuf. JSON has U+FFFD in the place of what is none.
pub(crate) type Unchecked = Vec<u8>;

/// What such a text says.
pub(crate) fn said(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Unchecked, D::Error> {
    Ok(optional_text(deserializer)?.unwrap_or_default())
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Unchecked>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(String::into_bytes))
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Unchecked>, D::Error> {
    let texts = Option::<BTreeMap<String, String>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(texts.into_iter().map(|(key, text)| (key, text.into_bytes())).collect())
}

/// Go writes an empty list, map or struct as `null` where its author forgot `omitempty`.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
