//! What the agent gives a collector that it has never heard of, and what the example says of itself.

use std::{collections::BTreeSet, fs, process::Command};

use stocktake_tests::{
    agent::{self, Agent},
    needs, repository,
};

use crate::lxc::{config, example};

fn printed(arguments: &[&str]) -> String {
    let mut command = Command::new(agent::example_lxc());
    command.args(arguments);
    Agent::through(command).run().exits(0).stdout
}

#[test]
fn the_program_knows_its_collector_and_stocktakes_own() {
    let kinds = |table: &str| -> BTreeSet<String> {
        table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    };
    let mut expected = kinds(&Agent::new(&["collectors"]).run().exits(0).stdout);
    assert!(expected.contains("docker") && expected.insert("lxc".into()), "{expected:?}");
    assert_eq!(kinds(&printed(&["collectors"])), expected);

    let example = printed(&["config", "example"]);
    let (_, section) = example.split_once("# LXC containers of this host (experimental)\n[collectors.lxc]\n").unwrap();
    assert!(section.contains("# lxcpath = \"/var/lib/lxc\"\n") && section.contains("# states = "), "{section}");
    assert!(printed(&["config", "schema"]).contains("\"lxcpath\""));
}

#[test]
fn wrong_settings_are_told_as_of_any_collector() {
    for (text, said) in [
        ("lxcpth = '/x'", &["agent.toml:2: collectors.lxc.lxcpth: unknown key", "did you mean `lxcpath`?"][..]),
        ("lxcpath = 'lxc'", &["agent.toml:2: collectors.lxc.lxcpath: `lxc` is not an absolute path"]),
        ("lxcpath = '/a/../lxc'", &["`/a/../lxc` is not an absolute path without `..`; `lxc-config"]),
        ("states = ['frozen']", &["agent.toml:2: collectors.lxc.states[0]"]),
    ] {
        let run = example("collect", &format!("[collectors.lxc]\n{text}\n"), &[]).run().exits(78);
        assert_eq!(run.stdout, "", "{text}");
        for part in said {
            assert!(run.stderr.contains(part), "{text}: stderr does not say {part:?}\n{run}");
        }
    }
    let run = example("collect", "[collectors.lxd]\n", &[]).run().exits(78);
    let _ = run.says("did you mean `lxc`?");
    // Building a collector looks at nothing.
    let _ = example("collect", &config("/nonexistent"), &["--collector", "lcx"]).run().exits(2);
}

#[test]
fn lxc_is_found_where_it_is() {
    needs!("lxc");
    let mut command = Command::new(agent::example_lxc());
    command.arg("check");
    let run = Agent::through(command).run();
    let line = run.stdout.lines().find(|line| line.split_whitespace().nth(1) == Some("lxc"));
    assert!(line.is_some_and(|line| line.starts_with("ok")), "{run}");
}

/// The number is shown to whoever thinks of writing a collector.
#[test]
fn the_lines_of_the_example_are_counted() {
    let example = repository().join("examples/lxc");
    let lines = |file: &str| {
        let text = fs::read_to_string(example.join(file)).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap().lines().map(str::trim);
        code.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
    };
    let collector = lines("collector/src/lib.rs") + lines("collector/src/convert.rs");
    let readme = fs::read_to_string(repository().join("examples/README.md")).unwrap();
    for said in [format!("{collector} lines"), format!("{} lines", lines("agent/src/main.rs"))] {
        assert!(readme.contains(&said), "examples/README.md does not say {said:?}");
    }
}
