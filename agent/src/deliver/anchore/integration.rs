//! The agent among the server's integrations: it registers, and says how it is. An inventory never waits for this, and without it
//! nothing but this is missing.

mod health;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Value, json};
use stocktake_core::model::{Agent, Report};
use tokio::{sync::watch, task::AbortHandle};
use tracing::Instrument as _;

use self::health::Health;
use super::{
    Load,
    api::version,
    hosts::uid,
    send::{ACCOUNT, Sending, message_of},
    settings::{ApiSetting, Plan, Sender},
};
use crate::deliver::{
    Failure, Sent, TargetContext,
    http::{Answer, Client, Request},
};

/// What the server knows this kind of agent as: it takes only kinds that it knows.
const TYPE: &str = "k8s_inventory_agent";

/// How often things are tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Until the second attempt.
    pub(super) first: Duration,
    /// Between two questions for the version, at the most.
    pub(super) version: Duration,
    /// Between two registrations, at the most.
    pub(super) registration: Duration,
    /// Between two health reports, if not what the settings say.
    pub(super) health: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        let (version, registration) = (Duration::from_hours(1), Duration::from_mins(10));
        Self { first: Duration::from_secs(2), version, registration, health: None }
    }
}

impl Pace {
    fn backoff(self, longest: Duration) -> ExponentialBackoff {
        let builder = ExponentialBuilder::new().with_min_delay(self.first).with_max_delay(longest);
        builder.with_jitter().without_max_times().build()
    }
}

/// What is told to the task, and the task.
pub(super) struct Integration {
    health: watch::Sender<Health>,
    /// Until it is started; none if the agent is not to register.
    speaker: Option<Speaker>,
    pub(super) task: Option<AbortHandle>,
}

/// What the task works with.
struct Speaker {
    client: Arc<Client>,
    sender: Arc<Sender>,
    account: Arc<str>,
    health: watch::Receiver<Health>,
    target: String,
    host: String,
    namespace: String,
    settings: Identity,
    pace: Pace,
    started_at: Timestamp,
    started: Instant,
}

/// What the settings say of who the agent is.
struct Identity {
    id: Option<String>,
    name: String,
    description: String,
    interval: Duration,
}

impl Integration {
    pub(super) fn new(client: Arc<Client>, plan: &Plan, context: TargetContext, pace: Pace) -> Self {
        let (sender, health) = watch::channel(Health::default());
        let registration = &plan.registration;
        // Servers of other APIs are older than integrations.
        let registers = registration.enabled && matches!(plan.api, ApiSetting::Auto | ApiSetting::V2);
        let speaker = registers.then(|| Speaker {
            client,
            sender: Arc::clone(&plan.sender),
            account: Arc::clone(&plan.account),
            health,
            namespace: context.environment.variable("POD_NAMESPACE").unwrap_or_default().to_owned(),
            target: context.name,
            host: context.host.hostname.unwrap_or_default(),
            settings: Identity {
                id: registration.id.clone(),
                name: registration.name.clone(),
                description: registration.description.clone(),
                interval: registration.health_interval,
            },
            pace,
            started_at: Timestamp::now(),
            started: Instant::now(),
        });
        Self { health: sender, speaker, task: None }
    }

    /// Starts to register, if that is wanted and has not begun.
    pub(super) fn start(&mut self, agent: &Agent) {
        if let Some(speaker) = self.speaker.take() {
            let who = speaker.who(agent);
            self.task = Some(tokio::spawn(speaker.run(who).in_current_span()).abort_handle());
        }
    }

    /// What the report that is being sent says of the collectors.
    pub(super) fn looked(&self, report: &Report, load: &Load) {
        self.health.send_modify(|health| health.looked(report, load));
    }

    /// What became of it.
    pub(super) fn delivered(&self, report: &Report, result: Result<&Sending, &Failure>) {
        self.health.send_modify(|health| health.delivered(report, result));
    }
}

impl Drop for Integration {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Who the agent is to the server.
struct Who {
    registration: String,
    instance: String,
}

/// Why what was begun has to begin again.
struct Unregistered;

impl Speaker {
    /// The same after every start, as far as the agent or the settings keep anything.
    fn who(&self, agent: &Agent) -> Who {
        let own = agent.id.map(|id| id.to_string()).or_else(|| agent.hostname.clone());
        let own = own.unwrap_or_else(|| self.host.clone());
        let registration = self.settings.id.clone().unwrap_or_else(|| uid(&[&own, &self.target, "registration"]));
        // Several agents may have one configuration.
        Who { registration, instance: own }
    }

    async fn run(self, who: Who) {
        loop {
            self.await_version().await;
            if let Some(uuid) = self.register(&who).await {
                let Unregistered = self.report_health(&uuid).await;
            }
        }
    }

    /// Waits until the server is of a version that has integrations.
    async fn await_version(&self) {
        let mut backoff = self.pace.backoff(self.pace.version);
        loop {
            match version(&self.client, &mut Sent::default()).await {
                Ok(Some(version)) if version.has_integrations() => return,
                Ok(_) => tracing::debug!(
                    "the server has no integrations (which came with 5.11), or does not tell its version"
                ),
                Err(failure) => tracing::debug!("cannot register with the server: {}", message_of(&failure)),
            }
            tokio::time::sleep(backoff.next().unwrap_or(self.pace.version)).await;
        }
    }

    /// Registers. `None` if the server does not know of such a thing after all.
    async fn register(&self, who: &Who) -> Option<String> {
        #[derive(Deserialize)]
        struct Registered {
            uuid: String,
        }
        let mut backoff = self.pace.backoff(self.pace.registration);
        let mut told = String::new();
        loop {
            let answer = self.post("v2/system/integrations/registration", &self.registration(who)).await;
            let failure = match answer {
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => return None,
                Ok(answer) if answer.status.is_success() => match serde_json::from_slice::<Registered>(&answer.body) {
                    Ok(registered) if uuid::Uuid::parse_str(&registered.uuid).is_ok() => {
                        tracing::info!(uuid = registered.uuid, "registered with the server");
                        return Some(registered.uuid);
                    }
                    _ => answer.unexpected("it does not say which integration this is"),
                },
                Ok(answer) => answer.failure(),
                Err(failure) => failure,
            };
            let message = message_of(&failure);
            if told != message {
                tracing::warn!(
                    "cannot register with the server, which only means that it does not show this agent; reports are sent all the \
                     same: {message}"
                );
                message.clone_into(&mut told);
            }
            tokio::time::sleep(backoff.next().unwrap_or(self.pace.registration)).await;
        }
    }

    fn registration(&self, who: &Who) -> Value {
        let cluster = self.health.borrow().cluster().map_or_else(|| self.host.clone(), str::to_owned);
        json!({
            "registration_id": who.registration,
            "registration_instance_id": who.instance,
            "type": TYPE,
            "name": self.settings.name,
            "description": self.settings.description,
            "version": env!("CARGO_PKG_VERSION"),
            "started_at": self.started_at.to_string(),
            "uptime": self.started.elapsed().as_secs_f64(),
            "username": self.sender.user,
            "explicitly_account_bound": [],
            "namespaces": [],
            "configuration": {},
            "cluster_name": cluster,
            "namespace": self.namespace,
            "health_report_interval": self.settings.interval.as_secs(),
        })
    }

    /// Says how the agent is, at once and then at each interval, until the server does not know it any more. Before there is
    /// something to say nothing is said: an empty report would look healthy.
    async fn report_health(&self, uuid: &str) -> Unregistered {
        let mut health = self.health.clone();
        let path = format!("v2/system/integrations/{uuid}/health-report");
        let interval = self.pace.health.unwrap_or(self.settings.interval);
        let mut told = String::new();
        loop {
            if health.wait_for(Health::is_known).await.is_err() {
                // The target is gone, and so is this task in a moment.
                std::future::pending::<()>().await;
            }
            let uptime = self.started.elapsed().as_secs_f64();
            let seconds = self.settings.interval.as_secs();
            let body = health.borrow().report(uuid, uptime, seconds, Timestamp::now());
            let failure = match self.post(&path, &body).await {
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => return Unregistered,
                Ok(answer) if answer.status.is_success() => None,
                Ok(answer) => Some(answer.failure()),
                Err(failure) => Some(failure),
            };
            let message = failure.as_ref().map(message_of).unwrap_or_default();
            if !message.is_empty() && told != message {
                tracing::warn!("cannot tell the server how this agent is: {message}");
            }
            message.clone_into(&mut told);
            tokio::time::sleep(interval).await;
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        headers.extend(HeaderValue::from_str(&self.account).ok().map(|account| (ACCOUNT, account)));
        let (method, body) = (Method::POST, Bytes::from(body.to_string()));
        let credentials = &self.sender.credentials;
        self.client.send(Request { method, path, headers, body, credentials }, &mut Sent::default()).await
    }
}
