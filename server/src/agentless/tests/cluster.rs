//! A cluster that is made up: an API server that answers by TLS, hangs, or refuses, as it is told.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
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

pub(super) struct Cluster {
    address: SocketAddr,
    certificate: String,
    mood: Arc<AtomicUsize>,
    /// How often its pods were asked for.
    looks: Arc<AtomicUsize>,
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
        let (mood, looks) = (Arc::new(AtomicUsize::new(ANSWERS)), Arc::new(AtomicUsize::new(0)));
        let router = router(Arc::clone(&mood), Arc::clone(&looks));
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
        Self { address, certificate: cert.pem(), mood, looks, task: task.abort_handle() }
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

    pub(super) fn looks(&self) -> usize {
        self.looks.load(SeqCst)
    }
}

fn router(mood: Arc<AtomicUsize>, looks: Arc<AtomicUsize>) -> Router {
    Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
        let (mood, looks) = (mood.load(SeqCst), Arc::clone(&looks));
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
            if uri.path() == "/api/v1/pods" {
                looks.fetch_add(1, SeqCst);
            }
            match object(uri.path()) {
                Some(object) => Json(object).into_response(),
                None => status(StatusCode::NOT_FOUND, "NotFound"),
            }
        }
    })
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason,
        "reason": reason, "code": code.as_u16()});
    (code, Json(body)).into_response()
}

/// A cluster with one pod.
fn object(path: &str) -> Option<Value> {
    let list = |kind: &str, version: &str, items: Value| {
        Some(json!({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}))
    };
    let uid = |end: &str| format!("00000000-0000-4000-8000-{end:0>12}");
    let namespace = |name: &str, end: &str| json!({"metadata": {"name": name, "uid": uid(end)}});
    let image = "registry.example/app:1";
    let digest = format!("registry.example/app@sha256:{}", "ab".repeat(32));
    let pod = json!({
        "metadata": {"name": "app-1", "namespace": "shop", "uid": uid("9"), "resourceVersion": "1"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": image}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "app", "image": image, "imageID": digest,
            "containerID": "containerd://c1", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2024-01-01T00:00:00Z"}}}]},
    });
    match path {
        "/version" => Some(json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0"})),
        "/api/v1/namespaces/kube-system" => Some(namespace("kube-system", "1")),
        "/api/v1/namespaces" => {
            list("NamespaceList", "v1", json!([namespace("kube-system", "1"), namespace("shop", "2")]))
        }
        "/api/v1/nodes" => list("NodeList", "v1", json!([{"metadata": {"name": "node-1", "uid": uid("3")}}])),
        "/api/v1/pods" => list("PodList", "v1", json!([pod])),
        "/apis/apps/v1/replicasets" => list("ReplicaSetList", "apps/v1", json!([])),
        "/apis/batch/v1/jobs" => list("JobList", "batch/v1", json!([])),
        _ => None,
    }
}
