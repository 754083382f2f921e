//! The composition for one Docker host agrees with the images, and with what the programs understand.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use serde_json::Value;
use stocktake_tests::{agent::Agent, bed, needs, repository, tools};

use crate::{
    images::{NAMES, image},
    layout::Layout,
};

fn composition() -> Value {
    let text = fs::read_to_string(folder().join("compose.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn folder() -> PathBuf {
    repository().join("deploy")
}

#[test]
fn its_services_are_the_images_and_what_they_write_to_is_there() {
    let composition = composition();
    for name in NAMES {
        let service = &composition["services"][name];
        assert_eq!(service["image"], format!("stocktake-{name}:{}", env!("CARGO_PKG_VERSION")));
        assert_eq!((&service["read_only"], &service["cap_drop"][0]), (&Value::Bool(true), &"ALL".into()), "{service}");
        let image = image(name);
        let mut written: Vec<_> =
            strings(&service["tmpfs"]).map(|mount| mount.split(':').next().unwrap().to_owned()).collect();
        for volume in strings(&service["volumes"]) {
            let (from, to) = volume.split_once(':').unwrap();
            if composition["volumes"].get(from).is_some() {
                written.push(to.to_owned());
            } else if let Some(file) = from.strip_prefix("./") {
                assert!(folder().join(file).is_file(), "{volume}");
            }
        }
        written.sort();
        assert_eq!(written, writable(&image), "{name}");
    }
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap())
}

/// The folders that the image's user may write to.
fn writable(image: &Layout) -> Vec<String> {
    let files = image.files().into_iter();
    files
        .filter(|(path, told)| path == "tmp" || told.contains(" 65532/0"))
        .map(|(path, _)| format!("/{path}"))
        .collect()
}

#[test]
fn its_agent_takes_its_configuration() {
    needs!("docker");
    let config = fs::read_to_string(folder().join("compose/agent.toml")).unwrap();
    let check = Agent::with_config("check", &config, &[]).env("DOCKER_HOST", format!("unix://{}", bed::DOCKER));
    let run = check.env("STOCKTAKE_TOKEN", "any").run().exits(0);
    assert!(run.stdout.contains("docker"), "{run}");
}

/// Compose is not there to be asked: a program in its place notes what it would find in `.env`, and makes the token.
const COMPOSE: &str = r#"#!/bin/sh
echo "$*: $(tr '\n' ' ' < .env)" >> log
case $* in *"token add"*) echo stk_made ;; esac
"#;

#[test]
fn what_it_asks_for_is_kept_for_the_next_time() {
    let install = fs::read_to_string(repository().join("docs/install.md")).unwrap();
    let (_, section) = install.split_once("\n## A Docker host\n").unwrap();
    let commands = section.split("```").nth(1).unwrap();
    let checkout = tempfile::tempdir().unwrap();
    let folder = checkout.path().join("deploy");
    fs::create_dir(&folder).unwrap();
    // One that is there is others' to read until it holds a secret.
    fs::write(folder.join(".env"), "").unwrap();
    let docker = folder.join("docker");
    fs::write(&docker, COMPOSE).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    let socket = checkout.path().join("docker.sock");
    fs::write(&socket, "").unwrap();
    assert_eq!(commands.matches("/var/run/docker.sock").count(), 1, "{commands}");
    let commands = commands.replace("/var/run/docker.sock", socket.to_str().unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-euc", &commands]).current_dir(checkout.path()).env_clear();
    tools::output(shell.env("PATH", format!("{}:/usr/bin:/bin", folder.display())));

    let kept = fs::read_to_string(folder.join(".env")).unwrap();
    let kept: BTreeMap<&str, &str> = kept.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(kept["STOCKTAKE_TOKEN"], "stk_made");
    assert!(kept["DOCKER_GID"].parse::<u32>().is_ok(), "{kept:?}");
    assert_eq!(fs::metadata(folder.join(".env")).unwrap().permissions().mode() & 0o777, 0o600);
    let composition = fs::read_to_string(self::folder().join("compose.yaml")).unwrap();
    let log = fs::read_to_string(folder.join("log")).unwrap();
    assert_eq!(log.lines().count(), 3, "{log}");
    for variable in composition.split("${").skip(1) {
        let (name, otherwise) =
            variable.split_at(variable.find(|sign: char| !sign.is_ascii_uppercase() && sign != '_').unwrap());
        assert!(kept.contains_key(name), "{name} is not kept");
        assert!(otherwise.starts_with('?') || otherwise.starts_with(":?"), "nobody is told that {name} is missing");
        for line in log.lines() {
            let given = line
                .split(' ')
                .find_map(|word| word.strip_prefix(&format!("{name}=")))
                .unwrap_or_else(|| panic!("{name}: {line}"));
            assert!(!given.is_empty() || otherwise.starts_with('?'), "{name} stops: {line}");
        }
    }
}
