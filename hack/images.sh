#!/usr/bin/env bash
# images.sh dev|release: the images as OCI archives in the target folder, without a registry or a daemon.
#   dev      operator and test image of the demo and the tests, from the programs of the dev profile
#   release  the operator's image to push, from the release profile
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

images=$target/images
mkdir -p "$images"

case ${1-dev} in
    dev)
        cargo build --locked --bin error-tracking-operator
        program=$target/debug/error-tracking-operator
        # A tag of the content: an upgrade rolls the pods when, and only when, the program is another.
        name=localhost/error-tracking-operator:dev-$(sha256sum <"$program" | cut -c 1-12)
        images/build.sh operator "$program" "$images/operator.tar" "$name"
        images/build.sh test "$images/test.tar"
        echo "$name" >"$images/operator.name"
        ;;
    release)
        version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
        archive=$images/error-tracking-operator-$version.tar
        echo "images: the release build (cold: about 15 minutes on 2 cores)"
        cargo build --locked --release --bin error-tracking-operator
        images/build.sh operator "$target/release/error-tracking-operator" "$archive" "localhost/error-tracking-operator:$version"
        echo "images: push it with: skopeo copy oci-archive:$archive docker://REGISTRY/error-tracking-operator:$version"
        ;;
    *) fail "usage: images.sh dev|release" ;;
esac
