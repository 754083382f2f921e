//! For people: how an agent is.

use std::{io, time::Duration};

use anstyle::{AnsiColor, Style};
use bytesize::ByteSize;
use jiff::Timestamp;

use super::layout::{Column, Elide, paragraph, write};
use crate::telemetry::{CollectorState, CollectorStatus, Status, TargetStatus, ago};

/// Writes what the agent is, what it looks at, who it reports to, and what stands in its way.
pub(crate) fn status(status: &Status, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    let (word, colour) = if status.ready { ("ready", AnsiColor::Green) } else { ("not ready", AnsiColor::Red) };
    let style = Style::new().fg_color(Some(colour.into()));
    writeln!(out, "{style}{word}{style:#}")?;
    about(status).iter().try_for_each(|line| paragraph(line, 0, width, out))?;
    if !status.collectors.is_empty() {
        writeln!(out)?;
        write(collectors(status), 0, width, out)?;
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

fn collectors(status: &Status) -> Vec<Column> {
    let column = |title: &str, min, elide, cell: &dyn Fn(&CollectorStatus) -> String| Column {
        title: title.to_owned(),
        min,
        elide,
        cells: status.collectors.iter().map(cell).collect(),
    };
    // A name that is its type says both.
    let kind = |it: &CollectorStatus| if it.kind == it.name { String::new() } else { it.kind.clone() };
    vec![
        column("COLLECTOR", 8, Elide::Middle, &|it| it.name.clone()),
        column("TYPE", 6, Elide::End, &kind),
        column("STATE", 7, Elide::End, &|it| it.state.as_str().to_owned()),
        column("LAST GOOD", 9, Elide::End, &|it| last_good(it, status.now)),
        column("SCOPES", 8, Elide::End, &scopes),
        column("CONTAINERS", 5, Elide::End, &|it| seen(it, it.counts.containers.to_string())),
        column("TOOK", 5, Elide::End, &|it| it.took_seconds.map(took).unwrap_or_default()),
        column("RUNTIME", 7, Elide::End, &|it| it.runtime.clone().unwrap_or_default()),
    ]
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
        reports => format!("{reports}, {}", ByteSize(it.queue.bytes).display().iec_short()),
    };
    let delivered = |it: &TargetStatus| match &it.delivered {
        Some(delivered) => format!("{} ago", ago(delivered.at, now)),
        None => "never".to_owned(),
    };
    let failed = |it: &TargetStatus| match &it.failure {
        Some(failure) => format!("{} ago ({})", ago(failure.at, now), failure.status),
        None => String::new(),
    };
    let next = |it: &TargetStatus| {
        let next = it.failure.as_ref().filter(|_| it.failing_since.is_some()).and_then(|it| it.next_attempt_at);
        next.map(|at| format!("in {}", ago(now, at))).unwrap_or_default()
    };
    let dropped = |it: &TargetStatus| match it.dropped.values().sum::<u64>() {
        0 => String::new(),
        reports => reports.to_string(),
    };
    vec![
        column("TARGET", 8, Elide::Middle, &|it| it.name.clone()),
        column("TYPE", 6, Elide::End, &kind),
        column("STATE", 7, Elide::End, &|it| it.state.as_str().to_owned()),
        column("QUEUE", 5, Elide::End, &queue),
        column("OLDEST", 4, Elide::End, &|it| it.queue.oldest_at.map(|at| ago(at, now)).unwrap_or_default()),
        column("DELIVERED", 7, Elide::End, &delivered),
        column("LAST FAILURE", 8, Elide::End, &failed),
        column("NEXT TRY", 6, Elide::End, &next),
        column("DROPPED", 4, Elide::End, &dropped),
    ]
}

fn list(title: &str, lines: &[String], width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    lines.iter().try_for_each(|line| paragraph(line, 2, width, out))
}
