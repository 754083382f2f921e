//! Which server is asked, as whom, and what is said if there is none or it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub, dead_code)]

mod fake;

use std::{fs, net::TcpListener, path::Path};

use fake::{Fake, Program, json};
use tempfile::TempDir;

const NOTHING: &str = r#"{"items":[],"next":null}"#;

fn server() -> Fake {
    Fake::start(&[json("v1/agents?limit=100", 200, NOTHING)])
}

fn home(configuration: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("stocktake")).unwrap();
    fs::write(home.path().join("stocktake/config.toml"), configuration).unwrap();
    home
}

fn write(home: &TempDir, name: &str, text: &str) {
    fs::write(home.path().join("stocktake").join(name), text).unwrap();
}

fn authorization(server: &Fake) -> Option<String> {
    server.asked_once().headers.get("authorization").map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn the_current_context_says_which_server_and_as_whom() {
    let server = server();
    let home = home(&format!(
        "current = 'prod'\n[contexts.prod]\nurl = '{}'\ntoken_file = 'prod.token'\naccount = 'team-a'",
        server.url
    ));
    write(&home, "prod.token", "st_secret\n");
    Program::new(&["agents"]).home(home.path()).run().printed();
    let headers = server.asked_once().headers;
    assert_eq!(headers["authorization"], "Bearer st_secret");
    assert_eq!(headers["x-anchore-account"], "team-a");
}

#[test]
fn a_password_is_of_a_file_or_of_the_environment() {
    for (variable, expected) in [(None, "Basic am86ZnJvbSBmaWxl"), (Some("from env"), "Basic am86ZnJvbSBlbnY=")] {
        let server = server();
        let home = home(&format!("[contexts.prod]\nurl = '{}'\nuser = 'jo'\npassword_file = 'pw'", server.url));
        write(&home, "pw", "from file\n");
        let program = Program::new(&["agents", "-C", "prod"]).home(home.path());
        let program =
            variable.into_iter().fold(program, |program, value| program.variable("STOCKTAKE_PASSWORD", value));
        program.run().printed();
        assert_eq!(authorization(&server).as_deref(), Some(expected));
    }
}

#[test]
fn a_password_that_nobody_can_be_asked_for_is_missed() {
    let server = server();
    server.run(&["agents", "--user", "jo"]).failed(78, "no password for `jo`, and no terminal");
    assert!(server.asked().is_empty());
}

#[test]
fn a_contexts_credentials_do_not_go_to_another_server() {
    let (server, other) = (server(), self::server());
    let home = home(&format!("current = 'prod'\n[contexts.prod]\nurl = '{}'\ntoken_file = 't'", other.url));
    write(&home, "t", "st_secret");
    Program::new(&["agents", "--url", &server.url]).home(home.path()).run().printed();
    assert_eq!(authorization(&server), None);
    assert!(other.asked().is_empty());
}

#[test]
fn the_environment_holds_a_token_or_a_user() {
    let server = server();
    let program = |arguments| Program::new(arguments).variable("STOCKTAKE_URL", &server.url);
    let program = |arguments| program(arguments).variable("STOCKTAKE_TOKEN", "st_secret");
    program(&["agents", "--account", "team-b"]).run().printed();
    assert_eq!(authorization(&server).as_deref(), Some("Bearer st_secret"));
    assert_eq!(server.asked_once().headers["x-anchore-account"], "team-b");
    program(&["agents"]).variable("STOCKTAKE_USER", "jo").run().failed(78, "both set");
}

#[test]
fn a_server_that_does_not_know_or_allow_is_exit_status_77() {
    for status in [401, 403] {
        let server = Fake::start(&[json("v1/agents?limit=100", status, r#"{"title":"you may not"}"#)]);
        server.run(&["agents"]).failed(77, "error: you may not");
    }
}

#[test]
fn a_server_that_is_not_there_is_exit_status_69() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = Program::new(&["agents", "--url", &format!("http://{free}")]).run();
    ended.failed(69, &format!("cannot connect to http://{free}/"));
}

#[test]
fn what_is_no_server_of_ours_is_exit_status_69() {
    for (status, body) in [(200, "<html>log in</html>"), (302, ""), (502, "bad gateway")] {
        let server = Fake::start(&[json("v1/agents?limit=100", status, body)]);
        server.run(&["agents"]).failed(69, &server.url);
    }
}

#[test]
fn a_configuration_that_is_wrong_is_exit_status_78() {
    for (configuration, told) in [
        ("curent = 'a'", "unknown field `curent`"),
        ("current = 'prd'\n[contexts.prod]\nurl = 'http://127.0.0.1:1'", "did you mean `prod`?"),
        ("current = 'a'\n[contexts.a]\nurl = 'http://127.0.0.1:1'\ntoken_file = 'none'", "cannot read "),
        ("current = 'a'\n[contexts.a]\nurl = 'ftp://a'", "neither an http nor an https one"),
        ("current = 'a'\n[contexts.a]\nurl = 'https://127.0.0.1:1'\nca_file = 'config.toml'", "no certificate in PEM"),
    ] {
        let home = home(configuration);
        Program::new(&["agents"]).home(home.path()).run().failed(78, told);
    }
}

#[test]
fn a_secret_is_no_argument() {
    for argument in ["--password", "--token"] {
        Program::new(&["agents", argument, "secret"]).run().failed(2, argument);
    }
}

#[test]
fn contexts_are_listed_and_chosen() {
    let home = home(
        "# mine\ncurrent = 'a'\n[contexts.a]\nurl = 'http://a'\nuser = 'jo'\n[contexts.b]\nurl = 'http://b'\ntoken_file = 't'\naccount = 'x'\n",
    );
    let run = |arguments: &[&str]| Program::new(arguments).home(home.path()).run();
    let expected = "\
CURRENT  NAME  URL       LOGIN    ACCOUNT
*        a     http://a  user jo
         b     http://b  token    x
";
    assert_eq!(run(&["contexts", "list"]).printed(), expected);
    assert_eq!(run(&["contexts", "use", "b"]).code, 0);
    assert_eq!(run(&["contexts", "list"]).printed().lines().nth(2), Some("*        b     http://b  token    x"));
    run(&["contexts", "use", "c"]).failed(78, "there is no context `c`");
    let text = fs::read_to_string(home.path().join("stocktake/config.toml")).unwrap();
    assert!(text.starts_with("# mine\ncurrent = \"b\""), "{text}");
}

#[test]
fn no_context_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let ended = Program::new(&["contexts", "list"]).home(home.path()).run();
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
    assert!(ended.err.starts_with("there is no context in "), "{ended:?}");
    assert!(!Path::new(&home.path().join("stocktake")).exists());
}

#[test]
fn a_completion_script_knows_the_commands() {
    let ended = Program::new(&["completions", "bash"]).run();
    assert!(ended.printed().contains("inventory"));
}
