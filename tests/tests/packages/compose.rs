//! The composition for one Docker host agrees with the images, and with what the programs understand.

use std::{fs, path::PathBuf};

use serde_json::Value;
use stocktake_tests::{agent::Agent, bed, needs, repository};

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
