//! `clusters`: what the server looks at itself.

use std::{io::Write as _, path::Path};

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{client, confirm, files, list};
use crate::{
    cli::{
        Server,
        clusters::{Add, Clusters, Given, Test},
    },
    client::{Client, Page, Query},
    failure::Failure,
    json::{first, text},
    output::Output,
    say,
    time::to_the_second,
};

const PATH: &str = "v1/agentless/sources";

const COLUMNS: &[list::Column] = &[
    ("NAME", |line| text(line, "/name")),
    ("ADDRESS", |line| first(line, &["/kubernetes/server", "/docker/host"])),
    ("ENABLED", |line| text(line, "/enabled")),
    ("COVERAGE", |line| text(line, "/status/coverage")),
    ("LOOKED AT", |line| to_the_second(&text(line, "/status/looked_at"))),
    ("NEXT LOOK", |line| to_the_second(&text(line, "/status/next_look_at"))),
    ("REASON", |line| text(line, "/status/reason")),
];

/// Fields of CSV, by the names that the server gives them, one within the other.
const FIELDS: [&str; 14] = [
    "name",
    "kubernetes/server",
    "docker/host",
    "interval_seconds",
    "enabled",
    "created_at",
    "updated_at",
    "status/coverage",
    "status/reason",
    "status/looked_at",
    "status/seen_at",
    "status/next_look_at",
    "status/took",
    "status/failures",
];

pub(super) async fn run(command: &Clusters, server: &Server) -> Result<(), Failure> {
    match command {
        Clusters::List { shape } => {
            list::check(shape)?;
            let Page { items, .. }: Page<Value> = client(server)?.get(PATH, &Query::new()).await?;
            list::items(&items, shape, COLUMNS, &FIELDS)
        }
        Clusters::Get { name } => print(&client(server)?.get(&of(name), &Query::new()).await?),
        Clusters::Add(add) => self::add(add, server).await,
        Clusters::Test(test) => self::test(test, server).await,
        Clusters::Enable { name } => set(name, true, &client(server)?).await,
        Clusters::Disable { name } => set(name, false, &client(server)?).await,
        Clusters::Remove { name, yes } => {
            let what = format!("{name} and its credential");
            confirm::can_be_asked(&what, *yes)?;
            let client = client(server)?;
            confirm::confirm(&what, *yes)?;
            client.delete(&of(name), &Query::new()).await?;
            say::note(&format!("{} is looked at no longer; what was seen of it ages", say::plain(name)));
            Ok(())
        }
    }
}

async fn add(Add { name, given, interval, disabled }: &Add, server: &Server) -> Result<(), Failure> {
    let mut new = body(name, given)?
        .ok_or_else(|| Failure::Usage("say what to look at: --kubeconfig, --server or --docker".into()))?;
    if let Some(interval) = interval {
        new["interval_seconds"] = json!(interval);
    }
    if *disabled {
        new["enabled"] = json!(false);
    }
    client(server)?.change::<Value>(Method::POST, PATH, &new).await?;
    let how = if *disabled { "is kept, and not looked at" } else { "is looked at from now on" };
    say::note(&format!("{} {how}", say::plain(name)));
    Ok(())
}

/// Prints what was seen, and fails if that is nothing.
async fn test(Test { name, given }: &Test, server: &Server) -> Result<(), Failure> {
    let (path, body) = match body(name, given)? {
        Some(new) => ("v1/agentless/test".to_owned(), new),
        None => (format!("{}/test", of(name)), json!({})),
    };
    let seen: Value = client(server)?.change(Method::POST, &path, &body).await?;
    print(&seen)?;
    match text(&seen, "/coverage").as_str() {
        "complete" | "partial" => Ok(()),
        _ => Err(Failure::Refused(format!("{} is not seen: {}", say::plain(name), text(&seen, "/reason")))),
    }
}

async fn set(name: &str, enabled: bool, client: &Client) -> Result<(), Failure> {
    client.change::<Value>(Method::PATCH, &of(name), &json!({ "enabled": enabled })).await?;
    let how = if enabled { "is looked at again" } else { "is looked at no longer; what was seen of it ages" };
    say::note(&format!("{} {how}", say::plain(name)));
    Ok(())
}

/// All of it, for people and programs.
fn print(value: &Value) -> Result<(), Failure> {
    let mut out = Output::of_process();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// The path of one.
fn of(name: &str) -> String {
    let mut path = format!("{PATH}/");
    for byte in name.bytes() {
        match byte {
            b'-' | b'_' | b'~' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => path.push(char::from(byte)),
            byte => path.extend([format!("%{byte:02X}")]),
        }
    }
    path
}

/// What the server is asked to look at; nothing if nothing is said of it.
fn body(name: &str, given: &Given) -> Result<Option<Value>, Failure> {
    let files = [
        ("kubeconfig", &given.kubeconfig),
        ("certificate_authority", &given.certificate_authority),
        ("token", &given.bearer_token_file),
        ("client_certificate", &given.client_certificate),
        ("client_key", &given.client_key),
    ];
    if files.iter().filter(|(_, file)| file.as_deref() == Some(Path::new("-"))).count() > 1 {
        return Err(Failure::Usage("only one of the files can be `-`, standard input".into()));
    }
    let kind = if given.docker.is_some() { "docker" } else { "kubernetes" };
    if given.kubeconfig.is_none() && given.server.is_none() && given.docker.is_none() {
        let is_said = files.iter().any(|(_, file)| file.is_some()) || !given.namespaces.is_empty();
        return if is_said || given.no_cluster_objects {
            Err(Failure::Usage("say where it is, too: --kubeconfig, --server or --docker".into()))
        } else {
            Ok(None)
        };
    }
    let mut what = Map::new();
    for (key, text) in [("server", &given.server), ("host", &given.docker), ("context", &given.kube_context)] {
        what.extend(text.as_ref().map(|text| (key.to_owned(), json!(text))));
    }
    for (key, file) in files {
        if let Some(file) = file {
            what.insert(key.to_owned(), json!(content(key, file)?));
        }
    }
    if !given.namespaces.is_empty() {
        what.insert("namespaces".to_owned(), json!({ "include": given.namespaces }));
    }
    if given.no_cluster_objects {
        what.insert("cluster_objects".to_owned(), json!(false));
    }
    Ok(Some(json!({ "name": name, kind: what })))
}

/// What is in a file. A token stands there alone, often with a line's end.
fn content(key: &str, file: &Path) -> Result<String, Failure> {
    let text = String::from_utf8(files::read(file)?)
        .map_err(|_| Failure::Usage(format!("{} is no text", files::named(file))))?;
    if text.trim().is_empty() {
        return Err(Failure::Usage(format!("{} is empty", files::named(file))));
    }
    Ok(if key == "token" { text.trim().to_owned() } else { text })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_stays_one_segment_of_the_path() {
        for (name, path) in [("prod-eu", "prod-eu"), ("a/../b.c", "a%2F..%2Fb.c"), ("ü?%", "%C3%BC%3F%25")] {
            assert_eq!(super::of(name), format!("v1/agentless/sources/{path}"));
        }
    }
}
