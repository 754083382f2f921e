# shellcheck shell=bash disable=SC2164 # run under `set -e`
# Certificates of the bed's own, made afresh by each `bed up`: Docker over TCP and the API server both need some.

# tls_make DIRECTORY SUBJECT_ALT_NAMES : a CA, a server, and a client named as docker's DOCKER_CERT_PATH wants it.
tls_make() {
    local dir=$1 names=$2 who key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    mkdir -p "$dir"
    cd "$dir"
    umask 077
    # shellcheck disable=SC2086 # several words on purpose
    openssl req -x509 $key -days 3650 -subj "/CN=stocktake bed CA" -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout ca-key.pem -out ca.pem
    for who in server client; do
        # shellcheck disable=SC2086
        openssl req $key -subj "/CN=bed-$who" -keyout "$who-key.pem" -out "$who.csr"
        openssl x509 -req -in "$who.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 3650 \
            -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names") -out "$who-cert.pem"
    done
    mv client-cert.pem cert.pem
    mv client-key.pem key.pem
    rm -f ./*.csr
}
