#!/usr/bin/env bash
# test-grouping.sh: pairs of events that must be one issue and pairs that must be two, those of the table of made-up names among them.
# The last line is "grouping: N pairs together, M pairs apart, F wrong".
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

hack/prerequisites.sh build
log=$logs/grouping.log
code=0
cargo test --locked --lib grouping::g2::pairs_tests -- --nocapture >"$log" 2>&1 || code=$?
grep -E '^(together|apart): ' "$log" || true
grep -E '^grouping: ' "$log" || { tail -n 40 "$log"; code=1; }
exit "$code"
