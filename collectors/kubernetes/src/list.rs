//! Lists in pages.

use std::{fmt::Write as _, marker::PhantomData};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};
use stocktake_core::CollectError;

use crate::{
    api::{Api, JSON, percent_encode},
    error::{Action, Failure, FailureKind},
    wire::List,
};

/// Objects a page: kubectl's and client-go's number, and the cheapest tried.
const PAGE_SIZE: usize = 500;
/// How often one list is begun again because the server has dropped the version that its pages are of.
const MAX_RESTARTS: usize = 3;

/// Pages of one list: a million objects, several times what the largest clusters have.
const MAX_PAGES: usize = 2000;
/// Bytes of all of them: 150,000 pods, the most that Kubernetes supports, of 50 KB each.
const MAX_LIST: usize = 8 << 30;

/// A list to be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    /// Group and version: `/api/v1`, `/apis/apps/v1`.
    pub(crate) api: &'static str,
    /// `pods`.
    pub(crate) resource: &'static str,
    /// What a role calls it, where that is longer.
    pub(crate) qualified: Option<String>,
    /// All namespaces if absent.
    pub(crate) namespace: Option<String>,
    pub(crate) label_selector: Option<String>,
    pub(crate) field_selector: Option<&'static str>,
    /// JSON by default.
    pub(crate) accept: Option<&'static str>,
}

impl Query {
    /// A resource of the core group.
    pub(crate) fn core(resource: &'static str) -> Self {
        Self { api: "/api/v1", resource, ..Self::default() }
    }

    /// What it asks, for messages.
    pub(crate) fn action(&self) -> Action {
        let resource = self.qualified.clone().unwrap_or_else(|| self.resource.to_owned());
        Action::List { resource, namespace: self.namespace.clone() }
    }

    fn path(&self, next: Option<&str>) -> String {
        let mut path = self.api.to_owned();
        if let Some(namespace) = &self.namespace {
            // Writing into a `String` cannot fail.
            let _ = write!(path, "/namespaces/{}", percent_encode(namespace));
        }
        let _ = write!(path, "/{}?limit={PAGE_SIZE}", self.resource);
        let parameters = [
            ("labelSelector", self.label_selector.as_deref()),
            ("fieldSelector", self.field_selector),
            ("continue", next),
        ];
        for (key, value) in parameters {
            if let Some(value) = value {
                let _ = write!(path, "&{key}={}", percent_encode(value));
            }
        }
        path
    }
}

/// A list that is being read.
pub(crate) struct Pager<'a, T> {
    api: &'a Api,
    query: Query,
    next: Next,
    restarts: usize,
    pages: usize,
    bytes: usize,
    items: PhantomData<T>,
}

enum Next {
    Start,
    Token(String),
    End,
}

/// A step in reading a list.
pub(crate) enum Step<T> {
    /// Some objects.
    Page {
        items: Vec<T>,
        /// How far the list has come.
        position: Position,
    },
    /// What the pages before held is void: the list begins again, of a newer version.
    Restarted,
}

/// How far a list has come, where that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Position {
    /// At its end.
    End,
    /// Every object before this key was listed; keys are `namespace/name`, in the order of their bytes.
    Before(String),
    /// In its middle, in an order that cannot be told.
    Unknown,
}

impl Position {
    /// Whether all of a namespace has been listed.
    pub(crate) fn is_past(&self, namespace: &str) -> bool {
        match self {
            Self::End => true,
            // With the slash: `team-a/x` comes before `team/x`, because `-` sorts before `/`.
            Self::Before(key) => match key.split_once('/') {
                Some((current, _)) => format!("{namespace}/") < format!("{current}/"),
                None => false,
            },
            Self::Unknown => false,
        }
    }

    /// Reads a `continue` token as kube-apiserver's storage writes it (apiserver, `pkg/storage/continue.go`).
    ///
    /// Clients are to treat tokens as opaque. Nothing depends on reading them but how early memory is given back: a
    /// token of a server that keeps no such order, such as one that joins several clusters, does not read, and then
    /// nothing is taken for finished before the list is.
    fn of_token(token: &str) -> Self {
        #[derive(Deserialize)]
        struct Token {
            v: String,
            start: String,
        }
        let token = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok();
        let token = token.and_then(|json| serde_json::from_slice::<Token>(&json).ok());
        match token {
            Some(Token { v, start }) if v.starts_with("meta.k8s.io/") => Self::Before(start),
            _ => Self::Unknown,
        }
    }
}

impl<'a, T: DeserializeOwned> Pager<'a, T> {
    pub(crate) fn new(api: &'a Api, query: Query) -> Self {
        Self { api, query, next: Next::Start, restarts: 0, pages: 0, bytes: 0, items: PhantomData }
    }

    /// The next step, `None` behind the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Step<T>>, Failure> {
        let token = match &self.next {
            Next::Start => None,
            Next::Token(token) => Some(token.as_str()),
            Next::End => return Ok(None),
        };
        let accept = self.query.accept.unwrap_or(JSON);
        let page = self.api.get_sized::<List<T>>(&self.query.path(token), accept, &self.query.action()).await;
        let List { metadata, items } = match page {
            Ok((page, size)) => {
                self.pages += 1;
                self.bytes = self.bytes.saturating_add(size);
                page
            }
            Err(failure) if failure.kind == FailureKind::Gone && self.restarts < MAX_RESTARTS => {
                self.restarts += 1;
                tracing::debug!(
                    restarts = self.restarts,
                    resource = self.query.resource,
                    "list expired, starting again"
                );
                self.next = Next::Start;
                return Ok(Some(Step::Restarted));
            }
            Err(failure) => return Err(failure),
        };
        let position = match metadata.next.filter(|token| !token.is_empty()) {
            None => {
                self.next = Next::End;
                Position::End
            }
            Some(next) if token == Some(next.as_str()) => return Err(self.goes_in_circles()),
            Some(_) if self.pages >= MAX_PAGES || self.bytes > MAX_LIST => return Err(self.has_no_end()),
            Some(next) => {
                let position = Position::of_token(&next);
                self.next = Next::Token(next);
                position
            }
        };
        Ok(Some(Step::Page { items, position }))
    }

    fn has_no_end(&self) -> Failure {
        let message = format!(
            "{} has not come to the end of what it is asked to {} after {} pages of {} MiB together; report it to who runs it",
            self.api.peer,
            self.query.action(),
            self.pages,
            self.bytes >> 20
        );
        Failure { kind: FailureKind::Other, error: CollectError::Protocol { message, source: None } }
    }

    fn goes_in_circles(&self) -> Failure {
        let message = format!(
            "{} answers the next page of what it is asked to {} with the same page; report it to who runs it",
            self.api.peer,
            self.query.action()
        );
        let error = CollectError::Protocol { message, source: None };
        Failure { kind: FailureKind::Other, error }
    }
}

/// All objects of a list that is small, or of which little is kept: `keep` makes that of each.
pub(crate) async fn list_all<T: DeserializeOwned, K>(
    api: &Api,
    query: Query,
    keep: impl Fn(T) -> K,
) -> Result<Vec<K>, Failure> {
    let mut pager = Pager::new(api, query);
    let mut kept = Vec::new();
    while let Some(step) = pager.next().await? {
        match step {
            Step::Page { items, .. } => kept.extend(items.into_iter().map(&keep)),
            Step::Restarted => kept.clear(),
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded() {
        let query = Query {
            namespace: Some("a/../b".into()),
            label_selector: Some("app in (a, b)".into()),
            field_selector: Some("status.phase!=Failed"),
            ..Query::core("pods")
        };
        assert_eq!(
            query.path(Some("x=")),
            "/api/v1/namespaces/a%2F..%2Fb/pods?limit=500&labelSelector=app%20in%20%28a%2C%20b%29&\
             fieldSelector=status.phase%21%3DFailed&continue=x%3D"
        );
        assert_eq!(Query::core("nodes").path(None), "/api/v1/nodes?limit=500");
    }

    #[test]
    fn a_token_of_the_storage_tells_the_position_and_no_other_does() {
        // Recorded from kube-apiserver 1.20.2 (`kubectl get --raw '/api/v1/pods?limit=3'`).
        const RECORDED: &str = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NjU5LCJzdGFydCI6Imt1YmUtc3lzdGVtL3N0YXRpYy13ZWItYmVkLW5vZGVcdTAwMDAifQ";
        assert_eq!(Position::of_token(RECORDED), Position::Before("kube-system/static-web-bed-node\0".into()));
        let other = URL_SAFE_NO_PAD.encode(r#"{"rv":7,"cluster":"member1","continue":"e30"}"#);
        for token in ["", "page2", "e30", other.as_str()] {
            assert_eq!(Position::of_token(token), Position::Unknown, "{token}");
        }
    }

    #[test]
    fn namespaces_are_finished_in_the_order_of_keys() {
        let position = Position::Before("team/x\0".into());
        for finished in ["default", "team-a", "kube-system"] {
            assert!(position.is_past(finished), "{finished}");
        }
        for unfinished in ["team", "team0", "teams", "z"] {
            assert!(!position.is_past(unfinished), "{unfinished}");
        }
        assert!(Position::End.is_past("z") && !Position::Unknown.is_past("a"));
        // The storage may name no object, only where to go on.
        assert!(!Position::Before("team".into()).is_past("a"));
    }
}
