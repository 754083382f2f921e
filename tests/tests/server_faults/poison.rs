//! Requests that nobody ought to send: whatever comes, it is refused, the server lives, and the inventory is as it was.

use std::{fmt::Write as _, io::Write as _, process::Command};

use serde_json::{Value, json};
use stocktake_core::{Digest, wire::append_frame};
use stocktake_tests::{
    load::{Answer, Fleet},
    server::Server,
};

use crate::{
    hostile::{self, FRAMES, Hostile},
    over_both, server_over,
};

const SEED: u64 = 7;

/// How often a sound request is spoilt, each way.
const SPOILT: usize = 1500;

/// Requests at a time.
const AT_ONCE: usize = 16;

const LIMITS: &str = "[limits]\nrequests_per_second = 0\nrequest_bytes = '4MiB'\ndecompressed_bytes = '16MiB'\n";

/// Agents that have reported, beside whom poison is sent.
struct House {
    server: Server,
    fleet: Fleet,
    process: u32,
}

impl House {
    fn new(database: &str) -> Self {
        let server = server_over(database, LIMITS);
        let mut fleet = Fleet::new(&server, 6, 20, SEED);
        fleet.report_once();
        fleet.report_once();
        fleet.check();
        let process = server.id();
        Self { server, fleet, process }
    }

    fn send(&self, hostile: &Hostile) -> Answer {
        let url = format!("{}{}", self.server.url(), hostile.path);
        let headers: Vec<(&str, &str)> = hostile.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let client = self.fleet.client();
        let answer = match &hostile.body {
            Some(body) => self.fleet.wait_for(client.post(&url, &headers, body.clone())),
            None => self.fleet.wait_for(self.fleet.reader().get(&url)),
        };
        answer.unwrap_or_else(|error| panic!("{}: {error}: {}", hostile.what, self.server.told()))
    }

    /// Sends a report that is to be taken.
    fn takes(&self, report: Vec<u8>) {
        let answer = self.send(&Hostile::report("sound", report));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Sends reports, many at a time, and counts the answers by status.
    fn send_all(&self, requests: Vec<Vec<u8>>) -> std::collections::BTreeMap<u16, usize> {
        use futures_util::StreamExt as _;
        let url = format!("{}/v1/reports", self.server.url());
        let headers = [("content-type", FRAMES)];
        let client = self.fleet.client();
        let answers = futures_util::stream::iter(requests).map(|body| client.post(&url, &headers, body));
        let answers: Vec<_> = self.fleet.wait_for(answers.buffer_unordered(AT_ONCE).collect());
        let mut statuses = std::collections::BTreeMap::new();
        for answer in answers {
            *statuses.entry(answer.expect("an answer").status).or_default() += 1;
        }
        statuses
    }

    /// Everything that is to be seen.
    fn inventory(&self) -> String {
        let mut all = String::new();
        for path in ["containers?status=all&", "pods?status=all&", "workloads?status=all&", "changes?"] {
            let url = format!("{}/v1/{path}format=ndjson", self.server.url());
            let answer = self.fleet.wait_for(self.fleet.reader().get(&url)).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            write!(all, "{path}\n{}", answer.text()).unwrap();
        }
        all
    }

    /// It is the same process, and nothing in it has panicked.
    fn lives(&self) {
        assert_eq!((self.server.id(), self.server.get("/livez").status), (self.process, 200));
        let told = self.server.told();
        assert!(!told.contains("panicked") && !told.contains("could not be worked on"), "{told}");
    }
}

over_both!(
    what_is_hostile_is_refused_by_a_server_over_sqlite,
    what_is_hostile_is_refused_by_a_server_over_postgresql,
    are_refused
);

fn are_refused(database: &str) {
    let mut house = House::new(database);
    // What is spoilt here is sound where it is not.
    let (manifest, body) = hostile::sound(0);
    house.takes(hostile::frames(&manifest, &body));
    let before = house.inventory();
    let all = hostile::all();
    let (count, mut wrong) = (all.len(), String::new());
    for hostile in all {
        let answer = house.send(&hostile);
        let is_refusal = (400..500).contains(&answer.status) && ![408, 429].contains(&answer.status);
        if !is_refusal {
            writeln!(wrong, "{}: {} {}", hostile.what, answer.status, answer.text()).unwrap();
        }
        house.lives();
    }
    assert!(wrong.is_empty(), "not refused:\n{wrong}");
    assert_eq!(house.inventory(), before);
    house.fleet.check();
    house.fleet.conclude(&format!("hostile requests ({database})"), 1, &format!("{count} of {count} refused"));
}

over_both!(what_is_spoilt_changes_nothing_in_sqlite, what_is_spoilt_changes_nothing_in_postgresql, changes_nothing);

fn changes_nothing(database: &str) {
    let mut house = House::new(database);
    let mut random = fastrand::Rng::with_seed(SEED);
    let (manifest, body) = hostile::sound(0);
    let sound = hostile::frames(&manifest, &body);
    house.takes(sound.clone());
    // Spoilt on its way: it is no request any more, or the same.
    let before = house.inventory();
    let spoilt = (0..SPOILT).map(|_| hostile::spoil(&mut random, &sound)).collect();
    let on_the_way = house.send_all(spoilt);
    assert!(on_the_way.keys().all(|status| [200, 400, 409, 413].contains(status)), "{on_the_way:?}");
    assert!(on_the_way[&400] > SPOILT / 2, "{on_the_way:?}");
    assert_eq!(house.inventory(), before);
    // Spoilt where it is made: whatever is still a report is taken, and says nothing of anybody else.
    let spoilt = (0..SPOILT).map(|number| hostile::spoilt_documents(&mut random, number)).collect();
    let made = house.send_all(spoilt);
    assert!(made.keys().all(|status| [200, 400, 409, 413, 422].contains(status)), "{made:?}");
    assert!(made[&400] > SPOILT / 4 && made[&200] > SPOILT / 20, "{made:?}");
    house.lives();
    house.fleet.check();
    let told = format!("{SPOILT} spoilt on their way {on_the_way:?}, {SPOILT} where they are made {made:?}");
    house.fleet.conclude(&format!("fuzzed requests ({database})"), 2 * SPOILT, &told);
}

over_both!(
    names_longer_than_an_index_takes_are_taken_by_sqlite,
    names_longer_than_an_index_takes_are_taken_by_postgresql,
    are_taken
);

fn are_taken(database: &str) {
    let mut house = House::new(database);
    let mut random = fastrand::Rng::with_seed(SEED);
    let long: String = std::iter::repeat_with(|| random.alphanumeric()).take(5000).collect();
    let (mut manifest, _) = hostile::sound(1);
    manifest["agent"]["hostname"] = json!(long);
    manifest["sources"][0]["cluster"] = json!({ "uid": long, "name": long });
    manifest["sources"][0]["scopes"][0]["name"] = json!(long);
    let body = json!({
        "namespaces": [{ "name": long }],
        "nodes": [{ "name": long }],
        "workloads": [{ "id": "w", "kind": long, "name": long, "namespace": long }],
        "pods": [{ "uid": long, "name": long, "namespace": long, "node_name": long, "workload": "w" }],
        "images": [hostile::image(&[&long, &format!("registry.example/{long}:{long}")])],
        "containers": [
            { "id": long, "name": long, "pod_uid": long, "image": long, "image_ref": "i", "labels": { &long: long } },
            { "id": "2", "name": format!("{long}2"), "node_name": long, "image": format!("{long}2"), "image_ref": "i" },
        ],
    });
    house.takes(hostile::frames(&manifest, &body));
    let shown = house.inventory();
    let images: Vec<Value> = shown
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["image"].as_str().is_some_and(|image| image.starts_with(&long[..900])))
        .collect();
    assert_eq!(images.len(), 2, "both are told apart: {images:?}");
    house.lives();
    house.fleet.check();
    house.fleet.conclude(&format!("names of 5,000 bytes ({database})"), 1, "taken");
}

/// Each of these is 512 KiB, and is nothing.
#[test]
fn bombs_at_once_take_no_more_memory_than_the_server_is_given() {
    const BOMBS: usize = 150;
    let server = Server::sqlite_with("[limits]\nmemory = '32MiB'\n");
    let idle = server.peak_memory();
    let fleet = Fleet::new(&server, 1, 4, SEED);
    let url = format!("{}/v1/reports", server.url());
    let (mut refused, mut later) = (0, 0);
    let answers = fleet.wait_for(async {
        let bomb = hostile::bomb(512 << 10);
        let posts = (0..BOMBS).map(|_| fleet.client().post(&url, &[("content-type", FRAMES)], bomb.clone()));
        futures_util::future::join_all(posts).await
    });
    for answer in answers {
        match answer.unwrap().status {
            400 => refused += 1,
            503 => later += 1,
            status => panic!("{status}"),
        }
    }
    let memory = server.peak_memory();
    let told = format!(
        "{refused} refused, {later} told to come later; {} MiB at the most, {} MiB before",
        memory >> 20,
        idle >> 20
    );
    fleet.conclude("bombs at once (SQLite)", BOMBS, &told);
    assert!(refused > 0 && memory < idle + (48 << 20), "{told}");
}

/// What `gzip` makes of so many zeros.
pub(super) fn gzipped(zeros: usize) -> Vec<u8> {
    let mut gzip = Command::new("gzip");
    let mut child =
        gzip.arg("-c").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::spawn(move || stdin.write_all(&vec![0; zeros]).unwrap());
    child.wait_with_output().unwrap().stdout
}

/// The digest of a JSON document as it is written here.
pub(super) fn digest(document: &[u8]) -> String {
    Digest::sha256(document).to_string()
}

/// A sequence of documents.
pub(super) fn sequence(documents: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for document in documents {
        append_frame(&mut bytes, document, None).unwrap();
    }
    bytes
}
