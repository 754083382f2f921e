//! Images as they are shipped, where `STOCKTAKE_IMAGES` names those, and what tells what is in them.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use stocktake_tests::{bed, repository, tools};

use crate::images::{NAMES, image};

/// The folder, unless the images are those that are made for tests in seconds: linked with shared libraries, of any size, and without
/// a bill of materials.
fn shipped() -> Option<PathBuf> {
    let folder = super::made("STOCKTAKE_IMAGES", "deploy/images/build --test");
    if folder.ends_with("images-test") {
        bed::say(
            "images of tests are not looked at as those that are shipped: STOCKTAKE_IMAGES=target/images has them",
        );
        return None;
    }
    Some(folder)
}

/// The program of an image, by itself.
fn program(name: &str, folder: &Path) -> PathBuf {
    image(name).extract(&format!("usr/bin/stocktake-{name}"), folder)
}

#[test]
fn what_is_shipped_is_static_and_small() {
    let Some(images) = shipped() else { return };
    for (name, limit) in NAMES.into_iter().zip([15_000_000, 25_000_000]) {
        let libraries: Vec<_> = image(name).files().into_keys().filter(|path| path.starts_with("lib")).collect();
        assert_eq!(libraries, [""; 0], "{name}");
        let folder = tempfile::tempdir().unwrap();
        let headers =
            Command::new("readelf").args(["--program-headers", "--wide"]).arg(program(name, folder.path())).output();
        let headers = String::from_utf8(headers.unwrap().stdout).unwrap();
        assert!(headers.contains("LOAD") && !headers.contains("INTERP"), "{name}: {headers}");
        let blobs = fs::read_dir(images.join(format!("stocktake-{name}/blobs/sha256"))).unwrap();
        let size: u64 = blobs.map(|blob| blob.unwrap().metadata().unwrap().len()).sum();
        bed::say(&format!("the image of the {name} has {size} bytes"));
        assert!(size <= limit, "{name}: {size} bytes");
    }
}

fn bill(images: &Path, name: &str) -> Value {
    let file = images.join(format!("stocktake-{name}.cdx.json"));
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap()
}

/// Each component of a bill with its version.
fn components(bill: &Value) -> BTreeSet<(&str, &str)> {
    let components = bill["components"].as_array().unwrap().iter();
    components.map(|component| (component["name"].as_str().unwrap(), component["version"].as_str().unwrap())).collect()
}

#[test]
fn what_is_shipped_has_a_bill_of_what_is_linked() {
    let Some(images) = shipped() else { return };
    let lock: toml::Table = fs::read_to_string(repository().join("Cargo.lock")).unwrap().parse().unwrap();
    let locked: BTreeSet<(&str, &str)> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["version"].as_str().unwrap()))
        .collect();
    for (name, own) in NAMES.into_iter().zip(["kube", "sqlx"]) {
        let bill = bill(&images, name);
        assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&json!("CycloneDX"), &json!("1.5")), "{name}");
        assert_eq!(bill["metadata"]["component"]["name"], format!("stocktake-{name}"));
        let found = components(&bill);
        assert!(found.len() > 100 && found.is_subset(&locked), "{name}: {:?}", found.difference(&locked));
        for linked in [own, "rustls", "stocktake-core", "tokio"] {
            assert!(found.iter().any(|(found, _)| *found == linked), "{name}: {linked} is linked");
        }
        for compiled in ["serde_derive", "syn", "proptest"] {
            assert!(!found.iter().any(|(found, _)| *found == compiled), "{name}: {compiled} is not linked");
        }
        for component in bill["components"].as_array().unwrap() {
            let is_others = component["bom-ref"].as_str().unwrap().starts_with("registry+");
            assert!(component["licenses"][0].is_object(), "{name}: no licence: {component}");
            assert!(!is_others || component["hashes"][0]["content"].is_string(), "{name}: no checksum: {component}");
        }
    }
}

/// What jemalloc found where it looks: a name that nobody exports, or another prefix, and it goes on with what is usual.
#[test]
fn the_server_that_is_shipped_has_the_allocator_that_was_measured() {
    let Some(images) = shipped() else { return };
    let has_jemalloc = components(&bill(&images, "server")).iter().any(|(name, _)| *name == "tikv-jemallocator");
    if !has_jemalloc {
        bed::say("the server is linked with glibc, whose allocator it has");
        return;
    }
    let source = fs::read_to_string(repository().join("server/src/main.rs")).unwrap();
    let (_, said) = source.split_once("static MALLOC_CONF: &u8 = &b\"").unwrap();
    let (said, _) = said.split_once("\\0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = program("server", folder.path());
    let output = Command::new(program).arg("--version").env_clear().env("MALLOC_CONF", "confirm_conf:true").output();
    let told = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(said.split(',').count() > 1);
    for option in said.split(',') {
        assert!(told.contains(&format!("-- Set conf value: {option}\n")), "{option}: {told}");
    }
}

/// `deploy/images/linked.py` with what `cargo tree` prints: the bill that it makes of this one.
fn linked(tree: &str) -> Result<Value, String> {
    let component =
        |name: &str, version: &str| json!({"bom-ref": format!("{name}@{version}"), "name": name, "version": version});
    let bill = json!({
        "metadata": {"component": component("stocktake-agent", "0.1.0")},
        "components": [component("tokio", "1.0.0"), component("tokio", "0.9.0"), component("syn", "2.0.0")],
        "dependencies": [
            {"ref": "stocktake-agent@0.1.0", "dependsOn": ["tokio@1.0.0", "syn@2.0.0"]},
            {"ref": "tokio@1.0.0", "dependsOn": ["syn@2.0.0"]},
            {"ref": "syn@2.0.0", "dependsOn": ["tokio@0.9.0"]},
        ]
    });
    let folder = tempfile::tempdir().unwrap();
    let (file, input) = (folder.path().join("bill.json"), folder.path().join("tree"));
    fs::write(&file, bill.to_string()).unwrap();
    fs::write(&input, tree).unwrap();
    let mut python = Command::new("python3");
    python.arg(repository().join("deploy/images/linked.py")).arg(&file).stdin(File::open(&input).unwrap());
    tools::try_output(&mut python).map(|bill| serde_json::from_str(&bill).unwrap())
}

#[test]
fn a_bill_has_what_is_linked_and_nothing_that_only_the_compiler_runs() {
    let tree = "stocktake-agent v0.1.0 (/stocktake/agent)\ntokio v1.0.0\n\ntokio v1.0.0 (*)\n";
    let bill = linked(tree).unwrap();
    assert_eq!(components(&bill), BTreeSet::from([("tokio", "1.0.0")]));
    let dependencies = json!([{"ref": "stocktake-agent@0.1.0", "dependsOn": ["tokio@1.0.0"]}, {"ref": "tokio@1.0.0"}]);
    assert_eq!(bill["dependencies"], dependencies);
    // What is linked and has not been told of is no bill at all.
    let error = linked(&format!("{tree}libc v0.2.1\n")).unwrap_err();
    assert!(error.contains("lacks what is linked: [('libc', 'v0.2.1')]"), "{error}");
}
