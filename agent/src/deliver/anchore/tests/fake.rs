//! An Anchore over a real socket that is as strict as its swagger (2.13) and what is known of its code. The server is closed
//! source: what this one refuses the real one is known or feared to refuse.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{body::Body, http::Response};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::deliver::http::testing::{Seen, Server, answer};

/// What a test can set, and what it can look at.
pub(super) struct State {
    /// Version of the server.
    pub(super) version: &'static str,
    /// Passwords and accounts, by user.
    pub(super) users: BTreeMap<&'static str, (&'static str, BTreeSet<&'static str>)>,
    /// Accounts that there are.
    pub(super) accounts: BTreeSet<&'static str>,
    /// A larger body is refused.
    pub(super) most_bytes: usize,
    /// What is answered instead, if it is something, to the request of that number among inventories.
    pub(super) fault: Option<Box<Fault>>,
    /// Whether `/version` is let through.
    pub(super) tells_version: bool,
    /// What is answered to a registration, if not that it was made.
    pub(super) registration: Option<u16>,
    /// What was taken: by account, cluster and namespace the containers' or images' names. As with overwriting, each document
    /// replaces what there is of a namespace.
    pub(super) stored: BTreeMap<(String, String, String), BTreeSet<String>>,
    /// Documents that were taken, with their accounts and users.
    pub(super) documents: Vec<Document>,
    /// How many inventories have arrived.
    pub(super) arrived: usize,
    /// Integrations, by registration and instance.
    pub(super) integrations: BTreeMap<(String, String), Uuid>,
    pub(super) registrations: Vec<Value>,
    pub(super) health: Vec<Value>,
}

type Fault = dyn Fn(usize, &Seen) -> Option<Response<Body>> + Send;

pub(super) struct Document {
    pub(super) account: String,
    pub(super) user: String,
    pub(super) path: String,
    pub(super) body: Value,
    pub(super) bytes: usize,
}

impl Document {
    /// Names of its namespaces.
    pub(super) fn namespaces(&self) -> Vec<&str> {
        let (list, key) = match &self.body["results"] {
            Value::Array(list) => (list.as_slice(), "namespace"),
            _ => (self.body["namespaces"].as_array().map_or(&[][..], Vec::as_slice), "name"),
        };
        list.iter().map(|namespace| namespace[key].as_str().unwrap()).collect()
    }
}

pub(super) struct FakeAnchore {
    pub(super) server: Server,
    pub(super) state: Arc<Mutex<State>>,
}

impl FakeAnchore {
    pub(super) async fn new(version: &'static str) -> Self {
        let state = Arc::new(Mutex::new(State {
            version,
            users: [("agent", ("hunter2", BTreeSet::from(["admin", "team-a", "team-b"])))].into(),
            accounts: BTreeSet::from(["admin", "team-a", "team-b"]),
            most_bytes: usize::MAX,
            fault: None,
            tells_version: true,
            registration: None,
            stored: BTreeMap::new(),
            documents: Vec::new(),
            arrived: 0,
            integrations: BTreeMap::new(),
            registrations: Vec::new(),
            health: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let server = Server::http(move |seen| shared.lock().unwrap().serve(seen)).await;
        Self { server, state }
    }

    /// Looks at the state or changes it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// `account: cluster/namespace` of all that is stored.
    pub(super) fn contexts(&self) -> Vec<String> {
        let context =
            |(account, cluster, namespace): &(String, String, String)| format!("{account}: {cluster}/{namespace}");
        self.with(|state| state.stored.keys().map(context).collect())
    }
}

/// An answer that is no success, in a box because results are to be small.
type Refusal = Box<Response<Body>>;

#[allow(clippy::unnecessary_box_returns, reason = "it is what results hold")]
fn refusal(status: u16, message: &str) -> Refusal {
    let body = json!({"code": status, "error_type": "x", "message": message, "detail": {}});
    Box::new(answer(status, &[("content-type", "application/json")], body.to_string()))
}

impl State {
    fn serve(&mut self, seen: &Seen) -> Response<Body> {
        let has_v2 = self.version >= "5";
        let inventories = match self.version {
            version if version >= "5" => "/v2/kubernetes-inventory",
            version if version >= "4.7" => "/v1/enterprise/kubernetes-inventory",
            _ => "/v1/enterprise/inventories",
        };
        match (seen.method.as_str(), seen.uri.as_str()) {
            ("GET", "/version") if self.tells_version => {
                assert_eq!(seen.header("authorization"), "", "nobody needs to log in for it");
                let api = if has_v2 { json!({"version": "2"}) } else { json!({}) };
                let version = json!({"api": api, "db": {"schema_version": "1"}, "service": {"version": self.version}});
                answer(200, &[], version.to_string())
            }
            ("POST", path) if path == inventories => {
                self.arrived += 1;
                if let Some(answer) = self.fault.as_ref().and_then(|fault| fault(self.arrived, seen)) {
                    return answer;
                }
                self.inventory(seen).unwrap_or_else(|refusal| *refusal)
            }
            ("POST", "/v2/system/integrations/registration") if has_v2 => {
                self.register(seen).unwrap_or_else(|refusal| *refusal)
            }
            ("POST", path) if has_v2 && path.starts_with("/v2/system/integrations/") => self.health_report(path, seen),
            _ => *refusal(404, "no such path"),
        }
    }

    /// The user and the account, if the user may act in it.
    fn authorize(&self, seen: &Seen) -> Result<(String, String), Refusal> {
        let basic = seen.header("authorization").strip_prefix("Basic ").unwrap_or_default();
        let pair = String::from_utf8(BASE64_STANDARD.decode(basic).unwrap_or_default()).unwrap_or_default();
        let (user, password) = pair.split_once(':').unwrap_or_default();
        let known = self.users.get(user).filter(|(expected, _)| *expected == password);
        let Some((_, accounts)) = known else { return Err(refusal(401, "Invalid credentials")) };
        let account = seen.header("x-anchore-account");
        if !self.accounts.contains(account) {
            return Err(refusal(404, "User account not found"));
        }
        if !accounts.contains(account) {
            return Err(refusal(403, "Not authorized. Requires permissions: domain=x action=syncInventory target="));
        }
        Ok((user.to_owned(), account.to_owned()))
    }

    fn inventory(&mut self, seen: &Seen) -> Result<Response<Body>, Refusal> {
        if seen.header("content-type") != "application/json" {
            return Err(refusal(415, "not JSON"));
        }
        if seen.body.len() > self.most_bytes {
            return Err(Box::new(answer(413, &[], "<html>413 Request Entity Too Large</html>")));
        }
        let (user, account) = self.authorize(seen)?;
        let body: Value = serde_json::from_slice(&seen.body).map_err(|error| refusal(400, &error.to_string()))?;
        let is_v1 = seen.uri.ends_with("/inventories");
        let content = if is_v1 { images(&body) } else { pods(&body) }.map_err(|wrong| refusal(400, &wrong))?;
        let cluster = body["cluster_name"].as_str().unwrap().to_owned();
        for (namespace, names) in content {
            self.stored.insert((account.clone(), cluster.clone(), namespace), names);
        }
        let path = seen.uri.clone();
        self.documents.push(Document { account, user, path, body, bytes: seen.body.len() });
        Ok(match self.version {
            version if version < "4.7" => answer(200, &[("content-type", "application/json")], "[]"),
            _ => answer(201, &[], ""),
        })
    }

    fn register(&mut self, seen: &Seen) -> Result<Response<Body>, Refusal> {
        self.authorize(seen)?;
        if let Some(status) = self.registration {
            return Err(refusal(status, "Not authorized. Requires permissions: action=registerIntegration"));
        }
        let body: Value = serde_json::from_slice(&seen.body).map_err(|error| refusal(400, &error.to_string()))?;
        self.registrations.push(body.clone());
        let text = |key: &str| {
            let text = body[key].as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned).ok_or_else(|| refusal(400, &format!("'{key}' is a required property")))
        };
        let key = (text("registration_id")?, text("registration_instance_id")?);
        text("username")?;
        if text("type")? != "k8s_inventory_agent" {
            return Err(refusal(400, "unknown type"));
        }
        if !body["health_report_interval"].as_u64().is_some_and(|seconds| (30..=600).contains(&seconds)) {
            return Err(refusal(400, "health_report_interval"));
        }
        let status = if self.integrations.contains_key(&key) { 200 } else { 201 };
        let uuid = *self.integrations.entry(key).or_insert_with(Uuid::now_v7);
        Ok(answer(status, &[], json!({"uuid": uuid, "type": "k8s_inventory_agent"}).to_string()))
    }

    fn health_report(&mut self, path: &str, seen: &Seen) -> Response<Body> {
        if let Err(refusal) = self.authorize(seen) {
            return *refusal;
        }
        let uuid = path.split('/').nth(4).and_then(|uuid| uuid.parse::<Uuid>().ok());
        if !self.integrations.values().any(|known| Some(*known) == uuid) {
            return *refusal(404, "no such integration");
        }
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        let data = &body["health_data"];
        let is_valid = body["uuid"].as_str().and_then(|uuid| uuid.parse().ok()) == uuid
            && body["protocol_version"] == 1
            && body["timestamp"].as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok())
            && body["uptime"].is_number()
            && body["health_report_interval"].is_u64()
            && data["type"] == "k8s_inventory_agent"
            && data["version"] == 1
            && data["errors"].as_array().is_some_and(|errors| errors.iter().all(Value::is_string))
            && data["account_k8s_inventory_reports"].is_object();
        if !is_valid {
            return *refusal(400, "not a health report");
        }
        self.health.push(body);
        answer(201, &[], "")
    }
}

type Content = BTreeMap<String, BTreeSet<String>>;

/// What a document of kai has, if it is one.
fn images(body: &Value) -> Result<Content, String> {
    only(body, &["timestamp", "results", "serverVersionMetadata", "cluster_name", "inventory_type"])?;
    text(body, "cluster_name")?;
    time(body)?;
    text(body, "inventory_type")?;
    let mut content = Content::new();
    for namespace in list(body, "results")? {
        only(namespace, &["namespace", "images"])?;
        let mut names = BTreeSet::new();
        for image in list(namespace, "images")? {
            only(image, &["tag", "repoDigest"])?;
            names.insert(tag(image, "tag")?);
        }
        if content.insert(text(namespace, "namespace")?, names).is_some() {
            return Err("a namespace twice".into());
        }
    }
    Ok(content)
}

/// What a document of k8s-inventory has, if it is one: `KubernetesInventory` of the swagger, and references that lead somewhere.
fn pods(body: &Value) -> Result<Content, String> {
    only(body, &["cluster_name", "containers", "namespaces", "nodes", "pods", "serverVersionMetadata", "timestamp"])?;
    text(body, "cluster_name")?;
    time(body)?;
    let mut content = Content::new();
    let mut namespaces = BTreeMap::new();
    for namespace in list(body, "namespaces")? {
        only(namespace, &["annotations", "labels", "name", "uid"])?;
        let name = text(namespace, "name")?;
        once(&mut namespaces, uid(namespace, "uid")?, name.clone())?;
        content.insert(name, BTreeSet::new());
    }
    let mut nodes = BTreeMap::new();
    for node in list(body, "nodes")? {
        text(node, "name")?;
        once(&mut nodes, uid(node, "uid")?, String::new())?;
    }
    let mut pods = BTreeMap::new();
    for pod in list(body, "pods")? {
        only(pod, &["annotations", "labels", "name", "namespace_uid", "node_uid", "uid"])?;
        text(pod, "name")?;
        let namespace = uid(pod, "namespace_uid")?;
        let namespace = namespaces.get(&namespace).ok_or("a pod of no namespace")?;
        if pod.get("node_uid").is_some() && !nodes.contains_key(&uid(pod, "node_uid")?) {
            return Err("a pod on no node".into());
        }
        once(&mut pods, uid(pod, "uid")?, namespace.clone())?;
    }
    let mut ids = BTreeMap::new();
    for container in list(body, "containers")? {
        only(container, &["id", "image_digest", "image_tag", "name", "pod_uid"])?;
        text(container, "name")?;
        let (id, image) = (text(container, "id")?, tag(container, "image_tag")?);
        let digest = container["image_digest"].as_str().ok_or("no image_digest")?;
        if !digest.is_empty() && digest.parse::<stocktake_core::Digest>().is_err() {
            return Err(format!("{digest} is no digest"));
        }
        once(&mut ids, id.clone(), String::new())?;
        let namespace = pods.get(&uid(container, "pod_uid")?).ok_or("a container of no pod")?;
        content.get_mut(namespace).unwrap().insert(format!("{id} {image}"));
    }
    Ok(content)
}

fn only(object: &Value, keys: &[&str]) -> Result<(), String> {
    let found = object.as_object().ok_or("not an object")?;
    let unknown = found.keys().find(|key| !keys.contains(&key.as_str()));
    unknown.map_or(Ok(()), |key| Err(format!("additional property {key}")))
}

fn list<'a>(object: &'a Value, key: &str) -> Result<&'a [Value], String> {
    match object.get(key) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(format!("{key} is no list")),
    }
}

fn text(object: &Value, key: &str) -> Result<String, String> {
    let text = object[key].as_str().filter(|text| !text.trim().is_empty());
    text.map(str::to_owned).ok_or_else(|| format!("'{key}' is a required property"))
}

fn time(object: &Value) -> Result<(), String> {
    text(object, "timestamp")?.parse::<jiff::Timestamp>().map(drop).map_err(|error| error.to_string())
}

fn tag(object: &Value, key: &str) -> Result<String, String> {
    let tag = text(object, key)?;
    if tag.ends_with(':') || tag.contains('@') { Err(format!("{tag} is no image tag")) } else { Ok(tag) }
}

fn uid(object: &Value, key: &str) -> Result<String, String> {
    let uid = text(object, key)?;
    let is_uid = uid.len() == 36
        && uid.char_indices().all(|(at, char)| match at {
            8 | 13 | 18 | 23 => char == '-',
            _ => char.is_ascii_digit() || ('a'..='f').contains(&char),
        });
    if is_uid { Ok(uid) } else { Err(format!("{uid} is no uid")) }
}

fn once(map: &mut BTreeMap<String, String>, key: String, value: String) -> Result<(), String> {
    if map.contains_key(&key) {
        return Err(format!("{key} is there twice"));
    }
    map.insert(key, value);
    Ok(())
}
