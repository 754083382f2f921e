//! Whether the agent does what it is there for, and if not, why: what `/readyz` says.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::status::{CollectorState, CollectorStatus, Status, TargetState, TargetStatus};
use crate::render::{age, plain};

/// Why the agent is not ready: what is not seen, and that what is seen cannot be kept. A target that takes nothing is no
/// reason, for the spool keeps what is for it.
pub(super) fn reasons(status: &Status) -> Vec<String> {
    let unseen = status.collectors.iter().filter(|collector| !collector.state.is_seen());
    let mut reasons: Vec<String> = unseen.map(|collector| of_collector(collector, status.now)).collect();
    if let Some(problem) = &status.spool.error {
        let since = ago(problem.since, status.now);
        reasons.push(plain(&format!("spool: cannot be written since {since}: {}", problem.message)));
    }
    if let Some(problem) = status.lease.as_ref().and_then(|lease| lease.error.as_ref()) {
        let since = ago(problem.since, status.now);
        reasons.push(plain(&format!("lease: it is not known since {since} who reports: {}", problem.message)));
    }
    reasons
}

/// What a person should know though the agent is ready.
pub(super) fn remarks(status: &Status) -> Vec<String> {
    let partial = status.collectors.iter().filter(|collector| collector.state == CollectorState::Partial);
    let mut remarks: Vec<String> = partial.map(|collector| of_collector(collector, status.now)).collect();
    let failing = status.targets.iter().filter(|target| target.state == TargetState::Failing);
    remarks.extend(failing.map(|target| of_target(target, status.now)));
    remarks.extend(status.targets.iter().flat_map(|target| {
        let dropped = target.dropped.iter().filter(|(_, reports)| **reports > 0);
        dropped.map(|(reason, reports)| format!("target {}: {reports} reports were dropped: {reason}", target.name))
    }));
    if let Some((lease, holder)) = status.lease.as_ref().and_then(|lease| Some((lease, lease.holder.as_ref()?))) {
        remarks.push(plain(&format!("stands by: the lease {} is that of {holder}, who reports", lease.name)));
    }
    if let Some(problem) = &status.configuration.error {
        let since = ago(problem.since, status.now);
        remarks.push(plain(&format!(
            "configuration: what the file holds since {since} is not valid, and the former one stays in force: {}",
            problem.message
        )));
    }
    remarks
}

fn of_collector(collector: &CollectorStatus, now: Timestamp) -> String {
    let mut text = format!("collector {}: {}", collector.name, collector.state.as_str());
    if let Some(since) = collector.failing_since {
        let _ = write!(text, " since {}", ago(since, now));
    }
    if let Some(reason) = &collector.reason {
        let _ = write!(text, ": {reason}");
    }
    plain(&text)
}

fn of_target(target: &TargetStatus, now: Timestamp) -> String {
    let since = target.failing_since.map(|since| format!(" since {}", ago(since, now))).unwrap_or_default();
    let waiting = match target.queue.reports {
        1 => "1 report waits".to_owned(),
        number => format!("{number} reports wait"),
    };
    let mut text = format!("target {}: takes nothing{since}, {waiting}", target.name);
    if let Some(failure) = &target.failure {
        if let Some(next) = failure.next_attempt_at {
            let _ = write!(text, ", next attempt in {}", ago(now, next));
        }
        let _ = write!(text, ": {}", failure.message);
    }
    plain(&text)
}

/// How long ago something was: `5m`. What is less than a second ago is `0s`, though the clock's second may have changed since.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    age(now.duration_since(then).as_secs())
}
