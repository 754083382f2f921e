use std::{collections::BTreeMap, fs};

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A certificate authority made for these tests: `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes
/// -days 36500 -subj /CN=test`; its key was thrown away.
const CA: &str = include_str!("../../testdata/ca.crt");

struct Bench {
    directory: TempDir,
    context: Context,
}

impl Bench {
    fn new() -> Self {
        // What the agent's main does, before it builds any collector.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let environment = Environment { home: Some(directory.path().to_owned()), ..Environment::default() };
        Self { directory, context: Context { environment, ..Context::default() } }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.context.environment.variables.insert(name.into(), value.into());
        self
    }

    fn resolve(&self, settings: serde_json::Value) -> Result<Target, ConfigError> {
        resolve(&ConfigError::deserialize(settings).unwrap(), &self.context)
    }

    fn complaint(&self, settings: serde_json::Value) -> ConfigError {
        self.resolve(settings).unwrap_err()
    }
}

const KUBECONFIG: &str = r#"
clusters:
- {name: one, cluster: {server: "http://one:8080"}}
- {name: two, cluster: {server: "http://two:8080"}}
- {name: bare, cluster: {}}
users:
- {name: someone, user: {tokenFile: token}}
contexts:
- {name: first, context: {cluster: one, user: someone, namespace: shop}}
- {name: second, context: {cluster: two}}
- {name: lost-cluster, context: {cluster: gone}}
- {name: lost-user, context: {cluster: one, user: gone}}
- {name: no-server, context: {cluster: bare}}
current-context: first
"#;

#[test]
fn a_kubeconfig_names_cluster_namespace_and_credentials() {
    let bench = Bench::new();
    let path = bench.file("config", KUBECONFIG);
    let token = bench.file("token", "secret\n");
    let target = bench.resolve(json!({"kubeconfig": path})).unwrap();
    assert_eq!(target.peer.server, "http://one:8080");
    assert_eq!(target.peer.credentials, format!("user `someone` in `{path}`"));
    assert_eq!((target.cluster_name.as_deref(), target.own_namespace.as_str()), (Some("one"), "shop"));
    assert_eq!(target.token_file, Some(token.into()), "relative to the kubeconfig, and read by us");
    assert!(target.config.auth_info.token_file.is_none() && !target.config.default_retry);

    let target = bench.resolve(json!({"kubeconfig": path, "context": "second", "cluster": "prod"})).unwrap();
    assert_eq!((target.peer.server.as_str(), target.cluster_name.as_deref()), ("http://two:8080", Some("prod")));
    assert_eq!(target.own_namespace, "default");
}

#[test]
fn the_default_is_kubectls() {
    let bench = Bench::new();
    bench.file(".kube/config", &KUBECONFIG.replace("current-context: first", "current-context: second"));
    assert_eq!(bench.resolve(json!({})).unwrap().peer.server, "http://two:8080");

    // A list is merged, what comes first wins, and what does not exist is passed over.
    let first = bench.file("a", "current-context: first");
    let second = bench.file("b", KUBECONFIG);
    let list = format!("{first}::/does/not/exist:{second}");
    let bench = bench.variable("KUBECONFIG", &list);
    assert_eq!(bench.resolve(json!({})).unwrap().peer.server, "http://one:8080");
    assert_eq!(bench.resolve(json!({"context": "second"})).unwrap().peer.server, "http://two:8080");
    assert_eq!(bench.resolve(json!({"kubeconfig": list})).unwrap().peer.server, "http://one:8080");
}

#[test]
fn nothing_configured_says_where_was_looked() {
    let text = Bench::new().complaint(json!({})).to_string();
    assert!(text.starts_with("no cluster is configured: the agent runs in no pod"), "{text}");
    assert!(text.contains("/.kube/config`; set `kubeconfig`, or `server`"), "{text}");
    let text = Bench::new().variable("KUBECONFIG", "/does/not/exist").complaint(json!({})).to_string();
    assert_eq!(
        text,
        "cannot read `/does/not/exist`: No such file or directory (os error 2); correct the path, or create the file"
    );
}

#[test]
fn a_kubeconfig_that_leads_nowhere_is_named() {
    let bench = Bench::new();
    let path = bench.file("config", KUBECONFIG);
    let error = bench.complaint(json!({"kubeconfig": path, "context": "frist"}));
    assert_eq!((error.path.as_str(), error.hint.as_deref()), ("context", Some("did you mean `first`?")));
    assert!(
        error.message.starts_with(&format!("`{path}` has no context `frist`, it has `first`, `second`")),
        "{error}"
    );
    for (context, problem) in [
        ("lost-cluster", "names the cluster `gone`, which it does not have"),
        ("lost-user", "names the user `gone`, which it does not have"),
        ("no-server", "has a bad `server`"),
    ] {
        let error = bench.complaint(json!({"kubeconfig": path, "context": context}));
        assert!(error.message.starts_with(&format!("context `{context}` of `{path}` {problem}")), "{error}");
    }

    let empty = bench.file("empty", "");
    assert_eq!(bench.complaint(json!({"kubeconfig": empty})).path, "context");
    let garbage = bench.file("garbage", "clusters: [what");
    let error = bench.complaint(json!({"kubeconfig": garbage}));
    assert!(
        error.path == "kubeconfig" && error.message.starts_with(&format!("`{garbage}` is not a kubeconfig")),
        "{error}"
    );
    let error = bench.complaint(json!({"kubeconfig": "~/config"}));
    assert!(error.path == "kubeconfig" && error.to_string().ends_with("`~` is not understood here"), "{error}");
}

#[test]
fn files_of_an_explicit_server_are_checked() {
    let bench = Bench::new();
    let complaint = |settings: serde_json::Value| bench.complaint(settings).to_string();
    let empty = bench.file("empty", "\n");
    let server = "https://10.0.0.1:6443";
    assert_eq!(
        complaint(json!({"server": server, "ca_file": "/does/not/exist"})),
        "ca_file: cannot read `/does/not/exist`: No such file or directory (os error 2); correct the path, or create the file"
    );
    assert!(complaint(json!({"server": server, "ca_file": empty})).contains("holds no certificate"));
    assert!(complaint(json!({"server": server, "token_file": "/no"})).starts_with("token_file: cannot read `/no`"));
    assert!(
        complaint(json!({"server": server, "token_file": empty})).ends_with("is empty; write the bearer token into it")
    );
    for bad in ["10.0.0.1:6443", "ftp://x", "https://", "not a url"] {
        let text = complaint(json!({"server": bad}));
        assert!(text.starts_with(&format!("server: `{bad}` ")) && text.contains("https://10.0.0.1:6443"), "{text}");
    }

    let ca = bench.file("ca.crt", CA);
    let token = bench.file("token", "secret");
    let target = bench.resolve(json!({"server": server, "ca_file": ca, "token_file": token})).unwrap();
    assert_eq!(target.config.root_cert_file, Some(PathBuf::from(ca)), "kube reads it again when it changes");
    assert_eq!((target.token_file, target.cluster_name), (Some(PathBuf::from(token)), None));
}

#[test]
fn certificates_that_cannot_be_used_are_a_mistake_in_the_configuration() {
    let bench = Bench::new();
    let ca = bench.file("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let text = bench.complaint(json!({"server": "https://10.0.0.1", "ca_file": ca})).to_string();
    assert!(text.starts_with("the certificates for the API server at https://10.0.0.1 cannot be used"), "{text}");
}

#[test]
fn a_pod_is_told_by_its_environment_and_service_account() {
    let environment = |host: &str| Environment {
        variables: BTreeMap::from([("KUBERNETES_SERVICE_HOST".into(), host.into())]),
        ..Environment::default()
    };
    // These tests do not run in a pod, so that there is no token.
    assert_eq!(in_cluster_url(&environment("10.96.0.1")), None);

    let bench = Bench::new();
    bench.file("ca.crt", CA);
    bench.file("token", "secret");
    bench.file("namespace", "stocktake\n");
    let mut target = in_cluster("https://10.96.0.1:443", bench.directory.path()).unwrap();
    take_over_token_file(&mut target);
    assert_eq!(target.peer.server, "https://10.96.0.1:443");
    assert_eq!((target.own_namespace.as_str(), target.cluster_name), ("stocktake", None));
    assert_eq!(target.token_file, Some(bench.directory.path().join("token")));
}

#[test]
fn a_proxy_of_the_environment_is_used_for_an_explicit_server() {
    let bench = Bench::new().variable("HTTP_PROXY", "http://proxy:3128");
    let target = bench.resolve(json!({"server": "http://k8s.example.com"})).unwrap();
    assert_eq!(target.config.proxy_url.map(|url| url.to_string()).as_deref(), Some("http://proxy:3128/"));
}
