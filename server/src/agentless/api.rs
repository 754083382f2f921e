//! `/v1/agentless/…`: what the server looks at itself.

use std::collections::BTreeMap;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use stocktake_agent::embed::Look;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    kubeconfig, managed,
    managed::{Change, Given},
    store::{self, Source},
    target::{Cluster, CredentialType, Daemon, Docker, Kubernetes, Names, OfCluster, OfDaemon, Target},
};
use crate::{
    access::{Changer, Reader},
    app::App,
    http::Problem,
    ingest::has_nul,
    secrets::{KeyError, Keys, obstacle},
};

/// How many scopes that were not seen completely a test names.
const NAMED: usize = 100;

/// The routes of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, change, delete))
        .routes(routes!(test_kept))
        .routes(routes!(test))
}

/// Something that the server is to look at: a cluster or a Docker host, one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSource {
    /// 1 to 200 bytes; no other's of the account. A cluster is called so in the inventory.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    kubernetes: Option<GivenCluster>,
    docker: Option<GivenDaemon>,
    /// Seconds between two looks; 300 if it is not said.
    #[schema(minimum = 30, maximum = 86_400)]
    interval_seconds: Option<i64>,
    /// Whether it is looked at; true if it is not said.
    enabled: Option<bool>,
}

/// What is to be different. An empty object has the source looked at at once.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SourceChange {
    /// Instead of all that is there. Without a credential that is kept, as long as everything is the same that says where it is sent.
    kubernetes: Option<GivenCluster>,
    /// Likewise.
    docker: Option<GivenDaemon>,
    /// Seconds between two looks.
    #[schema(minimum = 30, maximum = 86_400)]
    interval_seconds: Option<i64>,
    /// Whether it is looked at.
    enabled: Option<bool>,
}

/// A cluster: by a kubeconfig, or by `server` with a token or a client's certificate and key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GivenCluster {
    /// A kubeconfig, itself. It must not name files (`kubectl config view --raw --flatten --minify`) nor programs (`exec`,
    /// `auth-provider`). Never shown again.
    #[schema(value_type = Option<String>, write_only)]
    kubeconfig: Option<SecretString>,
    /// Which of its contexts, if it is not the current one.
    context: Option<String>,
    /// URL of the API server: `https://10.0.0.1:6443`.
    server: Option<String>,
    /// Certificates that vouch for it, in PEM; those of the server's system if there are none.
    certificate_authority: Option<String>,
    /// Name that its certificate is to have, if it is not the URL's.
    tls_server_name: Option<String>,
    /// URL of a proxy on the way.
    proxy_url: Option<String>,
    /// Whether its certificate is not looked at. Whoever is in between can then take the credential.
    insecure_skip_tls_verify: Option<bool>,
    /// A bearer token. Never shown again.
    #[schema(value_type = Option<String>, write_only)]
    token: Option<SecretString>,
    /// A client's certificate, in PEM.
    client_certificate: Option<String>,
    /// Its private key, in PEM. Never shown again.
    #[schema(value_type = Option<String>, write_only)]
    client_key: Option<SecretString>,
    /// Which namespaces; all if it is not said. With exact names alone, no other may have to be read.
    namespaces: Option<Names>,
    /// Whether nodes and namespaces themselves are looked at; true if it is not said.
    cluster_objects: Option<bool>,
}

/// A Docker or Podman daemon.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GivenDaemon {
    /// Its address: `tcp://10.0.0.5:2376`. It is spoken to by TLS, always.
    host: String,
    /// Certificates of the authorities that may have signed its certificate, in PEM.
    certificate_authority: String,
    /// A client's certificate, in PEM, where the daemon asks for one.
    client_certificate: Option<String>,
    /// Its private key, in PEM. Never shown again.
    #[schema(value_type = Option<String>, write_only)]
    client_key: Option<SecretString>,
    /// States of the containers that are looked at; `all` for every one, those that run if it is not said.
    states: Option<Vec<String>>,
}

/// Something that the server looks at. Credentials are not told.
#[derive(Debug, Serialize, ToSchema)]
struct AgentlessSource {
    name: String,
    #[serde(flatten)]
    target: Target,
    interval_seconds: i64,
    enabled: bool,
    created_at: String,
    updated_at: String,
    status: Status,
}

/// How it goes with looking.
#[derive(Debug, Serialize, ToSchema)]
struct Status {
    /// Whether some server looks at it now.
    looking: bool,
    /// When it is looked at next; nothing if it is disabled.
    next_look_at: Option<String>,
    /// When the latest look ended.
    looked_at: Option<String>,
    /// Milliseconds that it took.
    took: Option<i64>,
    /// How completely the list of scopes was seen: `complete`, `partial`, `denied`, `failed`.
    coverage: Option<String>,
    /// What went wrong, and what to do.
    reason: Option<String>,
    /// How many scopes were seen how.
    scopes: BTreeMap<String, usize>,
    /// What is less good than it could be.
    warnings: Vec<String>,
    /// When a look last saw something.
    seen_at: Option<String>,
    /// Looks in a row that have seen nothing.
    failures: i64,
}

/// An account's sources.
#[derive(Debug, Serialize, ToSchema)]
struct AgentlessSources {
    /// By name.
    items: Vec<AgentlessSource>,
}

/// What a look has seen that was made to try it. Nothing of it is kept.
#[derive(Debug, Serialize, ToSchema)]
struct Tested {
    /// How completely the list of scopes was seen: `complete`, `partial`, `denied`, `failed`.
    coverage: String,
    /// What went wrong, and what to do.
    reason: Option<String>,
    /// The runtime's name and version, if it has answered.
    runtime: Option<String>,
    /// Uid of the cluster, or id of the machine.
    identity: Option<String>,
    /// How many scopes were seen how.
    scopes: BTreeMap<String, usize>,
    /// The first hundred scopes that were not seen completely.
    missing: Vec<Missing>,
    /// What is less good than it could be.
    warnings: Vec<String>,
    /// Milliseconds that it took.
    took: u64,
}

/// A scope that was not seen completely.
#[derive(Debug, Serialize, ToSchema)]
struct Missing {
    /// Kind and name.
    scope: String,
    coverage: String,
    /// What went wrong, and what to grant.
    reason: Option<String>,
}

impl AgentlessSource {
    fn of(keys: &Result<Keys, KeyError>, source: Source) -> Self {
        let locked = source.sealed.as_ref().filter(|_| source.is_enabled).and_then(|sealed| obstacle(keys, sealed));
        let now = Timestamp::now().as_millisecond();
        let latest = source.latest;
        let json = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Self {
            name: source.name,
            target: source.target,
            interval_seconds: source.interval,
            enabled: source.is_enabled,
            created_at: time(source.created_at),
            updated_at: time(source.updated_at),
            status: Status {
                looking: source.lease_until.is_some_and(|until| until >= now),
                next_look_at: source.is_enabled.then(|| time(source.next_at)),
                looked_at: latest.as_ref().map(|latest| time(latest.at)),
                took: latest.as_ref().map(|latest| latest.took),
                coverage: latest.as_ref().map(|latest| latest.coverage.clone()),
                scopes: latest.as_ref().map(|latest| json(&latest.scopes)).unwrap_or_default(),
                warnings: latest
                    .as_ref()
                    .and_then(|latest| serde_json::from_str(&latest.warnings).ok())
                    .unwrap_or_default(),
                reason: locked.or_else(|| latest?.reason),
                seen_at: source.seen_at.map(time),
                failures: source.failures,
            },
        }
    }
}

impl Tested {
    fn of(Look { source, took, .. }: Look) -> Self {
        let mut scopes: BTreeMap<String, usize> = BTreeMap::new();
        for scope in &source.scopes {
            *scopes.entry(scope.coverage.status().to_owned()).or_default() += 1;
        }
        let missing = source.scopes.iter().filter(|scope| !scope.coverage.is_complete()).take(NAMED);
        let missing = missing.map(|scope| Missing {
            scope: scope.id.to_string(),
            coverage: scope.coverage.status().to_owned(),
            reason: scope.coverage.reason().map(str::to_owned),
        });
        let of_host = || source.host.as_ref()?.machine_id.clone();
        Self {
            missing: missing.collect(),
            coverage: source.coverage.status().to_owned(),
            reason: source.coverage.reason().map(str::to_owned),
            runtime: source.runtime.as_ref().map(|runtime| format!("{} {}", runtime.name, runtime.version)),
            identity: source.cluster.as_ref().and_then(|cluster| cluster.uid.clone()).or_else(of_host),
            scopes,
            warnings: source.warnings.iter().map(|warning| warning.message.clone()).collect(),
            took: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl GivenCluster {
    fn given(self) -> Result<Given, Problem> {
        let selection = OfCluster {
            namespaces: self.namespaces.unwrap_or_default(),
            cluster_objects: self.cluster_objects.unwrap_or(true),
        };
        let (cluster, credential) = if let Some(text) = &self.kubeconfig {
            let others = [
                ("server", self.server.is_some()),
                ("certificate_authority", self.certificate_authority.is_some()),
                ("tls_server_name", self.tls_server_name.is_some()),
                ("proxy_url", self.proxy_url.is_some()),
                ("insecure_skip_tls_verify", self.insecure_skip_tls_verify.is_some()),
                ("token", self.token.is_some()),
                ("client_certificate", self.client_certificate.is_some()),
                ("client_key", self.client_key.is_some()),
            ];
            if let Some((key, _)) = others.into_iter().find(|(_, is_set)| *is_set) {
                return Err(Problem::bad_request(format!(
                    "a kubeconfig says all that `{key}` does: leave out one of them"
                )));
            }
            let (cluster, credential) = kubeconfig::read(text, self.context.as_deref())?;
            (cluster, Some(credential))
        } else {
            if self.context.is_some() {
                return Err(Problem::bad_request("`context` is one of a kubeconfig, and there is none"));
            }
            let server =
                self.server.ok_or_else(|| Problem::bad_request("there is neither `server` nor `kubeconfig`"))?;
            let (credential_type, credential) = match (self.token, self.client_key) {
                (Some(_), Some(_)) => {
                    return Err(Problem::bad_request(
                        "`token` and `client_key` both say who asks: leave out one of them",
                    ));
                }
                (None, Some(key)) => (CredentialType::PrivateKey, Some(key)),
                (None, None) if self.client_certificate.is_some() => (CredentialType::PrivateKey, None),
                (token, None) => (CredentialType::Token, token),
            };
            let cluster = Cluster {
                server,
                certificate_authority: self.certificate_authority,
                tls_server_name: self.tls_server_name,
                proxy_url: self.proxy_url,
                insecure_skip_tls_verify: self.insecure_skip_tls_verify.unwrap_or_default(),
                credential_type,
                client_certificate: self.client_certificate,
            };
            (cluster, credential)
        };
        Ok(Given { target: Target::Kubernetes(Kubernetes { cluster, selection }), credential })
    }
}

impl GivenDaemon {
    fn given(self) -> Given {
        let Self { host, certificate_authority, client_certificate, client_key, states } = self;
        let daemon = Daemon { host, certificate_authority, client_certificate };
        let selection = OfDaemon { states: states.unwrap_or_default() };
        Given { target: Target::Docker(Docker { daemon, selection }), credential: client_key }
    }
}

/// The one of the two that is said.
fn given(kubernetes: Option<GivenCluster>, docker: Option<GivenDaemon>) -> Result<Option<Given>, Problem> {
    match (kubernetes, docker) {
        (Some(cluster), None) => Ok(Some(cluster.given()?)),
        (None, Some(daemon)) => Ok(Some(daemon.given())),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Problem::bad_request("a source is either `kubernetes` or `docker`: make two of it")),
    }
}

impl NewSource {
    fn read(self) -> Result<(String, Change), Problem> {
        let given = given(self.kubernetes, self.docker)?;
        if given.is_none() {
            return Err(Problem::bad_request("there is neither `kubernetes` nor `docker`"));
        }
        Ok((self.name, Change { given, interval: self.interval_seconds, is_enabled: self.enabled }))
    }
}

/// Reads a body. What is wrong with it is told by its place: what stands there may be a secret.
pub(crate) fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if has_nul(bytes) {
        return Err(Problem::bad_request("the body has a text with a NUL character in it"));
    }
    // serde would also take a list of the values of its fields.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::bad_request("the body is no JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.into_inner());
        let text = inner.to_string();
        let names_a_key =
            ["unknown field", "missing field", "duplicate field"].iter().any(|word| text.starts_with(word));
        Problem::bad_request(if names_a_key {
            format!("the body is not what belongs here: {text}")
        } else {
            format!("the body is not what belongs here: see `{path}`, line {}, column {}", inner.line(), inner.column())
        })
    })
}

fn time(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default().to_string()
}

#[utoipa::path(get, path = "/v1/agentless/sources", tag = "agentless",
    responses((status = OK, body = AgentlessSources, description = "the account's sources, and how it goes with each")))]
async fn list(State(app): State<App>, Reader(caller): Reader) -> Result<Json<AgentlessSources>, Problem> {
    let sources = store::list(&app.database, caller.account_id).await?;
    let keys = app.vault.keys();
    Ok(Json(AgentlessSources { items: sources.into_iter().map(|source| AgentlessSource::of(&keys, source)).collect() }))
}

#[utoipa::path(post, path = "/v1/agentless/sources", tag = "agentless", request_body = NewSource,
    responses((status = CREATED, body = AgentlessSource, description = "it is kept, and looked at"),
        (status = BAD_REQUEST, description = "it cannot be looked at like this"),
        (status = CONFLICT, description = "the name is taken, or the server has no key to encrypt the credential with")))]
async fn create(
    State(app): State<App>,
    Changer(caller, actor): Changer,
    bytes: Bytes,
) -> Result<(StatusCode, Json<AgentlessSource>), Problem> {
    let (name, said) = body::<NewSource>(&bytes)?.read()?;
    let source = managed::create(&app, (&caller, &actor), &name, said).await?;
    Ok((StatusCode::CREATED, Json(AgentlessSource::of(&app.vault.keys(), source))))
}

#[utoipa::path(get, path = "/v1/agentless/sources/{name}", tag = "agentless", params(("name" = String, Path)),
    responses((status = OK, body = AgentlessSource, description = "the source, and how it goes"),
        (status = NOT_FOUND, description = "there is none of this name")))]
async fn get(
    State(app): State<App>,
    Reader(caller): Reader,
    Path(name): Path<String>,
) -> Result<Json<AgentlessSource>, Problem> {
    Ok(Json(AgentlessSource::of(&app.vault.keys(), managed::named(&app, caller.account_id, &name).await?)))
}

#[utoipa::path(patch, path = "/v1/agentless/sources/{name}", tag = "agentless", params(("name" = String, Path)),
    request_body = SourceChange,
    responses((status = OK, body = AgentlessSource, description = "as it is now; it is looked at at once"),
        (status = BAD_REQUEST, description = "it cannot be looked at like this, or its credential is missing"),
        (status = NOT_FOUND, description = "there is none of this name"),
        (status = CONFLICT, description = "the server does not have the key of its credential, or somebody else changes it too")))]
async fn change(
    State(app): State<App>,
    Changer(caller, actor): Changer,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<AgentlessSource>, Problem> {
    let SourceChange { kubernetes, docker, interval_seconds, enabled } = body(&bytes)?;
    let said = Change { given: given(kubernetes, docker)?, interval: interval_seconds, is_enabled: enabled };
    Ok(Json(AgentlessSource::of(&app.vault.keys(), managed::change(&app, (&caller, &actor), &name, said).await?)))
}

#[utoipa::path(delete, path = "/v1/agentless/sources/{name}", tag = "agentless", params(("name" = String, Path)),
    description = "Nobody looks at it any more. What was seen of it stays in the inventory as long as its time to live says.",
    responses((status = NO_CONTENT, description = "it is gone"),
        (status = NOT_FOUND, description = "there is none of this name")))]
async fn delete(
    State(app): State<App>,
    Changer(caller, _): Changer,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    managed::remove(&app, caller.account_id, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/v1/agentless/sources/{name}/test", tag = "agentless", params(("name" = String, Path)),
    description = "Looks at it as it is kept, and keeps nothing of what is seen.",
    responses((status = OK, body = Tested, description = "what was seen, and what was not"),
        (status = NOT_FOUND, description = "there is none of this name"),
        (status = CONFLICT, description = "the server does not have the key of its credential, or does not look at anything")))]
async fn test_kept(
    State(app): State<App>,
    Changer(caller, actor): Changer,
    Path(name): Path<String>,
) -> Result<Json<Tested>, Problem> {
    Ok(Json(Tested::of(managed::test_kept(&app, (&caller, &actor), &name).await?)))
}

#[utoipa::path(post, path = "/v1/agentless/test", tag = "agentless", request_body = NewSource,
    description = "Looks at what would be kept, and keeps nothing.",
    responses((status = OK, body = Tested, description = "what was seen, and what was not"),
        (status = BAD_REQUEST, description = "it cannot be looked at like this"),
        (status = CONFLICT, description = "the server does not look at anything")))]
async fn test(State(app): State<App>, Changer(caller, actor): Changer, bytes: Bytes) -> Result<Json<Tested>, Problem> {
    let (name, said) = body::<NewSource>(&bytes)?.read()?;
    let given = said.given.ok_or_else(|| Problem::bad_request("nothing says what to look at"))?;
    Ok(Json(Tested::of(managed::test(&app, (&caller, &actor), &name, given).await?)))
}
