//! What containers and pods belong to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Text;

/// The outermost owner of pods or containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Key within the scope.
    pub id: Text,
    /// What it is, in its own system's word: a Kubernetes kind (`Deployment`, `CronJob`, `Node` for a static pod), or
    /// `compose_service`, `swarm_service`.
    pub kind: Text,
    /// Name.
    pub name: Text,
    /// What it is grouped in: Kubernetes namespace, compose project or swarm stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text>,
    /// API group and version of a Kubernetes kind: `apps/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<Text>,
    /// Identifier that its system gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Text>,
}
