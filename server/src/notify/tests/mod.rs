//! Subscriptions and their delivery, with a receiver of our own on loopback.

mod channels;
mod delivery;
mod receiver;
mod secrets;
mod signs;
mod subscriptions;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    app::{App, Retention},
    config::NotifySettings,
    secrets::{KeySource, Vault},
    testing::{KEY, Served, databases},
};

/// A server that may send to loopback.
async fn servers() -> Vec<Served> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut servers = Vec::new();
    for database in databases().await {
        servers.push(Served::over(App::new(database, vault(), Retention::default(), settings())).await);
    }
    servers
}

fn vault() -> Vault {
    Vault::new(KeySource::Environment(KEY.into()))
}

fn settings() -> NotifySettings {
    NotifySettings { allow_networks: vec!["127.0.0.0/8".parse().unwrap()], ..NotifySettings::default() }
}

/// Asks until something holds of the answer, and returns the last one. How long that may take is for a machine that is stuck, and no
/// measure of anything.
async fn until<T>(mut ask: impl AsyncFnMut() -> T, holds: impl Fn(&T) -> bool) -> T {
    let began = Instant::now();
    loop {
        let answer = ask().await;
        if holds(&answer) || began.elapsed() > Duration::from_mins(2) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Subscribes, and returns the answer.
async fn subscribe(served: &Served, who: &str, on: Value, url: &str) -> Value {
    let body = json!({"name": "a test's", "on": on, "channel": {"type": "webhook", "url": url}});
    let made = served.ask("POST", "/v1/subscriptions", who, body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}
