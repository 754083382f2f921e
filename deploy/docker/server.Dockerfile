# The image of the server as deploy/images/build makes it, for those who build with Docker:
#   docker build --file deploy/docker/server.Dockerfile --tag stocktake-server .
# The packages suite compares both.

FROM docker.io/library/rust:1.95-bookworm AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates musl-tools protobuf-compiler \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add x86_64-unknown-linux-musl
WORKDIR /stocktake
COPY . .
ENV CARGO_ENCODED_RUSTFLAGS=-Ctarget-feature=+crt-static
RUN cargo build --locked --release --target x86_64-unknown-linux-musl --package stocktake-server

# What belongs to root, and then what belongs to the image's user.
RUN mkdir -p /image/etc/ssl/certs /image/etc/stocktake /image/run /image/usr/bin /image/var/lib \
    && LC_ALL=C find /usr/share/ca-certificates/mozilla -name '*.crt' -print0 | LC_ALL=C sort -z | xargs -0 cat \
        >/image/etc/ssl/certs/ca-certificates.crt \
    && printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' 'stocktake:x:65532:65532:Stocktake:/var/lib:/sbin/nologin' >/image/etc/passwd \
    && printf '%s\n' 'root:x:0:' 'stocktake:x:65532:' >/image/etc/group \
    && printf '%s\n' 'passwd: files' 'group: files' 'hosts: files dns' >/image/etc/nsswitch.conf \
    && printf '[server]\nlisten = "0.0.0.0:8228"\n' >/image/etc/stocktake/server.toml \
    && install -m 755 target/x86_64-unknown-linux-musl/release/stocktake-server /image/usr/bin/ \
    && install -d -m 1777 /image/tmp \
    && install -d -m 770 -o 65532 -g 0 /image/var/lib/stocktake-server

FROM scratch
ARG VERSION REVISION CREATED SOURCE
LABEL org.opencontainers.image.created="$CREATED" \
    org.opencontainers.image.description="Keeps what agents report, and answers questions about it" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.source="$SOURCE" \
    org.opencontainers.image.title="stocktake-server" \
    org.opencontainers.image.url="$SOURCE" \
    org.opencontainers.image.version="$VERSION"
COPY --from=build /image/ /
ENV PATH=/usr/bin
ENV XDG_STATE_HOME=/var/lib
USER 65532:65532
WORKDIR /
EXPOSE 8228/tcp
ENTRYPOINT ["/usr/bin/stocktake-server"]
CMD ["serve"]
