//! Copies of the database.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Output, Stdio},
};

use stocktake_tests::{
    needs,
    server::{Server, binary, command},
    tools,
};

fn backup(server: &Server, file: &str) -> (Option<i32>, String) {
    let target = server.folder().join(file);
    let mut command = command(&["backup"]);
    let Output { status, stderr, .. } =
        command.arg(target).env("STOCKTAKE_DATABASE_URL", server.database()).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_copy_is_made_while_the_server_runs_and_overwrites_nothing() {
    let server = Server::sqlite();
    let (code, told) = backup(&server, "copy.db");
    assert!(code == Some(0) && told.contains("is sound"), "{told}");
    let copy = server.folder().join("copy.db");
    let before = std::fs::read(&copy).unwrap();
    assert!(before.starts_with(b"SQLite format 3\0"));
    let (code, told) = backup(&server, "copy.db");
    assert!(code == Some(1) && told.contains("is there already"), "{told}");
    assert_eq!(std::fs::read(&copy).unwrap(), before);
    assert_eq!(server.get("/readyz").status, 200);
    // It is a database that can be served.
    let output = command(&["migrate", "--database"]).arg(&copy).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// As `kubectl exec … -- stocktake-server backup - > copy.db` does, where nothing but the program is.
#[test]
fn a_copy_goes_to_stdout_and_leaves_nothing_behind() {
    let server = Server::sqlite();
    let beside = || {
        let files = std::fs::read_dir(server.folder()).unwrap().map(|file| file.unwrap().file_name());
        files.collect::<BTreeSet<_>>()
    };
    let before = beside();
    let stream = |out: Stdio, folder: Option<&Path>| {
        let mut command = command(&["backup", "-"]);
        command.env("STOCKTAKE_DATABASE_URL", server.database()).envs(folder.map(|folder| ("TMPDIR", folder)));
        let output = command.stdout(out).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, copy, told) = stream(Stdio::piped(), None);
    assert!(code == Some(0) && told.contains("is sound"), "{told}");
    assert_eq!(beside(), before);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.db");
    std::fs::write(&file, copy).unwrap();
    // It is sound, and it is this server's.
    tools::output(command(&["migrate", "--database"]).arg(&file));
    let users = |database: &Path| tools::output(command(&["user", "list", "--database"]).arg(database));
    assert_eq!(users(&file), users(server.database().as_ref()));
    assert!(users(&file).contains("admin"), "{}", users(&file));

    let (code, _, told) = stream(Stdio::piped(), Some(Path::new("/nonexistent")));
    assert!(code == Some(1) && told.contains("cannot make /nonexistent/inventory.db.copy-"), "{told}");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, _, told) = stream(full.into(), None);
    assert!(code == Some(1) && told.contains("cannot write the copy to stdout"), "{told}");
    assert_eq!(beside(), before);
}

/// `script` gives it a terminal.
#[test]
fn a_terminal_is_spared_a_database() {
    let server = Server::sqlite();
    let mut script = Command::new("script");
    script.env_clear().env("PATH", "/usr/bin:/bin");
    let backup = format!("{} backup - --database {}", binary().display(), server.database());
    let output = script.args(["--quiet", "--return", "--command", &backup, "/dev/null"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(2) && told.contains("nothing for a terminal"), "{told}");
}

#[test]
fn what_cannot_be_copied_leaves_no_file() {
    let server = Server::sqlite();
    std::fs::write(server.folder().join("broken.db"), "no database at all, but long enough to be looked at").unwrap();
    let target = server.folder().join("copy.db");
    let broken = server.folder().join("broken.db");
    for (source, what) in [
        (broken.as_path(), "copy.db: file is not a database: if it was the inventory, restore a backup\n"),
        ("/nonexistent/inventory.db".as_ref(), "there is no database at /nonexistent/inventory.db\n"),
    ] {
        let output = command(&["backup"]).arg(&target).arg("--database").arg(source).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && told.ends_with(what), "{told}");
        assert!(!target.exists());
    }
}

#[test]
fn of_postgresql_it_says_who_does_it() {
    needs!("postgresql");
    let server = Server::postgres();
    let (code, told) = backup(&server, "copy.db");
    assert!(code == Some(2) && told.contains("pg_dump"), "{told}");
}
