# shellcheck shell=bash
# LXC: no daemon, only containers, each with a monitor of its own. The stock agent has no collector for it; the example in
# `examples/lxc` has.

# Part of a container's address: LXC's tools do not find it by another name of the same folder.
LXC_PATH=$BED_DATA/lxc

lxc_packages() { echo busybox-static lxc; }

lxc_prepare() { :; }

lxc_state() { lxc-info -P "$LXC_PATH" -n "$1" -sH; }

lxc_healthy() {
    [ "$(lxc_state bed-lxc-running)" = RUNNING ] && [ "$(lxc_state bed-lxc-frozen)" = FROZEN ] &&
        [ "$(lxc_state bed-lxc-stopped)" = STOPPED ]
}

lxc_start() { mkdir -p "$LXC_PATH"; }

lxc_content() { logged content-lxc lxc_content_create; }

lxc_content_create() {
    local name
    for name in bed-lxc-running bed-lxc-frozen bed-lxc-stopped; do
        lxc_define "$name"
    done
    for name in bed-lxc-running bed-lxc-frozen; do
        # The lock must not stay held by a monitor that inherited it.
        lxc-start -P "$LXC_PATH" -n "$name" 9>&-
    done
    lxc-freeze -P "$LXC_PATH" -n bed-lxc-frozen
    wait_for 10 "the containers' states" lxc_healthy
}

# lxc_define NAME
lxc_define() {
    local dir=$LXC_PATH/$1
    mkdir -p "$dir"/rootfs/{bin,dev,proc,sys}
    cp /bin/busybox "$dir/rootfs/bin/busybox"
    cat >"$dir/config" <<CONFIG
lxc.uts.name = $1
lxc.rootfs.path = dir:$dir/rootfs
lxc.net.0.type = empty
lxc.cgroup.dir = stocktake-bed/lxc/$1
lxc.init.cmd = /bin/busybox sleep 1000000
CONFIG
}

lxc_stop() {
    local dir
    for dir in "$LXC_PATH"/*/; do
        [ -e "$dir/config" ] || continue
        timeout 20 lxc-stop -k -P "$LXC_PATH" -n "$(basename "$dir")" >/dev/null 2>&1 9>&- || true
    done
}

lxc_clean() {
    remove_places lxc
    # Every tool of LXC's leaves a lock file for every container that it looked at.
    rm -rf "/run/lxc/lock$LXC_PATH"
    rmdir -p "/run/lxc/lock$BED_DATA" 2>/dev/null || true
}
