//! Reading the configuration again: when told to, and when the file is another.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use super::Signals;
use crate::{
    config::{Configuration, Invalid},
    telemetry::Telemetry,
};

/// How often it is looked whether the file is another. It is read for that: a mounted `ConfigMap` changes by a link to another
/// folder, of which neither the file's own time nor a watch on it tells.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A configuration's file.
pub(crate) struct ConfigurationFile<'a> {
    path: PathBuf,
    load: Box<dyn Fn() -> Result<Configuration, Invalid> + Send + 'a>,
    /// What was in it when it was read last, be it valid or not.
    read: Option<Vec<u8>>,
    /// What was in it when it was looked at last.
    seen: Option<Vec<u8>>,
}

impl<'a> ConfigurationFile<'a> {
    /// A file that was loaded, and how it is loaded again.
    pub(crate) fn new(path: PathBuf, load: impl Fn() -> Result<Configuration, Invalid> + Send + 'a) -> Self {
        let read = fs::read(&path).ok();
        Self { path, load: Box::new(load), seen: read.clone(), read }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until there is another configuration or something of what was seen is `lost`, or until the agent is told to stop
    /// (`None`). A configuration that is not valid is complained of and nothing more.
    pub(super) async fn next(
        &mut self,
        signals: &mut Signals,
        lost: &Notify,
        gone: &Notify,
        telemetry: &Telemetry,
    ) -> Option<Configuration> {
        loop {
            let has_to = tokio::select! {
                is_stop = signals.stop_or_reload() => {
                    if is_stop {
                        return None;
                    }
                    true
                }
                // Whoever begins anew looks at everything, and hands over again what was lost. If what is in the file does not
                // allow it now, it happens when that is mended.
                () = lost.notified() => true,
                () = gone.notified() => {
                    tracing::error!("a collector is not followed any more, which is a bug; all begin anew");
                    true
                }
                () = sleep(LOOK_EVERY) => false,
            };
            if (has_to || self.is_another())
                && let Some(configuration) = self.read_again(telemetry)
            {
                return Some(configuration);
            }
        }
    }

    /// Whether the file is another than was read last, and is so for a while: it may be being written.
    fn is_another(&mut self) -> bool {
        let now = match fs::read(&self.path) {
            Ok(now) => Some(now),
            // While it is replaced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            Err(_) => None,
        };
        let is_settled = now == self.seen;
        self.seen = now;
        is_settled && self.seen != self.read
    }

    fn read_again(&mut self, telemetry: &Telemetry) -> Option<Configuration> {
        self.read = fs::read(&self.path).ok();
        self.seen.clone_from(&self.read);
        match (self.load)() {
            Ok(configuration) if configuration.targets.is_empty() || configuration.collectors.is_empty() => {
                telemetry.configuration_refused("it has no collector or no target any more");
                tracing::error!(
                    "the configuration has no collector or no target any more; the former one stays in force"
                );
                None
            }
            Ok(configuration) => {
                telemetry.configuration_read(&self.path);
                tracing::info!("the configuration was read again");
                Some(configuration)
            }
            Err(invalid) => {
                for complaint in invalid.complaints() {
                    tracing::error!("{complaint}");
                }
                telemetry.configuration_refused(&invalid.complaints().collect::<Vec<_>>().join("; "));
                tracing::error!("the configuration is not valid; the former one stays in force");
                None
            }
        }
    }
}
