//! Requests to the API server over kube's connection, and nothing but `GET`.
//!
//! kube brings the connection, TLS, proxies and credentials. Requests and answers are our own: kube's `request` decodes
//! whole objects or logs what it cannot decode, which may be a list of everything with its annotations.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Limited};
use jiff::{SignedDuration, Timestamp};
use kube::{Client, Config, client::Body};
use serde::de::DeserializeOwned;
use stocktake_core::{CollectError, ConfigError, Context, model::Warning};
use tokio::sync::Mutex;

use crate::{
    address::Target,
    decode::{self, Encoding},
    error::{self, Action, Failure, FailureKind, Peer},
    file, kubelet,
    meter::Meter,
    put_off::PutOff,
    settings::Settings,
    streaming::Streaming,
    target,
    versions::Versions,
};

/// One object that is answered in JSON whatever it is.
pub(crate) const JSON: &str = "application/json";
/// One object of which the metadata is enough.
pub(crate) const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// Objects and lists: protobuf, which costs the API server a quarter of what JSON does, or JSON where somebody answers it.
pub(crate) const OBJECTS: &str = "application/vnd.kubernetes.protobuf,application/json";

/// Bytes of an answer that is read as a whole: an object, or an error.
pub(crate) const MAX_ANSWER: usize = 16 << 20;

/// How long the server may be silent. A server ends what takes it longer than a minute (`--request-timeout`), and tells a
/// watch about once a minute how far it is (`bookmarkFrequency` of its watch cache), so that a connection which is silent
/// for longer is likely to be dead without having been closed.
pub(crate) const SILENT: Duration = Duration::from_secs(150);

/// Makes the client when it is first needed, and again when its credentials are no longer good.
///
/// Making it may run a credential plug-in, which asks a cloud over the network: it has no place in the start.
pub(crate) struct Connection {
    settings: Settings,
    context: Context,
    meter: Arc<Meter>,
    pub(crate) versions: Arc<Versions>,
    streaming: Arc<Streaming>,
    state: Mutex<State>,
}

struct State {
    server: Known,
    kubelet: Option<Known>,
}

/// Who is asked, and the client for it once it was needed.
struct Known {
    target: Target,
    api: Option<Api>,
}

impl Connection {
    /// Checks the settings and reads the files that they name.
    pub(crate) fn new(settings: Settings, context: Context) -> Result<Self, ConfigError> {
        let state = Mutex::new(State::read(&settings, &context)?);
        let meter = Arc::new(Meter::new(settings.max_requests_per_minute));
        Ok(Self { settings, context, meter, versions: Arc::default(), streaming: Arc::default(), state })
    }

    /// The API server, ready to be asked.
    pub(crate) async fn api(&self) -> Result<Api, CollectError> {
        self.ready(&mut self.state.lock().await.server).await
    }

    /// The node's kubelet, ready to be asked, if the settings say so.
    pub(crate) async fn kubelet(&self) -> Option<Result<Api, CollectError>> {
        match &mut self.state.lock().await.kubelet {
            Some(kubelet) => Some(self.ready(kubelet).await),
            None => None,
        }
    }

    async fn ready(&self, known: &mut Known) -> Result<Api, CollectError> {
        let expires = |api: &&Api| {
            let soon = Timestamp::now() + SignedDuration::from_secs(10);
            api.client.valid_until().is_none_or(|until| until > soon)
        };
        if let Some(api) = known.api.as_ref().filter(expires) {
            return Ok(api.clone());
        }
        let target = known.target.clone();
        let client = build_client(target.config, &target.peer).await?;
        let api = Api {
            client,
            meter: Arc::clone(&self.meter),
            versions: Arc::clone(&self.versions),
            streaming: Arc::clone(&self.streaming),
            peer: target.peer,
            token_file: target.token_file,
            cluster_name: target.cluster_name,
            own_namespace: target.own_namespace,
            warnings: target.warnings,
        };
        known.api = Some(api.clone());
        Ok(api)
    }

    /// Takes note of an error. After a refusal the files are read again, for they may have been renewed since.
    pub(crate) async fn forget_if_denied(&self, error: &CollectError) {
        if !matches!(error, CollectError::Denied { .. }) {
            return;
        }
        let mut state = self.state.lock().await;
        match State::read(&self.settings, &self.context) {
            Ok(read) => *state = read,
            Err(error) => {
                tracing::warn!(%error, "cannot read the cluster's configuration again, keeping the last");
                state.server.api = None;
                if let Some(kubelet) = &mut state.kubelet {
                    kubelet.api = None;
                }
            }
        }
    }
}

impl State {
    fn read(settings: &Settings, context: &Context) -> Result<Self, ConfigError> {
        let mut target = target::resolve(settings, context)?;
        let kubelet = kubelet::target(settings, &context.environment, &target)?;
        if let Some(address) = settings.address {
            target.connect_at(address)?;
        }
        let known = |target| Known { target, api: None };
        Ok(Self { server: known(target), kubelet: kubelet.map(known) })
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
    pub(crate) meter: Arc<Meter>,
    pub(crate) versions: Arc<Versions>,
    pub(crate) streaming: Arc<Streaming>,
    pub(crate) peer: Peer,
    token_file: Option<PathBuf>,
    pub(crate) cluster_name: Option<String>,
    pub(crate) own_namespace: String,
    /// What is less safe about the connection than it could be.
    pub(crate) warnings: Vec<Warning>,
}

impl Api {
    /// Gets and decodes one object. `path` starts with a slash and may have a query.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, action: &Action) -> Result<T, Failure> {
        self.get_as(path, JSON, action).await
    }

    /// The same of another media type, which has to be JSON.
    pub(crate) async fn get_as<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: &str,
        action: &Action,
    ) -> Result<T, Failure> {
        let answer = self.ask(path, accept, action).await?;
        let body = self.whole(answer.body, action).await?;
        serde_json::from_slice(&body).map_err(|error| error::garbled(&self.peer, action, &error))
    }

    /// Asks, as often as the server puts it off within reason, and returns the answer while it arrives.
    pub(crate) async fn ask(&self, path: &str, accept: &str, action: &Action) -> Result<Answer, Failure> {
        let mut put_off = PutOff::default();
        loop {
            let response = self.send(path, accept, action).await?;
            let (status, headers) = (response.status(), response.headers());
            let wait = put_off.wait(status, headers);
            let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let encoding = Encoding::of(content_type);
            if status.is_success() {
                return Ok(Answer { encoding, body: response.into_body() });
            }
            let body = self.whole(response.into_body(), action).await?;
            let Some(wait) = wait else {
                let said = decode::status(&body, encoding).and_then(|status| status.message);
                let beginning = &body[..body.len().min(4096)];
                let said = said.unwrap_or_else(|| String::from_utf8_lossy(beginning).into_owned());
                return Err(error::refused(&self.peer, action, status, &error::one_line(&said)));
            };
            tracing::info!(status = status.as_u16(), ?wait, "{} has too much to do to {action}, waiting", self.peer);
            self.meter.throttled();
            tokio::time::sleep(wait).await;
        }
    }

    /// The next bytes of an answer; `None` behind the last.
    pub(crate) async fn more(&self, answer: &mut Answer, action: &Action) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = self.unless_silent(answer.body.frame(), action).await?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| error::unanswered(&self.peer, action, &error))?;
            // What is not data are trailers.
            if let Ok(bytes) = frame.into_data() {
                self.meter.received(bytes.len());
                return Ok(Some(bytes));
            }
        }
    }

    async fn send(&self, path: &str, accept: &str, action: &Action) -> Result<Response<Body>, Failure> {
        if !self.meter.request() {
            return Err(error::over_budget(&self.peer, action));
        }
        let request = self.request(path, accept)?;
        let response = self.unless_silent(self.client.send(request), action).await?;
        response.map_err(|error| error::unanswered(&self.peer, action, &error))
    }

    /// What comes, if it comes in time.
    async fn unless_silent<T>(&self, coming: impl Future<Output = T>, action: &Action) -> Result<T, Failure> {
        tokio::time::timeout(SILENT, coming).await.map_err(|_| error::silent(&self.peer, action))
    }

    async fn whole(&self, body: Body, action: &Action) -> Result<Bytes, Failure> {
        let body = self.unless_silent(Limited::new(body, MAX_ANSWER).collect(), action).await?;
        let body = body.map_err(|error| error::unanswered(&self.peer, action, &*error))?.to_bytes();
        self.meter.received(body.len());
        Ok(body)
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

/// An answer that says success and is being received.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) encoding: Encoding,
    body: Body,
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
