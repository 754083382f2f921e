//! From what runs to what a person is told: agent, bundle, server, command line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::Value;
use stocktake_core::{
    Digest,
    model::{Inventory, Scope},
    wire::Frames,
};
use stocktake_tests::{
    agent::Agent,
    bed, needs,
    server::{Server, cli, command},
    tools,
};

/// What is in a bundle, as the agent itself understands it.
fn inventory(bundle: &[u8]) -> Inventory {
    let mut frames = Frames::new(bundle, 1 << 28);
    let mut next = || frames.next_document(|_| None::<&[u8]>).unwrap();
    let report = serde_json::from_slice(&next().expect("a manifest")).unwrap();
    let mut scopes: BTreeMap<Digest, Scope> = BTreeMap::new();
    while let Some(body) = next() {
        scopes.insert(Digest::sha256(&body), serde_json::from_slice(&body).unwrap());
    }
    Inventory::new(report, scopes)
}

fn is_random(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn tells_what_was_seen(server: &Server) {
    let token = |name: &str, role: &str| {
        let mut add = command(&["token", "add", name, "--role", role]);
        tools::output(add.env("STOCKTAKE_DATABASE_URL", server.database())).trim().to_owned()
    };
    let (reports, reads) = (token("agent", "inventory-agent"), token("reader", "read-only"));
    let ask = |arguments: &[&str]| {
        let mut ask = Command::new(cli());
        ask.args(arguments).env("STOCKTAKE_URL", server.url()).env("STOCKTAKE_TOKEN", &reads);
        tools::output(&mut ask)
    };
    let target = format!("[targets.stocktake]\nurl = '{}'\ntoken = '{reports}'\n", server.url());
    let config = format!("{}\n{target}", bed::config());
    let bundle = server.folder().join("bed.stk");
    let bundle = bundle.to_str().unwrap();
    let _ = Agent::collect(&config, &["--output", bundle]).run();
    let _ = Agent::with_config("submit", &config, &[bundle]).run().exits(0);

    let unified = inventory(&fs::read(bundle).unwrap()).unified.unwrap();
    let told: Vec<Value> = serde_json::from_str(&ask(&["containers", "-o", "json"])).unwrap();
    let expected: BTreeSet<&str> =
        unified.containers.iter().filter_map(|container| container.id.as_deref()).filter(|id| is_random(id)).collect();
    let ids = told.iter().filter_map(|container| container["runtime_id"].as_str()).filter(|id| is_random(id));
    let ids: Vec<&str> = ids.collect();
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), expected);
    assert_eq!(ids.len(), expected.len(), "each container once, whatever saw it");
    assert!(expected.len() > 20, "{} containers on the whole bed", expected.len());
    let twice = told.iter().filter(|container| container["seen"].as_array().unwrap().len() > 1).count();
    assert!(twice > 10, "only {twice} containers were seen by several");

    let images: Vec<Value> = serde_json::from_str(&ask(&["images", "-o", "json"])).unwrap();
    assert!(images.len() > 5, "{} images on the whole bed", images.len());
    for image in &images {
        let lines = told.iter().filter(|container| container["image_identity"] == image["identity"]).count();
        assert_eq!(image["containers"], lines, "{image}");
    }

    // An image that was loaded from a file has no digest but the configuration's to Kubernetes; containerd knows its manifest.
    let side =
        told.iter().find(|container| container["pod"]["name"] == "side" && container["kind"] == "regular").unwrap();
    let manifest = side["image_identity"].as_str().unwrap();
    let places = ask(&["where", manifest]);
    assert!(places.contains("bed/shop") && places.contains("/k8s.io"), "{places}");
    let list = ask(&["inventory", "list"]);
    assert!(list.starts_with("IMAGE TAG  "), "{list}");
    assert!(list.contains("bed/shop"), "{list}");
    // Who only reports may not read.
    let mut refused = Command::new(cli());
    let refused =
        refused.arg("containers").env("STOCKTAKE_URL", server.url()).env("STOCKTAKE_TOKEN", &reports).output();
    assert_eq!(refused.unwrap().status.code(), Some(77));
}

#[test]
fn what_runs_on_the_bed_is_told_by_a_server_over_sqlite() {
    needs!("containerd", "docker", "kubernetes");
    tells_what_was_seen(&Server::sqlite());
}

#[test]
fn what_runs_on_the_bed_is_told_by_a_server_over_postgresql() {
    needs!("containerd", "docker", "kubernetes", "postgresql");
    tells_what_was_seen(&Server::postgres());
}
