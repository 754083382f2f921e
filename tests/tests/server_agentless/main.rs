//! The server looks at the bed's real cluster itself: with a token that may no more than an agent's, and with replicas that die.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

#[path = "../kubernetes/account.rs"]
#[allow(dead_code, reason = "what the kubernetes suite asks of it besides")]
mod account;
mod docker;

use std::{
    collections::BTreeSet,
    fs,
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stocktake_tests::{
    bed, needs,
    server::{Server, command, psql_in},
    tools,
};

use self::account::{Account, SERVER, objects, permissions};

/// For a machine that is stuck, not a measure of anything.
const STUCK: Duration = Duration::from_mins(5);

const SOURCES: &str = "/v1/agentless/sources";

/// A server's configuration with a key in a file of its own.
struct Keyed {
    config: String,
    file: tempfile::NamedTempFile,
}

fn keyed() -> Keyed {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), key('a')).unwrap();
    // The bed is on this machine, which is not looked at by default.
    let config = format!(
        "[secrets]\nkey_file = '{}'\n[limits]\nrequests_per_second = 0\n[agentless]\nrefused_networks = ['169.254.0.0/16']\n",
        file.path().display()
    );
    Keyed { config, file }
}

fn key(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// The bed's cluster with all that `deploy/kubernetes/clusterrole.yaml` grants an agent.
fn reader(name: &str) -> Account {
    let mut objects = objects("clusterrole.yaml");
    let permissions = permissions(&mut objects);
    Account::new(name, &objects, &permissions)
}

fn certificate() -> String {
    fs::read_to_string(format!("{}/kubernetes/tls/ca.pem", bed::RUN)).unwrap()
}

fn source(server: &str, token: &str) -> Value {
    json!({"name": "bed", "interval_seconds": 30, "kubernetes": {
        "server": server, "certificate_authority": certificate(), "token": token, "tls_server_name": "127.0.0.1"}})
}

fn json_of(server: &Server, path: &str) -> Value {
    let answer = server.ask("GET", path, &Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// Waits until the source's status is as it should be.
#[track_caller]
fn wait(server: &Server, most: Duration, what: impl Fn(&Value) -> bool) -> Value {
    wait_for(server, "bed", most, what)
}

#[track_caller]
fn wait_for(server: &Server, name: &str, most: Duration, what: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let status = json_of(server, &format!("{SOURCES}/{name}"))["status"].clone();
        if what(&status) {
            return status;
        }
        assert!(began.elapsed() < most, "after {:?}: {status}\n{}", began.elapsed(), server.told());
        sleep(Duration::from_millis(200));
    }
}

/// Pods that the server has, and those that kubectl has, as `namespace/name`.
fn pods(server: &Server) -> [BTreeSet<String>; 2] {
    let list = json_of(server, "/v1/pods?limit=1000");
    let told = list["items"].as_array().unwrap().iter();
    let told = told.map(|pod| format!("{}/{}", pod["namespace"].as_str().unwrap(), pod["name"].as_str().unwrap()));
    let format = "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}";
    let real = tools::output(tools::kubectl().args(["get", "pods", "--all-namespaces", "-o", format]));
    [told.collect(), real.lines().map(str::to_owned).collect()]
}

fn sees_the_real_cluster(server: &Server, keyed: &Keyed) {
    let account = reader("agentless");
    let tested = server.ask("POST", "/v1/agentless/test", &source(SERVER, &account.token));
    let tested: Value = serde_json::from_str(&tested.body).unwrap();
    assert_eq!((&tested["coverage"], &tested["missing"]), (&json!("complete"), &json!([])), "{tested}");
    let made = server.ask("POST", SOURCES, &source(SERVER, &account.token));
    assert_eq!(made.status, 201, "{}", made.body);
    let status = wait(server, STUCK, |status| status["coverage"].is_string());
    assert_eq!((&status["coverage"], &status["failures"]), (&json!("complete"), &json!(0)), "{status}");
    let [told, real] = pods(server);
    assert_eq!(told, real);
    assert!(real.len() > 5, "{real:?}");
    // The key is replaced while it runs, and what is looked at next is opened with the new one.
    fs::write(keyed.file.path(), format!("{}\n{}\n", key('b'), key('a'))).unwrap();
    let config = server.folder().join("server.toml");
    let mut rotate = command(&["secrets", "rotate", "--config"]);
    let _ = tools::output(rotate.arg(config).env("STOCKTAKE_DATABASE_URL", server.database()));
    fs::write(keyed.file.path(), key('b')).unwrap();
    let before = status["looked_at"].clone();
    let status = wait(server, STUCK, |status| status["looked_at"] != before);
    assert_eq!(status["coverage"], "complete", "{status}");

    let gone = server.ask("DELETE", &format!("{SOURCES}/bed"), &Value::Null);
    assert_eq!(gone.status, 204);
    assert_eq!(pods(server)[0], told, "what was seen ages, and does not vanish");
    let token = account.token.as_str();
    assert!(
        !server.told().contains(token)
            && !made.body.contains(token)
            && !json_of(server, "/v1/audit").to_string().contains(token)
    );
}

#[test]
fn the_real_cluster_is_looked_at_without_an_agent_over_sqlite() {
    needs!("kubernetes");
    let keyed = keyed();
    sees_the_real_cluster(&Server::sqlite_with(&keyed.config), &keyed);
}

#[test]
fn the_real_cluster_is_looked_at_without_an_agent_over_postgresql() {
    needs!("kubernetes", "postgresql");
    let keyed = keyed();
    sees_the_real_cluster(&Server::postgres_with(&keyed.config), &keyed);
}

#[test]
fn what_the_token_may_not_read_is_said_and_what_it_may_is_there() {
    needs!("kubernetes");
    let keyed = keyed();
    let server = Server::sqlite_with(&keyed.config);
    // Of `shop` and `batch`, and of nothing else.
    let mut objects = objects("role.yaml");
    let permissions = permissions(&mut objects);
    let account = Account::new("agentless-role", &objects, &permissions);
    let mut of_two = source(SERVER, &account.token);
    of_two["kubernetes"]["namespaces"] = json!({"include": ["shop", "batch", "restricted"]});
    of_two["kubernetes"]["cluster_objects"] = json!(false);
    let tested = server.ask("POST", "/v1/agentless/test", &of_two);
    let tested: Value = serde_json::from_str(&tested.body).unwrap();
    assert_eq!(tested["scopes"], json!({"complete": 2, "denied": 1}), "{tested}");
    let missing = tested["missing"][0].to_string();
    assert!(missing.contains("restricted") && missing.contains("grant `list` on `pods`"), "{missing}");
    assert_eq!(server.ask("POST", SOURCES, &of_two).status, 201);
    let status = wait(&server, STUCK, |status| status["coverage"].is_string());
    assert_eq!(status["scopes"], json!({"complete": 2, "denied": 1}), "{status}");
    let namespaces: BTreeSet<String> =
        pods(&server)[0].iter().map(|pod| pod.split('/').next().unwrap().to_owned()).collect();
    assert_eq!(namespaces, ["batch", "shop"].map(str::to_owned).into());
}

/// A line to the API server that may be cut: what is asked waits then for ever.
struct Line {
    port: u16,
    is_cut: Arc<AtomicBool>,
}

impl Line {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let cut = Arc::clone(&cut);
                spawn(move || carry(&near, &cut));
            }
        });
        Self { port, is_cut }
    }
}

fn carry(near: &TcpStream, cut: &AtomicBool) {
    while cut.load(SeqCst) {
        sleep(Duration::from_millis(100));
    }
    let Ok(far) = TcpStream::connect(SERVER.trim_start_matches("https://")) else { return };
    let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let back = spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut &far, &mut &*near);
    let _ = near.shutdown(Shutdown::Both);
    let _ = back.join();
}

#[test]
fn a_replica_that_is_killed_while_it_looks_is_followed_by_another_within_a_minute() {
    needs!("kubernetes", "postgresql");
    let keyed = keyed();
    let (account, line) = (reader("agentless-replicas"), Line::new());
    let mut first = Server::postgres_with(&keyed.config);
    line.is_cut.store(true, SeqCst);
    let through = format!("https://127.0.0.1:{}", line.port);
    assert_eq!(first.ask("POST", SOURCES, &source(&through, &account.token)).status, 201);
    let _ = wait(&first, STUCK, |status| status["looking"] == true);
    let second = first.replica();
    // The first one's look counts as under way for some time yet: it is by their number that another one is known.
    let database = first.database().rsplit_once('/').unwrap().1.to_owned();
    let looks = || psql_in(&database, "SELECT looks FROM agentless").trim().to_owned();
    let before = looks();
    first.kill9();
    line.is_cut.store(false, SeqCst);
    let killed = Instant::now();
    let _ = wait(&second, Duration::from_mins(1), |_| looks() != before);
    println!("taken over {:?} after the other one was killed", killed.elapsed());
    // How long the look itself takes is the machine's.
    let status = wait(&second, STUCK, |status| status["coverage"] == "complete");
    assert_eq!(status["failures"], 0, "{status}");
    let [told, real] = pods(&second);
    assert_eq!(told, real);
    let agents = json_of(&second, "/v1/agents");
    assert_eq!(agents["items"].as_array().unwrap().len(), 1, "both are the same agent: {agents}");
    // And it goes on by itself.
    let before = status["looked_at"].clone();
    let _ = wait(&second, STUCK, |status| status["looked_at"] != before);
}

#[test]
fn a_key_that_is_none_is_told_before_anything_is_served() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "not a key").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("server.toml");
    fs::write(&config, format!("[secrets]\nkey_file = '{}'\n", file.path().display())).unwrap();
    let mut serve: Command = command(&["serve", "--listen", "127.0.0.1:0", "--config"]);
    serve.arg(config).env("STOCKTAKE_DATABASE_URL", folder.path().join("x.db"));
    let ended = serve.output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(78), "{told}");
    assert!(
        told.contains("key 1 in ") && told.contains("openssl rand -base64 32") && !told.contains("not a key"),
        "{told}"
    );
}
