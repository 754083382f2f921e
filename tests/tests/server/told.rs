//! Who watches is told: from a pod of the bed's cluster to the receiver of a webhook, though the receiver is down and the server is
//! killed.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use stocktake_tests::{
    agent::Agent,
    bed,
    cleanup::Cleanup,
    hooks::{ALLOWED, Hook, Hooks},
    needs,
    running::Running,
    server::{PASSWORD, Server, cli},
    tools, wait_until,
};

/// What docs/server.md tells receivers to do, with the secret, the head and the body as arguments.
const SIGNATURE: &str = r#"
import base64, hashlib, hmac, sys, time
secret, id, timestamp, signature = sys.argv[1:]
body = sys.stdin.buffer.read()
key = base64.b64decode(secret.removeprefix("whsec_"))
signed = f"{id}.{timestamp}.".encode() + body
right = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
assert hmac.compare_digest(right, signature), (right, signature)
assert abs(time.time() - int(timestamp)) < 300
"#;

fn is_signed(hook: &Hook, secret: &str) {
    let mut python = Command::new("python3");
    python.args(["-c", SIGNATURE, secret, &hook.id, &hook.timestamp, &hook.signature]);
    let mut child = python.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python3");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&hook.body).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn run_pod(namespace: &str, name: &str, image: &str) {
    let mut run = tools::kubectl();
    run.args(["run", name, "-n", namespace, "--image", image, "--image-pull-policy", "Never"]);
    let _ = tools::output(&mut run);
}

/// Numbers of events, as they came.
fn numbers(hooks: &[Hook]) -> Vec<i64> {
    hooks.iter().map(|hook| hook.event()["data"]["id"].as_i64().expect("an event's number")).collect()
}

fn asked(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let answer = server.ask(method, path, body);
    assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// Waits for an event about this entity with this image.
fn wait_for(hooks: &Hooks, kind: &str, entity: &str, image: &str) -> Hook {
    let mut found = None;
    wait_until(&format!("{kind} of {image}"), || {
        found = hooks.behind(0).into_iter().find(|hook| {
            let event = hook.event();
            event["type"] == kind && event["data"][entity]["image"] == image
        });
        found.is_some()
    });
    found.unwrap()
}

/// What the log has of a context.
fn log_of(server: &Server, context: &str) -> Vec<Value> {
    let changes = asked(server, "GET", &format!("/v1/changes?context={context}&limit=1000"), &Value::Null);
    changes["items"].as_array().unwrap().clone()
}

/// A watch, made as people make it, that is told at a webhook; and the secret that it signs with.
fn watch(server: &Server, context: &str) -> (Hooks, String) {
    let mut activate = Command::new(cli());
    activate.args(["inventory", "watch", "activate", context]).env("STOCKTAKE_URL", server.url());
    let _ = tools::output(activate.env("STOCKTAKE_USER", "admin").env("STOCKTAKE_PASSWORD", PASSWORD));
    let watches = asked(server, "GET", "/v1/subscriptions", &Value::Null);
    let path = format!("/v1/subscriptions/{}", watches["items"][0]["id"]);
    let hooks = Hooks::start();
    let watch = asked(server, "PATCH", &path, &json!({"channel": {"type": "webhook", "url": hooks.url()}}));
    let secret = watch["secret"].as_str().expect("the secret is told once");
    (hooks, secret.to_owned())
}

fn agent(server: &Server, namespace: &str) -> Running {
    let token = asked(server, "POST", "/v1/tokens", &json!({"name": "agent", "role": "inventory-agent"}));
    let config = format!(
        "[agent]\nspool_dir = '{}'\n[telemetry]\nlisten = 'off'\nsocket = 'off'\n[targets.stocktake]\nurl = '{}'\ntoken = '{}'\n\
         [collectors.kubernetes]\nkubeconfig = '{}'\ncluster = 'bed'\nnamespaces = ['{namespace}']\n",
        server.folder().join("spool").display(),
        server.url(),
        token["secret"].as_str().unwrap(),
        bed::kubeconfig("admin"),
    );
    Agent::with_config("run", &config, &[]).start()
}

fn is_told(mut server: Server) {
    let namespace = format!("told-{}", uuid::Uuid::now_v7().simple());
    let _ = tools::output(tools::kubectl().args(["create", "namespace", &namespace]));
    // Other suites look at the whole cluster: it is waited for.
    let _cleanup = Cleanup::new(|| {
        let mut delete = tools::kubectl();
        drop(tools::try_output(delete.args(["delete", "namespace", &namespace, "--now", "--timeout=5m"])));
    });
    let context = format!("bed/{namespace}");
    let (watching, secret) = watch(&server, &context);
    let hooks = Hooks::start();
    let channel = json!({"type": "webhook", "url": hooks.url()});
    let all = json!({"name": "all of it", "on": {"context": context}, "channel": channel});
    let _ = asked(&server, "POST", "/v1/subscriptions", &all);
    let agent = agent(&server, &namespace);
    run_pod(&namespace, "first", bed::APP_IMAGE);
    is_signed(&wait_for(&watching, "stocktake.image.appeared", "image", bed::APP_IMAGE), &secret);
    let _ = wait_for(&hooks, "stocktake.container.appeared", "container", bed::APP_IMAGE);

    // The receiver goes, something happens, the server is killed and comes back, something else happens, the receiver comes back.
    let address = hooks.address();
    let before = hooks.stop();
    run_pod(&namespace, "second", bed::SIDE_IMAGE);
    let is_logged = |server: &Server, change: &str, image: &str| {
        log_of(server, &context).iter().any(|one| one["change"] == change && one["container"]["image"] == image)
    };
    wait_until("the second pod to be in the log", || is_logged(&server, "appeared", bed::SIDE_IMAGE));
    server.kill9();
    let _ = tools::output(tools::kubectl().args(["delete", "pod", "-n", &namespace, "first", "--now"]));
    server.restart();
    wait_until("the first pod to be gone", || is_logged(&server, "disappeared", bed::APP_IMAGE));
    drop(agent.terminate());
    let hooks = Hooks::at(address);
    let _ = wait_for(&hooks, "stocktake.image.appeared", "image", bed::SIDE_IMAGE);
    let _ = wait_for(&hooks, "stocktake.container.disappeared", "container", bed::APP_IMAGE);

    let _ = wait_for(&watching, "stocktake.image.appeared", "image", bed::SIDE_IMAGE);
    let kinds: BTreeSet<String> = watching.behind(0).iter().map(|hook| hook.event()["type"].to_string()).collect();
    assert_eq!(
        kinds,
        BTreeSet::from(["\"stocktake.image.appeared\"".to_owned()]),
        "a watch is told of new images alone"
    );

    // All of the log, each event once at the least, and in its order.
    let logged: BTreeSet<i64> =
        log_of(&server, &context).iter().map(|one| one["id"].as_i64().expect("its number")).collect();
    wait_until("what is left", || numbers(&hooks.behind(0)).last() == logged.last());
    let told = [numbers(&before), numbers(&hooks.behind(0))].concat();
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), logged, "{told:?}");
}

#[test]
fn a_watch_is_told_of_a_new_image_and_misses_nothing_over_sqlite() {
    needs!("containerd", "kubernetes");
    is_told(Server::sqlite_with(ALLOWED));
}

#[test]
fn a_watch_is_told_of_a_new_image_and_misses_nothing_over_postgresql() {
    needs!("containerd", "kubernetes", "postgresql");
    is_told(Server::postgres_with(ALLOWED));
}
