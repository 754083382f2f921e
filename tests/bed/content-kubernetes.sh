# shellcheck shell=bash
# What runs in the bed's cluster, and who may see it.

content_kubernetes() { logged content-kubernetes content_kubernetes_create; }

content_kubernetes_create() {
    local namespace
    kubernetes_apply namespaces users
    # A pod cannot be created before the controllers have made its service account.
    for namespace in shop batch restricted; do
        wait_for 60 "the service account of namespace $namespace" "${KUBECTL[@]}" -n "$namespace" get serviceaccount default
    done
    kubernetes_apply shop batch restricted
    "${KUBECTL[@]}" -n batch create job nightly-manual --from=cronjob/nightly

    wait_for 90 "node $KUBERNETES_NODE to be ready" kubernetes_is "$KUBERNETES_NODE" node \
        '{.status.conditions[?(@.type=="Ready")].status}' True
    wait_for 90 "pod shop/debugged to run" kubernetes_is debugged "pod -n shop" '{.status.phase}' Running
    "${KUBECTL[@]}" -n shop debug debugged --image="$SIDE_IMAGE" --image-pull-policy=Never --container=debugger --attach=false

    "${KUBECTL[@]}" -n shop rollout status deployment/web --timeout=120s
    "${KUBECTL[@]}" -n shop rollout status statefulset/db --timeout=60s
    "${KUBECTL[@]}" -n shop rollout status daemonset/logs --timeout=60s
    "${KUBECTL[@]}" -n shop wait --for=condition=Ready pod/side --timeout=60s
    "${KUBECTL[@]}" -n restricted wait --for=condition=Ready pod/secret-app --timeout=60s
    "${KUBECTL[@]}" -n batch wait --for=condition=Complete job/nightly-manual --timeout=60s
    wait_for 60 "static pod static-web" kubernetes_is "static-web-$KUBERNETES_NODE" "pod -n kube-system" '{.status.phase}' Running
    wait_for 60 "the ephemeral container of shop/debugged" kubernetes_is debugged "pod -n shop" \
        '{.status.ephemeralContainerStatuses[0].state.running.startedAt}' '?*'
    wait_for 60 "shop/pending-image to give up pulling" kubernetes_is pending-image "pod -n shop" \
        '{.status.containerStatuses[0].state.waiting.reason}' '*ImagePull*'
    wait_for 90 "batch/crashing to have been restarted" kubernetes_is crashing "pod -n batch" \
        '{.status.containerStatuses[0].restartCount}' '[1-9]*'
}

kubernetes_apply() {
    local name
    for name in "$@"; do
        sed -e "s#@app@#$APP_IMAGE:1.0#" -e "s#@mirror@#$APP_MIRROR:1.0#" -e "s#@pinned@#$APP_IMAGE@$(app_digest)#" \
            -e "s#@side@#$SIDE_IMAGE#" -e "s#@missing@#$BED_REGISTRY/team/missing:1.0#" \
            "$BED_DIR/manifests/$name.yaml" | "${KUBECTL[@]}" apply -f -
    done
}

# kubernetes_is NAME KIND JSONPATH PATTERN
kubernetes_is() {
    local value
    # shellcheck disable=SC2086 # a kind may come with its namespace
    value=$("${KUBECTL[@]}" get $2 "$1" -o "jsonpath=$3")
    # shellcheck disable=SC2254 # a pattern on purpose
    case $value in $4) return 0 ;; *) return 1 ;; esac
}
