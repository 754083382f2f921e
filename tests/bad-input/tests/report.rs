//! The report reader and the unified view, on reports that were spoiled on their way.
//!
//! `testdata/inventory.json` is what `collect --format json` said of a part of the test bed (three namespaces of containerd,
//! the paused and ended containers of Docker, one namespace of Kubernetes). Of the machine only its name, its kernel's
//! and its id were changed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers are tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use stocktake_bad_input::{Choices, broken, report, unified};
use stocktake_core::{
    model::{Coverage, DigestFact, FindingKind, Inventory, MissingReason},
    scope_digest,
    unify::UnifiedView,
};

fn recorded() -> Value {
    serde_json::from_str(include_str!("../testdata/inventory.json")).unwrap()
}

fn read(value: &Value) -> serde_json::Result<Inventory> {
    serde_json::from_slice(value.to_string().as_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_spoiled_report_does_no_harm(choices in proptest::collection::vec(any::<u8>(), 0..48)) {
        report(&broken(&recorded(), &mut Choices::new(&choices)));
    }

    #[test]
    fn bytes_that_are_no_report_are_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(serde_json::from_slice::<Inventory>(&text).is_err());
    }
}

#[test]
fn the_recorded_report_is_whole() {
    let inventory = read(&recorded()).unwrap();
    for (digest, body) in &inventory.scopes {
        assert_eq!(scope_digest(body), *digest);
    }
    let view = UnifiedView::of(&inventory).unwrap();
    assert!(view.containers.iter().any(|container| container.seen.len() > 1), "it has to show what is joined");
    assert!(!view.unified.findings.is_empty(), "it has to show findings");
    unified(inventory.report, inventory.scopes);
}

#[test]
fn what_a_newer_version_adds_is_passed_over() {
    let mut newer = recorded();
    newer["colour"] = json!({"red": [1, 2]});
    newer["report"]["sources"][0]["coverage"] = json!({"status": "glimpsed", "reason": "fog"});
    let scope = newer["report"]["sources"][0]["scopes"][0]["name"].clone();
    newer["report"]["sources"][0]["scopes"][0]["kind"] = json!("galaxy");
    let collector = newer["report"]["sources"][0]["collector"].clone();
    for list in ["containers", "images"] {
        for thing in newer["unified"][list].as_array_mut().unwrap() {
            for seen in thing["seen"].as_array_mut().unwrap() {
                if seen["collector"] == collector && seen["scope"]["name"] == scope {
                    seen["scope"]["kind"] = json!("galaxy");
                }
            }
        }
    }
    newer["report"]["sources"][0]["scopes"][0]["counts"]["stars"] = json!(7);
    newer["unified"]["findings"][0]["kind"] = json!("unheard_of");
    newer["unified"]["containers"][0]["kind"] = json!("unheard_of");
    let body = newer["scopes"].as_object_mut().unwrap().values_mut().find(|body| body["images"].is_array()).unwrap();
    body["images"][0]["index_digest"] = json!({"digest": "blake3:00", "from": "somewhere"});
    body["images"][0]["repo_digests"] = json!(["repo@blake3:00"]);
    let inventory = read(&newer).unwrap();
    assert_eq!(inventory.report.sources[0].coverage, Coverage::Other);
    assert!(!inventory.report.sources[0].coverage.is_complete(), "what is not known is not taken for completeness");
    assert_eq!(inventory.unified.as_ref().unwrap().findings[0].kind, FindingKind::Other);
    let unknown = |image: &stocktake_core::model::Image| {
        image.index_digest == DigestFact::missing(MissingReason::Other) && image.repo_digests.is_empty()
    };
    assert!(
        inventory.scopes.values().flat_map(|body| &body.images).any(unknown),
        "the digest is lost, and nothing else"
    );
    assert!(UnifiedView::of(&inventory).is_some());
}

#[test]
fn a_view_that_leads_nowhere_is_no_view() {
    let spoil: [fn(&mut Value); 6] = [
        |view| view["containers"][0]["seen"] = json!([]),
        |view| view["containers"][0]["seen"][0]["index"] = json!(1_000_000),
        |view| view["containers"][0]["seen"][0]["index"] = json!(u64::MAX),
        |view| view["containers"][0]["seen"][0]["collector"] = json!("nobody"),
        |view| view["containers"][0]["seen"][0]["scope"] = json!({"kind": "namespace", "name": "nowhere"}),
        |view| view["containers"][0]["image_ref"] = json!("nothing"),
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        let mut report = recorded();
        spoil(&mut report["unified"]);
        let inventory = read(&report).unwrap();
        assert!(UnifiedView::of(&inventory).is_none(), "{number}");
    }
}

/// The positions of findings and images are as much somebody else's word as those of containers.
#[test]
fn a_view_whose_findings_or_images_lead_nowhere_is_no_view() {
    let spoil: [fn(&mut Value); 3] = [
        |view| view["findings"][0]["container"] = json!(1_000_000),
        |view| view["images"][0]["seen"][0]["index"] = json!(1_000_000),
        |view| view["images"][0]["seen"][0]["scope"] = json!({"kind": "namespace", "name": "nowhere"}),
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        let mut report = recorded();
        spoil(&mut report["unified"]);
        let inventory = read(&report).unwrap();
        assert!(UnifiedView::of(&inventory).is_none(), "{number}");
    }
}

#[test]
fn what_no_reader_can_take_is_an_error_and_no_more() {
    let nested = || format!(r#""colour":{}{},"#, "[".repeat(100_000), "]".repeat(100_000));
    let text = recorded().to_string();
    let unknown = text.replacen('{', &format!("{{{}", nested()), 1);
    assert!(serde_json::from_str::<Inventory>(&unknown).is_ok(), "what is passed over takes no stack");
    // Fields of a scope's line are kept aside until it is known which are its own.
    let kept = text.replacen(r#""scopes":[{"#, &format!(r#""scopes":[{{{}"#, nested()), 1);
    assert!(kept.len() > text.len());
    assert!(serde_json::from_str::<Inventory>(&kept).is_err(), "what is kept does");

    let mut negative = recorded();
    negative["unified"]["findings"][0]["container"] = json!(-1);
    assert!(read(&negative).is_err());
    let mut beyond = recorded();
    beyond["unified"]["findings"][0]["container"] = json!(1e300);
    assert!(read(&beyond).is_err());
    let mut undigested = recorded();
    undigested["scopes"]["sha256:1234"] = json!({});
    assert!(read(&undigested).is_err(), "a body without a name that can be checked");
}

/// serde takes neither a field twice nor, of a map, the first of two.
#[test]
fn of_a_key_that_is_there_twice_nothing_is_guessed() {
    let text = recorded().to_string();
    let twice = text.replacen(r#"{"report":"#, r#"{"report":null,"report":"#, 1);
    let twice = if twice == text { text.replacen(r#""report":"#, r#""report":null,"report":"#, 1) } else { twice };
    assert!(serde_json::from_str::<Inventory>(&twice).is_err());
}

#[test]
fn strings_of_megabytes_are_read_once() {
    let huge = "x".repeat(10 << 20);
    let mut report = recorded();
    report["report"]["sources"][0]["collector"] = json!(huge);
    report["report"]["agent"]["hostname"] = json!(huge);
    let inventory = read(&report).unwrap();
    assert_eq!(inventory.report.sources[0].collector.len(), 10 << 20);
    assert!(UnifiedView::of(&inventory).is_none(), "the view names the collector otherwise");
}

/// One body may stand for many scopes, and many sources.
#[test]
fn scopes_that_share_a_body_are_told_apart() {
    let mut report = recorded();
    let sources = report["report"]["sources"].as_array_mut().unwrap();
    let scope = sources[0]["scopes"][0].clone();
    sources[0]["scopes"] = json!([scope, scope, scope]);
    let (one, mut other) = (sources[0].clone(), sources[0].clone());
    other["collector"] = json!("twin");
    sources.extend([one, other]);
    let inventory = read(&report).unwrap();
    unified(inventory.report, inventory.scopes);
    let without: BTreeMap<_, _> = BTreeMap::new();
    unified(read(&recorded()).unwrap().report, without);
}
