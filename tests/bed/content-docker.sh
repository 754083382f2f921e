# shellcheck shell=bash
# What runs in Docker 20.10 and in Docker 28.5 alike, so that the two can be compared.

# content_docker NAME SOCKET
content_docker() { logged "content-$1" content_docker_create "$@"; }

content_docker_create() {
    local name=$1 socket=$2 pinned untagged
    # Never the user's own client configuration: its contexts, proxies and credential helpers are not ours.
    local client=(env -u DOCKER_HOST -u DOCKER_CONTEXT "DOCKER_CONFIG=$BED_RUN/$name/client" /usr/bin/docker -H "unix://$socket")
    local run=("${client[@]}" run --detach --network none)

    "${client[@]}" load --input "$IMAGES/side.tar"
    "${client[@]}" load --input "$IMAGES/orphan.tar"
    "${client[@]}" pull "$APP_IMAGE:1.0"
    "${client[@]}" pull "$APP_MIRROR:1.0"
    "${client[@]}" pull "$SHARED_IMAGE:1.0"
    pinned=$APP_IMAGE@$(app_digest)
    "${client[@]}" pull "$pinned"
    untagged=$("${client[@]}" import --change 'CMD ["/bin/hold"]' "$IMAGES/base.tar")
    "${client[@]}" tag "$SIDE_IMAGE" example.com/bed/moving:1.0

    "${run[@]}" --name bed-running --label bed=known "$SIDE_IMAGE"
    "${run[@]}" --name bed-pulled "$APP_IMAGE:1.0"
    "${run[@]}" --name bed-pinned "$pinned"
    "${run[@]}" --name bed-shared "$SHARED_IMAGE:1.0"
    "${run[@]}" --name bed-paused "$SIDE_IMAGE"
    "${client[@]}" pause bed-paused
    "${run[@]}" --name bed-exited "$SIDE_IMAGE" sh -c 'exit 3'
    "${client[@]}" create --network none --name bed-created "$SIDE_IMAGE"
    "${run[@]}" --name bed-untagged "$untagged"
    "${run[@]}" --name shop-web-1 --label com.docker.compose.project=shop --label com.docker.compose.service=web \
        --label com.docker.compose.container-number=1 --label com.docker.compose.oneoff=False \
        --label com.docker.compose.version=2.24.0 "$APP_IMAGE:1.0"
    "${run[@]}" --name stack_api.1.x --label com.docker.swarm.service.name=stack_api \
        --label com.docker.swarm.service.id=r1lhj6sq2s9dkm5u0vbf3xw7c --label com.docker.swarm.task.id=x \
        --label com.docker.swarm.task.name=stack_api.1.x --label com.docker.swarm.node.id=q3nyhz8e4gtv0m7abw6kd9c2f \
        --label com.docker.stack.namespace=stack "$APP_IMAGE:1.0"
    "${run[@]}" --name bed-retagged example.com/bed/moving:1.0
    "${client[@]}" tag "$APP_IMAGE:1.0" example.com/bed/moving:1.0
    # The daemon refuses to remove the image of a running container; a container that has ended may lose it and
    # still be started again.
    "${client[@]}" create --network none --name bed-orphan "$ORPHAN_IMAGE"
    "${client[@]}" rmi --force "$ORPHAN_IMAGE"
    "${client[@]}" start bed-orphan
    "${client[@]}" wait bed-exited
}
