# shellcheck shell=bash
# Podman: speaks Docker's API, with differences that only a real one shows.

podman_packages() { echo curl podman runc; }

podman_prepare() { :; }

podman_healthy() {
    daemon_running podman && curl -sf --max-time 5 -o /dev/null --unix-socket "$PODMAN_SOCKET" http://podman/_ping
}

# Everything that podman would otherwise take from, or leave in, the machine's own places.
PODMAN=(
    env "CONTAINERS_CONF=$BED_RUN/podman/containers.conf" "CONTAINERS_REGISTRIES_CONF=$BED_RUN/podman/registries.conf"
    "CONTAINERS_STORAGE_CONF=$BED_RUN/podman/storage.conf"
    /usr/bin/podman --root "$BED_DATA/podman/storage" --runroot "$BED_RUN/podman/storage" --tmpdir "$BED_RUN/podman/tmp"
    --runtime-flag "root=$BED_RUN/podman/runc"
)

podman_configure() {
    local run=$BED_RUN/podman data=$BED_DATA/podman
    mkdir -p "$run/cni" "$data"
    # runc, because crun does not start containers on a machine with both cgroup versions; limits, because without
    # CAP_SYS_RESOURCE podman may not raise them to its own defaults.
    cat >"$run/containers.conf" <<TOML
[containers]
cgroups = "enabled"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "/usr/sbin/runc"
volume_path = "$data/volumes"
[network]
network_config_dir = "$run/cni"
TOML
    printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' "$data/storage" "$run/storage" >"$run/storage.conf"
    printf 'unqualified-search-registries = []\n[[registry]]\nlocation = "%s"\ninsecure = true\n' "$BED_REGISTRY" \
        >"$run/registries.conf"
}

podman_start() {
    podman_configure
    daemon_start podman "${PODMAN[@]}" system service --time=0 "unix://$PODMAN_SOCKET"
    daemon_ready podman 30 podman_healthy
}

podman_content() { logged content-podman podman_content_create; }

podman_content_create() {
    # Through the service, as its users do; the service has the configuration above.
    local remote=(/usr/bin/podman --remote --url "unix://$PODMAN_SOCKET")
    "${remote[@]}" pull --tls-verify=false "$APP_IMAGE:1.0"
    "${remote[@]}" run --detach --network none --cgroup-parent /stocktake-bed/podman --name bed-podman-running "$APP_IMAGE:1.0"
    "${remote[@]}" run --detach --network none --cgroup-parent /stocktake-bed/podman --name bed-podman-exited "$APP_IMAGE:1.0" sh -c 'exit 3'
    "${remote[@]}" create --network none --cgroup-parent /stocktake-bed/podman --name bed-podman-created "$APP_IMAGE:1.0"
    "${remote[@]}" wait bed-podman-exited
}

podman_stop() {
    daemon_stop podman
    # Podman needs no service to remove what it started.
    [ ! -d "$BED_DATA/podman/storage" ] || timeout 60 "${PODMAN[@]}" rm --all --force --time 0 >/dev/null 2>&1 9>&- || true
}

podman_clean() { remove_places podman; }
