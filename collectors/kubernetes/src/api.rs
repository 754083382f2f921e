//! Requests to the API server over kube's connection, and nothing but `GET`.
//!
//! kube brings the connection, TLS, proxies and credentials. Requests and answers are our own: kube's `request` decodes
//! whole objects or logs what it cannot decode, which may be a list of everything with its annotations.

use std::path::PathBuf;

use http::{
    HeaderValue, Request,
    header::{ACCEPT, AUTHORIZATION},
};
use http_body_util::{BodyExt as _, Limited};
use jiff::{SignedDuration, Timestamp};
use kube::{Client, Config, client::Body};
use serde::de::DeserializeOwned;
use stocktake_core::{CollectError, ConfigError, Context, model::Warning};
use tokio::sync::Mutex;

use crate::{
    address::Target,
    error::{self, Action, Failure, FailureKind, Peer},
    file,
    settings::Settings,
    target, wire,
};

/// What is asked for by default.
pub(crate) const JSON: &str = "application/json";
/// Only the metadata of the objects; plain JSON where a server knows no such thing.
pub(crate) const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// Bytes of an answer that are read. The largest is a page of 500 pods: 4 MiB as pods are on average, and half a MiB for
/// each pod if this is the bound, of the 1.5 MiB that etcd takes. Only a broken server goes on for longer, and it must
/// not take the machine's memory.
pub(crate) const MAX_ANSWER: usize = 256 << 20;

/// Objects and lists that an answer of [`MAX_ANSWER`] bytes may have; in real pods there is one for some forty bytes. An
/// empty one is two bytes and takes some hundreds when it is decoded.
const MAX_NODES: usize = 8_000_000;

/// Makes the client when it is first needed, and again when its credentials are no longer good.
///
/// Making it may run a credential plug-in, which asks a cloud over the network: it has no place in the start.
pub(crate) struct Connection {
    settings: Settings,
    context: Context,
    state: Mutex<State>,
}

struct State {
    target: Target,
    api: Option<Api>,
}

impl Connection {
    /// Checks the settings and reads the files that they name.
    pub(crate) fn new(settings: Settings, context: Context) -> Result<Self, ConfigError> {
        let target = target::resolve(&settings, &context)?;
        Ok(Self { settings, context, state: Mutex::new(State { target, api: None }) })
    }

    /// The API server, ready to be asked.
    pub(crate) async fn api(&self) -> Result<Api, CollectError> {
        let mut state = self.state.lock().await;
        let expires = |api: &&Api| {
            let soon = Timestamp::now() + SignedDuration::from_secs(10);
            api.client.valid_until().is_none_or(|until| until > soon)
        };
        if let Some(api) = state.api.as_ref().filter(expires) {
            return Ok(api.clone());
        }
        let target = state.target.clone();
        let client = build_client(target.config, &target.peer).await?;
        let api = Api {
            client,
            peer: target.peer,
            token_file: target.token_file,
            cluster_name: target.cluster_name,
            own_namespace: target.own_namespace,
            warnings: target.warnings,
        };
        state.api = Some(api.clone());
        Ok(api)
    }

    /// Takes note of an error. After a refusal the files are read again, for they may have been renewed since.
    pub(crate) async fn forget_if_denied(&self, error: &CollectError) {
        if !matches!(error, CollectError::Denied { .. }) {
            return;
        }
        let mut state = self.state.lock().await;
        state.api = None;
        match target::resolve(&self.settings, &self.context) {
            Ok(target) => state.target = target,
            Err(error) => tracing::warn!(%error, "cannot read the cluster's configuration again, keeping the last"),
        }
    }
}

/// Builds the client on a thread that may block, because kube waits for credential plug-ins without yielding.
async fn build_client(config: Config, peer: &Peer) -> Result<Client, CollectError> {
    let built = tokio::task::spawn_blocking(move || Client::try_from(config)).await;
    let client = built.map_err(|error| {
        CollectError::unavailable(format!("cannot prepare a connection to {peer}; this is a defect, report it"), error)
    })?;
    client.map_err(|error| error::unusable(peer, &error))
}

/// An API server that can be asked.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    pub(crate) peer: Peer,
    token_file: Option<PathBuf>,
    pub(crate) cluster_name: Option<String>,
    pub(crate) own_namespace: String,
    /// What is less safe about the connection than it could be.
    pub(crate) warnings: Vec<Warning>,
}

impl Api {
    /// Gets and decodes `path`, which starts with a slash and may have a query.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: &str,
        action: &Action,
    ) -> Result<T, Failure> {
        self.get_sized(path, accept, action).await.map(|(answer, _)| answer)
    }

    /// The same with the size of the answer, in bytes.
    pub(crate) async fn get_sized<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: &str,
        action: &Action,
    ) -> Result<(T, usize), Failure> {
        let request = self.request(path, accept)?;
        let response =
            self.client.send(request).await.map_err(|error| error::unanswered(&self.peer, action, &error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| error::unanswered(&self.peer, action, &*error))?.to_bytes();
        if !status.is_success() {
            let said = serde_json::from_slice::<wire::Status>(&body).ok().and_then(|status| status.message);
            let beginning = &body[..body.len().min(4096)];
            let said = said.unwrap_or_else(|| String::from_utf8_lossy(beginning).into_owned());
            return Err(error::refused(&self.peer, action, status, &error::one_line(&said)));
        }
        if body.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() > MAX_NODES {
            return Err(error::swollen(&self.peer, action, MAX_NODES));
        }
        let answer = serde_json::from_slice(&body).map_err(|error| error::garbled(&self.peer, action, &error))?;
        Ok((answer, body.len()))
    }

    fn request(&self, path: &str, accept: &str) -> Result<Request<Body>, Failure> {
        let mut request = Request::get(path).header(ACCEPT, accept);
        if let Some(file) = &self.token_file {
            let mut token = file::read_text(file)
                .map_err(|error| error.to_string())
                .and_then(|token| {
                    HeaderValue::try_from(format!("Bearer {}", token.trim())).map_err(|error| error.to_string())
                })
                .map_err(|cause| self.no_token(cause))?;
            token.set_sensitive(true);
            request = request.header(AUTHORIZATION, token);
        }
        request.body(Body::empty()).map_err(|error| Failure {
            kind: FailureKind::Other,
            error: CollectError::protocol(format!("cannot ask {} for `{path}`", self.peer), error),
        })
    }

    fn no_token(&self, cause: String) -> Failure {
        let message = format!("cannot read the bearer token for {}; check {}", self.peer, self.peer.credentials);
        Failure { kind: FailureKind::Unauthenticated, error: CollectError::unavailable(message, cause) }
    }
}

/// Writes `text` so that it stands for itself in a path or query.
pub(crate) fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a `String` cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
