//! A collector as a program: settings on standard input, a document on standard output, an exit code.

use std::{
    any::Any,
    env, fmt,
    io::{self, BufWriter, Read, Write},
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Map, Value};

use super::{COLLECTOR, Document, Exit, REQUEST, REQUEST_PROBE};
use crate::{
    CollectError, CollectorFactory, CollectorPlugin, ConfigError, Context, ObservedScope, ScopeSink, Selection,
    machine,
    model::{Coverage, Warning},
};

/// Runs the collector `C` as the program that `docs/exec.md` describes, once: reads its settings as JSON from standard
/// input, and prints what it sees as a [`Document`] to standard output. What people are told goes to standard error.
///
/// The exit code is that of [`Exit`]. An error after scopes were handed over does not lose them: they are printed, and the
/// document says that it is not complete.
///
/// The collector runs on tokio. Its log events are lost unless the program has set up a subscriber that writes to standard
/// error, and a TLS client may want a crypto provider installed, before `main` is called.
#[must_use]
pub fn main<C: CollectorPlugin>() -> ExitCode {
    let outcome = run(&CollectorFactory::new::<C>(), io::stdin()).and_then(|document| print(&document));
    let exit = match outcome {
        Ok(()) => Exit::Success,
        Err(failure) => {
            say(&failure);
            failure.exit()
        }
    };
    ExitCode::from(exit.code())
}

/// Why there is no document, or not a complete one.
#[derive(Debug)]
enum Failure {
    Settings(ConfigError),
    Collector(CollectError),
    Panicked(String),
    Process(&'static str, io::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Settings(_) => Exit::Config,
            Self::Collector(error) => error.into(),
            Self::Panicked(_) | Self::Process(..) => Exit::Software,
        }
    }

    /// How completely the list of scopes was seen if this ended the collection.
    fn coverage(&self, has_seen: bool) -> Coverage {
        match self {
            _ if has_seen => Coverage::Partial { reason: self.to_string() },
            Self::Collector(error) => Coverage::from_error(error),
            other => Coverage::Failed { reason: other.to_string() },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => write!(f, "the settings are wrong: {error}"),
            Self::Collector(error) => f.write_str(&error.full_message()),
            Self::Panicked(message) => write!(f, "the collector has a bug and panicked: {message}"),
            Self::Process(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

fn run(factory: &CollectorFactory, input: impl Read) -> Result<Document, Failure> {
    let settings = settings(input)?;
    let name = env::var(COLLECTOR).ok().filter(|name| !name.is_empty()).unwrap_or_else(|| factory.kind.to_owned());
    let context = Context {
        name,
        user_agent: concat!("stocktake-exec/", env!("CARGO_PKG_VERSION")).to_owned(),
        host: machine::host(),
        environment: machine::environment(),
    };
    let probe_only = env::var_os(REQUEST).is_some_and(|request| request == REQUEST_PROBE);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Process("cannot start threads", error))?;
    let document = runtime.block_on(look(*factory, settings, context, probe_only));
    // What a collector's client library still does in a thread is not waited for.
    runtime.shutdown_background();
    document
}

/// A person who tries the program out need not type `{}`.
fn settings(mut input: impl Read) -> Result<Value, Failure> {
    let mut text = String::new();
    input.read_to_string(&mut text).map_err(|error| Failure::Process("cannot read the settings from stdin", error))?;
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_str(&text)
        .map_err(|error| Failure::Settings(ConfigError::new("", format!("stdin holds no JSON: {error}"))))
}

async fn look(
    factory: CollectorFactory,
    settings: Value,
    context: Context,
    probe_only: bool,
) -> Result<Document, Failure> {
    let seen = Arc::new(Mutex::new(Document::default()));
    let mut sink = Sink(Arc::clone(&seen));
    // In a task, where a panic ends and what was seen before it does not.
    let task = tokio::spawn(async move {
        let collector = factory.build(settings, context).map_err(Failure::Settings)?;
        match collector.probe().await {
            Ok(info) => sink.identify(info),
            // Who may not ask for the version may still list. Where that is all that is asked, it is the answer.
            Err(error) if !probe_only && !matches!(error, CollectError::Unavailable { .. }) => {
                say(&format_args!("the runtime does not say who it is: {}", error.full_message()));
            }
            Err(error) => return Err(Failure::Collector(error)),
        }
        if probe_only {
            return Ok(());
        }
        let outcome = collector.collect(&Selection::All, &mut sink).await;
        let mut document = sink.lock();
        document.shown = collector.shown();
        document.coverage = outcome.map_err(Failure::Collector)?;
        document.scopes.get_or_insert_default();
        Ok(())
    });
    let outcome = match task.await {
        Ok(outcome) => outcome,
        Err(error) => Err(match error.try_into_panic() {
            Ok(payload) => Failure::Panicked(panic_message(payload.as_ref())),
            Err(error) => Failure::Panicked(error.to_string()),
        }),
    };
    let mut document = std::mem::take(&mut *lock(&seen));
    match (outcome, &document.scopes) {
        (Ok(()), _) => Ok(document),
        (Err(failure), Some(scopes)) => {
            say(&failure);
            document.coverage = failure.coverage(scopes.iter().any(|scope| scope.coverage.has_seen()));
            Ok(document)
        }
        (Err(failure), None) => Err(failure),
    }
}

fn print(document: &Document) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, document)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Process("cannot write the document to stdout", error))
}

fn say(message: &dyn fmt::Display) {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "{message}");
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

struct Sink(Arc<Mutex<Document>>);

impl Sink {
    fn lock(&self) -> MutexGuard<'_, Document> {
        lock(&self.0)
    }

    fn identify(&self, info: crate::RuntimeInfo) {
        let mut document = self.lock();
        *document = std::mem::take(&mut *document).of(info);
    }
}

fn lock(document: &Mutex<Document>) -> MutexGuard<'_, Document> {
    // Nothing in it is left half done by a panic.
    document.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ScopeSink for Sink {
    fn scope(&mut self, scope: ObservedScope) {
        self.lock().scopes.get_or_insert_default().push(scope.into());
    }

    fn warning(&mut self, warning: Warning) {
        self.lock().warnings.push(warning);
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::{
        Location, Resource, RuntimeCollector, RuntimeInfo, Stability,
        model::{Host, RuntimeVersion, Scope, ScopeId},
    };

    #[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum What {
        Nothing,
        Unavailable,
        Denied,
        Unsupported,
        Protocol,
        Panic,
    }

    impl What {
        fn happen(self) -> Result<(), CollectError> {
            let (message, source) = ("told".to_owned(), None);
            match self {
                Self::Nothing => Ok(()),
                Self::Unavailable => Err(CollectError::Unavailable { message, source }),
                Self::Denied => Err(CollectError::Denied { message, source }),
                Self::Unsupported => Err(CollectError::Unsupported { message }),
                Self::Protocol => Err(CollectError::Protocol { message, source }),
                Self::Panic => panic!("told"),
            }
        }
    }

    /// What happens at each step of a stub.
    #[derive(Clone, Copy, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Stub {
        #[serde(default = "nothing")]
        probe: What,
        #[serde(default = "nothing")]
        before: What,
        #[serde(default = "nothing")]
        after: What,
        #[serde(default)]
        unseen: bool,
    }

    fn nothing() -> What {
        What::Nothing
    }

    #[async_trait]
    impl RuntimeCollector for Stub {
        async fn probe(&self) -> Result<RuntimeInfo, CollectError> {
            self.probe.happen()?;
            let runtime = RuntimeVersion { name: "stub".into(), version: "1".into() };
            Ok(RuntimeInfo { runtime, location: Location::Host(Host::default()) })
        }

        async fn collect(&self, _: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
            self.before.happen()?;
            let denied = CollectError::Denied { message: "no".into(), source: None };
            sink.scope(if self.unseen {
                ObservedScope::unseen(ScopeId::host(), &denied)
            } else {
                ObservedScope::complete(ScopeId::host(), Scope::default())
            });
            self.after.happen()?;
            Ok(Coverage::Complete)
        }
    }

    impl CollectorPlugin for Stub {
        const KIND: &'static str = "stub";
        const SUMMARY: &'static str = "does what it is told";
        const STABILITY: Stability = Stability::Experimental;
        const PROVIDES: &'static [Resource] = &[];
        type Settings = Self;

        fn new(settings: Self, _: Context) -> Result<Self, ConfigError> {
            Ok(settings)
        }
    }

    async fn looked(settings: Value, probe_only: bool) -> Result<Document, Failure> {
        look(CollectorFactory::new::<Stub>(), settings, Context::default(), probe_only).await
    }

    #[tokio::test]
    async fn each_error_has_its_exit_code() {
        for (what, code) in [("unavailable", 69), ("denied", 77), ("unsupported", 65), ("protocol", 76), ("panic", 70)]
        {
            let failure = looked(json!({ "before": what }), false).await.unwrap_err();
            assert_eq!(failure.exit().code(), code, "{what}");
            assert!(failure.to_string().ends_with("told"), "{failure}");
            let failure = looked(json!({ "probe": what }), true).await.unwrap_err();
            assert_eq!(failure.exit().code(), code, "{what}");
        }
        let failure = looked(json!({ "befor": 1 }), false).await.unwrap_err();
        assert_eq!(failure.exit().code(), 78);
        assert!(failure.to_string().contains("did you mean `before`?"), "{failure}");
    }

    #[tokio::test]
    async fn what_was_handed_over_before_an_error_is_printed_and_not_complete() {
        for what in ["unavailable", "denied", "unsupported", "protocol", "panic"] {
            let document = looked(json!({ "after": what }), false).await.unwrap();
            assert_eq!(document.scopes.as_ref().map(Vec::len), Some(1), "{what}");
            let Coverage::Partial { reason } = &document.coverage else { panic!("{document:?}") };
            assert!(reason.ends_with("told"), "{reason}");
        }
        let document = looked(json!({ "after": "denied", "unseen": true }), false).await.unwrap();
        assert_eq!(document.coverage, Coverage::Denied { reason: "told".into() });
    }

    #[tokio::test]
    async fn a_sound_look_is_complete_and_a_probe_tells_who_the_runtime_is() {
        let document = looked(json!({}), false).await.unwrap();
        assert!(document.coverage.is_complete() && document.scopes.is_some() && document.runtime.is_some());
        let probe = looked(json!({ "before": "panic" }), true).await.unwrap();
        assert_eq!((probe.scopes, probe.runtime), (None, document.runtime));
    }

    #[tokio::test]
    async fn a_runtime_that_does_not_say_who_it_is_is_read_all_the_same() {
        let document = looked(json!({ "probe": "denied" }), false).await.unwrap();
        assert!(document.runtime.is_none() && document.scopes.is_some());
        assert!(looked(json!({ "probe": "unavailable" }), false).await.is_err());
    }

    #[test]
    fn settings_are_json_or_nothing() {
        assert_eq!(settings(&b" \n"[..]).unwrap(), json!({}));
        assert_eq!(settings(&b"{\"a\": 1}"[..]).unwrap(), json!({ "a": 1 }));
        assert_eq!(settings(&b"{"[..]).unwrap_err().exit(), Exit::Config);
        assert_eq!(settings(&b"\xff"[..]).unwrap_err().exit(), Exit::Software);
    }
}
