//! Settings as their JSON Schema describes them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Schemas may be recursive; settings that people write are not deeper than this.
const MAX_DEPTH: usize = 6;

/// A setting, or one within another.
#[derive(Debug)]
pub(super) struct Property {
    /// Keys from the outside in.
    pub(super) path: Vec<String>,
    pub(super) is_described: bool,
    /// JSON types of the values that it takes; empty if the schema does not say, which means any.
    pub(super) types: BTreeSet<String>,
    /// Whether it takes an object with a closed set of keys.
    pub(super) is_closed_object: bool,
}

/// All settings of a schema, each before those within it.
pub(super) fn properties(schema: &Value) -> Vec<Property> {
    let mut found = Vec::new();
    collect(schema, schema, &mut Vec::new(), &mut found);
    found
}

fn collect(root: &Value, schema: &Value, path: &mut Vec<String>, found: &mut Vec<Property>) {
    if path.len() >= MAX_DEPTH {
        return;
    }
    for variant in variants(root, schema, 0) {
        for (key, property) in variant.get("properties").and_then(Value::as_object).into_iter().flatten() {
            path.push(key.clone());
            let variants = variants(root, property, 0);
            found.push(Property {
                path: path.clone(),
                is_described: is_described(property) || variants.iter().any(|variant| is_described(variant)),
                types: types(&variants),
                is_closed_object: variants.iter().any(|variant| is_closed_object(variant)),
            });
            collect(root, property, path, found);
            path.pop();
        }
    }
}

/// The alternatives that a schema stands for, with references followed.
fn variants<'a>(root: &'a Value, schema: &'a Value, depth: usize) -> Vec<&'a Value> {
    let mut found = Vec::new();
    if depth > MAX_DEPTH {
        return found;
    }
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    let target = reference.and_then(|pointer| root.pointer(pointer));
    let combined = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|word| schema.get(word)?.as_array()).flatten();
    let inner: Vec<&Value> = target.into_iter().chain(combined).collect();
    if inner.is_empty() || schema.get("properties").is_some() {
        found.push(schema);
    }
    found.extend(inner.into_iter().flat_map(|schema| variants(root, schema, depth + 1)));
    found
}

fn is_described(schema: &Value) -> bool {
    schema.get("description").and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty())
}

fn is_closed_object(schema: &Value) -> bool {
    schema.get("properties").is_some() && schema.get("additionalProperties") == Some(&Value::Bool(false))
}

fn types(variants: &[&Value]) -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    for variant in variants {
        match variant.get("type") {
            Some(Value::String(name)) => {
                types.insert(name.clone());
            }
            Some(Value::Array(names)) => types.extend(names.iter().filter_map(Value::as_str).map(str::to_owned)),
            _ => match variant.get("const") {
                Some(value) => {
                    types.insert(type_of(value).to_owned());
                }
                // One alternative that takes anything makes the whole take anything.
                None => return BTreeSet::new(),
            },
        }
    }
    types
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value of a type that is not among `types`.
pub(super) fn wrong_value(types: &BTreeSet<String>) -> Option<Value> {
    if types.is_empty() {
        return None;
    }
    let candidates = [Value::Bool(true), Value::String("wrong".to_owned()), Value::Array(Vec::new())];
    candidates.into_iter().find(|value| !types.contains(type_of(value)))
}

/// `settings` with `value` at `path`; what is on the way and no object becomes one.
pub(super) fn with(settings: &Value, path: &[String], value: Value) -> Value {
    let Some((key, rest)) = path.split_first() else { return value };
    let mut map = settings.as_object().cloned().unwrap_or_else(Map::new);
    let inner = with(map.get(key).unwrap_or(&Value::Null), rest, value);
    map.insert(key.clone(), inner);
    Value::Object(map)
}
