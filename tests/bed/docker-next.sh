# shellcheck shell=bash
# Docker 28.5 and containerd 2.1 with the containerd image store, and Compose 2.40, from Debian sid, in a root of their own:
# an image's id is there its manifest digest, and that is what collectors have to tell apart from Docker 20.10.

# Not a number, because sid has but one version at a time; `bed status` tells which it was.
DOCKER_NEXT_ROOT=$BED_CACHE/docker-next-sid

docker_next_packages() { echo containerd curl debootstrap docker.io jq util-linux; }

docker_next_prepare() {
    [ ! -x "$DOCKER_NEXT_ROOT/usr/libexec/docker/cli-plugins/docker-compose" ] || return 0
    # One that was made before Compose was in it.
    rm -rf "$DOCKER_NEXT_ROOT"
    say "fetching docker, compose and containerd of Debian sid into $DOCKER_NEXT_ROOT: once, about a minute" \
        "(log: $(log_file docker-next-build))"
    cached docker-next-sid docker_next_bootstrap
}

docker_next_bootstrap() {
    logged docker-next-build docker_next_debootstrap "$1"
}

docker_next_debootstrap() {
    debootstrap --variant=minbase --include=docker.io,docker-cli,docker-compose,containerd,runc,iptables,ca-certificates sid \
        "$1" "$(debian_mirror)"
    rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
    # A place to mount on, because the root is read-only later.
    mkdir -p "$1$BED_DATA/docker-next"
}

docker_next_healthy() {
    daemon_running docker-next-containerd && daemon_running docker-next &&
        curl -sf --max-time 5 -o /dev/null --unix-socket "$DOCKER_NEXT_SOCKET" http://docker/_ping &&
        # In a root that was entered in a former way there is none.
        [ -S "/proc/$(daemon_pid docker-next)/root/run/docker.sock" ]
}

docker_next_containerd_healthy() { timeout 5 ctr --address "$CONTAINERD_NEXT_SOCKET" version; }

# That root's mounts live in a mount namespace of their own: when the last process in it has ended they are gone, even
# after a kill -9, and nobody else on the machine ever sees them.
docker_next_enter() {
    local run=$BED_RUN/docker-next
    cat >"$run/enter" <<SH
#!/bin/sh
set -eu
root=$run/root
mount --rbind "$DOCKER_NEXT_ROOT" "\$root"
for dir in /proc /sys /dev; do mount --rbind "\$dir" "\$root\$dir"; done
# The cache must stay as it was built.
mount -o remount,bind,ro "\$root"
mount --rbind "$BED_DATA/docker-next" "\$root$BED_DATA/docker-next"
mount -t tmpfs tmpfs "\$root/tmp"
mount -t tmpfs tmpfs "\$root/run"
mkdir -p "\$root$run"
mount --bind "$run" "\$root$run"
# Not \`chroot\` alone: whatever enters a container, as \`docker exec\` does, gets the root of the mount namespace that the container
# came from, which would be the machine's.
cd "\$root"
pivot_root . mnt
umount --lazy /mnt
exec chroot . "\$@"
SH
    chmod 755 "$run/enter"
}

docker_next_start() {
    local run=$BED_RUN/docker-next data=$BED_DATA/docker-next
    mkdir -p "$run/root" "$data/containerd" "$data/docker"
    docker_next_enter
    cat >"$run/containerd.toml" <<TOML
version = 3
root = "$data/containerd"
state = "$run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"]

[grpc]
address = "$CONTAINERD_NEXT_SOCKET"

[metrics]
address = "127.0.0.1:11339"
grpc_histogram = true

[plugins."io.containerd.internal.v1.opt"]
path = "$data/opt"
TOML
    jq -n --arg run "$run" --arg data "$data" '{
        debug: true, bridge: "none", iptables: false, ip6tables: false, "ip-forward": false, features: {"containerd-snapshotter": true},
        "data-root": "\($data)/docker", "exec-root": "\($run)/exec", pidfile: "\($run)/dockerd.pid",
        "exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": "/stocktake-bed/docker-next"
    }' >"$run/daemon.json"
    daemon_start docker-next-containerd unshare --mount --propagation private "$run/enter" \
        containerd --config "$run/containerd.toml"
    daemon_ready docker-next-containerd 30 docker_next_containerd_healthy
    daemon_start docker-next nsenter --mount --root --wd --target "$(daemon_pid docker-next-containerd)" \
        dockerd --config-file "$run/daemon.json" --containerd "$CONTAINERD_NEXT_SOCKET" -H "unix://$DOCKER_NEXT_SOCKET" \
        -H unix:///var/run/docker.sock # Where everybody has it, which here is in that root's own /run.
    daemon_ready docker-next 60 docker_next_healthy
}

docker_next_content() {
    content_docker docker-next "$DOCKER_NEXT_SOCKET"
    content_containerd docker-next \
        nsenter --mount --root --wd --target "$(daemon_pid docker-next-containerd)" ctr --address "$CONTAINERD_NEXT_SOCKET"
}

docker_next_stop() {
    docker_remove_containers "$DOCKER_NEXT_SOCKET"
    daemon_stop docker-next
    daemon_stop docker-next-containerd
}

docker_next_clean() {
    remove_tasks "$CONTAINERD_NEXT_SOCKET" "$BED_RUN/docker-next/containerd"
    remove_places docker-next
}
