# shellcheck shell=bash
# What runs in containerd itself, beside what docker and the kubelet put there: made with ctr, in both versions alike.

# content_containerd NAME CTR… : CTR is how to run the ctr of that containerd.
content_containerd() { logged "content-$1-ctr" content_containerd_create "$@"; }

content_containerd_create() {
    local name=$1 run
    shift
    # ctr keeps runc's state in a default path otherwise, and its cgroups at the top.
    run=(run --detach --null-io --runc-root "$BED_RUN/$name/runc-ctr")

    "$@" -n default images import - <"$IMAGES/side.tar"
    "$@" -n default "${run[@]}" --cgroup "/stocktake-bed/$name/ctr-running" "$SIDE_IMAGE" ctr-running
    "$@" -n default "${run[@]}" --cgroup "/stocktake-bed/$name/ctr-exited" "$SIDE_IMAGE" ctr-exited
    "$@" -n default tasks kill --signal SIGKILL ctr-exited
    "$@" -n default "${run[@]}" --cgroup "/stocktake-bed/$name/ctr-paused" "$SIDE_IMAGE" ctr-paused
    "$@" -n default tasks pause ctr-paused
    "$@" -n default containers create "$SIDE_IMAGE" ctr-created

    "$@" -n team-a images pull --plain-http "$APP_IMAGE:1.0"
    "$@" -n team-a "${run[@]}" --cgroup "/stocktake-bed/$name/ctr-pulled" "$APP_IMAGE:1.0" ctr-pulled
    # As nerdctl leaves them; its ids are 64 hexadecimal digits.
    "$@" -n team-a "${run[@]}" --cgroup "/stocktake-bed/$name/ctr-nerdctl" \
        --label nerdctl/name=web-nerdctl --label nerdctl/namespace=team-a --label nerdctl/hostname=a1b2c3d4e5f6 \
        --label "nerdctl/platform=linux/$(dpkg --print-architecture)" --label 'nerdctl/networks=["none"]' \
        "$APP_IMAGE:1.0" a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90

    "$@" -n team-a images import - <"$IMAGES/orphan.tar"
    "$@" -n team-a "${run[@]}" --cgroup "/stocktake-bed/$name/ctr-orphan" "$ORPHAN_IMAGE" ctr-orphan
    "$@" -n team-a images remove --sync "$ORPHAN_IMAGE"

    "$@" namespaces create empty-ns
    wait_for 15 "ctr-exited to have stopped" content_containerd_stopped "$@"
}

content_containerd_stopped() { "$@" -n default tasks list | grep -q '^ctr-exited .*STOPPED'; }
