//! A kube-apiserver on an etcd of its own, with access rules and no controllers: pods are objects, for there is nothing
//! that would run them. Either part may be killed, stopped and started again.
//!
//! All calls block. They are the administrator's; the agent is a user of its own, whose rights and token a test changes.

pub mod audit;
pub mod objects;
pub mod population;
mod requests;
mod servers;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{
    bed,
    daemon::{Process, free_port},
    home::Home,
    repository, tools,
};
pub use requests::Batch;

/// The name of the administrator, and the token.
pub const ADMIN: &str = "admin";
/// The name of the user that the agent is. Its token is in [`Cluster::token_file`].
pub const AGENT: &str = "stocktake";
/// The cluster role of [`Cluster::grant_all`].
pub const READER: &str = "stocktake-reader";

/// Whether a test may have a cluster: `false` if `STOCKTAKE_BED_SKIP` leaves Kubernetes out, which is printed. It needs
/// what `bed install kubernetes` installs and builds, and nothing of the bed that is up.
#[must_use]
pub fn is_wanted() -> bool {
    let skipped = env::var("STOCKTAKE_BED_SKIP").unwrap_or_default();
    if skipped.split_whitespace().any(|word| word == "kubernetes") {
        bed::say_skipped("(STOCKTAKE_BED_SKIP): kubernetes");
        return false;
    }
    true
}

/// Kubernetes' version, as `v1.20.2`.
#[must_use]
pub fn version() -> String {
    let said = tools::output(Command::new(servers::binary()).arg("--version"));
    said.split_whitespace().last().unwrap_or_default().to_owned()
}

/// What makes one cluster differ from another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Writes down the requests of [`AGENT`], for [`Cluster::audit`].
    pub audited: bool,
}

/// An API server and its storage. Both end, and their data goes, when this goes.
#[derive(Debug)]
pub struct Cluster {
    api_server: Arc<Process>,
    etcd: Arc<Process>,
    etcd_url: String,
    port: u16,
    home: Home,
}

impl Cluster {
    /// Starts one that is empty but for what every cluster has; `name` is for people who look at their processes.
    /// [`AGENT`] may do nothing yet.
    #[must_use]
    pub fn start(name: &str, options: Options) -> Self {
        let home = Home::new(name);
        servers::make_keys(&home);
        let etcd_url = format!("http://127.0.0.1:{}", free_port());
        let etcd = Arc::new(servers::start_etcd(&home, &etcd_url));
        let port = free_port();
        // The first token of each user is its name.
        write_tokens(&home, AGENT);
        let _ = home.write("token", AGENT);
        let api_server = Arc::new(servers::start_api_server(&home, &etcd_url, port, options));
        Self { api_server, etcd, etcd_url, port, home }
    }

    /// The API server's process: to be killed, stopped, started again.
    #[must_use]
    pub fn api_server(&self) -> &Arc<Process> {
        &self.api_server
    }

    /// The storage's process: to be killed, stopped, started again. What was written outlives it.
    #[must_use]
    pub fn etcd(&self) -> &Arc<Process> {
        &self.etcd
    }

    /// A folder that lives as long as the cluster. Processes that name it on their command line end with it.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The API server's port on 127.0.0.1, for which its certificate is good.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the API server is.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The certificate that vouches for the API server, in PEM.
    #[must_use]
    pub fn ca_file(&self) -> String {
        self.home.path("tls/ca.pem")
    }

    /// The file with the token of [`AGENT`].
    #[must_use]
    pub fn token_file(&self) -> String {
        self.home.path("token")
    }

    /// The agent's configuration for this cluster: one collector, `k`. `port` is the cluster's own or a relay's; `rest`
    /// are more lines of the collector's settings.
    #[must_use]
    pub fn config(&self, port: u16, rest: &str) -> String {
        format!(
            "[collectors.k]\ntype = 'kubernetes'\nserver = 'https://127.0.0.1:{port}'\nca_file = '{}'\n\
             token_file = '{}'\ncluster = 'private'\n{rest}\n",
            self.ca_file(),
            self.token_file()
        )
    }

    /// The requests of [`AGENT`] from now on. The cluster has to have been started so.
    #[must_use]
    pub fn audit(&self) -> audit::Log {
        audit::Log::from_now(Path::new(&self.home.path("audit.log")))
    }

    // --- access ---

    /// Lets [`AGENT`] read all that a collection of everything reads, and watch it.
    pub fn grant_all(&self) {
        let verbs = ["get", "list", "watch"];
        self.grant(
            None,
            READER,
            &json!([
                { "apiGroups": [""], "resources": ["pods", "nodes", "namespaces"], "verbs": verbs },
                { "apiGroups": ["apps"], "resources": ["replicasets"], "verbs": verbs },
                { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": verbs },
            ]),
        );
    }

    /// Gives [`AGENT`] a role in a namespace, or throughout the cluster, and is back when it counts: access rules reach
    /// the authorizer by a watch.
    pub fn grant(&self, namespace: Option<&str>, name: &str, rules: &Value) {
        let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
        self.create(&access_path(namespace, "roles"), &json!({ "metadata": { "name": name }, "rules": rules }));
        self.create(
            &access_path(namespace, "rolebindings"),
            &json!({
                "metadata": { "name": name },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name },
                "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": AGENT }],
            }),
        );
        for (group, resource, verb) in first_rights(rules) {
            crate::wait_until("a role to count", || self.may(&verb, &group, &resource, namespace));
        }
    }

    /// Takes a role from [`AGENT`], and is back when that counts. No other role may give the same.
    pub fn revoke(&self, namespace: Option<&str>, name: &str) {
        let role = format!("{}/{name}", access_path(namespace, "roles"));
        let rights = first_rights(&self.get(&role)["rules"]);
        self.delete(&format!("{}/{name}", access_path(namespace, "rolebindings")));
        self.delete(&role);
        for (group, resource, verb) in rights {
            crate::wait_until("a role to be gone", || !self.may(&verb, &group, &resource, namespace));
        }
    }

    /// Whether [`AGENT`] may do that in a namespace, or throughout the cluster, as the authorizer sees it now.
    #[must_use]
    pub fn may(&self, verb: &str, group: &str, resource: &str, namespace: Option<&str>) -> bool {
        let attributes = json!({
            "verb": verb, "group": group, "resource": resource, "namespace": namespace.unwrap_or_default(),
        });
        let review = json!({ "spec": { "user": AGENT, "resourceAttributes": attributes } });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = self.request("POST", path, &review).unwrap_or_else(|error| panic!("{error}"));
        answer["status"]["allowed"] == true
    }

    /// The token that the API server takes for [`AGENT`]'s after its next start, and then no other.
    pub fn accept_token(&self, token: &str) {
        write_tokens(&self.home, token);
    }

    /// The token that the agent has from now on, whether or not it is good for anything. The file is replaced at once,
    /// as a kubelet replaces a mounted one.
    pub fn write_token(&self, token: &str) {
        let fresh = self.home.write("token.fresh", token);
        fs::rename(fresh, self.token_file()).expect("a file of the temporary folder");
    }

    // --- faults ---

    /// Waits until the API server reads its storage, which may have been away.
    pub fn wait_until_ready(&self) {
        crate::wait_until("the API server to read its storage", || {
            self.request("GET", "/api/v1/namespaces?limit=1", &Value::Null).is_ok()
        });
    }

    /// Forgets every version of the storage but the last: older pages and watches are answered with 410 Gone.
    pub fn compact(&self) {
        // A list of the last version would still be had if nothing were written after it.
        let put = self.etcd_call("kv/put", &json!({ "key": "c3RvY2t0YWtl", "value": "" }));
        let revision = put["header"]["revision"].as_str().expect("a revision").to_owned();
        self.etcd_call("kv/compaction", &json!({ "revision": revision, "physical": true }));
    }

    /// etcd's own API, as JSON (`/v3`, which etcd 3.4 serves beside gRPC).
    fn etcd_call(&self, call: &str, body: &Value) -> Value {
        let mut curl = Command::new("/usr/bin/curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "50", "--data", &body.to_string()]);
        tools::json(curl.arg(format!("{}/v3/{call}", self.etcd_url)))
    }

    // --- objects ---

    /// Creates a namespace.
    pub fn create_namespace(&self, name: &str) {
        self.create("/api/v1/namespaces", &json!({ "metadata": { "name": name } }));
    }

    /// Deletes a namespace with its pods, which is what a controller does in other clusters.
    pub fn delete_namespace(&self, name: &str) {
        let path = format!("/api/v1/namespaces/{name}");
        self.delete(&format!("{path}/pods"));
        self.delete(&path);
        let emptied = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name }, "spec": {} });
        self.request("PUT", &format!("{path}/finalize"), &emptied).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Creates a pod that runs.
    pub fn create_pod(&self, namespace: &str, name: &str) {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        self.create(&pods, &objects::plain_pod(name));
        self.patch(&format!("{pods}/{name}/status"), &objects::plain_status(name));
    }

    /// Creates many pods that run, `PREFIX-0` and so on, each longer by `padding` kilobytes than it would be.
    pub fn create_pods(&self, namespace: &str, prefix: &str, count: usize, padding: usize) {
        // In texts that are no longer than sound ones.
        let padding: BTreeMap<String, String> =
            (0..padding).map(|number| (format!("padding-{number}"), "x".repeat(1000))).collect();
        let mut batch = self.batch();
        for number in 0..count {
            let pods = format!("/api/v1/namespaces/{namespace}/pods");
            let name = format!("{prefix}-{number}");
            let mut pod = objects::plain_pod(&name);
            pod["metadata"]["annotations"] = json!(padding);
            batch.send("POST", &pods, &pod);
            batch.send("PATCH", &format!("{pods}/{name}/status"), &objects::plain_status(&name));
        }
        batch.run();
    }

    /// Sets a label of a pod.
    pub fn label_pod(&self, namespace: &str, name: &str, key: &str, value: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        self.patch(&path, &json!({ "metadata": { "labels": { key: value } } }));
    }

    /// Deletes a pod at once.
    pub fn delete_pod(&self, namespace: &str, name: &str) {
        self.delete(&format!("/api/v1/namespaces/{namespace}/pods/{name}"));
    }

    /// The uids of all pods, by namespace, as the storage has them; namespaces without pods are in it too.
    #[must_use]
    pub fn pods(&self) -> BTreeMap<String, BTreeSet<String>> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let namespaces = self.get("/api/v1/namespaces");
        let names = namespaces["items"].as_array().expect("a list").iter().map(|item| text(&item["metadata"]["name"]));
        let mut found: BTreeMap<_, _> = names.map(|name| (name, BTreeSet::new())).collect();
        for pod in self.get("/api/v1/pods")["items"].as_array().expect("a list") {
            let metadata = &pod["metadata"];
            found.entry(text(&metadata["namespace"])).or_default().insert(text(&metadata["uid"]));
        }
        found
    }
}

/// Where roles and bindings are, of a namespace or of the cluster.
fn access_path(namespace: Option<&str>, kind: &str) -> String {
    let api = "/apis/rbac.authorization.k8s.io/v1";
    namespace.map_or_else(|| format!("{api}/cluster{kind}"), |name| format!("{api}/namespaces/{name}/{kind}"))
}

/// Of each rule a right by which to tell whether it counts: group, resource, verb.
fn first_rights(rules: &Value) -> Vec<(String, String, String)> {
    let rules = rules.as_array().expect("a list of rules").iter();
    let first = |rule: &Value, key: &str| rule[key][0].as_str().expect("a rule names it").to_owned();
    rules.map(|rule| (first(rule, "apiGroups"), first(rule, "resources"), first(rule, "verbs"))).collect()
}

/// Who the API server knows when it starts.
fn write_tokens(home: &Home, agent: &str) {
    let _ = home.write("tokens.csv", &format!("{ADMIN},{ADMIN},{ADMIN},system:masters\n{agent},{AGENT},{AGENT}\n"));
}

/// What the functions of the bed print that `script` names.
fn bed_functions(script: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("/bin/bash");
    command.args(["-euo", "pipefail", "-c", script, "bash"]).args(arguments);
    tools::output(command.current_dir(repository().join("tests/bed")))
}
