//! From start to end.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use stocktake_tests::{
    needs,
    server::{Server, command},
    tools, wait_until,
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
    let start = || command(&["migrate", "--database", &database]).stderr(Stdio::piped()).spawn().unwrap();
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
fn it_reads_its_configuration_again_when_it_is_told_to_and_goes_on() {
    let server = Server::sqlite_with("[agentless]\nrefused_networks = []\n");
    let test = json!({"name": "here", "kubernetes": {"server": "https://127.0.0.1:1", "insecure_skip_tls_verify": true, "token": "t"}});
    let reason = || server.ask("POST", "/v1/agentless/test", &test).body;
    let again = |config: &str, count: usize, told: &str| {
        fs::write(server.folder().join("server.toml"), config).unwrap();
        server.signal(Signal::HUP);
        wait_until(told, || {
            let all = server.told();
            all.matches("configuration was read again").count() == count && all.contains(told)
        });
    };
    // What is under way is not cut off.
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    write!(stream, "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n", server.admin()).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut heard = |wanted: &str| {
        let mut seen = String::new();
        while !seen.contains(wanted) {
            let mut part = [0; 4096];
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0, "the stream goes on: {seen}");
            seen.push_str(&String::from_utf8_lossy(&part[..count]));
        }
    };
    heard(": here");
    assert_eq!(server.get("/metrics").status, 401);
    assert!(reason().contains("coverage") && !reason().contains("refused_networks"), "{}", reason());

    again(
        "[metrics]\npublic = true\n[agentless]\nrefused_networks = ['127.0.0.0/8']\n[inventory]\nhistory_days = 7\n",
        1,
        "what was changed in `[inventory]` counts from the next start",
    );
    // It counts just behind that.
    wait_until("metrics to be public", || server.get("/metrics").status == 200);
    assert!(reason().contains("refused_networks"), "{}", reason());
    again("[metrics]\npublik = true\n", 2, "server.toml:2: metrics.publik: unknown key");
    assert_eq!(server.get("/metrics").status, 200, "the former one stays in force");
    let reported = json!({"cluster_name": "prod", "timestamp": "2026-01-01T00:00:00Z",
        "namespaces": [{"uid": "00000002-0000-4000-8000-000000000001", "name": "shop"}],
        "pods": [{"uid": "00000001-0000-4000-8000-000000000001", "name": "web", "namespace_uid": "00000002-0000-4000-8000-000000000001"}],
        "containers": [{"id": "containerd://1", "name": "app", "image_tag": "nginx:1", "pod_uid": "00000001-0000-4000-8000-000000000001"}]});
    assert!(server.ask("POST", "/v2/kubernetes-inventory", &reported).status < 300);
    heard("appeared");
}

#[test]
fn what_is_wrong_has_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("server.toml");
    fs::write(&config, "[server]\nlisen = 'x'\n").unwrap();
    let config = config.to_str().unwrap();
    for (arguments, code, told) in [
        (&["serve", "--config", config][..], 78, "server.toml:2: server.lisen: unknown key `lisen`"),
        (&["serve", "--config", "/nonexistent"], 78, "cannot read the configuration"),
        (&["migrate", "--database", "mysql://x"], 78, "is no database"),
        (
            &["migrate", "--database", "/nonexistent/x.db"],
            69,
            "cannot use the database: /nonexistent/x.db: the folder /nonexistent is not there",
        ),
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
fn the_database_is_where_a_file_says_that_others_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (config, url) = (path("server.toml"), path("url"));
    fs::write(&config, format!("[server]\ndatabase_file = '{}'\n", url.display())).unwrap();
    let migrate = |code: i32, told: &str, database: Option<&Path>| {
        let mut migrate = command(&["migrate", "--config"]);
        migrate.arg(&config).args(database.map(|database| format!("--database={}", database.display())));
        let output = migrate.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && stderr.contains(told), "{stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    };
    migrate(78, &format!("`database_file` of `[server]`: {}: cannot be read: No such file", url.display()), None);
    fs::write(&url, "\n").unwrap();
    migrate(78, "is empty; write `postgres://USER:PASSWORD@HOST/NAME` into it", None);
    fs::write(&url, "mysql://jo:hunter2@db/inventory\n").unwrap();
    migrate(78, "`mysql://` is no database", None);
    fs::write(&url, format!("{}\n", path("named.db").display())).unwrap();
    migrate(0, "the schema is up to date", None);
    assert!(path("named.db").is_file());
    fs::remove_file(&url).unwrap();
    migrate(0, "the schema is up to date", Some(&path("other.db")));
    assert!(path("other.db").is_file(), "the command line is before the file");
}

#[test]
fn a_file_may_name_postgresql() {
    needs!("postgresql");
    let made = Server::postgres();
    let folder = tempfile::tempdir().unwrap();
    let (config, url) = (folder.path().join("server.toml"), folder.path().join("url"));
    fs::write(&url, format!("{}\n", made.database())).unwrap();
    fs::write(&config, format!("[server]\ndatabase_file = '{}'\n", url.display())).unwrap();
    let before = tools::output(command(&["token", "list"]).env("STOCKTAKE_DATABASE_URL", made.database()));
    tools::output(command(&["token", "add", "by-file", "--config"]).arg(&config));
    let after = tools::output(command(&["token", "list"]).env("STOCKTAKE_DATABASE_URL", made.database()));
    assert!(!before.contains("by-file") && after.contains("by-file"), "{before}{after}");
}

#[test]
fn the_usual_database_is_in_a_folder_of_nobody_else() {
    let state = tempfile::tempdir().unwrap();
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let copied = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let binary = copied.path().join("stocktake-server");
    tools::copy_program(stocktake_tests::server::binary(), &binary);
    needs!("root");
    // As nobody, since root's place is the machine's.
    tools::output(as_nobody(&binary).env("XDG_STATE_HOME", state.path()));
    let folder = state.path().join("stocktake-server");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(folder.join("inventory.db").is_file());
}

/// `migrate`, run by a user who may nothing.
fn as_nobody(binary: &Path) -> Command {
    let mut migrate = Command::new("setpriv");
    migrate.env_clear().env("PATH", "/usr/bin:/bin");
    migrate.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(binary).arg("migrate");
    migrate
}

#[test]
fn a_file_that_is_somebody_elses_is_named_with_its_owner_and_what_to_do() {
    needs!("root");
    let open = || tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let (copied, folder) = (open(), open());
    let binary = copied.path().join("stocktake-server");
    tools::copy_program(stocktake_tests::server::binary(), &binary);
    let database = folder.path().join("inventory.db");
    let told = || {
        let output = as_nobody(&binary).arg("--database").arg(&database).output().unwrap();
        assert_eq!(output.status.code(), Some(69));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (file, place) = (database.display(), folder.path().display());
    let missing = told();
    let expected = format!(
        "cannot use the database: {file}: the server's user (uid 65534) may not make files in {place} (it belongs to uid 0, gid 0, with mode 0755)"
    );
    assert!(missing.contains(&expected), "{missing}");
    // Made by root, as by a command that somebody has tried.
    tools::output(command(&["migrate", "--database"]).arg(&database));
    for mode in [0o600, 0o644] {
        fs::set_permissions(&database, fs::Permissions::from_mode(mode)).unwrap();
        let others = told();
        let expected = format!(
            "cannot use the database: {file}: the server's user (uid 65534) may not read and write it (it belongs to uid 0, gid 0, with mode {mode:04o})"
        );
        assert!(others.contains(&expected), "{others}");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(told().contains("may not"), "{}", told());
}
