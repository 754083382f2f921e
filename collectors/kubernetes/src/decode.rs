//! Answers taken apart while they arrive: a list item by item, a watch event by event.
//!
//! Bytes are pushed in as the connection gives them and what is complete is taken out, so that no more than one item is
//! ever held, however long the list is.

mod json;
mod protobuf;

use bytes::Bytes;
use prost::Message;
use serde::de::DeserializeOwned;

use crate::wire::{ListMeta, Status};

/// Bytes of one object. etcd takes 1.5 MiB by default and JSON is about twice as long. An empty container is two bytes
/// and takes some hundreds when it is decoded, so this bounds memory too.
pub(crate) const MAX_OBJECT: usize = 4 << 20;

/// What can be read of an answer.
pub(crate) trait Object: Message + DeserializeOwned + Default {}

impl<T: Message + DeserializeOwned + Default> Object for T {}

/// Why an answer cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It is not what Kubernetes answers; what is wrong with it.
    Foreign(String),
    /// It ends before its end.
    Short,
    /// One object is longer than [`MAX_OBJECT`].
    Large,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    /// By the answer's media type. What is neither is read as JSON, and complained about where it is not.
    pub(crate) fn of(content_type: &str) -> Self {
        if content_type.starts_with("application/vnd.kubernetes.protobuf") { Self::Protobuf } else { Self::Json }
    }
}

/// What the server says of a request that it refuses, in the encoding that was asked for or, from whoever stands in
/// between, in JSON; if it is that at all.
pub(crate) fn status(answer: &Bytes, encoding: Encoding) -> Option<Status> {
    match encoding {
        Encoding::Protobuf => protobuf::unwrap(answer).ok(),
        Encoding::Json => serde_json::from_slice(answer).ok(),
    }
}

/// A list that is being received.
#[derive(Debug)]
pub(crate) enum ListDecoder {
    Protobuf(protobuf::List),
    Json(json::List),
}

impl ListDecoder {
    pub(crate) fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Protobuf => Self::Protobuf(protobuf::List::default()),
            Encoding::Json => Self::Json(json::List::default()),
        }
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &Bytes) {
        match self {
            Self::Protobuf(list) => list.push(bytes),
            Self::Json(list) => list.push(bytes),
        }
    }

    /// The next item, if all of it is there.
    pub(crate) fn next<T: Object>(&mut self) -> Result<Option<T>, Broken> {
        match self {
            Self::Protobuf(list) => list.next(),
            Self::Json(list) => list.next(),
        }
    }

    /// What is said of the list as a whole, once everything was taken out.
    pub(crate) fn finish(self) -> Result<ListMeta, Broken> {
        match self {
            Self::Protobuf(list) => list.finish(),
            Self::Json(list) => list.finish(),
        }
    }
}

/// An event of a watch.
#[derive(Debug, PartialEq)]
pub(crate) enum Event<T> {
    /// An object was added, or is now like this.
    Present(T),
    /// An object was deleted; this is the last that is known of it.
    Deleted(T),
    /// Nothing changed up to the version of this object, which has nothing else.
    Bookmark(T),
    /// The watch has ended, and why.
    Error(Status),
    /// Of a kind that is not known.
    Unknown,
}

/// A watch that is being received.
#[derive(Debug)]
pub(crate) enum WatchDecoder {
    Protobuf(protobuf::Watch),
    Json(json::Watch),
}

impl WatchDecoder {
    pub(crate) fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Protobuf => Self::Protobuf(protobuf::Watch::default()),
            Encoding::Json => Self::Json(json::Watch::default()),
        }
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &Bytes) {
        match self {
            Self::Protobuf(watch) => watch.push(bytes),
            Self::Json(watch) => watch.push(bytes),
        }
    }

    /// The next event, if all of it is there.
    pub(crate) fn next<T: Object>(&mut self) -> Result<Option<Event<T>>, Broken> {
        match self {
            Self::Protobuf(watch) => watch.next(),
            Self::Json(watch) => watch.next(),
        }
    }

    /// Whether half an event was left behind.
    pub(crate) fn is_short(&self) -> bool {
        match self {
            Self::Protobuf(watch) => watch.is_short(),
            Self::Json(watch) => watch.is_short(),
        }
    }
}

/// The kinds of event that there are (`metav1.WatchEvent`, field `type`).
fn event<T>(
    kind: &str,
    object: impl FnOnce() -> Result<T, Broken>,
    status: impl FnOnce() -> Result<Status, Broken>,
) -> Result<Event<T>, Broken> {
    Ok(match kind {
        "ADDED" | "MODIFIED" => Event::Present(object()?),
        "DELETED" => Event::Deleted(object()?),
        "BOOKMARK" => Event::Bookmark(object()?),
        "ERROR" => Event::Error(status()?),
        _ => Event::Unknown,
    })
}

#[cfg(test)]
mod tests;
