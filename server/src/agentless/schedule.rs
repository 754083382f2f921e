//! When what is looked at. Each server takes what is due, and as much of it as it has room for.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{
    collect,
    lease::{self, Looker, Which},
};
use crate::{app::App, database::DatabaseError};

/// How often it is found out what is due.
const EVERY: Duration = Duration::from_secs(5);

/// What is being looked at.
struct Running {
    app: App,
    looks: JoinSet<()>,
    /// Each look at a source that failed before, and may hang, has a clone of it.
    failing: Arc<()>,
}

/// Looks at what is due, for as long as it is polled. What is under way when that ends is taken over by others.
pub(crate) async fn always(app: App) {
    let mut running = Running { app, looks: JoinSet::new(), failing: Arc::default() };
    loop {
        if let Err(error) = running.fill().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "cannot find out what is to be looked at; trying again soon");
        }
        running.wait().await;
    }
}

impl Running {
    /// Names of the keys that there are.
    fn keys(&self) -> Vec<String> {
        self.app.vault.ids().unwrap_or_else(|error| {
            tracing::warn!(%error, "what has a credential is not looked at");
            Vec::new()
        })
    }

    /// Begins as many looks as there is room for. At sources that failed before it is half of the room at the most, so that others have
    /// the rest for themselves.
    async fn fill(&mut self) -> Result<(), DatabaseError> {
        let (keys, settings) = (self.keys(), self.app.agentless.settings());
        let most = usize::from(settings.looks_at_once);
        for which in [Which::Sound, Which::Failing] {
            let free = most.saturating_sub(self.looks.len());
            let free = match which {
                Which::Sound => free,
                Which::Failing => free.min(most.div_ceil(2).saturating_sub(Arc::strong_count(&self.failing) - 1)),
            };
            let looker = Looker { by: &self.app.agentless.name, keys: &keys, timeout: settings.look_timeout };
            for source in lease::take(&self.app.database, looker, which, free).await? {
                let place = (which == Which::Failing).then(|| Arc::clone(&self.failing));
                let app = self.app.clone();
                self.looks.spawn(async move {
                    collect::run(app, source).await;
                    drop(place);
                });
            }
        }
        Ok(())
    }

    /// Waits until there may be something to begin.
    async fn wait(&mut self) {
        tokio::select! {
            Some(ended) = self.looks.join_next() => if let Err(error) = ended {
                tracing::error!("a look broke off, and is taken up again when its lease has ended: {error}");
            },
            () = self.app.agentless.wake.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
