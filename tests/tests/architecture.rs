//! Who may import whom, and what nobody may: the invariants of `ARCHITECTURE.md` that cargo can tell.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::{Value, json};
use stocktake_tests::{repository, tools};

/// `core` does no I/O and starts no task: without its features none of these may be beneath it, however deep.
const NOT_BENEATH_CORE: [&str; 8] =
    ["tokio", "kube", "bollard", "containerd-client", "tonic", "hyper", "reqwest", "rustls"];

/// One TLS stack, and no C cryptography.
const NOWHERE: [&str; 5] = ["openssl-sys", "openssl", "native-tls", "aws-lc-sys", "aws-lc-rs"];

/// Names of crates that we use: a package of ours by that name would shadow them.
const TAKEN_NAMES: [&str; 2] = ["core", "inventory"];

#[test]
fn packages_import_only_what_they_may() {
    let metadata = cargo_metadata();
    let violations = violations(&metadata);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let packages = workspace_packages(&metadata);
    assert!(packages.len() >= 8, "only {} packages were looked at", packages.len());
}

#[test]
fn nothing_that_does_io_is_beneath_core() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = tools::output(
        Command::new(cargo)
            .args(["tree", "--locked", "--package", "stocktake-core", "--no-default-features"])
            .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
            .current_dir(repository()),
    );
    assert!(beneath(&tree, "serde"), "not a tree: {tree}");
    let found: Vec<&str> = NOT_BENEATH_CORE.into_iter().filter(|name| beneath(&tree, name)).collect();
    assert_eq!(found, [""; 0], "beneath core without its features");
}

/// Whether the tree that cargo prints, a line a package, has the package.
fn beneath(tree: &str, package: &str) -> bool {
    tree.lines().skip(1).any(|line| line.split_whitespace().next() == Some(package))
}

#[test]
fn every_package_inherits_the_lints() {
    for package in workspace_packages(&cargo_metadata()) {
        let path = package["manifest_path"].as_str().unwrap();
        let manifest: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        assert!(inherits_lints(&manifest), "{path} needs `[lints] workspace = true`");
    }
}

#[test]
fn a_violation_is_told() {
    assert_eq!(violations(&made_up(&[])), [""; 0]);
    for (from, to, told) in [
        ("stocktake-collector-docker", "stocktake-collector-kubernetes", "a collector imports another"),
        ("stocktake-collector-docker", "stocktake-agent", "a collector imports the agent"),
        ("stocktake-core", "stocktake-collector-docker", "core imports stocktake-collector-docker"),
        ("stocktake-agent", "stocktake-tests", "only tests may import"),
        ("stocktake-cli", "stocktake-agent", "the command line imports more than core"),
        ("stocktake-agent", "stocktake-cli", "nobody imports the command line"),
        ("stocktake-server", "stocktake-collector-docker", "the server imports more than core and the agent"),
        ("stocktake-server", "stocktake-cli", "the server imports more than core and the agent"),
        ("stocktake-agent", "stocktake-server", "only tests may import the server"),
        ("example-collector-lxc", "stocktake-agent", "an example collector imports more than core"),
        ("example-collector-lxc", "stocktake-collector-docker", "an example collector imports more than core"),
        ("example-agent-lxc", "stocktake-collector-docker", "an example agent imports more than the agent and"),
        ("example-agent-lxc", "stocktake-core", "an example agent imports more than the agent and"),
        ("stocktake-agent", "example-collector-lxc", "only an example agent may import"),
        ("stocktake-tests", "example-collector-lxc", "only an example agent may import"),
        ("stocktake-tests", "example-agent-lxc", "only an example agent may import"),
        ("serde", "openssl-sys", "openssl-sys is in the tree"),
        ("tokio", "aws-lc-sys", "aws-lc-sys is in the tree"),
    ] {
        let found = violations(&made_up(&[(from, to)]));
        assert!(found.iter().any(|violation| violation.contains(told)), "{from} -> {to}: {found:?}");
    }
    let mut shadowing = made_up(&[]);
    shadowing["packages"][0]["name"] = json!("core");
    assert!(violations(&shadowing).iter().any(|violation| violation.contains("may not be called")));
    assert!(!inherits_lints(&"[lints.clippy]\npedantic = 'warn'".parse().unwrap()));
}

fn cargo_metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    tools::json(Command::new(cargo).args(["metadata", "--format-version=1", "--locked"]).current_dir(repository()))
}

fn workspace_packages(metadata: &Value) -> Vec<&Value> {
    let members = metadata["workspace_members"].as_array().unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.filter(|package| members.contains(&package["id"])).collect()
}

fn inherits_lints(manifest: &toml::Table) -> bool {
    manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
}

/// All that is wrong with a workspace. Dependencies of every kind count.
fn violations(metadata: &Value) -> Vec<String> {
    let name_of: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let workspace: BTreeSet<&str> =
        workspace_packages(metadata).iter().map(|package| package["name"].as_str().unwrap()).collect();

    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let from = name_of[node["id"].as_str().unwrap()];
        for dependency in node["deps"].as_array().unwrap() {
            let to = name_of[dependency["pkg"].as_str().unwrap()];
            imports.entry(from).or_default().insert(to);
        }
    }

    let mut found = Vec::new();
    for package in &workspace {
        if TAKEN_NAMES.contains(package) {
            found.push(format!("a package may not be called `{package}`: a crate that we use is"));
        }
        for import in imports.get(package).into_iter().flatten().filter(|import| workspace.contains(*import)) {
            found.extend(forbidden(package, import));
        }
    }
    let everything: BTreeSet<&str> = name_of.values().copied().collect();
    found.extend(NOWHERE.iter().filter(|name| everything.contains(*name)).map(|name| format!("{name} is in the tree")));
    found
}

/// core <- collectors <- agent <- server, which looks where no agent runs; tests may import all of these. Examples stand outside, as a third party's crates do:
/// core <- an example's collector <- its agent, which imports ours.
fn forbidden(package: &str, import: &str) -> Option<String> {
    let is_collector = |name: &str| name.starts_with("stocktake-collector-");
    let is_example_collector = |name: &str| name.starts_with("example-collector-");
    let complaint = if package.starts_with("example-agent-") {
        if import == "stocktake-agent" || is_example_collector(import) {
            return None;
        }
        "an example agent imports more than the agent and its collector".to_owned()
    } else if import.starts_with("example-") {
        "only an example agent may import an example".to_owned()
    } else if is_example_collector(package) && import != "stocktake-core" {
        "an example collector imports more than core".to_owned()
    } else if matches!(package, "stocktake-tests" | "stocktake-bench-server-reads") || import == "stocktake-core" {
        return None;
    } else if package == "stocktake-core" {
        format!("core imports {import}")
    } else if package == "stocktake-server" {
        if import == "stocktake-agent" {
            return None;
        }
        "the server imports more than core and the agent".to_owned()
    } else if import == "stocktake-server" {
        "only tests may import the server".to_owned()
    } else if import == "stocktake-tests" {
        "only tests may import tests".to_owned()
    } else if package == "stocktake-cli" {
        "the command line imports more than core".to_owned()
    } else if import == "stocktake-cli" {
        "nobody imports the command line".to_owned()
    } else if is_collector(package) && is_collector(import) {
        "a collector imports another".to_owned()
    } else if is_collector(package) && import == "stocktake-agent" {
        "a collector imports the agent".to_owned()
    } else {
        return None;
    };
    Some(format!("{package} -> {import}: {complaint}"))
}

/// A workspace as it should be, with `extra` dependencies.
fn made_up(extra: &[(&str, &str)]) -> Value {
    let own = [
        "stocktake-core",
        "stocktake-collector-docker",
        "stocktake-collector-kubernetes",
        "stocktake-agent",
        "stocktake-server",
        "stocktake-cli",
        "stocktake-tests",
        "example-collector-lxc",
        "example-agent-lxc",
    ];
    let mut edges = vec![
        ("stocktake-collector-docker", "stocktake-core"),
        ("stocktake-collector-docker", "tokio"),
        ("stocktake-collector-kubernetes", "stocktake-core"),
        ("stocktake-agent", "stocktake-collector-docker"),
        ("stocktake-agent", "stocktake-collector-kubernetes"),
        ("stocktake-server", "stocktake-core"),
        ("stocktake-server", "stocktake-agent"),
        ("stocktake-cli", "stocktake-core"),
        ("stocktake-tests", "stocktake-agent"),
        ("stocktake-tests", "stocktake-collector-docker"),
        ("example-collector-lxc", "stocktake-core"),
        ("example-agent-lxc", "stocktake-agent"),
        ("example-agent-lxc", "example-collector-lxc"),
        ("serde", "tokio"),
    ];
    edges.extend(extra);
    let names: BTreeSet<&str> = own.into_iter().chain(edges.iter().flat_map(|(from, to)| [*from, *to])).collect();
    let node = |name: &&str| {
        let deps = edges.iter().filter(|(from, _)| from == name);
        let deps: Vec<Value> = deps.map(|(_, to)| json!({ "pkg": to })).collect();
        json!({ "id": name, "deps": deps })
    };
    json!({
        "packages": own.iter().chain(names.iter().filter(|name| !own.contains(name)))
            .map(|name| json!({ "id": name, "name": name })).collect::<Vec<_>>(),
        "workspace_members": own,
        "resolve": { "nodes": names.iter().map(node).collect::<Vec<_>>() },
    })
}
