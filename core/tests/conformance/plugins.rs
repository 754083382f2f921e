//! Faults in what a plug-in says of itself, and in its settings.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use stocktake_core::conformance::Outcome;

use crate::{
    assert_fails_only, check,
    model::{Fault, ModelSettings, Settings},
    subject,
};

#[test]
fn kinds_that_nobody_can_write() {
    for kind in ["", "Jails", "3jails", "my jails", "jails_", "jäils"] {
        let mut subject = subject::<Settings>(&format!("kind {kind}"), None);
        subject.factory.kind = kind;
        subject.daemon = None;
        assert_fails_only("C-01", &check(subject));
    }
}

#[test]
fn summaries_that_fill_no_line_or_more() {
    const LONG: &str = "containers of a runtime about which there is more to say than fits on one line of a terminal \
                        that is not maximised";
    for summary in ["", "two\nlines", "a sentence.", " indented", LONG] {
        let mut subject = subject::<Settings>(&format!("summary {summary}"), None);
        subject.factory.summary = summary;
        subject.daemon = None;
        assert_fails_only("C-02", &check(subject));
    }
}

macro_rules! settings {
    ($name:ident) => {
        impl ModelSettings for $name {
            fn runtime(&self) -> &str {
                &self.runtime
            }
            fn fault(&self) -> Option<Fault> {
                self.fault
            }
        }
    };
}

/// A setting without a description.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Undescribed {
    runtime: String,
    /// What is wrong with the collector.
    fault: Option<Fault>,
}
settings!(Undescribed);

/// Takes any key.
#[derive(Deserialize, JsonSchema)]
struct Lenient {
    /// Which of the made-up runtimes.
    runtime: String,
    /// What is wrong with the collector.
    fault: Option<Fault>,
}
settings!(Lenient);

/// Takes any key within a table.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LenientInside {
    /// Which of the made-up runtimes.
    runtime: String,
    /// What is wrong with the collector.
    fault: Option<Fault>,
    /// A table.
    #[serde(default)]
    #[schemars(with = "Option<crate::model::Inner>")]
    #[allow(dead_code, reason = "only deserialised")]
    inner: Option<serde_json::Value>,
}
settings!(LenientInside);

/// Takes a number or whatever else for a word.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Untyped {
    /// Which of the made-up runtimes.
    runtime: String,
    /// What is wrong with the collector.
    fault: Option<Fault>,
    /// A word.
    #[serde(default, deserialize_with = "anything")]
    #[schemars(with = "Option<String>")]
    #[allow(dead_code, reason = "only deserialised")]
    word: String,
}
settings!(Untyped);

fn anything<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.to_string())
}

fn failed<S: ModelSettings>(name: &str) -> Outcome {
    let mut subject = subject::<S>(name, None);
    subject.daemon = None;
    check(subject)
}

#[test]
fn settings_without_a_description() {
    assert_fails_only("C-03", &failed::<Undescribed>("undescribed"));
}

#[test]
fn settings_that_take_any_key() {
    assert_fails_only("C-04", &failed::<Lenient>("lenient"));
}

#[test]
fn settings_that_take_any_type() {
    assert_fails_only("C-05", &failed::<Untyped>("untyped"));
}

/// A table whose schema is closed and whose reader is not takes both wrong keys and wrong types.
#[test]
fn tables_that_take_any_key() {
    assert_eq!(failed::<LenientInside>("lenient inside").failed(), ["C-04", "C-05"]);
}
