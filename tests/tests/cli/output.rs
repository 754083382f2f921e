//! Data on stdout, in each form; and shells.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;
use stocktake_tests::{
    agent::{self, Agent},
    bed, needs, server, tools,
};

#[test]
fn ndjson_holds_what_json_holds() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    let run = Agent::collect(&super::quiet_config(), &["--format", "ndjson"]).run().exits(0);
    let mut lines: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in run.stdout.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let kind = value["type"].as_str().unwrap_or_else(|| panic!("what is this? {line}")).to_owned();
        let is_unified = matches!(&*kind, "unified_container" | "unified_image" | "finding");
        let collector = match value["collector"].as_str() {
            None if is_unified || kind == "report" => String::new(),
            collector => collector.unwrap_or_else(|| panic!("whose is this? {line}")).to_owned(),
        };
        assert_eq!(
            value["scope"].is_object(),
            !is_unified && !matches!(&*kind, "report" | "source" | "scope"),
            "{line}"
        );
        *lines.entry((collector, kind)).or_default() += 1;
    }
    let report = Agent::collect(&super::quiet_config(), &["--format", "json"]).run().exits(0).report();
    for (collector, containers) in super::QUIET {
        let count = |kind: &str| lines.get(&(collector.to_owned(), kind.to_owned())).copied().unwrap_or_default();
        assert_eq!((count("source"), count("container")), (1, containers), "{collector}");
        let sum = |of: fn(&stocktake_core::model::Scope) -> usize| {
            report.bodies(collector).map(|(_, scope)| of(scope)).sum::<usize>()
        };
        assert_eq!(count("image"), sum(|scope| scope.images.len()), "{collector}");
        assert_eq!(count("pod"), sum(|scope| scope.pods.len()), "{collector}");
        assert_eq!(count("workload"), sum(|scope| scope.workloads.len()), "{collector}");
        assert_eq!(count("scope"), report.source(collector).scopes.len(), "{collector}");
    }
    let unified = report.inventory.unified.as_ref().unwrap();
    let count = |kind: &str| lines.get(&(String::new(), kind.to_owned())).copied().unwrap_or_default();
    assert_eq!(count("unified_container"), unified.containers.len());
    assert_eq!(count("unified_image"), unified.images.len());
    assert_eq!(count("finding"), unified.findings.len());
}

#[test]
fn an_unchanged_scope_has_the_same_digest_and_shares_its_body() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    let look = || Agent::collect(&super::quiet_config(), &["--format", "json"]).run().exits(0).report();
    // A pod of the bed ends and is started again and again, seldom between two looks.
    let mut looks = (0..5).map(|_| (look(), look()));
    let (first, second) = looks
        .find(|(first, second)| first.source("kubernetes").scopes == second.source("kubernetes").scopes)
        .expect("two looks at an unchanged cluster");
    assert_ne!(first.inventory.report.id, second.inventory.report.id);
    for collector in ["docker", "docker-next", "podman", "containerd"] {
        assert_eq!(first.source(collector).scopes, second.source(collector).scopes, "{collector}");
    }
    assert_eq!(first.inventory.unified, second.inventory.unified);
    let named: usize = first.inventory.report.sources.iter().map(|source| source.scopes.len()).sum();
    assert!(first.inventory.scopes.len() < named, "empty namespaces share one body");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    for format in ["table", "json", "ndjson", "csv", "cyclonedx", "kai-json", "kai-table", "k8s-inventory"] {
        let mut agent = Agent::collect(&super::quiet_config(), &["--format", format]);
        let mut child =
            agent.command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Before anything can have been written.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{format}");
    }
}

#[test]
fn colour_is_for_terminals_and_not_for_those_who_decline_it() {
    needs!("docker");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    fs::write(&config, super::quiet_config()).unwrap();
    let check = format!(
        "{} check --collector docker --config {}",
        stocktake_tests::agent::binary().display(),
        config.display()
    );
    // `script` gives the agent a terminal.
    let on_terminal = |variables: &[(&str, &str)]| {
        let mut command = Command::new("/usr/bin/script");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm").envs(variables.iter().copied());
        tools::output(command.args(["--quiet", "--return", "--command", &check, "/dev/null"]).stdin(Stdio::null()))
    };
    assert!(on_terminal(&[]).contains('\u{1b}'), "no colour on a terminal");
    assert!(!on_terminal(&[("NO_COLOR", "1")]).contains('\u{1b}'), "NO_COLOR");
    let piped = Agent::with_config("check", &super::quiet_config(), &["--collector", "docker"]).run().exits(0);
    assert!(!piped.stdout.contains('\u{1b}'), "a pipe is no terminal: {piped}");
}

#[test]
fn completions_are_scripts_that_the_shells_accept() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = Agent::new(&["completions", shell]).run().exits(0).stdout;
        assert!(script.contains("stocktake-agent") && script.contains("collect"), "{shell}");
        let path = folder.path().join(shell);
        fs::write(&path, script).unwrap();
        match Command::new(shell).arg(check).arg(&path).output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(_) => bed::say_skipped(&format!("parsing the completions of {shell}, which is not installed")),
        }
    }
}

/// A page for each command of each program, without a warning of what shows them.
#[test]
fn the_manual_has_a_page_for_each_command() {
    for (binary, name, section, command) in [
        (agent::binary(), "stocktake-agent", 8, "config-import"),
        (server::binary(), "stocktake-server", 8, "token-add"),
        (server::cli(), "stocktake", 1, "inventory-watch"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        tools::output(Command::new(&binary).arg("man").arg(folder.path()));
        let first = fs::read_to_string(folder.path().join(format!("{name}.{section}"))).unwrap();
        assert!(first.contains(".SH SUBCOMMANDS") && first.contains("completions"), "{first}");
        assert!(folder.path().join(format!("{name}-{command}.{section}")).exists(), "no page of {command}");
        for page in fs::read_dir(folder.path()).unwrap() {
            let path = page.unwrap().path();
            match Command::new("groff").args(["-man", "-Kutf8", "-Tutf8", "-ww", "-z"]).arg(&path).output() {
                Ok(output) => {
                    assert!(output.status.success() && output.stderr.is_empty(), "{}: {output:?}", path.display());
                }
                Err(_) => return bed::say_skipped("formatting the manual, as groff is not installed"),
            }
        }
    }
}

#[test]
fn bash_completes_commands_and_formats() {
    let script = Agent::new(&["completions", "bash"]).run().exits(0).stdout;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("completion");
    fs::write(&path, script).unwrap();
    // As bash does it when a person presses Tab behind the last word.
    let complete = |words: &str, number: usize| {
        let ask = format!(
            "source {}; function=$(complete -p stocktake-agent | grep -o -- '-F [^ ]*'); COMP_WORDS=({words}); \
             COMP_CWORD={number}; ${{function#-F }} stocktake-agent \"${{COMP_WORDS[COMP_CWORD]}}\" \
             \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[@]}}\"",
            path.display()
        );
        tools::output(Command::new("bash").args(["--norc", "-c", &ask]))
    };
    assert_eq!(complete("stocktake-agent coll", 1).split_whitespace().collect::<Vec<_>>(), ["collect", "collectors"]);
    assert!(complete("stocktake-agent collect --", 2).contains("--format"));
}
