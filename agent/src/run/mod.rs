//! `run`: following collectors, making reports of what they say, and having them delivered, until told to stop.

mod reload;
mod reporter;
mod signals;

use std::{io, sync::Arc, time::Duration};

use stocktake_core::model::{Agent, Host};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use self::reporter::Reporter;
pub(crate) use self::{reload::ConfigurationFile, signals::Signals};
use crate::{
    config::{AgentSettings, Configuration, ConfiguredTarget},
    deliver::{Couriers, Post},
    environment,
    follow::follow,
    lease::{self, Lease},
    observe::Configured,
    spool::{Limits, Spool},
    telemetry::{Expected, ServeError, Telemetry, serve},
};

/// How long what is under way may take when another configuration begins, and what is beyond that time at the end.
const LET_GO: Duration = Duration::from_secs(2);

/// Why the agent does not run, or runs no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It has to be mended in the configuration.
    #[error("there is no target to report to; add a `[targets.NAME]` (`stocktake-agent config example`)")]
    NoTarget,
    /// The same.
    #[error("cannot use the spool at {dir}, where reports wait (`spool_dir` of `[agent]`): {source}")]
    Spool { dir: String, source: io::Error },
    /// The same.
    #[error(transparent)]
    Telemetry(#[from] ServeError),
    /// The same.
    #[error(transparent)]
    Lease(#[from] lease::Unusable),
    /// Another agent reports, or will.
    #[error("the lease is lost, and another agent reports; start this one again and it stands by")]
    LeaseLost,
    /// It is a bug.
    #[error("nothing is followed any more; the log says what happened")]
    Ended,
}

/// What stays the same while configurations come and go.
struct Daemon {
    host: Host,
    agent: Agent,
    spool: Arc<Spool>,
    settings: AgentSettings,
    telemetry: Telemetry,
}

/// Runs until told to stop.
pub(crate) async fn run(
    first: Configuration,
    mut file: ConfigurationFile<'_>,
    mut signals: Signals,
) -> Result<(), Error> {
    if first.targets.is_empty() {
        return Err(Error::NoTarget);
    }
    let mut daemon = Daemon::new(&first)?;
    daemon.telemetry.configuration_read(file.path());
    let serving = serve(&first.telemetry, &daemon.telemetry)?;
    let mut lease = daemon.take_part(&first.agent).await?;
    let mut configuration = first;
    loop {
        let next = match daemon.stand_by(lease.as_mut(), &mut file, &mut signals).await {
            Some(next) => next,
            None => daemon.run(configuration, lease.as_mut(), &mut file, &mut signals).await?,
        };
        match next {
            Some(next) => configuration = daemon.adopt(next),
            None => break,
        }
        serving.keep(&configuration.telemetry);
        if let Some(lease) = &lease {
            lease.keep(configuration.agent.lease.as_ref());
        }
    }
    if let Some(lease) = lease {
        lease.release().await;
    }
    serving.stop().await;
    Ok(())
}

impl Daemon {
    fn new(configuration: &Configuration) -> Result<Self, Error> {
        let host = environment::host();
        let settings = configuration.agent.clone();
        let spool = open(&settings, &configuration.targets)?;
        let id = spool.agent_id(&host).map_err(|source| of_spool(&settings, source))?;
        let agent = Agent { id: Some(id), run: Some(Uuid::now_v7()), ..environment::agent() };
        Ok(Self { host, agent, spool, settings, telemetry: Telemetry::default() })
    }

    /// Takes part in who of several agents reports, if the settings say so.
    async fn take_part(&self, settings: &AgentSettings) -> Result<Option<Lease>, Error> {
        let (Some(settings), Some(own)) = (&settings.lease, self.agent.id) else { return Ok(None) };
        Ok(Some(Lease::start(settings, own, &self.telemetry).await?))
    }

    /// Waits until it is this agent's turn to report. Something if it comes to nothing: another configuration, or `None` if the agent
    /// was told to stop.
    async fn stand_by(
        &mut self,
        lease: Option<&mut Lease>,
        file: &mut ConfigurationFile<'_>,
        signals: &mut Signals,
    ) -> Option<Option<Configuration>> {
        let lease = lease?;
        let nothing = Notify::new();
        let turn = tokio::select! {
            biased;
            turn = lease.turn() => turn?,
            next = file.next(signals, &self.spool.lost, &nothing, &self.telemetry) => return Some(next),
        };
        (self.agent.id, self.agent.run) = (Some(turn.id), Some(turn.run));
        if !turn.is_own_next {
            self.spool.drop_superseded();
        }
        None
    }

    /// Makes a configuration that was read the one that is in force. A spool that cannot be used is no reason to stop: the
    /// former one goes on.
    fn adopt(&mut self, configuration: Configuration) -> Configuration {
        let settings = configuration.agent.clone();
        let adopted = if settings.spool_dir == self.settings.spool_dir {
            self.spool.retarget(limits(&settings), &names(&configuration.targets))
        } else {
            self.move_spool(&settings, &configuration.targets)
        };
        let spool_dir = match adopted {
            Ok(()) => settings.spool_dir.clone(),
            Err(error) => {
                let message = format!(
                    "cannot use the spool at {}, and goes on with that at {}: {error}",
                    settings.spool_dir.display(),
                    self.settings.spool_dir.display()
                );
                self.telemetry.configuration_refused(&message);
                tracing::error!("{message}");
                if let Err(error) = self.spool.retarget(limits(&settings), &names(&configuration.targets)) {
                    tracing::error!("cannot note in the spool who its reports are for: {error}");
                }
                self.settings.spool_dir.clone()
            }
        };
        self.settings = AgentSettings { spool_dir, ..settings };
        configuration
    }

    /// The former one stays where it is, with what is in it.
    fn move_spool(&mut self, settings: &AgentSettings, targets: &[ConfiguredTarget]) -> io::Result<()> {
        let spool = Spool::open(&settings.spool_dir, limits(settings), &names(targets))?;
        self.agent.id = Some(spool.agent_id(&self.host)?);
        tracing::warn!(
            before = %self.settings.spool_dir.display(), now = %settings.spool_dir.display(),
            "reports wait in another folder from now on; what waits in the former one is not delivered"
        );
        self.spool = Arc::new(spool);
        Ok(())
    }

    /// Runs as a configuration says until told to stop, or until there is another configuration, which is returned.
    async fn run(
        &self,
        configuration: Configuration,
        lease: Option<&mut Lease>,
        file: &mut ConfigurationFile<'_>,
        signals: &mut Signals,
    ) -> Result<Option<Configuration>, Error> {
        let Configuration { collectors, filters, targets, .. } = configuration;
        let collector_names: Vec<_> = collectors.iter().map(|it| (it.name.clone(), it.kind)).collect();
        let target_names: Vec<_> = targets.iter().map(|it| (it.name.clone(), it.kind)).collect();
        self.telemetry.configured(&collector_names, &target_names, &self.expected(&collectors));

        let (post, news) = watch::channel(Post::default());
        let couriers = Couriers::start(targets, &self.spool, &self.telemetry, &news);
        let (following, updates) = follow(collectors, &filters);
        let standing = following.standing();
        self.telemetry.following(following.standing());
        let awaited = collector_names.into_iter().map(|(name, _)| name.into()).collect();
        let reporter = Reporter::new(self, awaited, standing.clone(), post.clone());
        let mut reporting = tokio::spawn(reporter.run(updates));
        tracing::info!(agent = ?self.agent.id, "reporting");

        let next = tokio::select! {
            next = file.next(signals, &self.spool.lost, standing.gone(), &self.telemetry) => next,
            _ = &mut reporting => return Err(Error::Ended),
            () = lost(lease) => return Err(Error::LeaseLost),
        };
        // On a reload what waits is the next couriers' affair: nobody looks meanwhile.
        let limit = if next.is_some() { LET_GO.min(self.settings.stop_timeout) } else { self.settings.stop_timeout };
        let ending = async {
            following.stop().await;
            // It reports what it has been told, and ends.
            if let Err(error) = reporting.await {
                tracing::error!("the last report was not made, which is a bug: {error}");
            }
            post.send_modify(|post| post.is_last = true);
            couriers.finish(limit).await;
        };
        tokio::select! {
            ended = tokio::time::timeout(limit + LET_GO, ending) => {
                if ended.is_err() {
                    tracing::warn!("the disk of the spool does not answer; what is not on it is lost");
                }
            }
            // Who asks twice is in a hurry.
            () = signals.stop(), if next.is_none() => {}
        }
        Ok(next)
    }

    fn expected(&self, collectors: &[Configured]) -> Expected {
        let timeout = collectors.iter().map(|collector| collector.timeout).max().unwrap_or_default();
        Expected {
            spool_dir: self.settings.spool_dir.clone(),
            // To be told what changes, which comes first, and to look.
            look_within: timeout * 2,
            report_within: self.settings.interval + self.settings.gather,
        }
    }
}

/// Waits until a lease is lost.
async fn lost(lease: Option<&mut Lease>) {
    match lease {
        Some(lease) => lease.lost().await,
        None => std::future::pending().await,
    }
}

fn open(settings: &AgentSettings, targets: &[ConfiguredTarget]) -> Result<Arc<Spool>, Error> {
    let spool = Spool::open(&settings.spool_dir, limits(settings), &names(targets));
    spool.map(Arc::new).map_err(|source| of_spool(settings, source))
}

fn of_spool(settings: &AgentSettings, source: io::Error) -> Error {
    Error::Spool { dir: settings.spool_dir.display().to_string(), source }
}

fn limits(settings: &AgentSettings) -> Limits {
    Limits { size: settings.spool_max_size.as_u64(), age: settings.spool_max_age }
}

fn names(targets: &[ConfiguredTarget]) -> Vec<String> {
    targets.iter().map(|target| target.name.clone()).collect()
}
