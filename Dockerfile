# The bastion in a container: built in one stage, run in another that holds the programs, the C library and nothing else.
#
#   docker build -t bartizan .
#   docker run --rm -v bartizan:/var/lib/bartizan bartizan init
#   docker run -d --name bastion --read-only --cap-drop=ALL --security-opt=no-new-privileges \
#     --stop-timeout 60 -p 22:2222 -v bartizan:/var/lib/bartizan bartizan
#
# It listens where `[ssh] listen` says: 0.0.0.0:2222 in a container. See docs/operating.md.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev make pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN cargo build --release --locked --package bartizan --package bartizan-ledger \
 && install -d /out/usr/bin \
 && install target/release/bartizan target/release/bartizan-verify /out/usr/bin/ \
 && install -d -m 0700 -o 65532 -g 65532 /out/var/lib/bartizan

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/usr /usr
# The folder comes with its owner and mode, which a new volume takes over.
COPY --from=build --chown=65532:65532 /out/var/lib/bartizan /var/lib/bartizan
USER 65532:65532
ENV BARTIZAN_DIR=/var/lib/bartizan
VOLUME /var/lib/bartizan
EXPOSE 2222
# SIGTERM drains: give it longer than `[ssh] drain`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/bartizan", "health"]
ENTRYPOINT ["/usr/bin/bartizan"]
CMD ["serve"]
