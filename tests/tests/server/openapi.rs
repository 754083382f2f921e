//! The interface against its own description: schemathesis reads it, and asks what it allows and what it does not.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use stocktake_tests::{
    needs,
    server::{PASSWORD, Server},
};

/// Left out of all checks: that requests without credentials are refused, since log-ins that fail are throttled (the server's own
/// tests walk every route without credentials); that everything is accepted which the description allows, since it cannot say
/// where a page has ended.
const WITHOUT: &str = "ignored_auth,positive_data_acceptance";

/// Requests of an operation, at the most, beside those that cover its description.
const EXAMPLES: &str = "40";

fn post(server: &Server, account: &str, path: &str, body: &Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let body = body.to_string();
    let account = if account.is_empty() { String::new() } else { format!("x-anchore-account: {account}\r\n") };
    let credentials = STANDARD.encode(format!("admin:{PASSWORD}"));
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic {credentials}\r\n{account}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 2"), "{path}: {answer}");
}

/// Something of everything in the account `shop`.
fn fill(server: &Server) {
    post(server, "", "/v1/accounts", &json!({"name": "shop"}));
    let uid = |end: u32| format!("0190f0c4-7b1e-7cc2-8f1e-{end:012}");
    let digest = format!("sha256:{}", "7e".repeat(32));
    let now = Timestamp::now().to_string();
    let pod =
        json!({"uid": uid(1), "name": "web", "namespace_uid": uid(2), "node_uid": uid(3), "labels": {"app": "web"}});
    let container = json!({"id": format!("containerd://{}", "5f".repeat(32)), "name": "app", "image_tag": "nginx:1.25",
        "image_digest": digest, "pod_uid": uid(1)});
    let kubernetes = json!({"cluster_name": "prod", "timestamp": now, "pods": [pod], "containers": [container],
        "namespaces": [{"uid": uid(2), "name": "shop"}], "nodes": [{"uid": uid(3), "name": "node-1"}]});
    post(server, "shop", "/v2/kubernetes-inventory", &kubernetes);
    let ecs = json!({"timestamp": now, "cluster_arn": "arn:prod", "services": [{"arn": "arn:s/web"}],
        "tasks": [{"arn": "arn:t/1", "service_arn": "arn:s/web"}],
        "containers": [{"arn": "arn:c/1", "image_tag": "nginx:1.25", "task_arn": "arn:t/1", "image_digest": digest}]});
    post(server, "shop", "/v2/ecs-inventory", &ecs);
    post(server, "shop", "/v1/users", &json!({"name": "jo", "role": "read-only", "password": PASSWORD}));
    post(server, "shop", "/v1/tokens", &json!({"name": "agent", "role": "inventory-agent"}));
}

fn asks(server: &Server, arguments: &[&str]) {
    let program = std::env::var_os("STOCKTAKE_SCHEMATHESIS");
    let program = program
        .expect("STOCKTAKE_SCHEMATHESIS names the program; tests/run sets it to what tests/schemathesis/install says");
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis");
    let mut command = Command::new(program);
    command.current_dir(server.folder()).env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONPATH", hooks);
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg("run").arg(format!("{}/v1/openapi.json", server.url()));
    command.args(["--auth", &format!("admin:{PASSWORD}"), "--seed", "1", "--max-examples", EXAMPLES, "--no-color"]);
    // A server on a slow machine does as it is described, too.
    command.args(["--request-timeout", "60", "--suppress-health-check", "too_slow"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--checks", "all", "--exclude-checks", WITHOUT]);
    // An answer that has no end.
    command.args(["--exclude-path", "/v1/events"]);
    let output = command.args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}\n{}", String::from_utf8_lossy(&output.stderr), server.told());
    assert!(told.contains("passed"), "{told}");
}

fn is_as_it_is_described(server: &Server) {
    fill(server);
    // Who asks is of another account than what is removed and changed.
    asks(server, &["--header", "x-anchore-account: shop"]);
    // Nobody sees to accounts in another one.
    asks(server, &["--include-path-regex", "^/v1/accounts"]);
    assert_eq!(server.get("/readyz").status, 200, "{}", server.told());
    let panics = server.told().matches("panicked").count();
    assert_eq!(panics, 0, "{}", server.told());
}

const CONFIG: &str = "[limits]\nrequests_per_second = 0\n";

#[test]
fn the_interface_is_as_it_is_described_over_sqlite() {
    is_as_it_is_described(&Server::sqlite_with(CONFIG));
}

#[test]
fn the_interface_is_as_it_is_described_over_postgresql() {
    needs!("postgresql");
    is_as_it_is_described(&Server::postgres_with(CONFIG));
}
