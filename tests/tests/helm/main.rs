//! The chart in `deploy/helm/stocktake`: what it renders, and that it installs in a real cluster.
//!
//! Helm's own library does both (`tests/helm`); it is a Python package, and what is expected of it stands here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test's helpers are tests"
)]

mod installed;
mod kept;
mod network;
mod notes;
mod objects;
mod release;
mod rendered;
mod restricted;
mod security;
mod settings;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use stocktake_tests::repository;

/// `tests/helm/SCRIPT ARGUMENTS…`: what it prints, or what it complains about.
fn try_python(script: &str, arguments: &[&str], stdin: &str) -> Result<String, String> {
    let python = std::env::var_os("STOCKTAKE_HELM");
    let python = python
        .expect("STOCKTAKE_HELM names a Python with Helm's library; tests/run sets it to what tests/helm/install says");
    let mut command = Command::new(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(repository().join("tests/helm").join(script)).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut input = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    // It writes while it reads.
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    drop(writing.join().unwrap());
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn python(script: &str, arguments: &[&str], stdin: &str) -> String {
    try_python(script, arguments, stdin).unwrap_or_else(|error| panic!("{script} {arguments:?}: {error}"))
}

/// What becomes of each of these values: the objects, or why there are none.
fn render_all(values: &[Value]) -> Vec<Result<Vec<Value>, String>> {
    // Many are asked for more than once.
    let documents: Vec<String> = values.iter().map(Value::to_string).collect();
    let different: BTreeSet<&String> = documents.iter().collect();
    let input = different.iter().map(|document| document.as_str()).collect::<Vec<_>>().join("\n");
    let output = python("chart.py", &["render"], &input);
    let rendered: Vec<_> = output
        .lines()
        .map(|line| match serde_json::from_str(line).unwrap() {
            Value::Object(mut told) if told.contains_key("error") => {
                Err(told["error"].take().as_str().unwrap().to_owned())
            }
            mut told => Ok(told["objects"].take().as_array().unwrap().clone()),
        })
        .collect();
    assert_eq!(rendered.len(), different.len());
    let rendered: BTreeMap<&String, _> = different.into_iter().zip(rendered).collect();
    documents.iter().map(|document| rendered[document].clone()).collect()
}

fn render(values: &Value) -> Vec<Value> {
    render_all(std::slice::from_ref(values)).remove(0).unwrap_or_else(|error| panic!("{values}: {error}"))
}

/// Why these values are refused.
fn refusal(values: &Value) -> String {
    render_all(std::slice::from_ref(values)).remove(0).expect_err("a refusal")
}

/// The objects of a kind, by name.
fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<(&'a str, &'a Value)> {
    let objects = objects.iter().filter(|object| object["kind"] == kind);
    objects.map(|object| (object["metadata"]["name"].as_str().unwrap(), object)).collect()
}

/// The one object of a kind and name.
fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = of_kind(objects, kind).into_iter().find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}")).1
}

/// `target` with `more`, table by table.
fn merged(target: &Value, more: &Value) -> Value {
    let mut target = target.clone();
    merge(&mut target, more);
    target
}

fn merge(target: &mut Value, more: &Value) {
    match (target, more) {
        (Value::Object(target), Value::Object(more)) => {
            for (key, value) in more {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, more) => *target = more.clone(),
    }
}

/// The least that can be installed.
fn least() -> Value {
    json!({"config": {"targets": {"stocktake": {"url": "https://stocktake.example.com"}}}})
}
