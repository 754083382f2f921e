//! Streaming lists (KEP-3157): whether the server answers them, and one look by them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stocktake_core::{ScopeSink, Selection};
use tokio::time::Instant;

use crate::{
    api::Api,
    fill::{Obstacle, fill},
    list::Query,
    live::Live,
    settings::{ListWay, Settings},
    watch::{From, Told, Watch},
    wire::Namespace,
};

/// How long the server's answer is relied upon: it may be upgraded, or reconfigured, while the agent runs.
const REMEMBERED: Duration = Duration::from_hours(1);
/// Enough for a list of one object.
const ENOUGH: Duration = Duration::from_secs(3);

/// Whether the server answers streaming lists, as it was last found.
#[derive(Debug, Default)]
pub(crate) struct Streaming(Mutex<Option<(bool, Instant)>>);

impl Streaming {
    /// Whether streaming lists are wanted and answered.
    pub(crate) async fn is_answered(&self, api: &Api, settings: &Settings) -> bool {
        if !matches!(settings.list, ListWay::Auto | ListWay::Stream) {
            return false;
        }
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((is_answered, _)) = known.filter(|(_, found)| found.elapsed() < REMEMBERED) {
            return is_answered;
        }
        let found = probe(api).await;
        if found != Some(true) {
            tracing::info!("{} answers no streaming lists, asking for lists from its watch cache", api.peer);
        }
        found.inspect(|is_answered| self.remember(*is_answered)).unwrap_or_default()
    }

    /// Remembers what was found.
    pub(crate) fn remember(&self, is_answered: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((is_answered, Instant::now()));
    }
}

/// Asks for a streaming list of a single object. A server that does not know them refuses the request, or takes it for a
/// watch and never says where what there was ends; its version would not tell, for they can be switched on and off.
/// `None` if it could not be asked.
async fn probe(api: &Api) -> Option<bool> {
    let query = Query { field_selector: Some("metadata.name=kube-system".into()), ..Query::core("namespaces") };
    let mut watch = Watch::<Namespace>::new(api.clone(), query, From::Beginning);
    let found = tokio::time::timeout(ENOUGH, async {
        loop {
            match watch.next().await {
                Ok(Told::AllPresent) => return Some(true),
                Ok(_) => {}
                Err(failure) => {
                    tracing::debug!(reason = failure.error.full_message(), "no streaming lists");
                    return (!failure.kind.is_passing()).then_some(false);
                }
            }
        }
    });
    found.await.unwrap_or(Some(false))
}

/// Looks at everything once by streaming lists, if these are what the settings ask for. Whether it did: otherwise nothing
/// was handed over, and lists may lead further, those of single namespaces where nothing else is allowed, or in pages.
pub(crate) async fn look(api: &Api, settings: &Arc<Settings>, select: &Selection, sink: &mut dyn ScopeSink) -> bool {
    let is_wanted = settings.list == ListWay::Stream && *select == Selection::All;
    if !is_wanted || !api.streaming.is_answered(api, settings).await {
        return false;
    }
    let live = Arc::new(Live::default());
    live.prepare(settings);
    let reason = match fill(api, settings, &live).await {
        Ok(_) => {
            live.lock().collect(settings, select, sink);
            return true;
        }
        Err(Obstacle::Lost(error)) => error.full_message(),
        Err(Obstacle::Refused(why) | Obstacle::Unable(why)) => why,
    };
    tracing::info!(reason, "listing, because streaming lists do not lead to all that there is");
    false
}
