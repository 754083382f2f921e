//! Lists: from the API server's watch cache, or in pages.

use std::{fmt, fmt::Write as _, marker::PhantomData};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use stocktake_core::{CollectError, model::Warning};

use crate::{
    api::{Answer, Api, OBJECTS, percent_encode},
    decode::ListDecoder,
    error::{self, Action, Failure, FailureKind},
    watch::Watched,
    wire::ListMeta,
};

/// Objects a page: kubectl's and client-go's number, and the cheapest tried.
const PAGE_SIZE: usize = 500;
/// How often one list is begun again because the server has dropped the version that its pages are of.
const MAX_RESTARTS: usize = 3;

/// Requests that are spared while a list is in pages: one for all of it at once, and one for each kind of owner.
const SPARE: usize = 3;
/// Why a list goes on in another way then.
const SPARING: &str = "because one request more a page would exceed `max_requests_per_minute`";

/// Pages of one list: a million objects, several times what the largest clusters have.
const MAX_PAGES: usize = 2000;
/// Objects of one list, in however many pages.
const MAX_ITEMS: usize = 1_000_000;
/// Bytes of all of them: 150,000 pods, the most that Kubernetes supports, of 50 KB each.
const MAX_LIST: usize = 8 << 30;

/// Protobuf or JSON with nothing but the metadata of the objects; whole objects where a server knows no such thing.
const METADATA: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
    application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// The same of a watch, whose events have an object each.
const METADATA_EVENTS: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,\
    application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// What is listed or watched.
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
    pub(crate) field_selector: Option<String>,
    /// Whether the objects' metadata is enough.
    pub(crate) metadata_only: bool,
}

impl Query {
    /// A resource of the core group.
    pub(crate) fn core(resource: &'static str) -> Self {
        Self { api: "/api/v1", resource, ..Self::default() }
    }

    /// What it asks of a list, for messages.
    pub(crate) fn action(&self) -> Action {
        Action::List { resource: self.qualified(), namespace: self.namespace.clone() }
    }

    /// What it asks of a watch, for messages.
    pub(crate) fn watching(&self) -> Action {
        Action::Watch { resource: self.qualified(), namespace: self.namespace.clone() }
    }

    fn qualified(&self) -> String {
        self.qualified.clone().unwrap_or_else(|| self.resource.to_owned())
    }

    /// The media types to ask a list for.
    fn accept(&self) -> &'static str {
        if self.metadata_only { METADATA } else { OBJECTS }
    }

    /// The media types to ask a watch for.
    pub(crate) fn accept_events(&self) -> &'static str {
        if self.metadata_only { METADATA_EVENTS } else { OBJECTS }
    }

    /// The path with the query, to which `parameters` are added.
    pub(crate) fn path(&self, parameters: &[(&str, &str)]) -> String {
        let mut path = self.collection();
        let selectors =
            [("labelSelector", self.label_selector.as_deref()), ("fieldSelector", self.field_selector.as_deref())];
        let selectors = selectors.into_iter().filter_map(|(key, value)| Some((key, value?)));
        for (position, (key, value)) in parameters.iter().copied().chain(selectors).enumerate() {
            // Writing into a `String` cannot fail.
            let _ = write!(path, "{}{key}={}", if position == 0 { '?' } else { '&' }, percent_encode(value));
        }
        path
    }

    /// The path without the query.
    pub(crate) fn collection(&self) -> String {
        let namespace = self.namespace.as_ref().map(|name| format!("/namespaces/{}", percent_encode(name)));
        format!("{}{}/{}", self.api, namespace.unwrap_or_default(), self.resource)
    }
}

/// How a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In one answer from the API server's memory, which does not ask etcd and is at least as new as the last answer.
    Cache,
    /// In pages, from etcd and as new as can be.
    Pages,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cache => "from the API server's watch cache",
            Self::Pages => "in pages from etcd",
        })
    }
}

/// A list that is being read.
pub(crate) struct Lister<'a, T> {
    api: &'a Api,
    query: Query,
    action: Action,
    way: Way,
    state: State,
    restarts: usize,
    pages: usize,
    bytes: usize,
    items: usize,
    version: String,
    /// The version of the newest object. That of a list in pages is etcd's, which the watch cache reaches only when an object
    /// of its own kind changes.
    newest: String,
    has_moved: bool,
    remark: Option<Warning>,
    of: PhantomData<T>,
}

enum State {
    /// The page with this token is to be asked for, or the first.
    Ask(Option<String>),
    /// A page is being received.
    Page {
        answer: Answer,
        decoder: ListDecoder,
        token: Option<String>,
    },
    End,
}

/// A step in reading a list.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// An object.
    Item(T),
    /// A page has ended, and how far the list has come.
    Page(Position),
    /// What was told before is void: the list begins again, of a newer version.
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

impl<'a, T: Watched> Lister<'a, T> {
    pub(crate) fn new(api: &'a Api, query: Query, way: Way) -> Self {
        let action = query.action();
        tracing::debug!("asking to {action}, {way}");
        Self {
            api,
            query,
            action,
            way,
            state: State::Ask(None),
            restarts: 0,
            pages: 0,
            bytes: 0,
            items: 0,
            version: String::new(),
            newest: String::new(),
            has_moved: false,
            remark: None,
            of: PhantomData,
        }
    }

    /// The version that the list is of, once a page has ended.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// How the list is asked for now.
    pub(crate) fn way(&self) -> Way {
        self.way
    }

    /// Begins the list again in another way, and says why. False if it was moved before: what is too much in one way and
    /// in the other would otherwise go to and fro.
    pub(crate) fn move_to(&mut self, way: Way, why: &str) -> bool {
        if self.has_moved {
            return false;
        }
        let message = format!("what is asked to {} goes on {way}, {why}", self.action);
        tracing::warn!("{message}");
        self.remark = Some(Warning::new(message));
        self.way = way;
        self.has_moved = true;
        self.state = State::Ask(None);
        true
    }

    /// What there is to say of the way that was taken, once.
    pub(crate) fn remark(&mut self) -> Option<Warning> {
        self.remark.take()
    }

    /// The next step; `None` behind the last, and behind a failure.
    pub(crate) async fn next(&mut self) -> Result<Option<Step<T>>, Failure> {
        let step = self.advance().await;
        if step.is_err() {
            self.state = State::End;
        }
        step
    }

    async fn advance(&mut self) -> Result<Option<Step<T>>, Failure> {
        loop {
            if matches!(self.state, State::Ask(Some(_))) && self.must_spare() && self.move_to(Way::Cache, SPARING) {
                return Ok(Some(Step::Restarted));
            }
            match &mut self.state {
                State::End => return Ok(None),
                State::Ask(token) => {
                    let token = token.take();
                    match self.api.ask(&self.page(token.as_deref()), self.query.accept(), &self.action).await {
                        Ok(answer) => {
                            let decoder = ListDecoder::new(answer.encoding);
                            self.state = State::Page { answer, decoder, token };
                        }
                        Err(failure) if failure.kind == FailureKind::Gone && self.restarts < MAX_RESTARTS => {
                            return Ok(Some(self.restart()));
                        }
                        Err(failure) => return Err(failure),
                    }
                }
                State::Page { answer, decoder, .. } => {
                    let broken = |broken| error::broken(&self.api.peer, &self.action, &broken);
                    if let Some(item) = decoder.next::<T>().map_err(broken)? {
                        self.items += 1;
                        self.note_newest(&item);
                        if self.items > MAX_ITEMS {
                            return Err(self.has_no_end());
                        }
                        return Ok(Some(Step::Item(item)));
                    }
                    if let Some(bytes) = self.api.more(answer, &self.action).await? {
                        self.bytes = self.bytes.saturating_add(bytes.len());
                        decoder.push(&bytes);
                        if self.bytes > MAX_LIST {
                            return Err(self.has_no_end());
                        }
                        continue;
                    }
                    return self.end_page().map(|position| Some(Step::Page(position)));
                }
            }
        }
    }

    fn note_newest(&mut self, item: &T) {
        if self.way == Way::Cache {
            return;
        }
        let number = |version: &str| version.parse::<u128>().unwrap_or_default();
        if let Some(version) = item.version()
            && number(version) > number(&self.newest)
        {
            version.clone_into(&mut self.newest);
        }
    }

    fn must_spare(&self) -> bool {
        self.way == Way::Pages && self.api.meter.left().is_some_and(|left| left <= SPARE)
    }

    /// Path and query of a page.
    fn page(&self, token: Option<&str>) -> String {
        let limit = PAGE_SIZE.to_string();
        let version = self.api.versions.newest(&self.query.collection());
        match (self.way, token) {
            (Way::Cache, None) => self.query.path(&[("resourceVersion", &version)]),
            (Way::Pages, None) => self.query.path(&[("limit", &limit)]),
            (_, Some(token)) => self.query.path(&[("limit", &limit), ("continue", token)]),
        }
    }

    fn restart(&mut self) -> Step<T> {
        self.restarts += 1;
        tracing::info!(restarts = self.restarts, "what is asked to {} has expired, asking anew", self.action);
        self.api.versions.forget(&self.query.collection());
        self.state = State::Ask(None);
        Step::Restarted
    }

    fn end_page(&mut self) -> Result<Position, Failure> {
        let State::Page { decoder, token, .. } = std::mem::replace(&mut self.state, State::End) else {
            return Ok(Position::End);
        };
        let ListMeta { next, resource_version } =
            decoder.finish().map_err(|broken| error::broken(&self.api.peer, &self.action, &broken))?;
        self.pages += 1;
        self.version = resource_version;
        if next.is_empty() {
            let reached = if self.way == Way::Cache { &self.version } else { &self.newest };
            self.api.versions.note(self.query.collection(), reached.clone());
            return Ok(Position::End);
        }
        if token.as_ref() == Some(&next) {
            return Err(self.goes_in_circles());
        }
        if self.pages >= MAX_PAGES {
            return Err(self.has_no_end());
        }
        let position = Position::of_token(&next);
        self.state = State::Ask(Some(next));
        Ok(position)
    }

    fn has_no_end(&self) -> Failure {
        let message = format!(
            "{} has not come to the end of what it is asked to {} after {} objects in {} pages of {} MiB together; report it \
             to who runs it",
            self.api.peer,
            self.action,
            self.items,
            self.pages,
            self.bytes >> 20
        );
        Failure { kind: FailureKind::Other, error: CollectError::Protocol { message, source: None } }
    }

    fn goes_in_circles(&self) -> Failure {
        let message = format!(
            "{} answers the next page of what it is asked to {} with the same page; report it to who runs it",
            self.api.peer, self.action
        );
        let error = CollectError::Protocol { message, source: None };
        Failure { kind: FailureKind::Other, error }
    }
}

/// All objects of a list that is small, or of which little is kept: `keep` makes that of each.
pub(crate) async fn list_all<T: Watched, K>(
    api: &Api,
    query: Query,
    way: Way,
    keep: impl Fn(T) -> K,
) -> Result<Vec<K>, Failure> {
    let mut lister = Lister::new(api, query, way);
    let mut kept = Vec::new();
    while let Some(step) = lister.next().await? {
        match step {
            Step::Item(item) => kept.push(keep(item)),
            Step::Page(_) => {}
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
            field_selector: Some("status.phase!=Failed".into()),
            ..Query::core("pods")
        };
        assert_eq!(
            query.path(&[("limit", "500"), ("continue", "x=")]),
            "/api/v1/namespaces/a%2F..%2Fb/pods?limit=500&continue=x%3D&labelSelector=app%20in%20%28a%2C%20b%29&\
             fieldSelector=status.phase%21%3DFailed"
        );
        assert_eq!(Query::core("nodes").path(&[]), "/api/v1/nodes");
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
