# shellcheck shell=bash
# What is linked into a binary: each crate with its version, licence and checksum, as CycloneDX 1.5.

CARGO_CYCLONEDX=0.5.9

# write_sbom NAME FILE
write_sbom() {
    local name=$1 file=$2 copy tool target
    tool=$(cargo_tool cargo-cyclonedx "$CARGO_CYCLONEDX")
    target=$(basename "$(dirname "$BINARIES")")
    # It writes one beside the manifest of each member, so it is given a copy.
    copy=$(mktemp -d)
    git ls-files -z | tar --create --null --files-from - | tar --extract --directory "$copy"
    "$tool" cyclonedx --quiet --manifest-path "$copy/$name/Cargo.toml" --format json --spec-version 1.5 --no-build-deps \
        --target "$target" --override-filename bill
    # Where the copy was is nobody's business, and differs each time.
    sed -i "s|path+file://$copy|path+file:///stocktake|g" "$copy/$name/bill.json"
    cargo tree --quiet --locked --package "stocktake-$name" --edges normal,no-proc-macro --target "$target" --prefix none |
        python3 deploy/images/linked.py "$copy/$name/bill.json" >"$file"
    rm -rf "$copy"
}
