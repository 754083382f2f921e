//! Requests that are wrong, each in its own way, and those that chance has spoilt.

use fastrand::Rng;
use jiff::Timestamp;
use serde_json::{Value, json};
use stocktake_core::{
    model::{Image, MissingReason, SCHEMA_VERSION},
    wire::{MEDIA_TYPE, SENT_AT},
};
use uuid::Uuid;

use super::poison::{digest, gzipped, sequence};

/// What a report is sent as.
pub(super) const FRAMES: &str = MEDIA_TYPE;

/// How deep is deep.
const DEEP: usize = 500_000;

/// A request.
pub(super) struct Hostile {
    pub(super) what: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    /// None for what is asked and not sent.
    pub(super) body: Option<Vec<u8>>,
}

impl Hostile {
    pub(super) fn report(what: &'static str, body: Vec<u8>) -> Self {
        Self { what, path: "/v1/reports", headers: vec![("content-type", FRAMES.to_owned())], body: Some(body) }
    }

    fn json(what: &'static str, path: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { what, path, headers, body: Some(body.into()) }
    }

    fn question(what: &'static str, path: &'static str) -> Self {
        Self { what, path, headers: Vec::new(), body: None }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// A report that is taken, and the body of its scope, of a cluster of nobody else.
pub(super) fn sound(number: usize) -> (Value, Value) {
    // What was seen long ago would count no more.
    let now = Timestamp::now();
    let manifest = json!({
        "schema": SCHEMA_VERSION,
        "id": Uuid::now_v7(),
        "agent": { "id": Uuid::from_u128(0xf00d + number as u128), "run": Uuid::now_v7(), "version": "1", "hostname": "h" },
        "created_at": now,
        "sequence": 1,
        "valid_for_seconds": 3600,
        "sources": [{
            "collector": "hostile",
            "kind": "kubernetes",
            "cluster": { "uid": format!("hostile-{number}"), "name": "hostile" },
            "observed_at": now,
            "coverage": { "status": "complete" },
            "shown": "all",
            "scopes": [{ "kind": "namespace", "name": "n", "coverage": { "status": "complete" } }],
        }],
    });
    let body = json!({
        "workloads": [{ "id": "w", "kind": "Deployment", "name": "web" }],
        "pods": [{ "uid": "p", "name": "web-1", "namespace": "n", "workload": "w", "labels": { "app": "web" } }],
        "images": [image(&["nginx:1"])],
        "containers": [{
            "id": "c", "name": "app", "pod_uid": "p", "state": "running", "image": "nginx:1", "image_ref": "i",
            "restart_count": 1, "exit_code": 0, "started_at": "2026-01-02T03:04:05Z",
        }],
    });
    (manifest, body)
}

/// An image of which nothing but names is known.
pub(super) fn image(names: &[&str]) -> Value {
    let names = names.iter().map(|name| (*name).into()).collect();
    json!(Image { names, ..Image::unresolved("i", MissingReason::NotReported) })
}

/// A report and the body of its only scope, which it names.
pub(super) fn frames(manifest: &Value, body: &Value) -> Vec<u8> {
    written(manifest, body.to_string().as_bytes())
}

fn written(manifest: &Value, body: &[u8]) -> Vec<u8> {
    let mut manifest = manifest.clone();
    manifest["sources"][0]["scopes"][0]["digest"] = json!(digest(body));
    sequence(&[manifest.to_string().as_bytes(), body])
}

/// A frame of zstd that becomes so many bytes, which are all zero: blocks that say a byte and how often it comes (RFC 8878, 3.1.1.2).
pub(super) fn bomb(bytes: usize) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    // Without a checksum or a length; a window of 8 MiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
    let count = bytes.div_ceil(BLOCK);
    for number in 1..=count {
        let header = u32::from(number == count) | 1 << 1 | u32::try_from(BLOCK).unwrap() << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

/// Everything that has to be refused.
pub(super) fn all() -> Vec<Hostile> {
    let mut all = of_frames();
    all.extend(of_manifests());
    all.extend(of_bodies());
    all.extend(of_requests());
    all.extend(of_others());
    all
}

fn of_frames() -> Vec<Hostile> {
    let (manifest, body) = sound(0);
    let good = frames(&manifest, &body);
    let mut checksum = good.clone();
    *checksum.last_mut().unwrap() ^= 1;
    let mut unknown = vec![0x5e, 0x2a, 0x4d, 0x18, 0x20, 0, 0, 0];
    unknown.extend([7; 32]);
    unknown.extend(&good);
    let many: Vec<&[u8]> = vec![b"{}"; 100_002];
    [
        ("nothing", Vec::new()),
        ("no frames", b"{\"schema\":\"1\"}".to_vec()),
        ("half of the frames", good[..good.len() / 2].to_vec()),
        ("a wrong checksum", checksum),
        ("a dictionary that nobody has", unknown),
        ("a skippable frame without an end", vec![0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff]),
        ("a window of 2 TiB", vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0xff, 0x03, 0x00, 0x00, 0]),
        ("a bomb as a manifest", bomb(600 << 20)),
        ("a bomb behind a manifest", [sequence(&[manifest.to_string().as_bytes()]), bomb(600 << 20)].concat()),
        ("a hundred thousand documents", sequence(&many)),
    ]
    .map(|(what, body)| Hostile::report(what, body))
    .into()
}

fn of_manifests() -> Vec<Hostile> {
    let (manifest, body) = sound(0);
    let text = manifest.to_string();
    let set = |pointer: &str, value: Value| {
        let mut manifest = manifest.clone();
        *manifest.pointer_mut(pointer).unwrap() = value;
        frames(&manifest, &body)
    };
    let source = manifest["sources"][0].clone();
    let scope = source["scopes"][0].clone();
    let raw = |text: String| sequence(&[text.as_bytes()]);
    let mut invalid = text.clone().into_bytes();
    let at = text.find("\"h\"").unwrap() + 1;
    invalid[at] = 0xff;
    let mut nul = text.clone().into_bytes();
    nul[at] = 0;
    let mut absent = manifest.clone();
    absent["sources"][0]["scopes"][0]["digest"] = json!(digest(b"nobody has this"));
    let mut odd = manifest.clone();
    odd["sources"][0]["scopes"][0]["digest"] = json!("md5:0");
    vec![
        Hostile::report("null", raw("null".into())),
        Hostile::report("a list", raw("[]".into())),
        Hostile::report("an empty object", raw("{}".into())),
        Hostile::report("deep lists", raw("[".repeat(DEEP))),
        Hostile::report("deep objects", raw("{\"a\":".repeat(DEEP))),
        Hostile::report(
            "a deep list of sources",
            raw(text.replacen("\"sources\":[", &format!("\"sources\":[{}", "[".repeat(DEEP)), 1)),
        ),
        Hostile::report("invalid UTF-8", sequence(&[&invalid])),
        Hostile::report("a NUL as it is", sequence(&[&nul])),
        Hostile::report("a NUL as JSON writes it", set("/agent/hostname", json!("a\0b"))),
        Hostile::report("a NUL in a name", set("/sources/0/scopes/0/name", json!("\0"))),
        Hostile::report("a key twice", raw(text.replacen('{', "{\"schema\":\"1\",\"schema\":\"1\",", 1))),
        Hostile::report("a negative number", set("/sequence", json!(-1))),
        Hostile::report("a number with a fraction", set("/sequence", json!(1.5))),
        Hostile::report(
            "a huge number",
            raw(text.replacen("\"sequence\":1", &format!("\"sequence\":1{}", "0".repeat(400)), 1)),
        ),
        Hostile::report("a number that is no number", raw(text.replacen("\"sequence\":1", "\"sequence\":1e999", 1))),
        Hostile::report("a time that is none", set("/created_at", json!("yesterday"))),
        Hostile::report("a year that is none", set("/sources/0/observed_at", json!("99999-01-01T00:00:00Z"))),
        Hostile::report("an id that is none", set("/agent/id", json!("../../etc/passwd"))),
        Hostile::report("another schema", set("/schema", json!("urn:other"))),
        Hostile::report("two sources of a name", set("/sources", json!([source, source]))),
        Hostile::report("a scope twice", set("/sources/0/scopes", json!([scope, scope]))),
        Hostile::report("a collector with a long name", set("/sources/0/collector", json!("x".repeat(5000)))),
        Hostile::report("a digest that is none", sequence(&[odd.to_string().as_bytes()])),
        Hostile::report("a body that is not there", sequence(&[absent.to_string().as_bytes()])),
    ]
}

fn of_bodies() -> Vec<Hostile> {
    let (manifest, body) = sound(0);
    let text = body.to_string();
    let with = |what: &'static str, text: &str| Hostile::report(what, written(&manifest, text.as_bytes()));
    let replaced = |what: &'static str, from: &str, to: &str| {
        assert!(text.contains(from), "{what}");
        with(what, &text.replacen(from, to, 1))
    };
    let deep = format!("{}1{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let mut invalid = text.clone().into_bytes();
    let at = text.find("web-1").unwrap();
    invalid[at] = 0xc0;
    vec![
        with("a body that is null", "null"),
        with("a body that is an empty list", "[]"),
        with("a body that is a list", "[1,2,3]"),
        with("a body that is a text", "\"containers\""),
        with("a body that does not end", &text[..text.len() - 1]),
        with("a body with something behind it", &format!("{text}{text}")),
        with("a deep body", &"[".repeat(DEEP)),
        Hostile::report("a body with invalid UTF-8", written(&manifest, &invalid)),
        replaced("a deep container", "\"containers\":[", &format!("\"containers\":[{deep},")),
        replaced("a deep name", "\"name\":\"app\"", &format!("\"name\":{deep}")),
        replaced("a container twice said", "\"name\":\"app\"", "\"name\":\"app\",\"name\":\"other\""),
        replaced("containers twice", "\"containers\":[", "\"containers\":[],\"containers\":["),
        replaced("a NUL in a pod", "web-1", "web\\u0000-1"),
        replaced("a NUL in a label", "\"app\":\"web\"", "\"app\":\"\\u0000\""),
        replaced("half a surrogate", "web-1", "\\ud800"),
        replaced("a restart count beyond all", "\"restart_count\":1", "\"restart_count\":99999999999999999999"),
        replaced("a negative restart count", "\"restart_count\":1", "\"restart_count\":-1"),
        replaced("an exit code beyond all", "\"exit_code\":0", "\"exit_code\":1e308"),
        replaced("a time beyond all", "2026-01-02T03:04:05Z", "999999999-01-02T03:04:05Z"),
        replaced("a number for a name", "\"name\":\"app\"", "\"name\":7"),
        replaced("an object for a list", "\"images\":[", "\"images\":{\"a\":["),
        replaced("images that are numbers", "\"images\":[", "\"images\":[1,2,"),
    ]
}

fn of_requests() -> Vec<Hostile> {
    let (manifest, body) = sound(0);
    let report = |what| Hostile::report(what, frames(&manifest, &body));
    let scopes = |what, body| Hostile { path: "/v1/scopes", ..Hostile::report(what, body) };
    let bomb_of = |what, encoding, bytes| Hostile::report(what, bytes).with("content-encoding", encoding);
    vec![
        report("another type").with("content-type", "application/json"),
        report("a clock that is none").with(SENT_AT, "now"),
        report("an encoding that is not known").with("content-encoding", "br"),
        report("an encoding that it does not have").with("content-encoding", "gzip"),
        report("an encoding twice").with("content-encoding", "zstd, zstd"),
        bomb_of("a bomb of gzip", "gzip", gzipped(64 << 20)),
        bomb_of("a bomb of zstd", "zstd", bomb(1 << 30)),
        Hostile::report("a body that is too long", vec![0; 5 << 20]),
        scopes("bodies that are none", sequence(&[b"[]"])),
        scopes("bodies with a NUL", sequence(&[br#"{"pods":[{"uid":"\u0000"}]}"#])),
        scopes("a bomb for a body", bomb(600 << 20)),
        Hostile::question("a NUL in a filter", "/v1/containers?namespace=a%00b"),
        Hostile::question("a NUL in a label", "/v1/containers?label=%00"),
        Hostile::question("a page of nothing", "/v1/containers?after=AAAA"),
        Hostile::question("a huge page", "/v1/containers?limit=99999999999999999999"),
        Hostile::question("a negative page", "/v1/containers?limit=-1"),
        Hostile::question("a container of nothing", "/v1/containers/99999999999999999999"),
        Hostile::question("a NUL in an image", "/v1/whereabouts?image=%00"),
    ]
}

fn of_others() -> Vec<Hostile> {
    let mut all = Vec::new();
    for path in ["/v2/kubernetes-inventory", "/v1/enterprise/inventories", "/v2/ecs-inventory"] {
        all.extend([
            Hostile::json("nothing of another agent's", path, ""),
            Hostile::json("deep JSON of another agent's", path, "[".repeat(DEEP)),
            Hostile::json("a list of another agent's", path, "[]"),
            Hostile::json("invalid UTF-8 of another agent's", path, b"{\"cluster_name\":\"\xff\"}".to_vec()),
            Hostile::json("a bomb of another agent's", path, gzipped(64 << 20)).with("content-encoding", "gzip"),
        ]);
    }
    all
}

/// Bytes of a request as a bad line would make them.
pub(super) fn spoil(random: &mut Rng, sound: &[u8]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for _ in 0..=random.usize(..3) {
        let at = random.usize(..bytes.len());
        match random.u8(..5) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes.truncate(at.max(1)),
            2 => bytes.insert(at, random.u8(..)),
            3 => drop(bytes.drain(at..bytes.len().min(at + 9)).count()),
            _ => bytes[at] = random.u8(..),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

/// What stands in place of something else.
const TOKENS: [&str; 20] = [
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "18446744073709551615",
    "9223372036854775808",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\u{202e}\u{feff}\"",
    "[]",
    "{}",
    "[[[[[[[[]]]]]]]]",
    "\"2026-01-01T00:00:00Z\"",
    "\"-009999-01-01T00:00:00Z\"",
    "\"00000000-0000-0000-0000-000000000000\"",
    "\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"",
    "\"partial\"",
    "\"'; DROP TABLE container; --\"",
];

/// A request whose manifest or body says something else, in good frames.
pub(super) fn spoilt_documents(random: &mut Rng, number: usize) -> Vec<u8> {
    let (manifest, body) = sound(1000 + number);
    if random.bool() {
        let body = spoilt_text(random, &body.to_string());
        return written(&manifest, &body);
    }
    let body = body.to_string();
    let mut manifest = manifest;
    manifest["sources"][0]["scopes"][0]["digest"] = json!(digest(body.as_bytes()));
    let manifest = spoilt_text(random, &manifest.to_string());
    sequence(&[&manifest, body.as_bytes()])
}

fn spoilt_text(random: &mut Rng, text: &str) -> Vec<u8> {
    // Mostly it stays JSON: a value is another one, or is missing, or stands there twice.
    match random.u8(..4) {
        0 => spoil(random, text.as_bytes()),
        1 => {
            let long = format!("\"{}\"", "x".repeat(random.usize(..10_000)));
            replaced(random, text, &long).into_bytes()
        }
        _ => {
            let token = TOKENS[random.usize(..TOKENS.len())];
            replaced(random, text, token).into_bytes()
        }
    }
}

/// The text with one of its values replaced.
fn replaced(random: &mut Rng, text: &str, with: &str) -> String {
    let starts: Vec<usize> = text
        .match_indices(':')
        .map(|(at, _)| at + 1)
        .filter(|at| text[*at..].starts_with(|c: char| c != '/'))
        .collect();
    let at = starts[random.usize(..starts.len())];
    let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
    let end = match values.next() {
        Some(Ok(_)) => at + values.byte_offset(),
        // A colon within a text.
        _ => at + 1,
    };
    format!("{}{with}{}", &text[..at], &text[end..])
}
