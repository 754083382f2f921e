//! Spoiling a recorded document.

use serde_json::{Map, Value, json};

use crate::Choices;

/// Changes to one document. A few find what many hide: the first that makes it unreadable ends it.
const MAX_CHANGES: usize = 6;

/// Bytes of a string or list that is too long. Quadratic work on it takes seconds, and linear work no time.
const HUGE: usize = 1 << 16;

/// Where ids, names, digests and times are expected.
const TEXTS: [&str; 26] = [
    "",
    " ",
    "\u{0}",
    "\u{202e}\u{1f980}",
    "a/b/c@d:e",
    "@",
    "://",
    "<none>@<none>",
    "../../etc/passwd",
    "sha256:",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
    "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "sha384:38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b",
    "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    "repo@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "r@r@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "docker://sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "moby-dangling@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "-009999-01-02T01:59:59Z",
    "2026-11-23T20:00:60Z",
    "yesterday",
    "complete",
];

/// `recorded` as a runtime with a defect, or with bad intent, might have written it.
#[must_use]
pub fn broken(recorded: &Value, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut value = recorded.clone();
    for _ in 0..MAX_CHANGES {
        if choices.is_empty() {
            break;
        }
        let other = node(&mut value, choices).clone();
        change(node(&mut value, choices), other, choices);
    }
    let mut text = value.to_string().into_bytes();
    damage(&mut text, choices);
    text
}

/// Any node of a document, its root included.
fn node<'v>(mut value: &'v mut Value, choices: &mut Choices<'_>) -> &'v mut Value {
    loop {
        let children = match &*value {
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            _ => 0,
        };
        // The further down, the more there is to spoil.
        if children == 0 || choices.below(16) == 1 {
            return value;
        }
        let chosen = choices.below(children);
        value = match value {
            Value::Array(items) => &mut items[chosen],
            Value::Object(fields) => fields.values_mut().nth(chosen).expect("the field was counted"),
            _ => return value,
        };
    }
}

/// Puts something else in the place of a node; `other` is one from elsewhere in the document.
fn change(node: &mut Value, other: Value, choices: &mut Choices<'_>) {
    *node = match choices.below(13) {
        0 => Value::Null,
        1 => choices.one_of(&TEXTS).into(),
        2 => number(choices),
        3 => json!([]),
        4 => json!({}),
        5 => choices.one_of(&[true, false]).into(),
        // Two things then have one id, or a reference leads to what it is not meant for, or to itself.
        6 | 7 => other,
        8 => "x".repeat(HUGE).into(),
        9 => nested(choices),
        10 => without_one(node.take(), choices),
        11 => with_double(node.take(), choices),
        _ => shortened(node.take(), choices),
    };
}

fn number(choices: &mut Choices<'_>) -> Value {
    match choices.below(10) {
        0 => 0.into(),
        1 => (-1).into(),
        2 => i64::MIN.into(),
        3 => i64::MAX.into(),
        4 => u64::MAX.into(),
        5 => json!(0.5),
        6 => json!(f64::MAX),
        7 => (1_u64 << 32).into(),
        8 => (-62_135_596_800_i64).into(),
        _ => 253_402_300_800_i64.into(),
    }
}

/// Within what a parser allows, and beyond.
fn nested(choices: &mut Choices<'_>) -> Value {
    let depth = choices.one_of(&[3, 120, 200]);
    (0..depth).fold(Value::Null, |inner, _| json!([inner]))
}

fn without_one(mut value: Value, choices: &mut Choices<'_>) -> Value {
    match &mut value {
        Value::Array(items) if !items.is_empty() => {
            items.remove(choices.below(items.len()));
        }
        Value::Object(fields) => {
            if let Some(key) = fields.keys().nth(choices.below(fields.len())).cloned() {
                fields.remove(&key);
            }
        }
        _ => {}
    }
    value
}

/// One element twice, or a thousand times; one field under another name.
fn with_double(value: Value, choices: &mut Choices<'_>) -> Value {
    match value {
        Value::Array(mut items) if !items.is_empty() => {
            let item = items[choices.below(items.len())].clone();
            let size = item.to_string().len();
            let times = choices.one_of(&[1, 2, 1000]).min(HUGE / size.max(1) + 1);
            items.extend(std::iter::repeat_n(item, times));
            Value::Array(items)
        }
        Value::Object(mut fields) => {
            let (from, to) = (choices.below(fields.len()), choices.below(fields.len()));
            let copied = fields.values().nth(from).cloned();
            if let (Some(copied), Some(place)) = (copied, fields.values_mut().nth(to)) {
                *place = copied;
            }
            many(fields, choices)
        }
        Value::String(text) => text.repeat((HUGE / text.len().max(1)).min(choices.one_of(&[2, 5000]))).into(),
        other => json!([other, other]),
    }
}

/// Fields that nobody knows, a thousand at once: labels, where they are labels.
fn many(mut fields: Map<String, Value>, choices: &mut Choices<'_>) -> Value {
    for number in 0..choices.one_of(&[0, 1, 1000]) {
        fields.insert(format!("example.com/field-{number}"), choices.one_of(&TEXTS).into());
    }
    Value::Object(fields)
}

fn shortened(value: Value, choices: &mut Choices<'_>) -> Value {
    match value {
        Value::String(text) => text.chars().take(choices.below(text.len())).collect::<String>().into(),
        Value::Array(mut items) => {
            items.truncate(choices.below(items.len()));
            Value::Array(items)
        }
        other => json!({ "": other }),
    }
}

/// What is no longer JSON, or has a key twice. Mostly nothing: the document is what is to be read.
fn damage(text: &mut Vec<u8>, choices: &mut Choices<'_>) {
    if text.is_empty() {
        return;
    }
    let from = choices.below(text.len());
    match choices.below(32) {
        1 => text.truncate(from),
        2 => text[from] = choices.one_of(b"\0\"\\{}[]:,-9e\xff"),
        // From one comma to the next: often a whole field or element.
        3 => {
            let commas = text.iter().enumerate().skip(from).filter(|(_, byte)| **byte == b',').map(|(at, _)| at);
            let ends: Vec<usize> = commas.take(2).collect();
            if let [first, second] = ends[..] {
                let field = text[first..second].to_vec();
                text.splice(first..first, field);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(choices: &[u8]) -> String {
        let recorded = json!({"a": [1, 2], "b": {"c": "text"}});
        String::from_utf8_lossy(&broken(&recorded, &mut Choices::new(choices))).into_owned()
    }

    #[test]
    fn without_choices_nothing_is_changed() {
        assert_eq!(of(&[]), r#"{"a":[1,2],"b":{"c":"text"}}"#);
    }

    #[test]
    fn every_kind_of_change_is_made() {
        let of_root = |kind: u8| of(&[1, 1, kind]);
        let all: std::collections::BTreeSet<String> = (0..13).map(of_root).collect();
        // Three of them leave a root without any more choices as it is.
        assert_eq!(all.len(), 11, "{all:?}");
        assert_eq!(of_root(0), "null");
        assert_eq!(of_root(10), r#"{"b":{"c":"text"}}"#);
        assert_eq!(of_root(8).len(), HUGE + 2);
        // What `b` holds in the place of what `a` holds.
        assert_eq!(of(&[0, 1, 1, 0, 0, 1, 6]), r#"{"a":{"c":"text"},"b":{"c":"text"}}"#);
    }
}
