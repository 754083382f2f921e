//! Filling the cluster through its API, over several connections that stay open.

use std::time::Instant;

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::cluster::{
    ADMIN, Cluster, objects,
    population::{Population, ReplicaSet},
};

/// Requests under way at the same time.
const CONCURRENT: usize = 24;

/// The administrator's connection.
pub fn client(cluster: &Cluster) -> anyhow::Result<Client> {
    let mut config = Config::new(cluster.server().parse()?);
    config.root_cert_file = Some(cluster.ca_file().into());
    config.auth_info.token = Some(ADMIN.to_owned().into());
    Client::try_from(config).context("no connection to the API server")
}

/// One request with a JSON body, which must succeed. `manager` is who the API server notes down as its author.
pub async fn send(client: &Client, method: &str, path: &str, manager: &str, body: &Value) -> anyhow::Result<Value> {
    let kind = if method == "PATCH" { "application/strategic-merge-patch+json" } else { "application/json" };
    let uri = format!("{path}?fieldManager={manager}");
    let request = Request::builder().method(method).uri(&uri).header("Content-Type", kind);
    let request = request.body(serde_json::to_vec(body)?)?;
    client.request(request).await.with_context(|| format!("{method} {uri}"))
}

/// Makes all of `population`, and returns the bytes of one of its pods as JSON.
pub async fn fill(client: &Client, population: &Population) -> anyhow::Result<usize> {
    let began = Instant::now();
    let nodes = (0..population.nodes).map(|number| async move {
        let node = objects::node(number);
        send(client, "POST", "/api/v1/nodes", "kubelet", &node).await?;
        anyhow::Ok(())
    });
    stream::iter(nodes).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
    let namespaces = population.namespaces.iter().map(|name| async move {
        let namespace = json!({ "metadata": { "name": name } });
        send(client, "POST", "/api/v1/namespaces", "kubectl", &namespace).await?;
        anyhow::Ok(())
    });
    stream::iter(namespaces).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
    let sets = population.replica_sets.iter().map(|set| fill_replica_set(client, population, set));
    let mut sets = stream::iter(sets).buffer_unordered(CONCURRENT);
    let (mut made, mut told, mut sample) = (0, 0, 0);
    while let Some(filled) = sets.next().await {
        let (pods, bytes) = filled?;
        (made, sample) = (made + pods, bytes);
        if made * 10 / population.pods > told {
            told = made * 10 / population.pods;
            eprintln!("bench: {made} of {} pods, {} s", population.pods, began.elapsed().as_secs());
        }
    }
    if made != population.pods {
        bail!("{made} pods were made, not {}", population.pods);
    }
    Ok(sample)
}

/// Creates a `ReplicaSet` and its pods. Returns how many, and the bytes of the last.
async fn fill_replica_set(
    client: &Client,
    population: &Population,
    set: &ReplicaSet,
) -> anyhow::Result<(usize, usize)> {
    let namespace = &population.namespaces[set.namespace];
    let path = format!("/apis/apps/v1/namespaces/{namespace}/replicasets");
    let body = objects::replica_set(&set.app, set.number);
    let owner = send(client, "POST", &path, "kube-controller-manager", &body).await?;
    let owner = owner["metadata"]["uid"].as_str().context("a ReplicaSet without a uid")?;
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let mut last = 0;
    for placed in population.pods_of(set) {
        send(client, "POST", &path, "kube-controller-manager", &objects::pod(&placed, owner)).await?;
        let path = format!("{path}/{}/status", objects::pod_name(&placed));
        let pod = send(client, "PATCH", &path, "kubelet", &objects::status(&placed)).await?;
        last = pod.to_string().len();
    }
    Ok((set.pods, last))
}
