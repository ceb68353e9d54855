#!/usr/bin/env bash
# test-first-day.sh: the mistakes of a first day and what each is told, in a local cluster of its own that this script starts
# and ends (root). The last line is "first day: M mistakes, C clear". FIRST_DAY_CLUSTER names another cluster than "firstday";
# KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

test_installed "${FIRST_DAY_CLUSTER:-firstday}" "$logs/first-day.log" 'first day: ' \
    first_day::each_mistake_of_a_first_day_is_told_with_what_to_do
