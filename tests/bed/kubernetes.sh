# shellcheck shell=bash
# A real Kubernetes: etcd, API server, controllers, scheduler, and a kubelet on the bed's containerd.

ETCD_URL=https://127.0.0.1:12379
KUBERNETES_PORT=16443
KUBERNETES_NODE=bed-node
# shellcheck disable=SC2034 # used by content-kubernetes.sh
KUBECTL=("$KUBERNETES_BIN/kubectl" --kubeconfig "$KUBERNETES_RUN/admin.kubeconfig" --cache-dir "$KUBERNETES_RUN/cache")
KUBERNETES_DAEMONS=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet)
# `components` is the daemons' own; the others are the people whose rights the tests try.
KUBERNETES_USERS=(admin reader limited partial nobody components)

kubernetes_packages() { echo containernetworking-plugins curl etcd-server iproute2 iptables openssl util-linux; }

kubernetes_prepare() { kubernetes_build; }

kubernetes_healthy() {
    local name
    for name in "${KUBERNETES_DAEMONS[@]}"; do
        daemon_running "$name" || return 1
    done
    kubernetes_api_ready && curl -sf --max-time 5 -o /dev/null http://127.0.0.1:16248/healthz
}

kubernetes_api_ready() {
    curl -sf --max-time 5 -o /dev/null --cacert "$KUBERNETES_RUN/tls/ca.pem" "https://127.0.0.1:$KUBERNETES_PORT/readyz"
}

kubernetes_start() {
    local data=$BED_DATA/kubernetes tls=$KUBERNETES_RUN/tls
    mkdir -p "$KUBERNETES_RUN" "$data/etcd" "$BED_RUN/bin"
    ln -sf "$KUBERNETES_BIN/kubectl" "$BED_RUN/bin/kubectl"
    rm -f "$BED_RUN/log/kubernetes-audit.log"
    chmod 700 "$data/etcd"
    kubernetes_remember_sysctls
    logged kubernetes-tls tls_make "$tls" \
        IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
    daemon_start etcd /usr/bin/etcd --name bed --data-dir "$data/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls "$ETCD_URL" --advertise-client-urls "$ETCD_URL" \
        --client-cert-auth --trusted-ca-file "$tls/ca.pem" --cert-file "$tls/server-cert.pem" --key-file "$tls/server-key.pem" \
        --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
        --initial-cluster bed=http://127.0.0.1:12380
    # The form of `ecparam`, because this Kubernetes cannot read the other one here.
    (umask 077 && openssl ecparam -name prime256v1 -genkey -noout -out "$KUBERNETES_RUN/service-account.pem")
    kubernetes_users
    kubernetes_audit_policy
    daemon_ready etcd 30 curl -sf --max-time 5 --cacert "$tls/ca.pem" --cert "$tls/cert.pem" --key "$tls/key.pem" "$ETCD_URL/health"

    # What goes on in pods (exec, logs) it asks their node, by a name that no DNS has.
    printf '127.0.0.1 localhost %s\n' "$KUBERNETES_NODE" >"$KUBERNETES_RUN/hosts"
    # shellcheck disable=SC2016 # for the inner shell
    daemon_start kube-apiserver unshare --mount --propagation private \
        sh -c 'mount --bind "$0" /etc/hosts && exec "$@"' "$KUBERNETES_RUN/hosts" \
        "$KUBERNETES_BIN/kube-apiserver" --etcd-servers="$ETCD_URL" \
        --kubelet-client-certificate="$tls/cert.pem" --kubelet-client-key="$tls/key.pem" \
        --etcd-cafile="$tls/ca.pem" --etcd-certfile="$tls/cert.pem" --etcd-keyfile="$tls/key.pem" \
        --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$KUBERNETES_PORT" \
        --tls-cert-file="$tls/server-cert.pem" --tls-private-key-file="$tls/server-key.pem" \
        --service-account-issuer=https://kubernetes.default.svc \
        --service-account-key-file="$KUBERNETES_RUN/service-account.pem" \
        --service-account-signing-key-file="$KUBERNETES_RUN/service-account.pem" \
        --token-auth-file="$KUBERNETES_RUN/tokens.csv" --authorization-mode=RBAC \
        --service-cluster-ip-range=10.96.0.0/16 --endpoint-reconciler-type=none \
        --feature-gates=EphemeralContainers=true \
        --audit-policy-file="$KUBERNETES_RUN/audit-policy.yaml" --audit-log-path="$BED_RUN/log/kubernetes-audit.log"
    daemon_ready kube-apiserver 60 kubernetes_api_ready

    daemon_start kube-controller-manager "$KUBERNETES_BIN/kube-controller-manager" \
        --kubeconfig="$KUBERNETES_RUN/components.kubeconfig" --leader-elect=false \
        --bind-address=127.0.0.1 --secure-port=16257 --port=0 --cert-dir="$KUBERNETES_RUN/controller-manager" \
        --flex-volume-plugin-dir="$data/volume-plugins" \
        --service-account-private-key-file="$KUBERNETES_RUN/service-account.pem" --root-ca-file="$tls/ca.pem"
    daemon_start kube-scheduler "$KUBERNETES_BIN/kube-scheduler" \
        --kubeconfig="$KUBERNETES_RUN/components.kubeconfig" --leader-elect=false \
        --bind-address=127.0.0.1 --secure-port=16259 --port=0 --cert-dir="$KUBERNETES_RUN/scheduler"
    kubernetes_node_start
}

# Tokens are made afresh, and only root can read them: whoever may create a pod here is root on this machine.
kubernetes_users() (
    umask 077
    : >"$KUBERNETES_RUN/tokens.csv"
    for user in "${KUBERNETES_USERS[@]}"; do
        token=$(openssl rand -hex 16)
        groups=
        case $user in admin | components) groups=,system:masters ;; esac
        printf '%s,%s,bed-%s%s\n' "$token" "$user" "$user" "$groups" >>"$KUBERNETES_RUN/tokens.csv"
        cat >"$KUBERNETES_RUN/$user.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: bed
clusters:
- name: bed
  cluster:
    server: https://127.0.0.1:$KUBERNETES_PORT
    certificate-authority-data: $(base64 -w 0 "$KUBERNETES_RUN/tls/ca.pem")
users:
- name: $user
  user: { token: $token }
contexts:
- name: bed
  context: { cluster: bed, user: $user }
YAML
    done
)

# So that a test can count what a client really asked the API server for.
kubernetes_audit_policy() {
    cat >"$KUBERNETES_RUN/audit-policy.yaml" <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [components, system:apiserver, system:anonymous]
- level: None
  userGroups: [system:serviceaccounts:kube-system]
- level: Metadata
YAML
}

kubernetes_node_start() {
    local data=$BED_DATA/kubernetes
    mkdir -p "$BED_RUN/containerd/cni" "$KUBERNETES_RUN/static" "$data/kubelet"
    # A bridge without an address on the host's side: no route, no forwarding, nothing that a pod could reach but pods.
    cat >"$BED_RUN/containerd/cni/10-bed.conflist" <<JSON
{
    "cniVersion": "0.4.0", "name": "stocktake-bed",
    "plugins": [{
        "type": "bridge", "bridge": "stocktake-bed",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.213.0.0/24"}]], "dataDir": "$KUBERNETES_RUN/ipam"}
    }]
}
JSON
    : >"$KUBERNETES_RUN/resolv.conf"
    # Thresholds: the bed must not evict its pods, nor delete its images, because the machine's disk is rather full.
    cat >"$KUBERNETES_RUN/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: 16250
healthzBindAddress: 127.0.0.1
healthzPort: 16248
authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: $KUBERNETES_RUN/tls/ca.pem } }
authorization: { mode: Webhook }
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
evictionHard: { imagefs.available: "0%", nodefs.available: "0%" }
imageGCHighThresholdPercent: 100
# Device plug-ins have a fixed place, which another kubelet of this machine may be using.
featureGates: { EphemeralContainers: true, DevicePlugins: false }
makeIPTablesUtilChains: false
# The first one comes too early to find the runtime ready, and nothing is scheduled before the second.
nodeStatusUpdateFrequency: 2s
resolvConf: $KUBERNETES_RUN/resolv.conf
staticPodPath: $KUBERNETES_RUN/static
volumePluginDir: $data/volume-plugins
YAML
    kubernetes_images
    sed "s#@app@#$APP_IMAGE:1.0#" "$BED_DIR/manifests/static-web.yaml" >"$KUBERNETES_RUN/static/static-web.yaml"
    daemon_start kubelet "$KUBERNETES_BIN/kubelet" --config="$KUBERNETES_RUN/kubelet.yaml" \
        --kubeconfig="$KUBERNETES_RUN/components.kubeconfig" --hostname-override="$KUBERNETES_NODE" \
        --root-dir="$data/kubelet" --cert-dir="$data/kubelet-pki" \
        --container-runtime=remote --container-runtime-endpoint="unix://$CONTAINERD_SOCKET"
    daemon_ready kubelet 60 curl -sf --max-time 5 http://127.0.0.1:16248/healthz
}

# Both names of the sandbox's image: one is containerd's to choose, the other the kubelet's.
kubernetes_images() {
    local file
    for file in side pause-3.6 pause-3.2; do
        ctr --address "$CONTAINERD_SOCKET" -n k8s.io images import "$IMAGES/$file.tar" >/dev/null
    done
}

kubernetes_content() { content_kubernetes; }

# All that these daemons know is thrown away next, so there is nothing to end gracefully.
kubernetes_stop() {
    local name
    for name in kubelet kube-scheduler kube-controller-manager kube-apiserver etcd; do
        daemon_stop "$name" KILL
    done
}

kubernetes_clean() {
    kubernetes_remove_logs
    kubernetes_remove_network
    kubernetes_restore_sysctls
    rm -rf "${BED_RUN:?}/bin"
    remove_places kubernetes
}

# The kubelet keeps the pods' logs in a fixed place, maybe together with another kubelet's.
kubernetes_remove_logs() {
    local dir uid link
    for dir in "$BED_DATA"/kubernetes/kubelet/pods/*; do
        uid=${dir##*/}
        for link in /var/log/containers/*.log; do
            case $(readlink "$link" || true) in *"_$uid/"*) rm -f "$link" ;; esac
        done
        [ ! -d "$dir" ] || rm -rf /var/log/pods/*_"$uid"
    done
    rmdir /var/log/containers /var/log/pods 2>/dev/null || true
}

kubernetes_remove_network() {
    local file id
    for file in /var/lib/cni/results/stocktake-bed-*-eth0; do
        id=${file##*/stocktake-bed-}
        rm -f "$file" "/var/lib/cni/results/cni-loopback-${id%-eth0}-lo"
    done
    rmdir /var/lib/cni/results /var/lib/cni 2>/dev/null || true
    if [ -d /sys/class/net/stocktake-bed ]; then ip link delete stocktake-bed; fi
}

# A kubelet sets these for the whole machine.
KUBELET_SYSCTLS=(
    vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes
)

kubernetes_remember_sysctls() {
    local name
    for name in "${KUBELET_SYSCTLS[@]}"; do
        printf '%s %s\n' "$name" "$(cat "/proc/sys/$name")"
    done >"$BED_DATA/kubernetes/sysctls"
}

kubernetes_restore_sysctls() {
    local name value
    [ -s "$BED_DATA/kubernetes/sysctls" ] || return 0
    while read -r name value; do
        printf '%s' "$value" >"/proc/sys/$name" || true
    done <"$BED_DATA/kubernetes/sysctls"
}
