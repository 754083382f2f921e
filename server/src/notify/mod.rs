//! Tells others what changed, in the order of the event log, each once at the least.
//!
//! `pulse` knows that there is something new, `log` reads it once for all who follow, `on` says who wants it. `subscription` keeps who is
//! told of what, and `deliver` hands it to them; `signs` notes as events what no report tells of.

pub(crate) mod channel;
mod deliver;
mod guard;
pub(crate) mod log;
mod mail;
mod message;
pub(crate) mod on;
mod parcel;
pub(crate) mod pulse;
pub(crate) mod send;
mod signs;
pub(crate) mod streams;
pub(crate) mod subscription;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::{guard::Guard, log::EventLog, pulse::Pulse, send::Sender, streams::Streams};
pub(crate) use self::{mail::SmtpSettings, subscription::SHELF};
use crate::{app::App, config::NotifySettings};

/// What all who follow the event log share.
pub(crate) struct Notify {
    pub(crate) pulse: Pulse,
    pub(crate) log: EventLog,
    pub(crate) streams: Streams,
    /// Cancelled once the server is to stop.
    pub(crate) stopping: CancellationToken,
    pub(crate) settings: NotifySettings,
    pub(crate) sender: Sender,
}

impl Notify {
    /// `written` is notified by whoever writes events in this process.
    pub(crate) fn new(written: Arc<tokio::sync::Notify>, settings: NotifySettings) -> Self {
        Self {
            sender: Sender::new(Guard::new(&settings.allow_networks), settings.timeout),
            settings,
            pulse: Pulse::new(written),
            log: EventLog::default(),
            streams: Streams::default(),
            stopping: CancellationToken::new(),
        }
    }
}

/// Follows the event log and delivers, until the server stops.
pub(crate) async fn always(app: App) {
    tokio::select! {
        () = app.notify.pulse.always(&app.database) => {}
        () = deliver::always(app.clone()) => {}
    }
}
