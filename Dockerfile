# Causeway as one static binary on an empty image.
#
#   docker build -t causeway:local .
#
# Works with BuildKit and with the legacy builder, hence no `RUN --mount` and no `COPY --chmod`.
# Where images can't be pulled, deploy/up takes the last stage as it is and a binary built on the host
# (deploy/offline/node-image), and deploy/offline/rust-image makes a stand-in for BUILD_IMAGE.
ARG BUILD_IMAGE=rust:1.95-slim-bookworm

FROM ${BUILD_IMAGE} AS build
# `dev` builds faster and serves to test this file.
ARG PROFILE=release
WORKDIR /build

# Dependencies first, from the manifests alone, so that an edit in src/ doesn't build them again.
# Tests and benchmarks named in the manifest are left out: cargo would ask for their files.
# Members of the workspace that only serve tests need be no more than named.
COPY Cargo.toml Cargo.lock ./
COPY tests tests
COPY benches benches
COPY clients clients
COPY deploy deploy
RUN for manifest in Cargo.toml tests/*/Cargo.toml benches/Cargo.toml clients/*/Cargo.toml; do \
      awk '/^\[/ { skip = /^\[\[(bench|test|example)\]\]/ } !skip' "$manifest" >Cargo.deps && mv Cargo.deps "$manifest" || exit; \
    done \
 && for member in tests/* benches clients/*; do mkdir "$member/src" && touch "$member/src/lib.rs" && echo 'fn main() {}' >"$member/src/main.rs"; done \
 && mkdir src && touch src/lib.rs && echo 'fn main() {}' >src/main.rs \
 && deploy/binary --dependencies --profile "$PROFILE" \
 && rm -r src

COPY src src
ARG REVISION=unknown
RUN touch src/lib.rs src/main.rs \
 && deploy/binary --profile "$PROFILE" \
 && mkdir -p /image/data \
 && cp target/*/causeway /image/causeway \
 && deploy/bill-of-materials /image

FROM scratch
# A named volume takes over the owner of the directory it is laid on.
COPY --from=build --chown=65532:65532 /image/data /data
COPY --from=build /image/causeway /image/causeway.cdx.json /image/licences.txt /
ENV CAUSEWAY_DATA_DIR=/data \
    CAUSEWAY_LISTEN=0.0.0.0:8000 \
    CAUSEWAY_PEER_LISTEN=0.0.0.0:7000
USER 65532:65532
EXPOSE 8000 7000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/causeway", "healthcheck"]
ENTRYPOINT ["/causeway"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Causeway" \
      org.opencontainers.image.description="A replicated key-value store that never refuses a write" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
