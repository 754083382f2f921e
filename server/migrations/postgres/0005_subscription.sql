-- Who is told of what changes. Times are milliseconds since 1970 (UTC).

CREATE TABLE subscription (
    account_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    name TEXT NOT NULL,
    -- Of a watch as Anchore's tools know it: its key, `cluster` or `cluster/namespace`, and its value, of which nothing is made.
    watch_key TEXT,
    watch_value TEXT,
    -- What it is on (JSON).
    wanted TEXT NOT NULL,
    -- Where it goes, as it is told (JSON); none if nobody is told of it. What of that is secret: AES-256-GCM, with its nonce before it, bound
    -- to the account and the id, and which key opens it.
    channel TEXT,
    sealed BYTEA,
    key_id TEXT,
    -- Whether anything is delivered.
    active BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- Another number with each change of the above.
    revision BIGINT NOT NULL,
    -- Number of the event up to which all that is wanted was taken, or put among the dead letters.
    taken BIGINT NOT NULL,
    delivered_at BIGINT,
    -- Since when, how often and why the next event is not taken, and when it is tried again.
    failing_since BIGINT,
    attempts BIGINT NOT NULL DEFAULT 0,
    next_at BIGINT,
    error TEXT,
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX subscription_watch ON subscription (account_id, watch_key) WHERE watch_key IS NOT NULL;

-- Events that a subscription's receiver did not take.
CREATE TABLE dead_letter (
    account_id BIGINT NOT NULL,
    subscription_id BIGINT NOT NULL,
    event_id BIGINT NOT NULL,
    -- The same, or the first of those up to it that were removed before they were told.
    first_event BIGINT NOT NULL,
    at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    -- 1 once somebody wants it to be tried again.
    is_due BIGINT NOT NULL,
    PRIMARY KEY (account_id, subscription_id, event_id)
);
CREATE INDEX dead_letter_due ON dead_letter (account_id, subscription_id) WHERE is_due = 1;

-- What one replica does for all: which one. It raises `beat` from time to time, else another one takes its place.
CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    beat BIGINT NOT NULL,
    -- Raised by whoever changes what is to be done.
    version BIGINT NOT NULL
);
INSERT INTO lease VALUES ('notify', '', 0, 0);

-- What is computed when it is asked for, and was noted as an event once it was so: agents that are silent, and scopes that are not seen
-- completely.
CREATE TABLE noted (
    account_id BIGINT NOT NULL,
    -- As of events: 3 agent, 4 scope.
    entity BIGINT NOT NULL,
    entity_id BIGINT NOT NULL,
    -- `silent`, or the scope's coverage.
    state TEXT NOT NULL,
    PRIMARY KEY (account_id, entity, entity_id)
);
CREATE INDEX scope_lost ON scope (account_id, id) WHERE coverage <> 'complete' AND gone_at IS NULL;
