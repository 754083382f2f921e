//! A report as large as they come.

use serde_json::{Value, json};
use stocktake_tests::{bed::say, load::Fleet, server::Server};

use super::{UNLIMITED, hostile};

/// Pods, of a container each.
const PODS: usize = 5_000;

/// How much memory the server counts for a byte of a document (`server/src/memory.rs`).
const WEIGHT: u64 = 12;

/// A first report is the most that a server makes of what it is sent: all of it becomes rows.
#[test]
fn a_large_report_takes_no_more_memory_than_the_server_counts_for_it() {
    let server = Server::sqlite_with(UNLIMITED);
    let fleet = Fleet::new(&server, 1, 4, 1);
    let (manifest, mut body) = hostile::sound(0);
    let list = |one: &dyn Fn(usize) -> Value| Value::Array((0..PODS).map(one).collect());
    body["pods"] = list(&|number| {
        let (uid, name) = (uuid::Uuid::from_u128(number as u128), format!("web-5d9c7b8f4-{number:05}"));
        json!({ "uid": uid, "name": name, "namespace": "n", "node_name": format!("node-{}", number % 100), "phase": "Running",
            "workload": "w", "created_at": "2026-01-02T03:04:05Z", "labels": { "app": "web", "pod-template-hash": "5d9c7b8f4" } })
    });
    body["containers"] = list(&|number| {
        json!({ "id": format!("containerd://{number:064x}"), "name": "app", "pod_uid": uuid::Uuid::from_u128(number as u128),
            "state": "running", "image": "nginx:1", "image_ref": "i", "restart_count": number, "started_at": "2026-01-02T03:04:05Z" })
    });
    let size = body.to_string().len() as u64;
    let before = server.peak_memory();
    let url = format!("{}/v1/reports", server.url());
    let headers = [("content-type", hostile::FRAMES)];
    let answer = fleet.wait_for(fleet.client().post(&url, &headers, hostile::frames(&manifest, &body))).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let grown = server.peak_memory() - before;
    say(&format!(
        "a first report of {} KiB takes {} KiB of memory: {} times",
        size >> 10,
        grown >> 10,
        grown.div_ceil(size)
    ));
    assert!(grown < WEIGHT * size, "{grown} bytes for a report of {size}");
}
