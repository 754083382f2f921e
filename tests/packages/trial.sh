#!/bin/bash
# Runs in a plain Debian with systemd and without a network, as the `packages` suite boots it: installs the packages that lie
# beside it, uses them as an operator does, replaces them by a later version, removes and purges them. Docker's socket is
# the bed's. The last line says that all is as it should be; the first that is not ends it.
set -euo pipefail
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive DOCKER_HOST=unix:///trial/docker.sock

say() { printf '%s\n' "$*"; }

# expect WHAT COMMAND…
expect() {
    local what=$1
    shift
    "$@" >/trial/last 2>&1 || {
        say "FAILED $what: $*"
        cat /trial/last
        journalctl --no-pager --quiet --lines 40 --unit stocktake-agent --unit stocktake-server || true
        exit 1
    }
    say "ok $what"
}

is() { [ "$1" = "$2" ] || { printf '%s, and not %s\n' "$1" "$2" && false; }; }
gone() { [ ! -e "$1" ] && [ ! -L "$1" ] || { printf '%s is there\n' "$1" && false; }; }
property() { systemctl show --value --property "$2" "stocktake-$1"; }
fails() { ! "$@"; }

# soon COMMAND… : for what happens by itself. The limit is for a machine that is stuck.
soon() {
    local tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || return 1
        sleep 0.2
    done
}

# Of the kernel, since a plain Debian has no pgrep.
no_process() { ! grep -qs "^stocktake" /proc/[0-9]*/comm; }

sees_the_bed() { stocktake containers --output json | grep -q '"bed-running"'; }

install_them() {
    groupadd --system --gid "$(stat -c %g /trial/docker.sock)" docker
    expect "installed" dpkg --install stocktake-agent.deb stocktake-server.deb stocktake.deb
    local name
    for name in agent server; do
        expect "the $name is not enabled" is "$(systemctl is-enabled "stocktake-$name" || true)" disabled
        expect "the $name is not started" is "$(property "$name" ActiveState)" inactive
        expect "root alone reads secrets of the $name" is "$(stat -c '%a %U' "/etc/stocktake/$name.credentials")" "700 root"
        expect "completions of the $name" bash -n "/usr/share/bash-completion/completions/stocktake-$name"
        expect "the manual of the $name" has_manual "stocktake-$name" 8
        expect "documents of the $name lead to each other" documents_are_whole "/usr/share/doc/stocktake-$name"
        expect "the unit of the $name" systemd-analyze verify --man=no "stocktake-$name.service"
    done
    expect "the manual of the command line" has_manual stocktake 1
    expect "the agent checks its configuration and Docker" stocktake-agent check --config /etc/stocktake/agent.toml
    expect "the agent sees the bed" sh -c "stocktake-agent collect --config /etc/stocktake/agent.toml | grep -q bed-running"
    systemctl start stocktake-agent
    expect "an agent without a target gives up" soon is_failed_for_good
}

# has_manual PROGRAM SECTION : a page of the program and one of each of its commands, which a plain Debian has no `man` to show.
has_manual() {
    local folder=/usr/share/man/man$2 commands command
    commands=$("$1" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]\+\) .*/\1/p')
    [ -n "$commands" ] || return 1
    for command in "" $commands; do
        [ "$command" != help ] || continue
        gzip --decompress --stdout "$folder/$1${command:+-$command}.$2.gz" | grep -q '^\.SH SYNOPSIS' || return 1
    done
}

# Whatever a document in the folder leads to in that folder is there.
documents_are_whole() {
    local link
    [ -e "$1/install.md" ] && [ -e "$1/operations.md" ] && [ -e "$1/security.md" ] || return 1
    for link in $(grep -ho '](\([a-z-]*\.[a-z.]*\)[)#]' "$1"/*.md | tr -d '](#)' | sort -u); do
        [ -e "$1/$link" ] || { echo "there is no $1/$link" && return 1; }
    done
}

is_failed_for_good() { [ "$(property agent ActiveState)/$(property agent ExecMainStatus)/$(property agent NRestarts)" = failed/78/0 ]; }

use_them() {
    # The folder is root's then, and the service's from its first start on.
    expect "a token before the server has started" sh -c \
        "stocktake-server token add web-7 >/etc/stocktake/agent.credentials/token 2>told && grep -q '/inventory.db yet' told"
    expect "the server is enabled and starts" systemctl enable --now stocktake-server
    expect "the server keeps its database" soon test -s /var/lib/stocktake-server/inventory.db
    printf 'a long enough password\n' >password
    expect "a user" soon sh -c "stocktake-server user add jo --role read-only <password"
    sed -i 's|^# states = .*|host = "unix:///trial/docker.sock"\nstates = ["all"]|' /etc/stocktake/agent.toml
    cat >>/etc/stocktake/agent.toml <<TOML
[targets.stocktake]
url = "http://127.0.0.1:8228"
token_file = "/run/credentials/stocktake-agent.service/agent_token"
TOML
    cp /etc/stocktake/agent.toml edited.toml
    expect "the agent is enabled and starts" systemctl enable --now stocktake-agent
    export STOCKTAKE_USER=jo STOCKTAKE_PASSWORD='a long enough password'
    expect "what the agent sees is in the server" soon sees_the_bed
    expect "the agent is ready" soon stocktake-agent status
    expect "it is nobody's process" fails is "$(stat -c %u "/proc/$(property agent MainPID)")" 0
    expect "it reads its configuration again" systemctl reload stocktake-agent
}

upgrade_them() {
    local pid agent
    pid=$(property agent MainPID)
    agent=$(sha256sum /var/lib/stocktake/spool/agent.json)
    expect "upgraded" dpkg --force-confold --install later/stocktake-agent.deb later/stocktake-server.deb later/stocktake.deb
    expect "the later version" is "$(dpkg-query --show --showformat '${Version}' stocktake-agent)" "$(cat later/version)"
    expect "the edited configuration is kept" cmp edited.toml /etc/stocktake/agent.toml
    expect "the new one is beside it" grep -q 'of a later version' /etc/stocktake/agent.toml.dpkg-dist
    expect "one that nobody has edited is replaced" grep -q 'of a later version' /etc/stocktake/server.toml
    expect "secrets are kept" test -s /etc/stocktake/agent.credentials/token
    expect "the agent is who it was" is "$(sha256sum /var/lib/stocktake/spool/agent.json)" "$agent"
    expect "the agent runs" is "$(property agent ActiveState)" active
    expect "it is another process" fails is "$(property agent MainPID)" "$pid"
    expect "it is enabled" is "$(systemctl is-enabled stocktake-agent)" enabled
    expect "the inventory is kept" soon sees_the_bed
}

remove_them() {
    expect "removed" dpkg --remove stocktake-agent stocktake-server stocktake
    expect "the agent is stopped" no_process
    expect "no program is left" fails ls /usr/bin/stocktake*
    expect "the configuration is kept" cmp edited.toml /etc/stocktake/agent.toml
    expect "secrets are kept" test -s /etc/stocktake/agent.credentials/token
    expect "the inventory is kept" test -s /var/lib/private/stocktake-server/inventory.db
    expect "purged" dpkg --purge stocktake-agent stocktake-server stocktake
    local inventory=/var/lib/private/stocktake-server path
    cp last purged
    expect "what is left is told" grep -q "the inventory is kept in $inventory" purged
    for path in /etc/stocktake /var/lib/stocktake /var/lib/private/stocktake /usr/share/man/man8/stocktake-agent.8.gz \
        /etc/systemd/system/multi-user.target.wants/stocktake-agent.service; do
        expect "without a trace" gone "$path"
    done
    expect "the inventory outlives it" test -s "$inventory/inventory.db"
    expect "installed once more" dpkg --install stocktake-server.deb stocktake.deb
    expect "the server starts once more" systemctl start stocktake-server
    expect "its inventory is there" soon sees_the_bed
    find_another_database
    expect "purged once more" dpkg --purge stocktake-server stocktake
    rm -r "$inventory" /var/lib/stocktake-server
    expect "installed a third time" dpkg --install stocktake-server.deb
    expect "purged without an inventory" dpkg --purge stocktake-server
    cp last purged
    expect "nothing is told of one" fails grep "is kept" purged
    expect "without a trace" gone "$inventory"
    expect "without a trace" gone /var/lib/stocktake-server
}

# As one has to be found whose URL has a password in it, which is not for the configuration. (There is no PostgreSQL here.)
find_another_database() {
    local another=/var/lib/stocktake-server/another.db
    printf '%s\n' "$another" >/etc/stocktake/server.credentials/database
    sed -i 's|^# database_file = |database_file = |' /etc/stocktake/server.toml
    systemctl restart stocktake-server
    expect "the server finds its database by a secret" soon test -s "$another"
}

install_them
use_them
upgrade_them
remove_them
say "all is as it should be"
