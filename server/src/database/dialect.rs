//! In what the two databases differ.

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Dialect {
    /// What a connection is set to.
    pub(super) fn settings(self) -> &'static str {
        match self {
            // `synchronous=FULL`: an acknowledged report survives a power cut.
            Self::Sqlite => {
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=10000; PRAGMA foreign_keys=ON; \
                 PRAGMA cache_size=-8000; PRAGMA temp_store=MEMORY;"
            }
            // Tables are joined in the order in which statements name them, as SQLite does it, too: PostgreSQL would look for a better
            // order of ten tables for longer than the answer takes. So do compiling and starting workers, which pay for reports of hours.
            Self::Postgres => {
                "SET join_collapse_limit = 1; SET from_collapse_limit = 1; SET jit = off; SET max_parallel_workers_per_gather = 0;"
            }
        }
    }

    /// The type of a column of bytes.
    pub(crate) fn bytes(self) -> &'static str {
        match self {
            Self::Sqlite => "BLOB",
            Self::Postgres => "BYTEA",
        }
    }

    /// What locks the rows that a SELECT finds until the transaction ends. SQLite has one writer anyway.
    pub(crate) fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE",
        }
    }

    /// The database's clock, in milliseconds since 1970; the same throughout a statement.
    pub(crate) fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)",
            Self::Postgres => "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)",
        }
    }

    /// Where one text is in another: 0 if it is not.
    pub(crate) fn position(self, what: &str, within: &str) -> String {
        match self {
            Self::Sqlite => format!("instr({within}, {what})"),
            Self::Postgres => format!("strpos({within}, {what})"),
        }
    }

    /// Behind a column: that it is one of the integers of a parameter, a text that [`Self::list`] makes.
    pub(crate) fn one_of(self, parameter: &str) -> String {
        match self {
            Self::Sqlite => format!("IN (SELECT value FROM json_each({parameter}))"),
            Self::Postgres => format!("= ANY (CAST(string_to_array({parameter}, ',') AS BIGINT[]))"),
        }
    }

    /// Integers as a text that is one parameter, so that the statement is the same for any number of them.
    pub(crate) fn list(self, integers: impl IntoIterator<Item = i64>) -> String {
        let integers: Vec<String> = integers.into_iter().map(|integer| integer.to_string()).collect();
        match self {
            Self::Sqlite => format!("[{}]", integers.join(",")),
            Self::Postgres => integers.join(","),
        }
    }

    /// After a table's name: the index that SQLite, whose planner knows no sizes, is to take. PostgreSQL knows them.
    pub(crate) fn indexed_by(self, index: &str) -> String {
        match self {
            Self::Sqlite => format!(" INDEXED BY {index}"),
            Self::Postgres => String::new(),
        }
    }
}
