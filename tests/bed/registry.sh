# shellcheck shell=bash
# A registry of the bed's own: only an image that was really pulled has real repository digests.

registry_packages() { echo busybox-static curl docker-registry jq skopeo; }

registry_healthy() { daemon_running registry && curl -sf --max-time 5 -o /dev/null "http://$BED_REGISTRY/v2/"; }

registry_start() {
    local run=$BED_RUN/registry
    mkdir -p "$run" "$BED_DATA/registry"
    # The package's own configuration listens on every address and asks for a password.
    cat >"$run/config.yml" <<YAML
version: 0.1
storage:
  filesystem: { rootdirectory: $BED_DATA/registry }
http:
  addr: $BED_REGISTRY
YAML
    daemon_start registry /usr/bin/docker-registry serve "$run/config.yml"
    daemon_ready registry 15 registry_healthy
}

registry_stop() { daemon_stop registry; }

registry_clean() { remove_places registry; }
