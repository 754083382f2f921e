# shellcheck shell=bash
# Debian's containerd: the runtime below docker and kubernetes, and a component with content of its own.

containerd_packages() { echo containerd runc; }

containerd_prepare() { :; }

containerd_healthy() { daemon_running containerd && timeout 5 ctr --address "$CONTAINERD_SOCKET" version; }

containerd_start() {
    local run=$BED_RUN/containerd data=$BED_DATA/containerd
    mkdir -p "$run/certs.d/$BED_REGISTRY" "$run/cni" "$data"
    printf 'server = "http://%s"\n' "$BED_REGISTRY" >"$run/certs.d/$BED_REGISTRY/hosts.toml"
    cat >"$run/config.toml" <<TOML
version = 2
root = "$data/root"
state = "$run/state"

[grpc]
address = "$CONTAINERD_SOCKET"

[metrics]
address = "127.0.0.1:11338"
grpc_histogram = true

[plugins."io.containerd.internal.v1.opt"]
path = "$data/opt"

[plugins."io.containerd.grpc.v1.cri"]
# Without CAP_SYS_RESOURCE, as in many CI machines, a sandbox may not lower its OOM score.
restrict_oom_score_adj = true
sandbox_image = "registry.k8s.io/pause:3.6"
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$run/cni"

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "$run/certs.d"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "$run/runc"
TOML
    daemon_start containerd /usr/bin/containerd --config "$run/config.toml"
    daemon_ready containerd 30 containerd_healthy
}

containerd_content() { content_containerd containerd ctr --address "$CONTAINERD_SOCKET"; }

containerd_stop() { daemon_stop containerd; }

containerd_clean() {
    remove_tasks "$CONTAINERD_SOCKET" "$BED_RUN/containerd/state"
    remove_places containerd
}
