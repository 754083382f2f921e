//! What of all that is kept is in the inventory now, as SQL that every view uses.
//!
//! The names of tables are fixed: `c` the row that comes and goes, `sc` its scope, `so` the scope's source, `ag` the source's
//! agent, `pl` the scope's place. A `~` stands before each, which [`named`] takes away or makes another name of, for a
//! statement that looks at the same table twice.

use super::statement::Statement;
use crate::app::Retention;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// Which rows a view shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Present and stale ones.
    #[default]
    Current,
    Present,
    Stale,
    Gone,
    All,
}

/// What joins a row to all that says whether it is visible. In this order in SQLite, whose planner knows no sizes.
pub(crate) const JOINS: &str = " CROSS JOIN scope ~sc CROSS JOIN source ~so CROSS JOIN agent ~ag CROSS JOIN place ~pl";

/// Conditions of [`JOINS`].
pub(crate) const JOINED: &str = "~sc.account_id = $1 AND ~sc.id = ~c.scope_id AND ~so.account_id = $1 AND ~so.id = ~sc.source_id \
    AND ~ag.account_id = $1 AND ~ag.id = ~so.agent_id AND ~pl.account_id = $1 AND ~pl.id = ~sc.place_id";

/// When the row was seen last. 0 stands for when it was taken out.
pub(crate) const SEEN_AT: &str = "CASE ~c.last_seen_at WHEN 0 THEN ~c.gone_at ELSE \
    COALESCE(~c.last_seen_at, CASE WHEN ~sc.follows = 1 THEN ~so.observed_at ELSE ~sc.seen_at END) END";

/// When a scope itself was seen last.
pub(crate) const SCOPE_SEEN_AT: &str = "CASE WHEN ~sc.follows = 1 THEN ~so.observed_at ELSE ~sc.seen_at END";

/// Of two rows that tell of one container, the cluster's is shown: lower is shown first.
pub(crate) const RANK: &str = "CASE WHEN ~pl.kind = 'cluster' THEN 0 ELSE 1 END";

/// The text with each `~` replaced.
pub(crate) fn named(text: &str, prefix: &str) -> String {
    text.replace('~', prefix)
}

/// The rule, with the time and the default of one question.
#[derive(Debug, Clone)]
pub(crate) struct Visible {
    now: String,
    ttl: String,
}

impl Visible {
    /// Binds the server's clock, in milliseconds since 1970, and the time to live.
    pub(crate) fn new(statement: &mut Statement, now: i64, retention: Retention) -> Self {
        Self { now: statement.bind(now), ttl: statement.bind(retention.ttl_days) }
    }

    /// Whether the row counts by its time to live: 0 for ever; -1 while the latest report has it; else so many days from
    /// when it was seen last.
    /// What somebody has taken out does not, whatever that is.
    pub(crate) fn counts(&self) -> String {
        self.counts_at("WHEN ~c.last_seen_at = 0 THEN FALSE", SEEN_AT, "~c.gone_at IS NULL AND ~sc.gone_at IS NULL")
    }

    /// The same of a scope itself.
    pub(crate) fn scope_counts(&self) -> String {
        self.counts_at("", SCOPE_SEEN_AT, "~sc.gone_at IS NULL")
    }

    /// Whether what was there at a time had been seen lately enough to count then.
    pub(crate) fn counted_at(&self, at: &str) -> String {
        let ttl = format!("COALESCE(~so.ttl_days, {})", self.ttl);
        format!("CASE WHEN {ttl} <= 0 THEN TRUE WHEN {SEEN_AT} >= {at} - {ttl} * {DAY} THEN TRUE ELSE FALSE END")
    }

    fn counts_at(&self, removed: &str, seen_at: &str, is_there: &str) -> String {
        let (now, ttl) = (&self.now, format!("COALESCE(~so.ttl_days, {})", self.ttl));
        format!(
            "CASE {removed} WHEN {ttl} = 0 THEN TRUE WHEN {ttl} < 0 THEN {is_there} \
             WHEN {seen_at} >= {now} - {ttl} * {DAY} THEN TRUE ELSE FALSE END"
        )
    }

    /// `gone`, `stale` or `present`.
    pub(crate) fn status(&self) -> String {
        format!(
            "CASE WHEN ~c.gone_at IS NOT NULL OR ~sc.gone_at IS NOT NULL THEN 'gone' \
             WHEN ~c.last_seen_at IS NOT NULL OR ~sc.follows = 0 OR {} THEN 'stale' ELSE 'present' END",
            self.silent()
        )
    }

    /// `gone`, `stale` or `present`, of a scope.
    pub(crate) fn scope_status(&self) -> String {
        format!(
            "CASE WHEN ~sc.gone_at IS NOT NULL THEN 'gone' WHEN ~sc.follows = 0 OR {} THEN 'stale' ELSE 'present' END",
            self.silent()
        )
    }

    /// Whether the agent's next report is overdue.
    pub(crate) fn silent(&self) -> String {
        format!("(~ag.valid_for IS NOT NULL AND ~ag.received_at + ~ag.valid_for < {})", self.now)
    }

    /// Rows of a status that count.
    pub(crate) fn shows(&self, shown: Shown) -> String {
        let condition = match shown {
            // Said of the columns themselves, so that indexes of what is not gone serve.
            Shown::Current => "~c.gone_at IS NULL AND ~sc.gone_at IS NULL".to_owned(),
            Shown::Present => format!("~c.gone_at IS NULL AND {}", is(&self.status(), "present")),
            Shown::Stale => format!("~c.gone_at IS NULL AND {}", is(&self.status(), "stale")),
            Shown::Gone => is(&self.status(), "gone"),
            Shown::All => "1 = 1".to_owned(),
        };
        format!("{condition} AND {}", self.counts())
    }

    /// Scopes of a status that count.
    pub(crate) fn shows_scope(&self, shown: Shown) -> String {
        let condition = match shown {
            Shown::Current => "~sc.gone_at IS NULL".to_owned(),
            Shown::Present => is(&self.scope_status(), "present"),
            Shown::Stale => is(&self.scope_status(), "stale"),
            Shown::Gone => "~sc.gone_at IS NOT NULL".to_owned(),
            Shown::All => "1 = 1".to_owned(),
        };
        format!("{condition} AND {}", self.scope_counts())
    }
}

/// Whether a status is a certain one. As a case of its own: PostgreSQL takes what equals a constant for rare, and would look for all of
/// what most are before it sorts a page.
fn is(status: &str, word: &str) -> String {
    format!("CASE WHEN {status} = '{word}' THEN TRUE ELSE FALSE END")
}

impl Shown {
    /// Whether rows that are gone cannot be among them.
    pub(crate) fn is_there(self) -> bool {
        matches!(self, Self::Current | Self::Present | Self::Stale)
    }
}
