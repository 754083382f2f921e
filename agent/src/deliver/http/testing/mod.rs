//! Servers on real sockets of this machine, for the tests of whatever speaks HTTP. They end with the test's runtime.

mod proxy;
mod tls;

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, Response, StatusCode},
    serve::Listener,
};
use tokio::net::TcpListener;

pub(crate) use self::{
    proxy::ConnectProxy,
    tls::{Authority, install_provider},
};

/// A request that has arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// As it was in the request's first line.
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What is answered to a request.
pub(crate) type Handler = dyn Fn(&Seen) -> Response<Body> + Send + Sync;

/// A server that answers whatever a function says.
pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Without TLS.
    pub(crate) async fn http(handler: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self::serve(listener, port, Arc::new(handler))
    }

    /// With a certificate of `authority` for `host`. With `clients`, a client has to show one of that authority.
    pub(crate) async fn https(
        host: &str,
        authority: &Authority,
        clients: Option<&Authority>,
        handler: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        Self::serve(authority.listener(tcp, host, clients), port, Arc::new(handler))
    }

    fn serve<L: Listener>(listener: L, port: u16, handler: Arc<Handler>) -> Self
    where
        L::Addr: std::fmt::Debug,
    {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let answer = move |request: Request| async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
            let (method, uri) = (parts.method.to_string(), parts.uri.to_string());
            let request = Seen { method, uri, headers: parts.headers, body };
            log.lock().unwrap().push(request.clone());
            handler(&request)
        };
        let app: Router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { port, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All requests until now.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// An answer with a status, headers and a body.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name: axum::http::HeaderName = name.parse().unwrap();
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
