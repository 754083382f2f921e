//! The configuration: complaints that say where and what instead, and an example and a schema that are true.

use serde_json::Value;
use stocktake_tests::{agent::Agent, bed, needs};

#[test]
fn a_bad_configuration_is_78_and_says_where_and_what_instead() {
    for (config, expected) in [
        (
            "\n[collectors.docker]\nstatse = ['all']\n",
            &["agent.toml:3: collectors.docker.statse: unknown key `statse`", "did you mean `states`?"][..],
        ),
        (
            "[collectors.docker]\nstates = ['runing']\n",
            &["agent.toml:2: collectors.docker.states[0]", "did you mean `running`?"],
        ),
        (
            "[collectors.docker]\nstates = 'all'\n",
            &["agent.toml:2: collectors.docker.states: invalid type: string", "expected a sequence"],
        ),
        ("[collectors.docker]\nhost = 'ssh://me@host'\n", &["agent.toml:2: collectors.docker.host", "ssh -L"]),
        (
            "[collectors.prod]\nhost = 'unix:///x'\n",
            &["agent.toml:1: collectors.prod", "unknown collector type `prod`", "`docker`"],
        ),
        (
            "[collectors.prod]\ntype = 'kubernets'\n",
            &["agent.toml:2: collectors.prod.type", "did you mean `kubernetes`?"],
        ),
        (
            "[collectors.containerd]\nnamespaces = ['/(/']\n",
            &["agent.toml:2: collectors.containerd.namespaces[0]", "not a valid pattern"],
        ),
        (
            "[collectors.containerd]\naddress = 'containerd.sock'\n",
            &["agent.toml:2: collectors.containerd.address", "not an absolute path"],
        ),
        (
            "[collectors.cri]\naddress = 'tcp://127.0.0.1:3735'\n",
            &["agent.toml:2: collectors.cri.address", "not the absolute path of a socket"],
        ),
        (
            "[collectors.kubernetes]\nkubconfig = '/x'\n",
            &["agent.toml:2: collectors.kubernetes.kubconfig", "did you mean `kubeconfig`?"],
        ),
        (
            "[collectors.kubernetes]\nserver = 'https://x'\ncontext = 'y'\n",
            &["collectors.kubernetes", "`server`", "`context`"],
        ),
        ("[agent]\ntimeout = 'soon'\n[collectors.docker]\n", &["agent.toml:2: agent.timeout", "\"soon\"", "`30s`"]),
        ("[collectors.docker]\ntimeout = 5\n", &["agent.toml:2: collectors.docker.timeout", "expected a"]),
        ("[colectors.docker]\n", &["agent.toml:1: colectors", "did you mean `collectors`?"]),
        ("[collectors]\n", &["agent.toml", "collectors", "config example"]),
        ("[collectors.docker\n", &["agent.toml:1: not valid TOML"]),
    ] {
        for command in ["collect", "check"] {
            let mut run = Agent::with_config(command, config, &[]).run().exits(78);
            assert_eq!(run.stdout, "", "{config}");
            for part in expected {
                run = run.says(part);
            }
        }
    }
}

#[test]
fn every_complaint_is_made_at_once() {
    let run = Agent::collect("[collectors.docker]\nx = 1\n[collectors.containerd]\ny = 2\n", &[]).run().exits(78);
    let _ = run.says("agent.toml:2: ").says("agent.toml:4: ");
}

#[test]
fn a_configuration_that_cannot_be_read_is_78_and_named() {
    let run = Agent::new(&["collect", "--config", "/nonexistent/agent.toml"]).run().exits(78);
    let _ = run.says("/nonexistent/agent.toml");
    let run = Agent::new(&["collect"]).env("STOCKTAKE_CONFIG", "/nonexistent/other.toml").run().exits(78);
    let _ = run.says("/nonexistent/other.toml");
}

fn schema() -> Value {
    serde_json::from_str(&Agent::new(&["config", "schema"]).run().exits(0).stdout).unwrap()
}

fn example() -> String {
    Agent::new(&["config", "example"]).run().exits(0).stdout
}

/// What is wrong with a configuration by the schema.
fn complaints(config: &str) -> Vec<String> {
    let config: toml::Table = config.parse().unwrap_or_else(|error| panic!("{error}\n{config}"));
    let config = serde_json::to_value(config).unwrap();
    let validator = jsonschema::validator_for(&schema()).unwrap();
    validator.iter_errors(&config).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_example_is_what_the_schema_allows() {
    assert_eq!(complaints(&example()), [""; 0]);
    assert_eq!(complaints(&uncommented()), [""; 0]);
    // The schema does not allow anything.
    for config in
        ["[collectors.docker]\nstatse = ['all']\n", "[collectors.x]\ntype = 'y'\n", "[collectors]\n", "x = 1\n"]
    {
        assert_ne!(complaints(config), [""; 0], "{config}");
    }
}

/// The example with every setting that it shows switched on.
fn uncommented() -> String {
    let setting = |line: &str| {
        if line.starts_with("# [collectors.") || line.starts_with("# [targets.") {
            return Some(line[2..].to_owned());
        }
        let (key, _) = line.strip_prefix("# ")?.split_once(" = ")?;
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_key.then(|| line[2..].to_owned())
    };
    let lines: Vec<String> = example().lines().map(|line| setting(line).unwrap_or_else(|| line.to_owned())).collect();
    let text = lines.join("\n");
    assert_ne!(text.trim(), example().trim(), "the example has no setting that is commented out");
    text
}

/// Somebody who reads the example learns the name of each setting, not only what it means.
#[test]
fn the_example_names_every_setting() {
    let schema = schema();
    let example = example();
    let mut missing = Vec::new();
    // A collector that cannot do without a setting is commented out as a whole.
    let example = example.replace("\n# [", "\n[");
    for kind in ["docker", "containerd", "cri", "exec", "kubernetes"] {
        let section = example.split("\n[").find(|section| section.starts_with(&format!("collectors.{kind}]"))).unwrap();
        for key in schema["$defs"][format!("collector.{kind}")]["properties"].as_object().unwrap().keys() {
            if !section.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = "))) {
                missing.push(format!("{kind}.{key}"));
            }
        }
    }
    assert!(missing.is_empty(), "the example does not show {}", missing.join(", "));
}

#[test]
fn the_example_works_as_it_stands() {
    needs!("docker", "containerd", "kubernetes");
    let agent = Agent::with_config("check", &example(), &[]).env("DOCKER_HOST", format!("unix://{}", bed::DOCKER));
    let agent = agent.env("CONTAINERD_ADDRESS", bed::CONTAINERD).env("KUBECONFIG", bed::kubeconfig("reader"));
    let agent = agent.env("CONTAINER_RUNTIME_ENDPOINT", format!("unix://{}", bed::CONTAINERD));
    let run = agent.run().exits(0);
    let good = run.stdout.lines().filter(|line| line.starts_with("ok")).count();
    assert_eq!(good, 5, "the configuration and four runtimes: {run}");
}

#[test]
fn the_beds_configuration_is_what_the_schema_allows() {
    needs!("docker");
    assert_eq!(complaints(&bed::config()), [""; 0]);
}

#[test]
fn collectors_lists_each_type() {
    let stdout = Agent::new(&["collectors"]).run().exits(0).stdout;
    for kind in ["containerd", "cri", "docker", "exec", "kubernetes"] {
        assert!(stdout.lines().any(|line| line.starts_with(kind)), "{stdout}");
    }
}
