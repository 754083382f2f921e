//! What is published beside the program is what the program says: schemas, the example configuration, the command line.
//!
//! `STOCKTAKE_UPDATE_DOCS=1 cargo test -p stocktake-tests --test docs` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

use std::{env, fmt::Write as _, fs, path::Path, process::Command};

use stocktake_tests::{
    agent::{self, Agent},
    repository, server, tools,
};

#[test]
fn docs_are_fresh() {
    let inventory = serde_json::to_string_pretty(&stocktake_core::model::inventory_schema()).unwrap() + "\n";
    let document = serde_json::to_string_pretty(&stocktake_core::exec::document_schema()).unwrap() + "\n";
    let published = [
        ("docs/schema/inventory.v1.json", inventory),
        ("docs/schema/exec.v1.json", document),
        ("docs/schema/config.v1.json", printed(&["config", "schema"])),
        ("docs/config.example.toml", printed(&["config", "example"])),
        ("docs/cli.md", command_line()),
        ("docs/metrics.md", printed(&["metrics"])),
    ];
    let update = env::var_os("STOCKTAKE_UPDATE_DOCS").is_some_and(|value| value == "1");
    let mut stale = Vec::new();
    for (path, expected) in published {
        let file = repository().join(path);
        if fs::read_to_string(&file).is_ok_and(|found| found == expected) {
            continue;
        }
        if update {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, expected).unwrap();
        } else {
            stale.push(path);
        }
    }
    assert!(
        stale.is_empty(),
        "out of date: {}; run STOCKTAKE_UPDATE_DOCS=1 cargo test -p stocktake-tests --test docs",
        stale.join(", ")
    );
}

#[test]
fn what_to_do_is_said_of_every_metric() {
    let operations = fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    let of_agent = printed(&["metrics"]);
    let of_agent = of_agent.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()));
    // Expressions for alerts are in a table, too.
    let is_name = |name: &String| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let of_agent = of_agent.filter(|name| name.starts_with("stocktake_agent_") && is_name(name));
    // Not asked of a server: it is silent on what it has counted nothing of.
    let source = fs::read_to_string(repository().join("server/src/metrics.rs")).unwrap();
    let of_server = source.split("registry.register").skip(1).map(|rest| {
        let (how, rest) = rest.split_once("(\"").unwrap();
        let unit = if how == "_with_unit" { "_seconds" } else { "" };
        format!("stocktake_server_{}{unit}", rest.split_once('"').unwrap().0)
    });
    let mut names: Vec<String> = of_agent.chain(of_server).collect();
    // Counters end in `_total`, which their name in the server's source does not.
    names.retain(|name| ![name, &format!("{name}_total")].iter().any(|it| operations.contains(&format!("| `{it}` |"))));
    assert!(names.is_empty(), "docs/operations.md says nothing of {}", names.join(", "));
}

fn printed(arguments: &[&str]) -> String {
    Agent::new(arguments).run().exits(0).stdout
}

/// The help of each command of each program, as it is shown.
fn command_line() -> String {
    let mut text = String::from(
        "# Command line\n\n\
         Generated from the programs' own help by `tests/tests/docs.rs`; the test that compares them says how to write it anew.\n",
    );
    let programs = [
        ("stocktake-agent", agent::built("STOCKTAKE_AGENT", "stocktake-agent")),
        ("stocktake-server", server::binary()),
        ("stocktake", server::cli()),
    ];
    for (name, binary) in programs {
        describe(&binary, &mut vec![name.to_owned()], &mut text);
    }
    text
}

/// Appends the help of a command, and of all below it.
fn describe(binary: &Path, command: &mut Vec<String>, text: &mut String) {
    let help = tools::output(Command::new(binary).env_clear().args(&command[1..]).arg("--help"));
    // Clap pads empty lines between possible values.
    let help: String = help.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n");
    write!(text, "\n## {}\n\n```text\n{}\n```\n", command.join(" "), help.trim_end()).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What is too long for a line goes on further in.
    for line in commands.filter(|line| !line.starts_with("   ")) {
        let name = line.split_whitespace().next().unwrap();
        if name != "help" {
            command.push(name.to_owned());
            describe(binary, command, text);
            command.pop();
        }
    }
}
