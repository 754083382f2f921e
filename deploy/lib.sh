# shellcheck shell=bash
# What the scripts that make images and packages share: how they speak, and how they get their tools.

say() { printf '%s: %s\n' "${SPEAKER:?}" "$*" >&2; }

die() {
    printf '%s: error: %s\n' "${SPEAKER:?}" "$*" >&2
    exit 1
}

# need COMMAND PACKAGE… : Debian's packages, unless the command is there.
need() {
    local command=$1 log
    shift
    ! command -v "$command" >/dev/null || return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        die "$command is missing: run this as root where there is apt, or \`sudo apt-get install $*\` first"
    say "installing $*"
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install
        --no-install-recommends "$@")
    log=$(mktemp)
    if ! "${install[@]}" >"$log" 2>&1; then
        apt-get -qq update >>"$log" 2>&1 || true
        "${install[@]}" >>"$log" 2>&1 || { tail -n 20 "$log" >&2 && die "apt could not install $*"; }
    fi
    rm -f "$log"
}

# cargo_tool NAME VERSION : prints where the program is, which is built once into a cache outside the checkout.
cargo_tool() {
    local name=$1 version=$2 cache
    cache=${STOCKTAKE_TOOL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/stocktake}/$name-$version
    if [ ! -x "$cache/bin/$name" ]; then
        say "building $name $version once into $cache (some minutes)"
        # Without optimisation: it runs for seconds.
        cargo install --quiet --locked --debug --version "$version" --root "$cache" "$name" >&2
    fi
    printf '%s' "$cache/bin/$name"
}

# workspace_setting KEY : a line of [workspace.package].
workspace_setting() { sed -n '/^\[workspace.package\]/,/^\[/s/^'"$1"' = "\(.*\)"/\1/p' Cargo.toml; }

# date_of_source : exports SOURCE_DATE_EPOCH, the time of the commit unless somebody says another. Whatever is made says that
# it was made then.
date_of_source() {
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
    export SOURCE_DATE_EPOCH
}
