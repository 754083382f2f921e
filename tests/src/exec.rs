//! `kubectl exec` in the bed, by the cluster's own kubectl, kubelet and runtime.
//!
//! The bed's API server cannot go the last step: its kubelet listens on the loopback alone, under a node's name that is in no
//! DNS, and knows no certificate of the API server's. So a request to start a program is handed to the kubelet here, in the
//! words that the API server would use, and what comes of it is passed on as it is. Everything else goes to the API server.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use crate::{bed, service::Service};

const KUBELET: &str = "https://127.0.0.1:16250";

/// An address at which the bed's API server starts programs in pods, too. Whoever reaches it is the administrator.
#[derive(Debug)]
pub struct Exec(Service);

impl Exec {
    /// Serves on a port of the loopback until it goes.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts something")]
    pub fn new() -> Self {
        let router = Router::new().fallback(async |request: Request| {
            pass(request).await.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response())
        });
        Self(Service::start(SocketAddr::from(([127, 0, 0, 1], 0)), router))
    }

    /// A kubeconfig that leads to it, for commands that name no namespace.
    #[must_use]
    pub fn kubeconfig(&self, namespace: &str) -> String {
        let server = format!("http://{}", self.0.address());
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bed",
            "clusters": [{"name": "bed", "cluster": {"server": server}}],
            "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "", "namespace": namespace}}],
        });
        kubeconfig.to_string()
    }
}

async fn pass(mut request: Request) -> anyhow::Result<Response> {
    let asking = hyper::upgrade::on(&mut request);
    let kubeconfig = Kubeconfig::read_from(bed::kubeconfig("admin"))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    if let Some(at_kubelet) = at_kubelet(request.uri()) {
        *request.uri_mut() = at_kubelet.parse()?;
        config.cluster_url = KUBELET.parse()?;
        // Nobody vouches for it: it has signed its certificate itself.
        config.accept_invalid_certs = true;
    }
    request.headers_mut().remove(header::HOST);
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let client = Client::try_from(config)?;
    let mut answer = client.send(Request::from_parts(head, body.to_vec().into())).await.context("no answer")?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let answering = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move {
            let (asking, answering) = tokio::try_join!(asking, answering)?;
            tokio::io::copy_bidirectional(&mut TokioIo::new(asking), &mut TokioIo::new(answering)).await?;
            anyhow::Ok(())
        });
    }
    Ok(answer.map(Body::new))
}

/// What a kubelet is asked for a program to be started that the API server is asked for.
fn at_kubelet(uri: &Uri) -> Option<String> {
    let parts: Vec<&str> = uri.path().split('/').collect();
    let ["", "api", "v1", "namespaces", namespace, "pods", pod, "exec"] = parts[..] else { return None };
    let (container, others): (Vec<_>, Vec<_>) =
        uri.query()?.split('&').partition(|pair| pair.starts_with("container="));
    let container = container.first()?.strip_prefix("container=")?;
    let others = others.into_iter().map(|pair| match pair {
        "stdin=true" => "input=1",
        "stdout=true" => "output=1",
        "stderr=true" => "error=1",
        "tty=true" => "tty=1",
        other => other,
    });
    Some(format!("/exec/{namespace}/{pod}/{container}?{}", others.collect::<Vec<_>>().join("&")))
}
