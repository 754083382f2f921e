# shellcheck shell=bash
# Static binaries. Each way sets BINARIES to the folder that they are in.

# compile_for_release TARGET_DIRECTORY auto|required NAME… : with musl where the toolchain has it. glibc, too, can be
# linked statically: since 2.34 it resolves names by itself, as far as files and DNS go, and nsswitch.conf of the image
# asks for nothing else.
compile_for_release() {
    local target_directory=$1 musl=$2 target flags=() arguments=() name
    shift 2
    if has_musl_target; then
        target=$MACHINE-unknown-linux-musl
    elif [ "$musl" = required ]; then
        die "the toolchain has no $MACHINE-unknown-linux-musl: \`rustup target add $MACHINE-unknown-linux-musl\`"
    else
        target=$MACHINE-unknown-linux-gnu
        say "no musl target (rustup target add $MACHINE-unknown-linux-musl): glibc is linked statically"
    fi
    flags+=(-C target-feature=+crt-static)
    for name in "$@"; do arguments+=(--package "stocktake-$name"); done
    say "building $* for $target: a quarter of an hour the first time"
    # Where it was built is not to be seen in what was built: panics name files, and so do assertions in C.
    local home c_flags
    home=$(readlink -f "${CARGO_HOME:-$HOME/.cargo}")
    flags+=("--remap-path-prefix=$home=/cargo" "--remap-path-prefix=$target_directory=/target"
        "--remap-path-prefix=$CHECKOUT=/stocktake" "--remap-path-prefix=$(rustc --print sysroot)=/rust")
    c_flags="-ffile-prefix-map=$home=/cargo -ffile-prefix-map=$target_directory=/target -ffile-prefix-map=$CHECKOUT=/stocktake"
    # For the target alone, by `--target`: what runs while building is linked as ever.
    env "CARGO_ENCODED_RUSTFLAGS=$(join_by $'\x1f' "${flags[@]}")" "CFLAGS_${target//-/_}=$c_flags" CARGO_INCREMENTAL=0 \
        cargo build --locked --release --target "$target" --target-dir "$target_directory" "${arguments[@]}"
    BINARIES=$target_directory/$target/release
}

# compile_for_tests TARGET_DIRECTORY NAME… : what `cargo build` has built is linked once more, statically, which takes
# seconds. The program of that name in the target directory is then a static one, until `cargo build` is run again.
compile_for_tests() {
    local target_directory=$1 name
    shift
    BINARIES=$target_directory/images-test/bin
    mkdir -p "$BINARIES"
    for name in "$@"; do
        cargo rustc --quiet --locked --package "stocktake-$name" --bin "stocktake-$name" --target-dir "$target_directory" \
            -- -C target-feature=+crt-static
        strip -o "$BINARIES/stocktake-$name" "$target_directory/debug/stocktake-$name"
    done
}

# join_by SEPARATOR WORD…
join_by() {
    local IFS=$1
    shift
    printf '%s' "$*"
}
