//! What the documentation says of documents and scripts is true.

use std::fs;

use serde_json::Value;
use stocktake_core::exec::{Document, document_schema};
use stocktake_tests::repository;

/// The first block of that language in `docs/exec.md`.
pub(crate) fn documented(language: &str) -> String {
    let text = fs::read_to_string(repository().join("docs/exec.md")).unwrap();
    let (_, block) = text.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// What is wrong with a document by the published schema.
pub(crate) fn complaints(document: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(document_schema().as_value()).unwrap();
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_documented_document_is_one() {
    let text = documented("json");
    assert_eq!(complaints(&serde_json::from_str(&text).unwrap()), [""; 0]);
    let document: Document = serde_json::from_str(&text).unwrap();
    let scope = &document.scopes.unwrap()[0];
    assert!(document.coverage.is_complete() && scope.coverage.is_complete());
    assert!(scope.images[0].manifest_digest.digest().is_some());
    assert_eq!(scope.containers[0].image_ref.as_ref(), Some(&scope.images[0].id));
}

#[test]
fn the_schema_takes_what_may_be_left_out_and_not_everything() {
    for text in ["{}", r#"{"scopes": [{"containers": [{"name": "a"}], "images": [{"id": "a"}]}], "new": 1}"#] {
        assert_eq!(complaints(&serde_json::from_str(text).unwrap()), [""; 0], "{text}");
    }
    for text in [
        "[]",
        r#"{"coverage": "complete"}"#,
        r#"{"scopes": [{"containers": [{}]}]}"#,
        r#"{"scopes": [{"images": [{}]}]}"#,
    ] {
        assert_ne!(complaints(&serde_json::from_str(text).unwrap()), [""; 0], "{text}");
    }
}
