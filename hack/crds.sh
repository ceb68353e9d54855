#!/usr/bin/env bash
# crds.sh [--check]: writes crds/*.yaml from what `error-tracking-operator crds` prints, and copies them into the chart.
# --check changes nothing and fails when they are not current.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

chart=charts/error-tracking-operator/files/crds
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# One file a document, named by the plural of its kind.
cargo run --quiet --locked --bin error-tracking-operator -- crds >"$made/all"
awk -v folder="$made" '
    function flush() { if (name != "") { printf "%s", text >(folder "/" name ".yaml"); close(folder "/" name ".yaml") } text = ""; name = "" }
    /^---/ { flush(); next }
    { text = text $0 "\n" }
    /^    plural: / { name = $2; gsub(/["'"'"']/, "", name) }
    END { flush() }
' "$made/all"
rm "$made/all"
[ -n "$(ls "$made")" ] || fail "crds: the program printed no custom resource definition"

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
