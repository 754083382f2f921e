# shellcheck shell=bash
# Static binaries, as they are shipped. BINARIES is the folder that they are in.

# In the words of Rust's targets.
MACHINE=x86_64

# compile TARGET_DIRECTORY auto|required NAME… : with musl where the toolchain has it. glibc, too, can be linked statically:
# since 2.34 it resolves names by itself, as far as files and DNS go, and nsswitch.conf of the image asks for nothing else.
compile() {
    local target_directory=$1 musl=$2 target flags c_flags name
    shift 2
    if has_musl_target; then
        target=$MACHINE-unknown-linux-musl
        need musl-gcc musl-tools
        need make make
    elif [ "$musl" = required ]; then
        die "the toolchain has no $MACHINE-unknown-linux-musl: \`rustup target add $MACHINE-unknown-linux-musl\`"
    else
        target=$MACHINE-unknown-linux-gnu
        say "no musl target (rustup target add $MACHINE-unknown-linux-musl): glibc is linked statically"
    fi
    # Where it was built is not to be seen in what was built: panics name files, and so do assertions in C. Of several
    # prefixes that fit rustc takes the last, and gcc too.
    local home prefixes prefix
    home=$(readlink -f "${CARGO_HOME:-$HOME/.cargo}")
    prefixes=("$CHECKOUT=/stocktake" "$target_directory=/target" "$home=/cargo" "$(rustc --print sysroot)=/rust")
    flags="-C${SEPARATOR}target-feature=+crt-static"
    for prefix in "${prefixes[@]}"; do
        flags+="$SEPARATOR--remap-path-prefix=$prefix"
        c_flags+=" -ffile-prefix-map=$prefix"
    done
    # One by one: cargo would give the features that one needs to what both have in common, and an image would not be
    # the same if the other was built with it.
    for name in "$@"; do
        say "building stocktake-$name for $target: some ten minutes the first time"
        # With `--target` the flags are for that alone; what runs while building is linked as ever.
        env "CARGO_ENCODED_RUSTFLAGS=$flags" "CFLAGS_${target//-/_}=$c_flags" CARGO_INCREMENTAL=0 \
            cargo build --quiet --locked --release --target "$target" --target-dir "$target_directory" --package "stocktake-$name"
    done
    BINARIES=$target_directory/$target/release
}

# Between flags, which may have spaces in them.
SEPARATOR=$'\x1f'

# A toolchain that did not come from rustup, too, tells by having the target's library.
has_musl_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/$MACHINE-unknown-linux-musl/lib" ]; }
