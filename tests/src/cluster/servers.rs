//! The two processes of a cluster: how they are started, and when they are ready.

use std::{path::Path, process::Command};

use super::{ADMIN, AGENT, Options, bed_functions};
use crate::{
    daemon::{Process, free_port},
    home::Home,
    tools,
};

/// The certificates of the API server, and the key of its service accounts.
pub(super) fn make_keys(home: &Home) {
    bed_functions(". ./tls.sh; tls_make \"$1\" IP:127.0.0.1", &[&home.path("tls")]);
    let mut openssl = Command::new("/usr/bin/openssl");
    // The form of `ecparam`, because this Kubernetes cannot read the other one here.
    openssl.args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &home.path("service-account.pem")]);
    tools::output(&mut openssl);
}

pub(super) fn start_etcd(home: &Home, url: &str) -> Process {
    let (data, url, peer) = (home.path("etcd"), url.to_owned(), format!("http://127.0.0.1:{}", free_port()));
    let health = format!("{url}/health");
    let command = move || {
        let mut command = Command::new("/usr/bin/etcd");
        command.args(["--name", "private", "--data-dir", &data, "--unsafe-no-fsync", "--log-level", "warn"]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("private={peer}")]);
        // 8 GiB, the most that etcd advises: 50,000 pods in several versions are more than its default.
        command.args(["--quota-backend-bytes", "8589934592"]);
        command
    };
    let is_ready = move || {
        let mut curl = Command::new("/usr/bin/curl");
        tools::try_output(curl.args(["--silent", "--fail", "--max-time", "5", &health])).is_ok()
    };
    Process::start("etcd", home.path("etcd.log"), command, is_ready)
}

/// The tokens are in `tokens.csv` of `home`, and read at each start.
pub(super) fn start_api_server(home: &Home, etcd: &str, port: u16, options: Options) -> Process {
    let binary = binary();
    let arguments = arguments(home, etcd, port, options);
    let command = move || {
        let mut command = Command::new(&binary);
        command.args(&arguments);
        command
    };
    let (server, ca) = (format!("https://127.0.0.1:{port}"), home.path("tls/ca.pem"));
    let is_ready = move || {
        // The namespaces that every cluster has are made a moment after it says that it is ready.
        let namespaces = ["kube-system", "kube-public", "kube-node-lease", "default"];
        let namespaces = namespaces.map(|name| format!("/api/v1/namespaces/{name}"));
        let mut curl = Command::new("/usr/bin/curl");
        curl.args(["--silent", "--fail", "--fail-early", "--max-time", "5", "--output", "/dev/null"]);
        curl.args(["--cacert", &ca, "--header", &format!("Authorization: Bearer {ADMIN}")]);
        curl.arg(format!("{server}/readyz"));
        for path in namespaces {
            curl.args(["--output", "/dev/null", &format!("{server}{path}")]);
        }
        tools::try_output(&mut curl).is_ok()
    };
    Process::start("kube-apiserver", home.path("kube-apiserver.log"), command, is_ready)
}

fn arguments(home: &Home, etcd: &str, port: u16, options: Options) -> Vec<String> {
    let service_account = home.path("service-account.pem");
    let mut arguments = vec![
        format!("--etcd-servers={etcd}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--tls-cert-file={}", home.path("tls/server-cert.pem")),
        format!("--tls-private-key-file={}", home.path("tls/server-key.pem")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={service_account}"),
        format!("--service-account-signing-key-file={service_account}"),
        format!("--token-auth-file={}", home.path("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        // There is no controller that would make the account.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        // Filling a cluster is not what is measured or tried.
        "--max-requests-inflight=2000".to_owned(),
        "--max-mutating-requests-inflight=1000".to_owned(),
    ];
    if options.audited {
        let policy = home.write("audit-policy.yaml", &audit_policy());
        arguments.push(format!("--audit-policy-file={policy}"));
        arguments.push(format!("--audit-log-path={}", home.path("audit.log")));
    }
    arguments
}

fn audit_policy() -> String {
    format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n  users: [{AGENT}]\n- level: None\n")
}

/// The bed's build of Kubernetes.
pub(super) fn binary() -> String {
    let path = bed_functions(". ./lib.sh; . ./kubernetes-build.sh; printf %s \"$KUBERNETES_BIN\"", &[]);
    let path = format!("{path}/kube-apiserver");
    assert!(
        Path::new(&path).is_file() && Path::new("/usr/bin/etcd").is_file(),
        "there is no {path} or no /usr/bin/etcd: run `sudo tests/bed/bed install kubernetes`, which builds and installs \
         them; STOCKTAKE_BED_SKIP=kubernetes goes without"
    );
    path
}
