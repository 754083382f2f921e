//! A whole server, asked as clients ask it.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::databases;
use crate::{
    agentless::{Agentless, KeySource, Vault},
    app::{App, Retention},
    config::{AgentlessSettings, Settings},
    serve::router,
};

/// The password of every user.
pub(crate) const PASSWORD: &str = "correct horse";

/// What credentials are encrypted with.
const KEY: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2";

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
            let vault = Vault::new(KeySource::Environment(KEY.into()));
            let agentless = Arc::new(Agentless::new(AgentlessSettings::default(), vault));
            let app = App { agentless, ..App::new(database, Retention::default()) };
            assert!(app.access.bootstrap(Some(PASSWORD.into())).await.expect("an admin").is_none());
            all.push(Self::over(app));
        }
        all
    }

    /// All that is served of an app.
    pub(crate) fn over(app: App) -> Self {
        let mut settings = Settings::default();
        settings.limits.requests_per_second = 0;
        Self { router: router::router(app.clone(), &settings), app }
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

    /// Asks with any body, unless its type is empty.
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
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 24).await.expect("a body");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, text }
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
