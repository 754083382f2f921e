//! `--explain`, and what is wrong with a filter.

use serde_json::Value;
use stocktake_tests::{
    agent::Agent,
    fake::{FakeDocker, Fault},
};

#[test]
fn a_misspelt_pattern_is_found_by_its_nothing() {
    let daemon = FakeDocker::new("/never-asked", Fault::Hang);
    let config = format!(
        "[filters]\nimages = {{ exclude = ['example.com/*', 'exmaple.com/*'] }}\nlabels = ['team']\n\
         [collectors.docker]\nhost = 'unix://{}'\n",
        daemon.socket().display()
    );
    let explained = Agent::collect(&config, &["--format", "json", "--explain"]).run().exits(0);
    let removed = "docker: filters.images.exclude `example.com/*`: removed 1 container, 1 image: container `one`";
    let explained = explained
        .says(removed)
        .says("docker: filters.images.exclude `exmaple.com/*`: removed nothing\n")
        .says("docker: filters.labels.include: removed nothing\n")
        .says("docker: never reported (environment variables, command lines, mounts): removed nothing\n");
    let plain = Agent::collect(&config, &["--format", "json"]).run().exits(0);
    assert_eq!(plain.stderr, "", "nothing is explained unasked");
    let scopes = |run: &stocktake_tests::agent::Run| run.report().inventory.scopes;
    assert_eq!(scopes(&explained), scopes(&plain), "stdout is data, explained or not");

    let arguments = ["--format", "json", "--explain", "--log-format", "json"];
    for line in Agent::collect(&config, &arguments).run().exits(0).stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"] == "INFO", "{line}");
        let fields = &line["fields"];
        assert!(fields["message"].is_string() && fields["collector"] == "docker", "{line}");
        assert!(fields["removed"].is_object() || fields["cut"].is_object(), "{line}");
    }
}

#[test]
fn a_wrong_filter_is_78_with_its_place() {
    for (filters, expected) in [
        (
            "labels = { exclude = ['a', '/(/'] }",
            "agent.toml:2: filters.labels.exclude[1]: `/(/` is not a valid pattern",
        ),
        ("images = []", "agent.toml:2: filters.images: the list is empty"),
        ("anotations = ['x']", "agent.toml:2: filters.anotations: unknown key `anotations`"),
        ("containers = 'web'", "agent.toml:2: filters.containers: invalid type: string"),
    ] {
        for command in ["collect", "check"] {
            let config = format!("[filters]\n{filters}\n[collectors.docker]\n");
            let run = Agent::with_config(command, &config, &[]).run().exits(78).says(expected);
            assert_eq!(run.stdout, "");
        }
    }
    let misspelt = Agent::with_config("check", "[filter]\n[collectors.docker]\n", &[]).run().exits(78);
    let _ = misspelt.says("agent.toml:1: filter: unknown key").says("did you mean `filters`?");
}
