//! Copies of the database.

use std::process::Output;

use stocktake_tests::{
    needs,
    server::{Server, command},
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

#[test]
fn what_cannot_be_copied_leaves_no_file() {
    let server = Server::sqlite();
    std::fs::write(server.folder().join("broken.db"), "no database at all, but long enough to be looked at").unwrap();
    let target = server.folder().join("copy.db");
    let broken = server.folder().join("broken.db");
    for source in [broken.as_path(), "/nonexistent/inventory.db".as_ref()] {
        let output = command(&["backup"]).arg(&target).arg("--database").arg(source).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
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
