//! A private API server on an etcd of its own. Pods are objects, for there is nothing that would run them.

use std::{fmt::Write as _, fs, process::Command, sync::Arc};

use serde_json::{Value, json};
use stocktake_collector_kubernetes::KubernetesCollector;
use stocktake_core::conformance::Subject;
use stocktake_tests::{
    bed,
    daemon::{Process, free_port},
    home::Home,
    tools,
};

use crate::{Private, SECRET, padding};

const TOKEN: &str = "conformance";

/// The whole cluster.
pub(crate) fn subject() -> Private {
    of("kubernetes", &json!({}), &[])
}

/// One of its nodes, which is the one scope that there can be.
pub(crate) fn node() -> Private {
    of("kubernetes-node", &json!({ "node": "node-a" }), &["C-21"])
}

fn of(name: &str, what: &Value, not_checked: &'static [&'static str]) -> Private {
    let home = Arc::new(Home::new(name));
    let etcd_url = format!("http://127.0.0.1:{}", free_port());
    let etcd = start_etcd(&home, &etcd_url);
    let port = free_port();
    let server = format!("https://127.0.0.1:{port}");
    let daemon = start_api_server(&home, &etcd_url, port);
    fill(&home, &server);
    let mut settings =
        json!({ "server": server, "ca_file": bed_file("tls/ca.pem"), "token": TOKEN, "cluster": "private" });
    settings.as_object_mut().expect("an object").extend(what.as_object().expect("an object").clone());
    Private {
        subject: Subject {
            daemon: Some(Arc::new(daemon)),
            secret: Some(SECRET.to_owned()),
            ..Subject::new::<KubernetesCollector>(settings)
        },
        not_checked,
        keep: vec![Box::new(etcd), Box::new(home)],
    }
}

/// Keys and certificates are the bed's; they are good for 127.0.0.1.
fn bed_file(name: &str) -> String {
    format!("{}/kubernetes/{name}", bed::RUN)
}

fn start_etcd(home: &Home, url: &str) -> Process {
    let (data, url, peer) = (home.path("etcd"), url.to_owned(), format!("http://127.0.0.1:{}", free_port()));
    let health = format!("{url}/health");
    let command = move || {
        let mut command = Command::new("/usr/bin/etcd");
        command.args(["--name", "private", "--data-dir", &data, "--unsafe-no-fsync", "--log-level", "warn"]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("private={peer}")]);
        command
    };
    Process::start("etcd", home.path("etcd.log"), command, move || curl(&[&health]).is_ok())
}

fn start_api_server(home: &Home, etcd: &str, port: u16) -> Process {
    let binary = fs::canonicalize(format!("{}/bin/kubectl", bed::RUN)).expect("the bed's kubectl");
    let binary = binary.with_file_name("kube-apiserver");
    let tokens = home.write("tokens.csv", &format!("{TOKEN},admin,admin,system:masters\n"));
    let arguments = [
        format!("--etcd-servers={etcd}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--tls-cert-file={}", bed_file("tls/server-cert.pem")),
        format!("--tls-private-key-file={}", bed_file("tls/server-key.pem")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", bed_file("service-account.pem")),
        format!("--service-account-signing-key-file={}", bed_file("service-account.pem")),
        format!("--token-auth-file={tokens}"),
        "--authorization-mode=RBAC".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        // There is no controller that would make the account.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
    ];
    let command = move || {
        let mut command = Command::new(&binary);
        command.args(&arguments);
        command
    };
    let server = format!("https://127.0.0.1:{port}");
    // The namespaces that every cluster has are made a moment after it says that it is ready.
    let needed = [
        "/readyz",
        "/api/v1/namespaces/kube-system",
        "/api/v1/namespaces/kube-public",
        "/api/v1/namespaces/kube-node-lease",
        "/api/v1/namespaces/default",
    ];
    let is_ready = move || needed.iter().all(|path| api(&[&format!("{server}{path}")]).is_ok());
    Process::start("kube-apiserver", home.path("kube-apiserver.log"), command, is_ready)
}

fn curl(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("/usr/bin/curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "50"]).args(arguments);
    tools::try_output(&mut command)
}

fn api(arguments: &[&str]) -> Result<String, String> {
    let (ca, token) = (bed_file("tls/ca.pem"), format!("Authorization: Bearer {TOKEN}"));
    curl(&[&["--cacert", ca.as_str(), "--header", &token][..], arguments].concat())
}

/// A node, and two namespaces with many pods.
fn fill(home: &Home, server: &str) {
    let mut requests = Requests { server, config: String::new() };
    requests.send("POST", "/api/v1/nodes", &json!({ "metadata": { "name": "node-a" } }));
    for namespace in ["shop", "team-a"] {
        requests.send("POST", "/api/v1/namespaces", &json!({ "metadata": { "name": namespace } }));
        for number in 0..40 {
            let pods = format!("/api/v1/namespaces/{namespace}/pods");
            let name = format!("pod-{number}");
            requests.send("POST", &pods, &pod(&name));
            requests.send("PATCH", &format!("{pods}/{name}/status"), &status(namespace, number));
        }
    }
    let file = home.write("requests", &requests.config);
    api(&["--config", &file]).unwrap_or_else(|error| panic!("{error}"));
}

/// Many requests for one curl.
struct Requests<'a> {
    server: &'a str,
    config: String,
}

impl Requests<'_> {
    fn send(&mut self, method: &str, path: &str, body: &Value) {
        if !self.config.is_empty() {
            self.config.push_str("next\n");
        }
        let kind = if method == "PATCH" { "merge-patch+json" } else { "json" };
        let body = body.to_string().replace('\\', "\\\\").replace('"', "\\\"");
        // `next` forgets what was said before it.
        write!(
            self.config,
            "silent\nshow-error\nfail\noutput = /dev/null\ncacert = {ca}\nheader = \"Authorization: Bearer {TOKEN}\"\n\
             header = \"Content-Type: application/{kind}\"\nrequest = {method}\nurl = {server}{path}\ndata = \"{body}\"\n",
            ca = bed_file("tls/ca.pem"),
            server = self.server,
        )
        .expect("a string takes all");
    }
}

fn pod(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "annotations": { "padding": padding() } },
        "spec": {
            "nodeName": "node-a",
            "containers": [
                { "name": "app", "image": bed::APP_IMAGE, "env": [{ "name": "KEY", "value": SECRET }], "command": ["/bin/hold", SECRET] },
                { "name": "side", "image": bed::SIDE_IMAGE },
                { "name": "waiting", "image": "example.com/bed/never:1.0" },
            ],
        },
    })
}

/// As a kubelet reports a pulled image, one that was loaded, and one that cannot be had.
fn status(namespace: &str, number: u32) -> Value {
    let running = |name: &str, image: &str, image_id: String| {
        json!({
            "name": name, "image": image, "imageID": image_id, "ready": true, "restartCount": 1, "started": true,
            "containerID": format!("containerd://{namespace}-{name}-{number}"),
            "state": { "running": { "startedAt": "2024-01-01T00:00:00Z" } },
        })
    };
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    json!({ "status": {
        "phase": "Running", "startTime": "2024-01-01T00:00:00Z",
        "containerStatuses": [
            running("app", bed::APP_IMAGE, format!("127.0.0.1:15000/team/app@{}", digest("a"))),
            running("side", bed::SIDE_IMAGE, digest("b")),
            { "name": "waiting", "image": "example.com/bed/never:1.0", "imageID": "", "ready": false, "restartCount": 0,
              "state": { "waiting": { "reason": "ImagePullBackOff" } } },
        ],
    } })
}
