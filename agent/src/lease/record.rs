//! The Lease itself: what stands in it, and how it changes hands.
//!
//! It is replaced with the version that was read, so that of two who try at once one is refused (409). Annotations say who the agent is
//! that whoever holds it reports as.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, Config, Error,
    api::{ObjectMeta, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use uuid::Uuid;

use super::Turn;
use crate::{config::LeaseSettings, environment};

/// The agent's id.
const AGENT: &str = "stocktake/agent-id";
/// The latest run.
const RUN: &str = "stocktake/agent-run";
/// Who had it last, whether or not they have it still.
const LAST: &str = "stocktake/last-holder";

/// What was seen of a Lease that another one has. It is the same for as long as it is not renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observed {
    pub(super) holder: String,
    version: Option<String>,
    /// How long it is good for.
    pub(super) lasts: Duration,
}

/// A Lease in the cluster.
pub(super) struct Record {
    api: Api<Lease>,
    namespace: String,
    name: String,
    duration: Duration,
    /// The agent that this spool would be by itself.
    own: Uuid,
    /// Who this process is among those that take part: no other process has its spool.
    holder: String,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Record {
    /// Touches no network.
    pub(super) async fn of(settings: &LeaseSettings, own: Uuid) -> Result<Self, String> {
        let config = cluster(settings).await?;
        let namespace = settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| error.to_string())?;
        let variables = environment::environment();
        let pod = variables.variable("POD_NAME").map(str::to_owned);
        let name = pod.or_else(|| environment::host().hostname).unwrap_or_else(|| "agent".to_owned());
        Ok(Self {
            api: Api::namespaced(client, &namespace),
            namespace,
            name: settings.name.clone(),
            duration: settings.duration,
            own,
            holder: format!("{name}_{own}"),
        })
    }

    /// Takes the Lease if it is nobody's, this process's already, or `run_out`; says who has it otherwise.
    pub(super) async fn get(&self, run_out: Option<&Observed>) -> Result<Result<Turn, Observed>, String> {
        let Some(lease) = self.api.get_opt(&self.name).await.map_err(|error| self.told("get", &error))? else {
            let (lease, turn) = self.taken(None);
            return match self.api.create(&PostParams::default(), &lease).await {
                Ok(_) => Ok(Ok(turn)),
                // Who was faster is seen the next time.
                Err(Error::Api(status)) if status.code == 409 => Ok(Err(observed(&lease, "another agent"))),
                Err(error) => Err(self.told("create", &error)),
            };
        };
        let holder = holder(&lease).to_owned();
        let seen = observed(&lease, &holder);
        if !holder.is_empty() && holder != self.holder && run_out != Some(&seen) {
            return Ok(Err(seen));
        }
        let (lease, turn) = self.taken(Some(lease));
        Ok(if self.replace(&lease).await? { Ok(turn) } else { Err(seen) })
    }

    /// Says that it is still in use; false if it is another one's.
    pub(super) async fn renew(&self) -> Result<bool, String> {
        let lease = self.api.get_opt(&self.name).await.map_err(|error| self.told("get", &error))?;
        let Some(mut lease) = lease.filter(|lease| holder(lease) == self.holder) else { return Ok(false) };
        let spec = lease.spec.get_or_insert_default();
        spec.renew_time = Some(now());
        spec.lease_duration_seconds = Some(seconds(self.duration));
        if self.replace(&lease).await? { Ok(true) } else { Err("it was changed meanwhile".to_owned()) }
    }

    /// Leaves it to whoever wants it.
    pub(super) async fn release(&self) -> Result<(), String> {
        let lease = self.api.get_opt(&self.name).await.map_err(|error| self.told("get", &error))?;
        let Some(mut lease) = lease.filter(|lease| holder(lease) == self.holder) else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        // It may not be empty, says the API; its own controllers write no holder and a second.
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(now());
        self.replace(&lease).await.map(|_| ())
    }

    /// False if it was changed since it was read.
    async fn replace(&self, lease: &Lease) -> Result<bool, String> {
        match self.api.replace(&self.name, &PostParams::default(), lease).await {
            Ok(_) => Ok(true),
            Err(Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(self.told("update", &error)),
        }
    }

    /// The Lease as this process has it, and whose turn that is.
    fn taken(&self, lease: Option<Lease>) -> (Lease, Turn) {
        let mut lease = lease.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        let annotations = lease.metadata.annotations.get_or_insert_default();
        let turn = turn(annotations, &self.holder, self.own);
        annotations.insert(AGENT.to_owned(), turn.id.to_string());
        annotations.insert(RUN.to_owned(), turn.run.to_string());
        annotations.insert(LAST.to_owned(), self.holder.clone());
        let before = lease.spec.take().unwrap_or_default();
        let transitions = before.lease_transitions.map_or(0, |number| number.saturating_add(1));
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            acquire_time: Some(now()),
            renew_time: Some(now()),
            lease_duration_seconds: Some(seconds(self.duration)),
            lease_transitions: Some(transitions),
            ..before
        });
        (lease, turn)
    }

    fn told(&self, verb: &str, error: &Error) -> String {
        match error {
            Error::Api(status) if matches!(status.code, 401 | 403) => format!(
                "the API server does not let the agent {verb} the Lease {self}; grant `get`, `create` and `update` on \
                 `leases.coordination.k8s.io` in a Role of that namespace"
            ),
            error => format!("cannot {verb} the Lease {self}: {error}"),
        }
    }
}

/// Whose Lease it is, in the order in which the collector of Kubernetes finds its cluster: that of the kubeconfig that is named, else the
/// one that this process is in, else that of `$KUBECONFIG` or `~/.kube/config`. (kube's own order has the files of the environment
/// before a pod's account.)
pub(super) async fn cluster(settings: &LeaseSettings) -> Result<Config, String> {
    let options = KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
    if let Some(path) = &settings.kubeconfig {
        let told = |error| format!("the kubeconfig `{}` cannot be used: {error}", path.display());
        let kubeconfig = Kubeconfig::read_from(path).map_err(told)?;
        return Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(told);
    }
    let no_pod = match (&settings.context, Config::incluster()) {
        (None, Ok(config)) => return Ok(config),
        (None, Err(error)) => format!("there is no service account of a pod ({error})"),
        (Some(_), _) => "a pod's service account has no context".to_owned(),
    };
    let kubeconfig = Config::from_kubeconfig(&options).await;
    kubeconfig
        .map_err(|error| format!("{no_pod}, and no kubeconfig that can be used: {error}; set `kubeconfig` of `lease`"))
}

/// Whose turn comes next, by what is noted of the ones before.
pub(super) fn turn(noted: &BTreeMap<String, String>, holder: &str, own: Uuid) -> Turn {
    let read = |key| noted.get(key).and_then(|value| Uuid::parse_str(value).ok());
    let (now, before) = (Uuid::now_v7(), read(RUN));
    Turn {
        id: read(AGENT).unwrap_or(own),
        // The clock of whoever had it before may be ahead.
        run: before.filter(|before| *before >= now).and_then(behind).unwrap_or(now),
        is_own_next: noted.get(LAST).is_none_or(|last| last == holder),
    }
}

/// The run of a millisecond later.
fn behind(run: Uuid) -> Option<Uuid> {
    let (seconds, nanos) = run.get_timestamp()?.to_unix();
    let later = Duration::new(seconds, nanos) + Duration::from_millis(1);
    Some(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, later.as_secs(), later.subsec_nanos())))
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

fn observed(lease: &Lease, holder: &str) -> Observed {
    let lasts = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
    Observed {
        holder: holder.to_owned(),
        version: lease.metadata.resource_version.clone(),
        lasts: Duration::from_secs(lasts.try_into().unwrap_or_default()),
    }
}

fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}

fn seconds(duration: Duration) -> i32 {
    duration.as_secs().try_into().unwrap_or(i32::MAX)
}
