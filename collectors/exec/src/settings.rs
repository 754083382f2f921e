//! What a person can say about an `exec` collector.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Settings of an `exec` collector.
///
/// Not `Debug`: settings and environment of a program may hold secrets.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The program and its arguments; there is no shell in between. The program is an absolute path, or a name that is
    /// looked for in `PATH`. It runs in `/`.
    #[schemars(length(min = 1), example = ["/usr/local/lib/stocktake/pid-namespaces"])]
    pub command: Vec<String>,
    /// What the program reads as JSON on its standard input.
    #[serde(default)]
    #[schemars(example = serde_json::json!({ "root": "/var/jails" }))]
    pub settings: Map<String, Value>,
    /// Environment variables of the program. Of the agent's own it gets `PATH` and `HOME`, unless they are set here, and
    /// no others.
    #[serde(default)]
    #[schemars(example = serde_json::json!({ "LANG": "C.UTF-8" }))]
    pub environment: BTreeMap<String, String>,
    /// How many bytes the program may print; one that prints more is killed. The agent needs several times as much memory.
    #[serde(default = "default_max_output")]
    #[schemars(range(min = 1))]
    pub max_output_bytes: usize,
}

/// 64 MiB: a hundred thousand containers with some labels.
fn default_max_output() -> usize {
    64 << 20
}
