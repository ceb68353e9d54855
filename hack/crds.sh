#!/usr/bin/env bash
# crds.sh [--check]: writes crds/*.yaml from what `error-tracking-operator crds` writes, and copies them into the chart.
# --check changes nothing and fails when they are not current.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

chart=charts/error-tracking-operator/files/crds
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

cargo run --quiet --locked --bin error-tracking-operator -- crds --directory "$made"
[ -n "$(ls "$made")" ] || fail "crds: the program wrote no custom resource definition"

if [ "${1-}" = --check ]; then
    for folder in crds "$chart"; do
        diff --unified --recursive --exclude=.gitkeep "$folder" "$made" || fail "crds: $folder is not current: make crds"
    done
    echo "crds: current"
else
    mkdir -p crds "$chart"
    rm -f crds/*.yaml "$chart"/*.yaml
    cp "$made"/*.yaml crds/
    cp "$made"/*.yaml "$chart/"
    echo "crds: wrote $(cd "$made" && echo *.yaml) into crds/ and $chart/"
fi
