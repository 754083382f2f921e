//! A made-up runtime with a collector that keeps every rule but the one that its fault names.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    marker::PhantomData,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use stocktake_core::{
    CollectError, CollectorPlugin, ConfigError, Context, Digest, Location, ObservedScope, Resource, RuntimeCollector,
    RuntimeInfo, ScopeChange, ScopeSink, Selection, Stability,
    conformance::Daemon,
    model::{
        Container, ContainerState, Coverage, DigestFact, Host, Image, MissingReason, Node, Pod, Provenance,
        RuntimeVersion, Scope, ScopeId, Workload,
    },
};

use crate::changes::changes;

/// Stands in the environment of the runtime's containers.
pub(crate) const SECRET: &str = "hunter2-of-the-model";

/// What is wrong with a collector. Each breaks one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    AsksWhenBuilt,
    BlocksWhenBuilt,
    NoVersion,
    NoLocation,
    NewNamePerProbe,
    NeverComplete,
    ErrsAfterTheScopes,
    ScopeTwice,
    ScopeWithoutName,
    SameIdTwice,
    EmptyId,
    SamePodTwice,
    PodOfAnotherScope,
    NeitherImageNorReason,
    ImageAndReason,
    ConfigAsManifest,
    ConfigAsRepoDigest,
    UnusedImage,
    Node,
    OtherState,
    OtherReason,
    EnvironmentAsLabels,
    EnvironmentInWarning,
    Age,
    RemembersWhatItReported,
    IgnoresSelection,
    EmptiesSelected,
    IgnoresAbsentScope,
    OneAtATime,
    LocksForEver,
    LosesContentWhenDropped,
    LeavesFiles,
    LeavesThreads,
    LeavesTasks,
    LeavesProcesses,
    BlocksItsThread,
    ProbeBlamesProtocol,
    DownIsEmpty,
    DownIsNoScopes,
    DownIsDenied,
    HungIsEmpty,
    DeathIsTheEnd,
    DeathIsPatience,
    NeverReconnects,
    SubscribesUnasked,
    StaysSubscribed,
    NeverStands,
    BeginsWithScopes,
    RefusesToTell,
    HearsNoEnd,
    EndsWithoutError,
    PanicsAtTheEnd,
    NeverSubscribesAgain,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Down,
    Hung,
}

/// The runtime. It answers, or does not.
pub(crate) struct Runtime {
    state: Mutex<State>,
}

static RUNTIMES: Mutex<BTreeMap<String, Arc<Runtime>>> = Mutex::new(BTreeMap::new());

impl Runtime {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        let runtime = Arc::new(Self { state: Mutex::new(State::Up) });
        RUNTIMES.lock().unwrap().insert(name.to_owned(), Arc::clone(&runtime));
        runtime
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap()
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap() = state;
    }

    pub(crate) fn is_down(&self) -> bool {
        self.state() == State::Down
    }

    /// One request.
    pub(crate) async fn ask(&self) -> Result<(), CollectError> {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            match self.state() {
                State::Up => return Ok(()),
                State::Down => return Err(CollectError::unavailable("the model does not answer", "down")),
                State::Hung => {}
            }
        }
    }
}

impl Daemon for Runtime {
    fn kill(&self) -> io::Result<()> {
        self.set(State::Down);
        Ok(())
    }
    fn start(&self) -> io::Result<()> {
        self.set(State::Up);
        Ok(())
    }
    fn hang(&self) -> io::Result<()> {
        self.set(State::Hung);
        Ok(())
    }
    fn resume(&self) -> io::Result<()> {
        self.set(State::Up);
        Ok(())
    }
}

/// Settings, of which some tests want wrong ones.
pub(crate) trait ModelSettings: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    fn runtime(&self) -> &str;
    fn fault(&self) -> Option<Fault>;
}

/// Settings of a model.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Which of the made-up runtimes.
    pub(crate) runtime: String,
    /// What is wrong with the collector.
    pub(crate) fault: Option<Fault>,
    /// More settings, in a table.
    #[serde(default)]
    #[allow(dead_code, reason = "only deserialised")]
    pub(crate) inner: Option<Inner>,
}

/// More settings.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inner {
    /// A number.
    #[allow(dead_code, reason = "only deserialised")]
    pub(crate) count: u32,
}

impl ModelSettings for Settings {
    fn runtime(&self) -> &str {
        &self.runtime
    }
    fn fault(&self) -> Option<Fault> {
        self.fault
    }
}

pub(crate) struct Model<S> {
    runtime: Arc<Runtime>,
    fault: Option<Fault>,
    host: Host,
    /// Calls so far.
    calls: AtomicUsize,
    is_busy: AtomicBool,
    is_locked: AtomicBool,
    is_spoilt: AtomicBool,
    is_dead: AtomicBool,
    was_lost: Arc<AtomicBool>,
    settings: PhantomData<fn() -> S>,
}

impl<S: ModelSettings> CollectorPlugin for Model<S> {
    const KIND: &'static str = "model";
    const SUMMARY: &'static str = "containers that are made up";
    const STABILITY: Stability = Stability::Experimental;
    const PROVIDES: &'static [Resource] =
        &[Resource::Workloads, Resource::Pods, Resource::Containers, Resource::Images];
    type Settings = S;

    fn new(settings: S, context: Context) -> Result<Self, ConfigError> {
        let runtime = RUNTIMES.lock().unwrap().get(settings.runtime()).cloned();
        let runtime = runtime.ok_or_else(|| ConfigError::new("runtime", "there is none of that name"))?;
        let fault = settings.fault();
        if fault == Some(Fault::AsksWhenBuilt) && runtime.state() == State::Down {
            return Err(ConfigError::new("runtime", "does not answer"));
        }
        while fault == Some(Fault::BlocksWhenBuilt) && runtime.state() == State::Hung {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Self {
            runtime,
            fault,
            host: context.host,
            calls: AtomicUsize::new(0),
            is_busy: AtomicBool::new(false),
            is_locked: AtomicBool::new(false),
            is_spoilt: AtomicBool::new(false),
            is_dead: AtomicBool::new(false),
            was_lost: Arc::default(),
            settings: PhantomData,
        })
    }
}

/// Does something when a collection ends, however it does.
struct AtEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[async_trait]
impl<S: ModelSettings> RuntimeCollector for Model<S> {
    async fn probe(&self) -> Result<RuntimeInfo, CollectError> {
        match self.runtime.ask().await {
            Err(_) if self.has(Fault::ProbeBlamesProtocol) => {
                return Err(CollectError::protocol("nonsense", "the end"));
            }
            answer => answer?,
        }
        let version = if self.has(Fault::NoVersion) { "" } else { "1" }.to_owned();
        let name = match self.fault {
            Some(Fault::NewNamePerProbe) => format!("model-{}", self.calls.fetch_add(1, Ordering::SeqCst)),
            _ => "model".to_owned(),
        };
        let host = if self.has(Fault::NoLocation) { Host::default() } else { self.host.clone() };
        Ok(RuntimeInfo { runtime: RuntimeVersion { name, version }, location: Location::Host(host) })
    }

    async fn collect(&self, select: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
        self.leave_something();
        while self.has(Fault::LocksForEver) && self.is_locked.swap(true, Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let was_busy = self.is_busy.swap(true, Ordering::SeqCst);
        let came_to_its_end = AtomicBool::new(false);
        let _at_end = AtEnd(|| {
            self.is_busy.store(false, Ordering::SeqCst);
            let was_dropped = !came_to_its_end.load(Ordering::SeqCst) && self.runtime.state() != State::Hung;
            self.is_locked.store(was_dropped, Ordering::SeqCst);
            self.is_spoilt.fetch_or(was_dropped, Ordering::SeqCst);
        });
        let outcome = self.scopes(select, sink).await;
        came_to_its_end.store(true, Ordering::SeqCst);
        match outcome {
            Ok(_) if self.has(Fault::NeverComplete) => Ok(Coverage::Partial { reason: "never all".into() }),
            Ok(_) if self.has(Fault::OneAtATime) && was_busy => Ok(Coverage::Partial { reason: "busy".into() }),
            Ok(_) if self.has(Fault::ErrsAfterTheScopes) => Err(CollectError::protocol("nonsense", "at the end")),
            outcome => outcome,
        }
    }

    fn changes(&self) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
        changes(&self.runtime, self.fault, &self.was_lost)
    }
}

impl<S: ModelSettings> Model<S> {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    async fn scopes(&self, select: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
        let names = ["a", "b", "empty"];
        let was_down = self.runtime.state() == State::Down;
        if let Err(error) = self.ask(false).await {
            return self.first_answer_missing(error, was_down, sink);
        }
        let is_first = self.calls.fetch_add(1, Ordering::SeqCst) == 0;
        if self.has(Fault::RemembersWhatItReported) && !is_first {
            return Ok(Coverage::Complete);
        }
        let is_selected = |id: &ScopeId| self.has(Fault::IgnoresSelection) || select.includes(id);
        for name in names {
            let id = ScopeId::namespace(name);
            if !is_selected(&id) {
                continue;
            }
            let mut body = self.body(name);
            for _ in 0..3 {
                match self.ask(true).await {
                    Err(_) if self.has(Fault::DeathIsTheEnd) => body.containers.clear(),
                    answer => answer?,
                }
            }
            if self.has(Fault::EmptiesSelected) && *select != Selection::All {
                body = Scope::default();
            }
            sink.scope(ObservedScope::complete(id.clone(), body.clone()));
            if self.has(Fault::ScopeTwice) && name == "a" {
                sink.scope(ObservedScope::complete(id, body));
            }
        }
        if let Selection::Only(scopes) = select
            && !self.has(Fault::IgnoresAbsentScope)
        {
            for id in scopes.iter().filter(|id| !names.contains(&id.name.as_str())) {
                sink.scope(ObservedScope::complete(id.clone(), Scope::default()));
            }
        }
        if self.has(Fault::ScopeWithoutName) && *select == Selection::All {
            sink.scope(ObservedScope::complete(ScopeId::namespace(""), Scope::default()));
        }
        if self.has(Fault::EnvironmentInWarning) {
            sink.warning(stocktake_core::model::Warning::new(format!("strange: KEY={SECRET}")));
        }
        Ok(Coverage::Complete)
    }

    fn first_answer_missing(
        &self,
        error: CollectError,
        was_down: bool,
        sink: &mut dyn ScopeSink,
    ) -> Result<Coverage, CollectError> {
        match self.fault {
            Some(Fault::DownIsEmpty) if was_down => {
                sink.scope(ObservedScope::complete(ScopeId::namespace("a"), Scope::default()));
                Err(error)
            }
            Some(Fault::DownIsNoScopes) if was_down => Ok(Coverage::Complete),
            Some(Fault::DownIsDenied) if was_down => Err(CollectError::denied("no", "down")),
            Some(Fault::HungIsEmpty) if self.runtime.state() == State::Hung => {
                sink.scope(ObservedScope::complete(ScopeId::namespace("a"), Scope::default()));
                Err(error)
            }
            _ => Err(error),
        }
    }

    /// One request, with what some collectors do about its end.
    async fn ask(&self, has_begun: bool) -> Result<(), CollectError> {
        let down = || Err(CollectError::unavailable("the model does not answer", "down"));
        if self.has(Fault::NeverReconnects) && self.is_dead.load(Ordering::SeqCst) {
            return down();
        }
        if self.has(Fault::BlocksItsThread) {
            let began = std::time::Instant::now();
            while self.runtime.state() == State::Hung && began.elapsed() < Duration::from_mins(1) {
                thread::sleep(Duration::from_millis(5));
            }
        }
        if self.has(Fault::HungIsEmpty) && self.runtime.state() == State::Hung {
            return down();
        }
        let answer = self.runtime.ask().await;
        if answer.is_err() && self.has(Fault::NeverReconnects) {
            self.is_dead.store(true, Ordering::SeqCst);
        }
        if answer.is_err() && has_begun && self.has(Fault::DeathIsPatience) {
            std::future::pending::<()>().await;
        }
        answer
    }

    fn leave_something(&self) {
        match self.fault {
            Some(Fault::LeavesFiles) => std::mem::forget(File::open("/dev/null").unwrap()),
            Some(Fault::LeavesThreads) => drop(thread::spawn(|| thread::sleep(Duration::from_mins(1)))),
            Some(Fault::LeavesTasks) => drop(tokio::spawn(std::future::pending::<()>())),
            Some(Fault::LeavesProcesses) => drop(std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap()),
            _ => {}
        }
    }

    fn body(&self, name: &str) -> Scope {
        if name == "empty" {
            return Scope::default();
        }
        let digest = |role: &str| Digest::sha256(format!("{role} of {name}").as_bytes());
        let known = |role: &str| DigestFact::known(digest(role), Provenance("model".into()));
        let image = Image {
            names: vec![format!("example.com/{name}:1").into()],
            manifest_digest: known("manifest"),
            config_digest: known("config"),
            repo_digests: vec![format!("example.com/{name}@{}", digest("manifest")).parse().unwrap()],
            ..Image::unresolved(format!("image-{name}"), MissingReason::SinglePlatform)
        };
        let workload = Workload { id: "w".into(), kind: "jail".into(), name: "w".into(), ..Workload::default() };
        let pod = Pod { uid: "p".into(), name: "p".into(), workload: Some("w".into()), ..Pod::default() };
        let container = |id: &str| Container {
            id: Some(id.into()),
            name: id.into(),
            pod_uid: Some("p".into()),
            image_ref: Some(image.id.clone()),
            state: ContainerState::Running,
            ..Container::default()
        };
        let unknown =
            Container { image_ref: None, image_missing: Some(MissingReason::NotRecorded), ..container("unknown") };
        let mut scope = Scope {
            workloads: vec![workload],
            pods: vec![pod],
            containers: vec![container("1"), container("2"), unknown],
            images: vec![image],
            ..Scope::default()
        };
        if name == "b" {
            self.spoil(&mut scope);
        }
        scope
    }

    fn spoil(&self, scope: &mut Scope) {
        let Some(fault) = self.fault else { return };
        let is_spoilt = self.is_spoilt.load(Ordering::SeqCst);
        let (container, image) = (&mut scope.containers[0], &mut scope.images[0]);
        match fault {
            Fault::SameIdTwice => container.id = Some("2".into()),
            Fault::EmptyId => container.id = Some("".into()),
            Fault::SamePodTwice => scope.pods.push(Pod { name: "q".into(), ..scope.pods[0].clone() }),
            Fault::PodOfAnotherScope => container.pod_uid = Some("elsewhere".into()),
            Fault::NeitherImageNorReason => container.image_ref = None,
            Fault::ImageAndReason => container.image_missing = Some(MissingReason::NotPulled),
            Fault::ConfigAsManifest => image.manifest_digest = image.config_digest.clone(),
            Fault::ConfigAsRepoDigest => {
                image.repo_digests[0].digest = image.config_digest.digest().unwrap().clone();
            }
            Fault::UnusedImage => {
                scope.images.push(Image::unresolved("unused", MissingReason::NotReported));
            }
            Fault::Node => scope.nodes.push(Node { name: "n".into(), ..Node::default() }),
            Fault::OtherState => container.state = ContainerState::Other,
            Fault::OtherReason => image.index_digest = DigestFact::missing(MissingReason::Other),
            Fault::EnvironmentAsLabels => {
                container.labels = serde_json::from_value(serde_json::json!({ "KEY": SECRET })).unwrap();
            }
            Fault::Age => {
                let age = self.calls.load(Ordering::SeqCst);
                container.state_reason = Some(format!("Up {age} seconds").into());
            }
            Fault::LosesContentWhenDropped if is_spoilt => drop(scope.containers.pop()),
            _ => {}
        }
    }
}
