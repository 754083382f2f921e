# shellcheck shell=bash
# Debian's Docker 20.10 on the bed's containerd: images in the graph driver, an image's id is its config digest.

docker_packages() { echo curl docker.io iptables jq openssl; }

docker_prepare() { :; }

docker_healthy() {
    daemon_running docker && curl -sf --max-time 5 -o /dev/null --unix-socket "$DOCKER_SOCKET" http://docker/_ping
}

docker_start() {
    local run=$BED_RUN/docker data=$BED_DATA/docker
    mkdir -p "$run" "$data"
    logged docker-tls tls_make "$run/tls" IP:127.0.0.1,DNS:localhost
    # debug: its log then names every API call, so that a test can count them.
    # The cgroup driver is named because Docker's default differs from one machine to another, and the parent's form with it.
    jq -n --arg run "$run" --arg data "$data" '{
        debug: true, bridge: "none", iptables: false, ip6tables: false, "ip-forward": false,
        "data-root": "\($data)/data", "exec-root": "\($run)/exec", pidfile: "\($run)/dockerd.pid",
        "deprecated-key-path": "\($data)/key.json",
        "exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": "/stocktake-bed/docker",
        tlsverify: true, tlscacert: "\($run)/tls/ca.pem",
        tlscert: "\($run)/tls/server-cert.pem", tlskey: "\($run)/tls/server-key.pem"
    }' >"$run/daemon.json"
    daemon_start docker /usr/sbin/dockerd --config-file "$run/daemon.json" --containerd "$CONTAINERD_SOCKET" \
        -H "unix://$DOCKER_SOCKET" -H tcp://127.0.0.1:12376
    daemon_ready docker 60 docker_healthy
}

docker_content() { content_docker docker "$DOCKER_SOCKET"; }

docker_stop() {
    # Containers first: a daemon told to stop waits for each of them in turn.
    docker_remove_containers "$DOCKER_SOCKET"
    daemon_stop docker
}

docker_clean() {
    remove_places docker
    # Made at start, and no option moves it.
    rmdir /run/docker/plugins /run/docker 2>/dev/null || true
}

docker_remove_containers() {
    local all
    all=$(timeout 10 /usr/bin/docker -H "unix://$1" ps -aq 2>/dev/null) || return 0
    # shellcheck disable=SC2086 # ids, one word each
    [ -z "$all" ] || timeout 60 /usr/bin/docker -H "unix://$1" rm -f $all >/dev/null 2>&1 || true
    # Bridges outlive a daemon. Of the bed's there are none, but of tests that were killed.
    timeout 10 /usr/bin/docker -H "unix://$1" network prune --force >/dev/null 2>&1 || true
}
