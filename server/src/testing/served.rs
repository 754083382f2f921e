//! A whole server, asked as clients ask it.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::{Body, BodyDataStream, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::databases;
use crate::{
    app::{App, Retention},
    config::Settings,
    serve::router,
};

/// The password of every user.
pub(crate) const PASSWORD: &str = "correct horse";

/// What secrets are encrypted with.
pub(crate) const KEY: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2";

/// Everything that is served, with a user `admin` of the account `admin`.
pub(crate) struct Served {
    pub(crate) app: App,
    router: Router,
}

/// What a request is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// `Authorization` of a user.
pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

impl Served {
    /// One on each database.
    pub(crate) async fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for database in databases().await {
            all.push(Self::over(App::usual(database, Retention::default())).await);
        }
        all
    }

    /// Of a fresh database.
    pub(crate) async fn over(app: App) -> Self {
        assert!(app.access.bootstrap(Some(PASSWORD.into())).await.expect("an admin").is_none());
        Self::again(app)
    }

    /// Of a database that has an admin.
    pub(crate) fn again(app: App) -> Self {
        let mut settings = Settings::default();
        settings.limits.requests_per_second = 0;
        Self { router: router::alone(app.clone(), &settings), app }
    }

    /// An account with an admin and a token of each role, `NAME-admin` and so on. Their names are those of the roles.
    pub(crate) async fn account(&self, name: &str) -> Account {
        let admin = basic("admin", PASSWORD);
        let made = self.ask("POST", "/v1/accounts", &admin, json!({"name": name})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        let mut tokens = Vec::new();
        for role in ["admin", "read-write", "read-only", "inventory-agent"] {
            let body = json!({"name": format!("{name}-{role}"), "role": role});
            let made = self.ask_in(name, "POST", "/v1/tokens", &admin, body).await;
            assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
            tokens.push((role, format!("Bearer {}", made.json()["secret"].as_str().expect("a secret"))));
        }
        Account { tokens }
    }

    pub(crate) async fn get(&self, path: &str, who: &str) -> Answer {
        self.ask("GET", path, who, Value::Null).await
    }

    /// Asks with a body of JSON, unless it is null. Nobody asks if `who` is empty.
    pub(crate) async fn ask(&self, method: &str, path: &str, who: &str, body: Value) -> Answer {
        self.ask_in("", method, path, who, body).await
    }

    /// The same, for another account.
    pub(crate) async fn ask_in(&self, account: &str, method: &str, path: &str, who: &str, body: Value) -> Answer {
        if body.is_null() {
            return self.send(account, method, path, who, "", Vec::new()).await;
        }
        self.send(account, method, path, who, "application/json", body.to_string().into_bytes()).await
    }

    /// Asks with any body, unless its type is empty. A stream of events is read until all is sent that there is.
    pub(crate) async fn send(
        &self,
        account: &str,
        method: &str,
        path: &str,
        who: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Answer {
        let address = SocketAddr::new([192, 0, 2, 1].into(), 50_000);
        let method: Method = method.parse().expect("a method");
        let mut request = Request::builder().method(method).uri(path).extension(ConnectInfo(address));
        for (name, value) in [("authorization", who), ("x-anchore-account", account), ("content-type", content_type)] {
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        let request = request.body(Body::from(body)).expect("a request");
        let (parts, body) = self.response(request).await.into_parts();
        let is_stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let text = if is_stream {
            Listener(body.into_data_stream()).all().await
        } else {
            String::from_utf8_lossy(&to_bytes(body, 1 << 24).await.expect("a body")).into_owned()
        };
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Reports that these containers run in cluster `prod`, each with its namespace and image.
    pub(crate) async fn report(&self, agent: &str, containers: &[(&str, &str, &str)]) {
        let uid = |prefix: &str, name: &str| {
            let end: u64 = name.bytes().fold(0, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_000_000_000);
            format!("{prefix}-0000-4000-8000-{end:012}")
        };
        let pod = |(name, namespace, _): &(&str, &str, &str)| {
            json!({"uid": uid("00000001", name), "name": name, "namespace_uid": uid("00000002", namespace),
                "labels": {"app": name}})
        };
        let container = |(name, _, image): &(&str, &str, &str)| {
            json!({"id": format!("containerd://{name}"), "name": "app", "image_tag": image,
                "pod_uid": uid("00000001", name)})
        };
        let namespace = |name: &str| json!({"uid": uid("00000002", name), "name": name});
        let body = json!({"cluster_name": "prod", "timestamp": Timestamp::now().to_string(),
            "namespaces": [namespace("shop"), namespace("back")],
            "pods": containers.iter().map(pod).collect::<Vec<_>>(),
            "containers": containers.iter().map(container).collect::<Vec<_>>()});
        let answer = self.ask("POST", "/v2/kubernetes-inventory", agent, body).await;
        assert!(answer.status.is_success(), "{}", answer.text);
    }

    async fn response(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("an answer")
    }

    /// Listens to a stream of events, from behind one.
    pub(crate) async fn listen(&self, path: &str, who: &str, last: Option<&str>) -> Result<Listener, StatusCode> {
        let mut request = Request::builder().uri(path).header("authorization", who);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = self.response(request.body(Body::empty()).expect("a request")).await;
        match response.status() {
            StatusCode::OK => Ok(Listener(response.into_body().into_data_stream())),
            status => Err(status),
        }
    }
}

/// A stream of events.
pub(crate) struct Listener(BodyDataStream);

impl Listener {
    /// What is sent next; none at its end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let next = tokio::time::timeout(Duration::from_mins(1), self.0.next()).await.expect("something in time");
        next.map(|chunk| String::from_utf8(chunk.expect("a chunk").to_vec()).expect("UTF-8"))
    }

    /// All that there is.
    pub(crate) async fn all(&mut self) -> String {
        let mut all = String::new();
        while let Some(chunk) = self.next().await {
            all.push_str(&chunk);
            if chunk.starts_with(": here\n") {
                break;
            }
        }
        all
    }
}

/// The credentials of an account.
pub(crate) struct Account {
    tokens: Vec<(&'static str, String)>,
}

impl Account {
    /// `Authorization` of one who has this role.
    pub(crate) fn with(&self, role: &str) -> &str {
        &self.tokens.iter().find(|(known, _)| *known == role).expect("a role").1
    }
}
