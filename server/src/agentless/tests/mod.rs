//! Sources over HTTP, leases, and looks at a cluster that is made up, on both databases.

mod cluster;
mod floods;
mod http;
mod leases;
mod looks;
mod places;

use serde_json::{Value, json};

use self::cluster::Cluster;
use crate::testing::{Answer, PASSWORD, Served, basic};

/// The path of all sources.
const SOURCES: &str = "/v1/agentless/sources";

/// The token of the made up cluster, which nothing may show.
const TOKEN: &str = "hunter2-hunter2";

fn admin() -> String {
    basic("admin", PASSWORD)
}

/// A source that nobody answers at.
fn nobody(name: &str) -> Value {
    json!({"name": name, "kubernetes": {"server": "https://127.0.0.1:1", "insecure_skip_tls_verify": true, "token": TOKEN}})
}

/// The made up cluster as a source.
fn source(cluster: &Cluster, name: &str) -> Value {
    json!({"name": name, "kubernetes": {
        "server": cluster.url(), "certificate_authority": cluster.certificate(), "token": TOKEN}})
}

async fn add(served: &Served, source: Value) -> Answer {
    served.ask("POST", SOURCES, &admin(), source).await
}
