//! The administrator's requests, by curl.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{ADMIN, Cluster};

/// Content types of what is sent.
fn content_type(method: &str) -> &'static str {
    if method == "PATCH" { "application/merge-patch+json" } else { "application/json" }
}

impl Cluster {
    /// What is at `path`, which may have a query.
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.request("GET", path, &Value::Null).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Creates `object` in the list at `path`.
    #[track_caller]
    pub fn create(&self, path: &str, object: &Value) {
        self.request("POST", path, object).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Merges `change` into what is at `path`.
    #[track_caller]
    pub fn patch(&self, path: &str, change: &Value) {
        self.request("PATCH", path, change).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Deletes what is at `path`, an object or all of a list, at once.
    #[track_caller]
    pub fn delete(&self, path: &str) {
        let path = format!("{path}?gracePeriodSeconds=0");
        self.request("DELETE", &path, &Value::Null).unwrap_or_else(|error| panic!("{error}"));
    }

    /// One request with a body, unless that is null.
    ///
    /// # Errors
    ///
    /// Says what was asked for and what the API server had against it.
    pub fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{method} {path}: {error}");
        let mut command = Command::new("/usr/bin/curl");
        command.args(["--silent", "--show-error", "--max-time", "50", "--request", method]);
        command.args(["--cacert", &self.ca_file(), "--header", &format!("Authorization: Bearer {ADMIN}")]);
        command.args(["--write-out", "\n%{http_code}"]);
        if !body.is_null() {
            command.args(["--header", &format!("Content-Type: {}", content_type(method)), "--data-binary", "@-"]);
        }
        command.arg(format!("{}{path}", self.server()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let mut stdin = child.stdin.take().expect("it is piped");
        if !body.is_null() {
            stdin.write_all(body.to_string().as_bytes()).map_err(|error| failed(&error))?;
        }
        drop(stdin);
        let output = child.wait_with_output().map_err(|error| failed(&error))?;
        if !output.status.success() {
            return Err(failed(&String::from_utf8_lossy(&output.stderr)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let (answer, code) = text.rsplit_once('\n').ok_or_else(|| failed(&"no answer"))?;
        if !code.starts_with('2') {
            return Err(failed(&format!("{code}: {answer}")));
        }
        serde_json::from_str(answer).map_err(|error| failed(&error))
    }

    /// Many requests, one after the other on one connection.
    pub fn batch(&self) -> Batch<'_> {
        Batch { cluster: self, config: String::new() }
    }
}

/// Requests for one curl, which are made when it runs.
#[derive(Debug)]
#[must_use = "nothing is sent before it runs"]
pub struct Batch<'a> {
    cluster: &'a Cluster,
    config: String,
}

impl Batch<'_> {
    /// Adds a request.
    pub fn send(&mut self, method: &str, path: &str, body: &Value) {
        if !self.config.is_empty() {
            self.config.push_str("next\n");
        }
        let body = body.to_string().replace('\\', "\\\\").replace('"', "\\\"");
        // `next` forgets what was said before it.
        write!(
            self.config,
            "silent\nshow-error\nfail\noutput = /dev/null\ncacert = {ca}\nheader = \"Authorization: Bearer {ADMIN}\"\n\
             header = \"Content-Type: {kind}\"\nrequest = {method}\nurl = {server}{path}\ndata = \"{body}\"\n",
            ca = self.cluster.ca_file(),
            kind = content_type(method),
            server = self.cluster.server(),
        )
        .expect("a string takes all");
    }

    /// Makes all requests, none of which may be refused.
    #[track_caller]
    pub fn run(self) {
        let file = self.cluster.home().write("requests", &self.config);
        let mut command = Command::new("/usr/bin/curl");
        command.args(["--fail-early", "--config", &file]);
        crate::tools::output(&mut command);
    }
}
