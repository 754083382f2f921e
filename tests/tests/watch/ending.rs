//! How it ends.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use stocktake_tests::{agent::Agent, wait_until};

use crate::{COMPLETE, Runtime, Watch, document, scope};

/// For a machine that is busy. A look may take longer (`timeout` is 30 s by default), and is not waited for.
const GRACEFUL: Duration = Duration::from_secs(20);

fn ends(watch: Watch, signal: Signal) {
    let began = Instant::now();
    let (status, stderr) = watch.end(signal);
    assert_eq!(status.code(), Some(0), "{status}: {stderr}");
    assert!(began.elapsed() < GRACEFUL, "{:?}", began.elapsed());
    assert_eq!(stderr, "");
}

#[test]
fn it_ends_well_when_it_is_told_to() {
    let runtime = Runtime::new(&document(COMPLETE, &[]));
    for signal in [Signal::INT, Signal::TERM] {
        let watch = Watch::new(&runtime.config("paper"), &[]);
        watch.line();
        ends(watch, signal);
    }
}

/// And what it has started ends with it.
#[test]
fn it_ends_while_a_runtime_hangs() {
    let unique = format!("7{:07}", std::process::id());
    let config = format!("[collectors.slow]\ntype = 'exec'\ncommand = ['/bin/sleep', '{unique}']\n");
    let running = || {
        let pgrep =
            std::process::Command::new("/usr/bin/pgrep").args(["-f", &format!("^/bin/sleep {unique}$")]).output();
        !pgrep.unwrap().stdout.is_empty()
    };
    let watch = Watch::new(&config, &[]);
    wait_until("the program to run", running);
    ends(watch, Signal::TERM);
    wait_until("the program to be gone", || !running());
}

/// More than a pipe holds.
fn large() -> Runtime {
    let image = "x".repeat(1000);
    Runtime::new(&document(COMPLETE, &[scope("a", &vec![&*image; 500])]))
}

#[test]
fn it_ends_while_nobody_reads() {
    let runtime = large();
    let mut agent = Agent::with_config("watch", &runtime.config("paper"), &["--interval", "1s"]);
    let mut child = agent.command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It waits to write the rest.
    let stdout = child.stdout.take().unwrap();
    wait_until("the pipe to be full", || rustix::io::ioctl_fionread(&stdout).unwrap() >= 60_000);
    let (_sender, lines) = std::sync::mpsc::channel();
    ends(Watch { child, lines, _agent: agent }, Signal::INT);
}

#[test]
fn it_ends_quietly_when_nobody_reads_any_more() {
    for format in ["ndjson", "changes"] {
        let runtime = Runtime::new(&document(COMPLETE, &[scope("a", &["app:1"])]));
        let mut agent =
            Agent::with_config("watch", &runtime.config("paper"), &["--interval", "1s", "--format", format]);
        let mut child =
            agent.command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{format}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{format}");
    }
}

#[test]
fn a_filter_that_needs_all_bodies_has_several_sources_looked_at_together() {
    let runtime = Runtime::new(&document(COMPLETE, &[scope("a", &["app:1", "secret:1"])]));
    let filters = "[filters]\nimages = { exclude = ['secret'] }\n";
    let config = format!("{}{}{filters}", runtime.config("one"), runtime.config("two"));
    let watch = Watch::new(&config, &["--format", "ndjson"]);
    // Of each a report, a source, a scope and the container that is left.
    let lines: Vec<String> = (0..8).map(|_| watch.line()).collect();
    let told = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((told("\"app:1\""), told("secret"), told(r#"{"type":"source""#)), (2, 0, 2), "{lines:?}");
}
