# shellcheck shell=bash
# What building images needs besides what building the programs needs, and how the script speaks.

say() { printf 'images: %s\n' "$*" >&2; }

die() {
    printf 'images: error: %s\n' "$*" >&2
    exit 1
}

# install_tools TEST
install_tools() {
    tests/setup
    local missing=()
    command -v umoci >/dev/null || missing+=(umoci)
    [ -d /usr/share/ca-certificates/mozilla ] || missing+=(ca-certificates)
    if [ "$1" = no ] && has_musl_target; then
        command -v musl-gcc >/dev/null || missing+=(musl-tools)
    fi
    [ "${#missing[@]}" -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        die "${missing[*]} missing: run this as root where there is apt, or \`sudo apt-get install ${missing[*]}\` first"
    say "installing ${missing[*]}"
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install
        --no-install-recommends "${missing[@]}") log
    log=$(mktemp)
    if ! "${install[@]}" >"$log" 2>&1; then
        apt-get -qq update >>"$log" 2>&1 || true
        "${install[@]}" >>"$log" 2>&1 || { tail -n 20 "$log" >&2 && die "apt could not install ${missing[*]}"; }
    fi
    rm -f "$log"
}

# A toolchain that did not come from rustup tells by having the target's library.
has_musl_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/$MACHINE-unknown-linux-musl/lib" ]; }
