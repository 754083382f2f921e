-- Who is told of what changes. Times are milliseconds since 1970 (UTC).

CREATE TABLE subscription (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    -- Of a watch as Anchore's tools know it: its key, `cluster` or `cluster/namespace`, and its value, of which nothing is made.
    watch_key TEXT,
    watch_value TEXT,
    -- What it is on (JSON).
    wanted TEXT NOT NULL,
    -- Where it goes, as it is told (JSON); none if nobody is told of it. What of that is secret: AES-256-GCM, with its nonce before it, bound
    -- to the account and the id, and which key opens it.
    channel TEXT,
    sealed BLOB,
    key_id TEXT,
    -- Whether anything is delivered.
    active INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- Another number with each change of the above.
    revision INTEGER NOT NULL,
    -- Number of the event up to which all that is wanted was taken, or put among the dead letters.
    taken INTEGER NOT NULL,
    delivered_at INTEGER,
    -- Since when, how often and why the next event is not taken, and when it is tried again.
    failing_since INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER,
    error TEXT,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX subscription_watch ON subscription (account_id, watch_key) WHERE watch_key IS NOT NULL;

-- Events that a subscription's receiver did not take.
CREATE TABLE dead_letter (
    account_id INTEGER NOT NULL,
    subscription_id INTEGER NOT NULL,
    event_id INTEGER NOT NULL,
    -- The same, or the first of those up to it that were removed before they were told.
    first_event INTEGER NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    -- 1 once somebody wants it to be tried again.
    is_due INTEGER NOT NULL,
    PRIMARY KEY (account_id, subscription_id, event_id)
) WITHOUT ROWID;
CREATE INDEX dead_letter_due ON dead_letter (account_id, subscription_id) WHERE is_due = 1;

-- What one replica does for all: which one. It raises `beat` from time to time, else another one takes its place.
CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    beat INTEGER NOT NULL,
    -- Raised by whoever changes what is to be done.
    version INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO lease VALUES ('notify', '', 0, 0);

-- What is computed when it is asked for, and was noted as an event once it was so: agents that are silent, and scopes that are not seen
-- completely.
CREATE TABLE noted (
    account_id INTEGER NOT NULL,
    -- As of events: 3 agent, 4 scope.
    entity INTEGER NOT NULL,
    entity_id INTEGER NOT NULL,
    -- `silent`, or the scope's coverage.
    state TEXT NOT NULL,
    PRIMARY KEY (account_id, entity, entity_id)
) WITHOUT ROWID;
CREATE INDEX scope_lost ON scope (account_id, id) WHERE coverage <> 'complete' AND gone_at IS NULL;
