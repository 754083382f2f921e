//! The key that a server over SQLite makes for itself.

use std::{fs, path::PathBuf};

use serde_json::json;
use stocktake_tests::server::{Answer, Server};

fn key_of(server: &Server) -> PathBuf {
    format!("{}.key", server.database()).into()
}

fn subscribe(server: &Server) -> Answer {
    let channel = json!({"type": "slack", "url": "https://hooks.example.com/hidden"});
    server.ask("POST", "/v1/subscriptions", &json!({"name": "x", "channel": channel}))
}

#[test]
fn a_key_that_was_lost_is_missed_and_not_replaced() {
    let mut server = Server::sqlite();
    assert_eq!(subscribe(&server).status, 201);
    let (key, away) = (key_of(&server), server.folder().join("away"));
    fs::rename(&key, &away).unwrap();
    server.restart();
    let told = server.told();
    for part in ["inventory.db.key is not there", "no other key is made", "(subscriptions: 1)", "openssl rand"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!key.exists());
    let refused = subscribe(&server);
    assert_eq!(refused.status, 409, "{}", refused.body);
    // Brought back, it counts at once.
    fs::rename(&away, &key).unwrap();
    assert_eq!(subscribe(&server).status, 201);
    let all = server.ask("GET", "/v1/subscriptions", &json!(null));
    assert_eq!(all.body.matches("\"problem\":null").count(), 2, "{}", all.body);
}

#[test]
fn where_no_key_can_be_made_it_serves_without_one() {
    let folder = tempfile::tempdir().unwrap();
    // The key's name would be short enough; that of its draft is not, for whoever runs the test.
    let database = folder.path().join("x".repeat(230)).display().to_string();
    let server = Server::over(&database, "");
    assert!(server.told().contains("cannot make "), "{}", server.told());
    let refused = subscribe(&server);
    assert!(refused.status == 409 && refused.body.contains("openssl rand"), "{}", refused.body);
    assert_eq!(fs::read_dir(folder.path()).unwrap().filter(|file| is_key(file.as_ref().unwrap())).count(), 0);
    fs::write(key_of(&server), "a".repeat(64)).unwrap();
    assert_eq!(subscribe(&server).status, 201);
}

fn is_key(file: &fs::DirEntry) -> bool {
    file.file_name().to_string_lossy().contains(".key")
}
