-- What the server looks at itself, where no agent runs. Times are milliseconds since 1970 (UTC), by the database's clock: replicas
-- agree on it.
CREATE TABLE agentless (
    account_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    -- Also the name of its cluster or host, where the runtime does not say one.
    name TEXT NOT NULL,
    -- kubernetes, docker
    kind TEXT NOT NULL,
    -- Where it is, who vouches for it, and how the server says who it is (JSON). No secret is in it.
    destination TEXT NOT NULL,
    -- What is looked at of it (JSON).
    selection TEXT NOT NULL,
    -- The secret: AES-256-GCM, with its nonce before it. Bound to the account, the id and the destination.
    credential BYTEA,
    -- Which key opens it.
    key_id TEXT,
    interval_seconds BIGINT NOT NULL,
    enabled BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- When the next look is due.
    next_at BIGINT NOT NULL,
    -- How many looks were begun: the number of the latest one, and of its report.
    looks BIGINT NOT NULL DEFAULT 0,
    -- Which process looks, and until when it has to say that it still does.
    lease_by TEXT,
    lease_until BIGINT,
    -- How many looks in a row have seen nothing.
    failures BIGINT NOT NULL DEFAULT 0,
    -- Of the latest look that ended: when that was, and what came of it.
    looked_at BIGINT,
    took BIGINT,
    coverage TEXT,
    reason TEXT,
    -- How many scopes were seen how (JSON).
    scopes TEXT,
    -- Messages (JSON).
    warnings TEXT,
    -- When a look last saw something.
    seen_at BIGINT,
    -- Which cluster or host it was, by its uid or id: part of the identity of who reports. Nothing if nobody knows yet.
    seen_as TEXT,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, name)
);
-- What is due is looked for in all accounts at once.
CREATE INDEX agentless_next ON agentless (next_at) WHERE enabled = 1;
