//! One watch: what changes of one resource, from a version on or from the beginning.

use std::{collections::BTreeMap, marker::PhantomData, time::Duration};

use stocktake_core::CollectError;
use tokio::time::Instant;

use crate::{
    api::{Answer, Api},
    decode::{Event, Object, WatchDecoder},
    error::{self, Action, Failure, FailureKind},
    list::Query,
    wire::{Namespace, Node, ObjectMeta, Owned, Pod, Unchecked},
};

/// How long a server may keep one watch open. It ends the watch then and is asked for the next, which spreads watches over
/// the servers of a cluster; client-go asks for five to ten minutes.
const LASTS: Duration = Duration::from_mins(8);
/// A watch that ends sooner than this without having told of a change would be asked for again and again.
const TOO_SOON: Duration = Duration::from_secs(2);
/// On the bookmark that ends the objects that there were when a streaming list began (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What a watch tells of.
pub(crate) trait Watched: Object {
    /// The version of the object.
    fn version(&self) -> Option<&str>;
    /// Whether this is the bookmark that ends a streaming list.
    fn ends_list(&self) -> bool;
}

fn is_end(annotations: &BTreeMap<String, Unchecked>) -> bool {
    annotations.get(INITIAL_EVENTS_END).is_some_and(|value| value == b"true")
}

/// For types with a whole `metadata`.
macro_rules! watched {
    ($($type:ty),*) => {$(
        impl Watched for $type {
            fn version(&self) -> Option<&str> {
                self.metadata.as_ref().and_then(|metadata: &ObjectMeta| metadata.resource_version.as_deref())
            }

            fn ends_list(&self) -> bool {
                self.metadata.as_ref().is_some_and(|metadata| is_end(&metadata.annotations))
            }
        }
    )*};
}

watched!(Pod, Node, Namespace);

impl Watched for Owned {
    fn version(&self) -> Option<&str> {
        self.metadata.as_ref().and_then(|metadata| metadata.resource_version.as_deref())
    }

    fn ends_list(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| is_end(&metadata.annotations))
    }
}

/// Where a watch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    /// Behind this version.
    Version(String),
    /// With all objects that there are.
    Beginning,
}

/// What comes of a watch.
#[derive(Debug, PartialEq)]
pub(crate) enum Told<T> {
    /// The server has taken it: what changes from now on is told.
    Standing,
    /// An object is there, or is now like this.
    Present(T),
    /// An object is gone; this is the last that is known of it.
    Deleted(T),
    /// All objects that there were have been told.
    AllPresent,
    /// Nothing but how far it has come.
    Progress,
}

/// A watch, which opens when it is first asked and again when the server ends it.
pub(crate) struct Watch<T> {
    api: Api,
    query: Query,
    action: Action,
    from: From,
    open: Option<Open>,
    of: PhantomData<fn() -> T>,
}

struct Open {
    answer: Answer,
    decoder: WatchDecoder,
    since: Instant,
    /// Whether it has told of an object.
    has_told: bool,
}

impl<T: Watched> Watch<T> {
    pub(crate) fn new(api: Api, query: Query, from: From) -> Self {
        let action = query.watching();
        Self { api, query, action, from, open: None, of: PhantomData }
    }

    /// How far it has come: from here another watch can go on. `None` in the middle of what there was at the beginning.
    pub(crate) fn version(&self) -> Option<&str> {
        match &self.from {
            From::Version(version) => Some(version),
            From::Beginning => None,
        }
    }

    /// What it tells next. An error ends it.
    pub(crate) async fn next(&mut self) -> Result<Told<T>, Failure> {
        loop {
            let Some(open) = &mut self.open else {
                let answer = self.api.ask(&self.path(), self.query.accept_events(), &self.action).await?;
                let decoder = WatchDecoder::new(answer.encoding);
                self.open = Some(Open { answer, decoder, since: Instant::now(), has_told: false });
                return Ok(Told::Standing);
            };
            let broken = |broken| error::broken(&self.api.peer, &self.action, &broken);
            if let Some(event) = open.decoder.next::<T>().map_err(broken)? {
                return self.told(event);
            }
            // A server that takes no notice of what a streaming list is would go on for ever.
            if self.from == From::Beginning && open.since.elapsed() > LASTS {
                return Err(self.has_no_end());
            }
            match self.api.more(&mut open.answer, &self.action).await {
                Ok(Some(bytes)) => open.decoder.push(&bytes),
                Ok(None) => self.ended()?,
                Err(failure) if failure.kind != FailureKind::Silent => return Err(failure),
                Err(_) if self.from == From::Beginning => return Err(self.has_no_end()),
                Err(failure) => {
                    tracing::debug!(reason = failure.error.full_message(), "asking anew");
                    self.open = None;
                }
            }
        }
    }

    fn path(&self) -> String {
        let seconds = LASTS.as_secs().to_string();
        let common = [("watch", "1"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", &*seconds)];
        let newest = self.api.versions.newest(&self.query.collection());
        let beginning =
            [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"), ("resourceVersion", &*newest)];
        match &self.from {
            From::Version(version) => self.query.path(&[&common[..], &[("resourceVersion", version)]].concat()),
            From::Beginning => self.query.path(&[&common[..], &beginning].concat()),
        }
    }

    fn told(&mut self, event: Event<T>) -> Result<Told<T>, Failure> {
        let object = match &event {
            Event::Present(object) | Event::Deleted(object) | Event::Bookmark(object) => object,
            Event::Error(status) => return Err(error::watch_ended(&self.api.peer, &self.action, status)),
            Event::Unknown => return Ok(Told::Progress),
        };
        let version = object.version().filter(|version| !version.is_empty()).map(str::to_owned);
        let is_end = self.from == From::Beginning && matches!(event, Event::Bookmark(_)) && object.ends_list();
        let is_bookmark = matches!(event, Event::Bookmark(_));
        match version {
            Some(version) if is_end || self.from != From::Beginning => {
                let from = From::Version(version);
                if let Some(open) = &mut self.open {
                    open.has_told |= !is_bookmark && self.from != from;
                }
                self.from = from;
            }
            None if is_end => return Err(self.has_no_end()),
            _ => {}
        }
        Ok(match event {
            Event::Present(object) => Told::Present(object),
            Event::Deleted(object) => Told::Deleted(object),
            _ if is_end => Told::AllPresent,
            _ => Told::Progress,
        })
    }

    /// The server has ended the watch, as it does from time to time.
    fn ended(&mut self) -> Result<(), Failure> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if open.decoder.is_short() {
            return Err(error::broken(&self.api.peer, &self.action, &crate::decode::Broken::Short));
        }
        if self.from == From::Beginning && open.since.elapsed() < LASTS {
            // Whatever it was, a list may lead further.
            self.api.streaming.remember(false);
            return Err(error::broken(&self.api.peer, &self.action, &crate::decode::Broken::Short));
        }
        if self.from == From::Beginning {
            return Err(self.has_no_end());
        }
        if !open.has_told && open.since.elapsed() < TOO_SOON {
            let message = format!("{} ends at once what it is asked to {}; see its log", self.api.peer, self.action);
            return Err(Failure {
                kind: FailureKind::Unreachable,
                error: CollectError::Unavailable { message, source: None },
            });
        }
        Ok(())
    }

    /// A streaming list that is none.
    fn has_no_end(&self) -> Failure {
        self.api.streaming.remember(false);
        let message = format!(
            "{} does not say where what there was ends when it is asked to {} with `sendInitialEvents`; set `list` to `cache`",
            self.api.peer, self.action
        );
        Failure { kind: FailureKind::Other, error: CollectError::Protocol { message, source: None } }
    }
}
