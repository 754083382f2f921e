//! Service accounts with the roles of `deploy/kubernetes`, as they are or without a permission.

use std::process::Command;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use stocktake_tests::{bed, repository, tools, wait_until};

/// Where the bed's API server is.
pub(crate) const SERVER: &str = "https://127.0.0.1:16443";
/// Where its kubelet is.
pub(crate) const KUBELET: &str = "https://127.0.0.1:16250";
/// Who vouches for the kubelet, which has signed its own certificate.
pub(crate) const KUBELET_CA: &str = "/var/lib/stocktake-bed/kubernetes/kubelet-pki/kubelet.crt";

/// Where roles of one namespace are granted: that with Deployments and that with Jobs.
const NAMESPACES: [&str; 2] = ["shop", "batch"];

/// A rule's permission: what `verb` may be done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permission {
    pub(crate) verb: String,
    pub(crate) resource: String,
    /// Without its version.
    pub(crate) group: String,
    /// The one object, if the rule names one.
    pub(crate) name: Option<String>,
}

impl Permission {
    /// The resource with its group, as messages have it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` on `{}`", self.verb, self.qualified())?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " named `{name}`"))
    }
}

/// The objects of a file of `deploy/kubernetes`, as kubectl reads it.
pub(crate) fn objects(file: &str) -> Vec<Value> {
    let path = repository().join("deploy/kubernetes").join(file);
    let read = tools::output(tools::kubectl().args(["create", "--dry-run=client", "-o", "json", "-f"]).arg(path));
    // Kubelets of the bed's version know no other.
    let read = read.replace("nodes/pods", "nodes/proxy");
    let read = serde_json::Deserializer::from_str(&read).into_iter().map(Result::unwrap);
    let (of_namespace, mut objects): (Vec<Value>, Vec<Value>) =
        read.partition(|object: &Value| object["metadata"]["namespace"] == "shop");
    for namespace in NAMESPACES {
        objects.extend(of_namespace.iter().cloned().map(|mut object| {
            object["metadata"]["namespace"] = json!(namespace);
            object
        }));
    }
    objects
}

fn roles(objects: &mut [Value]) -> impl Iterator<Item = &mut Vec<Value>> {
    objects.iter_mut().filter_map(|object| object.get_mut("rules")?.as_array_mut())
}

/// All that the objects' role grants, a resource and verb each.
pub(crate) fn permissions(objects: &mut [Value]) -> Vec<Permission> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut permissions = Vec::new();
    for rule in roles(objects).next().expect("a role") {
        for resource in rule["resources"].as_array().unwrap() {
            permissions.extend(rule["verbs"].as_array().unwrap().iter().map(|verb| Permission {
                verb: text(verb),
                resource: text(resource),
                group: text(&rule["apiGroups"][0]),
                name: rule["resourceNames"].get(0).map(text),
            }));
        }
    }
    permissions
}

/// The objects with a role that grants no more than these.
pub(crate) fn granting(mut objects: Vec<Value>, granted: &[Permission]) -> Vec<Value> {
    let rule = |granted: &Permission| {
        let mut rule = json!({
            "apiGroups": [granted.group], "resources": [granted.resource], "verbs": [granted.verb]
        });
        if let Some(name) = &granted.name {
            rule["resourceNames"] = json!([name]);
        }
        rule
    };
    let rules: Vec<Value> = granted.iter().map(rule).collect();
    roles(&mut objects).for_each(|role| role.clone_from(&rules));
    objects
}

/// An account of its own, which lives as long as this.
pub(crate) struct Account {
    objects: String,
    pub(crate) user: String,
    pub(crate) token: String,
}

impl Account {
    /// The objects under another name and with another namespace than they were written with, in force.
    pub(crate) fn new(name: &str, objects: &[Value], granted: &[Permission]) -> Self {
        // What the API server has logged of an account, and the kubelet remembers of it, is of this run alone.
        let name = &format!("{name}-{}", std::process::id());
        let objects: Vec<String> = objects.iter().map(Value::to_string).collect();
        let objects = objects.join("\n").replace("stocktake-agent", name);
        let objects = objects.replace("\"namespace\":\"stocktake\"", "\"namespace\":\"default\"");
        let mut account = Self { objects, user: format!("system:serviceaccount:default:{name}"), token: String::new() };
        account.kubectl("apply");
        account.token = token(name);
        // A role is in force as a whole.
        if let Some(permission) = granted.first() {
            account.wait_for(permission);
        }
        account
    }

    fn kubectl(&self, verb: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("objects.json");
        std::fs::write(&file, &self.objects).unwrap();
        let mut command = tools::kubectl();
        command.args([verb, "-f"]).arg(&file);
        drop(tools::try_output(&mut command).map_err(|error| assert!(verb == "delete", "{error}")));
    }

    fn wait_for(&self, permission: &Permission) {
        let [_, last] = NAMESPACES;
        let place = if self.objects.contains("\"kind\":\"RoleBinding\"") { last } else { "default" };
        let (resource, part) = permission.resource.split_once('/').unwrap_or((&permission.resource, ""));
        let object = permission.name.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        let group = if permission.group.is_empty() { String::new() } else { format!(".{}", permission.group) };
        let command = || {
            let mut command = tools::kubectl();
            command.args(["auth", "can-i", &permission.verb, &format!("{resource}{group}{object}"), "-n", place]);
            command.args(["--as", &self.user, "--subresource", part]);
            command
        };
        wait_until(&format!("{permission} to be granted"), || tools::try_output(&mut command()).is_ok());
    }

    /// The account in the agent's settings.
    pub(crate) fn settings(&self, rest: &Value) -> Value {
        let mut settings = json!({
            "server": SERVER, "ca_file": format!("{}/kubernetes/tls/ca.pem", bed::RUN), "token": self.token, "cluster": "bed",
        });
        settings.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        settings
    }

    /// What the account has asked the API server for: path and query.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(format!("{}/log/kubernetes-audit.log", bed::RUN)).unwrap();
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_account = events.filter(|event| event["user"]["username"] == self.user.as_str());
        of_account.map(|event| event["requestURI"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.kubectl("delete");
    }
}

fn token(account: &str) -> String {
    let mut encoded = String::new();
    wait_until("the account's token", || {
        let get = |kind: &str, name: &str, path: &str| -> String {
            let mut command: Command = tools::kubectl();
            command.args(["-n", "default", "get", kind, name, "-o", &format!("jsonpath={path}")]);
            tools::try_output(&mut command).unwrap_or_default()
        };
        let secret = get("serviceaccount", account, "{.secrets[0].name}");
        if !secret.is_empty() {
            encoded = get("secret", &secret, "{.data.token}");
        }
        !encoded.is_empty()
    });
    String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap()
}
