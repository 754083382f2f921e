//! Real programs, and what they may do to the agent: nothing of them is left, whatever they do, and what they did is said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stocktake_collector_exec::ExecCollector;
use stocktake_core::{
    CollectError, CollectorPlugin as _, ConfigError, Context, Location, ObservedScope, RuntimeCollector as _,
    ScopeSink, Selection,
    model::{Coverage, Host, ScopeId, Warning},
};
use tempfile::TempDir;

const SOUND: &str = r#"{"runtime": {"name": "r"}, "coverage": {"status": "complete"}, "warnings": [{"message": "w"}],
    "scopes": [{"coverage": {"status": "complete"}, "containers": [{"name": "a"}]}]}"#;

/// A shell script as a program, in a folder of its own.
struct Script {
    folder: TempDir,
    collector: ExecCollector,
}

#[derive(Default)]
struct Seen(Vec<ObservedScope>, Vec<Warning>);

impl ScopeSink for Seen {
    fn scope(&mut self, scope: ObservedScope) {
        self.0.push(scope);
    }

    fn warning(&mut self, warning: Warning) {
        self.1.push(warning);
    }
}

impl Script {
    fn new(body: &str) -> Self {
        Self::with(body, json!({}))
    }

    /// `$DIR` is the script's folder.
    fn with(body: &str, mut settings: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        write_program(&path, &format!("#!/bin/sh\n{body}\n"));
        settings["command"] = json!([path]);
        settings["environment"] = json!({ "DIR": folder.path() });
        let host = Host { hostname: Some("here".into()), ..Host::default() };
        let context = Context { name: "x".into(), host, ..Context::default() };
        let settings = ConfigError::deserialize(settings).unwrap();
        let collector = ExecCollector::new(settings, context).unwrap_or_else(|error| panic!("{error}"));
        Self { folder, collector }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the script wrote into a file of its folder.
    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    async fn collect(&self) -> Result<(Coverage, Seen), CollectError> {
        self.collect_only(&Selection::All).await
    }

    async fn collect_only(&self, select: &Selection) -> Result<(Coverage, Seen), CollectError> {
        let mut seen = Seen::default();
        let coverage = self.collector.collect(select, &mut seen).await?;
        Ok((coverage, seen))
    }

    async fn error(&self) -> CollectError {
        match self.collect().await {
            Ok((coverage, _)) => panic!("collected: {coverage:?}"),
            Err(error) => error,
        }
    }

    /// Begins a collection, lets it go as soon as the script has written `file`, and drops it.
    async fn drop_once_written(&self, file: &str) {
        let path = self.path(file);
        let written = async {
            while fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')).eq(&false) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            outcome = self.collect() => panic!("it ended: {:?}", outcome.map(|(coverage, _)| coverage)),
            () = written => {}
        }
    }

    /// Waits until none of the processes whose ids the script wrote into `file` is there, not even as a zombie.
    async fn assert_gone(&self, file: &str) {
        let ids = self.file(file);
        assert!(ids.split_whitespace().count() > 0, "no process");
        for id in ids.split_whitespace() {
            let began = Instant::now();
            while Path::new("/proc").join(id).exists() {
                assert!(began.elapsed() < Duration::from_mins(1), "process {id} is still there");
                // tokio reaps, and it is this thread that runs it.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// Written by another process: a test beside this one may fork while the file is open, and it could then not be run
/// (`ETXTBSY`).
fn write_program(path: &Path, text: &str) {
    let source = path.with_extension("source");
    fs::write(&source, text).unwrap();
    assert!(std::process::Command::new("/bin/cp").args([&source, path]).status().unwrap().success());
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn print(document: &str) -> String {
    format!("cat <<'EOF'\n{document}\nEOF")
}

#[tokio::test]
async fn what_a_program_prints_is_handed_over() {
    let script = Script::new(&print(SOUND));
    let (coverage, Seen(scopes, warnings)) = script.collect().await.unwrap();
    assert_eq!(coverage, Coverage::Complete);
    assert_eq!((scopes.len(), &scopes[0].id, scopes[0].body.containers.len()), (1, &ScopeId::host(), 1));
    assert_eq!(warnings, [Warning::new("w")]);
    let info = script.collector.probe().await.unwrap();
    assert_eq!(info.runtime.name, "r");
    assert_eq!(info.location, Location::Host(Host { hostname: Some("here".into()), ..Host::default() }));
}

#[tokio::test]
async fn a_selected_scope_that_is_not_named_is_gone_only_under_a_complete_list() {
    let gone = ScopeId::namespace("gone");
    let only = Selection::Only([gone.clone()].into());
    let (_, Seen(scopes, _)) = Script::new(&print(SOUND)).collect_only(&only).await.unwrap();
    assert_eq!(scopes, [ObservedScope::complete(gone.clone(), stocktake_core::model::Scope::default())]);
    let partial = r#"{"scopes": []}"#;
    let (_, Seen(scopes, _)) = Script::new(&print(partial)).collect_only(&only).await.unwrap();
    assert!(matches!(&scopes[..], [ObservedScope { coverage: Coverage::Failed { .. }, .. }]), "{scopes:?}");
}

#[tokio::test]
async fn a_document_without_scopes_is_an_error_and_not_an_empty_runtime() {
    let script = Script::new(&print(r#"{"runtime": {"name": "r"}, "coverage": {"status": "complete"}}"#));
    assert!(script.collector.probe().await.is_ok());
    let CollectError::Protocol { message, .. } = script.error().await else { panic!("not a protocol error") };
    assert!(message.contains("no `scopes`"), "{message}");
    let anonymous = Script::new(&print(r#"{"scopes": []}"#));
    let error = anonymous.collector.probe().await.unwrap_err();
    assert!(error.to_string().contains("who the runtime is"), "{error}");
}

#[tokio::test]
async fn the_program_is_told_what_is_wanted_and_nothing_else() {
    let script = Script::with(
        "env | cut -d= -f1 | sort >$DIR/env; pwd >$DIR/pwd; cat >$DIR/stdin\n\
         printf '{\"runtime\": {\"name\": \"%s-%s\"}}' \"$STOCKTAKE_COLLECTOR\" \"$STOCKTAKE_REQUEST\"",
        json!({ "settings": { "a": ["b", 1, true, { "c": "\"'$(x)\n" }] } }),
    );
    assert_eq!(script.collector.probe().await.unwrap().runtime.name, "x-probe");
    let settings: Value = serde_json::from_str(&script.file("stdin")).unwrap();
    assert_eq!(settings, json!({ "a": ["b", 1, true, { "c": "\"'$(x)\n" }] }));
    assert_eq!(script.file("pwd"), "/\n");
    // PWD is the shell's own.
    let variables = script.file("env");
    let variables: Vec<&str> = variables.split_whitespace().filter(|name| !matches!(*name, "PWD" | "_")).collect();
    assert_eq!(variables, ["DIR", "PATH", "STOCKTAKE_COLLECTOR", "STOCKTAKE_REQUEST"]);
}

#[tokio::test]
async fn each_exit_code_is_its_error_with_the_last_line_of_stderr() {
    for code in [1, 65, 69, 70, 75, 76, 77, 78, 127] {
        let script = Script::new(&format!("{}\necho first >&2; echo 'why' >&2; exit {code}", print(SOUND)));
        let error = script.error().await;
        let message = error.full_message();
        assert!(message.contains("why") && message.contains(&format!("exit code {code}")), "{message}");
        let expected = match error {
            CollectError::Unavailable { .. } => &[69, 75][..],
            CollectError::Denied { .. } => &[77],
            CollectError::Unsupported { .. } => &[65, 78],
            _ => &[1, 70, 76, 127],
        };
        assert!(expected.contains(&code), "{code}: {error:?}");
    }
    let silent = Script::new("exit 69").error().await.full_message();
    assert!(silent.contains("says nothing on stderr"), "{silent}");
    let killed = Script::new("echo dying >&2; kill -9 $$").error().await;
    assert!(
        matches!(&killed, CollectError::Protocol { message, .. } if message.contains("signal 9: dying")),
        "{killed:?}"
    );
}

#[tokio::test]
async fn what_is_no_document_is_a_protocol_error() {
    for (body, told) in [
        (":", "prints nothing"),
        ("echo", "prints nothing"),
        ("head -c 1000 /dev/urandom", "document"),
        ("printf '\\377\\376{}'", "no JSON document"),
        ("printf '%s' '{\"scopes\": [{\"coverage\": {\"status\": \"complete\"}, \"containers\": [{\"na'", "cut off"),
        ("echo '{\"scopes\": []} trailing'", "no JSON document"),
        ("echo '{\"scopes\": [{\"containers\": [{}]}]}'", "scopes[0].containers[0]"),
    ] {
        let error = Script::new(body).error().await;
        assert!(
            matches!(&error, CollectError::Protocol { message, .. } if message.contains(told)),
            "{body}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_program_that_is_dropped_leaves_no_process() {
    for body in [
        // A child and a grandchild that hang, and streams that somebody holds.
        "sleep 1000 & sh -c 'sleep 1000 & echo $! >>$DIR/some; wait' & echo $$ $! >>$DIR/some\n\
         while [ $(wc -l <$DIR/some) -lt 2 ]; do :; done; cp $DIR/some $DIR/ids; wait",
        // One that does not want to end.
        "trap '' TERM INT HUP QUIT; sh -c 'trap \"\" TERM; while :; do sleep 1000; done' &\n echo $$ $! >$DIR/ids; while :; do wait; done",
        // One that is stopped.
        "sleep 1000 & kill -STOP $!; echo $$ $! >$DIR/ids; kill -STOP $$",
        // One that has closed its streams.
        "exec <&- >&- 2>&-; sleep 1000 & echo $$ $! >$DIR/ids; wait",
        // One that never stops printing, to whom nobody listens any more.
        "yes >&2 & echo $$ $! >$DIR/ids; wait",
    ] {
        let script = Script::new(body);
        script.drop_once_written("ids").await;
        script.assert_gone("ids").await;
    }
}

/// The processes above are gone because they are killed, not because everything is at the end of a test.
#[tokio::test]
async fn a_program_that_is_not_dropped_lives() {
    let script =
        Script::new(&format!("echo $$ >$DIR/ids; while [ ! -e $DIR/go ]; do sleep 0.01; done; {}", print(SOUND)));
    let collecting = script.collect();
    let letting_go = async {
        while !script.path("ids").exists() {
            tokio::task::yield_now().await;
        }
        let id = loop {
            let text = script.file("ids");
            if text.ends_with('\n') {
                break text;
            }
        };
        assert!(Path::new("/proc").join(id.trim()).exists());
        fs::write(script.path("go"), "").unwrap();
    };
    let (outcome, ()) = tokio::join!(collecting, letting_go);
    assert!(outcome.is_ok());
    script.assert_gone("ids").await;
}

#[tokio::test]
async fn what_a_program_leaves_running_is_killed_and_not_waited_for() {
    // The one left behind holds all three streams.
    let script = Script::new(&format!("sleep 1000 & echo $$ $! >$DIR/ids; {}\necho said >&2; exit 0", print(SOUND)));
    let (coverage, Seen(scopes, _)) = script.collect().await.unwrap();
    assert_eq!((coverage, scopes.len()), (Coverage::Complete, 1));
    script.assert_gone("ids").await;
    let failed = Script::new("sleep 1000 & echo $! >$DIR/ids; echo why >&2; exit 77");
    assert!(failed.error().await.full_message().contains("why"));
    failed.assert_gone("ids").await;
}

/// It is nobody's to kill (its own session says that it is meant to stay), and is not waited for either.
#[tokio::test]
async fn a_daemon_that_a_program_starts_does_not_hold_up_the_collection() {
    let script = Script::new(&format!(
        "setsid sh -c 'echo $$ >$DIR/id; exec sleep 1000' & while [ ! -s $DIR/id ]; do :; done\n{}",
        print(SOUND)
    ));
    let outcome = script.collect().await;
    let id = script.file("id");
    assert!(std::process::Command::new("/bin/kill").args(["-9", id.trim()]).status().unwrap().success(), "it lived");
    assert!(outcome.is_ok());
}

/// The document is far larger than a pipe, so that the program and the collector have to meet many times.
#[tokio::test]
async fn a_large_document_arrives_whole() {
    let script = Script::new(
        "i=0; row=$(printf '{\"name\": \"%01000d\"}' 0)\n\
         printf '{\"coverage\": {\"status\": \"complete\"}, \"scopes\": [{\"containers\": ['\n\
         while [ $i -lt 3000 ]; do printf '%s,' \"$row\"; i=$((i + 1)); done; printf '%s]}]}' \"$row\"",
    );
    let (_, Seen(scopes, _)) = script.collect().await.unwrap();
    assert_eq!(scopes[0].body.containers.len(), 3001);
}

#[tokio::test]
async fn output_without_end_is_bounded_and_its_program_killed() {
    let script = Script::with(
        "echo $$ >$DIR/ids; yes | head -c 1000000000; touch $DIR/printed-it-all",
        json!({ "max_output_bytes": 1_000_000 }),
    );
    let error = script.error().await.full_message();
    assert!(error.contains("more than 1000000 bytes") && error.contains("`max_output_bytes`"), "{error}");
    script.assert_gone("ids").await;
    assert!(!script.path("printed-it-all").exists());
    // What is printed right before the end counts as well.
    let exact = print(SOUND);
    let size = SOUND.len() + 1;
    assert!(Script::with(&exact, json!({ "max_output_bytes": size })).collect().await.is_ok());
    let error = Script::with(&exact, json!({ "max_output_bytes": size - 1 })).error().await;
    assert!(error.to_string().contains("prints more than"), "{error}");
}

#[tokio::test]
async fn stderr_without_end_neither_blocks_nor_grows() {
    let script =
        Script::new(&format!("yes | head -c 20000000 >&2; yes | head -c 9000000 | tr -d '\\n' >&2; {}", print(SOUND)));
    assert!(script.collect().await.is_ok());
    let failing = Script::new("yes | head -c 20000000 >&2; echo 'the reason' >&2; exit 69");
    assert!(failing.error().await.to_string().ends_with("the reason"));
}

#[tokio::test]
async fn settings_are_written_while_the_program_prints_and_whether_or_not_it_reads() {
    let settings = json!({ "settings": { "blob": "x".repeat(1 << 20) } });
    // It reads all, byte for byte.
    let reads = format!("wc -c >$DIR/count; {}", print(SOUND));
    let script = Script::with(&reads, settings.clone());
    assert!(script.collect().await.is_ok());
    assert_eq!(script.file("count").trim().parse::<usize>().unwrap(), (1 << 20) + r#"{"blob":""}"#.len());
    let large = "yes ' ' | head -c 300000";
    for body in [
        // It does not read, and ends.
        print(SOUND),
        // It refuses to read, and goes on.
        format!("exec <&-; {}", print(SOUND)),
        // It prints more than a pipe holds before it reads.
        format!("{large}; cat >/dev/null; {}", print(SOUND)),
        // It speaks, prints and reads at once.
        format!("{large} >&2 & {large}; cat >/dev/null; wait; {}", print(SOUND)),
    ] {
        let outcome = Script::with(&body, settings.clone()).collect().await;
        assert!(outcome.is_ok(), "{body}: {:?}", outcome.err());
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_started_any_more_says_why() {
    let script = Script::new(&print(SOUND));
    assert!(script.collect().await.is_ok());
    let path = script.path("program");
    write_program(&path, "echo no interpreter");
    let error = script.error().await;
    assert!(matches!(&error, CollectError::Unsupported { message } if message.contains("#!/bin/sh")), "{error:?}");
    write_program(&path, "#!/no/such/interpreter\n");
    let error = script.error().await;
    assert!(
        matches!(&error, CollectError::Unavailable { message, .. } if message.contains("interpreter")),
        "{error:?}"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = script.error().await;
    assert!(
        matches!(&error, CollectError::Denied { message, .. } if message.contains("permission denied")),
        "{error:?}"
    );
    fs::remove_file(&path).unwrap();
    let error = script.error().await;
    assert!(matches!(&error, CollectError::Unavailable { message, .. } if message.contains("is gone")), "{error:?}");
}
