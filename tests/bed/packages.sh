# shellcheck shell=bash
# Debian packages: installed without starting a service, without removing anything, and without touching the
# machine's own apt sources.

# The mirror that this machine already uses; Debian's own name only where apt does not tell.
debian_mirror() {
    local uri
    # shellcheck disable=SC2016 # apt's variables, not ours
    uri=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk -F'|' '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
    printf '%s' "${uri:-http://deb.debian.org/debian/}"
}

debian_codename() {
    # shellcheck source=/dev/null
    (. /etc/os-release && printf '%s' "$VERSION_CODENAME")
}

# apt_sources_of DIRECTORY SUITE… : a private apt that knows only the sources of these suites.
apt_sources_of() {
    local dir=$1 suite
    shift
    mkdir -p "$dir/lists/partial"
    for suite in "$@"; do
        printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
            "$(debian_mirror)" "$suite"
    done >"$dir/sources.list"
}

# apt_with DIRECTORY ARGUMENT…
apt_with() {
    local dir=$1
    shift
    apt-get -q -o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=- \
        -o "Dir::State::Lists=$dir/lists" -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" "$@"
}

package_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# install_packages PACKAGE…
install_packages() {
    local missing=() name
    for name in "$@"; do
        package_installed "$name" || missing+=("$name")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        die "${missing[*]} must be installed and this machine has no apt-get: the bed is made of Debian 12's packages," \
            "run it on Debian 12 (a virtual machine will do)"
    say "installing ${missing[*]}"
    # Components install side by side; dpkg does not.
    (
        flock 8
        without_services install_now "${missing[@]}"
    ) 8>"$BED_RUN/apt.lock"
}

install_now() {
    local log=$BED_RUN/log/apt.log
    mkdir -p "$BED_RUN/log"
    # --no-remove: a developer's own docker-ce conflicts with docker.io, and must not be removed for a test.
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends --no-remove "$@")
    "${install[@]}" >>"$log" 2>&1 && return 0
    # Most often the lists are old or were never fetched.
    apt-get -q update >>"$log" 2>&1 || true
    "${install[@]}" >>"$log" 2>&1 && return 0
    say "apt could not install $*; the end of $log:"
    tail -n 20 "$log" | sed 's/^/    /' >&2
    die "not installed: $*: put right what apt says above and run this again," \
        "or name the component in STOCKTAKE_BED_SKIP to go without it"
}

# without_services COMMAND… : packages start and enable their daemons when they are installed; the bed runs its own
# instances at its own paths, so the system's must stay as they are.
without_services() {
    local policy=/usr/sbin/policy-rc.d mark="# made by stocktake's tests/bed for the time of one installation" rc=0 unit before
    if [ -e "$policy" ] && ! grep -qF "$mark" "$policy"; then
        "$policy" docker start >/dev/null 2>&1 || rc=$?
        [ "$rc" = 101 ] ||
            die "$policy exists and does not forbid starting services: move it away while the bed installs packages"
        rc=0
    else
        printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
        chmod 755 "$policy"
        # shellcheck disable=SC2064 # the path of now
        trap "rm -f '$policy'" EXIT
    fi
    before=$(unit_files)
    "$@"
    # Enabled is as bad as started: it would run after the next reboot.
    if command -v systemctl >/dev/null; then
        comm -13 <(printf '%s\n' "$before") <(unit_files) | while read -r unit; do
            systemctl disable "$unit" >/dev/null 2>&1 || true
        done
    fi
    if grep -qF "$mark" "$policy" 2>/dev/null; then rm -f "$policy"; fi
}

unit_files() { find /lib/systemd/system -maxdepth 1 \( -name '*.service' -o -name '*.socket' -o -name '*.timer' \) -printf '%f\n' | sort; }
