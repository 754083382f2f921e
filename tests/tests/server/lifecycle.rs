//! From start to end.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
};

use serde_json::Value;
use stocktake_tests::{
    needs,
    server::{Server, command},
    tools,
};

fn starts_and_ends(mut server: Server) {
    assert_eq!(server.get("/livez").body, "alive\n");
    let version: Value = serde_json::from_str(&server.get("/version").body).unwrap();
    assert_eq!(version["api"]["version"], "2");
    let unknown = server.get("/nothing");
    assert_eq!(unknown.status, 404);
    assert!(unknown.head.contains("application/problem+json"), "{}", unknown.head);
    assert_eq!(server.get("/metrics").status, 401);
    // A second one over the same database, which has its schema by now.
    let replica = server.replica();
    assert_eq!(replica.get("/readyz").body, "ready\n");
    drop(replica);
    server.kill9();
    server.restart();
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(server.terminate().code(), Some(0), "{}", server.told());
    server.restart();
}

#[test]
fn its_files_are_its_owners_alone() {
    let server = Server::sqlite();
    for file in fs::read_dir(server.folder()).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        if name.starts_with("inventory.db") {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{name}");
        }
    }
    assert!(server.folder().join("inventory.db-wal").exists(), "there is something to look at");
}

#[test]
fn it_serves_over_sqlite() {
    starts_and_ends(Server::sqlite());
}

#[test]
fn it_serves_over_postgresql() {
    needs!("postgresql");
    starts_and_ends(Server::postgres());
}

#[test]
fn the_schema_is_made_once_by_any_number_that_start_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("inventory.db").display().to_string();
    let start = || command(&["migrate", "--database", &database]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let children: Vec<_> = std::iter::repeat_with(start).take(6).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.contains("the schema is up to date"), "{told}");
    }
}

#[test]
fn connections_that_wait_do_not_keep_it_from_ending() {
    let mut server = Server::sqlite();
    let mut idle = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 512]).unwrap() > 0);
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn what_is_wrong_has_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("server.toml");
    std::fs::write(&config, "[server]\nlisen = 'x'\n").unwrap();
    let config = config.to_str().unwrap();
    for (arguments, code, told) in [
        (&["serve", "--config", config][..], 78, "server.toml:2: server.lisen: unknown key `lisen`"),
        (&["serve", "--config", "/nonexistent"], 78, "cannot read the configuration"),
        (&["migrate", "--database", "mysql://x"], 78, "is no database"),
        (&["migrate", "--database", "/nonexistent/x.db"], 69, "cannot use the database"),
        (&["migrate", "--nonsense"], 2, "--nonsense"),
        (&["completions", "bash"], 0, ""),
    ] {
        let output = command(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(told), "{arguments:?}: {stderr}");
    }
}

#[test]
fn the_usual_database_is_in_a_folder_of_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let state = tempfile::tempdir().unwrap();
    std::fs::set_permissions(state.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let copied = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let binary = copied.path().join("stocktake-server");
    std::fs::copy(stocktake_tests::server::binary(), &binary).unwrap();
    needs!("root");
    // As nobody, since root's place is the machine's.
    let mut migrate = std::process::Command::new("setpriv");
    migrate.env_clear().env("PATH", "/usr/bin:/bin").env("XDG_STATE_HOME", state.path());
    migrate.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&binary).arg("migrate");
    tools::output(&mut migrate);
    let folder = state.path().join("stocktake-server");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(folder.join("inventory.db").is_file());
}
