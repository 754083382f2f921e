# shellcheck shell=bash
# The known images, made from busybox. Written by hand as OCI layouts, because the same bytes must come out each time:
# tests may then rely on a digest, and two runtimes on the same one.

IMAGES=$BED_DATA/images
APP_IMAGE=$BED_REGISTRY/team/app
APP_MIRROR=$BED_REGISTRY/mirror/app
SHARED_IMAGE=$BED_REGISTRY/team/shared
SIDE_IMAGE=example.com/bed/side:2.0
ORPHAN_IMAGE=example.com/bed/orphan:1.0

images_make() {
    local native foreign name
    native=$(dpkg --print-architecture)
    foreign=arm64
    [ "$native" != arm64 ] || foreign=amd64
    rm -rf "$IMAGES"
    mkdir -p "$IMAGES/root/bin" "$IMAGES/root/etc" "$IMAGES/root/tmp"
    images_base "$IMAGES/root"

    # `app` has a base layer to itself, all others have one in common: a runtime that has a layer unpacked does not fetch
    # it again for another image, and Docker 28 then lists that image as not quite there. `shared` is for that case.
    for name in shared side orphan pause app; do
        [ "$name" != app ] || printf 'app\n' >"$IMAGES/root/etc/hostname"
        tar_same "$IMAGES/root" >"$IMAGES/base.tar"
        oci_layout "$name"
        oci_image "$name" "$native" base >"$IMAGES/$name.manifests"
    done
    # Never run, only listed, so they need no busybox of that architecture.
    for name in app shared; do
        oci_image "$name" "$foreign" >>"$IMAGES/$name.manifests"
    done
    for name in shared side orphan pause app; do
        oci_index "$name"
    done
    images_publish
}

images_base() {
    local root=$1 applet
    cp /bin/busybox "$root/bin/busybox"
    for applet in sh sleep echo cat ls true false ip wget; do ln -s busybox "$root/bin/$applet"; done
    # Ends at once on SIGTERM, which a plain sleep as process 1 does not.
    printf '#!/bin/sh\ntrap "exit 0" TERM INT\nsleep 2147483647 &\nwait\n' >"$root/bin/hold"
    chmod 755 "$root/bin/hold"
    printf 'root:x:0:0:root:/:/bin/sh\n' >"$root/etc/passwd"
}

# Same input, same bytes: no times, no owners, no order of the file system.
tar_same() {
    tar --create --directory "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=ustar .
}

oci_layout() {
    mkdir -p "$IMAGES/$1/blobs/sha256"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$IMAGES/$1/oci-layout"
}

# oci_blob LAYOUT FILE : prints the digest.
oci_blob() {
    local digest
    digest=$(sha256sum "$2" | cut -d' ' -f1)
    cp "$2" "$IMAGES/$1/blobs/sha256/$digest"
    printf 'sha256:%s' "$digest"
}

# oci_image NAME ARCHITECTURE [base] : prints the descriptor of its manifest.
oci_image() {
    local name=$1 arch=$2 layer tars=() digests='[]' diffs='[]' config digest
    mkdir -p "$IMAGES/own/etc"
    printf '%s for %s\n' "$name" "$arch" >"$IMAGES/own/etc/bed-image"
    tar_same "$IMAGES/own" >"$IMAGES/own.tar"
    [ "${3:-}" != base ] || tars+=("$IMAGES/base.tar")
    tars+=("$IMAGES/own.tar")
    for layer in "${tars[@]}"; do
        gzip --no-name --fast --stdout "$layer" >"$IMAGES/layer"
        digest=$(oci_blob "$name" "$IMAGES/layer")
        digests=$(jq -c --arg d "$digest" --argjson s "$(stat -c %s "$IMAGES/layer")" \
            '. + [{mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: $d, size: $s}]' <<<"$digests")
        diffs=$(jq -c --arg d "sha256:$(sha256sum "$layer" | cut -d' ' -f1)" '. + [$d]' <<<"$diffs")
    done
    jq -jcn --arg name "$name" --arg arch "$arch" --argjson diffs "$diffs" '{
        created: "2024-01-01T00:00:00Z", architecture: $arch, os: "linux",
        config: {Env: ["PATH=/bin"], Cmd: ["/bin/hold"], Labels: {"org.opencontainers.image.title": $name}},
        rootfs: {type: "layers", diff_ids: $diffs},
        history: [$diffs[] | {created: "2024-01-01T00:00:00Z", created_by: "tests/bed"}]
    }' >"$IMAGES/config"
    config=$(oci_blob "$name" "$IMAGES/config")
    jq -jcn --arg config "$config" --argjson size "$(stat -c %s "$IMAGES/config")" --argjson layers "$digests" '{
        schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
        config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $config, size: $size},
        layers: $layers
    }' >"$IMAGES/manifest"
    digest=$(oci_blob "$name" "$IMAGES/manifest")
    jq -cn --arg digest "$digest" --argjson size "$(stat -c %s "$IMAGES/manifest")" --arg arch "$arch" '{
        mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $digest, size: $size,
        platform: {architecture: $arch, os: "linux"}
    }'
}

# One manifest: the layout points at it. Several: the layout points at an index of them.
oci_index() {
    local name=$1 digest
    if [ "$(wc -l <"$IMAGES/$name.manifests")" -gt 1 ]; then
        jq -jcs '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: .}' \
            "$IMAGES/$name.manifests" >"$IMAGES/index"
        digest=$(oci_blob "$name" "$IMAGES/index")
        jq -cn --arg digest "$digest" --argjson size "$(stat -c %s "$IMAGES/index")" \
            '{mediaType: "application/vnd.oci.image.index.v1+json", digest: $digest, size: $size}' >"$IMAGES/descriptor"
    else
        cp "$IMAGES/$name.manifests" "$IMAGES/descriptor"
    fi
    jq -c '{schemaVersion: 2, manifests: [. + {annotations: {"org.opencontainers.image.ref.name": "1.0"}}]}' \
        "$IMAGES/descriptor" >"$IMAGES/$name/index.json"
    jq -j .digest "$IMAGES/descriptor" >"$IMAGES/$name.digest"
}

images_publish() {
    local copy="skopeo --insecure-policy copy --quiet" push name
    push="$copy --all --preserve-digests --dest-tls-verify=false"
    $push "oci:$IMAGES/app:1.0" "docker://$APP_IMAGE:1.0"
    $push "oci:$IMAGES/app:1.0" "docker://$APP_MIRROR:1.0"
    $push "oci:$IMAGES/shared:1.0" "docker://$SHARED_IMAGE:1.0"
    # Archives as `docker save` writes them: the one form that every runtime can load.
    $copy "oci:$IMAGES/side:1.0" "docker-archive:$IMAGES/side.tar:$SIDE_IMAGE"
    $copy "oci:$IMAGES/orphan:1.0" "docker-archive:$IMAGES/orphan.tar:$ORPHAN_IMAGE"
    for name in registry.k8s.io/pause:3.6 k8s.gcr.io/pause:3.2; do
        $copy "oci:$IMAGES/pause:1.0" "docker-archive:$IMAGES/pause-${name##*:}.tar:$name"
    done
}

app_digest() { cat "$IMAGES/app.digest"; }
