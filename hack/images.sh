#!/usr/bin/env bash
# images.sh dev|runner|previous COMMIT|release: the images as OCI archives in the target folder, without a registry or a daemon.
#   previous the operator's image and the chart of an earlier commit, in target/previous, to upgrade from; made once
#   dev      operator and test image of the demo and the tests, from the programs of the dev profile
#   runner   the doubles of GitLab Runner, as error-tracking-runner:dev, and under names with the versions that they stand for, as the
#            operator reads the version from the image
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
    runner)
        tests/runner/build.sh "$target/runner"
        images/build.sh runner "$target/runner" "$images/runner.tar" localhost/error-tracking-runner:dev \
            localhost/gitlab-runner:{v14.6.1,v18.8.0,v19.1.0,v19.2.0,v19.3.0,alpine-v19.3.0}
        ;;
    previous)
        commit=${2:?usage: images.sh previous COMMIT}
        previous=$target/previous
        if [ "$(cat "$previous/commit" 2>/dev/null)" != "$commit" ]; then
            rm -rf "$previous"
            mkdir -p "$previous/source"
            git archive "$commit" | tar -x -C "$previous/source"
            # In the same target folder, where most crates are built already. Under another version: cargo takes two packages
            # of one name and version for the same, and would build this tree's programs from the older library.
            sed -i '0,/^version = /s/^version = "\(.*\)"/version = "\1-previous"/' "$previous/source/Cargo.toml"
            sed -i '/^name = "error-tracking-operator"$/{n;s/^version = "\(.*\)"/version = "\1-previous"/}' "$previous/source/Cargo.lock"
            (cd "$previous/source" && CARGO_TARGET_DIR=$target cargo build --locked --bin error-tracking-operator)
            name=localhost/error-tracking-operator:previous-${commit:0:12}
            images/build.sh operator "$target/debug/error-tracking-operator" "$previous/operator.tar" "$name"
            echo "$name" >"$previous/operator.name"
            echo "$commit" >"$previous/commit"
        fi
        ;;
    release)
        version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
        archive=$images/error-tracking-operator-$version.tar
        echo "images: the release build (cold: about 15 minutes on 2 cores)"
        cargo build --locked --release --bin error-tracking-operator
        images/build.sh operator "$target/release/error-tracking-operator" "$archive" "localhost/error-tracking-operator:$version"
        echo "images: push it with: skopeo copy oci-archive:$archive docker://REGISTRY/error-tracking-operator:$version"
        ;;
    *) fail "usage: images.sh dev|runner|previous COMMIT|release" ;;
esac
