-- Who may do what. Times are milliseconds since 1970 (UTC).

-- People, and programs with a password. HTTP Basic names no account: a name is of one user within the whole server.
CREATE TABLE account_user (
    name TEXT NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL,
    -- Argon2id, as a PHC string.
    password TEXT NOT NULL,
    -- admin, read-write, read-only, inventory-agent
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- Another number with each change, which no user ever had before: what was known of a user with another one is void.
    revision BIGINT NOT NULL
);
CREATE INDEX account_user_account ON account_user (account_id, name);

CREATE TABLE api_token (
    account_id BIGINT NOT NULL,
    -- No user's revision, and no other token's that there ever was.
    id BIGINT NOT NULL,
    name TEXT NOT NULL,
    -- SHA-256 of the secret's 32 random bytes.
    hash BYTEA NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    -- To about a minute.
    last_used_at BIGINT,
    PRIMARY KEY (account_id, name)
);
-- Whether a credential is of use still.
CREATE INDEX api_token_id ON api_token (id);
CREATE INDEX account_user_revision ON account_user (revision);

-- Who did what, or tried to. Never altered.
CREATE TABLE audit (
    account_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    id BIGINT NOT NULL,
    -- A user's or token's name, behind `ACCOUNT/` where it is another account's.
    who TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (account_id, at, id)
);
