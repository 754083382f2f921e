//! How the agent is, in the server's words: what of the last report was not seen, and what of it was not taken.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stocktake_core::model::Report;

use super::{
    super::{
        Load,
        send::{Attempt, Sending, ToAccount, message_of},
    },
    TYPE,
};
use crate::{deliver::Failure, render::clusters::seconds};

/// How many errors a report has at the most.
const ERRORS: usize = 50;

/// What is known.
#[derive(Default)]
pub(in super::super) struct Health {
    /// Of the report that was worked on last.
    seen: Option<Seen>,
    /// Why not all of it was taken.
    failures: Vec<String>,
    is_known: bool,
    /// By account, of the last report that had something for it.
    accounts: BTreeMap<String, Value>,
}

struct Seen {
    made_at: Timestamp,
    valid_for: Option<u64>,
    gaps: Vec<String>,
    cluster: Option<String>,
}

impl Health {
    pub(super) fn looked(&mut self, report: &Report, load: &Load) {
        self.seen = Some(Seen {
            made_at: report.created_at,
            valid_for: report.valid_for_seconds,
            gaps: load.gaps.clone(),
            cluster: load.clusters.first().cloned(),
        });
    }

    pub(super) fn delivered(&mut self, report: &Report, result: Result<&Sending, &Failure>) {
        self.is_known = true;
        self.failures.clear();
        let sending = match result {
            Ok(sending) => sending,
            Err(failure) => return self.failures.push(format!("not delivered: {}", message_of(failure))),
        };
        // Where nothing was sent, what was sent before is there.
        self.accounts.retain(|_, info| info["has_errors"] == false);
        for (account, ToAccount { user, attempts }) in &sending.accounts {
            let errors = attempts.iter().filter_map(|attempt| attempt.error.as_ref());
            self.failures.extend(errors.map(|error| format!("not delivered to account {account}: {error}")));
            let last = attempts.iter().rposition(|attempt| attempt.error.is_none());
            let last = last.and_then(|index| i64::try_from(index + 1).ok()).unwrap_or(-1);
            let info = json!({
                "report_timestamp": seconds(report.created_at),
                "account_name": account,
                "sent_as_user": user,
                "batch_size": attempts.len(),
                "last_successful_index": last,
                "has_errors": attempts.iter().any(|attempt| attempt.error.is_some()),
                "batches": attempts.iter().enumerate().map(batch).collect::<Vec<_>>(),
            });
            self.accounts.insert(account.clone(), info);
        }
    }

    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    pub(super) fn cluster(&self) -> Option<&str> {
        self.seen.as_ref()?.cluster.as_deref()
    }

    /// The health report of the integration `uuid`.
    pub(super) fn report(&self, uuid: &str, uptime: f64, interval: u64, now: Timestamp) -> Value {
        json!({
            "uuid": uuid,
            "protocol_version": 1,
            "timestamp": seconds(now),
            "uptime": uptime,
            "health_report_interval": interval,
            "health_data": {
                "type": TYPE,
                "version": 1,
                "errors": self.errors(now),
                "account_k8s_inventory_reports": self.accounts,
            },
        })
    }

    /// What is wrong. The server calls an agent healthy that has none.
    fn errors(&self, now: Timestamp) -> Vec<String> {
        let mut errors = self.failures.clone();
        if let Some(seen) = &self.seen {
            let due = seen.valid_for.and_then(|seconds| i64::try_from(seconds).ok()).map(SignedDuration::from_secs);
            if due.is_some_and(|due| now.duration_since(seen.made_at) > due * 2) {
                errors.push(format!("the last report that was worked on is of {}", seconds(seen.made_at)));
            }
            errors.extend(seen.gaps.iter().cloned());
        }
        let more = errors.len().saturating_sub(ERRORS);
        errors.truncate(ERRORS);
        if more > 0 {
            errors.push(format!("and {more} more"));
        }
        errors
    }
}

fn batch((index, attempt): (usize, &Attempt)) -> Value {
    let mut batch = json!({ "batch_index": index + 1, "send_timestamp": seconds(attempt.at) });
    if let Some(error) = &attempt.error {
        batch["error"] = json!(error);
    }
    batch
}
