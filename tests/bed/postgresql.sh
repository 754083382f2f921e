# shellcheck shell=bash
# PostgreSQL with a cluster of its own: loopback and a unix socket, its own data, a user who is not root. Debian's service and
# what it holds are not touched.

POSTGRESQL_BIN=/usr/lib/postgresql/15/bin
POSTGRESQL_RUN=$BED_RUN/postgresql
POSTGRESQL_DATA=$BED_DATA/postgresql
POSTGRESQL_PORT=15432
# Everybody on this machine who can connect may: nothing but tests' databases is in it, and it is gone with `bed down`.
# shellcheck disable=SC2034 # `bed env` says it
POSTGRESQL_URL=postgres://stocktake@127.0.0.1:$POSTGRESQL_PORT/postgres

postgresql_packages() { echo postgresql-15; }

postgresql_prepare() { :; }

postgresql_healthy() {
    daemon_running postgresql && "$POSTGRESQL_BIN/pg_isready" -q -h 127.0.0.1 -p "$POSTGRESQL_PORT" -t 5
}

# as_postgres COMMAND… : the server refuses to run as root. The package brings the user.
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }

postgresql_start() {
    mkdir -p "$POSTGRESQL_RUN" "$POSTGRESQL_DATA"
    chown postgres: "$POSTGRESQL_RUN" "$POSTGRESQL_DATA"
    chmod 700 "$POSTGRESQL_DATA"
    logged initdb-postgresql postgresql_initialise
    # `fsync=off`: what a test's database costs is not what is measured, and a power cut is not survived by a test anyway.
    daemon_start postgresql setpriv --reuid postgres --regid postgres --clear-groups "$POSTGRESQL_BIN/postgres" \
        -D "$POSTGRESQL_DATA" -k "$POSTGRESQL_RUN" -h 127.0.0.1 -p "$POSTGRESQL_PORT" \
        -c fsync=off -c max_connections=200
    daemon_ready postgresql 30 postgresql_healthy
}

postgresql_initialise() {
    as_postgres "$POSTGRESQL_BIN/initdb" -D "$POSTGRESQL_DATA" -U stocktake --auth trust --encoding UTF8 --locale C
}

postgresql_content() { :; }

# INT is the fast way: it does not wait for who is connected.
postgresql_stop() { daemon_stop postgresql INT; }

postgresql_clean() { remove_places postgresql; }
