-- The inventory. Every key is led by the account, so that no query can leave it, and a sharding PostgreSQL can split by it.
-- Times are milliseconds since 1970 (UTC). Rows that come and go have `first_seen_at`; `last_seen_at` only if they were not in
-- the latest look at their scope (else the scope's time is theirs), 0 if somebody has taken them out of the inventory; `gone_at`
-- once a complete look did not find them, or they were taken out.

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    -- Number of the account's latest event. Raised near the end of a transaction, and locked from then on, so that events are
    -- numbered in the order in which they are committed.
    last_event INTEGER NOT NULL DEFAULT 0
);

-- Identifiers are handed out in blocks, each in a transaction of its own: nobody waits for another's ingest.
CREATE TABLE id_block (next INTEGER NOT NULL);
INSERT INTO id_block VALUES (1);

-- Not `WITHOUT ROWID`: SQLite would read the manifest, which is long, whenever it passes the row.
CREATE TABLE agent (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    -- As the agent reports it, or made from the name of the machine where it reports none.
    uuid TEXT NOT NULL,
    -- stocktake, bundle, kai, k8s-inventory, ecs-inventory
    kind TEXT NOT NULL,
    version TEXT NOT NULL,
    hostname TEXT,
    -- Which reports are here: by run the numbers, and those missing in between (JSON).
    runs TEXT NOT NULL,
    report_id TEXT NOT NULL,
    reported_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    valid_for INTEGER,
    clock_skew INTEGER NOT NULL DEFAULT 0,
    -- The manifest that was acknowledged last, compressed: the dictionary of the next one.
    manifest_digest BLOB,
    manifest BLOB,
    -- What it was reported with: a token's id or a user's revision. Nothing where the server looked itself.
    credential INTEGER,
    first_seen_at INTEGER NOT NULL,
    -- Raised by whoever changes what a heartbeat goes by.
    revision INTEGER NOT NULL,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, uuid)
);

-- A cluster or a host.
CREATE TABLE place (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    -- cluster, host
    kind TEXT NOT NULL,
    -- What identifies it: a cluster's uid, a machine's id, else its name.
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, kind, key)
) WITHOUT ROWID;
CREATE INDEX place_name ON place (account_id, name);

-- What one collector of one agent looks at.
CREATE TABLE source (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    agent_id INTEGER NOT NULL,
    place_id INTEGER NOT NULL,
    -- What it calls its cluster, if it is configured to call it something; others may call the same one otherwise.
    cluster_name TEXT,
    collector TEXT NOT NULL,
    kind TEXT NOT NULL,
    runtime_name TEXT,
    runtime_version TEXT,
    observed_at INTEGER NOT NULL,
    coverage TEXT NOT NULL,
    reason TEXT,
    shown TEXT NOT NULL,
    -- Messages (JSON).
    warnings TEXT NOT NULL,
    -- Another time to live than the server's, in days.
    ttl_days INTEGER,
    first_seen_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, agent_id, collector)
) WITHOUT ROWID;
CREATE INDEX source_place ON source (account_id, place_id);

-- The smallest thing that is seen completely or not.
CREATE TABLE scope (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    place_id INTEGER NOT NULL,
    -- Who told of it last.
    source_id INTEGER NOT NULL,
    collector TEXT NOT NULL,
    -- The collector's type: kubernetes, docker, …
    kind TEXT NOT NULL,
    -- cluster, namespace, node, host
    scope_kind TEXT NOT NULL,
    name TEXT NOT NULL,
    -- `cluster/namespace`, or `host`, or `host/namespace`: as people name it.
    context TEXT NOT NULL,
    coverage TEXT NOT NULL,
    reason TEXT,
    counts TEXT NOT NULL,
    -- The body that was told last, and the one that the rows below are of: another one while looks are partial.
    told_digest BLOB,
    base_digest BLOB,
    -- 1 if the latest report of its source has seen it: then the source's time is the scope's. Else it was seen at `seen_at`: 0 if
    -- it should have been seen since, 2 if its source tells of some scopes now and of others later.
    follows INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    first_seen_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    gone_at INTEGER,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, place_id, kind, collector, scope_kind, name)
) WITHOUT ROWID;
CREATE INDEX scope_source ON scope (account_id, source_id);
CREATE INDEX scope_context ON scope (account_id, context);
CREATE INDEX scope_name ON scope (account_id, name);
CREATE INDEX scope_base ON scope (account_id, base_digest);
CREATE INDEX scope_told ON scope (account_id, told_digest);

-- Bodies of scopes (JSON, zstd), by their SHA-256.
CREATE TABLE body (
    account_id INTEGER NOT NULL,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    -- Before the content, which is long: it is looked at without it.
    touched_at INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (account_id, digest)
);

-- Who has sent a body, by the token's id or the user's revision: nobody else may name it without sending it. Goes with the body, or
-- with the credential.
CREATE TABLE body_sender (
    account_id INTEGER NOT NULL,
    digest BLOB NOT NULL,
    credential INTEGER NOT NULL,
    PRIMARY KEY (account_id, digest, credential)
) WITHOUT ROWID;

-- Reports of nobody who counts: bundles.
CREATE TABLE bundle (
    account_id INTEGER NOT NULL,
    report_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, report_id)
) WITHOUT ROWID;

-- What is known of an image, all of it. The same image may stand here several times, as different runtimes know different
-- things of it; `identity` is then the same.
CREATE TABLE image (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    hash BLOB NOT NULL,
    identity TEXT NOT NULL,
    index_digest TEXT,
    manifest_digest TEXT,
    config_digest TEXT,
    platform TEXT,
    size_bytes INTEGER,
    -- An `Image` of the model without its `id` (JSON).
    facts TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, hash)
) WITHOUT ROWID;
CREATE INDEX image_identity ON image (account_id, identity);
CREATE INDEX image_manifest ON image (account_id, manifest_digest);
CREATE INDEX image_config ON image (account_id, config_digest);

-- Each digest that an image is known by. `kind`: index, manifest, config, repo.
CREATE TABLE image_digest (
    account_id INTEGER NOT NULL,
    digest TEXT NOT NULL,
    image_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (account_id, digest, image_id, kind)
) WITHOUT ROWID;

-- Each repository, and tag in it, that an image is known under. Repositories are canonical: docker.io/library/nginx.
CREATE TABLE image_tag (
    account_id INTEGER NOT NULL,
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    image_id INTEGER NOT NULL,
    PRIMARY KEY (account_id, repository, tag, image_id)
) WITHOUT ROWID;

-- Names of images as they were asked for.
CREATE TABLE image_name (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, name)
) WITHOUT ROWID;
CREATE INDEX image_name_repository ON image_name (account_id, repository, tag);
CREATE INDEX image_name_tag ON image_name (account_id, tag);

-- An image in use in a scope, under a name.
CREATE TABLE image_use (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    scope_id INTEGER NOT NULL,
    image_id INTEGER NOT NULL,
    name_id INTEGER NOT NULL,
    -- How many containers use it; 0 where containers are not told of, or once it is gone.
    containers INTEGER NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    gone_at INTEGER,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, scope_id, image_id, name_id),
    FOREIGN KEY (account_id, image_id) REFERENCES image (account_id, id),
    FOREIGN KEY (account_id, name_id) REFERENCES image_name (account_id, id)
) WITHOUT ROWID;
CREATE INDEX image_use_image ON image_use (account_id, image_id);
CREATE INDEX image_use_name ON image_use (account_id, name_id);
CREATE INDEX image_use_left ON image_use (account_id, id) WHERE gone_at IS NULL AND last_seen_at IS NOT NULL;
CREATE INDEX image_use_gone ON image_use (account_id, gone_at) WHERE gone_at IS NOT NULL;

-- Sets of labels: a replica's are those of all others.
CREATE TABLE label_set (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    hash BLOB NOT NULL,
    labels TEXT NOT NULL,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, hash)
) WITHOUT ROWID;
CREATE TABLE label (
    account_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    set_id INTEGER NOT NULL,
    PRIMARY KEY (account_id, key, value, set_id)
) WITHOUT ROWID;

CREATE TABLE node (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    scope_id INTEGER NOT NULL,
    key INTEGER NOT NULL,
    name TEXT NOT NULL,
    -- A `Node` of the model (JSON).
    facts TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    gone_at INTEGER,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX node_key ON node (account_id, scope_id, key);
CREATE INDEX node_gone ON node (account_id, gone_at) WHERE gone_at IS NOT NULL;

CREATE TABLE namespace (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    scope_id INTEGER NOT NULL,
    key INTEGER NOT NULL,
    name TEXT NOT NULL,
    -- A `Namespace` of the model (JSON).
    facts TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    gone_at INTEGER,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX namespace_key ON namespace (account_id, scope_id, key);
CREATE INDEX namespace_gone ON namespace (account_id, gone_at) WHERE gone_at IS NOT NULL;

CREATE TABLE workload (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    scope_id INTEGER NOT NULL,
    key INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    namespace TEXT,
    api_version TEXT,
    uid TEXT,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    gone_at INTEGER,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX workload_key ON workload (account_id, scope_id, key);
CREATE INDEX workload_name ON workload (account_id, name);
CREATE INDEX workload_gone ON workload (account_id, gone_at) WHERE gone_at IS NOT NULL;

CREATE TABLE pod (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    scope_id INTEGER NOT NULL,
    key INTEGER NOT NULL,
    -- As `words::pack` makes it.
    uid BLOB NOT NULL,
    name TEXT NOT NULL,
    -- Where it is not the scope's name.
    namespace TEXT,
    node_name TEXT,
    phase TEXT,
    workload_id INTEGER,
    labels_id INTEGER,
    created_at INTEGER,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    gone_at INTEGER,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX pod_key ON pod (account_id, scope_id, key);
CREATE INDEX pod_namespace ON pod (account_id, namespace) WHERE namespace IS NOT NULL;
CREATE INDEX pod_node ON pod (account_id, node_name) WHERE gone_at IS NULL;
CREATE INDEX pod_workload ON pod (account_id, workload_id) WHERE gone_at IS NULL;
CREATE INDEX pod_labels ON pod (account_id, labels_id) WHERE gone_at IS NULL;
CREATE INDEX pod_name ON pod (account_id, name) WHERE gone_at IS NULL;
CREATE INDEX pod_there ON pod (account_id, id) WHERE gone_at IS NULL;
CREATE INDEX pod_left ON pod (account_id, id) WHERE gone_at IS NULL AND last_seen_at IS NOT NULL;
CREATE INDEX pod_gone ON pod (account_id, gone_at) WHERE gone_at IS NOT NULL;

CREATE TABLE container (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    scope_id INTEGER NOT NULL,
    key INTEGER NOT NULL,
    image_use_id INTEGER NOT NULL,
    pod_id INTEGER,
    -- Its own; else it is the pod's.
    workload_id INTEGER,
    labels_id INTEGER,
    -- As `words::pack` makes it.
    runtime_id BLOB,
    name TEXT NOT NULL,
    -- Positions in the lists of `words.rs`.
    kind INTEGER NOT NULL,
    state INTEGER NOT NULL,
    state_reason TEXT,
    -- Only of a container without a pod; else it is the pod's.
    node_name TEXT,
    exit_code INTEGER,
    restart_count INTEGER,
    created_at INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    gone_at INTEGER,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX container_key ON container (account_id, scope_id, key);
CREATE INDEX container_image_use ON container (account_id, image_use_id);
CREATE INDEX container_pod ON container (account_id, pod_id);
CREATE INDEX container_workload ON container (account_id, workload_id) WHERE gone_at IS NULL AND workload_id IS NOT NULL;
CREATE INDEX container_labels ON container (account_id, labels_id) WHERE gone_at IS NULL AND labels_id IS NOT NULL;
CREATE INDEX container_runtime_id ON container (account_id, substr(runtime_id, 1, 8));
CREATE INDEX container_node ON container (account_id, node_name) WHERE node_name IS NOT NULL;
CREATE INDEX container_name ON container (account_id, name) WHERE gone_at IS NULL;
-- What is there, in the order of keys, of which the first of a long history are gone: all, what most are not, what was not seen.
CREATE INDEX container_there ON container (account_id, id) WHERE gone_at IS NULL;
CREATE INDEX container_state ON container (account_id, state, id) WHERE gone_at IS NULL AND state <> 2;
CREATE INDEX container_kind ON container (account_id, kind, id) WHERE gone_at IS NULL AND kind <> 0;
CREATE INDEX container_left ON container (account_id, id) WHERE gone_at IS NULL AND last_seen_at IS NOT NULL;
CREATE INDEX container_gone ON container (account_id, gone_at) WHERE gone_at IS NOT NULL;

-- Identifiers that the rows of several containers have, or had: several sources see that container. Whatever is not here is of one row,
-- so that nobody need look for another.
CREATE TABLE shared_container (
    account_id INTEGER NOT NULL,
    runtime_id BLOB NOT NULL,
    PRIMARY KEY (account_id, runtime_id)
) WITHOUT ROWID;

-- What changed. Written with the change, never altered, removed only with age.
CREATE TABLE event (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    -- 1 appeared, 2 disappeared, 3 changed
    kind INTEGER NOT NULL,
    -- 1 container, 2 image (a row of image_use)
    entity INTEGER NOT NULL,
    entity_id INTEGER NOT NULL,
    scope_id INTEGER NOT NULL,
    -- What changed, from what to what (JSON).
    detail TEXT,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX event_at ON event (account_id, at);
CREATE INDEX event_scope ON event (account_id, scope_id, id);

-- Agents of Anchore that have registered (`/v2/system/integrations`).
CREATE TABLE integration (
    account_id INTEGER NOT NULL,
    uuid TEXT NOT NULL,
    -- What is the same when it registers again.
    registration_id TEXT NOT NULL,
    registration_instance_id TEXT NOT NULL,
    -- What it told when it registered last (JSON).
    told TEXT NOT NULL,
    interval_seconds INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    -- Of its latest health report: when it came, how long the agent ran by then (a number as text), for which accounts it reports,
    -- and what went wrong (JSON).
    health_at INTEGER,
    uptime_seconds TEXT,
    accounts TEXT NOT NULL,
    errors TEXT NOT NULL,
    PRIMARY KEY (account_id, uuid),
    UNIQUE (account_id, registration_id, registration_instance_id)
) WITHOUT ROWID;
