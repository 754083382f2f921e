# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used by the others
# What every part of the bed shares: where things live, how they speak, how a daemon is started, found again and ended.

# Fixed, because the tests and the documentation name them; never a default path of any daemon, so that
# a developer's own docker or cluster on the same machine is not touched.
BED_RUN=/run/stocktake-bed
BED_DATA=/var/lib/stocktake-bed
# Slow to make and slow to change, so it outlives `bed down` and the checkout.
BED_CACHE=${STOCKTAKE_BED_CACHE:-/var/cache/stocktake-bed}

BED_REGISTRY=127.0.0.1:15000
CONTAINERD_SOCKET=$BED_RUN/containerd/containerd.sock
DOCKER_SOCKET=$BED_RUN/docker/docker.sock
DOCKER_NEXT_SOCKET=$BED_RUN/docker-next/docker.sock
CONTAINERD_NEXT_SOCKET=$BED_RUN/docker-next/containerd.sock
PODMAN_SOCKET=$BED_RUN/podman/podman.sock
KUBERNETES_RUN=$BED_RUN/kubernetes

say() { printf 'bed: %s\n' "$*" >&2; }

die() {
    printf 'bed: error: %s\n' "$*" >&2
    exit 1
}

require_root() {
    [ "$(id -u)" = 0 ] || die "the bed starts container runtimes, which needs root: run it as root, or with sudo"
}

# --- waiting ---------------------------------------------------------------------------------------------------------

# wait_for SECONDS WHAT COMMAND… : the one place that polls, so that every wait is bounded and names what it waited for.
wait_for() {
    local seconds=$1 what=$2 deadline
    shift 2
    deadline=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            say "gave up after $seconds s waiting for $what"
            return 1
        fi
        sleep 0.1
    done
}

# --- running with a log ----------------------------------------------------------------------------------------------

# logged NAME COMMAND… : what a command prints is of interest only when it failed. In the background and waited for,
# because bash forgets `set -e` for whatever is the condition of an `if` or stands before `||`.
logged() {
    local name=$1 log
    shift
    mkdir -p "$BED_RUN/log"
    log=$(log_file "$name")
    ("$@") >"$log" 2>&1 &
    wait $! && return 0
    say "$name failed; the end of $log:"
    show_end_of "$log"
    die "$name failed: read the log above, then \`bed down\` and \`bed up\` to begin afresh," \
        "or STOCKTAKE_BED_SKIP to go without that component"
}

# Without the dump of every goroutine that follows a Go program's last words.
show_end_of() {
    sed '/^goroutine [0-9]/,$d' "$1" 2>/dev/null | tail -n 20 | sed 's/^/    /' >&2 || true
}

# --- daemons ---------------------------------------------------------------------------------------------------------

pid_file() { printf '%s/pid/%s.pid' "$BED_RUN" "$1"; }
log_file() { printf '%s/log/%s.log' "$BED_RUN" "$1"; }

# A pid alone is not an identity: after a reboot or a crash the number may belong to somebody else's process.
born() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The second field, the command's name, may hold spaces and brackets.
    read -ra stat <<<"${stat##*) }"
    [ "${stat[0]}" != Z ] || return 1
    printf '%s %s' "$(cat /proc/sys/kernel/random/boot_id)" "${stat[19]}"
}

# daemon_pid NAME: prints the pid if, and only if, it is still the process that we started.
daemon_pid() {
    local pid file
    file=$(pid_file "$1")
    [ -s "$file" ] && [ -s "$file.born" ] || return 1
    pid=$(<"$file")
    [ "$(born "$pid")" = "$(<"$file.born")" ] || return 1
    printf '%s' "$pid"
}

daemon_running() { daemon_pid "$1" >/dev/null; }

# daemon_start NAME COMMAND… : its own session, so that a Ctrl-C at the terminal ends `bed up` and not the daemon.
daemon_start() {
    local name=$1 pid
    shift
    mkdir -p "$BED_RUN/pid" "$BED_RUN/log"
    # The lock must not stay held by a daemon that inherited it.
    setsid "$@" >"$(log_file "$name")" 2>&1 </dev/null 9>&- &
    pid=$!
    printf '%s\n' "$pid" >"$(pid_file "$name")"
    born "$pid" >"$(pid_file "$name").born" || true
}

# daemon_ready NAME SECONDS COMMAND… : waits until COMMAND succeeds; a daemon that died is reported at once.
daemon_ready() {
    local name=$1 seconds=$2 deadline
    shift 2
    deadline=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        if ! daemon_running "$name"; then
            daemon_failed "$name" "ended while it was starting"
        elif [ "$SECONDS" -ge "$deadline" ]; then
            daemon_failed "$name" "did not answer within $seconds s"
        fi
        sleep 0.1
    done
}

daemon_failed() {
    local log
    log=$(log_file "$1")
    say "$1 $2; the end of $log:"
    show_end_of "$log"
    die "$1 $2: read the log above, then \`bed down\` and \`bed up\` to begin afresh," \
        "or STOCKTAKE_BED_SKIP to go without it"
}

# daemon_stop NAME [SIGNAL]
daemon_stop() {
    local name=$1 signal=${2:-TERM} pid tries=0
    if pid=$(daemon_pid "$name"); then
        kill "-$signal" "$pid" 2>/dev/null || true
        while daemon_running "$name"; do
            tries=$((tries + 1))
            [ "$tries" -lt 200 ] || kill -KILL "$pid" 2>/dev/null || true
            sleep 0.05
        done
    fi
    rm -f "$(pid_file "$name")" "$(pid_file "$name").born"
}

# --- the cache -------------------------------------------------------------------------------------------------------

# cached NAME FUNCTION : runs `FUNCTION DIRECTORY` unless the cache has NAME. The rename is the last step, so that
# what an interrupted build left behind is never taken for a finished one.
cached() {
    local final=$BED_CACHE/$1 work
    [ ! -d "$final" ] || return 0
    mkdir -p "$BED_CACHE"
    rm -rf "$final".unfinished.*
    work=$(mktemp -d "$final.unfinished.XXXXXX")
    chmod 755 "$work"
    "$2" "$work"
    mv "$work" "$final"
}

# --- taking away ---------------------------------------------------------------------------------------------------------

# Shims and their containers outlive a containerd that was killed, by design. They are found by our own socket on their
# command line and by our own cgroup, never by name.
shim_pids() {
    local socket=$1 file args pid
    for file in /proc/[0-9]*/cmdline; do
        args=$({ tr '\0' ' ' <"$file"; } 2>/dev/null) || continue
        case $args in
        *containerd-shim*" -address $socket "*)
            pid=${file#/proc/}
            printf '%s\n' "${pid%/cmdline}"
            ;;
        esac
    done
}

# remove_tasks SOCKET STATE_DIRECTORY
remove_tasks() {
    local socket=$1 state=$2 bundle address pid pods=''
    for pid in $(shim_pids "$socket"); do
        kill -KILL "$pid" 2>/dev/null || true
    done
    for bundle in "$state"/io.containerd.runtime.v2.task/*/*; do
        # Two things that no option of containerd or the kubelet moves: the shim's socket, and a pod's cgroup.
        address=$(cat "$bundle/address" 2>/dev/null || true)
        case $address in unix:///run/containerd/s/*) rm -f "${address#unix://}" ;; esac
        case $bundle in */k8s.io/*) pods="$pods${pods:+|}${bundle##*/}" ;; esac
    done
    [ -z "$pods" ] || remove_cgroups "k8s.io/($pods)"
    rmdir /sys/fs/cgroup/k8s.io /sys/fs/cgroup/*/k8s.io /run/containerd/s /run/containerd 2>/dev/null || true
}

# cgroups REGEX : deepest first, in whatever hierarchies the machine has.
cgroups() { find /sys/fs/cgroup -depth -type d -regextype posix-extended -regex ".*/$1(/.*)?" 2>/dev/null || true; }

# remove_cgroups REGEX : with all that runs in them.
remove_cgroups() {
    local found dir pid tries=0
    while [ "$tries" -lt 50 ]; do
        found=$(cgroups "$1")
        [ -n "$found" ] || break
        for dir in $found; do
            # A frozen container does not die.
            [ ! -e "$dir/freezer.state" ] || echo THAWED >"$dir/freezer.state" 2>/dev/null || true
            [ ! -e "$dir/cgroup.freeze" ] || echo 0 >"$dir/cgroup.freeze" 2>/dev/null || true
            while read -r pid; do
                kill -KILL "$pid" 2>/dev/null || true
            done < <(cat "$dir/cgroup.procs" 2>/dev/null)
            rmdir "$dir" 2>/dev/null || true
        done
        tries=$((tries + 1))
        sleep 0.02
    done
}

# mounts_below DIRECTORY : deepest first.
mounts_below() { awk -v d="$1/" 'index($5 "/", d) == 1 { print $5 }' /proc/self/mountinfo | sort -r; }

# remove_places COMPONENT : its containers, mounts and directories.
remove_places() {
    local dir point
    remove_cgroups "stocktake-bed/$1"
    for dir in "$BED_RUN/$1" "$BED_DATA/$1"; do
        mounts_below "$dir" | while read -r point; do
            # Lazily where a dying process still holds the place.
            umount "$point" 2>/dev/null || umount -l "$point" 2>/dev/null || true
        done
        rm -rf "$dir"
    done
}
