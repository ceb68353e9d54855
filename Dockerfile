# The operator's image: the program, its shared libraries, the loader and the CA certificates; no
# shell, no package manager, not root. `docker build .` builds it from source; images/build.sh builds
# the same last stage without a registry, from a program compiled on this machine.

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin error-tracking-operator

FROM build AS rootfs-build
RUN images/collect.sh target/release/error-tracking-operator /rootfs

FROM scratch AS rootfs
COPY --from=rootfs-build /rootfs/ /

FROM scratch
COPY --from=rootfs / /
# The same number as the "nonroot" of other shell-less images; there is no name to look up.
USER 65532:65532
ENTRYPOINT ["/usr/bin/error-tracking-operator"]
