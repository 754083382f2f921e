//! The bill of materials against the published schema, and against the JSON of the same containers.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
    process::Command,
};

use jsonschema::{Registry, Validator};
use serde_json::{Value, json};
use stocktake_tests::{needs, repository, tools};

use crate::{QUIET, collect, text};

/// CycloneDX's schema of version 1.6, which the package holds whose types the agent writes: cargo knows where.
fn schema() -> Value {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut metadata = Command::new(cargo);
    metadata.args(["metadata", "--format-version", "1", "--locked"]).current_dir(repository());
    let metadata = tools::json(&mut metadata);
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "serde-cyclonedx").expect("the agent has it");
    let manifest = PathBuf::from(text(package, "/manifest_path"));
    let schema = fs::read_to_string(manifest.with_file_name("schemas").join("cyclonedx_1_6.json")).unwrap();
    serde_json::from_str(&schema).unwrap()
}

fn complaints(bill: &Value) -> Vec<String> {
    let schema = schema();
    assert_eq!(text(&schema, "/$id"), "http://cyclonedx.org/schema/bom-1.6.schema.json");
    // It refers to two more, for licences and signatures. A bill of what runs has neither, so nothing is right there.
    let registry = Registry::new()
        .add("http://cyclonedx.org/schema/spdx.schema.json", json!({"not": {}}))
        .unwrap()
        .add("http://cyclonedx.org/schema/jsf-0.82.schema.json", json!({"definitions": {"signature": {"not": {}}}}))
        .unwrap()
        .prepare()
        .unwrap();
    let validator: Validator =
        jsonschema::options().with_registry(&registry).should_validate_formats(true).build(&schema).unwrap();
    validator.iter_errors(bill).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn properties(component: &Value) -> BTreeMap<&str, &str> {
    let properties = component["properties"].as_array().unwrap();
    properties.iter().map(|property| (text(property, "/name"), text(property, "/value"))).collect()
}

#[test]
fn the_bill_is_valid_and_has_every_container() {
    needs!("docker", "docker-next", "podman");
    let run = collect("cyclonedx", QUIET, &[]).exits(0);
    let bill: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(complaints(&bill), [""; 0]);

    let unified = collect("json", QUIET, &[]).exits(0).report().inventory.unified.unwrap();
    let components = bill["components"].as_array().unwrap();
    assert_eq!(components.len(), unified.containers.len());
    let refs: BTreeSet<&str> = components.iter().map(|component| text(component, "/bom-ref")).collect();
    assert_eq!(refs.len(), components.len());
    let mut hashed = 0;
    for (component, container) in components.iter().zip(&unified.containers) {
        assert_eq!(component["name"], container.name.as_str());
        let properties = properties(component);
        assert_eq!(properties.get("stocktake:state").copied(), Some(container.state.as_str()));
        assert_eq!(properties.get("stocktake:container_id").copied(), container.id.as_deref());
        let hash = component["hashes"][0]["content"].as_str().map(|hash| format!("sha256:{hash}"));
        assert_eq!(hash.as_deref(), properties.get("stocktake:manifest_digest").copied());
        hashed += usize::from(hash.is_some());
    }
    assert!(hashed >= 20, "only {hashed} have a hash");
    assert_eq!(bill["compositions"][0]["aggregate"], "complete");
}

/// A validator that accepts anything would accept ours.
/// By default what has ended is left out: nothing is missing of what was asked for, and that was not everything.
#[test]
fn a_bill_of_a_part_does_not_pass_for_a_whole_one() {
    needs!("docker");
    let config = format!("[collectors.docker]\nhost = 'unix://{}'\n", stocktake_tests::bed::DOCKER);
    let run = stocktake_tests::agent::Agent::collect(&config, &["--format", "cyclonedx"]).run().exits(0);
    let bill: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(bill["compositions"][0]["aggregate"], "not_specified");
    assert_eq!(complaints(&bill), [""; 0]);
}

#[test]
fn a_broken_bill_is_not_valid() {
    needs!("docker-next");
    let run = collect("cyclonedx", "docker-next", &[]).exits(0);
    let bill: Value = serde_json::from_str(&run.stdout).unwrap();
    let broken = |pointer: &str, value: Value| {
        let mut bill = bill.clone();
        *bill.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
        complaints(&bill)
    };
    assert_eq!(broken("/specVersion", json!("1.6")), [""; 0]);
    for (pointer, value) in [
        ("/specVersion", json!(1.6)),
        ("/serialNumber", json!("urn:uuid:1")),
        ("/metadata/timestamp", json!("yesterday")),
        ("/components/0/type", json!("vessel")),
        ("/components/0/hashes/0/content", json!("123")),
        ("/compositions/0/aggregate", json!("nearly")),
        ("/components/1", bill["components"][0].clone()),
    ] {
        assert_ne!(broken(pointer, value), [""; 0], "{pointer}");
    }
}

#[test]
fn an_image_of_a_registry_has_a_package_url() {
    needs!("docker");
    let run = collect("cyclonedx", "docker", &[]).exits(0);
    let bill: Value = serde_json::from_str(&run.stdout).unwrap();
    let components = bill["components"].as_array().unwrap();
    let of = |name: &str| components.iter().find(|component| component["name"] == name).unwrap();
    let pulled = of("bed-pulled");
    let digest = properties(pulled)["stocktake:repo_digest"].rsplit_once('@').unwrap().1;
    let purl = text(pulled, "/purl");
    assert!(purl.starts_with(&format!("pkg:oci/app@{digest}?")), "{purl}");
    assert!(purl.contains("repository_url=127.0.0.1:15000%2Fteam%2Fapp") && purl.ends_with("&tag=1.0"), "{purl}");
    assert_eq!(of("bed-running").get("purl"), None, "it was never in a registry");
}
