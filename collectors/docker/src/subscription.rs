//! What changes in a daemon, as its events tell.

use std::io;

use bollard::{errors::Error, models::SystemInfo};
use futures_util::{
    FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use serde::Deserialize;
use stocktake_core::{CollectError, ScopeChange, model::ScopeId};
use tokio_util::{
    codec::{FramedRead, LinesCodec, LinesCodecError},
    io::StreamReader,
};

use crate::{
    connect::Endpoint,
    error::{Action, collect_error},
    event::{FILTERS, is_change},
    podman_version,
};

/// Bytes of one event, which holds the labels of its container.
const MAX_LINE: usize = 4 << 20;

/// Bytes of an error message that are read.
const MAX_MESSAGE: usize = 64 << 10;

type Lines = BoxStream<'static, Result<String, CollectError>>;

/// What is told, for as long as the daemon tells it. A Podman that its socket starts does not end while it is asked for
/// events.
pub(crate) fn changes(endpoint: Endpoint) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
    stream::try_unfold(None, move |lines: Option<Lines>| {
        let endpoint = endpoint.clone();
        async move {
            let Some(mut lines) = lines else {
                return Ok(Some((ScopeChange::All, Some(subscribe(&endpoint).await?))));
            };
            follow(&endpoint, &mut lines).await?;
            Ok(Some((ScopeChange::Scopes([ScopeId::host()].into()), Some(lines))))
        }
    })
    .boxed()
}

/// Returns when everything that changes from now on will be in the lines.
///
/// Docker sends the head of its answer before it begins to listen to itself (`getEvents` in moby's
/// `api/server/router/system`), which leaves a moment in which events are lost. Events *since* a time are remembered by
/// Docker (the last 256) and written down by Podman, so that asking for those since before the request leaves none. The time is
/// the daemon's own: another machine's clock may be another.
async fn subscribe(endpoint: &Endpoint) -> Result<Lines, CollectError> {
    let docker = endpoint.connect()?;
    let info = docker.info().await.map_err(|error| collect_error(endpoint, Action::Info, error))?;
    let since = seconds(endpoint, &info)?;
    let version = docker.version().await.map_err(|error| collect_error(endpoint, Action::Version, error))?;
    let mut opening = open(endpoint.clone(), since).boxed();
    if podman_version(&version).is_none() {
        return opening.await;
    }
    tokio::select! {
        biased;
        lines = &mut opening => lines,
        // Podman 2.0.3 to 2.1 and 5.1 to 5.2 send the head with the first event (issues 7263 and 23712), which may never
        // come. Whenever they read the request, they begin with what was written down since.
        answer = docker.info() => {
            answer.map_err(|error| collect_error(endpoint, Action::Info, error))?;
            Ok(opening.try_flatten_stream().boxed())
        }
    }
}

/// The daemon's time in whole seconds, as of before the answer.
fn seconds(endpoint: &Endpoint, info: &SystemInfo) -> Result<i64, CollectError> {
    let time = info.system_time.as_deref().unwrap_or_default();
    let time: Timestamp = time.parse().map_err(|error| {
        CollectError::protocol(format!("{} docker at {endpoint}: it does not tell its time", Action::Events), error)
    })?;
    Ok(time.as_second())
}

async fn open(endpoint: Endpoint, since: i64) -> Result<Lines, CollectError> {
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("since", &since.to_string())
        .append_pair("filters", FILTERS)
        .finish();
    let answer = endpoint.open(&format!("/events?{query}"), Action::Events).await?;
    let status = answer.status();
    if !status.is_success() {
        let message = Limited::new(answer.into_body(), MAX_MESSAGE).collect().await;
        let message = message.map(|body| error_message(&body.to_bytes())).unwrap_or_default();
        return Err(refused(&endpoint, status.as_u16(), message));
    }
    let body = answer.into_body().into_data_stream().map_err(io::Error::other);
    let lines = FramedRead::new(StreamReader::new(body), LinesCodec::new_with_max_length(MAX_LINE));
    Ok(lines.map_err(move |error| broken(&endpoint, error)).boxed())
}

/// Waits until something has changed.
async fn follow(endpoint: &Endpoint, lines: &mut Lines) -> Result<(), CollectError> {
    let what = format!("{} docker at {endpoint}", Action::Events);
    loop {
        let Some(line) = lines.try_next().await? else {
            return Err(CollectError::Unavailable { message: format!("{what}: they have ended"), source: None });
        };
        match is_change(&line) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => return Err(CollectError::protocol(format!("{what}: unreadable answer"), error)),
        }
    }
}

fn refused(endpoint: &Endpoint, status_code: u16, message: String) -> CollectError {
    match status_code {
        // A daemon that has no events, or something between that has no such page.
        404 | 405 | 501 => CollectError::Unsupported {
            message: format!("{} docker at {endpoint}: status {status_code}: {message}", Action::Events),
        },
        _ => collect_error(endpoint, Action::Events, Error::DockerResponseServerError { status_code, message }),
    }
}

/// What a daemon says of its refusal; of something else between, which need not speak JSON, nothing.
fn error_message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    serde_json::from_slice(body).map(|refusal: Refusal| refusal.message).unwrap_or_default()
}

fn broken(endpoint: &Endpoint, error: LinesCodecError) -> CollectError {
    match error {
        LinesCodecError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            CollectError::protocol(format!("{} docker at {endpoint}: unreadable answer", Action::Events), error)
        }
        LinesCodecError::Io(error) => collect_error(endpoint, Action::Events, Error::IOError { err: error }),
        LinesCodecError::MaxLineLengthExceeded => CollectError::Protocol {
            message: format!("{} docker at {endpoint}: one is larger than {} MiB", Action::Events, MAX_LINE >> 20),
            source: None,
        },
    }
}
