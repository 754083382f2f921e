//! A cluster that is made up: an API server that answers by TLS, hangs, or refuses, as it is told.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, stream};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};
use tokio_rustls::TlsAcceptor;

use super::TOKEN;

/// How it answers.
pub(super) const ANSWERS: usize = 0;
pub(super) const HANGS: usize = 1;
pub(super) const REFUSES: usize = 2;
/// The list of pods does not end: one answer, or one page after the other.
pub(super) const FLOODS: usize = 3;
pub(super) const PAGES: usize = 4;

pub(super) struct Cluster {
    address: SocketAddr,
    certificate: String,
    mood: Arc<AtomicUsize>,
    /// The end of its uid.
    uid: Arc<AtomicUsize>,
    /// How often its pods were asked for.
    looks: Arc<AtomicUsize>,
    /// How many bytes without end were taken from it.
    sent: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cluster {
    pub(super) async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![cert.der().clone()], key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let [mood, uid, looks, sent] = [ANSWERS, 1, 0, 0].map(|number| Arc::new(AtomicUsize::new(number)));
        let router = router([&mood, &uid, &looks, &sent].map(Arc::clone));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = TowerToHyperService::new(router);
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, certificate: cert.pem(), mood, uid, looks, sent, task: task.abort_handle() }
    }

    pub(super) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    pub(super) fn set(&self, mood: usize) {
        self.mood.store(mood, SeqCst);
    }

    /// Makes it another cluster, whose uid has this end.
    pub(super) fn be(&self, uid: usize) {
        self.uid.store(uid, SeqCst);
    }

    pub(super) fn looks(&self) -> usize {
        self.looks.load(SeqCst)
    }

    pub(super) fn sent(&self) -> usize {
        self.sent.load(SeqCst)
    }
}

fn router([mood, uid, looks, sent]: [Arc<AtomicUsize>; 4]) -> Router {
    Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
        let (mood, own, looks, sent) = (mood.load(SeqCst), uid.load(SeqCst), Arc::clone(&looks), Arc::clone(&sent));
        async move {
            if headers.get("authorization").is_none_or(|value| value.as_bytes() != format!("Bearer {TOKEN}").as_bytes())
            {
                return status(StatusCode::UNAUTHORIZED, "Unauthorized");
            }
            match mood {
                HANGS => std::future::pending().await,
                REFUSES => return status(StatusCode::FORBIDDEN, "Forbidden"),
                _ => {}
            }
            let is_of_pods = uri.path() == "/api/v1/pods";
            if is_of_pods {
                looks.fetch_add(1, SeqCst);
            }
            match object(uri.path(), own) {
                Some(object) if mood == FLOODS && is_of_pods => flood(&object, sent),
                Some(mut object) if mood == PAGES && is_of_pods => {
                    object["metadata"]["continue"] = json!("and so on");
                    Json(object).into_response()
                }
                Some(object) => Json(object).into_response(),
                None => status(StatusCode::NOT_FOUND, "NotFound"),
            }
        }
    })
}

/// A list that begins as it should, and goes on with the same pod for as long as somebody reads.
fn flood(list: &Value, sent: Arc<AtomicUsize>) -> Response {
    let pod = list["items"][0].to_string();
    let begin = Bytes::from(format!(
        "{{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[{pod}",
        list["metadata"]
    ));
    let pods = Bytes::from(format!(",{pod}").repeat(100));
    let more = stream::repeat_with(move || {
        sent.fetch_add(pods.len(), SeqCst);
        Ok::<_, Infallible>(pods.clone())
    });
    let body = Body::from_stream(stream::once(async { Ok(begin) }).chain(more));
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason,
        "reason": reason, "code": code.as_u16()});
    (code, Json(body)).into_response()
}

/// A cluster with one pod, which is named after the end of the cluster's uid.
fn object(path: &str, own: usize) -> Option<Value> {
    let list = |kind: &str, version: &str, items: Value| {
        Some(json!({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}))
    };
    let uid = |end: &str| format!("00000000-0000-4000-8000-{end:0>12}");
    let namespace = |name: &str, end: &str| json!({"metadata": {"name": name, "uid": uid(end)}});
    let image = "registry.example/app:1";
    let digest = format!("registry.example/app@sha256:{}", "ab".repeat(32));
    let pod = json!({
        "metadata": {"name": format!("app-{own}"), "namespace": "shop", "uid": uid(&format!("9{own}")), "resourceVersion": "1"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": image}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "app", "image": image, "imageID": digest,
            "containerID": format!("containerd://c{own}"), "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2024-01-01T00:00:00Z"}}}]},
    });
    match path {
        "/version" => Some(json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0"})),
        "/api/v1/namespaces/kube-system" => Some(namespace("kube-system", &own.to_string())),
        "/api/v1/namespaces" => {
            list("NamespaceList", "v1", json!([namespace("kube-system", &own.to_string()), namespace("shop", "2")]))
        }
        "/api/v1/nodes" => list("NodeList", "v1", json!([{"metadata": {"name": "node-1", "uid": uid("3")}}])),
        "/api/v1/pods" => list("PodList", "v1", json!([pod])),
        "/apis/apps/v1/replicasets" => list("ReplicaSetList", "apps/v1", json!([])),
        "/apis/batch/v1/jobs" => list("JobList", "batch/v1", json!([])),
        _ => None,
    }
}
