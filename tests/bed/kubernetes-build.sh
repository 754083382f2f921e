# shellcheck shell=bash disable=SC2164 # run under `set -e`
# The Kubernetes server binaries. No package has them; Debian 12's source package does, with its vendored dependencies.

KUBERNETES_VERSION=1.20.2
# shellcheck disable=SC2034 # used by kubernetes.sh
KUBERNETES_BIN=$BED_CACHE/kubernetes-$KUBERNETES_VERSION/bin

kubernetes_build() {
    [ ! -d "$BED_CACHE/kubernetes-$KUBERNETES_VERSION" ] || return 0
    install_packages ca-certificates dpkg-dev git golang-go golang-github-modern-go-reflect2-dev make rsync
    say "building kubernetes $KUBERNETES_VERSION into $BED_CACHE: once, about 5 minutes on 2 cores" \
        "(log: $(log_file kubernetes-build))"
    mkdir -p "$BED_RUN/log"
    cached "kubernetes-$KUBERNETES_VERSION" kubernetes_build_into
}

kubernetes_build_into() {
    logged kubernetes-build kubernetes_compile "$1"
    rm -rf "${1:?}/work"
}

kubernetes_compile() {
    local dir=$1 work=$1/work source name
    mkdir -p "$work/apt" "$work/debs" "$dir/bin"
    cd "$work"
    apt_sources_of "$work/apt" "$(debian_codename)"
    apt_with "$work/apt" update
    # Fetched as a user that may not write here; apt only warns, but loudly.
    apt_with "$work/apt" -o APT::Sandbox::User=root source --download-only kubernetes
    dpkg-source --extract ./*.dsc source
    source=$work/source
    [ -d "$source/cmd/kubelet" ] ||
        die "the source package kubernetes of this Debian has no server any more: the bed needs Debian 12"

    # The vendored 1.0.1 crashes under Go 1.18 and later, and only after minutes of writes.
    rm -rf "$source/vendor/github.com/modern-go/reflect2"
    cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 "$source/vendor/github.com/modern-go/"

    # The makefile insists on its import path and on a git work tree.
    mkdir -p "$work/go/src/k8s.io"
    mv "$source" "$work/go/src/k8s.io/kubernetes"
    cd "$work/go/src/k8s.io/kubernetes"
    git init -q .
    export GOPATH=$work/go GOCACHE=$work/gocache CGO_ENABLED=0 GOFLAGS=
    for name in kube-apiserver kubelet kube-controller-manager kube-scheduler; do
        # Somebody may be working on this machine meanwhile.
        nice -n 19 make WHAT="cmd/$name" KUBE_GIT_VERSION="v$KUBERNETES_VERSION" GOLDFLAGS="-s -w"
        install -m 755 "_output/local/bin/linux/$(go env GOARCH)/$name" "$dir/bin/$name"
    done

    # Unpacked and not installed: the package would overwrite a kubectl that came from elsewhere.
    cd "$work/debs"
    apt-get -q -o APT::Sandbox::User=root download kubernetes-client
    dpkg-deb --extract kubernetes-client_*.deb unpacked
    install -m 755 unpacked/usr/bin/kubectl "$dir/bin/kubectl"
}
