//! The bed's Docker over TCP with TLS, looked at by the server.

use std::{collections::BTreeSet, fs, process::Command};

use jiff::Timestamp;
use serde_json::{Value, json};
use stocktake_tests::{bed, needs, server::Server, tools};

use super::{SOURCES, STUCK, json_of, keyed, wait_for};

/// A file of the bed's certificates.
fn pem(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", bed::DOCKER_TLS)).unwrap()
}

/// The daemon as a source that may see all of it.
fn source() -> Value {
    json!({"name": "dock", "interval_seconds": 30, "docker": {
        "host": bed::DOCKER_TCP, "certificate_authority": pem("ca.pem"), "client_certificate": pem("cert.pem"),
        "client_key": pem("key.pem"), "states": ["all"]}})
}

/// The certificate of an authority that has signed nothing.
fn another_authority() -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-subj", "/CN=somebody else", "-keyout", "/dev/null", "-out", "ca.pem"]).current_dir(folder.path());
    let _ = tools::output(&mut openssl);
    fs::read_to_string(folder.path().join("ca.pem")).unwrap()
}

/// Containers by id that `docker ps` has.
fn real() -> BTreeSet<String> {
    let ids = tools::output(tools::docker(bed::DOCKER).args(["ps", "--all", "--no-trunc", "--quiet"]));
    ids.lines().map(str::to_owned).collect()
}

/// Those that were made since a time, of which other tests have removed some.
fn made_since(time: Timestamp) -> BTreeSet<String> {
    let (since, until) = (time.to_string(), Timestamp::now().to_string());
    let mut events = tools::docker(bed::DOCKER);
    events.args(["events", "--filter", "event=create", "--format", "{{.ID}}", "--since", &since, "--until", &until]);
    tools::output(&mut events).lines().map(str::to_owned).collect()
}

/// Those that the server has.
fn listed(server: &Server) -> BTreeSet<String> {
    let list = json_of(server, "/v1/containers?limit=1000");
    let ids = list["items"].as_array().unwrap().iter();
    ids.map(|container| container["runtime_id"].as_str().unwrap_or_else(|| panic!("{container}")).to_owned()).collect()
}

#[test]
fn the_real_docker_is_looked_at_over_tcp_with_tls_and_its_key_is_told_to_nobody() {
    needs!("docker");
    let keyed = keyed();
    let server = Server::sqlite_with(&keyed.config);
    let mut replies = Vec::new();
    let mut test = |change: &dyn Fn(&mut Value)| {
        let mut source = source();
        change(&mut source["docker"]);
        let tested = server.ask("POST", "/v1/agentless/test", &source);
        replies.push(tested.body.clone());
        let told: Value = serde_json::from_str(&tested.body).unwrap();
        (told["coverage"].as_str().unwrap_or_default().to_owned(), tested.body)
    };
    let (coverage, told) = test(&|_| {});
    assert_eq!(coverage, "complete", "{told}");
    let (coverage, told) = test(&|docker| docker["certificate_authority"] = json!(another_authority()));
    assert_eq!(coverage, "denied", "{told}");
    assert!(told.contains(bed::DOCKER_TCP) && told.contains("check the certificate authority"), "{told}");
    let (coverage, told) = test(&|docker| {
        let docker = docker.as_object_mut().unwrap();
        assert!(docker.remove("client_certificate").is_some() && docker.remove("client_key").is_some());
    });
    assert_eq!(coverage, "denied", "{told}");
    assert!(told.contains(bed::DOCKER_TCP) && told.contains("check the client's certificate and key"), "{told}");
    let (_, told) = test(&|docker| assert!(docker.as_object_mut().unwrap().remove("client_key").is_some()));
    assert!(told.contains("a client's certificate and its key belong together"), "{told}");

    let (began, before) = (Timestamp::now(), real());
    let made = server.ask("POST", SOURCES, &source());
    assert_eq!(made.status, 201, "{}", made.body);
    let status = wait_for(&server, "dock", STUCK, |status| status["coverage"].is_string());
    assert_eq!((&status["coverage"], &status["failures"]), (&json!("complete"), &json!(0)), "{status}");
    let (told, after) = (listed(&server), real());
    let all_the_time: BTreeSet<String> = before.intersection(&after).cloned().collect();
    assert!(all_the_time.len() > 5 && told.is_superset(&all_the_time), "{told:?} {all_the_time:?}");
    let ever = &before | &made_since(began);
    assert!(told.is_subset(&ever), "{told:?} {ever:?}");

    // In one line too, as JSON would have it.
    let key = pem("key.pem");
    let line = key.lines().find(|line| !line.starts_with("-----")).unwrap();
    replies.push(made.body);
    replies.extend([SOURCES, "/v1/audit", "/v1/agents", "/v1/sources"].map(|path| json_of(&server, path).to_string()));
    replies.push(server.told());
    for reply in &replies {
        assert!(!reply.contains(line), "{reply}");
    }
    // What was written a moment ago is in the journal.
    let kept = ["inventory.db", "inventory.db-wal"].map(|name| fs::read(server.folder().join(name)).unwrap()).concat();
    let has = |part: &str| kept.windows(part.len()).any(|bytes| bytes == part.as_bytes());
    assert!(has(bed::DOCKER_TCP), "the source is in the database");
    assert!(!has(line), "its key is not");
}
