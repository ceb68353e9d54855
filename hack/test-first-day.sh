#!/usr/bin/env bash
# test-first-day.sh: the mistakes of a first day and what each is told, in a local cluster of its own that this script starts
# and ends (root). The last line is "first day: M mistakes, C clear". FIRST_DAY_CLUSTER names another cluster than "firstday";
# KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

log=$logs/first-day.log
hack/prerequisites.sh build cluster
hack/images.sh dev
cargo test --locked --quiet --no-run --test operator
in_own_cluster "${FIRST_DAY_CLUSTER:-firstday}" "$log" 'first day: '
hack/install.sh "$ERROR_TRACKING_CLUSTER"
cargo test --locked --quiet --test operator -- --exact --nocapture \
    first_day::each_mistake_of_a_first_day_is_told_with_what_to_do 2>&1 | tee "$log"
