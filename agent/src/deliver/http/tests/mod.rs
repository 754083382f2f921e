mod answers;
mod connections;
mod secrets;
mod settings;

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;
use stocktake_core::{ConfigError, Environment};

use super::{Answer, Client, Credentials, HttpSettings, Request, testing::install_provider};
use crate::deliver::{Failure, Sent, TargetContext};

fn context(variables: &[(&str, &str)]) -> TargetContext {
    let variables: BTreeMap<_, _> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let environment = Environment { variables, ..Environment::default() };
    TargetContext { name: "main".into(), environment, ..TargetContext::default() }
}

fn settings(settings: Value) -> HttpSettings {
    ConfigError::deserialize(settings).unwrap()
}

fn client(value: Value, variables: &[(&str, &str)]) -> Client {
    install_provider();
    Client::new(settings(value), &context(variables)).unwrap()
}

async fn post(client: &Client, credentials: &Credentials) -> Result<Answer, Failure> {
    let (method, body) = (Method::POST, Bytes::from_static(b"{}"));
    let request = Request { method, path: "v2/things", headers: Vec::new(), body, credentials };
    client.send(request, &mut Sent::default()).await
}

fn later(failure: &Failure) -> (&str, &str) {
    match failure {
        Failure::Later { status, message, .. } => (status, message),
        other @ Failure::Refused { .. } => panic!("{other:?}"),
    }
}
