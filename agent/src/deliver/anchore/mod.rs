//! The target `anchore`: Anchore Enterprise, which gets what its own agents would send. docs/anchore.md has the mapping.

mod api;
mod batch;
mod document;
mod hosts;
mod integration;
mod route;
mod send;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;
use serde_json::Value;
use stocktake_core::ConfigError;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use self::{
    api::{Api, Apis, FRESH},
    batch::{Acknowledged, Batch, Limits, batches},
    document::{Load, load},
    integration::{Integration, Pace},
    send::{Outcome, Sending},
    settings::{Plan, Settings},
};
use super::{
    Failure, Parcel, Sent, Target, TargetContext, TargetKind,
    http::{Client, schema, split},
};

pub(crate) const KIND: TargetKind = TargetKind {
    kind: "anchore",
    summary: "Anchore Enterprise: clusters and hosts as its own agents report them",
    schema: schema::<Settings>,
    build,
};

fn build(settings: Value, context: &TargetContext) -> Result<Box<dyn Target>, ConfigError> {
    Ok(Box::new(AnchoreTarget::new(settings, context.clone(), Pace::default())?))
}

struct AnchoreTarget {
    client: Arc<Client>,
    plan: Plan,
    apis: Apis,
    integration: Integration,
    /// The report that was worked on last, and by which API.
    current: Option<(Uuid, Api)>,
    acknowledged: Acknowledged,
    /// How large a body may be by what the server has refused, and since when that is known.
    taken_bytes: Option<(usize, Instant)>,
    /// What people were told of the report before.
    told: BTreeSet<String>,
}

impl AnchoreTarget {
    fn new(settings: Value, context: TargetContext, pace: Pace) -> Result<Self, ConfigError> {
        let (http, own) = split::<Settings>(settings)?;
        let client = Arc::new(Client::new(http, &context)?);
        let plan = own.plan(&context.environment)?;
        for sender in std::iter::once(&plan.sender).chain(plan.senders.values()) {
            client.warn_of_clear_text(&context.name, &sender.credentials);
        }
        let integration = Integration::new(Arc::clone(&client), &plan, context, pace);
        Ok(Self {
            client,
            apis: Apis::new(plan.api),
            plan,
            integration,
            current: None,
            acknowledged: Acknowledged::default(),
            taken_bytes: None,
            told: BTreeSet::new(),
        })
    }

    /// Sends a report by the first API that the server turns out to have.
    async fn deliver_by_any(&mut self, parcel: &Arc<Parcel>, sent: &mut Sent) -> Result<Sending, Failure> {
        let (mut tried, mut missing) = (BTreeSet::new(), None);
        loop {
            let candidates = self.apis.candidates(&self.client, sent).await?;
            let untried: Vec<Api> = candidates.into_iter().filter(|api| tried.insert(*api)).collect();
            if untried.is_empty() {
                return Err(missing.unwrap_or_else(|| no_api(&self.client)));
            }
            for api in untried {
                match self.deliver_by(api, parcel, sent).await? {
                    Outcome::Done(sending) => return Ok(sending),
                    Outcome::NoSuchApi(failure) => missing = Some(failure),
                }
            }
            // What was known of the server may be old: it is asked once more.
            self.apis.forget();
        }
    }

    async fn deliver_by(&mut self, api: Api, parcel: &Arc<Parcel>, sent: &mut Sent) -> Result<Outcome, Failure> {
        let (parcel_there, reading, format) = (Arc::clone(parcel), Arc::clone(&self.plan.reading), api.format());
        // Bodies are files, and a large report is seconds of work.
        let loaded = spawn_blocking(move || {
            let inventory = parcel_there.inventory()?;
            Ok::<_, std::io::Error>(load(&inventory, format, &reading))
        })
        .await;
        let load = match loaded {
            Ok(Ok(Some(load))) => load,
            Ok(Ok(None)) => {
                let message = "the report contradicts itself, which is a bug".to_owned();
                return Err(Failure::Refused { status: "protocol".into(), message });
            }
            Ok(Err(error)) => return Err(unreadable(&error)),
            Err(error) => return Err(unreadable(&error)),
        };
        self.tell(&load);
        self.integration.looked(&parcel.report, &load);
        let id = parcel.report.id;
        match self.current.replace((id, api)) {
            Some((of, by)) if by == api => {
                if of != id {
                    self.acknowledged.turn(self.plan.refresh);
                }
            }
            // Another document, and perhaps another server.
            _ => self.acknowledged = Acknowledged::default(),
        }
        // Older servers may be told that the latest report alone counts (`image_ttl_days: -1`).
        let refresh = (api == Api::V2).then_some(self.plan.refresh);
        let units = self.acknowledged.rest(load.units, refresh);
        let taken =
            self.taken_bytes.filter(|(_, since)| since.elapsed() < FRESH).map_or(usize::MAX, |(bytes, _)| bytes);
        let bytes = taken.min(self.plan.limits.bytes);
        let queue = batches(units, Limits { bytes, ..self.plan.limits }, &self.plan.account);
        tell_divided(&queue);
        let mut sending = Sending::new(queue.len());
        let outcome = self.send_all(api, queue, &mut sending, sent).await;
        if let Some(failure) = outcome {
            return Ok(Outcome::NoSuchApi(failure));
        }
        if sending.has_success() {
            self.apis.confirm(api);
        }
        Ok(Outcome::Done(sending))
    }

    /// Tells people what is left out, once as long as it stays so.
    fn tell(&mut self, load: &Load) {
        let now: BTreeSet<String> = load.remarks.iter().cloned().collect();
        now.difference(&self.told).for_each(|remark| tracing::warn!("{remark}"));
        self.told = now;
    }
}

#[async_trait]
impl Target for AnchoreTarget {
    async fn deliver(&mut self, parcel: &Arc<Parcel>) -> Result<Sent, Failure> {
        self.integration.start(&parcel.report.agent);
        let mut sent = Sent::default();
        let result = self.deliver_by_any(parcel, &mut sent).await;
        self.integration.delivered(&parcel.report, result.as_ref());
        match result {
            Ok(sending) => sending.result().map(|()| sent),
            Err(failure) => Err(failure),
        }
    }
}

/// Tells people of a namespace that is not in one body.
fn tell_divided(queue: &std::collections::VecDeque<Batch>) {
    let mut times: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for unit in queue.iter().flat_map(|batch| &batch.units) {
        *times.entry((unit.frame.position, &unit.name)).or_default() += 1;
    }
    for ((_, namespace), parts) in times.into_iter().filter(|(_, times)| *times > 1) {
        tracing::warn!(
            "namespace {namespace} is larger than a body may be and is sent in {parts} parts: a server with \
             `inventory_ingest_overwrite` keeps the last one alone; raise `max_bytes`, and what a proxy in between takes"
        );
    }
}

fn no_api(client: &Client) -> Failure {
    let message = format!("{} has none of the APIs that take inventories; check `url`", client.url(""));
    Failure::Later { after: None, status: "404".into(), message }
}

fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    let message = format!("cannot read the report from the spool: {error}");
    Failure::Later { after: None, status: "spool".into(), message }
}
