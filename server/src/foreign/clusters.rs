//! `/v1/enterprise/inventories/clusters`: clusters that the server looks at itself, as Anchore Enterprise 3.0 to 4.1 had them.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::answer::{Asks, Foreign, ForeignProblem};
use crate::{
    access::{Changer, Reader},
    agentless::{self, Change, Cluster, CredentialType, Given, Kubernetes, Names, OfCluster, Source, Target},
    app::App,
    http::Problem,
};

/// The only type of inventory that there is of clusters.
const KUBERNETES: &str = "kubernetes";

/// What stands for all namespaces.
const ALL: &str = "all";

/// A cluster, as it is told and as it is asked for. Its credential is only asked for.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct InventoryCluster {
    cluster_name: String,
    #[serde(default = "kubernetes")]
    inventory_type: String,
    cluster_config: ClusterConfig,
}

#[derive(Debug, Deserialize, Serialize)]
struct ClusterConfig {
    #[serde(default = "private_key")]
    credential_type: CredentialType,
    #[serde(default)]
    namespaces: Vec<String>,
    cluster_server: String,
    /// base64 of PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_certificate: Option<String>,
    /// base64 of PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_certificate: Option<String>,
    /// A token, or base64 of a private key in PEM.
    #[serde(default, skip_serializing)]
    credential: Option<SecretString>,
}

fn kubernetes() -> String {
    KUBERNETES.to_owned()
}

/// kai's `kubeconfig.user.type`, where nothing is said.
fn private_key() -> CredentialType {
    CredentialType::PrivateKey
}

/// Which clusters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    inventory_type: Option<String>,
}

impl InventoryCluster {
    fn given(self) -> Result<(String, Given), Problem> {
        if self.inventory_type != KUBERNETES {
            return Err(Problem::bad_request(format!("`inventory_type` is another one than `{KUBERNETES}`")));
        }
        let config = self.cluster_config;
        let decoded = |key: &str, text: Option<&str>| {
            let text = text.filter(|text| !text.is_empty());
            text.map(|text| pem(text).ok_or_else(|| Problem::bad_request(format!("`{key}` is not base64 of PEM"))))
                .transpose()
        };
        let credential = config.credential.as_ref().map(ExposeSecret::expose_secret);
        let credential = match config.credential_type {
            CredentialType::Token => credential.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            CredentialType::PrivateKey => decoded("credential", credential)?,
        };
        let client_certificate = decoded("client_certificate", config.client_certificate.as_deref())?;
        let cluster = Cluster {
            server: config.cluster_server,
            certificate_authority: decoded("cluster_certificate", config.cluster_certificate.as_deref())?,
            tls_server_name: None,
            proxy_url: None,
            insecure_skip_tls_verify: false,
            credential_type: config.credential_type,
            client_certificate: client_certificate.filter(|_| config.credential_type == CredentialType::PrivateKey),
        };
        let is_all = config.namespaces.is_empty() || config.namespaces.iter().any(|name| name == ALL);
        let include = if is_all { Vec::new() } else { config.namespaces };
        // Who is good for a few namespaces may not list nodes, and Anchore's agent never did.
        let selection = OfCluster { namespaces: Names { include, exclude: Vec::new() }, cluster_objects: is_all };
        let target = Target::Kubernetes(Kubernetes { cluster, selection });
        Ok((self.cluster_name, Given { target, credential: credential.map(SecretString::from) }))
    }

    /// What Anchore's tools are told of a source, if it is a cluster.
    fn of(source: Source) -> Option<Self> {
        let Target::Kubernetes(Kubernetes { cluster, selection }) = source.target else { return None };
        let encoded = |pem: Option<String>| pem.map(|pem| STANDARD.encode(pem));
        let namespaces = match selection.namespaces.include {
            include if include.is_empty() => vec![ALL.to_owned()],
            include => include,
        };
        let cluster_config = ClusterConfig {
            credential_type: cluster.credential_type,
            namespaces,
            cluster_server: cluster.server,
            cluster_certificate: encoded(cluster.certificate_authority),
            client_certificate: encoded(cluster.client_certificate),
            credential: None,
        };
        Some(Self { cluster_name: source.name, inventory_type: kubernetes(), cluster_config })
    }
}

/// What base64 stands for, if it is a text. Line breaks within it are what `base64` makes.
fn pem(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text.split_ascii_whitespace().collect::<String>()).ok()?;
    String::from_utf8(bytes).ok()
}

pub(super) async fn list(
    Foreign(Reader(caller)): Foreign<Reader>,
    State(app): State<App>,
    Asks(Listed { inventory_type }): Asks<Listed>,
) -> Result<Json<Vec<InventoryCluster>>, ForeignProblem> {
    if inventory_type.is_some_and(|inventory_type| inventory_type != KUBERNETES) {
        return Ok(Json(Vec::new()));
    }
    let sources = agentless::list(&app.database, caller.account_id).await.map_err(Problem::from)?;
    Ok(Json(sources.into_iter().filter_map(InventoryCluster::of).collect()))
}

pub(super) async fn create(
    Foreign(Changer(caller, actor)): Foreign<Changer>,
    State(app): State<App>,
    bytes: Bytes,
) -> Result<Json<InventoryCluster>, ForeignProblem> {
    let (name, given) = agentless::body::<InventoryCluster>(&bytes)?.given()?;
    let said = Change { given: Some(given), ..Change::default() };
    let source = agentless::create(&app, (&caller, &actor), &name, said).await?;
    Ok(Json(InventoryCluster::of(source).ok_or_else(|| none(&name))?))
}

pub(super) async fn get(
    Foreign(Reader(caller)): Foreign<Reader>,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<InventoryCluster>, ForeignProblem> {
    let source = agentless::named(&app, caller.account_id, &name).await?;
    Ok(Json(InventoryCluster::of(source).ok_or_else(|| none(&name))?))
}

/// Removes one. What was seen of it ages.
pub(super) async fn delete(
    Foreign(Changer(caller, _)): Foreign<Changer>,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode, ForeignProblem> {
    let source = agentless::named(&app, caller.account_id, &name).await?;
    if InventoryCluster::of(source).is_none() {
        return Err(none(&name).into());
    }
    agentless::remove(&app, caller.account_id, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A source of that name is no cluster.
fn none(name: &str) -> Problem {
    Problem::not_found(format!("there is no cluster `{name}`"))
}
