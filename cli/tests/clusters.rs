//! `clusters`: what the server is asked, and that secrets are read from files and printed by nobody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub, dead_code)]

mod fake;

use std::fs;

use fake::{Fake, Program, json};
use serde_json::{Value, json as value};

const SOURCES: &str = "v1/agentless/sources";

/// What it printed, without a word beside that.
fn printed(server: &Fake, arguments: &[&str]) -> String {
    server.run(arguments).printed().to_owned()
}

/// Runs what prints nothing but says that it was done.
fn done(server: &Fake, arguments: &[&str]) {
    let ended = server.run(arguments);
    assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{ended:?}");
    assert!(!ended.err.is_empty());
}

fn source(name: &str) -> Value {
    value!({"name": name, "kubernetes": {"server": "https://10.0.0.1:6443"}, "interval_seconds": 300, "enabled": true,
        "created_at": "2026-05-04T10:00:00Z", "updated_at": "2026-05-04T10:00:00Z",
        "status": {"coverage": "denied", "reason": "grant `list` on `pods`", "looked_at": "2026-05-04T10:00:00.123Z",
            "next_look_at": "2026-05-04T10:05:00.5Z", "failures": 2}})
}

#[test]
fn what_is_looked_at_is_a_table_or_an_array_or_csv() {
    let list =
        value!({"items": [source("prod"), {"name": "dock", "docker": {"host": "tcp://a:2376"}, "enabled": false}]});
    let server = Fake::start(&[json(SOURCES, 200, &list.to_string())]);
    let table = printed(&server, &["clusters", "list"]);
    let lines: Vec<Vec<&str>> =
        table.lines().map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect()).collect();
    assert_eq!(lines[0], ["NAME", "ADDRESS", "ENABLED", "COVERAGE", "LOOKED AT", "NEXT LOOK", "REASON"]);
    assert_eq!(
        lines[1],
        [
            "prod",
            "https://10.0.0.1:6443",
            "yes",
            "denied",
            "2026-05-04T10:00:00Z",
            "2026-05-04T10:05:00Z",
            "grant `list` on `pods`"
        ]
    );
    assert_eq!(lines[2], ["dock", "tcp://a:2376", "no"]);
    let array: Value = serde_json::from_str(&printed(&server, &["clusters", "list", "-o", "json"])).unwrap();
    assert_eq!(array, list["items"]);
    let csv = printed(&server, &["clusters", "list", "-o", "csv"]);
    assert!(csv.starts_with("name,kubernetes/server,docker/host,"), "{csv}");
    assert!(csv.contains("\ndock,,tcp://a:2376,,no,"), "{csv}");
    let one = Fake::start(&[json(&format!("{SOURCES}/prod"), 200, &source("prod").to_string())]);
    let told: Value = serde_json::from_str(&printed(&one, &["clusters", "get", "prod"])).unwrap();
    assert_eq!(told, source("prod"));
    one.run(&["clusters", "get", "none"]).failed(1, "nothing at v1/agentless/sources/none");
}

#[test]
fn a_kubeconfig_is_read_from_a_file_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    fs::write(&path, "token: hidden").unwrap();
    let path = path.to_str().unwrap();
    for (file, input) in [(path, ""), ("-", "token: hidden")] {
        let server = Fake::start(&[json(SOURCES, 201, &source("prod").to_string())]);
        let arguments = [
            "clusters",
            "add",
            "prod",
            "--kubeconfig",
            file,
            "--kube-context",
            "eu",
            "--namespace",
            "shop",
            "--interval",
            "60",
        ];
        let ended = Program::new(&arguments).variable("STOCKTAKE_URL", &server.url).input(input.as_bytes()).run();
        assert!(!ended.err.contains("hidden") && ended.err.contains("prod is looked at from now on"), "{ended:?}");
        assert_eq!((ended.code, ended.out.as_str()), (0, ""));
        let asked = server.asked_once();
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(
            body,
            value!({"name": "prod", "interval_seconds": 60,
                "kubernetes": {"kubeconfig": "token: hidden", "context": "eu", "namespaces": {"include": ["shop"]}}})
        );
    }
}

#[test]
fn credentials_are_read_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("{name}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let [authority, token, certificate, key] = ["ca", "token", "cert", "key"].map(file);
    let server = Fake::start(&[json(SOURCES, 201, "{}")]);
    let cluster = ["--server", "https://a", "--certificate-authority", &authority, "--bearer-token-file", &token];
    let docker = [
        "--docker",
        "tcp://a",
        "--certificate-authority",
        &authority,
        "--client-certificate",
        &certificate,
        "--client-key",
        &key,
    ];
    for (given, expected) in [
        (
            &cluster[..],
            value!({"kubernetes": {"server": "https://a", "certificate_authority": "ca\n", "token": "token"}}),
        ),
        (
            &docker[..],
            value!({"docker": {"host": "tcp://a", "certificate_authority": "ca\n", "client_certificate": "cert\n", "client_key": "key\n"}}),
        ),
    ] {
        done(&server, &[&["clusters", "add", "x", "--disabled"], given].concat());
        let mut body: Value = serde_json::from_slice(&server.asked().last().unwrap().body).unwrap();
        let fields = body.as_object_mut().unwrap();
        assert_eq!((fields.remove("name"), fields.remove("enabled")), (Some(value!("x")), Some(value!(false))));
        assert_eq!(body, expected);
    }
    let before = server.asked().len();
    for (given, told) in [
        (&[][..], "say what to look at"),
        (&["--bearer-token-file", &token], "--server"),
        (&["--server", "https://a", "--bearer-token-file", "/nonexistent"], "cannot read /nonexistent"),
        (
            &["--server", "https://a", "--bearer-token-file", "-", "--certificate-authority", "-"],
            "only one of the files",
        ),
        (&["--server", "https://a", "--bearer-token-file", "/dev/null"], "is empty"),
    ] {
        server.run(&[&["clusters", "add", "x"], given].concat()).failed(2, told);
    }
    assert_eq!(server.asked().len(), before);
}

#[test]
fn a_test_says_what_was_seen_and_fails_if_that_is_nothing() {
    let seen = |coverage: &str| value!({"coverage": coverage, "reason": "no", "scopes": {}}).to_string();
    let kept = format!("{SOURCES}/prod/test");
    let server = Fake::start(&[json(&kept, 200, &seen("partial")), json("v1/agentless/test", 200, &seen("denied"))]);
    assert!(printed(&server, &["clusters", "test", "prod"]).contains("\"coverage\": \"partial\""));
    assert_eq!(server.asked_once().target, kept);
    let program =
        Program::new(&["clusters", "test", "prod", "--kubeconfig", "-"]).variable("STOCKTAKE_URL", &server.url);
    let ended = program.input(b"x").run();
    assert!(ended.out.contains("\"denied\""), "{ended:?}");
    ended.failed(1, "prod is not seen: no");
}

#[test]
fn a_source_is_enabled_disabled_and_removed() {
    let path = format!("{SOURCES}/prod");
    let server = Fake::start(&[json(&path, 200, &source("prod").to_string())]);
    done(&server, &["clusters", "disable", "prod"]);
    done(&server, &["clusters", "enable", "prod"]);
    server.run(&["clusters", "remove", "prod"]).failed(2, "say -y if it is meant");
    done(&server, &["clusters", "remove", "prod", "-y"]);
    let asked = server.asked();
    let asked: Vec<(&str, &[u8])> = asked.iter().map(|asked| (asked.method.as_str(), &asked.body[..])).collect();
    assert_eq!(
        asked,
        [("PATCH", &b"{\"enabled\":false}"[..]), ("PATCH", &b"{\"enabled\":true}"[..]), ("DELETE", &b""[..])]
    );
}
