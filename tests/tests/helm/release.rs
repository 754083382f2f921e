//! A release in the bed's cluster, in a namespace of its own that goes with it.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stocktake_tests::{bed, tools, wait_until};

use crate::{merged, python, try_python};

/// The version in the workspace, by which images are tagged.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const IMAGES: [&str; 2] = ["stocktake-agent", "stocktake-server"];

/// A namespace with a release `st` in it, or none yet.
pub(crate) struct Release {
    pub(crate) namespace: String,
    kubeconfig: String,
}

impl Release {
    pub(crate) fn new(namespace: &str) -> Self {
        let release = Self { namespace: namespace.to_owned(), kubeconfig: bed::kubeconfig("admin") };
        // What a killed run has left.
        release.remove();
        tools::output(tools::kubectl().args(["create", "namespace", namespace]));
        // Whoever makes pods needs the account, which the cluster makes.
        wait_until("the namespace's service account", || {
            tools::try_output(tools::kubectl().args(["-n", namespace, "get", "serviceaccount", "default"])).is_ok()
        });
        release
    }

    fn action(&self, action: &str, stdin: &str) -> Result<String, String> {
        try_python("release.py", &[action, &self.namespace, "st", &self.kubeconfig], stdin)
    }

    /// `install` or `upgrade`: returns when everything is ready.
    pub(crate) fn apply(&self, action: &str, values: &Value) {
        let done = self.action(action, &values.to_string());
        let done = done.unwrap_or_else(|error| panic!("{error}\n{}", self.told()));
        assert!(done.contains(r#""status": "deployed""#), "{done}");
    }

    /// `rollback`, `test` or `uninstall`.
    pub(crate) fn act(&self, action: &str) {
        self.action(action, "").unwrap_or_else(|error| panic!("{action}: {error}\n{}", self.told()));
    }

    /// Why `helm test` fails.
    pub(crate) fn test_failure(&self) -> String {
        self.action("test", "").expect_err("the test fails")
    }

    /// The objects that would be made, as this cluster is.
    pub(crate) fn rendered(&self, values: &Value) -> Vec<Value> {
        let rendered = self.action("render", &values.to_string()).unwrap_or_else(|error| panic!("{error}"));
        let rendered: Value = serde_json::from_str(&rendered).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), rendered["manifest"].as_str().unwrap()).unwrap();
        serde_json::from_str(&python("chart.py", &["yaml", file.path().to_str().unwrap()], "")).unwrap()
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        tools::output(tools::kubectl().args(["-n", &self.namespace]).args(arguments))
    }

    pub(crate) fn get(&self, arguments: &[&str]) -> Value {
        tools::json(tools::kubectl().args(["-n", &self.namespace, "get", "-o", "json"]).args(arguments))
    }

    /// The pods of a component that are not on their way out, by name.
    pub(crate) fn pods(&self, component: &str) -> Vec<String> {
        let label = format!("app.kubernetes.io/component={component}");
        let pods = self.get(&["pods", "-l", &label]);
        let stay =
            pods["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        stay.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Sends a signal to the process of a pod's only container. Fails where it does not run.
    pub(crate) fn signal(&self, pod: &str, signal: &str) -> Result<(), String> {
        let ctr = |arguments: &[&str]| tools::output(tools::ctr(bed::CONTAINERD, "k8s.io").args(arguments));
        let of_pod = format!(
            "labels.\"io.kubernetes.pod.namespace\"=={},labels.\"io.kubernetes.pod.name\"=={pod},\
             labels.\"io.cri-containerd.kind\"==container",
            self.namespace
        );
        let containers = ctr(&["containers", "list", "--quiet", &of_pod]);
        let tasks = ctr(&["tasks", "list"]);
        let running = tools::rows(&tasks).into_iter().find(|row| row[2] == "RUNNING" && containers.contains(&row[0]));
        let process = running.ok_or_else(|| format!("{pod} does not run: {containers}{tasks}"))?.swap_remove(1);
        tools::try_output(Command::new("kill").arg(format!("-{signal}")).arg(process)).map(drop)
    }

    /// What the cluster has to say of a release that does not come up. Logs are the node's files, which have those of all containers that
    /// have ended, where `kubectl logs` has one.
    fn told(&self) -> String {
        let describe = tools::try_output(tools::kubectl().args(["-n", &self.namespace, "describe", "pods"]));
        let mut logs = Command::new("sh");
        logs.args(["-c", &format!("tail -n 20 /var/log/pods/{}_*/*/*.log", self.namespace)]);
        format!(
            "{}\n{}",
            describe.unwrap_or_else(|error| error),
            tools::try_output(&mut logs).unwrap_or_else(|error| error)
        )
    }

    /// All that is there of the release: objects of its namespace, and those of none that bear its name. What the cluster puts
    /// into every namespace, a moment after it is made, is left out.
    pub(crate) fn everything(&self) -> Vec<String> {
        let kinds = |namespaced: &str| {
            let flag = format!("--namespaced={namespaced}");
            let kinds = tools::output(tools::kubectl().args(["api-resources", "--verbs=list", &flag, "-o", "name"]));
            kinds.lines().filter(|kind| !kind.starts_with("events")).collect::<Vec<_>>().join(",")
        };
        let inside = self.kubectl(&["get", &kinds("true"), "-o", "name", "--ignore-not-found"]);
        let outside = self.kubectl(&["get", &kinds("false"), "-o", "name", "-l", "app.kubernetes.io/instance=st"]);
        // Of another release there may be some, which are named by its namespace.
        let ours = outside.lines().filter(|name| name.contains(&self.namespace));
        let is_of_cluster = |name: &&str| {
            ["secret/default-token-", "configmap/kube-root-ca.crt"].iter().any(|own| name.starts_with(own))
        };
        let inside = inside.lines().filter(|name| !is_of_cluster(name));
        let mut found: Vec<String> = inside.chain(ours).map(str::to_owned).collect();
        found.sort_unstable();
        found
    }

    /// Uninstalls it, after which there is what was `before`.
    pub(crate) fn leaves(&self, before: &[String]) {
        self.act("uninstall");
        let began = Instant::now();
        while self.everything() != before {
            assert!(began.elapsed() < Duration::from_mins(5), "{:?} instead of {before:?}", self.everything());
        }
    }

    /// Roles of the release in another namespace, and what binds them.
    pub(crate) fn roles_in(&self, namespace: &str) -> Vec<String> {
        let found = tools::json(tools::kubectl().args(["-n", namespace, "get", "roles,rolebindings", "-o", "json"]));
        let ours = found["items"].as_array().unwrap().iter().filter(|object| {
            object["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == self.namespace.as_str()
        });
        let name = |object: &Value| {
            let kind = object["kind"].as_str().unwrap().to_lowercase();
            format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap())
        };
        ours.map(name).collect()
    }

    fn remove(&self) {
        let of_release = ["-l", "app.kubernetes.io/instance=st"];
        // Claims go with it, without which volumes do not go.
        let namespace = ["delete", "namespace", &self.namespace, "--ignore-not-found", "--timeout=5m"];
        drop(tools::try_output(tools::kubectl().args(namespace)));
        let everywhere = "clusterroles,clusterrolebindings,persistentvolumes";
        let ours = tools::kubectl().args(["get", everywhere, "-o", "name"]).args(of_release).output();
        for object in
            String::from_utf8_lossy(&ours.unwrap().stdout).lines().filter(|name| name.contains(&self.namespace))
        {
            drop(tools::try_output(tools::kubectl().args(["delete", "--timeout=5m", object])));
        }
        // Where `rbac.namespaces` of the tests leads.
        for object in self.roles_in("shop") {
            drop(tools::try_output(tools::kubectl().args(["-n", "shop", "delete", &object])));
        }
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The images of what `cargo build` has built, or of what is shipped, as `deploy/images/build` makes them.
pub(crate) fn import_images() {
    let layouts = std::env::var_os("STOCKTAKE_IMAGES").map(PathBuf::from);
    let layouts = layouts.expect(
        "STOCKTAKE_IMAGES names what `deploy/images/build` has made, with `--test` or without; tests/run sets it",
    );
    let folder = tempfile::tempdir().unwrap();
    for name in IMAGES {
        let archive = folder.path().join(format!("{name}.tar"));
        tools::output(Command::new("tar").arg("-C").arg(layouts.join(name)).arg("-cf").arg(&archive).arg("."));
        let mut import = tools::ctr(bed::CONTAINERD, "k8s.io");
        tools::output(import.args(["images", "import", "--base-name", &repository_of(name)]).arg(&archive));
    }
}

fn repository_of(name: &str) -> String {
    format!("example.com/test/{name}")
}

/// Removes them again: other tests count images.
pub(crate) fn remove_images() {
    for name in IMAGES {
        let image = format!("{}:{VERSION}", repository_of(name));
        drop(tools::try_output(tools::ctr(bed::CONTAINERD, "k8s.io").args(["images", "remove", &image])));
    }
}

/// What all pods in the bed need: pods there reach nothing but each other, unless they share the node's network.
pub(crate) fn values(of_release: &Value) -> Value {
    let image = |name| json!({"repository": repository_of(name), "tag": VERSION, "pullPolicy": "Never"});
    let pod = json!({"hostNetwork": true, "dnsPolicy": "Default", "extraEnv": with_api_server(&[])});
    let common = json!({
        "image": image("stocktake-agent"), "agent": pod, "node": pod, "server": merged(&pod, &json!({"image": image("stocktake-server")}))
    });
    merged(&common, of_release)
}

/// Variables of a container, with those that say where the API server is: its Service leads nowhere from the node's network.
pub(crate) fn with_api_server(more: &[Value]) -> Vec<Value> {
    let server = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", "16443")];
    let server = server.map(|(name, value)| json!({"name": name, "value": value}));
    server.iter().chain(more).cloned().collect()
}
