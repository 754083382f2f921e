//! The log, on stderr.

use std::fs;

use serde_json::Value;
use stocktake_tests::{agent::Agent, bed, needs};

#[test]
fn the_log_can_be_json_line_by_line() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    let arguments = ["--format", "json", "--log-format", "json", "-vv"];
    let run = Agent::collect(&super::quiet_config(), &arguments).run().exits(0);
    assert!(!run.stderr.is_empty(), "-vv says nothing");
    for line in run.stderr.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry["timestamp"].is_string() && entry["level"].is_string(), "{line}");
    }
    assert_eq!(run.report().containers("docker"), 12, "stdout is data alone, however much is logged");
}

#[test]
fn the_environment_sets_the_filter() {
    needs!("docker");
    let collect = |variable: &str, arguments: &[&str]| {
        let config = format!("[collectors.docker]\nhost = 'unix://{}'\n", bed::DOCKER);
        Agent::collect(&config, arguments).env("STOCKTAKE_LOG", variable).run().exits(0).stderr
    };
    assert_eq!(collect("off", &["-vv"]), "");
    assert!(collect("bollard=debug", &[]).contains("DEBUG"));
    assert!(collect("", &["-v"]).contains("INFO"), "an empty variable is one that is not set");
}

/// Whoever hands a log to somebody else must not hand over the cluster.
#[test]
fn no_log_holds_a_credential() {
    needs!("kubernetes", "docker");
    let kubeconfig = fs::read_to_string(bed::kubeconfig("reader")).unwrap();
    let (_, token) = kubeconfig.split_once("token: ").unwrap();
    let token = token.split(|character: char| !character.is_ascii_alphanumeric()).next().unwrap();
    assert!(token.len() >= 16, "this is no token: {token:?}");
    let config = format!(
        "[collectors.file]\ntype = 'kubernetes'\nkubeconfig = '{}'\n\
         [collectors.inline]\ntype = 'kubernetes'\nserver = 'https://127.0.0.1:16443'\ntoken = '{token}'\n",
        bed::kubeconfig("reader")
    );
    let run = Agent::collect(&config, &["--format", "json"]).env("STOCKTAKE_LOG", "trace").run();
    assert!(run.stderr.contains("TRACE") && run.report().containers("file") > 0, "nothing was logged");
    assert!(!run.stderr.contains(token), "the token is in the log");
    assert!(!run.stdout.contains(token), "the token is in the report");
}
