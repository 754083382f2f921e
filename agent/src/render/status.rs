//! For people: how an agent is.

use std::{io, time::Duration};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::layout::{Column, Elide, full_width, paragraph, write};
use crate::telemetry::{CollectorState, CollectorStatus, Status, TargetStatus, ago};

/// Writes what the agent is, what it looks at, who it reports to, and what stands in its way.
pub(crate) fn status(status: &Status, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    let (word, colour) = if status.ready { ("ready", AnsiColor::Green) } else { ("not ready", AnsiColor::Red) };
    let style = Style::new().fg_color(Some(colour.into()));
    writeln!(out, "{style}{word}{style:#}")?;
    about(status).iter().try_for_each(|line| paragraph(line, 0, width, out))?;
    if !status.collectors.is_empty() {
        writeln!(out)?;
        write(collectors(status, width), 0, width, out)?;
    }
    if !status.targets.is_empty() {
        writeln!(out)?;
        write(targets(status), 0, width, out)?;
    }
    list("not ready because", &status.reasons, width, out)?;
    list("remarks", &status.remarks, width, out)?;
    let warnings = status.collectors.iter().flat_map(|collector| {
        collector.warnings.iter().map(|warning| format!("collector {}: {warning}", collector.name))
    });
    list("warnings", &warnings.collect::<Vec<_>>(), width, out)
}

fn about(status: &Status) -> Vec<String> {
    let Status { version, pid, started_at, now, configuration, reports, spool, .. } = status;
    let uptime = ago(*started_at, *now);
    let mut lines = vec![format!("stocktake-agent {version}, process {pid}, runs for {uptime}, since {started_at:.0}")];
    if let Some(file) = &configuration.file {
        let read = configuration.read_at.map(|read| format!(", in force for {}", ago(read, *now))).unwrap_or_default();
        let changed = if configuration.error.is_some() { "; what it holds now is not valid" } else { "" };
        lines.push(format!("configuration {file}{read}{changed}"));
    }
    let latest = match (reports.latest, reports.latest_at) {
        (Some(number), Some(at)) => format!(", the latest one, number {number}, {} ago", ago(at, *now)),
        _ => String::new(),
    };
    lines.push(format!("reports {} made{latest}", reports.made));
    let writable = if spool.error.is_some() { ": cannot be written" } else { "" };
    lines.push(format!("spool {}{writable}", spool.dir));
    lines
}

fn collectors(status: &Status, width: Option<usize>) -> Vec<Column> {
    let column = |title: &str, min, elide, cell: &dyn Fn(&CollectorStatus) -> String| Column {
        title: title.to_owned(),
        min,
        elide,
        cells: status.collectors.iter().map(cell).collect(),
    };
    // A name that is its type says both.
    let kind = |it: &CollectorStatus| if it.kind == it.name { String::new() } else { it.kind.clone() };
    let mut columns = vec![
        column("COLLECTOR", 9, Elide::Middle, &|it| it.name.clone()),
        column("TYPE", 6, Elide::End, &kind),
        column("STATE", 7, Elide::End, &|it| it.state.as_str().to_owned()),
        column("LAST GOOD", 9, Elide::End, &|it| last_good(it, status.now)),
        column("SCOPES", 8, Elide::End, &scopes),
        column("CONTAINERS", 10, Elide::End, &|it| seen(it, it.counts.containers.to_string())),
        column("TOOK", 5, Elide::End, &|it| it.took_seconds.map(took).unwrap_or_default()),
        column("RUNTIME", 20, Elide::Middle, &|it| it.runtime.clone().unwrap_or_default()),
    ];
    // It says nothing of how anything is, and a part of it says nothing at all.
    if width.is_some_and(|width| full_width(&columns) > width) {
        columns.pop();
    }
    columns
}

fn last_good(collector: &CollectorStatus, now: Timestamp) -> String {
    match collector.complete_at {
        _ if collector.is_watched => "now".to_owned(),
        Some(at) => format!("{} ago", ago(at, now)),
        None => "never".to_owned(),
    }
}

fn scopes(collector: &CollectorStatus) -> String {
    let complete = collector.scopes.get("complete").copied().unwrap_or_default();
    let all: usize = collector.scopes.values().sum();
    seen(collector, format!("{complete} of {all}"))
}

/// What was counted, where anything was.
fn seen(collector: &CollectorStatus, counted: String) -> String {
    let nothing = collector.looked_at.is_none() || collector.scopes.is_empty() && !collector.state.is_seen();
    if nothing || collector.state == CollectorState::Waiting { "-".to_owned() } else { counted }
}

fn took(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    match duration.as_millis() {
        0 => "<1ms".to_owned(),
        millis @ ..1_000 => format!("{millis}ms"),
        _ => format!("{:.1}s", duration.as_secs_f64()),
    }
}

fn targets(status: &Status) -> Vec<Column> {
    let column = |title: &str, min, elide, cell: &dyn Fn(&TargetStatus) -> String| Column {
        title: title.to_owned(),
        min,
        elide,
        cells: status.targets.iter().map(cell).collect(),
    };
    let now = status.now;
    let kind = |it: &TargetStatus| if it.kind == it.name { String::new() } else { it.kind.clone() };
    let queue = |it: &TargetStatus| match it.queue.reports {
        0 => "empty".to_owned(),
        reports => reports.to_string(),
    };
    let delivered = |it: &TargetStatus| match &it.delivered {
        Some(delivered) => format!("{} ago", ago(delivered.at, now)),
        None => "never".to_owned(),
    };
    let failed = |it: &TargetStatus| match &it.failure {
        Some(failure) => format!("{}, {} ago", failure.status, ago(failure.at, now)),
        None => String::new(),
    };
    let next = |it: &TargetStatus| {
        let next = it.failure.as_ref().filter(|_| it.failing_since.is_some()).and_then(|it| it.next_attempt_at);
        next.map(|at| format!("in {}", ago(now, at))).unwrap_or_default()
    };
    vec![
        column("TARGET", 8, Elide::Middle, &|it| it.name.clone()),
        column("TYPE", 6, Elide::End, &kind),
        column("STATE", 7, Elide::End, &|it| it.state.as_str().to_owned()),
        column("QUEUE", 5, Elide::End, &queue),
        column("OLDEST", 6, Elide::End, &|it| it.queue.oldest_at.map(|at| ago(at, now)).unwrap_or_default()),
        column("DELIVERED", 9, Elide::End, &delivered),
        column("LAST FAILURE", 12, Elide::Middle, &failed),
        column("NEXT TRY", 8, Elide::End, &next),
    ]
}

fn list(title: &str, lines: &[String], width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    lines.iter().try_for_each(|line| paragraph(line, 2, width, out))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An agent in trouble.
    fn troubled() -> Status {
        let document = json!({
            "version": "1.2.3", "pid": 4711, "started_at": "2026-01-01T00:00:00Z", "now": "2026-01-01T02:00:00Z", "ready": false,
            "reasons": ["collector containerd: hangs since 5m: no complete answer within 30s; the runtime hangs, or raise `timeout`"],
            "remarks": ["target anchore: takes nothing since 59m, 12 reports wait, next attempt in 30s: 503 Service Unavailable"],
            "configuration": { "file": "/etc/stocktake/agent.toml", "read_at": "2026-01-01T01:00:00Z",
                "error": { "since": "2026-01-01T01:30:00Z", "message": "no" } },
            "reports": { "made": 130, "latest": 4123, "latest_at": "2026-01-01T01:59:48Z" },
            "spool": { "dir": "/var/lib/stocktake/spool" },
            "collectors": [
                { "name": "containerd", "kind": "containerd", "state": "hangs", "complete_at": "2026-01-01T01:55:00Z",
                  "looked_at": "2026-01-01T01:59:30Z", "took_seconds": 30.0021, "scopes": {}, "runtime": "containerd 2.0.1, host web-1" },
                { "name": "new", "kind": "cri", "state": "waiting" },
                { "name": "prod", "kind": "kubernetes", "state": "partial", "complete_at": "2026-01-01T01:00:00Z",
                  "looked_at": "2026-01-01T01:59:30Z", "took_seconds": 1.234, "scopes": { "complete": 4, "denied": 1 },
                  "counts": { "containers": 10340 }, "runtime": "kubernetes v1.33.2, cluster production-eu-central",
                  "warnings": ["may not list nodes"] },
                { "name": "web", "kind": "docker", "state": "ok", "is_watched": true, "complete_at": "2026-01-01T02:00:00Z",
                  "looked_at": "2026-01-01T01:59:30Z", "took_seconds": 0.0312, "scopes": { "complete": 1 }, "counts": { "containers": 12 } },
            ],
            "targets": [
                { "name": "anchore", "kind": "anchore", "state": "failing", "failing_since": "2026-01-01T01:01:00Z",
                  "queue": { "reports": 12, "bytes": 5_400_000, "oldest_at": "2026-01-01T01:00:30Z" },
                  "delivered": { "sequence": 4111, "at": "2026-01-01T01:00:00Z", "bytes": 1, "took_seconds": 1.0 },
                  "failure": { "at": "2026-01-01T01:59:00Z", "status": "503", "message": "x", "next_attempt_at": "2026-01-01T02:00:30Z" },
                  "dropped": { "size": 3 } },
                { "name": "archive", "kind": "file", "state": "ok", "queue": { "reports": 0, "bytes": 0 },
                  "delivered": { "sequence": 4123, "at": "2026-01-01T01:59:48Z", "bytes": 1, "took_seconds": 1.0 } },
            ],
        });
        serde_json::from_value(document).unwrap()
    }

    fn written(shown: &Status, width: Option<usize>) -> String {
        let mut out = Vec::new();
        status(shown, width, &mut out).unwrap();
        String::from_utf8(anstream::adapter::strip_bytes(&out).into_vec()).unwrap()
    }

    #[test]
    fn everything_fits_the_terminal() {
        let text = written(&troubled(), Some(80));
        assert_eq!(
            text,
            "\
not ready
stocktake-agent 1.2.3, process 4711, runs for 2h, since 2026-01-01T00:00:00Z
configuration /etc/stocktake/agent.toml, in force for 60m; what it holds now is
  not valid
reports 130 made, the latest one, number 4123, 12s ago
spool /var/lib/stocktake/spool

COLLECTOR   TYPE        STATE    LAST GOOD  SCOPES  CONTAINERS  TOOK
containerd              hangs    5m ago     -       -           30.0s
new         cri         waiting  never      -       -
prod        kubernetes  partial  60m ago    4 of 5  10340       1.2s
web         docker      ok       now        1 of 1  12          31ms

TARGET   TYPE  STATE    QUEUE  OLDEST  DELIVERED  LAST FAILURE  NEXT TRY
anchore        failing  12     59m     60m ago    503, 60s ago  in 30s
archive  file  ok       empty          12s ago

not ready because
  collector containerd: hangs since 5m: no complete answer within 30s; the
    runtime hangs, or raise `timeout`

remarks
  target anchore: takes nothing since 59m, 12 reports wait, next attempt in 30s:
    503 Service Unavailable

warnings
  collector prod: may not list nodes
"
        );
    }

    /// Names of any length, and everything that can be said of a target at once.
    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let mut shown = troubled();
        shown.collectors[2].name = "the-cluster-of-the-shop-in-central-europe".to_owned();
        shown.targets[0].name = "anchore-enterprise-of-the-other-department".to_owned();
        let failure = shown.targets[0].failure.clone();
        shown.targets[1].failure = failure;
        let text = written(&shown, Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains('…'), "{text}");
    }

    #[test]
    fn a_pipe_gets_it_uncut() {
        let text = written(&troubled(), None);
        assert!(text.contains("kubernetes v1.33.2, cluster production-eu-central"), "{text}");
        assert!(!text.contains('…'), "{text}");
    }

    #[test]
    fn what_others_say_is_no_command_to_the_terminal() {
        let mut shown = troubled();
        shown.collectors[0].runtime = Some("\u{1b}[2J".to_owned());
        shown.reasons.push("\u{1b}[2J".to_owned());
        let mut out = Vec::new();
        status(&shown, None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\u{fffd}[2J") && !text.contains("\u{1b}[2J"), "{text}");
    }
}
