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
- {name: one, cluster: {server: "https://one:6443"}}
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
    assert_eq!(target.peer.server, "https://one:6443");
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
    assert_eq!(bench.resolve(json!({})).unwrap().peer.server, "https://one:6443");
    assert_eq!(bench.resolve(json!({"context": "second"})).unwrap().peer.server, "http://two:8080");
    assert_eq!(bench.resolve(json!({"kubeconfig": list})).unwrap().peer.server, "https://one:6443");
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
fn nothing_of_a_broken_kubeconfig_is_repeated() {
    const SECRET: &str = "hunter2hunter2";
    let bench = Bench::new();
    let user = |user: &str| {
        format!(
            "clusters: [{{name: c, cluster: {{server: 'https://k8s:6443'}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n\
             users:\n- name: u\n  user:\n{user}\n"
        )
    };
    let certificate = |key: &str| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let (ca, key) = (STANDARD.encode(CA), STANDARD.encode(key));
        user(&format!("    client-certificate-data: {ca}\n    client-key-data: {key}"))
    };
    for broken in [
        user(&format!("    token: \"{SECRET}\n    password: x")),
        user(&format!("    token: {SECRET}\n   password: {SECRET}\n  - x")),
        user(&format!("    token: [{SECRET}]")),
        user(&format!("    as-groups: {SECRET}")),
        user(&format!("  {SECRET}: [")),
        format!("users: {SECRET}"),
        format!("{SECRET}: *{SECRET}"),
        SECRET.to_owned(),
        user(&format!("    client-certificate-data: x\n    client-key-data: '{SECRET}!'")),
        user(&format!("    client-certificate-data: ''\n    client-key-data: '{SECRET}!'")),
        // A key whose line breaks were lost.
        certificate(&format!("-----BEGIN PRIVATE KEY-----{SECRET}-----END PRIVATE KEY-----")),
        certificate(&format!("-----BEGIN PRIVATE KEY-----{SECRET}")),
        certificate(&format!("-----BEGIN {SECRET}-----\nAAAA\n")),
    ] {
        let path = bench.file("config", &broken);
        let error = bench.resolve(json!({"kubeconfig": path})).expect_err(&broken);
        let text = format!("{error} {error:?} {error:#?}");
        assert!(!text.contains(SECRET) && !text.contains("104, 117, 110"), "{broken}\n{text}");
        assert!(text.contains(&path) || text.contains("https://k8s:6443"), "{broken}\n{text}");
        assert!(!error.to_string().contains('\n') && text.len() < 3000, "{text}");
    }
    let path = bench.file("config", &user(&format!("    token: \"{SECRET}\"\n   password: x")));
    let text = bench.complaint(json!({"kubeconfig": path})).to_string();
    assert!(text.contains("line 8"), "{text}");
}

#[test]
fn a_password_in_a_url_is_not_repeated() {
    let bench = Bench::new();
    for server in [
        "https://user:hunter2@10.0.0.1:6443",
        "https://hunter2@10.0.0.1",
        "user:hunter2@10.0.0.1",
        "ftp://user:hunter2@10.0.0.1",
        "https://user:hun/ter2@10.0.0.1",
        "https://user:x@hunter2@10.0.0.1",
        "user:hunter2://x@10.0.0.1",
        "https://user:hunter2@10.0.0.1 x",
    ] {
        let config = bench.file("config", &KUBECONFIG.replace("http://two:8080", server));
        let inputs = [json!({"server": server}), json!({"kubeconfig": config, "context": "second"})];
        for error in inputs.map(|settings| bench.complaint(settings)) {
            let text = format!("{error} {error:?}");
            assert!(!text.contains("hunter2") && !text.contains("ter2"), "{text}");
            assert!(text.contains("…@10.0.0.1"), "{text}");
        }
    }
    let text = bench.complaint(json!({"server": "https://user:hunter2@10.0.0.1:6443"})).to_string();
    assert!(text.starts_with("server: `https://…@10.0.0.1:6443` has a user name"), "{text}");
}

#[test]
fn credentials_are_not_sent_unencrypted_to_another_machine() {
    let bench = Bench::new();
    let token = bench.file("token", "hunter2");
    let complaint = |settings: serde_json::Value| {
        let text = bench.complaint(settings).to_string();
        assert!(text.contains("http://k8s:8080") && text.contains("unencrypted"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        text
    };
    let text = complaint(json!({"server": "http://k8s:8080", "token_file": token}));
    assert!(text.starts_with("server: ") && text.contains(&format!("`token_file` {token}")), "{text}");
    complaint(json!({"server": "http://k8s:8080", "token": "hunter2"}));
    for user in [
        "tokenFile: token",
        "token: hunter2",
        "username: u, password: hunter2",
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}",
        "auth-provider: {name: oidc, config: {}}",
        "client-certificate: a, client-key: b",
    ] {
        let text = KUBECONFIG.replace("https://one:6443", "http://k8s:8080").replace("tokenFile: token", user);
        let path = bench.file("config", &text);
        complaint(json!({"kubeconfig": path}));
    }
    // What listens on this machine's loopback is reached without a network.
    for server in ["http://127.0.0.1:8001", "http://localhost:8001", "http://LOCALHOST", "http://[::1]:8001"] {
        let target = bench.resolve(json!({"server": server, "token": "hunter2"})).unwrap();
        assert_eq!(target.warnings.len(), 1, "{server}");
        assert!(target.warnings[0].message.contains("unencrypted"), "{:?}", target.warnings);
    }
    // Behind a proxy it is the proxy's loopback.
    let proxied = KUBECONFIG.replace(r#""https://one:6443""#, r#""http://127.0.0.1:8001", proxy-url: "http://p:1""#);
    let path = bench.file("config", &proxied);
    assert!(bench.complaint(json!({"kubeconfig": path})).message.contains("unencrypted"));
}

#[test]
fn a_connection_that_protects_nothing_is_remarked_on() {
    let bench = Bench::new();
    let warnings = |server: &str, insecure: &str| -> Vec<String> {
        let text = KUBECONFIG.replace("\"http://two:8080\"", &format!("\"{server}\"{insecure}"));
        let path = bench.file("config", &text);
        let target = bench.resolve(json!({"kubeconfig": path, "context": "second"})).unwrap();
        target.warnings.into_iter().map(|warning| warning.message).collect()
    };
    let skip = ", insecure-skip-tls-verify: true";
    let text = warnings("https://two:6443", skip);
    assert!(text.len() == 1 && text[0].contains("`insecure-skip-tls-verify: true`"), "{text:?}");
    assert!(text[0].contains("https://two:6443"), "{text:?}");
    let text = warnings("http://two:8080", skip);
    assert!(text.len() == 1 && text[0].contains("unencrypted"), "{text:?}");
    assert_eq!(warnings("https://two:6443", ", insecure-skip-tls-verify: false"), [""; 0]);
    assert_eq!(warnings("http://127.0.0.1:8080", skip), [""; 0], "there is neither TLS nor anything to protect");
}

/// Reading a named pipe to which nobody writes takes for ever.
#[test]
fn what_is_no_regular_file_is_refused_before_it_is_read() {
    use std::{os::unix::fs::symlink, process::Command, sync::mpsc, thread, time::Duration};

    let bench = Bench::new();
    let pipe = bench.directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    symlink(&pipe, bench.directory.path().join("link")).unwrap();
    let link = bench.directory.path().join("link").display().to_string();
    let server = "https://10.0.0.1:6443";
    let of_cluster = KUBECONFIG.replace("tokenFile: token", "token: x");
    let user = |user: &str| of_cluster.replace("token: x", user);
    let files = [
        of_cluster.replace("6443\"", "6443\", certificate-authority: pipe"),
        user("tokenFile: pipe"),
        user("client-certificate: pipe, client-key: token"),
        user(&format!("client-certificate: {}, client-key: link", bench.file("ca.crt", CA))),
    ];
    let kubeconfigs = files.iter().enumerate().map(|(n, text)| bench.file(&format!("config{n}"), text));
    let mut all: Vec<_> = kubeconfigs.map(|path| json!({ "kubeconfig": path })).collect();
    all.extend([
        json!({"kubeconfig": link}),
        json!({"kubeconfig": format!("{}:{link}", bench.file("token", "current-context: x"))}),
        json!({"server": server, "token_file": link}),
        json!({"server": server, "ca_file": link}),
    ]);
    for settings in all {
        let (sender, receiver) = mpsc::channel();
        let (context, given) = (bench.context.clone(), settings.clone());
        thread::spawn(move || sender.send(resolve(&ConfigError::deserialize(given).unwrap(), &context).unwrap_err()));
        let error = receiver.recv_timeout(Duration::from_mins(1)).unwrap_or_else(|_| panic!("{settings} hangs"));
        let text = error.to_string();
        assert!(text.contains("it is a named pipe, not a regular file"), "{settings}: {text}");
    }
    let directory = bench.directory.path().display().to_string();
    let text = bench.complaint(json!({"server": server, "token_file": directory})).to_string();
    assert!(text.starts_with(&format!("token_file: cannot read `{directory}`: it is a directory")), "{text}");
    let text = bench.complaint(json!({"server": server, "ca_file": "/dev/zero"})).to_string();
    assert!(text.contains("it is a device"), "{text}");
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

#[test]
fn a_proxy_that_is_required_is_not_done_without() {
    let proxied = || Bench::new().variable("HTTPS_PROXY", "http://proxy:3128");
    let settings = || json!({"server": "https://k8s.example.com", "proxy_required": true});
    assert!(proxied().resolve(settings()).unwrap().config.proxy_url.is_some());
    for bench in [Bench::new(), proxied().variable("NO_PROXY", ".example.com")] {
        let error = bench.complaint(settings());
        assert_eq!(error.path, "proxy_required");
        assert!(error.message.contains("https://k8s.example.com"), "{error}");
    }
}

#[test]
fn a_kubeconfig_that_is_given_leads_to_no_file_and_no_program() {
    let bench = Bench::new();
    let given = |cluster: &str, user: &str| {
        let text = format!(
            "clusters: [{{name: a, cluster: {{server: 'https://a:6443', {cluster}}}}}]\n\
             users: [{{name: b, user: {{{user}}}}}]\n\
             contexts: [{{name: c, context: {{cluster: a, user: b}}}}, {{name: d, context: {{cluster: a}}}}]\n\
             current-context: c\n"
        );
        json!({"kubeconfig_data": text})
    };
    let target = bench.resolve(given("", "token: hunter2")).unwrap();
    assert_eq!((target.peer.server.as_str(), target.cluster_name.as_deref()), ("https://a:6443", Some("a")));
    assert!(target.config.auth_info.token.is_some() && !format!("{:?}", target.config).contains("hunter2"));
    // It is there: what is refused is that it is named.
    let file = bench.file("secret", CA);
    for (key, cluster, user) in [
        ("certificate-authority", format!("certificate-authority: {file}"), String::new()),
        ("client-certificate", String::new(), format!("client-certificate: {file}")),
        ("client-key", String::new(), format!("client-key: {file}")),
        ("tokenFile", String::new(), format!("tokenFile: {file}")),
        ("exec", String::new(), format!("exec: {{apiVersion: client.authentication.k8s.io/v1, command: {file}}}")),
        ("auth-provider", String::new(), "auth-provider: {name: gcp}".to_owned()),
    ] {
        let settings = given(&cluster, &user);
        let complaint = bench.complaint(settings.clone());
        assert!(complaint.message.contains(&format!("its `{key}` ")), "{complaint}");
        assert!(!complaint.to_string().contains(&file), "{complaint}");
        // Of a context that is not chosen nothing is used.
        let mut other = settings;
        other["context"] = json!("d");
        assert_eq!(bench.resolve(other).is_ok(), cluster.is_empty(), "{key}");
    }
    let complaint = bench.complaint(json!({"kubeconfig_data": "token: [hunter2"}));
    assert!(complaint.path == "kubeconfig_data" && !complaint.to_string().contains("hunter2"), "{complaint}");
}
