//! Who may do what, over HTTP and on both databases.

mod administration;
mod login;

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode},
    middleware::from_fn_with_state,
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::{
    app::Retention,
    database::{Database, Dialect},
    testing::databases,
};

const PASSWORD: &str = "correct horse";
/// The URL of a database to make others beside.
const POSTGRES: &str = "STOCKTAKE_TEST_POSTGRES";

/// A server that has a user `admin`.
struct Bed {
    app: App,
    router: Router,
}

/// One on each database.
async fn beds() -> Vec<Bed> {
    let mut beds = Vec::new();
    for database in databases().await {
        let bed = bed(database);
        assert!(bed.app.access.bootstrap(Some(PASSWORD.into())).await.unwrap().is_none());
        beds.push(bed);
    }
    beds
}

fn bed(database: Database) -> Bed {
    let app = App::usual(database, Retention::default());
    let (router, _) = api::routes().split_for_parts();
    let router = router
        .route("/report", get(async |Reporter(caller): Reporter| caller.account))
        .route("/read", get(async |Reader(caller): Reader| caller.account))
        .route("/write", get(async |Writer(caller): Writer| caller.account))
        .route("/admin", get(async |Admin(caller): Admin| caller.account))
        .route("/things", axum::routing::delete(async |Writer(_): Writer| StatusCode::NO_CONTENT))
        .layer(from_fn_with_state(app.clone(), audited))
        .with_state(app.clone());
    Bed { app, router }
}

/// The same database by other connections, as another replica has it.
async fn another(database: &Database) -> Database {
    let url = match database.dialect() {
        Dialect::Sqlite => sqlite_file(database).await,
        Dialect::Postgres => {
            let name: String =
                sqlx::query_scalar("SELECT CAST(current_database() AS TEXT)").fetch_one(database.pool()).await.unwrap();
            let url = std::env::var(POSTGRES).unwrap();
            format!("{}/{name}", url.rsplit_once('/').unwrap().0)
        }
    };
    Database::open(&url).await.unwrap()
}

async fn sqlite_file(database: &Database) -> String {
    sqlx::query_scalar("SELECT file FROM pragma_database_list WHERE name = 'main'")
        .fetch_one(database.pool())
        .await
        .unwrap()
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn admin() -> String {
    basic("admin", PASSWORD)
}

/// What a request is answered.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Bed {
    async fn get(&self, path: &str, who: &str) -> Answer {
        self.ask(Method::GET, path, who, "", None).await
    }

    async fn status(&self, path: &str, who: &str) -> StatusCode {
        self.get(path, who).await.status
    }

    async fn post(&self, path: &str, who: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, who, "", Some(body)).await
    }

    async fn delete(&self, path: &str, who: &str) -> StatusCode {
        self.ask(Method::DELETE, path, who, "", None).await.status
    }

    async fn ask(&self, method: Method, path: &str, who: &str, account: &str, body: Option<Value>) -> Answer {
        self.ask_from("192.0.2.1", method, path, who, account, body).await
    }

    async fn ask_from(
        &self,
        address: &str,
        method: Method,
        path: &str,
        who: &str,
        account: &str,
        body: Option<Value>,
    ) -> Answer {
        let address = SocketAddr::new(address.parse().unwrap(), 50_000);
        let mut request = Request::builder().method(method).uri(path).extension(ConnectInfo(address));
        if !who.is_empty() {
            request = request.header("authorization", who);
        }
        if !account.is_empty() {
            request = request.header("x-anchore-account", account);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) }
    }

    /// An account with an admin of the name `ACCOUNT-admin`, and how they log in.
    async fn account(&self, name: &str) -> String {
        let access = &self.app.access;
        access.create_account(&Actor::command_line(), name).await.unwrap();
        self.user(name, &format!("{name}-admin"), Role::Admin).await
    }

    async fn user(&self, account: &str, name: &str, role: Role) -> String {
        let user = NewUser { name: name.to_owned(), password: PASSWORD.into(), role };
        self.app.access.create_user(&Actor::command_line(), account, user).await.unwrap();
        basic(name, PASSWORD)
    }

    /// A token's secret.
    async fn token(&self, account: &str, name: &str, role: Role) -> String {
        let token = NewToken { name: name.to_owned(), role, expires_at: None };
        let (_, secret) = self.app.access.create_token(&Actor::command_line(), account, token).await.unwrap();
        secret.expose_secret().to_owned()
    }

    /// What the log of an account says: who, action, object and outcome, earliest first.
    async fn log(&self, account: &str) -> Vec<String> {
        let id = self.app.access.existing(account).await.unwrap();
        let (entries, _) = self.app.access.audit(id, None, 1000).await.unwrap();
        let line =
            |entry: &audit::AuditEntry| format!("{} {} {} {}", entry.who, entry.action, entry.object, entry.outcome);
        entries.iter().rev().map(line).collect()
    }
}

fn names(answer: &Answer) -> Vec<&str> {
    answer.body["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// A token that is no other one's, and looks like one.
fn spoilt(secret: &str) -> String {
    let (start, end) = secret.split_at(10);
    format!("{start}{}{}", if end.starts_with('A') { 'B' } else { 'A' }, &end[1..])
}
