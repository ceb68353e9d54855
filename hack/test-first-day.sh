#!/usr/bin/env bash
# test-first-day.sh: the mistakes of a first day and what each is told, in a local cluster of its own that this script starts
# and ends (root). The last line is "first day: M mistakes, C clear". FIRST_DAY_CLUSTER names another cluster than "firstday";
# KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

name=${FIRST_DAY_CLUSTER:-firstday}
log=$logs/first-day.log

# shellcheck disable=SC2317 # called by the trap
finish() {
    local code=$?
    [ "${KEEP_CLUSTER-}" = 1 ] || cluster down --name "$name" || code=1
    # What a program that died has not said is no result.
    grep -h '^first day: ' "$log" 2>/dev/null | tail -n 1 || code=1
    exit "$code"
}

hack/prerequisites.sh build cluster
hack/images.sh dev
cargo test --locked --quiet --no-run --test operator
rm -f "$log"
trap finish EXIT
trap 'exit 130' INT TERM
cluster up --name "$name"
environment=$(cluster env --name "$name")
eval "$environment"
hack/install.sh "$name"
export ERROR_TRACKING_CLUSTER=$name
cargo test --locked --quiet --test operator -- --exact --ignored --nocapture \
    first_day::each_mistake_of_a_first_day_is_told_with_what_to_do 2>&1 | tee "$log"
