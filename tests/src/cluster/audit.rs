//! What the agent asked of an API server, by the server's own account.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::Value;

/// How far a request had come when it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It was received.
    Received,
    /// Its answer began and goes on: a watch is open.
    Started,
    /// It was answered to the end.
    Complete,
    /// It ended in a way of its own.
    Other,
}

/// A request at one of its stages.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `list`, `watch`, `get`.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// How far it had come.
    pub stage: Stage,
    /// HTTP status of the answer; 0 if there is none yet.
    pub code: u64,
}

/// The API server's log of requests, from some point on.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    position: u64,
}

impl Log {
    pub(super) fn from_now(path: &Path) -> Self {
        // It is made with the first entry.
        let position = path.metadata().map_or(0, |metadata| metadata.len());
        Self { path: path.to_owned(), position }
    }

    /// What was written since this was made, or last asked. A line that is not yet written to its end is left for later.
    pub fn entries(&mut self) -> Vec<Entry> {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(self.position)).expect("a log that can be read");
            file.read_to_string(&mut text).expect("a log that can be read");
        }
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.position += whole as u64;
        text[..whole].lines().map(entry).collect()
    }
}

fn entry(line: &str) -> Entry {
    let event: Value = serde_json::from_str(line).expect("the API server writes JSON");
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let stage = match event["stage"].as_str() {
        Some("RequestReceived") => Stage::Received,
        Some("ResponseStarted") => Stage::Started,
        Some("ResponseComplete") => Stage::Complete,
        _ => Stage::Other,
    };
    let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
    Entry { verb: text("verb"), uri: text("requestURI"), stage, code }
}
