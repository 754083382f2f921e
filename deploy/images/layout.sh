# shellcheck shell=bash
# What is in an image: two layers, the first the same in both but for the folders that its program writes to.

# Nobody's number on a host that we know of. Group 0 may write where the user may: OpenShift picks a user of its own, in
# that group.
IMAGE_USER=65532

# The folders that the program of this name writes to.
data_of() { case $1 in agent) echo var/lib/stocktake run/stocktake ;; server) echo var/lib/stocktake-server ;; esac; }

# write_layout NAME BINARY LAYOUT TEST
write_layout() {
    local name=$1 binary=$2 layout=$3 test=$4 work image
    [ -x "$binary" ] || die "there is no $binary: \`cargo build --package stocktake-$name\` makes it"
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$work'" EXIT
    base_files "$name" "$work/base"
    install -D -m 755 "$binary" "$work/program/usr/bin/stocktake-$name"
    if [ "$test" = yes ]; then
        strip "$work/program/usr/bin/stocktake-$name"
        shared_libraries "$binary" "$work/program"
    elif has_interpreter "$binary"; then
        die "$binary is not static: it would ask for a C library, and the image has none"
    fi
    pack "$work/base" "$work/base.tar"
    pack_data "$work/data" "$work/base.tar" tmp "$(data_of "$name")"
    pack "$work/program" "$work/program.tar"

    rm -rf "$layout"
    image=$layout:$VERSION
    umoci init --layout "$layout"
    umoci new --image "$image"
    add_layer "$image" "$work/base.tar" "certificates, users, folders"
    add_layer "$image" "$work/program.tar" "stocktake-$name"
    configure "$name" "$image"
    # The steps on the way there.
    umoci gc --layout "$layout"
    rm -rf "$work"
    trap - EXIT
}

has_interpreter() { readelf --program-headers --wide "$1" | grep -q INTERP; }

# shared_libraries BINARY ROOT : where the binary looks for them, the one that loads the others among them.
shared_libraries() {
    local library
    for library in $(ldd "$1" | grep -o '/[^ ]*'); do install -D -m 755 "$library" "$2$library"; done
}

# base_files NAME ROOT : what belongs to root.
base_files() {
    local name=$1 root=$2
    mkdir -p "$root/etc/ssl/certs" "$root/etc/stocktake" "$root/run" "$root/var/lib"
    # Of the package and not of the machine, which may trust others.
    LC_ALL=C find /usr/share/ca-certificates/mozilla -name '*.crt' -print0 | LC_ALL=C sort -z | xargs -0 cat \
        >"$root/etc/ssl/certs/ca-certificates.crt"
    printf '%s\n' "root:x:0:0:root:/:/sbin/nologin" \
        "stocktake:x:$IMAGE_USER:$IMAGE_USER:Stocktake:/var/lib:/sbin/nologin" >"$root/etc/passwd"
    printf '%s\n' "root:x:0:" "stocktake:x:$IMAGE_USER:" >"$root/etc/group"
    printf '%s\n' "passwd: files" "group: files" "hosts: files dns" >"$root/etc/nsswitch.conf"
    # A server that only its own container reaches is of no use.
    [ "$name" != server ] || printf '[server]\nlisten = "0.0.0.0:8228"\n' >"$root/etc/stocktake/server.toml"
    find "$root" -type d -exec chmod 755 {} +
    find "$root" -type f -exec chmod 644 {} +
}

# pack ROOT TAR : the same bytes of the same files, whoever makes them, and whenever.
pack() { pack_as 0 --create --file "$2" --directory "$1" --no-recursion --null --files-from <(entries "$1"); }

# pack_data ROOT TAR FOLDER… : appends folders that the user of the image may write to; /tmp as ever.
pack_data() {
    local root=$1 tar=$2 folder owner
    shift 2
    # shellcheck disable=SC2068 # `data_of` tells several in a word
    for folder in $@; do
        mkdir -p "$root/$folder"
        owner=$IMAGE_USER
        chmod 770 "$root/$folder"
        if [ "$folder" = tmp ]; then
            owner=0
            chmod 1777 "$root/$folder"
        fi
        pack_as "$owner" --append --file "$tar" --directory "$root" --no-recursion "$folder"
    done
}

pack_as() {
    local owner=$1
    shift
    tar --format=ustar --numeric-owner --owner="$owner" --group=0 --mtime="@$SOURCE_DATE_EPOCH" "$@"
}

entries() { (cd "$1" && find . -mindepth 1 -printf '%P\0' | LC_ALL=C sort -z); }

# add_layer IMAGE TAR WHAT
add_layer() {
    umoci raw add-layer --image "$1" --history.created "$CREATED" --history.author '' --history.created_by "deploy/images/build: $3" "$2"
}

# configure NAME IMAGE
configure() {
    local name=$1 image=$2 label options=()
    local labels=(
        "created=$CREATED"
        "description=$(description_of "$name")"
        "licenses=$LICENSES"
        "revision=$REVISION"
        "title=stocktake-$name"
        "version=$VERSION"
    )
    [ -z "$SOURCE_URL" ] || labels+=("source=$SOURCE_URL" "url=$SOURCE_URL")
    for label in "${labels[@]}"; do
        options+=(--config.label "org.opencontainers.image.$label" --manifest.annotation "org.opencontainers.image.$label")
    done
    case $name in
    agent) options+=(--config.cmd run --config.exposedports 17820/tcp) ;;
    # Where the server keeps its database unless it is told.
    server) options+=(--config.cmd serve --config.exposedports 8228/tcp --config.env XDG_STATE_HOME=/var/lib) ;;
    esac
    umoci config --image "$image" --no-history --created "$CREATED" --architecture "$ARCHITECTURE" --os linux --author '' \
        --config.user "$IMAGE_USER:$IMAGE_USER" --config.workingdir / --config.env PATH=/usr/bin \
        --config.entrypoint "/usr/bin/stocktake-$name" "${options[@]}"
}

# digest_of LAYOUT : of the manifest, by which the image is known.
digest_of() { grep -o 'sha256:[0-9a-f]\{64\}' "$1/index.json" | head -n 1; }

# size_of LAYOUT : bytes, compressed, as they are pulled.
size_of() { find "$1/blobs" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }'; }
