#!/usr/bin/env bash
# build.sh FOLDER: the doubles as static programs runner-raven, runner-0.13, runner-0.45 and runner-0.48. Go's cache makes the second
# time quick.
set -euo pipefail

folder=$(realpath --canonicalize-missing "${1:?usage: build.sh FOLDER}")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export CGO_ENABLED=0 GOTOOLCHAIN=local
mkdir -p "$folder"
for generation in raven sentry-0.13 sentry-0.45 sentry-0.48; do
    go build -C "$here/$generation" -trimpath -buildvcs=false -o "$folder/runner-${generation#sentry-}" .
done
